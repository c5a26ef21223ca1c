//! Secrets: every usage, and refusals.

use super::{format, parse};
use diag::ErrorCode;
use xml::WriteOptions;

fn check(input: &str, expected: &str) {
    let parsed = parse(input);
    let secret = parsed.value.unwrap_or_else(|| panic!("{input}: {:?}", parsed.diagnostics));
    assert_eq!(format(&secret, &WriteOptions::default()), expected, "{input}");
}

fn refused(input: &str, code: ErrorCode, message: &str) {
    let parsed = parse(input);
    assert!(parsed.value.is_none(), "{input}");
    let first = &parsed.diagnostics[0];
    assert_eq!((first.code, first.message.as_str()), (code, message), "{input}");
    assert!(first.span.is_some());
}

#[test]
fn every_usage() {
    for (kind, element) in [
        ("volume", "volume"),
        ("ceph", "name"),
        ("iscsi", "target"),
        ("tls", "name"),
        ("vtpm", "name"),
    ] {
        check(
            &format!(
                "<secret private='yes'><usage type='{kind}'><{element}>/a&lt;b</{element}></usage>\
                 <description>d</description></secret>"
            ),
            &format!(
                "<secret ephemeral='no' private='yes'>\n  <description>d</description>\n  \
                 <usage type='{kind}'>\n    <{element}>/a&lt;b</{element}>\n  </usage>\n</secret>\n"
            ),
        );
    }
    check(
        "<secret><usage type='none'/></secret>",
        "<secret ephemeral='no' private='no'>\n</secret>\n",
    );
    let uuid = "<secret ephemeral='yes'><uuid>22E1353DC27E4D6DBF15465053E6BA0B</uuid></secret>";
    check(
        uuid,
        "<secret ephemeral='yes' private='no'>\n  \
         <uuid>22e1353d-c27e-4d6d-bf15-465053e6ba0b</uuid>\n</secret>\n",
    );
}

#[test]
fn refusals_have_libvirts_codes_and_words() {
    let internal = ErrorCode::INTERNAL_ERROR;
    let xml = ErrorCode::XML_ERROR;
    refused("<secrt/>", xml, "expecting root element of 'secret', not 'secrt'");
    refused("<secret ephemeral='x'/>", xml, "invalid value of 'ephemeral'");
    refused("<secret private='x'/>", xml, "invalid value of 'private'");
    refused("<secret><uuid>zz</uuid></secret>", internal, "malformed uuid element");
    refused(
        "<secret><usage/></secret>",
        xml,
        "Missing required attribute 'type' in element 'usage'",
    );
    refused(
        "<secret><usage type='foo'/></secret>",
        xml,
        "Invalid value for attribute 'type' in element 'usage': 'foo'.",
    );
    for (kind, words) in [
        ("volume", "volume usage specified, but volume path is missing"),
        ("ceph", "Ceph usage specified, but name is missing"),
        ("iscsi", "iSCSI usage specified, but target is missing"),
        ("tls", "TLS usage specified, but name is missing"),
        ("vtpm", "vTPM usage specified, but name is missing"),
    ] {
        refused(&format!("<secret><usage type='{kind}'/></secret>"), internal, words);
    }
}

#[test]
fn an_empty_answer_is_none_and_text_is_all_text_inside() {
    check(
        "<secret ephemeral='' private=''><description>a<b>c</b>d</description></secret>",
        "<secret ephemeral='no' private='no'>\n  <description>acd</description>\n</secret>\n",
    );
}

#[test]
fn all_faults_come_at_once() {
    let parsed =
        parse("<secret ephemeral='x' private='y'><uuid>z</uuid><usage type='q'/></secret>");
    assert_eq!(parsed.diagnostics.len(), 4);
}
