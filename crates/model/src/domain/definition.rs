//! The whole domain.

use super::clock::Clock;
use super::cpu::Cpu;
use super::devices::Devices;
use super::features::Features;
use super::launch_security::{KeyWrap, LaunchSecurity};
use super::lifecycle::*;
use super::memory::*;
use super::os::{IdMap, Os};
use super::qemu_namespace::*;
use super::seclabel::Seclabel;
use super::sysinfo::Sysinfo;
use super::tune::*;
use crate::domain::prelude::*;

/// The hypervisor that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum VirtType {
    /// `qemu`.
    #[default]
    Qemu,
    /// `kvm`.
    Kvm,
    /// `xen`.
    Xen,
    /// `hvf`.
    Hvf,
    /// `lxc`.
    Lxc,
    /// `test`.
    Test,
    /// `openvz`.
    Openvz,
    /// `vbox`.
    Vbox,
    /// `vmware`.
    Vmware,
    /// `hyperv`.
    Hyperv,
    /// `vz`.
    Vz,
    /// `bhyve`.
    Bhyve,
    /// `uml`.
    Uml,
    /// `kqemu`.
    Kqemu,
    /// `phyp`.
    Phyp,
    /// `parallels`.
    Parallels,
}

/// A domain: everything its XML says.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = Domain::check)]
pub struct Domain {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: VirtType,
    /// Number of a running domain.
    #[xml(attr, live_only)]
    pub id: Option<i32>,
    /// Element `<name>`.
    #[xml(child_text)]
    pub name: String,
    /// Element `<uuid>`.
    #[xml(child_text)]
    pub uuid: Option<Uuid>,
    /// Element `<genid>`.
    #[xml(child, name = "genid")]
    pub gen_id: Option<GenId>,
    /// Element `<title>`.
    #[xml(child_text)]
    pub title: Option<String>,
    /// Element `<description>`.
    #[xml(child_text)]
    pub description: Option<String>,
    /// Kept as written.
    #[xml(raw)]
    pub metadata: Option<RawElement>,
    /// Element `<maxMemory>`.
    #[xml(child, name = "maxMemory")]
    pub max_memory: Option<MaxMemory>,
    /// Element `<memory>`.
    #[xml(child)]
    pub memory: Option<Memory>,
    /// Element `<currentMemory>`.
    #[xml(child, name = "currentMemory", empty_absent)]
    pub current_memory: Option<Kib>,
    /// Element `<blkiotune>`.
    #[xml(child, name = "blkiotune", empty_absent)]
    pub blkio_tune: Option<BlkioTune>,
    /// Element `<memtune>`.
    #[xml(child, name = "memtune", empty_absent)]
    pub mem_tune: Option<MemTune>,
    /// Element `<memoryBacking>`.
    #[xml(child, name = "memoryBacking")]
    pub memory_backing: Option<MemoryBacking>,
    /// Element `<vcpu>`.
    #[xml(child)]
    pub vcpu: Option<Vcpu>,
    /// Element `<vcpus>`.
    #[xml(child)]
    pub vcpus: Option<VcpuList>,
    /// Element `<iothreads>`.
    #[xml(child_text, name = "iothreads", fault = (ErrorCode::XML_ERROR, "invalid iothreads count '{}'"))]
    pub io_threads: Option<u32>,
    /// Element `<iothreadids>`.
    #[xml(child, name = "iothreadids")]
    pub io_thread_ids: Option<IoThreadIds>,
    /// Element `<defaultiothread>`.
    #[xml(child, name = "defaultiothread")]
    pub default_io_thread: Option<DefaultIoThread>,
    /// Element `<throttlegroups>`.
    #[xml(child, name = "throttlegroups")]
    pub throttle_groups: Option<ThrottleGroups>,
    /// Element `<cputune>`.
    #[xml(child, name = "cputune")]
    pub cpu_tune: Option<CpuTune>,
    /// Element `<numatune>`.
    #[xml(child, name = "numatune")]
    pub numa_tune: Option<NumaTune>,
    /// Element `<resource>`.
    #[xml(child)]
    pub resource: Option<Resource>,
    /// Element `<sysinfo>`.
    #[xml(child)]
    pub sysinfo: Vec<Sysinfo>,
    /// Element `<bootloader>`.
    #[xml(child_text)]
    pub bootloader: Option<String>,
    /// Element `<bootloader_args>`.
    #[xml(child_text)]
    pub bootloader_args: Option<String>,
    /// Element `<os>`.
    #[xml(child)]
    pub os: Option<Os>,
    /// Element `<idmap>`.
    #[xml(child, name = "idmap")]
    pub id_map: Option<IdMap>,
    /// Element `<features>`.
    #[xml(child)]
    pub features: Option<Features>,
    /// Element `<cpu>`.
    #[xml(child)]
    pub cpu: Option<Cpu>,
    /// Element `<clock>`.
    #[xml(child)]
    pub clock: Option<Clock>,
    /// Element `<on_poweroff>`.
    #[xml(child_text)]
    pub on_poweroff: Option<LifecycleAction>,
    /// Element `<on_reboot>`.
    #[xml(child_text)]
    pub on_reboot: Option<LifecycleAction>,
    /// Element `<on_crash>`.
    #[xml(child_text)]
    pub on_crash: Option<LifecycleAction>,
    /// Element `<on_lockfailure>`.
    #[xml(child_text, name = "on_lockfailure")]
    pub on_lock_failure: Option<LockFailureAction>,
    /// Element `<pm>`.
    #[xml(child, empty_absent)]
    pub pm: Option<PowerManagement>,
    /// Element `<perf>`.
    #[xml(child)]
    pub perf: Option<Perf>,
    /// Element `<devices>`.
    #[xml(child)]
    pub devices: Option<Devices>,
    /// Element `<seclabel>`.
    #[xml(child, name = "seclabel")]
    pub seclabels: Vec<Seclabel>,
    /// Element `<commandline>`.
    #[xml(
        child,
        name = "commandline",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub qemu_commandline: Option<QemuCommandline>,
    /// Element `<capabilities>`.
    #[xml(
        child,
        name = "capabilities",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub qemu_capabilities: Option<QemuCapabilities>,
    /// Element `<override>`.
    #[xml(
        child,
        name = "override",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub qemu_override: Option<QemuOverride>,
    /// Element `<deprecation>`.
    #[xml(
        child,
        name = "deprecation",
        ns = "http://libvirt.org/schemas/domain/qemu/1.0",
        prefix = "qemu"
    )]
    pub qemu_deprecation: Option<QemuDeprecation>,
    /// Element `<keywrap>`.
    #[xml(child, name = "keywrap")]
    pub key_wrap: Option<KeyWrap>,
    /// Element `<launchSecurity>`.
    #[xml(child, name = "launchSecurity")]
    pub launch_security: Option<LaunchSecurity>,
}

impl Domain {
    /// A label that does not say how it is made counts for nothing, unless it is that of no model.
    fn check(&mut self, el: xml::Element<'_>, cx: &mut xml::Reader) {
        if let Some(second) = el.children().filter(|c| c.name() == "genid").nth(1) {
            let words = "element 'genid' can only appear once";
            cx.error(
                "xml.repeated-element",
                diag::ErrorCode::XML_ERROR,
                second.span(),
                words,
                Vec::new(),
            );
        }
        let mut typed = el
            .children()
            .filter(|c| c.name() == "seclabel")
            .map(|c| c.attr("type").is_some() || c.attr("model").is_none_or(|m| m == "none"));
        self.seclabels.retain(|_| typed.next().unwrap_or(true));
    }
}

/// VM generation id.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct GenId {
    /// The text of the element.
    #[xml(text)]
    pub uuid: Option<Uuid>,
}
