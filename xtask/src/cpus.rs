//! Compares our data of CPU models with what the installed QEMU says of them.
//!
//! A model's features in our data and in QEMU differ on purpose (libvirt keeps a model as it was
//! first released, QEMU as its newest machine has it), so those differences are told, and are no
//! fault. Names that QEMU does not know, vendors and numbers that differ, are.

use model::cpu::x86::X86Map;
use model::cpu::{ArmMap, PpcMap};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A QEMU that runs no guest and answers questions.
struct Qemu {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Qemu {
    /// `None` where the emulator is not installed.
    fn start(target: &str) -> Result<Option<Self>, String> {
        let program = format!("qemu-system-{target}");
        let spawned = Command::new(&program)
            .args(["-S", "-nodefaults", "-machine", "none", "-accel", "tcg"])
            .args(["-display", "none", "-qmp", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{program}: {error}")),
        };
        let output = child.stdout.take().ok_or("QEMU has no output")?;
        let mut qemu = Self { child, answers: BufReader::new(output) };
        qemu.line()?;
        qemu.ask("qmp_capabilities", json!({}))?;
        Ok(Some(qemu))
    }

    fn line(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| format!("QEMU: {error}"))?;
        serde_json::from_str(&line).map_err(|error| format!("QEMU: {error}: {line}"))
    }

    fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let input = self.child.stdin.as_mut().ok_or("QEMU has no input")?;
        let question = json!({"execute": command, "arguments": arguments});
        writeln!(input, "{question}").map_err(|error| format!("QEMU: {error}"))?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(format!("{command}: {error}"));
            }
            if let Some(found) = answer.get("return") {
                return Ok(found.clone());
            }
        }
    }

    /// Names of the CPU models.
    fn models(&mut self) -> Result<BTreeSet<String>, String> {
        let list = self.ask("query-cpu-definitions", json!({}))?;
        let names = list.as_array().into_iter().flatten().filter_map(|cpu| cpu["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// Properties of a model.
    fn properties(&mut self, model: &str) -> Result<Value, String> {
        let arguments = json!({"type": "full", "model": {"name": model}});
        Ok(self.ask("query-cpu-model-expansion", arguments)?["model"]["props"].take())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It has no guest and no files; there is nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was found: faults, and differences that are none.
#[derive(Default)]
struct Findings {
    faults: Vec<String>,
    notes: Vec<String>,
}

fn check_x86(found: &mut Findings) -> Result<bool, String> {
    let Some(mut qemu) = Qemu::start("x86_64")? else { return Ok(false) };
    let map = X86Map::get();
    let known = qemu.models()?;
    let all = qemu.properties("max")?;
    for feature in &map.features {
        match (feature.in_qemu, all.get(feature.qemu_name).is_some()) {
            (true, false) => found.notes.push(format!(
                "feature {}: this QEMU has no property {}",
                feature.name, feature.qemu_name
            )),
            (false, true) => found
                .faults
                .push(format!("feature {}: marked as unknown to QEMU, which has it", feature.name)),
            _ => {}
        }
    }
    for model in &map.models {
        if !known.contains(model.name) {
            found.notes.push(format!("model {}: this QEMU has none", model.name));
            continue;
        }
        let props = qemu.properties(model.name)?;
        let vendor = props["vendor"].as_str().and_then(|string| map.vendor(string));
        if model.vendor.is_some() && model.vendor != vendor {
            let ours = model.vendor.unwrap_or_default();
            found.faults.push(format!("model {}: vendor {ours}, QEMU says {vendor:?}", model.name));
        }
        let number = |name: &str| props[name].as_u64().and_then(|n| u32::try_from(n).ok());
        if let (Some(family), Some(number), Some(stepping)) =
            (number("family"), number("model"), number("stepping"))
            && !model.signatures.is_empty()
            && !model.is_of((family, number, stepping))
        {
            found
                .notes
                .push(format!("model {}: QEMU's is {family}:{number}:{stepping}", model.name));
        }
        let on = |index: &usize| {
            let name = map.features.get(*index).map_or("", |feature| feature.qemu_name);
            props[name].as_bool() == Some(true) || name.starts_with("vmx-")
        };
        let missing: Vec<_> = model
            .features
            .iter()
            .filter(|index| !on(index))
            .filter_map(|index| map.features.get(index))
            .map(|feature| feature.name)
            .collect();
        if !missing.is_empty() {
            found.notes.push(format!("model {}: not in QEMU's: {}", model.name, missing.join(" ")));
        }
    }
    Ok(true)
}

/// Architectures whose models are names alone.
fn check_names(target: &str, names: &[&str], found: &mut Findings) -> Result<bool, String> {
    let Some(mut qemu) = Qemu::start(target)? else { return Ok(false) };
    let known = qemu.models()?;
    for name in names {
        if !known.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            found.notes.push(format!("{target} model {name}: this QEMU has none"));
        }
    }
    Ok(true)
}

pub fn run(_root: &Path, args: &[String]) -> Result<(), String> {
    let mut found = Findings::default();
    let mut checked = Vec::new();
    if check_x86(&mut found)? {
        checked.push("x86_64");
    }
    let power: Vec<&str> = PpcMap::get().models.iter().map(|model| model.name).collect();
    if check_names("ppc64", &power, &mut found)? {
        checked.push("ppc64");
    }
    let arm: Vec<&str> = ArmMap::get().models.iter().map(|model| model.name).collect();
    if check_names("aarch64", &arm, &mut found)? {
        checked.push("aarch64");
    }
    if args.iter().any(|arg| arg == "--verbose") {
        for note in &found.notes {
            println!("{note}");
        }
    }
    println!(
        "CPU data checked with QEMU for: {}; {} differences that are no faults (--verbose shows them)",
        if checked.is_empty() {
            "nothing, no QEMU is installed".to_owned()
        } else {
            checked.join(", ")
        },
        found.notes.len()
    );
    if found.faults.is_empty() { Ok(()) } else { Err(found.faults.join("\n")) }
}
