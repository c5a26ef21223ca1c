//! Smart cards: those of the host's readers, made from certificates, or passed on from a client.

use super::build::{Build, Props};
use super::words::Address;
use model::domain::devices::chardev::CharSource;
use model::domain::devices::controller::ControllerType;
use model::domain::devices::smartcard::{Smartcard, SmartcardMode};

/// Where the network security services keep their certificates unless the domain says otherwise.
const DEFAULT_DATABASE: &str = "/etc/pki/nssdb";

impl Build<'_> {
    /// All smart cards.
    pub(super) fn smartcards(&mut self) {
        for card in self.each("devices/smartcard", &self.dev.smartcards) {
            self.smartcard(card);
        }
    }

    fn smartcard(&mut self, card: &Smartcard) {
        let id = self.alias(&card.alias, "<smartcard>");
        let emulated = |backend: &str| Props::device("ccid-card-emulated").set("backend", backend);
        let props = match card.mode {
            SmartcardMode::Host => {
                self.need("ccid-emulated", "<smartcard mode='host'>");
                emulated("nss-emulated")
            }
            SmartcardMode::HostCertificates => {
                self.need("ccid-emulated", "<smartcard mode='host-certificates'>");
                let mut props = emulated("certificates");
                for (number, name) in (1..).zip(&card.certificates) {
                    props = props.set(&format!("cert{number}"), name.clone());
                }
                props.set("db", card.database.clone().unwrap_or_else(|| DEFAULT_DATABASE.into()))
            }
            SmartcardMode::Passthrough => {
                self.need("ccid-passthru", "<smartcard mode='passthrough'>");
                let source = CharSource {
                    kind: card.source.kind.unwrap_or_default(),
                    tty: card.source.tty.clone(),
                    sources: card.source.sources.clone(),
                    protocol: card.source.protocol.clone(),
                    log: card.source.log.clone(),
                };
                let chardev = self.chardev(&source, &id, "<smartcard>");
                Props::device("ccid-card-passthru").set("chardev", chardev)
            }
        };
        let reader = match &card.address {
            Some(Address::Ccid(ccid)) => ccid.controller,
            _ => 0,
        };
        let Some(bus) = self.controller(ControllerType::Ccid, reader) else {
            return self.fail(
                "qemu.smartcard",
                format!("<smartcard> is in CCID reader {reader}, which no controller provides"),
            );
        };
        let bus = format!("{bus}.0");
        self.device(props.set("id", id).set("bus", bus));
    }
}
