//! The commands of the group "monitor".

use super::{Command, Complete, Group, Opt, dom, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group =
    Group { title: "Domain Monitoring", keyword: "monitor", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "domblkerror",
        help: "Show errors on block devices",
        desc: Some("Show block device errors"),
        opts: &[Opt::str("domain", "domain name, id or uuid")
            .required()
            .positional()
            .complete(Complete::Domain(dom::ACTIVE))],
        run: cmd_domblkerror,
        flags: 0,
    },
    Command {
        name: "domblkinfo",
        help: "domain block device size information",
        desc: Some("Get block device size info for a domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::str("device", "block device").positional().complete(Complete::DomainDisk),
            Opt::flag("human", "Human readable output"),
            Opt::flag("all", "display all block devices info"),
        ],
        run: cmd_domblkinfo,
        flags: 0,
    },
    Command {
        name: "domblklist",
        help: "list all domain blocks",
        desc: Some("Get the summary of block devices for a domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::flag("inactive", "get inactive rather than running configuration"),
            Opt::flag("details", "additionally display the type and device value"),
        ],
        run: cmd_domblklist,
        flags: 0,
    },
    Command {
        name: "domblkstat",
        help: "get device block stats for a domain",
        desc: Some(
            "Get device block stats for a running domain. See man page or use --human for explanation of fields",
        ),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("device", "block device").positional().complete(Complete::DomainDisk),
            Opt::flag("human", "print a more human readable output"),
        ],
        run: cmd_domblkstat,
        flags: 0,
    },
    Command {
        name: "domcontrol",
        help: "domain control interface state",
        desc: Some("Returns state of a control interface to the domain."),
        opts: &[Opt::str("domain", "domain name, id or uuid")
            .required()
            .positional()
            .complete(Complete::Domain(dom::ACTIVE))],
        run: cmd_domcontrol,
        flags: 0,
    },
    Command {
        name: "domif-getlink",
        help: "get link state of a virtual interface",
        desc: Some("Get link state of a domain's virtual interface."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::str("interface", "interface device (MAC Address)")
                .required()
                .positional()
                .complete(Complete::DomainInterface),
            Opt::flag("config", "Get persistent interface state"),
            Opt::alias("persistent", "config"),
        ],
        run: cmd_domif_getlink,
        flags: 0,
    },
    Command {
        name: "domifaddr",
        help: "Get network interfaces' addresses for a running domain",
        desc: Some("Get network interfaces' addresses for a running domain"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("interface", "network interface name")
                .positional()
                .complete(Complete::DomainInterface),
            Opt::flag("full", "always display names and MACs of interfaces"),
            Opt::str("source", "address source: 'lease', 'agent', or 'arp'")
                .loose()
                .complete(Complete::Words(words::DOMIFADDR_SOURCES)),
        ],
        run: cmd_domifaddr,
        flags: 0,
    },
    Command {
        name: "domiflist",
        help: "list all domain virtual interfaces",
        desc: Some("Get the summary of virtual interfaces for a domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::flag("inactive", "get inactive rather than running configuration"),
        ],
        run: cmd_domiflist,
        flags: 0,
    },
    Command {
        name: "domifstat",
        help: "get network interface stats for a domain",
        desc: Some("Get network interface stats for a running domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("interface", "interface device specified by name or MAC Address")
                .required()
                .positional()
                .complete(Complete::DomainInterface),
        ],
        run: cmd_domifstat,
        flags: 0,
    },
    Command {
        name: "dominfo",
        help: "domain information",
        desc: Some("Returns basic information about the domain."),
        opts: &[Opt::str("domain", "domain name, id or uuid")
            .required()
            .positional()
            .complete(Complete::Domain(0))],
        run: cmd_dominfo,
        flags: 0,
    },
    Command {
        name: "dommemstat",
        help: "get memory statistics for a domain",
        desc: Some("Get memory statistics for a running domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::int("period", "period in seconds to set collection"),
            Opt::flag("config", "affect next boot"),
            Opt::flag("live", "affect running domain"),
            Opt::flag("current", "affect current domain"),
        ],
        run: cmd_dommemstat,
        flags: 0,
    },
    Command {
        name: "domstate",
        help: "domain state",
        desc: Some("Returns state about a domain."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::flag("reason", "also print reason for the state"),
        ],
        run: cmd_domstate,
        flags: 0,
    },
    Command {
        name: "domstats",
        help: "get statistics about one or multiple domains",
        desc: Some("Gets statistics about one or more (or all) domains"),
        opts: &[
            Opt::flag("state", "report domain state"),
            Opt::flag("cpu-total", "report domain physical cpu usage"),
            Opt::flag("balloon", "report domain balloon statistics"),
            Opt::flag("vcpu", "report domain virtual cpu information"),
            Opt::flag("interface", "report domain network interface information"),
            Opt::flag("block", "report domain block device statistics"),
            Opt::flag("perf", "report domain perf event statistics"),
            Opt::flag("iothread", "report domain IOThread information"),
            Opt::flag("memory", "report domain memory usage"),
            Opt::flag("dirtyrate", "report domain dirty rate information"),
            Opt::flag("vm", "report hypervisor-specific statistics"),
            Opt::flag("list-active", "list only active domains"),
            Opt::flag("list-inactive", "list only inactive domains"),
            Opt::flag("list-persistent", "list only persistent domains"),
            Opt::flag("list-transient", "list only transient domains"),
            Opt::flag("list-running", "list only running domains"),
            Opt::flag("list-paused", "list only paused domains"),
            Opt::flag("list-shutoff", "list only shutoff domains"),
            Opt::flag("list-other", "list only domains in other states"),
            Opt::flag("raw", "do not pretty-print the fields"),
            Opt::flag("enforce", "enforce requested stats parameters"),
            Opt::flag("backing", "add backing chain information to block stats"),
            Opt::flag("nowait", "report only stats that are accessible instantly"),
            Opt::argv("domain", "list of domains to get stats for")
                .positional()
                .complete(Complete::Domain(0)),
        ],
        run: cmd_domstats,
        flags: 0,
    },
    Command {
        name: "domtime",
        help: "domain time",
        desc: Some("Gets or sets the domain's system time"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::flag("now", "set to the time of the host running virsh"),
            Opt::flag("pretty", "print domain's time in human readable form"),
            Opt::flag("sync", "instead of setting given time, synchronize from domain's RTC"),
            Opt::int("time", "time to set").loose(),
        ],
        run: cmd_domtime,
        flags: 0,
    },
    Command {
        name: "list",
        help: "list domains",
        desc: Some("Returns list of domains."),
        opts: &[
            Opt::flag("inactive", "list inactive domains"),
            Opt::flag("all", "list inactive & active domains"),
            Opt::flag("transient", "list transient domains"),
            Opt::flag("persistent", "list persistent domains"),
            Opt::flag("with-snapshot", "list domains with existing snapshot"),
            Opt::flag("without-snapshot", "list domains without a snapshot"),
            Opt::flag("with-checkpoint", "list domains with existing checkpoint"),
            Opt::flag("without-checkpoint", "list domains without a checkpoint"),
            Opt::flag("state-running", "list domains in running state"),
            Opt::flag("state-paused", "list domains in paused state"),
            Opt::flag("state-shutoff", "list domains in shutoff state"),
            Opt::flag("state-other", "list domains in other states"),
            Opt::flag("autostart", "list domains with autostart enabled"),
            Opt::flag("no-autostart", "list domains with autostart disabled"),
            Opt::flag("with-managed-save", "list domains with managed save state"),
            Opt::flag("without-managed-save", "list domains without managed save"),
            Opt::flag("uuid", "list uuid's only"),
            Opt::flag("name", "list domain names only"),
            Opt::flag("id", "list domain IDs only"),
            Opt::flag("table", "list table (default)"),
            Opt::flag("managed-save", "mark inactive domains with managed save state"),
            Opt::flag("title", "show domain title"),
        ],
        run: cmd_list,
        flags: 0,
    },
];
