//! What holds for every hypervisor, and what a running guest's document keeps.

use model::domain::defaults::{DefaultsContext, apply_core};
use model::domain::{Domain, FormatFlags, ParseOptions, format, parse, validate_core};

fn core(devices: &str) -> Domain {
    let text = format!(
        "<domain type='test'><name>a</name><memory>1024</memory><os><type>hvm</type></os>\
         <devices>{devices}</devices></domain>"
    );
    let mut domain = parse(&text, ParseOptions::default()).domain.expect("readable");
    let faults = apply_core(
        &mut domain,
        &mut DefaultsContext {
            abi_update: false,
            ..DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(7))
        },
    );
    assert_eq!(faults, []);
    domain
}

#[test]
fn the_core_adds_no_machine() {
    let text = format(&core("<graphics type='vnc'/>"), FormatFlags::default());
    assert!(text.contains("<listen type='address'/>"), "{text}");
    assert!(text.contains("primary='yes'"), "{text}");
    for foreign in ["<controller", "<memballoon", "<emulator", "machine="] {
        assert!(!text.contains(foreign), "{foreign}: {text}");
    }
}

#[test]
fn sockets_connect_unless_told() {
    let text =
        format(&core("<serial type='unix'><source path='/a'/></serial>"), FormatFlags::default());
    assert!(text.contains("<source mode='connect' path='/a'/>"), "{text}");
}

#[test]
fn the_core_knows_no_limit_of_qemu() {
    let password = core("<graphics type='vnc' passwd='longer than eight'/>");
    assert_eq!(validate_core(&password), []);
    assert!(!model::domain::validate(&password).is_empty());
}

#[test]
fn an_old_mirror_has_a_source() {
    let text = "<domain type='qemu' id='3'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
        <devices><disk type='file' device='disk'><source file='/a'/><mirror file='/b'/>\
        <target dev='vda'/></disk></devices></domain>";
    let domain = parse(text, ParseOptions { live: true }).domain.expect("readable");
    let out = format(&domain, FormatFlags { live: true, ..FormatFlags::default() });
    assert!(out.contains("<source file='/b'/>"), "{out}");
    assert!(out.contains("job='copy'"), "{out}");
}
