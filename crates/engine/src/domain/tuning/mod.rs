//! Limits and priorities of guests, changed by clients: what `virsh help domain` calls tuning.
//!
//! Every setter works alike. It changes copies of the definitions that the flags mean, which is
//! where bad values are refused; then it has the kernel or QEMU do what the live copy says; then
//! the copies take their places, and subscribers are told. What fails on the way takes back what
//! was done before it: a setter changes all or nothing.

mod bandwidth;
mod blkio;
pub(super) mod boot_cpus;
mod dirty_rate;
mod disk_limits;
mod found;
mod io_threads;
mod launch_secret;
mod memory;
mod nodes;
pub(super) mod perf;
mod pins;
pub(super) mod plug;
pub(super) mod threshold;
mod throttle_groups;
pub(super) mod time;
mod writes;

pub(super) use writes::LimitsNote;

use super::affect::{Affect, not_running, running};
use super::record::Domain;
use super::vm::Vm;
use crate::engine::Engine;
use crate::typed::Value;
use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::Domain as Definition;
use std::sync::Arc;

/// Copies of the definitions that a change touches.
pub(super) struct Sides {
    /// The running guest's.
    pub live: Option<LiveSide>,
    /// The persistent one.
    pub config: Option<Definition>,
}

/// The running guest's definition, and the guest.
pub(super) struct LiveSide {
    pub vm: Arc<Vm>,
    pub definition: Definition,
}

impl LiveSide {
    /// QEMU's process.
    pub fn pid(&self) -> u32 {
        self.vm.process.pid()
    }
}

impl Engine {
    /// Copies of what a change touches. The domain's job is held.
    pub(super) fn sides(&self, domain: &Domain, affect: Affect) -> Result<Sides, VirError> {
        let snapshot = domain.snapshot();
        let live = if affect.live {
            let definition = snapshot.live.as_ref().ok_or_else(not_running)?.definition.clone();
            Some(LiveSide { vm: running(domain)?, definition })
        } else {
            None
        };
        let config = match &snapshot.config {
            Some(config) if affect.config => Some(self.definition_of(config)?),
            _ => None,
        };
        Ok(Sides { live, config })
    }

    /// Has the changed copies take their places: the stored one first, which can fail.
    pub(super) async fn keep(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        sides: Sides,
    ) -> Result<(), VirError> {
        if let Some(config) = sides.config {
            self.modify_config_later(domain, move |definition| {
                *definition = config;
                Ok(())
            })
            .await?;
        }
        if let Some(live) = sides.live {
            live.vm.redefine(live.definition).await;
        }
        Ok(())
    }

    /// Refuses a session, which has no control groups.
    fn privileged(&self, what: &str) -> Result<(), VirError> {
        if self.layout.session {
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                format!("{what} is not available in session mode"),
            ));
        }
        Ok(())
    }
}

/// The names of values that subscribers hear of, behind a prefix.
fn told(prefix: &str, params: &[(String, Value)]) -> Vec<(String, Value)> {
    params.iter().map(|(name, value)| (format!("{prefix}.{name}"), value.clone())).collect()
}

/// A list of numbers that is none, in the words of libvirt's reader of such lists.
fn no_bitmap(text: &str) -> VirError {
    VirError::invalid_arg(format!("Failed to parse bitmap '{text}'")).from_domain(ErrorDomain::NONE)
}
