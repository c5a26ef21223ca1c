//! Security labels.

use crate::domain::prelude::*;

/// How the label is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SeclabelType {
    /// `dynamic`.
    #[default]
    Dynamic,
    /// `static`.
    Static,
    /// `none`.
    None,
}

/// A label of the whole guest.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Seclabel {
    /// Attribute `type`.
    #[xml(attr, name = "type", default)]
    pub kind: SeclabelType,
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<String>,
    /// Attribute `relabel`.
    #[xml(attr)]
    pub relabel: Option<YesNo>,
    /// Element `<label>`.
    #[xml(child_text)]
    pub label: Option<String>,
    /// Element `<imagelabel>`.
    #[xml(child_text, name = "imagelabel")]
    pub image_label: Option<String>,
    /// Element `<baselabel>`.
    #[xml(child_text, name = "baselabel")]
    pub base_label: Option<String>,
}

/// A label of one device's source.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DeviceSeclabel {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<String>,
    /// Attribute `labelskip`.
    #[xml(attr, name = "labelskip", lenient)]
    pub label_skip: Option<YesNo>,
    /// Attribute `relabel`.
    #[xml(attr)]
    pub relabel: Option<YesNo>,
    /// Element `<label>`.
    #[xml(child_text)]
    pub label: Option<String>,
}
