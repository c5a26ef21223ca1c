//! Crypto accelerators.

use super::build::{Build, Props};
use model::domain::devices::crypto::{Crypto, CryptoBackendModel};

impl Build<'_> {
    /// All crypto accelerators, each behind its back end.
    pub(super) fn cryptos(&mut self) {
        for crypto in self.each("devices/crypto", &self.dev.cryptos) {
            self.crypto(crypto);
        }
    }

    fn crypto(&mut self, crypto: &Crypto) {
        self.need("virtio-crypto", "<crypto model='virtio'>");
        let id = self.alias(&crypto.alias, "<crypto>");
        let object = format!("obj{id}");
        let kind = match crypto.backend.model {
            CryptoBackendModel::Builtin => "cryptodev-backend-builtin",
            CryptoBackendModel::Lkcf => {
                self.need("cryptodev-backend-lkcf", "<crypto><backend model='lkcf'>");
                "cryptodev-backend-lkcf"
            }
        };
        self.object(Props::object(kind, &object).opt("queues", crypto.backend.queues));
        let name = self.virtio_name("virtio-crypto", &crypto.address, None);
        let place = self.place(&crypto.address, "<crypto>");
        self.device(
            Props::device(&name)
                .extend(Self::virtio_options(crypto.driver.as_ref()))
                .set("cryptodev", object)
                .set("id", id)
                .extend(place),
        );
    }
}
