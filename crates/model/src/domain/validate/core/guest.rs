//! The guest as a whole: name, firmware, virtual CPUs, labels.

use std::collections::BTreeSet;

use diag::ErrorCode;
use xml::{OnOff, YesNo};

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::clock::{ClockOffset, TickPolicy};
use crate::domain::os::{AcpiTableType, FirmwareFeatureName, FirmwareKind, LoaderType, Os};
use crate::domain::seclabel::SeclabelType;

pub(super) fn check(d: &Domain, out: &mut Faults) {
    name(d, out);
    vcpus(d, out);
    if let Some(os) = &d.os {
        firmware(d, os, out);
        if let Some(kind) = repeated(os) {
            out.xml("domain.acpi-table", format!("ACPI table type '{kind}' may only appear once"));
        }
    }
    seclabels(d, out);
    features(d, out);
    clock(d, out);
    if let Some(map) = &d.id_map {
        if map.uids.is_empty() != map.gids.is_empty() {
            out.unsupported("domain.idmap", "uid and gid should be mapped both");
        }
        if [&map.uids, &map.gids].iter().any(|l| l.first().is_some_and(|e| e.start != 0)) {
            out.unsupported("domain.idmap", "You must map the root user of container");
        }
    }
    let mut ciphers = Vec::new();
    for c in d.key_wrap.iter().flat_map(|k| &k.ciphers) {
        if ciphers.contains(&c.name) {
            let name = c.name.as_str();
            out.internal(
                "domain.keywrap",
                format!(
                    "A domain definition can have no more than one cipher node with name {name}"
                ),
            );
        }
        ciphers.push(c.name);
    }
    let label = d.resource.as_ref().and_then(|r| r.fibre_channel.as_ref());
    if let Some(id) = label.and_then(|f| f.app_id.as_deref())
        && !id.bytes().all(|c| (b' '..=b'~').contains(&c))
    {
        out.xml("domain.fibre-channel", "Fibre Channel 'appid' is not a printable string");
    } else if label.and_then(|f| f.app_id.as_deref()).is_some_and(|id| id.len() > 128) {
        out.code(
            "domain.fibre-channel",
            ErrorCode::INVALID_ARG,
            "Fibre Channel 'appid' string length must be between [1, 128]",
        );
    }
    let mut events = BTreeSet::new();
    for e in d.perf.iter().flat_map(|p| &p.events) {
        if !crate::domain::lifecycle::PERF_EVENTS.contains(&e.name.as_str()) {
            out.xml(
                "domain.perf",
                format!("Invalid value for attribute 'name' in element 'event': '{}'.", e.name),
            );
        } else if !events.insert(&e.name) {
            out.xml("domain.perf", format!("perf event '{}' was already specified", e.name));
        }
    }
}

fn name(d: &Domain, out: &mut Faults) {
    if d.name.is_empty() {
        out.code("domain.name-missing", ErrorCode::NO_NAME, "missing name information");
    }
    if d.name.contains('\n') {
        out.detail("domain.name-char", "invalid char in name: \n");
    }
    if d.name.contains('/') {
        out.xml("domain.name-slash", format!("name {} cannot contain '/'", d.name));
    }
    if d.name == "." || d.name == ".." {
        out.xml("domain.name-dot", format!("name {} cannot be '.' or '..'", d.name));
    }
    if d.title.as_ref().is_some_and(|title| title.contains('\n')) {
        out.xml("domain.title", "Domain title can't contain newlines");
    }
}

fn vcpus(d: &Domain, out: &mut Faults) {
    let Some(v) = &d.vcpu else { return };
    if v.maximum == 0 {
        // What libvirt says, though there may be no <numa> at all.
        out.internal("domain.vcpu-zero", "CPU IDs in <numa> exceed the <vcpu> count");
        out.hint("Give <vcpu> a number of 1 or more.");
    }
    if v.current.is_some_and(|c| c > v.maximum) {
        out.unsupported(
            "domain.vcpu-current",
            "maximum vCPU count must not be less than current vCPU count",
        );
    }
    if v.current == Some(0) {
        out.unsupported("domain.vcpu-offline", "vcpu 0 can't be offline");
        out.hint("Give the attribute 'current' of <vcpu> a number of 1 or more.");
    }
    let Some(list) = &d.vcpus else { return };
    for e in &list.list {
        if e.id >= v.maximum {
            out.xml(
                "domain.vcpu-id",
                format!("vcpu id '{}' is out of range of maximum vcpu count", e.id),
            );
        }
    }
}

pub(super) fn firmware(d: &Domain, os: &Os, out: &mut Faults) {
    let loader = os.loader.as_ref();
    let stateless = loader.and_then(|l| l.stateless);
    let enabled = |name: FirmwareFeatureName| {
        let mut features = os.firmware_info.iter().flat_map(|f| &f.features);
        features.find(|f| f.name == name).map(|f| f.enabled == YesNo::Yes)
    };
    if let Some(kind) = os.firmware {
        if enabled(FirmwareFeatureName::EnrolledKeys) == Some(true)
            && enabled(FirmwareFeatureName::SecureBoot) == Some(false)
        {
            out.detail(
                "domain.firmware-features",
                "firmware feature 'enrolled-keys' cannot be enabled when firmware feature 'secure-boot' is disabled",
            );
        }
        if kind != FirmwareKind::Efi && os.nvram.is_some() {
            let kind = kind.as_str();
            out.detail(
                "domain.firmware-nvram",
                format!("firmware type '{kind}' does not support nvram"),
            );
        }
    } else {
        if os.firmware_info.as_ref().is_some_and(|info| !info.features.is_empty()) {
            out.detail(
                "domain.firmware-features",
                "cannot use feature-based firmware autoselection when firmware autoselection is disabled",
            );
        }
        let path = loader.is_some_and(|l| l.path.is_some());
        if (loader.is_some() || os.nvram.is_some()) && !path && d.launch_security.is_none() {
            out.detail(
                "domain.loader-path",
                "no loader path specified and firmware auto selection disabled",
            );
        }
    }
    if stateless == Some(YesNo::Yes)
        && let Some(n) = &os.nvram
    {
        out.detail(
            "domain.nvram-stateless",
            if n.template.is_some() {
                "NVRAM template is not permitted when loader is stateless"
            } else {
                "NVRAM is not permitted when loader is stateless"
            },
        );
    }
    if stateless == Some(YesNo::No) {
        let flash = loader.and_then(|l| l.kind) == Some(LoaderType::Pflash);
        match os.firmware {
            None if !flash => {
                out.detail("domain.firmware-nvram", "Only pflash loader type permits NVRAM")
            }
            Some(FirmwareKind::Bios) => {
                out.detail("domain.firmware-nvram", "Only EFI firmware permits NVRAM");
            }
            _ => {}
        }
    }
}

/// A kind of ACPI table that is there twice although it may not be.
fn repeated(os: &Os) -> Option<&'static str> {
    let tables = &os.acpi.as_ref()?.tables;
    let mut seen = Vec::new();
    for t in tables {
        if t.kind != AcpiTableType::Raw && seen.contains(&t.kind) {
            return Some(t.kind.as_str());
        }
        seen.push(t.kind);
    }
    None
}

fn seclabels(d: &Domain, out: &mut Faults) {
    let mut models = BTreeSet::new();
    for l in &d.seclabels {
        let several = d.seclabels.len() > 1;
        if l.model.is_none() && l.kind != SeclabelType::None && d.id.is_none() {
            let fixed = l.kind == SeclabelType::Static && l.label.is_none();
            out.xml(
                "domain.seclabel",
                if fixed {
                    "security label is missing"
                } else {
                    "missing security model in domain seclabel"
                },
            );
        } else if several && l.model.is_none() {
            out.xml("domain.seclabel", "missing security model when using multiple labels");
        }
        if l.kind == SeclabelType::Static && l.model.is_some() && l.label.is_none() {
            out.xml("domain.seclabel", "security label is missing");
        }
        if l.kind == SeclabelType::Dynamic && l.relabel == Some(YesNo::No) {
            out.unsupported("domain.seclabel", "dynamic label type must use resource relabeling");
        }
        if l.kind == SeclabelType::None && l.relabel == Some(YesNo::Yes) {
            out.unsupported(
                "domain.seclabel",
                "resource relabeling is not compatible with 'none' label type",
            );
        }
        if let Some(model) = &l.model
            && !models.insert(model)
        {
            out.detail(
                "domain.seclabel",
                format!("seclabel for model {model} is already provided"),
            );
        }
    }
}

fn features(d: &Domain, out: &mut Faults) {
    let Some(f) = &d.features else { return };
    if let Some(ring) = f.kvm.as_ref().and_then(|k| k.dirty_ring.as_ref())
        && ring.state == OnOff::On
    {
        match ring.size {
            None => out.xml(
                "domain.dirty-ring",
                "Missing required attribute 'size' in element 'dirty-ring'",
            ),
            Some(n) if !n.is_power_of_two() || !(1024..=65536).contains(&n) => out
                .xml("domain.dirty-ring", "dirty ring must be power of 2 and ranges [1024, 65536]"),
            _ => {}
        }
    }
    let Some(hv) = &f.hyperv else { return };
    if let Some(s) = &hv.spinlocks
        && s.state == OnOff::On
    {
        match s.retries {
            None => out.xml(
                "domain.hyperv-spinlocks",
                "Missing required attribute 'retries' in element 'spinlocks'",
            ),
            Some(n) if n < 4095 => out.xml(
                "domain.hyperv-spinlocks",
                "HyperV spinlock retry count must be at least 4095",
            ),
            _ => {}
        }
    }
    if let Some(v) = &hv.vendor_id
        && v.state == OnOff::On
    {
        match v.value.as_deref() {
            None | Some("") => out.xml(
                "domain.hyperv-vendor",
                "missing 'value' attribute for HyperV feature 'vendor_id'",
            ),
            Some(v) if v.len() > 12 => out.xml(
                "domain.hyperv-vendor",
                "HyperV vendor_id value must not be more than 12 characters.",
            ),
            Some(v) if v.contains(',') => {
                out.xml("domain.hyperv-vendor", "HyperV vendor_id value is invalid");
            }
            _ => {}
        }
    }
}

fn clock(d: &Domain, out: &mut Faults) {
    let Some(c) = &d.clock else { return };
    if c.offset == ClockOffset::Timezone && c.timezone.as_ref().is_none_or(String::is_empty) {
        out.internal(
            "domain.clock-timezone",
            "missing 'timezone' attribute for clock with offset='timezone'",
        );
    }
    if c.offset == ClockOffset::Absolute && c.start.is_none() {
        out.internal(
            "domain.clock-start",
            "missing 'start' attribute for clock with offset='absolute'",
        );
    }
    for t in &c.timers {
        if t.catchup.is_some() && t.tick_policy != Some(TickPolicy::Catchup) {
            out.xml(
                "domain.timer-catchup",
                "setting of timer catchup policies is only supported with tickpolicy='catchup'",
            );
        }
    }
    if let Some(a) = &c.adjustment
        && matches!(c.offset, ClockOffset::Utc | ClockOffset::Localtime)
        && a != "reset"
        && a.parse::<i64>().is_err()
    {
        out.xml("domain.clock-adjustment", format!("unknown clock adjustment '{a}'"));
    }
}
