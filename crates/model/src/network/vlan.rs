//! VLAN tags of a network, a port group or a port.

use xml::{Element, ErrorCode, Reader, ValueError, ValueKind, Xml, XmlEnum, XmlValue};

use crate::object::fault;

/// The tags that traffic carries.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = Vlan::check)]
pub struct Vlan {
    /// Several tags may pass. Always so with more than one tag.
    #[xml(
        attr,
        empty_absent,
        fault = (ErrorCode::XML_ERROR, "invalid \"trunk='{}'\" in <vlan> - must be yes or no")
    )]
    pub trunk: Option<Trunk>,
    /// The tags, at least one.
    #[xml(child, name = "tag")]
    pub tags: Vec<VlanTag>,
}

/// `yes` or `no`; only `yes` is ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trunk {
    /// `yes`.
    Yes,
    /// `no`: said in the XML that was read, and dropped there.
    No,
}

impl XmlValue for Trunk {
    fn parse(text: &str) -> Result<Self, ValueError> {
        match text.to_ascii_lowercase().as_str() {
            "yes" => Ok(Self::Yes),
            "no" => Ok(Self::No),
            _ => Err(ValueError { alternatives: &["yes", "no"], ..ValueError::default() }),
        }
    }
    fn write(&self, out: &mut String) {
        out.push_str(if *self == Self::Yes { "yes" } else { "no" });
    }
    fn kind() -> ValueKind {
        ValueKind::Enum(&["yes", "no"])
    }
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = VlanTag::check)]
pub struct VlanTag {
    /// Its number, at most 4095.
    #[xml(attr)]
    pub id: u32,
    /// The tag of traffic without one, and whether it leaves with it.
    #[xml(attr, name = "nativeMode")]
    pub native_mode: Option<NativeMode>,
}

/// What happens to traffic of the native VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum NativeMode {
    /// It leaves with the tag.
    Tagged,
    /// It leaves without.
    Untagged,
}

impl Vlan {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let mut bad = |message: &str| fault(cx, el, "network.vlan", ErrorCode::XML_ERROR, message);
        if self.tags.is_empty() {
            bad("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement");
        }
        let native = self.tags.iter().filter(|tag| tag.native_mode.is_some()).count();
        if native > 1 {
            bad("duplicate native vlan setting");
        }
        if self.trunk == Some(Trunk::No) {
            if self.tags.len() > 1 {
                bad("invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than \
                     one vlan tag");
            } else if native > 0 {
                bad("invalid configuration in <vlan> - \"trunk='no'\" is not allowed with a \
                     native vlan id");
            }
            self.trunk = None;
        }
        if self.tags.len() > 1 {
            self.trunk = Some(Trunk::Yes);
        }
    }
}

impl VlanTag {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.id > 4095 {
            let message = format!("vlan tag id {} too large (maximum 4095)", self.id);
            fault(cx, el, "network.vlan", ErrorCode::XML_ERROR, message);
        }
    }
}
