//! Calls that take long: how far they are, and an interruption that ends the job, not the command.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::Dom;
use crate::virsh::cmd::Cmd;
use crate::virsh::ctl::Ctl;
use crate::virsh::fail::Outcome;
use crate::virsh::signals::Interruption;
use protocol::{Procedure, remote};

/// How often the daemon is asked how far it is.
const PERIOD: Duration = Duration::from_millis(500);

/// Makes a call that is a job of the domain. With `--verbose`, standard error shows how far it is.
/// Ctrl-c asks the daemon to abort the job, whose failure is then the call's.
pub fn watched<P>(
    ctl: &mut Ctl,
    cmd: &Cmd,
    dom: &Dom,
    label: &str,
    args: &P::Args,
) -> Outcome<P::Ret>
where
    P: Procedure,
    P::Args: Sync,
    P::Ret: Send,
{
    let verbose = cmd.has("verbose") && !ctl.json();
    let interruption = Interruption::watch();
    let (asking, watching) = (ctl.conn()?.share(), ctl.conn()?.share());
    let (done, waiting) = channel();
    let result = std::thread::scope(|scope| {
        scope.spawn(move || done.send(asking.call::<P>(args)));
        let mut aborted = false;
        loop {
            match waiting.recv_timeout(PERIOD) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if interruption.seen() && !aborted {
                let args = remote::DomainAbortJobArgs { dom: dom.clone() };
                // Where it cannot be aborted, the call goes on and tells its own end.
                aborted = watching.call::<remote::procs::DomainAbortJob>(&args).is_ok();
            }
            let args = remote::DomainGetJobInfoArgs { dom: dom.clone() };
            if verbose
                && let Ok(job) = watching.call::<remote::procs::DomainGetJobInfo>(&args)
                && job.r#type != 0
                && job.data_total != 0
            {
                show(label, job.data_remaining, job.data_total);
            }
        }
    });
    let result = result.unwrap_or_else(|| Err(crate::virsh::fail::Fail::silent()));
    if verbose && result.is_ok() {
        show(label, 0, 1);
    }
    result
}

/// `Save: [ 25.00 %]`, over what stood there. Only what is done shows 100.
fn show(label: &str, remaining: u64, total: u64) {
    let _ = write!(std::io::stderr(), "\r{label}: [{:6.2} %]", percent(remaining, total));
}

fn percent(remaining: u64, total: u64) -> f64 {
    match remaining {
        0 => 100.0,
        _ => (100.0 - remaining as f64 * 100.0 / total as f64).clamp(0.0, 99.99),
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn only_what_is_done_is_all_of_it() {
        assert_eq!(percent(0, 1), 100.0);
        assert_eq!(percent(1, 1_000_000), 99.99);
        assert_eq!(percent(75, 100), 25.0);
        assert_eq!(percent(5, 4), 0.0);
    }
}
