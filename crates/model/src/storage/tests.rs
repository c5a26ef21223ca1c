//! Pools and volumes read and written: what libvirt 11.3 makes of the same texts.

use super::{Parsing, Pool, PoolType, Volume, fuzz_one};
use diag::{ErrorCode, ErrorDomain, Severity, VirError};

const SIZES: &str = "  <capacity unit='bytes'>0</capacity>\n  \
                     <allocation unit='bytes'>0</allocation>\n  \
                     <available unit='bytes'>0</available>\n";

/// Reads a pool `p` of `kind` with this content and compares what is written after the sizes.
#[track_caller]
fn pool(kind: &str, content: &str, expected: &str) {
    let text = format!("<pool type='{kind}'><name>p</name>{content}</pool>");
    let parsed = Pool::parse(&text);
    let Some(pool) = parsed.value else { panic!("{text}\n{:?}", parsed.diagnostics) };
    let written = pool.to_xml(0);
    let expected = format!("<pool type='{kind}'>\n  <name>p</name>\n{SIZES}{expected}</pool>\n");
    assert_eq!(written, expected);
    assert_eq!(Pool::parse(&written).value, Some(pool), "what is written is read again");
}

fn first_error(diagnostics: Vec<diag::Diagnostic>) -> (ErrorCode, String) {
    assert!(diagnostics.iter().any(|d| d.severity == Severity::Error), "no fault was found");
    let error = VirError::from_diagnostics(ErrorDomain::STORAGE, diagnostics, None);
    (error.code, error.detail)
}

#[track_caller]
fn refused_pool(text: &str, code: ErrorCode, message: &str) {
    let parsed = Pool::parse(text);
    assert_eq!(parsed.value, None, "{text}");
    let (found, detail) = first_error(parsed.diagnostics);
    assert_eq!((found, detail.lines().next()), (code, Some(message)), "{text}");
}

#[test]
fn folders() {
    let plain = "  <source>\n  </source>\n  <target>\n    <path>/x</path>\n  </target>\n";
    for content in [
        "<target><path>///x//</path></target>",
        "<features/><target><path>/x</path><permissions/></target>",
        "<features><cow/></features><target><path>/x</path></target>",
        "<capacity unit='G'>1</capacity><source><name>n</name><format type='f'/><dir path='/y'/>\
         <host name='h'/></source><target><path>/x</path></target>",
    ] {
        pool("dir", content, plain);
    }
    pool(
        "dir",
        "<target><path>/a&lt;b</path><permissions><mode>0</mode><owner>0744</owner>\
         <group>-1</group><label>l</label></permissions></target>\
         <source><vendor name='v'/><product name='w'/></source>\
         <features><cow state='no'/></features>",
        "  <features>\n    <cow state='no'/>\n  </features>\n  <source>\n    <vendor name='v'/>\n    \
         <product name='w'/>\n  </source>\n  <target>\n    <path>/a&lt;b</path>\n    \
         <permissions>\n      <mode>00</mode>\n      <owner>744</owner>\n      <label>l</label>\n    \
         </permissions>\n  </target>\n",
    );
}

#[test]
fn defaults_of_the_types() {
    let target = "  <target>\n    <path>/x</path>\n  </target>\n";
    let given = "<target><path>/x</path></target>";
    pool(
        "fs",
        &format!("<source><device path='/d'/><name>n</name></source>{given}"),
        &format!(
            "  <source>\n    <device path='/d'/>\n    <format type='auto'/>\n  </source>\n{target}"
        ),
    );
    pool(
        "netfs",
        &format!(
            "<source><protocol ver='4.1'/><format type='nfs'/><dir path='/y/'/>\
             <host name='h' port='2049'/></source>{given}"
        ),
        &format!(
            "  <source>\n    <host name='h' port='2049'/>\n    <dir path='/y'/>\n    \
             <format type='nfs'/>\n    <protocol ver='4.1'/>\n  </source>\n{target}"
        ),
    );
    pool(
        "logical",
        given,
        "  <source>\n    <name>p</name>\n    <format type='lvm2'/>\n  </source>\n  <target>\n    \
         <path>/dev/p</path>\n  </target>\n",
    );
    pool(
        "zfs",
        "<source><name>tank</name></source>",
        "  <source>\n    <name>tank</name>\n  </source>\n  <target>\n    \
         <path>/dev/zvol/tank</path>\n  </target>\n",
    );
    pool(
        "gluster",
        &format!("<source><name>v</name><host name='h'/></source>{given}"),
        "  <source>\n    <host name='h'/>\n    <dir path='/'/>\n    <name>v</name>\n  </source>\n",
    );
    pool(
        "disk",
        &format!(
            "<source><device path='/d' part_separator='no'><freeExtent start='1' end='2'/></device>\
             </source>{given}"
        ),
        &format!(
            "  <source>\n    <device path='/d' part_separator='no'/>\n    \
             <format type='unknown'/>\n  </source>\n{target}"
        ),
    );
    pool(
        "scsi",
        &format!(
            "<source><adapter type='scsi_host'><parentaddr unique_id='1'>\
             <address domain='0' bus='0' slot='0x1f' function='2'/></parentaddr></adapter>\
             </source>{given}"
        ),
        &format!(
            "  <source>\n    <adapter type='scsi_host'>\n      <parentaddr unique_id='1'>\n        \
             <address domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/>\n      \
             </parentaddr>\n    </adapter>\n  </source>\n{target}"
        ),
    );
}

#[test]
fn options_have_namespaces() {
    let text = "<pool type='fs' xmlns:z='http://libvirt.org/schemas/storagepool/fs/1.0'>\
                <name>p</name><source><device path='/d'/></source>\
                <target><path>/x</path></target>\
                <z:mount_opts><z:option name='sync'/></z:mount_opts></pool>";
    let written = Pool::parse(text).value.expect("a pool").to_xml(0);
    assert!(
        written.starts_with(
            "<pool type='fs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>\n"
        ) && written.ends_with(
            "  <fs:mount_opts>\n    <fs:option name='sync'/>\n  </fs:mount_opts>\n</pool>\n"
        ),
        "{written}"
    );
    let dir = text.replace("'fs' ", "'dir' ");
    assert!(!Pool::parse(&dir).value.expect("a pool").to_xml(0).contains("mount_opts"));
}

#[test]
fn faults_of_pools() {
    let xml = ErrorCode::XML_ERROR;
    let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
    for (text, code, message) in [
        ("<foo/>", xml, "expecting root element of 'pool', not 'foo'"),
        ("<pool/>", xml, "Missing required attribute 'type' in element 'pool'"),
        ("<pool type='foo'/>", xml, "Invalid value for attribute 'type' in element 'pool': 'foo'."),
        ("<pool type='dir'/>", xml, "missing pool source name element"),
        ("<pool type='dir'><name>p</name></pool>", xml, "missing storage pool target path"),
        (
            "<pool type='dir'><name>p/q</name><target><path>/x</path></target></pool>",
            xml,
            "name p/q cannot contain '/'",
        ),
        (
            "<pool type='dir'><name>p\nq</name><target><path>/x</path></target></pool>",
            ErrorCode::XML_DETAIL,
            "invalid char in name: ",
        ),
        (
            "<pool type='dir'><name>p</name><uuid>x</uuid><target><path>/x</path></target></pool>",
            xml,
            "malformed uuid element",
        ),
        (
            "<pool type='dir'><name>p</name><target><path>/x</path><permissions><mode>01777</mode>\
             </permissions></target></pool>",
            xml,
            "malformed octal mode",
        ),
        (
            "<pool type='dir'><name>p</name><target><path>/x</path><permissions><owner>-2</owner>\
             </permissions></target></pool>",
            xml,
            "malformed owner element",
        ),
        (
            "<pool type='fs'><name>p</name><source><device path='/d'/><format type='ext5'/>\
             </source><target><path>/x</path></target></pool>",
            unsupported,
            "unknown pool format type ext5",
        ),
        (
            "<pool type='netfs'><name>p</name><source><dir path='/x'/></source><target>\
             <path>/x</path></target></pool>",
            xml,
            "missing storage pool source host name",
        ),
        (
            "<pool type='rbd'><name>p</name><source><host name='h'/></source></pool>",
            xml,
            "element 'name' is mandatory for RBD pool",
        ),
        (
            "<pool type='rbd'><name>p</name><source><name>r</name><host name='h'/>\
             <auth type='zz' username='u'><secret usage='s'/></auth></source></pool>",
            unsupported,
            "unknown auth type 'zz'",
        ),
        (
            "<pool type='scsi'><name>p</name><source><adapter type='fc_host' wwnn='1'/></source>\
             <target><path>/x</path></target></pool>",
            xml,
            "'wwnn' and 'wwpn' must be specified for adapter type 'fchost'",
        ),
    ] {
        refused_pool(text, code, message);
    }
}

#[test]
fn all_faults_come_at_once() {
    let parsed = Pool::parse(
        "<pool type='dir'><name>p</name><uuid>x</uuid><target><path>/x</path><permissions>\
         <mode>9</mode><owner>o</owner></permissions></target></pool>",
    );
    let errors = parsed.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    assert_eq!(errors.count(), 3);
}

#[test]
fn what_is_asked_of_every_type() {
    let target = "<target><path>/p</path></target>";
    for (kind, more, code, words) in [
        (
            "netfs",
            "<features><cow state='no'/></features>",
            ErrorCode::NO_SUPPORT,
            "cow feature may only be used for 'fs' and 'dir' pools",
        ),
        (
            "dir",
            "<source><adapter><parentaddr unique_id='1'/></adapter></source>",
            ErrorCode::XML_ERROR,
            "Use of 'parentaddr' element requires use of the adapter 'type'",
        ),
        (
            "dir",
            "<source><adapter type='scsi_host'><parentaddr/></adapter></source>",
            ErrorCode::XML_ERROR,
            "Missing or invalid scsi adapter 'unique_id' value",
        ),
        (
            "dir",
            "<source><auth type='x' username='a'><secret uuid='x'/></auth></source>",
            ErrorCode::CONFIG_UNSUPPORTED,
            "unknown auth type 'x'",
        ),
    ] {
        let text = format!("<pool type='{kind}'><name>p</name>{more}{target}</pool>");
        refused_pool(&text, code, words);
    }
}

#[test]
fn a_state_file_is_read_back() {
    let text = "<pool type='dir'><name>p</name><target><path>/x</path></target></pool>";
    let pool = Pool::parse(text).value.expect("a pool");
    let state = pool.to_state_xml();
    assert!(state.contains("\n    <source>\n    </source>\n"), "{state}");
    assert_eq!(Pool::parse_state(&state).value, Some(pool));
}

#[track_caller]
fn volume(content: &str, expected: &str) {
    let text = format!("<volume><name>v</name>{content}</volume>");
    let parsed = Volume::parse(&text, PoolType::Dir, Parsing::default());
    let Some(volume) = parsed.value else { panic!("{text}\n{:?}", parsed.diagnostics) };
    let expected = format!("<volume type='file'>\n  <name>v</name>\n{expected}</volume>\n");
    assert_eq!(volume.to_xml(), expected);
}

#[test]
fn volumes() {
    volume(
        "<capacity unit='GB'>10</capacity><allocation unit='MiB'>0</allocation>",
        "  <capacity unit='bytes'>10000000000</capacity>\n  <allocation unit='bytes'>0</allocation>\n  \
         <target>\n    <format type='raw'/>\n  </target>\n",
    );
    volume(
        "<capacity>1</capacity><target><format type='qcow2'/><features><extended_l2/>\
         <lazy_refcounts/></features><clusterSize unit='K'>128</clusterSize><nocow/>\
         <encryption format='luks'/></target>\
         <backingStore><path>/b</path><format type='raw'/></backingStore>",
        "  <capacity unit='bytes'>1</capacity>\n  <allocation unit='bytes'>1</allocation>\n  \
         <target>\n    <format type='qcow2'/>\n    <encryption format='luks'>\n    </encryption>\n    \
         <compat>1.1</compat>\n    <nocow/>\n    <clusterSize unit='B'>131072</clusterSize>\n    \
         <features>\n      <lazy_refcounts/>\n      <extended_l2/>\n    </features>\n  </target>\n  \
         <backingStore>\n    <path>/b</path>\n    <format type='raw'/>\n  </backingStore>\n",
    );
}

#[test]
fn faults_of_volumes() {
    let xml = ErrorCode::XML_ERROR;
    let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
    for (text, code, message) in [
        ("<foo/>", xml, "expecting root element of 'volume', not 'foo'"),
        ("<volume/>", xml, "missing volume name element"),
        ("<volume><name>v</name></volume>", xml, "missing capacity element"),
        (
            "<volume><name>v</name><capacity>x</capacity></volume>",
            xml,
            "malformed capacity element",
        ),
        (
            "<volume><name>v</name><capacity unit='zz'>1</capacity></volume>",
            ErrorCode::INVALID_ARG,
            "unknown suffix 'zz'",
        ),
        (
            "<volume><name>v</name><capacity unit='E'>100</capacity></volume>",
            ErrorCode::OVERFLOW,
            "value too large: 100E",
        ),
        (
            "<volume type='zz'><name>v</name><capacity>1</capacity></volume>",
            unsupported,
            "unknown volume type 'zz'",
        ),
        (
            "<volume><name>v</name><capacity>1</capacity><target><format type='qcow3'/></target>\
             </volume>",
            unsupported,
            "unknown volume format type qcow3",
        ),
        (
            "<volume><name>v</name><capacity>1</capacity><target><compat>zz</compat></target>\
             </volume>",
            xml,
            "forbidden characters in 'compat' attribute",
        ),
        (
            "<volume><name>v</name><capacity>1</capacity><target><features><foo/></features>\
             </target></volume>",
            unsupported,
            "unsupported feature foo",
        ),
        (
            "<volume><name>v</name><capacity>1</capacity><target><encryption format='zz'/>\
             </target></volume>",
            unsupported,
            "unknown volume encryption format type zz",
        ),
    ] {
        let parsed = Volume::parse(text, PoolType::Dir, Parsing::default());
        assert_eq!(parsed.value, None, "{text}");
        let (found, detail) = first_error(parsed.diagnostics);
        assert_eq!((found, detail.lines().next()), (code, Some(message)), "{text}");
    }
}

#[test]
fn texts_cut_anywhere_do_no_harm() {
    let text = "<pool type='rbd' xmlns:rbd='http://libvirt.org/schemas/storagepool/rbd/1.0'>\
                <name>p</name><source><name>r</name><host name='h' port='1'/>\
                <auth type='ceph' username='u'><secret usage='s'/></auth></source>\
                <refresh><volume allocation='capacity'/></refresh>\
                <rbd:config_opts><rbd:option name='a' value='b'/></rbd:config_opts></pool>";
    assert!(Pool::parse(text).value.is_some());
    for end in 0..=text.len() {
        fuzz_one(&text.as_bytes()[..end]);
    }
}

#[test]
fn refusals_that_depend_on_the_pools_type() {
    let pool = |kind: &str, source: &str, more: &str| {
        let text = format!(
            "<pool type='{kind}'><name>p</name><source>{source}</source>\
             <target><path>/p</path>{more}</target></pool>"
        );
        let parsed = Pool::parse(&text);
        let first = parsed.diagnostics.into_iter().next();
        first.map(|d| (d.code, d.message)).ok_or(parsed.value.map(|pool| pool.to_xml(0)))
    };
    let internal = diag::ErrorCode::INTERNAL_ERROR;
    let xml = diag::ErrorCode::XML_ERROR;
    for (source, code, words) in [
        ("<adapter/>", xml, "missing storage pool source adapter"),
        (
            "<adapter type='fc_host' wwnn='x' wwpn='10000000c9831b4b'/>",
            internal,
            "Malformed wwn: x",
        ),
        (
            "<adapter type='fc_host' parent_wwpn='x' wwnn='1' wwpn='1'/>",
            xml,
            "when providing parent_wwpn='x', the parent_wwnn must also be provided",
        ),
        (
            "<adapter type='scsi_host'><parentaddr unique_id='1'><address slot='0x3f'/>\
             </parentaddr></adapter>",
            xml,
            "Invalid PCI address slot='0x3f', must be <= 0x1F",
        ),
    ] {
        assert_eq!(pool("scsi", source, ""), Ok((code, words.to_owned())));
    }
    // A target that the type does not have is not even read.
    let bad = "<permissions><mode>9</mode></permissions>";
    assert!(pool("rbd", "<name>r</name><host name='h'/>", bad).is_err());
    assert!(pool("dir", "", bad).is_ok());
    let text = "<pool type='zfs'><name>z</name><features><cow state='yes'/></features></pool>";
    assert_eq!(Pool::parse(text).diagnostics[0].code, diag::ErrorCode::NO_SUPPORT);
}

#[test]
fn refusals_of_volumes_have_libvirts_codes_and_words() {
    let (xml, unsupported) = (diag::ErrorCode::XML_ERROR, diag::ErrorCode::CONFIG_UNSUPPORTED);
    let luks = |inner: &str| {
        format!(
            "<capacity>1</capacity><target><encryption format='luks' {inner}</encryption></target>"
        )
    };
    for (inner, code, words) in [
        ("<capacity/>".to_owned(), xml, "missing capacity element"),
        (
            "<capacity>1</capacity><allocation>x</allocation>".to_owned(),
            xml,
            "malformed capacity element",
        ),
        (
            "<capacity>1</capacity><target><format type='none'/></target>".to_owned(),
            unsupported,
            "unknown volume format type none",
        ),
        (
            "<capacity>1</capacity><target><compat>1.1.1</compat></target>".to_owned(),
            xml,
            "forbidden characters in 'compat' attribute",
        ),
        (luks("><secret/>"), xml, "unknown volume encryption secret type"),
        (luks("><secret type='foo'/>"), unsupported, "unknown volume encryption secret type foo"),
        (luks("><secret type='passphrase' uuid='x'/>"), xml, "invalid secret uuid 'x'"),
        (
            luks("engine='foo'>"),
            xml,
            "Invalid value for attribute 'engine' in element 'encryption': 'foo'.",
        ),
        (luks("><cipher size='256'/>"), xml, "cipher info missing 'name' attribute"),
        (luks("><ivgen name='a'/>"), xml, "ivgen element found, but cipher is missing"),
    ] {
        let text = format!("<volume><name>t</name>{inner}</volume>");
        let parsed = Volume::parse(&text, PoolType::Dir, Parsing::default());
        assert!(parsed.value.is_none(), "{text}");
        let first = &parsed.diagnostics[0];
        assert_eq!((first.code, first.message.as_str()), (code, words), "{text}");
    }
}
