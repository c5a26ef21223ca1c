//! TPMs: their devices, and how QEMU reaches what is behind them.

use super::build::{Build, Props, comma};
use super::words::Address;
use crate::step::{Access, Action, Step};
use model::domain::devices::tpm::*;

impl Build<'_> {
    /// All TPMs.
    pub(super) fn tpms(&mut self) {
        for tpm in self.each("devices/tpm", &self.dev.tpms) {
            self.tpm(tpm);
        }
    }

    fn tpm(&mut self, tpm: &Tpm) {
        let id = self.alias(&tpm.alias, "<tpm>");
        if tpm.model == Some(TpmModel::SpaprTpmProxy) {
            return self.tpm_proxy(tpm, id);
        }
        match tpm.backend.kind {
            TpmBackendType::Emulator => {
                self.need("tpm-emulator", "<backend type='emulator'>");
                let socket = self.swtpm(tpm);
                self.opt("-chardev", &format!("socket,id=chrtpm,path={}", comma(&socket)));
                self.opt("-tpmdev", &format!("emulator,id=tpm-{id},chardev=chrtpm"));
            }
            TpmBackendType::External => {
                self.need("tpm-emulator", "<backend type='external'>");
                let source = tpm.backend.source.as_ref();
                let path = source.map(|source| source.path.clone()).unwrap_or_default();
                self.opt("-chardev", &format!("socket,id=chrtpm,path={}", comma(&path)));
                self.opt("-tpmdev", &format!("emulator,id=tpm-{id},chardev=chrtpm"));
            }
            TpmBackendType::Passthrough => {
                self.need("tpm-passthrough", "<backend type='passthrough'>");
                let device = tpm.backend.device.as_ref();
                let path = device.and_then(|device| device.path.clone());
                let path = path.unwrap_or_else(|| "/dev/tpm0".to_string());
                let name = path.rsplit('/').next().unwrap_or_default().to_string();
                let cancel = format!("/sys/class/misc/{name}/device/cancel");
                let mut sets = Vec::new();
                for (path, part) in [(path, "tpm"), (cancel, "cancel")] {
                    let result = format!("{id}-{part}");
                    let step = Step::new(Action::OpenFile {
                        path,
                        access: Access::ReadWrite,
                        create_append: false,
                    });
                    self.steps.push(step.yields(result.clone()));
                    sets.push(self.fdset(&result, &result));
                }
                let path = sets.first().cloned().unwrap_or_default();
                let cancel = sets.get(1).cloned().unwrap_or_default();
                self.opt(
                    "-tpmdev",
                    &format!("passthrough,id=tpm-{id},path={path},cancel-path={cancel}"),
                );
            }
        }
        let driver = match tpm.model.unwrap_or_default() {
            // Only PCs have the bus of the other one.
            TpmModel::TpmTis if !self.x86() => "tpm-tis-device",
            TpmModel::TpmTis => "tpm-tis",
            TpmModel::TpmCrb => "tpm-crb",
            TpmModel::TpmSpapr => "tpm-spapr",
            TpmModel::SpaprTpmProxy => "spapr-tpm-proxy",
        };
        let mut props = Props::device(driver).set("tpmdev", format!("tpm-{id}")).set("id", id);
        if let Some(Address::SpaprVio(_)) = &tpm.address {
            let place = self.place(&tpm.address, "<tpm>");
            props = props.extend(place);
        }
        self.device(props);
    }

    /// The TPM of the host, which a POWER guest's firmware passes calls to.
    fn tpm_proxy(&mut self, tpm: &Tpm, id: String) {
        self.need("spapr-tpm-proxy", "<tpm model='spapr-tpm-proxy'>");
        let device = tpm.backend.device.as_ref();
        let path = device.and_then(|device| device.path.clone());
        let path = path.unwrap_or_else(|| "/dev/tpm0".to_string());
        self.grant(&path, Access::ReadWrite, false, "<tpm>");
        let props = Props::device("spapr-tpm-proxy").set("id", id).set("host-path", path);
        self.device(props);
    }
}
