//! Documents with faults of several kinds: each is told once, and none that another one caused.

use diag::Severity;

use crate::domain::{ParseOptions, parse};

/// The messages of a guest with `top` and `devices`.
fn faults(top: &str, devices: &str) -> Vec<String> {
    let text = format!(
        "<domain type='qemu'><name>a</name><memory>65536</memory>{top}\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{devices}</devices></domain>"
    );
    messages(&text)
}

fn messages(text: &str) -> Vec<String> {
    let parsed = parse(text, ParseOptions::default());
    assert!(parsed.domain.is_none());
    let errors = parsed.diagnostics.into_iter().filter(|d| d.severity == Severity::Error);
    errors.map(|d| d.message).collect()
}

/// A fault of the mapping: there is no such type.
const HUB: &str = "<hub type='g'/>";
const NO_HUB: &str = "unknown hub device type 'g'";

#[test]
fn ten_mixed_mistakes_are_ten_faults() {
    let found = faults(
        "<vcpu current='3'>2</vcpu><clock offset='a'/>\
         <on_crash>b</on_crash>",
        "<disk type='file' device='c'><target dev='vda'/></disk>\
         <disk type='file'><source file='/a'/><target dev='vdb'/></disk>\
         <disk type='file'><source file='/b'/><target dev='vdb'/></disk>\
         <disk type='file'><source file='/c'/><target dev='vdc' bus='virtio'/>\
         <serial>a$b</serial></disk>\
         <interface type='bridge'><mac address='52:54:00:00:00:01'/></interface>\
         <interface type='d'/><hub type='g'/>\
         <graphics type='vnc' passwd='123456789'/>",
    );
    assert_eq!(found.len(), 10, "{found:#?}");
    // Those of the mapping first.
    for (index, message) in found.iter().enumerate() {
        let mapping = ["unknown", "Invalid value"].iter().any(|w| message.starts_with(w));
        assert_eq!(mapping, index < 5, "{index}: {found:#?}");
    }
}

#[test]
fn what_was_left_out_causes_no_fault() {
    let thread = "<disk type='file'><driver name='qemu' type='raw' iothread='2'/>\
                  <source file='/a'/><target dev='vda' bus='virtio'/></disk>";
    for (top, devices, count) in [
        // Whether thread 2 is there is not known.
        ("<iothreadids><iothread id='x'/></iothreadids>", thread, 1),
        ("<iothreadids><iothread id='1'/></iothreadids><clock offset='a'/>", thread, 2),
        // A disk on a controller, a sound card on a backend that cannot be read.
        (
            "",
            "<controller type='scsi' index='3' model='foo'/><disk type='file'><source file='/a'/>\
             <target dev='sda' bus='scsi'/><address type='drive' controller='3' unit='9'/></disk>",
            1,
        ),
        ("", "<audio id='2' type='foo'/><sound model='ich6'><audio id='2'/></sound>", 1),
        (
            "",
            "<audio id='1' type='none'/><sound model='ich6'><audio id='2'/></sound><hub type='g'/>",
            2,
        ),
        // The second card is not the first because that one cannot be read.
        ("", "<video><model type='foo'/></video><video><model type='qxl'/></video>", 1),
        // The numbers of vCPUs are not known.
        ("<vcpu>x</vcpu><cputune><vcpupin vcpu='3' cpuset='0'/></cputune>", "", 1),
        ("<vcpu>x</vcpu><cpu><topology sockets='2' cores='2' threads='1'/></cpu>", "", 1),
        (
            "<uuid>xx</uuid><sysinfo type='smbios'><system>\
             <entry name='uuid'>a75ca5ee-1d2f-4d1a-8d3f-0d3e2a4d5b6c</entry></system></sysinfo>",
            "",
            1,
        ),
    ] {
        let found = faults(top, devices);
        assert_eq!(found.len(), count, "{top}{devices}: {found:#?}");
    }
}

#[test]
fn the_root_and_the_system_may_be_wrong_too() {
    let devices = "<devices><disk type='file'><source file='/a'/><target dev='vda'/></disk>\
                   <disk type='file'><source file='/b'/><target dev='vda'/></disk></devices>";
    let twice = "target 'vda' duplicated for disk sources '/a' and '/b'";
    for (text, first) in [
        (
            format!(
                "<domain type='qmu'><name>a</name><memory>1024</memory><os><type>hvm</type></os>{devices}</domain>"
            ),
            "invalid domain type qmu",
        ),
        (
            format!(
                "<domain><name>a</name><memory>1024</memory><os><type>hvm</type></os>{devices}</domain>"
            ),
            "missing domain type attribute",
        ),
        (
            format!(
                "<domain type='qemu'><memory>1024</memory><os><type>hvm</type></os>{devices}</domain>"
            ),
            "missing name information",
        ),
        (
            format!(
                "<domain type='qemu'><name>a</name><memory>1024</memory><os><type>foo</type></os>{devices}</domain>"
            ),
            "unknown OS type 'foo'",
        ),
        (
            format!("<domain type='qemu'><name>a</name><memory>1024</memory>{devices}</domain>"),
            "an os <type> must be specified",
        ),
    ] {
        assert_eq!(messages(&text), [first, twice], "{text}");
    }
}

#[test]
fn a_sound_document_with_one_fault_has_one() {
    let disk = "<disk type='file'><source file='/a'/><target dev='vda'/></disk>\
                <input type='tablet' bus='usb'/><graphics type='spice'/><tpm><backend type='emulator'/></tpm>\
                <interface type='network'><source network='default'/></interface><console type='pty'/>\
                <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
    assert_eq!(faults("<vcpu>2</vcpu>", &format!("{disk}{HUB}")), [NO_HUB]);
}

#[test]
fn a_guest_of_another_driver_is_not_asked_for_what_qemu_wants() {
    let text = |kind: &str| {
        format!(
            "<domain type='{kind}'><name>a</name><memory>1024</memory><memtune><min_guarantee>5\
             </min_guarantee></memtune><os><type>hvm</type></os><devices>{HUB}</devices></domain>"
        )
    };
    assert_eq!(messages(&text("vmware")), [NO_HUB]);
    let own = "Parameter 'min_guarantee' not supported by QEMU.";
    assert_eq!(messages(&text("qemu")), [NO_HUB, own]);
}
