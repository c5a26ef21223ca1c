//! Where a disk's data lies.

use diag::ErrorCode;

use super::super::Faults;
use crate::domain::devices::disk::{
    AuthSecret, BackingStore, Disk, DiskAuth, DiskDevice, DiskSource, Encryption, ImageFormat,
    NetworkHost, NetworkTransport, Reservations, SourceIdentity, StartupPolicy, StorageType,
};

pub(super) fn check(x: &Disk, out: &mut Faults) {
    if let Some(s) = &x.source {
        image(x.kind, s, out);
        secret_fits(s, s.auth.as_deref().or(x.auth.as_deref()), out);
    }
    there(x, out);
    for layer in x.layers() {
        backing(layer, out);
    }
    let Some(s) = &x.source else { return };
    if x.auth.is_some() && s.auth.is_some() {
        out.unsupported("domain.disk-auth", "an <auth> definition already found for disk source");
    }
    if x.encryption.is_some() && s.encryption.is_some() {
        out.unsupported(
            "domain.disk-encryption",
            "an <encryption> definition already found for disk source",
        );
    }
    if let Some(auth) = &x.auth {
        self::auth(auth, out);
    }
    if let Some(e) = &x.encryption {
        encryption(e, out);
    }
    if let Some(policy) = s.startup_policy {
        let name = policy.as_str();
        if matches!(x.kind, StorageType::Network | StorageType::Vhostuser) {
            let kind = x.kind.as_str();
            out.xml(
                "domain.disk-startup",
                format!("disk startupPolicy '{name}' is not allowed for disk of '{kind}' type"),
            );
        } else if policy == StartupPolicy::Requisite && !x.device.is_removable() {
            out.xml(
                "domain.disk-startup",
                format!("disk startupPolicy '{name}' is allowed only for cdrom or floppy"),
            );
        }
    }
    if s.reservations.is_some() && x.device != DiskDevice::Lun {
        out.unsupported("domain.disk-reservations", "<reservations/> allowed only for lun devices");
    }
}

/// What the place of an image must say, whatever names it: a disk, an image above it, the image whose
/// data it holds, a snapshot.
pub(in super::super) fn image(kind: StorageType, s: &DiskSource, out: &mut Faults) {
    required(kind, s, out);
    if kind == StorageType::Network {
        network(s, out);
    }
    cookies(s, out);
    if let Some(auth) = &s.auth {
        self::auth(auth, out);
    }
    if let Some(e) = &s.encryption {
        encryption(e, out);
    }
    if let Some(r) = &s.reservations {
        reservations(r, out);
    }
    labels(s, out);
    let Some(data) = &s.data_store else { return };
    format(data.format.as_ref(), "missing data file store format", "domain.disk-data-store", out);
    if let Some(s) = &data.source {
        image(data.kind, s, out);
    }
}

fn reservations(r: &Reservations, out: &mut Faults) {
    if r.managed == xml::YesNo::Yes {
        return;
    }
    let mut part = |value: Option<&str>, what: &str, wanted: Option<&str>| {
        let words = match (value.filter(|v| !v.is_empty()), wanted) {
            (None, _) => format!("missing {what} for <reservations/>"),
            (Some(value), Some(wanted)) if value != wanted => {
                format!("unsupported {what} for <reservations/>: {value}")
            }
            _ => return,
        };
        out.xml("domain.disk-reservations", words);
    };
    let source = r.source.as_ref();
    part(source.map(|s| s.kind.as_str()), "connection type", Some("unix"));
    part(source.and_then(|s| s.path.as_deref()), "path", None);
    part(source.and_then(|s| s.mode.as_deref()), "connection mode", Some("client"));
}

/// Formats of images.
pub(super) const FORMATS: [&str; 17] = [
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk",
];

/// An image that another one stands on.
fn backing(b: &BackingStore, out: &mut Faults) {
    let Some(kind) = b.kind else { return };
    let missing = "missing disk backing store format";
    format(b.format.as_ref(), missing, "domain.disk-backing", out);
    if let Some(s) = &b.source {
        image(kind, s, out);
        secret_fits(s, s.auth.as_deref(), out);
    }
}

/// The format that an image below another one, or beside it, must have.
fn format(found: Option<&ImageFormat>, missing: &str, rule: &'static str, out: &mut Faults) {
    match found.map(|format| format.kind.as_str()) {
        None | Some("") => out.xml(rule, missing),
        Some(format) if format == "none" || !FORMATS.contains(&format) => {
            out.xml(rule, format!("unknown storage source format '{format}'"));
        }
        Some(_) => {}
    }
}

/// Whether a disk names an image at all.
fn there(x: &Disk, out: &mut Faults) {
    let s = x.source.as_ref();
    let missing = |name: &str| format!("Missing required attribute '{name}' in element 'source'");
    let removable = x.device.is_removable();
    let empty = match x.kind {
        StorageType::File => s.is_none_or(|s| s.file.is_none()),
        StorageType::Block => s.is_none_or(|s| s.dev.is_none()),
        StorageType::Dir => s.is_none_or(|s| s.dir.is_none()),
        _ => false,
    };
    match x.kind {
        _ if empty && !removable => {
            let dev = &x.target.dev;
            out.code(
                "domain.disk-source",
                ErrorCode::NO_SOURCE,
                format!("missing source information for device {dev}"),
            );
        }
        StorageType::Network if s.is_none() && !removable => {
            out.xml("domain.disk-source", missing("protocol"));
        }
        StorageType::Nvme if s.is_none() => {
            out.xml("domain.disk-source", "missing 'type' attribute to disk source");
        }
        StorageType::Vhostuser if s.is_none() => {
            out.xml("domain.disk-source", "missing 'type' attribute for vhostuser disk source");
        }
        StorageType::Vhostvdpa if s.is_none() => out.xml("domain.disk-source", missing("dev")),
        StorageType::Nvme if s.is_some_and(|s| s.namespace == Some(0)) => {
            out.unsupported("domain.disk-nvme", "NVMe namespace can't be zero");
        }
        _ => {}
    }
}

/// What each kind of storage must name.
fn required(kind: StorageType, s: &DiskSource, out: &mut Faults) {
    let missing = |name: &str| format!("Missing required attribute '{name}' in element 'source'");
    let rule = "domain.disk-source";
    match kind {
        StorageType::Network if s.protocol.is_none() => out.xml(rule, missing("protocol")),
        StorageType::Nvme => {
            let Some(kind) = s.kind.as_deref() else {
                out.xml(rule, "missing 'type' attribute to disk source");
                return;
            };
            if kind != "pci" {
                out.xml(rule, format!("unsupported source type '{kind}'"));
            }
            if s.namespace.is_none() {
                out.xml(rule, missing("namespace"));
            }
            if s.address.is_none() {
                out.xml(rule, "NVMe disk source is missing address");
            }
        }
        StorageType::Vhostuser => match s.kind.as_deref() {
            None => out.xml(rule, "missing 'type' attribute for vhostuser disk source"),
            Some("unix") if s.path.is_none() => {
                out.xml(rule, "missing 'path' attribute for vhostuser disk source");
            }
            Some("unix") => {}
            Some(_) => out.xml(rule, "invalid 'type' attribute for vhostuser disk source"),
        },
        StorageType::Volume if s.pool.is_some() != s.volume.is_some() => {
            out.xml(rule, "'pool' and 'volume' must be specified together for 'pool' type source");
        }
        StorageType::Vhostvdpa if s.dev.is_none() => out.xml(rule, missing("dev")),
        _ => {}
    }
}

fn network(s: &DiskSource, out: &mut Faults) {
    let Some(protocol) = s.protocol.as_deref() else { return };
    if let Some(name) = s.name.as_deref().filter(|name| name.find('/').is_none_or(|at| at == 0))
        && matches!(protocol, "rbd" | "gluster")
    {
        out.xml(
            "domain.disk-source",
            format!("can't split path '{name}' into pool name and image name"),
        );
    }
    if protocol != "nbd" && s.name.is_none() {
        out.xml("domain.disk-source", "missing name for disk source");
    }
    for h in &s.hosts {
        let transport = h.transport.unwrap_or(NetworkTransport::Tcp);
        let unix = transport == NetworkTransport::Unix;
        if unix && h.socket.is_none() {
            out.xml("domain.disk-host", "missing socket for unix transport");
        }
        if !unix && h.socket.is_some() {
            out.xml(
                "domain.disk-host",
                format!("transport '{}' does not support socket attribute", transport.as_str()),
            );
        }
        if !unix && h.name.is_none() {
            out.xml("domain.disk-host", "missing name for host");
        }
        port(h, out);
    }
    let anonymous = |i: &SourceIdentity| i.username.is_none();
    if protocol == "ssh" && s.identity.as_deref().is_some_and(anonymous) {
        out.xml(
            "domain.disk-identity",
            "Missing required attribute 'username' in element 'identity'",
        );
    } else if let Some(i) = &s.identity
        && protocol == "ssh"
        && i.keyfile.is_none()
        && i.agentsock.is_none()
    {
        out.xml(
            "domain.disk-identity",
            "element 'identity' requires either 'keyfile' or 'agentsock' attribute",
        );
    }
}

/// The port of a host: a number, or the name of a service.
pub(super) fn port(h: &NetworkHost, out: &mut Faults) {
    let Some(port) = h.port.as_deref() else { return };
    let words = match port.parse::<u32>() {
        Ok(0..=0xffff) => return,
        Ok(_) => format!("port '{port}' out of range"),
        Err(_) => format!("failed to parse port number '{port}'"),
    };
    out.code("domain.disk-host", ErrorCode::INVALID_ARG, words);
}

fn auth(auth: &DiskAuth, out: &mut Faults) {
    match &auth.secret {
        Some(secret) => self::secret(secret, out),
        None => out.xml("domain.disk-auth", "Missing <secret> element in auth"),
    }
}

fn secret(secret: &AuthSecret, out: &mut Faults) {
    if secret.uuid.is_some() == secret.usage.is_some() {
        let neither = secret.uuid.is_none();
        let words = if neither {
            "missing secret uuid or usage attribute"
        } else {
            "either secret uuid or usage expected"
        };
        out.xml("domain.disk-auth", words);
    }
    if !["ceph", "iscsi", "volume", "tls", "vtpm"].contains(&secret.kind.as_str()) {
        out.unsupported("domain.disk-auth", format!("unknown secret type '{}'", secret.kind));
    }
}

/// Whether the secret is one of the protocol; nobody asks that of what holds an image's data.
fn secret_fits(s: &DiskSource, auth: Option<&DiskAuth>, out: &mut Faults) {
    let want = match s.protocol.as_deref() {
        Some("iscsi") => "iscsi",
        Some("rbd") => "ceph",
        _ => return,
    };
    if let Some(secret) = auth.and_then(|auth| auth.secret.as_ref()).filter(|s| s.kind != want) {
        out.unsupported("domain.disk-auth", format!("invalid secret type '{}'", secret.kind));
    }
}

fn encryption(e: &Encryption, out: &mut Faults) {
    if e.format.is_empty() {
        out.xml("domain.disk-encryption", "unknown volume encryption format");
    } else if !["default", "qcow", "luks", "luks2", "luks-any"].contains(&e.format.as_str()) {
        let name = &e.format;
        out.unsupported(
            "domain.disk-encryption",
            format!("unknown volume encryption format type {name}"),
        );
    }
    match (&e.cipher, &e.ivgen) {
        (Some(cipher), _) if cipher.name.is_empty() => {
            out.xml("domain.disk-encryption", "cipher info missing 'name' attribute");
        }
        (None, Some(_)) => {
            out.xml("domain.disk-encryption", "ivgen element found, but cipher is missing");
        }
        (_, Some(ivgen)) if ivgen.name.is_empty() => {
            out.xml("domain.disk-encryption", "missing ivgen info name string");
        }
        _ => {}
    }
    for s in &e.secrets {
        if s.kind.is_empty() {
            out.xml("domain.disk-encryption", "unknown volume encryption secret type");
        } else if s.kind != "passphrase" {
            let kind = &s.kind;
            out.unsupported(
                "domain.disk-encryption",
                format!("unknown volume encryption secret type {kind}"),
            );
        }
        if s.uuid.is_none() && s.usage.is_none() {
            out.xml("domain.disk-encryption", "missing secret uuid or usage attribute");
        }
    }
}

fn cookies(s: &DiskSource, out: &mut Faults) {
    let cookies = s.cookies.iter().flat_map(|c| &c.cookies);
    let mut seen = std::collections::BTreeSet::new();
    for c in cookies {
        let name = &c.name;
        if !c.name.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b)) {
            out.xml(
                "domain.disk-cookie",
                format!("cookie name '{name}' contains invalid characters"),
            );
        }
        if c.value.is_empty() {
            out.xml("domain.disk-cookie", format!("missing value for cookie '{name}'"));
        }
        // A value may stand in quotes.
        let inner = c.value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        if !inner
            .unwrap_or(&c.value)
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\",;\\".contains(&b))
        {
            out.xml(
                "domain.disk-cookie",
                format!("value of cookie '{name}' contains invalid characters"),
            );
        }
        if !seen.insert(name) {
            out.xml("domain.disk-cookie", format!("duplicate cookie '{name}'"));
        }
    }
}

fn labels(s: &DiskSource, out: &mut Faults) {
    let mut models = std::collections::BTreeSet::new();
    for l in &s.seclabels {
        let model = l.model.as_deref().unwrap_or("(null)");
        if l.relabel == Some(xml::YesNo::No) && l.label.is_some() {
            out.xml(
                "domain.disk-seclabel",
                format!("Cannot specify a label if relabelling is turned off. model={model}"),
            );
        }
        if l.relabel == Some(xml::YesNo::Yes) && l.label.is_none() && l.label_skip.is_none() {
            out.xml(
                "domain.disk-seclabel",
                format!("Cannot specify relabel if label is missing. model={model}"),
            );
        }
        if !models.insert(model) {
            out.detail(
                "domain.disk-seclabel",
                format!("seclabel for model {model} is already provided"),
            );
        }
    }
}
