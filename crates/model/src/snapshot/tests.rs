//! Snapshots: what is read, aligned, refused.

use super::{Parsing, Snapshot, check_name, format, parse};
use crate::domain::devices::disk::{Disk, SnapshotMode};
use diag::ErrorCode;
use xml::WriteOptions;

const NEW: Parsing = Parsing { redefine: false, internal: false };
const OLD: Parsing = Parsing { redefine: true, internal: false };

fn read(text: &str, parsing: Parsing) -> Snapshot {
    let parsed = parse(text, parsing);
    parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics))
}

fn written(snapshot: &Snapshot) -> String {
    let out = format(snapshot, false, &WriteOptions::default());
    out.lines().map(str::trim_start).collect()
}

fn old(state: &str, inner: &str) -> String {
    format!(
        "<domainsnapshot><name>s</name><state>{state}</state>\
         <creationTime>5</creationTime>{inner}</domainsnapshot>"
    )
}

#[test]
fn a_new_snapshot_says_nothing_of_the_past() {
    let text = old("running", "<parent><name>p</name></parent><memory file='/m'/>");
    let mut snapshot = read(&text, NEW);
    assert_eq!(
        written(&snapshot),
        "<domainsnapshot><name>s</name><memory snapshot='external' file='/m'/></domainsnapshot>"
    );
    snapshot.name = None;
    snapshot.create(77, Some("q"));
    assert_eq!(
        written(&snapshot),
        "<domainsnapshot><name>77</name><parent><name>q</name></parent>\
         <creationTime>77</creationTime><memory snapshot='external' file='/m'/></domainsnapshot>"
    );
}

#[test]
fn a_redefined_one_is_complete() {
    for (state, memory) in [("running", "internal"), ("shutoff", "no"), ("disk-snapshot", "no")] {
        let out = written(&read(&old(state, ""), OLD));
        assert!(out.contains(&format!("<memory snapshot='{memory}'/>")), "{out}");
    }
    let (xml, internal) = (ErrorCode::XML_ERROR, ErrorCode::INTERNAL_ERROR);
    for (text, code, words) in [
        ("<domainsnapshot/>".to_owned(), xml, "a redefined snapshot must have a name"),
        (
            "<domainsnapshot><name>s</name></domainsnapshot>".to_owned(),
            internal,
            "missing creationTime from existing snapshot",
        ),
        (
            old("foo", ""),
            ErrorCode::CONFIG_UNSUPPORTED,
            "Invalid state 'foo' in domain snapshot XML",
        ),
        (
            old("shutoff", "<memory snapshot='internal'/>"),
            xml,
            "memory state cannot be saved with offline or disk-only snapshot",
        ),
        (
            old("running", "<memory snapshot='internal' file='/x'/>"),
            xml,
            "memory filename '/x' requires external snapshot",
        ),
        (
            old("running", "<memory snapshot='manual'/>"),
            xml,
            "'manual' memory snapshot mode not supported",
        ),
        (
            old("running", "<disks><disk/></disks>"),
            internal,
            "missing name from disk snapshot element",
        ),
        (
            old("running", "<disks><disk name='a'><source file='n'/></disk></disks>"),
            xml,
            "disk snapshot image path 'n' must be absolute",
        ),
        (
            old("running", "<disks><disk name='a' type='dir'><source dir='/n'/></disk></disks>"),
            xml,
            "unsupported disk snapshot type 'dir'",
        ),
        (
            old("running", "<disks><disk name='a'><driver type='foo'/></disk></disks>"),
            ErrorCode::CONFIG_UNSUPPORTED,
            "unknown disk snapshot driver 'foo'",
        ),
    ] {
        let parsed = parse(&text, OLD);
        assert!(parsed.value.is_none(), "{text}");
        let first = &parsed.diagnostics[0];
        assert_eq!((first.code, first.message.as_str()), (code, words), "{text}");
    }
}

fn domain() -> Vec<Disk> {
    [
        "<disk><source file='/i/a.img'/><target dev='vda'/></disk>",
        "<disk><source file='/i.d/b'/><target dev='vdb'/></disk>",
        "<disk type='network' snapshot='no'><source protocol='nbd' name='x'/><target dev='vdc'/></disk>",
        "<disk device='cdrom'><target dev='sda'/><readonly/></disk>",
    ]
    .iter()
    .map(|text| xml::read_str(text, "disk").value.expect("a disk"))
    .collect()
}

fn aligned(disks: &str, default: SnapshotMode, uniform: bool) -> Result<String, String> {
    let text = format!("<domainsnapshot><name>s</name><disks>{disks}</disks></domainsnapshot>");
    let mut snapshot = read(&text, NEW);
    snapshot.align(&domain(), default, uniform).map_err(|error| error.detail)?;
    let out = written(&snapshot);
    let inner = out.split_once("<disks>").and_then(|(_, rest)| rest.split_once("</disks>"));
    Ok(inner.map(|(disks, _)| disks.to_owned()).unwrap_or_default())
}

#[test]
fn disks_are_brought_in_line() {
    let rest = "<disk name='vdc' snapshot='no'/><disk name='sda' snapshot='no'/>";
    assert_eq!(
        aligned("", SnapshotMode::Internal, true),
        Ok(format!(
            "<disk name='vda' snapshot='internal'/><disk name='vdb' snapshot='internal'/>{rest}"
        ))
    );
    assert_eq!(
        aligned("<disk name='/i.d/b'><driver type='qed'/></disk>", SnapshotMode::External, false),
        Ok(format!(
            "<disk name='vda' snapshot='external' type='file'><source file='/i/a.s'/></disk>\
             <disk name='vdb' snapshot='external' type='file'><driver type='qed'/>\
             <source file='/i.d/b.s'/></disk>{rest}"
        ))
    );
    let external = SnapshotMode::External;
    for (disks, default, uniform, words) in [
        ("<disk name='zz'/>", external, false, "no disk named 'zz'"),
        ("<disk name='vda'/><disk name='vda'/>", external, false, "disk 'vda' specified twice"),
        (
            "<disk name='vda' snapshot='no'/>",
            SnapshotMode::Internal,
            true,
            "disk 'vda' must use snapshot mode 'internal'",
        ),
        (
            "<disk name='vda' snapshot='internal'><source file='/x'/></disk>",
            SnapshotMode::Internal,
            true,
            "file '/x' for disk 'vda' requires use of external snapshot mode",
        ),
        (
            "<disk name='sda' snapshot='external'/>",
            external,
            false,
            "cannot generate external snapshot name for disk 'sda' without source",
        ),
        (
            "<disk name='vda' snapshot='external' type='block'/>",
            external,
            false,
            "cannot generate external snapshot name for disk 'vda' on a 'block' device",
        ),
        (
            "<disk name='vdc' snapshot='external'/>",
            external,
            false,
            "source for disk 'vdc' is not a regular file; refusing to generate external snapshot name",
        ),
    ] {
        assert_eq!(aligned(disks, default, uniform), Err(words.to_owned()), "{disks}");
    }
}

#[test]
fn what_qemu_cannot_have_had_is_refused() {
    let uuid = crate::domain::scalar::Uuid([7; 16]);
    let check = |state: &str, id: &str| {
        let domain = format!(
            "<domain type='qemu'><name>a</name><uuid>{id}</uuid><memory>1</memory>\
             <os><type>hvm</type></os></domain>"
        );
        let inner = if id.is_empty() { String::new() } else { domain };
        let result = read(&old(state, &inner), OLD).check_redefined(&uuid);
        result.map_err(|error| (error.code, error.detail))
    };
    let (own, other) = ("07".repeat(16), "08".repeat(16));
    assert_eq!(check("running", &own), Ok(()));
    let internal = ErrorCode::INTERNAL_ERROR;
    assert_eq!(check("blocked", &own), Err((internal, "Invalid domain state blocked".into())));
    assert_eq!(check("running", ""), Err((internal, "missing domain in snapshot".into())));
    assert_eq!(check("pmsuspended", &own).unwrap_err().0, ErrorCode::OPERATION_UNSUPPORTED);
    assert_eq!(check("paused", &other).unwrap_err().0, ErrorCode::INVALID_ARG);
}

#[test]
fn names() {
    assert!(check_name("a.b c").is_ok());
    for (name, words) in [
        ("a/b", "invalid snapshot name 'a/b': name can't contain '/'"),
        (".a", "invalid snapshot name '.a': name can't start with '.'"),
    ] {
        let error = check_name(name).unwrap_err();
        assert_eq!((error.code, error.message()), (ErrorCode::XML_DETAIL, words.to_owned()));
    }
}

#[test]
fn the_daemons_own_form() {
    let inner = "<cookie><cpu mode='custom'/></cookie><active>1</active>";
    let parsing = Parsing { redefine: true, internal: true };
    let snapshot = read(&old("running", inner), parsing);
    let out = format(&snapshot, true, &WriteOptions::default());
    let out: String = out.lines().map(str::trim_start).collect();
    assert!(out.ends_with(&format!("{inner}</domainsnapshot>")), "{out}");
    assert!(!written(&snapshot).contains("active"));
    assert!(parse(&old("running", ""), parsing).value.is_none());
}

#[test]
fn what_must_be_there_is_asked_for_first() {
    let source = "<disks><disk name='vda' type='network'><source protocol='rbd'/></disk></disks>";
    for (inner, words) in [
        ("<disks><disk/></disks>", "a redefined snapshot must have a name"),
        ("<name>a</name><disks><disk/></disks>", "missing creationTime from existing snapshot"),
        (
            "<name>a</name><creationTime>1</creationTime><memory snapshot='x'/>",
            "missing state from existing snapshot",
        ),
        (
            &format!("<state>off</state><name>a</name><creationTime>1</creationTime>{source}"),
            "Invalid state 'off' in domain snapshot XML",
        ),
        (
            &format!("<state>shutoff</state><name>a</name><creationTime>1</creationTime>{source}"),
            "missing name for disk source",
        ),
    ] {
        let parsed = parse(&format!("<domainsnapshot>{inner}</domainsnapshot>"), OLD);
        assert!(parsed.value.is_none(), "{inner}");
        assert_eq!(parsed.diagnostics[0].message, words, "{inner}");
    }
}

#[test]
fn the_domain_inside_is_completed_but_not_judged() {
    use crate::domain::defaults::DefaultsContext;
    let disk = |rest: &str| format!("<disk><source file='/a'/>{rest}</disk>");
    let vda = disk("<target dev='vda'/>");
    for (devices, expected) in [
        (vda.clone(), ""),
        // Refused when it is defined: two disks of one name, a thread that is not there.
        (vda.repeat(2), ""),
        (disk("<driver iothread='9'/><target dev='vdb'/>"), ""),
        ("<controller type='pci' index='300' model='pci-bridge'/>".to_owned(), ""),
        (disk("<target dev='foo' bus='ide'/>"), "Unknown disk name 'foo' and no address specified"),
        (
            "<input type='tablet' bus='usb'/><controller type='usb' model='none'/>".to_owned(),
            "Can't add USB input device. USB bus is disabled",
        ),
    ] {
        let inner = format!(
            "<domain type='qemu'><name>g</name><memory>1024</memory><os><type arch='x86_64' \
             machine='pc-i440fx-10.0'>hvm</type></os><devices>{devices}</devices></domain>"
        );
        let parsed = parse(&old("shutoff", &inner), Parsing { redefine: true, internal: false });
        let Some(mut snapshot) = parsed.value else {
            // Some of it is asked while it is read.
            assert_eq!(parsed.diagnostics[0].message, expected, "{devices}");
            continue;
        };
        let found = snapshot.complete_domains(&mut DefaultsContext {
            emulator: Some("/usr/bin/qemu-system-x86_64"),
            ..DefaultsContext::without_emulator("x86_64", &mut |bytes| bytes.fill(1))
        });
        let says = found.first().map_or("", |d| d.message.as_str());
        assert_eq!(says, expected, "{devices}");
        if expected.is_empty() {
            assert!(written(&snapshot).contains("<memballoon model='virtio'"), "{devices}");
        }
    }
}

#[test]
fn a_new_image_may_have_a_data_file() {
    let disk = |inner: &str| old("disk-snapshot", &format!("<disks>{inner}</disks>"));
    let data = "<dataStore type='network'><format type='qcow2'/><source protocol='nbd' name='a'>\
                <host name='h'/></source></dataStore>";
    let full = data.replace("qcow2", "raw").replace("'h'", "'h' port='10809'");
    // Its own path is chosen where it has none; what else is said of it stays.
    let text =
        disk(&format!("<disk name='vda' snapshot='external'><source>{data}</source></disk>"));
    let mut snapshot = read(&text, OLD);
    let own = Disk {
        source: Some(crate::domain::devices::disk::DiskSource {
            file: Some("/a.qcow2".to_owned()),
            ..Default::default()
        }),
        target: crate::domain::devices::disk::DiskTarget {
            dev: "vda".to_owned(),
            ..Default::default()
        },
        ..Disk::default()
    };
    snapshot.align(&[own], SnapshotMode::External, false).unwrap();
    let out = written(&snapshot);
    assert!(out.contains(&format!("<source file='/a.s'>{full}</source>")), "{out}");
    for (inner, words) in [
        ("<disk name='vda' type='dir'/>", "unsupported disk snapshot type 'dir'"),
        (
            "<disk name='vda'><driver type='xx'/><source file='a'/></disk>",
            "unknown disk snapshot driver 'xx'",
        ),
        (
            "<disk name='vda'><source file='/a'><dataStore type='file'/></source></disk>",
            "missing data file store format",
        ),
        (
            "<disk name='vda'><source file='/a'><dataStore type='network'><format type='raw'/>\
             <source/></dataStore></source></disk>",
            "Missing required attribute 'protocol' in element 'source'",
        ),
    ] {
        let found = parse(&disk(inner), OLD).diagnostics;
        assert_eq!(found.first().map(|d| d.message.as_str()), Some(words), "{inner}");
    }
    // A driver that says no format is as good as none.
    let snapshot = read(&disk("<disk name='vda'><driver type=''/><source file='/a'/></disk>"), OLD);
    assert!(!written(&snapshot).contains("driver"));
}
