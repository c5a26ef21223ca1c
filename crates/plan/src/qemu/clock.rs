//! `-rtc` and the timers' global properties.

use super::build::{Build, Switch};
use model::domain::clock::{Clock, ClockBasis, ClockOffset};

/// Seconds that a variable clock is ahead of UTC.
fn ahead(clock: &Clock, utc_offset: i32) -> i64 {
    let adjustment = clock.adjustment.as_deref().and_then(|a| a.parse::<i64>().ok()).unwrap_or(0);
    match clock.basis {
        Some(ClockBasis::Localtime) => adjustment.saturating_add(i64::from(utc_offset)),
        _ => adjustment,
    }
}

/// Notes in the live definition how far a variable clock was ahead at the start: it is what QEMU
/// counts the guest's own changes against.
pub(super) fn note_start(live: &mut model::domain::Domain, utc_offset: i32) {
    let Some(clock) = live.clock.as_mut().filter(|clock| clock.offset == ClockOffset::Variable)
    else {
        return;
    };
    let ahead = ahead(clock, utc_offset);
    clock.adjustment = Some(ahead.to_string());
    clock.basis = Some(ClockBasis::Utc);
    clock.adjustment0 = Some(ahead).filter(|ahead| *ahead != 0);
}

impl Build<'_> {
    /// `-no-hpet`, `-rtc` and the timers' global properties.
    pub(super) fn clock(&mut self) {
        use model::domain::clock::{ClockOffset, TickPolicy, TimerName, TimerTrack};
        let clock = self.d.clock.clone().unwrap_or_default();
        let rtc = clock.timers.iter().find(|timer| timer.name == TimerName::Rtc);
        let base = match clock.offset {
            ClockOffset::Utc => "utc".to_string(),
            ClockOffset::Localtime | ClockOffset::Timezone => "localtime".to_string(),
            ClockOffset::Variable => {
                // The executor knows the time; the plan does not.
                super::time::iso8601(self.host.now + ahead(&clock, self.host.utc_offset))
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
                (TimerName::Pit, None | Some(TickPolicy::Delay))
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
