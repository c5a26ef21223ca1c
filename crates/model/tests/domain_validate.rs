//! Rules across values: what is refused, with which code and words.

use diag::ErrorCode;
use model::domain::defaults::{DefaultsContext, DeviceSupport, MachineInfo, apply};
use model::domain::{ParseOptions, parse, validate, validate_support};

const DISK: &str = "<disk type='file'><source file='/a'/><target dev='vda'/>";

/// All faults of a guest with these devices, as (code, message).
fn faults(top: &str, machine: &str, devices: &str) -> Vec<(u32, String)> {
    let text = format!(
        "<domain type='qemu'><name>a</name><memory>65536</memory>{top}<os>\
         <type machine='{machine}' arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
    );
    let parsed = parse(&text, ParseOptions::default());
    // Some of it is asked while the document is read; the rest is found beside that.
    let Some(mut d) = parsed.domain else {
        return parsed.diagnostics.into_iter().map(|d| (d.code.0, d.message)).collect();
    };
    let machines =
        ["pc", "q35"].map(|name| MachineInfo { name: name.to_owned(), ..MachineInfo::default() });
    let mut out = apply(
        &mut d,
        &mut DefaultsContext {
            machines: &machines,
            devices: &DeviceSupport::new([
                "cirrus-vga",
                "piix3-usb-uhci",
                "qemu-xhci",
                "lsi",
                "rtl8139",
            ]),
            ..DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(2))
        },
    );
    out.extend(validate(&d));
    out.into_iter().map(|d| (d.code.0, d.message)).collect()
}

fn check(top: &str, devices: &str, code: ErrorCode, message: &str) {
    assert_eq!(faults(top, "pc", devices), [(code.0, message.to_owned())], "{top}{devices}");
}

#[test]
fn a_plain_guest_has_no_fault() {
    for machine in ["pc", "q35"] {
        assert_eq!(faults("", machine, &format!("{DISK}</disk>")), [], "{machine}");
    }
}

/// What a timer cannot be told is refused, not kept and forgotten.
#[test]
fn settings_of_timers() {
    let timer = |what: &str| format!("<clock offset='utc'><timer {what}/></clock>");
    for (what, setting) in [
        ("name='pit' track='guest'", "pit doesn't support setting of timer track"),
        ("name='hpet' mode='auto'", "hpet doesn't support setting of timer mode"),
        ("name='rtc' frequency='5'", "rtc doesn't support setting of timer frequency"),
        ("name='tsc' track='wall'", "tsc doesn't support setting of timer track"),
        (
            "name='kvmclock' tickpolicy='delay' mode='auto'",
            "kvmclock doesn't support setting of timer tickpolicy",
        ),
        (
            "name='pit' frequency='5' mode='auto' track='boot'",
            "pit doesn't support setting of timer frequency",
        ),
    ] {
        check(&timer(what), "", ErrorCode::CONFIG_UNSUPPORTED, &format!("timer {setting}"));
    }
    for what in [
        "name='rtc' track='wall' frequency='0'",
        "name='tsc' frequency='5' mode='emulate' tickpolicy='delay'",
        "name='hpet' tickpolicy='catchup'",
    ] {
        assert_eq!(faults(&timer(what), "pc", ""), [], "{what}");
    }
}

#[test]
fn rules() {
    let xml = ErrorCode::XML_ERROR;
    let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
    let internal = ErrorCode::INTERNAL_ERROR;
    check(
        "<vcpu current='3'>2</vcpu>",
        "",
        unsupported,
        "maximum vCPU count must not be less than current vCPU count",
    );
    check(
        "",
        &format!("{DISK}</disk>{DISK}</disk>"),
        xml,
        "target 'vda' duplicated for disk sources '/a' and '/a'",
    );
    check(
        "",
        &format!(
            "{DISK}<boot order='1'/></disk><disk type='file'><source file='/b'/><target dev='vdb'/><boot order='1'/></disk>"
        ),
        unsupported,
        "boot order '1' used for more than one device",
    );
    check(
        "",
        &format!("{DISK}<serial>a$b</serial></disk>"),
        internal,
        "driver serial 'a$b' contains unsafe characters",
    );
    check(
        "",
        "<disk type='file'><target dev='vda'/></disk>",
        ErrorCode::NO_SOURCE,
        "missing source information for device vda",
    );
    check(
        "",
        "<interface type='bridge'/>",
        xml,
        "interface type='bridge' requires a 'source' element",
    );
    for (kind, needs) in
        [("bridge", "bridge"), ("network", "network"), ("direct", "dev"), ("vdpa", "dev")]
    {
        check(
            "",
            &format!("<interface type='{kind}'><source/></interface>"),
            xml,
            &format!("Missing required attribute '{needs}' in element 'source'"),
        );
    }
    for (cells, said) in [
        ("<cell cpus='0-1' memory='9'/>", "Number of CPUs in <numa> exceeds the <vcpu> count"),
        ("<cell cpus='1' memory='9'/>", "CPU IDs in <numa> exceed the <vcpu> count"),
    ] {
        let top = format!("<cpu><numa>{cells}</numa></cpu>");
        check(&top, "", ErrorCode::INTERNAL_ERROR, said);
    }
    check(
        "",
        "<interface type='user'><mac address='01:00:00:00:00:01'/></interface>",
        xml,
        "expected unicast mac address, found multicast '01:00:00:00:00:01'",
    );
    check(
        "",
        "<controller type='scsi' index='0'/><controller type='scsi' index='0'/>",
        xml,
        "Multiple 'scsi' controllers with index '0'",
    );
    check(
        "",
        "<memballoon model='virtio'/><memballoon model='virtio'/>",
        internal,
        "only a single memory balloon device is supported",
    );
    check(
        "",
        "<iommu model='intel'/>",
        unsupported,
        "IOMMU device: 'intel' is only supported with Q35 machines",
    );
    check("<title>a\nb</title>", "", xml, "Domain title can't contain newlines");
    check("", "<serial type='file'/>", internal, "Missing source path attribute for char device");
}

#[test]
fn all_faults_at_once() {
    let found = faults(
        "<vcpu current='3'>2</vcpu>",
        "pc",
        &format!(
            "{DISK}</disk>{DISK}<wwn>xx</wwn></disk><memballoon model='none'/><memballoon model='none'/>"
        ),
    );
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn what_the_emulator_lacks() {
    let text = "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices><graphics type='spice'/></devices></domain>";
    let d = parse(text, ParseOptions::default()).domain.expect("domain");
    let message = |flags: &[&str]| {
        validate_support(&d, &DeviceSupport::new(flags.iter().copied()))
            .into_iter()
            .map(|d| d.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(message(&["spice"]), Vec::<String>::new());
    assert_eq!(message(&[]), ["spice graphics are not supported with this QEMU"]);
    let lacking = DeviceSupport::default().of("/usr/bin/q", (10, 0, 2));
    let found = validate_support(&d, &lacking);
    assert_eq!(found[0].hints, ["<graphics>: /usr/bin/q (version 10.0.2) lacks 'spice'"]);
}
