//! Storage pools and volumes.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use model::storage::{Parsing, Pool, PoolType, Volume, VolumeType, pool_capabilities};
use plan::Command;
use plan::storage::{Image, VolumeOptions, create_volume, start_pool};
use serde_json::{Value, json};

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("pool-xml", pool_xml),
    ("pool-start-argv", pool_start_argv),
    ("pool-capabilities", capabilities),
    ("volume-xml", volume_xml),
    ("volume-create-argv", volume_create_argv),
];

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

fn commands(commands: &[Command]) -> Answer {
    Answer::Out(commands.iter().map(|command| json!(command.argv())).collect())
}

fn pool_start_argv(request: &Request<'_>) -> Answer {
    either(request.need("xml").and_then(pool).map(|pool| match start_pool(&pool) {
        Some(command) => commands(&[command]),
        None => Answer::Unsupported,
    }))
}

fn volume(text: &str, pool_text: &str, parsing: Parsing) -> Result<Volume, Answer> {
    let pool = pool(pool_text)?;
    let parsed = Volume::parse(text, pool.kind, parsing);
    let mut volume = accepted(parsed.value, parsed.diagnostics, text)?;
    volume.kind = match pool.kind {
        PoolType::Dir | PoolType::Fs | PoolType::Netfs => VolumeType::File,
        PoolType::Logical => VolumeType::Block,
        _ => volume.kind,
    };
    Ok(volume)
}

fn volume_create_argv(request: &Request<'_>) -> Answer {
    either((|| {
        let source = match (request.str("input_xml"), request.str("input_pool")) {
            (Some(xml), Some(pool)) => Some(volume(xml, pool, Parsing::default())?),
            _ => None,
        };
        // A copy has the size of its source.
        let capacity_optional = request.flag("optional_capacity") || source.is_some();
        let parsing = Parsing { capacity_optional };
        let volume = volume(request.need("xml")?, request.need("pool")?, parsing)?;
        let image = Image { volume: &volume, secret_file: Some("/path/to/secretFile") };
        let source = source
            .as_ref()
            .map(|volume| Image { volume, secret_file: Some("/path/to/inputSecretFile") });
        let options = VolumeOptions { prealloc_metadata: request.flag("prealloc_metadata") };
        Ok(commands(&create_volume(&image, source.as_ref(), options)?))
    })())
}
