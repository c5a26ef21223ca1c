//! Classes of ports of a network.

use xml::{Element, ErrorCode, Reader, ValueError, ValueKind, Xml, XmlValue, YesNo};

use super::bandwidth::Bandwidth;
use super::virtualport::VirtualPort;
use super::vlan::Vlan;

/// What ports of one class have in common.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(open, check = PortGroup::check)]
pub struct PortGroup {
    /// Its name.
    #[xml(
        attr,
        empty_absent,
        missing = (ErrorCode::XML_ERROR, "Missing required name attribute in portgroup")
    )]
    pub name: String,
    /// Ports that name no group are of this one.
    #[xml(attr, default, skip_default)]
    pub default: IsDefault,
    /// What the guest says about the packets it wants is believed.
    #[xml(attr, name = "trustGuestRxFilters")]
    pub trust_guest_rx_filters: Option<YesNo>,
    /// Tags.
    #[xml(child)]
    pub vlan: Option<Vlan>,
    /// Profile of the switch port.
    #[xml(child, name = "virtualport")]
    pub virtual_port: Option<VirtualPort>,
    /// Limits.
    #[xml(child)]
    pub bandwidth: Option<Bandwidth>,
}

/// Whether a group is the default one: anything but `yes` means it is not, and is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IsDefault(pub bool);

impl XmlValue for IsDefault {
    fn parse(text: &str) -> Result<Self, ValueError> {
        Ok(Self(text == "yes"))
    }
    fn write(&self, out: &mut String) {
        out.push_str(if self.0 { "yes" } else { "no" });
    }
    fn kind() -> ValueKind {
        ValueKind::Enum(&["yes", "no"])
    }
}

impl PortGroup {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        self.virtual_port = self.virtual_port.take().filter(|port| !port.is_empty());
        if let (Some(limits), Some(el)) = (self.bandwidth.take(), el.child("bandwidth")) {
            self.bandwidth = limits.of_network(el, cx);
        }
    }
}
