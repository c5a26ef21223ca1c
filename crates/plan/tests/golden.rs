//! Plans as text: each `golden/NAME.xml` is planned and compared with `NAME.plan.txt`.
//! `UPDATE=1` rewrites the expectations.

use model::capabilities::firmware::Firmware;
use model::capabilities::host::{HostFacts, KvmState};
use model::capabilities::qemu::{CacheKey, QemuCaps};
use model::domain::{FormatFlags, ParseOptions, assign_aliases, format, parse};
use plan::Ids;
use plan::qemu::{Found, Inputs, ResultValue, Results, Settings, launch, observe};
use std::path::Path;

/// What Debian's QEMU 10.0.2 answered, cut down to a few machines and CPU models.
fn caps() -> QemuCaps {
    let key = CacheKey { path: "/usr/bin/qemu-system-x86_64".into(), ..CacheKey::default() };
    let text = include_str!("data/qemu-10.0-x86_64.json");
    QemuCaps::from_cache(text, &key).expect("the recorded capabilities")
}

fn firmware() -> Vec<Firmware> {
    let descriptor = |code: &str, vars: &str, features: &str| {
        format!(
            r#"{{"interface-types":["uefi"],"mapping":{{"device":"flash",
            "executable":{{"filename":"{code}","format":"raw"}},
            "nvram-template":{{"filename":"{vars}","format":"raw"}}}},
            "targets":[{{"architecture":"x86_64","machines":["pc-q35-*"]}}],
            "features":[{features}]}}"#
        )
    };
    [
        (
            "40",
            "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
            "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
            r#""secure-boot","enrolled-keys","requires-smm""#,
        ),
        ("60", "/fw/plain.fd", "/fw/vars.fd", ""),
    ]
    .iter()
    .map(|(name, code, vars, features)| {
        Firmware::parse(name, &descriptor(code, vars, features)).expect("a descriptor")
    })
    .collect()
}

fn host() -> HostFacts {
    HostFacts {
        arch: "x86_64".into(),
        kvm: KvmState::Unusable("the CPU shows neither vmx nor svm".into()),
        swtpm_versions: vec!["2.0".into()],
        ..HostFacts::default()
    }
}

fn settings() -> Settings {
    let ids = Ids { uid: 64055, gid: 64055 };
    Settings::system("", ids)
}

fn plan_text(xml: &str) -> String {
    let parsed = parse(xml, ParseOptions::default());
    let mut domain =
        parsed.domain.unwrap_or_else(|| panic!("not a domain: {:?}", parsed.diagnostics));
    assign_aliases(&mut domain);
    let (caps, host, firmware, settings) = (caps(), host(), firmware(), settings());
    let inputs = Inputs {
        caps: &caps,
        host: &host,
        firmware: &firmware,
        settings: &settings,
        found: &Found::default(),
        id: 7,
        incoming: None,
    };
    match launch(&domain, &inputs) {
        Ok(plan) => plan.to_string(),
        Err(faults) => faults
            .iter()
            .map(|fault| format!("refused [{}] {}\n", fault.rule, fault.message))
            .collect(),
    }
}

#[test]
fn plans() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE").is_some();
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of golden files") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        let text = plan_text(&std::fs::read_to_string(&path).expect("a file"));
        let golden = path.with_extension("plan.txt");
        if update {
            std::fs::write(&golden, &text).expect("the expectation is written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(text == expected, "{} differs:\n{text}", golden.display());
        checked += 1;
    }
    assert!(checked >= 6, "golden files are missing");
}

#[test]
fn results_reach_the_live_definition() {
    let xml = include_str!("golden/pc-plain.xml");
    let mut domain = parse(xml, ParseOptions::default()).domain.expect("a domain");
    assign_aliases(&mut domain);
    let (caps, host, firmware, settings) = (caps(), host(), firmware(), settings());
    let inputs = Inputs {
        caps: &caps,
        host: &host,
        firmware: &firmware,
        settings: &settings,
        found: &Found::default(),
        id: 7,
        incoming: None,
    };
    let plan = launch(&domain, &inputs).expect("a plan");
    let json = |text: &str| ResultValue::Json(serde_json::from_str(text).expect("JSON"));
    let mut results = Results::new();
    let chardev = r#"[{"label":"charserial0","filename":"pty:/dev/pts/4","frontend-open":true}]"#;
    let cpus = r#"[{"cpu-index":0,"thread-id":100},{"cpu-index":1,"thread-id":101}]"#;
    for (name, value) in [
        ("qmp.chardev", json(chardev)),
        ("qmp.cpus", json(cpus)),
        ("vnc.port", ResultValue::Port(5901)),
    ] {
        results.insert(plan::ResultName::new(name), value);
    }
    let observed = observe(&plan, &results);
    assert_eq!(observed.vcpu_threads.into_iter().collect::<Vec<_>>(), [(0, 100), (1, 101)]);
    let flags = FormatFlags { live: true, ..FormatFlags::default() };
    let live = format(&observed.domain, flags);
    for expected in [
        "<domain type='qemu' id='7'>",
        "<graphics type='vnc' port='5901'",
        "<console type='pty' tty='/dev/pts/4'>",
        "<source path='/dev/pts/4'/>",
        "<source file='/var/lib/libvirt/images/plain.img' index='3'/>",
        "<label>+64055:+64055</label>",
    ] {
        assert!(live.contains(expected), "{expected} is not in\n{live}");
    }
}

/// What each argument, step and command is there for; every word of the plan is explained once.
#[test]
fn reasons_stand_beside_what_they_explain() {
    let xml = include_str!("golden/q35-server.xml");
    let mut domain = parse(xml, ParseOptions::default()).domain.expect("a domain");
    assign_aliases(&mut domain);
    let (caps, host, firmware, settings) = (caps(), host(), firmware(), settings());
    let inputs = Inputs {
        caps: &caps,
        host: &host,
        firmware: &firmware,
        settings: &settings,
        found: &Found::default(),
        id: 7,
        incoming: None,
    };
    let plan = launch(&domain, &inputs).expect("a plan");
    let exec = plan.exec().expect("QEMU");
    assert_eq!(exec.args.len(), plan.reasons.args.len());
    assert_eq!(plan.steps.len(), plan.reasons.steps.len());
    assert_eq!(plan.prelude().len(), plan.reasons.commands.len());
    let mut text = String::new();
    let mut words = 0;
    for line in plan.explain() {
        if line.subject == plan::Subject::Argument {
            words += line.text.len();
        }
        text.push_str(&format!("{} {}\n", line.subject.word(), line.text.join(" ")));
        text.push_str(&format!("    {}\n", line.because));
    }
    assert_eq!(words, exec.args.len(), "every argument is explained once");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/q35-server.explain.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("the expectation is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} differs:\n{text}", path.display());
}

/// With `check='full'` the guest's CPU is just what the definition says, or there is no guest.
#[test]
fn a_cpu_that_must_be_exact_is_looked_at() {
    let check = |check: &str, features: u32, filtered: u32| {
        let xml = format!(
            "<domain type='qemu'><name>exact</name>\
             <uuid>4b1b2f5e-5d0a-4a53-9f35-0a4a4f1f0009</uuid><memory>65536</memory>\
             <vcpu>1</vcpu><os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>\
             <cpu mode='custom' match='exact' check='{check}'><model>Nehalem</model></cpu>\
             <devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"
        );
        let domain = parse(&xml, ParseOptions::default()).domain.expect("a domain");
        let (caps, host, firmware, settings) = (caps(), host(), firmware(), settings());
        let inputs = Inputs {
            caps: &caps,
            host: &host,
            firmware: &firmware,
            settings: &settings,
            found: &Found::default(),
            id: 7,
            incoming: None,
        };
        let plan = launch(&domain, &inputs).expect("a plan");
        // Bits of leaf 1, register ECX; what is given has the rest of the model too.
        let words = |bits: u32| {
            ResultValue::Json(serde_json::json!([
                {"cpuid-input-eax": 1, "cpuid-register": "ECX", "features": bits},
            ]))
        };
        let given = ResultValue::Json(serde_json::json!([
            {"cpuid-input-eax": 1, "cpuid-register": "ECX", "features": features | 0x0088_2201},
            {"cpuid-input-eax": 1, "cpuid-register": "EDX", "features": 0x078b_fbfd},
            {"cpuid-input-eax": 0x8000_0001_u32, "cpuid-register": "ECX", "features": 1},
            {"cpuid-input-eax": 0x8000_0001_u32, "cpuid-register": "EDX", "features": 0x2010_0800},
        ]));
        let mut results = Results::new();
        results.insert(plan::ResultName::new("qmp.cpu-features"), given);
        results.insert(plan::ResultName::new("qmp.cpu-filtered"), words(filtered));
        plan::qemu::verify(&plan, &results).map_err(|error| error.message())
    };
    const HYPERVISOR: u32 = 1 << 31;
    const SSE42: u32 = 1 << 20;
    assert_eq!(check("full", SSE42, 0), Ok(()));
    assert_eq!(check("partial", HYPERVISOR, SSE42), Ok(()));
    let refused = "operation failed: guest CPU doesn't match specification: ";
    for (features, filtered, expected) in [
        (HYPERVISOR | SSE42, 0, "extra features: hypervisor"),
        (0, SSE42, "missing features: sse4.2"),
        // QEMU's model lacks it, so that it took nothing away.
        (0, 0, "missing features: sse4.2"),
        (HYPERVISOR, SSE42, "extra features: hypervisor, missing features: sse4.2"),
    ] {
        assert_eq!(check("full", features, filtered), Err(format!("{refused}{expected}")));
    }
}

/// The arguments of a guest with these devices.
fn arguments(devices: &str, found: &Found) -> Vec<String> {
    let text = format!(
        "<domain type='qemu'><name>a</name><uuid>c7a5fdbd-edaf-9455-926a-d65c06db1809</uuid>\
         <maxMemory slots='4' unit='GiB'>8</maxMemory><memory unit='GiB'>2</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type></os>\
         <cpu><numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>\
         <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}</devices></domain>"
    );
    let mut caps = caps();
    caps.flags.extend(["sgx-epc".to_owned(), "nvdimm".to_owned()]);
    let mut domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
    assign_aliases(&mut domain);
    let inputs = Inputs {
        caps: &caps,
        host: &host(),
        firmware: &[],
        settings: &settings(),
        found,
        id: 1,
        incoming: None,
    };
    let plan = launch(&domain, &inputs).expect("a plan");
    let exec = plan.steps.iter().find_map(|step| match &step.action {
        plan::Action::Exec(exec) => Some(exec),
        _ => None,
    });
    exec.expect("a process").args.iter().map(|arg| arg.render(|_| String::new())).collect()
}

/// The words of `-machine` for a guest with these memory devices.
fn board(devices: &str) -> Vec<String> {
    let words = arguments(devices, &Found::default());
    let place = words.iter().position(|word| word == "-machine").expect("a board");
    words[place + 1].split(',').map(str::to_owned).collect()
}

#[test]
fn an_image_keeps_its_bytes_in_a_file_beside_it() {
    let disk = |inside: &str, dev: &str, slot: u8| {
        format!(
            "<disk type='file'><driver name='qemu' type='qcow2' discard='unmap'/>\
             <source file='/x'>{inside}</source><target dev='{dev}' bus='virtio'/>\
             <address type='pci' bus='0' slot='{slot}'/></disk>"
        )
    };
    let data = "<dataStore type='file'><format type='raw'/><source file='/d'/></dataStore>";
    // One as the definition has it, one as it was found in the image.
    let mut found = Found::default();
    let parsed: model::domain::devices::disk::Disk =
        xml::read_str(&disk(data, "vda", 3), "disk").value.expect("a disk");
    let store = parsed.source.and_then(|source| source.data_store).expect("a data file");
    found.data_stores.insert("vdb".to_owned(), *store);
    let root = "<controller type='pci' index='0' model='pcie-root'/>".to_owned();
    let words = arguments(&(root + &disk(data, "vda", 3) + &disk("", "vdb", 4)), &found);
    let nodes: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| word.contains("node-name")).collect();
    let numbers = |word: &str| -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(word).expect("JSON");
        ["node-name", "file", "data-file"]
            .iter()
            .filter_map(|name| value.get(name)?.as_str().map(str::to_owned))
            .collect()
    };
    let nodes: Vec<Vec<String>> = nodes.into_iter().map(numbers).collect();
    let image = |n: u32, data: u32| {
        let format = ["format", "storage"].map(|kind| format!("libvirt-{n}-{kind}"));
        let data = format!("libvirt-{data}-storage");
        [
            vec![data.clone()],
            vec![format[1].clone()],
            vec![format[0].clone(), format[1].clone(), data],
        ]
    };
    assert_eq!(nodes, [image(2, 3), image(1, 4)].concat());
}

#[test]
fn memory_devices_ask_the_board_in_their_order() {
    let enclave = |node: &str| {
        format!(
            "<memory model='sgx-epc'><target><size unit='MiB'>16</size>{node}</target></memory>"
        )
    };
    let module = "<memory model='nvdimm'><source><path>/n</path></source><target>\
                  <size unit='MiB'>512</size><node>0</node></target></memory>";
    let words = board(&(enclave("") + module + &enclave("<node>0</node>")));
    let asked: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| word.starts_with("sgx") || word.starts_with("nvdimm"))
        .collect();
    let expected = [
        "sgx-epc.0.memdev=memepc0",
        "sgx-epc.0.node=0",
        "nvdimm=on",
        "sgx-epc.1.memdev=memepc1",
        "sgx-epc.1.node=0",
    ];
    assert_eq!(asked, expected);
}
