//! Storage pools and volumes.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use model::storage::{Parsing, Pool, PoolType, Volume, pool_capabilities};
use serde_json::Value;

/// The operations of this area.
pub const OPERATIONS: &[Operation] =
    &[("pool-xml", pool_xml), ("volume-xml", volume_xml), ("pool-capabilities", capabilities)];

fn pool(text: &str) -> Result<Pool, Answer> {
    let parsed = Pool::parse(text);
    accepted(parsed.value, parsed.diagnostics, text)
}

fn pool_xml(request: &Request<'_>) -> Answer {
    either(request.need("xml").and_then(pool).map(|pool| Answer::text(pool.to_xml(0))))
}

fn volume_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let pool = pool(request.need("pool")?)?;
        let parsing = Parsing { capacity_optional: request.flag("no_capacity") };
        let parsed = Volume::parse(text, pool.kind, parsing);
        let volume = accepted(parsed.value, parsed.diagnostics, text)?;
        Ok(Answer::text(volume.to_xml()))
    })())
}

fn capabilities(request: &Request<'_>) -> Answer {
    let types = request.value("types");
    let enabled = |kind: PoolType| match types {
        Value::Array(list) => list.iter().any(|name| name.as_str() == Some(kind.as_str())),
        _ => true,
    };
    Answer::text(pool_capabilities(enabled))
}
