//! Memory devices of which a guest takes and gives back: how much it has of each.

use model::domain::Domain as Definition;
use model::domain::devices::memory::{MemoryDevice, MemoryModel};
use model::domain::scalar::Kib;

/// Of which a guest takes and gives back.
pub(super) fn is_elastic(memory: &MemoryDevice) -> bool {
    memory.model == MemoryModel::VirtioMem
}

/// How much the guest has of all of them, in KiB.
pub(in crate::domain) fn taken(definition: &Definition) -> u64 {
    let devices = definition.devices.iter().flat_map(|devices| &devices.memories);
    let elastic = devices.filter(|memory| is_elastic(memory));
    let sizes = elastic.filter_map(|memory| memory.target.current);
    sizes.fold(0, |sum, size| sum.saturating_add(size.0))
}

/// Whether the guest takes and gives back of the device `alias`.
pub(super) fn is_elastic_one(definition: &Definition, alias: &str) -> bool {
    let mut devices = definition.devices.iter().flat_map(|devices| &devices.memories);
    devices.any(|memory| {
        is_elastic(memory) && memory.alias.as_ref().is_some_and(|own| own.name == alias)
    })
}

/// Writes down that the guest has `kib` of the device `alias`; false where that was known, or there
/// is no such device.
pub(super) fn note(definition: &mut Definition, alias: &str, kib: u64) -> bool {
    let devices = definition.devices.iter_mut().flat_map(|devices| &mut devices.memories);
    let mut named = devices.filter(|memory| {
        let own = memory.alias.as_ref().is_some_and(|own| own.name == alias);
        own && is_elastic(memory)
    });
    let Some(memory) = named.next() else { return false };
    let before = memory.target.current.replace(Kib(kib)).map(|size| size.0);
    if before == Some(kib) {
        return false;
    }
    if let Some(current) = &mut definition.current_memory {
        current.0 = current.0.saturating_sub(before.unwrap_or(0)).saturating_add(kib);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_takes_is_its_memory() {
        let text = "<domain type='qemu'><name>x</name><memory>1000</memory>\
            <currentMemory>400</currentMemory><os><type>hvm</type></os><devices>\
            <memory model='virtio-mem'><target><size>500</size><node>0</node><block>1</block>\
            <requested>0</requested><current>100</current></target><alias name='virtiomem0'/></memory>\
            <memory model='dimm'><target><size>100</size></target><alias name='dimm0'/></memory>\
            </devices></domain>";
        let options = model::domain::ParseOptions { live: true };
        let mut definition = model::domain::parse(text, options).domain.expect("a definition");
        // For each: the device, its size, whether that is new, and what the guest has then.
        for (alias, kib, new, current) in [
            ("virtiomem0", 100, false, 400),
            ("virtiomem0", 300, true, 600),
            ("virtiomem0", 0, true, 300),
            ("dimm0", 7, false, 300),
            ("virtiomem1", 7, false, 300),
            ("virtiomem0", 50, true, 350),
        ] {
            assert_eq!(note(&mut definition, alias, kib), new, "{alias} {kib}");
            assert_eq!(definition.current_memory, Some(Kib(current)), "{alias} {kib}");
        }
        assert_eq!(taken(&definition), 50);
    }
}
