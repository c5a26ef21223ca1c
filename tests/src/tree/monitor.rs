//! A QMP conversation over a socket of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

/// Commands in flight at once: few enough that no buffer fills up.
const IN_FLIGHT: usize = 32;

/// A monitor of a running QEMU.
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the socket on which QEMU serves QMP.
    #[track_caller]
    pub fn connect(socket: &Path) -> Monitor {
        let stream = UnixStream::connect(socket).expect("QEMU listens on the test's monitor");
        stream.set_read_timeout(Some(crate::wait::PATIENCE)).expect("a socket takes a timeout");
        let mut monitor = Monitor { reader: BufReader::new(stream) };
        monitor.receive();
        monitor.ask("qmp_capabilities", json!({}));
        monitor
    }

    /// Sends commands and returns, in their order, what they return; `None` for an error.
    #[track_caller]
    pub fn ask_all(&mut self, commands: &[(&str, Value)]) -> Vec<Option<Value>> {
        let mut answers = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(IN_FLIGHT) {
            let text: String = chunk
                .iter()
                .map(|(name, arguments)| {
                    format!("{}\n", json!({"execute": name, "arguments": arguments}))
                })
                .collect();
            self.reader.get_mut().write_all(text.as_bytes()).expect("QEMU reads its monitor");
            for _ in chunk {
                let answer = loop {
                    let answer = self.receive();
                    if answer.get("event").is_none() {
                        break answer;
                    }
                };
                answers.push(answer.get("return").cloned());
            }
        }
        answers
    }

    /// Sends one command; `None` when QEMU refuses it.
    #[track_caller]
    pub fn ask(&mut self, name: &str, arguments: Value) -> Option<Value> {
        self.ask_all(&[(name, arguments)]).pop().flatten()
    }

    #[track_caller]
    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("QEMU answers on its monitor");
        serde_json::from_str(&line).expect("an answer of QEMU is JSON")
    }
}
