//! The parser: faults as libvirt's clients know them, limits, and agreement with another parser.

use diag::{ErrorDomain, SourceText, VirError};
use proptest::prelude::*;
use xml::{Document, Element, RawElement};

fn wire(text: &str) -> Option<String> {
    let faults = Document::parse(text).err()?;
    let source = SourceText::new("x", text);
    Some(VirError::from_diagnostics(ErrorDomain::DOMAIN, faults, Some(&source)).message())
}

#[test]
fn faults_have_the_words_and_the_caret_of_libvirt() {
    for (text, expected) in [
        ("foo", "at line 1: Start tag expected, '<' not found\nfoo\n^"),
        ("", "at line 1: Document is empty\n(null)\n^"),
        ("   ", "at line 1: Start tag expected, '<' not found\n   \n---^"),
        (
            "<d>\n<n>x</n></e>",
            "at line 2: Opening and ending tag mismatch: d line 1 and e\n<n>x</n></e>\n------------^",
        ),
        ("<d>\n<n/>", "at line 2: Premature end of data in tag d line 1\n<n/>\n----^"),
        ("<d/><x/>", "at line 1: Extra content at the end of the document\n<d/><x/>\n----^"),
        ("<a b='1' b='2'/>", "at line 1: Attribute b redefined\n<a b='1' b='2'/>\n--------------^"),
        ("<a b=1/>", "at line 1: AttValue: \" or ' expected\n<a b=1/>\n-----^"),
        ("<a>&foo;</a>", "at line 1: Entity 'foo' not defined\n<a>&foo;</a>\n--------^"),
        ("<a>é\t& b</a>", "at line 1: xmlParseEntityRef: no name\n<a>é\t& b</a>\n-----\t-^"),
        ("<a>&lt</a>", "at line 1: EntityRef: expecting ';'\n<a>&lt</a>\n------^"),
        ("<a>&#xZ;</a>", "at line 1: CharRef: invalid hexadecimal value\n<a>&#xZ;</a>\n------^"),
        (
            "<a>&#0;</a>",
            "at line 1: xmlParseCharRef: invalid xmlChar value 0\n<a>&#0;</a>\n-------^",
        ),
        (
            "<a b='<'/>",
            "at line 1: Unescaped '<' not allowed in attributes values\n<a b='<'/>\n------^",
        ),
        ("<a b/>", "at line 1: Specification mandates value for attribute b\n<a b/>\n----^"),
        ("<a b='1'c='2'/>", "at line 1: attributes construct error\n<a b='1'c='2'/>\n--------^"),
        ("<a", "at line 1: Couldn't find end of Start Tag a line 1\n<a\n--^"),
        ("<d>\n<a ", "at line 2: Couldn't find end of Start Tag a line 2\n<a \n---^"),
        ("<a b='1'", "at line 1: attributes construct error\n<a b='1'\n--------^"),
        ("<a b='1'/", "at line 1: attributes construct error\n<a b='1'/\n--------^"),
        ("<1/>", "at line 1: StartTag: invalid element name\n<1/>\n-^"),
        (
            "<?xml version='1.0'?>",
            "at line 1: Start tag expected, '<' not found\n<?xml version='1.0'?>\n---------------------^",
        ),
        ("<a =/>", "at line 1: error parsing attribute name\n<a =/>\n---^"),
        ("<a>]]></a>", "at line 1: Sequence ']]>' not allowed in content\n<a>]]></a>\n---^"),
        ("<a><1></a>", "at line 1: StartTag: invalid element name\n<a><1></a>\n----^"),
        ("<a></1></a>", "at line 1: expected '>'\n<a></1></a>\n-----^"),
        ("<a>\u{1}</a>", "at line 1: PCDATA invalid Char value 1\n<a>\u{1}</a>\n----^"),
        (
            "<?xml version='2.0'?><a/>",
            "at line 1: Unsupported version '2.0'\n<?xml version='2.0'?><a/>\n-------------------^",
        ),
        (
            "<a><!-- a -- b --></a>",
            "at line 1: Double hyphen within comment: <!-- a \n<a><!-- a -- b --></a>\n----------^",
        ),
    ] {
        assert_eq!(wire(text).as_deref(), Some(expected), "{text:?}");
    }
}

#[test]
fn references_beyond_unicode_are_faults() {
    for text in ["<a>&#x110000;</a>", "<a>&#99999999999;</a>", "<a>&#xD800;</a>"] {
        assert!(wire(text).is_some_and(|m| m.contains("invalid xmlChar value")), "{text}");
    }
}

#[test]
fn a_name_seen_before_with_zeros_behind_it_is_no_name() {
    for text in [
        "<ab> <ab\0 c='1'/> </ab>",
        "<ab> <ab\0/> </ab>",
        "<ab c='1'> <ab c\0='1'/> </ab>",
        "<ab> <\0 c='1'/> </ab>",
        "<ab> <ab \0='1' c='2'/> </ab>",
        "<ab> <ab c='1'/> </ab\0> </ab>",
    ] {
        let well = text.replace('\0', "x");
        assert!(Document::parse(text).is_err(), "{text:?}");
        assert_eq!(Document::parse(&well).is_ok(), !well.contains("</abx"), "{well}");
    }
}

#[test]
fn one_pass_finds_many_faults() {
    let faults = Document::parse("<a x='1' x='2'><b>&nope;</c><d y/></a>").unwrap_err();
    let messages: Vec<_> = faults.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Attribute x redefined",
            "Entity 'nope' not defined",
            "Opening and ending tag mismatch: b line 1 and c",
            "Specification mandates value for attribute y",
        ]
    );
}

#[test]
fn an_unclosed_inner_element_costs_one_fault() {
    let faults = Document::parse("<a><b><c></b><d/></a>").unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
}

#[test]
fn entities_and_document_types_are_refused() {
    for text in [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
    ] {
        assert!(wire(text).is_some_and(|m| m.contains("Document type")), "{text}");
    }
}

#[test]
fn limits_refuse_and_do_not_crash() {
    let nested = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    assert!(Document::parse(&nested(256)).is_ok());
    assert!(wire(&nested(257)).is_some_and(|m| m.contains("Excessive depth")));
    assert!(wire(&"<a>".repeat(1_000_000)).is_some());
    let many = format!("<a>{}</a>", "<b/>".repeat(1 << 20));
    assert!(wire(&many).is_some_and(|m| m.contains("too many nodes")));
    let long = format!("<a>{}</a>", "x".repeat(16 << 20));
    assert!(wire(&long).is_some_and(|m| m.contains("too large")));
    let attrs: String = (0..200_000).map(|i| format!(" a{i}='1'")).collect();
    assert!(Document::parse(&format!("<a{attrs}/>")).is_ok());
    assert!(wire(&format!("<a{attrs} a7='2'/>")).is_some_and(|m| m.contains("redefined")));
    let spaces: String = (0..129).map(|i| format!(" xmlns:p{i}='u'")).collect();
    assert!(wire(&format!("<a{spaces}/>")).is_some_and(|m| m.contains("namespace")));
}

#[test]
fn values_are_normalised() {
    let text = "<a b='x\n\ty&#10;&lt;&#x41;\r\nz'>1\r\n2&#13;&amp;<![CDATA[<&]]></a>";
    let doc = Document::parse(text).unwrap();
    assert_eq!(doc.root().attr("b"), Some("x  y\n<A z"));
    assert_eq!(doc.root().text(), "1\n2\r&<&");
}

#[test]
fn everything_knows_its_place() {
    let text = "<a>\n <b c='d&amp;e'>f</b></a>";
    let doc = Document::parse(text).unwrap();
    let b = doc.root().child("b").unwrap();
    let c = b.attr_node("c").unwrap();
    let at = |s: diag::Span| &text[s.start..s.end];
    assert_eq!(at(b.span()), "<b c='d&amp;e'>");
    assert_eq!(at(b.full_span()), "<b c='d&amp;e'>f</b>");
    assert_eq!(at(b.name_span()), "b");
    assert_eq!(at(c.name_span()), "c");
    assert_eq!(at(c.value_span()), "d&amp;e");
    assert_eq!(at(b.text_span()), "f");
    assert_eq!(b.parent(), Some(doc.root()));
}

#[test]
fn namespaces_are_resolved() {
    let text = "<a xmlns='u' xmlns:p='v'><b/><p:c q='1' p:q='2'/><d xmlns=''/><z:e/></a>";
    let doc = Document::parse(text).unwrap();
    let found: Vec<_> = doc.root().children().map(|c| (c.name(), c.ns())).collect();
    assert_eq!(found, [("b", Some("u")), ("c", Some("v")), ("d", None), ("e", None)]);
    let c = doc.root().child_ns("c", "v").unwrap();
    assert_eq!(c.attr("q"), Some("1"));
    assert_eq!(c.attrs().map(|a| a.ns()).collect::<Vec<_>>(), [None, Some("v")]);
    assert_eq!(doc.warnings().len(), 1);
    assert!(!doc.root().children().last().unwrap().is("e", None));
}

/// The tree in a form both parsers can produce. White space alone is left out.
fn ours(el: Element<'_>, out: &mut String) {
    out.push_str(&format!("<{}|{}", el.ns().unwrap_or(""), el.name()));
    for a in el.attrs() {
        out.push_str(&format!(" {}|{}={:?}", a.ns().unwrap_or(""), a.name(), a.value()));
    }
    out.push_str(&format!(">{:?}", el.text().split_ascii_whitespace().collect::<Vec<_>>()));
    for c in el.children() {
        ours(c, out);
    }
    out.push('/');
}

fn theirs(node: roxmltree::Node<'_, '_>, out: &mut String) {
    let name = node.tag_name();
    out.push_str(&format!("<{}|{}", name.namespace().unwrap_or(""), name.name()));
    for a in node.attributes() {
        out.push_str(&format!(" {}|{}={:?}", a.namespace().unwrap_or(""), a.name(), a.value()));
    }
    let text: String = node.children().filter(|c| c.is_text()).filter_map(|c| c.text()).collect();
    out.push_str(&format!(">{:?}", text.split_ascii_whitespace().collect::<Vec<_>>()));
    for c in node.children().filter(roxmltree::Node::is_element) {
        theirs(c, out);
    }
    out.push('/');
}

fn agree(text: &str) -> Result<(), TestCaseError> {
    let ours_doc = Document::parse(text);
    match (&ours_doc, roxmltree::Document::parse(text)) {
        (Ok(a), Ok(b)) => {
            let (mut x, mut y) = (String::new(), String::new());
            ours(a.root(), &mut x);
            theirs(b.root_element(), &mut y);
            prop_assert_eq!(x, y, "{}", text);
        }
        (Err(_), Err(_)) => {}
        // Faults in namespaces alone are warnings here.
        (Ok(a), Err(_)) if !a.warnings().is_empty() => {}
        (Ok(_), Err(e)) => prop_assert!(false, "accepted here, there {e}: {text:?}"),
        (Err(e), Ok(_)) => prop_assert!(false, "accepted there, here {e:?}: {text:?}"),
    }
    Ok(())
}

#[test]
fn whatever_encoding_is_declared_the_text_is_utf8() {
    for name in ["utf-8", "UTF8", "utf-16", "ISO-8859-1", "iso-8859-16", "windows-1252", "ASCII"] {
        let text = format!("<?xml version='1.0' encoding='{name}'?><a b='é'/>");
        assert!(Document::parse(&text).is_ok(), "{name}");
    }
    for name in ["bogus", "iso-8859-", "iso-8859-12", "iso-8859-17", "windows-9", "utf-"] {
        let text = format!("<?xml version='1.0' encoding='{name}'?><a/>");
        let errors = Document::parse(&text).expect_err(name);
        assert!(format!("{errors:?}").contains(&format!("Unsupported encoding {name}")), "{name}");
    }
}

#[test]
fn the_other_parser_agrees_on_odd_documents() {
    for text in [
        "\u{FEFF}<a/>",
        "<?xml version='1.0' encoding='utf-8' standalone='yes' ?><a/>",
        "<?xml version='1.0'?>\n<!-- c --><?p d?><a/><!-- e -->\n",
        "<a\n/>",
        "<a></a >",
        "< a/>",
        "<a/ >",
        "<a b = 'c'/>",
        "<a b='c' />",
        "<a b='\"' c=\"'\"/>",
        "<a:b/>",
        "<a xmlns:b='c'><b:d b:e='f'/></a>",
        "<é ü='ö'/>",
        "<a·/>",
        "<-a/>",
        "<a>&#x10FFFF;</a>",
        "<a>\u{FFFE}</a>",
        "<a b='\u{FFFF}'/>",
        "<a><![CDATA[]]]]></a>",
        "<a><![CDATA[x</a>",
        "<a><!></a>",
        "<a><?xml x?></a>",
        "<a><?x?></a>",
        "<a>x]]y]></a>",
        "<a/>x",
        "x<a/>",
        "<a",
        "<",
        "<a b='",
        "<!---->",
        "<a><!----></a>",
        "<a><!-- - --></a>",
    ] {
        agree(text).unwrap();
    }
}

fn tree() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z&&[^x]]{0,4}",
        Just("&lt;".to_owned()),
        Just("&#65;".to_owned()),
        Just(" \n ".to_owned()),
        Just("<!-- c -->".to_owned()),
        Just("<![CDATA[ < ]]>".to_owned()),
        Just("<?p i?>".to_owned()),
        Just("\u{1}".to_owned()),
        Just("&bad;".to_owned()),
    ];
    let leaf = text.prop_map(|t| t);
    leaf.prop_recursive(5, 40, 5, |inner| {
        (
            prop::sample::select(vec!["a", "b", "p:c", "q:d"]),
            prop::sample::select(vec![
                "",
                " x='1'",
                " x='1' y='&quot;'",
                " x='1' x='2'",
                " xmlns:p='u'",
            ]),
            prop::collection::vec(inner, 0..5),
            prop::bool::weighted(0.05),
        )
            .prop_map(|(name, attrs, children, wrong)| {
                let end = if wrong { "wrong" } else { name };
                format!("<{name}{attrs}>{}</{end}>", children.concat())
            })
    })
    .prop_map(|t| format!("<r xmlns:q='v'>{t}</r>"))
}

proptest! {
    #[test]
    fn the_other_parser_agrees(text in tree()) {
        agree(&text)?;
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[<>/a-b='\"&;#x!\\-\\[\\]?: \n\u{1}é]{0,60}") {
        agree(&text)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        xml::fuzzing::fuzz_one(&data);
    }

    #[test]
    fn raw_subtrees_survive(text in tree()) {
        if let Ok(doc) = Document::parse(&text) {
            let raw = RawElement::from_element(doc.root());
            let written = raw.to_xml();
            let again = Document::parse(&written).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            let (mut x, mut y) = (String::new(), String::new());
            ours(doc.root(), &mut x);
            ours(again.root(), &mut y);
            prop_assert_eq!(x, y);
        }
    }
}
