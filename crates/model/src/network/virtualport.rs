//! Profiles of switch ports: IEEE 802.1Qbg and 802.1Qbh, Open vSwitch, Midonet.

use units::Uuid;
use xml::{Element, ErrorCode, Reader, ValueError, ValueKind, Xml, XmlEnum, XmlValue};

use crate::object::fault;

/// What a switch is told about a port.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = VirtualPort::check)]
pub struct VirtualPort {
    /// The kind of switch; a port group may leave it to its network.
    #[xml(
        attr,
        name = "type",
        fault = (ErrorCode::CONFIG_UNSUPPORTED, "unknown virtualport type {}")
    )]
    pub kind: Option<VirtualPortType>,
    /// What that kind wants to know.
    #[xml(child)]
    pub parameters: Option<VirtualPortParameters>,
}

/// A kind of switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum VirtualPortType {
    /// IEEE 802.1Qbg.
    #[xml(name = "802.1Qbg")]
    Qbg,
    /// IEEE 802.1Qbh.
    #[xml(name = "802.1Qbh")]
    Qbh,
    /// Open vSwitch.
    #[xml(name = "openvswitch")]
    OpenVSwitch,
    /// Midonet.
    Midonet,
}

/// Parameters; which of them count depends on the kind.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = VirtualPortParameters::check)]
pub struct VirtualPortParameters {
    /// Database of port profiles.
    #[xml(attr, name = "managerid", fault = (ErrorCode::XML_ERROR, "{managerid}"))]
    pub manager_id: Option<Number<8>>,
    /// Port profile.
    #[xml(attr, name = "typeid", fault = (ErrorCode::XML_ERROR, "{typeid}"))]
    pub type_id: Option<Number<24>>,
    /// Version of the profile.
    #[xml(attr, name = "typeidversion", fault = (ErrorCode::XML_ERROR, "{typeidversion}"))]
    pub type_id_version: Option<Number<8>>,
    /// Which machine.
    #[xml(
        attr,
        name = "instanceid",
        fault = (ErrorCode::XML_ERROR, "cannot parse instanceid parameter as a uuid")
    )]
    pub instance_id: Option<Uuid>,
    /// Which interface.
    #[xml(
        attr,
        name = "interfaceid",
        fault = (ErrorCode::XML_ERROR, "cannot parse interfaceid parameter as a uuid")
    )]
    pub interface_id: Option<Uuid>,
    /// Name of the profile, at most 39 bytes.
    #[xml(attr, name = "profileid", empty_absent)]
    pub profile_id: Option<String>,
}

/// A number of `BITS` bits, decimal, or hexadecimal after `0x`; written in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const BITS: u32>(pub u32);

impl<const BITS: u32> XmlValue for Number<BITS> {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => text.trim_ascii_start().parse().ok(),
        };
        match number {
            Some(n) if (0..1 << BITS).contains(&n) => Ok(Self(n as u32)),
            Some(_) => Err(ValueError::expected(format!("value below {}", 1u64 << BITS))),
            None => Err(ValueError::expected("non-negative integer value")),
        }
    }
    fn write(&self, out: &mut String) {
        out.push_str(&self.0.to_string());
    }
    fn kind() -> ValueKind {
        ValueKind::Integer { min: 0, max: (1 << BITS) - 1 }
    }
}

/// Libvirt's words for a bad number of a profile's parameters.
pub(crate) fn number_words(attribute: &str, value: &str) -> String {
    if Number::<31>::parse(value).is_err() && !value.starts_with('-') {
        return format!("cannot parse value of {attribute} parameter");
    }
    let what = if attribute == "typeid" { "value for" } else { "value of" };
    format!("{what} {attribute} out of range")
}

impl VirtualPortParameters {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.profile_id.as_ref().is_some_and(|id| id.len() > 39) {
            let message = "profileid parameter too long";
            fault(cx, el, "network.virtualport", ErrorCode::XML_ERROR, message);
        }
    }

    /// Names of the parameters that are given.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        [
            ("managerid", self.manager_id.is_some()),
            ("typeid", self.type_id.is_some()),
            ("typeidversion", self.type_id_version.is_some()),
            ("instanceid", self.instance_id.is_some()),
            ("profileid", self.profile_id.is_some()),
            ("interfaceid", self.interface_id.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
    }
}

impl VirtualPortType {
    /// The parameters a switch of this kind knows.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Qbg => &["managerid", "typeid", "typeidversion", "instanceid"],
            Self::Qbh => &["profileid"],
            Self::OpenVSwitch => &["interfaceid", "profileid"],
            Self::Midonet => &["interfaceid"],
        }
    }
}

impl VirtualPort {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.parameters == Some(VirtualPortParameters::default()) {
            self.parameters = None;
        }
        let (Some(kind), Some(parameters)) = (self.kind, &mut self.parameters) else { return };
        if kind == VirtualPortType::Midonet {
            // Alone of all kinds it ignores what it does not know.
            let interface_id = parameters.interface_id;
            *parameters = VirtualPortParameters { interface_id, ..Default::default() };
            return;
        }
        for extra in parameters.given().filter(|name| !kind.parameters().contains(name)) {
            let message = format!("extra {extra} unsupported in <virtualport type='{kind}'>");
            fault(cx, el, "network.virtualport", ErrorCode::XML_ERROR, message);
        }
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
