//! Clock and timers.

use crate::domain::prelude::*;

/// How the guest clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ClockOffset {
    /// `utc`.
    #[default]
    Utc,
    /// `localtime`.
    Localtime,
    /// `timezone`.
    Timezone,
    /// `variable`.
    Variable,
    /// `absolute`.
    Absolute,
}

/// What `variable` is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ClockBasis {
    /// `utc`.
    #[default]
    Utc,
    /// `localtime`.
    Localtime,
}

/// A time source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TimerName {
    /// `platform`.
    #[default]
    Platform,
    /// `pit`.
    Pit,
    /// `rtc`.
    Rtc,
    /// `hpet`.
    Hpet,
    /// `tsc`.
    Tsc,
    /// `kvmclock`.
    Kvmclock,
    /// `hypervclock`.
    Hypervclock,
    /// `armvtimer`.
    Armvtimer,
}

/// What the timer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TimerTrack {
    /// `boot`.
    #[default]
    Boot,
    /// `guest`.
    Guest,
    /// `wall`.
    Wall,
    /// `realtime`.
    Realtime,
}

/// What happens with missed ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TickPolicy {
    /// `delay`.
    #[default]
    Delay,
    /// `catchup`.
    Catchup,
    /// `merge`.
    Merge,
    /// `discard`.
    Discard,
}

/// How the TSC is provided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TimerMode {
    /// `auto`.
    #[default]
    Auto,
    /// `native`.
    Native,
    /// `emulate`.
    Emulate,
    /// `paravirt`.
    Paravirt,
    /// `smpsafe`.
    Smpsafe,
}

/// The `<clock>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Clock {
    /// Attribute `offset`.
    #[xml(attr, default, empty_absent)]
    pub offset: ClockOffset,
    /// Seconds, or `reset`.
    #[xml(attr)]
    pub adjustment: Option<String>,
    /// Attribute `basis`.
    #[xml(attr, empty_absent)]
    pub basis: Option<ClockBasis>,
    /// Seconds that the clock of a running guest with `variable` was ahead at its start, against
    /// which QEMU counts; only in status files.
    #[xml(attr, live_only)]
    pub adjustment0: Option<i64>,
    /// Attribute `timezone`.
    #[xml(attr)]
    pub timezone: Option<String>,
    /// Seconds since the epoch.
    #[xml(attr)]
    pub start: Option<u64>,
    /// Element `<timer>`.
    #[xml(child, name = "timer")]
    pub timers: Vec<Timer>,
}

/// One time source.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Timer {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: TimerName,
    /// Attribute `present`.
    #[xml(attr)]
    pub present: Option<YesNo>,
    /// Attribute `tickpolicy`.
    #[xml(attr, name = "tickpolicy")]
    pub tick_policy: Option<TickPolicy>,
    /// Attribute `track`.
    #[xml(attr)]
    pub track: Option<TimerTrack>,
    /// Attribute `frequency`.
    #[xml(attr, zero_absent)]
    pub frequency: Option<u64>,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<TimerMode>,
    /// Element `<catchup>`.
    #[xml(child, empty_absent)]
    pub catchup: Option<Catchup>,
}

/// How missed ticks are caught up.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Catchup {
    /// Attribute `threshold`.
    #[xml(attr, zero_absent)]
    pub threshold: Option<u64>,
    /// Attribute `slew`.
    #[xml(attr, zero_absent)]
    pub slew: Option<u64>,
    /// Attribute `limit`.
    #[xml(attr, zero_absent)]
    pub limit: Option<u64>,
}
