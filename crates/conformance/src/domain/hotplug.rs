//! Devices that come to a running domain, leave it and change: a monitor that follows a script.

use super::define::{running, with_defaults};
use super::found::found;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use crate::{emulator, host};
use diag::VirError;
use model::capabilities::qemu::QemuCaps;
use model::domain::hotplug::update::{self, Change};
use model::domain::hotplug::{self, Device, Place, find, support};
use model::domain::{Domain, FormatFlags, assign_aliases, format, validate};
use plan::qemu::{InUse, Inputs, ResultValue, Results, plug, settle_device, unplug};
use plan::{Piece, QmpCommand, ResultName};
use serde_json::{Value, json};

/// Seconds since 1970 on that host.
const NOW: u64 = 1_234_567_890;

/// A monitor that answers as the script says.
struct Monitor<'a> {
    script: std::slice::Iter<'a, Value>,
    issued: Vec<String>,
    deleted: Vec<String>,
}

impl<'a> Monitor<'a> {
    fn new(step: &'a Value) -> Self {
        let script = step.get("qmp").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Self { script: script.iter(), issued: Vec::new(), deleted: Vec::new() }
    }

    fn tell(&mut self, name: &str) -> Result<Value, VirError> {
        self.issued.push(name.to_owned());
        let reply = self.script.next().and_then(|entry| entry.get(1)).and_then(Value::as_str);
        let mut answer = json!({});
        for message in serde_json::Deserializer::from_str(reply.unwrap_or("{}")).into_iter() {
            let message: Value = message.unwrap_or_default();
            if message.get("event").and_then(Value::as_str) == Some("DEVICE_DELETED") {
                let name = message.pointer("/data/device").and_then(Value::as_str);
                self.deleted.extend(name.map(str::to_owned));
            } else if let Some(error) = message.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or_default();
                return Err(VirError::internal(format!(
                    "unable to execute QEMU command '{name}': {text}"
                )));
            } else {
                answer = message.get("return").cloned().unwrap_or_default();
            }
        }
        Ok(answer)
    }

    fn tell_all(&mut self, commands: &[QmpCommand]) -> Result<(), VirError> {
        for command in commands {
            let value: Value = serde_json::from_str(&command.json).unwrap_or_default();
            self.tell(value.get("execute").and_then(Value::as_str).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The guest and what its changes need.
struct Guest<'a> {
    request: &'a Request<'a>,
    caps: &'a QemuCaps,
    domain: Domain,
    last_node: u32,
}

/// Carries out the steps one after another.
pub fn domain_hotplug(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let mut domain = running(request, &caps)?;
        domain.id = Some(7);
        assign_aliases(&mut domain);
        let mut guest = Guest { request, caps: &caps, domain, last_node: 0 };
        let steps = request.value("steps").as_array().map_or(&[][..], Vec::as_slice);
        let steps: Vec<Value> = steps.iter().map(|step| guest.step(step)).collect();
        Ok(Answer::Out(json!({ "steps": steps })))
    })())
}

impl Guest<'_> {
    fn step(&mut self, step: &Value) -> Value {
        let mut monitor = Monitor::new(step);
        let text = step.get("device").and_then(Value::as_str).unwrap_or_default();
        let done = match step.get("action").and_then(Value::as_str) {
            Some("attach") => self.attach(text, &mut monitor),
            Some("detach") => self.detach(text, &mut monitor),
            _ => self.update(text, &mut monitor),
        };
        let flags = FormatFlags { live: true, secure: true, migratable: false };
        let mut out = json!({
            "ok": done.is_ok(),
            "xml": format(&self.domain, flags),
            "commands": monitor.issued,
        });
        if let (Err(answer), Value::Object(out)) = (done, &mut out) {
            let error = answer.to_json().get("err").cloned().unwrap_or_default();
            out.insert("err".into(), error);
        }
        out
    }

    fn with_inputs<T>(&self, domain: &Domain, act: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let (facts, settings) = (host::facts(self.request), host::settings(self.request));
        act(&Inputs {
            caps: self.caps,
            host: &facts,
            firmware: &[],
            settings: &settings,
            found: &found(self.request, domain),
            id: 7,
            incoming: None,
        })
    }

    fn read(&self, text: &str, running: bool) -> Result<Device, Answer> {
        let read = hotplug::read(text, running);
        accepted(read.device, read.diagnostics, text)
    }

    fn attach(&mut self, text: &str, monitor: &mut Monitor<'_>) -> Result<(), Answer> {
        let device = self.read(text, false)?;
        support::can_plug(&self.domain, &device)?;
        let attached = with_defaults(self.request, self.caps, self.domain.kind, |context| {
            hotplug::attach(&self.domain, device, context)
        });
        let attached = attached.map_err(|faults| Answer::refused(faults, ""))?;
        let old: Vec<String> =
            validate(&self.domain).into_iter().map(|fault| fault.message).collect();
        let new = validate(&attached.domain).into_iter();
        accepted(Some(()), new.filter(|fault| !old.contains(&fault.message)).collect(), "")?;
        let mut domain = attached.domain;
        for place in attached.controllers.into_iter().chain([attached.place]) {
            self.plug(&mut domain, place, monitor)?;
        }
        self.domain = domain;
        Ok(())
    }

    fn plug(
        &mut self,
        domain: &mut Domain,
        place: Place,
        monitor: &mut Monitor<'_>,
    ) -> Result<(), Answer> {
        let in_use = InUse { last_node: self.last_node, first_fdset: 0 };
        let settled = self.with_inputs(domain, |inputs| {
            let mut domain = domain.clone();
            let last = settle_device(&mut domain, place, inputs, in_use)?;
            let plan = plug(&domain, place, inputs, InUse { last_node: last, ..in_use })?;
            Ok((domain, plan))
        });
        let (settled, plan) = settled.map_err(|faults| Answer::refused(faults, ""))?;
        self.last_node = plan.last_node;
        *domain = settled;
        let mut results = Results::new();
        for command in &plan.commands {
            let reply = monitor.tell(command.name)?;
            if let Some(name) = &command.result {
                results.insert(name.clone(), ResultValue::Json(reply));
            }
        }
        if domain
            .devices
            .as_ref()
            .is_some_and(|devices| matches!(place.get(devices), Some(Device::Vsock(_))))
        {
            let names = plan.commands.iter().flat_map(|command| &command.arguments.0);
            for piece in names {
                if let Piece::Cid(name) = piece {
                    results.insert(ResultName::new(name.0.clone()), ResultValue::Cid(42));
                }
            }
        }
        monitor.tell_all(&plan.after)?;
        plan::qemu::observe_plugged(domain, place, &results);
        Ok(())
    }

    fn detach(&mut self, text: &str, monitor: &mut Monitor<'_>) -> Result<(), Answer> {
        let wanted = self.read(text, true)?;
        support::running(support::Verb::Detach, wanted.kind())?;
        let place = find::running(&self.domain, &wanted)?;
        let there = self.domain.devices.as_ref().and_then(|devices| place.get(devices));
        support::can_unplug(&self.domain, &there.unwrap_or(wanted))?;
        let plan = self.with_inputs(&self.domain, |inputs| unplug(&self.domain, place, inputs));
        let plan = plan.map_err(|faults| Answer::refused(faults, ""))?;
        if let Some(alias) = &plan.device {
            monitor.tell("device_del")?;
            if !monitor.deleted.contains(alias) {
                return Err(Answer::wrong("the guest did not let the device go"));
            }
        }
        monitor.tell_all(&plan.after)?;
        if plan.fdsets.is_some() {
            monitor.tell("query-fdsets")?;
        }
        hotplug::take_out(&mut self.domain, place);
        Ok(())
    }

    fn update(&mut self, text: &str, monitor: &mut Monitor<'_>) -> Result<(), Answer> {
        let wanted = self.read(text, true)?;
        let updated = update::running(&self.domain, &wanted)?;
        let alias = updated.place.alias(&self.domain).unwrap_or_default();
        let settings = host::settings(self.request);
        for change in &updated.changes {
            if *change == Change::Medium {
                return Err(Answer::Unsupported);
            }
            monitor.tell_all(&plan::qemu::update(change, &alias, &settings, NOW))?;
        }
        updated.place.put(self.domain.devices_mut(), updated.device);
        Ok(())
    }
}
