//! Network filters: their XML.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::host;
use crate::request::Request;
use model::nwfilter::{self, Filter};
use units::Uuid;

/// The operations of this area.
pub const OPERATIONS: &[Operation] =
    &[("nwfilter-xml", filter_xml), ("nwfilter-binding-xml", binding_xml)];

fn filter(text: &str) -> Result<Filter, Answer> {
    let parsed = nwfilter::parse(text);
    let mut filter = accepted(parsed.value, parsed.diagnostics, text)?;
    if filter.uuid.is_none() {
        let mut bytes = [0; 16];
        host::random(&mut bytes);
        filter.uuid = Some(Uuid::from_random_bytes(bytes));
    }
    Ok(filter)
}

fn filter_xml(request: &Request<'_>) -> Answer {
    either(
        request.need("xml").and_then(filter).map(|filter| Answer::text(nwfilter::format(&filter))),
    )
}

fn binding_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = nwfilter::parse_binding(text);
        let binding = accepted(parsed.value, parsed.diagnostics, text)?;
        Ok(Answer::text(nwfilter::format_binding(&binding)))
    })())
}
