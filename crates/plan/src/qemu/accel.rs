//! `-accel`, and what goes with the accelerator.

use super::build::{Build, Switch};
use model::capabilities::qemu::Accel;
use model::domain::VirtType;

impl Build<'_> {
    /// `-accel`.
    pub(super) fn accelerator(&mut self) {
        let features = self.features();
        match self.accel {
            Accel::Kvm => {
                let ring = features.kvm.and_then(|kvm| kvm.dirty_ring);
                let size = ring.filter(|ring| ring.state.on()).and_then(|ring| ring.size);
                let text = size.map_or("kvm".to_string(), |n| format!("kvm,dirty-ring-size={n}"));
                self.opt("-accel", &text);
            }
            Accel::Tcg if self.d.kind == VirtType::Hvf => self.opt("-accel", "hvf"),
            Accel::Tcg => {
                // KiB in the XML, MiB on the command line.
                let size = features.tcg.and_then(|tcg| tcg.tb_cache).map(|tb| tb.size / 1024);
                let text = size.map_or("tcg".to_string(), |n| format!("tcg,tb-size={n}"));
                self.opt("-accel", &text);
            }
        }
        if let Some(tseg) = features.smm.and_then(|smm| smm.tseg) {
            self.need("mch.extended-tseg-mbytes", "<tseg>");
            let mib = match tseg.unit.as_deref() {
                Some("KiB") => tseg.size >> 10,
                Some("GiB") => tseg.size << 10,
                Some("B" | "bytes") => tseg.size >> 20,
                _ => tseg.size,
            };
            self.opt("-global", &format!("mch.extended-tseg-mbytes={mib}"));
        }
    }
}
