//! Scripts of the administrator at turning points of guests and of the daemon.
//!
//! `/etc/libvirt/hooks/qemu` and the programs in `qemu.d` beside it, in the order of their names, get the guest's name,
//! the operation, its part and an extra word as arguments, and the guest's XML on standard input
//! (<https://libvirt.org/hooks.html>). They are looked for anew at each call, so that one put there takes effect at
//! once. They run outside all locks, on a thread of their own, and for a bounded time: a script that hangs costs its
//! own guest that long.

use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::script::{self, Call};
use lifecycle::ShutoffReason;
use model::domain::seclabel::SeclabelType;
use model::domain::{Domain as Definition, FormatFlags};
use rustix::fs::{Access, access};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use xml::YesNo;

/// How long one script may take: long enough for one that waits for storage, short of forever.
const DEADLINE: Duration = Duration::from_secs(120);

/// A turning point of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestHook {
    /// A start was asked for; nothing is prepared yet. Failing prevents it.
    Prepare,
    /// All is prepared, QEMU is not there yet. Failing prevents the start.
    Start,
    /// QEMU is there, the guest does not run yet. Failing ends it.
    Started,
    /// QEMU is gone; files still have its owner.
    Stopped,
    /// All is taken back.
    Release(ShutoffReason),
    /// A daemon that starts found the guest running. Failing ends the guest.
    Reconnect,
}

impl GuestHook {
    /// Operation, part of it, extra word.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Prepare => ["prepare", "begin", "-"],
            Self::Start => ["start", "begin", "-"],
            Self::Started => ["started", "begin", "-"],
            Self::Stopped => ["stopped", "end", "-"],
            Self::Release(reason) => ["release", "end", reason.as_str()],
            Self::Reconnect => ["reconnect", "begin", "-"],
        }
    }

    /// A guest that is gone is shown without its id.
    fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Release(_))
    }
}

/// A turning point of the daemon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonHook {
    /// It serves from now on.
    Start,
    /// It ends; guests go on.
    Shutdown,
    /// It was told to read its settings again.
    Reload,
}

/// A guest that is gone, as scripts see it: without its number and the ports chosen for it; when all
/// is taken back also without the labels.
fn ended(definition: &Definition, hook: GuestHook) -> Definition {
    let mut ended = Definition { id: None, ..definition.clone() };
    for graphics in ended.devices.iter_mut().flat_map(|devices| &mut devices.graphics) {
        if graphics.auto_port == Some(YesNo::Yes) {
            graphics.port = graphics.port.map(|_| -1);
            graphics.tls_port = graphics.tls_port.map(|_| -1);
        }
    }
    if matches!(hook, GuestHook::Release(_)) {
        for label in &mut ended.seclabels {
            if label.kind == SeclabelType::Dynamic {
                (label.label, label.image_label) = (None, None);
            }
        }
    }
    ended
}

impl Engine {
    /// Whether there are scripts for guests.
    pub(crate) fn has_guest_hooks(&self) -> bool {
        !scripts(&self.layout.hooks, "qemu").is_empty()
    }

    /// Calls the scripts for a turning point of a guest. All are called, even after one that failed.
    ///
    /// # Errors
    /// The first script's failure (`VIR_ERR_HOOK_SCRIPT_FAILED`), with what it said.
    pub(crate) async fn guest_hook(
        self: &Arc<Self>,
        definition: &Definition,
        hook: GuestHook,
    ) -> Result<(), VirError> {
        let scripts = scripts(&self.layout.hooks, "qemu");
        if scripts.is_empty() {
            return Ok(());
        }
        let flags = FormatFlags { live: !hook.is_over(), secure: false, migratable: false };
        let xml = if hook.is_over() {
            model::domain::format(&ended(definition, hook), flags)
        } else {
            model::domain::format(definition, flags)
        };
        let [operation, part, extra] = hook.words();
        let arguments = [definition.name.clone(), operation.into(), part.into(), extra.into()];
        self.call(scripts, arguments, xml).await
    }

    /// Has the scripts look at the definition that a saved guest is about to go on with; they are a
    /// filter each. None: all leave it as it is.
    ///
    /// # Errors
    /// The first script's failure; then the guest is not to be restored.
    pub(crate) async fn restore_hook(
        self: &Arc<Self>,
        definition: &Definition,
    ) -> Result<Option<String>, VirError> {
        let scripts = scripts(&self.layout.hooks, "qemu");
        if scripts.is_empty() {
            return Ok(None);
        }
        // What comes back takes the place of all of it, passwords included.
        let flags = FormatFlags { live: false, secure: true, migratable: false };
        let mut xml = model::domain::format(definition, flags);
        let engine = Arc::clone(self);
        let name = definition.name.clone();
        crate::blocking(move || {
            let mut changed = false;
            for script in scripts {
                let said = engine.run_script(&script, &[&name, "restore", "begin", "-"], &xml)?;
                if !said.trim_ascii().is_empty() {
                    xml = String::from_utf8(said).map_err(|_| {
                        let words = format!("'{}' printed no UTF-8 text", script.display());
                        VirError::new(ErrorCode::HOOK_SCRIPT_FAILED, words)
                            .from_domain(ErrorDomain::HOOK)
                    })?;
                    changed = true;
                }
            }
            Ok(changed.then_some(xml))
        })
        .await
    }

    /// Calls the scripts for a turning point of the daemon; failures are logged.
    pub async fn daemon_hook(self: &Arc<Self>, hook: DaemonHook) {
        let words = match hook {
            DaemonHook::Start => ["start", "-", "start"],
            DaemonHook::Shutdown => ["shutdown", "-", "shutdown"],
            DaemonHook::Reload => ["reload", "begin", "SIGHUP"],
        };
        let scripts = scripts(&self.layout.hooks, "daemon");
        if scripts.is_empty() {
            return;
        }
        let [operation, part, extra] = words.map(str::to_owned);
        // Told already.
        let _ = self.call(scripts, ["-".to_owned(), operation, part, extra], String::new()).await;
    }

    async fn call(
        self: &Arc<Self>,
        scripts: Vec<PathBuf>,
        arguments: [String; 4],
        input: String,
    ) -> Result<(), VirError> {
        let engine = Arc::clone(self);
        crate::blocking(move || {
            let mut result = Ok(());
            for script in scripts {
                let outcome =
                    engine.run_script(&script, &arguments.each_ref().map(String::as_str), &input);
                if let Err(error) = outcome {
                    result = result.and(Err(error));
                }
            }
            result
        })
        .await
    }

    /// What a script printed.
    fn run_script(&self, script: &Path, args: &[&str], input: &str) -> Result<Vec<u8>, VirError> {
        let env = self.script_environment();
        let program = script.to_string_lossy();
        let call = Call {
            program: &program,
            args,
            env: &env,
            input: input.as_bytes(),
            deadline: DEADLINE,
        };
        script::run(&call).map_err(|error| {
            // libvirt's words, with the inner error's title in them.
            let message = format!("internal error: {error}");
            tracing::error!(script = %script.display(), error = message, "hook");
            VirError::new(ErrorCode::HOOK_SCRIPT_FAILED, message).from_domain(ErrorDomain::HOOK)
        })
    }

    /// What scripts of the administrator get of the daemon's environment.
    pub(crate) fn script_environment(&self) -> Vec<(&str, OsString)> {
        let passed = ["PATH", "HOME", "USER", "LOGNAME"];
        let mut env = vec![("LC_ALL", OsString::from("C"))];
        env.extend(
            passed.iter().filter_map(|name| Some((*name, self.environment.get(*name)?.clone()))),
        );
        env
    }
}

/// The programs for `driver`: its main script, then those of its folder by name.
fn scripts(folder: &Path, driver: &str) -> Vec<PathBuf> {
    let main = folder.join(driver);
    let mut found = Vec::new();
    if main.exists() {
        found.push(main);
    }
    if let Ok(entries) = std::fs::read_dir(folder.join(format!("{driver}.d"))) {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        found.extend(more);
    }
    found.retain(|path| {
        let usable = path.is_file() && access(path, Access::EXEC_OK).is_ok();
        if !usable {
            tracing::warn!(script = %path.display(), "a hook script that cannot be executed");
        }
        usable
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_called_in_which_order() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(scripts(dir.path(), "qemu").is_empty());
        std::fs::create_dir(dir.path().join("qemu.d")).expect("a folder");
        for (name, mode) in [
            ("qemu", 0o755),
            ("qemu.d/20-b", 0o700),
            ("qemu.d/10-a.py", 0o755),
            ("qemu.d/README", 0o644),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").expect("a script");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        }
        std::fs::create_dir(dir.path().join("qemu.d/folder")).expect("a folder");
        let called = scripts(dir.path(), "qemu");
        let names: Vec<_> = called
            .iter()
            .map(|path| path.strip_prefix(dir.path()).expect("below").to_string_lossy())
            .collect();
        assert_eq!(names, ["qemu", "qemu.d/10-a.py", "qemu.d/20-b"]);
        assert!(scripts(dir.path(), "daemon").is_empty());
    }
}
