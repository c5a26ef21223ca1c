//! What a guest's agent tells of the guest, as libvirt's named values.

use crate::domain::affect::running;
use crate::domain::hardware::block::disks;
use crate::domain::record::Domain;
use crate::engine::Engine;
use crate::typed::{Params, Value as Typed};
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::address::{Address, PciAddress};
use qmp::{Ack, Command, Value};
use std::sync::Arc;
use units::CpuSet;

/// Most entries taken from a list of a guest's.
const MOST: usize = 256;

/// The kinds of information (`virDomainGuestInfoTypes`), with the agent's commands.
const KINDS: [(u32, &str); 8] = [
    (1, "guest-get-users"),
    (1 << 1, "guest-get-osinfo"),
    (1 << 2, "guest-get-timezone"),
    (1 << 3, "guest-get-host-name"),
    (1 << 4, "guest-get-fsinfo"),
    (1 << 5, "guest-get-disks"),
    (1 << 6, "guest-network-get-interfaces"),
    (1 << 7, "guest-get-load"),
];

/// A file system inside the guest (`virDomainFSInfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFileSystem {
    /// Where it is mounted.
    pub mount_point: String,
    /// The device in the guest.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Targets of the domain's disks that it lies on.
    pub disks: Vec<String>,
}

/// What to do with a user's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshKeys {
    /// These and no others.
    Replace,
    /// These too.
    Append,
    /// No longer these.
    Remove,
}

impl Engine {
    /// All kinds of guest information there are.
    pub const GUEST_INFO: u32 = (1 << 8) - 1;

    /// Information of the given kinds; with 0 of all kinds that the agent knows.
    ///
    /// # Errors
    /// As all questions to the agent; kinds that were asked for and that it does not know.
    pub async fn guest_info(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        kinds: u32,
        client: &Arc<str>,
    ) -> Result<Params, VirError> {
        let mut params = Params::new();
        for (kind, name) in KINDS {
            if kinds != 0 && kinds & kind == 0 {
                continue;
            }
            let answer = self.ask_agent(domain, Command::<Value>::new(name), "guestinfo", client);
            let answer = match answer.await {
                // Whoever asks for everything gets what there is.
                Err(error) if kinds == 0 && error.code == ErrorCode::AGENT_COMMAND_FAILED => {
                    continue;
                }
                other => other?,
            };
            let snapshot = domain.snapshot();
            let definition = snapshot.live.as_ref().map(|live| &live.definition);
            add(&mut params, kind, &answer, definition);
        }
        Ok(params)
    }

    /// The guest's file systems, in the order of mounting.
    ///
    /// # Errors
    /// As all questions to the agent.
    pub async fn guest_file_systems(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<Vec<GuestFileSystem>, VirError> {
        running(domain)?;
        let command = Command::<Value>::new("guest-get-fsinfo");
        let answer = self.ask_agent(domain, command, "domfsinfo", client).await?;
        let snapshot = domain.snapshot();
        let definition = snapshot.live.as_ref().map(|live| &live.definition);
        let found = entries(&answer).rev().map(|entry| GuestFileSystem {
            mount_point: text(entry, "mountpoint").unwrap_or_default(),
            name: text(entry, "name").unwrap_or_default(),
            kind: text(entry, "type").unwrap_or_default(),
            disks: entries(entry.get("disk").unwrap_or(&Value::Null))
                .filter_map(|disk| target_of(definition?, disk))
                .collect(),
        });
        Ok(found.collect())
    }

    /// The virtual CPUs that the guest sees, uses, and can do without.
    ///
    /// # Errors
    /// As all questions to the agent.
    pub async fn guest_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<Params, VirError> {
        running(domain)?;
        let command = Command::<Value>::new("guest-get-vcpus");
        let answer = self.ask_agent(domain, command, "guestvcpus", client).await?;
        let vcpus = GuestVcpus::from_json(&answer);
        Ok(vec![
            ("vcpus".to_owned(), vcpus.all.to_string().into()),
            ("online".to_owned(), vcpus.online.to_string().into()),
            ("offlinable".to_owned(), vcpus.offlinable.to_string().into()),
        ])
    }

    /// Has the guest use virtual CPUs, or do without them.
    ///
    /// # Errors
    /// Those that the guest does not have or cannot do without; as all questions to the agent.
    pub async fn set_guest_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        map: &str,
        online: bool,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let numbers = crate::domain::tuning::plug::numbers_of(map)?;
        let command = Command::<Value>::new("guest-get-vcpus");
        let answer = self.ask_agent(domain, command, "guestvcpus", client).await?;
        let vcpus = GuestVcpus::from_json(&answer);
        vcpus.check(&numbers, online)?;
        let list: Vec<Value> = numbers
            .iter()
            .map(|number| serde_json::json!({ "logical-id": number, "online": online }))
            .collect();
        let wanted = list.len();
        let command = Command::<Value>::new("guest-set-vcpus").arg("vcpus", list);
        let done = self.ask_agent(domain, command, "guestvcpus", client).await?;
        // The agent tells how far it came.
        match done.as_u64().and_then(|done| usize::try_from(done).ok()) {
            Some(done) if done < wanted => {
                Err(VirError::internal("failed to set state of some of the guest's vCPUs"))
            }
            _ => Ok(()),
        }
    }

    /// The keys that let someone in as a user of the guest.
    ///
    /// # Errors
    /// As all questions to the agent.
    pub async fn guest_ssh_keys(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        user: &str,
        client: &Arc<str>,
    ) -> Result<Vec<String>, VirError> {
        let command = Command::<Value>::new("guest-ssh-get-authorized-keys").arg("username", user);
        let answer = self.ask_agent(domain, command, "get-user-sshkeys", client).await?;
        let keys = answer.get("keys").and_then(Value::as_array).into_iter().flatten();
        Ok(keys.filter_map(|key| key.as_str().map(str::to_owned)).take(2048).collect())
    }

    /// Changes them.
    ///
    /// # Errors
    /// As all questions to the agent.
    pub async fn set_guest_ssh_keys(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        user: &str,
        keys: Vec<String>,
        what: SshKeys,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let name = match what {
            SshKeys::Remove => "guest-ssh-remove-authorized-keys",
            _ => "guest-ssh-add-authorized-keys",
        };
        let mut command = Command::<Ack>::new(name).arg("username", user).arg("keys", keys);
        if what == SshKeys::Replace {
            command = command.arg("reset", true);
        }
        self.ask_agent(domain, command, "set-user-sshkeys", client).await.map(|_| ())
    }
}

/// The guest's own view of its virtual CPUs.
struct GuestVcpus {
    all: CpuSet,
    online: CpuSet,
    offlinable: CpuSet,
}

impl GuestVcpus {
    fn from_json(answer: &Value) -> Self {
        let mut vcpus =
            Self { all: CpuSet::new(), online: CpuSet::new(), offlinable: CpuSet::new() };
        for entry in answer.as_array().into_iter().flatten().take(16_384) {
            let number = entry.get("logical-id").and_then(Value::as_u64);
            let Some(number) = number.filter(|number| *number < 16_384) else { continue };
            let number = usize::try_from(number).unwrap_or(0);
            let is = |name| entry.get(name).and_then(Value::as_bool) == Some(true);
            vcpus.all.insert(number);
            if is("online") {
                vcpus.online.insert(number);
            }
            if is("can-offline") {
                vcpus.offlinable.insert(number);
            }
        }
        vcpus
    }

    fn check(&self, numbers: &[u32], online: bool) -> Result<(), VirError> {
        let wanted = numbers.iter().map(|number| usize::try_from(*number).unwrap_or(0));
        let lacks = |set: &CpuSet| -> CpuSet {
            wanted.clone().filter(|number| !set.contains(*number)).collect()
        };
        let missing = lacks(&self.all);
        if !missing.is_empty() {
            return Err(VirError::invalid_arg(format!("guest is missing vCPUs '{missing}'")));
        }
        if !online && let Some(number) = lacks(&self.offlinable).iter().next() {
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                format!("vCPU '{number}' is not offlinable"),
            ));
        }
        Ok(())
    }
}

fn entries(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.get(..list.len().min(MOST)).unwrap_or_default().iter()
}

fn text(entry: &Value, name: &str) -> Option<String> {
    entry.get(name)?.as_str().map(str::to_owned)
}

/// Adds what one kind of answer says.
fn add(params: &mut Params, kind: u32, answer: &Value, definition: Option<&Definition>) {
    let mut out = Out(params);
    match kind {
        1 => out.list("user", answer, |out, at, user| {
            out.text(&format!("{at}.name"), user, "user");
            out.text(&format!("{at}.domain"), user, "domain");
            if let Some(seconds) = user.get("login-time").and_then(Value::as_f64) {
                out.add(&format!("{at}.login-time"), (seconds.max(0.0) * 1000.0) as u64);
            }
        }),
        2 => {
            for name in [
                "id",
                "name",
                "pretty-name",
                "version",
                "version-id",
                "machine",
                "variant",
                "variant-id",
                "kernel-release",
                "kernel-version",
            ] {
                out.text(&format!("os.{name}"), answer, name);
            }
        }
        4 => {
            out.text("timezone.name", answer, "zone");
            let offset = answer.get("offset").and_then(Value::as_i64);
            if let Some(offset) = offset.and_then(|offset| i32::try_from(offset).ok()) {
                out.add("timezone.offset", offset);
            }
        }
        8 => out.text("hostname", answer, "host-name"),
        16 => {
            let mut mounted = answer.clone();
            if let Value::Array(list) = &mut mounted {
                list.reverse();
            }
            out.list("fs", &mounted, |out, at, fs| file_system(out, at, fs, definition));
        }
        32 => out.list("disk", answer, |out, at, disk| guest_disk(out, at, disk, definition)),
        64 => out.list("if", answer, |out, at, nic| {
            out.text(&format!("{at}.name"), nic, "name");
            out.text(&format!("{at}.hwaddr"), nic, "hardware-address");
            let addresses = nic.get("ip-addresses").unwrap_or(&Value::Null);
            out.list(&format!("{at}.addr"), addresses, |out, at, address| {
                out.text(&format!("{at}.type"), address, "ip-address-type");
                out.text(&format!("{at}.addr"), address, "ip-address");
                let prefix = address.get("prefix").and_then(Value::as_u64);
                if let Some(prefix) = prefix.and_then(|prefix| u32::try_from(prefix).ok()) {
                    out.add(&format!("{at}.prefix"), prefix);
                }
            });
        }),
        _ => {
            for (name, key) in [("1m", "load1m"), ("5m", "load5m"), ("15m", "load15m")] {
                if let Some(load) = answer.get(key).and_then(Value::as_f64) {
                    out.add(&format!("load.{name}"), load);
                }
            }
        }
    }
}

/// Values being written down.
struct Out<'a>(&'a mut Params);

impl Out<'_> {
    fn add(&mut self, name: &str, value: impl Into<Typed>) {
        self.0.push((name.to_owned(), value.into()));
    }

    fn text(&mut self, name: &str, entry: &Value, key: &str) {
        if let Some(value) = text(entry, key) {
            self.add(name, value);
        }
    }

    /// How many entries a list has, and each under its number.
    fn list(&mut self, name: &str, list: &Value, mut each: impl FnMut(&mut Self, &str, &Value)) {
        let count = u32::try_from(entries(list).count()).unwrap_or(u32::MAX);
        self.add(&format!("{name}.count"), count);
        for (number, entry) in entries(list).enumerate() {
            each(self, &format!("{name}.{number}"), entry);
        }
    }
}

fn file_system(out: &mut Out<'_>, at: &str, fs: &Value, definition: Option<&Definition>) {
    out.text(&format!("{at}.name"), fs, "name");
    out.text(&format!("{at}.mountpoint"), fs, "mountpoint");
    out.text(&format!("{at}.fstype"), fs, "type");
    for name in ["total-bytes", "used-bytes"] {
        if let Some(bytes) = fs.get(name).and_then(Value::as_u64) {
            out.add(&format!("{at}.{name}"), bytes);
        }
    }
    let on = fs.get("disk").unwrap_or(&Value::Null);
    out.list(&format!("{at}.disk"), on, |out, at, disk| {
        if let Some(target) = definition.and_then(|definition| target_of(definition, disk)) {
            out.add(&format!("{at}.alias"), target);
        }
        out.text(&format!("{at}.serial"), disk, "serial");
        out.text(&format!("{at}.device"), disk, "dev");
    });
}

fn guest_disk(out: &mut Out<'_>, at: &str, disk: &Value, definition: Option<&Definition>) {
    out.text(&format!("{at}.name"), disk, "name");
    let partition = disk.get("partition").and_then(Value::as_bool).unwrap_or(false);
    out.add(&format!("{at}.partition"), partition);
    let dependencies = disk.get("dependencies").filter(|list| entries(list).next().is_some());
    if let Some(dependencies) = dependencies {
        out.list(&format!("{at}.dependency"), dependencies, |out, at, name| {
            out.add(&format!("{at}.name"), name.as_str().unwrap_or_default());
        });
    }
    if let Some(address) = disk.get("address") {
        out.text(&format!("{at}.serial"), address, "serial");
        if let Some(target) = definition.and_then(|definition| target_of(definition, address)) {
            out.add(&format!("{at}.alias"), target);
        }
        out.text(&format!("{at}.guest_bus"), address, "bus-type");
    }
    out.text(&format!("{at}.guest_alias"), disk, "alias");
}

/// The target of the domain's disk at an address that the guest tells: a PCI device, which is the
/// disk itself or the controller that it hangs on.
fn target_of(definition: &Definition, disk: &Value) -> Option<String> {
    let number = |value: &Value, name: &str| value.get(name)?.as_u64();
    let controller = disk.get("pci-controller")?;
    let pci = [
        number(controller, "domain")?,
        number(controller, "bus")?,
        number(controller, "slot")?,
        number(controller, "function")?,
    ];
    let is_at = |address: &PciAddress| {
        [address.domain.0, address.bus.0, address.slot.0, address.function.0].map(u64::from) == pci
    };
    let devices = definition.devices.as_ref()?;
    let direct = disks(definition).iter().find(|disk| match &disk.address {
        Some(Address::Pci(address)) => is_at(address),
        _ => false,
    });
    if let Some(found) = direct {
        return Some(found.target.dev.clone());
    }
    let own = devices.controllers.iter().find(|controller| match &controller.address {
        Some(Address::Pci(address)) => is_at(address),
        _ => false,
    })?;
    let place = [number(disk, "bus"), number(disk, "target"), number(disk, "unit")];
    let place = place.map(|number| number.unwrap_or(0));
    let found = disks(definition).iter().find(|other| match &other.address {
        Some(Address::Drive(address)) => {
            address.controller == own.index.unwrap_or(0)
                && [address.bus, address.target, address.unit].map(u64::from) == place
        }
        _ => false,
    });
    found.map(|disk| disk.target.dev.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition() -> Definition {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
                    <devices><disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/>\
                    <address type='pci' domain='0' bus='0' slot='5' function='0'/></disk>\
                    <disk type='file'><source file='/b'/><target dev='sdb' bus='scsi'/>\
                    <address type='drive' controller='1' bus='0' target='0' unit='2'/></disk>\
                    <controller type='scsi' index='1' model='virtio-scsi'>\
                    <address type='pci' domain='0' bus='0' slot='6' function='0'/></controller>\
                    </devices></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions::default());
        parsed.domain.expect("a definition")
    }

    fn shown(kind: u32, answer: &Value) -> Vec<String> {
        let mut params = Params::new();
        add(&mut params, kind, answer, Some(&definition()));
        params.into_iter().map(|(name, value)| format!("{name} {value:?}")).collect()
    }

    #[test]
    fn disks_are_found_by_their_places() {
        let at = |slot: u32, unit: u32| {
            json!({ "pci-controller": { "domain": 0, "bus": 0, "slot": slot, "function": 0 },
                    "bus": 0, "target": 0, "unit": unit })
        };
        let definition = definition();
        assert_eq!(target_of(&definition, &at(5, 0)).as_deref(), Some("vda"));
        assert_eq!(target_of(&definition, &at(6, 2)).as_deref(), Some("sdb"));
        assert_eq!(target_of(&definition, &at(6, 1)), None);
        assert_eq!(target_of(&definition, &json!({ "pci-controller": { "domain": -1 } })), None);
    }

    #[test]
    fn kinds_of_information() {
        let users = json!([{ "user": "root", "login-time": 1.5 }, { "user": 7 }]);
        let expected =
            ["user.count UInt(2)", "user.0.name Text(\"root\")", "user.0.login-time ULLong(1500)"];
        assert_eq!(shown(1, &users), expected);
        let zone = json!({ "zone": "UTC", "offset": 0 });
        assert_eq!(shown(4, &zone), ["timezone.name Text(\"UTC\")", "timezone.offset Int(0)"]);
        let mounted = json!([{ "name": "b", "mountpoint": "/b", "disk": [] },
                             { "name": "a", "mountpoint": "/", "total-bytes": 7 }]);
        let expected = [
            "fs.count UInt(2)",
            "fs.0.name Text(\"a\")",
            "fs.0.mountpoint Text(\"/\")",
            "fs.0.total-bytes ULLong(7)",
            "fs.0.disk.count UInt(0)",
            "fs.1.name Text(\"b\")",
            "fs.1.mountpoint Text(\"/b\")",
            "fs.1.disk.count UInt(0)",
        ];
        assert_eq!(shown(16, &mounted), expected);
        assert_eq!(shown(128, &json!({ "load1m": 0.5 })), ["load.1m Double(0.5)"]);
        assert_eq!(shown(64, &json!("odd")), ["if.count UInt(0)"]);
    }

    #[test]
    fn virtual_cpus_of_the_guest() {
        let vcpus = GuestVcpus::from_json(&json!([
            { "logical-id": 0, "online": true },
            { "logical-id": 1, "online": true, "can-offline": true },
            { "logical-id": u64::MAX, "online": true },
        ]));
        assert_eq!(vcpus.all.to_string(), "0-1");
        assert_eq!(vcpus.offlinable.to_string(), "1");
        assert!(vcpus.check(&[1], false).is_ok());
        assert!(vcpus.check(&[0], true).is_ok());
        assert!(vcpus.check(&[0], false).is_err());
        assert!(vcpus.check(&[2], true).is_err());
    }
}
