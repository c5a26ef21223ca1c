//! Bitmaps that images keep of what was written to them: where a job ends, those of the images that
//! go are merged into those of the image that stays, as under libvirt, so that what was written since
//! a point in time is still known.

use super::job::{BlockJob, Kind};
use crate::domain::hardware::block::named_disk;
use crate::domain::record::Domain;
use crate::domain::view::{node_names, node_of_image};
use crate::domain::vm::Vm;
use crate::engine::Engine;
use host::monitor::MonitorError;
use model::domain::devices::disk::Disk;
use plan::block::bitmap::{self, Nodes};
use plan::block::{Chain, format};
use qmp::{Ack, Command, Value, cmd};
use serde_json::json;
use std::collections::BTreeSet;

impl Engine {
    /// Before the guest goes on with another image: what is written to that until the bitmaps are
    /// merged is not to be lost to them.
    pub(super) async fn note_writes(
        &self,
        domain: &Domain,
        vm: &Vm,
        job: &BlockJob,
    ) -> Result<(), (&'static str, MonitorError)> {
        let Some(node) = target_of_bitmaps(domain, vm, job).await else { return Ok(()) };
        let data = json!({"node": node, "name": bitmap::ACTIVE_WRITE,
                          "persistent": false, "disabled": false});
        let actions = vec![json!({"type": "block-dirty-bitmap-add", "data": data})];
        transaction(vm, actions).await.map_err(|error| ("transaction", error))
    }

    /// Has the images that stay when a job did its work have the bitmaps of those that go, all of
    /// which are open yet; `disk` is as it was before.
    pub(super) async fn bitmaps_follow(&self, vm: &Vm, disk: &Disk, job: &BlockJob) {
        let Ok(reply) = vm.monitor.execute(cmd::query_named_block_nodes(true)).await else {
            return;
        };
        let names = node_names(&reply);
        let nodes = Nodes::from_reply(&Value::Array(reply));
        let Some(merges) = merges(disk, job, &nodes, &names) else { return };
        let base = match job.kind {
            Kind::Commit { base, .. } => Some(base),
            _ => None,
        };
        let merged = async {
            // What the guest does not write to is open for reading only.
            if let Some(base) = base {
                reopen(vm, disk, base, &names, false).await?;
            }
            transaction(vm, merges).await
        };
        let merged = merged.await;
        if let Some(base) = base
            && let Err(error) = reopen(vm, disk, base, &names, true).await
        {
            tracing::warn!(id = vm.id, job = job.name, %error, "an image stays open for writing");
        }
        if let Err(error) = merged {
            tracing::warn!(id = vm.id, job = job.name, %error, "bitmaps did not follow");
        }
    }
}

/// What merges the bitmaps; none where there is nothing to be merged.
fn merges(
    disk: &Disk,
    job: &BlockJob,
    nodes: &Nodes,
    names: &BTreeSet<String>,
) -> Option<Vec<Value>> {
    let numbers = super::chain::numbers(disk);
    let chain = numbers.iter().map(|number| node_of_image(names, *number));
    let chain: Vec<String> = chain.collect::<Option<_>>()?;
    let place = |number: u32| numbers.iter().position(|there| *there == number);
    let writes = |node: &str| nodes.find(node, bitmap::ACTIVE_WRITE).is_some();
    let actions = match job.kind {
        Kind::Copy { shallow } => {
            let mirror = disk.mirror.as_ref().and_then(|mirror| mirror.source.as_ref()?.index);
            let target = node_of_image(names, mirror?).filter(|node| writes(node))?;
            bitmap::blockcopy(nodes, &chain, shallow, &target)
        }
        Kind::ActiveCommit { top, base, .. } => {
            let base = place(base).filter(|base| chain.get(*base).is_some_and(|node| writes(node)));
            bitmap::blockcommit(nodes, &chain, place(top)?, base?)?
        }
        Kind::Commit { top, base, .. } => {
            bitmap::blockcommit(nodes, &chain, place(top)?, place(base)?)?
        }
        Kind::Pull { base } => {
            let end = base.map_or(Some(chain.len()), place)?;
            bitmap::blockpull(nodes, chain.get(..end)?)
        }
    };
    Some(actions.actions).filter(|actions| !actions.is_empty())
}

/// The node of the other image, where that is to have the bitmaps of the guest's image, has a place
/// for them, and does not note what is written yet.
async fn target_of_bitmaps(domain: &Domain, vm: &Vm, job: &BlockJob) -> Option<String> {
    let live = domain.snapshot().live.clone()?;
    let disk = named_disk(&live.definition, &job.disk).ok()?;
    let mirror = disk.mirror.as_ref()?;
    let format = mirror.image_format.as_ref().map(|format| format.kind.as_str());
    if format != Some("qcow2") {
        return None;
    }
    let reply = vm.monitor.execute(cmd::query_named_block_nodes(true)).await.ok()?;
    let names = node_names(&reply);
    let nodes = Nodes::from_reply(&Value::Array(reply));
    let top = node_of_image(&names, disk.source.as_ref()?.index?)?;
    nodes.bitmaps(&top).iter().find(|bitmap| bitmap.persistent)?;
    let node = node_of_image(&names, mirror.source.as_ref()?.index?)?;
    nodes.find(&node, bitmap::ACTIVE_WRITE).is_none().then_some(node)
}

async fn transaction(vm: &Vm, actions: Vec<Value>) -> Result<(), MonitorError> {
    let command = Command::<Ack>::new("transaction").arg("actions", actions);
    vm.monitor.execute(command).await.map(drop)
}

/// Opens an image of the disk anew: for reading only, or not. One whose format has no node of its own
/// has no bitmaps.
async fn reopen(
    vm: &Vm,
    disk: &Disk,
    number: u32,
    names: &BTreeSet<String>,
    read_only: bool,
) -> Result<(), MonitorError> {
    let mut chain = Chain::new(disk);
    let numbers = super::chain::numbers(disk);
    let Some(place) = numbers.iter().position(|there| *there == number) else { return Ok(()) };
    let below = numbers.get(place + 1).and_then(|below| node_of_image(names, *below));
    let Some(image) = chain.images.get_mut(place) else { return Ok(()) };
    image.options.read_only = read_only;
    super::copy_target::name_nodes(image, number);
    image.data_node = image.data.as_ref().and_then(|data| node_of_image(names, data.source.index?));
    if !names.contains(&image.format_node) {
        return Ok(());
    }
    let Ok(options) = format(image, Some(below.map_or(Value::Null, Value::from))) else {
        return Ok(());
    };
    let options = vec![options.into_value()];
    let command = Command::<Ack>::new("blockdev-reopen").arg("options", options);
    vm.monitor.execute(command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_bitmaps_are_merged() {
        let disk = super::super::chain::tests::chained();
        let bitmap = |name: &str| json!({"name": name, "recording": true, "persistent": true});
        let node = |number: u32, bitmaps: &[&str]| {
            let bitmaps: Vec<_> = bitmaps.iter().map(|name| bitmap(name)).collect();
            json!({"node-name": format!("libvirt-{number}-format"), "dirty-bitmaps": bitmaps})
        };
        let writes = bitmap::ACTIVE_WRITE;
        let all = |marked: u32| {
            let of = |number: u32, names: &[&str]| {
                let mark = (number == marked).then_some(&writes);
                node(number, &names.iter().chain(mark).copied().collect::<Vec<_>>())
            };
            vec![of(1, &["x", "a"]), of(2, &["x", "b"]), of(3, &["x"]), of(4, &[]), of(9, &[])]
        };
        let active = Kind::ActiveCommit { top: 1, base: 4, delete: false };
        let commit = Kind::Commit { parent: 1, top: 2, base: 4, delete: false };
        for (kind, marked, expected) in [
            (Kind::Pull { base: None }, 0, Some("1: x<2,3")),
            (Kind::Pull { base: Some(3) }, 0, Some("1: x<2")),
            (Kind::Pull { base: Some(2) }, 0, None),
            (commit, 0, Some("4: b<2; 4: x<2,3")),
            (active, 0, None),
            (active, 4, Some("4: a<1,4; 4: x<1,2,3,4")),
            (Kind::Copy { shallow: true }, 9, Some("9: a<1,9; 9: x<1,9")),
            (Kind::Copy { shallow: false }, 0, None),
        ] {
            let reply = all(marked);
            let names = node_names(&reply);
            let nodes = Nodes::from_reply(&Value::Array(reply));
            let job = BlockJob::new("j".to_owned(), "vda", kind, 0);
            let found = merges(&disk, &job, &nodes, &names);
            let number = |node: &Value| {
                let node = node.as_str().and_then(|node| node.split('-').nth(1));
                node.unwrap_or_default().to_owned()
            };
            let mut shown: Vec<_> = found
                .iter()
                .flatten()
                .filter(|action| action["type"] == "block-dirty-bitmap-merge")
                .map(|action| {
                    let data = &action["data"];
                    let pieces = data["bitmaps"].as_array().expect("pieces").iter();
                    let pieces: Vec<_> = pieces.map(|piece| number(&piece["node"])).collect();
                    let name = data["target"].as_str().expect("a name");
                    format!("{}: {name}<{}", number(&data["node"]), pieces.join(","))
                })
                .collect();
            shown.sort();
            let shown = found.as_ref().map(|_| shown.join("; "));
            assert_eq!(shown.as_deref(), expected, "{kind:?} {marked}");
        }
    }
}
