//! Which socket or command a URI means: pure, but for the question whether a socket exists.

use std::path::{Path, PathBuf};

use diag::VirError;

use super::error;
use super::options::OpenOptions;
use super::uri::ConnUri;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A unix socket; a session daemon may be started when it is missing.
    Unix { path: PathBuf, autostart: bool },
    /// A command whose standard input and output are the connection.
    Command(Vec<String>),
    /// A TCP port.
    Tcp { host: String, port: u16 },
}

/// The port of unencrypted TCP connections.
const TCP_PORT: u16 = 16509;

/// Chooses the endpoint for a URI.
pub(super) fn choose(
    uri: &ConnUri,
    options: &OpenOptions,
    privileged: bool,
    exists: impl Fn(&Path) -> bool,
) -> Result<Endpoint, VirError> {
    let transport = match uri.transport.as_deref() {
        Some(t) => t,
        // Without a transport a host means TLS, and no host this machine.
        None if uri.host.is_empty() => "unix",
        None => "tls",
    };
    match transport {
        "unix" => unix(uri, options, privileged, exists),
        "ext" => match uri.param("command") {
            Some(command) => Ok(Endpoint::Command(vec![command.to_owned()])),
            None => {
                Err(error::invalid_arg("remote_open: for 'ext' transport, command is required"))
            }
        },
        "ssh" => Ok(Endpoint::Command(ssh(uri, options.read_only))),
        "tcp" => Ok(Endpoint::Tcp {
            host: if uri.host.is_empty() { "localhost".into() } else { uri.host.clone() },
            port: uri.port.unwrap_or(TCP_PORT),
        }),
        "tls" | "libssh" | "libssh2" => Err(error::invalid_arg(format!(
            "remote_open: transport '{transport}' is not supported by this client, use ssh"
        ))),
        _ => Err(error::invalid_arg(
            "remote_open: transport in URL not recognised (should be tls|unix|ssh|ext|tcp|libssh2|libssh)",
        )),
    }
}

fn unix(
    uri: &ConnUri,
    options: &OpenOptions,
    privileged: bool,
    exists: impl Fn(&Path) -> bool,
) -> Result<Endpoint, VirError> {
    let mode = mode(uri)?;
    if !uri.host.is_empty() {
        return Err(error::invalid_arg(format!(
            "using unix socket and remote server '{}' is not supported.",
            uri.host
        )));
    }
    if let Some(path) = uri.param("socket") {
        return Ok(Endpoint::Unix { path: path.into(), autostart: false });
    }
    let session = !privileged && (uri.path == "/session" || uri.driver == "test");
    let folder = if session {
        options.session_dir.clone().ok_or_else(|| {
            error::invalid_arg("remote_open: the folder of the session's sockets is not known")
        })?
    } else {
        options.system_dir.clone()
    };
    // A session daemon has no read-only socket.
    let suffix = if options.read_only && !session { "-ro" } else { "" };
    let legacy = folder.join(format!("libvirt-sock{suffix}"));
    let direct = modular(&uri.driver).map(|d| folder.join(format!("{d}-sock{suffix}")));
    let (path, autostart) = match (mode, direct) {
        // The daemon that we could start listens on the other socket.
        (Mode::Direct, Some(direct)) => (direct, false),
        (Mode::Auto, Some(direct)) if exists(&direct) => (direct, false),
        _ => (legacy, session),
    };
    Ok(Endpoint::Unix { path, autostart })
}

enum Mode {
    Auto,
    Legacy,
    Direct,
}

fn mode(uri: &ConnUri) -> Result<Mode, VirError> {
    match uri.param("mode") {
        None | Some("auto") => Ok(Mode::Auto),
        Some("legacy") => Ok(Mode::Legacy),
        Some("direct") => Ok(Mode::Direct),
        Some(other) => Err(error::invalid_arg(format!("Unknown remote mode '{other}'"))),
    }
}

/// The modular daemon that serves a driver.
fn modular(driver: &str) -> Option<&'static str> {
    Some(match driver {
        "qemu" => "virtqemud",
        "network" => "virtnetworkd",
        "storage" => "virtstoraged",
        "nodedev" => "virtnodedevd",
        "nwfilter" => "virtnwfilterd",
        "secret" => "virtsecretd",
        "interface" => "virtinterfaced",
        "lxc" => "virtlxcd",
        "xen" => "virtxend",
        "vbox" => "virtvboxd",
        _ => return None,
    })
}

/// The ssh command. On the far side the helper program, or netcat where it is missing, reaches the daemon.
fn ssh(uri: &ConnUri, read_only: bool) -> Vec<String> {
    let mut argv = vec![uri.param("command").unwrap_or("ssh").to_owned(), "-T".into()];
    let mut option = |words: &[&str]| argv.extend(words.iter().map(|w| (*w).to_owned()));
    option(&["-e", "none"]);
    if let Some(port) = uri.port {
        option(&["-p", &port.to_string()]);
    }
    if let Some(user) = &uri.user {
        option(&["-l", user]);
    }
    if let Some(file) = uri.param("keyfile") {
        option(&["-i", file]);
    }
    if uri.param("no_tty") == Some("1") {
        option(&["-o", "BatchMode=yes"]);
    }
    if uri.param("no_verify") == Some("1") {
        option(&["-o", "StrictHostKeyChecking=no"]);
    }
    option(&["--", &uri.host]);
    let name = quote(&uri.name());
    let netcat = quote(uri.param("netcat").unwrap_or("nc"));
    let flag = if read_only { "-r " } else { "" };
    let suffix = if read_only { "-ro" } else { "" };
    let socket = match uri.param("socket") {
        Some(path) => quote(path),
        None if uri.path == "/session" => {
            format!("\"${{XDG_RUNTIME_DIR:-$HOME/.cache}}/libvirt/libvirt-sock{suffix}\"")
        }
        None => format!("/var/run/libvirt/libvirt-sock{suffix}"),
    };
    let direct = format!(
        "exec {netcat} $(if {netcat} -q 2>&1 | grep -q 'requires an argument'; then echo -q 0; fi) -U {socket}"
    );
    let helper = format!("exec virt-ssh-helper {flag}{name}");
    let script = if uri.param("socket").is_some() || uri.param("proxy") == Some("netcat") {
        direct
    } else if uri.param("proxy") == Some("native") {
        helper
    } else {
        format!("if command -v virt-ssh-helper >/dev/null 2>&1; then {helper}; else {direct}; fi")
    };
    argv.push(format!("sh -c {}", quote(&script)));
    argv
}

/// A word for a shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, privileged: bool, read_only: bool, direct_exists: bool, expected: &str) {
        let options = OpenOptions {
            read_only,
            system_dir: "/sys".into(),
            session_dir: Some("/ses".into()),
            ..OpenOptions::default()
        };
        let parsed = ConnUri::parse(uri).unwrap();
        match choose(&parsed, &options, privileged, |_| direct_exists).unwrap() {
            Endpoint::Unix { path, autostart } => {
                assert_eq!(path, Path::new(expected), "{uri}");
                assert_eq!(autostart, expected.starts_with("/ses/"), "{uri}");
            }
            other => panic!("{uri}: {other:?}"),
        }
    }

    #[test]
    fn sockets() {
        check("qemu:///system", true, false, true, "/sys/virtqemud-sock");
        check("qemu:///system", true, false, false, "/sys/libvirt-sock");
        check("qemu:///system", true, true, false, "/sys/libvirt-sock-ro");
        check("qemu:///system?mode=legacy", true, false, true, "/sys/libvirt-sock");
        check("qemu:///system?mode=direct", true, false, false, "/sys/virtqemud-sock");
        check("qemu+unix:///system?socket=/p/s", false, true, true, "/p/s");
        check("qemu:///session", false, true, false, "/ses/libvirt-sock");
        check("qemu:///session", true, false, false, "/sys/libvirt-sock");
        check("qemu:///system", false, false, false, "/sys/libvirt-sock");
        check("test+unix:///default", false, false, false, "/ses/libvirt-sock");
        check("foo:///x", true, false, true, "/sys/libvirt-sock");
        check("qemu+unix:///session?mode=legacy", false, false, true, "/ses/libvirt-sock");
    }

    #[test]
    fn refused() {
        let check = |uri: &str, expected: &str| {
            let parsed = ConnUri::parse(uri).unwrap();
            let e = choose(&parsed, &OpenOptions::default(), true, |_| false).unwrap_err();
            assert!(e.detail.contains(expected), "{uri}: {}", e.detail);
        };
        check("qemu+foo:///system", "transport in URL not recognised");
        check("qemu+ext:///system", "for 'ext' transport, command is required");
        check("qemu+unix:///system?mode=weird", "Unknown remote mode 'weird'");
        check("qemu+unix://h/system", "using unix socket and remote server 'h' is not supported.");
        check("qemu+tls://h/system", "not supported by this client");
        check("qemu://h/system", "not supported by this client");
    }

    #[test]
    fn ssh_quotes_twice() {
        let uri = ConnUri::parse("qemu+ssh://me@-evil:22/system?netcat=/bin/it%27s").unwrap();
        let argv = ssh(&uri, true);
        assert_eq!(argv[..8], ["ssh", "-T", "-e", "none", "-p", "22", "-l", "me"]);
        assert_eq!(argv[8..10], ["--", "-evil"]);
        assert!(argv[10].starts_with("sh -c 'if command -v virt-ssh-helper"), "{}", argv[10]);
        assert!(argv[10].contains("libvirt-sock-ro"));
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
