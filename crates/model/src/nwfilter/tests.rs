//! Filters and bindings: what is read, written and refused.

use super::*;

/// The rules of a filter, written on one line.
fn written(attrs: &str, body: &str) -> Result<String, (u32, String)> {
    let text = format!("<filter name='f'{attrs}>{body}</filter>");
    let parsed = parse(&text);
    let Some(filter) = parsed.value else {
        let first = parsed.diagnostics.into_iter().find(|d| d.severity == diag::Severity::Error);
        let first = first.expect("an error");
        return Err((first.code.0, first.message));
    };
    let out = format(&filter);
    assert_eq!(parse(&out).value.map(|again| again.entries), Some(filter.entries), "{out}");
    Ok(out.lines().map(str::trim_start).collect())
}

fn rule(protocol: &str) -> Result<String, (u32, String)> {
    let text = written("", &format!("<rule action='drop' direction='in'>{protocol}</rule>"))?;
    let head = "<filter name='f' chain='root'><rule action='drop' direction='in' priority='500'>";
    let rest = text.strip_prefix(head).expect("a rule").strip_suffix("</rule></filter>");
    Ok(rest.expect("an end").to_owned())
}

#[test]
fn rules_are_written_in_the_order_of_the_protocols_attributes() {
    for (protocol, expected) in [
        (
            "<tcp dstportstart='0x16' srcipaddr='$IP[@1]' srcmacaddr='1:2:3:4:5:6'/>",
            "<tcp srcmacaddr='01:02:03:04:05:06' srcipaddr='$IP[@1]' dstportstart='0x16'/>",
        ),
        (
            "<tcp srcipaddr='10.0.0.1'/><tcp match='no' dstipaddr='10.0.0.2' dstipmask='255.0.0.0'/>",
            "<tcp srcipaddr='10.0.0.1'/><tcp match='no' dstipaddr='10.0.0.2' dstipmask='8'/>",
        ),
        ("<tcp srcportstart='1'/><udp/><foo/><tcp srcportstart='2'/>", "<tcp srcportstart='2'/>"),
        ("<tcp match='no' dstportstart='5'/>", "<tcp dstportstart='5'/>"),
        (
            "<ip match='no' protocol='6' dstportstart='5'/>",
            "<ip match='no' protocol='tcp' dstportstart='5'/>",
        ),
        ("<tcp ipset='s'/>", "<tcp ipset='s' ipsetflags='src'/>"),
        (
            "<all ipsetflags='dst' ipset='s' comment='c'/>",
            "<all ipset='s' ipsetflags='dst' comment='c'/>",
        ),
        (
            "<stp root-cost-hi='3' root-cost='2' type='0x1'/>",
            "<stp type='0x1' root-cost='2' root-cost-hi='3'/>",
        ),
        ("<arp gratuitous='1' opcode='2'/>", "<arp opcode='Reply' gratuitous='true'/>"),
        (
            "<ipv6 code='1' type='3' protocol='icmpv6'/>",
            "<ipv6 protocol='icmpv6' type='3' code='1'/>",
        ),
        (
            "<udp-ipv6 srcipaddr='FE80::0:1' state='NONE'/>",
            "<udp-ipv6 srcipaddr='fe80::1' state='NONE'/>",
        ),
        ("<mac match='no' srcmacaddr='$MAC'/>", "<mac match='no' srcmacaddr='$MAC'/>"),
    ] {
        assert_eq!(rule(protocol).as_deref(), Ok(expected), "{protocol}");
    }
}

#[test]
fn chains_have_names_and_priorities() {
    for (attrs, expected) in [
        ("", "chain='root'"),
        (" priority='7'", "chain='root'"),
        (" chain='root' priority='7'", "chain='root' priority='7'"),
        (" chain='arp-x'", "chain='arp-x' priority='-500'"),
        (" chain='stp'", "chain='stp'"),
        (" chain='mac' priority='0'", "chain='mac'"),
        (" chain='vlan-1.2:3'", "chain='vlan-1.2:3' priority='-750'"),
    ] {
        assert_eq!(written(attrs, ""), Ok(format!("<filter name='f' {expected}/>")), "{attrs}");
    }
    for (attrs, code, words) in [
        (" chain='foo'", 8, "Invalid chain name 'foo'"),
        (" chain='ipv4 a'", 8, "invalid characters"),
        (" chain='ipv4-12345678'", 8, "longer than 12"),
        (" chain='rootx'", 1, "rootx"),
        (" priority='1001'", 8, "outside valid range"),
        (" priority='x'", 8, "Could not parse chain priority"),
    ] {
        let (got, message) = written(attrs, "").expect_err(attrs);
        assert!(got == code && message.contains(words), "{attrs}: {got} {message}");
    }
}

#[test]
fn faults_have_libvirts_codes() {
    for (body, code, words) in [
        ("<rule direction='in'/>", 27, "'action' in element 'rule'"),
        ("<rule action='x' direction='in'/>", 27, "'action' in element 'rule': 'x'"),
        ("<rule action='drop' direction='in' priority='x'/>", 27, "priority"),
        ("<filterref/>", 27, "'filter' in element 'filterref'"),
        ("<uuid>x</uuid>", 27, "malformed uuid element"),
        (
            "<rule action='drop' direction='in'><tcp dscp='64'/></rule>",
            1,
            "dscp has illegal value 64",
        ),
        (
            "<rule action='drop' direction='in'><ip srcportstart='1'/></rule>",
            1,
            "IP rule with port",
        ),
        ("<rule action='drop' direction='in'><ah srcipmask='$X-'/></rule>", 1, "illegal value $X-"),
    ] {
        let (got, message) = written("", body).expect_err(body);
        assert!(got == code && message.contains(words), "{body}: {got} {message}");
    }
    assert_eq!(parse("<filter/>").diagnostics[0].message, "filter has no name");
}

#[test]
fn what_is_left_out_is_told() {
    let text = "<filter name='f'><rule action='drop' direction='in' priority='2000'><tcp foo='1' \
                dstprtstart='2'/><udp/></rule><filterref filter='g'><parameter name='a-b' \
                value='1'/></filterref></filter>";
    let found = parse(text);
    assert!(found.value.is_some());
    let told: Vec<&str> = found.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(found.diagnostics.iter().any(|d| d.hints == ["Did you mean 'dstportstart'?"]));
}

#[test]
fn parameters_are_sorted_and_repeated() {
    let body = "<filterref filter='g'><parameter name='z' value='2'/><parameter name='B' \
                value='fe80::1'/><parameter name='z' value='1'/><parameter name='z' value='a b'/>\
                </filterref>";
    assert_eq!(
        written("", body).as_deref(),
        Ok("<filter name='f' chain='root'><filterref filter='g'><parameter name='B' \
            value='fe80::1'/><parameter name='z' value='2'/><parameter name='z' value='1'/>\
            </filterref></filter>")
    );
}

#[test]
fn bindings_name_guest_interface_and_filter() {
    let text = "<filterbinding>\n  <owner>\n    <name>vm</name>\n    \
                <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>\n  </owner>\n  <portdev \
                name='vnet0'/>\n  <linkdev name='eth0'/>\n  <mac address='52:54:00:00:00:01'/>\n  \
                <filterref filter='g'>\n    <parameter name='IP' value='10.0.0.1'/>\n  \
                </filterref>\n</filterbinding>\n";
    let binding = parse_binding(text).into_result().expect("a binding");
    assert_eq!(format_binding(&binding), text);
    let without = |part: &str| text.replace(part, "");
    for (text, words) in [
        (without("  <portdev name='vnet0'/>\n"), "filter binding has no port dev name"),
        (without(" name='eth0'"), "filter binding has no link dev name"),
        (without("<mac address='52:54:00:00:00:01'/>"), "filter binding has no MAC address"),
        (without(" filter='g'"), "filter binding has no filter reference"),
        (without("<name>vm</name>"), "filter binding has no owner name"),
        (text.replace("52:54:00:00:00:01", "x"), "Unable to parse MAC 'x'"),
    ] {
        let found = parse_binding(&text).diagnostics;
        assert!(found.iter().any(|d| d.message == words && d.code.0 == 1), "{words}: {found:?}");
    }
}
