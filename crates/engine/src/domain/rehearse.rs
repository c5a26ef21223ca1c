//! What a change would do: planned as for the change itself, told as data, and nothing is touched.

use super::affect::Affect;
use super::devices::FORCE;
use super::record::Domain;
use super::start::StartOptions;
use crate::domain::stored::define::UndefineOptions;
use crate::engine::Engine;
use diag::VirError;
use lifecycle::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use units::Uuid;

/// The "native format" under which this is asked for (as [`crate::domain::start::explain::FORMAT`]); the "XML" is a
/// JSON object with `domain` (a UUID), `verb`, `subject` (a document or a name) and `flags`.
pub const FORMAT: &str = "ironvirt-plan";

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where: `host`, `QEMU`, `file` or `guest`.
    pub place: &'static str,
    /// What.
    pub text: String,
}

impl Line {
    pub fn host(text: impl ToString) -> Self {
        Self { place: "host", text: text.to_string() }
    }

    pub fn qemu(text: impl ToString) -> Self {
        Self { place: "QEMU", text: text.to_string() }
    }

    pub fn file(text: impl ToString) -> Self {
        Self { place: "file", text: text.to_string() }
    }

    pub fn guest(text: impl ToString) -> Self {
        Self { place: "guest", text: text.to_string() }
    }
}

impl Engine {
    /// Says what a change would do: a JSON object with `domain`, `verb` and `lines` (each with
    /// `where` and `what`), in order.
    ///
    /// # Errors
    /// Those that the change itself would meet before it touches anything.
    pub async fn rehearse(self: &Arc<Self>, question: &str) -> Result<Value, VirError> {
        let malformed = || VirError::invalid_arg("the question after a plan is malformed");
        let asked: Value = serde_json::from_str(question).map_err(|_| malformed())?;
        let text = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or_default();
        let uuid: Uuid = text("domain").parse().map_err(|_| malformed())?;
        let flags = asked.get("flags").and_then(Value::as_u64).unwrap_or(0);
        let flags = u32::try_from(flags).map_err(|_| malformed())?;
        let domain = self.domain_by_uuid(&uuid)?;
        let (verb, subject) = (text("verb").to_owned(), text("subject").to_owned());
        let undo = match domain.vm() {
            Some(vm) if verb == "destroy" => vm.undo().await,
            _ => Vec::new(),
        };
        let (engine, found, what) = (Arc::clone(self), Arc::clone(&domain), verb.clone());
        let lines = crate::blocking(move || match what.as_str() {
            "start" => engine.rehearse_start(&found, flags),
            "destroy" => engine.rehearse_destroy(&found, flags, &undo),
            "undefine" => engine.rehearse_undefine(&found, flags),
            _ => {
                let affect = Affect::resolve(&found.snapshot(), flags & !FORCE)?;
                let live = engine.rehearse_device(&found, &what, &subject, affect)?;
                let mut lines = live.ok_or_else(malformed)?;
                if affect.config {
                    let path = engine.store.path_of(&found.snapshot().name);
                    lines.push(Line::file(format!("write {}", path.display())));
                }
                if !affect.live && found.snapshot().is_active() {
                    lines.push(Line::guest("notices nothing before its next start"));
                }
                Ok(lines)
            }
        })
        .await?;
        let lines = lines.iter().map(|line| json!({"where": line.place, "what": line.text}));
        Ok(json!({
            "domain": &*domain.snapshot().name,
            "verb": verb,
            "lines": lines.collect::<Value>(),
        }))
    }

    fn rehearse_start(&self, domain: &Domain, flags: u32) -> Result<Vec<Line>, VirError> {
        domain.gate.check(Request::Start)?;
        let snapshot = domain.snapshot();
        let Some(config) = &snapshot.config else {
            return Err(VirError::invalid_state("domain is not running"));
        };
        let options = StartOptions {
            paused: flags & 1 != 0,
            bypass_cache: flags & 4 != 0,
            force_boot: flags & 8 != 0,
            reset_nvram: flags & 32 != 0,
            ..StartOptions::default()
        };
        let mut definition = self.definition_of(config)?;
        let plan = self.plan_start(&mut definition, -1, options)?;
        let entries = plan.explain();
        let mut lines: Vec<Line> = entries
            .iter()
            .map(|entry| {
                let text = entry.text.join(" ");
                match entry.subject.word() {
                    "step" => Line::host(text),
                    word => Line::qemu(format!("{word} {text}")),
                }
            })
            .collect();
        let saved = snapshot.managed_save.then(|| self.managed_image(&snapshot.name));
        if let Some(path) = &saved {
            // Either way it is gone afterwards.
            lines.push(Line::file(format!("remove {}", path.display())));
        }
        let from = saved.filter(|_| !options.force_boot);
        let then = if options.paused { ", and stands still" } else { "" };
        lines.push(Line::guest(match from {
            Some(path) => format!("goes on from {}{then}", path.display()),
            None if options.paused => "is loaded, and stands still before it boots".to_owned(),
            None => "boots".to_owned(),
        }));
        Ok(lines)
    }

    fn rehearse_undefine(&self, domain: &Domain, flags: u32) -> Result<Vec<Line>, VirError> {
        let snapshot = domain.snapshot();
        let Some(config) = &snapshot.config else {
            return Err(VirError::invalid_state("cannot undefine transient domain"));
        };
        let options = UndefineOptions {
            managed_save: flags & 1 != 0,
            nvram: flags & 4 != 0,
            keep_nvram: flags & 8 != 0,
            tpm: flags & 32 != 0,
            keep_tpm: flags & 64 != 0,
        };
        let nvram = self.nvram_of(config);
        let saved = self.leftover_image(&snapshot.name, nvram.as_deref(), options)?;
        let mut lines = Vec::new();
        let mut remove = |path: &dyn std::fmt::Display| {
            lines.push(Line::file(format!("remove {path}")));
        };
        if let Some(saved) = saved {
            remove(&saved.display());
        }
        if let Some(path) = nvram.filter(|_| options.nvram) {
            remove(&path);
        }
        remove(&self.store.path_of(&snapshot.name).display());
        if snapshot.autostart || snapshot.autostart_once {
            remove(&"the link of its automatic start");
        }
        let keeps_tpm = options.keep_tpm || snapshot.is_active() && !options.tpm;
        if !keeps_tpm && config.xml.contains("<tpm ") {
            remove(&"the state of its TPM");
        }
        if snapshot.is_active() {
            lines.push(Line::guest("runs on; when it stops, the domain is gone"));
        }
        Ok(lines)
    }

    fn rehearse_destroy(
        &self,
        domain: &Domain,
        flags: u32,
        undo: &[plan::Undo],
    ) -> Result<Vec<Line>, VirError> {
        domain.gate.check(Request::Destroy)?;
        let snapshot = domain.snapshot();
        let pid = snapshot.live.as_ref().map_or(0, |live| live.pid);
        let otherwise = match flags & 1 != 0 {
            true => "and nothing more where that does not do",
            false => "and SIGKILL where that does not do",
        };
        let mut lines = vec![
            Line::host(format!("end QEMU, process {pid}: SIGTERM, {otherwise}")),
            Line::guest("loses its power, and what it had not written"),
        ];
        lines.extend(undo.iter().filter(|step| **step != plan::Undo::EndQemu).map(Line::host));
        if flags & 2 != 0 {
            let logs = self.logs_of(&snapshot.name);
            lines.extend(logs.iter().map(|path| Line::file(format!("remove {}", path.display()))));
        }
        if !snapshot.is_persistent() {
            lines.push(Line::host("forget the domain: it has no stored definition"));
        }
        Ok(lines)
    }
}
