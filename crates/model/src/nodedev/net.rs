//! Network interfaces.

use xml::{Xml, XmlEnum};

use super::children::sub_capabilities;
use crate::interface::Link;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Net {
    /// Its name.
    #[xml(child_text)]
    pub interface: String,
    /// Its hardware address.
    #[xml(child_text)]
    pub address: Option<String>,
    /// State of its link.
    #[xml(child)]
    pub link: Option<Link>,
    /// What it does in hardware, in libvirt's order.
    #[xml(child, name = "feature")]
    pub features: Vec<Feature>,
    /// What network it is on.
    #[xml(with = net_capabilities)]
    pub capabilities: Vec<NetCapability>,
}

/// Something an interface does in hardware.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Feature {
    /// Which.
    #[xml(attr)]
    pub name: FeatureName,
}

/// What an interface may do in hardware. The order is libvirt's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, XmlEnum)]
#[allow(missing_docs)]
pub enum FeatureName {
    Rx,
    Tx,
    Sg,
    Tso,
    Gso,
    Gro,
    Lro,
    Rxvlan,
    Txvlan,
    Ntuple,
    Rxhash,
    Rdma,
    Txudptnl,
    Switchdev,
}

/// What network an interface is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Xml)]
#[xml(tag = "type")]
pub enum NetCapability {
    /// Ethernet.
    #[xml(name = "80203")]
    Ethernet,
    /// Wireless.
    #[xml(name = "80211")]
    Wireless,
}

sub_capabilities!(net_capabilities, NetCapability, Unnamed);

impl Net {
    pub(super) fn complete(&mut self) {
        Link::settle(&mut self.link);
        self.features.sort_by_key(|feature| feature.name);
        self.features.dedup();
        // Libvirt reads the first only.
        self.capabilities.truncate(1);
    }
}
