//! The layout of what is written, compared with what libvirtd 11.3 prints.

use xml::{RawElement, WriteOptions, Writer};

#[test]
fn text_and_attributes_are_escaped_alike() {
    let mut w = Writer::new(&WriteOptions::default());
    w.start("a");
    w.attr_str("b", "<x> & \"y\" 'z' \t\r\n\u{1}");
    w.text_str("<x> & \"y\" 'z' \t\u{1f}é");
    w.end("a");
    assert_eq!(
        w.finish(),
        "<a b='&lt;x&gt; &amp; &quot;y&quot; &apos;z&apos; \t\r\n'>\
         &lt;x&gt; &amp; &quot;y&quot; &apos;z&apos; \té</a>\n"
    );
}

#[test]
fn elements_are_indented_and_empty_ones_closed() {
    let mut w = Writer::new(&WriteOptions { indent: 1, ..WriteOptions::default() });
    w.start("a");
    w.start("b");
    w.empty("c");
    w.end("b");
    w.wrap("gone", |_| {});
    w.wrap("kept", |w| w.attr_str("x", ""));
    w.child_text("d", &7u32);
    w.end("a");
    assert_eq!(
        w.finish(),
        "  <a>\n    <b>\n      <c/>\n    </b>\n    <kept x=''/>\n    <d>7</d>\n  </a>\n"
    );
}

#[test]
fn a_wrapper_that_stays_empty_leaves_no_trace() {
    let mut w = Writer::new(&WriteOptions::default());
    w.start("a");
    w.wrap("b", |w| w.wrap("c", |_| {}));
    w.end("a");
    assert_eq!(w.finish(), "<a/>\n");
}

/// What goes in as a child of `<metadata>` and how libvirtd prints it there.
#[test]
fn raw_subtrees_have_the_layout_of_libvirts_library() {
    let check = |input: &str, expected: &str| {
        let raw = RawElement::parse(input).unwrap();
        let mut w = Writer::new(&WriteOptions::default());
        w.start("domain");
        w.raw(&raw);
        w.end("domain");
        assert_eq!(w.finish(), format!("<domain>\n{expected}</domain>\n"), "{input}");
    };
    check(
        "<metadata><one xmlns=\"urn:one\"><two>\n    </two><three/></one></metadata>",
        "  <metadata>\n    <one xmlns=\"urn:one\">\n      <two>\n    </two>\n      <three/>\n    \
         </one>\n  </metadata>\n",
    );
    check(
        "<metadata>\n<a:x xmlns:a=\"urn:a\" a:attr=\"x &quot; ' &lt; &gt; &#10; &#9; y\"><!-- c -->\
         <a:y>text &gt; &lt; &amp; \" ' &#13;<b/></a:y>\n        <![CDATA[cd <>]]>\n \
         <z xmlns=\"urn:z\"> </z></a:x>\n  </metadata>",
        "  <metadata>\n    <a:x xmlns:a=\"urn:a\" a:attr=\"x &quot; ' &lt; &gt; &#10; &#9; y\">\
         <!-- c --><a:y>text &gt; &lt; &amp; \" ' &#13;<b/></a:y><![CDATA[cd <>]]>\
         <z xmlns=\"urn:z\"> </z></a:x>\n  </metadata>\n",
    );
}

#[test]
fn metadata_keeps_the_first_element_of_each_namespace() {
    let doc = xml::Document::parse(
        "<domain xmlns:up='urn:up' xmlns:unused='urn:unused'><metadata foo='x'>text<!-- top -->\
         <up:x up:q='1'> t <b/> </up:x><up:y/><nons/></metadata></domain>",
    )
    .unwrap();
    let mut raw = RawElement::from_element(doc.root().child("metadata").unwrap());
    raw.keep_one_per_namespace();
    assert_eq!(
        raw.to_xml(),
        "<metadata xmlns:up=\"urn:up\" foo=\"x\">\n  <up:x up:q=\"1\"> t <b/> </up:x>\n</metadata>"
    );
}
