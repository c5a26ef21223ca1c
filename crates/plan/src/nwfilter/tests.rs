//! Filters in, commands out.

use model::nwfilter::{Filter, parse};

use super::*;

fn filter(name: &str, chain: &str, rules: &str) -> Filter {
    let text = format!("<filter name='{name}' chain='{chain}'>{rules}</filter>");
    parse(&text).into_result().expect(rules)
}

fn variables(list: &[(&str, &[&str])]) -> Variables {
    let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect();
    list.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect()
}

fn made(
    rules_: &str,
    filters: &[Filter],
    known: &[(&str, &[&str])],
) -> Result<Vec<String>, String> {
    let filters = filters.iter().map(|f| (f.name.clone(), f.clone())).collect();
    let commands = rules(&filter("f", "root", rules_), &filters, "v0", &variables(known));
    let line = |command: crate::Command| {
        let line = command.argv().join(" ");
        let line = line.replace("ebtables --concurrent -t nat", "eb");
        line.replace("ip6tables -w -A", "ip6").replace("iptables -w -A", "ip")
    };
    commands.map(|list| list.into_iter().map(line).collect()).map_err(|e| e.message().to_owned())
}

fn rule(how: &str, conditions: &str) -> String {
    let (action, direction) = how.split_once(' ').expect("two words");
    format!("<rule action='{action}' direction='{direction}'>{conditions}</rule>")
}

#[track_caller]
fn check(how: &str, conditions: &str, expected: &[&str]) {
    assert_eq!(made(&rule(how, conditions), &[], &[]).expect(conditions), expected, "{conditions}");
}

#[test]
fn rules_of_the_bridge() {
    check("reject in", "", &["eb -A libvirt-P-v0 -j DROP"]);
    check(
        "accept inout",
        "<mac match='no' srcmacaddr='1:2:3:4:5:6' srcmacmask='ff:0:0:0:0:0' protocolid='arp'/>",
        &[
            "eb -A libvirt-J-v0 -d ! 01:02:03:04:05:06/ff:00:00:00:00:00 -p ! 0x806 -j ACCEPT",
            "eb -A libvirt-P-v0 -s ! 01:02:03:04:05:06/ff:00:00:00:00:00 -p ! 0x806 -j ACCEPT",
        ],
    );
    check(
        "continue out",
        "<vlan vlanid='0x10' encap-protocol='ipv4'/>",
        &["eb -A libvirt-J-v0 -p 0x8100 --vlan-id 16 --vlan-encap 2048 -j CONTINUE"],
    );
    check(
        "return out",
        "<arp opcode='Reply' protocoltype='5' arpsrcipaddr='1.2.3.4' arpsrcipmask='24' \
         arpdstipaddr='5.6.7.8' gratuitous='true'/>",
        &["eb -A libvirt-J-v0 -p 0x806 --arp-opcode 2 --arp-ptype 0x5 --arp-ip-src 1.2.3.4/24 \
           --arp-ip-dst 5.6.7.8/32 --arp-gratuitous -j RETURN"],
    );
    check(
        "drop inout",
        "<ip srcipaddr='1.2.3.4' srcipmask='24' protocol='udp' dstportstart='5' dstportend='6' \
         dscp='10'/>",
        &[
            "eb -A libvirt-J-v0 -p ipv4 --ip-destination 1.2.3.4/24 --ip-protocol 17 \
             --ip-source-port 5:6 --ip-tos 0xa -j DROP",
            "eb -A libvirt-P-v0 -p ipv4 --ip-source 1.2.3.4/24 --ip-protocol 17 \
             --ip-destination-port 5:6 --ip-tos 0xa -j DROP",
        ],
    );
    check(
        "drop out",
        "<ipv6 protocol='icmpv6' type='3'/>",
        &["eb -A libvirt-J-v0 -p ipv6 --ip6-protocol 58 --ip6-icmp-type 3:3/0:255 -j DROP"],
    );
    check(
        "drop out",
        "<ipv6 protocol='icmpv6' typeend='5' code='1' codeend='2'/>",
        &["eb -A libvirt-J-v0 -p ipv6 --ip6-protocol 58 --ip6-icmp-type 0:5/1:2 -j DROP"],
    );
    check(
        "drop out",
        "<stp root-cost='5' root-cost-hi='6' root-address='1:2:3:4:5:6'/>",
        &["eb -A libvirt-J-v0 -d 01:80:c2:00:00:00 --stp-root-addr 01:02:03:04:05:06 \
           --stp-root-cost 5:6 -j DROP"],
    );
}

#[test]
fn rules_above_ip() {
    const ASKED: &str = "-m conntrack --ctstate NEW,ESTABLISHED -m conntrack --ctdir Original";
    const ANSWERED: &str = "-m conntrack --ctstate ESTABLISHED -m conntrack --ctdir Reply";
    let three = |tool: &str, all: [&str; 3]| {
        let names = ["FJ", "FP", "HJ"].into_iter().zip(all);
        names.map(|(chain, rest)| format!("{tool} {chain}-v0 {rest}")).collect::<Vec<_>>()
    };
    // Without a port of the source, the sign of the destination's has no effect.
    let conditions = "<tcp srcipaddr='1.2.3.4' srcipmask='24'/>\
                      <tcp match='no' dstportstart='5' dstportend='6'/>";
    let got = made(&rule("accept out", conditions), &[], &[]).expect("rules");
    let ask = format!("-p tcp --source 1.2.3.4/24 --dport 5:6 {ASKED} -j RETURN");
    let answer = format!("-p tcp --destination 1.2.3.4/24 --sport 5:6 {ANSWERED} -j ACCEPT");
    assert_eq!(got, three("ip", [&ask, &answer, &ask]));

    let got = made(&rule("accept in", "<udp-ipv6 dstportstart='5'/>"), &[], &[]).expect("rules");
    let answer = format!("-p udp --sport 5 {ANSWERED} -j RETURN");
    let ask = format!("-p udp --dport 5 {ASKED} -j ACCEPT");
    assert_eq!(got, three("ip6", [&answer, &ask, &answer]));

    check("accept inout", "<icmp type='8'/>", &[]);
    check(
        "drop in",
        "<icmp match='no' type='8' code='1'/>",
        &["ip FP-v0 -p icmp ! --icmp-type 8/1 -j DROP"],
    );
    check(
        "accept in",
        "<all state='NEW,RELATED' comment='a b'/>",
        &["ip FP-v0 -p all -m conntrack --ctstate NEW,RELATED -m comment --comment a b -j ACCEPT"],
    );
    check(
        "accept out",
        "<tcp connlimit-above='3' flags='SYN,ACK/SYN' dscp='2'/>",
        &[
            "ip FJ-v0 -p tcp -m dscp --dscp 2 --tcp-flags SYN,ACK SYN -m connlimit \
             --connlimit-above 3 -j RETURN",
            "ip HJ-v0 -p tcp -m dscp --dscp 2 --tcp-flags SYN,ACK SYN -m connlimit \
             --connlimit-above 3 -j RETURN",
        ],
    );
    check(
        "drop out",
        "<all ipset='s' ipsetflags='src,dst' srcipfrom='1.1.1.1' srcipto='1.1.1.9'/>",
        &[
            "ip FJ-v0 -p all -m iprange --src-range 1.1.1.1-1.1.1.9 -m set --match-set s src,dst \
             -j DROP",
            "ip FP-v0 -p all -m iprange --dst-range 1.1.1.1-1.1.1.9 -m set --match-set s dst,src \
             -j DROP",
            "ip HJ-v0 -p all -m iprange --src-range 1.1.1.1-1.1.1.9 -m set --match-set s src,dst \
             -j DROP",
        ],
    );
    // No rule that would let everything to the guest pass.
    check(
        "drop out",
        "<esp srcmacaddr='1:2:3:4:5:6'/>",
        &[
            "ip FJ-v0 -p esp -m mac --mac-source 01:02:03:04:05:06 -j DROP",
            "ip HJ-v0 -p esp -m mac --mac-source 01:02:03:04:05:06 -j DROP",
        ],
    );
}

#[test]
fn variables_are_combined() {
    let known: &[(&str, &[&str])] =
        &[("A", &["1.1.1.1", "2.2.2.2", "1.1.1.1"]), ("B", &["5", "6", "5"])];
    let hosts = |conditions: &str| {
        let rules = made(&rule("drop out", conditions), &[], known)?;
        let host = |line: String| line.strip_prefix("ip HJ-v0 -p tcp ").map(str::to_owned);
        Ok::<_, String>(rules.into_iter().filter_map(host).collect::<Vec<_>>())
    };
    for (conditions, expected) in [
        (
            "<tcp srcipaddr='$A' srcportstart='$B'/>",
            vec!["--source 1.1.1.1 --sport 5 -j DROP", "--source 2.2.2.2 --sport 6 -j DROP"],
        ),
        (
            "<tcp srcipaddr='$A' srcportstart='$B[@1]'/>",
            vec![
                "--source 1.1.1.1 --sport 5 -j DROP",
                "--source 2.2.2.2 --sport 5 -j DROP",
                "--source 1.1.1.1 --sport 6 -j DROP",
                "--source 2.2.2.2 --sport 6 -j DROP",
            ],
        ),
        ("<tcp srcportstart='$B[1]'/>", vec!["--sport 6 -j DROP"]),
    ] {
        assert_eq!(hosts(conditions).expect(conditions), expected);
    }
    for (conditions, expected) in [
        ("<tcp srcipaddr='$X'/>", "list elements: X"),
        ("<tcp srcipaddr='$A[3]'/>", "list elements: A[3]"),
        ("<tcp srcportstart='$A'/>", "'1.1.1.1' of variable A cannot be used"),
    ] {
        let error = hosts(conditions).expect_err(conditions);
        assert!(error.contains(expected), "{error}");
    }
    let many = vec!["1"; 300];
    let numbers: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let distinct: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let two = rule("drop out", "<tcp srcportstart='$A' dstportstart='$B[@1]'/>");
    assert_eq!(made(&two, &[], &[("A", &many), ("B", &many)]).map(|list| list.len()), Ok(3));
    assert!(made(&two, &[], &[("A", &distinct), ("B", &distinct)]).is_err());
    assert!(
        made(
            &rule("drop out", "<tcp srcipaddr='$A' srcportstart='$B'/>"),
            &[],
            &[("A", &["1.1.1.1"]), ("B", &["1", "2"]),]
        )
        .is_err()
    );
}

#[test]
fn filters_are_included() {
    let arp = filter(
        "a",
        "arp-x",
        "<rule action='accept' direction='inout' priority='-900'><arp opcode='1'/></rule>\
         <rule action='accept' direction='out'><tcp srcportstart='$P' state='NONE'/></rule>",
    );
    let stp = filter("s", "stp", "<rule action='drop' direction='in'><stp type='1'/></rule>");
    let own = "<rule action='drop' direction='out' priority='-600'/>\
               <filterref filter='a'><parameter name='P' value='7'/></filterref>\
               <rule action='drop' direction='out' priority='-100'/><filterref filter='s'/>";
    let got = made(own, &[arp.clone(), stp.clone()], &[]).expect("rules");
    let expected = [
        "eb -A libvirt-J-v0 -j DROP",
        "eb -F J-v0-arp-x",
        "eb -X J-v0-arp-x",
        "eb -N J-v0-arp-x",
        "eb -A libvirt-J-v0 -p 0x0806 -j J-v0-arp-x",
        "eb -F P-v0-arp-x",
        "eb -X P-v0-arp-x",
        "eb -N P-v0-arp-x",
        "eb -A libvirt-P-v0 -p 0x0806 -j P-v0-arp-x",
        "eb -A libvirt-J-v0 -j DROP",
        "eb -F P-v0-stp",
        "eb -X P-v0-stp",
        "eb -N P-v0-stp",
        "eb -A libvirt-P-v0 -d 01:80:c2:00:00:00 -j P-v0-stp",
        "eb -A J-v0-arp-x -p 0x806 --arp-opcode 1 -j ACCEPT",
        "eb -A P-v0-arp-x -p 0x806 --arp-opcode 1 -j ACCEPT",
        "eb -A P-v0-stp -d 01:80:c2:00:00:00 --stp-type 1 -j DROP",
        "ip FJ-v0 -p tcp --sport 7 -j RETURN",
        "ip HJ-v0 -p tcp --sport 7 -j RETURN",
    ];
    assert_eq!(got, expected);
    // What comes from outside counts before the reference's own.
    let got = made(own, &[arp.clone(), stp], &[("P", &["8"])]).expect("rules");
    assert!(got.iter().any(|line| line.contains("--sport 8")), "{got:?}");
    assert!(made(own, &[arp], &[]).is_err_and(|e| e.contains("'s' is missing")));
    let circle = filter("c", "root", "<filterref filter='c'/>");
    assert!(made("<filterref filter='c'/>", &[circle], &[]).is_err());
    // Filters that include filters twice, again and again.
    let bomb: Vec<Filter> = (0..40)
        .map(|n| {
            let next = format!("<filterref filter='b{}'/>", n + 1);
            filter(&format!("b{n}"), "root", &next.repeat(if n < 39 { 2 } else { 0 }))
        })
        .collect();
    assert!(made("<filterref filter='b0'/>", &bomb, &[]).is_err_and(|e| e.contains("too many")));
}
