//! `-machine`, `-accel` and what belongs to the board.

use super::build::{Build, Switch};
use model::capabilities::qemu::Accel;
use model::domain::features::{Features, IoApicDriver};
use model::domain::launch_security::LaunchSecurity;

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

    /// `-machine` with all its options.
    pub(super) fn machine_options(&mut self, pflash: &[String]) {
        let features = self.features();
        let mut out = format!("{},usb=off", self.machine);
        let mut add = |text: &str| {
            out.push(',');
            out.push_str(text);
        };
        if let Some(vmport) = &features.vmport {
            add(&format!("vmport={}", vmport.state.word()));
        }
        if let Some(ps2) = &features.ps2 {
            add(&format!("i8042={}", ps2.state.word()));
        }
        if let Some(smm) = &features.smm {
            let on = smm.state.is_none_or(Switch::on);
            add(&format!("smm={}", if on { "on" } else { "off" }));
        }
        if let Some(ioapic) = &features.ioapic {
            let mode = match ioapic.driver {
                IoApicDriver::Qemu => "split",
                IoApicDriver::Kvm => "on",
            };
            add(&format!("kernel_irqchip={mode}"));
        }
        if let Some(gic) = &features.gic
            && let Some(version) = &gic.version
        {
            add(&format!("gic-version={version}"));
        }
        let dump = self.d.memory.as_ref().and_then(|memory| memory.dump_core);
        let dump = dump.map_or(self.set.dump_guest_core, Switch::on);
        add(&format!("dump-guest-core={}", if dump { "on" } else { "off" }));
        let backing = self.d.memory_backing.as_ref();
        if backing.is_some_and(|backing| backing.nosharepages) {
            add("mem-merge=off");
        }
        if self.has_nvdimm() {
            add("nvdimm=on");
        }
        if self.has_hmat() {
            add("hmat=on");
        }
        if let Some(id) = self.default_ram_id() {
            add(&format!("memory-backend={id}"));
        }
        for (index, node) in pflash.iter().enumerate() {
            add(&format!("pflash{index}={node}"));
        }
        let hpet = self
            .d
            .clock
            .iter()
            .flat_map(|clock| &clock.timers)
            .find(|timer| timer.name == model::domain::clock::TimerName::Hpet);
        if let Some(present) = hpet.and_then(|timer| timer.present)
            && self.has("machine-hpet")
        {
            add(&format!("hpet={}", present.word()));
        }
        let acpi = self.caps.machine(self.accel, &self.machine).and_then(|m| m.acpi) == Some(true);
        if acpi
            && (self.x86() || matches!(self.arch.as_str(), "aarch64" | "riscv64" | "loongarch64"))
        {
            add(&format!("acpi={}", if features.acpi { "on" } else { "off" }));
        }
        self.opt("-machine", &out);
        if let Some(security) = &self.d.launch_security {
            let name = match security {
                LaunchSecurity::Sev(_) => "sev",
                LaunchSecurity::SevSnp(_) => "sev-snp",
                LaunchSecurity::S390Pv(_) => "s390-pv",
                LaunchSecurity::Tdx(_) => "tdx",
            };
            self.fail(
                "qemu.launch-security",
                format!("<launchSecurity type='{name}'> is not supported yet"),
            );
        }
    }

    /// `-accel`.
    pub(super) fn accelerator(&mut self) {
        let features = self.features();
        match self.accel {
            Accel::Kvm => {
                let ring = features.kvm.and_then(|kvm| kvm.dirty_ring);
                let size = ring.filter(|ring| ring.state.on()).and_then(|ring| ring.size);
                let text = size.map_or("kvm".to_string(), |n| format!("kvm,dirty-ring-size={n}"));
                self.opt("-accel", &text);
            }
            Accel::Tcg => {
                // KiB in the XML, MiB on the command line.
                let size = features.tcg.and_then(|tcg| tcg.tb_cache).map(|tb| tb.size / 1024);
                let text = size.map_or("tcg".to_string(), |n| format!("tcg,tb-size={n}"));
                self.opt("-accel", &text);
            }
        }
        if let Some(tseg) = features.smm.and_then(|smm| smm.tseg) {
            self.need("mch.extended-tseg-mbytes", "<tseg>");
            let mib = match tseg.unit.as_deref() {
                Some("KiB") => tseg.size >> 10,
                Some("GiB") => tseg.size << 10,
                Some("B" | "bytes") => tseg.size >> 20,
                _ => tseg.size,
            };
            self.opt("-global", &format!("mch.extended-tseg-mbytes={mib}"));
        }
    }

    /// `-no-hpet`, `-rtc` and the timers' global properties.
    pub(super) fn clock(&mut self) {
        use model::domain::clock::{ClockBasis, ClockOffset, TickPolicy, TimerName, TimerTrack};
        let clock = self.d.clock.clone().unwrap_or_default();
        let rtc = clock.timers.iter().find(|timer| timer.name == TimerName::Rtc);
        let base = match clock.offset {
            ClockOffset::Utc => "utc".to_string(),
            ClockOffset::Localtime | ClockOffset::Timezone => "localtime".to_string(),
            ClockOffset::Variable => {
                // The executor knows the time; the plan does not.
                let local = clock.basis == Some(ClockBasis::Localtime);
                let adjustment = clock.adjustment.as_deref().and_then(|a| a.parse::<i64>().ok());
                let offset = if local { i64::from(self.host.utc_offset) } else { 0 };
                super::time::iso8601(self.host.now + adjustment.unwrap_or(0) + offset)
            }
            ClockOffset::Absolute => super::time::iso8601(clock.start.unwrap_or(0) as i64),
        };
        let mut out = format!("base={base}");
        if let Some(timer) = rtc {
            match timer.track {
                Some(TimerTrack::Guest) => out.push_str(",clock=vm"),
                Some(TimerTrack::Realtime) => out.push_str(",clock=rt"),
                Some(TimerTrack::Wall) => out.push_str(",clock=host"),
                _ => {}
            }
            if timer.tick_policy == Some(TickPolicy::Catchup) {
                out.push_str(",driftfix=slew");
            }
        }
        self.opt("-rtc", &out);
        for timer in &clock.timers {
            match (timer.name, timer.tick_policy) {
                (TimerName::Pit, Some(TickPolicy::Delay))
                    if self.has("kvm-pit-lost-tick-policy") =>
                {
                    self.opt("-global", "kvm-pit.lost_tick_policy=delay");
                }
                (TimerName::Pit, Some(TickPolicy::Discard)) => {
                    self.need("kvm-pit-lost-tick-policy", "<timer name='pit'>");
                    self.opt("-global", "kvm-pit.lost_tick_policy=discard");
                }
                (TimerName::Hpet, _)
                    if !self.has("machine-hpet")
                        && timer.present.is_some_and(|p| !p.on())
                        && self.x86() =>
                {
                    self.flag("-no-hpet");
                }
                _ => {}
            }
        }
    }

    /// Sleep states.
    pub(super) fn power(&mut self) {
        self.flag("-no-shutdown");
        let known = self.caps.machine(self.accel, &self.machine).is_some_and(|m| m.acpi.is_some());
        if !known && self.x86() && !self.features().acpi {
            // Before the machine told whether it has ACPI, an option switched it off.
            self.flag("-no-acpi");
        }
        let Some(pm) = self.d.pm.clone() else {
            return;
        };
        let device = if self.q35() { "ICH9-LPC" } else { "PIIX4_PM" };
        for (state, name) in [(pm.suspend_to_mem, "s3"), (pm.suspend_to_disk, "s4")] {
            if let Some(state) = state {
                let disabled = u8::from(!state.enabled.on());
                self.opt("-global", &format!("{device}.disable_{name}={disabled}"));
            }
        }
    }
}
