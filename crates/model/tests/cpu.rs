//! CPUs: comparing, updating, translating, baselines. What is expected was seen from libvirtd 11.3.

use model::cpu::{self, Comparison, any_model};

const HOST: &str = "<cpu><arch>x86_64</arch><model>IvyBridge</model><vendor>Intel</vendor>\
    <feature name='vmx'/><feature name='invtsc'/></cpu>";

fn read(text: &str) -> model::domain::cpu::Cpu {
    cpu::read(text).expect("a CPU")
}

fn compared(guest: &str) -> String {
    match cpu::compare("x86_64", &read(HOST), &read(guest)) {
        Ok(Comparison::Identical) => "identical".to_owned(),
        Ok(Comparison::Superset) => "superset".to_owned(),
        Ok(Comparison::Incompatible(reason)) => reason,
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_host_is_compared_with_what_is_asked_for() {
    for (guest, expected) in [
        (HOST, "identical"),
        ("<cpu><model>Penryn</model></cpu>", "superset"),
        ("<cpu/>", "superset"),
        (
            "<cpu><model>Haswell-noTSX</model></cpu>",
            "Host CPU does not provide required features: fma, pcid, movbe, bmi1, avx2, bmi2, invpcid",
        ),
        (
            "<cpu><model>IvyBridge</model><vendor>AMD</vendor></cpu>",
            "host CPU vendor does not match required CPU vendor AMD",
        ),
        (
            "<cpu><arch>ppc64</arch><model>POWER8</model></cpu>",
            "CPU arch ppc64 does not match host arch",
        ),
        (
            "<cpu match='strict'><model>IvyBridge</model><feature policy='force' name='svm'/></cpu>",
            "Host CPU does not strictly match guest CPU: Extra features: vmx, invtsc",
        ),
        (
            "<cpu><model>Penryn</model><feature policy='forbid' name='aes'/></cpu>",
            "Host CPU provides forbidden features: aes",
        ),
        (
            "<cpu><model>Haswell-noTSX</model><feature policy='disable' name='fma'/>\
          <feature policy='optional' name='pcid'/><feature policy='force' name='movbe'/>\
          <feature policy='disable' name='bmi1'/><feature policy='disable' name='avx2'/>\
          <feature policy='disable' name='bmi2'/><feature policy='disable' name='invpcid'/></cpu>",
            "superset",
        ),
        ("<cpu><model>NoSuch</model></cpu>", "Unknown CPU model NoSuch"),
        ("<cpu><model>Penryn</model><feature name='sse3'/></cpu>", "Unknown CPU feature sse3"),
    ] {
        assert_eq!(compared(guest), expected, "{guest}");
    }
}

#[test]
fn bad_documents_are_refused_in_libvirts_words() {
    for (text, expected) in [
        ("<cpu mode='foo'/>", "Invalid mode attribute 'foo'"),
        ("<cpu><model fallback='foo'>x</model></cpu>", "Invalid fallback attribute"),
        (
            "<cpu><model vendor_id='foo'>x</model></cpu>",
            "vendor_id must be exactly 12 characters long",
        ),
        ("<cpu><arch>x86_64</arch></cpu>", "Missing CPU model name"),
        ("<cpu><feature name='aes'/></cpu>", "Non-empty feature list specified without CPU model"),
        (
            "<cpu mode='custom'><arch>x86_64</arch><model>x</model></cpu>",
            "Attribute mode is only allowed for guest CPU",
        ),
        ("<cpu><arch>nosuch</arch><model>x</model></cpu>", "Unknown architecture nosuch"),
        (
            "<cpu><model>x</model><feature name='a'/><feature name='a'/></cpu>",
            "CPU feature 'a' specified more than once",
        ),
        ("<cpu><model>x</model><feature/></cpu>", "Invalid CPU feature name"),
        (
            "<cpu><arch>i686</arch><model>x</model><topology sockets='0' cores='1' threads='1'/></cpu>",
            "Invalid value for attribute 'sockets' in element 'topology': Zero is not permitted",
        ),
    ] {
        assert_eq!(cpu::read(text).expect_err(text).to_string(), expected, "{text}");
    }
}

#[test]
fn host_model_becomes_the_hosts_cpu() {
    let mut guest = read(
        "<cpu mode='host-model'><feature policy='disable' name='vmx'/>\
        <feature policy='optional' name='avx2'/></cpu>",
    );
    let host = cpu::migratable("x86_64", &read(HOST)).expect("known");
    cpu::update("x86_64", &mut guest, &host).expect("known");
    assert_eq!(
        cpu::write(&guest),
        "<cpu mode='custom' match='exact'>\n  \
           <model fallback='allow'>IvyBridge</model>\n  \
           <vendor>Intel</vendor>\n  \
           <feature policy='disable' name='vmx'/>\n  \
           <feature policy='disable' name='avx2'/>\n</cpu>\n"
    );
}

#[test]
fn a_model_the_hypervisor_lacks_is_replaced() {
    let mut guest =
        read("<cpu><model>SandyBridge</model><feature policy='disable' name='avx'/></cpu>");
    let known =
        |name: &str| -> Option<&[String]> { ["Westmere", "Penryn"].contains(&name).then_some(&[]) };
    cpu::translate("x86_64", &mut guest, &known).expect("a model");
    let text = cpu::write(&guest);
    assert!(text.contains(">Westmere<") && text.contains("policy='disable' name='avx'"), "{text}");
    let mut firm = read("<cpu><model fallback='forbid'>SandyBridge</model></cpu>");
    let error = cpu::translate("x86_64", &mut firm, &known).expect_err("refused");
    assert_eq!(error.to_string(), "CPU model SandyBridge is not supported by hypervisor");
}

#[test]
fn a_baseline_is_what_all_have() {
    let host = |inner: &str| read(&format!("<cpu><arch>x86_64</arch>{inner}</cpu>"));
    for (cpus, expected) in [
        (vec!["<model>Penryn</model>", "<model>EPYC</model>"], "kvm64 allow ssse3 sse4.1 lahf_lm"),
        (vec!["<model>EPYC</model>", "<model>Penryn</model>"], "Penryn allow"),
        (vec!["<model>Opteron_G3</model>"], "Opteron_G3 forbid -monitor"),
        (
            vec![
                "<model>Haswell</model><vendor>Intel</vendor>",
                "<model>IvyBridge</model><vendor>Intel</vendor>",
            ],
            "SandyBridge allow fsgsbase smep erms",
        ),
        (
            vec!["<model>EPYC-v4</model>"],
            "EPYC-IBPB allow xsaves perfctr_core clzero xsaveerptr npt nrip-save -monitor",
        ),
        (
            vec!["<model>EPYC</model><vendor>AMD</vendor>", "<model>Penryn</model>"],
            "CPU vendors do not match",
        ),
        (
            vec!["<model>Penryn</model>", "<model>EPYC</model><vendor>Intel</vendor>"],
            "CPU vendor AMD of model EPYC differs from vendor Intel",
        ),
    ] {
        let read: Vec<_> = cpus.iter().map(|inner| host(inner)).collect();
        let found = match cpu::baseline("x86_64", &read, false, &any_model) {
            Err(error) => error.to_string(),
            Ok(found) => {
                let model = found.model.expect("a model");
                let word = if model.fallback == Some(model::domain::cpu::CpuFallback::Allow) {
                    "allow"
                } else {
                    "forbid"
                };
                let mut words = vec![model.name.unwrap_or_default(), word.to_owned()];
                words.extend(found.features.into_iter().map(|feature| {
                    let off = feature.policy == Some(model::domain::cpu::CpuFeaturePolicy::Disable);
                    format!("{}{}", if off { "-" } else { "" }, feature.name)
                }));
                words.join(" ")
            }
        };
        assert_eq!(found, expected, "{cpus:?}");
    }
}

#[test]
fn power_and_arm_follow_their_own_rules() {
    let power = |inner: &str| read(&format!("<cpu><arch>ppc64</arch>{inner}</cpu>"));
    let host = power("<model>POWER8</model><vendor>IBM</vendor>");
    for (guest, fits) in [
        ("<cpu><model>POWER8</model></cpu>", true),
        ("<cpu><model>POWER8_v1.0</model></cpu>", true),
        ("<cpu><model>POWER7</model></cpu>", false),
        ("<cpu mode='host-model'><model>power7</model></cpu>", true),
        ("<cpu mode='host-model'><model>power9</model></cpu>", false),
    ] {
        let found = cpu::compare("ppc64", &host, &read(guest)).expect("known");
        assert_eq!(found == Comparison::Identical, fits, "{guest}");
    }
    let other = power("<model>POWER7</model>");
    let error = cpu::baseline("ppc64", &[host, other], false, &any_model).expect_err("apart");
    assert_eq!(error.to_string(), "CPUs are incompatible");
    assert_eq!(cpu::PpcMap::get().by_pvr(0x004e_1202).map(|model| model.name), Some("POWER9"));
    assert_eq!(
        cpu::ArmMap::get().by_midr(0x41, 0xd0c).map(|model| model.name),
        Some("Neoverse-N1")
    );
    assert_eq!(cpu::models("aarch64").expect("known"), None);
    assert!(cpu::models("mips").is_err());
}
