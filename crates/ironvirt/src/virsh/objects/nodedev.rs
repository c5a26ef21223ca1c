//! Devices of the host.

use super::*;
use crate::virsh::registry::words::{CAPS, NODEDEV_EVENTS};
use crate::virsh::util::os_error;

/// The device by name, or by its pair of world-wide names.
fn device(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<String> {
    let text = cmd.req("device")?.to_owned();
    if let Some((wwnn, wwpn)) = text.split_once(',') {
        let r = call!(
            ctl,
            NodeDeviceLookupScsiHostByWwn {
                wwnn: wwnn.to_owned(),
                wwpn: wwpn.to_owned(),
                flags: 0
            }
        );
        return Ok(r.ctx(format!("Could not find matching device '{text}'"))?.dev.name);
    }
    let failed = format!("Could not find matching device '{text}'");
    Ok(call!(ctl, NodeDeviceLookupByName { name: text }).ctx(failed)?.dev.name)
}

/// The list call's flag of each capability, in the order of the word list.
fn cap_flag(index: usize) -> u32 {
    let bits =
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];
    bits.get(index).map_or(0, |b| 1 << b)
}

/// `nodedev-list`
pub fn cmd_nodedev_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (tree, cap) = (cmd.has("tree"), cmd.str("cap")?.map(str::to_owned));
    let narrowed = ["inactive", "persistent", "transient"].iter().any(|o| cmd.has(o));
    if cmd.has("inactive") && cmd.has("all") {
        fail!("Option --all is incompatible with --inactive");
    }
    if tree && (cap.is_some() || narrowed) {
        fail!("Option --tree is incompatible with --cap, --inactive, --persistent and --transient");
    }
    if cmd.has("transient") && (cmd.has("persistent") || cmd.has("inactive")) {
        fail!("Option --transient is incompatible with --persistent and --inactive");
    }
    let mut flags = 0;
    for c in cap.iter().flat_map(|c| c.split(',')) {
        match CAPS.iter().position(|w| *w == c) {
            Some(i) => flags |= cap_flag(i),
            None => fail!("Invalid capability type"),
        }
    }
    if cmd.has("inactive") || cmd.has("all") {
        flags |= 1 << 30;
    }
    if !cmd.has("inactive") {
        flags |= 1 << 31;
    }
    flags |= cmd.flags(&[("persistent", 1 << 28), ("transient", 1 << 29)]);
    let mut names: Vec<String> = call!(ctl, ConnectListAllNodeDevices { need_results: 1, flags })
        .ctx("Failed to list node devices")?
        .devices
        .into_iter()
        .map(|d| d.name)
        .collect();
    names.sort_by_key(|n| (n.to_lowercase(), n.clone()));
    ctl.member("devices", names.clone());
    if !tree {
        for n in &names {
            put!(ctl, "{n}\n");
        }
        return Ok(());
    }
    let mut parents = Vec::new();
    for n in &names {
        let parent = call!(ctl, NodeDeviceGetParent { name: n.clone() })
            .ok()
            .and_then(|r| r.parent_name)
            .filter(|p| names.contains(p));
        parents.push(parent);
    }
    let text = crate::virsh::tree::draw(&names, &parents);
    put!(ctl, "{text}");
    Ok(())
}

/// `nodedev-info`
pub fn cmd_nodedev_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let yes_no = |v: bool| if v { "yes" } else { "no" };
    ctl.pair("Name:", &name);
    let parent = call!(ctl, NodeDeviceGetParent { name: name.clone() })
        .ok()
        .and_then(|r| r.parent_name)
        .unwrap_or_default();
    ctl.pair("Parent:", parent);
    if let Ok(a) = call!(ctl, NodeDeviceIsActive { name: name.clone() }) {
        ctl.pair("Active:", yes_no(a.active != 0));
    }
    match call!(ctl, NodeDeviceIsPersistent { name: name.clone() }) {
        Ok(p) => ctl.pair("Persistent:", yes_no(p.persistent != 0)),
        Err(_) => ctl.pair("Persistent:", "unknown"),
    }
    match call!(ctl, NodeDeviceGetAutostart { name }) {
        Ok(a) => ctl.pair("Autostart:", yes_no(a.autostart != 0)),
        Err(_) => ctl.pair("Autostart:", "no autostart"),
    }
    Ok(())
}

/// `nodedev-dumpxml`
pub fn cmd_nodedev_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let flags = u32::from(cmd.has("inactive"));
    let xml = call!(ctl, NodeDeviceGetXmlDesc { name, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `nodedev-create`
pub fn cmd_nodedev_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml_desc = read_file(&from)?;
    let text = xml_desc.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let d = call!(ctl, NodeDeviceCreateXml { xml_desc, flags })
        .ctx(format!("Failed to create node device from {from}"))
        .about(&text, &from)?
        .dev;
    say!(ctl, "Node device {} created from {from}\n", d.name);
    Ok(())
}

/// `nodedev-define`
pub fn cmd_nodedev_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml_desc = read_file(&from)?;
    let text = xml_desc.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let d = call!(ctl, NodeDeviceDefineXml { xml_desc, flags })
        .ctx(format!("Failed to define node device from '{from}'"))
        .about(&text, &from)?
        .dev;
    say!(ctl, "Node device '{}' defined from '{from}'\n", d.name);
    Ok(())
}

/// `nodedev-destroy`
pub fn cmd_nodedev_destroy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let text = cmd.req("device")?.to_owned();
    call!(ctl, NodeDeviceDestroy { name })
        .ctx(format!("Failed to destroy node device '{text}'"))?;
    say!(ctl, "Destroyed node device '{text}'\n");
    Ok(())
}

/// `nodedev-undefine`
pub fn cmd_nodedev_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let text = cmd.req("device")?.to_owned();
    call!(ctl, NodeDeviceUndefine { name, flags: 0 })
        .ctx(format!("Failed to undefine node device '{text}'"))?;
    say!(ctl, "Undefined node device '{text}'\n");
    Ok(())
}

/// `nodedev-start`
pub fn cmd_nodedev_start(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    call!(ctl, NodeDeviceCreate { name: name.clone(), flags: 0 })
        .ctx(format!("Failed to start device {name}"))?;
    say!(ctl, "Device {name} started\n");
    Ok(())
}

/// `nodedev-autostart`
pub fn cmd_nodedev_autostart(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let off = cmd.has("disable");
    let un = if off { "un" } else { "" };
    call!(ctl, NodeDeviceSetAutostart { name: name.clone(), autostart: i32::from(!off) })
        .ctx(format!("failed to {un}mark device {name} as autostarted"))?;
    say!(ctl, "Device {name} {un}marked as autostarted\n");
    Ok(())
}

/// `nodedev-detach`
pub fn cmd_nodedev_detach(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    let driver_name = cmd.str("driver")?.map(str::to_owned);
    let done = if driver_name.is_some() {
        call!(ctl, NodeDeviceDetachFlags { name: name.clone(), driver_name, flags: 0 })
    } else {
        call!(ctl, NodeDeviceDettach { name: name.clone() })
    };
    done.ctx(format!("Failed to detach device {name}"))?;
    say!(ctl, "Device {name} detached\n");
    Ok(())
}

/// `nodedev-reattach`
pub fn cmd_nodedev_reattach(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    call!(ctl, NodeDeviceReAttach { name: name.clone() })
        .ctx(format!("Failed to re-attach device {name}"))?;
    say!(ctl, "Device {name} re-attached\n");
    Ok(())
}

/// `nodedev-reset`
pub fn cmd_nodedev_reset(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = device(ctl, cmd)?;
    call!(ctl, NodeDeviceReset { name: name.clone() })
        .ctx(format!("Failed to reset device {name}"))?;
    say!(ctl, "Device {name} reset\n");
    Ok(())
}

/// `nodedev-update`
pub fn cmd_nodedev_update(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let name = device(ctl, cmd)?;
    let from = cmd.req("file")?.to_owned();
    let xml_desc = std::fs::read_to_string(&from)
        .map_err(|e| Fail::new(format!("Failed to open file '{from}': {}", os_error(&e))))?;
    call!(ctl, NodeDeviceUpdate { name: name.clone(), xml_desc, flags })
        .ctx(format!("Failed to update node device {name} from '{from}'"))?;
    let what = match flags {
        3 => "persistent config and live state",
        2 => "persistent config",
        1 => "live state",
        _ if call!(ctl, NodeDeviceIsActive { name: name.clone() })?.active != 0 => "live state",
        _ => "persistent config",
    };
    say!(ctl, "Updated node device {name} {what}\n");
    Ok(())
}

/// `nodedev-event`
pub fn cmd_nodedev_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let Some(event_id) = event_kind(ctl, cmd, NODEDEV_EVENTS)? else {
        return Ok(());
    };
    let timeout = cmd.timeout_ms("timeout")?;
    let dev = if cmd.has("device") {
        Some(protocol::remote::NonnullNodeDevice { name: device(ctl, cmd)? })
    } else {
        None
    };
    let callback_id = call!(ctl, ConnectNodeDeviceEventRegisterAny { event_id, dev })?.callback_id;
    let stamp = cmd.has("timestamp");
    let result = watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        if let Some(m) = crate::virsh::conn::event::<ev::NodeDeviceEventLifecycle>(raw) {
            let what = describe_lifecycle(&["Created", "Deleted", "Defined", "Undefined"], m.event);
            let text = format!("event 'lifecycle' for node device {}: {what}\n", m.dev.name);
            print_event(ctl, stamp, "lifecycle", ("device", &m.dev.name), &text);
            return true;
        }
        if let Some(m) = crate::virsh::conn::event::<ev::NodeDeviceEventUpdate>(raw) {
            let text = format!("event 'update' for node device {}\n", m.dev.name);
            print_event(ctl, stamp, "update", ("device", &m.dev.name), &text);
            return true;
        }
        false
    });
    let _ = call!(ctl, ConnectNodeDeviceEventDeregisterAny { callback_id });
    result
}
