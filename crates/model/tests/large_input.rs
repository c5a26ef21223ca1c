//! Documents of many megabytes or many parts are read, completed, checked and written, or refused,
//! in time that grows with their size. A path that grows faster makes these tests take minutes when
//! `MANY` is raised.

use model::domain::defaults::{DefaultsContext, DeviceSupport, MachineInfo, apply};
use model::domain::{FormatFlags, ParseOptions, assign_aliases, format, parse, validate};

/// Parts of a document made of parts.
const MANY: usize = 1_000;

fn domain(inner: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>a</name><memory>1048576</memory><vcpu>4</vcpu>{inner}\
         <os><type machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )
}

fn each(n: usize, one: impl Fn(usize) -> String) -> String {
    (0..n).map(one).collect()
}

/// The whole path of a define; whether it came to its end without an error.
fn define(text: &str) -> bool {
    let Some(mut d) = parse(text, ParseOptions::default()).domain else { return false };
    let machines = [MachineInfo {
        name: "pc-q35-10.0".to_owned(),
        alias: Some("q35".to_owned()),
        default_cpu: Some("qemu64".to_owned()),
        is_default: true,
    }];
    let mut faults = apply(
        &mut d,
        &mut DefaultsContext {
            machines: &machines,
            devices: &DeviceSupport::new(["qemu-xhci", "virtio-scsi-pci"]),
            ..DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(2))
        },
    );
    faults.extend(validate(&d));
    assign_aliases(&mut d);
    format(&d, FormatFlags::default());
    faults.is_empty()
}

#[test]
fn many_of_everything_come_to_an_end() {
    let disk = |i: usize| {
        format!(
            "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='scsi'/></disk>",
            name(i)
        )
    };
    let cases: &[(&str, &dyn Fn(usize) -> String)] = &[
        ("disks scsi", &|n| domain("", &each(n, disk))),
        ("disks virtio", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='vd{}'/></disk>",
                        name(i)
                    )
                }),
            )
        }),
        ("disks same", &|n| {
            domain(
                "",
                &each(n, |_| {
                    "<disk type='file'><source file='/a'/><target dev='vda'/></disk>".into()
                }),
            )
        }),
        ("disks sata", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='sata'/></disk>",
                        name(i)
                    )
                }),
            )
        }),
        ("disks usb", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='usb'/></disk>",
                        name(i)
                    )
                }),
            )
        }),
        ("disks serial", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='scsi'/><serial>s{i}</serial><wwn>5000{:012x}</wwn><boot order='{}'/><alias name='ua-{i}'/></disk>",
                        name(i),
                        i,
                        i + 1
                    )
                }),
            )
        }),
        ("backing chain", &|n| {
            domain("", &{
                // As deep as a test's thread takes; see `the_deepest_document_fits_the_stack`.
                chain(n.min(60))
            })
        }),
        ("controllers scsi", &|n| {
            domain("", &each(n, |i| format!("<controller type='scsi' index='{i}'/>")))
        }),
        ("controllers pci", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!("<controller type='pci' index='{i}' model='pcie-root-port'/>")
                }),
            )
        }),
        ("controllers far", &|_| {
            domain(
                "",
                "<controller type='pci' index='4294967295' model='pci-bridge'/><controller type='scsi' index='4294967295'/>",
            )
        }),
        ("controllers usb", &|n| {
            domain(
                "",
                &each(n, |i| format!("<controller type='usb' index='{i}' model='qemu-xhci'/>")),
            )
        }),
        ("interfaces", &|n| {
            domain(
                "",
                &each(n, |_| "<interface type='user'><model type='virtio'/></interface>".into()),
            )
        }),
        ("serials", &|n| domain("", &each(n, |_| "<serial type='pty'/>".into()))),
        ("consoles", &|n| {
            domain("", &each(n, |_| "<console type='pty'><target type='virtio'/></console>".into()))
        }),
        ("channels", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!("<channel type='pty'><target type='virtio' name='c{i}'/></channel>")
                }),
            )
        }),
        ("inputs", &|n| domain("", &each(n, |_| "<input type='tablet' bus='usb'/>".into()))),
        ("hubs", &|n| domain("", &each(n, |_| "<hub type='usb'/>".into()))),
        ("hostdevs", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<hostdev mode='subsystem' type='pci'><source><address domain='{}' bus='{}' slot='{}'/></source></hostdev>",
                        i / 8192,
                        i / 32 % 256,
                        i % 32
                    )
                }),
            )
        }),
        ("filesystems", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!("<filesystem><source dir='/{i}'/><target dir='t{i}'/></filesystem>")
                }),
            )
        }),
        ("memories", &|n| {
            domain(
                "<maxMemory slots='256'>99999999999</maxMemory><cpu><numa><cell id='0' cpus='0-3' memory='1048576'/></numa></cpu>",
                &each(n, |_| {
                    "<memory model='dimm'><target><size>1024</size><node>0</node></target></memory>"
                        .into()
                }),
            )
        }),
        ("audio", &|n| domain("", &each(n, |i| format!("<audio id='{}' type='none'/>", i + 1)))),
        ("videos", &|n| domain("", &each(n, |_| "<video><model type='virtio'/></video>".into()))),
        ("graphics", &|n| domain("", &each(n, |_| "<graphics type='vnc'/>".into()))),
        ("leases", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<lease><lockspace>a</lockspace><key>{i}</key><target path='/a'/></lease>"
                    )
                }),
            )
        }),
        ("shmems", &|n| {
            domain(
                "",
                &each(n, |i| format!("<shmem name='s{i}'><model type='ivshmem-plain'/></shmem>")),
            )
        }),
        ("panics", &|n| domain("", &each(n, |_| "<panic model='hyperv'/>".into()))),
        ("numa", &|n| {
            domain(
                &format!(
                    "<cpu><numa>{}</numa></cpu>",
                    each(n, |i| format!("<cell id='{i}' cpus='{i}' memory='1'/>"))
                ),
                "",
            )
        }),
        ("numa distances", &|n| {
            domain(
                &format!(
                    "<cpu><numa><cell id='0' memory='1'><distances>{}</distances></cell></numa></cpu>",
                    each(n, |i| format!("<sibling id='{i}' value='20'/>"))
                ),
                "",
            )
        }),
        ("vcpupin", &|n| {
            domain(
                &format!(
                    "<cputune>{}</cputune>",
                    each(n, |i| format!("<vcpupin vcpu='{i}' cpuset='0'/>"))
                ),
                "",
            )
        }),
        ("vcpusched", &|n| {
            domain(
                &format!(
                    "<cputune>{}</cputune>",
                    each(n, |i| format!("<vcpusched vcpus='{}' scheduler='batch'/>", i % 16384))
                ),
                "",
            )
        }),
        ("iothreadids", &|n| {
            domain(
                &format!(
                    "<iothreads>{n}</iothreads><iothreadids>{}</iothreadids>",
                    each(n, |i| format!("<iothread id='{}'/>", i + 1))
                ),
                "",
            )
        }),
        ("iothreads", &|_| domain("<iothreads>4294967295</iothreads>", "")),
        ("vcpus", &|n| {
            domain(
                &format!(
                    "<vcpus>{}</vcpus>",
                    each(n, |i| format!(
                        "<vcpu id='{i}' enabled='yes' hotpluggable='no' order='{}'/>",
                        i + 1
                    ))
                ),
                "",
            )
        }),
        ("features", &|n| {
            domain(
                &format!(
                    "<cpu mode='custom'><model>qemu64</model>{}</cpu>",
                    each(n, |i| format!("<feature policy='require' name='f{i}'/>"))
                ),
                "",
            )
        }),
        ("timers", &|n| {
            domain(
                &format!(
                    "<clock offset='utc'>{}</clock>",
                    each(n, |_| "<timer name='rtc'/>".into())
                ),
                "",
            )
        }),
        ("seclabels", &|n| {
            domain(&each(n, |i| format!("<seclabel model='m{i}' type='none'/>")), "")
        }),
        ("sysinfo", &|n| {
            domain(
                &format!(
                    "<sysinfo type='smbios'><oemStrings>{}</oemStrings></sysinfo>",
                    each(n, |_| "<entry>a</entry>".into())
                ),
                "",
            )
        }),
        ("cmdline", &|n| {
            domain(
                &format!(
                    "<commandline xmlns='http://libvirt.org/schemas/domain/qemu/1.0'>{}</commandline>",
                    each(n, |_| "<arg value='a'/>".into())
                ),
                "",
            )
        }),
        ("metadata ns", &|n| {
            domain(
                &format!("<metadata>{}</metadata>", each(n, |i| format!("<a xmlns='urn:{i}'/>"))),
                "",
            )
        }),
        ("cachetune", &|n| {
            domain(
                &format!(
                    "<cputune>{}</cputune>",
                    each(n, |i| format!(
                        "<cachetune vcpus='{}'><cache id='0' level='3' type='both' size='3' unit='MiB'/></cachetune>",
                        i % 16000
                    ))
                ),
                "",
            )
        }),
        ("throttlegroups", &|n| {
            domain(
                &format!(
                    "<throttlegroups>{}</throttlegroups>",
                    each(n, |i| format!(
                        "<throttlegroup><group_name>g{i}</group_name><total_bytes_sec>3</total_bytes_sec></throttlegroup>"
                    ))
                ),
                "",
            )
        }),
        ("hugepages", &|n| {
            domain(
                &format!(
                    "<memoryBacking><hugepages>{}</hugepages></memoryBacking>",
                    each(n, |i| format!("<page size='{}' nodeset='0'/>", i + 1))
                ),
                "",
            )
        }),
        ("memnode", &|n| {
            domain(
                &format!(
                    "<numatune>{}</numatune>",
                    each(n, |i| format!("<memnode cellid='{i}' mode='strict' nodeset='0'/>"))
                ),
                "",
            )
        }),
        ("blkio", &|n| {
            domain(
                &format!(
                    "<blkiotune>{}</blkiotune>",
                    each(n, |i| format!("<device><path>/{i}</path><weight>100</weight></device>"))
                ),
                "",
            )
        }),
        ("boot", &|n| {
            format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type>{}</os></domain>",
                each(n, |_| "<boot dev='hd'/>".into())
            )
        }),
        ("attributes", &|n| {
            format!(
                "<domain type='qemu' {}><name>a</name></domain>",
                each(n, |i| format!("a{i}='1' "))
            )
        }),
        ("attributes same", &|n| {
            format!(
                "<domain type='qemu' {}><name>a</name></domain>",
                each(n, |_| "a='1' ".to_owned())
            )
        }),
        ("siblings", &|n| domain(&"<x/>".repeat(n * 10), "")),
        ("siblings mixed", &|n| domain(&"<x/><vcpu/><name/>".repeat(n), "")),
        ("nested", &|n| "<a>".repeat(n * 10)),
        ("text", &|n| domain(&format!("<title>{}</title>", "x".repeat(n * 100)), "")),
        ("text pieces", &|n| domain(&format!("<title>{}</title>", "x<!-- -->".repeat(n)), "")),
        ("references", &|n| domain(&format!("<title>{}</title>", "&amp;".repeat(n * 10)), "")),
        ("comment", &|n| domain(&format!("<!--{}-->", "x".repeat(n * 100)), "")),
        ("faults", &|n| domain("", &each(n, |_| "<disk type='nope' device='bad'/>".into()))),
        ("faults unknown", &|n| domain("", &each(n, |i| format!("<disk{i} x='y'/>")))),
        ("interface source", &|n| {
            domain(
                "",
                &format!(
                    "<interface type='user'>{}</interface>",
                    each(n, |i| format!(
                        "<ip address='10.{}.{}.{}'/>",
                        i / 65536 % 256,
                        i / 256 % 256,
                        i % 256
                    ))
                ),
            )
        }),
        ("cpuset", &|n| {
            domain(
                &format!(
                    "<cputune><vcpupin vcpu='0' cpuset='{}'/></cputune>",
                    each(n, |i| format!("{},", i * 2 % 16384)) + "0"
                ),
                "",
            )
        }),
        ("disk addresses", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='scsi'/><address type='drive' controller='{}' unit='{}'/></disk>",
                        name(i),
                        i / 7,
                        i % 7
                    )
                }),
            )
        }),
        ("pci addresses", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<interface type='user'><model type='virtio'/><address type='pci' bus='{}' slot='{}' function='{}'/></interface>",
                        i / 256 % 256,
                        i / 8 % 32,
                        i % 8
                    )
                }),
            )
        }),
        ("usb ports", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<input type='tablet' bus='usb'><address type='usb' bus='0' port='{}.{}'/></input>",
                        i % 4 + 1,
                        i
                    )
                }),
            )
        }),
        ("controllers usb2", &|n| {
            let model = |i: usize| ["ehci1", "uhci1", "uhci2", "uhci3"][i % 4];
            domain("", &each(n, |i| format!("<controller type='usb' model='ich9-{}'/>", model(i))))
        }),
        ("controllers usb2 same", &|n| {
            domain("", &each(n, |_| "<controller type='usb' model='ich9-uhci1'/>".into()))
        }),
        ("controllers down", &|n| {
            domain("", &each(n, |i| format!("<controller type='scsi' index='{}'/>", n - i)))
        }),
        ("expander buses", &|n| {
            domain(
                "",
                &each(n, |_| "<controller type='pci' index='1' model='pcie-expander-bus'/>".into()),
            )
        }),
        ("usb ports of one", &|n| {
            domain(
                "",
                &format!(
                    "<controller type='usb' model='qemu-xhci' ports='4294967295'/>{}",
                    each(n, |_| "<input type='tablet' bus='usb'/>".into())
                ),
            )
        }),
        ("usb buses", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<controller type='usb' index='{i}' model='qemu-xhci'/>\
                         <input type='tablet' bus='usb'/><input type='tablet' bus='usb'/>"
                    )
                }),
            )
        }),
        ("channels of many", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<channel type='pty'><target type='virtio' name='c{i}'/>\
                         <address type='virtio-serial' controller='{}' port='1'/></channel>",
                        n - i
                    )
                }),
            )
        }),
        ("smartcards", &|n| domain("", &each(n, |_| "<smartcard mode='host'/>".into()))),
        ("hostdevs scsi", &|n| {
            domain(
                "",
                &each(n, |i| {
                    format!(
                        "<disk type='file'><source file='/{i}'/><target dev='sd{}' bus='scsi'/></disk>\
                         <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>\
                         <address bus='0' target='0' unit='{i}'/></source></hostdev>",
                        name(i)
                    )
                }),
            )
        }),
        ("iothreads of disks", &|n| {
            domain(
                &format!(
                    "<iothreadids>{}</iothreadids><cputune>{}</cputune>",
                    each(n, |i| format!("<iothread id='{}'/>", 2 * i + 1)),
                    each(n, |i| format!("<iothreadpin iothread='{}' cpuset='0'/>", 2 * i + 1))
                ),
                &each(n, |i| {
                    format!(
                        "<disk type='file'><driver name='qemu' iothread='{}'/>\
                         <source file='/{i}'/><target dev='vd{}'/></disk>",
                        2 * i + 1,
                        name(i)
                    )
                }),
            )
        }),
        ("numa left over", &|n| {
            domain(
                &format!(
                    "<vcpu>4294967295</vcpu><cpu><numa>{}</numa></cpu>",
                    each(n, |i| format!("<cell id='{i}' cpus='{}' memory='1'/>", i % 16384))
                ),
                "",
            )
        }),
        ("numa distances of many", &|n| {
            domain(
                &format!(
                    "<cpu><numa>{}</numa></cpu>",
                    each(n, |i| format!(
                        "<cell id='{i}' memory='1'><distances><sibling id='0' value='20'/></distances></cell>"
                    ))
                ),
                "",
            )
        }),
        ("cpusets down", &|n| {
            let down = each(8191, |i| format!("{},", 16382 - i * 2)) + "0";
            let scheds =
                each(n / 100, |_| format!("<vcpusched vcpus='{down}' scheduler='batch'/>"));
            domain(&format!("<cputune>{scheds}</cputune>"), "")
        }),
        ("memorytune", &|n| {
            let one = |kind: &str, i: usize| {
                format!("<{kind} vcpus='{}'><node id='0' bandwidth='10'/></{kind}>", i % 16384)
            };
            domain(
                &format!(
                    "<cputune>{}{}</cputune>",
                    each(n, |i| one("memorytune", i)),
                    each(n, |i| format!("<cachetune vcpus='{}'/>", i % 16384))
                ),
                "",
            )
        }),
    ];
    for (what, make) in cases {
        println!("{what}: {}", define(&make(MANY)));
    }
}

/// A disk whose image stands on so many others.
fn chain(layers: usize) -> String {
    let layer = "<backingStore type='file'><format type='raw'/><source file='/b'/>";
    format!(
        "<disk type='file'><source file='/a'/><target dev='vda'/>{}{}</disk>",
        layer.repeat(layers),
        "</backingStore>".repeat(layers)
    )
}

/// The reader refuses deeper documents; what it takes no thread of the daemon's may fall over.
#[test]
fn the_deepest_document_fits_the_stack() {
    // The domain, its devices, the disk above; the source below.
    let layers = xml::parse::MAX_DEPTH - 4;
    let deepest = domain("", &chain(layers));
    let metadata = |n: usize| {
        let inner = format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
        domain(&format!("<metadata><a:a xmlns:a='urn:a'>{inner}</a:a></metadata>"), "")
    };
    let work = move || {
        assert!(define(&deepest));
        let d = parse(&deepest, ParseOptions::default()).domain.expect("a domain");
        let copy = d.clone();
        assert_eq!(d, copy);
        assert!(xml::diff(&d, &copy).is_empty());
        let out = format(&copy, FormatFlags::default());
        assert_eq!(out.matches("<backingStore ").count(), layers);
        assert!(!std::format!("{copy:?}").is_empty());
        assert!(define(&metadata(xml::parse::MAX_DEPTH - 3)));
        assert!(!define(&domain("", &chain(layers + 1))));
        assert!(!define(&metadata(xml::parse::MAX_DEPTH - 2)));
    };
    let thread = std::thread::Builder::new().stack_size(model::STACK_SIZE).spawn(work);
    thread.expect("a thread").join().expect("it ends");
}

#[test]
fn ten_mistakes_give_ten_findings() {
    let text = "<domain type='qemuu'><name>a</name><memory unit='KiBB'>1</memory><vcpu>x</vcpu>\
        <on_reboot>restrat</on_reboot><os><type>hvmm</type></os><features><acpii/></features>\
        <clock offset='utcc'/><devices><disk type='flie' device='disk'><target dev='vda'/></disk>\
        <interface type='netwrok'/><input type='tablett'/></devices></domain>";
    let found = parse(text, ParseOptions::default()).diagnostics;
    let rules: Vec<_> = found.iter().map(|d| &d.message).collect();
    assert_eq!(found.len(), 10, "{rules:#?}");
    let places: std::collections::BTreeSet<_> =
        found.iter().map(|d| d.span.map(|s| s.start)).collect();
    assert_eq!(places.len(), 10, "{rules:#?}");
}

/// `a` to `z`, then `aa` …
fn name(i: usize) -> String {
    let mut n = i + 1;
    let mut letters = Vec::new();
    while n > 0 {
        n -= 1;
        letters.push((b'a' + (n % 26) as u8) as char);
        n /= 26;
    }
    letters.iter().rev().collect()
}
