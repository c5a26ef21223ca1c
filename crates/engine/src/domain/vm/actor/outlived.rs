//! Helpers that the guest outlives: started anew, or told of.

use super::Actor;
use crate::domain::start::teardown;
use crate::domain::vm::helpers::Ended;
use diag::VirError;
use std::path::Path;
use std::sync::{Arc, PoisonError};

impl Actor {
    /// QEMU lost a helper, known by the end of its pid file's path: the one that serves an interface or
    /// the reservations of disks.
    pub(super) fn helper_lost(&mut self, tail: &str) {
        let Some(pid_file) = self.helpers.named(tail) else { return };
        let pid = host::lock::written_pid(Path::new(&pid_file)).unwrap_or_default();
        let name = tail.trim_start_matches('/').trim_end_matches(".pid");
        let name = name.rsplit('-').next().filter(|name| *name == "passt").unwrap_or(name);
        self.start_again(Ended { name: name.to_owned(), pid_file, pid, not_again: None });
    }

    /// A helper ended.
    pub(super) fn helper_ended(&mut self, ended: Ended) {
        if self.helpers.has(&ended.pid_file) && !self.helpers.is_back(&ended) {
            self.start_again(ended);
        }
    }

    fn start_again(&mut self, ended: Ended) {
        let snapshot = self.domain.snapshot();
        let Some(live) = snapshot.live.clone().filter(|_| self.end.is_none()) else { return };
        let domain = (Arc::clone(&snapshot.name), *self.domain.uuid.as_bytes());
        let definition = live.definition.clone();
        self.helpers.start_again(&self.engine, domain, definition, ended, &self.vm.inbox);
    }

    /// A helper was started anew, or could not be: then what it served is not to be had any more, and
    /// the guest goes on without.
    pub(super) async fn helper_again(&mut self, mut ended: Ended, done: Result<bool, VirError>) {
        let (there, name) =
            (self.helpers.has(&ended.pid_file), self.domain.snapshot().name.clone());
        if let Ok(true) = done {
            self.helpers.tried(&ended.pid_file, self.engine.runtime(), &self.vm.inbox);
            if !there {
                // Its device left meanwhile.
                teardown::end_helper(&name, &ended.pid_file).await;
            }
            return;
        }
        self.helpers.forget_start(&ended.pid_file);
        if self.end.is_some() || !there {
            return;
        }
        let mut words =
            format!("its helper '{}' (process {}) ended before the guest", ended.name, ended.pid);
        if let Err(error) = done {
            let why = error.message();
            words.push_str(&format!(" and was not started anew: {why}"));
            ended.not_again = Some(why);
        }
        tracing::warn!(domain = %name, "{words}");
        self.vm.helpers_ended.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        let (engine, uuid) = (Arc::clone(&self.engine), *self.domain.uuid.as_bytes());
        let note = move || engine.note_in_log(&name, uuid, &words);
        let _ = tokio::task::spawn_blocking(note).await;
    }
}
