//! Rules of the bridge, as commands of ebtables.

use model::nwfilter::{Action, Protocol, Rule, RuleDirection};

use super::options::{Options, Sign, hex, text};
use crate::Command;

/// The address that bridges send spanning tree packets to.
pub(super) const BRIDGES: &str = "01:80:c2:00:00:00";

/// Which packets a chain sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// Those from the guest.
    FromGuest,
    /// Those to the guest.
    ToGuest,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::FromGuest, Self::ToGuest];

    fn letter(self) -> char {
        match self {
            Self::FromGuest => 'J',
            Self::ToGuest => 'P',
        }
    }

    /// Whether rules of a direction belong here.
    pub(super) fn has(self, direction: RuleDirection) -> bool {
        match direction {
            RuleDirection::Out => self == Self::FromGuest,
            RuleDirection::In => self == Self::ToGuest,
            RuleDirection::Inout => true,
        }
    }

    /// The name of a chain of an interface; they have their last names when all is ready.
    pub(super) fn chain(self, chain: &str, interface: &str) -> String {
        match chain {
            "root" => format!("libvirt-{}-{interface}", self.letter()),
            chain => format!("{}-{interface}-{chain}", self.letter()),
        }
    }
}

fn ebtables() -> Command {
    Command::new("ebtables").args(["--concurrent", "-t", "nat"])
}

/// The chain of a filter that is not in the root chain, and the jump to it.
pub(super) fn sub_chain(side: Side, chain: &str, interface: &str) -> Vec<Command> {
    let name = side.chain(chain, interface);
    // A chain's name begins with that of a protocol.
    let packets: &[&str] = match chain.get(..3) {
        Some("vla") => &["-p", "0x8100"],
        Some("stp") => &["-d", BRIDGES],
        Some("arp") => &["-p", "0x0806"],
        Some("rar") => &["-p", "0x8035"],
        Some("ipv") if chain.starts_with("ipv4") => &["-p", "0x0800"],
        Some("ipv") => &["-p", "0x86dd"],
        _ => &[],
    };
    let jump =
        ebtables().args(["-A", &side.chain("root", interface)]).args(packets.iter().copied());
    vec![
        ebtables().args(["-F", &name]),
        ebtables().args(["-X", &name]),
        ebtables().args(["-N", &name]),
        jump.args(["-j", &name]),
    ]
}

/// The commands of a rule.
pub(super) fn commands(rule: &Rule, chain: &str, interface: &str) -> Vec<Command> {
    let sides = Side::ALL.into_iter().filter(|side| side.has(rule.direction));
    let command = |side: Side| {
        // A rule for both ways is read as one for packets to the guest.
        let reversed = side == Side::FromGuest && rule.direction == RuleDirection::Inout;
        let mut options = Options::new(rule, reversed, Sign::After);
        conditions(&mut options);
        ebtables()
            .args(["-A", &side.chain(chain, interface)])
            .args(options.args)
            .args(["-j", target(rule.action)])
    };
    sides.map(command).collect()
}

fn target(action: Action) -> &'static str {
    match action {
        Action::Accept => "ACCEPT",
        // ebtables cannot say that it threw a packet away.
        Action::Drop | Action::Reject => "DROP",
        Action::Return => "RETURN",
        Action::Continue => "CONTINUE",
    }
}

fn conditions(options: &mut Options<'_>) {
    let Some(protocol) = options.rule.protocol else { return };
    let (source, destination) = (options.side("-s", "-d"), options.side("-d", "-s"));
    options.pair(source, "srcmacaddr", '/', "srcmacmask");
    options.pair(destination, "dstmacaddr", '/', "dstmacmask");
    match protocol {
        Protocol::Vlan => {
            options.words(["-p", "0x8100"]);
            options.value("--vlan-id", "vlanid");
            options.value("--vlan-encap", "encap-protocol");
        }
        Protocol::Stp => stp(options),
        Protocol::Arp => arp(options, "0x806"),
        Protocol::Rarp => arp(options, "0x8035"),
        Protocol::Ip => {
            options.words(["-p", "ipv4"]);
            ip(options, "ip");
            options.value_as("--ip-tos", "dscp", hex);
        }
        Protocol::Ipv6 => {
            options.words(["-p", "ipv6"]);
            ip(options, "ip6");
            icmpv6(options);
        }
        _ => options.value_as("-p", "protocolid", hex),
    }
}

fn stp(options: &mut Options<'_>) {
    options.words(["-d", BRIDGES]);
    options.value("--stp-type", "type");
    options.value("--stp-flags", "flags");
    for (option, attribute) in [
        ("--stp-root-pri", "root-priority"),
        ("--stp-root-addr", "root-address"),
        ("--stp-root-cost", "root-cost"),
        ("--stp-sender-prio", "sender-priority"),
        ("--stp-sender-addr", "sender-address"),
        ("--stp-port", "port"),
        ("--stp-msg-age", "age"),
        ("--stp-max-age", "max-age"),
        ("--stp-hello-time", "hello-time"),
        ("--stp-forward-delay", "forward-delay"),
    ] {
        if attribute.ends_with("address") {
            options.pair(option, attribute, '/', &format!("{attribute}-mask"));
        } else {
            options.pair(option, attribute, ':', &format!("{attribute}-hi"));
        }
    }
}

fn arp(options: &mut Options<'_>, protocol: &str) {
    options.words(["-p", protocol]);
    options.value("--arp-htype", "hwtype");
    options.value("--arp-opcode", "opcode");
    options.value_as("--arp-ptype", "protocoltype", hex);
    let (source, destination) = (
        options.side("--arp-ip-src", "--arp-ip-dst"),
        options.side("--arp-ip-dst", "--arp-ip-src"),
    );
    for (option, address, mask) in [
        (source, "arpsrcipaddr", "arpsrcipmask"),
        // libvirt takes the source's mask here, where the destination has none.
        (destination, "arpdstipaddr", "arpdstipmask"),
    ] {
        if let Some(condition) = options.condition(address) {
            let mask = options.rule.value(mask).map_or_else(|| "32".to_owned(), text);
            let words = format!("{}/{mask}", text(&condition.value));
            options.push(option, condition.negated, &[&words]);
        }
    }
    options.value(options.side("--arp-mac-src", "--arp-mac-dst"), "arpsrcmacaddr");
    options.value(options.side("--arp-mac-dst", "--arp-mac-src"), "arpdstmacaddr");
    if let Some(condition) = options.condition("gratuitous")
        && condition.value == model::nwfilter::Value::Boolean(true)
    {
        options.push("--arp-gratuitous", condition.negated, &[]);
    }
}

/// What IPv4 and IPv6 have in common.
fn ip(options: &mut Options<'_>, family: &str) {
    let (source, destination) =
        (options.side("source", "destination"), options.side("destination", "source"));
    options.pair(&format!("--{family}-{source}"), "srcipaddr", '/', "srcipmask");
    options.pair(&format!("--{family}-{destination}"), "dstipaddr", '/', "dstipmask");
    options.value(&format!("--{family}-protocol"), "protocol");
    options.pair(&format!("--{family}-{source}-port"), "srcportstart", ':', "srcportend");
    options.pair(&format!("--{family}-{destination}-port"), "dstportstart", ':', "dstportend");
}

/// Types and codes of ICMPv6: `type:type/code:code`.
fn icmpv6(options: &mut Options<'_>) {
    let rule = options.rule;
    let attributes = ["type", "typeend", "code", "codeend"].map(|name| rule.value(name).map(text));
    if attributes.iter().all(Option::is_none) {
        return;
    }
    let [type_from, type_to, code_from, code_to] = attributes;
    let range = |from: Option<String>, to: Option<String>| match (from, to) {
        (Some(from), None) => format!("{from}:{from}"),
        (from, to) => {
            format!("{}:{}", from.as_deref().unwrap_or("0"), to.as_deref().unwrap_or("255"))
        }
    };
    let words = format!("{}/{}", range(type_from, type_to), range(code_from, code_to));
    let negated = options.condition("type").is_some_and(|condition| condition.negated);
    options.push("--ip6-icmp-type", negated, &[&words]);
}
