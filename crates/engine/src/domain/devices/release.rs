//! What stood behind a device is given back on the host only when QEMU has let go of it. A device
//! that is gone may hold its image for a moment longer; a QEMU that stopped holds it for as long as
//! it takes.

use super::Change;
use super::converse::take_back;
use super::note::Held;
use super::removal::still_needed;
use crate::domain::affect::{acquire, running};
use crate::domain::record::Domain;
use crate::domain::start::teardown::{self, Made};
use crate::domain::view;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::VirError;
use host::monitor::MonitorError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use plan::{QmpCommand, Undo};
use qmp::{Value, cmd};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long it takes at first until QEMU is told again to close what it kept.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is told: some two minutes. What it has then goes with the guest.
const ATTEMPTS: u32 = 30;

/// Tells QEMU to close what stood behind a device. The nodes of images that it has all the same.
pub(super) async fn close_behind(vm: &Vm, commands: &[&QmpCommand]) -> Vec<String> {
    let refused = take_back(vm, commands).await;
    let nodes: Vec<String> = refused.into_iter().filter_map(node_closed_by).collect();
    if nodes.is_empty() {
        return nodes;
    }
    match node_names(vm).await {
        Ok(there) => nodes.into_iter().filter(|node| there.contains(node)).collect(),
        // It ended; with it everything that it had open.
        Err(MonitorError::Closed | MonitorError::Io(_)) => Vec::new(),
        Err(_) => nodes,
    }
}

/// The node that a command closes, if that is what it does.
fn node_closed_by(command: &QmpCommand) -> Option<String> {
    let value: Value = serde_json::from_str(&command.json).ok()?;
    let closes = value.get("execute").and_then(Value::as_str) == Some("blockdev-del");
    let node = value.get("arguments")?.get("node-name")?.as_str()?;
    closes.then(|| node.to_owned())
}

/// The names of all nodes of images that QEMU has.
pub(super) async fn node_names(vm: &Vm) -> Result<BTreeSet<String>, MonitorError> {
    let nodes = vm.monitor.execute(cmd::query_named_block_nodes(true)).await?;
    Ok(view::node_names(&nodes))
}

/// Tells QEMU to close nodes, the uppermost first; those that it has all the same.
pub(super) async fn close_nodes(vm: &Vm, nodes: &[String]) -> Vec<String> {
    let commands: Vec<QmpCommand> = nodes
        .iter()
        .map(|node| {
            let json = serde_json::json!({
                "execute": "blockdev-del",
                "arguments": {"node-name": node},
            });
            QmpCommand { result: None, json: json.to_string(), secret: false }
        })
        .collect();
    close_behind(vm, &commands.iter().collect::<Vec<_>>()).await
}

impl Engine {
    /// Takes back on the host what stood behind images that QEMU has closed; `kept`: those that it
    /// has not closed, for which all of it waits. What the actor is to be told of it.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        name: &str,
        made: Made,
        kept: Vec<String>,
        undo: Vec<Undo>,
    ) -> Change {
        if !kept.is_empty() {
            tracing::info!(domain = name, nodes = ?kept, "QEMU has them open still");
            return Change { hold: vec![Held { nodes: kept, undo }], ..Change::default() };
        }
        if !undo.is_empty() {
            teardown::take_all_back(self, name, undo.clone(), made).await;
        }
        Change { drop: undo, ..Change::default() }
    }

    /// Has QEMU close what it kept, in the background and for as long as it takes.
    pub(super) fn release_later(self: &Arc<Self>, domain: &Arc<Domain>) {
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.runtime().spawn(async move {
            let client: Arc<str> = Arc::from("daemon");
            let mut pause = FIRST_PAUSE;
            for _ in 0..ATTEMPTS {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                if domain.vm().is_none() {
                    return;
                }
                let held = acquire(&domain, Request::ModifyLive, "release-images", &client).await;
                let Ok(_job) = held else { continue };
                match engine.release(&domain).await {
                    Ok(true) | Err(_) => return,
                    Ok(false) => {}
                }
            }
            let name = &domain.snapshot().name;
            tracing::warn!(domain = %name, "QEMU keeps images open of devices that are gone");
        });
    }

    /// Has QEMU close what it kept, and gives back on the host what it closed; tells whether
    /// nothing is left. The job is held.
    ///
    /// # Errors
    /// The guest has ended.
    pub(super) async fn release(self: &Arc<Self>, domain: &Arc<Domain>) -> Result<bool, VirError> {
        let vm = running(domain)?;
        let mut clean = true;
        for held in vm.pending().await.held {
            let Some(live) = domain.snapshot().live.clone() else { return Ok(true) };
            let definition = live.definition.clone();
            let name = Arc::clone(&domain.snapshot().name);
            let kept = close_nodes(&vm, &held.nodes).await;
            let undo = not_needed(&definition, held.undo.clone());
            clean &= kept.is_empty();
            let hold = match kept.is_empty() {
                true => Vec::new(),
                false if kept == held.nodes => continue,
                false => vec![Held { nodes: kept, undo: held.undo.clone() }],
            };
            let mut drop = Vec::new();
            let closed = hold.is_empty();
            if closed && !undo.is_empty() {
                teardown::take_all_back(self, &name, undo.clone(), vm.made().await).await;
                drop = undo;
            }
            let change = Change { drop, hold, release: vec![held], ..Change::default() };
            vm.change(Change { definition: definition.clone(), ..change }).await;
            if closed {
                vm.unlock_change(&definition).await;
            }
        }
        Ok(clean)
    }
}

/// The steps of taking back that no other device of the guest stands in the way of.
pub(super) fn not_needed(left: &Definition, undo: Vec<Undo>) -> Vec<Undo> {
    undo.into_iter().filter(|step| !still_needed(left, step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_node_a_command_closes() {
        for (json, node) in [
            (r#"{"execute":"blockdev-del","arguments":{"node-name":"a"}}"#, Some("a")),
            (r#"{"execute":"object-del","arguments":{"id":"a"}}"#, None),
            (r#"{"execute":"blockdev-add","arguments":{"node-name":"a"}}"#, None),
            ("{", None),
        ] {
            let command = QmpCommand { result: None, json: json.to_owned(), secret: false };
            assert_eq!(node_closed_by(&command).as_deref(), node, "{json}");
        }
    }
}
