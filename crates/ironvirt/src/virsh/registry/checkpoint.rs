//! The commands of the group "checkpoint".

use super::{Command, Complete, Group, Opt, dom};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Checkpoint", keyword: "checkpoint", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "checkpoint-create",
        help: "Create a checkpoint from XML",
        desc: Some("Create a checkpoint from XML for use in future incremental backups"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("xmlfile", "domain checkpoint XML").positional().complete(Complete::File),
            Opt::flag("redefine", "redefine metadata for existing checkpoint"),
            Opt::flag("redefine-validate", "validate the redefined checkpoint"),
            Opt::flag("quiesce", "quiesce guest's file systems"),
        ],
        run: cmd_checkpoint_create,
        flags: 0,
    },
    Command {
        name: "checkpoint-create-as",
        help: "Create a checkpoint from a set of args",
        desc: Some("Create a checkpoint from arguments for use in future incremental backups"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("name", "name of checkpoint").loose().complete(Complete::Nothing),
            Opt::str("description", "description of checkpoint")
                .loose()
                .complete(Complete::Nothing),
            Opt::flag("print-xml", "print XML document rather than create"),
            Opt::flag("quiesce", "quiesce guest's file systems"),
            Opt::argv("diskspec", "disk attributes: disk[,checkpoint=type][,bitmap=name]").loose(),
        ],
        run: cmd_checkpoint_create_as,
        flags: 0,
    },
    Command {
        name: "checkpoint-delete",
        help: "Delete a domain checkpoint",
        desc: Some("Checkpoint Delete"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::str("checkpointname", "checkpoint name")
                .required()
                .positional()
                .complete(Complete::Checkpoint),
            Opt::flag("children", "delete checkpoint and all children"),
            Opt::flag("children-only", "delete children but not checkpoint"),
            Opt::flag(
                "metadata",
                "delete only libvirt metadata, leaving checkpoint contents behind",
            ),
        ],
        run: cmd_checkpoint_delete,
        flags: 0,
    },
    Command {
        name: "checkpoint-dumpxml",
        help: "Dump XML for a domain checkpoint",
        desc: Some("Checkpoint Dump XML"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::str("checkpointname", "checkpoint name")
                .required()
                .positional()
                .complete(Complete::Checkpoint),
            Opt::flag("security-info", "include security sensitive information in XML dump"),
            Opt::flag("no-domain", "exclude <domain> from XML"),
            Opt::flag("size", "include backup size estimate in XML dump"),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_checkpoint_dumpxml,
        flags: 0,
    },
    Command {
        name: "checkpoint-edit",
        help: "edit XML for a checkpoint",
        desc: Some("Edit the domain checkpoint XML for a named checkpoint"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::str("checkpointname", "checkpoint name")
                .required()
                .positional()
                .complete(Complete::Checkpoint),
        ],
        run: cmd_checkpoint_edit,
        flags: 0,
    },
    Command {
        name: "checkpoint-info",
        help: "checkpoint information",
        desc: Some("Returns basic information about a checkpoint."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::str("checkpointname", "checkpoint name")
                .required()
                .positional()
                .complete(Complete::Checkpoint),
        ],
        run: cmd_checkpoint_info,
        flags: 0,
    },
    Command {
        name: "checkpoint-list",
        help: "List checkpoints for a domain",
        desc: Some("Checkpoint List"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::flag("parent", "add a column showing parent checkpoint"),
            Opt::flag("roots", "list only checkpoints without parents"),
            Opt::flag("leaves", "list only checkpoints without children"),
            Opt::flag("no-leaves", "list only checkpoints that are not leaves (with children)"),
            Opt::flag("tree", "list checkpoints in a tree"),
            Opt::str("from", "limit list to children of given checkpoint")
                .loose()
                .complete(Complete::Checkpoint),
            Opt::flag("descendants", "with --from, list all descendants"),
            Opt::flag("name", "list checkpoint names only"),
            Opt::flag("topological", "sort list topologically rather than by name"),
        ],
        run: cmd_checkpoint_list,
        flags: 0,
    },
    Command {
        name: "checkpoint-parent",
        help: "Get the name of the parent of a checkpoint",
        desc: Some("Extract the checkpoint's parent, if any"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_CHECKPOINT)),
            Opt::str("checkpointname", "find parent of checkpoint name")
                .required()
                .positional()
                .complete(Complete::Checkpoint),
        ],
        run: cmd_checkpoint_parent,
        flags: 0,
    },
];
