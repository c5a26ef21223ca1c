//! What reading and planning a device depends on, looked up.

use crate::domain::stored::define::refuse_faults;
use crate::engine::Engine;
use diag::{Diagnostic, ErrorDomain, Severity, VirError};
use model::capabilities::qemu::Accel;
use model::domain::hotplug::{self, Device, Place};
use model::domain::{Domain as Definition, VirtType};
use plan::qemu::{Found, Inputs};

/// The first of some faults as an error, the others behind it.
pub(super) fn refused(faults: Vec<Diagnostic>) -> VirError {
    VirError::from_diagnostics(ErrorDomain::QEMU, faults, None)
}

impl Engine {
    /// Reads the document of a device.
    ///
    /// # Errors
    /// Its faults.
    pub(super) fn read_device(&self, text: &str, running: bool) -> Result<Device, VirError> {
        let read = hotplug::read(text, running);
        let faulty = |finding: &&Diagnostic| finding.severity == Severity::Error;
        match read.device {
            Some(device) => Ok(device),
            None => {
                let faults = read.diagnostics.iter().filter(faulty).cloned().collect();
                let source = diag::SourceText::new("", text);
                Err(VirError::from_diagnostics(ErrorDomain::DOMAIN, faults, Some(&source)))
            }
        }
    }

    /// Refuses a definition for faults that it did not have before.
    ///
    /// # Errors
    /// The first of them, with all others.
    pub(super) fn refuse_new_faults(
        &self,
        before: &Definition,
        after: &Definition,
    ) -> Result<(), VirError> {
        let mut new = self.faults_of(after);
        if !new.is_empty() {
            let old = self.faults_of(before);
            new.retain(|fault| old.iter().all(|there| there.message != fault.message));
        }
        refuse_faults(Some(Definition::default()), &new, "").map(|_| ())
    }

    /// Refuses a device for what is wrong with it in itself: told before whether it can come to a
    /// domain, has a place there or is there already.
    ///
    /// # Errors
    /// Its faults.
    pub(super) fn refuse_faulty(
        &self,
        definition: &Definition,
        device: &Device,
    ) -> Result<(), VirError> {
        let alone =
            self.in_context(definition, |context| hotplug::by_itself(definition, device, context))?;
        match alone {
            Some((before, after)) => self.refuse_new_faults(&before, &after),
            None => Ok(()),
        }
    }

    /// Looks up what the device at `place` alone refers to.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn look_up_device(
        &self,
        definition: &Definition,
        place: Place,
    ) -> Result<Found, VirError> {
        let mut alone = Definition::default();
        if let Some(device) = definition.devices.as_ref().and_then(|devices| place.get(devices)) {
            device.append(alone.devices_mut());
        }
        alone.uuid = definition.uuid;
        let mut found = self.look_up(&alone)?;
        found.fd_groups = self.descriptor_groups(&alone)?;
        self.look_into_images(&alone, &mut found)?;
        Ok(found)
    }

    fn faults_of(&self, definition: &Definition) -> Vec<Diagnostic> {
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
        let known = emulator.and_then(|emulator| self.caps.look(emulator));
        let caps = known.as_ref().map(|known| &*known.caps);
        let kvm = definition.kind == VirtType::Kvm;
        let accel = if kvm { Accel::Kvm } else { Accel::Tcg };
        let mut faults = model::domain::validate(definition);
        faults.extend(model::domain::validate_host(definition, &self.facts));
        faults.extend(model::domain::validate_emulator(definition, caps, accel));
        if let Some(known) = &known {
            let devices = &known.defaults(accel).devices;
            faults.extend(model::domain::validate_support(definition, devices));
        }
        faults
    }

    /// Calls `plan` with what planning a device of a running guest depends on.
    ///
    /// # Errors
    /// The emulator is not known, and those of `plan`.
    pub(in crate::domain) fn with_inputs<T>(
        &self,
        definition: &Definition,
        plan: impl FnOnce(&Inputs<'_>) -> Result<T, Vec<Diagnostic>>,
    ) -> Result<T, VirError> {
        let found = Found { nbdkit: self.nbdkit(definition), ..Found::default() };
        self.with_found(definition, &found, plan)
    }

    /// The same for a device whose volume or node was looked up.
    ///
    /// # Errors
    /// As [`Engine::with_inputs`].
    pub(super) fn with_found<T>(
        &self,
        definition: &Definition,
        found: &Found,
        plan: impl FnOnce(&Inputs<'_>) -> Result<T, Vec<Diagnostic>>,
    ) -> Result<T, VirError> {
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let caps = self.caps.get(&emulator.unwrap_or_default())?;
        let settings = self.with_huge_pages(self.labelled(definition)?, definition);
        plan(&Inputs {
            caps: &caps,
            host: &self.facts,
            firmware: &[],
            settings: &settings,
            found,
            id: definition.id.unwrap_or(-1),
            incoming: None,
        })
        .map_err(refused)
    }
}
