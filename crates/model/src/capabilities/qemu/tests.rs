//! A small conversation of our own, and what must be read from it.

use super::*;

const TALK: &str = r#"
{"execute":"qmp_capabilities","id":"a"} {"return":{},"id":"a"}
{"execute":"query-version","id":"b"}
{"return":{"qemu":{"major":9,"minor":1,"micro":2},"package":"test"},"id":"b"}
{"event":"STOP","timestamp":{"seconds":0,"microseconds":0}}
{"execute":"query-target","id":"c"} {"return":{"arch":"i386"},"id":"c"}
{"execute":"query-kvm"} {"return":{"enabled":false,"present":true}}
{"execute":"query-qmp-schema"} {"return":[
 {"name":"blockdev-add","meta-type":"command","arg-type":"1","ret-type":"0"},
 {"name":"1","meta-type":"object","tag":"driver","members":[{"name":"driver","type":"2"}],
  "variants":[{"case":"file","type":"3"},{"case":"nvme","type":"0"}]},
 {"name":"2","meta-type":"enum","values":["file","nvme"]},
 {"name":"3","meta-type":"object","members":[{"name":"aio","type":"4"},
  {"name":"drop-cache","type":"bool","features":["unstable"]}]},
 {"name":"4","meta-type":"enum","values":["native"]},
 {"name":"bool","meta-type":"builtin","json-type":"boolean"},
 {"name":"0","meta-type":"object","members":[]},
 {"name":"[5]","meta-type":"array","element-type":"[5]"}]}
{"execute":"qom-list-types"} {"return":[{"name":"usb-hub"},{"name":"VGA"}]}
{"execute":"device-list-properties","arguments":{"typename":"VGA"}}
{"return":[{"name":"vgamem_mb","type":"uint32"}]}
{"execute":"device-list-properties","arguments":{"typename":"qxl"}}
{"error":{"class":"DeviceNotFound","desc":"none"}}
{"execute":"query-machines"} {"return":[{"name":"none","cpu-max":1},
 {"name":"isapc","cpu-max":1,"hotpluggable-cpus":true},
 {"name":"pc-9","alias":"pc","is-default":true,"cpu-max":255,"default-ram-id":"pc.ram"}]}
{"execute":"query-cpu-definitions"} {"return":[
 {"name":"max","typename":"max-i386-cpu","unavailable-features":[]},
 {"name":"big","typename":"big-i386-cpu","unavailable-features":["avx","avx"],"alias-of":""}]}
{"execute":"query-cpu-model-expansion","arguments":{"type":"static","model":{"name":"max"}}}
{"return":{"model":{"name":"base","props":{"avx":true,"invtsc":false,"family":6}}}}
{"execute":"query-cpu-model-expansion",
 "arguments":{"type":"static","model":{"name":"max","props":{"migratable":false}}}}
{"return":{"model":{"name":"base","props":{"avx":true,"invtsc":true,"family":6}}}}
"#;

fn caps() -> QemuCaps {
    let talks = parse_transcript(TALK);
    assert_eq!(talks.len(), 1);
    QemuCaps::from_replies("/bin/q", &talks[0], None).expect("a version and a target")
}

#[test]
fn a_conversation_is_understood() {
    let caps = caps();
    assert_eq!((caps.version, caps.arch.as_str()), ((9, 1, 2), "i686"));
    assert_eq!(caps.version_number(), 9_001_002);
    assert!(caps.kvm.is_none());
    for (flag, expected) in [
        ("usb-hub", true),
        ("VGA", true),
        ("VGA.vgamem_mb", true),
        ("qxl", false),
        ("drive-nvme", true),
        ("migration-file-drop-cache", true),
        ("aio.io_uring", false),
        ("kvm", false),
        ("cpu-max", true),
    ] {
        assert_eq!(caps.has(flag), expected, "{flag}");
    }
    let drivers = caps.backends.get("-blockdev").expect("what blockdev-add takes");
    assert!(drivers.iter().eq(["file", "nvme"]), "{drivers:?}");
    assert_eq!(caps.backends.get("-netdev"), None, "of which nothing was said");
    let machines: Vec<_> = caps.tcg.iter().flat_map(|tcg| &tcg.machines).collect();
    let names: Vec<_> = machines.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["pc-9", "isapc"], "the default comes first, 'none' is left out");
    assert_eq!(caps.machine(Accel::Tcg, "pc").map(|m| m.name.as_str()), Some("pc-9"));
    let big = &caps.tcg.as_ref().expect("TCG").cpus[1];
    assert_eq!((big.usable, big.blockers.len(), &big.alias_of), (Some(false), 1, &None));
}

#[test]
fn unmigratable_features_are_told_apart() {
    let caps = caps();
    let model = caps.tcg.and_then(|tcg| tcg.host_model).expect("a host model");
    let of = |name: &str| model.props.iter().find(|p| p.name == name).and_then(|p| p.migratable);
    assert_eq!((of("avx"), of("invtsc"), of("family")), (Some(true), Some(false), None));
}

#[test]
fn the_cache_knows_what_it_was_made_from() {
    let caps = caps();
    let key = CacheKey { path: "/bin/q".into(), size: 7, ..CacheKey::default() };
    let text = caps.to_cache(&key);
    assert_eq!(QemuCaps::from_cache(&text, &key), Ok(caps));
    let other = CacheKey { size: 8, ..key.clone() };
    assert_eq!(QemuCaps::from_cache(&text, &other), Err(CacheError::Stale));
    let cut = &text[..text.len() / 2];
    assert!(matches!(QemuCaps::from_cache(cut, &key), Err(CacheError::Malformed(_))));
}

#[test]
fn broken_answers_are_refused_not_fatal() {
    let no_target = r#"{"execute":"query-version"} {"return":{"qemu":{"major":"x"}}}"#;
    let talks = parse_transcript(no_target);
    let error = QemuCaps::from_replies("/bin/q", &talks[0], None).expect_err("no target");
    assert_eq!(error.command, "query-target");
    for cut in (0..TALK.len()).step_by(97).filter(|cut| TALK.is_char_boundary(*cut)) {
        fuzz_one(&TALK.as_bytes()[..cut]);
    }
}
