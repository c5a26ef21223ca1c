//! What libvirt makes of odd values in a domain: its code, its words and who reports them; and what
//! it passes over. Each line was asked of libvirtd 11.3.

use model::domain::{FormatFlags, ParseOptions, format, parse, validate};

/// A domain of one part: devices, unless it is an element of the domain or of `<features>`.
fn document(part: &str) -> String {
    let of_domain = [
        "<seclabel",
        "<genid",
        "<pm",
        "<cpu",
        "<clock",
        "<vcpu",
        "<memtune",
        "<blkiotune",
        "<iothread",
        "<keywrap",
        "<numatune",
        "<resource",
        "<cputune",
        "<sysinfo",
        "<memoryBacking",
        "<maxMemory",
    ];
    let of_features =
        ["<vmport", "<async-teardown", "<hpt", "<tcg", "<hyperv", "<smm", "<cfpc", "<ibs"];
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
            nic("<mac address=' 52:54:00:00:00:01'/>"),
            27,
            20,
            "unable to parse mac address ' 52:54:00:00:00:01'",
        ),
        (
            "<genid>4-dea22b3-1d52-d8f3-2516-782e98ab3fa0</genid>".to_owned(),
            1,
            20,
            "malformed genid element",
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

#[test]
fn limits_and_places_in_libvirts_words() {
    let named = |device: &str, dev: &str, bus: &str| {
        format!(
            "<disk type='block' device='{device}'><source dev='/a'/><target dev='{dev}' bus='{bus}'/></disk>"
        )
    };
    let numa = |cells: &str| format!("<cpu><numa>{cells}</numa></cpu>");
    let disk = |driver: &str, inner: &str| {
        format!("<disk>{driver}<source file='/a'/><target dev='vda' bus='virtio'/>{inner}</disk>")
    };
    let network = |protocol: &str, rest: &str| {
        format!(
            "<disk type='network'><source protocol='{protocol}' {rest}</source><target dev='vda'/></disk>"
        )
    };
    let locked = |inner: &str| {
        format!(
            "<disk><source file='/a'><encryption format='luks'>{inner}</encryption></source>\
             <target dev='vda'/></disk>"
        )
    };
    let dimm = |slot: u32, base: &str| {
        format!(
            "<memory model='dimm'><target><size>65536</size></target>\
             <address type='dimm' slot='{slot}' base='{base}'/></memory>"
        )
    };
    let secret = "<secret type='passphrase' usage='a'/>";
    let host_route = |attrs: &str| {
        format!(
            "<interface type='ethernet'><source><route address='10.88.0.0' {attrs}/></source></interface>"
        )
    };
    let nic = |kind: &str, inner: &str| format!("<interface type='{kind}'>{inner}</interface>");
    let hostdev = |kind: &str, attrs: &str, inner: &str| {
        format!("<hostdev mode='subsystem' type='{kind}' {attrs}>{inner}</hostdev>")
    };
    let tpm = |inner: &str| {
        format!("<tpm><backend type='emulator' version='2.0'>{inner}</backend></tpm>")
    };
    let user = |inner: &str| {
        format!(
            "<disk type='vhostuser'><source type='unix' path='/a'/><target dev='vda' bus='virtio'/>\
             {inner}</disk>"
        )
    };
    let fs = |attrs: &str, inner: &str| {
        format!(
            "<filesystem {attrs}><driver type='virtiofs'/>{inner}<target dir='a'/></filesystem>"
        )
    };
    let dir = "<source dir='/a'/>";
    for (part, code, words) in [
        (fs("", dir) + &fs("fmode='644'", dir), 67, "filesystem target 'a' specified twice"),
        (fs("fmode='644'", dir), 67, "fmode and dmode must be used with accessmode=mapped"),
        (fs("model='virtio' multidevs='warn'", dir), 67, "virtiofs does not support model"),
        (fs("multidevs='warn'", dir), 67, "virtiofs does not support multidevs"),
        (fs("multidevs='default'", dir), 67, "'virtiofs' requires shared memory"),
        (fs("accessmode='mapped'", "<source socket='/s'/>"), 67, "'virtiofs' requires shared memory"),
        (fs("type='mount'", "<source file='/a'/>"), 19, "missing source information for device a"),
        ("<cfpc value='fixed-ibs'/>".to_owned(), 27, "Invalid value for attribute 'value' in element 'cfpc': 'fixed-ibs'."),
        ("<ibs value='fixed'/>".to_owned(), 27, "Invalid value for attribute 'value' in element 'ibs': 'fixed'."),
        ("<tcg><tb-cache unit='KiB'>100</tb-cache></tcg>".to_owned(), 67, "tb-cache size must be an integer multiple of MiB"),
        (
            "<clock offset='utc'><timer name='rtc'><catchup slew='1'/></timer></clock>".to_owned(),
            27,
            "setting of timer catchup policies is only supported with tickpolicy='catchup'",
        ),
        (numa("<cell id='0' cpus='0' memory='1'/><cell id='0' memory='1'/>"), 27, "Duplicate NUMA cell info for cell id '0'"),
        (
            numa("<cell id='0' cpus='0' memory='1'/><cell id='1' cpus='0' memory='1'/>"),
            67,
            "NUMA cells 1 and 0 have overlapping vCPU ids",
        ),
        (
            numa(
                "<cell id='0' cpus='0' memory='1'/><cell id='1' memory='1'/><interconnects>\
                 <latency initiator='0' target='1' type='read' value='5'/>\
                 <bandwidth initiator='1' target='0' type='access' value='5'/></interconnects>",
            ),
            27,
            "Link already defined",
        ),
        (numa("<cell id='0' cpus='0' memory='1'><distances/></cell>"), 27, "NUMA distances defined without siblings"),
        (
            "<memoryBacking><hugepages><page size='4' nodeset='0'/><page size='8' nodeset='0'/></hugepages></memoryBacking>".to_owned(),
            35,
            "nodeset attribute of hugepages of sizes 8 and 4 intersect",
        ),
        (
            "<memoryBacking><allocation threads='-1'/></memoryBacking>".to_owned(),
            27,
            "Failed to parse memory allocation threads",
        ),
        ("<maxMemory slots='2'>0</maxMemory>".to_owned(), 27, "maximum memory size must be specified when specifying number of memory slots"),
        ("<cputune><emulatorpin cpuset='0'/><emulatorpin cpuset='1'/></cputune>".to_owned(), 27, "only one emulatorpin is supported"),
        (
            "<cputune><vcpusched scheduler='batch'/></cputune>".to_owned(),
            27,
            "Missing attribute 'vcpus' in element 'vcpusched'",
        ),
        (
            "<iothreadids><iothread id='1' thread_pool_min='-1'/></iothreadids>".to_owned(),
            27,
            "Invalid value for attribute 'thread_pool_min' in element 'iothread': '-1'. Expected non-negative value",
        ),
        (
            "<iothreadids><iothread id='1' thread_pool_max='0'/></iothreadids>".to_owned(),
            67,
            "thread_pool_max must be a positive integer",
        ),
        (
            "<blkiotune><device><path>/a</path><write_iops_sec>x</write_iops_sec></device></blkiotune>".to_owned(),
            67,
            "could not parse write iops sec x",
        ),
        ("<resource><fibrechannel appid='\u{e4}'/></resource>".to_owned(), 27, "Fibre Channel 'appid' is not a printable string"),
        (
            "<keywrap><cipher name='dea' state='on'/><cipher name='dea' state='off'/></keywrap>".to_owned(),
            1,
            "A domain definition can have no more than one cipher node with name dea",
        ),
        ("<cpu><feature name='vmx'/></cpu>".to_owned(), 27, "Non-empty feature list specified without CPU model"),
        ("<cpu><model>qemu64</model><cache mode='emulate'/></cpu>".to_owned(), 67, "CPU cache mode 'emulate' can only be used with level='3'"),
        (disk("", "<product>\u{e4}</product>").replace("vda' bus='virtio", "sda' bus='scsi"), 27, "disk product is not printable string"),
        (disk("", "<boot order='1' loadparm='A_B'/>"), 1, "invalid loadparm value 'A_B', expecting chars in set of [a-zA-Z0-9.] and blank spaces"),
        (network("rbd", "name='a'>"), 27, "can't split path 'a' into pool name and image name"),
        (network("gluster", "name='/a'><host name='h'/>"), 27, "can't split path '/a' into pool name and image name"),
        (network("ssh", "name='a'><host name='h'/><identity keyfile='/k'/>"), 27, "Missing required attribute 'username' in element 'identity'"),
        (locked(&format!("{secret}<cipher name='aes' size='256'/>")), 67, "supplying <cipher> for domain disk definition is unnecessary"),
        (locked(&format!("{secret}<ivgen name='a'/>")), 27, "ivgen element found, but cipher is missing"),
        (
            "<disk><source file='/a'/><backingStore type='file'><format type='raw'/></backingStore><target dev='vda'/></disk>".to_owned(),
            27,
            "missing disk backing store source",
        ),
        (nic("user", "<ip address='10.0.0.1' prefix='30'/>"), 27, "invalid prefix, must be in range of 4-27"),
        (nic("user", "<ip address='fe80::1' prefix='24'/>"), 67, "unsupported IPv6 address prefix='24' - must be 64"),
        (nic("user", "<ip address='10.0.0.1' family='ipv6'/>"), 27, "Invalid address '10.0.0.1' in <ip>"),
        (nic("ethernet", "<source><ip address='10.0.0.1' prefix='33'/></source>"), 27, "Invalid prefix value '33' in <ip>"),
        (nic("ethernet", "<source><ip address='10.0.0.1' peer='x'/></source>"), 8, "Invalid peer 'x' in <ip>"),
        (nic("ethernet", "<source><ip address='10.0.0.1' peer='fd00::1'/></source>"), 8, "Invalid peer 'fd00::1' in <ip>"),
        (host_route("prefix='16'"), 27, "interface host IP: Missing required gateway attribute in route definition"),
        (host_route("prefix='16' gateway='x'"), 27, "interface host IP: Bad gateway address 'x' in route definition"),
        (host_route("prefix='16' gateway='10.0.0.1' metric='0'"), 27, "Invalid value for attribute 'metric' in element 'route': Zero is not permitted"),
        (host_route("prefix='8' gateway='10.0.0.1'"), 27, "interface host IP: Address '10.88.0.0' in route definition is not a network address"),
        (host_route("gateway='10.0.0.1'"), 27, "interface host IP: Address '10.88.0.0' in route definition is not a network address"),
        (host_route("prefix='33' gateway='10.0.0.1'"), 27, "interface host IP: Invalid prefix 33 specified in route definition, must be 0 - 32"),
        (host_route("prefix='16' netmask='255.255.0.0' gateway='10.0.0.1'"), 27, "interface host IP: Route definition cannot have both a prefix and a netmask"),
        (host_route("family='ipv6' prefix='16' gateway='10.0.0.1'"), 27, "interface host IP: ipv6 family specified for non-IPv6 address '10.88.0.0' in route definition"),
        (nic("bridge", "<source bridge='b'/><bandwidth><inbound average='5' burst='4194304'/></bandwidth>"), 82, "value '4194304' is too big for 'burst' parameter, maximum is '4194303'"),
        (nic("bridge", "<source bridge='b'/><bandwidth><inbound average='18446744073709551615'/></bandwidth>"), 82, "value '18446744073709551615' is too big for 'average' parameter, maximum is '18014398509481984'"),
        (nic("direct", "<source dev='e'/><coalesce><rx><frames max='7'/></rx></coalesce>"), 67, "coalesce settings on interface type direct are not supported"),
        (nic("bridge", "<source bridge='b'/><bandwidth><inbound/></bandwidth>"), 35, "Missing mandatory average or floor attributes"),
        (nic("bridge", "<source bridge='b'/><teaming type='persistent' persistent='x'/>"), 67, "teaming persistent attribute not allowed if teaming type is 'persistent'"),
        (nic("bridge", "<source bridge='b'/><tune><sndbuf>x</sndbuf></tune>"), 27, "sndbuf must be a positive integer"),
        (
            "<serial type='tcp'><source mode='connect' host='a' service='1'/><protocol type='rew'/></serial>".to_owned(),
            27,
            "Invalid value for attribute 'type' in element 'protocol': 'rew'.",
        ),
        (
            "<channel type='spicevmc'><target type='guestfwd' address='10.0.2.1' port='4'/></channel>".to_owned(),
            67,
            "spicevmc device type only supports virtio",
        ),
        ("<controller type='sata' index='0'><driver queues='4'/></controller>".to_owned(), 67, "'queues' is only supported by virtio-scsi controller"),
        (hostdev("scsi", "", "<source protocol='iscsi' name='a'><host name='a'/><host name='b'/></source>"), 27, "only one source host address may be specified for the iSCSI hostdev"),
        (hostdev("usb", "", "<source><address bus='x' device='1'/></source>"), 27, "Invalid value for attribute 'bus' in element 'address': 'x'. Expected non-negative integer value"),
        (hostdev("mdev", "model='vfio-pci'", "<source/>"), 67, "Missing <address> element"),
        (
            "<filesystem accessmode='mapped' fmode='1777'><source dir='/a'/><target dir='x'/></filesystem>".to_owned(),
            27,
            "invalid fmode: '01777'",
        ),
        (
            "<filesystem accessmode='mapped' dmode='8'><source dir='/a'/><target dir='x'/></filesystem>".to_owned(),
            27,
            "Invalid value for attribute 'dmode' in element 'filesystem': '8'. Expected non-negative integer value",
        ),
        (tpm("<source type='unix' path='/a'/>"), 27, "Invalid value for attribute 'type' in element 'source': 'unix'."),
        (tpm("<active_pcr_banks><md5/></active_pcr_banks>"), 67, "Unsupported PCR banks 'md5'"),
        (
            "<graphics type='spice'><streaming mode='filtre'/></graphics>".to_owned(),
            27,
            "Invalid value for attribute 'mode' in element 'streaming': 'filtre'.",
        ),
        (
            "<video><model type='virtio'><acceleration rendernode='/a'/></model></video>".to_owned(),
            67,
            "unsupported rendernode accel attribute without 'vhostuser'",
        ),
        ("<watchdog model='ib700'/><watchdog model='ib700'/>".to_owned(), 67, "domain can only have one watchdog with model 'ib700'"),
        ("<watchdog model='ib700'/>".to_owned(), 67, "ib700 model of watchdog cannot be used with this machine type"),
        ("<video><model type='vga'><acceleration accel2d='yes'/></model></video>".to_owned(), 67, "qemu does not support the accel2d setting"),
        ("<video><model type='xen'/></video>".to_owned(), 67, "domain configuration does not support video model 'xen'"),
        ("<filesystem accessmode='mapped'><driver type='mtp'/><source dir='/a'/><target dir='x'/></filesystem>".to_owned(), 67, "mtp only supports passthrough accessmode"),
        (named("disk", "fda", "sata"), 1, "Invalid harddisk device name: fda"),
        (named("lun", "fda", "scsi"), 1, "Invalid harddisk device name: fda"),
        (named("floppy", "hda", "fdc"), 1, "Invalid floppy device name: hda"),
        (named("floppy", "sda1", "fdc"), 1, "Invalid floppy device name: sda1"),
        (named("floppy", "fda1", "fdc"), 67, "invalid disk target 'fda1', partitions can't appear in disk targets"),
        (named("cdrom", "sda1", "sata"), 67, "invalid disk target 'sda1', partitions can't appear in disk targets"),
        (named("lun", "sda1", "sata"), 67, "disk device='lun' is not supported for bus='sata'"),
        (named("cdrom", "vda3", "virtio"), 67, "disk type of 'vda3' does not support ejectable media"),
        (named("disk", "sda", "none"), 27, "Invalid value for attribute 'bus' in element 'target': 'none'."),
        (
            "<pstore backend='acpi-erst'><path>/a</path><size>12</size></pstore>".to_owned(),
            27,
            "invalid size of ACPI ERST pstore device",
        ),
        ("<iommu model='intel'><driver eim='on'/></iommu>".to_owned(), 67, "IOMMU eim requires interrupt remapping to be enabled"),
        ("<lease><key>b</key></lease>".to_owned(), 27, "Missing 'target' element for lease"),
        ("<rng model='virtio'/>".to_owned(), 27, "only one RNG backend is supported"),
        (
            "<shmem name='a'><model type='ivshmem-plain'/><size>4</size></shmem>".to_owned(),
            27,
            "shmem size must be a power of 2 and at least 1 MiB (1024 KiB)",
        ),
        (
            "<shmem name='a'><model type='ivshmem-plain'/><size unit='KiB'>512</size></shmem>".to_owned(),
            27,
            "shmem size must be a power of 2 and at least 1 MiB (1024 KiB)",
        ),
        (
            "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0' slot='2' function='9'/></source></hostdev>".to_owned(),
            27,
            "Invalid PCI address function=0x9, must be <= 7",
        ),
        (
            "<interface type='hostdev'><source><address type='pci' domain='0' bus='0' slot='32' function='0'/></source></interface>".to_owned(),
            27,
            "Invalid PCI address slot='0x20', must be <= 0x1F",
        ),
        (
            "<filesystem><driver type='loop'/><source dir='/a'/><target dir='t'/></filesystem>".to_owned(),
            1,
            "Cannot automatically add a new PCI bus for a device with connect flags 00",
        ),
        (
            format!(
                "{}{}",
                dimm(0, "0x108000000"),
                dimm(1, "0x106000000"),
            ),
            67,
            "memory device address [0x108000000:0x10c000000] overlaps with other memory device (0x106000000)",
        ),
        (
            "<genid/><genid/>".to_owned(),
            27,
            "element 'genid' can only appear once",
        ),
        (
            "<audio type='none'/>".to_owned(),
            27,
            "Missing required attribute 'id' in element 'audio'",
        ),
        (
            "<video><model type='virtio' ram='65536'/></video>".to_owned(),
            67,
            "ram attribute only supported for video type qxl",
        ),
        (
            "<graphics type='sdl'><gl/></graphics>".to_owned(),
            27,
            "Missing required attribute 'enable' in element 'gl'",
        ),
        (user("<readonly/>"), 67, "readonly is not supported with vhostuser disk"),
        (user("<driver name='qemu' rerror_policy='stop'/>"), 67, "error_policy is not supported with vhostuser disk"),
        (
            "<clock offset='timezone' timezone=''/>".to_owned(),
            1,
            "missing 'timezone' attribute for clock with offset='timezone'",
        ),
        (
            "<memtune><soft_limit>9007199254740993</soft_limit></memtune>".to_owned(),
            82,
            "value too large: 9007199254740993",
        ),
        (
            network("nfs", "name='/a'><host name='b' port='5'/>"),
            67,
            "port cannot be specified in 'nfs' protocol host",
        ),
        ("<vcpu/>".to_owned(), 27, "maximum vcpus count must be an integer"),
        (
            "<controller type='nvme' index='0'/>".to_owned(),
            27,
            "Invalid value for attribute 'type' in element 'controller': 'nvme'.",
        ),
        (
            "<memballoon model='xen'/>".to_owned(),
            1,
            "Cannot automatically add a new PCI bus for a device with connect flags 00",
        ),
        (
            "<rng model='virtio'><backend model='random'/><backend model='builtin'/></rng>".to_owned(),
            27,
            "only one RNG backend is supported",
        ),
        (
            "<interface type='user'><bandwidth><inbound average='9' floor='0'/></bandwidth></interface>".to_owned(),
            67,
            "floor attribute is not supported for this config",
        ),
    ] {
        let found = first(&part).map(|(code, _, words)| (code, words));
        assert_eq!(found, Some((code, words.to_owned())), "{part}");
    }
}

#[test]
fn what_means_nothing_is_dropped() {
    let network = |protocol: &str, rest: &str| {
        format!(
            "<disk type='network'><source protocol='{protocol}' name='a' {rest}</source><target dev='vda'/></disk>"
        )
    };
    let fs = |inner: &str| {
        format!("<filesystem><driver type='virtiofs'/>{inner}<target dir='a'/></filesystem>")
    };
    for (part, gone) in [
        ("<smm state='off'><tseg unit='MiB'>8</tseg></smm>".to_owned(), "tseg"),
        ("<hyperv mode='passthrough'><relaxed state='on'/></hyperv>".to_owned(), "relaxed"),
        ("<keywrap/>".to_owned(), "keywrap"),
        ("<sysinfo type='smbios'><bios><entry name='date'/></bios></sysinfo>".to_owned(), "date"),
        ("<sysinfo type='smbios'><system><entry name='uuid'/></system></sysinfo>".to_owned(), "name='uuid'"),
        ("<sysinfo type='smbios'><system><entry>named</entry></system></sysinfo>".to_owned(), "named"),
        ("<sysinfo type='smbios'><baseBoard><entry name='other'>a</entry></baseBoard></sysinfo>".to_owned(), "other"),
        ("<sysinfo type='smbios'><chassis><entry name='sku'>a</entry><entry name='sku'>second</entry></chassis></sysinfo>".to_owned(), "second"),
        ("<sysinfo type='smbios'><processor><entry name='type'>a</entry></processor><oemStrings/></sysinfo>".to_owned(), "processor"),
        ("<blkiotune><device><path>/a</path></device></blkiotune>".to_owned(), "blkiotune"),
        ("<clock offset='timezone' timezone='X' adjustment='4'/>".to_owned(), "adjustment"),
        ("<clock offset='localtime' timezone='X'/>".to_owned(), "timezone"),
        ("<clock offset='timezone' timezone='X' basis='utc' start='5'/>".to_owned(), "basis"),
        ("<clock offset='utc' start='5'/>".to_owned(), "start='5'"),
        ("<clock offset='absolute' start='5' adjustment='4'/>".to_owned(), "adjustment"),
        (network("nbd", "query='q'>"), "query"),
        (network("ftp", "><cookies><cookie name='a'>b</cookie></cookies>"), "cookies"),
        (network("http", "><ssl verify='no'/>"), "ssl"),
        (network("nbd", "><timeout seconds='5'/>"), "timeout"),
        (network("iscsi", "><reconnect delay='5'/>"), "reconnect"),
        (network("nfs", "><identity username='u' keyfile='/k'/>"), "identity"),
        ("<serial type='udp'><source service='1'/><protocol type='bogus'/></serial>".to_owned(), "bogus"),
        ("<controller type='sata' index='0' vectors='4'/>".to_owned(), "vectors"),
        ("<controller type='pci' index='1' model='pcie-root-port'><pcihole64>4</pcihole64></controller>".to_owned(), "hole"),
        ("<graphics type='vnc'><gl/></graphics>".to_owned(), "<gl/>"),
        ("<shmem name='a'><size unit='G'>0</size></shmem>".to_owned(), "size"),
        (network("nbd", "><host name='named' transport='unix' socket='/s'/>"), "named"),
        (fs("<idmap/><source dir='/a'/>"), "idmap"),
        (fs("<binary><lock/><openfiles max='0'/></binary><source dir='/a'/>"), "binary"),
        (fs("<source dir='/a' name='named'/>"), "named"),
        (fs("<source dir='/named' socket='/s'/>"), "named"),
        ("<interface type='bridge'><source bridge='b'/><model type='virtio'/><driver queues='1'/></interface>".to_owned(), "queues"),
    ] {
        let parsed = parse(&document(&part), ParseOptions::default());
        let d = parsed.domain.unwrap_or_else(|| panic!("{part}: {:?}", parsed.diagnostics));
        let text = format(&d, FormatFlags { live: false, secure: true, migratable: false });
        assert!(part.contains(gone) && !text.contains(gone), "{text}");
    }
    // An offset in seconds makes a variable clock.
    let parsed =
        parse(&document("<clock offset='localtime' adjustment='5'/>"), ParseOptions::default());
    let text = format(&parsed.domain.unwrap(), FormatFlags::default());
    assert!(text.contains("<clock offset='variable' adjustment='5' basis='localtime'"), "{text}");
}

#[test]
fn what_libvirt_leaves_to_the_start_is_accepted() {
    for part in [
        "<input type='mouse' bus='parallels'/>",
        "<input type='mouse' bus='ps2'><driver iommu='on'/></input>",
        "<cpu><model>qemu64</model><maxphysaddr mode='passthrough'/></cpu>",
    ] {
        assert_eq!(first(part).map(|(code, _, words)| (code, words)), None, "{part}");
    }
}

#[test]
fn sizes_are_all_text_in_their_element() {
    let text = document("")
        .replace("</domain>", "<memtune><hard_limit>1<x>2</x>3</hard_limit></memtune></domain>");
    let d = parse(&text, ParseOptions::default()).domain.expect("it is a domain");
    assert!(format(&d, FormatFlags::default()).contains("<hard_limit unit='KiB'>123</hard_limit>"));
}

#[test]
fn an_environment_variable_has_a_name() {
    let document = document("")
        .replace("</domain>", "<q:commandline><q:env name='' value='a'/></q:commandline></domain>");
    let document = document
        .replace("<domain ", "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' ");
    let faults = validate(&parse(&document, ParseOptions::default()).domain.unwrap());
    let words = "Invalid environment name, it must begin with a letter or underscore";
    assert!(faults.iter().any(|fault| fault.message == words), "{faults:?}");
}
