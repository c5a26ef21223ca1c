//! SCSI: hosts, targets, units.

use diag::ErrorCode;
use xml::{Element, Reader, Xml};

use super::children::sub_capabilities;
use crate::object::fault;

/// A SCSI host adapter.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ScsiHost {
    /// Its number; none for one that is to be made.
    #[xml(child_text)]
    pub host: Option<u32>,
    /// Tells adapters of one device apart; negative when it is not known.
    #[xml(child_text)]
    pub unique_id: Option<i32>,
    /// What it can do.
    #[xml(with = host_capabilities)]
    pub capabilities: Vec<ScsiHostCapability>,
}

/// What a SCSI host adapter can do.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum ScsiHostCapability {
    /// It is on a Fibre Channel.
    #[xml(name = "fc_host")]
    FcHost(FcHost),
    /// It can have virtual ports.
    #[xml(name = "vport_ops")]
    VportOps(VportOps),
}

sub_capabilities!(host_capabilities, ScsiHostCapability, Refused);

/// A Fibre Channel adapter.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct FcHost {
    /// Node name; chosen for one that is to be made without.
    #[xml(child_text)]
    pub wwnn: Option<String>,
    /// Port name; the same.
    #[xml(child_text)]
    pub wwpn: Option<String>,
    /// Name of the fabric.
    #[xml(child_text)]
    pub fabric_wwn: Option<String>,
}

/// Virtual ports; how many there are is found out and never read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct VportOps {
    /// How many there may be.
    pub max_vports: u32,
    /// How many there are.
    pub vports: u32,
}

impl Xml for VportOps {
    fn read(el: xml::Element<'_>, cx: &mut xml::Reader) -> Option<Self> {
        for name in ["max_vports", "vports"] {
            for child in cx.children(el, name) {
                cx.use_subtree(child);
            }
        }
        Some(Self::default())
    }
    fn write_attrs(&self, _: &mut xml::Writer) {}
    fn write_children(&self, w: &mut xml::Writer) {
        w.child_text("max_vports", &self.max_vports);
        w.child_text("vports", &self.vports);
    }
    fn schema() -> xml::Schema {
        let number = || xml::Content::Text(<u32 as xml::XmlValue>::kind());
        xml::Schema::new().child("max_vports".into(), false, false, number()).child(
            "vports".into(),
            false,
            false,
            number(),
        )
    }
}

impl ScsiHost {
    pub(super) fn complete(&mut self, name: &str, el: Element<'_>, cx: &mut Reader, new: bool) {
        let adapters = self.capabilities.iter().filter_map(|capability| match capability {
            ScsiHostCapability::FcHost(adapter) => Some(adapter),
            ScsiHostCapability::VportOps(_) => None,
        });
        let mut missing = Vec::new();
        if self.host.is_none() {
            missing.push(format!("no SCSI host ID supplied for '{name}'"));
        }
        for adapter in adapters {
            let names = [("WWNN", &adapter.wwnn), ("WWPN", &adapter.wwpn)];
            for (what, _) in names.iter().filter(|(_, value)| value.is_none()) {
                missing
                    .push(format!("no {what} supplied for '{name}', and auto-generation failed"));
            }
        }
        for message in missing.into_iter().filter(|_| !new) {
            fault(cx, el, "nodedev.scsi-host", ErrorCode::INTERNAL_ERROR, message);
        }
        self.unique_id = self.unique_id.filter(|id| *id >= 0);
        self.capabilities.sort_by_key(|c| matches!(c, ScsiHostCapability::VportOps(_)));
        self.capabilities.dedup_by_key(|c| c.tag());
    }
}

/// A SCSI target.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ScsiTarget {
    /// Its name.
    #[xml(child_text)]
    pub target: String,
    /// What else it is.
    #[xml(with = target_capabilities)]
    pub capabilities: Vec<TargetCapability>,
}

/// What a SCSI target may be beside.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum TargetCapability {
    /// A remote port of a Fibre Channel.
    #[xml(name = "fc_remote_port")]
    RemotePort(RemotePort),
}

sub_capabilities!(target_capabilities, TargetCapability, Refused);

/// A remote port of a Fibre Channel.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct RemotePort {
    /// Its name in sysfs.
    #[xml(child_text)]
    pub rport: String,
    /// Its port name.
    #[xml(child_text)]
    pub wwpn: String,
}

/// A SCSI logical unit.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Scsi {
    /// Number of the host adapter.
    #[xml(child_text)]
    pub host: u32,
    /// Channel.
    #[xml(child_text)]
    pub bus: u32,
    /// Target.
    #[xml(child_text)]
    pub target: u32,
    /// Unit.
    #[xml(child_text)]
    pub lun: u32,
    /// What it is, such as `disk`.
    #[xml(child_text, name = "type")]
    pub kind: Option<String>,
}

/// The generic device of a SCSI unit.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct ScsiGeneric {
    /// Path of the character device.
    #[xml(child_text, name = "char")]
    pub character_device: String,
}
