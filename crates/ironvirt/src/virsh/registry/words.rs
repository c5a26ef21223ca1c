//! Fixed word lists of option values, for completion and for the verbs that read them.

/// Values of `actions` options.
pub static ACTIONS: &[&str] =
    &["destroy", "restart", "rename-restart", "preserve", "coredump-destroy", "coredump-restart"];

/// Values of `algorithms` options.
pub static ALGORITHMS: &[&str] = &[
    "zero",
    "nnsa",
    "dod",
    "bsi",
    "gutmann",
    "schneier",
    "pfitzner7",
    "pfitzner33",
    "random",
    "trim",
];

/// Values of `archs` options.
pub static ARCHS: &[&str] = model::domain::ARCHITECTURES_AND_NONE;

/// Values of `caps` options.
pub static CAPS: &[&str] = &[
    "system",
    "pci",
    "usb_device",
    "usb",
    "net",
    "scsi_host",
    "scsi_target",
    "scsi",
    "storage",
    "fc_host",
    "vports",
    "scsi_generic",
    "drm",
    "mdev_types",
    "mdev",
    "ccw",
    "css",
    "vdpa",
    "ap_card",
    "ap_queue",
    "ap_matrix",
    "vpd",
    "ccwgroup",
    "ccwgroup_member",
];

/// Values of `codesets` options.
pub static CODESETS: &[&str] =
    &["linux", "xt", "atset1", "atset2", "atset3", "os_x", "xt_kbd", "usb", "win32", "qnum"];

/// Values of `commands` options.
pub static COMMANDS: &[&str] = &["add", "modify", "delete", "add-last", "add-first"];

/// Values of `domain_events` options.
pub static DOMAIN_EVENTS: &[&str] = &[
    "lifecycle",
    "reboot",
    "rtc-change",
    "watchdog",
    "io-error",
    "graphics",
    "io-error-reason",
    "control-error",
    "block-job",
    "disk-change",
    "tray-change",
    "pm-wakeup",
    "pm-suspend",
    "balloon-change",
    "pm-suspend-disk",
    "device-removed",
    "block-job-2",
    "tunable",
    "agent-lifecycle",
    "device-added",
    "migration-iteration",
    "job-completed",
    "device-removal-failed",
    "metadata-change",
    "block-threshold",
    "memory-failure",
    "memory-device-size-change",
    "nic-mac-change",
];

/// Values of `domdirtyrate_calc_modes` options.
pub static DOMDIRTYRATE_CALC_MODES: &[&str] = &["page-sampling", "dirty-bitmap", "dirty-ring"];

/// Values of `domifaddr_sources` options.
pub static DOMIFADDR_SOURCES: &[&str] = &["lease", "agent", "arp"];

/// Values of `drivers` options.
pub static DRIVERS: &[&str] = &["default", "kvm", "vfio", "xen"];

/// Values of `dump_formats` options.
pub static DUMP_FORMATS: &[&str] = &["elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp"];

/// Values of `enables` options.
pub static ENABLES: &[&str] = model::domain::lifecycle::PERF_EVENTS;

/// Values of `formats` options.
pub static FORMATS: &[&str] = &[
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk",
];

/// Values of `lifecycle_types` options.
pub static LIFECYCLE_TYPES: &[&str] = &["poweroff", "reboot", "crash"];

/// Values of `comp-methods` of `migrate`.
pub static MIGRATE_COMP_METHODS: &[&str] = &["xbzrle", "mt", "zlib", "zstd"];

/// Values of `modes` options.
pub static MODES: &[&str] = &["strict", "preferred", "interleave", "restrictive"];

/// Values of `net_events` options.
pub static NET_EVENTS: &[&str] = &["lifecycle", "metadata-change"];

/// Values of `nodedev_events` options.
pub static NODEDEV_EVENTS: &[&str] = &["lifecycle", "update"];

/// Values of `pool_events` options.
pub static POOL_EVENTS: &[&str] = &["lifecycle", "refresh"];

/// Values of `pool_types` options.
pub static POOL_TYPES: &[&str] = &[
    "dir",
    "fs",
    "netfs",
    "logical",
    "disk",
    "iscsi",
    "iscsi-direct",
    "scsi",
    "mpath",
    "rbd",
    "sheepdog",
    "gluster",
    "zfs",
    "vstorage",
];

/// Values of `reboot_modes` options.
pub static REBOOT_MODES: &[&str] = &["acpi", "agent", "initctl", "signal", "paravirt"];

/// Values of `secret_events` options.
pub static SECRET_EVENTS: &[&str] = &["lifecycle", "value-changed"];

/// Values of `sections` options.
pub static SECTIONS: &[&str] = &[
    "bridge",
    "domain",
    "ip",
    "ip-dhcp-host",
    "ip-dhcp-range",
    "forward",
    "forward-interface",
    "forward-pf",
    "portgroup",
    "dns-host",
    "dns-txt",
    "dns-srv",
];

/// Values of `signames` options.
pub static SIGNAMES: &[&str] = &[
    "nop", "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv",
    "usr2", "pipe", "alrm", "term", "stkflt", "chld", "cont", "stop", "tstp", "ttin", "ttou",
    "urg", "xcpu", "xfsz", "vtalrm", "prof", "winch", "poll", "pwr", "sys", "rt0", "rt1", "rt2",
    "rt3", "rt4", "rt5", "rt6", "rt7", "rt8", "rt9", "rt10", "rt11", "rt12", "rt13", "rt14",
    "rt15", "rt16", "rt17", "rt18", "rt19", "rt20", "rt21", "rt22", "rt23", "rt24", "rt25", "rt26",
    "rt27", "rt28", "rt29", "rt30", "rt31", "rt32",
];

/// Values of `sources` options.
pub static SOURCES: &[&str] = &["agent", "lease"];

/// Values of `source_modes` options.
pub static SOURCE_MODES: &[&str] = &["server", "client"];

/// Values of `targets` options.
pub static TARGETS: &[&str] = &["mem", "disk", "hybrid"];

/// Values of `virttypes` options.
pub static VIRTTYPES: &[&str] = &[
    "none",
    "qemu",
    "kqemu",
    "kvm",
    "xen",
    "lxc",
    "uml",
    "openvz",
    "test",
    "vmware",
    "hyperv",
    "vbox",
    "phyp",
    "parallels",
    "bhyve",
    "vz",
    "hvf",
];
