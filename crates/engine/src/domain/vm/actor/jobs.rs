//! What QEMU says of jobs that work on the guest's images.

use super::Actor;
use crate::domain::devices::Answer;
use crate::domain::devices::blockjobs::BlockJob;
use std::sync::PoisonError;

impl Actor {
    /// A job of an image has another state: whoever waits for its end deals with that, else it is
    /// dealt with once the domain's job is to be had.
    pub(super) fn job_changed(&self, id: &str, status: &str) {
        let over = status == "concluded";
        let is_pull = |job: &BlockJob| job.name == id && job.is_pull();
        if over && self.vm.block_jobs().iter().any(is_pull) {
            // Libvirtd began it: QEMU 10 crashes when it is asked for its nodes before this.
            let dismiss = qmp::Command::new("job-dismiss").arg("id", id);
            drop(self.vm.monitor.submit(dismiss, Vec::new()));
        }
        if over && self.vm.waiting.answer(&format!("job:{id}"), Answer::Done) {
            return;
        }
        let known = || self.vm.block_jobs().iter().any(|job| job.name == id);
        if (over || status == "ready") && known() {
            self.engine.job_news(&self.domain, &self.vm, id.to_owned());
        }
    }

    /// A job ended with an error, which QEMU tells once only of a job that it forgets by itself.
    pub(super) fn job_failed(&self, name: &str, error: &str) {
        let mut jobs = self.vm.block_jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs.iter_mut().filter(|job| job.name == name) {
            job.error = Some(error.to_owned());
        }
    }
}
