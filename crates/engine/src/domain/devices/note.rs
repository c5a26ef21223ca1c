//! What is written down of devices that change, for the next daemon: a change under way, and what
//! QEMU has not let go of yet.

use crate::domain::adopt::status::{undo_from_json, undo_to_json};
use model::domain::Domain as Definition;
use model::domain::hotplug::{DeviceKind, Place};
use model::domain::status::{self, DomStatus};
use plan::{QmpCommand, Undo};
use serde_json::{Value, json};
use std::sync::Arc;

/// A device that is being changed.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::domain) struct UpdateNote {
    /// Which one.
    pub place: Place,
    /// The live definition as it is to be.
    pub after: Definition,
    /// Where the change is another medium: what is needed to finish it or to take it back.
    pub medium: Option<MediumNote>,
}

/// A drive whose medium is being exchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::domain) struct MediumNote {
    /// QEMU's name of the drive.
    pub id: String,
    /// The name by which QEMU tells of it.
    pub alias: String,
    /// It has a tray that opens and closes.
    pub tray: bool,
    /// Its tray was open before.
    pub was_open: bool,
    /// What was in it.
    pub old: Images,
    /// What is to be in it.
    pub new: Images,
}

/// The images of a medium.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::domain) struct Images {
    /// The uppermost node; none: the drive is empty.
    pub top: Option<String>,
    /// How QEMU is told to close them.
    pub close: Vec<String>,
    /// What is taken back on the host then.
    pub undo: Vec<Undo>,
}

/// What stood behind a device that left, and that QEMU still has open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::domain) struct Held {
    /// Nodes of images, the uppermost first.
    pub nodes: Vec<String>,
    /// What is taken back on the host once they are closed.
    pub undo: Vec<Undo>,
}

impl Images {
    /// The commands that close them.
    pub fn commands(&self) -> Vec<QmpCommand> {
        let command =
            |json: &String| QmpCommand { result: None, json: json.clone(), secret: false };
        self.close.iter().map(command).collect()
    }

    fn to_json(&self) -> Value {
        let undo: Vec<_> = self.undo.iter().map(undo_to_json).collect();
        json!({"top": self.top, "close": self.close, "undo": undo})
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            top: value.get("top")?.as_str().map(str::to_owned),
            close: texts(value.get("close")?)?,
            undo: undos(value.get("undo")?)?,
        })
    }
}

impl UpdateNote {
    /// As it lies in our file beside the status.
    pub fn to_json(&self) -> Value {
        let whole = DomStatus { domain: Arc::new(self.after.clone()), ..DomStatus::default() };
        let medium = self.medium.as_ref().map(|medium| {
            json!({
                "id": medium.id,
                "alias": medium.alias,
                "tray": medium.tray,
                "was_open": medium.was_open,
                "old": medium.old.to_json(),
                "new": medium.new.to_json(),
            })
        });
        json!({
            "device": [self.place.kind.element(), self.place.index],
            "after": status::format(&whole),
            "medium": medium,
        })
    }

    /// From our file; none where it says nothing that can be understood.
    pub fn from_json(value: &Value) -> Option<Self> {
        let device = value.get("device")?;
        let index = usize::try_from(device.get(1)?.as_u64()?).ok()?;
        let kind = DeviceKind::of_element(device.get(0)?.as_str()?)?;
        let medium = match value.get("medium")? {
            Value::Null => None,
            medium => {
                let flag = |name: &str| medium.get(name).and_then(Value::as_bool);
                let text = |name: &str| medium.get(name)?.as_str().map(str::to_owned);
                Some(MediumNote {
                    id: text("id")?,
                    alias: text("alias")?,
                    tray: flag("tray")?,
                    was_open: flag("was_open")?,
                    old: Images::from_json(medium.get("old")?)?,
                    new: Images::from_json(medium.get("new")?)?,
                })
            }
        };
        let after = status::parse(value.get("after")?.as_str()?).status?.domain;
        let after = Arc::unwrap_or_clone(after);
        Some(Self { place: Place { kind, index }, after, medium })
    }
}

impl Held {
    /// As it lies in our file beside the status.
    pub fn to_json(&self) -> Value {
        let undo: Vec<_> = self.undo.iter().map(undo_to_json).collect();
        json!({"nodes": self.nodes, "undo": undo})
    }

    /// From our file; none where it says nothing that can be understood.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self { nodes: texts(value.get("nodes")?)?, undo: undos(value.get("undo")?)? })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

fn undos(value: &Value) -> Option<Vec<Undo>> {
    value.as_array()?.iter().map(undo_from_json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_being_written_and_read() {
        let images = |top: Option<&str>, undo: Vec<Undo>| Images {
            top: top.map(str::to_owned),
            close: vec![r#"{"execute":"blockdev-del"}"#.to_owned()],
            undo,
        };
        let medium = MediumNote {
            id: "sata0-0-0".to_owned(),
            alias: "sata0-0-0".to_owned(),
            tray: true,
            was_open: false,
            old: images(Some("libvirt-1-storage"), vec![Undo::RestoreOwner("/a".to_owned())]),
            new: images(None, Vec::new()),
        };
        let text = "<domain type='qemu'><name>a</name><memory>1</memory>\
            <os><type>hvm</type></os><devices><disk type='file' device='cdrom'>\
            <source file='/b' index='2'/><target dev='sda' bus='sata'/></disk></devices></domain>";
        let whole = format!(
            "<domstatus state='running' reason='booted' pid='1'>\
             <monitor path='/m' type='unix'/>{text}</domstatus>"
        );
        let after = status::parse(&whole).status.expect("a status").domain;
        for medium in [Some(medium), None] {
            let place = Place { kind: DeviceKind::Disk, index: 0 };
            let note = UpdateNote { place, after: (*after).clone(), medium };
            let read = UpdateNote::from_json(&note.to_json()).expect("own format");
            assert_eq!((read.place, &read.medium), (note.place, &note.medium));
            let disk = &read.after.devices.as_ref().expect("devices").disks[0];
            assert_eq!(disk.source.as_ref().and_then(|source| source.index), Some(2));
        }
        let held = Held {
            nodes: vec!["libvirt-5-storage".to_owned()],
            undo: vec![Undo::RestoreOwner("/a".to_owned())],
        };
        assert_eq!(Held::from_json(&held.to_json()), Some(held));
        assert_eq!(Held::from_json(&json!({"nodes": [1], "undo": []})), None);
        assert_eq!(UpdateNote::from_json(&Value::Null), None);
    }
}
