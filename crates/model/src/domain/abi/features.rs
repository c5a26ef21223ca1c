//! What the platform offers: `<features>`.

use super::rule::{Checker, switch};
use crate::domain::Domain;
use crate::domain::features::{Features, HyperV, HyperVMode, Kvm, OptionalState, State};
use xml::OnOff;

/// A feature and what is shown of it.
type Shown<T> = (&'static str, fn(&T) -> String);

fn present(there: bool) -> String {
    if there { "on" } else { "default" }.to_owned()
}

/// The element without an attribute switches on.
fn optional(feature: &Option<OptionalState>) -> String {
    let state = feature.as_ref().map(|f| f.state.unwrap_or(OnOff::On));
    switch(state).to_owned()
}

fn state(feature: &Option<State>) -> String {
    switch(feature.as_ref().map(|f| f.state)).to_owned()
}

/// In the order libvirt compares them.
const FEATURES: &[Shown<Features>] = &[
    ("acpi", |f| present(f.acpi)),
    ("apic", |f| match &f.apic {
        Some(apic) => format!("on,eoi={}", switch(apic.eoi)),
        None => "default,eoi=default".to_owned(),
    }),
    ("pae", |f| present(f.pae)),
    ("hap", |f| optional(&f.hap)),
    ("viridian", |f| present(f.viridian)),
    ("privnet", |f| present(f.privnet)),
    ("hyperv", |f| {
        match f.hyperv.as_ref().map(|h| h.mode) {
            None => "default",
            Some(HyperVMode::Custom) => "on",
            Some(HyperVMode::Passthrough) => "passthrough",
            Some(HyperVMode::HostModel) => "host-model",
        }
        .to_owned()
    }),
    ("kvm", |f| present(f.kvm.is_some())),
    ("pvspinlock", |f| optional(&f.pvspinlock)),
    ("pmu", |f| optional(&f.pmu)),
    ("vmport", |f| state(&f.vmport)),
    ("gic", |f| match &f.gic {
        Some(gic) => format!("on,version={}", gic.version.as_deref().unwrap_or("none")),
        None => "default,version=none".to_owned(),
    }),
    ("smm", |f| switch(f.smm.as_ref().map(|s| s.state.unwrap_or(OnOff::On))).to_owned()),
    ("vmcoreinfo", |f| optional(&f.vmcoreinfo)),
    ("htm", |f| state(&f.htm)),
    ("nested-hv", |f| state(&f.nested_hv)),
    ("ccf-assist", |f| state(&f.ccf_assist)),
    ("ras", |f| state(&f.ras)),
    ("ps2", |f| state(&f.ps2)),
];

/// Imitations of Hyper-V, all of one form.
const HYPERV: &[Shown<HyperV>] = &[
    ("relaxed", |h| state(&h.relaxed)),
    ("vapic", |h| state(&h.vapic)),
    ("vpindex", |h| state(&h.vpindex)),
    ("runtime", |h| state(&h.runtime)),
    ("synic", |h| state(&h.synic)),
    ("stimer", |h| switch(h.stimer.as_ref().map(|s| s.state)).to_owned()),
    ("reset", |h| state(&h.reset)),
    ("frequencies", |h| state(&h.frequencies)),
    ("reenlightenment", |h| state(&h.reenlightenment)),
    ("tlbflush", |h| switch(h.tlbflush.as_ref().map(|s| s.state)).to_owned()),
    ("ipi", |h| state(&h.ipi)),
    ("evmcs", |h| state(&h.evmcs)),
    ("avic", |h| state(&h.avic)),
    ("emsr_bitmap", |h| state(&h.emsr_bitmap)),
    ("xmm_input", |h| state(&h.xmm_input)),
];

const KVM: &[Shown<Kvm>] = &[
    ("hidden", |k| state(&k.hidden)),
    ("hint-dedicated", |k| state(&k.hint_dedicated)),
    ("poll-control", |k| state(&k.poll_control)),
    ("pv-ipi", |k| state(&k.pv_ipi)),
    ("dirty-ring", |k| switch(k.dirty_ring.as_ref().map(|r| r.state)).to_owned()),
];

/// Compares all of them.
pub(super) fn check(a: &Domain, b: &Domain, cx: &mut Checker) {
    let none = Features::default();
    let (a, b) = (a.features.as_ref().unwrap_or(&none), b.features.as_ref().unwrap_or(&none));
    each(cx, "features", "State of feature", FEATURES, a, b);
    if let (Some(x), Some(y)) = (&a.hyperv, &b.hyperv) {
        hyperv(x, y, cx);
    }
    if let (Some(x), Some(y)) = (&a.kvm, &b.kvm) {
        each(cx, "features/kvm", "State of KVM feature", KVM, x, y);
        let size = |k: &Kvm| k.dirty_ring.as_ref().and_then(|r| r.size).unwrap_or(0);
        let on = |k: &Kvm| k.dirty_ring.as_ref().is_some_and(|r| r.state.is_set());
        if on(x) && on(y) {
            let says = "dirty ring size of KVM feature 'dirty-ring' differs: \
                        source: '{source}', destination: '{target}'";
            cx.compare(|| "features/kvm/dirty-ring/@size".to_owned(), says, size(x), size(y));
        }
    }
    tseg(a, b, cx);
}

fn each<T>(cx: &mut Checker, path: &str, what: &str, list: &[Shown<T>], a: &T, b: &T) {
    for (name, value) in list {
        let says =
            format!("{what} '{name}' differs: source: '{{source}}', destination: '{{target}}'");
        cx.compare(|| format!("{path}/{name}"), &says, value(a), value(b));
    }
}

fn hyperv(a: &HyperV, b: &HyperV, cx: &mut Checker) {
    let path = "features/hyperv";
    each(cx, path, "State of HyperV enlightenment feature", HYPERV, a, b);
    let retries = |h: &HyperV| {
        let on = h.spinlocks.as_ref().filter(|s| s.state.is_set());
        on.and_then(|s| s.retries).unwrap_or(0)
    };
    let says = "HyperV spinlock retry count differs: source: '{source}', destination: '{target}'";
    cx.compare(|| format!("{path}/spinlocks/@retries"), says, retries(a), retries(b));
    let vendor = |h: &HyperV| {
        let on = h.vendor_id.as_ref().filter(|v| v.state.is_set());
        on.and_then(|v| v.value.clone()).unwrap_or_else(|| "(null)".to_owned())
    };
    let says = "HyperV vendor_id differs: source: '{source}', destination: '{target}'";
    cx.compare(|| format!("{path}/vendor_id/@value"), says, vendor(a), vendor(b));
    let direct = |h: &HyperV| {
        let on = h.stimer.as_ref().filter(|s| s.state.is_set());
        switch(on.and_then(|s| s.direct.as_ref()).map(|d| d.state).filter(|d| d.is_set()))
    };
    let says = "State of HyperV stimer direct feature differs: source: '{source}', destination: '{target}'";
    cx.compare(|| format!("{path}/stimer/direct/@state"), says, direct(a), direct(b));
}

/// The memory of system management mode.
fn tseg(a: &Features, b: &Features, cx: &mut Checker) {
    let size = |f: &Features| {
        let smm = f.smm.as_ref().filter(|s| s.state.is_none_or(OnOff::is_set));
        let tseg = smm.and_then(|s| s.tseg.as_ref())?;
        crate::domain::scalar::scale(tseg.size, tseg.unit.as_deref(), 1 << 20)
    };
    let path = || "features/smm/tseg".to_owned();
    match (size(a), size(b)) {
        (Some(x), Some(y)) => {
            let shown = |n: u64| format!("{} MiB", n >> 20);
            let says = "Size of SMM TSEG size differs: source: '{source}', destination: '{target}'";
            if x != y {
                cx.add(path(), says, shown(x), shown(y));
            }
        }
        (x, y) => {
            let shown = |n: Option<u64>| if n.is_some() { "specified" } else { "not specified" };
            let says = "SMM TSEG differs: source: {source}, destination: '{target}'";
            cx.compare(path, says, shown(x), shown(y));
        }
    }
}
