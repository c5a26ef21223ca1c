//! The commands of the group "pool".

use super::{Command, Complete, Group, Opt, pools, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Storage Pool", keyword: "pool", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "find-storage-pool-sources-as",
        help: "find potential storage pool sources",
        desc: Some("Returns XML <sources> document."),
        opts: &[
            Opt::str("type", "type of storage pool sources to find")
                .required()
                .positional()
                .complete(Complete::Words(words::POOL_TYPES)),
            Opt::str("host", "optional host to query").loose().complete(Complete::Nothing),
            Opt::str("port", "optional port to query").loose().complete(Complete::Nothing),
            Opt::str("initiator", "optional initiator IQN to use for query")
                .loose()
                .complete(Complete::Nothing),
        ],
        run: cmd_find_storage_pool_sources_as,
        flags: 0,
    },
    Command {
        name: "find-storage-pool-sources",
        help: "discover potential storage pool sources",
        desc: Some("Returns XML <sources> document."),
        opts: &[
            Opt::str("type", "type of storage pool sources to discover")
                .required()
                .positional()
                .complete(Complete::Words(words::POOL_TYPES)),
            Opt::str("srcSpec", "optional file of source xml to query for pools")
                .loose()
                .complete(Complete::File),
        ],
        run: cmd_find_storage_pool_sources,
        flags: 0,
    },
    Command {
        name: "pool-autostart",
        help: "autostart a pool",
        desc: Some("Configure a pool to be automatically started at boot."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::flag("disable", "disable autostarting"),
        ],
        run: cmd_pool_autostart,
        flags: 0,
    },
    Command {
        name: "pool-build",
        help: "build a pool",
        desc: Some("Build a given pool."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::flag("no-overwrite", "do not overwrite any existing data"),
            Opt::flag("overwrite", "overwrite any existing data"),
        ],
        run: cmd_pool_build,
        flags: 0,
    },
    Command {
        name: "pool-create-as",
        help: "create a pool from a set of args",
        desc: Some("Create a pool."),
        opts: &[
            Opt::str("name", "name of the pool")
                .required()
                .positional()
                .complete(Complete::Nothing),
            Opt::str("type", "type of the pool")
                .required()
                .positional()
                .complete(Complete::Words(words::POOL_TYPES)),
            Opt::flag("print-xml", "print XML document, but don't define/create"),
            Opt::str("source-host", "source-host for underlying storage")
                .loose()
                .complete(Complete::Nothing),
            Opt::str("source-path", "source path for underlying storage").loose(),
            Opt::str("source-dev", "source device for underlying storage").loose(),
            Opt::str("source-name", "source name for underlying storage").loose(),
            Opt::str("target", "target for underlying storage").loose(),
            Opt::str("source-format", "format for underlying storage").loose(),
            Opt::str("auth-type", "auth type to be used for underlying storage").loose(),
            Opt::str("auth-username", "auth username to be used for underlying storage")
                .loose()
                .complete(Complete::Nothing),
            Opt::str("secret-usage", "auth secret usage to be used for underlying storage").loose(),
            Opt::str("secret-uuid", "auth secret UUID to be used for underlying storage").loose(),
            Opt::str("adapter-name", "adapter name to be used for underlying storage").loose(),
            Opt::str("adapter-wwnn", "adapter wwnn to be used for underlying storage").loose(),
            Opt::str("adapter-wwpn", "adapter wwpn to be used for underlying storage").loose(),
            Opt::str(
                "adapter-parent",
                "adapter parent scsi_hostN to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-wwnn",
                "adapter parent scsi_hostN wwnn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-wwpn",
                "adapter parent scsi_hostN wwpn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-fabric-wwn",
                "adapter parent scsi_hostN fabric_wwn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str("source-protocol-ver", "nfsvers value for NFS pool mount option").loose(),
            Opt::str("source-initiator", "initiator iqn for underlying storage")
                .loose()
                .complete(Complete::Nothing),
            Opt::flag("build", "build the pool as normal"),
            Opt::flag("no-overwrite", "do not overwrite any existing data"),
            Opt::flag("overwrite", "overwrite any existing data"),
        ],
        run: cmd_pool_create_as,
        flags: 0,
    },
    Command {
        name: "pool-create",
        help: "create a pool from an XML file",
        desc: Some("Create a pool."),
        opts: &[
            Opt::str("file", "file containing an XML pool description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("build", "build the pool as normal"),
            Opt::flag("no-overwrite", "do not overwrite any existing data"),
            Opt::flag("overwrite", "overwrite any existing data"),
        ],
        run: cmd_pool_create,
        flags: 0,
    },
    Command {
        name: "pool-define-as",
        help: "define a pool from a set of args",
        desc: Some("Define a pool."),
        opts: &[
            Opt::str("name", "name of the pool")
                .required()
                .positional()
                .complete(Complete::Nothing),
            Opt::str("type", "type of the pool")
                .required()
                .positional()
                .complete(Complete::Words(words::POOL_TYPES)),
            Opt::flag("print-xml", "print XML document, but don't define/create"),
            Opt::str("source-host", "source-host for underlying storage")
                .loose()
                .complete(Complete::Nothing),
            Opt::str("source-path", "source path for underlying storage").loose(),
            Opt::str("source-dev", "source device for underlying storage").loose(),
            Opt::str("source-name", "source name for underlying storage").loose(),
            Opt::str("target", "target for underlying storage").loose(),
            Opt::str("source-format", "format for underlying storage").loose(),
            Opt::str("auth-type", "auth type to be used for underlying storage").loose(),
            Opt::str("auth-username", "auth username to be used for underlying storage")
                .loose()
                .complete(Complete::Nothing),
            Opt::str("secret-usage", "auth secret usage to be used for underlying storage").loose(),
            Opt::str("secret-uuid", "auth secret UUID to be used for underlying storage").loose(),
            Opt::str("adapter-name", "adapter name to be used for underlying storage").loose(),
            Opt::str("adapter-wwnn", "adapter wwnn to be used for underlying storage").loose(),
            Opt::str("adapter-wwpn", "adapter wwpn to be used for underlying storage").loose(),
            Opt::str(
                "adapter-parent",
                "adapter parent scsi_hostN to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-wwnn",
                "adapter parent scsi_hostN wwnn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-wwpn",
                "adapter parent scsi_hostN wwpn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str(
                "adapter-parent-fabric-wwn",
                "adapter parent scsi_hostN fabric_wwn to be used for underlying vHBA storage",
            )
            .loose(),
            Opt::str("source-protocol-ver", "nfsvers value for NFS pool mount option").loose(),
            Opt::str("source-initiator", "initiator iqn for underlying storage")
                .loose()
                .complete(Complete::Nothing),
        ],
        run: cmd_pool_define_as,
        flags: 0,
    },
    Command {
        name: "pool-define",
        help: "define an inactive persistent storage pool or modify an existing persistent one from an XML file",
        desc: Some("Define or modify a persistent storage pool."),
        opts: &[
            Opt::str("file", "file containing an XML pool description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_pool_define,
        flags: 0,
    },
    Command {
        name: "pool-delete",
        help: "delete a pool",
        desc: Some("Delete a given pool."),
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(pools::INACTIVE))],
        run: cmd_pool_delete,
        flags: 0,
    },
    Command {
        name: "pool-destroy",
        help: "destroy (stop) a pool",
        desc: Some("Forcefully stop a given pool. Raw data in the pool is untouched"),
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_destroy,
        flags: 0,
    },
    Command {
        name: "pool-dumpxml",
        help: "pool information in XML",
        desc: Some("Output the pool information as an XML dump to stdout."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::flag("inactive", "show inactive defined XML"),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_pool_dumpxml,
        flags: 0,
    },
    Command {
        name: "pool-edit",
        help: "edit XML configuration for a storage pool",
        desc: Some("Edit the XML configuration for a storage pool."),
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_edit,
        flags: 0,
    },
    Command {
        name: "pool-info",
        help: "storage pool information",
        desc: Some("Returns basic information about the storage pool."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::flag("bytes", "Return pool info in bytes"),
        ],
        run: cmd_pool_info,
        flags: 0,
    },
    Command {
        name: "pool-list",
        help: "list pools",
        desc: Some("Returns list of pools."),
        opts: &[
            Opt::flag("inactive", "list inactive pools"),
            Opt::flag("all", "list inactive & active pools"),
            Opt::flag("transient", "list transient pools"),
            Opt::flag("persistent", "list persistent pools"),
            Opt::flag("autostart", "list pools with autostart enabled"),
            Opt::flag("no-autostart", "list pools with autostart disabled"),
            Opt::str("type", "only list pool of specified type(s) (if supported)")
                .loose()
                .complete(Complete::Words(words::POOL_TYPES)),
            Opt::flag("details", "display extended details for pools"),
            Opt::flag("uuid", "list UUID of active pools only"),
            Opt::flag("name", "list name of active pools only"),
        ],
        run: cmd_pool_list,
        flags: 0,
    },
    Command {
        name: "pool-name",
        help: "convert a pool UUID to pool name",
        desc: None,
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_name,
        flags: 0,
    },
    Command {
        name: "pool-refresh",
        help: "refresh a pool",
        desc: Some("Refresh a given pool."),
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_refresh,
        flags: 0,
    },
    Command {
        name: "pool-start",
        help: "start a (previously defined) inactive pool",
        desc: Some("Start a pool."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(pools::INACTIVE)),
            Opt::flag("build", "build the pool as normal"),
            Opt::flag("no-overwrite", "do not overwrite any existing data"),
            Opt::flag("overwrite", "overwrite any existing data"),
        ],
        run: cmd_pool_start,
        flags: 0,
    },
    Command {
        name: "pool-undefine",
        help: "undefine an inactive pool",
        desc: Some("Undefine the configuration for an inactive pool."),
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_undefine,
        flags: 0,
    },
    Command {
        name: "pool-uuid",
        help: "convert a pool name to pool UUID",
        desc: None,
        opts: &[Opt::str("pool", "pool name or uuid")
            .required()
            .positional()
            .complete(Complete::Pool(0))],
        run: cmd_pool_uuid,
        flags: 0,
    },
    Command {
        name: "pool-event",
        help: "Storage Pool Events",
        desc: Some("List event types, or wait for storage pool events to occur"),
        opts: &[
            Opt::str("pool", "filter by storage pool name or uuid")
                .loose()
                .complete(Complete::Pool(0)),
            Opt::str("event", "which event type to wait for")
                .loose()
                .complete(Complete::Words(words::POOL_EVENTS)),
            Opt::flag("loop", "loop until timeout or interrupt, rather than one-shot"),
            Opt::int("timeout", "timeout seconds").loose(),
            Opt::flag("list", "list valid event types"),
            Opt::flag("timestamp", "show timestamp for each printed event"),
        ],
        run: cmd_pool_event,
        flags: 0,
    },
    Command {
        name: "pool-capabilities",
        help: "storage pool capabilities",
        desc: Some("Returns capabilities of storage pool support."),
        opts: &[],
        run: cmd_pool_capabilities,
        flags: 0,
    },
];
