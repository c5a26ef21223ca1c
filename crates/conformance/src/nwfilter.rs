//! Network filters: their XML.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::host;
use crate::request::Request;
use model::nwfilter::{self, Filter};
use plan::nwfilter::{Filters, Variables};
use serde_json::{Value, json};
use units::Uuid;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("nwfilter-xml", filter_xml),
    ("nwfilter-binding-xml", binding_xml),
    ("nwfilter-rules", rules),
];

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

/// Members of an object.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn rules(request: &Request<'_>) -> Answer {
    either((|| {
        let main = filter(request.need("xml")?)?;
        let mut filters = Filters::new();
        for (name, text) in members(request.value("filters")) {
            filters.insert(name.clone(), filter(text.as_str().unwrap_or_default())?);
        }
        let texts = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let variables: Variables = members(request.value("vars"))
            .map(|(name, values)| (name.clone(), texts(values)))
            .collect();
        let commands = plan::nwfilter::rules(&main, &filters, request.need("ifname")?, &variables)?;
        let argv: Vec<Vec<String>> = commands.iter().map(plan::Command::argv).collect();
        Ok(Answer::Out(json!(argv)))
    })())
}
