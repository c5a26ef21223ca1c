//! The commands of the group "nodedev".

use super::{Command, Complete, Group, Opt, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Node Device", keyword: "nodedev", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "nodedev-create",
        help: "create a device defined by an XML file on the node",
        desc: Some(
            "Create a device on the node.  Note that this command creates devices on the physical host that can then be assigned to a virtual machine.",
        ),
        opts: &[
            Opt::str("file", "file containing an XML description of the device")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_nodedev_create,
        flags: 0,
    },
    Command {
        name: "nodedev-destroy",
        help: "destroy (stop) a device on the node",
        desc: Some(
            "Destroy a device on the node.  Note that this command destroys devices on the physical host",
        ),
        opts: &[
            Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
                .required()
                .positional()
                .complete(Complete::NodeDevice),
            Opt::alias("name", "device"),
        ],
        run: cmd_nodedev_destroy,
        flags: 0,
    },
    Command {
        name: "nodedev-detach",
        help: "detach node device from its device driver",
        desc: Some("Detach node device from its device driver before assigning to a domain."),
        opts: &[
            Opt::str("device", "device key").required().positional().complete(Complete::NodeDevice),
            Opt::str("driver", "pci device assignment backend driver (e.g. 'vfio' or 'xen')")
                .loose()
                .complete(Complete::Words(words::DRIVERS)),
        ],
        run: cmd_nodedev_detach,
        flags: 0,
    },
    Command {
        name: "nodedev-dumpxml",
        help: "node device details in XML",
        desc: Some("Output the node device details as an XML dump to stdout."),
        opts: &[
            Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
                .required()
                .positional()
                .complete(Complete::NodeDevice),
            Opt::flag("inactive", "show inactive defined XML"),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_nodedev_dumpxml,
        flags: 0,
    },
    Command {
        name: "nodedev-list",
        help: "enumerate devices on this host",
        desc: None,
        opts: &[
            Opt::flag("tree", "list devices in a tree"),
            Opt::str("cap", "capability names, separated by comma")
                .loose()
                .complete(Complete::Words(words::CAPS)),
            Opt::flag("inactive", "list inactive devices"),
            Opt::flag("all", "list inactive & active devices"),
            Opt::flag("persistent", "list persistent devices"),
            Opt::flag("transient", "list transient devices"),
        ],
        run: cmd_nodedev_list,
        flags: 0,
    },
    Command {
        name: "nodedev-reattach",
        help: "reattach node device to its device driver",
        desc: Some("Reattach node device to its device driver once released by the domain."),
        opts: &[Opt::str("device", "device key")
            .required()
            .positional()
            .complete(Complete::NodeDevice)],
        run: cmd_nodedev_reattach,
        flags: 0,
    },
    Command {
        name: "nodedev-reset",
        help: "reset node device",
        desc: Some("Reset node device before or after assigning to a domain."),
        opts: &[Opt::str("device", "device key")
            .required()
            .positional()
            .complete(Complete::NodeDevice)],
        run: cmd_nodedev_reset,
        flags: 0,
    },
    Command {
        name: "nodedev-event",
        help: "Node Device Events",
        desc: Some("List event types, or wait for node device events to occur"),
        opts: &[
            Opt::str("device", "filter by node device name").loose().complete(Complete::NodeDevice),
            Opt::str("event", "which event type to wait for")
                .loose()
                .complete(Complete::Words(words::NODEDEV_EVENTS)),
            Opt::flag("loop", "loop until timeout or interrupt, rather than one-shot"),
            Opt::int("timeout", "timeout seconds").loose(),
            Opt::flag("list", "list valid event types"),
            Opt::flag("timestamp", "show timestamp for each printed event"),
        ],
        run: cmd_nodedev_event,
        flags: 0,
    },
    Command {
        name: "nodedev-define",
        help: "Define or modify a device by an xml file on a node",
        desc: Some(
            "Defines or modifies a persistent device on the node that can be assigned to a domain. The device must be started before it can be assigned to a domain.",
        ),
        opts: &[
            Opt::str("file", "file containing an XML description of the device")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_nodedev_define,
        flags: 0,
    },
    Command {
        name: "nodedev-undefine",
        help: "Undefine an inactive node device",
        desc: Some("Undefines the configuration for an inactive node device"),
        opts: &[Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
            .required()
            .positional()
            .complete(Complete::NodeDevice)],
        run: cmd_nodedev_undefine,
        flags: 0,
    },
    Command {
        name: "nodedev-start",
        help: "Start an inactive node device",
        desc: Some("Starts an inactive node device that was previously defined"),
        opts: &[Opt::str("device", "device name")
            .required()
            .positional()
            .complete(Complete::NodeDevice)],
        run: cmd_nodedev_start,
        flags: 0,
    },
    Command {
        name: "nodedev-autostart",
        help: "autostart a defined node device",
        desc: Some("Configure a node device to be automatically started at boot."),
        opts: &[
            Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
                .required()
                .positional()
                .complete(Complete::NodeDevice),
            Opt::flag("disable", "disable autostarting"),
        ],
        run: cmd_nodedev_autostart,
        flags: 0,
    },
    Command {
        name: "nodedev-info",
        help: "node device information",
        desc: Some("Returns basic information about the node device"),
        opts: &[Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
            .required()
            .positional()
            .complete(Complete::NodeDevice)],
        run: cmd_nodedev_info,
        flags: 0,
    },
    Command {
        name: "nodedev-update",
        help: "Update a active and/or inactive node device",
        desc: Some("Updates the configuration of a node device"),
        opts: &[
            Opt::str("device", "device name or wwn pair in 'wwnn,wwpn' format")
                .required()
                .positional()
                .complete(Complete::NodeDevice),
            Opt::str("file", "file containing an XML description of the device")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("config", "affect next node device startup"),
            Opt::flag("live", "affect running node device"),
            Opt::flag("current", "affect current state of node device"),
        ],
        run: cmd_nodedev_update,
        flags: 0,
    },
];
