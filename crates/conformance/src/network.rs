//! Networks: their XML.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::host;
use crate::request::Request;
use model::network::{self, Command, FormatFlags, Network, Section};
use units::Uuid;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("network-xml", network_xml),
    ("network-update", network_update),
    ("network-port-xml", port_xml),
];

/// A network as it is read, with a UUID made where it has none.
fn read(request: &Request<'_>) -> Result<Network, Answer> {
    let text = request.need("xml")?;
    let parsed = network::parse(text);
    let mut network = accepted(parsed.value, parsed.diagnostics, text)?;
    if network.uuid.is_none() {
        let mut bytes = [0; 16];
        host::random(&mut bytes);
        network.uuid = Some(Uuid::from_random_bytes(bytes));
    }
    Ok(network)
}

fn network_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let network = read(request)?;
        let flags = FormatFlags { inactive: request.flag("inactive"), indent: 0 };
        Ok(Answer::text(network::format(&network, flags)))
    })())
}

fn network_update(request: &Request<'_>) -> Answer {
    either((|| {
        let mut network = read(request)?;
        let wrong = |what: &str| Answer::wrong(format!("no such {what}"));
        let section = request.need("section")?.parse::<Section>().map_err(|_| wrong("section"))?;
        let command = request.need("command")?.parse::<Command>().map_err(|_| wrong("command"))?;
        let parent = request.value("index").as_i64().and_then(|n| i32::try_from(n).ok());
        let fragment = request.need("update")?;
        network::update(&mut network, section, command, parent.unwrap_or(-1), fragment)
            .map_err(|found| Answer::refused(found, fragment))?;
        let flags = FormatFlags { inactive: request.flag("inactive"), indent: 0 };
        Ok(Answer::text(network::format(&network, flags)))
    })())
}

fn port_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = network::parse_port(text);
        let port = accepted(parsed.value, parsed.diagnostics, text)?;
        Ok(Answer::text(network::format_port(&port)))
    })())
}
