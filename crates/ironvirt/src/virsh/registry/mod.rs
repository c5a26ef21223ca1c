//! The command registry: one static table that drives parsing, help, completion and the shell.
//!
//! Names, options and one-line help strings are facts of virsh's interface (11.3.0); the order of
//! groups and commands is the order of `help`.

use super::{cmd::Cmd, ctl::Ctl, fail::Outcome};

pub mod backup;
pub mod checkpoint;
pub mod domain;
pub mod events;
pub mod filter;
pub mod host;
pub mod interface;
pub mod monitor;
pub mod network;
pub mod nodedev;
pub mod own;
pub mod pool;
pub mod secret;
pub mod snapshot;
pub mod virsh;
pub mod volume;
pub mod words;

/// What runs a command.
pub type Handler = fn(&mut Ctl, &Cmd) -> Outcome;

/// The command works without a connection.
pub const NO_CONNECT: u32 = 1;
/// The command is not listed by `help`.
pub const HIDDEN: u32 = 2;

/// One command.
pub struct Command {
    /// The verb.
    pub name: &'static str,
    /// One line for lists.
    pub help: &'static str,
    /// The DESCRIPTION section, when there is one.
    pub desc: Option<&'static str>,
    /// Its options, in the order of `help`.
    pub opts: &'static [Opt],
    /// What it does.
    pub run: Handler,
    /// `NO_CONNECT`, `HIDDEN`.
    pub flags: u32,
}

/// A group of commands, as `help` lists them.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The keyword of `help KEYWORD`.
    pub keyword: &'static str,
    /// Members.
    pub commands: &'static [Command],
}

/// The kind of an option's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No value.
    Bool,
    /// A string.
    Str,
    /// A number.
    Int,
    /// All remaining words.
    Argv,
    /// Another spelling of the named option (`name` or `name=value`).
    Alias(&'static str),
}

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Name without dashes.
    pub name: &'static str,
    /// Its text in `help`.
    pub help: &'static str,
    /// Kind of value.
    pub kind: Kind,
    /// The command is refused without it.
    pub required: bool,
    /// Documented as a positional argument.
    pub positional: bool,
    /// Accepted as a positional argument although `help` does not say so.
    pub loose: bool,
    /// An empty string is a value.
    pub empty_ok: bool,
    /// How its value is completed.
    pub complete: Complete,
}

impl Opt {
    const fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self {
            name,
            help,
            kind,
            required: false,
            positional: false,
            loose: false,
            empty_ok: false,
            complete: Complete::Options,
        }
    }
    /// A switch.
    pub const fn flag(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Bool)
    }
    /// A string option.
    pub const fn str(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Str)
    }
    /// A numeric option.
    pub const fn int(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Int)
    }
    /// The option that takes all further words.
    pub const fn argv(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Argv)
    }
    /// A second spelling.
    pub const fn alias(name: &'static str, target: &'static str) -> Self {
        Self::new(name, "", Kind::Alias(target))
    }
    /// Makes it required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// Makes it positional.
    #[must_use]
    pub const fn positional(mut self) -> Self {
        self.positional = true;
        self
    }
    /// Accepts it as positional silently.
    #[must_use]
    pub const fn loose(mut self) -> Self {
        self.loose = true;
        self
    }
    /// Accepts an empty string.
    #[must_use]
    pub const fn empty_ok(mut self) -> Self {
        self.empty_ok = true;
        self
    }
    /// Sets the completer.
    #[must_use]
    pub const fn complete(mut self, c: Complete) -> Self {
        self.complete = c;
        self
    }
}

/// Where candidate values of an option come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Nothing known: the command's options are offered instead.
    Options,
    /// A value nobody can guess.
    Nothing,
    /// A file name.
    File,
    /// A fixed list of words.
    Words(&'static [&'static str]),
    /// Names of commands and groups.
    Command,
    /// Domain names; the flags of the list call.
    Domain(u32),
    /// Domain UUIDs.
    DomainUuid,
    /// Disk targets of the domain named before.
    DomainDisk,
    /// Network devices of the domain named before.
    DomainInterface,
    /// MAC addresses of the domain named before.
    InterfaceMacOfDomain,
    /// Virtual CPU numbers of the domain named before.
    Vcpu,
    /// File systems of the guest named before.
    Mountpoint,
    /// Snapshots of the domain named before.
    Snapshot,
    /// Checkpoints of the domain named before.
    Checkpoint,
    /// Storage pool names; flags of the list call.
    Pool(u32),
    /// Volumes of the pool named before.
    Volume,
    /// Network names; flags of the list call.
    Network(u32),
    /// Network UUIDs.
    NetworkUuid,
    /// Ports of the network named before.
    NetworkPort,
    /// Host interface names; flags of the list call.
    Interface(u32),
    /// Host interface MAC addresses.
    InterfaceMac,
    /// Node devices.
    NodeDevice,
    /// Network filters.
    Nwfilter,
    /// Ports with a filter binding.
    NwfilterBinding,
    /// Secret UUIDs.
    Secret,
    /// NUMA cells of the host.
    Cell,
    /// Page sizes of the host.
    PageSize,
    /// CPUs of the host.
    HostCpu,
}

/// Flags of the domain list call, for completers.
pub mod dom {
    /// Running, paused or in any other live state.
    pub const ACTIVE: u32 = 1;
    /// Defined and not running.
    pub const INACTIVE: u32 = 2;
    /// Has a stored definition.
    pub const PERSISTENT: u32 = 4;
    /// Running.
    pub const RUNNING: u32 = 16;
    /// Paused.
    pub const PAUSED: u32 = 32;
    /// Any other state.
    pub const OTHER: u32 = 128;
    /// Has a managed save image.
    pub const MANAGED_SAVE: u32 = 256;
    /// Has snapshots.
    pub const WITH_SNAPSHOT: u32 = 4096;
    /// Has checkpoints.
    pub const WITH_CHECKPOINT: u32 = 16384;
    /// Suspended by the guest (libvirt lists it under the other states).
    pub const PMSUSPENDED: u32 = OTHER;
}
/// Flags of the pool list call, for completers.
pub mod pools {
    /// Not running.
    pub const INACTIVE: u32 = 1;
}
/// Flags of the network list call, for completers.
pub mod nets {
    /// Not running.
    pub const INACTIVE: u32 = 1;
}
/// Flags of the interface list call, for completers.
pub mod ifaces {
    /// Not running.
    pub const INACTIVE: u32 = 1;
}

/// All groups, in the order of `help`.
pub static GROUPS: &[&Group] = &[
    &domain::GROUP,
    &monitor::GROUP,
    &events::GROUP,
    &host::GROUP,
    &checkpoint::GROUP,
    &interface::GROUP,
    &filter::GROUP,
    &network::GROUP,
    &nodedev::GROUP,
    &secret::GROUP,
    &snapshot::GROUP,
    &backup::GROUP,
    &pool::GROUP,
    &volume::GROUP,
    &virsh::GROUP,
];

/// Second names of commands; `help` does not list them.
static ALIASES: &[(&str, &str)] = &[("nodedev-dettach", "nodedev-detach")];

/// Every command of virsh, hidden ones too, in the order of `help`.
pub fn all() -> impl Iterator<Item = &'static Command> {
    // virsh has `connect` after the hidden ones.
    let listed = || GROUPS.iter().flat_map(|g| g.commands.iter());
    let is_last = |c: &&Command| c.name == "connect";
    listed()
        .filter(move |c| !is_last(c))
        .chain(own::HIDDEN_COMMANDS.iter())
        .chain(listed().filter(move |c| is_last(c)))
}

/// The command of that name, aliases and hidden ones included.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, real)| real);
    all().chain(own::GROUP.commands).find(|c| c.name == name)
}

/// The group with that keyword.
pub fn find_group(keyword: &str) -> Option<&'static Group> {
    GROUPS.iter().copied().chain([&own::GROUP]).find(|g| g.keyword == keyword)
}
