//! What libvirt tells about a running guest besides its state: that its set-up makes support harder
//! (tainted), that parts of it will go away, that disks failed it.

use crate::domain::record::Domain;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use model::capabilities::qemu::Accel;
use model::domain::cpu::CpuMode;
use model::domain::{Domain as Definition, VirtType};

/// Something that makes support harder, in libvirt's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taint {
    /// Arguments of the administrator's own.
    CustomArgv,
    /// Commands to the monitor past us.
    CustomMonitor,
    /// QEMU runs as root.
    HighPrivileges,
    /// A script sets up an interface.
    ShellScripts,
    /// The guest has the host's CPU, whatever that is after its next start.
    HostCpu,
    /// Commands to the guest agent past us.
    CustomGaCommand,
    /// QEMU is said to be able to do what it is not, or the other way round.
    CustomHypervisorFeature,
    /// Something of the definition will go away.
    DeprecatedConfig,
    /// Properties of devices of the administrator's own.
    CustomDevice,
}

/// Word for status files and logs, and the message.
const WORDS: [(Taint, &str, &str); 9] = [
    (Taint::CustomArgv, "custom-argv", "custom configuration parameters specified"),
    (Taint::CustomMonitor, "custom-monitor", "custom monitor control commands issued"),
    (Taint::HighPrivileges, "high-privileges", "running with undesirable elevated privileges"),
    (Taint::ShellScripts, "shell-scripts", "network configuration using opaque shell scripts"),
    (Taint::HostCpu, "host-cpu", "potentially unsafe use of host CPU passthrough"),
    (Taint::CustomGaCommand, "custom-ga-command", "custom guest agent control commands issued"),
    (
        Taint::CustomHypervisorFeature,
        "custom-hypervisor-feature",
        "hypervisor feature autodetection override",
    ),
    (Taint::DeprecatedConfig, "deprecated-config", "use of deprecated configuration settings"),
    (Taint::CustomDevice, "custom-device", "custom device configuration"),
];

/// Which messages are wanted (`virDomainMessageType`); no flag stands for all.
const DEPRECATION: u32 = 1;
const TAINTING: u32 = 2;
const IO_ERRORS: u32 = 4;

impl Taint {
    /// The word in status files and logs.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(taint, ..)| *taint == self).map_or("", |(_, word, _)| word)
    }

    /// The taint that a status file names.
    pub fn from_word(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, own, _)| *own == word).map(|(taint, ..)| *taint)
    }

    fn message(self) -> &'static str {
        WORDS.iter().find(|(taint, ..)| *taint == self).map_or("", |(.., message)| message)
    }

    /// The line of the guest's log.
    pub(in crate::domain) fn log_line(self, id: i32, deprecations: &[String]) -> String {
        let mut line = format!("Domain id={id} is tainted: {}", self.word());
        if self == Self::DeprecatedConfig && !deprecations.is_empty() {
            line.push_str(&format!(" ({})", deprecations.join(", ")));
        }
        line
    }
}

impl Engine {
    /// What of a definition will go away, by the emulator's own word.
    pub(in crate::domain) fn deprecations(&self, definition: &Definition) -> Vec<String> {
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
        let Some(caps) = emulator.and_then(|emulator| self.caps.known(emulator)) else {
            return Vec::new();
        };
        let accel = match definition.kind {
            VirtType::Kvm => Accel::Kvm,
            _ => Accel::Tcg,
        };
        let machine = definition.os.as_ref().and_then(|os| os.kind.machine.as_deref());
        let mut found = Vec::new();
        if let Some(name) = machine
            && caps.machine(accel, name).is_some_and(|machine| machine.deprecated)
        {
            found.push(format!("machine type '{name}'"));
        }
        let cpu = definition.cpu.as_ref();
        let model = cpu.and_then(|cpu| cpu.model.as_ref()).and_then(|model| model.name.as_deref());
        if let Some(name) = model
            && caps.accel(accel).is_some_and(|known| {
                known.cpus.iter().any(|cpu| cpu.name == name && cpu.deprecated)
            })
        {
            found.push(format!("CPU model '{name}'"));
        }
        found
    }

    /// The taints that a guest has from its start on.
    pub(in crate::domain) fn taints_of(&self, definition: &Definition) -> Vec<Taint> {
        let root = self.settings.qemu.ids.is_some_and(|ids| ids.uid == 0 || ids.gid == 0);
        let mut taints = inherent(definition, !self.deprecations(definition).is_empty());
        if root && !self.layout.session {
            taints.push(Taint::HighPrivileges);
        }
        taints.sort();
        taints
    }

    /// The messages about a domain; none of one that does not run.
    pub fn messages(&self, domain: &Domain, flags: u32) -> Vec<String> {
        let snapshot = domain.snapshot();
        let (Some(vm), Some(live)) = (domain.vm(), &snapshot.live) else { return Vec::new() };
        let wanted = |kind: u32| flags == 0 || flags & kind != 0;
        let mut messages = Vec::new();
        if wanted(TAINTING) {
            messages.extend(vm.taints().into_iter().map(|t| format!("tainted: {}", t.message())));
        }
        if wanted(DEPRECATION) {
            let deprecated = self.deprecations(&live.definition).into_iter();
            messages.extend(deprecated.map(|what| format!("deprecated configuration: {what}")));
        }
        if wanted(IO_ERRORS) {
            messages.extend(io_errors(&vm, &live.definition));
        }
        messages
    }
}

/// What the definition alone says.
fn inherent(definition: &Definition, deprecated: bool) -> Vec<Taint> {
    let devices = definition.devices.as_ref();
    let host_cpu =
        definition.cpu.as_ref().and_then(|cpu| cpu.mode) == Some(CpuMode::HostPassthrough);
    let argv = definition
        .qemu_commandline
        .as_ref()
        .is_some_and(|own| !own.args.is_empty() || !own.envs.is_empty());
    let scripts = devices.is_some_and(|devices| {
        devices.interfaces.iter().any(|interface| interface.script.is_some())
    });
    [
        (Taint::CustomArgv, argv),
        (Taint::ShellScripts, scripts),
        (Taint::HostCpu, host_cpu),
        (Taint::CustomHypervisorFeature, definition.qemu_capabilities.is_some()),
        (Taint::DeprecatedConfig, deprecated),
        (Taint::CustomDevice, definition.qemu_override.is_some()),
    ]
    .into_iter()
    .filter_map(|(taint, has)| has.then_some(taint))
    .collect()
}

/// The last error of each image, the disks in the definition's order.
fn io_errors(vm: &Vm, definition: &Definition) -> Vec<String> {
    let errors = vm.io_errors();
    let of_disk = |disk: &model::domain::devices::disk::Disk| {
        crate::domain::tuning::threshold::images(disk).into_iter().filter_map(|(index, path)| {
            let error = errors.get(&index)?;
            Some(format!(
                "I/O error: disk='{}', index='{index}', path='{}', timestamp='{}', message='{}'",
                disk.target.dev,
                path.unwrap_or_default(),
                crate::domain::start::qemu_log::timestamp(error.at),
                error.reason
            ))
        }).collect::<Vec<_>>()
    };
    crate::domain::hardware::block::disks(definition).iter().flat_map(of_disk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_messages() {
        for (taint, word, message) in WORDS {
            assert_eq!((taint.word(), taint.message()), (word, message));
            assert_eq!(Taint::from_word(word), Some(taint));
        }
        assert!(WORDS.is_sorted());
        assert_eq!(Taint::from_word("x"), None);
        let deprecated = ["machine type 'a'".to_owned()];
        assert_eq!(
            Taint::DeprecatedConfig.log_line(3, &deprecated),
            "Domain id=3 is tainted: deprecated-config (machine type 'a')"
        );
    }

    #[test]
    fn what_a_definition_says() {
        let text = "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\
            <name>x</name><memory>1024</memory><os><type>hvm</type></os>\
            <cpu mode='host-passthrough'/><qemu:commandline><qemu:arg value='-x'/>\
            </qemu:commandline></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions::default());
        let definition = parsed.domain.expect("a definition");
        assert_eq!(inherent(&definition, false), [Taint::CustomArgv, Taint::HostCpu]);
        assert_eq!(inherent(&Definition::default(), true), [Taint::DeprecatedConfig]);
    }
}
