//! Capabilities that were recorded of a real QEMU, for tests.

use model::capabilities::qemu::{CacheKey, QemuCaps};

/// Those of QEMU 10.0 for x86-64.
pub(super) fn caps() -> QemuCaps {
    let text = include_str!("../../tests/data/qemu-10.0-x86_64.json");
    let key = CacheKey { path: "/usr/bin/qemu-system-x86_64".into(), ..CacheKey::default() };
    QemuCaps::from_cache(text, &key).expect("the recorded capabilities")
}
