//! Definitions: define, undefine, rename, autostart, title, description and metadata.

use crate::caps::Known;
use crate::domain::job::Admission;
use crate::domain::record::{Config, Domain};
use crate::engine::Engine;
use crate::events::{DomainEvent, DomainRef, Event};
use crate::turn::Turn;
use diag::{Diagnostic, ErrorCode, ErrorDomain, Severity, VirError};
use lifecycle::{LifecycleEvent, Request};
use model::capabilities::qemu::Accel;
use model::domain::devices::graphics::GraphicsType;
use model::domain::{
    Domain as Definition, ParseOptions, validate, validate_firmware, validate_machine,
};
use std::path::PathBuf;
use std::sync::Arc;
use units::Uuid;

/// What `define` may be asked beyond the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefineOptions {
    /// Unknown content is an error (`VIR_DOMAIN_DEFINE_VALIDATE`).
    pub validate: bool,
}

/// What of a definition is not understood, and so not part of it.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(Vec<Diagnostic>);

/// What `undefine` may be told to remove as well.
#[derive(Clone, Copy, Debug, Default)]
pub struct UndefineOptions {
    /// `VIR_DOMAIN_UNDEFINE_MANAGED_SAVE`.
    pub managed_save: bool,
    /// `VIR_DOMAIN_UNDEFINE_NVRAM`.
    pub nvram: bool,
    /// `VIR_DOMAIN_UNDEFINE_KEEP_NVRAM`.
    pub keep_nvram: bool,
    /// `VIR_DOMAIN_UNDEFINE_TPM`.
    pub tpm: bool,
    /// `VIR_DOMAIN_UNDEFINE_KEEP_TPM`.
    pub keep_tpm: bool,
}

impl Engine {
    /// Reads a definition, fills in what it leaves open, and checks it.
    ///
    /// # Errors
    /// libvirt's error of the first fault, with all further faults behind it.
    pub fn read_definition(
        &self,
        xml: &str,
        strict: bool,
    ) -> Result<(Definition, LeftOut), VirError> {
        self.read_definition_with(xml, strict, None)
    }

    /// Reads the definition of a guest that was running, from an image of its memory: what it leaves
    /// open is filled in. Rules across values are not asked, as libvirt does not: the guest was like
    /// that.
    ///
    /// # Errors
    /// It cannot be read or completed.
    pub(in crate::domain) fn read_saved(&self, xml: &str) -> Result<Definition, VirError> {
        let parsed = model::domain::parse(xml, ParseOptions::default());
        let written = refuse_faults(parsed.domain, &parsed.diagnostics, xml)?;
        let (mut effective, _) = self.with_defaults(written, None)?;
        self.choose_firmware(&mut effective)?;
        Ok(effective)
    }

    /// The same with what was looked up of the emulator before.
    fn read_definition_with(
        &self,
        xml: &str,
        strict: bool,
        at_hand: Option<Arc<Known>>,
    ) -> Result<(Definition, LeftOut), VirError> {
        let parsed = model::domain::parse(xml, ParseOptions::default());
        let mut diagnostics = parsed.diagnostics;
        if strict {
            for diagnostic in &mut diagnostics {
                if diagnostic.severity == Severity::Warning {
                    diagnostic.severity = Severity::Error;
                    diagnostic.code = ErrorCode::XML_INVALID_SCHEMA;
                }
            }
        }
        let written = refuse_faults(parsed.domain, &diagnostics, xml)?;
        let left_out =
            LeftOut(diagnostics.into_iter().filter(|d| d.severity == Severity::Warning).collect());
        let (effective, known) = self.with_defaults(written, at_hand)?;
        refuse_rdp(&effective)?;
        let faults = validate_firmware(&effective);
        let mut effective = refuse_faults(Some(effective), &faults, xml)?;
        self.choose_firmware(&mut effective)?;
        let mut faults = validate(&effective);
        let named = effective.devices.as_ref().is_some_and(|devices| devices.emulator.is_some());
        if let Some(known) = known.filter(|_| named) {
            let kvm = effective.kind == model::domain::VirtType::Kvm;
            let accel = if kvm { Accel::Kvm } else { Accel::Tcg };
            faults.extend(validate_machine(&effective, &known.caps, accel));
        }
        Ok((refuse_faults(Some(effective), &faults, xml)?, left_out))
    }

    /// Says in the daemon's log and the guest's what of an accepted definition was left out.
    pub(in crate::domain) fn note_left_out(&self, name: &str, left_out: &LeftOut, xml: &str) {
        if log_unknown_content(name, &left_out.0, xml) {
            // Where whoever looks after this guest looks first.
            let words = "the definition has content that is not understood and was left out; the \
                         daemon's log, 'ironvirt define' and 'ironvirt xml check' say what";
            self.note_in_log(name, [0; 16], words);
        }
    }

    /// Settles which firmware a new definition boots with, so that it keeps it when others are
    /// installed later.
    fn choose_firmware(&self, definition: &mut Definition) -> Result<(), VirError> {
        let Some(os) = definition.os.as_ref() else { return Ok(()) };
        if os.firmware.is_none() && os.loader.is_none() {
            return Ok(());
        }
        let (machine, arch) = (os.kind.machine.clone(), os.kind.arch.clone());
        let arch = arch.unwrap_or_else(|| self.facts.arch.clone());
        plan::qemu::select_firmware(
            definition,
            &self.firmware(),
            &self.settings.qemu.nvram_dir,
            &machine.unwrap_or_default(),
            &arch,
        )
        .map_err(|error| VirError::failed(error.0))
    }

    /// Adds or replaces a persistent definition. A running guest is not touched, and what is being
    /// done with it is not waited for. Writes files: call where blocking is allowed, as with all of
    /// this module.
    ///
    /// # Errors
    /// Faults of the text, a name or UUID that belongs to another domain, a full disk. Nothing is
    /// changed then.
    pub fn define(&self, xml: &str, options: DefineOptions) -> Result<DomainRef, VirError> {
        let known = self.learn_capabilities(xml);
        let (definition, left_out) = self.read_definition_with(xml, options.validate, known)?;
        let uuid = uuid_of(&definition)?;
        let name = definition.name.as_str();
        let (domain, _) =
            self.registry.claim(name, &uuid, || Domain::inactive(uuid, name, None))?;
        let config = Arc::new(Config::of(&definition));
        let reference = self
            .put_definition(&domain, name, config)
            .inspect_err(|_| self.registry.remove_if_gone(&domain))?;
        self.note_left_out(name, &left_out, xml);
        Ok(reference)
    }

    /// Writes a definition down and shows it.
    fn put_definition(
        &self,
        domain: &Arc<Domain>,
        name: &str,
        config: Arc<Config>,
    ) -> Result<DomainRef, VirError> {
        let _stored = domain.change_stored();
        // In the tables before in the file, so that the name stays this domain's; that it is still
        // its name is looked at again, since a rename may have come first.
        self.registry.claim(name, &domain.uuid, || Arc::clone(domain))?;
        self.registry.publish(domain, |_| {})?;
        self.store.write(name, &config.xml).map_err(|error| error.to_vir())?;
        let was_persistent = domain.snapshot().is_persistent();
        self.registry.publish(domain, |snapshot| snapshot.config = Some(config))?;
        let event = if was_persistent {
            LifecycleEvent::DefinedUpdated
        } else {
            LifecycleEvent::DefinedAdded
        };
        Ok(self.tell(domain, DomainEvent::Lifecycle(event)))
    }

    /// Removes a persistent definition; a running guest becomes transient.
    ///
    /// # Errors
    /// When the domain is transient, or has things that were not said to be removed.
    pub fn undefine(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        options: UndefineOptions,
        client: &Arc<str>,
    ) -> Turn<()> {
        let found = Arc::clone(domain);
        self.with_job(domain, Request::Undefine, "undefine", client, move |engine, _job| {
            engine.undefine_now(&found, options)
        })
    }

    fn undefine_now(&self, domain: &Arc<Domain>, options: UndefineOptions) -> Result<(), VirError> {
        let _stored = domain.change_stored();
        let snapshot = domain.snapshot();
        let Some(config) = snapshot.config.clone() else {
            return Err(VirError::invalid_state("cannot undefine transient domain"));
        };
        let nvram = self.nvram_of(&config);
        self.check_leftovers(&snapshot.name, nvram.as_deref(), options)?;
        // Before the definition, so that a refusal leaves the domain as it was.
        if let (Some(path), true) = (nvram, options.nvram) {
            remove_nvram(&path)?;
        }
        self.store.remove(&snapshot.name).map_err(|error| error.to_vir())?;
        // A TPM that runs keeps its state: what is to go, goes when its guest ends.
        let keeps_tpm = options.keep_tpm || snapshot.is_active();
        let tpm = if !keeps_tpm && config.xml.contains("<tpm ") {
            self.definition_of(&config).and_then(|definition| {
                crate::domain::start::tpm::forget(&self.settings.qemu, &definition, options.tpm)
            })
        } else {
            Ok(())
        };
        // The file is gone, so the domain is, whatever became of its TPM.
        domain.publish(|snapshot| {
            snapshot.last_config = snapshot.config.take().filter(|_| snapshot.is_active());
            snapshot.autostart = false;
            snapshot.autostart_once = false;
        });
        self.registry.remove_if_gone(domain);
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::UndefinedRemoved));
        tpm
    }

    /// The variable store of an inactive definition, if it has one that exists.
    pub(in crate::domain) fn nvram_of(&self, config: &Config) -> Option<String> {
        if !config.xml.contains("<nvram") {
            return None;
        }
        let definition = self.definition_of(config).ok()?;
        let path = definition.os?.nvram?.path?;
        std::path::Path::new(&path).exists().then_some(path)
    }

    /// The managed save image that goes with the definition.
    ///
    /// # Errors
    /// Something is left that the options do not name.
    pub(in crate::domain) fn leftover_image(
        &self,
        name: &str,
        nvram: Option<&str>,
        options: UndefineOptions,
    ) -> Result<Option<PathBuf>, VirError> {
        let saved = self.managed_image(name);
        if saved.exists() && !options.managed_save {
            return Err(VirError::invalid_state(
                "Refusing to undefine while domain managed save image exists",
            )
            .hint("undefine --managed-save removes it"));
        }
        if nvram.is_some() && !options.nvram && !options.keep_nvram {
            return Err(VirError::invalid_state("cannot undefine domain with nvram")
                .hint("undefine --nvram removes it, --keep-nvram leaves it"));
        }
        Ok(saved.exists().then_some(saved))
    }

    fn check_leftovers(
        &self,
        name: &str,
        nvram: Option<&str>,
        options: UndefineOptions,
    ) -> Result<(), VirError> {
        if let Some(saved) = self.leftover_image(name, nvram, options)? {
            std::fs::remove_file(&saved).map_err(|error| {
                VirError::failed(format!(
                    "Failed to remove domain managed save image: {}",
                    crate::domain::stored::store::os_words(&error)
                ))
            })?;
        }
        Ok(())
    }

    /// Starts a domain with the host, or no longer.
    ///
    /// # Errors
    /// For a transient domain, or when the link cannot be written.
    pub fn set_autostart(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        autostart: bool,
        client: &Arc<str>,
    ) -> Turn<()> {
        let found = Arc::clone(domain);
        self.with_job(domain, Request::ModifyConfig, "autostart", client, move |engine, _job| {
            engine.mark_autostart(&found, autostart)
        })
    }

    fn mark_autostart(&self, domain: &Arc<Domain>, autostart: bool) -> Result<(), VirError> {
        let _stored = domain.change_stored();
        let snapshot = domain.snapshot();
        if !snapshot.is_persistent() {
            return Err(VirError::invalid_state("cannot set autostart for transient domain"));
        }
        if snapshot.autostart != autostart {
            self.store.set_autostart(&snapshot.name, autostart).map_err(|error| error.to_vir())?;
            domain.publish(|snapshot| snapshot.autostart = autostart);
        }
        Ok(())
    }

    /// Starts a domain with the next boot of the host only, or no longer.
    ///
    /// # Errors
    /// For a transient domain, or when the link cannot be written.
    pub fn set_autostart_once(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        once: bool,
        client: &Arc<str>,
    ) -> Turn<()> {
        let found = Arc::clone(domain);
        self.with_job(domain, Request::ModifyConfig, "autostart", client, move |engine, _job| {
            engine.mark_autostart_once(&found, once)
        })
    }

    fn mark_autostart_once(&self, domain: &Arc<Domain>, once: bool) -> Result<(), VirError> {
        let _stored = domain.change_stored();
        let snapshot = domain.snapshot();
        if !snapshot.is_persistent() {
            return Err(VirError::invalid_state("cannot set autostart for transient domain"));
        }
        if snapshot.autostart_once != once {
            self.store.set_autostart_once(&snapshot.name, once).map_err(|error| error.to_vir())?;
            domain.publish(|snapshot| snapshot.autostart_once = once);
        }
        Ok(())
    }

    /// Gives an inactive domain a new name.
    ///
    /// # Errors
    /// When it runs, is transient, or the name is taken or cannot be one.
    pub fn rename(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        new_name: String,
        client: &Arc<str>,
    ) -> Turn<()> {
        let found = Arc::clone(domain);
        self.with_job(domain, Request::Rename, "rename", client, move |engine, _job| {
            engine.rename_now(&found, new_name)
        })
    }

    fn rename_now(&self, domain: &Arc<Domain>, new_name: String) -> Result<(), VirError> {
        let _stored = domain.change_stored();
        let snapshot = domain.snapshot();
        let Some(config) = snapshot.config.clone() else {
            return Err(VirError::invalid_state("cannot rename a transient domain"));
        };
        if self.managed_image(&snapshot.name).exists() {
            return Err(VirError::invalid_state(
                "domain with a managed saved state can't be renamed",
            )
            .hint("start it, or managedsave-remove the state"));
        }
        // Under a new name nobody would find what runs.
        self.refuse_stray(&snapshot.name)?;
        if *snapshot.name == *new_name {
            return Err(VirError::invalid_state("Can't rename domain to itself")
                .from_domain(ErrorDomain::DOMAIN));
        }
        let mut definition = self.definition_of(&config)?;
        definition.name.clone_from(&new_name);
        let faults = validate(&definition);
        let definition = refuse_faults(Some(definition), &faults, "")?;
        let name: Arc<str> = Arc::from(new_name);
        let old = Arc::clone(&snapshot.name);
        self.registry.rename(domain, &name)?;
        let config = Arc::new(Config::of(&definition));
        let written = (|| {
            self.store.write(&name, &config.xml)?;
            if snapshot.autostart {
                self.store.set_autostart(&name, true)?;
            }
            if snapshot.autostart_once {
                self.store.set_autostart_once(&name, true)?;
            }
            self.store.remove(&old)
        })();
        if let Err(error) = written {
            // The old definition is still there, so the old name stays the name.
            let _ = self.store.remove(&name);
            let _ = self.registry.rename(domain, &old);
            return Err(error.to_vir());
        }
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::UndefinedRenamed));
        domain.publish(|snapshot| {
            snapshot.name = Arc::clone(&name);
            snapshot.config = Some(config);
        });
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::DefinedRenamed));
        Ok(())
    }

    /// Changes the persistent definition by `change`, checks it, and writes it.
    ///
    /// # Errors
    /// Those of `change`, of checking, of writing; nothing is changed then.
    pub fn modify_config(
        &self,
        domain: &Arc<Domain>,
        change: impl FnOnce(&mut Definition) -> Result<(), VirError>,
    ) -> Result<(), VirError> {
        let _stored = domain.change_stored();
        let snapshot = domain.snapshot();
        let Some(config) = &snapshot.config else {
            return Err(VirError::invalid_state(
                "cannot change persistent config of a transient domain",
            ));
        };
        let mut definition = self.definition_of(config)?;
        change(&mut definition)?;
        let faults = validate(&definition);
        let definition = refuse_faults(Some(definition), &faults, "")?;
        let config = Arc::new(Config::of(&definition));
        self.store.write(&snapshot.name, &config.xml).map_err(|error| error.to_vir())?;
        domain.publish(|snapshot| snapshot.config = Some(config));
        Ok(())
    }

    /// The typed form of a stored definition.
    ///
    /// # Errors
    /// When the text cannot be read, which would be a fault of ours: it was written by us.
    pub fn definition_of(&self, config: &Config) -> Result<Definition, VirError> {
        let parsed = model::domain::parse(&config.xml, ParseOptions::default());
        refuse_faults(parsed.domain, &parsed.diagnostics, &config.xml)
    }

    /// Tells subscribers about a domain.
    pub(crate) fn tell(&self, domain: &Domain, event: DomainEvent) -> DomainRef {
        let reference = domain.reference();
        self.events.publish(&Event::Domain(reference.clone(), event));
        reference
    }

    /// Has `work`, which may block, done once the domain's job is to be had: at once on this
    /// thread, or later on another one. Whoever waits holds no thread.
    fn with_job<T: Send + 'static>(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        request: Request,
        verb: &'static str,
        client: &Arc<str>,
        work: impl FnOnce(&Self, Admission) -> Result<T, VirError> + Send + 'static,
    ) -> Turn<T> {
        match domain.gate.try_acquire(request, verb, client) {
            Ok(Some(job)) => Turn::Done(work(self, job)),
            Err(error) => Turn::Done(Err(error)),
            Ok(None) => {
                let (engine, client) = (Arc::clone(self), Arc::clone(client));
                let domain = Arc::clone(domain);
                Turn::Waits(Box::pin(async move {
                    let job = domain.gate.acquire(request, verb, &client).await?;
                    crate::blocking(move || work(&engine, job)).await
                }))
            }
        }
    }
}

/// The UUID that the defaults have given every definition.
pub(in crate::domain) fn uuid_of(definition: &Definition) -> Result<Uuid, VirError> {
    definition.uuid.ok_or_else(|| VirError::internal("a definition without uuid"))
}

/// The definition, or the error of its faults.
pub(crate) fn refuse_faults(
    definition: Option<Definition>,
    diagnostics: &[Diagnostic],
    text: &str,
) -> Result<Definition, VirError> {
    let faults: Vec<_> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    match definition {
        Some(definition) if faults.is_empty() => Ok(definition),
        _ if faults.is_empty() => Err(VirError::internal("the XML was refused without a reason")),
        _ => {
            let source = diag::SourceText::new("", text);
            Err(VirError::from_diagnostics(ErrorDomain::DOMAIN, faults, Some(&source)))
        }
    }
}

/// Nobody here starts the server that RDP needs beside QEMU; libvirtd without it says the same.
fn refuse_rdp(definition: &Definition) -> Result<(), VirError> {
    let mut graphics = definition.devices.iter().flat_map(|devices| &devices.graphics);
    match graphics.any(|graphics| graphics.kind == GraphicsType::Rdp) {
        true => Err(VirError::config("rdp graphics are not supported with this QEMU")),
        false => Ok(()),
    }
}

/// Unknown things logged of one document; finding the line of each costs a pass over it.
const UNKNOWN_LOGGED: usize = 50;

/// Returns whether there was any.
fn log_unknown_content(name: &str, diagnostics: &[Diagnostic], text: &str) -> bool {
    let mut found = false;
    let mut warnings = diagnostics.iter().filter(|d| d.severity == Severity::Warning);
    for diagnostic in warnings.by_ref().take(UNKNOWN_LOGGED) {
        found = true;
        let line = diagnostic.span.map(|span| {
            text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1
        });
        tracing::warn!(domain = name, line, "{}", diagnostic.message);
    }
    let left = warnings.count();
    if left > 0 {
        tracing::warn!(domain = name, left, "more content that is not known");
    }
    found
}

fn remove_nvram(path: &str) -> Result<(), VirError> {
    std::fs::remove_file(path).map_err(|error| {
        VirError::failed(format!(
            "failed to remove nvram: {path}: {}",
            crate::domain::stored::store::os_words(&error)
        ))
    })
}
