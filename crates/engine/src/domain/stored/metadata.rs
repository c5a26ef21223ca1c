//! Title, description and metadata elements of a domain.

use crate::domain::record::Domain;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::Domain as Definition;
use std::sync::Arc;
use xml::{RawElement, RawNode};

/// What of the metadata is meant (`virDomainMetadataType`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataKind {
    /// The description.
    Description,
    /// The title, a single line.
    Title,
    /// The element in a namespace.
    Element {
        /// The namespace.
        uri: String,
    },
}

impl MetadataKind {
    /// From the wire's number and namespace, with libvirt's checks.
    ///
    /// # Errors
    /// An unknown kind, an element without a namespace, a namespace without an element.
    pub fn from_wire(kind: i32, uri: Option<String>, function: &str) -> Result<Self, VirError> {
        let must = |how: &str| argument(format!("uri in {function} must {how} be NULL"));
        match (kind, uri) {
            (0, None) => Ok(Self::Description),
            (1, None) => Ok(Self::Title),
            (0 | 1, Some(_)) => Err(argument(format!("uri in {function} must be NULL"))),
            (2, Some(uri)) => Ok(Self::Element { uri }),
            (2, None) => Err(must("not")),
            (other, _) => Err(VirError::invalid_arg(format!("unknown metadata type '{other}'"))
                .from_domain(ErrorDomain::DOMAIN)),
        }
    }

    fn number(&self) -> i32 {
        match self {
            Self::Description => 0,
            Self::Title => 1,
            Self::Element { .. } => 2,
        }
    }
}

impl Engine {
    /// Title, description or a metadata element, from the definition that `flags` mean.
    ///
    /// # Errors
    /// When there is none.
    pub fn metadata(
        &self,
        domain: &Domain,
        kind: &MetadataKind,
        flags: u32,
    ) -> Result<String, VirError> {
        self.with_side(domain, flags, |definition, _| {
            read(definition, kind).ok_or_else(|| {
                VirError::new(
                    ErrorCode::NO_DOMAIN_METADATA,
                    "Requested metadata element is not present",
                )
                .from_domain(ErrorDomain::DOMAIN)
            })
        })
    }

    /// Sets title, description or a metadata element (`None` removes it) in the definitions that
    /// `flags` mean. `key` is the prefix that the element gets.
    ///
    /// # Errors
    /// A title of several lines, an element that is no XML, a prefix that cannot be one.
    pub async fn set_metadata(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        kind: MetadataKind,
        text: Option<String>,
        key: Option<String>,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let element = new_content(&kind, text.as_deref(), key.as_deref())?;
        let (job, affect) = self.job_for(domain, flags, "metadata", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            if affect.live {
                let (kind, text, element) = (kind.clone(), text.clone(), element.clone());
                engine
                    .modify_live(&domain, move |definition| {
                        write(definition, &kind, text, element);
                        Ok(())
                    })
                    .await?;
            }
            if affect.config {
                let (kind, text) = (kind.clone(), text);
                engine
                    .modify_config_later(&domain, move |definition| {
                        write(definition, &kind, text, element);
                        Ok(())
                    })
                    .await?;
            }
            let uri = match &kind {
                MetadataKind::Element { uri } => Some(uri.clone()),
                _ => None,
            };
            engine.tell(&domain, DomainEvent::MetadataChange { kind: kind.number(), uri });
            Ok(())
        })
        .await
    }
}

/// Checks the new content; for an element, reads it and gives it prefix and namespace.
fn new_content(
    kind: &MetadataKind,
    text: Option<&str>,
    key: Option<&str>,
) -> Result<Option<RawElement>, VirError> {
    let function = "virDomainSetMetadata";
    match kind {
        MetadataKind::Title if text.is_some_and(|text| text.contains('\n')) => {
            Err(argument("metadata title can't contain newlines".to_owned()))
        }
        MetadataKind::Title | MetadataKind::Description => match key {
            Some(_) => Err(argument(format!("key in {function} must be NULL"))),
            None => Ok(None),
        },
        MetadataKind::Element { uri } => {
            let Some(text) = text else { return Ok(None) };
            let Some(key) = key else {
                return Err(argument(format!("key in {function} must not be NULL")));
            };
            let source = diag::SourceText::new("", text);
            let mut element = RawElement::parse(text).map_err(|faults| {
                VirError::from_diagnostics(ErrorDomain::DOMAIN, faults, Some(&source))
            })?;
            if !is_prefix(key) {
                return Err(VirError::internal(
                    "failed to validate prefix for a new XML namespace",
                )
                .from_domain(ErrorDomain::XML));
            }
            if element.namespaces.iter().any(|(prefix, _)| prefix == key) {
                return Err(VirError::internal("failed to create a new XML namespace")
                    .from_domain(ErrorDomain::XML));
            }
            put_into(&mut element, key, uri);
            element.namespaces.push((key.to_owned(), uri.clone()));
            Ok(Some(element))
        }
    }
}

/// Puts an element and all below it that has no namespace of its own into that of `uri`.
fn put_into(element: &mut RawElement, key: &str, uri: &str) {
    if element.ns.is_none() {
        element.name = format!("{key}:{}", element.local_name());
        element.ns = Some(uri.to_owned());
    }
    for node in &mut element.children {
        if let RawNode::Element(child) = node {
            put_into(child, key, uri);
        }
    }
}

/// The same backwards: what was put into `uri`'s namespace loses it again.
fn take_out_of(element: &mut RawElement, uri: &str) {
    element.namespaces.retain(|(prefix, namespace)| prefix.is_empty() || namespace != uri);
    if element.ns.as_deref() == Some(uri) {
        element.name = element.local_name().to_owned();
        element.ns = None;
    }
    for node in &mut element.children {
        if let RawNode::Element(child) = node {
            take_out_of(child, uri);
        }
    }
}

/// A name without a colon, as XML has them (the letters beyond ASCII are all taken).
fn is_prefix(text: &str) -> bool {
    let start = |c: char| c.is_alphabetic() || c == '_';
    let rest = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.starts_with(start) && text.chars().all(rest)
}

fn read(definition: &Definition, kind: &MetadataKind) -> Option<String> {
    match kind {
        MetadataKind::Description => definition.description.clone(),
        MetadataKind::Title => definition.title.clone(),
        MetadataKind::Element { uri } => {
            let metadata = definition.metadata.as_ref()?;
            let mut element =
                metadata.elements().find(|element| element.ns.as_deref() == Some(uri))?.clone();
            take_out_of(&mut element, uri);
            Some(element.to_xml())
        }
    }
}

fn write(
    definition: &mut Definition,
    kind: &MetadataKind,
    text: Option<String>,
    element: Option<RawElement>,
) {
    let text = text.filter(|text| !text.is_empty());
    match kind {
        MetadataKind::Description => definition.description = text,
        MetadataKind::Title => definition.title = text,
        MetadataKind::Element { uri } => {
            let metadata = definition.metadata.get_or_insert_with(|| RawElement {
                name: "metadata".to_owned(),
                ..RawElement::default()
            });
            // White space between elements would keep the writer from laying them out.
            metadata.children.retain(|node| match node {
                RawNode::Element(old) => old.ns.as_deref() != Some(uri),
                _ => false,
            });
            metadata.children.extend(element.map(RawNode::Element));
            if metadata.children.is_empty() {
                definition.metadata = None;
            }
        }
    }
}

/// libvirt's error for an argument that its library refuses.
fn argument(detail: String) -> VirError {
    VirError::invalid_arg(detail).from_domain(ErrorDomain::DOMAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(definition: &mut Definition, text: Option<&str>, key: &str, uri: &str) {
        let kind = MetadataKind::Element { uri: uri.to_owned() };
        let element = new_content(&kind, text, Some(key)).expect("well formed");
        write(definition, &kind, text.map(str::to_owned), element);
    }

    fn get(definition: &Definition, uri: &str) -> Option<String> {
        read(definition, &MetadataKind::Element { uri: uri.to_owned() })
    }

    #[test]
    fn an_element_is_given_back_as_it_was_set() {
        let mut definition = Definition::default();
        set(&mut definition, Some("<a><b c=\"1\">t</b></a>"), "k", "urn:x");
        let xml = definition.metadata.as_ref().expect("set").to_xml();
        assert_eq!(
            xml,
            "<metadata>\n  <k:a xmlns:k=\"urn:x\">\n    <k:b c=\"1\">t</k:b>\n  </k:a>\n</metadata>"
        );
        assert_eq!(get(&definition, "urn:x").as_deref(), Some("<a>\n  <b c=\"1\">t</b>\n</a>"));
        set(&mut definition, Some("<new/>"), "k2", "urn:x");
        assert_eq!(get(&definition, "urn:x").as_deref(), Some("<new/>"));
        assert_eq!(get(&definition, "urn:y"), None);
        set(&mut definition, None, "k2", "urn:x");
        assert_eq!(definition.metadata, None);
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        let element = MetadataKind::Element { uri: "urn:x".into() };
        for (kind, text, key, expected) in [
            (&MetadataKind::Title, Some("a\nb"), None, "can't contain newlines"),
            (&MetadataKind::Title, Some("a"), Some("k"), "must be NULL"),
            (&element, Some("<a/>"), None, "key in virDomainSetMetadata must not be NULL"),
            (&element, Some("<a/>"), Some("a b"), "validate prefix"),
            (&element, Some("<a/>"), Some(""), "validate prefix"),
            (&element, Some("<k:a xmlns:k='urn:k'/>"), Some("k"), "create a new XML namespace"),
        ] {
            let error = new_content(kind, text, key).expect_err(expected);
            assert!(error.detail.contains(expected), "{error}");
        }
        assert!(new_content(&element, Some("<a"), Some("k")).is_err());
        for (kind, uri, expected) in [
            (7, None, "unknown metadata type '7'"),
            (0, Some("u"), "uri in f must be NULL"),
            (2, None, "uri in f must not be NULL"),
        ] {
            let error = MetadataKind::from_wire(kind, uri.map(str::to_owned), "f");
            assert_eq!(error.expect_err("refused").detail, expected);
        }
    }
}
