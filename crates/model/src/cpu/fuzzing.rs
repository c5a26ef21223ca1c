//! Entry point of the fuzz target: any bytes, no panic.

use super::{any_model, baseline, compare, expand, read, read_all, translate, update, write};

/// Reads bytes as CPUs. What can be read is compared, updated, translated, and written; what was
/// written must be readable, and mean the same.
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cpus) = read_all(text) {
        let arch = cpus.first().and_then(|cpu| cpu.arch.clone());
        let _ = baseline(arch.as_deref().unwrap_or("x86_64"), &cpus, true, &any_model);
    }
    let Ok(cpu) = read(text) else { return };
    for arch in ["x86_64", "ppc64", "aarch64", "s390x"] {
        let mut guest = cpu.clone();
        let _ = compare(arch, &cpu, &guest);
        let _ = update(arch, &mut guest, &cpu);
        let few = |name: &str| -> Option<&[String]> { (name == "qemu64").then_some(&[]) };
        let _ = translate(arch, &mut guest, &few);
        let _ = expand(arch, &mut guest);
    }
    let written = write(&cpu);
    match read(&written) {
        Ok(again) => assert_eq!(write(&again), written),
        Err(error) => panic!("what was written cannot be read: {error}: {written}"),
    }
}
