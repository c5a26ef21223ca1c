//! Another connection in place of one that broke. A QEMU that said what is no QMP, or hung up, may
//! run its guest all the same: the guest is not to suffer for it. Who waited for an answer learns
//! that it is lost; what QEMU said meanwhile is asked for by whoever hears of the renewal.

use super::line::{Order, Request, Waiting};
use super::{MonitorError, MonitorEvent, READ_SIZE, Task, fires, io_error};
use qmp::{Output, Session, cmd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long those who wait for an answer do not learn yet that it is lost: QEMU may have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first pause before an attempt that follows soon upon another; it doubles.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest of those pauses, and the time after which a connection has proved itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is kept of renewals.
#[derive(Default)]
pub(super) struct Renewal {
    /// When the last one was made.
    last: Option<Instant>,
    /// The pause before the next one.
    pause: Duration,
    /// Commands that came while there was no connection.
    parked: Vec<Request>,
}

impl Renewal {
    /// Tells those whose time is over; when the time of the others ends.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let (over, left) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|request| request.waiting.deadline <= now);
        self.parked = left;
        let over: Vec<Request> = over;
        over.into_iter().for_each(|request| request.waiting.has_waited());
        self.parked.iter().map(|request| request.waiting.deadline).min()
    }

    /// The pause before this attempt.
    fn next_pause(&mut self, now: Instant) -> Duration {
        let proved = self.last.is_none_or(|last| now.duration_since(last) >= LONGEST_PAUSE);
        let pause = if proved { Duration::ZERO } else { self.pause };
        self.pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        self.last = Some(now);
        pause
    }
}

impl Task {
    /// Makes another connection in place of the one that ended with `why`.
    ///
    /// # Errors
    /// `why`: nobody knows where, nobody listens there, or nobody needs it any more.
    pub(super) async fn renew(
        &mut self,
        why: MonitorError,
        inbox: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<(), MonitorError> {
        self.line.lock().close();
        let Some(path) = self.path.get().cloned() else { return Err(why) };
        if self.greeted.is_some() {
            return Err(why);
        }
        // QEMU has one client at a time.
        let _ = rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Both);
        let (mut orphans, session) = {
            let mut line = self.line.lock();
            (line.break_off(), line.continued())
        };
        let patience = Instant::now() + PATIENCE;
        let pause = self.renewal.next_pause(Instant::now());
        let mut attempts = std::pin::pin!(attempts(&path, session, pause));
        let renewed = loop {
            tokio::select! {
                renewed = &mut attempts => break renewed,
                () = tokio::time::sleep_until(patience), if !orphans.is_empty() => {
                    orphans.drain(..).for_each(Waiting::lose);
                }
                () = fires(&mut self.timer), if self.timer.is_some() => self.expire(),
                order = inbox.recv() => match order {
                    Some(Order::Send(request)) => {
                        self.wake_by(request.waiting.deadline);
                        self.renewal.parked.push(request);
                    }
                    Some(Order::Look) => {}
                    None => return Err(why),
                },
            }
        };
        let Some(Greeted { stream, session, run_state }) = renewed else {
            let parked = std::mem::take(&mut self.renewal.parked);
            for waiting in orphans.into_iter().chain(parked.into_iter().map(|each| each.waiting)) {
                let _ = waiting.answer.send(Err(why.clone()));
            }
            return Err(why);
        };
        self.stream = Arc::new(stream);
        self.line.lock().replace(session);
        // Whoever learns that an answer is lost finds what is known by now of the guest.
        let _ = self.events.send(MonitorEvent::Renewed { why, run_state }).await;
        orphans.into_iter().for_each(Waiting::lose);
        for request in std::mem::take(&mut self.renewal.parked) {
            self.line.lock().accept(request);
        }
        self.watch_time();
        // What makes no sense here does so again when more is read.
        let _ = self.deliver_all();
        Ok(())
    }
}

/// A connection that is past its negotiation.
struct Greeted {
    stream: UnixStream,
    session: Session,
    run_state: String,
}

/// Tries until there is a connection; nothing if nobody listens (any more).
async fn attempts(path: &Path, mut session: Session, mut pause: Duration) -> Option<Greeted> {
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        let stream = UnixStream::connect(path).await.ok()?;
        match greeted(stream, session.continued()).await {
            Ok(greeted) => return Some(greeted),
            Err(MonitorError::Protocol(_)) => {}
            Err(_) => return None,
        }
        // One more than any that may have been sent.
        for _ in 0..2 {
            let (id, _) = session.submit(&cmd::query_status());
            session.forget(id);
        }
    }
}

/// Negotiates, and asks what the guest does.
async fn greeted(stream: UnixStream, mut session: Session) -> Result<Greeted, MonitorError> {
    let mut asked = None;
    let mut buffer = vec![0; READ_SIZE];
    loop {
        stream.readable().await.map_err(io_error)?;
        match stream.try_read(&mut buffer) {
            Ok(0) => return Err(MonitorError::Closed),
            Ok(count) => session.receive(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(io_error(error)),
        }
        while let Some(output) = session.poll()? {
            match output {
                Output::Greeting(_) if asked.is_none() => {
                    let (_, mut bytes) = session.submit(&cmd::qmp_capabilities(false));
                    let (id, question) = session.submit(&cmd::query_status());
                    asked = Some(id);
                    bytes.extend(question);
                    write_all(&stream, &bytes).await?;
                }
                Output::Reply { id, result } if asked == Some(id) => {
                    let status = cmd::query_status().decode(result.map_err(MonitorError::Qmp)?)?;
                    return Ok(Greeted { stream, session, run_state: status.status });
                }
                _ => {}
            }
        }
    }
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> Result<(), MonitorError> {
    while !bytes.is_empty() {
        stream.writable().await.map_err(io_error)?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(io_error(error)),
        }
    }
    Ok(())
}
