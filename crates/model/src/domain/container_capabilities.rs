//! What the processes of a container may do: Linux' capabilities, in the order libvirt writes them.

use crate::domain::prelude::*;
use xml::{Content, Element, ErrorCode, Reader, Schema, Writer};

/// What a container may do that is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CapabilitiesPolicy {
    /// What the driver thinks safe.
    #[default]
    Default,
    /// Everything.
    Allow,
    /// Nothing.
    Deny,
}

/// Names, in order.
pub const NAMES: &[&str] = &[
    "audit_control",
    "audit_write",
    "block_suspend",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "ipc_lock",
    "ipc_owner",
    "kill",
    "lease",
    "linux_immutable",
    "mac_admin",
    "mac_override",
    "mknod",
    "net_admin",
    "net_bind_service",
    "net_broadcast",
    "net_raw",
    "setgid",
    "setfcap",
    "setpcap",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_nice",
    "sys_pacct",
    "sys_ptrace",
    "sys_rawio",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "syslog",
    "wake_alarm",
];

/// Capabilities of a container.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ContainerCapabilities {
    /// What is not listed.
    pub policy: CapabilitiesPolicy,
    /// Place in [`NAMES`] and state, in order.
    pub states: Vec<(usize, OnOff)>,
}

impl Xml for ContainerCapabilities {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let policy = cx.attr_optional(el, "policy");
        let mut states = Vec::new();
        let mut good = true;
        for c in el.children() {
            cx.use_element(c);
            let Some(place) = NAMES.iter().position(|n| c.is(n, None)) else {
                let message = format!("unexpected capability feature '{}'", c.qualified_name());
                let hints = crate::object::hints(c.name(), NAMES);
                let code = ErrorCode::CONFIG_UNSUPPORTED;
                cx.error("domain.capability", code, c.name_span(), message, hints);
                good = false;
                continue;
            };
            match cx.attr_optional(c, "state") {
                Some(state) => states.push((place, state.unwrap_or(OnOff::On))),
                None => good = false,
            }
        }
        // Of one named twice, the last counts.
        states.reverse();
        states.sort_by_key(|s| s.0);
        states.dedup_by_key(|s| s.0);
        let policy = policy?.unwrap_or_default();
        good.then_some(Self { policy, states })
    }
    fn write_attrs(&self, w: &mut Writer) {
        w.attr("policy", &self.policy);
    }
    fn write_children(&self, w: &mut Writer) {
        for (place, state) in &self.states {
            let Some(name) = NAMES.get(*place) else { continue };
            w.start(name);
            w.attr("state", state);
            w.end(name);
        }
    }
    fn schema() -> Schema {
        let policy = <CapabilitiesPolicy as xml::XmlValue>::kind();
        let one = || {
            let state = <OnOff as xml::XmlValue>::kind();
            Schema::new().attr("state", false, state)
        };
        let all = Schema::new().attr("policy", false, policy);
        NAMES
            .iter()
            .fold(all, |s, name| s.child((*name).into(), false, false, Content::Inline(one())))
    }
}
