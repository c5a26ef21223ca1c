//! The QEMU namespace: arguments passed through as they are.

use crate::domain::prelude::*;

/// Extra arguments and environment.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuCommandline {
    /// Element `<arg>`.
    #[xml(child, name = "arg", ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu")]
    pub args: Vec<QemuArg>,
    /// Element `<env>`.
    #[xml(child, name = "env", ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu")]
    pub envs: Vec<QemuEnv>,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuArg {
    /// Attribute `value`.
    #[xml(attr)]
    pub value: String,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuEnv {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `value`.
    #[xml(attr)]
    pub value: Option<String>,
}

/// Capability flags to force.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuCapabilities {
    /// Element `<add>`.
    #[xml(child, name = "add", ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu")]
    pub added: Vec<QemuCapability>,
    /// Element `<del>`.
    #[xml(child, name = "del", ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu")]
    pub deleted: Vec<QemuCapability>,
}

/// One flag.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuCapability {
    /// Attribute `capability`.
    #[xml(attr)]
    pub capability: String,
}

/// Property overrides.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuOverride {
    /// Element `<device>`.
    #[xml(
        child,
        name = "device",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub devices: Vec<QemuOverrideDevice>,
}

/// Overrides of one device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuOverrideDevice {
    /// Attribute `alias`.
    #[xml(attr)]
    pub alias: String,
    /// Element `<frontend>`.
    #[xml(child, ns = "http://libvirt.org/schemas/domain/qemu/1.0", prefix = "qemu")]
    pub frontend: Option<QemuFrontend>,
}

/// Overrides of its frontend.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuFrontend {
    /// Element `<property>`.
    #[xml(
        child,
        name = "property",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub properties: Vec<QemuProperty>,
}

/// Type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum QemuPropertyType {
    /// `string`.
    #[default]
    String,
    /// `unsigned`.
    Unsigned,
    /// `signed`.
    Signed,
    /// `bool`.
    Bool,
    /// `remove`.
    Remove,
}

/// One property.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuProperty {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: QemuPropertyType,
    /// Attribute `value`.
    #[xml(attr)]
    pub value: Option<String>,
}

/// What QEMU does about deprecated features.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QemuDeprecation {
    /// Attribute `behavior`.
    #[xml(attr)]
    pub behavior: String,
}
