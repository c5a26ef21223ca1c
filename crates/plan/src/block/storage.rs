//! Storage nodes: the protocol an image is reached by.

use super::Image;
use super::server::{inet, port, socket_address, uri_host};
use crate::props::Props;
use diag::ErrorCode;
use model::domain::devices::disk::{DiskSource, IoMode, NetworkTransport, StorageType};
use serde_json::{Value, json};

/// What a node's options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// QEMU opens the image now: objects and tuning of this run are named.
    Run,
    /// The image is only told where it is, to be kept in a header: nothing of this run.
    Place,
}

/// Why an image cannot be described to QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// No driver for this format.
    Format(String),
    /// This format cannot be encrypted this way.
    Encryption {
        /// The image's format.
        format: String,
        /// The encryption's format.
        encryption: String,
    },
    /// QEMU has no driver for this protocol.
    Protocol(String),
    /// A pool and an image cannot be told apart.
    RbdPath(String),
    /// QEMU cannot reach a server this way.
    Transport(&'static str),
    /// The source lacks what its kind needs.
    Missing(&'static str),
    /// The source says something that is wrong.
    Invalid(String),
}

impl std::fmt::Display for BlockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format(name) => write!(f, "QEMU has no driver for images of format '{name}'"),
            Self::Encryption { format, encryption } => {
                write!(f, "an image of format '{format}' cannot have '{encryption}' encryption")
            }
            Self::Protocol(name) if name == "sheepdog" => {
                f.write_str("'sheepdog' protocol is no longer supported by any hypervisor driver")
            }
            Self::Protocol(name) if name == "vxhs" => {
                f.write_str("VxHS protocol is not supported with this QEMU binary")
            }
            Self::Protocol(name) => {
                write!(f, "'{name}' protocol is not supported with this QEMU binary")
            }
            Self::RbdPath(path) => {
                write!(f, "can't split path '{path}' into pool name and image name")
            }
            Self::Transport(name) => {
                write!(f, "transport protocol '{name}' is not yet supported")
            }
            Self::Missing(what) => write!(f, "the source has no {what}"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BlockError {}

impl BlockError {
    /// libvirt's code for the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::RbdPath(_) => ErrorCode::XML_ERROR,
            Self::Transport(_) => ErrorCode::INTERNAL_ERROR,
            _ => ErrorCode::CONFIG_UNSUPPORTED,
        }
    }
}

/// Options of the storage node, without its name and without how it is opened.
///
/// # Errors
/// QEMU has no driver for the source, or the source is incomplete.
pub fn storage(image: &Image<'_>, purpose: Purpose) -> Result<Props, BlockError> {
    let source = image.source;
    let run = purpose == Purpose::Run;
    match image.kind {
        StorageType::File | StorageType::Block => {
            let path = match (&image.fdset, image.kind) {
                (Some(set), _) if run => Some(set.path.clone()),
                (_, StorageType::Block) => source.dev.clone().or_else(|| source.file.clone()),
                _ => source.file.clone(),
            };
            let path = path.ok_or(BlockError::Missing("path"))?;
            let driver = match image.kind {
                StorageType::File => "file",
                _ if image.host_drive => "host_cdrom",
                _ => "host_device",
            };
            let props = Props::default().set("driver", driver).set("filename", path);
            if !run {
                return Ok(props);
            }
            Ok(props.opt("aio", aio(image)).opt("pr-manager", image.objects.reservations.clone()))
        }
        StorageType::Dir => {
            let dir = source.dir.clone().ok_or(BlockError::Missing("directory"))?;
            let props =
                Props::default().set("driver", "vvfat").set("dir", dir).set("floppy", image.floppy);
            Ok(if run { props.set("rw", !image.options.read_only) } else { props })
        }
        StorageType::Network => network(image, run),
        StorageType::Nvme => {
            let address = source.address.as_ref().ok_or(BlockError::Missing("PCI address"))?;
            let text = format!(
                "{:04x}:{:02x}:{:02x}.{:x}",
                address.domain.0, address.bus.0, address.slot.0, address.function.0
            );
            Ok(Props::default()
                .set("driver", "nvme")
                .set("device", text)
                .set("namespace", source.namespace.unwrap_or(1)))
        }
        StorageType::Vhostvdpa => {
            let path = match &image.fdset {
                Some(set) if run => set.path.clone(),
                _ => source.dev.clone().ok_or(BlockError::Missing("device"))?,
            };
            Ok(Props::default().set("driver", "virtio-blk-vhost-vdpa").set("path", path))
        }
        StorageType::Volume => Err(BlockError::Invalid("the volume was not looked up".into())),
        StorageType::Vhostuser => {
            Err(BlockError::Invalid("a vhost-user disk has no block node".into()))
        }
    }
}

fn aio(image: &Image<'_>) -> Option<&'static str> {
    image.options.io.map(|mode| match mode {
        IoMode::Native => "native",
        IoMode::Threads => "threads",
        IoMode::IoUring => "io_uring",
    })
}

fn network(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    if let (Some(socket), true) = (&image.nbdkit, run) {
        let server = json!({"type": "unix", "path": socket});
        return Ok(Props::default().set("driver", "nbd").set("server", server));
    }
    match image.protocol() {
        "nbd" => nbd(image, run),
        "rbd" => rbd(image, run),
        "iscsi" => iscsi(image, run),
        "gluster" => gluster(image, run),
        "http" | "https" | "ftp" | "ftps" => curl(image, run),
        "ssh" => ssh(image),
        "nfs" => nfs(image),
        other => Err(BlockError::Protocol(other.to_string())),
    }
}

fn nbd(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    let source = image.source;
    let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
    let props = Props::default()
        .set("driver", "nbd")
        .set("server", socket_address(host, "nbd"))
        .opt("export", source.name.clone());
    if !run {
        return Ok(props);
    }
    let delay = source.reconnect.as_ref().and_then(|reconnect| reconnect.delay);
    Ok(props
        .opt("tls-creds", image.objects.tls.clone())
        .opt("tls-hostname", source.tls_hostname.clone())
        .opt("reconnect-delay", delay.filter(|delay| *delay != 0)))
}

fn rbd(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    let source = image.source;
    let name = source.name.as_deref().unwrap_or_default();
    let (pool, volume) =
        name.split_once('/').ok_or_else(|| BlockError::RbdPath(name.to_string()))?;
    let servers: Vec<Value> =
        source.hosts.iter().map(|host| inet(host, "rbd").into_value()).collect();
    let mut props = Props::default()
        .set("driver", "rbd")
        .set("pool", pool)
        .set("image", volume)
        .opt("snapshot", source.snapshot.as_ref().map(|snapshot| snapshot.name.clone()))
        .opt("conf", source.config.as_ref().map(|config| config.file.clone()));
    if !servers.is_empty() {
        props = props.set("server", servers);
    }
    if !run {
        return Ok(props);
    }
    if image.encrypted_by_storage() {
        props = props.opt("encrypt", librbd_encryption(image));
    }
    if let Some(auth) = image.auth {
        props = props
            .set("user", auth.username.clone())
            .set("auth-client-required", json!(["cephx", "none"]))
            .opt("key-secret", image.objects.auth.clone());
    }
    Ok(props)
}

/// Encryption by librbd: one object a layer, the outermost for the image itself and one for each
/// of its parents.
fn librbd_encryption(image: &Image<'_>) -> Option<Value> {
    let format = image.encryption?.format.clone();
    let mut layers: Option<Props> = None;
    for secret in image.objects.encryption.iter().rev() {
        let layer =
            Props::default().set("format", format.clone()).set("key-secret", secret.clone());
        layers = Some(match layers {
            Some(below) => layer.set("parent", below),
            None => layer,
        });
    }
    layers.map(Props::into_value)
}

fn iscsi(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    let source = image.source;
    let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
    let name = source.name.as_deref().unwrap_or_default();
    let (target, lun) = match name.split_once('/') {
        Some((target, lun)) => {
            let lun = lun
                .parse::<u32>()
                .map_err(|_| BlockError::Invalid(format!("Failed to parse lun '{lun}'")))?;
            (target, lun)
        }
        None => (name, 0),
    };
    let portal =
        format!("{}:{}", uri_host(host.name.as_deref().unwrap_or_default()), port(host, "iscsi"));
    let mut props = Props::default()
        .set("driver", "iscsi")
        .set("portal", portal)
        .set("target", target)
        .set("lun", lun)
        .set("transport", "tcp");
    if let Some(auth) = image.auth.filter(|_| run) {
        props = props
            .set("user", auth.username.clone())
            .opt("password-secret", image.objects.auth.clone());
    }
    let initiator = source.initiator.as_ref().and_then(|initiator| initiator.iqn.as_ref());
    Ok(props.opt("initiator-name", initiator.map(|iqn| iqn.name.clone())))
}

fn gluster(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    let source = image.source;
    let name = source.name.as_deref().unwrap_or_default();
    let (volume, path) = name.split_once('/').unwrap_or((name, ""));
    if source.hosts.iter().any(|host| host.transport == Some(NetworkTransport::Rdma)) {
        return Err(BlockError::Transport("rdma"));
    }
    let servers: Vec<Value> =
        source.hosts.iter().map(|host| socket_address(host, "gluster")).collect();
    Ok(Props::default()
        .set("driver", "gluster")
        .set("volume", volume)
        .set("path", path)
        .set("server", servers)
        .opt("debug", image.debug.filter(|_| run)))
}

/// The whole URL of a curl source: `https://host:443/name?query`.
pub(crate) fn url(source: &DiskSource) -> Result<String, BlockError> {
    let protocol = source.protocol.as_deref().unwrap_or_default();
    let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
    let name = source.name.as_deref().unwrap_or_default();
    let slash = if name.is_empty() || name.starts_with('/') { "" } else { "/" };
    let server = uri_host(host.name.as_deref().unwrap_or_default());
    let mut url = format!("{protocol}://{server}:{}{slash}{}", port(host, protocol), name);
    if let Some(query) = &source.query {
        url.push('?');
        url.push_str(query);
    }
    Ok(url)
}

/// Cookies as one header field holds them.
pub(crate) fn cookie_header(source: &DiskSource) -> Option<String> {
    let cookies = &source.cookies.as_ref()?.cookies;
    let pairs: Vec<String> =
        cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    Some(pairs.join("; "))
}

fn curl(image: &Image<'_>, run: bool) -> Result<Props, BlockError> {
    let source = image.source;
    let mut props = Props::default().set("driver", image.protocol()).set("url", url(source)?);
    if let Some(auth) = image.auth.filter(|_| run) {
        props = props
            .set("username", auth.username.clone())
            .opt("password-secret", image.objects.auth.clone());
    }
    props = props.on_off("sslverify", source.ssl.as_ref().map(|ssl| ssl.verify));
    props = if run {
        props.opt("cookie-secret", image.objects.cookie.clone())
    } else {
        props.opt("cookie", cookie_header(source))
    };
    let seconds = source.timeout.as_ref().map(|timeout| timeout.seconds);
    let readahead = source.readahead.as_ref().map(|readahead| readahead.size);
    Ok(props.opt("timeout", seconds).opt("readahead", readahead))
}

fn ssh(image: &Image<'_>) -> Result<Props, BlockError> {
    let source = image.source;
    let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
    let named = source.identity.as_ref().and_then(|identity| identity.username.clone());
    let user = image.auth.map(|auth| auth.username.clone()).or(named);
    Ok(Props::default()
        .set("driver", "ssh")
        .set("path", source.name.clone().unwrap_or_default())
        .set("server", inet(host, "ssh"))
        .opt("user", user)
        .opt("host-key-check", image.ssh_unchecked.then(|| json!({"mode": "none"}))))
}

fn nfs(image: &Image<'_>) -> Result<Props, BlockError> {
    let source = image.source;
    let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
    let name = host.name.clone().unwrap_or_default();
    let (user, group) = image.server_ids;
    Ok(Props::default()
        .set("driver", "nfs")
        .set("server", json!({"host": name, "type": "inet"}))
        .set("path", source.name.clone().unwrap_or_default())
        .opt("user", user)
        .opt("group", group))
}
