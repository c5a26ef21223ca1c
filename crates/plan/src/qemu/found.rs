//! What was looked up outside the guest's definition before its start is planned.

use model::domain::devices::disk::{BackingStore, DataStore, DiskSource, StorageType};
use model::domain::devices::interface::Interface;
use model::domain::sysinfo::Sysinfo;
use std::collections::{BTreeMap, BTreeSet};

/// Adapter, bus, target and unit of a SCSI device of the host.
pub type ScsiPlace = (String, u32, u32, u32);

/// What was looked up outside the guest's definition: storage volumes, network ports, descriptors
/// that a client handed in, programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Volumes by pool and name: the kind of source they are, and where.
    pub volumes: BTreeMap<(String, String), FoundVolume>,
    /// What the lowest image that a disk names stands on, by the disk's target; an empty layer where
    /// that is nothing. QEMU reads the chain of a disk that is not here from its image.
    pub chains: BTreeMap<String, BackingStore>,
    /// The file that holds the bytes of the lowest image that a disk names, by the disk's target.
    pub data_stores: BTreeMap<String, DataStore>,
    /// Groups of descriptors by name.
    pub fd_groups: BTreeMap<String, FdGroup>,
    /// What interfaces of type `network` are connected to, by their place in the definition: an
    /// interface of the real type, with what the network adds.
    pub connections: BTreeMap<usize, Interface>,
    /// The host's address on virtual networks, by their names.
    pub network_addresses: BTreeMap<String, String>,
    /// Generic nodes (`/dev/sg0`) of SCSI devices by adapter (`scsi_host0`), bus, target and unit.
    pub scsi_generic: BTreeMap<ScsiPlace, String>,
    /// Names of pipes that are two, `NAME.in` and `NAME.out`: where both are there, QEMU opens them
    /// and not what has the name itself.
    pub pipe_pairs: BTreeSet<String>,
    /// A server for RDP runs beside QEMU, on its D-Bus display.
    pub rdp: bool,
    /// virtiofsd is of the kind that lets nobody choose how it locks, as all are since QEMU 8.
    pub virtiofsd_without_locks: bool,
    /// What the host's firmware tells of the host, for guests that are to show the same.
    pub host_sysinfo: Option<Sysinfo>,
    /// nbdkit, where it is to be used.
    pub nbdkit: Option<Nbdkit>,
}

/// A volume of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundVolume {
    /// What it is.
    pub kind: StorageType,
    /// Where it is; what the definition says beyond pool and volume is kept.
    pub source: DiskSource,
}

/// Descriptors handed in by a client, for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdGroup {
    /// How many.
    pub count: usize,
    /// They may be written to, even where the image is not.
    pub writable: bool,
}

/// nbdkit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nbdkit {
    /// The program.
    pub program: String,
    /// Plugins it has.
    pub plugins: Vec<String>,
}

impl Nbdkit {
    /// The plugin that serves a protocol, if it is there.
    pub fn plugin(&self, protocol: &str) -> Option<&'static str> {
        let plugin = match protocol {
            "http" | "https" | "ftp" | "ftps" | "tftp" => "curl",
            "ssh" => "ssh",
            _ => return None,
        };
        self.plugins.iter().any(|known| known == plugin).then_some(plugin)
    }
}
