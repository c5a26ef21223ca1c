//! Bonds: several network cards as one.

use xml::{Xml, XmlEnum};

use super::Port;

/// A bond.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Bond {
    /// How packets are spread over the members.
    #[xml(attr)]
    pub mode: Option<BondMode>,
    /// Watching the members' links.
    #[xml(child)]
    pub miimon: Option<MiiMonitor>,
    /// Watching by asking for an address; not together with the other.
    #[xml(child)]
    pub arpmon: Option<ArpMonitor>,
    /// Its members, network cards.
    #[xml(child, name = "interface")]
    pub ports: Vec<Port>,
}

impl Bond {
    /// Drops what libvirt does not keep: delays of 0, and the second kind of watching.
    pub(super) fn settle(&mut self) {
        if let Some(miimon) = &mut self.miimon {
            miimon.downdelay = miimon.downdelay.filter(|delay| *delay != 0);
            miimon.updelay = miimon.updelay.filter(|delay| *delay != 0);
            self.arpmon = None;
        }
    }
}

/// How a bond spreads packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum BondMode {
    /// In turn.
    BalanceRr,
    /// Over one member; the others stand by.
    ActiveBackup,
    /// By addresses.
    BalanceXor,
    /// Over all.
    Broadcast,
    /// By the link aggregation protocol.
    #[xml(name = "802.3ad")]
    Lacp,
    /// Outgoing packets by load.
    BalanceTlb,
    /// Packets in both directions by load.
    BalanceAlb,
}

/// Watching by the state of the link. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct MiiMonitor {
    /// Time between looks.
    #[xml(attr)]
    pub freq: i32,
    /// Time until a lost link counts.
    #[xml(attr)]
    pub downdelay: Option<i32>,
    /// Time until a found link counts.
    #[xml(attr)]
    pub updelay: Option<i32>,
    /// How the state is asked.
    #[xml(attr)]
    pub carrier: Option<MiiCarrier>,
}

/// How the state of a link is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum MiiCarrier {
    /// By an ioctl of the driver.
    Ioctl,
    /// By the kernel's own notion.
    Netif,
}

/// Watching by ARP requests.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ArpMonitor {
    /// Milliseconds between requests.
    #[xml(attr)]
    pub interval: i32,
    /// The address asked for.
    #[xml(attr)]
    pub target: String,
    /// Which members' answers are checked.
    #[xml(attr)]
    pub validate: Option<ArpValidate>,
}

/// Which members' answers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum ArpValidate {
    /// The active one's.
    Active,
    /// Those of the others.
    Backup,
    /// All.
    All,
}
