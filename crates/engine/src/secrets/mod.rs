//! Secrets: passphrases and keys that volumes, clusters, TLS keys and TPMs are opened with.
//!
//! A secret's XML says what it is for and never holds its value. Values lie beside it, in base64,
//! in files that only root may read; an ephemeral secret is on no disk at all. A private value is
//! handed to QEMU and to nobody else.

mod files;

use crate::events::{Event, EventBus, SecretEvent, SecretRef};
use crate::layout::Layout;
use diag::{ErrorCode, ErrorDomain, Severity, SourceText, VirError};
use files::Files;
use model::secret::{Secret as Definition, Usage};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use units::Uuid;
use xml::{WriteOptions, YesNo};

/// All secrets. Clones are the same secrets.
#[derive(Clone, Debug)]
pub struct Secrets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    events: Arc<EventBus>,
    table: RwLock<BTreeMap<Uuid, Secret>>,
    /// Held by whoever changes one, from the check to the event.
    changes: Mutex<()>,
}

/// A secret as it is now.
#[derive(Clone)]
pub struct Secret {
    /// What it is for.
    pub definition: Arc<Definition>,
    value: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for Secret {
    /// Without the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has_value = self.value.is_some();
        f.debug_struct("Secret")
            .field("definition", &self.definition)
            .field("has_value", &has_value)
            .finish()
    }
}

/// An error of the secret driver.
fn error(code: ErrorCode, detail: impl Into<String>) -> VirError {
    VirError::new(code, detail).from_domain(ErrorDomain::SECRET)
}

fn no_secret(what: &str, value: &str) -> VirError {
    error(ErrorCode::NO_SECRET, format!("no secret with matching {what} '{value}'"))
}

/// Name of a number of `virSecretUsageType`.
const USAGE_TYPES: [&str; 6] = ["none", "volume", "ceph", "iscsi", "tls", "vtpm"];

impl Secret {
    /// Number of `virSecretUsageType`, and the name it is found by.
    pub fn usage(&self) -> (i32, &str) {
        self.definition.usage.as_ref().map_or((0, ""), |usage| (usage.number(), usage.id()))
    }

    fn is_ephemeral(&self) -> bool {
        self.definition.ephemeral == YesNo::Yes
    }

    fn is_private(&self) -> bool {
        self.definition.private == YesNo::Yes
    }

    /// The XML.
    pub fn xml(&self) -> String {
        model::secret::format(&self.definition, &WriteOptions::default())
    }

    /// How clients and events name it.
    pub fn reference(&self) -> SecretRef {
        let (usage_type, usage) = self.usage();
        SecretRef {
            uuid: self.definition.uuid.unwrap_or_default(),
            usage_type,
            usage: Arc::from(usage),
        }
    }
}

impl Secrets {
    /// No secrets yet; [`Secrets::load`] reads them.
    pub fn new(layout: &Layout, events: &Arc<EventBus>) -> Self {
        Self(Arc::new(Inner {
            files: Files::new(&layout.secret_config()),
            events: Arc::clone(events),
            table: RwLock::default(),
            changes: Mutex::default(),
        }))
    }

    /// Reads what is stored. A file that makes no sense is reported and left alone.
    pub fn load(&self) {
        for stored in self.0.files.scan() {
            let path = stored.path.display();
            match read(&stored.xml, false) {
                Ok(definition) if definition.uuid == Some(stored.uuid) => {
                    let definition = Arc::new(definition);
                    self.put(stored.uuid, Secret { definition, value: stored.value });
                }
                Ok(definition) => {
                    let found = definition.uuid.unwrap_or_default();
                    tracing::error!(%path, uuid = %found, "secret not loaded: not the file's UUID");
                }
                Err(error) => {
                    tracing::error!(%path, error = %error.message(), "secret not loaded");
                }
            }
        }
    }

    /// The secret with this UUID.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_uuid(&self, uuid: Uuid) -> Result<Secret, VirError> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(&uuid).cloned().ok_or_else(|| no_secret("uuid", &uuid.to_string()))
    }

    /// The secret for this use.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_usage(&self, kind: i32, id: &str) -> Result<Secret, VirError> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let found = table.values().find(|secret| secret.usage() == (kind, id));
        found.cloned().ok_or_else(|| no_secret("usage", id))
    }

    /// All secrets that pass a filter of `virConnectListAllSecrets`, in the order of their UUIDs.
    ///
    /// # Errors
    /// When the filter has bits that mean nothing.
    pub fn list(&self, flags: u32) -> Result<Vec<Secret>, VirError> {
        if flags & !0xf != 0 {
            let detail = format!(
                "unsupported flags (0x{:x}) in function secretConnectListAllSecrets",
                flags & !0xf
            );
            return Err(error(ErrorCode::INVALID_ARG, detail).verbatim());
        }
        let passes = |yes: bool, yes_bit: u32, no_bit: u32| {
            flags & (yes_bit | no_bit) == 0 || flags & if yes { yes_bit } else { no_bit } != 0
        };
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |secret: &&Secret| {
            passes(secret.is_ephemeral(), 1, 2) && passes(secret.is_private(), 4, 8)
        };
        Ok(table.values().filter(wanted).cloned().collect())
    }

    /// Adds a secret, or changes what is said of one. Writes files: call where blocking is allowed.
    ///
    /// # Errors
    /// Faults of the text, a use that another secret has, a private secret that would become
    /// public, a full disk. Nothing is changed then.
    pub fn define(&self, xml: &str, validate: bool) -> Result<Secret, VirError> {
        let mut definition = read(xml, validate)?;
        let uuid = match definition.uuid {
            Some(uuid) => uuid,
            None => random_uuid()?,
        };
        definition.uuid = Some(uuid);
        let _changes = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.by_uuid(uuid).ok();
        let mut new = Secret { definition: Arc::new(definition), value: None };
        self.check_usage(old.as_ref(), &new)?;
        if let Some(old) = &old {
            if old.is_private() && !new.is_private() {
                let detail = "cannot change private flag on existing secret";
                return Err(error(ErrorCode::INTERNAL_ERROR, detail));
            }
            new.value.clone_from(&old.value);
        }
        if new.is_ephemeral() {
            self.0.files.remove(uuid)?;
        } else {
            if old.as_ref().is_some_and(Secret::is_ephemeral)
                && let Some(value) = &new.value
            {
                self.0.files.write_value(uuid, value)?;
            }
            self.0.files.write_xml(uuid, &new.xml())?;
        }
        self.put(uuid, new.clone());
        self.tell(&new, SecretEvent::Lifecycle(0));
        Ok(new)
    }

    /// A secret keeps its use, and shares it with no other.
    fn check_usage(&self, old: Option<&Secret>, new: &Secret) -> Result<(), VirError> {
        let (kind, id) = new.usage();
        let detail = match old {
            Some(old) if old.usage().1 == id => return Ok(()),
            Some(old) => {
                let (uuid, id) = (old.reference().uuid, old.usage().1);
                format!("a secret with UUID {uuid} is already defined for use with {id}")
            }
            None => match self.by_usage(kind, id) {
                Ok(other) if kind != 0 => {
                    let uuid = other.reference().uuid;
                    format!("a secret with UUID {uuid} already defined for use with {id}")
                }
                _ => return Ok(()),
            },
        };
        Err(error(ErrorCode::INTERNAL_ERROR, detail))
    }

    /// Gives a secret its value. Writes files: call where blocking is allowed.
    ///
    /// # Errors
    /// No such secret, or a full disk; then it keeps the value it had.
    pub fn set_value(&self, uuid: Uuid, value: &[u8]) -> Result<(), VirError> {
        let _changes = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if value.is_empty() {
            let detail = "value in virSecretSetValue must not be NULL";
            return Err(error(ErrorCode::INVALID_ARG, detail).verbatim());
        }
        let mut secret = self.by_uuid(uuid)?;
        if !secret.is_ephemeral() {
            self.0.files.write_value(uuid, value)?;
        }
        secret.value = Some(Arc::from(value));
        self.put(uuid, secret.clone());
        self.tell(&secret, SecretEvent::ValueChanged);
        Ok(())
    }

    /// The value, for a client.
    ///
    /// # Errors
    /// No such secret, a private one, or one without a value.
    pub fn public_value(&self, uuid: Uuid) -> Result<Arc<[u8]>, VirError> {
        let secret = self.by_uuid(uuid)?;
        if secret.is_private() {
            return Err(error(ErrorCode::INVALID_SECRET, "secret is private"));
        }
        value_of(&secret)
    }

    /// The value for a start: of the secret that `wanted` names and that is meant for this.
    ///
    /// # Errors
    /// No such secret, one for another use, or one without a value.
    pub fn resolve(&self, wanted: &plan::SecretRef) -> Result<Arc<[u8]>, VirError> {
        let position = USAGE_TYPES.iter().position(|name| *name == wanted.usage_type);
        let kind = position.and_then(|kind| i32::try_from(kind).ok()).unwrap_or(0);
        let secret = match &wanted.by {
            plan::SecretBy::Usage(id) => self.by_usage(kind, id)?,
            plan::SecretBy::Uuid(text) => {
                let uuid = text.parse::<Uuid>().map_err(|_| no_secret("uuid", text))?;
                let secret = self.by_uuid(uuid)?;
                let found = secret.usage().0;
                if found != kind {
                    let name = |kind: i32| {
                        let index = usize::try_from(kind).unwrap_or(0);
                        USAGE_TYPES.get(index).copied().unwrap_or("none")
                    };
                    let (is, expected) = (name(found), name(kind));
                    let detail = format!(
                        "secret with uuid {uuid} is of type '{is}' not expected '{expected}' type"
                    );
                    return Err(VirError::invalid_arg(detail));
                }
                secret
            }
        };
        value_of(&secret)
    }

    /// Forgets a secret and its value.
    ///
    /// # Errors
    /// No such secret, or files that cannot be removed; then it is still there.
    pub fn undefine(&self, uuid: Uuid) -> Result<(), VirError> {
        let _changes = self.0.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = self.by_uuid(uuid)?;
        if !secret.is_ephemeral() {
            self.0.files.remove(uuid)?;
        }
        self.0.table.write().unwrap_or_else(PoisonError::into_inner).remove(&uuid);
        self.tell(&secret, SecretEvent::Lifecycle(1));
        Ok(())
    }

    fn put(&self, uuid: Uuid, secret: Secret) {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner).insert(uuid, secret);
    }

    fn tell(&self, secret: &Secret, event: SecretEvent) {
        self.0.events.publish(&Event::Secret(secret.reference(), event));
    }
}

fn value_of(secret: &Secret) -> Result<Arc<[u8]>, VirError> {
    secret.value.clone().ok_or_else(|| {
        let uuid = secret.reference().uuid;
        error(ErrorCode::NO_SECRET, format!("secret '{uuid}' does not have a value"))
    })
}

fn random_uuid() -> Result<Uuid, VirError> {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(crate::random::bytes(16)?) {
        *to = from;
    }
    Ok(Uuid::from_random_bytes(bytes))
}

/// A definition, or the error for what is wrong with it; `validate` makes unknown content wrong.
fn read(text: &str, validate: bool) -> Result<Definition, VirError> {
    let mut parsed = model::secret::parse(text);
    if validate {
        for diagnostic in &mut parsed.diagnostics {
            if diagnostic.severity == Severity::Warning {
                diagnostic.severity = Severity::Error;
                diagnostic.code = ErrorCode::XML_INVALID_SCHEMA;
            }
        }
    }
    let refused = parsed.diagnostics.iter().any(|d| d.severity == Severity::Error);
    match parsed.value.filter(|_| !refused) {
        Some(mut definition) => {
            definition.usage = definition.usage.filter(|usage| *usage != Usage::None);
            Ok(definition)
        }
        None => {
            let source = SourceText::new("xml", text);
            Err(VirError::from_diagnostics(ErrorDomain::SECRET, parsed.diagnostics, Some(&source)))
        }
    }
}

#[cfg(test)]
mod tests;
