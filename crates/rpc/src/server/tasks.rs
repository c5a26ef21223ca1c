//! Work that outlives the moment: late answers and stream handlers, guarded against panics.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use diag::{ErrorCode, VirError};

use super::outbox::Mailbox;
use super::stream::{EndReport, Stream, StreamState};
use super::{BoxFuture, Outcome};
use crate::frame::Header;

/// A future whose panics become values.
struct Guarded<T>(BoxFuture<T>);

impl<T> Future for Guarded<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut();
        match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// The error a panic becomes; logs it.
pub(crate) fn panicked(panic: &(dyn Any + Send), call: &Header, client: u64) -> VirError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(
        client,
        program = call.program,
        procedure = call.procedure,
        "panic in a procedure: {text}"
    );
    VirError::internal(format!("procedure {} failed unexpectedly", call.procedure))
}

/// Where futures run.
fn spawn(mailbox: &Mailbox, future: impl Future<Output = ()> + Send + 'static) {
    match &mailbox.core.config.runtime {
        Some(handle) => handle.spawn(future),
        None => tokio::spawn(future),
    };
}

/// Posts the answer, whatever way the future ends.
struct AnswerReport {
    mailbox: Arc<Mailbox>,
    call: Header,
    outcome: Option<Outcome>,
}

impl AnswerReport {
    fn post(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for AnswerReport {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let detail = "the daemon stopped before the call was done";
            Outcome::Error(VirError::new(ErrorCode::OPERATION_ABORTED, detail))
        });
        self.mailbox.answer(self.call, outcome);
    }
}

/// Runs the future of a late answer to its end.
pub(crate) fn later(mailbox: &Arc<Mailbox>, call: Header, future: BoxFuture<Outcome>) {
    run_later(AnswerReport { mailbox: Arc::clone(mailbox), call, outcome: None }, future);
}

fn run_later(report: AnswerReport, future: BoxFuture<Outcome>) {
    let mailbox = Arc::clone(&report.mailbox);
    spawn(&mailbox, async move {
        let mut future = future;
        let outcome = loop {
            match Guarded(future).await {
                Ok(Outcome::Later(next)) => future = next,
                Ok(outcome) => break outcome,
                Err(panic) => {
                    let client = report.mailbox.peer.id;
                    break Outcome::Error(panicked(&*panic, &report.call, client));
                }
            }
        };
        report.post(outcome);
    });
}

/// Runs the work of a blocking answer on a thread for that. What it leaves for later follows on no
/// thread of its own.
pub(crate) fn blocking(
    mailbox: &Arc<Mailbox>,
    call: Header,
    work: Box<dyn FnOnce() -> Outcome + Send>,
) {
    let report = AnswerReport { mailbox: Arc::clone(mailbox), call, outcome: None };
    let run = move || {
        let outcome = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome,
            Err(panic) => {
                let client = report.mailbox.peer.id;
                Outcome::Error(panicked(&*panic, &call, client))
            }
        };
        match outcome {
            // Here and not by the connection, which may be gone: the work is done all the same.
            Outcome::Later(future) => run_later(report, future),
            outcome => report.post(outcome),
        }
    };
    match &mailbox.core.config.runtime {
        Some(handle) => handle.spawn_blocking(run),
        None => tokio::task::spawn_blocking(run),
    };
}

/// Runs a stream's handler to its end.
pub(crate) fn stream(
    mailbox: &Arc<Mailbox>,
    state: &Arc<StreamState>,
    start: Box<dyn FnOnce(Stream) -> BoxFuture<Result<(), VirError>> + Send>,
) {
    let report = EndReport { state: Arc::clone(state), mailbox: Arc::clone(mailbox), result: None };
    let stream = Stream { state: Arc::clone(state), mailbox: Arc::clone(mailbox), ended: false };
    spawn(mailbox, async move {
        let call = report.state.call;
        let client = report.mailbox.peer.id;
        // The closure runs inside the guarded future: it may panic, too.
        let result = Guarded(Box::pin(async move { start(stream).await })).await;
        report.post(result.unwrap_or_else(|panic| Err(panicked(&*panic, &call, client))));
    });
}
