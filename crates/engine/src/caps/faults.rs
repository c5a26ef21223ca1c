//! Emulators that fail in the middle of what they are asked: at each question, in each way.

use super::CapsStore;
use model::capabilities::qemu::{Exchange, ProbeKind, cpu_commands, probe_commands};
use qmp::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// What a small emulator answers to `command`.
fn answer(command: &Value) -> Value {
    let name = command["execute"].as_str().expect("a name");
    let entity = |name: &str| json!({"name": name, "meta-type": "command"});
    let value = match name {
        "query-version" => json!({"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""}),
        "query-target" => json!({"arch": "x86_64"}),
        "query-kvm" => json!({"enabled": false, "present": true}),
        "query-qmp-schema" => {
            let questions = probe_commands(ProbeKind::Primary);
            let mut names: Vec<&str> =
                questions.iter().filter_map(|question| question["execute"].as_str()).collect();
            names.retain(|name| *name != "query-gic-capabilities");
            names.push("query-cpu-model-expansion");
            names.into_iter().map(entity).collect()
        }
        "qom-list-types" => json!([{"name": "virtio-blk-pci"}, {"name": "pc-machine"}]),
        "query-machines" => json!([{"name": "pc-10.0", "cpu-max": 8}, {"name": "none"}]),
        "query-cpu-definitions" => json!([{"name": "max", "typename": "max-x86_64-cpu"}]),
        "query-tpm-models" | "query-tpm-types" => json!([]),
        "query-command-line-options" => json!([{"option": "machine", "parameters": []}]),
        "query-migrate-capabilities" => json!([{"capability": "xbzrle", "state": false}]),
        "query-gic-capabilities" | "query-sev-capabilities" | "query-sgx-capabilities" => {
            return json!({"error": {"class": "GenericError", "desc": "not here"}});
        }
        "query-cpu-model-expansion" => json!({"model": {"name": "base", "props": {"avx": true}}}),
        _ => match command["arguments"]["typename"].as_str() {
            Some("virtio-blk-pci") => json!([{"name": "serial", "type": "str"}]),
            _ => return json!({"error": {"class": "DeviceNotFound", "desc": "no such device"}}),
        },
    };
    json!({ "return": value })
}

/// An emulator that does as the file beside it says.
struct Fake {
    folder: tempfile::TempDir,
    /// What it is asked, in order.
    questions: Vec<Value>,
    /// What it answers when nothing is wrong.
    answers: Vec<Value>,
}

impl Fake {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut questions = probe_commands(ProbeKind::Primary);
        let mut answers: Vec<Value> = questions.iter().map(answer).collect();
        let first: Vec<Exchange> =
            questions.iter().zip(&answers).filter_map(|(q, a)| Exchange::new(q, a)).collect();
        questions.extend(cpu_commands(&first));
        answers.extend(questions[answers.len()..].iter().map(answer));
        let fake = Self { folder, questions, answers };
        let script = format!("#!/bin/sh\n. {}\n", fake.path("behaviour").display());
        std::fs::write(fake.emulator(), script).expect("our own folder");
        let executable = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(fake.emulator(), executable).expect("our own file");
        fake.behave("exit 0");
        // Another test may be starting a program, which has this file open until it runs.
        tests_wait(|| std::process::Command::new(fake.emulator()).status().is_ok());
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn emulator(&self) -> String {
        self.path("emulator").to_str().expect("a plain name").to_owned()
    }

    fn behave(&self, script: &str) {
        std::fs::write(self.path("behaviour"), script).expect("our own folder");
    }

    /// Answers up to the question `at`, does `then`, and answers the rest.
    fn fails(&self, at: usize, then: &str) {
        let record = |name: &str, answers: &[Value]| {
            let text: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
            std::fs::write(self.path(name), text).expect("our own folder");
            format!("cat {}", self.path(name).display())
        };
        let greeting = [json!({"QMP": {"version": {}, "capabilities": []}}), json!({"return": {}})];
        let before = record("before", &[&greeting, &self.answers[..at]].concat());
        let after = record("after", self.answers.get(at + 1..).unwrap_or_default());
        self.behave(&format!("{before}\n{then}\n{after}\nexec sleep 1000\n"));
    }

    /// Its name and version, or why a daemon that knows nothing refuses it; and whether that is kept.
    fn probed(&self, patience: Duration) -> (Result<String, String>, bool) {
        let cache = self.path("cache");
        let _ = std::fs::remove_dir_all(&cache);
        let mut store = CapsStore::new(cache.clone(), None, false, "kernel");
        store.patience = patience;
        let found = store.get(&self.emulator());
        let found = found
            .map(|caps| {
                format!(
                    "{:?} {}",
                    caps.version,
                    caps.tcg.as_ref().map_or(0, |tcg| tcg.machines.len())
                )
            })
            .map_err(|error| error.detail);
        (found, std::fs::read_dir(cache.join("capabilities")).is_ok_and(|mut d| d.next().is_some()))
    }
}

/// Waits until `done`, for a minute at most.
fn tests_wait(done: impl Fn() -> bool) {
    let late = std::time::Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(std::time::Instant::now() < late, "it did not come to be");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const LONG: Duration = Duration::from_secs(60);

fn name_of(question: &Value) -> String {
    format!("QMP command '{}'", question["execute"].as_str().expect("a name"))
}

#[test]
fn one_that_fails_at_a_question_is_refused_and_nothing_is_kept() {
    let fake = Fake::new();
    fake.fails(fake.answers.len(), "");
    assert_eq!(fake.probed(LONG), (Ok("(10, 0, 2) 1".into()), true), "with nothing wrong");
    let emulator = fake.emulator();
    let named = format!("Failed to probe QEMU binary '{emulator}': ");
    let check = |at: usize, then: &str, expected: &str| {
        fake.fails(at, then);
        let question = &fake.questions[at];
        let (found, kept) = fake.probed(LONG);
        let error = found.expect_err("it failed");
        for part in [&named, &name_of(question), expected] {
            assert!(error.contains(part), "{then} at {question}: {error}");
        }
        assert!(!kept, "{then} at {question}");
    };
    for at in 0..fake.questions.len() {
        check(at, "exit 3", "it ended with status 3");
        check(at, "kill -SEGV $$", "it was ended by signal 11");
        check(at, "echo oh", "it answered what is not JSON: \"oh\"");
        check(at, "echo '{}'", "neither a result nor an error came: {}");
        check(at, "echo '{\"return\": 7}'", "not of the form that was expected: 7");
        check(at, "printf '{\"return\": ['; exit 0", "it ended with status 0");
    }
}

#[test]
fn a_question_that_is_refused_is_no_empty_answer() {
    let fake = Fake::new();
    let refusal = "echo '{\"error\": {\"class\": \"GenericError\", \"desc\": \"out of luck\"}}'";
    let mut accepted = std::collections::BTreeSet::new();
    for (at, question) in fake.questions.iter().enumerate() {
        fake.fails(at, refusal);
        let (found, kept) = fake.probed(LONG);
        assert_eq!(found.is_ok(), kept, "{question}");
        match found {
            Ok(_) => {
                accepted.insert(question.to_string());
            }
            Err(error) => {
                assert!(error.contains(&name_of(question)), "{question}: {error}");
                assert!(error.ends_with("out of luck"), "{question}: {error}");
            }
        }
    }
    // What a host or a binary need not have.
    let unknown = |text: &String| !text.contains("typename") || text.contains("virtio-blk-pci");
    accepted.retain(unknown);
    let may = ["query-gic", "query-sev", "query-sgx", "hv-passthrough"];
    assert_eq!(accepted.len(), may.len(), "{accepted:?}");
    for (question, part) in accepted.iter().zip(["hv-passthrough", "gic", "sev", "sgx"]) {
        assert!(question.contains(part), "{question}");
    }
    // Lists of which no binary has none.
    for (at, question) in fake.questions.iter().enumerate() {
        let name = question["execute"].as_str().expect("a name");
        let some = ["query-machines", "qom-list-types", "query-qmp-schema"];
        if some.contains(&name) {
            fake.fails(at, "echo '{\"return\": []}'");
            assert!(fake.probed(LONG).0.is_err(), "{name}");
        }
    }
}

#[test]
fn one_that_hangs_at_a_question_is_not_waited_for() {
    let fake = Fake::new();
    let last = fake.questions.len() - 1;
    for at in 0..=last {
        fake.fails(at, "exec sleep 1000");
        let (found, kept) = fake.probed(Duration::from_millis(100));
        let error = found.expect_err("it hangs");
        assert!(error.ends_with("it did not answer within 0.1 seconds"), "{at}: {error}");
        assert!(!kept, "{at}");
    }
}
