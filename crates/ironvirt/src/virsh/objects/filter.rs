//! Network filters and their bindings.

use super::*;
use protocol::remote::{NonnullNwfilter as Filter, NonnullNwfilterBinding as Binding};

fn filter(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Filter> {
    let text = cmd.req("nwfilter")?.to_owned();
    if text.len() == 36
        && let Some(uuid) = parse_uuid(&text)
        && let Ok(r) = call!(ctl, NwfilterLookupByUuid { uuid })
    {
        return Ok(r.nwfilter);
    }
    let failed = format!("failed to get nwfilter '{text}'");
    Ok(call!(ctl, NwfilterLookupByName { name: text }).ctx(failed)?.nwfilter)
}

/// `nwfilter-list`
pub fn cmd_nwfilter_list(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let mut list = match call!(ctl, ConnectListAllNwfilters { need_results: 1, flags: 0 }) {
        Ok(r) => r.filters,
        // Clients then try the older call, and report its failure.
        Err(f) if f.is(3) => {
            call!(ctl, ConnectNumOfNwfilters).ctx("Failed to count network filters")?;
            return Err(f.before("Failed to list network filters"));
        }
        Err(f) => return Err(f.before("Failed to list network filters")),
    };
    list.sort_by_key(|f| (f.name.to_lowercase(), f.name.clone()));
    let mut table = Table::new(["UUID", "Name"]);
    for f in list {
        table.row([uuid_text(&f.uuid), f.name]);
    }
    ctl.table(&table);
    Ok(())
}

/// `nwfilter-dumpxml`
pub fn cmd_nwfilter_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let nwfilter = filter(ctl, cmd)?;
    let xml = call!(ctl, NwfilterGetXmlDesc { nwfilter, flags: 0 })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `nwfilter-define`
pub fn cmd_nwfilter_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let f = if cmd.has("validate") {
        call!(ctl, NwfilterDefineXmlFlags { xml, flags: 1 }).map(|r| r.nwfilter)
    } else {
        call!(ctl, NwfilterDefineXml { xml }).map(|r| r.nwfilter)
    };
    let f = f.ctx(format!("Failed to define network filter from {from}")).about(&text, &from)?;
    say!(ctl, "Network filter {} defined from {from}\n", f.name);
    Ok(())
}

/// `nwfilter-undefine`
pub fn cmd_nwfilter_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let nwfilter = filter(ctl, cmd)?;
    let name = nwfilter.name.clone();
    call!(ctl, NwfilterUndefine { nwfilter })
        .ctx(format!("Failed to undefine network filter {name}"))?;
    say!(ctl, "Network filter {name} undefined\n");
    Ok(())
}

/// `nwfilter-edit`
pub fn cmd_nwfilter_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let f = filter(ctl, cmd)?;
    let read =
        |ctl: &mut Ctl| Ok(call!(ctl, NwfilterGetXmlDesc { nwfilter: f.clone(), flags: 0 })?.xml);
    let changed = edit::run(ctl, read, |ctl, xml, relax| {
        let (xml, flags) = (xml.to_owned(), u32::from(!relax));
        match call!(ctl, NwfilterDefineXmlFlags { xml: xml.clone(), flags }) {
            Err(f) if f.is(3) => Ok(call!(ctl, NwfilterDefineXml { xml })?.nwfilter.name),
            r => Ok(r?.nwfilter.name),
        }
    })?;
    match changed {
        Some(name) => say!(ctl, "Network filter {name} XML configuration edited.\n"),
        None => say!(ctl, "Network filter {} XML configuration not changed.\n", f.name),
    }
    Ok(())
}

fn binding(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Binding> {
    let name = cmd.req("binding")?.to_owned();
    let failed = format!("failed to get nwfilter-binding '{name}'");
    Ok(call!(ctl, NwfilterBindingLookupByPortDev { name }).ctx(failed)?.nwfilter)
}

/// `nwfilter-binding-list`
pub fn cmd_nwfilter_binding_list(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let list = call!(ctl, ConnectListAllNwfilterBindings { need_results: 1, flags: 0 })
        .ctx("Failed to list network filter bindings")?
        .bindings;
    let mut table = Table::new(["Port Dev", "Filter"]);
    for b in list {
        table.row([b.portdev, b.filtername]);
    }
    ctl.table(&table);
    Ok(())
}

/// `nwfilter-binding-dumpxml`
pub fn cmd_nwfilter_binding_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let nwfilter = binding(ctl, cmd)?;
    let xml = call!(ctl, NwfilterBindingGetXmlDesc { nwfilter, flags: 0 })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `nwfilter-binding-create`
pub fn cmd_nwfilter_binding_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let b = call!(ctl, NwfilterBindingCreateXml { xml, flags })
        .ctx(format!("Failed to create network filter from {from}"))
        .about(&text, &from)?
        .nwfilter;
    say!(ctl, "Network filter binding on {} created from {from}\n", b.portdev);
    Ok(())
}

/// `nwfilter-binding-delete`
pub fn cmd_nwfilter_binding_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let nwfilter = binding(ctl, cmd)?;
    let dev = nwfilter.portdev.clone();
    call!(ctl, NwfilterBindingDelete { nwfilter })
        .ctx(format!("Failed to delete network filter binding on {dev}"))?;
    say!(ctl, "Network filter binding on {dev} deleted\n");
    Ok(())
}
