//! The commands of the group "volume".

use super::{Command, Complete, Group, Opt, words};
use crate::virsh::handlers::*;

/// The group, in the order of `help`.
pub static GROUP: Group = Group { title: "Storage Volume", keyword: "volume", commands: COMMANDS };

static COMMANDS: &[Command] = &[
    Command {
        name: "vol-clone",
        help: "clone a volume.",
        desc: Some("Clone an existing volume within the parent pool."),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("newname", "clone name").required().positional().complete(Complete::Nothing),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::flag(
                "prealloc-metadata",
                "preallocate metadata (for qcow2 instead of full allocation)",
            ),
            Opt::flag("reflink", "use btrfs COW lightweight copy"),
            Opt::flag("print-xml", "print XML document rather than clone the volume"),
        ],
        run: cmd_vol_clone,
        flags: 0,
    },
    Command {
        name: "vol-create-as",
        help: "create a volume from a set of args",
        desc: Some("Create a vol."),
        opts: &[
            Opt::str("pool", "pool name").required().positional().complete(Complete::Pool(0)),
            Opt::str("name", "name of the volume")
                .required()
                .positional()
                .complete(Complete::Nothing),
            Opt::str("capacity", "size of the vol, as scaled integer (default bytes)")
                .required()
                .positional()
                .complete(Complete::Nothing),
            Opt::str("allocation", "initial allocation size, as scaled integer (default bytes)")
                .loose()
                .complete(Complete::Nothing),
            Opt::str("format", "file format type raw,bochs,qcow,qcow2,qed,vmdk").loose(),
            Opt::str("backing-vol", "the backing volume if taking a snapshot").loose(),
            Opt::str("backing-vol-format", "format of backing volume if taking a snapshot").loose(),
            Opt::flag(
                "prealloc-metadata",
                "preallocate metadata (for qcow2 instead of full allocation)",
            ),
            Opt::flag("print-xml", "print XML document, but don't define/create"),
        ],
        run: cmd_vol_create_as,
        flags: 0,
    },
    Command {
        name: "vol-create",
        help: "create a vol from an XML file",
        desc: Some("Create a vol."),
        opts: &[
            Opt::str("pool", "pool name").required().positional().complete(Complete::Pool(0)),
            Opt::str("file", "file containing an XML vol description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::flag(
                "prealloc-metadata",
                "preallocate metadata (for qcow2 instead of full allocation)",
            ),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_vol_create,
        flags: 0,
    },
    Command {
        name: "vol-create-from",
        help: "create a vol, using another volume as input",
        desc: Some("Create a vol from an existing volume."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::str("file", "file containing an XML vol description")
                .required()
                .positional()
                .complete(Complete::File),
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("inputpool", "pool name or uuid of the input volume's pool")
                .loose()
                .complete(Complete::Pool(0)),
            Opt::flag(
                "prealloc-metadata",
                "preallocate metadata (for qcow2 instead of full allocation)",
            ),
            Opt::flag("reflink", "use btrfs COW lightweight copy"),
            Opt::flag("validate", "validate the XML against the schema"),
        ],
        run: cmd_vol_create_from,
        flags: 0,
    },
    Command {
        name: "vol-delete",
        help: "delete a vol",
        desc: Some("Delete a given vol."),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::flag(
                "delete-snapshots",
                "delete snapshots associated with volume (must be supported by storage driver)",
            ),
        ],
        run: cmd_vol_delete,
        flags: 0,
    },
    Command {
        name: "vol-download",
        help: "download volume contents to a file",
        desc: Some("Download volume contents to a file"),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("file", "file").required().positional().complete(Complete::File),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::int("offset", "volume offset to download from").loose(),
            Opt::int("length", "amount of data to download").loose(),
            Opt::flag("sparse", "preserve sparseness of volume"),
        ],
        run: cmd_vol_download,
        flags: 0,
    },
    Command {
        name: "vol-dumpxml",
        help: "vol information in XML",
        desc: Some("Output the vol information as an XML dump to stdout."),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::str("xpath", "xpath expression to filter the XML document")
                .empty_ok()
                .complete(Complete::Nothing),
            Opt::flag("wrap", "wrap xpath results in an common root element"),
        ],
        run: cmd_vol_dumpxml,
        flags: 0,
    },
    Command {
        name: "vol-info",
        help: "storage vol information",
        desc: Some("Returns basic information about the storage vol."),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::flag("bytes", "sizes are represented in bytes rather than pretty units"),
            Opt::flag("physical", "return the physical size of the volume in allocation field"),
        ],
        run: cmd_vol_info,
        flags: 0,
    },
    Command {
        name: "vol-key",
        help: "returns the volume key for a given volume name or path",
        desc: None,
        opts: &[
            Opt::str("vol", "volume name or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
        ],
        run: cmd_vol_key,
        flags: 0,
    },
    Command {
        name: "vol-list",
        help: "list vols",
        desc: Some("Returns list of vols by pool."),
        opts: &[
            Opt::str("pool", "pool name or uuid")
                .required()
                .positional()
                .complete(Complete::Pool(0)),
            Opt::flag("details", "display extended details for volumes"),
        ],
        run: cmd_vol_list,
        flags: 0,
    },
    Command {
        name: "vol-name",
        help: "returns the volume name for a given volume key or path",
        desc: None,
        opts: &[Opt::str("vol", "volume key or path")
            .required()
            .positional()
            .complete(Complete::Volume)],
        run: cmd_vol_name,
        flags: 0,
    },
    Command {
        name: "vol-path",
        help: "returns the volume path for a given volume name or key",
        desc: None,
        opts: &[
            Opt::str("vol", "volume name or key")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
        ],
        run: cmd_vol_path,
        flags: 0,
    },
    Command {
        name: "vol-pool",
        help: "returns the storage pool for a given volume key or path",
        desc: None,
        opts: &[
            Opt::str("vol", "volume key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::flag("uuid", "return the pool uuid rather than pool name"),
        ],
        run: cmd_vol_pool,
        flags: 0,
    },
    Command {
        name: "vol-resize",
        help: "resize a vol",
        desc: Some(
            "Resizes a storage volume. This is safe only for storage volumes not in use by an active guest.\nSee blockresize for live resizing.",
        ),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("capacity", "new capacity for the vol, as scaled integer (default bytes)")
                .required()
                .positional()
                .complete(Complete::Nothing),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::flag("allocate", "allocate the new capacity, rather than leaving it sparse"),
            Opt::flag("delta", "use capacity as a delta to current size, rather than the new size"),
            Opt::flag("shrink", "allow the resize to shrink the volume"),
        ],
        run: cmd_vol_resize,
        flags: 0,
    },
    Command {
        name: "vol-upload",
        help: "upload file contents to a volume",
        desc: Some("Upload file contents to a volume"),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("file", "file").required().positional().complete(Complete::File),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::int("offset", "volume offset to upload to").loose(),
            Opt::int("length", "amount of data to upload").loose(),
            Opt::flag("sparse", "preserve sparseness of volume"),
        ],
        run: cmd_vol_upload,
        flags: 0,
    },
    Command {
        name: "vol-wipe",
        help: "wipe a vol",
        desc: Some("Ensure data previously on a volume is not accessible to future reads"),
        opts: &[
            Opt::str("vol", "vol name, key or path")
                .required()
                .positional()
                .complete(Complete::Volume),
            Opt::str("pool", "pool name or uuid").positional().complete(Complete::Pool(0)),
            Opt::str("algorithm", "perform selected wiping algorithm")
                .loose()
                .complete(Complete::Words(words::ALGORITHMS)),
        ],
        run: cmd_vol_wipe,
        flags: 0,
    },
];
