//! Answers from the published snapshots: lists, look-ups, XML, info. None of them ever waits.

use super::record::{Domain, Live, Snapshot};
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use lifecycle::Status;
use model::domain::defaults::forget_generated_channels;
use model::domain::{Domain as Definition, FormatFlags};
use std::sync::Arc;
use units::Uuid;

/// Filters of a list (`virConnectListAllDomainsFlags`); groups of which no bit is set do not
/// filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListFilter(pub u32);

impl ListFilter {
    const ACTIVE: u32 = 1;
    const INACTIVE: u32 = 1 << 1;
    const PERSISTENT: u32 = 1 << 2;
    const TRANSIENT: u32 = 1 << 3;
    const RUNNING: u32 = 1 << 4;
    const PAUSED: u32 = 1 << 5;
    const SHUTOFF: u32 = 1 << 6;
    const OTHER: u32 = 1 << 7;
    const MANAGED_SAVE: u32 = 1 << 8;
    const NO_MANAGED_SAVE: u32 = 1 << 9;
    const AUTOSTART: u32 = 1 << 10;
    const NO_AUTOSTART: u32 = 1 << 11;
    const HAS_SNAPSHOT: u32 = 1 << 12;
    const NO_SNAPSHOT: u32 = 1 << 13;
    const HAS_CHECKPOINT: u32 = 1 << 14;
    const NO_CHECKPOINT: u32 = 1 << 15;

    /// All bits that mean something.
    pub const KNOWN: u32 = (1 << 16) - 1;

    /// True if a domain with this snapshot is wanted.
    pub fn admits(self, snapshot: &Snapshot) -> bool {
        let saved = snapshot.managed_save;
        let state = match snapshot.status {
            Status::Running(_) => Self::RUNNING,
            Status::Paused(_) => Self::PAUSED,
            Status::Shutoff(_) => Self::SHUTOFF,
            _ => Self::OTHER,
        };
        let one = |yes: bool, if_so: u32, if_not: u32| if yes { if_so } else { if_not };
        [
            (
                Self::ACTIVE | Self::INACTIVE,
                one(snapshot.is_active(), Self::ACTIVE, Self::INACTIVE),
            ),
            (
                Self::PERSISTENT | Self::TRANSIENT,
                one(snapshot.is_persistent(), Self::PERSISTENT, Self::TRANSIENT),
            ),
            (Self::RUNNING | Self::PAUSED | Self::SHUTOFF | Self::OTHER, state),
            (
                Self::MANAGED_SAVE | Self::NO_MANAGED_SAVE,
                one(saved, Self::MANAGED_SAVE, Self::NO_MANAGED_SAVE),
            ),
            (
                Self::AUTOSTART | Self::NO_AUTOSTART,
                one(snapshot.autostart, Self::AUTOSTART, Self::NO_AUTOSTART),
            ),
            (Self::HAS_SNAPSHOT | Self::NO_SNAPSHOT, Self::NO_SNAPSHOT),
            (Self::HAS_CHECKPOINT | Self::NO_CHECKPOINT, Self::NO_CHECKPOINT),
        ]
        .into_iter()
        .all(|(group, own)| self.0 & group == 0 || self.0 & own != 0)
    }
}

/// What `dumpxml` is asked for (`virDomainXMLFlags`).
#[derive(Clone, Copy, Debug, Default)]
pub struct XmlOptions {
    /// Passwords too.
    pub secure: bool,
    /// The persistent definition even while it runs.
    pub inactive: bool,
    /// A form that another host can take.
    pub migratable: bool,
    /// The CPU that `host-model` means on this host.
    pub update_cpu: bool,
}

impl Engine {
    /// The domain a client means by UUID (and the name it knew it by).
    ///
    /// # Errors
    /// libvirt's "no domain" error.
    pub fn domain(&self, uuid: &Uuid, name: &str) -> Result<Arc<Domain>, VirError> {
        self.registry.by_uuid(uuid).ok_or_else(|| {
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            no_domain(format!("no domain with matching uuid '{uuid}'{name}"))
        })
    }

    /// The error for a domain that ended or was undefined while a request waited for it.
    pub(crate) fn gone(&self, domain: &Domain) -> VirError {
        no_domain(format!(
            "no domain with matching uuid '{}' ({})",
            domain.uuid,
            domain.snapshot().name
        ))
    }

    /// The domain with this UUID.
    ///
    /// # Errors
    /// libvirt's "no domain" error.
    pub fn domain_by_uuid(&self, uuid: &Uuid) -> Result<Arc<Domain>, VirError> {
        self.domain(uuid, "")
    }

    /// The domain with this name.
    ///
    /// # Errors
    /// libvirt's "no domain" error.
    pub fn domain_by_name(&self, name: &str) -> Result<Arc<Domain>, VirError> {
        self.registry
            .by_name(name)
            .ok_or_else(|| no_domain(format!("no domain with matching name '{name}'")))
    }

    /// The running domain with this id.
    ///
    /// # Errors
    /// libvirt's "no domain" error.
    pub fn domain_by_id(&self, id: i32) -> Result<Arc<Domain>, VirError> {
        self.registry
            .by_id(id)
            .filter(|domain| domain.snapshot().is_active())
            .ok_or_else(|| no_domain(format!("no domain with matching id {id}")))
    }

    /// The XML of a domain.
    ///
    /// # Errors
    /// When the persistent definition of a transient domain is asked for in a form that needs it.
    pub fn domain_xml(&self, domain: &Domain, options: XmlOptions) -> Result<String, VirError> {
        let snapshot = domain.snapshot();
        let flags =
            FormatFlags { live: false, secure: options.secure, migratable: options.migratable };
        // As under libvirtd, what was stored last is shown of a guest that was undefined, for as long
        // as it runs and the daemon does.
        let stored = snapshot.config.as_ref().or(snapshot.last_config.as_ref());
        match (&snapshot.live, stored) {
            (Some(live), _) if !options.inactive => {
                let flags = FormatFlags { live: true, ..flags };
                match (options.migratable, options.secure) {
                    (true, _) => Ok(model::domain::format(&self.portable(live), flags)),
                    (false, true) => Ok(model::domain::format(&live.definition, flags)),
                    (false, false) => Ok(live.xml().to_owned()),
                }
            }
            (_, Some(config)) => {
                if options.update_cpu && config.xml.contains("mode='host-model'") {
                    let mut definition = self.definition_of(config)?;
                    self.update_cpu(&mut definition);
                    return Ok(model::domain::format(&definition, flags));
                }
                // The stored text is the answer unless something has to be left out of it.
                if !options.migratable && (options.secure || !config.has_secrets) {
                    return Ok(config.xml.to_string());
                }
                Ok(model::domain::format(&self.definition_of(config)?, flags))
            }
            (Some(live), None) if options.migratable => {
                Ok(model::domain::format(&self.portable(live), flags))
            }
            // A guest that never was defined is shown as it runs.
            (Some(live), None) => {
                let definition = Definition { id: None, ..live.definition.clone() };
                Ok(model::domain::format(&definition, FormatFlags { live: true, ..flags }))
            }
            (None, None) => Err(VirError::internal("a domain without any definition")),
        }
    }

    /// The definition of a running guest as another QEMU can take it up, to be formatted as
    /// migratable.
    pub(super) fn portable(&self, live: &Live) -> Definition {
        let mut portable = live.definition.clone();
        if let Some(cpu) = &live.configured_cpu {
            portable.cpu = Some(cpu.clone());
        }
        if let Some(devices) = &mut portable.devices {
            forget_generated_channels(devices, &self.default_settings());
        }
        portable
    }

    /// Says which CPU the host's model means for a guest that started now; leaves it as it is where
    /// that is not known.
    fn update_cpu(&self, definition: &mut model::domain::Domain) {
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let Some(caps) = emulator.and_then(|emulator| self.caps.known(&emulator)) else { return };
        let accel = match definition.kind {
            model::domain::VirtType::Kvm => model::capabilities::qemu::Accel::Kvm,
            _ => model::capabilities::qemu::Accel::Tcg,
        };
        if let Err(fault) = plan::qemu::expand_host_model(definition, &caps, &self.facts, accel) {
            tracing::debug!(domain = definition.name, "{}", fault.message);
        }
    }

    /// CPU time that a domain has used so far, in nanoseconds.
    pub fn cpu_time(&self, domain: &Domain) -> u64 {
        let Some(vm) = domain.vm() else { return 0 };
        let (user, system) = host::process::cpu_time(vm.process.pid(), None).unwrap_or((0, 0));
        user.saturating_add(system)
    }
}

fn no_domain(detail: String) -> VirError {
    VirError::new(ErrorCode::NO_DOMAIN, detail)
}
