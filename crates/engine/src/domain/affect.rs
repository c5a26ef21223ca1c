//! Which of a domain's two definitions a change or a question means: the live one, the persistent
//! one, or whatever is current (`virDomainModificationImpact`).

use super::job::Admission;
use super::record::{Config, Domain, Live, Snapshot};
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use lifecycle::Request;
use model::domain::Domain as Definition;
use std::sync::Arc;

/// The live definition (`VIR_DOMAIN_AFFECT_LIVE`).
pub const LIVE: u32 = 1;

/// The persistent definition (`VIR_DOMAIN_AFFECT_CONFIG`).
pub const CONFIG: u32 = 2;

/// What a change touches, after "current" was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affect {
    /// The running guest.
    pub live: bool,
    /// The persistent definition.
    pub config: bool,
}

impl Affect {
    /// Resolves the flags against what there is: neither bit means the running guest if there is
    /// one, else the persistent definition.
    ///
    /// # Errors
    /// libvirt's, when there is no such side.
    pub fn resolve(snapshot: &Snapshot, flags: u32) -> Result<Self, VirError> {
        let (mut live, mut config) = (flags & LIVE != 0, flags & CONFIG != 0);
        if !live && !config {
            live = snapshot.is_active();
            config = !live;
        }
        if live && !snapshot.is_active() {
            return Err(not_running());
        }
        if config && !snapshot.is_persistent() {
            return Err(VirError::invalid_state(
                "transient domains do not have any persistent config",
            )
            .from_domain(ErrorDomain::DOMAIN));
        }
        Ok(Self { live, config })
    }

    /// The request for the domain's job that a change of these sides needs.
    pub fn request(self) -> Request {
        if self.live { Request::ModifyLive } else { Request::ModifyConfig }
    }
}

/// The side that a question is about: never both.
pub enum Side {
    /// The running guest's.
    Live(Arc<Live>),
    /// The persistent one's.
    Config(Arc<Config>),
}

impl Side {
    /// Resolves the flags of a question.
    ///
    /// # Errors
    /// libvirt's, when both are asked for or there is no such side.
    pub fn resolve(snapshot: &Snapshot, flags: u32) -> Result<Self, VirError> {
        exclusive(flags, (LIVE, "VIR_DOMAIN_AFFECT_LIVE"), (CONFIG, "VIR_DOMAIN_AFFECT_CONFIG"))?;
        let affect = Affect::resolve(snapshot, flags)?;
        match (&snapshot.live, &snapshot.config) {
            (Some(live), _) if affect.live => Ok(Self::Live(Arc::clone(live))),
            (_, Some(config)) if !affect.live => Ok(Self::Config(Arc::clone(config))),
            _ => Err(not_running()),
        }
    }
}

impl Engine {
    /// Calls `read` with the definition that the flags of a question mean, and whether it is the
    /// live one.
    ///
    /// # Errors
    /// Those of [`Side::resolve`] and of `read`.
    pub fn with_side<T>(
        &self,
        domain: &Domain,
        flags: u32,
        read: impl FnOnce(&Definition, bool) -> Result<T, VirError>,
    ) -> Result<T, VirError> {
        match Side::resolve(&domain.snapshot(), flags)? {
            Side::Live(live) => read(&live.definition, true),
            Side::Config(config) => read(&self.definition_of(&config)?, false),
        }
    }

    /// The job for a change that `flags` describe, and what it touches. A domain that stopped or
    /// started while waiting is looked at anew.
    ///
    /// # Errors
    /// As [`Affect::resolve`], or when the job is not to be had.
    pub(crate) async fn job_for(
        &self,
        domain: &Arc<Domain>,
        flags: u32,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(Admission, Affect), VirError> {
        let request = Affect::resolve(&domain.snapshot(), flags)?.request();
        let job = acquire(domain, request, verb, client).await?;
        Ok((job, Affect::resolve(&domain.snapshot(), flags)?))
    }

    /// Changes the live definition of a running domain.
    ///
    /// # Errors
    /// When it ended in the meantime, and those of `change`.
    pub(crate) async fn modify_live(
        &self,
        domain: &Arc<Domain>,
        change: impl FnOnce(&mut Definition) -> Result<(), VirError>,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let Some(live) = domain.snapshot().live.clone() else { return Err(not_running()) };
        let mut definition = live.definition.clone();
        change(&mut definition)?;
        vm.redefine(definition).await;
        Ok(())
    }

    /// Changes the persistent definition on a thread that may block.
    ///
    /// # Errors
    /// Those of `change`, of checking and of writing.
    pub(crate) async fn modify_config_later(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        change: impl FnOnce(&mut Definition) -> Result<(), VirError> + Send + 'static,
    ) -> Result<(), VirError> {
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        crate::blocking(move || engine.modify_config(&domain, change)).await
    }
}

/// The domain's job.
pub(crate) async fn acquire(
    domain: &Arc<Domain>,
    request: Request,
    verb: &'static str,
    client: &Arc<str>,
) -> Result<Admission, VirError> {
    domain.gate.acquire(request, verb, client).await
}

/// The handle of a running domain, or libvirt's error.
pub(crate) fn running(domain: &Domain) -> Result<Arc<super::vm::Vm>, VirError> {
    domain.vm().ok_or_else(not_running)
}

/// libvirt's error for what only a running guest has.
pub fn not_running() -> VirError {
    VirError::invalid_state("domain is not running").from_domain(ErrorDomain::DOMAIN)
}

/// Refuses two flags that exclude each other, in libvirt's words.
///
/// # Errors
/// When both are set.
pub fn exclusive(flags: u32, one: (u32, &str), other: (u32, &str)) -> Result<(), VirError> {
    if flags & one.0 != 0 && flags & other.0 != 0 {
        return Err(VirError::invalid_arg(format!(
            "Flags '{}' and '{}' are mutually exclusive",
            one.1, other.1
        ))
        .verbatim()
        .from_domain(ErrorDomain::DOMAIN));
    }
    Ok(())
}
