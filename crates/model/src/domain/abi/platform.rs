//! Tables of the devices of the platform: watchdogs, memory that is shared or given back, security
//! modules and what else is no disk, card or screen.

use super::rule::{Rule, number, switch, word};
use crate::domain::devices::crypto::Crypto;
use crate::domain::devices::iommu::Iommu;
use crate::domain::devices::memballoon::MemBalloon;
use crate::domain::devices::panic::Panic;
use crate::domain::devices::pstore::Pstore;
use crate::domain::devices::rng::Rng;
use crate::domain::devices::shmem::Shmem;
use crate::domain::devices::tpm::Tpm;
use crate::domain::devices::vsock::Vsock;
use crate::domain::devices::watchdog::Watchdog;

pub(super) const WATCHDOG: &[Rule<Watchdog>] = &[Rule {
    at: "@model",
    says: "Target watchdog model {target} does not match source {source}",
    value: |w| w.model.to_string(),
}];
pub(super) const BALLOON: &[Rule<MemBalloon>] = &[
    Rule {
        at: "@model",
        says: "Target balloon model {target} does not match source {source}",
        value: |m| m.model.to_string(),
    },
    Rule {
        at: "@autodeflate",
        says: "Target balloon autodeflate attribute value '{target}' does not match source \
               '{source}'",
        value: |m| switch(m.auto_deflate).to_owned(),
    },
    Rule {
        at: "@freePageReporting",
        says: "Target balloon freePageReporting attribute value '{target}' does not match source \
               '{source}'",
        value: |m| switch(m.free_page_reporting).to_owned(),
    },
];
pub(super) const RNG: &[Rule<Rng>] = &[Rule {
    at: "@model",
    says: "Target RNG model '{target}' does not match source '{source}'",
    value: |r| r.model.to_string(),
}];
pub(super) const PANIC: &[Rule<Panic>] = &[Rule {
    at: "@model",
    says: "Target panic model '{target}' does not match source '{source}'",
    value: |p| word(p.model, "default"),
}];
pub(super) const SHMEM: &[Rule<Shmem>] = &[
    Rule {
        at: "@role",
        says: "Target shared memory role '{target}' does not match source role '{source}'",
        value: |s| word(s.role, "default"),
    },
    Rule {
        at: "model/@type",
        says: "Target shared memory model '{target}' does not match source model '{source}'",
        value: |s| word(s.model.as_ref().map(|m| m.kind), "ivshmem"),
    },
    Rule {
        at: "size",
        says: "Target shared memory size '{target}' does not match source size '{source}'",
        value: |s| {
            let bytes = s
                .size
                .as_ref()
                .and_then(|s| crate::domain::scalar::scale(s.size, s.unit.as_deref(), 1));
            number(bytes)
        },
    },
    Rule {
        at: "server",
        says: "Target shared memory server usage doesn't match source",
        value: |s| if s.server.is_some() { "used" } else { "none" }.to_owned(),
    },
    Rule {
        at: "msi",
        says: "Target shared memory MSI configuration doesn't match source",
        value: |s| match &s.msi {
            Some(msi) => {
                format!("vectors {}, ioeventfd {}", number(msi.vectors), switch(msi.ioeventfd))
            }
            None => "none".to_owned(),
        },
    },
];
pub(super) const TPM: &[Rule<Tpm>] = &[
    Rule {
        at: "@model",
        says: "Target TPM device model doesn't match source",
        value: |t| word(t.model, "default"),
    },
    Rule {
        at: "backend/@version",
        says: "Target TPM version doesn't match source",
        value: |t| word(t.backend.version, "default"),
    },
    Rule {
        at: "backend/active_pcr_banks",
        says: "Target active PCR banks doesn't match source",
        value: |t| {
            t.backend.active_pcr_banks.as_ref().map_or_else(String::new, |b| format!("{b:?}"))
        },
    },
];
pub(super) const IOMMU: &[Rule<Iommu>] = &[
    Rule {
        at: "@model",
        says: "Target domain IOMMU device model '{target}' does not match source '{source}'",
        value: |i| i.model.to_string(),
    },
    Rule {
        at: "driver/@intremap",
        says: "Target domain IOMMU device intremap value '{target}' does not match source \
               '{source}'",
        value: |i| switch(i.driver.as_ref().and_then(|d| d.int_remap)).to_owned(),
    },
    Rule {
        at: "driver/@caching_mode",
        says: "Target domain IOMMU device caching mode '{target}' does not match source '{source}'",
        value: |i| switch(i.driver.as_ref().and_then(|d| d.caching_mode)).to_owned(),
    },
    Rule {
        at: "driver/@eim",
        says: "Target domain IOMMU device eim value '{target}' does not match source '{source}'",
        value: |i| switch(i.driver.as_ref().and_then(|d| d.eim)).to_owned(),
    },
    Rule {
        at: "driver/@iotlb",
        says: "Target domain IOMMU device iotlb value '{target}' does not match source '{source}'",
        value: |i| switch(i.driver.as_ref().and_then(|d| d.iotlb)).to_owned(),
    },
    Rule {
        at: "driver/@aw_bits",
        says: "Target domain IOMMU device aw_bits value '{target}' does not match source \
               '{source}'",
        value: |i| number(i.driver.as_ref().and_then(|d| d.aw_bits)),
    },
    Rule {
        at: "driver/@dma_translation",
        says: "Target domain IOMMU device dma translation '{target}' does not match source \
               '{source}'",
        value: |i| switch(i.driver.as_ref().and_then(|d| d.dma_translation)).to_owned(),
    },
];
pub(super) const VSOCK: &[Rule<Vsock>] = &[Rule {
    at: "@model",
    says: "Target domain vsock device model '{target}' does not match source '{source}'",
    value: |v| word(v.model, "default"),
}];
pub(super) const CRYPTO: &[Rule<Crypto>] = &[
    Rule {
        at: "@model",
        says: "Target crypto model '{target}' does not match source '{source}'",
        value: |c| c.model.to_string(),
    },
    Rule {
        at: "@type",
        says: "Target crypto type '{target}' does not match source '{source}'",
        value: |c| c.kind.to_string(),
    },
    Rule {
        at: "backend/@model",
        says: "Target crypto backend '{target}' does not match source '{source}'",
        value: |c| c.backend.model.to_string(),
    },
];
pub(super) const PSTORE: &[Rule<Pstore>] = &[
    Rule {
        at: "@backend",
        says: "Target pstore backend '{target}' does not match source '{source}'",
        value: |p| p.backend.to_string(),
    },
    Rule {
        at: "size",
        says: "Target pstore size '{target}' does not match source '{source}'",
        value: |p| p.size.0.to_string(),
    },
];
