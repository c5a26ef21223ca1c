//! QEMUs that still run for a guest of which no status file tells, or tells wrongly: a second one on
//! the same disks would ruin them.

use crate::domain::adopt::status::{SIDECAR, Sidecar};
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::{lock, process};
use std::sync::Arc;
use units::Uuid;

impl Engine {
    /// The QEMU that runs under a guest's name, by its pid file and by our own notes beside the
    /// status file. To be asked for guests that count as shut off.
    pub(in crate::domain) fn stray(&self, name: &str) -> Option<u32> {
        // A guest of that name cannot be started; the pid file is the daemon's own.
        if name == "driver" {
            return None;
        }
        let run = self.layout.qemu_run();
        let noted = || {
            let known = Sidecar::read(&run.join(format!("{name}.{SIDECAR}")))?;
            process::is_alive(known.pid, known.start_time).then_some(known.pid)
        };
        let mut pids =
            noted().into_iter().chain(lock::written_pid(&run.join(format!("{name}.pid"))));
        pids.find(|pid| is_qemu_of(*pid, name, None))
    }

    /// Refuses to run a second QEMU for a guest.
    ///
    /// # Errors
    /// One runs already, out of the daemon's control.
    pub(in crate::domain) fn refuse_stray(&self, name: &str) -> Result<(), VirError> {
        let Some(pid) = self.stray(name) else { return Ok(()) };
        let file = self.layout.qemu_run().join(format!("{name}.xml"));
        let file = file.display();
        let detail = format!(
            "domain '{name}' runs already, out of control: its QEMU is process {pid}, and the status \
             file '{file}' is missing or cannot be used"
        );
        Err(VirError::new(ErrorCode::OPERATION_INVALID, detail).hint(format!(
            "shut the guest down from within or end process {pid}, then start it; or put '{file}' \
             back and restart the daemon"
        )))
    }

    /// The same before a start. What one that ended by itself was lent and what was made for it is taken
    /// back: the notes of that would be overwritten.
    ///
    /// # Errors
    /// One runs already, out of the daemon's control.
    pub(in crate::domain) async fn settle_stray(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<(), VirError> {
        let left = self.layout.qemu_run().join(format!("{name}.{SIDECAR}"));
        let (engine, guest, path) = (Arc::clone(self), name.to_owned(), left.clone());
        let there = crate::blocking(move || {
            engine.refuse_stray(&guest)?;
            Ok(path.exists())
        });
        if there.await? {
            self.take_back_noted(left, name.to_owned()).await;
        }
        Ok(())
    }
}

/// Whether a process is the QEMU that was started for a guest: a pid alone proves nothing, nor does a
/// name where the UUID is known, which another daemon's guest may have too.
pub(super) fn is_qemu_of(pid: u32, name: &str, uuid: Option<Uuid>) -> bool {
    let command = process::command_line(pid);
    let mut arguments = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let uuid = uuid.map(|uuid| uuid.to_string());
    arguments.clone().any(|argument| is_name_of(&argument, name))
        && uuid.is_none_or(|uuid| {
            arguments.any(|option| option == "-uuid") && arguments.next() == Some(uuid.into())
        })
}

/// Whether an argument is that of QEMU's `-name` for a guest. A comma within a name stands twice.
fn is_name_of(argument: &str, guest: &str) -> bool {
    let wanted = format!("guest={}", guest.replace(',', ",,"));
    argument
        .strip_prefix(&wanted)
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with(',') && !rest.starts_with(",,")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_its_whole_name() {
        for (argument, guest, expected) in [
            ("guest=a,debug-threads=on", "a", true),
            ("guest=a", "a", true),
            ("guest=ab,debug-threads=on", "a", false),
            ("guest=a,,b,debug-threads=on", "a,b", true),
            ("guest=a,,b,debug-threads=on", "a", false),
            ("a", "a", false),
        ] {
            assert_eq!(is_name_of(argument, guest), expected, "{argument} {guest}");
        }
    }
}
