//! The guest as a whole: identity, memory, machine, CPU, lifecycle, clock.

use std::collections::{BTreeMap, HashSet};

use diag::{Diagnostic, ErrorCode};
use xml::OnOff;

use super::{DefaultsContext, fault};
use crate::domain::Domain;
use crate::domain::clock::{Clock, ClockBasis, ClockOffset};
use crate::domain::cpu::{
    Cpu, CpuCheck, CpuFallback, CpuFeature, CpuFeaturePolicy, CpuMatch, CpuMode, CpuModel, Numa,
    NumaDistances, NumaSibling,
};
use crate::domain::definition::VirtType;
use crate::domain::devices::iommu::{Iommu, IommuModel};
use crate::domain::features::{IoApic, IoApicDriver};
use crate::domain::lifecycle::LifecycleAction;
use crate::domain::os::{BootDev, Os, OsBoot, OsTypeName};
use crate::domain::scalar::CpuSet;
use crate::domain::tune::{IoThread, IoThreadIds, IoThreadSched, Vcpu, VcpuPlacement, VcpuSched};

/// Fills in what needs no machine.
pub fn apply_core(d: &mut Domain, ctx: &mut DefaultsContext<'_>) {
    identity(d, ctx);
    vcpus(d);
    io_threads(d);
    if let Some(os) = d.os.as_mut()
        && os.kind.name == OsTypeName::Hvm
    {
        os.kind.arch.get_or_insert_with(|| ctx.host_arch.to_owned());
    }
    super::memory::apply(d, ctx);
    boot(d);
    if let Some(c) = d.cpu.as_mut() {
        topology(c);
        for f in &mut c.features {
            f.policy.get_or_insert(CpuFeaturePolicy::Require);
        }
        if c.model.as_ref().is_some_and(|m| m.name.is_some()) {
            c.mode.get_or_insert(CpuMode::Custom);
            if c.mode == Some(CpuMode::Custom) {
                c.matching.get_or_insert(CpuMatch::Exact);
            }
            if let Some(m) = c.model.as_mut() {
                m.fallback.get_or_insert(CpuFallback::Allow);
            }
        }
    }
    let vcpus = d.vcpu.as_ref().map(|v| v.maximum);
    if let Some(n) = d.cpu.as_mut().and_then(|c| c.numa.as_mut()) {
        numa(n, vcpus);
    }
    ends(d);
}

/// Fills in everything that is no device.
pub fn apply(d: &mut Domain, ctx: &mut DefaultsContext<'_>, out: &mut Vec<Diagnostic>) {
    identity(d, ctx);
    vcpus(d);
    io_threads(d);
    machine(d, ctx, out);
    super::memory::apply(d, ctx);
    firmware(d, ctx.abi_update, out);
    boot(d);
    cpu(d, ctx, out);
    features(d, ctx);
    many_vcpus(d, ctx);
    ends(d);
}

/// What happens at the end of the guest's life, and its clock.
fn ends(d: &mut Domain) {
    d.on_poweroff.get_or_insert(LifecycleAction::Destroy);
    d.on_reboot.get_or_insert(LifecycleAction::Restart);
    d.on_crash.get_or_insert(LifecycleAction::Destroy);
    clock(d);
}

fn identity(d: &mut Domain, ctx: &mut DefaultsContext<'_>) {
    if d.uuid.is_none() {
        d.uuid = Some(ctx.uuid());
    }
    if let Some(g) = d.gen_id.as_mut()
        && g.uuid.is_none()
    {
        g.uuid = Some(ctx.uuid());
    }
    for text in [&mut d.title, &mut d.description] {
        if text.as_deref() == Some("") {
            *text = None;
        }
    }
}

fn vcpus(d: &mut Domain) {
    let v = d.vcpu.get_or_insert_with(|| Vcpu { maximum: 1, ..Vcpu::default() });
    if v.current == Some(v.maximum) {
        v.current = None;
    }
    if let Some(list) = d.vcpus.as_mut() {
        for e in &mut list.list {
            e.hotpluggable.get_or_insert(xml::YesNo::No);
        }
        list.list.sort_by_key(|e| e.id);
    }
    if v.placement == Some(VcpuPlacement::Auto) {
        v.cpuset = None;
    }
    // A NUMA policy placed by the host places the CPUs too, and the other way round.
    if let Some(m) = d.numa_tune.as_mut().and_then(|n| n.memory.as_mut()) {
        if m.placement.is_none() && m.nodeset.is_none() {
            m.placement = v.placement.filter(|p| *p == VcpuPlacement::Auto);
        }
        match m.placement {
            Some(VcpuPlacement::Auto) => {
                m.nodeset = None;
                if v.cpuset.is_none() {
                    v.placement.get_or_insert(VcpuPlacement::Auto);
                }
            }
            _ => m.placement = None,
        }
        m.mode.get_or_insert_default();
    } else if v.placement == Some(VcpuPlacement::Auto) {
        let n = d.numa_tune.get_or_insert_default();
        n.memory = Some(crate::domain::tune::NumaMemory {
            mode: Some(Default::default()),
            nodeset: None,
            placement: Some(VcpuPlacement::Auto),
        });
    }
    v.placement.get_or_insert_default();
    for n in d.numa_tune.iter_mut().flat_map(|n| &mut n.nodes) {
        n.mode.get_or_insert_default();
    }
    if let Some(t) = d.cpu_tune.as_mut() {
        // A pin that says the same as the default adds nothing; pins beyond the CPUs do nothing.
        let whole: Option<&CpuSet> = v.cpuset.as_ref();
        t.vcpu_pins.retain(|p| p.vcpu < v.maximum && Some(&p.cpuset) != whole);
        t.vcpu_pins.sort_by_key(|p| p.vcpu);
        // CPUs that there are not share no cache.
        let known = |set: &CpuSet| {
            let mut left = CpuSet::default();
            for &(a, b) in set.ranges().iter().take_while(|r| r.0 < v.maximum) {
                left.insert_range(a, b.min(v.maximum - 1));
            }
            left
        };
        for c in &mut t.cache_tunes {
            c.vcpus = known(&c.vcpus);
        }
        for m in &mut t.memory_tunes {
            m.vcpus = known(&m.vcpus);
        }
        t.cache_tunes.retain(|c| !c.vcpus.is_empty());
        t.memory_tunes.retain(|m| !m.vcpus.is_empty());
        // One entry for each virtual CPU or I/O thread.
        t.vcpu_scheds =
            one_each(&t.vcpu_scheds, |s| &s.vcpus, |s, set| VcpuSched { vcpus: set, ..s.clone() });
        t.iothread_scheds = one_each(
            &t.iothread_scheds,
            |s| &s.iothreads,
            |s, set| IoThreadSched { iothreads: set, ..s.clone() },
        );
        if *t == Default::default() {
            d.cpu_tune = None;
        }
    }
}

/// Splits entries for several numbers into one for each, ascending.
fn one_each<T>(list: &[T], set: fn(&T) -> &CpuSet, with: fn(&T, CpuSet) -> T) -> Vec<T> {
    let mut out: Vec<(u32, T)> = Vec::new();
    let mut seen = CpuSet::default();
    for x in list {
        // Entries that overlap are refused; a few of them show it.
        let overlap = seen.take_in(set(x));
        for n in set(x).iter() {
            let mut one = CpuSet::default();
            one.insert_range(n, n);
            out.push((n, with(x, one)));
        }
        if overlap {
            break;
        }
    }
    out.sort_by_key(|x| x.0);
    out.into_iter().map(|x| x.1).collect()
}

/// I/O threads that are given numbers, as many as a guest is started with at most.
const MOST_IO_THREADS: u32 = 4096;

fn io_threads(d: &mut Domain) {
    let listed = d.io_thread_ids.as_ref().map_or(0, |t| t.threads.len()) as u32;
    let count = d.io_threads.unwrap_or(0).max(listed);
    if count == 0 {
        d.io_threads = None;
        d.io_thread_ids = None;
        return;
    }
    d.io_threads = Some(count);
    if let Some(ids) = d.io_thread_ids.as_mut() {
        let mut next = 1;
        let taken: std::collections::HashSet<u32> = ids.threads.iter().map(|t| t.id).collect();
        // A count beyond reason is refused at the start; its threads are not listed here.
        while (ids.threads.len() as u32) < count.min(MOST_IO_THREADS) {
            while taken.contains(&next) {
                next += 1;
            }
            ids.threads.push(IoThread { id: next, ..IoThread::default() });
            next += 1;
        }
        if ids.threads.is_empty() {
            d.io_thread_ids = None;
        }
    }
    let plain = |t: &IoThreadIds| {
        t.threads.iter().enumerate().all(|(i, t)| {
            t.id == i as u32 + 1
                && t.poll.is_none()
                && t.thread_pool_max.is_none()
                && t.thread_pool_min.is_none()
        })
    };
    // Numbers that libvirt would choose by itself are not written.
    if listed == 0 && d.io_thread_ids.as_ref().is_some_and(plain) {
        d.io_thread_ids = None;
    }
}

fn machine(d: &mut Domain, ctx: &mut DefaultsContext<'_>, out: &mut Vec<Diagnostic>) {
    let os = d.os.get_or_insert_with(Os::default);
    if os.kind.name != OsTypeName::Hvm {
        return;
    }
    let ty = &mut os.kind;
    ty.arch.get_or_insert_with(|| ctx.host_arch.to_owned());
    match ty.machine.as_mut() {
        Some(name) => {
            if let Some(m) = ctx.machines.iter().find(|m| m.alias.as_ref() == Some(name)) {
                *name = m.name.clone();
            }
        }
        None => match ctx.machines.iter().find(|m| m.is_default).or(ctx.machines.first()) {
            Some(m) => ty.machine = Some(m.name.clone()),
            None => fault(
                out,
                "domain.no-machine",
                ErrorCode::INVALID_ARG,
                format!(
                    "could not get preferred machine for {} type={}",
                    ctx.emulator.unwrap_or("(no emulator)"),
                    virt_name(d.kind)
                ),
            ),
        },
    }
    if d.devices_mut().emulator.is_none() {
        d.devices_mut().emulator = ctx.emulator.map(str::to_owned);
    }
}

fn virt_name(v: VirtType) -> &'static str {
    v.as_str()
}

/// A new document that asks for features of the firmware must ask for its selection too. Stored ones
/// that do not are completed.
fn firmware(d: &Domain, abi_update: bool, out: &mut Vec<Diagnostic>) {
    let Some(os) = &d.os else { return };
    if abi_update && os.firmware.is_none() && os.firmware_info.is_some() {
        fault(
            out,
            "domain.firmware-features",
            ErrorCode::XML_DETAIL,
            "cannot use feature-based firmware autoselection when firmware autoselection is disabled",
        );
    }
}

fn boot(d: &mut Domain) {
    let per_device = {
        let mut found = false;
        crate::domain::walk::for_each_info(d, &mut |i| {
            found |= i.boot.is_some_and(|b| b.is_some());
        });
        found
    };
    let Some(os) = d.os.as_mut() else { return };
    if os.kind.name == OsTypeName::Hvm && os.boot.is_empty() && !per_device {
        os.boot.push(OsBoot { dev: BootDev::Hd });
    }
    if let Some(b) = os.bootmenu.as_mut()
        && b.enable == xml::YesNo::No
    {
        b.timeout = None;
    }
    if let Some(l) = os.loader.as_mut()
        && l.path.as_deref() == Some("")
    {
        l.path = None;
    }
}

/// Lengths of SVE vectors need SVE itself.
fn vector_lengths(c: &mut Cpu, out: &mut Vec<Diagnostic>) {
    let length = |name: &str| {
        name.strip_prefix("sve")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
    };
    let off = |f: &CpuFeature| {
        matches!(f.policy, Some(CpuFeaturePolicy::Disable | CpuFeaturePolicy::Forbid))
    };
    if !c.features.iter().any(|f| length(&f.name) && !off(f)) {
        return;
    }
    match c.features.iter().find(|f| f.name == "sve") {
        Some(sve) if off(sve) => fault(
            out,
            "domain.cpu-sve",
            ErrorCode::CONFIG_UNSUPPORTED,
            "SVE disabled, but SVE vector lengths provided",
        ),
        Some(_) => {}
        None => c
            .features
            .push(CpuFeature { name: "sve".to_owned(), policy: Some(CpuFeaturePolicy::Require) }),
    }
}

fn cpu(d: &mut Domain, ctx: &mut DefaultsContext<'_>, out: &mut Vec<Diagnostic>) {
    let (arch, name) = d
        .os
        .as_ref()
        .map(|o| {
            (o.kind.arch.clone().unwrap_or_default(), o.kind.machine.clone().unwrap_or_default())
        })
        .unwrap_or_default();
    // What QEMU names is a model of emulation, which the hypervisor of macOS cannot run but on x86.
    let known = d.kind != VirtType::Hvf || matches!(arch.as_str(), "x86_64" | "i686");
    let default_model =
        ctx.machines.iter().find(|m| known && m.name == name).and_then(|m| m.default_cpu.clone());
    let kvm = d.kind == VirtType::Kvm || d.kind == VirtType::Hvf;
    match d.cpu.as_mut() {
        Some(c) => complete_cpu(c, &arch, default_model, kvm),
        None => {
            if let Some(model) = default_model {
                d.cpu = Some(default_cpu(&arch, model, kvm));
            }
        }
    }
    if matches!(arch.as_str(), "aarch64" | "armv7l")
        && let Some(c) = d.cpu.as_mut()
    {
        vector_lengths(c, out);
    }
    let vcpus = d.vcpu.as_ref().map(|v| v.maximum);
    if let Some(n) = d.cpu.as_mut().and_then(|c| c.numa.as_mut()) {
        numa(n, vcpus);
    }
}

/// What a guest without `<cpu>` gets.
fn default_cpu(arch: &str, model: String, kvm: bool) -> Cpu {
    let mut c = Cpu::default();
    fill_default_model(&mut c, arch, model, kvm);
    c
}

fn fill_default_model(c: &mut Cpu, arch: &str, model: String, kvm: bool) {
    if model == "host" {
        c.mode = Some(if arch.starts_with("s390") {
            CpuMode::HostModel
        } else {
            CpuMode::HostPassthrough
        });
        c.check = Some(if arch.starts_with("s390") { CpuCheck::Partial } else { CpuCheck::None });
        if c.mode == Some(CpuMode::HostPassthrough) && arch == "x86_64" {
            c.migratable = Some(OnOff::On);
        }
        return;
    }
    if arch.starts_with("s390") && kvm {
        c.mode = Some(CpuMode::HostModel);
        c.check = Some(CpuCheck::Partial);
        return;
    }
    c.mode = Some(CpuMode::Custom);
    c.matching = Some(CpuMatch::Exact);
    c.check = Some(CpuCheck::None);
    c.model =
        Some(CpuModel { fallback: Some(CpuFallback::Forbid), vendor_id: None, name: Some(model) });
}

fn complete_cpu(c: &mut Cpu, arch: &str, default_model: Option<String>, kvm: bool) {
    c.arch = None;
    let x86 = matches!(arch, "x86_64" | "i686");
    let unnamed = c.model.as_ref().is_none_or(|m| m.name.is_none());
    if matches!(c.mode, None | Some(CpuMode::Custom)) && unnamed {
        // Only topology, NUMA and the like: the machine's own model stays.
        if let Some(model) = default_model {
            fill_default_model(c, arch, model, kvm);
        }
        topology(c);
        return;
    }
    let mode = *c.mode.get_or_insert(CpuMode::Custom);
    match mode {
        CpuMode::Custom => {
            c.matching.get_or_insert(CpuMatch::Exact);
            c.check.get_or_insert(if kvm { CpuCheck::Partial } else { CpuCheck::None });
            if let Some(m) = c.model.as_mut() {
                m.fallback.get_or_insert(CpuFallback::Allow);
            }
        }
        CpuMode::HostModel => {
            c.matching = None;
            c.check.get_or_insert(CpuCheck::Partial);
            if let Some(m) = c.model.as_mut() {
                if m.name.is_none() {
                    m.fallback = None;
                    if m.vendor_id.is_none() {
                        c.model = None;
                    }
                } else {
                    m.fallback.get_or_insert(CpuFallback::Allow);
                }
            }
        }
        CpuMode::HostPassthrough | CpuMode::Maximum => {
            c.matching = None;
            c.model = None;
            c.check.get_or_insert(CpuCheck::None);
            if x86 && c.mode == Some(CpuMode::HostPassthrough) {
                c.migratable.get_or_insert(OnOff::On);
            }
        }
    }
    for f in &mut c.features {
        f.policy.get_or_insert(CpuFeaturePolicy::Require);
    }
    topology(c);
}

fn topology(c: &mut Cpu) {
    if let Some(t) = c.topology.as_mut() {
        t.dies.get_or_insert(1);
        t.clusters.get_or_insert(1);
    }
}

/// Cells whose distances are completed. QEMU has no more than 128, and the table may grow with the
/// square.
const MOST_CELLS: usize = 256;

fn numa(n: &mut Numa, vcpus: Option<u32>) {
    for (i, c) in n.cells.iter_mut().enumerate() {
        c.id.get_or_insert(i as u32);
    }
    n.cells.sort_by_key(|c| c.id);
    // CPUs that no cell names belong to the first one. Numbers that no CPU has are refused as written.
    if n.cells.iter().all(|c| c.cpus.is_none()) {
        // The guest starts with its first CPU somewhere.
        if let Some(first) = n.cells.first_mut().filter(|_| vcpus.is_some()) {
            first.cpus.get_or_insert_default().insert_range(0, 0);
        }
    } else if let Some(max) = vcpus
        && n.cells.iter().filter_map(|c| c.cpus.as_ref()?.max()).all(|top| top < max)
    {
        let mut left = CpuSet::default();
        let mut named: Vec<_> =
            n.cells.iter().filter_map(|c| c.cpus.as_ref()).flat_map(|s| s.ranges()).collect();
        named.sort_unstable();
        // The first number that no cell so far names.
        let mut open = 0;
        for &(a, b) in named.into_iter().chain([&(max, max)]) {
            let end = a.min(max);
            if open < end {
                left.insert_range(open, end - 1);
            }
            open = open.max(b.saturating_add(1));
        }
        if let Some(first) = n.cells.first_mut()
            && !left.is_empty()
        {
            let set = first.cpus.get_or_insert_default();
            for &(a, b) in left.ranges() {
                set.insert_range(a, b);
            }
        }
    }
    if n.cells.len() <= MOST_CELLS {
        distances(n);
    }
}

/// What one cell says of its distance to another holds the other way too, unless that one says
/// something else; and both are 10 from themselves. Cells of which none speaks stay as they are. Of
/// what a cell says twice the last word holds for it, the first the other way.
fn distances(numa: &mut Numa) {
    let mut table: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut first = BTreeMap::new();
    let mut seen = HashSet::new();
    let known: HashSet<u32> = numa.cells.iter().filter_map(|cell| cell.id).collect();
    for cell in &numa.cells {
        let Some(from) = cell.id.filter(|id| seen.insert(*id)) else { continue };
        for sibling in cell.distances.iter().flat_map(|distances| &distances.siblings) {
            table.insert((from, sibling.id), sibling.value);
            first.entry((from, sibling.id)).or_insert(sibling.value);
        }
    }
    for ((from, to), value) in first {
        if !known.contains(&to) {
            continue;
        }
        table.entry((to, from)).or_insert(value);
        for cell in [from, to] {
            table.entry((cell, cell)).or_insert(10);
        }
    }
    for cell in &mut numa.cells {
        let Some(from) = cell.id else { continue };
        let row = table.range((from, 0)..=(from, u32::MAX));
        let known = row.filter(|((_, to), _)| known.contains(to));
        let siblings: Vec<NumaSibling> =
            known.map(|(&(_, id), &value)| NumaSibling { id, value }).collect();
        if !siblings.is_empty() {
            cell.distances = Some(NumaDistances { siblings });
        }
    }
}

fn features(d: &mut Domain, ctx: &DefaultsContext<'_>) {
    let machine = super::Machine::of(d);
    if machine.is_s390()
        && !ctx.abi_update
        && let Some(f) = d.features.as_mut()
    {
        // It was let through for years, and meant nothing.
        f.acpi = false;
    }
    if machine.is_arm_virt() {
        // KVM's newest interrupt controller; emulation stays with the one that every QEMU does well.
        let kvm = (d.kind == VirtType::Kvm).then(|| ctx.devices.newest_kvm_gic()).flatten();
        d.features
            .get_or_insert_default()
            .gic
            .get_or_insert_default()
            .version
            .get_or_insert_with(|| kvm.unwrap_or(2).to_string());
    }
    let Some(f) = d.features.as_mut() else { return };
    for s in [&mut f.hap, &mut f.pvspinlock, &mut f.pmu, &mut f.vmcoreinfo].into_iter().flatten() {
        s.state.get_or_insert(OnOff::On);
    }
    if let Some(s) = f.smm.as_mut() {
        s.state.get_or_insert(OnOff::On);
    }
    if *f == Default::default() {
        d.features = None;
    }
}

/// Above 255 virtual CPUs a PC needs interrupt remapping with extended interrupt mode.
fn many_vcpus(d: &mut Domain, ctx: &DefaultsContext<'_>) {
    let machine = super::Machine::of(d);
    let many = d.vcpu.as_ref().is_some_and(|v| v.maximum > 255);
    if !ctx.abi_update || !machine.is_q35() {
        return;
    }
    if !many {
        // Remapping needs the part of the interrupt controller that is in QEMU.
        let remaps = |iommu: &Iommu| {
            iommu.model == IommuModel::Intel
                && iommu.driver.as_ref().and_then(|driver| driver.int_remap) == Some(OnOff::On)
        };
        if d.devices_mut().iommus.iter().any(remaps) {
            let features = d.features.get_or_insert_default();
            features.ioapic.get_or_insert(IoApic { driver: IoApicDriver::Qemu });
        }
        return;
    }
    let list = &mut d.devices_mut().iommus;
    if list.is_empty() {
        list.push(Iommu { model: IommuModel::Intel, ..Iommu::default() });
    }
    let Some(driver) = list
        .first_mut()
        .filter(|i| i.model == IommuModel::Intel)
        .map(|i| i.driver.get_or_insert_default())
    else {
        return;
    };
    driver.int_remap.get_or_insert(OnOff::On);
    driver.eim.get_or_insert(OnOff::On);
    d.features.get_or_insert_default().ioapic.get_or_insert(IoApic { driver: IoApicDriver::Qemu });
}

fn clock(d: &mut Domain) {
    let c = d.clock.get_or_insert_with(Clock::default);
    match c.offset {
        ClockOffset::Variable => {
            c.adjustment.get_or_insert_with(|| "0".to_owned());
            c.basis.get_or_insert(ClockBasis::Utc);
        }
        ClockOffset::Utc | ClockOffset::Localtime => {
            c.basis = None;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cpu::NumaCell;

    #[test]
    fn distances_hold_the_other_way_too() {
        let check = |given: &[(u32, u32, u32)], expected: &[&[(u32, u32)]]| {
            let cells = (0..3).map(|id| {
                let own = given.iter().filter(|(from, ..)| *from == id);
                let siblings: Vec<_> =
                    own.map(|&(_, id, value)| NumaSibling { id, value }).collect();
                let distances = (!siblings.is_empty()).then_some(NumaDistances { siblings });
                NumaCell { id: Some(id), distances, ..NumaCell::default() }
            });
            let mut numa = Numa { cells: cells.collect(), interconnects: None };
            distances(&mut numa);
            let found: Vec<Vec<(u32, u32)>> = numa
                .cells
                .iter()
                .map(|cell| {
                    let siblings = cell.distances.iter().flat_map(|all| &all.siblings);
                    siblings.map(|sibling| (sibling.id, sibling.value)).collect()
                })
                .collect();
            assert_eq!(found, expected, "{given:?}");
        };
        let both: &[&[_]] = &[&[(0, 10), (1, 21)], &[(0, 21), (1, 10)], &[]];
        check(&[(0, 1, 21)], both);
        check(&[(1, 0, 21)], both);
        check(&[(0, 1, 21), (1, 0, 31)], &[both[0], &[(0, 31), (1, 10)], &[]]);
        check(
            &[(0, 1, 21), (1, 2, 41)],
            &[both[0], &[(0, 21), (1, 10), (2, 41)], &[(1, 41), (2, 10)]],
        );
        check(&[(0, 0, 10)], &[&[(0, 10)], &[], &[]]);
        check(&[], &[&[], &[], &[]]);
    }
}
