//! Where a disk's data lies.

use diag::ErrorCode;

use super::super::Faults;
use crate::domain::devices::disk::{
    AuthSecret, Disk, DiskDevice, DiskSource, Encryption, NetworkTransport, StartupPolicy,
    StorageType,
};

pub(super) fn check(x: &Disk, out: &mut Faults) {
    required(x, out);
    let Some(s) = &x.source else { return };
    if x.kind == StorageType::Network {
        network(s, out);
    }
    if x.auth.is_some() && s.auth.is_some() {
        out.unsupported("domain.disk-auth", "an <auth> definition already found for disk source");
    }
    if x.encryption.is_some() && s.encryption.is_some() {
        out.unsupported(
            "domain.disk-encryption",
            "an <encryption> definition already found for disk source",
        );
    }
    for auth in [&x.auth, &s.auth].into_iter().flatten() {
        match &auth.secret {
            Some(secret) => self::secret(s, secret, out),
            None => out.xml("domain.disk-auth", "Missing <secret> element in auth"),
        }
    }
    for e in [&x.encryption, &s.encryption].into_iter().flatten() {
        encryption(e, out);
    }
    if let Some(policy) = s.startup_policy {
        let name = policy.as_str();
        if x.kind == StorageType::Network {
            out.xml(
                "domain.disk-startup",
                format!("disk startupPolicy '{name}' is not allowed for disk of 'network' type"),
            );
        } else if policy == StartupPolicy::Requisite
            && !matches!(x.device, DiskDevice::Cdrom | DiskDevice::Floppy)
        {
            out.xml(
                "domain.disk-startup",
                format!("disk startupPolicy '{name}' is allowed only for cdrom or floppy"),
            );
        }
    }
    if s.reservations.is_some() && x.device != DiskDevice::Lun {
        out.unsupported("domain.disk-reservations", "<reservations/> allowed only for lun devices");
    }
    if let Some(r) = &s.reservations
        && r.managed == xml::YesNo::No
        && r.source.is_none()
    {
        out.xml("domain.disk-reservations", "missing connection type for <reservations/>");
    }
    cookies(s, out);
    labels(s, out);
}

/// What each kind of storage must name.
fn required(x: &Disk, out: &mut Faults) {
    let s = x.source.as_ref();
    let missing = |name: &str| format!("Missing required attribute '{name}' in element 'source'");
    match x.kind {
        StorageType::Network if s.is_none_or(|s| s.protocol.is_none()) => {
            let removable = matches!(x.device, DiskDevice::Cdrom | DiskDevice::Floppy);
            if s.is_some() || !removable {
                out.xml("domain.disk-source", missing("protocol"));
            }
        }
        StorageType::Nvme => {
            let Some(s) = s.filter(|s| s.kind.is_some()) else {
                out.xml("domain.disk-source", "missing 'type' attribute to disk source");
                return;
            };
            match s.namespace {
                None => out.xml("domain.disk-source", missing("namespace")),
                Some(0) => out.unsupported("domain.disk-nvme", "NVMe namespace can't be zero"),
                _ => {}
            }
            if s.address.is_none() {
                out.xml("domain.disk-source", "NVMe disk source is missing address");
            }
        }
        StorageType::Vhostuser => match s.and_then(|s| s.kind.as_deref()) {
            None => {
                out.xml("domain.disk-source", "missing 'type' attribute for vhostuser disk source")
            }
            Some("unix") if s.is_some_and(|s| s.path.is_none()) => {
                out.xml("domain.disk-source", missing("path"));
            }
            Some("unix") => {}
            Some(_) => {
                out.xml("domain.disk-source", "invalid 'type' attribute for vhostuser disk source")
            }
        },
        StorageType::Vhostvdpa if s.is_none_or(|s| s.dev.is_none()) => {
            out.xml("domain.disk-source", missing("dev"));
        }
        StorageType::File | StorageType::Block | StorageType::Dir
            if s.is_none() && !matches!(x.device, DiskDevice::Cdrom | DiskDevice::Floppy) =>
        {
            let dev = &x.target.dev;
            out.code(
                "domain.disk-source",
                ErrorCode::NO_SOURCE,
                format!("missing source information for device {dev}"),
            );
        }
        _ => {}
    }
}

/// Protocols of network disks.
const PROTOCOLS: [&str; 13] = [
    "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps", "tftp", "ssh",
    "vxhs", "nfs",
];

fn network(s: &DiskSource, out: &mut Faults) {
    let Some(protocol) = s.protocol.as_deref() else { return };
    if !PROTOCOLS.contains(&protocol) {
        out.xml(
            "domain.disk-protocol",
            format!("Invalid value for attribute 'protocol' in element 'source': '{protocol}'."),
        );
        return;
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
        if let Some(port) = h.port.as_deref().filter(|p| p.parse::<u16>().is_err()) {
            out.code(
                "domain.disk-host",
                ErrorCode::INVALID_ARG,
                format!("failed to parse port number '{port}'"),
            );
        }
    }
    if let Some(i) = &s.identity
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

fn secret(s: &DiskSource, secret: &AuthSecret, out: &mut Faults) {
    if secret.uuid.is_some() == secret.usage.is_some() {
        out.xml("domain.disk-auth", "either secret uuid or usage expected");
    }
    let want = match s.protocol.as_deref() {
        Some("iscsi") => Some("iscsi"),
        Some("rbd") => Some("ceph"),
        _ => None,
    };
    if want.is_some_and(|w| w != secret.kind) {
        out.unsupported("domain.disk-auth", format!("invalid secret type '{}'", secret.kind));
    }
}

fn encryption(e: &Encryption, out: &mut Faults) {
    if !["default", "qcow", "luks", "luks2", "luks-any"].contains(&e.format.as_str()) {
        let name = &e.format;
        out.unsupported(
            "domain.disk-encryption",
            format!("unknown volume encryption format type {name}"),
        );
    }
    if let Some(engine) = e.engine.as_deref().filter(|n| !matches!(*n, "qemu" | "librbd")) {
        out.xml(
            "domain.disk-encryption",
            format!("Invalid value for attribute 'engine' in element 'encryption': '{engine}'."),
        );
    }
    for s in &e.secrets {
        if s.kind != "passphrase" {
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
