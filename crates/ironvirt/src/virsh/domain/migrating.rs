//! `migrate`: its options, and what client and daemon must be able to do for it.

use super::*;
use crate::virsh::conn::Conn;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::read_file;

/// What a daemon must offer, as the numbers of the feature query.
mod feature {
    pub const V1: i32 = 1;
    pub const V2: i32 = 3;
    pub const P2P: i32 = 4;
    pub const DIRECT: i32 = 5;
    pub const V3: i32 = 6;
    pub const CHANGE_PROTECTION: i32 = 7;
    pub const OFFLINE: i32 = 12;
    pub const PARAMS: i32 = 13;
}

/// Pairs of switches that exclude each other.
const EXCLUSIVE: &[(&str, &str)] = &[
    ("live", "offline"),
    ("timeout-suspend", "timeout-postcopy"),
    ("copy-storage-all", "copy-storage-inc"),
];

/// An option and the switch it needs.
const NEEDS: &[(&str, &str)] = &[
    ("postcopy-after-precopy", "postcopy"),
    ("postcopy-resume", "postcopy"),
    ("timeout-postcopy", "postcopy"),
    ("persistent-xml", "persistent"),
    ("tls-destination", "tls"),
];

/// Strings that only the calls with extensible parameters can carry.
const EXTENDED: &[&str] = &[
    "graphicsuri",
    "listen-address",
    "disks-uri",
    "migrate-disks",
    "migrate-disks-detect-zeroes",
    "comp-methods",
    "tls-destination",
];

/// Numbers of 32 bits that only those calls can carry.
const EXTENDED_INTS: &[&str] = &[
    "disks-port",
    "comp-mt-level",
    "comp-mt-threads",
    "comp-mt-dthreads",
    "auto-converge-initial",
    "auto-converge-increment",
    "parallel-connections",
    "comp-zlib-level",
    "comp-zstd-level",
];

/// Numbers of 64 bits that only those calls can carry.
const EXTENDED_SIZES: &[&str] =
    &["comp-xbzrle-cache", "postcopy-bandwidth", "available-switchover-bandwidth"];

/// `migrate`
pub fn cmd_migrate(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for (a, b) in EXCLUSIVE {
        cmd.exclusive(a, b)?;
    }
    for (given, needed) in NEEDS {
        cmd.requires(given, needed)?;
    }
    domain(ctl, cmd)?;
    timeout(cmd)?;
    let target = cmd.req("desturi")?.to_owned();
    let (p2p, direct) = (cmd.has("p2p"), cmd.has("direct"));
    let target =
        if p2p || direct { None } else { Some(Conn::open(Some(&target), false, ctl.keepalive)?) };
    let extended = parameters(cmd)?;
    if cmd.has("offline") {
        source_can(ctl, feature::OFFLINE, "offline")?;
    }
    if p2p {
        return source_can(ctl, feature::P2P, "p2p").and_then(|()| unsupported());
    }
    if direct {
        return source_can(ctl, feature::DIRECT, "direct").and_then(|()| unsupported());
    }
    if cmd.has("tunnelled") {
        fail!("cannot perform tunnelled migration without using peer2peer flag");
    }
    let Some(target) = target else { return unsupported() };
    if cmd.has("change-protection") && !ctl.conn()?.supports(feature::CHANGE_PROTECTION)? {
        fail!("argument unsupported: cannot enforce change protection");
    }
    let mut both =
        |number| -> Outcome<bool> { Ok(ctl.conn()?.supports(number)? && target.supports(number)?) };
    if both(feature::PARAMS)? {
        return unsupported();
    }
    if extended {
        fail!(
            "argument unsupported: Migration APIs with extensible parameters are not supported but extended parameters were passed"
        );
    }
    for version in [feature::V3, feature::V2, feature::V1] {
        if both(version)? {
            return unsupported();
        }
    }
    fail!("this function is not supported by the connection driver: virDomainMigrate3")
}

/// Both ends could: this command cannot carry it out.
fn unsupported() -> Outcome {
    fail!(
        "operation not supported: migrating guests is not supported by ironvirt; nothing was changed"
    )
}

fn source_can(ctl: &mut Ctl, number: i32, what: &str) -> Outcome {
    if !ctl.conn()?.supports(number)? {
        fail!("argument unsupported: {what} migration is not supported by the source host");
    }
    Ok(())
}

/// Checks the options about a limit of time.
fn timeout(cmd: &Cmd) -> Outcome {
    let action = cmd.has("timeout-suspend") || cmd.has("timeout-postcopy");
    let given = cmd.uint("timeout")?;
    if given.is_some_and(|n| n > 0) && !cmd.has("live") {
        fail!("migrate: Unexpected timeout for offline migration");
    }
    if given.is_none() && action {
        fail!("migrate: Unexpected --timeout-* option without --timeout");
    }
    Ok(())
}

/// Checks what is passed on to the daemons; true when some of it needs extensible parameters.
fn parameters(cmd: &Cmd) -> Outcome<bool> {
    let mut extended = false;
    for name in ["migrateuri", "dname"] {
        cmd.str(name)?;
    }
    for name in EXTENDED {
        extended |= cmd.str(name)?.is_some();
    }
    let copies = cmd.has("copy-storage-all") || cmd.has("copy-storage-inc");
    for name in ["migrate-disks", "migrate-disks-detect-zeroes", "copy-storage-synchronous-writes"]
    {
        if cmd.has(name) && !copies {
            fail!("'--{name}' requires one of '--copy-storage-all', '--copy-storage-inc'");
        }
    }
    for name in ["xml", "persistent-xml"] {
        if let Some(file) = cmd.str(name)? {
            read_file(file).ctx(format!("cannot read file '{file}'"))?;
            extended |= name == "persistent-xml";
        }
    }
    for name in EXTENDED_INTS {
        extended |= cmd.int(name)?.is_some();
    }
    for name in EXTENDED_SIZES {
        extended |= cmd.ull(name)?.is_some();
    }
    cmd.ull("bandwidth")?;
    Ok(extended)
}
