//! One effect, as data: what to do, what it yields, and what takes it back.

/// Name of a result that a step yields and later steps use, for example `monitor.fd`,
/// `vnet0.fd`, `vnc.port`. Unique within one plan.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ResultName(pub String);

impl ResultName {
    /// A result named by `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A numeric user and group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What a process may do with a file that is handed to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It only reads.
    Read,
    /// It reads and writes.
    ReadWrite,
}

/// One element of a command line: text, with places where a result is put in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arg(pub Vec<Piece>);

/// A part of an [`Arg`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The decimal number, in the new process, of the descriptor that the named step yielded.
    /// The executor passes that descriptor on (and only those named in the command line or in
    /// [`Exec::extra_fds`]).
    Fd(ResultName),
    /// The decimal number of a port that the named step reserved.
    Port(ResultName),
    /// The decimal context id that the named [`Action::VhostVsock`] gave the guest.
    Cid(ResultName),
    /// The VNC display number of a reserved port: the port less 5900.
    VncDisplay(ResultName),
    /// The named secret, sealed with the guest's master key, in base64.
    Secret(ResultName),
    /// The initialization vector that the named secret was sealed with, in base64.
    SecretIv(ResultName),
}

impl Arg {
    /// An argument of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// The argument with every place filled in by `fill`.
    pub fn render(&self, mut fill: impl FnMut(&Piece) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                other => fill(other),
            })
            .collect()
    }

    /// Names of the descriptors this argument mentions, in order.
    pub fn fds(&self) -> impl Iterator<Item = &ResultName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Fd(name) => Some(name),
            _ => None,
        })
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// What to put into a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This many random bytes; the file keeps them, the plan never sees them.
    Random(usize),
    /// A secret in plain text, for a helper that takes it from a file.
    Secret(SecretRef),
}

/// What a step does. Paths are absolute.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Make a directory (and its missing parents, 0755 root) with this mode; an existing one
    /// gets mode and owner.
    MakeDir {
        /// The directory.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner; `None` leaves the daemon's own.
        owner: Option<Ids>,
    },
    /// Write a file (replacing one).
    WriteFile {
        /// The file.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner; `None` leaves the daemon's own.
        owner: Option<Ids>,
        /// What goes in.
        content: Content,
    },
    /// Copy a template unless the target exists (NVRAM). `reset` copies over an existing target.
    CopyFile {
        /// The template.
        from: String,
        /// The guest's own file.
        to: String,
        /// Permission bits of the new file.
        mode: u32,
        /// Owner of the new file.
        owner: Option<Ids>,
        /// Copy even if the target exists.
        reset: bool,
    },
    /// Refuse with libvirt's "cannot access" error if the file is missing.
    RequireFile {
        /// The file.
        path: String,
        /// Which element named it, for the error; of a firmware's variables, the firmware.
        role: String,
        /// What it is, for the error.
        kind: FileKind,
    },
    /// Give QEMU's user access to a file, remembering the previous owner.
    Grant(Grant),
    /// Open a file and keep the descriptor as a result.
    OpenFile {
        /// The file.
        path: String,
        /// Reading only, or both.
        access: Access,
        /// Create it (0600) and only append, as for a log file: write-only whatever `access` says,
        /// because QEMU takes a descriptor only for just the access it asks for.
        create_append: bool,
    },
    /// Open QEMU's log (append, 0600, the daemon's owner): stdout and stderr of the exec.
    OpenLog {
        /// The log file, `…/NAME.log`.
        path: String,
    },
    /// Make, bind and listen on a unix stream socket, removing a stale one at the path first.
    /// Its descriptor is the result; it stays connectable by path.
    ListenUnix {
        /// Socket path (at most 107 bytes; the planner checked).
        path: String,
        /// Permission bits.
        mode: u32,
        /// Owner; `None` leaves the daemon's own.
        owner: Option<Ids>,
    },
    /// Connect to a unix stream socket; the descriptor is the result.
    ConnectUnix {
        /// Socket path.
        path: String,
    },
    /// Reserve a free TCP port; the result is its number.
    ReservePort {
        /// What for: `vnc`, `spice`, `spice-tls`, …
        purpose: &'static str,
        /// Address it will be listened on.
        listen: String,
        /// First port to try.
        min: u16,
        /// Last port to try.
        max: u16,
        /// Only this port, as the XML asks.
        fixed: Option<u16>,
    },
    /// Make or open a tap (or macvtap) device; the result is `queues` descriptors named
    /// `NAME.fd`, or `NAME.fd0`, `NAME.fd1`… when there are several, and the interface's name.
    Tap(Tap),
    /// Open `/dev/vhost-net`, as often as there are queues; same naming rule as [`Action::Tap`].
    VhostNet {
        /// Where the device is.
        path: String,
        /// How many descriptors.
        queues: u32,
    },
    /// Look a secret up and seal it with the master key; see [`crate::secret`].
    Secret(SecretRef),
    /// Open the kernel's vsock device and give the guest its context id there; the result is the
    /// descriptor, and the number.
    VhostVsock {
        /// Where the device is.
        path: String,
        /// The context id; `None`: the first free one.
        cid: Option<u32>,
    },
    /// Take a device away from the host and give it to the guest.
    Assign(HostDevice),
    /// Start a helper process and wait until it is ready.
    Helper(Helper),
    /// Control groups that QEMU's process is put in by the exec helper before exec.
    Cgroup(Cgroup),
    /// Start QEMU.
    Exec(Exec),
    /// Talk to QEMU through its monitor, in one go: the replies are results named by command.
    Qmp {
        /// Commands in order.
        commands: Vec<QmpCommand>,
    },
    /// Set the scheduling of QEMU's threads (pinning, priority), once the threads are known.
    Threads(Vec<ThreadSetting>),
}

/// What a file is to its guest: libvirt has words of its own for some that cannot be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A folder that virtiofsd shares.
    SharedFolder,
    /// What a disk lies on.
    Image,
    /// A source of random numbers.
    Random,
    /// The variables of a firmware whose template nobody knows.
    Variables,
    /// Anything else.
    Other,
}

/// What gives a file to QEMU's user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The file.
    pub path: String,
    /// Read or both.
    pub access: Access,
    /// The new owner; `None`: ownership is not ours to change (dynamic_ownership off), only check.
    pub owner: Option<Ids>,
    /// Give the old owner back when the guest stops.
    pub restore: bool,
    /// The file may be absent: skip then.
    pub optional: bool,
    /// Shared between guests (read-only or `<shareable/>`): restore only when the last user stops.
    pub shared: bool,
    /// Which element asked, for errors and `explain`.
    pub why: String,
    /// What it is, for errors.
    pub kind: FileKind,
}

/// A tap or macvtap device to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tap {
    /// Kind of device and what it is attached to.
    pub kind: TapKind,
    /// Device name; a name with `%d` (or none) is chosen by the kernel or the engine.
    pub name: Option<String>,
    /// Guest side MAC, `xx:xx:…`.
    pub mac: String,
    /// How many queues (descriptors).
    pub queues: u32,
    /// With the virtio-net header.
    pub vnet_hdr: bool,
    /// MTU to set; a bridge's port takes the bridge's where this is `None`.
    pub mtu: Option<u32>,
    /// Limits of what passes it.
    pub traffic: crate::Traffic,
    /// VLANs of a bridge's port; `None` where the bridge's default is meant.
    pub vlans: Option<crate::PortVlans>,
    /// After how many received frames at most it tells of them.
    pub coalesce: Option<u32>,
    /// Addresses of the host's end.
    pub addresses: Vec<crate::HostAddress>,
    /// Routes over it.
    pub routes: Vec<crate::HostRoute>,
    /// What else the definition asks of the device, by element: an executor that cannot do all of
    /// it refuses.
    pub asks: Vec<&'static str>,
}

/// What a [`Tap`] is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TapKind {
    /// A tap that is a port of this Linux bridge.
    Bridge {
        /// Name of the bridge.
        bridge: String,
        /// Isolate the port from other isolated ports.
        isolated: bool,
    },
    /// A tap for `<interface type='ethernet'>`; `managed` false: it exists and is only opened.
    Ethernet {
        /// We make (and remove) it.
        managed: bool,
        /// Script to run with the device's name, once it exists.
        script: Option<String>,
        /// Script to run with the device's name when the guest has stopped.
        down_script: Option<String>,
    },
    /// A macvtap on this lower device.
    Macvtap {
        /// Lower device.
        lower: String,
        /// `vepa`, `private`, `bridge`, `passthrough`.
        mode: String,
    },
}

/// A secret of the secret store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretRef {
    /// What it must be meant for: `volume`, `ceph`, `iscsi`, `tls`, `vtpm`.
    pub usage_type: String,
    /// How it is named.
    pub by: SecretBy,
    /// File that holds the master key.
    pub master_key: String,
    /// The value is this text instead of one from the store (cookies of an HTTP source).
    pub text: Option<String>,
}

/// How a secret is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretBy {
    /// By its UUID.
    Uuid(String),
    /// By what it is used for.
    Usage(String),
}

/// A device of the host that a guest gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostDevice {
    /// A PCI device, driven by VFIO.
    Pci {
        /// `dddd:bb:ss.f`.
        address: String,
        /// It is taken from its driver, and given back afterwards.
        managed: bool,
    },
    /// A mediated device that exists.
    Mdev {
        /// Its UUID.
        uuid: String,
    },
}

impl std::fmt::Display for HostDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pci { address, .. } => write!(f, "PCI device {address}"),
            Self::Mdev { uuid } => write!(f, "mediated device {uuid}"),
        }
    }
}

/// A helper process beside QEMU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Helper {
    /// Program, as a name to look up in PATH or an absolute path.
    pub program: String,
    /// Arguments (without the program).
    pub args: Vec<Arg>,
    /// User it runs as; `None` is the daemon's.
    pub owner: Option<Ids>,
    /// File it writes its pid into when ready.
    pub pid_file: Option<String>,
    /// Socket that must exist before QEMU starts.
    pub socket: Option<String>,
    /// Who is to connect to it, where that is not who it runs as.
    pub socket_owner: Option<Ids>,
    /// It forks into the background by itself and the first process ends with status 0.
    pub daemonizes: bool,
    /// Its output goes here.
    pub log: Option<String>,
    /// It is a set-up command that must end with status 0 before anything else goes on.
    pub one_shot: bool,
}

/// Control group placement. The engine knows the hierarchy (v1 or v2, with or without systemd).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cgroup {
    /// Name of the guest's group in libvirt's form, `qemu-ID-NAME` (short name).
    pub name: String,
    /// `<resource><partition>`, `/machine` unless given.
    pub partition: String,
    /// Parameters: libvirt's scheduler/blkio/memory parameter name and value, of a block device
    /// `PATH,VALUE`. `cpuset_mems` are nodes that QEMU binds the guest's memory to by itself too,
    /// `restrictive_mems` nodes that only the control group can bind it to.
    pub settings: Vec<(String, String)>,
    /// What QEMU opens by itself, besides what every guest may; files among it are no devices.
    pub devices: Vec<DeviceUse>,
}

/// A device of the host that QEMU opens by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceUse {
    /// What this path leads to.
    Path {
        /// The path.
        path: String,
        /// What QEMU does with it.
        access: Access,
    },
    /// All character devices with this major number, to read and to write.
    Major(u32),
}

/// Starting QEMU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exec {
    /// The emulator.
    pub program: String,
    /// Arguments (without the program).
    pub args: Vec<Arg>,
    /// The whole environment. A value of `None` is taken from the daemon's own environment
    /// (PATH, USER, LOGNAME), left out where the daemon has none.
    pub env: Vec<(String, Option<String>)>,
    /// Working directory.
    pub cwd: String,
    /// User QEMU runs as; `None` is the daemon's.
    pub owner: Option<Ids>,
    /// Where the helper writes QEMU's pid.
    pub pid_file: String,
    /// Descriptors to pass that no argument names.
    pub extra_fds: Vec<ResultName>,
    /// Limits: name (`memlock`, `nofile`, `nproc`, `core`) and value.
    pub rlimits: Vec<(String, u64)>,
}

/// One QMP command.
#[derive(Clone, PartialEq, Debug)]
pub struct QmpCommand {
    /// Name of the result that holds its reply's `return` value, if anything needs it.
    pub result: Option<ResultName>,
    /// The command as short JSON without its `id`: `{"execute":"query-cpus-fast"}`.
    pub json: String,
    /// Holds a secret: never print its arguments.
    pub secret: bool,
}

/// Pinning or priority of some of QEMU's threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadSetting {
    /// `vcpu0`, `emulator`, `iothread1`.
    pub thread: String,
    /// libvirt's parameter name (`affinity`, `scheduler`, `priority`).
    pub setting: &'static str,
    /// Its value.
    pub value: String,
}

/// What takes a step back, when a later step fails or when the guest stops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Undo {
    /// Remove a directory and all in it.
    RemoveTree(String),
    /// Remove a file or socket.
    RemoveFile(String),
    /// Remove a socket; what is anything else at its path stays.
    RemoveSocket(String),
    /// Remove a file only if this very start made it (NVRAM).
    RemoveIfCreated(String),
    /// Give ownership back as recorded.
    RestoreOwner(String),
    /// Remove a network device that we made.
    RemoveLink(ResultName),
    /// Give a reserved port back.
    ReleasePort(ResultName),
    /// End a helper by its pid file.
    EndHelper {
        /// Its pid file.
        pid_file: String,
    },
    /// Remove the guest's control groups.
    RemoveCgroup(String),
    /// End QEMU.
    EndQemu,
}

/// When an undo is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UndoWhen {
    /// When a later step of the start fails, and also when the guest stops.
    Always,
    /// Only when a later step of the start fails.
    FailedStart,
}

/// A step of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Name of what it yields, if anything.
    pub result: Option<ResultName>,
    /// What to do.
    pub action: Action,
    /// How to take it back.
    pub undo: Option<(Undo, UndoWhen)>,
}

impl Step {
    /// A step without result and undo.
    pub fn new(action: Action) -> Self {
        Self { result: None, action, undo: None }
    }

    /// The step with its result named.
    pub fn yields(mut self, name: impl Into<String>) -> Self {
        self.result = Some(ResultName::new(name));
        self
    }

    /// The step with an undo for failure and stop.
    pub fn undone_by(mut self, undo: Undo) -> Self {
        self.undo = Some((undo, UndoWhen::Always));
        self
    }

    /// The step with an undo only for a failed start.
    pub fn rolled_back_by(mut self, undo: Undo) -> Self {
        self.undo = Some((undo, UndoWhen::FailedStart));
        self
    }
}
