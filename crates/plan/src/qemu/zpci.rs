//! PCI devices of s390x guests: each comes with a device that holds its user and function id.

use super::build::{Build, Props};
use model::domain::address::Zpci;
use serde_json::{Value, json};

/// A member that a device's place leaves for [`Build::device`]; no property of QEMU's.
pub(super) const NOTE: &str = "\u{fffe}zpci";

/// What is noted of an address.
pub(super) fn note(zpci: &Zpci) -> Value {
    json!({"uid": zpci.uid.as_ref().map(|uid| uid.0), "fid": zpci.fid.as_ref().map(|fid| fid.0)})
}

impl Build<'_> {
    /// Writes the ids of the device that `props` are about, before the device itself.
    pub(super) fn zpci(&mut self, props: &mut Props) {
        let Some(note) = props.0.shift_remove(NOTE) else { return };
        let number = |key: &str| note.get(key).and_then(Value::as_u64);
        let (uid, fid) = (number("uid"), number("fid"));
        let target = props.0.get("id").and_then(Value::as_str).unwrap_or_default().to_string();
        self.need("zpci", "<zpci>");
        let device = Props::device("zpci")
            .opt("uid", uid)
            .opt("fid", fid)
            .set("target", target)
            .set("id", format!("zpci{}", uid.unwrap_or(0)));
        self.device(device);
    }
}
