//! Titles, descriptions and application metadata.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::edit;
use crate::virsh::fail::{Context, fail};

const DESCRIPTION: i32 = 0;
const TITLE: i32 = 1;
const ELEMENT: i32 = 2;
/// `VIR_DOMAIN_AFFECT_CONFIG`
const AFFECT_CONFIG: u32 = 2;
const NO_METADATA: u32 = 80;

/// The text of a metadata element; empty where there is none.
fn get(
    ctl: &mut Ctl,
    dom: &Dom,
    kind: i32,
    uri: Option<String>,
    flags: u32,
) -> Outcome<Option<String>> {
    match call!(ctl, DomainGetMetadata { dom: dom.clone(), r#type: kind, uri, flags }) {
        Ok(r) => Ok(Some(r.metadata)),
        Err(f) if f.is(NO_METADATA) => Ok(None),
        Err(f) => Err(f),
    }
}

/// `desc`
pub fn cmd_desc(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let title = cmd.has("title");
    let kind = if title { TITLE } else { DESCRIPTION };
    let words = cmd.argv("new-desc");
    let given = cmd.has("new-desc");
    if !given && !cmd.has("edit") {
        // Without `--config` it is what is current, also with `--live`.
        let text = get(ctl, &dom, kind, None, flags & AFFECT_CONFIG)?.unwrap_or_default();
        if !text.is_empty() {
            put!(ctl, "{text}");
        } else if title {
            say!(ctl, "No title for domain: {}", dom.name);
        } else {
            say!(ctl, "No description for domain: {}", dom.name);
        }
        return Ok(());
    }
    let what = if title { "title" } else { "description" };
    // What is there is looked at first, also where it is about to be replaced: what is stored, if that
    // is (also) to change, as no question is about both.
    let before = get(ctl, &dom, kind, None, flags & AFFECT_CONFIG)?.unwrap_or_default();
    let mut text = if given { words.join(" ") } else { before };
    if cmd.has("edit") {
        let edited = edit::edit_text(ctl, &text)?;
        let edited = edited.trim_end_matches('\n').to_owned();
        if edited == text {
            say!(ctl, "Domain {what} not changed\n");
            return Ok(());
        }
        text = edited;
    }
    if title && text.contains('\n') {
        // The library refuses it before it calls.
        return Err(Fail::new("metadata title can't contain newlines")
            .before("Failed to set new domain title"));
    }
    call!(
        ctl,
        DomainSetMetadata { dom, r#type: kind, metadata: Some(text), key: None, uri: None, flags }
    )
    .ctx(format!("Failed to set new domain {what}"))?;
    say!(ctl, "Domain {what} updated successfully");
    Ok(())
}

/// `metadata`
pub fn cmd_metadata(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    cmd.exclusive("edit", "set")?;
    cmd.exclusive("remove", "set")?;
    cmd.exclusive("remove", "edit")?;
    let dom = domain(ctl, cmd)?;
    let uri = Some(cmd.req("uri")?.to_owned());
    let key = cmd.str("key")?.map(str::to_owned);
    let set = cmd.str("set")?.map(str::to_owned);
    if (set.is_some() || cmd.has("edit")) && key.is_none() {
        fail!("namespace key is required when modifying metadata");
    }
    let store = |ctl: &mut Ctl, text: Option<String>| {
        call!(
            ctl,
            DomainSetMetadata {
                dom: dom.clone(),
                r#type: ELEMENT,
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
            Ok(match get(ctl, &dom, ELEMENT, uri.clone(), flags)? {
                Some(t) => t,
                None => "\n".to_owned(),
            })
        };
        match edit::run(ctl, read, |ctl, text, _| store(ctl, Some(text.to_owned())))? {
            Some(()) => say!(ctl, "Metadata modified"),
            None => say!(ctl, "Metadata not changed"),
        }
    } else {
        let text = get(ctl, &dom, ELEMENT, uri.clone(), flags)?.unwrap_or_default();
        ctl.member("metadata", text.clone());
        put!(ctl, "{text}\n");
    }
    Ok(())
}
