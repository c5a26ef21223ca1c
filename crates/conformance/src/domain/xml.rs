//! The XML of domains.

use super::define::{define, generic, running};
use crate::answer::{Answer, accepted, either};
use crate::emulator;
use crate::request::Request;
use model::domain::{FormatFlags, format, status};

/// The stored form of a domain.
pub fn domain_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let domain = define(request, &caps)?;
        Ok(Answer::text(format(&domain, FormatFlags { secure: true, ..FormatFlags::default() })))
    })())
}

/// The form of a running domain.
pub fn live_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let domain = running(request, &caps)?;
        let live = request.str("format") == Some("live");
        Ok(Answer::text(format(&domain, FormatFlags { live, secure: true, migratable: false })))
    })())
}

/// The form of a status file.
pub fn status_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = status::parse(text);
        let status = accepted(parsed.status, parsed.diagnostics, text)?;
        Ok(Answer::text(status::format(&status)))
    })())
}

/// The form of a domain that no hypervisor has touched.
pub fn generic_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let domain = generic(request)?;
        let live = request.flag("live") && domain.id.is_some();
        Ok(Answer::text(format(&domain, FormatFlags { live, secure: true, migratable: false })))
    })())
}
