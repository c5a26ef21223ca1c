//! Host interfaces.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use model::interface::{format, parse};
use xml::WriteOptions;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[("interface-xml", interface_xml)];

fn interface_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = parse(text);
        let interface = accepted(parsed.value, parsed.diagnostics, text)?;
        Ok(Answer::text(format(&interface, &WriteOptions::default())))
    })())
}
