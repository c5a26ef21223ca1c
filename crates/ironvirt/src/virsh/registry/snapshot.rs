//! The commands of the group "snapshot".

use super::{Command, Complete, Group, Opt, dom};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Snapshot", keyword: "snapshot", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "snapshot-create",
        help: "Create a snapshot from XML",
        desc: Some("Create a snapshot (disk and RAM) from XML"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::str("xmlfile", "domain snapshot XML").positional().complete(Complete::File),
            Opt::flag("redefine", "redefine metadata for existing snapshot"),
            Opt::flag("current", "with redefine, set current snapshot"),
            Opt::flag("no-metadata", "take snapshot but create no metadata"),
            Opt::flag("halt", "halt domain after snapshot is created"),
            Opt::flag("disk-only", "capture disk state but not vm state"),
            Opt::flag("reuse-external", "reuse any existing external files"),
            Opt::flag("quiesce", "quiesce guest's file systems"),
            Opt::flag("atomic", "require atomic operation"),
            Opt::flag("live", "take a live snapshot"),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_snapshot_create,
        flags: 0,
    },
    Command {
        name: "snapshot-create-as",
        help: "Create a snapshot from a set of args",
        desc: Some("Create a snapshot (disk and RAM) from arguments"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(0)),
            Opt::str("name", "name of snapshot").loose().complete(Complete::Nothing),
            Opt::str("description", "description of snapshot").loose().complete(Complete::Nothing),
            Opt::flag("print-xml", "print XML document rather than create"),
            Opt::flag("no-metadata", "take snapshot but create no metadata"),
            Opt::flag("halt", "halt domain after snapshot is created"),
            Opt::flag("disk-only", "capture disk state but not vm state"),
            Opt::flag("reuse-external", "reuse any existing external files"),
            Opt::flag("quiesce", "quiesce guest's file systems"),
            Opt::flag("atomic", "require atomic operation"),
            Opt::flag("live", "take a live snapshot"),
            Opt::flag("validate", "validate the XML against the schema"),
            Opt::str("memspec", "memory attributes: [file=]name[,snapshot=type]"),
            Opt::argv(
                "diskspec",
                "disk attributes: disk[,snapshot=type][,driver=type][,stype=type][,file=name]",
            )
            .loose(),
        ],
        run: cmd_snapshot_create_as,
        flags: 0,
    },
    Command {
        name: "snapshot-current",
        help: "Get or set the current snapshot",
        desc: Some("Get or set the current snapshot"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::flag("name", "list the name, rather than the full xml"),
            Opt::flag("security-info", "include security sensitive information in XML dump"),
            Opt::str("snapshotname", "name of existing snapshot to make current")
                .positional()
                .complete(Complete::Snapshot),
        ],
        run: cmd_snapshot_current,
        flags: 0,
    },
    Command {
        name: "snapshot-delete",
        help: "Delete a domain snapshot",
        desc: Some("Snapshot Delete"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "snapshot name").positional().complete(Complete::Snapshot),
            Opt::flag("current", "delete current snapshot"),
            Opt::flag("children", "delete snapshot and all children"),
            Opt::flag("children-only", "delete children but not snapshot"),
            Opt::flag("metadata", "delete only libvirt metadata, leaving snapshot contents behind"),
        ],
        run: cmd_snapshot_delete,
        flags: 0,
    },
    Command {
        name: "snapshot-dumpxml",
        help: "Dump XML for a domain snapshot",
        desc: Some("Snapshot Dump XML"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "snapshot name")
                .required()
                .positional()
                .complete(Complete::Snapshot),
            Opt::flag("security-info", "include security sensitive information in XML dump"),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_snapshot_dumpxml,
        flags: 0,
    },
    Command {
        name: "snapshot-edit",
        help: "edit XML for a snapshot",
        desc: Some("Edit the domain snapshot XML for a named snapshot"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "snapshot name").positional().complete(Complete::Snapshot),
            Opt::flag("current", "also set edited snapshot as current"),
            Opt::flag("rename", "allow renaming an existing snapshot"),
            Opt::flag("clone", "allow cloning to new name"),
        ],
        run: cmd_snapshot_edit,
        flags: 0,
    },
    Command {
        name: "snapshot-info",
        help: "snapshot information",
        desc: Some("Returns basic information about a snapshot."),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "snapshot name").positional().complete(Complete::Snapshot),
            Opt::flag("current", "info on current snapshot"),
        ],
        run: cmd_snapshot_info,
        flags: 0,
    },
    Command {
        name: "snapshot-list",
        help: "List snapshots for a domain",
        desc: Some("Snapshot List"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::flag("parent", "add a column showing parent snapshot"),
            Opt::flag("roots", "list only snapshots without parents"),
            Opt::flag("leaves", "list only snapshots without children"),
            Opt::flag("no-leaves", "list only snapshots that are not leaves (with children)"),
            Opt::flag(
                "metadata",
                "list only snapshots that have metadata that would prevent undefine",
            ),
            Opt::flag(
                "no-metadata",
                "list only snapshots that have no metadata managed by libvirt",
            ),
            Opt::flag("inactive", "filter by snapshots taken while inactive"),
            Opt::flag("active", "filter by snapshots taken while active (full system snapshots)"),
            Opt::flag("disk-only", "filter by disk-only snapshots"),
            Opt::flag("internal", "filter by internal snapshots"),
            Opt::flag("external", "filter by external snapshots"),
            Opt::flag("tree", "list snapshots in a tree"),
            Opt::str("from", "limit list to children of given snapshot")
                .loose()
                .complete(Complete::Snapshot),
            Opt::flag("current", "limit list to children of current snapshot"),
            Opt::flag("descendants", "with --from, list all descendants"),
            Opt::flag("name", "list snapshot names only"),
            Opt::flag("topological", "sort list topologically rather than by name"),
        ],
        run: cmd_snapshot_list,
        flags: 0,
    },
    Command {
        name: "snapshot-parent",
        help: "Get the name of the parent of a snapshot",
        desc: Some("Extract the snapshot's parent, if any"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "find parent of snapshot name")
                .positional()
                .complete(Complete::Snapshot),
            Opt::flag("current", "find parent of current snapshot"),
        ],
        run: cmd_snapshot_parent,
        flags: 0,
    },
    Command {
        name: "snapshot-revert",
        help: "Revert a domain to a snapshot",
        desc: Some("Revert domain to snapshot"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::WITH_SNAPSHOT)),
            Opt::str("snapshotname", "snapshot name").positional().complete(Complete::Snapshot),
            Opt::flag("current", "revert to current snapshot"),
            Opt::flag("running", "after reverting, change state to running"),
            Opt::flag("paused", "after reverting, change state to paused"),
            Opt::flag("force", "try harder on risky reverts"),
            Opt::flag("reset-nvram", "re-initialize NVRAM from its pristine template"),
        ],
        run: cmd_snapshot_revert,
        flags: 0,
    },
];
