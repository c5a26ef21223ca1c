//! Power verbs of running domains: suspend, resume, shutdown, reboot, reset, wakeup, destroy.

use super::affect::running;
use super::job::Admission;
use super::record::Domain;
use super::view::agent_channel;
use super::vm::EndReason;
use crate::domain::agent::link::Turn;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::monitor::MonitorError;
use lifecycle::{PausedReason, Phase, Request, RunningReason, Status};
use qmp::QmpError;
use std::sync::Arc;
use std::time::Duration;

/// How long `destroy` waits for QEMU to be gone before it reports that it is not.
const DESTROY_DEADLINE: Duration = Duration::from_secs(15);

/// How long `destroy --graceful` waits before it gives up without force.
const GRACEFUL_DEADLINE: Duration = Duration::from_secs(10);

/// Ways to ask a guest to power off or reboot (`virDomainShutdownFlagValues`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerModes {
    /// Press the power button.
    pub acpi: bool,
    /// Ask the guest agent.
    pub agent: bool,
}

impl PowerModes {
    /// From the wire's flags; `None` for ways that QEMU guests do not have.
    pub fn from_flags(flags: u32) -> Option<Self> {
        // 4, 8 and 16 are initctl, signals and Xen's own way.
        (flags & !3 == 0).then_some(Self { acpi: flags & 1 != 0, agent: flags & 2 != 0 })
    }
}

impl Engine {
    /// Stops the virtual CPUs.
    ///
    /// # Errors
    /// When the domain does not run, or QEMU does not do it.
    pub async fn suspend(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(Request::Suspend, "suspend", client).await?;
        if matches!(job, Admission::AlreadySo) {
            return Ok(());
        }
        let vm = running(domain)?;
        self.detached(async move {
            vm.announce_pause(PausedReason::User);
            let result = vm.carry_out(qmp::cmd::stop()).await;
            drop(job);
            result.map(|_| ()).map_err(|error| monitor_error(&error))
        })
        .await
    }

    /// Lets the virtual CPUs run.
    ///
    /// # Errors
    /// When the domain does not run or is not paused, or QEMU does not do it.
    pub async fn resume(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(Request::Resume, "resume", client).await?;
        let vm = running(domain)?;
        self.detached(async move {
            vm.lock_disks().await?;
            vm.announce_run(RunningReason::Unpaused);
            let result = vm.carry_out(qmp::cmd::cont()).await;
            if result.is_err() {
                vm.unlock_disks();
            }
            drop(job);
            result.map(|_| ()).map_err(|error| {
                VirError::new(
                    ErrorCode::OPERATION_FAILED,
                    format!("resume operation failed: {error}"),
                )
            })
        })
        .await
    }

    /// Asks the guest to power off; returns once it was asked.
    ///
    /// # Errors
    /// When the domain does not run, or none of the ways works.
    pub async fn shutdown(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        modes: PowerModes,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        // A guest that stands still hears of nothing.
        if !matches!(domain.snapshot().status, Status::Running(_)) {
            return Err(VirError::invalid_state("domain is not running"));
        }
        self.ask_guest(domain, modes, "powerdown", Request::Shutdown, "shutdown", client).await
    }

    /// Asks the guest to reboot; returns once it was asked.
    ///
    /// # Errors
    /// When the domain does not run, or none of the ways works.
    pub async fn reboot(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        modes: PowerModes,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let asked =
            self.ask_guest(domain, modes, "reboot", Request::Reboot, "reboot", client).await;
        // As libvirt does: of the agent alone, its driver finds that there is no guest.
        match asked {
            Err(error) if modes.agent && !modes.acpi && domain.vm().is_none() => {
                Err(error.from_domain(ErrorDomain::QEMU))
            }
            asked => asked,
        }
    }

    async fn ask_guest(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        modes: PowerModes,
        agent_mode: &'static str,
        request: Request,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(request, verb, client).await?;
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone();
        let has_agent = live.is_some_and(|live| agent_channel(&live.definition).is_some());
        // Without a wish, the agent is asked where the guest has one that answers, as it is sure.
        let any = !modes.acpi && !modes.agent;
        let reboot = request == Request::Reboot;
        let (domain, client) = (Arc::clone(domain), Arc::clone(client));
        self.detached(async move {
            let _job = job;
            if modes.agent || (any && has_agent) {
                // Nothing stands for anything else here: the guest starts over by itself.
                vm.announce_fake_reboot(false).await;
                let asked = match Turn::take(&domain, verb, &client).await {
                    Ok(mut turn) => turn.order(qmp::cmd::guest::shutdown(agent_mode)).await,
                    Err(error) => Err(error),
                };
                match asked {
                    Ok(()) => return Ok(()),
                    Err(error) if !any && !modes.acpi => return Err(error),
                    Err(error) => tracing::debug!(error = %error.detail, "agent not asked"),
                }
            }
            vm.announce_fake_reboot(reboot).await;
            vm.monitor
                .execute(qmp::cmd::system_powerdown())
                .await
                .map(|_| ())
                .map_err(|error| monitor_error(&error))
        })
        .await
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// When the domain does not run, or QEMU does not do it.
    pub async fn reset(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(Request::Reset, "reset", client).await?;
        let vm = running(domain)?;
        let domain = Arc::clone(domain);
        self.detached(async move {
            let result = vm.carry_out(qmp::cmd::system_reset()).await;
            let crashed = matches!(domain.snapshot().status, Status::Crashed(_));
            if result.is_ok() && crashed {
                // QEMU waits for `cont`: nothing of its says so.
                vm.settle(Status::Paused(PausedReason::Crashed)).await;
            }
            drop(job);
            result.map(|_| ()).map_err(|error| monitor_error(&error))
        })
        .await
    }

    /// Wakes a guest that is suspended to memory.
    ///
    /// # Errors
    /// When the domain does not run or is not suspended.
    pub async fn wakeup(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(Request::Wakeup, "dompmwakeup", client).await?;
        let vm = running(domain)?;
        self.detached(async move {
            let result = execute(&vm, qmp::cmd::system_wakeup()).await;
            vm.sync().await;
            drop(job);
            result.map(|_| ())
        })
        .await
    }

    /// As [`Self::destroy`], and then removes what its QEMU said.
    ///
    /// # Errors
    /// As [`Self::destroy`].
    pub async fn destroy_with_logs(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        graceful: bool,
    ) -> Result<(), VirError> {
        let name = Arc::clone(&domain.snapshot().name);
        self.destroy(domain, graceful).await?;
        let engine = Arc::clone(self);
        crate::blocking(move || {
            engine.remove_logs(&name);
            Ok(())
        })
        .await
    }

    /// Ends a domain at once. Waits for no job: a stuck job is what people destroy guests for.
    ///
    /// # Errors
    /// When it does not run, or (graceful only) does not end by itself.
    pub async fn destroy(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        graceful: bool,
    ) -> Result<(), VirError> {
        domain.gate.check(Request::Destroy)?;
        domain.abort_start();
        let waited = if graceful { GRACEFUL_DEADLINE } else { DESTROY_DEADLINE };
        let ended = tokio::time::timeout(waited, async {
            // A domain being started is ended by its start; one that has just got its actor by
            // the actor. Either way it ends as inactive.
            loop {
                if let Some(vm) = domain.vm() {
                    vm.end(EndReason::Destroyed, graceful);
                    // Somebody else may start it again at once: only this life counts.
                    let over = |phase| {
                        let id = domain.snapshot().id;
                        phase == Phase::Inactive || (id >= 0 && id != vm.id)
                    };
                    domain.gate.wait_phase(over).await;
                    return;
                }
                let phase = domain.gate.phase();
                if phase != Phase::Starting {
                    break;
                }
                tokio::select! {
                    () = domain.gate.wait_phase(|phase| phase != Phase::Starting) => {}
                }
            }
            domain.gate.wait_phase(|phase| phase == Phase::Inactive).await;
        })
        .await;
        if ended.is_ok() {
            return Ok(());
        }
        let vm = domain.vm();
        if vm.as_ref().is_some_and(|vm| matches!(vm.process.try_exited(), Ok(Some(_)))) {
            return Err(VirError::new(
                ErrorCode::OPERATION_TIMEOUT,
                "the guest has ended, but what was made for it cannot be taken back yet: storage does \
                 not answer",
            ));
        }
        let pid = vm.map(|vm| vm.process.pid());
        let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
        if graceful {
            return Err(VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!("Failed to terminate process {pid} with SIGTERM: Device or resource busy"),
            )
            .hint("destroy without --graceful kills it"));
        }
        Err(VirError::new(
            ErrorCode::SYSTEM_ERROR,
            format!(
                "Failed to terminate process {pid} with SIGKILL: Device or resource busy \
                 (it waits for a disk or device that does not answer)"
            ),
        ))
    }
}

/// A monitor's refusal (with the command's name, as libvirt tells it) or failure as libvirt's error.
pub(crate) fn monitor_error(error: &MonitorError) -> VirError {
    match error {
        MonitorError::Qmp(QmpError { command, desc, .. }) => {
            VirError::internal(format!("unable to execute QEMU command '{command}': {desc}"))
        }
        MonitorError::Timeout { .. } => {
            VirError::new(ErrorCode::OPERATION_TIMEOUT, error.to_string())
        }
        MonitorError::Closed => VirError::failed("domain is no longer running"),
        other => VirError::internal(other.to_string()),
    }
}

/// Has QEMU carry out a command.
pub(crate) async fn execute<R: serde::de::DeserializeOwned>(
    vm: &super::vm::Vm,
    command: qmp::Command<R>,
) -> Result<R, VirError> {
    vm.monitor.execute(command).await.map_err(|error| monitor_error(&error))
}
