//! Secrets.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::host;
use crate::request::Request;
use model::secret::{format, parse};
use units::Uuid;
use xml::WriteOptions;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[("secret-xml", secret_xml)];

fn secret_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = parse(text);
        let mut secret = accepted(parsed.value, parsed.diagnostics, text)?;
        secret.uuid.get_or_insert_with(|| {
            let mut bytes = [0; 16];
            host::random(&mut bytes);
            Uuid::from_random_bytes(bytes)
        });
        Ok(Answer::text(format(&secret, &WriteOptions::default())))
    })())
}
