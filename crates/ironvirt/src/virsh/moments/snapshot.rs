//! Snapshots.

use super::*;
use protocol::remote::NonnullDomainSnapshot as Snapshot;

fn lookup(ctl: &mut Ctl, dom: &Dom, name: &str) -> Outcome<Snapshot> {
    Ok(call!(
        ctl,
        DomainSnapshotLookupByName { dom: dom.clone(), name: name.to_owned(), flags: 0 }
    )?
    .snap)
}

/// The snapshot of `--snapshotname` or `--current`.
fn snapshot(ctl: &mut Ctl, cmd: &Cmd, dom: &Dom) -> Outcome<Snapshot> {
    let name = cmd.str("snapshotname")?.map(str::to_owned);
    let current = cmd.def.opts.iter().any(|o| o.name == "current") && cmd.has("current");
    match (name, current) {
        (Some(_), true) => fail!("--snapshotname and --current are mutually exclusive"),
        (Some(n), false) => lookup(ctl, dom, &n),
        (None, true) => Ok(call!(ctl, DomainSnapshotCurrent { dom: dom.clone(), flags: 0 })?.snap),
        (None, false) => fail!("--snapshotname or --current is required"),
    }
}

fn xml(ctl: &mut Ctl, snap: &Snapshot, flags: u32) -> Outcome<String> {
    Ok(call!(ctl, DomainSnapshotGetXmlDesc { snap: snap.clone(), flags })?.xml)
}

const CREATE: &[(&str, u32)] = &[
    ("redefine", 1),
    ("current", 2),
    ("no-metadata", 4),
    ("halt", 8),
    ("disk-only", 16),
    ("reuse-external", 32),
    ("quiesce", 64),
    ("atomic", 128),
    ("live", 256),
    ("validate", 512),
];

fn create(ctl: &mut Ctl, dom: Dom, xml_desc: String, flags: u32, from: Option<&str>) -> Outcome {
    let snap = call!(ctl, DomainSnapshotCreateXml { dom, xml_desc, flags })?.snap;
    ctl.member("name", snap.name.clone());
    match from {
        Some(f) => say!(ctl, "Domain snapshot {} created from '{f}'", snap.name),
        None => say!(ctl, "Domain snapshot {} created", snap.name),
    }
    Ok(())
}

/// `snapshot-create`
pub fn cmd_snapshot_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    if cmd.has("current") && !cmd.has("redefine") {
        fail!(
            "Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' is required by flag 'VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT'"
        );
    }
    let flags = cmd.flags(CREATE);
    let dom = domain(ctl, cmd)?;
    match cmd.str("xmlfile")?.map(str::to_owned) {
        Some(f) => {
            let text = read_file(&f)?;
            create(ctl, dom, text, flags, Some(&f))
        }
        None => create(ctl, dom, "<domainsnapshot/>".into(), flags, None),
    }
}

/// `snapshot-create-as`
pub fn cmd_snapshot_create_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let have: Vec<(&str, u32)> =
        CREATE.iter().copied().filter(|(n, _)| cmd.def.opts.iter().any(|o| o.name == *n)).collect();
    let flags = cmd.flags(&have);
    let mut text = String::from("<domainsnapshot>\n");
    if let Some(n) = cmd.str("name")? {
        text.push_str(&format!("  <name>{}</name>\n", escape(n)));
    }
    if let Some(d) = cmd.str("description")? {
        text.push_str(&format!("  <description>{}</description>\n", escape(d)));
    }
    if let Some(m) = cmd.str("memspec")? {
        text.push_str(&memory(m)?);
    }
    let disks = cmd.argv("diskspec");
    if !disks.is_empty() {
        text.push_str("  <disks>\n");
        for d in disks {
            text.push_str(&disk(d)?);
        }
        text.push_str("  </disks>\n");
    }
    text.push_str("</domainsnapshot>\n");
    if cmd.has("print-xml") {
        put!(ctl, "{text}\n");
        return Ok(());
    }
    let dom = domain(ctl, cmd)?;
    create(ctl, dom, text, flags, None)
}

fn memory(spec: &str) -> Outcome<String> {
    let mut out = String::from("  <memory");
    for part in split_commas(spec) {
        match part.split_once('=') {
            Some(("snapshot", v)) => out.push_str(&format!(" snapshot='{}'", escape(v))),
            Some(("file", v)) => out.push_str(&format!(" file='{}'", escape(v))),
            None if part.starts_with('/') => out.push_str(&format!(" file='{}'", escape(&part))),
            _ => fail!("unable to parse memspec: {spec}"),
        }
    }
    Ok(out + "/>\n")
}

fn disk(spec: &str) -> Outcome<String> {
    let mut parts = split_commas(spec).into_iter();
    let name = parts.next().unwrap_or_default();
    let (mut snap, mut driver, mut stype, mut file) = (None, None, None, None);
    for part in parts {
        match part.split_once('=') {
            Some(("snapshot", v)) => snap = Some(v.to_owned()),
            Some(("driver", v)) => driver = Some(v.to_owned()),
            Some(("stype", v)) => stype = Some(v.to_owned()),
            Some(("file", v)) => file = Some(v.to_owned()),
            _ => fail!("unable to parse diskspec: {spec}"),
        }
    }
    let block = match stype.as_deref() {
        None | Some("file") => false,
        Some("block") => true,
        Some(other) => fail!("Unknown storage type: '{other}'"),
    };
    let mut out = format!("    <disk name='{}'", escape(&name));
    if let Some(s) = &snap {
        out.push_str(&format!(" snapshot='{}'", escape(s)));
    }
    if block {
        out.push_str(" type='block'");
    }
    if driver.is_none() && file.is_none() {
        return Ok(out + "/>\n");
    }
    out.push_str(">\n");
    if let Some(d) = driver {
        out.push_str(&format!("      <driver type='{}'/>\n", escape(&d)));
    }
    if let Some(f) = file {
        let attr = if block { "dev" } else { "file" };
        out.push_str(&format!("      <source {attr}='{}'/>\n", escape(&f)));
    }
    Ok(out + "    </disk>\n")
}

/// `snapshot-current`
pub fn cmd_snapshot_current(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("name", "snapshotname")?;
    let flags = cmd.flags(&[("security-info", 1)]);
    let dom = domain(ctl, cmd)?;
    if let Some(name) = cmd.str("snapshotname")?.map(str::to_owned) {
        let snap = lookup(ctl, &dom, &name)?;
        let text = xml(ctl, &snap, 1)?;
        // Redefining it with the flag makes it the current one.
        call!(ctl, DomainSnapshotCreateXml { dom, xml_desc: text, flags: 1 | 2 })?;
        say!(ctl, "Snapshot {name} set as current");
        return Ok(());
    }
    let has = call!(ctl, DomainHasCurrentSnapshot { dom: dom.clone(), flags: 0 })?.result;
    if has == 0 {
        fail!("domain '{}' has no current snapshot", dom.name);
    }
    let snap = call!(ctl, DomainSnapshotCurrent { dom, flags: 0 })?.snap;
    if cmd.has("name") {
        ctl.member("name", snap.name.clone());
        put!(ctl, "{}", snap.name);
    } else {
        let text = xml(ctl, &snap, flags)?;
        ctl.member("xml", text.clone());
        put!(ctl, "{text}");
    }
    Ok(())
}

/// `snapshot-dumpxml`
pub fn cmd_snapshot_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("security-info", 1)]);
    let dom = domain(ctl, cmd)?;
    let snap = lookup(ctl, &dom, cmd.req("snapshotname")?)?;
    let text = xml(ctl, &snap, flags)?;
    print_xml(ctl, cmd, &text)
}

/// `snapshot-delete`
pub fn cmd_snapshot_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let snap = snapshot(ctl, cmd, &dom)?;
    let flags = cmd.flags(&[("children", 1), ("metadata", 2), ("children-only", 4)]);
    let name = snap.name.clone();
    call!(ctl, DomainSnapshotDelete { snap, flags })
        .ctx(format!("Failed to delete snapshot {name}"))?;
    if cmd.has("children-only") {
        say!(ctl, "Domain snapshot {name} children deleted\n");
    } else {
        say!(ctl, "Domain snapshot {name} deleted\n");
    }
    Ok(())
}

/// `snapshot-revert`
pub fn cmd_snapshot_revert(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("running", 1), ("paused", 2), ("force", 4), ("reset-nvram", 8)]);
    let dom = domain(ctl, cmd)?;
    let snap = snapshot(ctl, cmd, &dom)?;
    let name = snap.name.clone();
    call!(ctl, DomainRevertToSnapshot { snap, flags })
        .ctx(format!("Failed to revert snapshot {name}"))?;
    say!(ctl, "Domain snapshot {name} reverted\n");
    Ok(())
}

/// `snapshot-parent`
pub fn cmd_snapshot_parent(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let snap = snapshot(ctl, cmd, &dom)?;
    match call!(ctl, DomainSnapshotGetParent { snap: snap.clone(), flags: 0 }) {
        Ok(r) => {
            ctl.member("name", r.snap.name.clone());
            put!(ctl, "{}", r.snap.name);
            Ok(())
        }
        Err(f) if f.is(72) => fail!("snapshot '{}' has no parent", snap.name),
        Err(f) => Err(f),
    }
}

/// `snapshot-info`
pub fn cmd_snapshot_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let snap = snapshot(ctl, cmd, &dom)?;
    let yes_no = |v: bool| if v { "yes" } else { "no" };
    ctl.pair("Name:", &snap.name);
    ctl.pair("Domain:", &dom.name);
    let current = call!(ctl, DomainSnapshotIsCurrent { snap: snap.clone(), flags: 0 })?.current;
    ctl.pair("Current:", yes_no(current > 0));
    let text = xml(ctl, &snap, 0)?;
    let m = moment(snap.name.clone(), &text)?;
    ctl.pair("State:", &m.state);
    let external = {
        let doc = parse_xml(&text)?;
        let root = doc.root();
        let is =
            |e: Option<xml::Element<'_>>| e.and_then(|e| e.attr("snapshot")) == Some("external");
        m.state == "disk-snapshot"
            || is(root.child("memory"))
            || root.child("disks").into_iter().flat_map(|d| d.children()).any(|d| is(Some(d)))
    };
    ctl.pair("Location:", if external { "external" } else { "internal" });
    ctl.pair("Parent:", m.parent.as_deref().unwrap_or("-"));
    let children = call!(ctl, DomainSnapshotNumChildren { snap: snap.clone(), flags: 0 })?.num;
    ctl.pair("Children:", children);
    let all = call!(ctl, DomainSnapshotNumChildren { snap: snap.clone(), flags: 1 })?.num;
    ctl.pair("Descendants:", all);
    let metadata = call!(ctl, DomainSnapshotHasMetadata { snap, flags: 0 })?.metadata;
    ctl.pair("Metadata:", yes_no(metadata != 0));
    Ok(())
}

/// `snapshot-list`
pub fn cmd_snapshot_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    list_flags(cmd)?;
    let from = cmd.str("from")?.map(str::to_owned);
    let mut flags = cmd.flags(&[
        ("metadata", 2),
        ("leaves", 4),
        ("no-leaves", 8),
        ("no-metadata", 16),
        ("inactive", 32),
        ("active", 64),
        ("disk-only", 128),
        ("internal", 256),
        ("external", 512),
        ("topological", 1024),
    ]);
    let dom = domain(ctl, cmd)?;
    if cmd.has("descendants") && from.is_none() && !cmd.has("current") {
        fail!("--descendants requires either --from or --current");
    }
    let start = match (&from, cmd.has("current")) {
        (Some(_), true) => fail!("--from and --current are mutually exclusive"),
        (Some(n), _) => Some(lookup(ctl, &dom, n)?),
        (None, true) => {
            Some(call!(ctl, DomainSnapshotCurrent { dom: dom.clone(), flags: 0 })?.snap)
        }
        _ => None,
    };
    let mut list = match start {
        Some(snapshot) => {
            if cmd.has("descendants") || cmd.has("tree") {
                flags |= 1;
            }
            call!(ctl, DomainSnapshotListAllChildren { snapshot, need_results: 1, flags })?
                .snapshots
        }
        None => {
            if cmd.has("roots") {
                flags |= 1;
            }
            call!(ctl, DomainListAllSnapshots { dom, need_results: 1, flags })?.snapshots
        }
    };
    sort_names(cmd, &mut list, |s| s.name.clone());
    let mut moments = Vec::new();
    for s in list {
        let text = xml(ctl, &s, 0)?;
        moments.push(moment(s.name, &text)?);
    }
    print_moments(ctl, cmd, moments, true);
    Ok(())
}

/// `snapshot-edit`
pub fn cmd_snapshot_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("rename", "clone")?;
    let dom = domain(ctl, cmd)?;
    let snap = match cmd.str("snapshotname")?.map(str::to_owned) {
        Some(n) => lookup(ctl, &dom, &n)?,
        None => call!(ctl, DomainSnapshotCurrent { dom: dom.clone(), flags: 0 })?.snap,
    };
    let name = snap.name.clone();
    let mut flags = 1;
    if cmd.has("current") {
        flags |= 2;
    }
    let edited = edit::run(
        ctl,
        |ctl| xml(ctl, &snap, 1),
        |ctl, text, _| {
            let xml_desc = text.to_owned();
            Ok(call!(ctl, DomainSnapshotCreateXml { dom: dom.clone(), xml_desc, flags })?.snap.name)
        },
    )?;
    match edited {
        None => say!(ctl, "Snapshot {name} XML configuration not changed.\n"),
        Some(new) if new == name => say!(ctl, "Snapshot {name} edited.\n"),
        Some(new) if cmd.has("rename") => {
            call!(ctl, DomainSnapshotDelete { snap, flags: 2 })
                .ctx(format!("Failed to clean up {name}"))?;
            say!(ctl, "Snapshot {name} renamed to {new}.\n");
        }
        Some(new) if cmd.has("clone") => say!(ctl, "Snapshot {name} cloned to {new}.\n"),
        Some(new) => {
            let made = lookup(ctl, &dom, &new)?;
            call!(ctl, DomainSnapshotDelete { snap: made, flags: 2 })
                .ctx(format!("Failed to clean up {new}"))?;
            fail!("Must use --rename or --clone to change {name} to {new}");
        }
    }
    Ok(())
}
