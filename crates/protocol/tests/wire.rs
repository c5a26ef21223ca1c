//! Messages against bytes known from real connections, the table of facts, and properties.

use proptest::prelude::*;
use protocol::info::{AclWhen, ReadOnly, StreamKind};
use protocol::message::{Header, Kind, Status};
use protocol::{
    Procedure, TypedParam, TypedParamValue, TypedParams, WireError, consts, info, remote,
};
use xdr::{from_slice, to_vec};

#[test]
fn connect_open_as_virsh_sends_it() {
    let args = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 0 };
    let bytes = b"\0\0\0\x01\0\0\0\x0eqemu:///system\0\0\0\0\0\0";
    assert_eq!(to_vec(&args).unwrap(), bytes);
    assert_eq!(from_slice::<remote::ConnectOpenArgs>(bytes).unwrap(), args);
}

#[test]
fn header() {
    let h = Header {
        program: remote::PROGRAM,
        version: 1,
        procedure: 66,
        kind: Kind::CALL,
        serial: 7,
        status: Status::OK,
    };
    let bytes = b"\x20\0\x80\x86\0\0\0\x01\0\0\0\x42\0\0\0\0\0\0\0\x07\0\0\0\0";
    assert_eq!(to_vec(&h).unwrap(), bytes);
    assert_eq!(from_slice::<Header>(bytes).unwrap(), h);
    let mut bad = *bytes;
    bad[15] = 9;
    let kept = from_slice::<Header>(&bad).unwrap();
    assert!(!kept.kind.is_known() && kept.status.is_known());
    assert!(from_slice::<Header>(&bad[..20]).is_err());
}

#[test]
fn node_info_spreads_its_model() {
    let mut ret = remote::NodeGetInfoRet { memory: 1, cpus: 2, ..Default::default() };
    ret.model[..6].copy_from_slice(b"x86_64");
    let bytes = to_vec(&ret).unwrap();
    assert_eq!(bytes.len(), 32 * 4 + 8 + 6 * 4);
    assert_eq!(&bytes[..8], b"\0\0\0x\0\0\x008");
    assert_eq!(from_slice::<remote::NodeGetInfoRet>(&bytes).unwrap(), ret);
}

#[test]
fn typed_parameters() {
    let params = vec![
        TypedParam::new("a", 1i32),
        TypedParam::new("b", u64::MAX),
        TypedParam::new("c", true),
        TypedParam::new("d", "text"),
        TypedParam::new("e", 1.5),
    ];
    let record = remote::DomainStatsRecord { params, ..Default::default() };
    let back: remote::DomainStatsRecord = from_slice(&to_vec(&record).unwrap()).unwrap();
    assert_eq!(back, record);
    assert_eq!(back.params.get_param("b").and_then(TypedParamValue::as_u64), Some(u64::MAX));
    assert_eq!(back.params.get_param("nosuch"), None);
    assert_eq!(back.params[4].value.to_string(), "1.500000");
}

#[test]
fn limits_hold_both_ways() {
    let args = remote::DomainSendKeyArgs { keycodes: vec![1; 17], ..Default::default() };
    assert!(to_vec(&args).is_err());
}

#[test]
fn facts() {
    let i = info(remote::PROGRAM, 209).unwrap();
    assert_eq!((i.name, i.api), ("STORAGE_VOL_DOWNLOAD", "virStorageVolDownload"));
    let stream = i.stream.unwrap();
    assert_eq!(stream.kind, StreamKind::Download);
    assert_eq!(stream.sparse_flag, consts::volume::download::SPARSE_STREAM);
    assert_eq!(i.read_only, ReadOnly::No);
    assert!(info(remote::PROGRAM, 0).is_none());
    assert!(info(remote::PROGRAM, 454).is_none());
    assert!(info(remote::PROGRAM, -1).is_none());
    assert!(info(1, 1).is_none());
    for p in remote::Procedure::ALL {
        assert_eq!(remote::Procedure::try_from(p.number()), Ok(p));
        assert_eq!(p.info().number, p.number());
    }
    assert!(remote::Procedure::try_from(454).is_err());
    assert_eq!(remote::Procedure::DomainCreate.name(), "DOMAIN_CREATE");
    let calls = remote::INFO.iter().filter(|i| !i.event).count();
    assert_eq!((calls, remote::INFO.len()), (400, 453));
}

#[test]
fn read_only_depends_on_flags() {
    use remote::procs::DomainGetXmlDesc;
    let args = |flags| remote::DomainGetXmlDescArgs { flags, ..Default::default() };
    assert!(DomainGetXmlDesc::read_only_admits(&args(consts::domain::xml::INACTIVE)));
    assert!(!DomainGetXmlDesc::read_only_admits(&args(consts::domain::xml::SECURE)));
    assert!(!remote::procs::DomainDestroy::read_only_admits(&Default::default()));
    assert!(remote::procs::ConnectGetHostname::read_only_admits(&()));
    let acl = info(remote::PROGRAM, DomainGetXmlDesc::NUMBER).unwrap().acl;
    assert_eq!(acl[1].when, AclWhen::AnyFlag(consts::domain::xml::SECURE));
    assert!(!acl[1].when.applies(DomainGetXmlDesc::flags(&args(2))));
}

#[test]
fn errors_as_real_daemons_send_them() {
    use diag::{ErrorCode, VirError};
    let e = VirError::new(ErrorCode::NO_DOMAIN, "no domain with matching name 'nosuch'");
    let w = WireError::from(&e);
    assert_eq!((w.code, w.domain, w.level, w.int1, w.int2), (42, 10, 2, -1, -1));
    let text = "Domain not found: no domain with matching name 'nosuch'";
    assert_eq!(w.message.as_deref(), Some(text));
    assert_eq!(w.str1.as_deref(), Some("Domain not found: %1$s"));
    assert_eq!(w.str2.as_deref(), Some("no domain with matching name 'nosuch'"));
    let back: WireError = from_slice(&to_vec(&w).unwrap()).unwrap();
    assert_eq!(VirError::from(back), e);
    let nul = VirError::new(ErrorCode::NO_DOMAIN, "a\0b");
    assert!(to_vec(&WireError::from(&nul)).is_ok());
}

proptest! {
    #[test]
    fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        protocol::fuzzing::fuzz_one(&data);
    }

    #[test]
    fn small_numbers_never_panic(words in proptest::collection::vec(0u32..4, 0..150)) {
        let data: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
        protocol::fuzzing::fuzz_one(&data);
    }
}
