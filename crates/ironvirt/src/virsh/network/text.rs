//! Titles, descriptions and metadata of networks.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::edit;
use crate::virsh::fail::fail;

/// A text of the network; none where it has none.
pub(super) fn metadata(
    ctl: &mut Ctl,
    net: &Net,
    kind: i32,
    uri: Option<String>,
    flags: u32,
) -> Outcome<Option<String>> {
    match call!(ctl, NetworkGetMetadata { network: net.clone(), r#type: kind, uri, flags }) {
        Ok(r) => Ok(Some(r.metadata)),
        // 111: the network has no such metadata.
        Err(f) if f.is(111) || f.is(80) => Ok(None),
        Err(f) => Err(f),
    }
}

/// `net-desc`
pub fn cmd_net_desc(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let net = network(ctl, cmd, true, true)?;
    let title = cmd.has("title");
    let what = if title { "title" } else { "description" };
    let kind = i32::from(title);
    let given = cmd.has("new-desc");
    if !given && !cmd.has("edit") {
        match metadata(ctl, &net, kind, None, flags)?.filter(|t| !t.is_empty()) {
            Some(text) => put!(ctl, "{text}"),
            None => say!(ctl, "No {what} for network: {}", net.name),
        }
        return Ok(());
    }
    let mut text = cmd.argv("new-desc").join(" ");
    if cmd.has("edit") {
        if !given {
            text = metadata(ctl, &net, kind, None, flags)?.unwrap_or_default();
        }
        let edited = edit::edit_text(ctl, &text)?.trim_end_matches('\n').to_owned();
        if edited == text {
            say!(ctl, "Network {what} not changed\n");
            return Ok(());
        }
        text = edited;
    }
    call!(
        ctl,
        NetworkSetMetadata {
            network: net,
            r#type: kind,
            metadata: Some(text),
            key: None,
            uri: None,
            flags
        }
    )
    .ctx(format!("Failed to set new network {what}"))?;
    let shown = if title { "title" } else { "description" };
    say!(ctl, "Network {shown} updated successfully");
    Ok(())
}

/// `net-metadata`
pub fn cmd_net_metadata(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    cmd.exclusive("edit", "set")?;
    cmd.exclusive("remove", "set")?;
    cmd.exclusive("remove", "edit")?;
    let net = network(ctl, cmd, true, true)?;
    let uri = Some(cmd.req("uri")?.to_owned());
    let key = cmd.str("key")?.map(str::to_owned);
    let set = cmd.str("set")?.map(str::to_owned);
    if (set.is_some() || cmd.has("edit")) && key.is_none() {
        fail!("namespace key is required when modifying metadata");
    }
    let store = |ctl: &mut Ctl, text: Option<String>| {
        call!(
            ctl,
            NetworkSetMetadata {
                network: net.clone(),
                r#type: 2,
                metadata: text,
                key: key.clone(),
                uri: uri.clone(),
                flags
            }
        )
    };
    if set.is_some() || cmd.has("remove") {
        let removed = set.is_none();
        store(ctl, set)?;
        say!(ctl, "Metadata {}\n", if removed { "removed" } else { "modified" });
    } else if cmd.has("edit") {
        let read = |ctl: &mut Ctl| {
            Ok(metadata(ctl, &net, 2, uri.clone(), flags)?.unwrap_or_else(|| "\n".into()))
        };
        match edit::run(ctl, read, |ctl, text, _| store(ctl, Some(text.to_owned())))? {
            Some(()) => say!(ctl, "Metadata modified"),
            None => say!(ctl, "Metadata not changed"),
        }
    } else {
        let text = metadata(ctl, &net, 2, uri.clone(), flags)?.unwrap_or_default();
        ctl.member("metadata", text.clone());
        put!(ctl, "{text}\n");
    }
    Ok(())
}
