//! How long large repetitive documents of each shape take, in seconds of one core:
//! `cargo run --release -p model --example bulk_xml [-- MEGABYTES [SHAPE]]`.
//!
//! Each shape is read, completed, checked and written as far as it is accepted, at half its size
//! and at the full one (10 MB): twice the time is linear, four times is not.

use std::time::{Duration, Instant};

use model::domain::defaults::{DefaultsContext, DeviceSupport, Settings, apply};
use model::domain::{Domain, FormatFlags, ParseOptions};
use model::storage::{Parsing, Pool, PoolType, Volume};
use xml::WriteOptions;

/// A document that repeats one part: its name, what comes before, the part, what comes after. In the
/// part `{i}` stands for its number, `{name}` for that as letters, `{a}` for three bytes of it in the
/// form of an address, `{m}` in that of a MAC.
type Shape = (&'static str, &'static str, &'static str, &'static str);

const DOMAIN: &str = "<domain type='qemu'><name>g</name><memory>1048576</memory><vcpu>1</vcpu>\
    <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>";
const DEVICES: &str = "<domain type='qemu'><name>g</name><memory>1048576</memory><vcpu>1</vcpu>\
    <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os><devices>";
const END_DEVICES: &str = "</devices></domain>";
const NETWORK: &str = "<network><name>n</name>";
const FILTER: &str = "<filter name='f' chain='root'>";

static SHAPES: &[Shape] = &[
    (
        "disks",
        DEVICES,
        "<disk type='file' device='disk'><source file='/img/{i}'/>\
             <target dev='vd{i}' bus='virtio'/></disk>",
        END_DEVICES,
    ),
    (
        "disks, own names",
        DEVICES,
        "<disk><source file='/i{i}'/><target dev='vd{name}'/></disk>",
        END_DEVICES,
    ),
    (
        "disks of SCSI",
        DEVICES,
        "<disk><source file='/i{i}'/><target dev='sd{name}'/></disk>",
        END_DEVICES,
    ),
    (
        "disks of one name",
        DEVICES,
        "<disk><source file='/i'/><target dev='vda'/></disk>",
        END_DEVICES,
    ),
    ("empty disks", DEVICES, "<disk/>", END_DEVICES),
    (
        "interfaces",
        DEVICES,
        "<interface type='network'><source network='n{i}'/></interface>",
        END_DEVICES,
    ),
    (
        "interfaces with addresses",
        DEVICES,
        "<interface type='user'><mac address='52:54:00:00:00:01'/>\
             <ip address='10.0.0.1' prefix='24'/><model type='virtio'/><address type='pci' \
             domain='0' bus='1' slot='{i}' function='0'/></interface>",
        END_DEVICES,
    ),
    ("controllers", DEVICES, "<controller type='scsi'/>", END_DEVICES),
    (
        "controllers with numbers",
        DEVICES,
        "<controller type='scsi' index='{i}' model='virtio-scsi'/>",
        END_DEVICES,
    ),
    (
        "controllers, numbers falling",
        DEVICES,
        "<controller type='virtio-serial' index='{i}'/><controller type='scsi' index='0'/>",
        END_DEVICES,
    ),
    ("USB controllers", DEVICES, "<controller type='usb'/>", END_DEVICES),
    (
        "ICH9 controllers",
        DEVICES,
        "<controller type='usb' model='ich9-ehci1'/><controller type='usb' \
              model='ich9-uhci1'/>",
        END_DEVICES,
    ),
    ("PCI controllers", DEVICES, "<controller type='pci' model='pcie-root-port'/>", END_DEVICES),
    (
        "channels",
        DEVICES,
        "<channel type='pty'><target type='virtio' name='c{i}'/></channel>",
        END_DEVICES,
    ),
    (
        "channels of many controllers",
        DEVICES,
        "<channel type='pty'><target type='virtio'/><address type='virtio-serial' \
             controller='{i}' bus='0' port='1'/></channel>",
        END_DEVICES,
    ),
    (
        "channels of one great controller",
        "<domain type='qemu'><name>g</name><memory>1048576</memory><os><type arch='x86_64' \
         machine='q35'>hvm</type></os><devices><controller type='virtio-serial' index='0' \
         ports='2000000000'/>",
        "<channel type='pty'><target type='virtio'/></channel>",
        END_DEVICES,
    ),
    (
        "channels of controllers without ports",
        DEVICES,
        "<controller type='virtio-serial' index='{i}' ports='0'/><channel type='pty'><target \
         type='virtio'/><address type='virtio-serial' controller='{i}' bus='0'/></channel>",
        END_DEVICES,
    ),
    ("serials", DEVICES, "<serial type='pty'/>", END_DEVICES),
    ("consoles", DEVICES, "<console type='pty'/>", END_DEVICES),
    (
        "PCI hostdevs",
        DEVICES,
        "<hostdev mode='subsystem' type='pci'><source><address domain='{i}' bus='1' slot='2' \
             function='0'/></source></hostdev>",
        END_DEVICES,
    ),
    (
        "USB hostdevs",
        DEVICES,
        "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product \
              id='0xbeef'/></source></hostdev>",
        END_DEVICES,
    ),
    (
        "SCSI hostdevs",
        DEVICES,
        "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/><address \
             bus='0' target='0' unit='{i}'/></source></hostdev>",
        END_DEVICES,
    ),
    (
        "memory devices",
        "<domain type='qemu'><name>g</name><maxMemory slots='255'>99999999999</maxMemory>\
         <memory>1048576</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><cpu><numa>\
         <cell id='0' cpus='0' memory='1048576'/></numa></cpu><devices>",
        "<memory model='dimm'><target><size>1024</size><node>0</node></target></memory>",
        END_DEVICES,
    ),
    (
        "memory devices with addresses",
        "<domain type='qemu'><name>g</name><maxMemory slots='255'>99999999999</maxMemory>\
         <memory>1048576</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>",
        "<memory model='dimm'><target><size>1024</size><node>0</node></target><address \
             type='dimm' slot='{i}' base='0x100000000'/></memory>",
        END_DEVICES,
    ),
    ("inputs of USB", DEVICES, "<input type='tablet' bus='usb'/>", END_DEVICES),
    ("hubs", DEVICES, "<hub type='usb'/>", END_DEVICES),
    ("redirections", DEVICES, "<redirdev bus='usb' type='spicevmc'/>", END_DEVICES),
    (
        "filesystems",
        DEVICES,
        "<filesystem><source dir='/{i}'/><target dir='t{i}'/>\
        </filesystem>",
        END_DEVICES,
    ),
    ("videos", DEVICES, "<video/>", END_DEVICES),
    ("graphics", DEVICES, "<graphics type='vnc'/>", END_DEVICES),
    ("sounds", DEVICES, "<sound model='ich9'/>", END_DEVICES),
    ("audios", DEVICES, "<audio id='{i}' type='none'/>", END_DEVICES),
    ("smartcards", DEVICES, "<smartcard mode='host'/>", END_DEVICES),
    (
        "rngs",
        DEVICES,
        "<rng model='virtio'><backend model='random'>/dev/urandom\
        </backend></rng>",
        END_DEVICES,
    ),
    ("shmems", DEVICES, "<shmem name='s{i}'/>", END_DEVICES),
    ("watchdogs", DEVICES, "<watchdog model='i6300esb'/>", END_DEVICES),
    ("panics", DEVICES, "<panic model='isa'/>", END_DEVICES),
    (
        "leases",
        DEVICES,
        "<lease><lockspace>s</lockspace><key>k{i}</key><target \
        path='/p'/></lease>",
        END_DEVICES,
    ),
    (
        "aliases",
        DEVICES,
        "<rng model='virtio'><backend model='random'>/dev/random\
        </backend><alias name='ua-{i}'/></rng>",
        END_DEVICES,
    ),
    ("boot orders", DEVICES, "<interface type='user'><boot order='{i}'/></interface>", END_DEVICES),
    (
        "disks with snapshots of sources",
        DEVICES,
        "<disk type='network'><source protocol='rbd' name='p/{i}'><host name='h' port='1'/>\
             <host name='h' port='2'/></source><target dev='vda'/><iotune>\
             <total_bytes_sec>{i}</total_bytes_sec><group_name>g{i}</group_name></iotune></disk>",
        END_DEVICES,
    ),
    (
        "hosts of one disk",
        "<domain type='qemu'><name>g</name><memory>1048576</memory><os><type arch='x86_64' \
         machine='q35'>hvm</type></os><devices><disk type='network'><source protocol='rbd' \
         name='a'>",
        "<host name='h{i}' port='1'/>",
        "</source><target dev='vda'/></disk></devices></domain>",
    ),
    ("unknown elements", DEVICES, "<foo/>", END_DEVICES),
    ("unknown elements, nested", DEVICES, "<foo><bar><baz a='1'>x</baz></bar></foo>", END_DEVICES),
    ("one name in another", DEVICES, NESTED, END_DEVICES),
    ("too deep", DOMAIN, "<foo>", ""),
    (
        "metadata",
        "<domain type='qemu'><name>g</name><memory>1048576</memory><os><type>hvm</type></os>\
         <metadata>",
        "<a:b xmlns:a='urn:{i}'><a:c d='{i}'/></a:b>",
        "</metadata></domain>",
    ),
    ("metadata elements", DOMAIN, "<metadata><x xmlns='u{i}'/></metadata>", "</domain>"),
    ("an attribute", "<domain type='qemu' foo='", "0123456789", "'/>"),
    (
        "a name",
        "<domain type='qemu'><memory>1048576</memory><os><type>hvm</type></os><name>",
        "0123456789",
        "</name></domain>",
    ),
    ("attributes", "<domain type='qemu' ", "a{i}='1' ", "/>"),
    ("namespaces", "<domain type='qemu' ", "xmlns:a{i}='1' ", "/>"),
    ("comments", DEVICES, "<!-- a comment -->", END_DEVICES),
    (
        "character references",
        "<domain type='qemu'><memory>1048576</memory><os><type>hvm\
        </type></os><name>a</name><description>",
        "&#65;&lt;",
        "</description></domain>",
    ),
    (
        "sections of raw text",
        "<domain type='qemu'><memory>1048576</memory><os><type>hvm\
        </type></os><name>a</name><description>",
        "<![CDATA[x]]>y",
        "</description></domain>",
    ),
    ("processing instructions", DEVICES, "<?a b?>", END_DEVICES),
    ("text between elements", DEVICES, "text<foo/>", END_DEVICES),
    (
        "vcpus",
        "<domain type='qemu'><name>g</name><memory>1</memory><vcpu>255</vcpu><vcpus>",
        "<vcpu id='{i}' enabled='yes'/>",
        "</vcpus><os><type>hvm</type></os></domain>",
    ),
    (
        "a set of CPUs",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><vcpu cpuset='0",
        ",{i}",
        "'>1</vcpu></domain>",
    ),
    (
        "sets of CPUs",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><vcpu>8</vcpu><cputune>",
        "<vcpupin vcpu='{i}' cpuset='0-4095,^7'/>",
        "</cputune></domain>",
    ),
    (
        "CPU tuning",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><vcpu>8</vcpu><cputune>",
        "<cachetune vcpus='{i}'><cache id='0' level='3' \
        type='both' size='1'/></cachetune><iothreadpin iothread='{i}' cpuset='1'/>",
        "</cputune></domain>",
    ),
    (
        "CPU features",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><cpu mode='custom'><model>qemu64</model>",
        "<feature policy='require' name='f{i}'/>",
        "</cpu></domain>",
    ),
    (
        "NUMA cells",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><vcpu>8</vcpu><cpu><numa>",
        "<cell id='{i}' memory='1'/>",
        "</numa></cpu></domain>",
    ),
    (
        "NUMA nodes",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><numatune>",
        "<memnode cellid='{i}' mode='strict' nodeset='0'/>",
        "</numatune></domain>",
    ),
    (
        "I/O threads",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type></os><iothreadids>",
        "<iothread id='{i}'/>",
        "</iothreadids></domain>",
    ),
    (
        "system information",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>\
        hvm</type></os><sysinfo type='smbios'>",
        "<baseBoard><entry name='serial'>x</entry></baseBoard>",
        "</sysinfo></domain>",
    ),
    ("security labels", DOMAIN, "<seclabel type='none' model='m{i}'/>", "</domain>"),
    (
        "command line of QEMU",
        "<domain type='qemu' \
        xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>g</name><memory>1</memory><os>\
        <type>hvm</type></os><q:commandline>",
        "<q:arg value='{i}'/><q:env name='N{i}'/>",
        "</q:commandline></domain>",
    ),
    (
        "boot devices",
        "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm\
        </type>",
        "<boot dev='hd'/>",
        "</os></domain>",
    ),
    ("resources", DOMAIN, "<resource><partition>/x</partition></resource>", "</domain>"),
    (
        "hosts of a network",
        "<network><name>n</name><ip address='10.0.0.1' prefix='8'><dhcp>",
        "<host mac='52:54:00:00:00:01' name='h{i}' ip='10.0.0.2'/>",
        "</dhcp></ip></network>",
    ),
    (
        "hosts of a network, own addresses",
        "<network><name>n</name><ip address='10.0.0.1' prefix='8'><dhcp>",
        "<host mac='52:54:00:{m}' ip='10.{a}'/>",
        "</dhcp></ip></network>",
    ),
    (
        "ranges of a network",
        "<network><name>n</name><ip address='10.0.0.1' prefix='8'><dhcp>",
        "<range start='10.0.0.2' end='10.0.0.3'/>",
        "</dhcp></ip></network>",
    ),
    ("addresses of a network", NETWORK, "<ip address='10.0.0.1' prefix='8'/>", "</network>"),
    (
        "routes of a network",
        NETWORK,
        "<route address='10.0.0.0' prefix='8' \
        gateway='10.0.0.1'/>",
        "</network>",
    ),
    ("port groups", NETWORK, "<portgroup name='p{i}' default='yes'/>", "</network>"),
    ("port groups of one name", NETWORK, "<portgroup name='p'/>", "</network>"),
    (
        "names of a network",
        "<network><name>n</name><dns>",
        "<host ip='10.0.0.1'><hostname>h{i}</hostname></host><srv service='s{i}' \
             protocol='tcp'/><txt name='t{i}'/>",
        "</dns></network>",
    ),
    (
        "interfaces of a network",
        "<network><name>n</name><forward mode='passthrough'>",
        "<interface dev='e{i}'/>",
        "</forward></network>",
    ),
    (
        "filter rules",
        FILTER,
        "<rule action='drop' direction='in' priority='{i}'><tcp \
        srcipaddr='10.0.0.1'/></rule>",
        "</filter>",
    ),
    (
        "parts of a filter rule",
        "<filter name='f' chain='root'><rule action='drop' \
        direction='in'>",
        "<tcp/>",
        "</rule></filter>",
    ),
    (
        "filters of a filter",
        FILTER,
        "<filterref filter='g{i}'><parameter name='A' \
        value='{i}'/></filterref>",
        "</filter>",
    ),
    (
        "parameters of a filter",
        "<filter name='f' chain='root'><filterref filter='g'>",
        "<parameter name='A' value='{i}'/><parameter name='B{i}' value='1'/>",
        "</filterref></filter>",
    ),
    (
        "parameters of an interface",
        "<domain type='qemu'><name>g</name><memory>1</memory><os>\
        <type>hvm</type></os><devices><interface type='user'><filterref filter='f'>",
        "<parameter name='A' value='{i}'/><parameter name='B{i}' value='1'/>",
        "</filterref></interface></devices></domain>",
    ),
    (
        "hosts of a pool",
        "<pool type='rbd'><name>p</name><source><name>s</name>",
        "<host name='h{i}'/>",
        "</source></pool>",
    ),
    (
        "devices of a pool",
        "<pool type='logical'><name>p</name><source>",
        "<device path='/d{i}'/>",
        "</source><target><path>/p</path></target></pool>",
    ),
    (
        "features of a volume",
        "<volume><name>v</name><capacity>1</capacity><target><features>",
        "<lazy_refcounts/>",
        "</features></target></volume>",
    ),
    (
        "capabilities of a node device",
        "<device><name>d</name>",
        "<capability type='drm'><type>render</type></capability>",
        "</device>",
    ),
    (
        "kinds of a node device",
        "<device><name>d</name><capability type='pci'><domain>0\
        </domain><bus>1</bus><slot>2</slot><function>3</function><product id='0x1'/>\
        <vendor id='0x2'/>",
        "<capability type='mdev_types'><type id='t{i}'><deviceAPI>a</deviceAPI>\
             <availableInstances>1</availableInstances></type></capability>",
        "</capability></device>",
    ),
    (
        "ports of a bridge",
        "<interface type='bridge' name='b'><bridge>",
        "<interface type='ethernet' name='e{i}'/>",
        "</bridge></interface>",
    ),
    (
        "disks of a snapshot",
        "<domainsnapshot><disks>",
        "<disk name='d{i}'/>",
        "</disks></domainsnapshot>",
    ),
    (
        "disks of a checkpoint",
        "<domaincheckpoint><disks>",
        "<disk name='d{i}'/>",
        "</disks></domaincheckpoint>",
    ),
    (
        "disks of a backup",
        "<domainbackup><disks>",
        "<disk name='d{i}'/>",
        "</disks></domainbackup>",
    ),
    (
        "unknown elements of a secret",
        "<secret ephemeral='no' private='no'>",
        "<a{i}/>",
        "</secret>",
    ),
];

/// Elements of one name, one in another.
const NESTED: &str = "<foo><foo><foo><foo><foo><foo><foo><foo><foo><foo><foo><foo>\
    </foo></foo></foo></foo></foo></foo></foo></foo></foo></foo></foo></foo>";

/// A number as the letters of a disk's name: a, b, … z, aa, …
fn letters(mut i: usize) -> String {
    let mut out = String::new();
    loop {
        out.insert(0, char::from(b'a' + (i % 26) as u8));
        if i < 26 {
            return out;
        }
        i = i / 26 - 1;
    }
}

/// The document of a shape that has so many bytes.
fn text((_, head, part, tail): &Shape, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 1024);
    text.push_str(head);
    let mut i = 0;
    while text.len() + tail.len() < bytes {
        let [_, a, b, c] = (i as u32).to_be_bytes();
        text += &part
            .replace("{i}", &i.to_string())
            .replace("{name}", &letters(i))
            .replace("{a}", &format!("{a}.{b}.{c}"))
            .replace("{m}", &format!("{a:02x}:{b:02x}:{c:02x}"));
        i += 1;
    }
    text.push_str(tail);
    text
}

/// What each step took, and how many faults were found.
#[derive(Default)]
struct Steps {
    spent: Vec<(&'static str, Duration)>,
    faults: usize,
}

impl Steps {
    fn run<T>(&mut self, name: &'static str, step: impl FnOnce() -> T) -> T {
        let from = on_cpu();
        let value = step();
        self.spent.push((name, on_cpu().saturating_sub(from)));
        value
    }
}

/// The time that this thread has had a processor: what else runs on the machine does not count.
fn on_cpu() -> Duration {
    thread_local!(static START: Instant = Instant::now());
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

fn domain(text: &str, steps: &mut Steps) {
    let parsed = steps.run("read", || model::domain::parse(text, ParseOptions::default()));
    steps.faults = parsed.diagnostics.len();
    let Some(mut d) = parsed.domain else { return };
    let devices = DeviceSupport::new(["qemu-xhci", "virtio-scsi-pci", "pcie-root-port"]);
    let settings = Settings::default();
    steps.faults += steps.run("complete", || complete(&mut d, &devices, &settings));
    steps.faults += steps.run("check", || model::domain::validate(&d)).len();
    steps.run("name", || model::domain::assign_aliases(&mut d));
    steps.run("write", || model::domain::format(&d, FormatFlags::default()));
    steps.run("drop", || drop(d));
}

fn complete(d: &mut Domain, devices: &DeviceSupport, settings: &Settings) -> usize {
    let mut random = |bytes: &mut [u8]| bytes.fill(7);
    let mut context = DefaultsContext {
        emulator: Some("/usr/bin/qemu-system-x86_64"),
        devices,
        settings,
        ..DefaultsContext::without_emulator("x86_64", &mut random)
    };
    apply(d, &mut context).len()
}

fn other<T>(
    steps: &mut Steps,
    read: impl FnOnce() -> xml::Parsed<T>,
    check: impl FnOnce(&T) -> usize,
    write: impl FnOnce(&T) -> String,
) {
    let parsed = steps.run("read", read);
    steps.faults = parsed.diagnostics.len();
    let Some(value) = parsed.value else { return };
    steps.faults += steps.run("check", || check(&value));
    steps.run("write", || write(&value));
    steps.run("drop", || drop(value));
}

fn run(text: &str) -> Steps {
    let mut steps = Steps::default();
    let s = &mut steps;
    let all = WriteOptions { live: true, secure: true, migratable: false, indent: 0 };
    let root = text.trim_start_matches('<').split([' ', '>', '/']).next().unwrap_or_default();
    match root {
        "network" => other(
            s,
            || model::network::parse(text),
            |n| model::network::validate(n).len(),
            |n| model::network::format(n, model::network::FormatFlags::default()),
        ),
        "filter" => other(s, || model::nwfilter::parse(text), |_| 0, model::nwfilter::format),
        "pool" => other(s, || Pool::parse(text), |_| 0, |p| p.to_xml(0)),
        "volume" => {
            let parsing = Parsing { capacity_optional: false };
            other(s, || Volume::parse(text, PoolType::Dir, parsing), |_| 0, Volume::to_xml);
        }
        "device" => {
            other(s, || model::nodedev::parse(text), |_| 0, |d| model::nodedev::format(d, &all));
        }
        "interface" => {
            let read = || model::interface::parse(text);
            other(s, read, |_| 0, |i| model::interface::format(i, &all));
        }
        "secret" => {
            other(s, || model::secret::parse(text), |_| 0, |x| model::secret::format(x, &all));
        }
        "domainsnapshot" => {
            use model::snapshot::{Parsing, format, parse};
            let parsing = Parsing { redefine: false, internal: false };
            other(s, || parse(text, parsing), |_| 0, |x| format(x, false, &all));
        }
        "domaincheckpoint" => {
            use model::checkpoint::{Parsing, format, parse};
            other(s, || parse(text, Parsing { redefine: false }), |_| 0, |x| format(x, &all));
        }
        "domainbackup" => {
            use model::backup::{Parsing, format, parse};
            let parsing = Parsing { internal: false };
            other(s, || parse(text, parsing), |_| 0, |x| format(x, false, &all));
        }
        _ => domain(text, s),
    }
    steps
}

fn main() {
    let mut args = std::env::args().skip(1);
    let megabytes = args.next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(10.0);
    let only = args.next();
    let full = (megabytes * 1e6) as usize;
    let thread = std::thread::Builder::new().stack_size(model::STACK_SIZE);
    let work = move || {
        for shape in SHAPES.iter().filter(|s| only.as_ref().is_none_or(|o| s.0 == o)) {
            let sum = |steps: &Steps| -> f64 {
                steps.spent.iter().map(|(_, time)| time.as_secs_f64()).sum()
            };
            let half = sum(&run(&text(shape, full / 2)));
            let steps = run(&text(shape, full));
            let all = sum(&steps);
            let parts: Vec<_> = (steps.spent.iter())
                .map(|(name, time)| format!("{name} {:.3}", time.as_secs_f64()))
                .collect();
            println!(
                "{:<36} {all:6.3} s  x{:<4.1} {:4} faults  {}",
                shape.0,
                all / half.max(1e-6),
                steps.faults,
                parts.join(", ")
            );
        }
    };
    match thread.spawn(work).map(std::thread::JoinHandle::join) {
        Ok(Ok(())) => {}
        _ => std::process::exit(1),
    }
}
