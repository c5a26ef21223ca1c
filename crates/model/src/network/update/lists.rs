//! Interfaces of the pool and port groups.

use diag::ErrorCode;

use super::super::definition::Network;
use super::super::forward::{Connections, Forward, ForwardInterface, ForwardMode};
use super::super::portgroup::PortGroup;
use super::{Command, Fragment, Refusal, invalid, refuse, unsupported};

pub(super) fn interface(
    network: &mut Network,
    command: Command,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("interface")?;
    if command == Command::Modify {
        return Err(unsupported(
            "forward interface entries cannot be modified, only added or deleted",
        ));
    }
    let Some(dev) = part.doc.root().attr("dev").map(str::to_owned) else {
        return Err(refuse(ErrorCode::XML_ERROR, "missing dev attribute in <interface> element"));
    };
    let isolated = || Forward { mode: ForwardMode::None, ..Forward::default() };
    let forward = network.forward.get_or_insert_with(isolated);
    let interfaces = &mut forward.interfaces;
    match interfaces.iter().position(|other| other.dev == dev) {
        Some(_) if command.adds() => {
            return Err(invalid(format!(
                "there is an existing interface entry in network '{{network}}' that matches \
                 \"<interface dev='{dev}'>\""
            )));
        }
        Some(at) if interfaces[at].connections.0 > 0 => {
            let users = interfaces[at].connections.0;
            return Err(invalid(format!(
                "unable to delete interface '{dev}' in network '{{network}}'. It is currently \
                 being used by {users} domains."
            )));
        }
        Some(at) => drop(interfaces.remove(at)),
        None if command.adds() => {
            let connections = Connections(0);
            command.insert(interfaces, ForwardInterface { dev, connections });
        }
        None => {
            return Err(invalid(format!(
                "couldn't find an interface entry in network '{{network}}' matching <interface \
                 dev='{dev}'>"
            )));
        }
    }
    forward.dev = forward.interfaces.first().map(|first| first.dev.clone());
    Ok(())
}

pub(super) fn port_group(
    network: &mut Network,
    command: Command,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("portgroup")?;
    let group = part.read::<PortGroup>(|_, _, _| ())?;
    let groups = &mut network.port_groups;
    let found = groups.iter().position(|other| other.name == group.name);
    let name = &group.name;
    match (command, found) {
        (Command::Modify | Command::Delete, None) => {
            return Err(invalid(format!(
                "couldn't find a portgroup entry in network '{{network}}' matching <portgroup \
                 name='{name}'>"
            )));
        }
        (Command::AddLast | Command::AddFirst, Some(_)) => {
            return Err(invalid(format!(
                "there is an existing portgroup entry in network '{{network}}' that matches \
                 \"<portgroup name='{name}'>\""
            )));
        }
        _ => {}
    }
    let other_default = groups.iter().any(|other| other.default.0 && other.name != *name);
    if command != Command::Delete && group.default.0 && other_default {
        return Err(invalid(
            "a different portgroup entry in network '{network}' is already set as the default. \
             Only one default is allowed.",
        ));
    }
    match (command, found) {
        (Command::Delete, Some(at)) => drop(groups.remove(at)),
        (Command::Modify, Some(at)) => groups[at] = group,
        _ => command.insert(groups, group),
    }
    Ok(())
}
