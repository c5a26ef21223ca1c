//! Which URI to open: command line, environment, libvirt.conf, or what runs here.

use std::path::PathBuf;

/// The URI text to use.
pub fn resolve(given: Option<&str>) -> String {
    let conf = Conf::load();
    let env = |n: &str| std::env::var(n).ok().filter(|v| !v.is_empty());
    match given {
        Some(uri) if !uri.is_empty() => return conf.alias(uri),
        _ => {}
    }
    if let Some(uri) = env("VIRSH_DEFAULT_CONNECT_URI") {
        return conf.alias(&uri);
    }
    if let Some(uri) = env("LIBVIRT_DEFAULT_URI") {
        return uri;
    }
    conf.uri_default.unwrap_or_else(probe)
}

/// Without any setting: the system's hypervisor for root, the user's own for others.
fn probe() -> String {
    let uri =
        if rustix::process::geteuid().is_root() { "qemu:///system" } else { "qemu:///session" };
    uri.to_owned()
}

/// Folder of the session daemon's sockets.
pub fn session_dir() -> Option<PathBuf> {
    let absolute = |n: &str| std::env::var_os(n).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_RUNTIME_DIR")
        .or_else(|| absolute("XDG_CACHE_HOME"))
        .or_else(|| absolute("HOME").map(|h| h.join(".cache")))
        .map(|d| d.join("libvirt"))
}

/// The program started as session daemon: the one the environment names, else this one.
pub fn session_daemon() -> Option<PathBuf> {
    if std::env::var("LIBVIRT_AUTOSTART").is_ok_and(|v| v == "0") {
        return None;
    }
    std::env::var_os("LIBVIRTD_PATH").map(PathBuf::from).or_else(|| std::env::current_exe().ok())
}

/// The settings of libvirt.conf that matter here.
#[derive(Default, Debug, PartialEq)]
struct Conf {
    uri_default: Option<String>,
    aliases: Vec<(String, String)>,
}

impl Conf {
    fn load() -> Self {
        let path = if rustix::process::geteuid().is_root() {
            PathBuf::from("/etc/libvirt/libvirt.conf")
        } else {
            let base = std::env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config")));
            match base {
                Some(b) => b.join("libvirt/libvirt.conf"),
                None => return Self::default(),
            }
        };
        std::fs::read_to_string(path).map_or_else(|_| Self::default(), |t| Self::parse(&t))
    }

    /// Reads `uri_default = "…"` and `uri_aliases = [ "name=uri", … ]`; other settings are skipped.
    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let clean: String = text
            .lines()
            .map(|l| if l.trim_start().starts_with('#') { "" } else { l })
            .collect::<Vec<_>>()
            .join("\n");
        if let Some(v) = setting(&clean, "uri_default") {
            conf.uri_default = strings(v).into_iter().next();
        }
        if let Some(v) = setting(&clean, "uri_aliases") {
            let list = v.split(']').next().unwrap_or_default();
            conf.aliases = strings(list)
                .into_iter()
                .filter_map(|s| s.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())))
                .collect();
        }
        conf
    }

    fn alias(&self, uri: &str) -> String {
        self.aliases
            .iter()
            .find(|(a, _)| a == uri)
            .map_or_else(|| uri.to_owned(), |(_, u)| u.clone())
    }
}

fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices(name).find_map(|(i, _)| {
        let line_start = text[..i].rfind('\n').map_or(0, |p| p + 1);
        if !text[line_start..i].trim().is_empty() {
            return None;
        }
        text[i + name.len()..].trim_start().strip_prefix('=')
    })
}

/// Quoted strings, in order, up to the end of the setting.
fn strings(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    let list = rest.starts_with('[');
    while let Some(i) = rest.find(['"', '\'']) {
        let quote = &rest[i..=i];
        let tail = &rest[i + 1..];
        let Some(end) = tail.find(quote) else { break };
        out.push(tail[..end].to_owned());
        rest = &tail[end + 1..];
        if !list {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let conf = Conf::parse(
            "# uri_default = \"x\"\nuri_aliases = [\n  \"hail=qemu+ssh://root@hail/system\",\n  \"sleet=test:///default\",\n]\nuri_default = \"qemu:///session\"\n",
        );
        assert_eq!(conf.uri_default.as_deref(), Some("qemu:///session"));
        assert_eq!(conf.alias("sleet"), "test:///default");
        assert_eq!(conf.alias("hail"), "qemu+ssh://root@hail/system");
        assert_eq!(conf.alias("other"), "other");
        assert_eq!(Conf::parse("").uri_default, None);
    }
}
