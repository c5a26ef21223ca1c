//! The states of a domain and their reasons, numbered as on the wire (`virDomainState`).

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant = $number),+ }

        impl $name {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in status files.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The reason named `word` in a status file.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// Why a domain runs (`virDomainRunningReason`).
    RunningReason {
        /// Not known.
        Unknown = 0 => "unknown",
        /// Started from scratch.
        Booted = 1 => "booted",
        /// Came from another host.
        Migrated = 2 => "migrated",
        /// Restored from a saved state.
        Restored = 3 => "restored",
        /// Reverted to a snapshot.
        FromSnapshot = 4 => "from snapshot",
        /// Resumed by a user.
        Unpaused = 5 => "unpaused",
        /// A migration was cancelled.
        MigrationCanceled = 6 => "migration canceled",
        /// Saving was cancelled.
        SaveCanceled = 7 => "save canceled",
        /// Woken up from suspend to memory.
        Wakeup = 8 => "wakeup",
        /// Running on after a crash of the guest's system.
        Crashed = 9 => "crashed",
        /// In the post-copy phase of a migration.
        Postcopy = 10 => "post-copy",
        /// The post-copy phase failed.
        PostcopyFailed = 11 => "post-copy failed",
    }
}

reasons! {
    /// Why a domain is paused (`virDomainPausedReason`).
    PausedReason {
        /// Not known.
        Unknown = 0 => "unknown",
        /// On request.
        User = 1 => "user",
        /// For an offline migration.
        Migration = 2 => "migration",
        /// For saving.
        Save = 3 => "save",
        /// For a core dump.
        Dump = 4 => "dump",
        /// A disk failed.
        IoError = 5 => "ioerror",
        /// The watchdog fired.
        Watchdog = 6 => "watchdog",
        /// Reverted to a paused snapshot.
        FromSnapshot = 7 => "from snapshot",
        /// On its way to being shut down.
        ShuttingDown = 8 => "shutting down",
        /// While a snapshot is made.
        Snapshot = 9 => "creating snapshot",
        /// The guest's system crashed.
        Crashed = 10 => "crashed",
        /// Being started.
        StartingUp = 11 => "starting up",
        /// Post-copy migration.
        Postcopy = 12 => "post-copy",
        /// Failed post-copy migration.
        PostcopyFailed = 13 => "post-copy failed",
        /// An API call left it so.
        ApiError = 14 => "api error",
    }
}

reasons! {
    /// Why a domain is being shut down (`virDomainShutdownReason`).
    ShutdownReason {
        /// Not known.
        Unknown = 0 => "unknown",
        /// On request.
        User = 1 => "user",
    }
}

reasons! {
    /// Why a domain is off (`virDomainShutoffReason`).
    ShutoffReason {
        /// Never ran, or not known.
        Unknown = 0 => "unknown",
        /// The guest powered off.
        Shutdown = 1 => "shutdown",
        /// Ended on request.
        Destroyed = 2 => "destroyed",
        /// Crashed.
        Crashed = 3 => "crashed",
        /// Moved to another host.
        Migrated = 4 => "migrated",
        /// Saved.
        Saved = 5 => "saved",
        /// Could not be started.
        Failed = 6 => "failed",
        /// Reverted to a snapshot in which it is off.
        FromSnapshot = 7 => "from snapshot",
        /// Ended because the daemon could not take it over.
        Daemon = 8 => "daemon",
    }
}

reasons! {
    /// Why a domain counts as crashed (`virDomainCrashedReason`).
    CrashedReason {
        /// Not known.
        Unknown = 0 => "unknown",
        /// The guest panicked.
        Panicked = 1 => "panicked",
    }
}

/// State and reason of a domain (`virDomainState` and its reasons).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Status {
    /// The virtual CPUs run.
    Running(RunningReason),
    /// QEMU is there, the virtual CPUs do not run.
    Paused(PausedReason),
    /// The guest powered off, QEMU is still there.
    Shutdown(ShutdownReason),
    /// No QEMU.
    Shutoff(ShutoffReason),
    /// The guest crashed, QEMU is still there (`preserve`).
    Crashed(CrashedReason),
    /// Suspended to memory by the guest's power management.
    PmSuspended,
}

impl Status {
    /// `virDomainState`.
    pub fn number(self) -> i32 {
        match self {
            Self::Running(_) => 1,
            Self::Paused(_) => 3,
            Self::Shutdown(_) => 4,
            Self::Shutoff(_) => 5,
            Self::Crashed(_) => 6,
            Self::PmSuspended => 7,
        }
    }

    /// The reason's number within its state.
    pub fn reason_number(self) -> i32 {
        match self {
            Self::Running(r) => r as i32,
            Self::Paused(r) => r as i32,
            Self::Shutdown(r) => r as i32,
            Self::Shutoff(r) => r as i32,
            Self::Crashed(r) => r as i32,
            Self::PmSuspended => 0,
        }
    }

    /// The state's word in status files.
    pub fn state_word(self) -> &'static str {
        match self {
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Shutdown(_) => "shutdown",
            Self::Shutoff(_) => "shutoff",
            Self::Crashed(_) => "crashed",
            Self::PmSuspended => "pmsuspended",
        }
    }

    /// The reason's word in status files.
    pub fn reason_word(self) -> &'static str {
        match self {
            Self::Running(r) => r.as_str(),
            Self::Paused(r) => r.as_str(),
            Self::Shutdown(r) => r.as_str(),
            Self::Shutoff(r) => r.as_str(),
            Self::Crashed(r) => r.as_str(),
            Self::PmSuspended => "unknown",
        }
    }

    /// The status written as `state` and `reason` words in a status file.
    pub fn parse(state: &str, reason: &str) -> Option<Self> {
        Some(match state {
            "running" => Self::Running(RunningReason::parse(reason)?),
            "paused" => Self::Paused(PausedReason::parse(reason)?),
            "shutdown" => Self::Shutdown(ShutdownReason::parse(reason)?),
            "shutoff" => Self::Shutoff(ShutoffReason::parse(reason)?),
            "crashed" => Self::Crashed(CrashedReason::parse(reason)?),
            "pmsuspended" => Self::PmSuspended,
            _ => return None,
        })
    }

    /// True while there is a QEMU.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Shutoff(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_the_same_status() {
        let all = RunningReason::ALL
            .iter()
            .map(|r| Status::Running(*r))
            .chain(PausedReason::ALL.iter().map(|r| Status::Paused(*r)))
            .chain(ShutdownReason::ALL.iter().map(|r| Status::Shutdown(*r)))
            .chain(ShutoffReason::ALL.iter().map(|r| Status::Shutoff(*r)))
            .chain(CrashedReason::ALL.iter().map(|r| Status::Crashed(*r)))
            .chain([Status::PmSuspended]);
        for status in all {
            assert_eq!(Status::parse(status.state_word(), status.reason_word()), Some(status));
        }
        assert_eq!(Status::parse("running", "walking"), None);
        assert_eq!(Status::parse("", ""), None);
    }
}
