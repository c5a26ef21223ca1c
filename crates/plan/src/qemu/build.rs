//! What the parts of a command line are collected in.

use super::noted::{Each, Noted, Now};
use super::settings::Settings;
use super::words::{Address, Alias};
pub(super) use crate::props::{Props, Switch};
use crate::step::{
    Access, Action, Arg, FileKind, Grant, Ids, Piece, ResultName, SecretBy, SecretRef, Step, Undo,
};
use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::host::HostFacts;
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::Domain;
use model::domain::devices::Devices;
use model::domain::devices::controller::ControllerType;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Separates results from text while an argument is put together. No character of XML 1.0.
const MARK: char = '\u{fffe}';

/// Stands for the number of a descriptor inside an argument's text.
pub(super) fn fd_mark(name: &str) -> String {
    format!("{MARK}F{name}{MARK}")
}

/// Stands for a reserved port inside an argument's text.
pub(super) fn port_mark(name: &str) -> String {
    format!("{MARK}P{name}{MARK}")
}

/// Stands for the VNC display number of a reserved port.
pub(super) fn display_mark(name: &str) -> String {
    format!("{MARK}D{name}{MARK}")
}

/// Stands for a sealed secret inside an argument's text.
fn secret_mark(name: &str) -> String {
    format!("{MARK}S{name}{MARK}")
}

/// Stands for the initialization vector of a sealed secret.
fn iv_mark(name: &str) -> String {
    format!("{MARK}I{name}{MARK}")
}

/// Stands for the context id of a guest; a number where it is all of a JSON text.
pub(super) fn cid_mark(name: &str) -> String {
    format!("{MARK}C{name}{MARK}")
}

/// An argument from text with marks.
fn unmark(text: &str) -> Arg {
    let mut pieces = Vec::new();
    let parts: Vec<&str> = text.split(MARK).collect();
    let is_number =
        |index: usize| index % 2 == 1 && parts.get(index).is_some_and(|p| p.starts_with('C'));
    for (index, part) in parts.iter().copied().enumerate() {
        // A number in JSON stands without quotes.
        let before = if is_number(index + 1) { part.strip_suffix('"') } else { None };
        let part = before.unwrap_or(part);
        let after = if index > 0 && is_number(index - 1) { part.strip_prefix('"') } else { None };
        let part = after.unwrap_or(part);
        if part.is_empty() {
            continue;
        }
        pieces.push(match (index % 2, part.split_at_checked(1)) {
            (1, Some(("F", name))) => Piece::Fd(ResultName::new(name)),
            (1, Some(("C", name))) => Piece::Cid(ResultName::new(name)),
            (1, Some(("D", name))) => Piece::VncDisplay(ResultName::new(name)),
            (1, Some(("P", name))) => Piece::Port(ResultName::new(name)),
            (1, Some(("S", name))) => Piece::Secret(ResultName::new(name)),
            (1, Some(("I", name))) => Piece::SecretIv(ResultName::new(name)),
            _ => Piece::Text(part.to_string()),
        });
    }
    Arg(pieces)
}

/// Text for use inside a comma-separated option.
pub(super) fn comma(text: &str) -> String {
    text.replace(',', ",,")
}

/// Properties as `HEAD,key=value,…`, for emulators that take no JSON there.
fn flat(props: &Props, head: &str) -> String {
    fn text(value: &Value) -> String {
        match value {
            Value::Bool(on) => if *on { "on" } else { "off" }.to_string(),
            Value::String(text) => comma(text),
            other => other.to_string(),
        }
    }
    let mut out = props.0.get(head).map(text).unwrap_or_default();
    for (key, value) in props.0.iter().filter(|(key, _)| *key != head) {
        // Lists of `{"str": …}` are the option given several times.
        let values: Vec<String> = match value {
            Value::Array(items) => items.iter().map(|i| text(i.get("str").unwrap_or(i))).collect(),
            value => vec![text(value)],
        };
        for value in values {
            out.push_str(&format!(",{key}={value}"));
        }
    }
    out
}

/// A command line in the making, with the steps it needs.
pub(super) struct Build<'a> {
    /// The domain (a copy that becomes the live definition).
    pub(super) d: &'a Domain,
    /// Its devices.
    pub(super) dev: &'a Devices,
    /// The emulator.
    pub(super) caps: &'a QemuCaps,
    /// The host.
    pub(super) host: &'a HostFacts,
    /// The daemon's settings.
    pub(super) set: &'a Settings,
    /// Accelerator.
    pub(super) accel: Accel,
    /// Guest architecture.
    pub(super) arch: String,
    /// Machine as written.
    pub(super) machine: String,
    /// `…/domain-ID-NAME`.
    pub(super) private_dir: String,
    /// Short name `ID-NAME`, used in paths.
    pub(super) short_name: String,
    /// What is being planned, for the reasons of what follows.
    pub(super) now: Rc<Now>,
    /// Command line so far.
    pub(super) args: Noted<Arg>,
    /// Steps before the exec, so far.
    pub(super) steps: Noted<Step>,
    /// Commands of the prelude that devices need.
    pub(super) commands: Noted<crate::step::QmpCommand>,
    /// Faults.
    pub(super) faults: Vec<Diagnostic>,
    /// Numbers that the guest's firmware knows PCI devices by, by the devices' names.
    pub(super) acpi_indexes: BTreeMap<String, u32>,
    /// Where the guest's state comes from, as QEMU writes it; `None`: it boots.
    pub(super) incoming: Option<String>,
    /// Number of `-add-fd` sets so far.
    pub(super) fdsets: usize,
    /// Descriptor sets of disk images, by the name of their storage node.
    pub(super) disk_sets: std::collections::BTreeMap<String, usize>,
    /// Names of the nodes of images that QEMU is to make.
    pub(super) nodes: std::collections::BTreeSet<String>,
    /// What was looked up outside.
    pub(super) found: &'a super::found::Found,
    /// The guest runs already: the options are made for its monitor, which takes JSON only.
    pub(super) hot: Option<Hot>,
}

/// What the description of a single device needs to know of the guest that runs.
#[derive(Clone, Debug)]
pub(super) struct Hot {
    /// The first number that no image has.
    pub(super) first_node: u32,
    /// The node that the lowest image of the disk stands on; none: what its chain says.
    pub(super) below: Option<String>,
}

impl<'a> Build<'a> {
    /// Whether QEMU has the feature; part of the reason of what comes next.
    pub(super) fn has(&self, flag: &'static str) -> bool {
        let has = self.caps.has(flag);
        self.now.asked(flag, has);
        has
    }

    /// Goes on with the part of the command line that an element asks for, or every guest has.
    pub(super) fn part(&mut self, element: &'static str, rule: &'static str) -> &mut Self {
        self.now.part(element, rule);
        self
    }

    /// Gives the next argument, step or command a reason of its own.
    pub(super) fn because(&self, rule: impl Into<Cow<'static, str>>) {
        self.now.because(rule);
    }

    /// The devices of one kind; what is planned for each is known to be for it.
    pub(super) fn each<'t, T>(&self, element: &'static str, devices: &'t [T]) -> Each<'t, T> {
        Each::new(&self.now, element, devices)
    }

    /// An option without value.
    pub(super) fn flag(&mut self, name: &str) {
        self.args.push(Arg::text(name));
    }

    /// An option with its value; the value may hold marks.
    pub(super) fn opt(&mut self, name: &str, value: &str) {
        self.args.push(Arg::text(name));
        self.args.push(unmark(value));
    }

    /// An option whose value is JSON.
    pub(super) fn json(&mut self, name: &str, props: Props) {
        let text = Value::Object(props.0).to_string();
        self.opt(name, &text);
    }

    /// `-device`, with the domain's overrides applied.
    pub(super) fn device(&mut self, mut props: Props) {
        self.zpci(&mut props);
        let id = props.0.get("id").and_then(Value::as_str);
        let index = id.and_then(|id| self.acpi_indexes.get(id)).copied();
        if let Some(index) = index.filter(|_| props.0.contains_key("addr")) {
            props = props.set("acpi-index", index);
        }
        let props = self.overridden(props);
        // Devices given as JSON could not be unplugged before this.
        if self.hot.is_some() || self.has("device.json+hotplug") {
            self.json("-device", props);
        } else {
            let text = flat(&props, "driver");
            self.opt("-device", &text);
        }
    }

    /// `-netdev`.
    pub(super) fn netdev(&mut self, props: Props) {
        if self.hot.is_some() || self.has("netdev.json") {
            self.json("-netdev", props);
        } else {
            let text = flat(&props, "type");
            self.opt("-netdev", &text);
        }
    }

    /// `-object`.
    pub(super) fn object(&mut self, props: Props) {
        self.json("-object", props);
    }

    /// A `secret` object named `id` that holds a secret of the store, sealed.
    pub(super) fn secret(&mut self, id: &str, usage_type: &str, by: SecretBy) {
        self.sealed(id, usage_type, by, None);
    }

    /// A `secret` object named `id` that holds a text of the guest's own XML, sealed.
    pub(super) fn secret_text(&mut self, id: &str, text: String) {
        self.sealed(id, "", SecretBy::Usage(String::new()), Some(text));
    }

    /// A secret as a step names it.
    pub(super) fn secret_ref(
        &self,
        usage_type: &str,
        by: SecretBy,
        text: Option<String>,
    ) -> SecretRef {
        let master_key = format!("{}/master-key.aes", self.private_dir);
        SecretRef { usage_type: usage_type.to_string(), by, master_key, text }
    }

    fn sealed(&mut self, id: &str, usage_type: &str, by: SecretBy, text: Option<String>) {
        let step = Action::Secret(self.secret_ref(usage_type, by, text));
        self.steps.push(Step::new(step).yields(id));
        self.because("a secret, sealed with the guest's master key");
        let props = Props::object("secret", id)
            .set("data", secret_mark(id))
            .set("keyid", "masterKey0")
            .set("iv", iv_mark(id))
            .set("format", "base64");
        self.object(props);
    }

    /// Applies `<qemu:override>`.
    fn overridden(&self, mut props: Props) -> Props {
        use model::domain::qemu_namespace::QemuPropertyType as Kind;
        let Some(all) = &self.d.qemu_override else {
            return props;
        };
        let id = props.0.get("id").and_then(Value::as_str).unwrap_or_default().to_string();
        for device in all.devices.iter().filter(|device| device.alias == id) {
            for property in device.frontend.iter().flat_map(|f| &f.properties) {
                let text = property.value.as_deref().unwrap_or_default();
                let value = match property.kind {
                    Kind::String => Some(Value::from(text)),
                    Kind::Unsigned => text.parse::<u64>().ok().map(Value::from),
                    Kind::Signed => text.parse::<i64>().ok().map(Value::from),
                    Kind::Bool => Some(Value::from(matches!(text, "true" | "yes" | "on"))),
                    Kind::Remove => {
                        props.0.shift_remove(&property.name);
                        None
                    }
                };
                if let Some(value) = value {
                    props.0.insert(property.name.clone(), value);
                }
            }
        }
        props
    }

    /// Notes a fault: something that cannot be done.
    pub(super) fn fail(&mut self, rule: &'static str, message: impl Into<String>) {
        self.fail_with(rule, ErrorCode::CONFIG_UNSUPPORTED, message);
    }

    /// Notes a fault that has a code of its own.
    pub(super) fn fail_with(
        &mut self,
        rule: &'static str,
        code: ErrorCode,
        message: impl Into<String>,
    ) {
        self.faults.push(Diagnostic {
            rule,
            severity: Severity::Error,
            code,
            span: None,
            message: message.into(),
            domain: None,
            hints: Vec::new(),
        });
    }

    /// Notes that the emulator lacks what an element needs, unless it has it.
    pub(super) fn need(&mut self, flag: &'static str, element: &str) {
        if !self.has(flag) {
            let (major, minor, micro) = self.caps.version;
            let message = format!(
                "{element} needs the feature '{flag}', which {} (version {major}.{minor}.{micro}) lacks",
                self.caps.emulator
            );
            self.fail("qemu.capability", message);
        }
    }

    /// Like [`Self::need`], where libvirt has words of its own for what is missing.
    pub(super) fn need_or(&mut self, flag: &'static str, message: &str) {
        if !self.has(flag) {
            let (major, minor, micro) = self.caps.version;
            let emulator = &self.caps.emulator;
            let hint = format!("{emulator} (version {major}.{minor}.{micro}) lacks '{flag}'");
            self.fail("qemu.capability", message);
            if let Some(fault) = self.faults.last_mut() {
                fault.hints.push(hint);
            }
        }
    }

    /// The name of a device, or an empty text and a fault if it has none.
    pub(super) fn alias(&mut self, alias: &Option<Alias>, element: &str) -> String {
        match alias {
            Some(alias) => alias.name.clone(),
            None => {
                self.fail("qemu.alias", format!("{element} has no alias"));
                String::new()
            }
        }
    }

    /// Name of the controller of a kind and index.
    pub(super) fn controller(&self, kind: ControllerType, index: u32) -> Option<&'a str> {
        // Companions of a USB controller lead to their master's bus.
        let found = self
            .dev
            .controllers
            .iter()
            .find(|c| c.kind == kind && c.index.unwrap_or(0) == index && c.master.is_none())?;
        // What is part of the board has the board's name, whatever the domain calls it.
        match kind {
            ControllerType::Scsi if found.model.as_deref() == Some("ncr53c90") => {
                return Some("scsi");
            }
            ControllerType::Ide if index == 0 && self.i440fx() => return Some("ide"),
            ControllerType::Sata if index == 0 && self.q35() => return Some("ide"),
            _ => {}
        }
        found.alias.as_ref().map(|alias| alias.name.as_str())
    }

    /// The bus and place of a device, as properties.
    pub(super) fn place(&mut self, address: &Option<Address>, element: &str) -> Props {
        let props = Props::default();
        match address {
            Some(Address::Pci(pci)) => {
                let index = pci.bus.0 as u32;
                let Some(bus) = self.pci_bus(index) else {
                    self.fail(
                        "qemu.pci-bus",
                        format!("{element} is on PCI bus {index}, which no controller provides"),
                    );
                    return props;
                };
                let addr = if pci.function.0 == 0 {
                    format!("0x{:x}", pci.slot.0)
                } else {
                    format!("0x{:x}.0x{:x}", pci.slot.0, pci.function.0)
                };
                let zpci = pci.zpci.as_ref().map(super::zpci::note);
                let props = props.opt(super::zpci::NOTE, zpci).set("bus", bus);
                props.on_off("multifunction", pci.multifunction).set("addr", addr)
            }
            Some(Address::Usb(usb)) => {
                let Some(name) = self.controller(ControllerType::Usb, usb.bus) else {
                    let message = format!(
                        "USB bus {} requested but no controller with that index is present",
                        usb.bus
                    );
                    self.fail_with("qemu.usb-bus", ErrorCode::XML_ERROR, message);
                    return props;
                };
                props.set("bus", format!("{name}.0")).opt("port", usb.port.clone())
            }
            Some(Address::Isa(isa)) => {
                props.opt("iobase", isa.iobase.map(|v| v.0)).opt("irq", isa.irq.map(|v| v.0))
            }
            Some(Address::Ccw(ccw)) => {
                let text = format!(
                    "{:x}.{:x}.{:04x}",
                    ccw.cssid.map_or(0, |v| v.0),
                    ccw.ssid.map_or(0, |v| v.0),
                    ccw.devno.map_or(0, |v| v.0)
                );
                props.set("devno", text)
            }
            Some(Address::SpaprVio(vio)) => match vio.reg {
                Some(reg) => props.set("reg", reg.0),
                None => props,
            },
            _ => props,
        }
    }

    /// A virtio device's driver name for the bus it sits on.
    pub(super) fn virtio_name(
        &self,
        base: &str,
        address: &Option<Address>,
        model: Option<model::domain::devices::disk::DiskModel>,
    ) -> String {
        use model::domain::devices::disk::DiskModel;
        let suffix = match address {
            Some(Address::Ccw(_)) => "ccw",
            Some(Address::VirtioMmio(_)) => "device",
            _ => "pci",
        };
        let flavour = match model {
            Some(DiskModel::VirtioTransitional) if suffix != "device" => "-transitional",
            Some(DiskModel::VirtioNonTransitional) if suffix != "device" => "-non-transitional",
            _ => "",
        };
        format!("{base}-{suffix}{flavour}")
    }

    /// Options of the virtio transport.
    pub(super) fn virtio_options(driver: Option<&super::words::VirtioDriver>) -> Props {
        let Some(driver) = driver else {
            return Props::default();
        };
        Props::default()
            .on_off("iommu_platform", driver.iommu)
            .on_off("ats", driver.ats)
            .on_off("packed", driver.packed)
            .on_off("page-per-vq", driver.page_per_vq)
    }

    /// QEMU's user.
    pub(super) fn ids(&self) -> Option<Ids> {
        self.set.ids
    }

    /// A step that gives a file to QEMU's user for the time of the run.
    pub(super) fn grant(&mut self, path: &str, access: Access, shared: bool, why: &str) {
        self.grant_kind(FileKind::Other, self.ids(), path, access, shared, why);
    }

    /// The same for what a disk lies on, which may go to another user and group, or to nobody: then
    /// QEMU must reach it as it is.
    pub(super) fn grant_image(
        &mut self,
        owner: Option<Ids>,
        path: &str,
        access: Access,
        shared: bool,
        why: &str,
    ) {
        self.grant_kind(FileKind::Image, owner, path, access, shared, why);
    }

    fn grant_kind(
        &mut self,
        kind: FileKind,
        owner: Option<Ids>,
        path: &str,
        access: Access,
        shared: bool,
        why: &str,
    ) {
        let done = |step: &Step| matches!(&step.action, Action::Grant(g) if g.path == path);
        if self.steps.iter().any(done) {
            return;
        }
        let owner = owner.filter(|_| self.set.dynamic_ownership);
        let restore = owner.is_some() && self.set.remember_owner;
        let grant = Grant {
            path: path.to_string(),
            access,
            owner,
            restore,
            optional: false,
            shared,
            why: why.to_string(),
            kind,
        };
        let mut step = Step::new(Action::Grant(grant));
        // Of a file that others may use, nobody would know when the last one has done with it.
        let own = access == Access::ReadWrite && !shared;
        if restore || (owner.is_some() && own) {
            step = step.undone_by(Undo::RestoreOwner(path.to_string()));
        }
        self.steps.push(step);
    }

    /// A listening socket whose descriptor is passed to QEMU.
    pub(super) fn listen(&mut self, name: &str, path: &str) {
        // The address of a unix socket holds 108 bytes, one of them for the closing zero.
        if path.len() > 107 {
            self.fail("qemu.socket-path", format!("socket path '{path}' is longer than 107 bytes"));
        }
        let step = Step::new(Action::ListenUnix {
            path: path.to_string(),
            mode: 0o700,
            owner: self.ids(),
        });
        self.steps.push(step.yields(name).undone_by(Undo::RemoveSocket(path.to_string())));
    }

    /// A descriptor set that holds the named descriptor; its path.
    pub(super) fn fdset(&mut self, name: &str, opaque: &str) -> String {
        self.fdset_opaque(&[name.to_string()], opaque)
    }

    /// A descriptor set that holds the named descriptors; its path.
    pub(super) fn fdset_opaque(&mut self, names: &[String], opaque: &str) -> String {
        let number = self.fdsets;
        self.fdsets += 1;
        for name in names {
            self.because("opened by the daemon: QEMU's user may not");
            self.opt("-add-fd", &format!("set={number},fd={},opaque={opaque}", fd_mark(name)));
        }
        format!("/dev/fdset/{number}")
    }

    /// A `tls-creds-x509` object, with the secret that unlocks its key where there is one.
    pub(super) fn tls_credentials(
        &mut self,
        id: &str,
        secret_id: &str,
        tls: &super::settings::TlsSettings,
        server: bool,
    ) {
        let secret = tls.secret.clone().map(|uuid| {
            self.secret(secret_id, "tls", SecretBy::Uuid(uuid));
            secret_id.to_string()
        });
        let props = Props::object("tls-creds-x509", id)
            .set("dir", tls.dir.clone())
            .set("endpoint", if server { "server" } else { "client" })
            // A client always looks at the server's certificate.
            .set("verify-peer", !server || tls.verify)
            .opt("passwordid", secret);
        self.object(props);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_pieces() {
        let arg = unmark(&format!("fd={},port={}", fd_mark("a.fd"), port_mark("p")));
        assert_eq!(
            arg.0,
            [
                Piece::Text("fd=".into()),
                Piece::Fd(ResultName::new("a.fd")),
                Piece::Text(",port=".into()),
                Piece::Port(ResultName::new("p")),
            ]
        );
        assert_eq!(unmark("plain").0, [Piece::Text("plain".into())]);
    }
}
