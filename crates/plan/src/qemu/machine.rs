//! `-machine`: what belongs to the board.

use super::build::{Build, Switch};
use super::words::OnOff;
use model::domain::devices::iommu::IommuModel;
use model::domain::devices::sound::{Sound, SoundModel};
use model::domain::features::{AiaMode, Features, HptResizing, IoApicDriver, ValueFeature};
use model::domain::launch_security::KeyWrapName;

impl Build<'_> {
    /// The domain's features; a block of nothing where there is none.
    pub(super) fn features(&self) -> Features {
        self.d.features.clone().unwrap_or_default()
    }

    /// x86 guest.
    pub(super) fn x86(&self) -> bool {
        matches!(self.arch.as_str(), "x86_64" | "i686")
    }

    /// A `pc` board (also by its short name).
    pub(super) fn i440fx(&self) -> bool {
        self.machine == "pc"
            || self.machine.starts_with("pc-i440fx")
            || self.machine.starts_with("pc-0.")
            || self.machine.starts_with("pc-1.")
            || self.machine.starts_with("rhel")
    }

    /// A `q35` board.
    pub(super) fn q35(&self) -> bool {
        self.machine == "q35" || self.machine.starts_with("pc-q35")
    }

    /// `-machine` with all its options, in libvirt's order: what features ask of the board, what
    /// memory asks, the board's firmware, and what has a default that the machine tells.
    pub(super) fn machine_options(&mut self, pflash: &[String]) {
        let features = self.features();
        let mut out = vec![self.machine.clone(), "usb=off".to_string()];
        self.board_features(&features, &mut out);
        let dump = self.d.memory.as_ref().and_then(|memory| memory.dump_core);
        let dump = dump.map_or(self.set.dump_guest_core, Switch::on);
        out.push(format!("dump-guest-core={}", if dump { "on" } else { "off" }));
        let backing = self.d.memory_backing.as_ref();
        if backing.is_some_and(|backing| backing.nosharepages) {
            out.push("mem-merge=off".into());
        }
        out.extend(self.memory_device_options());
        if self.has_hmat() {
            out.push("hmat=on".into());
        }
        if let Some(id) = self.default_ram_id() {
            out.push(format!("memory-backend={id}"));
        }
        if let Some(parameter) = self.load_parameter() {
            out.push(format!("loadparm={parameter}"));
        }
        if let Some(model) = self.compatible_cpu() {
            out.push(format!("max-cpu-compat={model}"));
        }
        if self.d.launch_security.is_some() {
            out.push("confidential-guest-support=lsec0".into());
        }
        out.extend(pflash.iter().enumerate().map(|(n, node)| format!("pflash{n}={node}")));
        let hpet = self
            .d
            .clock
            .iter()
            .flat_map(|clock| &clock.timers)
            .find(|timer| timer.name == model::domain::clock::TimerName::Hpet);
        if let Some(present) = hpet.and_then(|timer| timer.present)
            && self.has("machine-hpet")
        {
            out.push(format!("hpet={}", present.word()));
        }
        out.extend(self.speaker().map(|audio| format!("pcspk-audiodev={audio}")));
        let acpi = self.caps.machine(self.accel, &self.machine).and_then(|m| m.acpi) == Some(true);
        if acpi
            && (self.x86()
                || matches!(
                    self.arch.as_str(),
                    "aarch64" | "armv7l" | "riscv32" | "riscv64" | "loongarch64"
                ))
        {
            out.push(format!("acpi={}", if features.acpi { "on" } else { "off" }));
        }
        self.opt("-machine", &out.join(","));
    }

    /// Where the board's speaker plays, where the domain has it.
    fn speaker(&self) -> Option<String> {
        let pcspk = |sound: &&Sound| sound.model == SoundModel::Pcspk;
        let speaker = self.dev.sounds.iter().find(pcspk)?;
        let first = self.dev.audios.first().and_then(|audio| audio.id);
        let audio = speaker.audio.as_ref().map(|audio| audio.id).or(first)?;
        Some(format!("audio{audio}"))
    }

    /// Options of the board that stand in `<features>` and beside it.
    fn board_features(&mut self, features: &Features, out: &mut Vec<String>) {
        let mut on_off = |key: &str, state: Option<OnOff>| {
            out.extend(state.map(|state| format!("{key}={}", state.word())));
        };
        let key_wrap = self.d.key_wrap.is_some() && !self.arch.starts_with("s390");
        on_off("vmport", features.vmport.as_ref().map(|vmport| vmport.state));
        on_off("smm", features.smm.as_ref().map(|smm| smm.state.unwrap_or(OnOff::On)));
        for cipher in self.d.key_wrap.iter().flat_map(|wrap| &wrap.ciphers) {
            let key = match cipher.name {
                KeyWrapName::Aes => "aes-key-wrap",
                KeyWrapName::Dea => "dea-key-wrap",
            };
            on_off(key, Some(cipher.state));
        }
        if key_wrap {
            let text = "'aes-key-wrap'/'dea-key-wrap' is not available on this architecture";
            self.fail("qemu.key-wrap", text);
        }
        if let Some(ioapic) = &features.ioapic {
            let mode = match ioapic.driver {
                IoApicDriver::Qemu => "split",
                IoApicDriver::Kvm => "on",
            };
            out.push(format!("kernel_irqchip={mode}"));
        }
        if let Some(version) = features.gic.as_ref().and_then(|gic| gic.version.as_ref()) {
            // Boards of 32 bits have the old one, and no option to choose another.
            if self.arch == "aarch64" {
                out.push(format!("gic-version={version}"));
            } else if version != "2" {
                let text = "gic-version option is not available with this QEMU binary";
                self.fail("qemu.gic", text);
            }
        }
        if self.dev.iommus.iter().any(|iommu| iommu.model == IommuModel::Smmuv3) {
            out.push("iommu=smmuv3".into());
        }
        let mut on_off = |key: &str, state: Option<OnOff>| {
            out.extend(state.map(|state| format!("{key}={}", state.word())));
        };
        on_off("ras", features.ras.as_ref().map(|ras| ras.state));
        if let Some(aia) = &features.aia {
            let mode = match aia.value {
                AiaMode::None => "none",
                AiaMode::Aplic => "aplic",
                AiaMode::AplicImsic => "aplic-imsic",
            };
            out.push(format!("aia={mode}"));
        }
        power_features(features, out);
        out.extend(features.ps2.as_ref().map(|ps2| format!("i8042={}", ps2.state.word())));
    }

    /// The menu entry a s390x guest boots: the first boot device's, where devices cannot carry
    /// their own.
    fn load_parameter(&self) -> Option<String> {
        if !self.arch.starts_with("s390") || self.has("virtio-ccw.loadparm") {
            return None;
        }
        let disks = self.dev.disks.iter().map(|disk| &disk.boot);
        let nics = self.dev.interfaces.iter().map(|nic| &nic.boot);
        let hosts = self.dev.hostdevs.iter().map(|device| &device.boot);
        let boots = disks.chain(nics).chain(hosts).filter_map(Option::as_ref);
        boots.min_by_key(|boot| boot.order)?.loadparm.clone()
    }
}

/// What the firmware interface of a POWER guest offers.
fn power_features(features: &Features, out: &mut Vec<String>) {
    if let Some(hpt) = &features.hpt {
        let resizing = hpt.resizing.map(|resizing| match resizing {
            HptResizing::Enabled => "enabled",
            HptResizing::Disabled => "disabled",
            HptResizing::Required => "required",
        });
        out.extend(resizing.map(|mode| format!("resize-hpt={mode}")));
        let pages = hpt.max_page_size.as_ref();
        out.extend(pages.map(|size| format!("cap-hpt-max-page-size={}k", size.0)));
    }
    for (key, state) in [
        ("cap-htm", &features.htm),
        ("cap-nested-hv", &features.nested_hv),
        ("cap-ccf-assist", &features.ccf_assist),
    ] {
        out.extend(state.as_ref().map(|state| format!("{key}={}", state.state.word())));
    }
    let value = |feature: &Option<ValueFeature>| feature.as_ref().map(|f| f.value.clone());
    let ibs = features.ibs.as_ref().map(|f| f.value.clone());
    for (key, value) in
        [("cap-cfpc", value(&features.cfpc)), ("cap-sbbc", value(&features.sbbc)), ("cap-ibs", ibs)]
    {
        out.extend(value.map(|value| format!("{key}={value}")));
    }
}
