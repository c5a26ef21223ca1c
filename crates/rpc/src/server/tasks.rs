//! Work that outlives the moment: late answers and stream handlers, guarded against panics.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use diag::{ErrorCode, VirError};
use tokio::runtime::Handle;

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

    fn panicked(self, panic: &(dyn Any + Send)) {
        let error = panicked(panic, &self.call, self.mailbox.peer.id);
        self.post(Outcome::Error(error));
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

/// Takes the first steps of a future here. It gets a task only when there is more to do: whoever
/// brings what it waits for makes it, most often a task's own thread, so that no other is woken.
pub(crate) fn prompt(mailbox: &Arc<Mailbox>, call: Header, future: BoxFuture<Outcome>) {
    let report = AnswerReport { mailbox: Arc::clone(mailbox), call, outcome: None };
    let mut future = Guarded(future);
    let runtime = mailbox.core.config.runtime.clone().unwrap_or_else(Handle::current);
    let lazy = Arc::new(Lazy { runtime: runtime.clone(), state: Mutex::default() });
    let first = {
        // What it starts and waits for belongs to where it goes on.
        let _entered = runtime.enter();
        Pin::new(&mut future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&lazy))))
    };
    match first {
        Poll::Pending => lazy.wait(Box::pin(finish(report, future.0))),
        Poll::Ready(Ok(Outcome::Later(next) | Outcome::Prompt(next))) => run_later(report, next),
        Poll::Ready(Ok(outcome)) => report.post(outcome),
        Poll::Ready(Err(panic)) => report.panicked(&*panic),
    }
}

/// A future that is to become a task when it is woken.
struct Lazy {
    runtime: Handle,
    state: Mutex<LazyState>,
}

#[derive(Default)]
enum LazyState {
    /// Its first steps are taken.
    #[default]
    Begun,
    /// It was woken before it came to rest.
    Woken,
    Waiting(BoxFuture<()>),
    /// It is a task.
    Runs,
}

impl Lazy {
    fn lock(&self) -> MutexGuard<'_, LazyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the rest until it is woken.
    fn wait(&self, rest: BoxFuture<()>) {
        let mut state = self.lock();
        if matches!(*state, LazyState::Begun) {
            *state = LazyState::Waiting(rest);
            return;
        }
        *state = LazyState::Runs;
        drop(state);
        self.runtime.spawn(rest);
    }
}

impl Wake for Lazy {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        let woken = match &*state {
            LazyState::Begun | LazyState::Woken => LazyState::Woken,
            LazyState::Waiting(_) | LazyState::Runs => LazyState::Runs,
        };
        let before = std::mem::replace(&mut *state, woken);
        drop(state);
        if let LazyState::Waiting(rest) = before {
            self.runtime.spawn(rest);
        }
    }
}

fn run_later(report: AnswerReport, future: BoxFuture<Outcome>) {
    let mailbox = Arc::clone(&report.mailbox);
    spawn(&mailbox, finish(report, future));
}

async fn finish(report: AnswerReport, mut future: BoxFuture<Outcome>) {
    let outcome = loop {
        match Guarded(future).await {
            Ok(Outcome::Later(next) | Outcome::Prompt(next)) => future = next,
            Ok(outcome) => break outcome,
            Err(panic) => return report.panicked(&*panic),
        }
    };
    report.post(outcome);
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
        match catch_unwind(AssertUnwindSafe(work)) {
            // Here and not by the connection, which may be gone: the work is done all the same.
            Ok(Outcome::Later(future) | Outcome::Prompt(future)) => run_later(report, future),
            Ok(outcome) => report.post(outcome),
            Err(panic) => report.panicked(&*panic),
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
