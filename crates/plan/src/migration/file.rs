//! Migration into a file and out of one: how a guest is saved, restored and dumped.

use crate::props::Props;
use model::save_image::SaveFormat;
use serde_json::{Value, json};

/// The bandwidth that means "as fast as it goes": the largest that is a whole number of MiB, as
/// libvirt sets it.
const UNLIMITED: u64 = 0x7fff_ffff_fff0_0000;

/// Capabilities that change what is sent: off unless they are asked for.
const OFF: &[&str] = &[
    "xbzrle",
    "auto-converge",
    "rdma-pin-all",
    "postcopy-ram",
    "pause-before-switchover",
    "late-block-activate",
    "multifd",
    "dirty-bitmaps",
    "return-path",
    "zero-copy-send",
    "postcopy-preempt",
    "switchover-ack",
    "mapped-ram",
];

/// How a guest's state goes into a file or comes out of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMigration {
    /// Every page has its place (mapped-ram); otherwise a stream.
    pub mapped: bool,
    /// Threads that write or read pages; for mapped state only.
    pub channels: Option<u32>,
    /// Past the page cache; for mapped state only (a stream is copied by the daemon then).
    pub direct: bool,
}

impl FileMigration {
    /// Arguments of `migrate-set-capabilities`: of those that this QEMU knows, what is off and what
    /// is on.
    pub fn capabilities(self, known: &[String]) -> Vec<Value> {
        let has = |name: &str| known.iter().any(|known| known == name);
        let mut list: Vec<Value> = OFF
            .iter()
            .filter(|name| has(name))
            .map(|name| {
                let on = self.mapped && matches!(*name, "multifd" | "mapped-ram");
                json!({"capability": name, "state": on})
            })
            .collect();
        if has("events") {
            list.push(json!({"capability": "events", "state": true}));
        }
        list
    }

    /// Arguments of `migrate-set-parameters` for writing.
    pub fn outgoing(self) -> Props {
        self.mapped_parameters(Props::default().set("max-bandwidth", UNLIMITED))
    }

    /// Arguments of `migrate-set-parameters` for reading; empty where there is nothing to set.
    pub fn incoming(self) -> Props {
        self.mapped_parameters(Props::default())
    }

    fn mapped_parameters(self, props: Props) -> Props {
        if !self.mapped {
            return props;
        }
        let props = props.set("multifd-channels", u64::from(self.channels.unwrap_or(1)));
        if self.direct { props.set("direct-io", true) } else { props }
    }
}

/// Where QEMU finds the state: in a set of descriptors, `offset` bytes from the beginning.
pub fn file_uri(fdset: i64, offset: u64) -> String {
    format!("file:/dev/fdset/{fdset},offset={offset:#x}")
}

/// The program that packs (and with `-d` unpacks) a format's stream; none where nothing does.
pub fn packer(format: SaveFormat) -> Option<&'static str> {
    match format {
        SaveFormat::Raw | SaveFormat::Sparse => None,
        other => Some(other.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_qemu_knows_is_switched() {
        let known = ["xbzrle", "multifd", "mapped-ram", "events", "x-colo"].map(str::to_owned);
        let switched = |mapped| {
            let migration = FileMigration { mapped, ..FileMigration::default() };
            let list = migration.capabilities(&known);
            list.iter().map(|c| format!("{}", c["state"])).collect::<Vec<_>>()
        };
        assert_eq!(switched(true), ["false", "true", "true", "true"]);
        assert_eq!(switched(false), ["false", "false", "false", "true"]);
    }

    #[test]
    fn parameters_and_places() {
        let stream = FileMigration { channels: Some(3), direct: true, ..Default::default() };
        assert_eq!(stream.outgoing().to_string(), r#"{"max-bandwidth":9223372036853727232}"#);
        assert_eq!(stream.incoming().to_string(), "{}");
        let mapped = FileMigration { mapped: true, channels: Some(4), direct: true };
        assert_eq!(mapped.incoming().to_string(), r#"{"multifd-channels":4,"direct-io":true}"#);
        assert_eq!(file_uri(2, 67296), "file:/dev/fdset/2,offset=0x106e0");
        assert_eq!(packer(SaveFormat::Xz), Some("xz"));
        assert_eq!(packer(SaveFormat::Sparse), None);
    }
}
