//! Lifecycle events as clients see them (`virDomainEventType` and its details).

/// A lifecycle event. The numbers of [`LifecycleEvent::wire`] are libvirt's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum LifecycleEvent {
    /// A definition was added.
    DefinedAdded,
    /// A definition was replaced.
    DefinedUpdated,
    /// The domain has a new name.
    DefinedRenamed,
    /// The definition was removed.
    UndefinedRemoved,
    /// The old name is gone.
    UndefinedRenamed,
    /// Started from scratch.
    StartedBooted,
    /// Started from a saved state.
    StartedRestored,
    /// Woken from suspend to memory.
    StartedWakeup,
    /// Paused on request.
    SuspendedPaused,
    /// Paused because a disk failed.
    SuspendedIoError,
    /// Paused by the watchdog.
    SuspendedWatchdog,
    /// Restored from the saved state of a paused guest.
    SuspendedRestored,
    /// Running again.
    ResumedUnpaused,
    /// Running on from a saved state.
    ResumedFromSnapshot,
    /// QEMU is gone.
    Stopped(StoppedDetail),
    /// The guest finished powering off, on its own or the host's request.
    ShutdownFinished {
        /// Some(true): the guest did it; Some(false): the host; None: not known.
        by_guest: Option<bool>,
    },
    /// Suspended to memory.
    PmSuspendedMemory,
    /// Suspended to disk.
    PmSuspendedDisk,
    /// The guest panicked.
    CrashedPanicked,
    /// The guest panicked and loaded its crash kernel.
    CrashedCrashloaded,
}

/// Why QEMU is gone (`virDomainEventStoppedDetailType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum StoppedDetail {
    /// The guest powered off.
    Shutdown = 0,
    /// On request.
    Destroyed = 1,
    /// QEMU or the guest crashed.
    Crashed = 2,
    /// Saved.
    Saved = 4,
    /// It could not be started.
    Failed = 5,
}

impl LifecycleEvent {
    /// Event and detail as numbers of the wire.
    pub fn wire(self) -> (i32, i32) {
        match self {
            Self::DefinedAdded => (0, 0),
            Self::DefinedUpdated => (0, 1),
            Self::DefinedRenamed => (0, 2),
            Self::UndefinedRemoved => (1, 0),
            Self::UndefinedRenamed => (1, 1),
            Self::StartedBooted => (2, 0),
            Self::StartedRestored => (2, 2),
            Self::StartedWakeup => (2, 4),
            Self::SuspendedPaused => (3, 0),
            Self::SuspendedIoError => (3, 2),
            Self::SuspendedWatchdog => (3, 3),
            Self::SuspendedRestored => (3, 4),
            Self::ResumedUnpaused => (4, 0),
            Self::ResumedFromSnapshot => (4, 2),
            Self::Stopped(detail) => (5, detail as i32),
            Self::ShutdownFinished { by_guest: None } => (6, 0),
            Self::ShutdownFinished { by_guest: Some(true) } => (6, 1),
            Self::ShutdownFinished { by_guest: Some(false) } => (6, 2),
            Self::PmSuspendedMemory => (7, 0),
            Self::PmSuspendedDisk => (7, 1),
            Self::CrashedPanicked => (8, 0),
            Self::CrashedCrashloaded => (8, 1),
        }
    }
}
