//! Names of objects, for completion.

use super::conn::call;
use super::ctl::Ctl;
use super::domain::{domains, elements, lookup, xml_of};
use super::fail::Outcome;
use super::registry::Complete;
use super::util::{parse_xml, uuid_text};

/// Candidates of one kind; `value` gives what was typed for another option.
pub fn names(
    ctl: &mut Ctl,
    what: Complete,
    value: impl Fn(&str) -> Option<String>,
) -> Outcome<Vec<String>> {
    Ok(match what {
        Complete::Domain(flags) => domains(ctl, flags)?.into_iter().map(|d| d.name).collect(),
        Complete::DomainUuid => domains(ctl, 0)?.iter().map(|d| uuid_text(&d.uuid)).collect(),
        Complete::DomainDisk => devices(ctl, value("domain"), "disk", "target", "dev")?,
        Complete::DomainInterface => devices(ctl, value("domain"), "interface", "target", "dev")?,
        Complete::InterfaceMacOfDomain => {
            devices(ctl, value("domain"), "interface", "mac", "address")?
        }
        Complete::Snapshot => {
            let dom = lookup(ctl, &value("domain").unwrap_or_default(), true, true, true)?;
            call!(ctl, DomainListAllSnapshots { dom, need_results: 1, flags: 0 })?
                .snapshots
                .into_iter()
                .map(|s| s.name)
                .collect()
        }
        Complete::Checkpoint => {
            let dom = lookup(ctl, &value("domain").unwrap_or_default(), true, true, true)?;
            call!(ctl, DomainListAllCheckpoints { dom, need_results: 1, flags: 0 })?
                .checkpoints
                .into_iter()
                .map(|s| s.name)
                .collect()
        }
        Complete::Vcpu => {
            let dom = lookup(ctl, &value("domain").unwrap_or_default(), true, true, true)?;
            let n = call!(ctl, DomainGetVcpusFlags { dom, flags: 4 })?.num;
            (0..n).map(|i| i.to_string()).collect()
        }
        Complete::Mountpoint => {
            let dom = lookup(ctl, &value("domain").unwrap_or_default(), true, true, true)?;
            call!(ctl, DomainGetFsinfo { dom, flags: 0 })?
                .info
                .into_iter()
                .map(|f| f.mountpoint)
                .collect()
        }
        Complete::Pool(flags) => call!(ctl, ConnectListAllStoragePools { need_results: 1, flags })?
            .pools
            .into_iter()
            .map(|p| p.name)
            .collect(),
        Complete::Volume => {
            let name = value("pool").unwrap_or_default();
            let pool = call!(ctl, StoragePoolLookupByName { name })?.pool;
            call!(ctl, StoragePoolListAllVolumes { pool, need_results: 1, flags: 0 })?
                .vols
                .into_iter()
                .map(|v| v.name)
                .collect()
        }
        Complete::Network(flags) => networks(ctl, flags)?.into_iter().map(|n| n.name).collect(),
        Complete::NetworkUuid => networks(ctl, 0)?.iter().map(|n| uuid_text(&n.uuid)).collect(),
        Complete::NetworkPort => {
            let name = value("network").unwrap_or_default();
            let network = call!(ctl, NetworkLookupByName { name })?.net;
            call!(ctl, NetworkListAllPorts { network, need_results: 1, flags: 0 })?
                .ports
                .iter()
                .map(|p| uuid_text(&p.uuid))
                .collect()
        }
        Complete::Interface(flags) => interfaces(ctl, flags)?.into_iter().map(|i| i.name).collect(),
        Complete::InterfaceMac => interfaces(ctl, 0)?.into_iter().map(|i| i.mac).collect(),
        Complete::NodeDevice => {
            call!(ctl, ConnectListAllNodeDevices { need_results: 1, flags: 0 })?
                .devices
                .into_iter()
                .map(|d| d.name)
                .collect()
        }
        Complete::Nwfilter => call!(ctl, ConnectListAllNwfilters { need_results: 1, flags: 0 })?
            .filters
            .into_iter()
            .map(|f| f.name)
            .collect(),
        Complete::NwfilterBinding => {
            call!(ctl, ConnectListAllNwfilterBindings { need_results: 1, flags: 0 })?
                .bindings
                .into_iter()
                .map(|b| b.portdev)
                .collect()
        }
        Complete::Secret => call!(ctl, ConnectListAllSecrets { need_results: 1, flags: 0 })?
            .secrets
            .iter()
            .map(|s| uuid_text(&s.uuid))
            .collect(),
        Complete::Cell => super::hostcmds::cells(ctl)?.0.iter().map(ToString::to_string).collect(),
        Complete::PageSize => {
            super::hostcmds::cells(ctl)?.1.iter().map(|s| format!("{s}KiB")).collect()
        }
        Complete::HostCpu => {
            let n = super::domain::host_cpus(ctl)?;
            (0..n).map(|i| i.to_string()).collect()
        }
        Complete::Options
        | Complete::Nothing
        | Complete::File
        | Complete::Words(_)
        | Complete::Command => Vec::new(),
    })
}

fn devices(
    ctl: &mut Ctl,
    name: Option<String>,
    kind: &str,
    child: &str,
    attr: &str,
) -> Outcome<Vec<String>> {
    let dom = lookup(ctl, &name.unwrap_or_default(), true, true, true)?;
    let xml = xml_of(ctl, &dom, 0)?;
    let doc = parse_xml(&xml)?;
    Ok(elements(doc.root(), kind)
        .filter_map(|e| e.child(child)?.attr(attr).map(str::to_owned))
        .collect())
}

fn networks(ctl: &mut Ctl, flags: u32) -> Outcome<Vec<protocol::remote::NonnullNetwork>> {
    Ok(call!(ctl, ConnectListAllNetworks { need_results: 1, flags })?.nets)
}

fn interfaces(ctl: &mut Ctl, flags: u32) -> Outcome<Vec<protocol::remote::NonnullInterface>> {
    Ok(call!(ctl, ConnectListAllInterfaces { need_results: 1, flags })?.ifaces)
}
