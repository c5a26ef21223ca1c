//! The conversation with QEMU that brings a guest's state into a file, and the one that gets it out.

use super::ActiveJob;
use super::stream::{Carrier, Stream};
use crate::domain::vm::Vm;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use plan::migration::{FileMigration, Params, file_uri};
use qmp::reply::Migration;
use qmp::{Value, cmd};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How often QEMU is asked how far it is.
const PROGRESS: Duration = Duration::from_millis(250);

/// How long a migration that was cancelled may take to end.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// How long QEMU may take to see what came through a pipe that is closed by now.
const EMPTY_PATIENCE: Duration = Duration::from_secs(1);

/// The name under which QEMU keeps our pipe.
const PIPE: &str = "migrate";

/// What was changed in QEMU for a migration, to be put back where the guest goes on.
#[derive(Debug, Default)]
pub(super) struct Changed {
    parameters: Params,
    capabilities: Vec<Value>,
    fdset: Option<i64>,
}

/// Brings the guest's state to `carrier`. `stream` is on its other side.
///
/// # Errors
/// QEMU's, that of a request to end early, and of a QEMU that ends.
pub(super) async fn send(
    vm: &Vm,
    job: &ActiveJob,
    how: FileMigration,
    carrier: Carrier,
    stream: &Stream,
    changed: &mut Changed,
) -> Result<Migration, VirError> {
    let mut states = vm.migration_states();
    let known = prepare(vm, how, changed).await?;
    vm.monitor
        .execute(cmd::migrate_set_parameters(into_map(how.outgoing().into_value())))
        .await
        .map_err(|error| refused("migrate-set-parameters", &error))?;
    let uri = place(vm, &known, carrier, &mut changed.fdset, "outgoing").await?;
    states.mark_unchanged();
    let mut abort = job.aborted();
    if let Err(error) = vm.monitor.execute(cmd::migrate(&uri)).await {
        if error.is_unanswered() {
            // It may have begun all the same, and would go on behind everybody's back.
            tokio::select! {
                () = super::recover::quiet(vm) => {}
                Ok(_) = abort.wait_for(|abort| *abort) => stream.cut(),
            }
        }
        let error = refused("migrate", &error);
        return Err(match error.detail.contains("due to previous migration") {
            true => error.hint("it was dumped since it was paused: resume and suspend it first"),
            false => error,
        });
    }
    let name = job.operation().as_str();
    let mut aborted = false;
    let mut give_up = tokio::time::Instant::now();
    loop {
        tokio::select! {
            biased;
            _ = vm.process.exited() => return Err(ended()),
            Ok(()) = states.changed() => {
                // What begins or goes on needs no look.
                if !is_final(&states.borrow_and_update()) { continue; }
            }
            Ok(_) = abort.wait_for(|abort| *abort), if !aborted => {
                aborted = true;
                give_up = tokio::time::Instant::now() + CANCEL_PATIENCE;
                // QEMU may be stuck in the pipe, and then hears nothing else.
                stream.cut();
                let _ = vm.monitor.submit(cmd::migrate_cancel().with_reply(), Vec::new());
                continue;
            }
            () = tokio::time::sleep_until(give_up), if aborted => {
                return Err(canceled(name).hint("QEMU does not answer"));
            }
            () = tokio::time::sleep(PROGRESS) => {}
        }
        let info = match vm.monitor.execute(cmd::query_migrate()).await {
            Ok(info) => info,
            // One that is only slow has not failed; whoever has enough of it destroys or aborts.
            Err(error) if error.is_unanswered() => continue,
            Err(error) => return Err(refused("query-migrate", &error)),
        };
        job.update(info.clone());
        if info.is_under_way() {
            continue;
        }
        return match info.status.as_deref() {
            Some("completed") => Ok(info),
            Some("cancelled") => Err(canceled(name)),
            _ if aborted => Err(canceled(name)),
            _ => Err(job_failed(name, info.error_desc)),
        };
    }
}

/// Has a QEMU that waits for it take its guest's state from `carrier`.
///
/// # Errors
/// QEMU's, and of a QEMU that ends.
pub(super) async fn receive(
    vm: &Vm,
    how: FileMigration,
    carrier: Carrier,
    stream: &Stream,
) -> Result<(), VirError> {
    let mut states = vm.migration_states();
    let mut changed = Changed::default();
    let known = prepare(vm, how, &mut changed).await?;
    let parameters = into_map(how.incoming().into_value());
    if !parameters.is_empty() {
        vm.monitor
            .execute(cmd::migrate_set_parameters(parameters))
            .await
            .map_err(|error| refused("migrate-set-parameters", &error))?;
    }
    let uri = place(vm, &known, carrier, &mut changed.fdset, "incoming").await?;
    states.mark_unchanged();
    let mut begun = vm.monitor.execute(cmd::migrate_incoming(&uri, true)).await;
    if matches!(&begun, Err(MonitorError::Qmp(error)) if error.to_string().contains("exit-on-error"))
    {
        // One that does not know the argument ends itself when it fails.
        begun = vm.monitor.execute(cmd::migrate_incoming(&uri, false)).await;
    }
    begun.map_err(|error| refused("migrate-incoming", &error))?;
    let mut over = std::pin::pin!(stream.ended());
    let mut give_up = None;
    loop {
        tokio::select! {
            biased;
            _ = vm.process.exited() => return Err(ended()),
            () = &mut over, if give_up.is_none() => {
                give_up = Some(tokio::time::Instant::now() + EMPTY_PATIENCE);
                continue;
            }
            Ok(()) = states.changed() => {
                if !is_final(&states.borrow_and_update()) { continue; }
            }
            () = tokio::time::sleep(PROGRESS) => {}
        }
        let info = match vm.monitor.execute(cmd::query_migrate()).await {
            Ok(info) => info,
            Err(error) if error.is_unanswered() => continue,
            Err(error) => return Err(refused("query-migrate", &error)),
        };
        match info.status.as_deref() {
            Some("completed") => break,
            Some("failed" | "cancelled") => return Err(job_failed("start", info.error_desc)),
            // QEMU waits for the first byte and overlooks a pipe that was closed without one.
            None | Some("none" | "setup")
                if give_up.is_some_and(|when| when <= tokio::time::Instant::now()) =>
            {
                let fault = "load of migration failed: Input/output error";
                return Err(job_failed("start", Some(fault.to_owned())));
            }
            _ => {}
        }
    }
    put_back(vm, changed).await;
    Ok(())
}

/// Puts QEMU's settings back to what they were before a migration.
pub(super) async fn put_back(vm: &Vm, changed: Changed) {
    if let Some(set) = changed.fdset {
        let _ = vm.monitor.execute(cmd::remove_fd(set, None)).await;
    }
    if !changed.capabilities.is_empty() {
        let _ = vm.monitor.execute(cmd::migrate_set_capabilities(changed.capabilities)).await;
    }
    let parameters = into_map(changed.parameters.arguments().into_value());
    if !parameters.is_empty()
        && let Err(error) = vm.monitor.execute(cmd::migrate_set_parameters(parameters)).await
    {
        tracing::debug!(%error, "migration parameters stay");
    }
}

/// Sets the capabilities; returns the names of those that QEMU has.
async fn prepare(
    vm: &Vm,
    how: FileMigration,
    changed: &mut Changed,
) -> Result<Vec<String>, VirError> {
    let known = vm
        .monitor
        .execute(cmd::query_migrate_capabilities())
        .await
        .map_err(|error| refused("query-migrate-capabilities", &error))?;
    let known: Vec<String> = known.into_iter().map(|known| known.capability).collect();
    if how.mapped && !known.iter().any(|name| name == "mapped-ram") {
        return Err(VirError::new(
            ErrorCode::OPERATION_UNSUPPORTED,
            "save image format 'sparse' is not supported by this QEMU binary",
        ));
    }
    if let Ok(reply) = vm.monitor.execute(cmd::query_migrate_parameters()).await {
        changed.parameters = only_ours(&reply);
    }
    changed.capabilities = FileMigration::default().capabilities(&known);
    vm.monitor
        .execute(cmd::migrate_set_capabilities(how.capabilities(&known)))
        .await
        .map_err(|error| refused("migrate-set-capabilities", &error))?;
    Ok(known)
}

/// The parameters that are set here, as they were.
fn only_ours(reply: &Value) -> Params {
    let ours = ["max-bandwidth", "multifd-channels", "direct-io"];
    let kept = reply.as_object().into_iter().flatten();
    let kept = kept.filter(|(name, _)| ours.contains(&name.as_str()));
    Params::from_reply(&Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
    ))
}

/// Hands the descriptors over; returns where QEMU finds them.
async fn place(
    vm: &Vm,
    known: &[String],
    carrier: Carrier,
    fdset: &mut Option<i64>,
    direction: &str,
) -> Result<String, VirError> {
    match carrier {
        Carrier::Pipe(pipe) => named(vm, pipe).await,
        // A pipe of the user's: `file:` would cut it to its length.
        Carrier::File { file, offset: 0, .. } if rustix::fs::tell(&file).is_err() => {
            named(vm, file).await
        }
        // Those that know mapped-ram know `file:`, and warn of files in `fd:`.
        Carrier::File { file, offset, .. } if !known.iter().any(|name| name == "mapped-ram") => {
            rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(offset))
                .map_err(|error| VirError::internal(format!("cannot seek: {error}")))?;
            named(vm, file).await
        }
        Carrier::File { file, direct, offset } => {
            let opaque = |what: &str| format!("libvirt-{direction}-migrate-{what}fd");
            let add = cmd::add_fd(None, Some(&opaque("")));
            let added = vm
                .monitor
                .execute_with_fds(add, vec![file])
                .await
                .map_err(|error| refused("add-fd", &error))?;
            *fdset = Some(added.fdset_id);
            if let Some(direct) = direct {
                let add = cmd::add_fd(Some(added.fdset_id), Some(&opaque("directio-")));
                vm.monitor
                    .execute_with_fds(add, vec![direct])
                    .await
                    .map_err(|error| refused("add-fd", &error))?;
            }
            Ok(file_uri(added.fdset_id, offset))
        }
    }
}

async fn named(vm: &Vm, fd: OwnedFd) -> Result<String, VirError> {
    vm.monitor
        .execute_with_fds(cmd::getfd(PIPE), vec![fd])
        .await
        .map_err(|error| refused("getfd", &error))?;
    Ok(format!("fd:{PIPE}"))
}

fn is_final(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

pub(super) fn into_map(value: Value) -> qmp::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => qmp::Map::new(),
    }
}

/// QEMU's refusal of a command, in libvirt's words.
pub(super) fn refused(command: &str, error: &MonitorError) -> VirError {
    match error {
        MonitorError::Qmp(error) => {
            VirError::internal(format!("unable to execute QEMU command '{command}': {error}"))
        }
        MonitorError::Closed | MonitorError::Io(_) => ended(),
        other => crate::domain::power::monitor_error(other),
    }
}

/// QEMU went away meanwhile.
pub(super) fn ended() -> VirError {
    VirError::failed("domain is no longer running")
}

pub(super) fn canceled(job: &str) -> VirError {
    VirError::new(ErrorCode::OPERATION_ABORTED, format!("job '{job}' canceled by client"))
}

pub(super) fn job_failed(job: &str, fault: Option<String>) -> VirError {
    match fault {
        Some(fault) => VirError::failed(format!("job '{job}' failed: {fault}")),
        None => VirError::failed(format!("job '{job}' unexpectedly failed")),
    }
}
