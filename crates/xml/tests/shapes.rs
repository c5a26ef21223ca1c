//! The oddest shapes of libvirt's domain XML, each declared with the derive.

#![allow(missing_docs)]

use xml::{
    Element, ErrorCode, Hex, Name, OnOff, RawElement, Reader, Schema, WriteOptions, Writer, Xml,
    XmlEnum, YesNo,
};

/// Reads, writes, and expects `output`; reads that again and expects the same value.
fn check<T: Xml + PartialEq + std::fmt::Debug>(name: &str, input: &str, output: &str) -> T {
    let options = WriteOptions { live: true, secure: true, ..WriteOptions::default() };
    let parsed = xml::read_str::<T>(input, name);
    assert!(parsed.diagnostics.is_empty(), "{input}: {:?}", parsed.diagnostics);
    let value = parsed.value.unwrap();
    let written = xml::write(&value, name, &options);
    let one_line: String = written.lines().map(str::trim_start).collect();
    assert_eq!(one_line, output);
    let again = xml::read_str::<T>(&written, name).value.unwrap();
    assert_eq!(again, value);
    value
}

fn same<T: Xml + PartialEq + std::fmt::Debug>(name: &str, text: &str) -> T {
    check(name, text, text)
}

/// The messages and hints of reading, in order.
fn faults<T: Xml>(name: &str, text: &str) -> Vec<String> {
    xml::read_str::<T>(text, name)
        .diagnostics
        .into_iter()
        .map(|d| std::iter::once(d.message).chain(d.hints).collect::<Vec<_>>().join(" | "))
        .collect()
}

#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
enum Address {
    Pci(PciAddress),
    Drive(DriveAddress),
    #[xml(name = "unassigned")]
    Unassigned,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct PciAddress {
    #[xml(attr, default)]
    domain: Hex<u16, 4>,
    #[xml(attr, default)]
    bus: Hex<u8, 2>,
    #[xml(attr)]
    slot: Hex<u8, 2>,
    #[xml(attr)]
    function: Hex<u8, 1>,
    #[xml(attr)]
    multifunction: Option<OnOff>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct DriveAddress {
    #[xml(attr, default)]
    controller: u32,
    #[xml(attr, default)]
    unit: u32,
}

#[test]
fn address_is_a_union() {
    check::<Address>(
        "address",
        "<address function='2' type='pci' slot='31'/>",
        "<address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/>",
    );
    same::<Address>("address", "<address type='drive' controller='1' unit='0'/>");
    same::<Address>("address", "<address type='unassigned'/>");
    assert_eq!(
        faults::<Address>("address", "<address type='pic' slot='1'/>"),
        ["Invalid value for attribute 'type' in element 'address': 'pic'. | Did you mean 'pci'?"]
    );
    assert_eq!(
        faults::<Address>("address", "<address slot='1'/>"),
        [
            "Missing required attribute 'type' in element 'address' | Add type='…' to <address>.",
            "Unknown attribute 'slot' in element 'address'",
        ]
    );
    assert_eq!(
        faults::<Address>("address", "<address type='pci' slot='0x1g' bus='256'/>"),
        [
            "Missing required attribute 'function' in element 'address' | Add function='…' to \
             <address>.",
            "Invalid value for attribute 'slot' in element 'address': '0x1g'. Expected \
             non-negative integer value",
            "Invalid value for attribute 'bus' in element 'address': '256'. Expected \
             non-negative integer value | The highest value is 255.",
        ]
    );
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
enum DiskDevice {
    #[default]
    Disk,
    #[xml(alias = "cd")]
    Cdrom,
    #[xml(name = "LUN")]
    Lun,
}

#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
enum DiskSource {
    File(FileSource),
    Network(NetworkSource),
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct FileSource {
    #[xml(wrap = "source", attr)]
    file: Option<String>,
    #[xml(wrap = "source", child)]
    seclabel: Option<SecLabel>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct SecLabel {
    #[xml(attr)]
    relabel: Option<YesNo>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct NetworkSource {
    #[xml(wrap = "source", attr)]
    protocol: String,
    #[xml(wrap = "source", child, name = "host")]
    hosts: Vec<Host>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Host {
    #[xml(attr)]
    name: String,
    #[xml(attr)]
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Xml)]
struct BackingStore {
    #[xml(flatten)]
    source: Option<DiskSource>,
    #[xml(child_text, wrap = "format", name = "kind")]
    kind: Option<String>,
    #[xml(child, name = "backingStore")]
    backing_store: Option<Box<BackingStore>>,
}

#[derive(Clone, Debug, PartialEq, Xml)]
struct Disk {
    #[xml(flatten, attrs_first)]
    source: DiskSource,
    #[xml(attr, default)]
    device: DiskDevice,
    #[xml(attr, default, skip_default)]
    index: u32,
    #[xml(child)]
    driver: Option<Driver>,
    #[xml(child, name = "backingStore")]
    backing_store: Option<Box<BackingStore>>,
    #[xml(flag)]
    readonly: bool,
    #[xml(child_text)]
    serial: Option<String>,
    #[xml(child, live_only)]
    alias: Option<Alias>,
    #[xml(child)]
    address: Option<Address>,
    #[xml(skip)]
    note: u8,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Driver {
    #[xml(attr)]
    name: Option<String>,
    #[xml(attr)]
    cache: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Alias {
    #[xml(attr)]
    name: String,
}

#[test]
fn disk_source_depends_on_the_type_and_backing_recurses() {
    let disk: Disk = check(
        "disk",
        "<disk device='cd' type='file'><backingStore type='network'><backingStore/>\
         <source protocol='rbd'><host name='a' port='6789'/><host name='b'/></source>\
         </backingStore><source file='/a&amp;b'><seclabel relabel='no'/></source>\
         <alias name='x'/><readonly/><serial></serial></disk>",
        "<disk type='file' device='cdrom'><source file='/a&amp;b'><seclabel relabel='no'/></source>\
         <backingStore type='network'><source protocol='rbd'><host name='a' port='6789'/>\
         <host name='b'/></source><backingStore/></backingStore><readonly/><alias name='x'/></disk>",
    );
    let options = WriteOptions::default();
    assert!(!xml::write(&disk, "disk", &options).contains("alias"));
    assert_eq!(
        faults::<Disk>(
            "disk",
            "<disk type='network' devcie='disk'><source protocol='rbd' prot='x'><hots/></source>\
             <source/><readonly x='1'><y/></readonly></disk>"
        ),
        [
            "Unknown attribute 'devcie' in element 'disk' | Did you mean 'device'?",
            "Unknown attribute 'prot' in element 'source'",
            "Unknown element 'hots' in element 'source' | Did you mean 'host'?",
            "Only the first 'source' of element 'disk' counts; this one is left out",
            "Unknown attribute 'x' in element 'readonly'",
            "Unknown element 'y' in element 'readonly'",
        ]
    );
    let bad = xml::read_str::<Disk>("<disk type='network'><source/></disk>", "disk");
    assert_eq!(bad.value, None);
    assert_eq!(
        bad.diagnostics[0].message,
        "Missing required attribute 'protocol' in element 'source'"
    );
    let bad = xml::read_str::<Disk>("<disk type='network'/>", "disk");
    assert_eq!(bad.diagnostics[0].message, "Missing required element 'source' in element 'disk'");
}

#[test]
fn two_hundred_levels_of_backing_files_are_read() {
    let inner = "<backingStore type='file'><source file='x'/>";
    let text =
        format!("<disk type='file'>{}{}</disk>", inner.repeat(200), "</backingStore>".repeat(200));
    let disk = xml::read_str::<Disk>(&text, "disk").value.unwrap();
    let written = xml::write(&disk, "disk", &WriteOptions::default());
    assert_eq!(written.matches("<backingStore").count(), 200);
    assert_eq!(xml::diff(&disk, &disk.clone()), []);
}

#[test]
fn hostile_input_yields_a_bounded_list() {
    let text = format!("<memory unit='b'>1{}</memory>", "<unkown/>".repeat(100_000));
    let found = xml::read_str::<Memory>(&text, "memory");
    assert!(found.value.is_some());
    assert_eq!(found.diagnostics.len(), xml::MAX_SHOWN + 1);
    assert_eq!(found.diagnostics[200].message, "99800 further findings are left out");
}

#[derive(Clone, Debug, PartialEq, Xml)]
struct Chardev {
    #[xml(flatten)]
    backend: ChardevBackend,
    #[xml(child)]
    target: Option<ChardevTarget>,
}

#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type", default = "pty")]
enum ChardevBackend {
    Pty,
    Unix(UnixBackend),
    Udp(UdpBackend),
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct UnixBackend {
    #[xml(child)]
    source: UnixSource,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct UnixSource {
    #[xml(attr)]
    mode: Option<String>,
    #[xml(attr)]
    path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct UdpBackend {
    #[xml(child, name = "source")]
    sources: Vec<UnixSource>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct ChardevTarget {
    #[xml(attr, name = "type")]
    kind: Option<String>,
    #[xml(attr)]
    port: Option<i32>,
    #[xml(wrap = "model", attr, name = "name")]
    model: Option<String>,
}

#[test]
fn chardev_source_depends_on_the_parents_type() {
    check::<Chardev>("console", "<console/>", "<console type='pty'/>");
    same::<Chardev>(
        "serial",
        "<serial type='unix'><source mode='bind' path='/s'/>\
         <target type='isa-serial' port='-1'><model name='x'/></target></serial>",
    );
    same::<Chardev>(
        "serial",
        "<serial type='udp'><source mode='bind'/><source mode='connect'/></serial>",
    );
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(open)]
struct Port {
    #[xml(attr)]
    name: String,
    #[xml(child)]
    mac: Option<Alias>,
}

#[test]
fn an_open_element_has_an_end_tag() {
    let options = WriteOptions::default();
    let mut port = Port { name: "a".into(), mac: None };
    assert_eq!(xml::write(&port, "port", &options), "<port name='a'>\n</port>\n");
    port.mac = Some(Alias { name: "m".into() });
    let text = "<port name='a'>\n  <mac name='m'/>\n</port>\n";
    assert_eq!(xml::write(&port, "port", &options), text);
    let mut w = Writer::new(&options);
    w.start("id");
    w.attr_str("n", "1");
    w.end_spaced("id");
    assert_eq!(w.finish(), "<id n='1' />\n");
}

#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(check = Bounds::ordered)]
struct Bounds {
    #[xml(attr, fault = (ErrorCode::XML_DETAIL, "bad start '{}'"))]
    start: u8,
    #[xml(attr, missing = (ErrorCode::NO_NAME, "no end"))]
    end: u8,
    #[xml(attr, empty_absent)]
    name: Option<String>,
    #[xml(child_text, fault = (ErrorCode::INTERNAL_ERROR, "bad step"))]
    step: Option<u8>,
}

impl Bounds {
    fn ordered(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.start > self.end {
            cx.error("bounds", ErrorCode::INTERNAL_ERROR, el.span(), "reversed", Vec::new());
        }
    }
}

#[test]
fn a_field_has_words_and_a_struct_a_check_of_its_own() {
    let read = |text: &str| {
        let parsed = xml::read_str::<Bounds>(text, "b");
        let found: Vec<_> = parsed.diagnostics.into_iter().map(|d| (d.code, d.message)).collect();
        (parsed.value.is_some(), found)
    };
    assert_eq!(read("<b start='1' end='2' name=''><step>3</step></b>"), (true, vec![]));
    for (text, code, message) in [
        ("<b start='x' end='2'/>", ErrorCode::XML_DETAIL, "bad start 'x'"),
        ("<b start='1'/>", ErrorCode::NO_NAME, "no end"),
        ("<b start='3' end='2'/>", ErrorCode::INTERNAL_ERROR, "reversed"),
        ("<b start='1' end='2'><step>x</step></b>", ErrorCode::INTERNAL_ERROR, "bad step"),
    ] {
        assert_eq!(read(text), (false, vec![(code, message.to_owned())]), "{text}");
    }
}

#[derive(Clone, Debug, PartialEq, Xml)]
struct Graphics {
    #[xml(attr, name = "type")]
    kind: String,
    #[xml(attr)]
    port: Option<i32>,
    #[xml(attr, secret)]
    passwd: Option<String>,
    #[xml(child, name = "listen")]
    listens: Vec<Listen>,
    #[xml(wrap = "image", attr, name = "compression")]
    image: Option<OnOff>,
}

#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
enum Listen {
    Address(ListenAddress),
    Socket(ListenSocket),
    None,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct ListenAddress {
    #[xml(attr)]
    address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct ListenSocket {
    #[xml(attr)]
    socket: Option<String>,
}

#[test]
fn graphics_have_listens_and_secrets() {
    let graphics: Graphics = same(
        "graphics",
        "<graphics type='vnc' port='-1' passwd='x'><listen type='address' address='::1'/>\
         <listen type='none'/><image compression='on'/></graphics>",
    );
    assert!(!xml::write(&graphics, "graphics", &WriteOptions::default()).contains("passwd"));
    assert_eq!(
        faults::<Graphics>("graphics", "<graphics type='vnc' port='abc'/>"),
        ["Invalid value for attribute 'port' in element 'graphics': 'abc'. Expected integer value"]
    );
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Memory {
    #[xml(attr, default = "KiB".to_owned())]
    unit: String,
    #[xml(text)]
    value: u64,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Vcpu {
    #[xml(attr, default = "static".to_owned())]
    placement: String,
    #[xml(attr)]
    cpuset: Option<units::CpuSet>,
    #[xml(attr)]
    current: Option<u32>,
    #[xml(text, default = 1)]
    max: u32,
}

#[test]
fn attributes_beside_text() {
    check::<Memory>("memory", "<memory>\n 65536 </memory>", "<memory unit='KiB'>65536</memory>");
    check::<Vcpu>(
        "vcpu",
        "<vcpu current='1' cpuset='0-3,^2'>4</vcpu>",
        "<vcpu placement='static' cpuset='0-1,3' current='1'>4</vcpu>",
    );
    check::<Vcpu>("vcpu", "<vcpu/>", "<vcpu placement='static'>1</vcpu>");
    assert_eq!(
        faults::<Vcpu>("vcpu", "<vcpu cpuset='3-1'>-4</vcpu>"),
        [
            "Invalid value for attribute 'cpuset' in element 'vcpu': '3-1'. Expected a list of \
             numbers and ranges like 0-3,^2,5",
            "Invalid value for element 'vcpu': '-4'. Expected non-negative integer value",
        ]
    );
    assert_eq!(faults::<Memory>("memory", "<memory/>"), ["Missing content of element 'memory'"]);
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct CpuTune {
    #[xml(child_text)]
    shares: Option<u64>,
    #[xml(child, name = "vcpupin")]
    vcpu_pins: Vec<VcpuPin>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct VcpuPin {
    #[xml(attr)]
    vcpu: u32,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct HyperV {
    #[xml(attr, default = HyperVMode::Custom, skip_default)]
    mode: HyperVMode,
    #[xml(wrap = "relaxed", attr, name = "state")]
    relaxed: Option<OnOff>,
    #[xml(wrap = "spinlocks", attr, name = "state")]
    spinlocks: Option<OnOff>,
    #[xml(wrap = "spinlocks", attr, name = "retries")]
    retries: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
enum HyperVMode {
    #[default]
    Custom,
    Passthrough,
    HostModel,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Features {
    #[xml(flag)]
    acpi: bool,
    #[xml(wrap = "pmu", attr, name = "state")]
    pmu: Option<OnOff>,
    #[xml(child)]
    hyperv: Option<HyperV>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct CommandLine {
    #[xml(child, ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu", name = "arg")]
    args: Vec<Arg>,
    #[xml(child, ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu", name = "env")]
    envs: Vec<Arg>,
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Arg {
    #[xml(attr)]
    value: Option<String>,
}

/// Boot devices, written as `<boot dev='…'/>` each.
mod boot {
    use super::*;

    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Vec<String>> {
        let mut all = Some(Vec::new());
        for c in cx.children(el, "boot") {
            match (cx.attr_required::<String>(c, "dev"), &mut all) {
                (Some(dev), Some(all)) => all.push(dev),
                _ => all = None,
            }
        }
        all
    }
    pub fn write_attrs(_: &[String], _: &mut Writer) {}
    pub fn write_children(all: &[String], w: &mut Writer) {
        for dev in all {
            w.start("boot");
            w.attr_str("dev", dev);
            w.end("boot");
        }
    }
    pub fn schema() -> Schema {
        fn inner() -> Schema {
            Schema::new().attr("dev", true, xml::ValueKind::Text)
        }
        Schema::new().child(Name::new("boot"), false, true, xml::Content::Element(inner))
    }
}

#[derive(Clone, Debug, PartialEq, Default, Xml)]
struct Domain {
    #[xml(attr, name = "type")]
    kind: String,
    #[xml(attr, live_only)]
    id: Option<i32>,
    #[xml(child_text)]
    name: String,
    #[xml(child_text)]
    uuid: Option<units::Uuid>,
    #[xml(raw)]
    metadata: Option<RawElement>,
    #[xml(child)]
    memory: Option<Memory>,
    #[xml(child, default, skip_default)]
    cputune: CpuTune,
    #[xml(wrap = "vcpus", child, name = "vcpu")]
    vcpus: Vec<VcpuPin>,
    #[xml(with = boot)]
    boots: Vec<String>,
    #[xml(child)]
    features: Option<Features>,
    #[xml(child_text, name = "emulator", wrap = "devices")]
    emulator: Option<String>,
    #[xml(child, name = "disk", wrap = "devices")]
    disks: Vec<Disk>,
    #[xml(child, name = "graphics", wrap = "devices")]
    graphics: Vec<Graphics>,
    #[xml(
        child,
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu",
        name = "commandline"
    )]
    commandline: Option<CommandLine>,
}

const DOMAIN: &str = "<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
    <name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>\
    <metadata><x:y xmlns:x=\"u\"/></metadata><memory unit='KiB'>7</memory>\
    <cputune><shares>2</shares><vcpupin vcpu='0'/></cputune><vcpus><vcpu vcpu='1'/></vcpus>\
    <boot dev='hd'/><boot dev='cdrom'/>\
    <features><acpi/><pmu state='off'/><hyperv mode='host-model'><relaxed state='on'/>\
    <spinlocks state='on' retries='8191'/></hyperv></features>\
    <devices><emulator>/q</emulator><disk type='file' device='disk'><driver cache='none'/>\
    </disk><disk type='file' device='LUN' index='2'/>\
    <graphics type='vnc'/></devices>\
    <qemu:commandline><qemu:arg value='-x'/><qemu:env value='y'/></qemu:commandline></domain>";

#[test]
fn a_whole_domain() {
    let _: Domain = check("domain", DOMAIN, DOMAIN);
    check::<Domain>(
        "domain",
        "<domain type='x'><name>a</name><devices/></domain>",
        "<domain type='x'><name>a</name></domain>",
    );
    assert_eq!(
        faults::<Domain>("domain", "<domian/>"),
        ["unexpected root element <domian>, expecting <domain>"]
    );
}

#[test]
fn every_fault_is_found_at_once() {
    let text = "<domain><nmae>x</nmae><memory>a</memory><devices><disk/><dsik/></devices>\
        <boot/><features><hyperv mode='x'/></features><qemu:commandline/></domain>";
    assert_eq!(
        faults::<Domain>("domain", text),
        [
            "Missing required attribute 'type' in element 'domain' | Add type='…' to <domain>.",
            "Missing required element 'name' in element 'domain' | Add <name> inside <domain>.",
            "Unknown element 'nmae' in element 'domain' | Did you mean 'name'?",
            "Invalid value for element 'memory': 'a'. Expected non-negative integer value",
            "Missing required attribute 'type' in element 'disk' | Add type='…' to <disk>.",
            "Unknown element 'dsik' in element 'devices' | Did you mean 'disk'?",
            "Missing required attribute 'dev' in element 'boot' | Add dev='…' to <boot>.",
            "Invalid value for attribute 'mode' in element 'hyperv': 'x'. | Possible values: \
             custom, passthrough, host-model.",
            "Namespace prefix qemu is not defined | Declare it with xmlns:qemu='…'.",
            "Unknown element 'qemu:commandline' in element 'domain'",
        ]
    );
}

#[test]
fn differences_have_paths() {
    let a = xml::read_str::<Domain>(DOMAIN, "domain").value.unwrap();
    assert_eq!(xml::diff(&a, &a), []);
    let mut b = a.clone();
    b.disks[0].driver = Some(Driver { name: Some("q".into()), cache: Some("none".into()) });
    b.disks[0].device = DiskDevice::Cdrom;
    b.memory.as_mut().unwrap().value = 8;
    b.graphics.clear();
    let changes: Vec<_> = xml::diff(&a, &b)
        .into_iter()
        .map(|c| {
            format!("{}: {:?} → {:?}", c.path, c.old.unwrap_or_default(), c.new.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        changes,
        [
            "memory/text(): \"7\" → \"8\"",
            "devices/disk[1]/@device: \"disk\" → \"cdrom\"",
            "devices/disk[1]/driver/@name: \"\" → \"q\"",
            "devices/graphics: \"<graphics type='vnc'/>\" → \"\"",
        ]
    );
}

#[test]
fn schemas_say_what_may_be_where() {
    let s = xml::schema::<Domain>();
    let devices = s.child_schema("devices", None).unwrap();
    let names: Vec<_> = devices.child_names().iter().map(|n| n.local).collect();
    assert_eq!(names, ["emulator", "disk", "graphics"]);
    let disk = devices.child_schema("disk", None).unwrap();
    assert!(disk.attr_names().contains(&"type") && disk.attr_names().contains(&"device"));
    let device = disk.attrs.iter().find(|a| a.name == "device").unwrap();
    assert_eq!(device.value, xml::ValueKind::Enum(&["disk", "cdrom", "LUN"]));
    assert!(!device.required);
    // A type that contains itself.
    let mut store = disk;
    for _ in 0..5 {
        store = store.child_schema("backingStore", None).unwrap();
    }
    assert_eq!(disk_variants(), ["file", "network"]);
}

fn disk_variants() -> Vec<&'static str> {
    xml::schema::<Disk>().variants.iter().map(|v| v.value).collect()
}

#[test]
fn words() {
    assert_eq!(DiskDevice::ALL.len(), 3);
    assert_eq!(DiskDevice::Lun.as_str(), "LUN");
    assert_eq!("cd".parse(), Ok(DiskDevice::Cdrom));
    assert!("lun".parse::<DiskDevice>().is_err());
    assert_eq!(HyperVMode::HostModel.to_string(), "host-model");
    assert_eq!(ChardevBackend::Pty.tag(), "pty");
}

proptest::proptest! {
    #[test]
    fn writing_and_reading_is_stable(edits in proptest::collection::vec((0usize..DOMAIN.len(), 0u8..4), 0..4)) {
        // Damage a good document; what is still read must be written stably.
        let mut text = DOMAIN.to_owned();
        for (at, what) in edits {
            if at >= text.len() { continue; }
            match what {
                0 => { text.remove(at); }
                1 => text.insert(at, '1'),
                2 => text.insert(at, ' '),
                _ => text.insert_str(at, "&lt;"),
            }
        }
        if let Some(value) = xml::read_str::<Domain>(&text, "domain").value {
            let options = WriteOptions { live: true, secure: true, ..WriteOptions::default() };
            let once = xml::write(&value, "domain", &options);
            let again = xml::read_str::<Domain>(&once, "domain").value;
            proptest::prop_assert_eq!(again.as_ref(), Some(&value));
            proptest::prop_assert_eq!(xml::write(&value, "domain", &options), once);
        }
    }
}
