//! Dirty bitmaps along a chain of images.
//!
//! A checkpoint is a persistent bitmap of one name, one piece of it in each image that was the top
//! of the chain while the checkpoint was current. What was written since is the union of the
//! pieces, from the top down to the last image that has one. These functions say which
//! transaction actions merge or remove them.

use crate::props::Props;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Bitmap that records what a block job's target is written while the job ends.
pub const ACTIVE_WRITE: &str = "libvirt-tmp-activewrite";

/// A bitmap of a node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Bitmap {
    /// Name.
    pub name: String,
    /// It records writes.
    pub recording: bool,
    /// It is kept in the image.
    pub persistent: bool,
    /// The image was not closed well: the bitmap lost writes.
    pub inconsistent: bool,
    /// Bytes a bit stands for.
    pub granularity: u64,
}

/// Bitmaps of nodes by name, as `query-named-block-nodes` reports them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Nodes(BTreeMap<String, Vec<Bitmap>>);

impl Nodes {
    /// From the reply of `query-named-block-nodes`.
    pub fn from_reply(reply: &Value) -> Self {
        let mut nodes = BTreeMap::new();
        for node in reply.as_array().into_iter().flatten() {
            let Some(name) = node.get("node-name").and_then(Value::as_str) else {
                continue;
            };
            let list = node.get("dirty-bitmaps").and_then(Value::as_array);
            let bitmaps = list.into_iter().flatten().filter_map(bitmap).collect();
            nodes.insert(name.to_string(), bitmaps);
        }
        Self(nodes)
    }

    /// Those of a node.
    pub fn bitmaps(&self, node: &str) -> &[Bitmap] {
        self.0.get(node).map_or(&[], Vec::as_slice)
    }

    /// The one of a node with this name.
    pub fn find(&self, node: &str, name: &str) -> Option<&Bitmap> {
        self.bitmaps(node).iter().find(|bitmap| bitmap.name == name)
    }
}

fn bitmap(value: &Value) -> Option<Bitmap> {
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or(false);
    Some(Bitmap {
        name: value.get("name").and_then(Value::as_str)?.to_string(),
        recording: flag("recording"),
        persistent: flag("persistent"),
        inconsistent: flag("inconsistent"),
        granularity: value.get("granularity").and_then(Value::as_u64).unwrap_or(0),
    })
}

/// Actions of one transaction, and nodes that must be opened for writing around it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Actions {
    /// For the command `transaction`.
    pub actions: Vec<Value>,
    /// Nodes below the top whose bitmaps change.
    pub reopen: Vec<String>,
}

fn action(kind: &str, data: Props) -> Value {
    Props::default().set("type", kind).set("data", data).into()
}

fn add(node: &str, name: &str, persistent: bool, disabled: bool, granularity: u64) -> Value {
    let data = Props::default()
        .set("node", node)
        .set("name", name)
        .set("persistent", persistent)
        .set("disabled", disabled)
        .set("granularity", granularity);
    action("block-dirty-bitmap-add", data)
}

fn remove(node: &str, name: &str) -> Value {
    let data = Props::default().set("node", node).set("name", name);
    action("block-dirty-bitmap-remove", data)
}

fn merge(node: &str, target: &str, pieces: Vec<Value>) -> Value {
    let data = Props::default()
        .set("node", node)
        .set("target", target)
        .set("bitmaps", Value::from(pieces));
    action("block-dirty-bitmap-merge", data)
}

/// Whether what a bitmap says can be relied on: the top has a piece, so has every image down to
/// the last that has one, and every piece is whole, kept and recording.
pub fn is_valid(nodes: &Nodes, chain: &[String], name: &str) -> bool {
    let mut pieces = 0;
    let mut ended = false;
    for node in chain {
        match nodes.find(node, name) {
            None => ended = true,
            Some(_) if ended => return false,
            Some(piece) if piece.inconsistent || !piece.persistent || !piece.recording => {
                return false;
            }
            Some(_) => pieces += 1,
        }
    }
    pieces > 0
}

/// Where merged bitmaps go.
struct Target<'a> {
    node: &'a str,
    name: Option<&'a str>,
    persistent: bool,
    disabled: bool,
    /// Node and bitmap of what is written to the target while the merge is prepared.
    writes: Option<(&'a str, &'a str)>,
}

/// Merges one bitmap (or all of the top image) along `chain` into the target.
fn merged(nodes: &Nodes, chain: &[String], name: Option<&str>, target: &Target<'_>) -> Vec<Value> {
    let Some(top) = chain.first() else {
        return Vec::new();
    };
    let names: Vec<&str> = match name {
        Some(name) => vec![name],
        None => {
            let all = nodes.bitmaps(top).iter().rev();
            all.filter(|piece| !piece.inconsistent && piece.persistent && piece.recording)
                .map(|piece| piece.name.as_str())
                .collect()
        }
    };
    let mut actions = Vec::new();
    for name in names {
        let into = target.name.unwrap_or(name);
        let mut pieces = Vec::new();
        let mut granularity = 0;
        for node in chain {
            let Some(piece) = nodes.find(node, name) else {
                break;
            };
            granularity = piece.granularity;
            pieces.push(json!({"node": node, "name": name}));
        }
        if let Some((node, name)) = target.writes {
            pieces.push(json!({"node": node, "name": name}));
        }
        if nodes.find(target.node, into).is_none() {
            let (persistent, disabled) = (target.persistent, target.disabled);
            actions.push(add(target.node, into, persistent, disabled, granularity));
        }
        actions.push(merge(target.node, into, pieces));
    }
    actions
}

/// For an incremental backup: a disabled bitmap `target` of node `node` that holds all written
/// since checkpoint `name`; `None` where the bitmap cannot be relied on.
pub fn backup(
    nodes: &Nodes,
    chain: &[String],
    name: &str,
    node: &str,
    target: &str,
) -> Option<Actions> {
    if !is_valid(nodes, chain, name) {
        return None;
    }
    let target =
        Target { node, name: Some(target), persistent: false, disabled: true, writes: None };
    Some(Actions { actions: merged(nodes, chain, Some(name), &target), reopen: Vec::new() })
}

/// Removes checkpoint `name` from every image that has a piece of it.
pub fn delete(nodes: &Nodes, chain: &[String], name: &str) -> Actions {
    let mut out = Actions::default();
    for (depth, node) in chain.iter().enumerate() {
        if nodes.find(node, name).is_some() {
            out.actions.push(remove(node, name));
            if depth > 0 {
                out.reopen.insert(0, node.clone());
            }
        }
    }
    out
}

/// At the end of a copy into node `mirror`: gives the copy the bitmaps of the images it holds
/// (only the top one's with `shallow`).
pub fn blockcopy(nodes: &Nodes, chain: &[String], shallow: bool, mirror: &str) -> Actions {
    let copied = if shallow { chain.get(..1).unwrap_or_default() } else { chain };
    let target = Target {
        node: mirror,
        name: None,
        persistent: true,
        disabled: false,
        writes: Some((mirror, ACTIVE_WRITE)),
    };
    let mut actions = merged(nodes, copied, None, &target);
    actions.push(remove(mirror, ACTIVE_WRITE));
    Actions { actions, reopen: Vec::new() }
}

/// At the end of a pull into the first image of `chain` of all that is in the others: merges what
/// they have of its bitmaps, where these can be relied on.
pub fn blockpull(nodes: &Nodes, chain: &[String]) -> Actions {
    let Some((top, pulled)) = chain.split_first() else { return Actions::default() };
    let mut actions = Vec::new();
    for kept in nodes.bitmaps(top).iter().filter(|kept| is_valid(nodes, chain, &kept.name)) {
        let there = pulled.iter().take_while(|node| nodes.find(node, &kept.name).is_some());
        let pieces: Vec<_> = there.map(|node| json!({"node": node, "name": kept.name})).collect();
        if !pieces.is_empty() {
            actions.push(merge(top, &kept.name, pieces));
        }
    }
    Actions { actions, reopen: Vec::new() }
}

/// At the end of a commit of the images from `top` to just above `base` (places in the chain, 0
/// the top): merges their bitmaps into the base's.
pub fn blockcommit(nodes: &Nodes, chain: &[String], top: usize, base: usize) -> Option<Actions> {
    let (merging, into) = (chain.get(top..base)?, chain.get(base)?);
    // The guest goes on writing while the top image is committed; those writes reach the base.
    let active = top == 0;
    let target = Target {
        node: into,
        name: None,
        persistent: true,
        disabled: false,
        writes: active.then_some((into.as_str(), ACTIVE_WRITE)),
    };
    let mut actions = merged(nodes, merging, None, &target);
    if active {
        actions.push(remove(into, ACTIVE_WRITE));
    }
    Some(Actions { actions, reopen: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(pieces: &[(&str, &str)]) -> (Nodes, Vec<String>) {
        let mut map: BTreeMap<String, Vec<Bitmap>> = BTreeMap::new();
        for (node, name) in pieces {
            let bitmap = Bitmap {
                name: name.to_string(),
                recording: true,
                persistent: true,
                inconsistent: false,
                granularity: 65536,
            };
            map.entry(node.to_string()).or_default().push(bitmap);
        }
        (Nodes(map), ["n1", "n2", "n3"].map(String::from).to_vec())
    }

    #[test]
    fn a_gap_makes_a_bitmap_worthless() {
        let (all, chain) = nodes(&[("n1", "a"), ("n2", "a"), ("n1", "b"), ("n3", "b")]);
        assert!(is_valid(&all, &chain, "a"));
        assert!(!is_valid(&all, &chain, "b"));
        assert!(!is_valid(&all, &chain, "c"));
        assert_eq!(backup(&all, &chain, "b", "t", "x"), None);
    }

    #[test]
    fn a_deletion_reopens_what_is_below() {
        let (all, chain) = nodes(&[("n1", "a"), ("n2", "a"), ("n3", "a")]);
        let out = delete(&all, &chain, "a");
        assert_eq!(out.actions.len(), 3);
        assert_eq!(out.reopen, ["n3", "n2"]);
    }

    #[test]
    fn a_commit_adds_what_the_base_lacks() {
        let (all, chain) = nodes(&[("n1", "a"), ("n2", "a"), ("n3", "a"), ("n1", "b")]);
        let out = blockcommit(&all, &chain, 0, 2).unwrap();
        let kinds: Vec<_> = out.actions.iter().map(|a| a["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "block-dirty-bitmap-add",
                "block-dirty-bitmap-merge",
                "block-dirty-bitmap-merge",
                "block-dirty-bitmap-remove"
            ]
        );
        assert!(blockcommit(&all, &chain, 0, 9).is_none());
    }
}
