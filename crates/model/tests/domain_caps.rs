//! What `domcapabilities` says of emulators made up here.

use model::capabilities::domain::{Request, domain_capabilities_xml};
use model::capabilities::host::HostFacts;
use model::capabilities::qemu::{Accel, Gic, Machine, QemuCaps, cpu_commands, parse_transcript};
use serde_json::json;

/// An emulator for guests of `target` with these feature flags.
fn emulator(target: &str, flags: &[&str]) -> QemuCaps {
    let talk = format!(
        r#"{{"execute":"qmp_capabilities"}} {{"return":{{}}}}
{{"execute":"query-version"}} {{"return":{{"qemu":{{"major":10,"minor":0,"micro":2}}}}}}
{{"execute":"query-target"}} {{"return":{{"arch":"{target}"}}}}
{{"execute":"query-cpu-model-expansion","arguments":{{"type":"static","model":{{"name":"max"}}}}}}
{{"return":{{"model":{{"name":"gen15a-base","props":{{"aen":true,"te":true}}}},
 "deprecated-props":["bpb","te"]}}}}"#
    );
    let talks = parse_transcript(&talk);
    let mut caps = QemuCaps::from_replies("/bin/q", &talks[0], None).expect("a QEMU");
    caps.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let machine = |name: &str| Machine { name: name.to_owned(), ..Machine::default() };
    if let Some(tcg) = &mut caps.tcg {
        tcg.machines = ["board", "virt-10.0"].map(machine).into();
    }
    caps
}

/// Its document on a host of architecture `host`, without white space between elements.
fn document(host: &str, caps: &QemuCaps, machine: &str) -> String {
    told(host, caps, machine, false)
}

/// The same, if so asked without features that will go away.
fn told(host: &str, caps: &QemuCaps, machine: &str, without_deprecated: bool) -> String {
    let facts = HostFacts { arch: host.to_owned(), ..HostFacts::default() };
    let request = Request {
        caps,
        machine: Some(machine),
        arch: &caps.arch,
        accel: Accel::Tcg,
        hvf: false,
        without_deprecated,
        firmware: &[],
        loaders: None,
        default_loaders: &[],
    };
    let text = domain_capabilities_xml(&facts, &request).expect("a machine of it");
    text.lines().map(str::trim).collect()
}

#[test]
fn a_board_without_pci_has_one_kind_of_each_virtio_device() {
    let check = |flags: &[&str], rng: &str, disk: &str| {
        let text = document("x86_64", &emulator("m68k", flags), "board");
        let model = |values: &str| match values {
            "" => "<enum name='model'/>".to_owned(),
            values => format!("<enum name='model'>{values}</enum>"),
        };
        for (section, values) in [("<rng supported='yes'>", rng), ("</enum>", disk)] {
            let expected = format!("{section}{}", model(values));
            assert!(text.contains(&expected), "{flags:?}: no {expected} in {text}");
        }
    };
    let one = "<value>virtio</value>";
    let all = "<value>virtio</value><value>virtio-transitional</value>\
               <value>virtio-non-transitional</value>";
    check(&[], "", one);
    check(&["virtio-rng"], one, one);
    check(&["virtio-rng", "virtio-pci-non-transitional"], all, all);
}

#[test]
fn usb_devices_are_passed_through_where_there_is_usb() {
    for (flags, there) in [(&[][..], false), (&["usb-hub"][..], true)] {
        let text = document("x86_64", &emulator("m68k", flags), "board");
        assert_eq!(text.contains("'subsysType'><value>usb</value>"), there, "{flags:?}");
    }
}

#[test]
fn boards_that_choose_their_interrupt_controller_list_it() {
    let mut caps = emulator("aarch64", &[]);
    caps.gic = vec![Gic { version: 2, kernel: false, emulated: true }];
    assert!(document("x86_64", &caps, "virt-10.0").contains("<gic supported='yes'>"));
    assert!(document("x86_64", &caps, "board").contains("<gic supported='no'/>"));
}

#[test]
fn the_hosts_model_is_for_guests_of_its_kind() {
    let caps = emulator("s390x", &[]);
    let model = "<mode name='host-model' supported='yes'><model fallback='forbid'>gen15a-base";
    assert!(document("s390x", &caps, "board").contains(model));
    let none = "<mode name='host-model' supported='no'/>";
    assert!(document("x86_64", &caps, "board").contains(none));

    let features = |text: &str| {
        let found = text.split("<feature policy='").skip(1).map(|rest| {
            let (policy, rest) = rest.split_once("' name='").expect("a name");
            let (name, _) = rest.split_once('\'').expect("its end");
            format!("{name} {policy}")
        });
        found.collect::<Vec<_>>()
    };
    let all = document("s390x", &caps, "board");
    assert_eq!(features(&all), ["aen require", "te require"]);
    let lasting = told("s390x", &caps, "board", true);
    assert_eq!(features(&lasting), ["aen require", "te disable", "bpb disable"]);
}

#[test]
fn the_questions_about_cpus_depend_on_the_emulator() {
    let max = json!({"name": "max"});
    let all = json!({"name": "max", "props": {"migratable": false}});
    let hyperv = json!({"name": "max", "props": {"migratable": false, "hv-passthrough": true}});
    for (target, expected) in [
        ("x86_64", &[("static", &max), ("static", &all), ("full", &hyperv)][..]),
        ("i386", &[("full", &max), ("full", &all), ("full", &hyperv)][..]),
        ("s390x", &[("static", &max)][..]),
        ("riscv64", &[("full", &max)][..]),
    ] {
        let talk = format!(r#"{{"execute":"query-target"}} {{"return":{{"arch":"{target}"}}}}"#);
        let asked: Vec<_> = cpu_commands(&parse_transcript(&talk)[0])
            .into_iter()
            .map(|command| command["arguments"].clone())
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(kind, model)| json!({"type": kind, "model": model})).collect();
        assert_eq!(asked, expected, "{target}");
    }
}
