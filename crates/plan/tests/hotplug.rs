//! Devices for a running guest: what QEMU is told when they come, and when they leave.

use model::capabilities::host::HostFacts;
use model::capabilities::qemu::{Accel, CacheKey, QemuCaps};
use model::domain::defaults::{self, DefaultsContext, EmulatorDefaults};
use model::domain::devices::controller::ControllerType;
use model::domain::hotplug::{self, Attached};
use model::domain::{Domain, ParseOptions, assign_aliases, parse};
use plan::Ids;
use plan::qemu::{Found, InUse, Inputs, Nbdkit, Settings, helper_again};
use plan::qemu::{plug, settle_device, unplug};

/// A q35 guest with three free root ports, as it runs.
const GUEST: &str = "<domain type='qemu' id='7'><name>g</name>
  <uuid>6f1b4c6e-3a3e-4c8f-8d39-0b3b6a3b6a01</uuid><memory unit='MiB'>256</memory>
  <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os><devices>
  <emulator>/usr/bin/qemu-system-x86_64</emulator>
  <controller type='pci' index='0' model='pcie-root'/>
  <controller type='pci' index='1' model='pcie-root-port'/>
  <controller type='pci' index='2' model='pcie-root-port'/>
  <controller type='pci' index='3' model='pcie-root-port'/>
  <controller type='pci' index='4' model='pcie-root-port'/>
  <controller type='usb' index='0' model='qemu-xhci'>
    <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/></controller>
  <memballoon model='none'/></devices></domain>";

struct Bench {
    caps: QemuCaps,
    domain: Domain,
}

fn with_context<T>(caps: &QemuCaps, act: impl FnOnce(&mut DefaultsContext<'_>) -> T) -> T {
    let known = EmulatorDefaults::new(caps, Accel::Tcg);
    act(&mut DefaultsContext {
        emulator: Some(&caps.emulator),
        machines: &known.machines,
        devices: &known.devices,
        ..DefaultsContext::without_emulator("x86_64", &mut |buffer| buffer.fill(1))
    })
}

impl Bench {
    fn new() -> Self {
        Self::of(GUEST)
    }

    fn of(guest: &str) -> Self {
        let key = CacheKey { path: "/usr/bin/qemu-system-x86_64".into(), ..CacheKey::default() };
        let text = include_str!("data/qemu-10.0-x86_64.json");
        let caps = QemuCaps::from_cache(text, &key).expect("the recorded capabilities");
        let parsed = parse(guest, ParseOptions { live: true });
        let mut domain = parsed.domain.expect("a domain");
        with_context(&caps, |context| defaults::apply(&mut domain, context));
        assign_aliases(&mut domain);
        Self { caps, domain }
    }

    fn attach(&self, device: &str) -> Result<Attached, String> {
        let device = hotplug::read(device, false).device.expect("a device");
        hotplug::support::can_plug(&self.domain, &device).map_err(|error| error.detail)?;
        with_context(&self.caps, |context| hotplug::attach(&self.domain, device, context))
            .map_err(|faults| faults[0].message.clone())
    }

    fn inputs<T>(&self, act: impl FnOnce(&Inputs<'_>) -> T) -> T {
        act(&Inputs {
            caps: &self.caps,
            host: &HostFacts { arch: "x86_64".into(), ..HostFacts::default() },
            firmware: &[],
            settings: &Settings::system("", Ids { uid: 64055, gid: 64055 }),
            found: &Found::default(),
            id: 7,
            incoming: None,
        })
    }

    /// What is done for the device, and what when it leaves.
    fn both(&self, device: &str) -> (Vec<String>, Vec<String>) {
        let Attached { mut domain, place, .. } = self.attach(device).expect("it can come");
        let in_use = InUse { last_node: 4, first_fdset: 2 };
        self.inputs(|inputs| {
            let last = settle_device(&mut domain, place, inputs, in_use).expect("settled");
            let in_use = InUse { last_node: last, ..in_use };
            let plan = plug(&domain, place, inputs, in_use).expect("a plan");
            let mut come: Vec<String> = plan.steps.iter().map(|s| s.action.to_string()).collect();
            come.extend(plan.commands.iter().map(|c| format!("{} {}", c.name, c.arguments)));
            come.extend(plan.after.iter().map(|command| command.json.clone()));
            let plan = unplug(&domain, place, inputs).expect("a plan");
            let mut go: Vec<String> = plan.device.into_iter().collect();
            go.extend(plan.after.iter().map(|command| command.json.clone()));
            (come, go)
        })
    }
}

fn check(device: &str, come: &[&str], go: &[&str]) {
    let (found_come, found_go) = Bench::new().both(device);
    assert_eq!(found_come, come, "{device}");
    assert_eq!(found_go, go, "{device}");
}

#[test]
fn a_disk_is_lent_opened_and_shown() {
    check(
        "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/i.qcow2'/>
         <target dev='vda' bus='virtio'/></disk>",
        &[
            "require /i.qcow2 (<disk> 'vda')",
            "grant read-write /i.qcow2 to 64055:64055 (<disk> 'vda')",
            r#"blockdev-add {"driver":"file","filename":"/i.qcow2","node-name":"libvirt-5-storage","auto-read-only":true,"discard":"unmap"}"#,
            r#"blockdev-add {"node-name":"libvirt-5-format","read-only":false,"driver":"qcow2","file":"libvirt-5-storage"}"#,
            r#"device_add {"driver":"virtio-blk-pci","bus":"pci.1","addr":"0x0","drive":"libvirt-5-format","id":"virtio-disk0"}"#,
            r#"{"execute":"query-block"}"#,
        ],
        &[
            "virtio-disk0",
            r#"{"execute":"blockdev-del","arguments":{"node-name":"libvirt-5-format"}}"#,
            r#"{"execute":"blockdev-del","arguments":{"node-name":"libvirt-5-storage"}}"#,
        ],
    );
}

#[test]
fn descriptors_go_by_name_or_by_set() {
    check(
        "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>
         <model type='virtio'/><driver name='qemu'/><link state='down'/></interface>",
        &[
            "tap on bridge br0 named vnet%d mac 52:54:00:00:00:01 queues 1 vnet-hdr",
            r#"getfd {"fdname":"net0.fd"}"#,
            r#"netdev_add {"type":"tap","fd":"net0.fd","id":"hostnet0"}"#,
            r#"device_add {"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mac":"52:54:00:00:00:01","bus":"pci.1","addr":"0x0"}"#,
            r#"{"execute":"set_link","arguments":{"name":"net0","up":false}}"#,
        ],
        &["net0", r#"{"execute":"netdev_del","arguments":{"id":"hostnet0"}}"#],
    );
    check(
        "<serial type='file'><source path='/s' append='on'/><target type='usb-serial'/></serial>",
        &[
            "open /s read-write append",
            r#"add-fd {"fdset-id":2,"opaque":"serial0-source"}"#,
            r#"chardev-add {"id":"charserial0","backend":{"type":"file","data":{"out":"/dev/fdset/2","append":true}}}"#,
            r#"device_add {"driver":"usb-serial","chardev":"charserial0","id":"serial0","bus":"usb.0","port":"1"}"#,
        ],
        &["serial0", r#"{"execute":"chardev-remove","arguments":{"id":"charserial0"}}"#],
    );
}

#[test]
fn a_generator_comes_after_its_source() {
    check(
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
        &[
            "require /dev/urandom (<rng>)",
            r#"object-add {"qom-type":"rng-random","id":"objrng0","filename":"/dev/urandom"}"#,
            r#"device_add {"driver":"virtio-rng-pci","rng":"objrng0","id":"rng0","bus":"pci.1","addr":"0x0"}"#,
        ],
        &["rng0", r#"{"execute":"object-del","arguments":{"id":"objrng0"}}"#],
    );
}

#[test]
fn a_scsi_disk_brings_its_controller() {
    let disk = "<disk type='file'><source file='/i'/><target dev='sdb' bus='scsi'/></disk>";
    // The default is no PCI Express device, and such a guest has no other slots.
    assert_eq!(Bench::new().attach(disk).expect_err("no slot"), "No more available PCI slots");
    let guest = "<domain type='qemu' id='7'><name>g</name><memory unit='MiB'>256</memory>
        <os><type arch='x86_64' machine='pc-i440fx-10.0'>hvm</type></os><devices>
        <emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices>
        </domain>";
    let attached = Bench::of(guest).attach(disk).expect("it can come");
    assert_eq!(attached.controllers.len(), 1);
    let alias = attached.controllers[0].alias(&attached.domain);
    assert_eq!(alias.as_deref(), Some("scsi0"));
}

#[test]
fn what_has_no_place_or_no_way_is_refused_in_libvirts_words() {
    let bench = Bench::new();
    for (device, expected) in [
        (
            "<disk type='file'><source file='/i'/><target dev='sdb' bus='sata'/></disk>",
            "disk bus 'sata' cannot be hotplugged.",
        ),
        (
            "<interface type='user'><mac address='52:54:00:00:00:01'/><model type='e1000'/></interface>",
            "No more available PCI slots",
        ),
        (
            "<channel type='pty'><target type='virtio' name='a'/></channel>",
            "no virtio-serial controllers are available",
        ),
        ("<controller type='usb' index='1'/>", "'usb' controller cannot be hot plugged."),
        ("<input type='mouse' bus='ps2'/>", "input device on bus 'ps2' cannot be hot plugged."),
        ("<video/>", "live attach of device 'video' is not supported"),
    ] {
        assert_eq!(bench.attach(device).expect_err(device), expected);
    }
}

/// Those that keep nothing of the guest's are the same again.
#[test]
fn helpers_that_end_are_described_again() {
    let devices = "<interface type='user'><mac address='52:54:00:00:00:01'/><backend type='passt'/>\
        <model type='virtio'/><alias name='net0'/></interface>\
        <interface type='user'><mac address='52:54:00:00:00:02'/><backend type='passt'/>\
        <model type='virtio'/><alias name='net1'/><portForward proto='tcp'><range start='22'/>\
        </portForward></interface>\
        <disk type='network' device='cdrom'><driver name='qemu' type='raw'/>\
        <source protocol='https' name='a.iso' index='3'><host name='h'/></source>\
        <target dev='sda' bus='sata'/><readonly/><alias name='sata0-0-0'/></disk>\
        <disk type='block' device='lun'><driver name='qemu' type='raw'/>\
        <source dev='/dev/sdx' index='2'><reservations managed='yes'/></source>\
        <target dev='sdb' bus='scsi'/><alias name='scsi0-0-1'/></disk>\
        <disk type='block' device='lun'><driver name='qemu' type='raw'/>\
        <source dev='/dev/sdy' index='1'><reservations managed='yes'/></source>\
        <target dev='sdc' bus='scsi'/><alias name='scsi0-0-2'/></disk>\
        <tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm><memballoon";
    let bench = Bench::of(&GUEST.replacen("<memballoon", devices, 1));
    let nbdkit = Nbdkit { program: "/usr/bin/nbdkit".into(), plugins: vec!["curl".into()] };
    let found = Found { nbdkit: Some(nbdkit), ..Found::default() };
    let settings = Settings::session("/lib", "/run", "/log");
    let host = HostFacts { arch: "x86_64".into(), ..HostFacts::default() };
    let inputs = Inputs {
        caps: &bench.caps,
        host: &host,
        firmware: &[],
        settings: &settings,
        found: &found,
        id: 7,
        incoming: None,
    };
    let again = |pid_file: &str| {
        let helper = helper_again(&bench.domain, &inputs, pid_file).expect("described");
        helper.map(|helper| {
            let words = helper.args.iter().map(|arg| arg.render(|_| String::new()));
            format!("{} {}", helper.program, words.collect::<Vec<_>>().join(" "))
        })
    };
    let run = &settings.run_dir;
    let first = again(&format!("{run}/passt/7-g-net0-passt.pid")).expect("the first");
    assert!(first.starts_with("passt ") && !first.contains("--tcp-ports"), "{first}");
    let second = again(&format!("{run}/passt/7-g-net1-passt.pid")).expect("the second");
    assert!(second.contains("--tcp-ports 22"), "{second}");
    let lib = format!("{}/domain-7-g", settings.lib_dir);
    let web = again(&format!("{lib}/nbdkit-libvirt-3-storage.pid")).expect("the image's");
    assert!(web.contains("curl") && web.contains("https://h:443/a.iso"), "{web}");
    let manager = again(&format!("{lib}/pr-helper0.pid")).expect("the manager");
    assert!(manager.contains("-k"), "{manager}");
    for other in ["/swtpm/7-g-swtpm.pid", "/passt/7-g-net2-passt.pid"] {
        assert_eq!(again(&format!("{run}{other}")), None, "{other}");
    }
}

/// Each controller has seven names of disks. The ones that have to come before the eighth disk are like
/// the last there is: a guest that boots from virtio need not know other adapters.
#[test]
fn controllers_that_come_with_a_disk_are_like_the_last() {
    let own = "<controller type='scsi' index='0' model='virtio-non-transitional'>
        <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></controller>";
    let guest = GUEST.replace("<memballoon", &format!("{own}<memballoon"));
    let disk = "<disk type='file'><source file='/i'/><target dev='sdh' bus='scsi'/></disk>";
    let attached = Bench::of(&guest).attach(disk).expect("it can come");
    let list = &attached.domain.devices.as_ref().expect("devices").controllers;
    let scsi: Vec<_> = list.iter().filter(|c| c.kind == ControllerType::Scsi).collect();
    assert_eq!(attached.controllers.len(), 1);
    assert_eq!(scsi.len(), 2);
    assert_eq!(scsi[1].model.as_deref(), Some("virtio-non-transitional"));
}
