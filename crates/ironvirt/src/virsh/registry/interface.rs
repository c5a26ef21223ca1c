//! The commands of the group "interface".

use super::{Command, Complete, Group, Opt, ifaces};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Interface", keyword: "interface", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "iface-begin",
        help: "create a snapshot of current interfaces settings, which can be later committed (iface-commit) or restored (iface-rollback)",
        desc: Some("Create a restore point for interfaces settings"),
        opts: &[],
        run: cmd_iface_begin,
        flags: 0,
    },
    Command {
        name: "iface-bridge",
        help: "create a bridge device and attach an existing network device to it",
        desc: Some("bridge an existing network device"),
        opts: &[
            Opt::str("interface", "existing interface name")
                .required()
                .positional()
                .complete(Complete::Interface(0)),
            Opt::str("bridge", "new bridge device name").required().positional(),
            Opt::flag("no-stp", "do not enable STP for this bridge"),
            Opt::int("delay", "number of seconds to squelch traffic on newly connected ports")
                .loose(),
            Opt::flag("no-start", "don't start the bridge immediately"),
        ],
        run: cmd_iface_bridge,
        flags: 0,
    },
    Command {
        name: "iface-commit",
        help: "commit changes made since iface-begin and free restore point",
        desc: Some("commit changes and free restore point"),
        opts: &[],
        run: cmd_iface_commit,
        flags: 0,
    },
    Command {
        name: "iface-define",
        help: "define an inactive persistent physical host interface or modify an existing persistent one from an XML file",
        desc: Some("Define or modify a persistent physical host interface."),
        opts: &[
            Opt::str("file", "file containing an XML interface description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_iface_define,
        flags: 0,
    },
    Command {
        name: "iface-destroy",
        help: "destroy a physical host interface (disable it / \"if-down\")",
        desc: Some("forcefully stop a physical host interface."),
        opts: &[Opt::str("interface", "interface name or MAC address")
            .required()
            .positional()
            .complete(Complete::Interface(0))],
        run: cmd_iface_destroy,
        flags: 0,
    },
    Command {
        name: "iface-dumpxml",
        help: "interface information in XML",
        desc: Some("Output the physical host interface information as an XML dump to stdout."),
        opts: &[
            Opt::str("interface", "interface name or MAC address")
                .required()
                .positional()
                .complete(Complete::Interface(0)),
            Opt::flag("inactive", "show inactive defined XML"),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_iface_dumpxml,
        flags: 0,
    },
    Command {
        name: "iface-edit",
        help: "edit XML configuration for a physical host interface",
        desc: Some("Edit the XML configuration for a physical host interface."),
        opts: &[Opt::str("interface", "interface name or MAC address")
            .required()
            .positional()
            .complete(Complete::Interface(0))],
        run: cmd_iface_edit,
        flags: 0,
    },
    Command {
        name: "iface-list",
        help: "list physical host interfaces",
        desc: Some("Returns list of physical host interfaces."),
        opts: &[
            Opt::flag("inactive", "list inactive interfaces"),
            Opt::flag("all", "list inactive & active interfaces"),
        ],
        run: cmd_iface_list,
        flags: 0,
    },
    Command {
        name: "iface-mac",
        help: "convert an interface name to interface MAC address",
        desc: None,
        opts: &[Opt::str("interface", "interface name")
            .required()
            .positional()
            .complete(Complete::Interface(0))],
        run: cmd_iface_mac,
        flags: 0,
    },
    Command {
        name: "iface-name",
        help: "convert an interface MAC address to interface name",
        desc: None,
        opts: &[Opt::str("interface", "interface mac")
            .required()
            .positional()
            .complete(Complete::InterfaceMac)],
        run: cmd_iface_name,
        flags: 0,
    },
    Command {
        name: "iface-rollback",
        help: "rollback to previous saved configuration created via iface-begin",
        desc: Some("rollback to previous restore point"),
        opts: &[],
        run: cmd_iface_rollback,
        flags: 0,
    },
    Command {
        name: "iface-start",
        help: "start a physical host interface (enable it / \"if-up\")",
        desc: Some("start a physical host interface."),
        opts: &[Opt::str("interface", "interface name or MAC address")
            .required()
            .positional()
            .complete(Complete::Interface(ifaces::INACTIVE))],
        run: cmd_iface_start,
        flags: 0,
    },
    Command {
        name: "iface-unbridge",
        help: "undefine a bridge device after detaching its device(s)",
        desc: Some("unbridge a network device"),
        opts: &[
            Opt::str("bridge", "current bridge device name").required().positional(),
            Opt::flag(
                "no-start",
                "don't start the detached interface immediately (not recommended)",
            ),
        ],
        run: cmd_iface_unbridge,
        flags: 0,
    },
    Command {
        name: "iface-undefine",
        help: "undefine a physical host interface (remove it from configuration)",
        desc: Some("undefine an interface."),
        opts: &[Opt::str("interface", "interface name or MAC address")
            .required()
            .positional()
            .complete(Complete::Interface(0))],
        run: cmd_iface_undefine,
        flags: 0,
    },
];
