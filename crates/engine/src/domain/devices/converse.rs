//! Talking to QEMU about a device. Commands go out in rows, without waiting for each answer: QEMU
//! carries them out in order, and what hangs on one that failed fails too.

use super::release::close_behind;
use crate::domain::power::monitor_error;
use crate::domain::start::launch::parse_command;
use crate::domain::start::results::Results;
use crate::domain::vm::Vm;
use diag::VirError;
use host::monitor::{MonitorError, PendingReply};
use plan::{HotCommand, PlugPlan, QmpCommand};
use qmp::Value;
use std::collections::BTreeMap;

/// Why QEMU did not take a device.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the client is told.
    pub error: VirError,
    /// QEMU gave no answer: it may still do what it was told, and nothing is taken back.
    pub unanswered: bool,
    /// Nodes of images that were opened and that QEMU did not close again.
    pub kept: Vec<String>,
}

impl Failure {
    /// What became of a command that is not done.
    pub(super) fn of(command: &str, error: &MonitorError) -> Self {
        let unanswered = error.is_unanswered();
        Self { error: refusal(command, error), unanswered, kept: Vec::new() }
    }
}

impl From<VirError> for Failure {
    fn from(error: VirError) -> Self {
        Self { error, unanswered: false, kept: Vec::new() }
    }
}

/// QEMU's refusal of a command, in libvirt's words.
pub(super) fn refusal(command: &str, error: &MonitorError) -> VirError {
    match error {
        MonitorError::Qmp(error) => VirError::internal(format!(
            "unable to execute QEMU command '{command}': {}",
            error.desc
        )),
        other => monitor_error(other),
    }
}

/// Tells QEMU all of it; when it refuses something, takes back what was done.
pub(super) async fn converse(
    vm: &Vm,
    plan: &PlugPlan,
    results: &mut Results,
) -> Result<(), Failure> {
    let device = plan.commands.iter().position(|command| command.name == "device_add");
    let (behind, device) = plan.commands.split_at(device.unwrap_or(plan.commands.len()));
    let mut done = Vec::new();
    // The device by itself: it goes again only if the guest agrees, so all else must be there.
    let mut failed = row(vm, behind, &[], results, &mut done).await;
    if failed.is_none() {
        failed = row(vm, device, &plan.after, results, &mut done).await;
    }
    let Some(mut failure) = failed else { return Ok(()) };
    if !failure.unanswered {
        let undo: Vec<_> = done.iter().rev().filter_map(|command| command.undo.as_ref()).collect();
        failure.kept = close_behind(vm, &undo).await;
    }
    Err(failure)
}

/// Sends a row of commands, and questions behind it, which may fail. The first failure.
async fn row<'a>(
    vm: &Vm,
    commands: &'a [HotCommand],
    after: &[QmpCommand],
    results: &mut Results,
    done: &mut Vec<&'a HotCommand>,
) -> Option<Failure> {
    let mut failed = None;
    let mut sent = Vec::new();
    for command in commands {
        match send(vm, command, results) {
            Ok(reply) => sent.push((command, reply)),
            Err(error) => {
                failed = Some(error.into());
                break;
            }
        }
    }
    let mut questions = Vec::new();
    // What is of no use here is not asked: a guest that is busy with its new device makes QEMU slow to
    // answer, and the question itself is read byte by byte.
    let is_of_use =
        |command: &&QmpCommand| command.result.as_ref().is_none_or(plan::qemu::is_observed);
    for command in after.iter().filter(|_| failed.is_none()).filter(is_of_use) {
        if let Ok(parsed) = parse_command(command) {
            let name = parsed.name().to_owned();
            let reply = vm.monitor.submit(parsed, Vec::new());
            questions.push((command, name, reply));
        }
    }
    for (command, reply) in sent {
        match reply.wait().await {
            Ok(value) => {
                done.push(command);
                if let Some(result) = &command.result {
                    results.values.insert(result.clone(), value);
                }
            }
            Err(error) => {
                let failure = Failure::of(command.name, &error);
                failed.get_or_insert(failure);
                if error.is_unanswered() {
                    return failed;
                }
            }
        }
    }
    for (command, name, reply) in questions {
        match reply.wait().await {
            Ok(value) => {
                if let Some(result) = &command.result {
                    results.values.insert(result.clone(), value);
                }
            }
            // The device is there; what it lacks is said where somebody will look.
            Err(error) if failed.is_none() => {
                tracing::warn!(id = vm.id, command = name, %error, "not done");
            }
            Err(_) => {}
        }
    }
    failed
}

fn send(vm: &Vm, command: &HotCommand, results: &mut Results) -> Result<PendingReply, VirError> {
    let text = results.render(&command.arguments, &mut BTreeMap::new());
    let arguments = match serde_json::from_str(&text) {
        Ok(Value::Object(arguments)) => arguments,
        _ => return Err(VirError::internal("a plan's QMP command is malformed")),
    };
    let mut fds = Vec::new();
    if let Some(name) = &command.fd {
        let fd = results.fds.remove(name).ok_or_else(|| {
            VirError::internal(format!("no step yielded the descriptor '{}'", name.0))
        })?;
        fds.push(fd);
    }
    Ok(vm.monitor.submit(qmp::Command::new(command.name).args(arguments), fds))
}

/// Tells QEMU something that may fail: what it was about may never have been there. A QEMU that
/// does not answer is waited for once, however much it is told. What it did not do.
pub(super) async fn take_back<'a>(vm: &Vm, commands: &[&'a QmpCommand]) -> Vec<&'a QmpCommand> {
    let mut sent = Vec::new();
    for &command in commands {
        let Ok(parsed) = parse_command(command) else { continue };
        let name = parsed.name().to_owned();
        sent.push((command, name, vm.monitor.submit(parsed, Vec::new())));
    }
    let mut refused = Vec::new();
    let mut silent = false;
    for (command, name, reply) in sent {
        if silent {
            refused.push(command);
            continue;
        }
        match reply.wait().await {
            Ok(_) => {}
            Err(error) if error.is_unanswered() => {
                tracing::warn!(id = vm.id, command = name, %error, "not taken back");
                silent = true;
                refused.push(command);
            }
            Err(error) => {
                tracing::debug!(id = vm.id, command = name, %error, "not taken back");
                refused.push(command);
            }
        }
    }
    refused
}
