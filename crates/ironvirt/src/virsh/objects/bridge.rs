//! `iface-bridge` and `iface-unbridge`: moving an interface into a bridge of its own, and back.

use super::*;
use crate::virsh::util::{escape, parse_xml};
use protocol::remote::NonnullInterface as Iface;

fn by_name(ctl: &mut Ctl, name: &str) -> Outcome<Iface> {
    call!(ctl, InterfaceLookupByName { name: name.to_owned() }).map(|r| r.iface)
}

/// What its owner is configured with, not what the kernel shows.
fn configured(ctl: &mut Ctl, iface: &Iface) -> Outcome<String> {
    Ok(call!(ctl, InterfaceGetXmlDesc { iface: iface.clone(), flags: 1 })?.xml)
}

/// `iface-bridge`
pub fn cmd_iface_bridge(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.req("interface")?.to_owned();
    let port = by_name(ctl, &name).ctx(format!("failed to get interface '{name}'"))?;
    let bridge = cmd.req("bridge")?.to_owned();
    if by_name(ctl, &bridge).is_ok() {
        fail!("Network device {bridge} already exists");
    }
    let delay = cmd.uint("delay")?.unwrap_or(0);
    let stp = !cmd.has("no-stp");
    let xml = bridged(&configured(ctl, &port)?, &name, &bridge, stp, delay)?;
    let made = call!(ctl, InterfaceDefineXml { xml, flags: 0 })
        .ctx(format!("Failed to define new bridge interface {bridge}"))?
        .iface;
    say!(ctl, "Created bridge {bridge} with attached device {name}\n");
    if !cmd.has("no-start") {
        call!(ctl, InterfaceCreate { iface: made, flags: 0 })
            .ctx(format!("Failed to start bridge interface {bridge}"))?;
        say!(ctl, "Bridge interface {bridge} started\n");
    }
    Ok(())
}

/// `iface-unbridge`
pub fn cmd_iface_unbridge(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let bridge = cmd.req("bridge")?.to_owned();
    let iface = by_name(ctl, &bridge).ctx(format!("failed to get interface '{bridge}'"))?;
    let (port, xml) = unbridged(&configured(ctl, &iface)?, &bridge)?;
    if call!(ctl, InterfaceIsActive { iface: iface.clone() })?.active != 0 {
        call!(ctl, InterfaceDestroy { iface: iface.clone(), flags: 0 })
            .ctx(format!("Failed to destroy bridge interface {bridge}"))?;
    }
    call!(ctl, InterfaceUndefine { iface })
        .ctx(format!("Failed to undefine bridge interface {bridge}"))?;
    let made = call!(ctl, InterfaceDefineXml { xml, flags: 0 })
        .ctx(format!("Failed to define new interface {port}"))?
        .iface;
    say!(ctl, "Device {port} un-attached from bridge {bridge}\n");
    if !cmd.has("no-start") {
        call!(ctl, InterfaceCreate { iface: made, flags: 0 })
            .ctx(format!("Failed to start interface {port}"))?;
        say!(ctl, "Interface {port} started\n");
    }
    Ok(())
}

/// Elements of an interface that say how it is reached and started: they belong to the outermost
/// device. All others (`<mac>`, `<bond>`, `<vlan>`) describe the device itself.
const OUTER: &[&str] = &["start", "mtu", "protocol"];

/// The definition of a bridge that holds the interface and has its addresses.
fn bridged(text: &str, name: &str, bridge: &str, stp: bool, delay: u32) -> Outcome<String> {
    let doc = parse_xml(text)?;
    let root = doc.root();
    let kind = root.attr("type").unwrap_or_default();
    if kind == "bridge" {
        fail!("Existing device {name} is already a bridge");
    }
    let part = |outer: bool| -> String {
        root.children()
            .filter(|c| OUTER.contains(&c.qualified_name()) == outer)
            .map(|c| c.source())
            .collect()
    };
    Ok(format!(
        "<interface type='bridge' name='{bridge}'>{}<bridge stp='{}' delay='{delay}'>\
         <interface type='{}' name='{}'>{}</interface></bridge></interface>",
        part(true),
        if stp { "on" } else { "off" },
        escape(kind),
        escape(name),
        part(false),
        bridge = escape(bridge),
    ))
}

/// The name and the definition of the one interface in a bridge, with the bridge's addresses.
fn unbridged(text: &str, bridge: &str) -> Outcome<(String, String)> {
    let doc = parse_xml(text)?;
    let root = doc.root();
    if root.attr("type") != Some("bridge") {
        fail!("Device {bridge} is not a bridge");
    }
    let Some(inner) = root.child("bridge") else { fail!("No bridge node in xml document") };
    let mut ports = inner.children().filter(|c| c.qualified_name() == "interface");
    let (port, more) = (ports.next(), ports.next());
    let Some(port) = port else { fail!("No interface attached to bridge") };
    if more.is_some() {
        fail!("Multiple interfaces attached to bridge");
    }
    let Some(name) = port.attr("name") else {
        fail!("Device attached to bridge {bridge} has no name");
    };
    let Some(kind) = port.attr("type") else { fail!("Attached device {name} has no type") };
    let outer: String = root
        .children()
        .filter(|c| OUTER.contains(&c.qualified_name()))
        .map(|c| c.source())
        .collect();
    let own: String = port.children().map(|c| c.source()).collect();
    let xml = format!(
        "<interface type='{}' name='{}'>{outer}{own}</interface>",
        escape(kind),
        escape(name)
    );
    Ok((name.to_owned(), xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "<interface type='ethernet' name='eth1'><start mode='onboot'/>\
        <protocol family='ipv4'><dhcp/></protocol><mac address='aa:bb:cc:dd:ee:ff'/></interface>";

    #[test]
    fn addresses_move_to_the_bridge_and_back() {
        let made = bridged(PLAIN, "eth1", "br9", true, 5).unwrap();
        assert_eq!(
            made,
            "<interface type='bridge' name='br9'><start mode='onboot'/><protocol family='ipv4'>\
             <dhcp/></protocol><bridge stp='on' delay='5'><interface type='ethernet' name='eth1'>\
             <mac address='aa:bb:cc:dd:ee:ff'/></interface></bridge></interface>"
        );
        assert_eq!(unbridged(&made, "br9").unwrap(), ("eth1".to_owned(), PLAIN.to_owned()));
    }

    #[test]
    fn what_cannot_be_moved_is_named() {
        let made = bridged(PLAIN, "eth1", "br9", false, 0).unwrap();
        for (found, expected) in [
            (
                bridged(&made, "br9", "br8", true, 0).map(|_| ()),
                "Existing device br9 is already a bridge",
            ),
            (unbridged(PLAIN, "eth1").map(|_| ()), "Device eth1 is not a bridge"),
            (
                unbridged("<interface type='bridge'><bridge/></interface>", "b").map(|_| ()),
                "No interface attached to bridge",
            ),
        ] {
            assert_eq!(found.unwrap_err().lines, [expected]);
        }
    }
}
