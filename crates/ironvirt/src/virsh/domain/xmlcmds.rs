//! Domain XML: `dumpxml`, `edit`, conversion from and to native formats.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::read_file;
use crate::virsh::{edit, xpath};

/// Prints XML, or the parts that `--xpath` selects.
pub fn print_xml(ctl: &mut Ctl, cmd: &Cmd, xml: &str) -> Outcome {
    let Some(path) = cmd.str("xpath")? else {
        ctl.member("xml", xml);
        put!(ctl, "{xml}");
        return Ok(());
    };
    let nodes = xpath::select(xml, path, cmd.has("wrap"))?;
    if cmd.has("wrap") {
        put!(ctl, "<nodes>\n");
        for n in &nodes {
            put!(ctl, "{n}\n");
        }
        put!(ctl, "</nodes>\n");
    } else {
        for n in &nodes {
            put!(ctl, "{n}\n");
        }
    }
    Ok(())
}

/// `dumpxml`
pub fn cmd_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags =
        cmd.flags(&[("security-info", 1), ("inactive", 2), ("update-cpu", 4), ("migratable", 8)]);
    let dom = domain(ctl, cmd)?;
    let xml = xml_of(ctl, &dom, flags)?;
    print_xml(ctl, cmd, &xml)
}

/// `edit`
pub fn cmd_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let mut flags = if cmd.has("skip-validate") { 0 } else { 1 };
    let name = dom.name.clone();
    let read = |ctl: &mut Ctl| xml_of(ctl, &dom, 1 | 2);
    let changed = edit::run(ctl, read, |ctl, xml, relax| {
        if relax {
            flags = 0;
        }
        let xml = xml.to_owned();
        if flags == 0 {
            call!(ctl, DomainDefineXml { xml }).map(|r| r.dom.name)
        } else {
            call!(ctl, DomainDefineXmlFlags { xml, flags }).map(|r| r.dom.name)
        }
    })?;
    match changed {
        Some(name) => say!(ctl, "Domain '{name}' XML configuration edited.\n"),
        None => say!(ctl, "Domain '{name}' XML configuration not changed.\n"),
    }
    Ok(())
}

/// `domxml-from-native`
pub fn cmd_domxml_from_native(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let native_format = cmd.req("format")?.to_owned();
    let native_config = read_file(cmd.req("config")?)?;
    let r = call!(ctl, ConnectDomainXmlFromNative { native_format, native_config, flags: 0 })?;
    put!(ctl, "{}", r.domain_xml);
    Ok(())
}

/// `domxml-to-native`
pub fn cmd_domxml_to_native(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let native_format = cmd.req("format")?.to_owned();
    cmd.exclusive("domain", "xml")?;
    let domain_xml = if cmd.has("domain") {
        let dom = domain(ctl, cmd)?;
        xml_of(ctl, &dom, 2 | 1)?
    } else if let Some(file) = cmd.str("xml")? {
        read_file(file)?
    } else {
        fail!("need either domain or domain XML");
    };
    let r = call!(ctl, ConnectDomainXmlToNative { native_format, domain_xml, flags: 0 })?;
    put!(ctl, "{}", r.native_config);
    Ok(())
}

/// `managedsave-dumpxml`
pub fn cmd_managedsave_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("security-info", 1)]);
    let dom = domain(ctl, cmd)?;
    let xml = call!(ctl, DomainManagedSaveGetXmlDesc { dom, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `managedsave-define`
pub fn cmd_managedsave_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("running", "paused")?;
    let flags = super::save::run_state(cmd);
    let from = cmd.req("xml")?.to_owned();
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let dxml = Some(read_file(&from)?);
    call!(ctl, DomainManagedSaveDefineXml { dom, dxml, flags })
        .ctx(format!("Failed to update {name} XML configuration"))?;
    say!(ctl, "Managed save state file of domain '{name}' updated.\n");
    Ok(())
}

/// `managedsave-edit`
pub fn cmd_managedsave_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("running", "paused")?;
    let flags = super::save::run_state(cmd);
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let read = |ctl: &mut Ctl| {
        Ok(call!(ctl, DomainManagedSaveGetXmlDesc { dom: dom.clone(), flags: 1 })?.xml)
    };
    let changed = edit::run(ctl, read, |ctl, xml, _| {
        let dxml = Some(xml.to_owned());
        call!(ctl, DomainManagedSaveDefineXml { dom: dom.clone(), dxml, flags })
            .ctx(format!("Failed to update {name} XML configuration"))
    })?;
    if changed.is_some() {
        say!(ctl, "Managed save image of domain '{name}' XML configuration edited.\n");
    } else {
        say!(ctl, "Managed save image of domain '{name}' XML configuration not changed.\n");
    }
    Ok(())
}
