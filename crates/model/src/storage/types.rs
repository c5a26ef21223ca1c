//! Types of pools and volumes, and what each pool type has.

use xml::XmlEnum;

/// How a pool gets its volumes. The order is libvirt's (error texts show the number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, XmlEnum)]
pub enum PoolType {
    /// A folder.
    Dir,
    /// A block device with a file system.
    Fs,
    /// A network file system.
    Netfs,
    /// An LVM volume group.
    Logical,
    /// A disk's partitions.
    Disk,
    /// An iSCSI target, through the kernel.
    Iscsi,
    /// An iSCSI target, through libiscsi.
    IscsiDirect,
    /// A SCSI host adapter's disks.
    Scsi,
    /// Multipath devices.
    Mpath,
    /// A Ceph pool.
    Rbd,
    /// A Sheepdog cluster.
    Sheepdog,
    /// A Gluster volume.
    Gluster,
    /// A ZFS pool.
    Zfs,
    /// A Virtuozzo storage cluster.
    Vstorage,
}

/// What a volume is (`virStorageVolType`, in its order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, XmlEnum)]
pub enum VolumeType {
    /// A regular file.
    #[default]
    File,
    /// A block device.
    Block,
    /// A folder.
    Dir,
    /// Something reached through the network.
    Network,
    /// A folder reached through the network.
    Netdir,
    /// A ploop image's folder.
    Ploop,
}

impl VolumeType {
    /// The number of `virStorageVolType`.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// Image formats a file volume may have. `none` is the word for no format.
pub const FILE_FORMATS: &[&str] = &[
    "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk",
];

const FS_FORMATS: &[&str] = &[
    "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs",
    "ocfs2", "vmfs",
];
const NETFS_FORMATS: &[&str] = &["auto", "nfs", "glusterfs", "cifs"];
const LOGICAL_FORMATS: &[&str] = &["unknown", "lvm2"];
const DISK_FORMATS: &[&str] =
    &["unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"];
const PARTITION_FORMATS: &[&str] =
    &["none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"];

/// Where a pool's volumes appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetRule {
    /// A path that has to be given.
    Given,
    /// A path made of this folder and the source's name.
    Below(&'static str),
    /// Nowhere in the file system.
    None,
}

/// Which parts of `<source>` a type has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceRule {
    pub host: bool,
    pub device: bool,
    /// A device has to be given.
    pub device_required: bool,
    pub dir: bool,
    pub adapter: bool,
    pub name: bool,
    pub initiator: bool,
}

impl PoolType {
    /// The number in libvirt's messages.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The bit of `VIR_CONNECT_LIST_STORAGE_POOLS_*` that selects this type.
    pub fn list_flag(self) -> u32 {
        match self {
            Self::Dir => 1 << 6,
            Self::Fs => 1 << 7,
            Self::Netfs => 1 << 8,
            Self::Logical => 1 << 9,
            Self::Disk => 1 << 10,
            Self::Iscsi => 1 << 11,
            Self::Scsi => 1 << 12,
            Self::Mpath => 1 << 13,
            Self::Rbd => 1 << 14,
            Self::Sheepdog => 1 << 15,
            Self::Gluster => 1 << 16,
            Self::Zfs => 1 << 17,
            Self::Vstorage => 1 << 18,
            Self::IscsiDirect => 1 << 19,
        }
    }

    /// Formats of the source; the first element of the pair is the default.
    pub fn source_formats(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Fs => Some(("auto", FS_FORMATS)),
            Self::Netfs => Some(("auto", NETFS_FORMATS)),
            Self::Logical => Some(("lvm2", LOGICAL_FORMATS)),
            Self::Disk => Some(("unknown", DISK_FORMATS)),
            _ => None,
        }
    }

    /// Formats of volumes; the first element of the pair is the default.
    pub fn volume_formats(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Dir | Self::Fs | Self::Netfs | Self::Gluster | Self::Vstorage => {
                Some(("raw", FILE_FORMATS))
            }
            Self::Disk => Some(("none", PARTITION_FORMATS)),
            Self::Rbd => Some(("raw", &[])),
            _ => None,
        }
    }

    pub(super) fn target(self) -> TargetRule {
        match self {
            Self::Logical => TargetRule::Below("/dev"),
            Self::Zfs => TargetRule::Below("/dev/zvol"),
            Self::IscsiDirect | Self::Rbd | Self::Sheepdog | Self::Gluster => TargetRule::None,
            _ => TargetRule::Given,
        }
    }

    pub(super) fn source(self) -> SourceRule {
        let none = SourceRule::default();
        match self {
            Self::Dir | Self::Mpath => none,
            Self::Fs | Self::Disk => SourceRule { device: true, device_required: true, ..none },
            Self::Netfs => SourceRule { host: true, dir: true, ..none },
            Self::Logical | Self::Zfs => SourceRule { name: true, device: true, ..none },
            Self::Iscsi | Self::IscsiDirect => {
                SourceRule { host: true, device: true, initiator: true, ..none }
            }
            Self::Scsi => SourceRule { adapter: true, ..none },
            Self::Rbd | Self::Sheepdog => SourceRule { host: true, name: true, ..none },
            Self::Gluster => SourceRule { host: true, name: true, dir: true, ..none },
            Self::Vstorage => SourceRule { name: true, ..none },
        }
    }
}
