//! nbdkit as a server of images that QEMU should not reach by itself.

use crate::block::Image;

/// Arguments of nbdkit for an image; what is secret it reads from files of the private folder.
pub(super) fn arguments(
    image: &Image<'_>,
    plugin: &str,
    socket: &str,
    pid_file: &str,
) -> Vec<String> {
    let source = image.source;
    let mut args: Vec<String> = ["--unix", socket, "--pidfile", pid_file].map(String::from).into();
    if image.options.read_only {
        args.push("--readonly".into());
    }
    if source.readahead.is_some() {
        args.push("--filter=readahead".into());
    }
    args.push(plugin.into());
    if plugin == "ssh" {
        let host = source.hosts.first();
        let identity = source.identity.as_ref();
        let pairs = [
            ("host", host.and_then(|host| host.name.clone())),
            ("port", host.and_then(|host| host.port.clone())),
            ("path", source.name.clone()),
            (
                "user",
                image
                    .auth
                    .map(|auth| auth.username.clone())
                    .or_else(|| identity.and_then(|identity| identity.username.clone())),
            ),
            ("identity", identity.and_then(|identity| identity.keyfile.clone())),
            ("known-hosts", source.known_hosts.as_ref().map(|hosts| hosts.path.clone())),
        ];
        for (key, value) in pairs {
            args.extend(value.map(|value| format!("{key}={value}")));
        }
        return args;
    }
    let protocols = match image.protocol() {
        "http" | "https" => "http,https",
        "ftp" | "ftps" => "ftp,ftps",
        other => other,
    };
    args.push(format!("protocols={protocols}"));
    args.extend(crate::block::url(source).ok().map(|url| format!("url={url}")));
    args.extend(image.auth.map(|auth| format!("user={}", auth.username)));
    if source.ssl.as_ref().is_some_and(|ssl| ssl.verify == xml::YesNo::No) {
        args.push("sslverify=false".into());
    }
    args.extend(source.timeout.as_ref().map(|timeout| format!("timeout={}", timeout.seconds)));
    args
}
