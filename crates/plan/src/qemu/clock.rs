//! `-rtc` and the timers' global properties.

use super::build::{Build, Switch};

impl Build<'_> {
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
        for timer in self.each("clock/timer", &clock.timers) {
            match (timer.name, timer.tick_policy) {
                (TimerName::Pit, Some(TickPolicy::Delay))
                    if self.has("kvm-pit-lost-tick-policy") =>
                {
                    self.opt("-global", "kvm-pit.lost_tick_policy=delay");
                }
                // Only PCs have this timer.
                (TimerName::Pit, Some(TickPolicy::Discard)) if self.x86() => {
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
}
