//! Why a guest is started as it is: the plan of its start with the reasons of each part, as data.

use crate::domain::start::StartOptions;
use crate::engine::Engine;
use diag::VirError;
use model::domain::FormatFlags;
use serde_json::{Value, json};
use std::sync::Arc;

/// The "native format" under which an explanation is asked for (`virConnectDomainXMLToNative`
/// takes any name): a call that libvirt's clients have, refused by other daemons.
pub const FORMAT: &str = "ironvirt-explain";

impl Engine {
    /// Explains how a guest of this definition would be started: a JSON object with `domain`,
    /// `emulator`, `version`, `definition` (the XML with what was filled in) and `entries`.
    ///
    /// # Errors
    /// Those of starting the guest.
    pub async fn explain(self: &Arc<Self>, xml: String) -> Result<Value, VirError> {
        self.capabilities_ready(&xml).await?;
        let engine = Arc::clone(self);
        crate::blocking(move || {
            let (mut definition, _) = engine.read_definition(&xml, false)?;
            let plan = engine.plan_start(&mut definition, -1, StartOptions::default())?;
            let emulator = plan.exec().map(|exec| exec.program.clone()).unwrap_or_default();
            let (major, minor, micro) = engine.caps.get(&emulator)?.version;
            let flags = FormatFlags { live: true, ..FormatFlags::default() };
            Ok(json!({
                "domain": plan.domain,
                "emulator": emulator,
                "version": format!("{major}.{minor}.{micro}"),
                "definition": model::domain::format(&plan.live, flags),
                "entries": plan.explain().iter().map(entry).collect::<Value>(),
            }))
        })
        .await
    }
}

fn entry(line: &plan::Explained<'_>) -> Value {
    let because = line.because;
    let asked = because.asked.iter();
    json!({
        "subject": line.subject.word(),
        "text": line.text,
        "element": because.place.element,
        "index": because.place.index,
        "rule": because.rule,
        "capabilities": asked.map(|(name, has)| json!({"name": name, "has": has})).collect::<Value>(),
    })
}
