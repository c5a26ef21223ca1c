//! Checkpoints: alignment and refusals.

use super::{Parsing, format, parse};
use diag::ErrorCode;
use xml::WriteOptions;

const NEW: Parsing = Parsing { redefine: false };
const OLD: Parsing = Parsing { redefine: true };

fn disks(text: &str) -> Vec<crate::domain::devices::disk::Disk> {
    text.split_whitespace()
        .map(|word| {
            let (name, more) = word.split_once('=').unwrap_or((word, ""));
            let source = if more == "empty" { "" } else { "<source file='/i'/>" };
            let readonly = if more == "ro" { "<readonly/>" } else { "" };
            let source = source.replace("/i", &format!("/i/{name}"));
            let xml = format!("<disk>{source}<target dev='{name}'/>{readonly}</disk>");
            xml::read_str(&xml, "disk").value.expect("a disk")
        })
        .collect()
}

fn aligned(inner: &str, domain: &str) -> Result<String, String> {
    let text = format!("<domaincheckpoint><name>c</name>{inner}</domaincheckpoint>");
    let parsed = parse(&text, NEW);
    let mut checkpoint = parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics));
    checkpoint.align(&disks(domain)).map_err(|error| error.detail)?;
    let written = format(&checkpoint, &WriteOptions::default());
    let lines = written.lines().map(str::trim_start).filter(|line| line.starts_with("<disk "));
    Ok(lines.collect())
}

#[test]
fn disks_are_brought_in_line() {
    for (inner, expected) in [
        (
            "",
            "<disk name='vda' checkpoint='bitmap' bitmap='c'/>\
             <disk name='vdb' checkpoint='bitmap' bitmap='c'/>\
             <disk name='sdc' checkpoint='no'/>",
        ),
        (
            "<disks><disk name='/i/vdb' bitmap='q' size='7'/></disks>",
            "<disk name='vda' checkpoint='no'/>\
             <disk name='vdb' checkpoint='bitmap' bitmap='q'/>\
             <disk name='sdc' checkpoint='no'/>",
        ),
    ] {
        assert_eq!(aligned(inner, "vda vdb sdc=ro").as_deref(), Ok(expected));
    }
    for (names, expected) in [
        ("vda vda", "disk 'vda' specified twice"),
        ("vdx", "no disk named 'vdx'"),
        ("sdc", "disk 'sdc' is empty or readonly"),
        ("vda vdb sdc sdd", "too many disk checkpoint requests for domain"),
    ] {
        let list: String = names.split(' ').map(|n| format!("<disk name='{n}'/>")).collect();
        let result = aligned(&format!("<disks>{list}</disks>"), "vda vdb sdc=empty");
        assert_eq!(result, Err(expected.to_owned()));
    }
}

#[test]
fn refusals_have_libvirts_codes() {
    let schema = ErrorCode::XML_INVALID_SCHEMA;
    for (inner, parsing, code) in [
        ("<foo/>", NEW, schema),
        ("<name>a b</name>", NEW, schema),
        ("<disks/>", NEW, schema),
        ("<disks><disk/></disks>", NEW, schema),
        ("<disks><disk name='zz'/></disks>", NEW, schema),
        ("<disks><disk name='vda' checkpoint='foo'/></disks>", NEW, schema),
        ("<disks><disk name='vda' checkpoint='no' bitmap='b'/></disks>", NEW, schema),
        ("<creationTime>5</creationTime>", OLD, ErrorCode::XML_ERROR),
        ("<name>c</name>", OLD, ErrorCode::INTERNAL_ERROR),
    ] {
        let text = format!("<domaincheckpoint>{inner}</domaincheckpoint>");
        let parsed = parse(&text, parsing);
        assert!(parsed.value.is_none(), "{text}");
        assert_eq!(parsed.diagnostics[0].code, code, "{text}");
    }
}

#[test]
fn what_was_there_before_is_brought_in_line_with_the_domain_of_then() {
    let redefined = |more: &str| {
        let text = format!(
            "<domaincheckpoint><name>c</name><creationTime>5</creationTime>{more}\
             </domaincheckpoint>"
        );
        let parsed = parse(&text, OLD);
        let mut checkpoint =
            parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics));
        checkpoint.align_redefined().expect("they fit");
        checkpoint.domain = crate::domain::Inside::None;
        let written = format(&checkpoint, &WriteOptions::default());
        written.lines().map(str::trim_start).filter(|l| l.starts_with("<disk ")).collect::<String>()
    };
    let domain = "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
                  <devices><disk><source file='/a'/><target dev='vda'/></disk>\
                  <disk><source file='/b'/><target dev='vdb'/></disk></devices></domain>";
    let listed = "<disks><disk name='ioemu:hda'/></disks>";
    assert_eq!(redefined(""), "");
    assert_eq!(redefined(listed), "<disk name='ioemu:hda' checkpoint='bitmap' bitmap='c'/>");
    assert_eq!(
        redefined(&format!("<disks><disk name='vdb'/></disks>{domain}")),
        "<disk name='vda' checkpoint='no'/><disk name='vdb' checkpoint='bitmap' bitmap='c'/>"
    );
}

#[test]
fn nothing_is_its_own_parent() {
    let text = "<domaincheckpoint><name>c</name><creationTime>5</creationTime><parent><name>c</name>\
                </parent></domaincheckpoint>";
    let mut checkpoint = parse(text, OLD).value.expect("readable");
    let refused = checkpoint.align_redefined().expect_err("refused");
    assert_eq!(refused.detail, "cannot set moment c as its own parent");
}

#[test]
fn the_schema_is_asked_first() {
    for (inner, code) in [
        ("<foo/>", ErrorCode::XML_INVALID_SCHEMA),
        ("<name>c</name><disks><disk name='x'/></disks>", ErrorCode::XML_INVALID_SCHEMA),
        ("<name>c</name><creationTime>-1</creationTime>", ErrorCode::XML_INVALID_SCHEMA),
        ("<disks><disk name='vda'/></disks>", ErrorCode::XML_ERROR),
        ("<name>c</name><disks><disk name='a:\\b'/></disks>", ErrorCode::INTERNAL_ERROR),
    ] {
        let text = format!("<domaincheckpoint>{inner}</domaincheckpoint>");
        assert_eq!(parse(&text, OLD).diagnostics[0].code, code, "{text}");
    }
}
