//! The commands of the group "backup".

use super::{Command, Complete, Group, Opt, dom};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Backup", keyword: "backup", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "backup-begin",
        help: "Start a disk backup of a live domain",
        desc: Some(
            "Use XML to start a full or incremental disk backup of a live domain, optionally creating a checkpoint",
        ),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("backupxml", "domain backup XML").positional().complete(Complete::File),
            Opt::str("checkpointxml", "domain checkpoint XML").loose().complete(Complete::File),
            Opt::flag("reuse-external", "reuse files provided by caller"),
        ],
        run: cmd_backup_begin,
        flags: 0,
    },
    Command {
        name: "backup-dumpxml",
        help: "Dump XML for an ongoing domain block backup job",
        desc: Some("Backup Dump XML"),
        opts: &[
            Opt::str("domain", "domain name, id or uuid")
                .required()
                .positional()
                .complete(Complete::Domain(dom::ACTIVE)),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_backup_dumpxml,
        flags: 0,
    },
];
