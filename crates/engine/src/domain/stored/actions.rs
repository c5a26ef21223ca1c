//! What happens when the guest powers off, reboots or crashes, changed by clients.

use crate::domain::affect::{Affect, running};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use model::domain::Domain as Definition;
use model::domain::lifecycle::{self, LifecycleAction};
use qmp::cmd;
use std::sync::Arc;

/// The event an action is for (`virDomainLifecycle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    Poweroff,
    Reboot,
    Crash,
}

/// Actions by their numbers (`virDomainLifecycleAction`).
const ACTIONS: &[LifecycleAction] = &[
    LifecycleAction::Destroy,
    LifecycleAction::Restart,
    LifecycleAction::RenameRestart,
    LifecycleAction::Preserve,
    LifecycleAction::CoredumpDestroy,
    LifecycleAction::CoredumpRestart,
];

impl Engine {
    /// Sets what happens at an event, both by libvirt's numbers.
    ///
    /// # Errors
    /// Unknown numbers, an action that the event cannot have, and those of the flags.
    pub async fn set_lifecycle_action(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        kind: u32,
        action: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (kind, action) = checked(kind, action)?;
        let (job, affect) = self.job_for(domain, flags, "set-lifecycle-action", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            engine.refuse_conflict(&domain, affect, kind, action)?;
            if affect.live {
                let vm = running(&domain)?;
                if kind == Lifecycle::Reboot {
                    // QEMU itself resets or ends at a reboot.
                    let restart = action == LifecycleAction::Restart;
                    let reboot = if restart { "reset" } else { "shutdown" };
                    vm.monitor
                        .execute(cmd::set_action(Some(reboot), None, None, None))
                        .await
                        .map_err(|error| monitor_error(&error))?;
                }
                engine
                    .modify_live(&domain, |definition| {
                        write(definition, kind, action);
                        Ok(())
                    })
                    .await?;
            }
            if affect.config {
                engine
                    .modify_config_later(&domain, move |definition| {
                        write(definition, kind, action);
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Refuses an action that cannot go with those of the other events, before anything changes.
    fn refuse_conflict(
        &self,
        domain: &Domain,
        affect: Affect,
        kind: Lifecycle,
        action: LifecycleAction,
    ) -> Result<(), VirError> {
        let snapshot = domain.snapshot();
        let mut sides = Vec::new();
        if let (true, Some(live)) = (affect.live, &snapshot.live) {
            sides.push(live.definition.clone());
        }
        if let (true, Some(config)) = (affect.config, &snapshot.config) {
            sides.push(self.definition_of(config)?);
        }
        for mut definition in sides {
            write(&mut definition, kind, action);
            let (off, reboot) = (definition.on_poweroff, definition.on_reboot);
            if let Some(text) = lifecycle::conflict(off, reboot) {
                return Err(VirError::config(text));
            }
        }
        Ok(())
    }
}

fn checked(kind: u32, action: u32) -> Result<(Lifecycle, LifecycleAction), VirError> {
    let invalid = |what: &str, number: u32| {
        VirError::invalid_arg(format!("invalid lifecycle {what} '{number}'"))
            .from_domain(ErrorDomain::DOMAIN)
    };
    let (kind, name) = match kind {
        0 => (Lifecycle::Poweroff, "poweroff"),
        1 => (Lifecycle::Reboot, "reboot"),
        2 => (Lifecycle::Crash, "crash"),
        other => return Err(invalid("type", other)),
    };
    let index = usize::try_from(action).unwrap_or(usize::MAX);
    let Some(&chosen) = ACTIONS.get(index) else { return Err(invalid("action", action)) };
    let core =
        matches!(chosen, LifecycleAction::CoredumpDestroy | LifecycleAction::CoredumpRestart);
    if core && kind != Lifecycle::Crash {
        return Err(VirError::config(format!(
            "Lifecycle event '{name}' doesn't support '{}' action",
            chosen.as_str()
        ))
        .from_domain(ErrorDomain::DOMAIN));
    }
    // What QEMU's guests cannot have.
    if chosen == LifecycleAction::RenameRestart {
        return Err(VirError::config(
            "qemu driver doesn't support the 'rename-restart' action for \
             'on_reboot'/'on_poweroff'/'on_crash'",
        ));
    }
    if chosen == LifecycleAction::Preserve && kind != Lifecycle::Crash {
        return Err(VirError::config(
            "qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'",
        ));
    }
    Ok((kind, chosen))
}

fn write(definition: &mut Definition, kind: Lifecycle, action: LifecycleAction) {
    let slot = match kind {
        Lifecycle::Poweroff => &mut definition.on_poweroff,
        Lifecycle::Reboot => &mut definition.on_reboot,
        Lifecycle::Crash => &mut definition.on_crash,
    };
    *slot = Some(action);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_checked() {
        for (kind, action, expected) in [
            (9, 1, "invalid lifecycle type '9'"),
            (0, 9, "invalid lifecycle action '9'"),
            (0, 4, "Lifecycle event 'poweroff' doesn't support 'coredump-destroy' action"),
            (1, 5, "Lifecycle event 'reboot' doesn't support 'coredump-restart' action"),
            (
                1,
                3,
                "qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'",
            ),
            (
                2,
                2,
                "qemu driver doesn't support the 'rename-restart' action for \
                 'on_reboot'/'on_poweroff'/'on_crash'",
            ),
        ] {
            assert_eq!(checked(kind, action).expect_err(expected).detail, expected);
        }
        assert_eq!(checked(2, 4), Ok((Lifecycle::Crash, LifecycleAction::CoredumpDestroy)));
    }
}
