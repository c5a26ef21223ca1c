//! The daemon's settings: `qemu.conf` over the defaults of the layout.

use crate::conf::{ConfError, ConfFile};
use crate::domain::host_stop::HostStopSettings;
use crate::layout::Layout;
use host::cgroup::{Cgroups, Controller};
use model::capabilities::qemu::known_flag;
use model::save_image::SaveFormat;
use plan::Ids;
use plan::qemu::{Settings, TlsSettings};
use std::path::Path;
use std::time::Duration;

/// User and group names of the machine, for settings that name them.
pub trait Accounts {
    /// Numeric id of a user, by name or decimal number.
    fn user(&self, name: &str) -> Option<u32>;
    /// Numeric id of a group, by name or decimal number.
    fn group(&self, name: &str) -> Option<u32>;
}

/// What `qemu.conf` decides beyond the start of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// For the plan of a start.
    pub qemu: Settings,
    /// Advertise and use KVM even though the probe says no (or yes): our own setting
    /// `kvm = "auto" | "on" | "off"` in `ironvirt.conf`.
    pub kvm: KvmPolicy,
    /// For saving and dumping guests.
    pub save: SaveSettings,
    /// What becomes of guests when the host stops.
    pub host_stop: HostStopSettings,
    /// `auto_start_delay`: between two domains that start with the host.
    pub auto_start_delay: Duration,
    /// `stdio_handler`: what guests say goes through the log daemon, not straight to files.
    pub log_daemon: bool,
    /// `storage_use_nbdkit`: images of web, FTP and SSH servers come through nbdkit, where it is
    /// installed.
    pub use_nbdkit: bool,
    /// `lock_manager`: who must hold the disks of a guest that runs, where it is set to anyone.
    pub lock_manager: Option<String>,
    /// What `qemu-lockd.conf` says, for the lock manager `lockd`.
    pub locks: LockSettings,
    /// Guests' control groups.
    pub groups: GroupSettings,
    /// Flags of emulators that count as not there (`capability_filters`).
    pub capability_filters: Vec<String>,
    /// `hugetlbfs_mount`: where huge pages are had as files; `None`: wherever they are mounted.
    pub huge_page_mounts: Option<Vec<String>>,
}

/// What `qemu.conf` says of guests' control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `cgroup_controllers`: only these are used; `None`: all that are there.
    pub controllers: Option<Vec<Controller>>,
    /// `cgroup_device_acl`: the devices that every guest may use, as far as they are there.
    pub devices: Vec<String>,
}

/// The devices that libvirt gives every guest (the comments of its `qemu.conf`).
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/ptmx",
    "/dev/kvm",
    "/dev/userfaultfd",
];

impl GroupSettings {
    fn read(conf: &ConfFile) -> Result<Self, ConfError> {
        let name = "cgroup_controllers";
        let controller = |word: &String| {
            Controller::of_name(word)
                .ok_or_else(|| conf.invalid(name, &format!("there is no controller '{word}'")))
        };
        let words = conf.list(name)?;
        let controllers = words.map(|words| words.iter().map(controller).collect()).transpose()?;
        let devices = conf.list("cgroup_device_acl")?;
        let all = || DEVICES.map(str::to_owned).to_vec();
        Ok(Self { controllers, devices: devices.unwrap_or_else(all) })
    }

    /// The groups that guests of the system get.
    pub(crate) fn detect(&self) -> Option<Cgroups> {
        let cgroups = Cgroups::detect().ok()?;
        let wants = |c: &Controller| self.controllers.as_ref().is_none_or(|all| all.contains(c));
        if wants(&Controller::Devices) && cgroups.is_v2(Controller::Devices).is_none() {
            tracing::info!(
                "guests may use all devices that their user may: this host has no controller of \
                 devices that the daemon could use"
            );
        }
        Some(match &self.controllers {
            Some(controllers) => cgroups.limited_to(controllers),
            None => cgroups,
        })
    }
}

/// What `qemu-lockd.conf` says of the locks of guests' disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSettings {
    /// `auto_disk_leases`: each disk is locked.
    pub every_disk: bool,
    /// `require_lease_for_disks`: a guest that writes to disks must have a lock.
    pub required: bool,
    /// `file_lockspace_dir`: the folder of files that are locked in place of the images.
    pub files: Option<String>,
    /// `lvm_lockspace_dir`: the same for LVM volumes, which go by their UUIDs.
    pub lvm: Option<String>,
    /// `scsi_lockspace_dir`: the same for SCSI volumes, which go by their serial numbers.
    pub scsi: Option<String>,
}

impl Default for LockSettings {
    fn default() -> Self {
        Self { every_disk: true, required: false, files: None, lvm: None, scsi: None }
    }
}

impl LockSettings {
    /// Reads `qemu-lockd.conf`.
    ///
    /// # Errors
    /// Names line and setting that cannot be used.
    pub fn read(conf: &ConfFile) -> Result<Self, ConfError> {
        crate::conf::known::QEMU_LOCKD.check(conf)?;
        let every_disk = conf.switch("auto_disk_leases")?.unwrap_or(true);
        // Without a lock for each disk, those that an administrator names are what protects.
        let required = conf.switch("require_lease_for_disks")?.unwrap_or(!every_disk);
        let folder = |name: &str| match conf.text(name)? {
            None | Some("") => Ok(None),
            Some(path) if path.starts_with('/') => Ok(Some(path.to_owned())),
            Some(_) => Err(conf.invalid(name, "expected an absolute path")),
        };
        Ok(Self {
            every_disk,
            required,
            files: folder("file_lockspace_dir")?,
            lvm: folder("lvm_lockspace_dir")?,
            scsi: folder("scsi_lockspace_dir")?,
        })
    }
}

/// What `qemu.conf` says of saves and dumps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveSettings {
    /// `save_image_format`.
    pub save_format: SaveFormat,
    /// `dump_image_format`.
    pub dump_format: SaveFormat,
    /// `auto_dump_path`: where the memory of crashed guests goes.
    pub auto_dump_path: String,
    /// `auto_dump_bypass_cache`.
    pub auto_dump_bypass_cache: bool,
    /// `auto_start_bypass_cache`.
    pub auto_start_bypass_cache: bool,
}

/// Whether KVM is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvmPolicy {
    /// As the probe finds.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The user QEMU runs as where `qemu.conf` names none (Debian's packages make it).
const DEFAULT_USER: &str = "libvirt-qemu";

/// The user swtpm runs as where `qemu.conf` names none.
const SWTPM_USER: &str = "tss";

/// The settings for `layout`, with what `qemu.conf` (if there is one) says.
///
/// # Errors
/// Names file, line and setting that cannot be used.
pub fn load(
    layout: &Layout,
    qemu_conf: Option<&str>,
    own_conf: Option<&str>,
    accounts: &dyn Accounts,
) -> Result<EngineSettings, ConfError> {
    let conf = match qemu_conf {
        Some(text) => ConfFile::parse(&layout.etc.join("qemu.conf").display().to_string(), text)?,
        None => ConfFile::default(),
    };
    let own = match own_conf {
        Some(text) => {
            ConfFile::parse(&layout.etc.join("ironvirt.conf").display().to_string(), text)?
        }
        None => ConfFile::default(),
    };
    crate::conf::known::QEMU.check(&conf)?;
    let mut qemu = base(layout);
    if !layout.session {
        qemu.ids = ids(&conf, accounts)?;
        qemu.swtpm_ids = swtpm_ids(&conf, accounts)?;
        if let Some(on) = conf.switch("dynamic_ownership")? {
            qemu.dynamic_ownership = on;
        }
    }
    display(&conf, &mut qemu)?;
    qemu.chardev_tls = tls(&conf, "chardev")?;
    qemu.nbd_tls = tls(&conf, "nbd")?;
    if let Some(level) = conf.number("gluster_debug_level")? {
        // gluster knows the levels 0 to 9.
        qemu.gluster_debug_level = u32::try_from(level.clamp(0, 9)).unwrap_or(4);
    }
    if let Some(program) = conf.text("pr_helper")? {
        qemu.pr_helper = program.to_owned();
    }
    if let Some(on) = conf.switch("remember_owner")? {
        qemu.remember_owner = on;
    }
    if let Some(program) = conf.text("dbus_daemon")? {
        qemu.dbus_daemon = program.to_owned();
    }
    qemu.deprecation = match conf.text("deprecation_behavior")? {
        None | Some("none") => None,
        Some(word @ ("omit" | "reject" | "crash")) => Some(word.to_owned()),
        Some(_) => {
            let words = "expected \"none\", \"omit\", \"reject\" or \"crash\"";
            return Err(conf.invalid("deprecation_behavior", words));
        }
    };
    if let Some(n) = conf.number("seccomp_sandbox")? {
        qemu.sandbox = match n {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
    }
    if let Some(on) = conf.switch("dump_guest_core")? {
        qemu.dump_guest_core = on;
    }
    if let Some(on) = conf.switch("log_timestamp")? {
        qemu.log_timestamp = on;
    }
    if let Some(on) = conf.switch("set_process_name")? {
        qemu.set_process_name = on;
    }
    if let Some(dir) = conf.text("memory_backing_dir")? {
        qemu.memory_backing_dir = dir.to_owned();
    }
    for (name, limit) in [("max_processes", "nproc"), ("max_files", "nofile")] {
        if let Some(n) = conf.number(name)? {
            let n = u64::try_from(n).map_err(|_| conf.invalid(name, "must not be negative"))?;
            if n > 0 {
                qemu.rlimits.push((limit.to_owned(), n));
            }
        }
    }
    if let Some(limit) = core_limit(&conf, layout)? {
        qemu.rlimits.push(("core".to_owned(), limit));
    }
    let kvm = match own.text("kvm")? {
        None | Some("auto") => KvmPolicy::Auto,
        Some("on") => KvmPolicy::On,
        Some("off") => KvmPolicy::Off,
        Some(_) => return Err(own.invalid("kvm", "expected \"auto\", \"on\" or \"off\"")),
    };
    let save = save(&conf, layout)?;
    let log_daemon = match conf.text("stdio_handler")? {
        None | Some("logd") => true,
        Some("file") => false,
        Some(_) => return Err(conf.invalid("stdio_handler", "expected \"logd\" or \"file\"")),
    };
    let lock_manager =
        conf.text("lock_manager")?.filter(|name| !matches!(*name, "" | "nop")).map(str::to_owned);
    let delay = conf.number("auto_start_delay")?.and_then(|delay| u64::try_from(delay).ok());
    let auto_start_delay = Duration::from_millis(delay.unwrap_or(0));
    let locks = LockSettings::default();
    let host_stop = HostStopSettings::read(&conf, layout.session)?;
    if !matches!(conf.text("sched_core")?, None | Some("none")) {
        let words = "not supported here: guests would share processor cores with others";
        return Err(conf.invalid("sched_core", words));
    }
    let capability_filters = capability_filters(&conf)?;
    let groups = GroupSettings::read(&conf)?;
    let use_nbdkit = conf.switch("storage_use_nbdkit")?.unwrap_or(false);
    let huge_page_mounts = conf.list("hugetlbfs_mount")?;
    conf.tell_unheeded();
    own.tell_unheeded();
    Ok(EngineSettings {
        qemu,
        capability_filters,
        kvm,
        save,
        host_stop,
        auto_start_delay,
        log_daemon,
        use_nbdkit,
        lock_manager,
        locks,
        groups,
        huge_page_mounts,
    })
}

/// What emulators are to be taken not to have.
fn capability_filters(conf: &ConfFile) -> Result<Vec<String>, ConfError> {
    let names = conf.list("capability_filters")?.unwrap_or_default();
    for name in names.iter().filter(|name| known_flag(name).is_none()) {
        tracing::warn!(name, "capability_filters: no such capability is known");
    }
    Ok(names)
}

fn save(conf: &ConfFile, layout: &Layout) -> Result<SaveSettings, ConfError> {
    let format = |name: &str| match conf.text(name)? {
        None => Ok(Some(SaveFormat::Raw)),
        Some(word) => Ok(SaveFormat::parse(word)),
    };
    let save_format = format("save_image_format")?.ok_or_else(|| {
        let words = "expected raw, gzip, bzip2, xz, lzop, zstd or sparse";
        conf.invalid("save_image_format", words)
    })?;
    Ok(SaveSettings {
        save_format,
        // As libvirt: a dump must not fail for its format's sake.
        dump_format: format("dump_image_format")?.unwrap_or_default(),
        auto_dump_path: match conf.text("auto_dump_path")? {
            Some(path) => path.to_owned(),
            None => layout.qemu_lib().join("dump").display().to_string(),
        },
        auto_dump_bypass_cache: conf.switch("auto_dump_bypass_cache")?.unwrap_or(false),
        auto_start_bypass_cache: conf.switch("auto_start_bypass_cache")?.unwrap_or(false),
    })
}

fn base(layout: &Layout) -> Settings {
    let text = |path: &Path| path.display().to_string();
    let lib = text(&layout.qemu_lib());
    let run = text(&layout.qemu_run());
    let log = text(&layout.qemu_log());
    let session = Settings::session(&lib, &run, &log);
    if layout.session {
        return session;
    }
    Settings {
        privileged: true,
        dynamic_ownership: true,
        swtpm_storage_dir: text(&layout.lib.join("swtpm")),
        swtpm_log_dir: format!("{}/var/log/swtpm/libvirt/qemu", layout.root.display()),
        ..session
    }
}

fn ids(conf: &ConfFile, accounts: &dyn Accounts) -> Result<Option<Ids>, ConfError> {
    let named = |key: &str, find: &dyn Fn(&str) -> Option<u32>| match conf.text(key)? {
        None | Some("") => Ok(find(DEFAULT_USER)),
        Some(name) => match find(name.trim_start_matches('+')) {
            Some(id) => Ok(Some(id)),
            None => Err(conf.invalid(key, &format!("there is no {key} '{name}' on this machine"))),
        },
    };
    let uid = named("user", &|name| accounts.user(name))?;
    let gid = named("group", &|name| accounts.group(name))?;
    // A machine without the packages' user has only root to run QEMU as.
    Ok(Some(Ids { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0) }))
}

/// The user of swtpm: qemu.conf's, else the one its package makes, else root.
fn swtpm_ids(conf: &ConfFile, accounts: &dyn Accounts) -> Result<Option<Ids>, ConfError> {
    let named = |key: &str, find: &dyn Fn(&str) -> Option<u32>| match conf.text(key)? {
        None | Some("") => Ok(find(SWTPM_USER).unwrap_or(0)),
        Some(name) => find(name.trim_start_matches('+')).ok_or_else(|| {
            conf.invalid(key, &format!("there is no {key} '{name}' on this machine"))
        }),
    };
    let uid = named("swtpm_user", &|name| accounts.user(name))?;
    let gid = named("swtpm_group", &|name| accounts.group(name))?;
    Ok(Some(Ids { uid, gid }))
}

/// Where the certificates of a kind of connection are: where the administrator says, else in the
/// folder of that kind if there is one, else in the general one.
fn tls_dir(
    conf: &ConfFile,
    kind: &str,
    is_dir: impl FnOnce(&Path) -> bool,
) -> Result<String, ConfError> {
    let own = format!("/etc/pki/libvirt-{kind}");
    let general = conf.text("default_tls_x509_cert_dir")?.unwrap_or("/etc/pki/qemu");
    Ok(match conf.text(&format!("{kind}_tls_x509_cert_dir"))? {
        Some(dir) => dir.to_owned(),
        None if is_dir(Path::new(&own)) => own,
        None => general.to_owned(),
    })
}

/// How large a core file QEMU may leave when it crashes (`max_core`): without the guest's memory,
/// which is not in it unless asked for, of any size.
fn core_limit(conf: &ConfFile, layout: &Layout) -> Result<Option<u64>, ConfError> {
    let name = "max_core";
    let invalid = || conf.invalid(name, "expected a size in bytes or \"unlimited\"");
    // Text or number: what is wrong with one may be right as the other.
    match (conf.number(name), conf.text(name)) {
        (Ok(Some(size)), _) => u64::try_from(size).map(Some).map_err(|_| invalid()),
        (_, Ok(Some("unlimited"))) => Ok(Some(u64::MAX)),
        // Only root may raise it.
        (Ok(None), _) => Ok((!layout.session).then_some(u64::MAX)),
        _ => Err(invalid()),
    }
}

/// TLS of one kind of connection: its own settings, else those for all. Without a setting, the
/// folder of the kind is used where there is one.
fn tls(conf: &ConfFile, kind: &str) -> Result<TlsSettings, ConfError> {
    let secret = match conf.text(&format!("{kind}_tls_x509_secret_uuid"))? {
        Some(uuid) => Some(uuid.to_owned()),
        None => conf.text("default_tls_x509_secret_uuid")?.map(str::to_owned),
    };
    Ok(TlsSettings {
        enabled: conf.switch(&format!("{kind}_tls"))?.unwrap_or(false),
        dir: tls_dir(conf, kind, Path::is_dir)?,
        verify: tls_verify(conf, kind)?.unwrap_or(true),
        secret,
    })
}

/// Whether who connects must show a certificate, where the administrator says.
fn tls_verify(conf: &ConfFile, kind: &str) -> Result<Option<bool>, ConfError> {
    match conf.switch(&format!("{kind}_tls_x509_verify"))? {
        Some(verify) => Ok(Some(verify)),
        None => conf.switch("default_tls_x509_verify"),
    }
}

fn display(conf: &ConfFile, qemu: &mut Settings) -> Result<(), ConfError> {
    if let Some(listen) = conf.text("vnc_listen")? {
        qemu.vnc.listen = listen.to_owned();
    }
    if let Some(password) = conf.text("vnc_password")? {
        qemu.vnc.password = Some(password.to_owned());
    }
    if let Some(on) = conf.switch("vnc_auto_unix_socket")? {
        qemu.vnc.auto_unix_socket = on;
    }
    if conf.switch("vnc_tls")? == Some(true) {
        let settings = tls(conf, "vnc")?;
        qemu.vnc.tls_dir = Some(settings.dir);
        qemu.vnc.tls_secret = settings.secret;
        // Other than for devices and disks, who says nothing lets everybody in.
        qemu.vnc.tls_verify = tls_verify(conf, "vnc")?.unwrap_or(false);
    }
    if conf.switch("vnc_sasl")? == Some(true) {
        qemu.vnc.sasl_dir = Some(conf.text("vnc_sasl_dir")?.unwrap_or_default().to_owned());
    }
    if let Some(on) = conf.switch("vnc_allow_host_audio")? {
        qemu.vnc_allow_host_audio = on;
    }
    if let Some(listen) = conf.text("spice_listen")? {
        qemu.spice.listen = listen.to_owned();
    }
    if let Some(password) = conf.text("spice_password")? {
        qemu.spice.password = Some(password.to_owned());
    }
    if let Some(on) = conf.switch("spice_auto_unix_socket")? {
        qemu.spice.auto_unix_socket = on;
    }
    if conf.switch("spice_tls")? == Some(true) {
        qemu.spice.tls_dir = Some(tls_dir(conf, "spice", Path::is_dir)?);
    }
    if conf.switch("spice_sasl")? == Some(true) {
        qemu.spice.sasl_dir = Some(conf.text("spice_sasl_dir")?.unwrap_or_default().to_owned());
    }
    if let Some(on) = conf.switch("nographics_allow_host_audio")? {
        qemu.nographics_allow_host_audio = on;
    }
    let ports = port_range(conf, "remote_display_port", qemu.vnc.ports)?;
    qemu.vnc.ports = ports;
    qemu.spice.ports = ports;
    let range = port_range(conf, "remote_websocket_port", qemu.vnc.websocket_ports)?;
    qemu.vnc.websocket_ports = range;
    Ok(())
}

/// The ports from `WHAT_min` to `WHAT_max`; none below the default's first.
fn port_range(conf: &ConfFile, what: &str, default: (u16, u16)) -> Result<(u16, u16), ConfError> {
    let port = |end: &str, default_port: u16| {
        let name = format!("{what}_{end}");
        let Some(number) = conf.number(&name)? else { return Ok(default_port) };
        let port = u16::try_from(number).ok().filter(|port| *port >= default.0);
        port.ok_or_else(|| {
            conf.invalid(&name, &format!("must be a port from {} to 65535", default.0))
        })
    };
    let ports = (port("min", default.0)?, port("max", default.1)?);
    if ports.0 > ports.1 {
        let text = format!("must not be greater than {what}_max");
        return Err(conf.invalid(&format!("{what}_min"), &text));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Debian;

    impl Accounts for Debian {
        fn user(&self, name: &str) -> Option<u32> {
            match name {
                "libvirt-qemu" => Some(64055),
                "root" => Some(0),
                other => other.parse().ok(),
            }
        }
        fn group(&self, name: &str) -> Option<u32> {
            self.user(name)
        }
    }

    fn load_text(text: &str) -> Result<EngineSettings, ConfError> {
        let layout = Layout::system(Path::new("/srv/x")).expect("short");
        load(&layout, Some(text), None, &Debian)
    }

    #[test]
    fn defaults_run_qemu_as_the_packages_user() {
        let settings = load_text("").expect("defaults");
        assert_eq!(settings.qemu.ids, Some(Ids { uid: 64055, gid: 64055 }));
        assert_eq!(settings.qemu.lib_dir, "/srv/x/var/lib/libvirt/qemu");
        assert_eq!(settings.kvm, KvmPolicy::Auto);
        assert!(settings.log_daemon);
        assert!(!load_text("stdio_handler = \"file\"").expect("settings").log_daemon);
        assert!(load_text("stdio_handler = \"disk\"").is_err());
        let groups = |text| load_text(text).expect("settings").groups;
        assert_eq!((groups("").controllers, groups("").devices.len()), (None, DEVICES.len()));
        let given = groups("cgroup_controllers = [\"cpu\"]\ncgroup_device_acl = [\"/dev/null\"]");
        assert_eq!(given.controllers, Some(vec![Controller::Cpu]));
        assert_eq!(given.devices, ["/dev/null"]);
        let error =
            load_text("cgroup_controllers = [\"cpu\", \"disk\"]").expect_err("no controller");
        assert!(error.to_string().contains("'disk'"), "{error}");
    }

    #[test]
    fn disks_are_locked_by_whom_the_setting_names() {
        for (text, expected) in [
            ("", None),
            ("lock_manager = \"nop\"\n", None),
            ("lock_manager = \"lockd\"\n", Some("lockd")),
            ("lock_manager = \"sanlock\"\n", Some("sanlock")),
        ] {
            let settings = load_text(text).expect("settings");
            assert_eq!(settings.lock_manager.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn tls_of_a_kind_falls_back_on_the_general_settings() {
        let text = "default_tls_x509_verify = 0\nnbd_tls = 1\nnbd_tls_x509_cert_dir = \"/n\"\n";
        let settings = load_text(text).expect("settings").qemu;
        assert!(settings.nbd_tls.enabled && !settings.chardev_tls.enabled);
        assert_eq!(settings.nbd_tls.dir, "/n");
        assert!(!settings.nbd_tls.verify && !settings.chardev_tls.verify);
        assert!(load_text("").expect("defaults").qemu.chardev_tls.verify);
    }

    #[test]
    fn certificates_are_those_of_the_kind_where_it_has_some() {
        let dir = |text: &str, is_dir: fn(&Path) -> bool| {
            let conf = ConfFile::parse("qemu.conf", text).expect("settings");
            tls_dir(&conf, "vnc", is_dir).expect("a folder")
        };
        let general = "default_tls_x509_cert_dir = \"/general\"\n";
        assert_eq!(dir(general, |_| false), "/general");
        assert_eq!(dir(general, |_| true), "/etc/pki/libvirt-vnc");
        assert_eq!(dir("", |_| false), "/etc/pki/qemu");
        let own = format!("{general}vnc_tls_x509_cert_dir = \"/own\"\n");
        assert_eq!(dir(&own, |_| true), "/own");
    }

    #[test]
    fn displays_ask_for_certificates_only_when_told() {
        for (text, verify) in [
            ("", false),
            ("default_tls_x509_verify = 1\n", true),
            ("default_tls_x509_verify = 1\nvnc_tls_x509_verify = 0\n", false),
        ] {
            let settings = load_text(&format!("vnc_tls = 1\n{text}")).expect("settings");
            assert_eq!(settings.qemu.vnc.tls_verify, verify, "{text}");
        }
    }

    #[test]
    fn cores_are_unlimited_unless_told() {
        let core = |text: &str| {
            let limits = load_text(text).expect("settings").qemu.rlimits;
            limits.into_iter().find(|(name, _)| name == "core").map(|(_, limit)| limit)
        };
        assert_eq!(core(""), Some(u64::MAX));
        assert_eq!(core("max_core = \"unlimited\"\n"), Some(u64::MAX));
        assert_eq!(core("max_core = 4096\n"), Some(4096));
        assert_eq!(core("max_core = 0\n"), Some(0));
        assert!(load_text("max_core = \"much\"\n").is_err());
        assert!(load_text("max_core = -1\n").is_err());
    }

    #[test]
    fn formats_of_images_are_known_words() {
        let text = "save_image_format = \"sparse\"\ndump_image_format = \"lz4\"\n";
        let save = load_text(text).expect("settings").save;
        assert_eq!((save.save_format, save.dump_format), (SaveFormat::Sparse, SaveFormat::Raw));
        assert_eq!(save.auto_dump_path, "/srv/x/var/lib/libvirt/qemu/dump");
        assert!(load_text("save_image_format = \"lz4\"\n").is_err());
    }

    #[test]
    fn unusable_settings_are_named() {
        let error = load_text("\nuser = \"nobody-here\"\n").expect_err("no such user");
        assert_eq!(
            error.to_string(),
            "/srv/x/etc/libvirt/qemu.conf:2: user: there is no user 'nobody-here' on this machine"
        );
        assert!(load_text("remote_display_port_min = 80").is_err());
        assert!(load_text("remote_websocket_port_max = 5699").is_err());
        let settings = load_text("remote_websocket_port_min = 5800").expect("fine").qemu;
        assert_eq!(settings.vnc.websocket_ports, (5800, 65535));
        assert!(load_text("vnc_listen = 5").is_err());
    }

    #[test]
    fn the_lock_settings_are_lockds() {
        let read = |text: &str| {
            LockSettings::read(&ConfFile::parse("qemu-lockd.conf", text).expect("conf"))
        };
        assert_eq!(read("").expect("defaults"), LockSettings::default());
        let named = read("auto_disk_leases = 0\n").expect("settings");
        assert!(!named.every_disk && named.required, "then locks must be named");
        let lax = read("auto_disk_leases = 0\nrequire_lease_for_disks = 0\n").expect("settings");
        assert!(!lax.required);
        let files = read("file_lockspace_dir = \"/locks\"\n").expect("settings").files;
        assert_eq!(files.as_deref(), Some("/locks"));
        assert!(read("file_lockspace_dir = \"locks\"\n").is_err());
        assert!(read("auto_disk_leases = \"yes\"\n").is_err());
    }
}
