//! What libvirt makes of odd values in a domain: its code, its words and who reports them; and what
//! it passes over. Each line was asked of libvirtd 11.3.

use model::domain::{FormatFlags, ParseOptions, format, parse, validate};

/// A domain of one part: devices, unless it is an element of the domain or of `<features>`.
fn document(part: &str) -> String {
    let of_domain = ["<seclabel", "<pm", "<cpu", "<clock", "<memtune", "<blkiotune", "<iothread"];
    let of_features = ["<vmport", "<async-teardown", "<hpt", "<tcg"];
    let starts = |with: &[&str]| with.iter().any(|w| part.starts_with(w));
    let (domain, features, devices) = match () {
        () if starts(&of_domain) => (part, "", ""),
        () if starts(&of_features) => ("", part, ""),
        () => ("", "", part),
    };
    format!(
        "<domain type='qemu'><name>a</name><memory>262144</memory><os>\
         <type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os><features><acpi/>{features}\
         </features>{domain}<devices>{devices}</devices></domain>"
    )
}

/// The first fault: code, reporter and words.
fn first(part: &str) -> Option<(u32, u32, String)> {
    let parsed = parse(&document(part), ParseOptions::default());
    let faults = match parsed.domain {
        Some(d) => validate(&d),
        None => parsed.diagnostics,
    };
    let fault = faults.into_iter().find(|d| d.severity == diag::Severity::Error)?;
    let reporter = fault.reporter().unwrap_or(diag::ErrorDomain::DOMAIN);
    Some((fault.code.0, reporter.0, fault.message))
}

#[test]
fn refused_in_libvirts_words() {
    let disk = |inner: &str| format!("<disk>{inner}<target dev='sda' bus='sata'/></disk>");
    let backed = |inner: &str| disk(&format!("<source file='/a'/><backingStore {inner}"));
    let nic =
        |inner: &str| format!("<interface type='bridge'><source bridge='b'/>{inner}</interface>");
    let rng = |address: &str| {
        format!("<rng model='virtio'><backend model='random'/><address {address}/></rng>")
    };
    for (part, code, domain, words) in [
        // Numbers are refused by the helper that reads them.
        (
            "<memtune><hard_limit>x</hard_limit></memtune>".to_owned(),
            27,
            5,
            "Invalid value 'x' for element or attribute './memtune/hard_limit[1]'",
        ),
        (
            "<cpu><topology sockets='1' dies='0' cores='1' threads='1'/></cpu>".to_owned(),
            27,
            5,
            "Invalid value for attribute 'dies' in element 'topology': Zero is not permitted",
        ),
        (
            "<controller type='sata' index='-1'/>".to_owned(),
            27,
            5,
            "Invalid value for attribute 'index' in element 'controller': '-1'. Expected \
             non-negative value",
        ),
        (
            "<controller type='sata' index='99999999999'/>".to_owned(),
            27,
            5,
            "Invalid value for attribute 'index' in element 'controller': '99999999999'. Expected \
             integer value",
        ),
        ("<iothreads>x</iothreads>".to_owned(), 27, 20, "invalid iothreads count 'x'"),
        // Words that are one of a few.
        (
            "<filesystem><driver type='foo'/><source dir='/a'/><target dir='b'/></filesystem>"
                .to_owned(),
            27,
            5,
            "Invalid value for attribute 'type' in element 'driver': 'foo'.",
        ),
        (
            nic("<vlan><tag id='1' nativeMode='foo'/></vlan>"),
            27,
            5,
            "Invalid value for attribute 'nativeMode' in element 'tag': 'foo'.",
        ),
        (nic("<vlan><tag id='5000'/></vlan>"), 27, 0, "vlan tag id 5000 too large (maximum 4095)"),
        (nic("<virtualport type='foo'/>"), 67, 0, "unknown virtualport type foo"),
        (nic("<virtualport/>"), 27, 0, "missing required virtualport type"),
        (
            nic("<virtualport type='802.1Qbg'><parameters managerid='256'/></virtualport>"),
            27,
            0,
            "value of managerid out of range",
        ),
        (
            nic("<virtualport type='midonet'/>"),
            27,
            11,
            "missing interfaceid in <virtualport type='midonet'>",
        ),
        (
            "<interface type='user'><source><ip address='1.2.3.4'/></source></interface>"
                .to_owned(),
            67,
            20,
            "Invalid attempt to set network interface host-side IP route and/or address info on \
             interface of type 'user'. This is only supported on interfaces of type 'ethernet'",
        ),
        // Chains.
        (backed("type='foo'/>"), 27, 20, "unknown storage source type 'foo'"),
        (
            backed("type='file'><format type='foo'/><source file='/b'/></backingStore>"),
            27,
            20,
            "unknown storage source format 'foo'",
        ),
        (
            backed(
                "type='network'><format type='raw'/><source protocol='nbd'>\
                 <host name='h' port='70000'/></source></backingStore>",
            ),
            8,
            0,
            "port '70000' out of range",
        ),
        (
            disk("<source file='/a'><encryption format='foo'/></source>"),
            67,
            18,
            "unknown volume encryption format type foo",
        ),
        (
            "<disk><source file='/a'/></disk>".to_owned(),
            20,
            20,
            "missing target information for device /a",
        ),
        (
            "<disk type='volume'><source pool='p' volume='v'/></disk>".to_owned(),
            20,
            20,
            "missing target information for device pool = 'p', volume = 'v'",
        ),
        (
            disk(
                "<source file='/a'><seclabel model='dac' relabel='no'><label>x</label></seclabel></source>",
            ),
            27,
            20,
            "Cannot specify a label if relabelling is turned off. model=dac",
        ),
        // Addresses.
        (
            rng("type='ccw' cssid='0xfe'"),
            1,
            49,
            "Invalid partial specification for virtio ccw address",
        ),
        (
            rng("type='ccw' cssid='0xff' ssid='0' devno='1'"),
            1,
            49,
            "Invalid specification for virtio ccw address: cssid='0xff' ssid='0x0' devno='0x0001'",
        ),
        (
            rng("type='pci' slot='0x1f' function='3'"),
            27,
            20,
            "Attempted double use of PCI Address 0000:00:1f.3",
        ),
        (rng("type='pci' slot='0x20'"), 27, 0, "Invalid PCI address slot='0x20', must be <= 0x1F"),
        (
            "<input type='mouse' bus='usb'><address type='usb' port='1.x'/></input>".to_owned(),
            1,
            49,
            "Cannot parse <address> 'port' attribute",
        ),
        (
            "<controller type='sata' index='0'><address type='pci' slot='5'/></controller>"
                .to_owned(),
            1,
            10,
            "Primary SATA controller must have PCI address 0:0:1f.2",
        ),
        (
            disk("<source pool='p'/>").replace("<disk>", "<disk type='volume'>"),
            27,
            20,
            "'pool' and 'volume' must be specified together for 'pool' type source",
        ),
        // Others.
        (
            "<channel type='pty'><target name='x'/></channel>".to_owned(),
            67,
            20,
            "unknown target type '(null)' specified for character device",
        ),
        (
            "<input type='evdev'><source evdev='/a'/></input>".to_owned(),
            27,
            20,
            "Missing evdev path for input device",
        ),
        ("<redirdev bus='usb'/>".to_owned(), 1, 20, "missing type in redirdev"),
        (
            "<channel type='spicevmc'><target type='virtio'/></channel>".to_owned(),
            67,
            10,
            "chardev 'spicevmc' not supported without spice graphics",
        ),
        (
            "<video><model type='vga' ram='65536'/></video>".to_owned(),
            67,
            20,
            "ram attribute only supported for video type qxl",
        ),
    ] {
        let expected = Some((code, domain, words.to_owned()));
        assert_eq!(first(&part), expected, "{part}");
    }
}

#[test]
fn passed_over() {
    for (part, kept) in [
        ("<pm><suspend-to-mem/></pm>", ""),
        ("<vmport/>", ""),
        ("<async-teardown/>", "<async-teardown enabled='yes'/>"),
        ("<memtune><hard_limit/></memtune>", ""),
        ("<blkiotune><weight>x</weight></blkiotune>", ""),
        ("<clock offset=''/>", "<clock offset='utc'/>"),
        ("<seclabel type='static' model='dac'><label>1:2</label></seclabel>", "relabel='no'"),
        ("<seclabel type='dynamic' model='dac'/>", "relabel='yes'"),
        ("<seclabel model='dac'/>", ""),
        (
            "<disk><source file='/a'><seclabel model='dac' labelskip='no'/></source><target dev='sda'/></disk>",
            "",
        ),
        (
            "<disk><source file='/a'/><geometry cyls='0' heads='1' secs='1'/><target dev='sda'/></disk>",
            "",
        ),
        ("<serial/>", "<serial type='pty'/>"),
        ("<serial type='pty'><log append='on'/></serial>", ""),
        ("<interface><link/></interface>", ""),
        ("<input type='mouse' bus='usb'><address type='usb' port='1.0'/></input>", "port='1'/>"),
        ("<panic model='isa'><address type='isa' iobase='505'/></panic>", "iobase='0x505'"),
        (
            "<interface type='network'><source network='n'/><vlan><tag id='1'/><tag id='2'/></vlan></interface>",
            "<vlan trunk='yes'>",
        ),
    ] {
        let parsed = parse(&document(part), ParseOptions::default());
        let d = parsed.domain.unwrap_or_else(|| panic!("{part}: {:?}", parsed.diagnostics));
        let text = format(&d, FormatFlags::default());
        assert!(text.contains(kept), "{part}: {text}");
        let gone =
            ["<pm", "<vmport", "<memtune", "<blkiotune", "<geometry", "<log", "<link", "<weight"];
        assert!(!gone.iter().any(|word| text.contains(word)), "{part}: {text}");
        if kept.is_empty() {
            assert!(!text.contains("<seclabel"), "{part}: {text}");
        }
    }
}
