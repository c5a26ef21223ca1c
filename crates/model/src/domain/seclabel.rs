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
#[xml(check = Seclabel::check)]
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
    /// Whether the document says how it is made.
    #[xml(skip)]
    pub kind_given: bool,
}

impl Seclabel {
    fn check(&mut self, el: xml::Element<'_>, _: &mut xml::Reader) {
        self.kind_given = el.attr("type").is_some();
    }
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
