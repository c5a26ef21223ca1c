//! What becomes of guests when their host stops: saved, shut down or powered off, as
//! `auto_shutdown_*` of `qemu.conf` wants.
//!
//! The three ways are tried in this order, each with those that the one before left running. A guest
//! that is persistent starts again, or goes on, with the next boot.

use crate::conf::{ConfError, ConfFile};
use crate::domain::power::PowerModes;
use crate::domain::record::Domain;
use crate::domain::save::SaveOptions;
use crate::engine::Engine;
use lifecycle::{Phase, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Which guests a way is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// None.
    #[default]
    Nobody,
    /// Those with a stored definition.
    Persistent,
    /// Those without.
    Transient,
    /// All.
    Everybody,
}

impl Which {
    fn takes(self, persistent: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Persistent => persistent,
            Self::Transient => !persistent,
            Self::Everybody => true,
        }
    }
}

/// `auto_shutdown_*` and `auto_save_bypass_cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStopSettings {
    /// `auto_shutdown_try_save`: whose state is saved (transient ones' cannot be).
    pub save: Which,
    /// `auto_shutdown_try_shutdown`: who is asked to power off.
    pub shutdown: Which,
    /// `auto_shutdown_poweroff`: who is ended.
    pub power_off: Which,
    /// `auto_shutdown_wait`: how long guests may take to power off.
    pub wait: Duration,
    /// `auto_shutdown_restore`: who is persistent is there again after the next boot.
    pub restore: bool,
    /// `auto_save_bypass_cache`.
    pub bypass_cache: bool,
}

impl Default for HostStopSettings {
    fn default() -> Self {
        Self {
            save: Which::Nobody,
            shutdown: Which::Nobody,
            power_off: Which::Nobody,
            wait: Duration::from_secs(30),
            restore: true,
            bypass_cache: false,
        }
    }
}

impl HostStopSettings {
    /// Reads them. A user's own daemon (`session`) looks after its guests unless told otherwise, the
    /// system's leaves that to libvirt-guests.
    ///
    /// # Errors
    /// Names file, line and setting that cannot be used.
    pub fn read(conf: &ConfFile, session: bool) -> Result<Self, ConfError> {
        let which = |name: &str, default: Which| match conf.text(name)? {
            None => Ok(if session { default } else { Which::Nobody }),
            Some("none") => Ok(Which::Nobody),
            Some("persistent") => Ok(Which::Persistent),
            Some("transient") => Ok(Which::Transient),
            Some("all") => Ok(Which::Everybody),
            Some(_) => Err(conf.invalid(name, "expected none, persistent, transient or all")),
        };
        let save = which("auto_shutdown_try_save", Which::Persistent)?;
        if matches!(save, Which::Transient | Which::Everybody) {
            let words = "managed save cannot be requested for transient domains";
            return Err(conf.invalid("auto_shutdown_try_save", words));
        }
        let own = Self::default();
        let wait = match conf.number("auto_shutdown_wait")? {
            None | Some(0) => own.wait,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) => {
                    return Err(conf.invalid("auto_shutdown_wait", "expected a number of seconds"));
                }
            },
        };
        Ok(Self {
            save,
            shutdown: which("auto_shutdown_try_shutdown", Which::Everybody)?,
            power_off: which("auto_shutdown_poweroff", Which::Everybody)?,
            wait,
            restore: conf.switch("auto_shutdown_restore")?.unwrap_or(own.restore),
            bypass_cache: conf.switch("auto_save_bypass_cache")?.unwrap_or(own.bypass_cache),
        })
    }
}

/// A guest that is to be off.
struct Guest {
    domain: Arc<Domain>,
    persistent: bool,
    /// Not yet off.
    left: bool,
}

impl Engine {
    /// Brings the guests that run to an end, as `qemu.conf` wants it. What does not work is logged:
    /// nobody can be told, and the host stops all the same.
    pub async fn host_stops(self: &Arc<Self>) {
        let settings = self.settings.host_stop;
        let mut guests = Vec::new();
        self.registry.for_each_active(|_, domain| {
            let persistent = domain.snapshot().is_persistent();
            guests.push(Guest { domain: Arc::clone(domain), persistent, left: true });
        });
        self.save_for_later(&mut guests, settings).await;
        self.shut_down_all(&mut guests, settings).await;
        for guest in due(&mut guests, settings.power_off) {
            self.mark(guest, settings).await;
            match self.destroy(&guest.domain, false).await {
                Ok(()) => guest.left = false,
                Err(error) => complain(guest, "not powered off", &error.message()),
            }
        }
        let wanted = [settings.save, settings.shutdown, settings.power_off];
        for guest in guests.iter().filter(|guest| guest.left) {
            if wanted.iter().any(|which| which.takes(guest.persistent)) {
                complain(guest, "still runs", "no way worked");
            }
        }
    }

    async fn save_for_later(self: &Arc<Self>, guests: &mut [Guest], settings: HostStopSettings) {
        let client = client();
        // All stand still first: what the others change meanwhile would only take longer to write.
        let mut ran = Vec::new();
        for guest in due(guests, settings.save) {
            self.mark(guest, settings).await;
            let running = matches!(guest.domain.snapshot().status, Status::Running(_));
            if running && let Err(error) = self.suspend(&guest.domain, &client).await {
                complain(guest, "not paused", &error.message());
            }
            ran.push(running);
        }
        for (guest, running) in due(guests, settings.save).zip(ran) {
            let options = SaveOptions {
                bypass_cache: settings.bypass_cache,
                running: Some(running),
                ..SaveOptions::default()
            };
            match self.managed_save(&guest.domain, options, &client).await {
                Ok(()) => guest.left = false,
                Err(error) => {
                    complain(guest, "not saved", &error.message());
                    // It can only be asked to power off while it runs.
                    if running && let Err(error) = self.resume(&guest.domain, &client).await {
                        complain(guest, "not resumed", &error.message());
                    }
                }
            }
        }
    }

    async fn shut_down_all(self: &Arc<Self>, guests: &mut [Guest], settings: HostStopSettings) {
        let client = client();
        for guest in due(guests, settings.shutdown) {
            self.mark(guest, settings).await;
            let asked = self.shutdown(&guest.domain, PowerModes::default(), &client).await;
            if let Err(error) = asked {
                complain(guest, "not asked to power off", &error.message());
            }
        }
        let deadline = Instant::now() + settings.wait;
        for guest in due(guests, settings.shutdown) {
            if !matches!(guest.domain.snapshot().status, Status::Running(_) | Status::Shutdown(_))
                && guest.domain.snapshot().is_active()
            {
                // It hears of nothing.
                continue;
            }
            let off = guest.domain.gate.wait_phase(|phase| phase == Phase::Inactive);
            match timeout_at(deadline, off).await {
                Ok(_) => guest.left = false,
                Err(_) => complain(guest, "did not power off", "it took too long"),
            }
        }
    }

    /// Has a guest start with the next boot.
    async fn mark(self: &Arc<Self>, guest: &Guest, settings: HostStopSettings) {
        let snapshot = guest.domain.snapshot();
        if !settings.restore || !guest.persistent || snapshot.autostart || snapshot.autostart_once {
            return;
        }
        if let Err(error) = self.set_autostart_once(&guest.domain, true, &client()).wait().await {
            complain(guest, "will not start with the next boot", &error.message());
        }
    }
}

fn client() -> Arc<str> {
    Arc::from("host stop")
}

/// Those that a way is for and that are still to be brought to an end.
fn due(guests: &mut [Guest], which: Which) -> impl Iterator<Item = &mut Guest> {
    guests.iter_mut().filter(move |guest| guest.left && which.takes(guest.persistent))
}

fn complain(guest: &Guest, what: &str, error: &str) {
    tracing::warn!(domain = %guest.domain.snapshot().name, error, "{what} as the host stops");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, session: bool) -> Option<HostStopSettings> {
        let conf = ConfFile::parse("qemu.conf", text).expect("a file");
        HostStopSettings::read(&conf, session).ok()
    }

    #[test]
    fn the_system_leaves_guests_alone_and_a_user_does_not() {
        assert_eq!(read("", false), Some(HostStopSettings::default()));
        let own = read("", true).expect("settings");
        let ways = (own.save, own.shutdown, own.power_off);
        assert_eq!(ways, (Which::Persistent, Which::Everybody, Which::Everybody));
    }

    #[test]
    fn settings_are_words_and_numbers() {
        let text = "auto_shutdown_try_shutdown = \"transient\"\nauto_shutdown_wait = 7\n\
                    auto_shutdown_restore = 0\nauto_save_bypass_cache = 1\n";
        let read_back = read(text, true).expect("settings");
        assert_eq!(read_back.shutdown, Which::Transient);
        assert_eq!(read_back.wait, Duration::from_secs(7));
        assert!(!read_back.restore && read_back.bypass_cache);
        let built_in = read("auto_shutdown_wait = 0\n", false).expect("settings");
        assert_eq!(built_in.wait, Duration::from_secs(30));
        for wrong in [
            "auto_shutdown_try_save = \"all\"\n",
            "auto_shutdown_try_save = \"transient\"\n",
            "auto_shutdown_try_save = \"bogus\"\n",
            "auto_shutdown_poweroff = \"\"\n",
            "auto_shutdown_wait = -1\n",
            "auto_shutdown_restore = 7\n",
        ] {
            assert_eq!(read(wrong, false), None, "{wrong}");
        }
    }
}
