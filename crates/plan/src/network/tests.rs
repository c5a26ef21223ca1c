//! Networks in, dnsmasq's files and firewall rules out.

use model::network::{Network, parse};

use super::*;
use crate::Command;

fn network(rest: &str) -> Network {
    let text = format!("<network><name>n</name><bridge name='br'/>{rest}</network>");
    parse(&text).into_result().expect(rest)
}

fn made(rest: &str) -> Result<Dnsmasq, diag::VirError> {
    let paths = DnsmasqPaths { state_dir: "/d".into(), pid_file: None };
    dnsmasq(&network(rest), &paths)
}

/// The lines between those that every network has.
fn conf(rest: &str) -> String {
    let conf = made(rest).expect(rest).conf;
    let common = ["strict-order", "except-interface=lo", "bind-dynamic", "interface=br"];
    let own = conf.lines().filter(|line| !line.starts_with('#') && !common.contains(line));
    own.collect::<Vec<_>>().join(" ")
}

const NAT: &str = "<forward mode='nat'/>";
const IP: &str = "<ip address='10.0.0.1' prefix='24'/>";

#[test]
fn dnsmasq_is_told_what_to_serve() {
    for (rest, expected) in [
        (format!("{NAT}{IP}"), "addn-hosts=/d/n.addnhosts"),
        (IP.to_owned(), "dhcp-option=3 no-resolv ra-param=*,0,0 addn-hosts=/d/n.addnhosts"),
        (format!("{NAT}{IP}<dns enable='no'/>"), "port=0"),
        (
            format!("{NAT}{IP}<domain name='d' localOnly='yes'/><dns forwardPlainNames='no'/>"),
            "local=/d/ domain=d expand-hosts domain-needed local=// addn-hosts=/d/n.addnhosts",
        ),
        (
            format!(
                "{NAT}{IP}<dns><forwarder domain='x'/><forwarder domain='y' addr='1.2.3.4'/>\
                 <forwarder addr='fd00::1'/></dns>"
            ),
            "server=/x/# server=/y/1.2.3.4 server=fd00::1 no-resolv addn-hosts=/d/n.addnhosts",
        ),
        (
            format!(
                "{NAT}{IP}<dns><txt name='a' value='b'/><srv service='s' protocol='tcp' \
                 domain='d' target='t' weight='7'/><srv service='s' protocol='udp' target='.' \
                 port='5'/></dns>"
            ),
            "txt-record=a,b srv-host=_s._tcp.d,t,1,0,7 srv-host=_s._udp \
             addn-hosts=/d/n.addnhosts",
        ),
        (
            format!(
                "{NAT}<mtu size='1400'/><ip address='10.0.0.1' prefix='24'><tftp root='/t'/>\
                 <dhcp><range start='10.0.0.2' end='10.0.0.9'><lease expiry='2' unit='hours'/>\
                 </range><bootp file='f' server='1.2.3.4'/></dhcp></ip>\
                 <ip family='ipv6' address='fd00::1' prefix='64'/>"
            ),
            "enable-tftp tftp-root=/t dhcp-range=10.0.0.2,10.0.0.9,255.255.255.0,2h \
             dhcp-no-override dhcp-authoritative dhcp-boot=f,,1.2.3.4 dhcp-lease-max=8 \
             dhcp-hostsfile=/d/n.hostsfile addn-hosts=/d/n.addnhosts dhcp-option=option:mtu,1400 \
             dhcp-range=fd00::1,ra-only",
        ),
        (
            format!(
                "{NAT}<ip family='ipv6' address='fd00::1' prefix='64'><dhcp><host name='h' \
                 ip='fd00::7'/></dhcp></ip>"
            ),
            "dhcp-range=fd00::1,static,64 dhcp-hostsfile=/d/n.hostsfile \
             addn-hosts=/d/n.addnhosts enable-ra",
        ),
        (
            format!(
                "{NAT}<ip address='10.1.2.3' prefix='16' localPtr='yes'/><ip family='ipv6' \
                 address='fd00::1' prefix='20' localPtr='yes'/>"
            ),
            "local=/1.10.in-addr.arpa/ local=/0.0.0.d.f.ip6.arpa/ addn-hosts=/d/n.addnhosts \
             dhcp-range=fd00::1,ra-only",
        ),
    ] {
        assert_eq!(conf(&rest), expected, "{rest}");
    }
}

#[test]
fn hosts_stand_in_files_of_their_own() {
    let rest = "<dns><host ip='1.2.3.4'><hostname>a</hostname><hostname>b</hostname></host></dns>\
                <ip address='10.0.0.1' prefix='24'><dhcp><host mac='52:54:00:00:00:01' name='x' \
                ip='10.0.0.5'><lease expiry='0'/></host><host name='y' ip='10.0.0.6'/></dhcp></ip>\
                <ip family='ipv6' address='fd00::1' prefix='64'><dhcp><host id='0:1' name='z' \
                ip='fd00::7'/></dhcp></ip>";
    let made = made(rest).expect("files");
    let hosts = "52:54:00:00:00:01,10.0.0.5,x,infinite\ny,10.0.0.6\nid:0:1,z,[fd00::7]\n";
    assert_eq!(made.hosts.as_deref(), Some(hosts));
    assert_eq!(made.additional_hosts.as_deref(), Some("1.2.3.4\ta\tb\t\n"));
}

#[test]
fn what_cannot_be_served_is_refused() {
    for (rest, words) in [
        ("<ip address='10.0.0.1' prefix='25' localPtr='yes'/>".to_owned(), "prefix 25"),
        (format!("{IP}<dns><txt name='a' value='b&#10;dhcp-script=/x'/></dns>"), "cannot stand in"),
    ] {
        let error = made(&rest).expect_err(&rest);
        assert!(error.message().contains(words), "{}", error.message());
    }
    assert!(!needs_dnsmasq(&network("")));
    assert!(needs_dnsmasq(&network(IP)));
    assert!(!needs_dnsmasq(&network(&format!("{IP}<dns enable='no'/>"))));
}

/// The commands of a network, one a line, without those about the host's own services.
fn commands(rest: &str, backend: Backend) -> Vec<String> {
    let rules: Vec<Rule> = rules(&network(rest))
        .into_iter()
        .filter(|rule| !matches!(rule, Rule::AllowRequest(..) | Rule::AllowAnswer(..)))
        .collect();
    let lines = to_commands(&rules, "br", backend);
    lines.iter().map(Command::argv).map(|argv| argv.join(" ")).collect()
}

#[test]
fn an_open_network_has_no_rules() {
    for mode in ["open", "bridge", "hostdev"] {
        let text = format!("<network><name>n</name><forward mode='{mode}'/></network>");
        assert_eq!(rules(&parse(&text).value.expect(mode)), []);
        assert_eq!(to_commands(&[], "br", Backend::Nftables), []);
    }
}

#[test]
fn guests_of_a_routed_network_are_not_translated() {
    let rest = format!("<forward mode='route' dev='e'/>{IP}");
    assert_eq!(
        commands(&rest, Backend::Iptables)[3..],
        [
            "iptables -w --table filter --insert LIBVIRT_FWO --source 10.0.0.0/24 --in-interface \
             br --out-interface e --jump ACCEPT",
            "iptables -w --table filter --insert LIBVIRT_FWI --destination 10.0.0.0/24 \
             --in-interface e --out-interface br --jump ACCEPT",
        ]
    );
    assert_eq!(
        commands(&rest, Backend::Nftables)[6..],
        [
            "nft -ae insert rule ip libvirt_network guest_output ip saddr 10.0.0.0/24 iif br \
             oifname e counter accept",
            "nft -ae insert rule ip libvirt_network guest_input ip daddr 10.0.0.0/24 iifname e oif \
             br counter accept",
        ]
    );
}

#[test]
fn guests_of_a_nat_network_appear_with_other_addresses() {
    let rest = format!(
        "<forward mode='nat'><nat><address start='1.2.3.4' end='1.2.3.9'/><port start='5' \
         end='6'/></nat></forward>{IP}"
    );
    let lines = commands(&rest, Backend::Iptables);
    assert_eq!(
        lines[6],
        "iptables -w --table nat --insert LIBVIRT_PRT --source 10.0.0.0/24 -p udp ! --destination \
         10.0.0.0/24 --jump SNAT --to-source 1.2.3.4-1.2.3.9:5-6"
    );
    let lines = commands(&rest, Backend::Nftables);
    assert_eq!(
        lines[10],
        "nft -ae insert rule ip libvirt_network guest_nat meta l4proto tcp ip saddr 10.0.0.0/24 ip \
         daddr != 10.0.0.0/24 counter snat to 1.2.3.4-1.2.3.9:5-6"
    );
    let v6 = "<forward mode='nat'><nat ipv6='yes'/></forward><ip family='ipv6' address='fd00::1' \
              prefix='64'/>";
    let lines = commands(v6, Backend::Iptables);
    assert_eq!(
        lines.last().map(String::as_str),
        Some(
            "ip6tables -w --table nat --insert LIBVIRT_PRT --source fd00::/64 --destination \
             ff02::/16 --jump RETURN"
        )
    );
}

#[test]
fn the_host_serves_names_and_addresses() {
    let rest = format!("{NAT}<ip address='10.0.0.1' prefix='24'><tftp root='/t'/></ip>");
    let served: Vec<(&str, u16)> = rules(&network(&rest))
        .iter()
        .filter_map(|rule| match rule {
            Rule::AllowRequest(_, protocol, port) => Some((*protocol, *port)),
            _ => None,
        })
        .collect();
    assert_eq!(served, [("tcp", 67), ("udp", 67), ("tcp", 53), ("udp", 53), ("udp", 69)]);
    // Chains are made once, for both protocols.
    assert_eq!(set_up(Backend::Iptables).len(), 34);
    assert_eq!(set_up(Backend::Nftables).len(), 20);
}
