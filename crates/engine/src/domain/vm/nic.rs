//! Hardware addresses that guests give their interfaces.

use super::Vm;
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Interface, InterfaceMac};
use model::domain::scalar::Mac;
use qmp::{Command, Value};
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

/// Asks QEMU which address the guest uses; none where it does not say.
pub(super) async fn ask(vm: &Vm, alias: &str) -> Option<Mac> {
    let command = Command::<Vec<Value>>::new("query-rx-filter").arg("name", alias);
    match vm.monitor.execute(command).await {
        Ok(found) => found.first()?.get("main-mac")?.as_str().and_then(Mac::parse),
        Err(error) => {
            tracing::debug!(alias, %error, "what an interface lets through is not known");
            None
        }
    }
}

/// Writes down the address that the guest uses; the one before, if that was another.
pub(super) fn note(definition: &mut Definition, alias: &str, mac: Mac) -> Option<Mac> {
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

    #[test]
    fn an_address_is_new_where_it_is_another() {
        let text = "<domain type='qemu'><name>x</name><memory>1000</memory><os><type>hvm</type></os>\
            <devices><interface type='ethernet'><mac address='52:54:00:00:00:01'/>\
            <alias name='net0'/></interface></devices></domain>";
        let options = model::domain::ParseOptions { live: true };
        let mut definition = model::domain::parse(text, options).domain.expect("a definition");
        let mac = |text: &str| Mac::parse(text).expect("an address");
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
