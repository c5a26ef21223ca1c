//! A monitor's connection that breaks while its QEMU lives, against a peer that plays QEMU.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use host::monitor::{Monitor, MonitorError, MonitorEvent};
use qmp::cmd;
use tokio::time::Instant;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}"#;

/// One connection of the peer.
struct Peer(BufReader<UnixStream>);

impl Peer {
    fn accept(listener: &UnixListener) -> Peer {
        let mut peer = Peer(BufReader::new(listener.accept().expect("a client").0));
        peer.say(GREETING);
        peer
    }

    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("written");
    }

    /// As QEMU does: without an id where the command had none.
    fn answer(&mut self, answer: serde_json::Value, id: &serde_json::Value) {
        let mut line = serde_json::json!({"return": answer});
        if !id.is_null() {
            line["id"] = id.clone();
        }
        self.say(&line.to_string());
    }

    /// The next command: its name and id; none at the end.
    fn hear(&mut self) -> Option<(String, serde_json::Value)> {
        let mut line = String::new();
        if self.0.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        Some((value["execute"].as_str()?.to_owned(), value["id"].clone()))
    }

    /// Answers commands until one of this name comes, which it does not answer; its id.
    fn until(&mut self, name: &str, run_state: &str) -> Option<serde_json::Value> {
        loop {
            let (command, id) = self.hear()?;
            if command == name {
                return Some(id);
            }
            let answer = match command.as_str() {
                "query-status" => serde_json::json!({
                    "running": run_state == "running", "status": run_state,
                }),
                _ => serde_json::json!({}),
            };
            self.answer(answer, &id);
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("monitor");
    let listener = UnixListener::bind(&path).expect("a socket");
    let playing = std::thread::spawn(move || {
        let mut first = Peer::accept(&listener);
        let lost = first.until("cont", "running").expect("told to go on");
        first.say("SSH-2.0-x");
        assert!(first.hear().is_none(), "it is let go of");
        // What the second says first answers nothing that was asked of it.
        let mut second = Peer::accept(&listener);
        assert!(lost.is_null(), "it was alone");
        second.answer("late".into(), &lost);
        let last = second.until("stop", "paused").expect("told to stop");
        assert!(last.as_u64() > Some(2), "ids go on, and all have theirs: {last}");
        drop(second);
        // And then nobody listens.
        drop(listener);
    });
    let mut connected = Monitor::connect(&path, deadline()).await.expect("connected");
    let monitor = connected.monitor.clone();
    monitor.renew_at(path.clone());
    monitor.execute(cmd::qmp_capabilities(false)).await.expect("negotiated");
    let error = monitor.execute(cmd::cont()).await.expect_err("lost");
    assert!(matches!(&error, MonitorError::Lost { command } if command == "cont"), "{error:?}");
    assert!(error.is_unanswered());
    match connected.events.recv().await {
        Some(MonitorEvent::Renewed { why: MonitorError::Protocol(_), run_state }) => {
            assert_eq!(run_state, "paused");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(monitor.execute(cmd::query_status()).await.expect("served").status, "paused");
    let error = monitor.execute(cmd::stop()).await.expect_err("over");
    assert!(matches!(error, MonitorError::Closed | MonitorError::Lost { .. }), "{error:?}");
    playing.join().expect("as it should");
    assert!(matches!(connected.events.recv().await, Some(MonitorEvent::Closed(_))));
    assert!(monitor.is_closed());
}

#[tokio::test]
async fn commands_do_not_wait_for_ever_for_another_connection() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("monitor");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (over, wait) = std::sync::mpsc::channel::<()>();
    let playing = std::thread::spawn(move || {
        let mut first = Peer::accept(&listener);
        first.until("cont", "running");
        drop(first);
        // It listens and says nothing.
        let _ = wait.recv();
    });
    let connected = Monitor::connect(&path, deadline()).await.expect("connected");
    let monitor = connected.monitor.with_timeout(Duration::from_millis(50));
    monitor.renew_at(path.clone());
    let error = connected.monitor.execute(cmd::cont()).await.expect_err("lost");
    assert!(matches!(error, MonitorError::Lost { .. }), "{error:?}");
    let error = monitor.execute(cmd::query_status()).await.expect_err("late");
    assert!(matches!(error, MonitorError::Timeout { .. }), "{error:?}");
    drop(over);
    playing.join().expect("as it should");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_keep_their_order_when_nobody_reads_for_a_while() {
    const COMMANDS: u64 = 6000;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("monitor");
    let listener = UnixListener::bind(&path).expect("a socket");
    let playing = std::thread::spawn(move || {
        let mut peer = Peer::accept(&listener);
        for number in 0..COMMANDS {
            // Its socket is full, and is empty, now and then.
            if number % 1000 == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            let (name, id) = peer.hear().expect("the next one");
            assert_eq!(name, format!("command-{number}"));
            peer.answer(serde_json::json!(number), &id);
        }
        peer
    });
    let connected = Monitor::connect(&path, deadline()).await.expect("connected");
    let monitor = connected.monitor.clone();
    let command = |number| {
        let text = "x".repeat(if number % 3 == 0 { 300 } else { 1 });
        qmp::Command::new(format!("command-{number}")).arg("text", text)
    };
    let mut replies = Vec::new();
    for number in 0..COMMANDS {
        replies.push(monitor.submit(command(number), Vec::new()));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for (number, reply) in (0..COMMANDS).zip(replies) {
        assert_eq!(reply.wait().await.expect("an answer"), serde_json::json!(number));
    }
    drop(playing.join().expect("in order"));
}
