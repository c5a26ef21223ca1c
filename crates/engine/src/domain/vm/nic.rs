//! Hardware addresses that guests give their interfaces.

use super::{Message, Vm};
use host::rx_filter::{self, RxFilter};
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Interface, InterfaceMac, InterfaceType};
use qmp::{Command, Value};
use units::MacAddr;
use xml::YesNo;

fn is_called(nic: &Interface, alias: &str) -> bool {
    nic.alias.as_ref().is_some_and(|own| own.name == alias)
}

/// Whether changes of an interface's address are followed: of those that trust the guest with it, as
/// under libvirtd. Only virtio's models tell of them.
pub(super) fn is_watched(definition: &Definition, alias: &str) -> bool {
    let mut interfaces = definition.devices.iter().flat_map(|devices| &devices.interfaces);
    let named = interfaces.find(|nic| is_called(nic, alias));
    named.is_some_and(|nic| nic.trust_guest_rx_filters == Some(YesNo::Yes))
}

/// The interfaces whose changes are followed.
pub(super) fn watched(definition: &Definition) -> Vec<String> {
    let interfaces = definition.devices.iter().flat_map(|devices| &devices.interfaces);
    let aliases = interfaces.filter_map(|nic| nic.alias.as_ref().map(|alias| alias.name.clone()));
    aliases.filter(|alias| is_watched(definition, alias)).collect()
}

/// Asks QEMU which address the guest uses and which frames it wants, which is then what its macvtap
/// takes; the guest's actor is told of the address.
pub(super) async fn follow(vm: &Vm, definition: &Definition, alias: &str) {
    let Some((mac, filter)) = ask(vm, alias).await else { return };
    if let Some(device) = macvtap(definition, alias) {
        let name = device.clone();
        let applied = tokio::task::spawn_blocking(move || apply(&name, mac, &filter)).await;
        if let Ok(Err(error)) = applied {
            tracing::warn!(id = vm.id, alias, device, %error, "it does not take what the guest wants");
        }
    }
    let _ = vm.inbox.send(Message::NicMac { alias: alias.to_owned(), mac });
}

/// Asks QEMU; none where it does not say. After its answer it tells of the next change.
async fn ask(vm: &Vm, alias: &str) -> Option<(MacAddr, RxFilter)> {
    let command = Command::<Vec<Value>>::new("query-rx-filter").arg("name", alias);
    match vm.monitor.execute(command).await {
        Ok(found) => wanted(found.first()?),
        Err(error) => {
            tracing::debug!(alias, %error, "what an interface lets through is not known");
            None
        }
    }
}

/// The address in QEMU's answer, and what a macvtap has to take for such a guest. It passes no tag of
/// a VLAN by itself: a guest with VLANs gets all frames.
fn wanted(answer: &Value) -> Option<(MacAddr, RxFilter)> {
    let mac = answer.get("main-mac")?.as_str()?.parse::<MacAddr>().ok()?;
    let flag = |name: &str| answer.get(name).and_then(Value::as_bool).unwrap_or(false);
    let list = |name: &str| answer.get(name).and_then(Value::as_array).into_iter().flatten();
    let multicast = answer.get("multicast").and_then(Value::as_str).unwrap_or_default();
    let groups =
        list("multicast-table").filter_map(|group| group.as_str()?.parse::<MacAddr>().ok());
    let filter = RxFilter {
        promiscuous: flag("promiscuous") || list("vlan-table").next().is_some(),
        multicast: multicast != "none",
        all_multicast: multicast == "all" || flag("multicast-overflow"),
        groups: groups.map(|group| group.0).collect(),
    };
    Some((mac, filter))
}

/// The macvtap behind an interface.
fn macvtap(definition: &Definition, alias: &str) -> Option<String> {
    let mut interfaces = definition.devices.iter().flat_map(|devices| &devices.interfaces);
    let own = |nic: &&Interface| is_called(nic, alias);
    let interface = interfaces.find(own).filter(|nic| nic.kind == InterfaceType::Direct)?;
    interface.target.as_ref()?.dev.clone()
}

fn apply(device: &str, mac: MacAddr, filter: &RxFilter) -> std::io::Result<()> {
    let addressed = host::netdev::set_mac_if_other(device, mac.0).map_err(std::io::Error::other);
    rx_filter::apply(device, filter).and(addressed)
}

/// Writes down the address that the guest uses; the one before, if that was another.
pub(super) fn note(definition: &mut Definition, alias: &str, mac: MacAddr) -> Option<MacAddr> {
    let mut interfaces = definition.devices.iter_mut().flat_map(|devices| &mut devices.interfaces);
    let own: &mut InterfaceMac = interfaces.find(|nic| is_called(nic, alias))?.mac.as_mut()?;
    let before = own.current_address.unwrap_or(own.address);
    if before == mac {
        return None;
    }
    own.current_address = Some(mac).filter(|mac| *mac != own.address);
    Some(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_macvtap_takes() {
        // For each: what QEMU says, and whether all frames, groups, all groups are taken.
        for (said, expected) in [
            (json!({}), (false, true, false)),
            (json!({"promiscuous": true}), (true, true, false)),
            (json!({"vlan-table": [0]}), (true, true, false)),
            (json!({"multicast": "all"}), (false, true, true)),
            (json!({"multicast-overflow": true}), (false, true, true)),
            (json!({"multicast": "none"}), (false, false, false)),
            (json!({"unicast": "all", "unicast-overflow": true}), (false, true, false)),
        ] {
            let mut answer = json!({"main-mac": "52:54:00:00:00:01", "multicast-table": ["33:33:00:00:00:01", "x", 5]});
            for (name, value) in said.as_object().expect("an object") {
                answer[name] = value.clone();
            }
            let (mac, filter) = wanted(&answer).expect("an address");
            assert_eq!(mac, MacAddr([0x52, 0x54, 0, 0, 0, 1]));
            let found = (filter.promiscuous, filter.multicast, filter.all_multicast);
            assert_eq!(found, expected, "{said}");
            assert_eq!(filter.groups.len(), 1);
        }
        assert_eq!(wanted(&json!({"main-mac": 7})), None);
    }

    #[test]
    fn an_address_is_new_where_it_is_another() {
        let text = "<domain type='qemu'><name>x</name><memory>1000</memory><os><type>hvm</type></os>\
            <devices><interface type='ethernet'><mac address='52:54:00:00:00:01'/>\
            <alias name='net0'/></interface></devices></domain>";
        let options = model::domain::ParseOptions { live: true };
        let mut definition = model::domain::parse(text, options).domain.expect("a definition");
        let mac = |text: &str| text.parse::<MacAddr>().expect("an address");
        let (first, second) = (mac("52:54:00:00:00:01"), mac("52:54:00:00:00:02"));
        for (alias, address, before, shown) in [
            ("net0", first, None, None),
            ("net1", second, None, None),
            ("net0", second, Some(first), Some(second)),
            ("net0", second, None, Some(second)),
            ("net0", first, Some(second), None),
        ] {
            assert_eq!(note(&mut definition, alias, address), before, "{alias} {address}");
            let nic = &definition.devices.as_ref().expect("devices").interfaces[0];
            let told = nic.mac.as_ref().and_then(|mac| mac.current_address);
            assert_eq!(told, shown, "{alias} {address}");
        }
    }
}
