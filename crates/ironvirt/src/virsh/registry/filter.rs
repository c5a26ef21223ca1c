//! The commands of the group "filter".

use super::{Command, Complete, Group, Opt};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Network Filter", keyword: "filter", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "nwfilter-define",
        help: "define or update a network filter from an XML file",
        desc: Some("Define a new network filter or update an existing one."),
        opts: &[
            Opt::str("file", "file containing an XML network filter description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_nwfilter_define,
        flags: 0,
    },
    Command {
        name: "nwfilter-dumpxml",
        help: "network filter information in XML",
        desc: Some("Output the network filter information as an XML dump to stdout."),
        opts: &[
            Opt::str("nwfilter", "network filter name or uuid")
                .required()
                .positional()
                .complete(Complete::Nwfilter),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_nwfilter_dumpxml,
        flags: 0,
    },
    Command {
        name: "nwfilter-edit",
        help: "edit XML configuration for a network filter",
        desc: Some("Edit the XML configuration for a network filter."),
        opts: &[Opt::str("nwfilter", "network filter name or uuid")
            .required()
            .positional()
            .complete(Complete::Nwfilter)],
        run: cmd_nwfilter_edit,
        flags: 0,
    },
    Command {
        name: "nwfilter-list",
        help: "list network filters",
        desc: Some("Returns list of network filters."),
        opts: &[],
        run: cmd_nwfilter_list,
        flags: 0,
    },
    Command {
        name: "nwfilter-undefine",
        help: "undefine a network filter",
        desc: Some("Undefine a given network filter."),
        opts: &[Opt::str("nwfilter", "network filter name or uuid")
            .required()
            .positional()
            .complete(Complete::Nwfilter)],
        run: cmd_nwfilter_undefine,
        flags: 0,
    },
    Command {
        name: "nwfilter-binding-create",
        help: "create a network filter binding from an XML file",
        desc: Some("Create a new network filter binding."),
        opts: &[
            Opt::str("file", "file containing an XML network filter binding description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_nwfilter_binding_create,
        flags: 0,
    },
    Command {
        name: "nwfilter-binding-delete",
        help: "delete a network filter binding",
        desc: Some("Delete a given network filter binding."),
        opts: &[Opt::str("binding", "network filter binding port dev")
            .required()
            .positional()
            .complete(Complete::NwfilterBinding)],
        run: cmd_nwfilter_binding_delete,
        flags: 0,
    },
    Command {
        name: "nwfilter-binding-dumpxml",
        help: "network filter information in XML",
        desc: Some("Output the network filter information as an XML dump to stdout."),
        opts: &[
            Opt::str("binding", "network filter binding portdev")
                .required()
                .positional()
                .complete(Complete::NwfilterBinding),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_nwfilter_binding_dumpxml,
        flags: 0,
    },
    Command {
        name: "nwfilter-binding-list",
        help: "list network filter bindings",
        desc: Some("Returns list of network filter bindings."),
        opts: &[],
        run: cmd_nwfilter_binding_list,
        flags: 0,
    },
];
