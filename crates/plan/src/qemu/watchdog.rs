//! Watchdogs.

use super::build::{Build, Props};
use model::domain::devices::watchdog::{WatchdogAction, WatchdogModel};

impl Build<'_> {
    /// Why a watchdog cannot be in this machine.
    fn unfit_watchdog(&self, model: WatchdogModel) -> Option<&'static str> {
        let s390 = self.arch.starts_with("s390");
        let isa = self.i440fx() || self.machine == "isapc";
        match model {
            WatchdogModel::Diag288 if !s390 => {
                Some("diag288 model of watchdog is allowed for s390 and s390x only")
            }
            WatchdogModel::Ib700 if !isa => {
                Some("ib700 model of watchdog cannot be used with this machine type")
            }
            WatchdogModel::Itco if !self.q35() => {
                Some("itco model of watchdog is only part of q35 machine")
            }
            _ => None,
        }
    }

    /// All watchdogs, and what they do.
    pub(super) fn watchdogs(&mut self) {
        let mut action = None;
        for watchdog in self.each("devices/watchdog", &self.dev.watchdogs) {
            if let Some(message) = self.unfit_watchdog(watchdog.model) {
                self.fail("qemu.watchdog", message);
                continue;
            }
            match watchdog.model {
                WatchdogModel::Itco => {
                    // Part of the q35 board: it only needs to be let through.
                    self.opt("-global", "ICH9-LPC.noreboot=off");
                }
                other => {
                    let driver = match other {
                        WatchdogModel::I6300esb => "i6300esb",
                        WatchdogModel::Ib700 => "ib700",
                        _ => "diag288",
                    };
                    let id = self.alias(&watchdog.alias, "<watchdog>");
                    let place = match other {
                        WatchdogModel::I6300esb => self.place(&watchdog.address, "<watchdog>"),
                        _ => Props::default(),
                    };
                    self.device(Props::device(driver).set("id", id).extend(place));
                }
            }
            action.get_or_insert(watchdog.action);
        }
        if let Some(action) = action {
            // A dump is our doing: the guest is only stopped meanwhile.
            let word = match action {
                WatchdogAction::Reset => "reset",
                WatchdogAction::Shutdown => "shutdown",
                WatchdogAction::Poweroff => "poweroff",
                WatchdogAction::Pause | WatchdogAction::Dump => "pause",
                WatchdogAction::None => "none",
                WatchdogAction::InjectNmi => "inject-nmi",
            };
            self.opt("-watchdog-action", word);
        }
    }
}
