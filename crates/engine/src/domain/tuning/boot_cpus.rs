//! Virtual CPUs that a guest has from its start and may give back: QEMU is started without them,
//! and gets them as devices with names before the guest runs.

use super::super::power::execute;
use super::super::record::Domain;
use super::plug::{described, live_definition, numbered};
use crate::engine::Engine;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::tune::VcpuEntry;
use qmp::cmd;
use qmp::reply::HotpluggableCpu;
use std::collections::BTreeMap;
use std::sync::Arc;
use xml::YesNo;

fn list(definition: &Definition) -> &[VcpuEntry] {
    definition.vcpus.as_ref().map_or(&[], |vcpus| &vcpus.list)
}

fn is_plugged(entry: &VcpuEntry) -> bool {
    entry.enabled == YesNo::Yes && entry.hotpluggable == Some(YesNo::Yes)
}

/// Whether a guest has virtual CPUs from its start that it may give back.
pub(in crate::domain) fn has_plugged(definition: &Definition) -> bool {
    list(definition).iter().any(is_plugged)
}

/// Refuses virtual CPUs that must be there from the start behind one that is not.
pub(in crate::domain) fn boot_cpus_come_first(definition: &Definition) -> Result<(), VirError> {
    let fixed = |entry: &&VcpuEntry| entry.enabled == YesNo::Yes && !is_plugged(entry);
    let mut numbers: Vec<u32> = list(definition).iter().filter(fixed).map(|e| e.id).collect();
    numbers.sort_unstable();
    match numbers.iter().zip(0..).all(|(number, place)| *number == place) {
        true => Ok(()),
        false => Err(VirError::config(
            "online non-hotpluggable vcpus need to be ordered prior to hotpluggable vcpus",
        )),
    }
}

/// The places of virtual CPUs by the number of the first one in each.
fn by_number(places: &[HotpluggableCpu]) -> BTreeMap<u32, &HotpluggableCpu> {
    numbered(places).map(|(numbers, place)| (numbers.start, place)).collect()
}

/// The numbers of the places to be plugged, in order: those of the first CPU in each.
fn to_plug(definition: &Definition, places: &BTreeMap<u32, &HotpluggableCpu>) -> Vec<u32> {
    let mut entries: Vec<&VcpuEntry> = list(definition).iter().filter(|e| is_plugged(e)).collect();
    entries.sort_by_key(|entry| (entry.order.unwrap_or(0), entry.id));
    let numbers = entries.iter().map(|entry| entry.id);
    numbers.filter(|number| places.contains_key(number)).collect()
}

/// Numbers the places in the order in which the guest got them; CPUs of one place share a number.
fn put_in_order(definition: &mut Definition, first: &[u32], plugged: &[u32]) {
    let Some(vcpus) = definition.vcpus.as_mut() else { return };
    let place_of = |id: u32| first.iter().copied().filter(|number| *number <= id).max();
    let fixed = vcpus.list.iter().filter(|e| e.enabled == YesNo::Yes && !is_plugged(e));
    let mut order: Vec<u32> = fixed.filter_map(|entry| place_of(entry.id)).collect();
    order.sort_unstable();
    order.dedup();
    order.extend(plugged);
    for entry in &mut vcpus.list {
        let place = place_of(entry.id).filter(|_| entry.enabled == YesNo::Yes);
        let position = place.and_then(|place| order.iter().position(|number| *number == place));
        entry.order = position.and_then(|position| u32::try_from(position + 1).ok());
    }
}

impl Engine {
    /// Gives a guest that was started, and does not run yet, the virtual CPUs that it may give back.
    ///
    /// # Errors
    /// QEMU has no place for one, or refuses it.
    pub(in crate::domain) async fn plug_boot_cpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
    ) -> Result<(), VirError> {
        let definition = live_definition(domain)?;
        if !has_plugged(&definition) {
            return Ok(());
        }
        let vm = super::running(domain)?;
        let all = execute(&vm, cmd::query_hotpluggable_cpus()).await?;
        let places = by_number(&all);
        let numbers = to_plug(&definition, &places);
        for number in &numbers {
            if let Some(place) = places.get(number).filter(|place| place.qom_path.is_none()) {
                execute(&vm, cmd::device_add(described(place, *number))).await?;
            }
        }
        let first: Vec<u32> = places.keys().copied().collect();
        self.modify_live(domain, move |definition| {
            put_in_order(definition, &first, &numbers);
            Ok(())
        })
        .await?;
        for entry in list(&definition).iter().filter(|entry| is_plugged(entry)) {
            self.place_vcpu(&definition, vm.process.pid(), entry.id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::tune::VcpuList;

    /// `+` is there for good, `p` is there and may go, `-` is not there.
    fn definition(states: &str, orders: &[u32]) -> Definition {
        let entry = |(id, state): (u32, char)| VcpuEntry {
            id,
            enabled: (state != '-').into(),
            hotpluggable: Some((state != '+').into()),
            order: orders.get(id as usize).copied().filter(|order| *order > 0),
        };
        let list = (0..).zip(states.chars()).map(entry).collect();
        Definition { vcpus: Some(VcpuList { list }), ..Definition::default() }
    }

    #[test]
    fn places_are_plugged_and_numbered_in_the_order_of_the_definition() {
        let check = |states: &str, orders: &[u32], size: u32, plugged: &[u32], expected: &str| {
            let mut definition = definition(states, orders);
            let count = u32::try_from(states.len()).expect("few") / size;
            let place = |vcpus: u32| -> HotpluggableCpu {
                let value = qmp::json!({"type": "cpu", "vcpus-count": vcpus, "props": {}});
                serde_json::from_value(value).expect("a place")
            };
            let all: Vec<HotpluggableCpu> = (0..count).map(|_| place(size)).collect();
            let places = by_number(&all);
            let numbers = to_plug(&definition, &places);
            assert_eq!(numbers, plugged, "{states}");
            let first: Vec<u32> = places.keys().copied().collect();
            put_in_order(&mut definition, &first, &numbers);
            let shown =
                list(&definition).iter().map(|e| e.order.map_or("-".into(), |o| o.to_string()));
            assert_eq!(shown.collect::<String>(), expected, "{states}");
        };
        check("+-p-", &[1, 0, 2, 0], 1, &[2], "1-2-");
        check("+pp-", &[], 1, &[1, 2], "123-");
        check("+p-p", &[1, 3, 0, 2], 1, &[3, 1], "13-2");
        // Two threads of a core come together.
        check("++--pp--", &[], 2, &[4], "11--22--");
    }

    #[test]
    fn what_is_there_for_good_comes_first() {
        let check = |states: &str, accepted: bool| {
            assert_eq!(
                boot_cpus_come_first(&definition(states, &[])).is_ok(),
                accepted,
                "{states}"
            );
        };
        check("++-p", true);
        check("+-+-", false);
        check("p+--", false);
        check("", true);
    }
}
