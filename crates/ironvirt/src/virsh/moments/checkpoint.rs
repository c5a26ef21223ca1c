//! Checkpoints and backups.

use super::*;
use protocol::remote::NonnullDomainCheckpoint as Checkpoint;

fn checkpoint(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<(Dom, Checkpoint)> {
    let dom = domain(ctl, cmd)?;
    let name = cmd.req("checkpointname")?.to_owned();
    let c =
        call!(ctl, DomainCheckpointLookupByName { dom: dom.clone(), name, flags: 0 })?.checkpoint;
    Ok((dom, c))
}

fn xml(ctl: &mut Ctl, checkpoint: &Checkpoint, flags: u32) -> Outcome<String> {
    Ok(call!(ctl, DomainCheckpointGetXmlDesc { checkpoint: checkpoint.clone(), flags })?.xml)
}

fn create(ctl: &mut Ctl, dom: Dom, xml_desc: String, flags: u32, from: Option<&str>) -> Outcome {
    let c = call!(ctl, DomainCheckpointCreateXml { dom, xml_desc, flags })?.checkpoint;
    ctl.member("name", c.name.clone());
    match from {
        Some(f) => say!(ctl, "Domain checkpoint {} created from '{f}'", c.name),
        None => say!(ctl, "Domain checkpoint {} created", c.name),
    }
    Ok(())
}

/// `checkpoint-create`
pub fn cmd_checkpoint_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("redefine", 1), ("quiesce", 2), ("redefine-validate", 4)]);
    let dom = domain(ctl, cmd)?;
    match cmd.str("xmlfile")?.map(str::to_owned) {
        Some(f) => {
            let text = read_file(&f)?;
            create(ctl, dom, text, flags, Some(&f))
        }
        None => create(ctl, dom, "<domaincheckpoint/>".into(), flags, None),
    }
}

/// `checkpoint-create-as`
pub fn cmd_checkpoint_create_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("quiesce", 2)]);
    let mut text = String::from("<domaincheckpoint>\n");
    if let Some(n) = cmd.str("name")? {
        text.push_str(&format!("  <name>{}</name>\n", escape(n)));
    }
    if let Some(d) = cmd.str("description")? {
        text.push_str(&format!("  <description>{}</description>\n", escape(d)));
    }
    let disks = cmd.argv("diskspec");
    if !disks.is_empty() {
        text.push_str("  <disks>\n");
        for spec in disks {
            let mut parts = split_commas(spec).into_iter();
            let name = parts.next().unwrap_or_default();
            text.push_str(&format!("    <disk name='{}'", escape(&name)));
            for part in parts {
                match part.split_once('=') {
                    Some((k @ ("checkpoint" | "bitmap"), v)) => {
                        text.push_str(&format!(" {k}='{}'", escape(v)));
                    }
                    _ => fail!("unable to parse diskspec: {spec}"),
                }
            }
            text.push_str("/>\n");
        }
        text.push_str("  </disks>\n");
    }
    text.push_str("</domaincheckpoint>\n");
    if cmd.has("print-xml") {
        put!(ctl, "{text}\n");
        return Ok(());
    }
    let dom = domain(ctl, cmd)?;
    create(ctl, dom, text, flags, None)
}

/// `checkpoint-dumpxml`
pub fn cmd_checkpoint_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("security-info", 1), ("no-domain", 2), ("size", 4)]);
    let (_, c) = checkpoint(ctl, cmd)?;
    let text = xml(ctl, &c, flags)?;
    print_xml(ctl, cmd, &text)
}

/// `checkpoint-delete`
pub fn cmd_checkpoint_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("children", 1), ("metadata", 2), ("children-only", 4)]);
    let (_, checkpoint) = checkpoint(ctl, cmd)?;
    let name = checkpoint.name.clone();
    call!(ctl, DomainCheckpointDelete { checkpoint, flags })
        .ctx(format!("Failed to delete checkpoint {name}"))?;
    if cmd.has("children-only") {
        say!(ctl, "Domain checkpoint {name} children deleted\n");
    } else {
        say!(ctl, "Domain checkpoint {name} deleted\n");
    }
    Ok(())
}

/// `checkpoint-parent`
pub fn cmd_checkpoint_parent(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (_, c) = checkpoint(ctl, cmd)?;
    match call!(ctl, DomainCheckpointGetParent { checkpoint: c.clone(), flags: 0 }) {
        Ok(r) => {
            ctl.member("name", r.parent.name.clone());
            put!(ctl, "{}", r.parent.name);
            Ok(())
        }
        Err(f) if f.is(103) => fail!("checkpoint '{}' has no parent", c.name),
        Err(f) => Err(f),
    }
}

/// `checkpoint-info`
pub fn cmd_checkpoint_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (dom, c) = checkpoint(ctl, cmd)?;
    ctl.pair("Name:", &c.name);
    ctl.pair("Domain:", &dom.name);
    let parent = call!(ctl, DomainCheckpointGetParent { checkpoint: c.clone(), flags: 0 })
        .map(|r| r.parent.name)
        .ok();
    ctl.pair("Parent:", parent.as_deref().unwrap_or("-"));
    for (label, flags) in [("Children:", 0), ("Descendants:", 1)] {
        let n = call!(
            ctl,
            DomainCheckpointListAllChildren { checkpoint: c.clone(), need_results: 0, flags }
        )?
        .ret;
        ctl.pair(label, n);
    }
    Ok(())
}

/// `checkpoint-list`
pub fn cmd_checkpoint_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    list_flags(cmd)?;
    let mut flags = cmd.flags(&[("topological", 2), ("leaves", 4), ("no-leaves", 8)]);
    let from = cmd.str("from")?.map(str::to_owned);
    let dom = domain(ctl, cmd)?;
    let mut list = match from {
        Some(name) => {
            let c = call!(ctl, DomainCheckpointLookupByName { dom, name, flags: 0 })?.checkpoint;
            if cmd.has("descendants") || cmd.has("tree") {
                flags |= 1;
            }
            call!(ctl, DomainCheckpointListAllChildren { checkpoint: c, need_results: 1, flags })?
                .checkpoints
        }
        None => {
            if cmd.has("roots") {
                flags |= 1;
            }
            call!(ctl, DomainListAllCheckpoints { dom, need_results: 1, flags })?.checkpoints
        }
    };
    sort_names(cmd, &mut list, |c| c.name.clone());
    let mut moments = Vec::new();
    for c in list {
        let text = xml(ctl, &c, 2)?;
        moments.push(moment(c.name, &text)?);
    }
    print_moments(ctl, cmd, moments, false);
    Ok(())
}

/// `checkpoint-edit`
pub fn cmd_checkpoint_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (dom, c) = checkpoint(ctl, cmd)?;
    let name = c.name.clone();
    let edited = edit::run(
        ctl,
        |ctl| xml(ctl, &c, 1),
        |ctl, text, _| {
            let xml_desc = text.to_owned();
            let new =
                call!(ctl, DomainCheckpointCreateXml { dom: dom.clone(), xml_desc, flags: 1 })?
                    .checkpoint
                    .name;
            if new != name {
                fail!("Cannot rename checkpoint {name} to {new}");
            }
            Ok(())
        },
    )?;
    match edited {
        Some(()) => say!(ctl, "Checkpoint {name} edited.\n"),
        None => say!(ctl, "Checkpoint {name} XML configuration not changed.\n"),
    }
    Ok(())
}

/// `backup-begin`
pub fn cmd_backup_begin(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("reuse-external", 1)]);
    let dom = domain(ctl, cmd)?;
    let backup_xml = match cmd.str("backupxml")? {
        Some(f) => read_file(f)?,
        None => "<domainbackup/>".to_owned(),
    };
    let checkpoint_xml = cmd.str("checkpointxml")?.map(read_file).transpose()?;
    call!(ctl, DomainBackupBegin { dom, backup_xml, checkpoint_xml, flags })?;
    put!(ctl, "Backup started\n");
    Ok(())
}

/// `backup-dumpxml`
pub fn cmd_backup_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let text = call!(ctl, DomainBackupGetXmlDesc { dom, flags: 0 })?.xml;
    print_xml(ctl, cmd, &text)
}
