//! Signals: a terminal that was switched to raw mode is put right before the program ends, and a
//! command that waits can be interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError, mpsc};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fail::{Fail, Outcome};
use super::util::os_error;

/// What the terminal was before raw mode; none while it is as it was.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
/// A command waits for an interruption.
static CATCHING: AtomicBool = AtomicBool::new(false);
/// It came.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The terminal of standard input in raw mode, until this is dropped.
pub struct RawTerminal(());

impl RawTerminal {
    /// Switches to raw mode.
    pub fn enter() -> Outcome<Self> {
        install();
        let fault = |what: &str, e: rustix::io::Errno| {
            Fail::new(format!("unable to {what} tty attributes: {}", os_error(&e.into())))
        };
        let saved = tcgetattr(std::io::stdin()).map_err(|e| fault("get", e))?;
        let mut raw = saved.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        let terminal = Self(());
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw).map_err(|e| fault("set", e))?;
        Ok(terminal)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(saved) = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &saved);
    }
}

/// While this lives, an interruption (ctrl-c) ends what the command waits for, not the program.
pub struct Interruption(());

impl Interruption {
    /// Begins to watch.
    pub fn watch() -> Self {
        install();
        INTERRUPTED.store(false, Ordering::SeqCst);
        CATCHING.store(true, Ordering::SeqCst);
        Self(())
    }
    /// It came.
    pub fn seen(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}

impl Drop for Interruption {
    fn drop(&mut self) {
        CATCHING.store(false, Ordering::SeqCst);
    }
}

/// Starts the thread that hears signals, once, and waits until it does.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (ready, started) = mpsc::channel();
        let spawned =
            std::thread::Builder::new().name("signals".into()).spawn(move || listen(&ready));
        // Without such a thread signals do what they did before.
        if spawned.is_ok() {
            let _ = started.recv();
        }
    });
}

fn listen(ready: &mpsc::Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let heard = |kind| signal(kind);
        let (Ok(mut hup), Ok(mut int), Ok(mut quit), Ok(mut term)) = (
            heard(SignalKind::hangup()),
            heard(SignalKind::interrupt()),
            heard(SignalKind::quit()),
            heard(SignalKind::terminate()),
        ) else {
            return;
        };
        let _ = ready.send(());
        async fn one(signal: &mut Signal, number: i32) -> i32 {
            signal.recv().await;
            number
        }
        loop {
            let number = tokio::select! {
                n = one(&mut hup, 1) => n,
                n = one(&mut int, 2) => n,
                n = one(&mut quit, 3) => n,
                n = one(&mut term, 15) => n,
            };
            if number == 2 && CATCHING.load(Ordering::SeqCst) {
                INTERRUPTED.store(true, Ordering::SeqCst);
                continue;
            }
            restore();
            // As a shell names the end by a signal.
            std::process::exit(128 + number);
        }
    });
}
