//! Rules above IP, as commands of iptables and ip6tables.

use model::nwfilter::{Action, Direction, Layer, Protocol, Rule, RuleDirection, Value};

use super::options::{Options, Sign, text};
use crate::Command;

/// A chain of an interface.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// From the guest to others.
    ForwardOut,
    /// To the guest.
    ForwardIn,
    /// From the guest to the host.
    HostIn,
}

impl Chain {
    fn name(self, interface: &str) -> String {
        let prefix = match self {
            Self::ForwardOut => "FJ",
            Self::ForwardIn => "FP",
            Self::HostIn => "HJ",
        };
        format!("{prefix}-{interface}")
    }

    fn accept(self) -> &'static str {
        // What the guest sends may meet other rules of the host.
        if self == Self::ForwardIn { "ACCEPT" } else { "RETURN" }
    }

    /// Whether packets here go against the rule's way.
    fn reversed(self, direction: RuleDirection) -> bool {
        (self == Self::ForwardIn) == (direction == RuleDirection::Out)
    }
}

/// The states of connections a rule looks at.
enum States<'a> {
    /// None.
    Any,
    /// Those of its attribute.
    Given(&'a Value),
    /// What is asked one way is answered the other way.
    Tracked,
}

fn states(rule: &Rule) -> States<'_> {
    match rule.value("state") {
        Some(state) if rule.state_match => States::Given(state),
        _ if rule.state_match
            && rule.action == Action::Accept
            && rule.direction != RuleDirection::Inout =>
        {
            States::Tracked
        }
        _ => States::Any,
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp | Protocol::TcpV6 => "tcp",
        Protocol::Udp | Protocol::UdpV6 => "udp",
        Protocol::Udplite | Protocol::UdpliteV6 => "udplite",
        Protocol::Esp | Protocol::EspV6 => "esp",
        Protocol::Ah | Protocol::AhV6 => "ah",
        Protocol::Sctp | Protocol::SctpV6 => "sctp",
        Protocol::Icmp => "icmp",
        Protocol::Icmpv6 => "icmpv6",
        Protocol::Igmp => "igmp",
        _ => "all",
    }
}

/// The commands of a rule.
pub(super) fn commands(rule: &Rule, layer: Layer, interface: &str) -> Vec<Command> {
    let Some(of) = rule.protocol else { return Vec::new() };
    let program = if layer == Layer::Ipv6 { "ip6tables" } else { "iptables" };
    let states = states(rule);
    let icmp = matches!(of, Protocol::Icmp | Protocol::Icmpv6);
    let one_type = icmp && rule.value("type").is_some();
    let mut commands = Vec::new();
    for chain in [Chain::ForwardOut, Chain::ForwardIn, Chain::HostIn] {
        let reversed = chain.reversed(rule.direction);
        let inout = rule.direction == RuleDirection::Inout;
        // The answer to a packet of ICMP has another type.
        if (one_type && (reversed || inout))
            || (matches!(states, States::Given(_)) && reversed && !inout)
            || (rule.value("connlimit-above").is_some() && reversed)
        {
            continue;
        }
        let mut options = Options::new(rule, reversed, Sign::Before);
        options.words(["-p", protocol(of)]);
        let before = options.args.len();
        packets(&mut options, icmp, layer);
        if reversed && rule.value("srcmacaddr").is_some() && options.args.len() == before {
            // The address was all it asked for: it would let every packet to the guest in.
            continue;
        }
        connection(&mut options, &states, !one_type);
        let target = match rule.action {
            Action::Accept => chain.accept(),
            Action::Drop => "DROP",
            Action::Reject => "REJECT",
            Action::Return => "RETURN",
            Action::Continue => "CONTINUE",
        };
        commands.push(
            Command::new(program)
                .args(["-w", "-A", &chain.name(interface)])
                .args(options.args)
                .args(["-j", target]),
        );
    }
    commands
}

/// What a packet itself must be.
fn packets(options: &mut Options<'_>, icmp: bool, layer: Layer) {
    // A packet to the guest does not have its address as source any more.
    if !options.reversed && options.condition("srcmacaddr").is_some() {
        options.words(["-m", "mac"]);
        options.value("--mac-source", "srcmacaddr");
    }
    let source = ["--source", "--src-range", "srcipaddr", "srcipmask", "srcipfrom", "srcipto"];
    let destination =
        ["--destination", "--dst-range", "dstipaddr", "dstipmask", "dstipfrom", "dstipto"];
    for (own, other) in [(source, destination), (destination, source)] {
        let [_, _, address, mask, first, last] = own;
        options.pair(options.side(own[0], other[0]), address, '/', mask);
        // libvirt leaves out a range beside an address: the rule is wider than it says.
        if options.condition(first).is_some() {
            options.words(["-m", "iprange"]);
            options.pair(options.side(own[1], other[1]), first, '-', last);
        }
    }
    if options.condition("dscp").is_some() {
        options.words(["-m", "dscp"]);
        options.value("--dscp", "dscp");
    }
    if let Some(condition) = options.condition("flags")
        && let Value::TcpFlags(flags) = &condition.value
    {
        options.push("--tcp-flags", condition.negated, &[&flags.mask(), &flags.set()]);
    }
    let (source, destination) =
        (options.side("--sport", "--dport"), options.side("--dport", "--sport"));
    options.pair(source, "srcportstart", ':', "srcportend");
    options.pair(destination, "dstportstart", ':', "dstportend");
    if icmp {
        let option = if layer == Layer::Ipv6 { "--icmpv6-type" } else { "--icmp-type" };
        options.pair(option, "type", '/', "code");
    }
}

/// What its connection must be, and what else is looked up.
fn connection(options: &mut Options<'_>, states: &States<'_>, directed: bool) {
    let rule = options.rule;
    let limit = rule.value("connlimit-above").is_some();
    // Connections are counted in whatever state they are.
    let counted = limit && rule.action == Action::Accept;
    match states {
        States::Given(Value::State(state)) if !state.none && !counted => {
            options.words(["-m", "conntrack", "--ctstate", &state.text()]);
        }
        States::Tracked if !counted => {
            let state = options.side("NEW,ESTABLISHED", "ESTABLISHED");
            options.words(["-m", "conntrack", "--ctstate", state]);
            if directed {
                let direction = options.side("Original", "Reply");
                options.words(["-m", "conntrack", "--ctdir", direction]);
            }
        }
        _ => {}
    }
    if limit {
        options.words(["-m", "connlimit"]);
        options.value("--connlimit-above", "connlimit-above");
    }
    if let Some(set) = options.condition("ipset")
        && let Some(Value::Directions(directions)) = rule.value("ipsetflags")
    {
        let word = |direction: &Direction| {
            let source = *direction == Direction::Source;
            if source == options.reversed { "dst" } else { "src" }
        };
        let flags: Vec<&str> = directions.iter().map(word).collect();
        options.words(["-m", "set"]);
        options.push("--match-set", set.negated, &[&text(&set.value), &flags.join(",")]);
    }
    if let Some(comment) = rule.value("comment") {
        options.words(["-m", "comment", "--comment", &text(comment)]);
    }
}
