//! Networks, ports and status files: what is read, written, completed and refused.

use super::*;

fn messages(text: &str) -> Vec<(u32, String)> {
    let found = parse(text).diagnostics;
    found.into_iter().map(|d| (d.code.0, d.message)).collect()
}

fn network(body: &str) -> String {
    format!(
        "<network><name>n</name><uuid>0c6bd2b4-6e1c-4f8a-8e39-5d64ccba7b6d</uuid>{body}</network>"
    )
}

/// Everything below the UUID, written on one line.
fn written(body: &str) -> String {
    let value = parse(&network(body)).into_result().expect(body);
    let text = format(&value, FormatFlags { inactive: true, indent: 0 });
    let again = parse(&text).value;
    assert_eq!(again.as_ref(), Some(&value), "{text}");
    let (_, rest) = text.split_once("</uuid>\n").expect("a uuid");
    let lines: String = rest.lines().map(str::trim_start).collect();
    lines.strip_suffix("</network>").unwrap_or(&lines).to_owned()
}

#[test]
fn networks_are_completed_and_written_in_order() {
    let own = "<bridge stp='on' delay='0'/>";
    let ip = "<ip address='10.0.0.1' netmask='255.255.255.0'></ip>";
    for (body, expected) in [
        ("", own.to_owned()),
        ("<title>t</title><metadata/>", format!("<title>t</title>{own}")),
        ("<forward mode='none' dev='e'/>", own.to_owned()),
        (
            "<forward mode='bridge'/><bridge name='b'/>",
            "<forward mode='bridge'/><bridge name='b'/>".into(),
        ),
        (
            "<ip address='10.0.0.1' netmask='255.255.255.0'/><bridge zone='z' delay='3' name='b' \
             stp='off'/><mac address='52:54:00:AA:0:1'/><forward dev='e'/>",
            format!(
                "<forward dev='e' mode='nat'><interface dev='e'/></forward><bridge name='b' \
                 zone='z' stp='off' delay='3'/><mac address='52:54:00:aa:00:01'/>{ip}"
            ),
        ),
        (
            "<forward mode='hostdev'><pf dev='p'/><driver name='vfio'/></forward>",
            "<forward mode='hostdev' managed='no'><driver name='vfio'/><pf dev='p'/></forward>"
                .into(),
        ),
        (
            "<forward mode='passthrough'><pf dev='p'/><interface dev='a'/></forward>",
            "<forward dev='a' mode='passthrough'><interface dev='a'/></forward>".into(),
        ),
        (
            "<forward mode='vepa'/><virtualport type='802.1Qbg'><parameters typeid='0x10' \
             managerid='1'/></virtualport><vlan><tag id='4'/><tag id='5'/></vlan>",
            "<forward mode='vepa'/><vlan trunk='yes'><tag id='4'/><tag id='5'/></vlan>\
             <virtualport type='802.1Qbg'><parameters managerid='1' typeid='16'/></virtualport>"
                .into(),
        ),
        (
            "<dns><host ip='10.0.0.2'><hostname>h</hostname></host><srv service='s' \
             protocol='tcp' target='t' weight='0' port='5'/><forwarder addr='fd00:0::1' \
             domain='d'/></dns>",
            format!(
                "{own}<dns><forwarder domain='d' addr='fd00::1'/><srv service='s' protocol='tcp' \
                 target='t' port='5'/><host ip='10.0.0.2'><hostname>h</hostname></host></dns>"
            ),
        ),
        (
            "<ip address='10.0.0.1' prefix='8'><dhcp><bootp file='f'/><range start='10.0.0.2' \
             end='10.0.0.9'><lease expiry='0' unit='hours'/></range><host name='h' \
             ip='10.0.0.10'><lease expiry='2'/></host></dhcp><tftp root='/t'/></ip>",
            format!(
                "{own}<ip address='10.0.0.1' prefix='8'><tftp root='/t'/><dhcp><range \
                 start='10.0.0.2' end='10.0.0.9'><lease expiry='0'/></range><host name='h' \
                 ip='10.0.0.10'><lease expiry='2' unit='minutes'/></host><bootp file='f'/></dhcp>\
                 </ip>"
            ),
        ),
        (
            "<ip address='10.0.0.1'><dhcp><bootp file='f'/></dhcp></ip><bandwidth/>\
             <portgroup name='g' default='no'><bandwidth><inbound average='1' peak='0'/>\
             </bandwidth></portgroup>",
            format!(
                "{own}<ip address='10.0.0.1'></ip><portgroup name='g'><bandwidth><inbound \
                 average='1'/></bandwidth></portgroup>"
            ),
        ),
    ] {
        assert_eq!(written(body), expected, "{body}");
    }
}

#[test]
fn options_of_dnsmasq_have_their_namespace_in_front() {
    let text = format!(
        "<network xmlns:q='{DNSMASQ_NS}' ipv6='yes'><name>n</name><q:options><q:option \
         value='a'/></q:options></network>"
    );
    let value = parse(&text).value.expect("a network");
    assert_eq!(value.dnsmasq_options, ["a"]);
    let out = format(&value, FormatFlags::default());
    assert!(out.starts_with(&format!("<network xmlns:dnsmasq='{DNSMASQ_NS}' ipv6='yes'>\n")));
    assert!(out.ends_with(
        "  <dnsmasq:options>\n    <dnsmasq:option value='a'/>\n  </dnsmasq:options>\n</network>\n"
    ));
}

#[test]
fn faults_have_libvirts_codes_and_name_the_network() {
    for (body, code, words) in [
        ("<forward mode='x'/>", 67, "unknown forwarding type 'x'"),
        ("<forward mode='nat'/>", 27, "nat forwarding requested, but no IP address provided"),
        ("<forward mode='open' dev='e'/>", 27, "forward dev not allowed for network 'n'"),
        ("<forward mode='vepa'/><bridge name='b'/>", 27, "bridge name not allowed in vepa mode"),
        ("<forward mode='bridge'/><mtu size='9000'/>", 27, "mtu size only allowed in open"),
        ("<bridge delay='x'/>", 27, "Invalid delay value in network 'n'"),
        ("<domain name='d' register='yes'/>", 67, "requires 'localOnly=yes' in network n"),
        ("<dns enable='no'><txt name='a' value='b'/></dns>", 27, "Extra data in disabled"),
        ("<dns><txt name='a'/></dns>", 35, "TXT record named 'a' of network n"),
        (
            "<dns><srv service='s' protocol='tcp' target='t' port='x'/></dns>",
            35,
            "port attribute for service 's' in network 'n'",
        ),
        ("<ip address='x'/>", 27, "Invalid address 'x' in network 'n'"),
        ("<ip address='fd00::1'/>", 67, "no family specified for non-IPv4 address 'fd00::1'"),
        (
            "<ip address='10.0.0.1' prefix='24'><dhcp><range start='10.0.0.9' end='10.0.0.2'/>\
             </dhcp></ip>",
            1,
            "reversed",
        ),
        (
            "<ip address='10.0.0.1' prefix='24'><dhcp><host ip='10.0.0.2'/></dhcp></ip>",
            27,
            "IPv4 network 'n' must have mac or name",
        ),
        (
            "<ip address='10.0.0.1' prefix='24'/><route address='10.1.0.0' prefix='16' \
             gateway='10.9.0.1'/>",
            67,
            "unreachable static route gateway '10.9.0.1'",
        ),
        (
            "<virtualport type='openvswitch'><parameters typeid='1'/></virtualport>",
            27,
            "extra typeid",
        ),
        (
            "<virtualport type='802.1Qbg'><parameters typeid='x'/></virtualport>",
            27,
            "cannot parse value of typeid",
        ),
        (
            "<virtualport type='802.1Qbg'><parameters managerid='256'/></virtualport>",
            27,
            "value of managerid out of range",
        ),
        ("<bandwidth><inbound floor='1'/></bandwidth>", 67, "floor attribute"),
        ("<vlan><tag id='4096'/></vlan>", 27, "vlan tag id 4096 too large"),
    ] {
        let found = messages(&network(body));
        assert_eq!(found.len(), 1, "{body}: {found:?}");
        assert_eq!(found[0].0, code, "{body}: {found:?}");
        assert!(found[0].1.contains(words), "{body}: {found:?}");
    }
    assert_eq!(messages("<network/>"), [(21, "missing name information".to_owned())]);
}

#[test]
fn ten_faults_are_ten_diagnostics_with_places() {
    let text = network(
        "<mtu size='x'/>\n<mac address='x'/>\n<bridge delay='x'/>\n<port isolated='x'/>\n\
         <ip address='x'/>\n<route address='x' gateway='y'/>\n<vlan/>\n\
         <portgroup default='yes'/>\n<domain name='d' localOnly='x'/>",
    );
    let found = parse(&text).diagnostics;
    assert_eq!(found.len(), 10, "{found:?}");
    let lines: Vec<usize> = found
        .iter()
        .map(|d| text[..d.span.expect("a place").start].matches('\n').count())
        .collect();
    // In libvirt's order: domain, vlan, port, bridge, mac, mtu, portgroup, ip, route.
    assert_eq!(lines, [8, 6, 3, 2, 1, 0, 7, 4, 5, 5]);
}

#[test]
fn the_first_fault_is_the_one_that_libvirt_meets_first() {
    for (body, words) in [
        ("<forward mode='nat'/><bandwidth classID='2'/>", "classID attribute not supported"),
        ("<ip/><portgroup/>", "Missing required name attribute in portgroup"),
        ("<forward mode='route'><nat/></forward><route/>", "Missing required address attribute"),
        (
            "<route address='10.5.0.0' prefix='24' gateway='10.6.0.1'/><forward mode='x'/>",
            "unknown forwarding type 'x'",
        ),
    ] {
        let found = messages(&network(body));
        assert!(found[0].1.contains(words), "{body}: {found:?}");
    }
}

#[test]
fn addresses_stand_in_messages_as_they_were_written() {
    for (body, words) in [
        ("<ip address='fd00:0::1'/>", "non-IPv4 address 'fd00:0::1'"),
        ("<route address='1500' prefix='24' gateway='10.0.0.1'/>", "Address '1500' in route"),
    ] {
        let found = messages(&network(body));
        assert!(found.iter().any(|(_, m)| m.contains(words)), "{body}: {found:?}");
    }
}

#[test]
fn the_driver_refuses_what_a_mode_has_no_use_for() {
    let validated = |body: &str| -> Vec<String> {
        let value = parse(&network(body)).value.expect(body);
        validate(&value).into_iter().map(|d| d.message).collect()
    };
    for body in [
        "<portgroup name='a'/><domain name='d'/>",
        "<forward mode='bridge'/><vlan><tag id='1'/></vlan>",
        "<forward mode='bridge'/><virtualport type='802.1Qbh'/><portgroup name='a'>\
         <vlan><tag id='1'/></vlan><virtualport type='openvswitch'/></portgroup>",
        "<forward mode='hostdev'/><portgroup name='a'><vlan><tag id='1'/></vlan></portgroup>",
        "<forward mode='bridge'/><dns><forwarder addr='10.0.0.1'/></dns>",
    ] {
        assert_eq!(validated(body), Vec::<String>::new(), "{body}");
    }
    for (body, words) in [
        ("<forward mode='bridge'/><domain name='d'/>", "Unsupported <domain> element"),
        ("<forward mode='hostdev'><interface dev='e'/></forward>", "listed by PCI address"),
        ("<vlan><tag id='1'/></vlan>", "doesn't support vlan configuration"),
        (
            "<forward mode='bridge'/><virtualport type='802.1Qbh'/><vlan><tag id='1'/></vlan>",
            "doesn't support vlan configuration",
        ),
        (
            "<forward mode='passthrough'/><portgroup name='a'><vlan><tag id='1'/></vlan>\
             <virtualport type='openvswitch'/></portgroup>",
            "doesn't support vlan configuration",
        ),
        (
            "<forward mode='vepa'><address type='pci' bus='1'/></forward>",
            "lists a device by PCI address in the device pool",
        ),
        ("<portgroup name='a'/><portgroup name='a'/>", "same name (a)"),
        (
            "<ip address='10.0.0.1'><dhcp><host name='a' ip='10.0.0.2'/></dhcp></ip>\
             <ip address='10.1.0.1'><dhcp><host name='a' ip='10.1.0.2'/></dhcp></ip>",
            "Multiple IPv4 dhcp sections",
        ),
    ] {
        let found = validated(body);
        assert!(found.len() == 1 && found[0].contains(words), "{body}: {found:?}");
    }
}

#[test]
fn ports_say_how_an_interface_is_connected() {
    let port = |rest: &str| {
        format!(
            "<networkport>\n  <uuid>5d744f21-ba4a-4d6e-bdb2-30a35ff3207d</uuid>\n  <owner>\n    \
             <name>vm</name>\n    <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>\n  </owner>\n  \
             <mac address='52:54:00:00:00:01'/>\n{rest}</networkport>\n"
        )
    };
    for rest in [
        "",
        "  <plug type='network' bridge='b' macTableManager='kernel'/>\n",
        "  <plug type='direct' dev='e' mode='private'/>\n",
        "  <bandwidth classID='3'>\n    <inbound average='1' floor='2'/>\n  </bandwidth>\n  \
         <rxfilters trustGuest='no'/>\n",
        "  <plug type='hostdev-pci' managed='no'>\n    <driver name='vfio'/>\n    <address \
         domain='0x0001' bus='0x02' slot='0x03' function='0x4'/>\n  </plug>\n",
    ] {
        let text = port(rest);
        let value = parse_port(&text).into_result().expect(rest);
        assert_eq!(format_port(&value), text);
    }
    for (rest, code, words) in [
        ("<plug type='network'/>", 27, "Missing network port bridge name"),
        ("<plug type='hostdev-pci'/>", 27, "Missing network port PCI address"),
        ("<plug type='direct' dev='e' mode='x'/>", 27, "Invalid mode setting 'x'"),
        ("<bandwidth><outbound floor='1'/></bandwidth>", 67, "floor attribute"),
    ] {
        let found = parse_port(&port(rest)).diagnostics;
        assert_eq!(found[0].code.0, code, "{rest}");
        assert!(found[0].message.contains(words), "{found:?}");
    }
    let found = parse_port("<networkport/>").diagnostics;
    assert_eq!(found[0].message, "network port has no uuid");
}

#[test]
fn a_status_file_holds_the_network_and_what_it_uses() {
    let text = "<networkstatus>\n  <class_id bitmap='0-2,4'/>\n  <floor sum='7'/>\n  <network>\n    \
                <name>n</name>\n    <uuid>0c6bd2b4-6e1c-4f8a-8e39-5d64ccba7b6d</uuid>\n    \
                <bridge name='b' stp='on' delay='0'/>\n  </network>\n  <firewall name='f' \
                backend='iptables'>\n    <group ignoreErrors='yes'>\n      <action layer='ipv4'>\n        \
                <args>\n          <item>--x</item>\n        </args>\n      </action>\n    </group>\n  \
                </firewall>\n</networkstatus>\n";
    let status = parse_status(text).into_result().expect("a status");
    assert!(status.class_ids.contains(4) && status.floor_sum == 7);
    assert_eq!(format_status(&status), text);
    for (bad, words) in [
        ("<networkstatus/>", "missing network definition"),
        ("<network/>", "expecting root element"),
        ("<networkstatus><floor sum='x'/><network/></networkstatus>", "floor_sum"),
        ("<networkstatus><network/></networkstatus>", "missing name"),
    ] {
        let found = parse_status(bad);
        assert!(found.value.is_none() && found.diagnostics[0].message.contains(words), "{bad}");
    }
}
