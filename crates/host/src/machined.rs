//! systemd-machined: guests are registered with it, so that `machinectl` and `systemd-cgls` show them
//! and systemd gives each a scope, its place among the control groups (org.freedesktop.machine1(5),
//! org.freedesktop.systemd1(5)). Names and settings are libvirtd 11.3's, as observed.

use crate::dbus::{Bus, BusError, Call, Value};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const NAME: &str = "org.freedesktop.machine1";
const PATH: &str = "/org/freedesktop/machine1";
const MANAGER: &str = "org.freedesktop.machine1.Manager";

/// How long a registration may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the question may take whether there is a machined.
const ASKING: Duration = Duration::from_secs(3);

/// For how long it is believed that there is none.
const ABSENT_FOR: Duration = Duration::from_secs(5);

/// For how long one that did not answer is not asked again.
const STUCK_FOR: Duration = Duration::from_secs(60);

/// The longest name of a machine: that of a host (`HOST_NAME_MAX`).
const NAME_MAX: usize = 64;

/// How the names of scopes begin, and how they end.
const SCOPE: (&str, &str) = ("machine-", ".scope");

/// The machined of this host.
#[derive(Debug)]
pub struct Machined {
    bus: PathBuf,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    There,
    AbsentSince(Instant),
    StuckSince(Instant),
}

/// Whether guests can be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// They can.
    There,
    /// This host has no bus, or no machined on it.
    Absent,
    /// It did not answer lately.
    Stuck,
}

/// A guest as machined is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its name, see [`machine_name`].
    pub name: &'a str,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// The process that is moved into the scope.
    pub leader: u32,
    /// The slice that the scope is to be in, see [`slice_of`].
    pub slice: &'a str,
}

impl Machined {
    /// Whoever listens at `bus`, now or later. Nothing is asked yet.
    pub fn new(bus: PathBuf) -> Self {
        Self { bus, known: Mutex::new(Known::Nothing) }
    }

    /// Whether there is one. The bus is asked now and then only. Blocks.
    pub fn presence(&self) -> Presence {
        let known = *self.known();
        match known {
            _ if !self.bus.exists() => return Presence::Absent,
            Known::There => return Presence::There,
            Known::AbsentSince(then) if then.elapsed() < ABSENT_FOR => return Presence::Absent,
            Known::StuckSince(then) if then.elapsed() < STUCK_FOR => return Presence::Stuck,
            _ => {}
        }
        let names =
            Bus::connect(&self.bus, Instant::now() + ASKING).and_then(|mut bus| bus.activatable());
        let now = Instant::now();
        let (known, presence) = match names {
            Ok(names) if names.iter().any(|name| name == NAME) => (Known::There, Presence::There),
            Err(BusError::Lost(error)) if error.kind() == io::ErrorKind::TimedOut => {
                (Known::StuckSince(now), Presence::Stuck)
            }
            _ => (Known::AbsentSince(now), Presence::Absent),
        };
        *self.known() = known;
        presence
    }

    /// Registers a guest: when this returns its leader is in its scope. Blocks.
    ///
    /// # Errors
    /// It refuses. [`BusError::Lost`]: nobody knows what will become of the leader.
    pub fn register(&self, machine: &Machine<'_>) -> Result<(), BusError> {
        let settings = [
            ("Slice", Value::Text(machine.slice)),
            ("After", Value::Texts(&["libvirtd.service", "virtqemud.service"])),
            ("Before", Value::Texts(&["virt-guest-shutdown.target"])),
        ];
        let (uuid, settings) = (Value::Bytes(&machine.uuid), Value::Settings(&settings));
        let (name, leader) = (Value::Text(machine.name), Value::Number(machine.leader));
        let [service, class, root] = ["libvirt-qemu", "vm", ""].map(Value::Text);
        let with_network =
            [name, uuid, service, class, leader, root, Value::Numbers(&[]), settings];
        let without = [name, uuid, service, class, leader, root, settings];
        self.talk(PATIENCE, |bus| {
            let done = bus.call(&manager("CreateMachineWithNetwork", &with_network));
            match done {
                // One from before systemd 211.
                Err(BusError::Refused { name, .. })
                    if name == "org.freedesktop.DBus.Error.UnknownMethod" =>
                {
                    bus.call(&manager("CreateMachine", &without))
                }
                done => done,
            }
        })
    }

    /// Has the scope of a guest and whatever still runs in it ended. Blocks.
    ///
    /// # Errors
    /// It refuses, for example as it knows no such machine, or cannot be asked.
    pub fn terminate(&self, name: &str) -> Result<(), BusError> {
        let args = [Value::Text(name)];
        self.talk(PATIENCE, |bus| bus.call(&manager("TerminateMachine", &args)))
    }

    /// Tells systemd of properties of a scope, until the next boot. Blocks.
    ///
    /// # Errors
    /// It refuses, or cannot be asked.
    pub fn set_properties(&self, scope: &str, values: &[(&str, u64)]) -> Result<(), BusError> {
        let values: Vec<_> =
            values.iter().map(|(name, value)| (*name, Value::Large(*value))).collect();
        let call = Call {
            to: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member: "SetUnitProperties",
            args: &[Value::Text(scope), Value::Flag(true), Value::Settings(&values)],
        };
        self.talk(ASKING, |bus| bus.call(&call))
    }

    /// A conversation on a connection of its own: one that hangs keeps no other waiting.
    fn talk<T>(
        &self,
        patience: Duration,
        words: impl FnOnce(&mut Bus) -> Result<T, BusError>,
    ) -> Result<(), BusError> {
        let connected = Bus::connect(&self.bus, Instant::now() + patience);
        let said = connected.and_then(|mut bus| words(&mut bus));
        if let Err(BusError::Lost(error)) = &said {
            *self.known() = match error.kind() {
                io::ErrorKind::TimedOut => Known::StuckSince(Instant::now()),
                _ => Known::Nothing,
            };
        }
        said.map(drop)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn manager<'a>(member: &'a str, args: &'a [Value<'a>]) -> Call<'a> {
    Call { to: NAME, path: PATH, interface: MANAGER, member, args }
}

/// What machined knows a guest by, `qemu-ID-NAME`: without what is not allowed in names of hosts.
pub fn machine_name(id: u32, guest: &str) -> String {
    let mut name = String::new();
    for letter in format!("qemu-{id}-{guest}").chars() {
        let fits = match letter {
            '-' | '.' => !name.ends_with(['-', '.']),
            letter => letter.is_ascii_alphanumeric(),
        };
        if fits && name.len() < NAME_MAX {
            name.push(letter);
        }
    }
    name.truncate(name.trim_end_matches(['-', '.']).len());
    name
}

/// The slice that stands for a partition: `machine-prod.slice` for `/machine/prod`.
pub fn slice_of(partition: &str) -> String {
    let below = partition.strip_prefix('/').unwrap_or(partition);
    below.split('/').map(escaped).collect::<Vec<_>>().join("-") + ".slice"
}

/// The scope that machined makes for a machine.
pub fn scope_of(machine: &str) -> String {
    let (begin, end) = SCOPE;
    format!("{begin}{}{end}", escaped(machine))
}

/// The machine that has this scope; `None`: none has.
pub fn machine_of(scope: &Path) -> Option<String> {
    let (begin, end) = SCOPE;
    let name = scope.file_name()?.to_str()?.strip_prefix(begin)?.strip_suffix(end)?;
    let mut parts = name.split("\\x");
    let mut machine = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
        machine.push(char::from(byte));
        machine.push_str(rest);
    }
    Some(machine)
}

/// A part of the name of a unit (systemd-escape(1)).
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.".contains(&byte);
    let each = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("\\x{byte:02x}"),
    };
    text.bytes().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed of libvirtd 11.3.
    #[test]
    fn names() {
        let long = |tail: &str, count| format!("{}{tail}", "z".repeat(count));
        for (guest, machine) in [
            ("plain", "qemu-3-plain".to_owned()),
            ("sp ace", "qemu-3-space".to_owned()),
            ("dot.name_und-dash", "qemu-3-dot.nameund-dash".to_owned()),
            ("dots..two.-.x.", "qemu-3-dots.two.x".to_owned()),
            ("a--b-.c.-d", "qemu-3-a-b-c.d".to_owned()),
            ("-lead", "qemu-3-lead".to_owned()),
            ("plus+at@co:on,()", "qemu-3-plusatcoon".to_owned()),
            ("äöü", "qemu-3".to_owned()),
            (&long("", 100), format!("qemu-3-{}", long("", 57))),
            (&long("-tail", 56), format!("qemu-3-{}", long("", 56))),
            (&long("-.tail", 55), format!("qemu-3-{}-t", long("", 55))),
        ] {
            assert_eq!(machine_name(3, guest), machine, "{guest}");
            assert_eq!(machine_of(Path::new(&scope_of(&machine))).as_deref(), Some(&*machine));
        }
        for (partition, slice) in [
            ("/machine", "machine.slice"),
            ("/machine/prod", "machine-prod.slice"),
            ("/machine/my-prod/sub", "machine-my\\x2dprod-sub.slice"),
            ("/a_b/x.y", "a_b-x.y.slice"),
            ("/machine/ä b@:\\", "machine-\\xc3\\xa4\\x20b\\x40:\\x5c.slice"),
        ] {
            assert_eq!(slice_of(partition), slice);
        }
        for scope in [
            "x.scope",
            "machine-a.service",
            r"machine-a\x2.scope",
            r"machine-a\xff.scope",
            r"machine-a\xä.scope",
        ] {
            assert_eq!(machine_of(Path::new(scope)), None, "{scope}");
        }
    }

    #[test]
    fn without_a_bus_there_is_none() {
        let machined = Machined::new("/nonexistent/bus".into());
        assert_eq!(machined.presence(), Presence::Absent);
        let error = machined.terminate("qemu-1-a").expect_err("nobody listens");
        assert!(matches!(error, BusError::Lost(_)), "{error}");
    }
}
