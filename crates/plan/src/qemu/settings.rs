//! What the daemon's configuration says about starting guests.

use crate::step::Ids;
use std::collections::BTreeMap;

/// Listening and authentication defaults of one graphics protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphicsSettings {
    /// Address to listen on when the guest names none.
    pub listen: String,
    /// Use TLS with certificates of this directory.
    pub tls_dir: Option<String>,
    /// Ask clients for a certificate.
    pub tls_verify: bool,
    /// Secret that unlocks the server's private key, by its UUID.
    pub tls_secret: Option<String>,
    /// Use SASL, with this configuration directory (`""`: SASL's own default).
    pub sasl_dir: Option<String>,
    /// Password when the guest has none.
    pub password: Option<String>,
    /// Use a unix socket where the guest names no address.
    pub auto_unix_socket: bool,
    /// Ports to choose from, first and last.
    pub ports: (u16, u16),
    /// The same for websockets.
    pub websocket_ports: (u16, u16),
}

/// TLS of one kind of connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsSettings {
    /// Used where the guest does not say otherwise.
    pub enabled: bool,
    /// Directory of certificates and keys.
    pub dir: String,
    /// A server asks its clients for a certificate.
    pub verify: bool,
    /// Secret that unlocks the private key, by its UUID.
    pub secret: Option<String>,
}

/// What the daemon's configuration (qemu.conf) and its directories say; the same for all guests
/// of one daemon. Directories have no trailing slash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Runs as root (`qemu:///system`).
    pub privileged: bool,
    /// `/var/lib/libvirt/qemu`: parent of the guests' private directories.
    pub lib_dir: String,
    /// `/run/libvirt/qemu`: pid files, passt, swtpm and dbus sockets.
    pub run_dir: String,
    /// `/var/log/libvirt/qemu`.
    pub log_dir: String,
    /// `/run/libvirt/qemu/channel`: sockets of guest agent channels.
    pub channel_dir: String,
    /// `/var/lib/libvirt/qemu/nvram`.
    pub nvram_dir: String,
    /// `/var/lib/libvirt/swtpm`.
    pub swtpm_storage_dir: String,
    /// `/var/log/swtpm/libvirt/qemu`.
    pub swtpm_log_dir: String,
    /// User of swtpm; `None`: the daemon's.
    pub swtpm_ids: Option<Ids>,
    /// Use `/var/lib/libvirt/qemu/ram` as the folder of file-backed memory.
    pub memory_backing_dir: String,
    /// QEMU's user; `None`: the daemon's own (session mode).
    pub ids: Option<Ids>,
    /// Change the owner of disks and other files before a start and give it back afterwards.
    pub dynamic_ownership: bool,
    /// Sandbox (`seccomp_sandbox`): `None` is "on where QEMU can".
    pub sandbox: Option<bool>,
    /// VNC defaults.
    pub vnc: GraphicsSettings,
    /// SPICE defaults.
    pub spice: GraphicsSettings,
    /// `vnc_allow_host_audio` / `nographics_allow_host_audio`.
    pub vnc_allow_host_audio: bool,
    /// Audio of guests without graphics may use the host's.
    pub nographics_allow_host_audio: bool,
    /// `dump_guest_core`.
    pub dump_guest_core: bool,
    /// `log_timestamp`.
    pub log_timestamp: bool,
    /// `set_process_name`.
    pub set_process_name: bool,
    /// `max_files`, `max_processes`, `max_core` as limits by name.
    pub rlimits: Vec<(String, u64)>,
    /// Mount points of hugetlbfs and their page size in KiB, for guests that want such pages; the first
    /// is the default.
    pub hugetlbfs: Vec<(String, u64)>,
    /// TLS of character devices over TCP (`chardev_tls…`).
    pub chardev_tls: TlsSettings,
    /// TLS of disks over NBD (`nbd_tls…`).
    pub nbd_tls: TlsSettings,
    /// Log level of gluster's library (`gluster_debug_level`).
    pub gluster_debug_level: u32,
    /// The helper for persistent reservations (`pr_helper`).
    pub pr_helper: String,
    /// Write down whose a file is that the guest is lent, and give it back (`remember_owner`).
    pub remember_owner: bool,
    /// The program of a guest's own message bus (`dbus_daemon`).
    pub dbus_daemon: String,
    /// What QEMU does when deprecated parts of it are used, where the domain says nothing
    /// (`deprecation_behavior`).
    pub deprecation: Option<String>,
    /// Users and groups that labels of single images name (`<seclabel model='dac'>` of a source), by
    /// their text.
    pub image_owners: BTreeMap<String, Ids>,
    /// Ids of the users that sources on NFS servers name (`<identity user>`), by name.
    pub server_users: BTreeMap<String, u32>,
    /// The same of groups.
    pub server_groups: BTreeMap<String, u32>,
    /// Path of the `vhost-net` device, where it can be opened.
    pub vhost_net: Option<String>,
}

impl Settings {
    /// The settings of a system daemon whose directories lie below `root` (`""` for the real
    /// ones), as qemu.conf's defaults say; QEMU runs as `ids`.
    pub fn system(root: &str, ids: Ids) -> Self {
        let run_dir = format!("{root}/run/libvirt/qemu");
        let lib_dir = format!("{root}/var/lib/libvirt/qemu");
        Self {
            privileged: true,
            log_dir: format!("{root}/var/log/libvirt/qemu"),
            channel_dir: format!("{run_dir}/channel"),
            nvram_dir: format!("{lib_dir}/nvram"),
            swtpm_storage_dir: format!("{root}/var/lib/libvirt/swtpm"),
            swtpm_log_dir: format!("{root}/var/log/swtpm/libvirt/qemu"),
            memory_backing_dir: format!("{lib_dir}/ram"),
            ids: Some(ids),
            dynamic_ownership: true,
            ..Self::session(&lib_dir, &run_dir, "")
        }
    }

    /// The settings of an ordinary user's daemon with these directories.
    pub fn session(lib_dir: &str, run_dir: &str, log_dir: &str) -> Self {
        let graphics = |tls_dir: &str, ports| GraphicsSettings {
            listen: "127.0.0.1".into(),
            tls_dir: (!tls_dir.is_empty()).then(|| tls_dir.to_string()),
            tls_verify: false,
            tls_secret: None,
            sasl_dir: None,
            password: None,
            auto_unix_socket: false,
            ports,
            websocket_ports: (5700, 65535),
        };
        let tls = |kind: &str| TlsSettings {
            dir: format!("/etc/pki/libvirt-{kind}"),
            ..TlsSettings::default()
        };
        Self {
            privileged: false,
            lib_dir: lib_dir.into(),
            run_dir: run_dir.into(),
            log_dir: log_dir.into(),
            channel_dir: format!("{run_dir}/channel"),
            nvram_dir: format!("{lib_dir}/nvram"),
            swtpm_storage_dir: format!("{lib_dir}/swtpm"),
            swtpm_log_dir: format!("{log_dir}/swtpm"),
            swtpm_ids: None,
            memory_backing_dir: format!("{lib_dir}/ram"),
            ids: None,
            dynamic_ownership: false,
            sandbox: None,
            vnc: graphics("", (5900, 65535)),
            spice: graphics("", (5900, 65535)),
            vnc_allow_host_audio: false,
            nographics_allow_host_audio: false,
            dump_guest_core: false,
            log_timestamp: true,
            set_process_name: false,
            rlimits: Vec::new(),
            hugetlbfs: Vec::new(),
            chardev_tls: tls("chardev"),
            nbd_tls: tls("nbd"),
            gluster_debug_level: 4,
            pr_helper: "qemu-pr-helper".into(),
            remember_owner: true,
            dbus_daemon: "dbus-daemon".into(),
            deprecation: None,
            image_owners: BTreeMap::new(),
            server_users: BTreeMap::new(),
            server_groups: BTreeMap::new(),
            vhost_net: None,
        }
    }
}
