//! Capabilities from a recorded conversation, instead of the binary's own.

use super::{CapsStore, Known, Slot};
use model::capabilities::qemu::{CacheKey, QemuCaps, parse_transcript};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

impl CapsStore {
    /// A store in which `emulator` can do what `record` says: the QMP conversation of a probe,
    /// questions and answers in turn, and, after a second greeting, that of a probe without KVM.
    ///
    /// # Errors
    /// In words, when that is not such a conversation.
    pub fn with_record(mut self, emulator: &str, record: &str) -> Result<Self, String> {
        let conversations = parse_transcript(record);
        let primary = conversations.first().map_or(&[][..], Vec::as_slice);
        let tcg = conversations.get(1).map(Vec::as_slice);
        let caps =
            QemuCaps::from_replies(emulator, primary, tcg).map_err(|error| error.to_string())?;
        let key = CacheKey { path: emulator.to_owned(), ..CacheKey::default() };
        let slot = Slot { known: Some(Arc::new(Known::new(key, caps))), failed: None };
        self.slots = Mutex::new(HashMap::from([(emulator.to_owned(), Arc::new(Mutex::new(slot)))]));
        self.recorded = Some(emulator.to_owned());
        Ok(self)
    }
}
