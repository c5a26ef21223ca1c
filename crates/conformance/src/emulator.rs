//! Capabilities of an emulator, from a recorded conversation.

use crate::answer::Answer;
use crate::request::Request;
use model::capabilities::qemu::{AccelCaps, Gic, Machine, QemuCaps, parse_transcript};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Conversations that were read, by the path of the record.
static READ: LazyLock<Mutex<HashMap<String, Arc<QemuCaps>>>> = LazyLock::new(Mutex::default);

/// The capabilities that the request's member `caps` describes.
///
/// # Errors
/// There is none, or the record cannot be read.
pub fn capabilities(request: &Request<'_>) -> Result<QemuCaps, Answer> {
    let caps = request.value("caps");
    let path = caps.get("replies").and_then(Value::as_str);
    let path = path.ok_or_else(|| Answer::wrong("the request names no recorded conversation"))?;
    let mut read = (*recorded(path, caps)?).clone();
    if caps.get("strip_machine_aliases") == Some(&Value::Bool(true)) {
        for accel in [&mut read.kvm, &mut read.tcg].into_iter().flatten() {
            strip_aliases(accel);
        }
    }
    for flag in names(caps, "flags_add") {
        read.flags.insert(flag.to_owned());
    }
    if caps.get("variant").and_then(Value::as_str) == Some("hvf") {
        // A fact of that host; QEMU does not tell.
        read.flags.insert("hvf".to_owned());
    }
    for flag in names(caps, "flags_del") {
        read.flags.remove(flag);
        if flag == "kvm" {
            read = read.without_kvm();
        }
    }
    let versions: &[u8] = match caps.get("gic").and_then(Value::as_str) {
        Some("v2") => &[2],
        Some("v3") => &[3],
        Some("both") => &[2, 3],
        _ => &[],
    };
    if !versions.is_empty() {
        let gic = |version: &u8| Gic { version: *version, kernel: true, emulated: true };
        read.gic = versions.iter().map(gic).collect();
    }
    Ok(read)
}

fn names<'a>(caps: &'a Value, member: &str) -> Vec<&'a str> {
    let list = caps.get(member).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn recorded(path: &str, caps: &Value) -> Result<Arc<QemuCaps>, Answer> {
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(read) = known.get(path) {
        return Ok(Arc::clone(read));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Answer::wrong(format!("cannot read {path}: {error}")))?;
    let conversations = parse_transcript(&text);
    let primary = conversations.first().map_or(&[][..], Vec::as_slice);
    let tcg = conversations.get(1).map(Vec::as_slice);
    let arch = caps.get("arch").and_then(Value::as_str).unwrap_or("x86_64");
    let emulator = format!("/usr/bin/qemu-system-{arch}");
    let read = QemuCaps::from_replies(&emulator, primary, tcg)
        .map_err(|error| Answer::wrong(format!("{path}: {error:?}")))?;
    let read = Arc::new(read);
    known.insert(path.to_owned(), Arc::clone(&read));
    Ok(read)
}

/// Makes a machine of every alias, with its target's properties; the target's name follows, and is
/// no default.
fn strip_aliases(accel: &mut AccelCaps) {
    let machines = std::mem::take(&mut accel.machines);
    for mut machine in machines {
        if let Some(alias) = machine.alias.take() {
            accel.machines.push(Machine { name: alias, ..machine.clone() });
            machine.is_default = false;
        }
        accel.machines.push(machine);
    }
}
