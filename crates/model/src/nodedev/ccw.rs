//! Devices of s390's channel subsystem.

use xml::{Hex, Xml, XmlEnum};

use super::capability::MatrixCapability;
use super::children::sub_capabilities;

/// An address of the channel subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Xml)]
pub struct CcwAddress {
    /// Number of the subsystem.
    #[xml(child_text)]
    pub cssid: Hex<u32>,
    /// Number of the set of subchannels.
    #[xml(child_text)]
    pub ssid: Hex<u32>,
    /// Number of the device.
    #[xml(child_text)]
    pub devno: Hex<u32, 4>,
}

/// Whether a device is in use by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum CcwState {
    /// It is.
    Online,
    /// It is not.
    Offline,
}

/// A channel device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Ccw {
    /// Whether the host uses it.
    #[xml(child_text)]
    pub state: Option<CcwState>,
    /// Its address.
    #[xml(flatten)]
    pub address: CcwAddress,
    /// What else it is.
    #[xml(with = ccw_capabilities)]
    pub capabilities: Vec<CcwMember>,
}

/// What a channel device may be beside.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum CcwMember {
    /// A member of a group.
    #[xml(name = "ccwgroup_member")]
    Group(GroupMember),
}

sub_capabilities!(ccw_capabilities, CcwMember, Ignored);

/// Membership of a group.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct GroupMember {
    /// Name of the group's device.
    #[xml(child_text)]
    pub group_device: String,
}

/// A subchannel.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Css {
    /// Its address.
    #[xml(flatten)]
    pub address: CcwAddress,
    /// Address of the device behind it.
    #[xml(child)]
    pub channel_dev_addr: Option<CcwAddress>,
    /// What it can do.
    #[xml(with = css_capabilities)]
    pub capabilities: Vec<CssCapability>,
}

/// What a subchannel can do.
pub type CssCapability = MatrixCapability;

sub_capabilities!(css_capabilities, CssCapability, Skipped);

impl Css {
    pub(super) fn complete(&mut self) {
        self.capabilities.retain(|types| !types.is_empty());
    }
}

/// Several channel devices as one.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct CcwGroup {
    /// Whether the host uses it.
    #[xml(child_text)]
    pub state: Option<CcwState>,
    /// Its address.
    #[xml(flatten)]
    pub address: CcwAddress,
    /// Its members.
    #[xml(child)]
    pub members: Option<Members>,
    /// What it is.
    #[xml(child)]
    pub capability: Option<GroupCapability>,
}

/// Members of a group.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Members {
    /// Each with the name of its role.
    #[xml(child, name = "ccw_device")]
    pub devices: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Member {
    /// Its role, such as `cdev0`.
    #[xml(attr, name = "ref")]
    pub role: String,
    /// Name of its device.
    #[xml(text, default)]
    pub device: String,
}

/// What a group is.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum GroupCapability {
    /// A network card of unknown layer.
    #[xml(name = "qeth_generic")]
    QethGeneric(Qeth),
    /// A network card of layer 2.
    #[xml(name = "qeth_layer2")]
    QethLayer2(Qeth),
    /// A network card of layer 3.
    #[xml(name = "qeth_layer3")]
    QethLayer3(Qeth),
}

/// A network card of several channel devices.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Qeth {
    /// Type of the card.
    #[xml(child_text)]
    pub card_type: Option<String>,
    /// Its channel path.
    #[xml(child_text)]
    pub chpid: Option<String>,
}

impl CcwGroup {
    pub(super) fn complete(&mut self) {
        self.members = self.members.take().filter(|members| !members.devices.is_empty());
    }
}
