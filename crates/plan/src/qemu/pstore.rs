//! Where a guest's kernel keeps its last words.

use super::build::{Build, Props};
use crate::step::Access;

impl Build<'_> {
    /// The ACPI error record store, whose file outlives the guest.
    pub(super) fn pstores(&mut self) {
        for pstore in self.each("devices/pstore", &self.dev.pstores) {
            self.need("acpi-erst", "<pstore backend='acpi-erst'>");
            let id = self.alias(&pstore.alias, "<pstore>");
            let own = || format!("{}/{}_PSTORE.raw", self.set.nvram_dir, self.d.name);
            let path = pstore.path.clone().unwrap_or_else(own);
            self.grant(&path, Access::ReadWrite, false, "<pstore>");
            let backend = format!("mem{id}");
            self.object(
                Props::object("memory-backend-file", &backend)
                    .set("mem-path", path)
                    .set("size", pstore.size.0 * 1024)
                    .set("share", true),
            );
            let place = self.place(&pstore.address, "<pstore>");
            let device = Props::device("acpi-erst").set("id", id).set("memdev", backend);
            self.device(device.extend(place));
        }
    }
}
