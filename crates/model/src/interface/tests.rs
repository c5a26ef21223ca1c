//! Interfaces: every kind, and refusals.

use super::{format, parse};
use xml::WriteOptions;

fn check(input: &str, expected: &str) {
    let parsed = parse(input);
    let value = parsed.value.unwrap_or_else(|| panic!("{input}: {:?}", parsed.diagnostics));
    let written = format(&value, &WriteOptions::default());
    let one_line: String = written.lines().map(str::trim_start).collect();
    assert_eq!(one_line, expected, "{input}");
}

fn refused(input: &str, message: &str) {
    let parsed = parse(input);
    assert!(parsed.value.is_none(), "{input}");
    assert_eq!(parsed.diagnostics[0].message, message, "{input}");
    assert_eq!(parsed.diagnostics[0].code, diag::ErrorCode::XML_ERROR);
}

#[test]
fn what_says_nothing_is_dropped() {
    check(
        "<interface type='ethernet' name='e'><start/><mtu size='0'/><link speed='0'/><mac/>\
         <protocol family='ipv4'><autoconf/><ip address='1.1.1.1' prefix='0'/><ip/><route/>\
         </protocol></interface>",
        "<interface type='ethernet' name='e'><protocol family='ipv4'><ip address='1.1.1.1'/>\
         </protocol></interface>",
    );
}

#[test]
fn every_kind() {
    check(
        "<interface name='e' type='ethernet'><mac address='0:1'/><link state='dormant' speed='7'/>\
         <mtu size='9'/><start mode='hotplug'/></interface>",
        "<interface type='ethernet' name='e'><start mode='hotplug'/><mtu size='9'/>\
         <link speed='7' state='dormant'/><mac address='0:1'/></interface>",
    );
    let card = "<interface type='ethernet' name='c'></interface>";
    check(
        &format!(
            "<interface type='bridge' name='b'><bridge delay='3' stp='x'>{card}</bridge></interface>"
        ),
        &format!("<interface type='bridge' name='b'><bridge delay='3'>{card}</bridge></interface>"),
    );
    for mode in super::BondMode::ALL {
        let text = format!(
            "<interface type='bond' name='b'><bond mode='{mode}'>{card}</bond></interface>"
        );
        check(&text, &text);
    }
    check(
        "<interface type='bond' name='b'><bond><arpmon interval='1' target='t'/>\
         <miimon freq='1' updelay='0' downdelay='2' carrier='netif'/></bond></interface>",
        "<interface type='bond' name='b'><bond><miimon freq='1' downdelay='2' carrier='netif'/>\
         </bond></interface>",
    );
    let text =
        "<interface type='vlan' name='v'><vlan tag='7'><interface name='c'/></vlan></interface>";
    check(text, text);
}

#[test]
fn refusals_have_libvirts_words() {
    refused("<interface type='ethernet'/>", "interface has no name");
    refused("<interface type='vlan' name='v'/>", "vlan interface misses the vlan element");
    let vlan = |inner: &str| format!("<interface type='vlan' name='v'>{inner}</interface>");
    refused(&vlan("<vlan tag='1'><interface/></vlan>"), "vlan interface misses name attribute");
    refused(&vlan("<vlan tag='1'/>"), "vlan interface misses name attribute");
    refused(&vlan("<vlan><interface name='a'/></vlan>"), "vlan interface misses the tag attribute");
    let bond =
        |inner: &str| format!("<interface type='bond' name='v'><bond {inner}</bond></interface>");
    refused(&bond("mode='q'>"), "unknown bonding mode q");
    refused(&bond("><miimon/>"), "bond interface miimon freq missing or invalid");
    refused(&bond("><arpmon interval='1'/>"), "bond interface arpmon target missing");
    refused(
        &bond(
            "><interface type='vlan' name='v'><vlan tag='1'><interface name='x'/></vlan></interface>",
        ),
        "interface has unsupported type 'vlan'",
    );
}
