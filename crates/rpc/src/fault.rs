//! The error structure of the wire, and the errors the transport itself reports.

use diag::{ErrorCode, ErrorDomain, VirError};

/// No such program, or not in this version.
pub fn unknown_program(program: u32, version: u32) -> VirError {
    rpc(format!("Cannot find program {program} version {version}"))
}

/// The program is known, the procedure is not (or is an event).
pub fn unknown_procedure(procedure: i32) -> VirError {
    rpc(format!("unknown procedure: {procedure}"))
}

/// A call whose status is not 0.
pub fn unexpected_status(status: u32) -> VirError {
    rpc(format!("Unexpected message status {status}"))
}

/// The arguments end too early or hold what they must not.
pub fn undecodable() -> VirError {
    rpc("Unable to decode message payload")
}

/// A result that is too long for the wire.
pub fn unencodable() -> VirError {
    rpc("Unable to encode message payload")
}

/// A call before the authentication list (or the whole exchange) was done.
pub fn authentication_required() -> VirError {
    rpc("authentication required")
}

fn rpc(detail: impl Into<String>) -> VirError {
    VirError::new(ErrorCode::RPC, detail).from_domain(ErrorDomain::RPC)
}

/// Appends an error as the wire has it (`virError`): code, domain, message, level, no domain object, template,
/// detail, nothing, -1, -1, no network.
pub fn encode(out: &mut Vec<u8>, error: &VirError) {
    let template = template(error);
    // libvirt tells which argument of which function it refuses.
    let argument = refused_flags(error);
    put_word(out, error.code.0);
    put_word(out, error.domain.0);
    put_optional(out, Some(&message(error)));
    put_word(out, 2);
    put_word(out, 0);
    let (str1, str2, number) = match argument {
        Some(function) => (function, "flags", 0),
        None => (template.as_str(), error.detail.as_str(), u32::MAX),
    };
    put_optional(out, Some(str1));
    put_optional(out, Some(str2));
    put_optional(out, None);
    put_word(out, number);
    put_word(out, number);
    put_word(out, 0);
}

/// The function that refuses unknown flags, if that is the error.
fn refused_flags(error: &VirError) -> Option<&str> {
    let rest = error.detail.strip_prefix("unsupported flags (").filter(|_| error.verbatim)?;
    rest.split_once(") in function ").map(|(_, function)| function)
}

/// The whole text that clients show: libvirt's sentence first, for scripts that look for it, then what to do about it,
/// each piece of advice on a line of its own.
pub fn message(error: &VirError) -> String {
    let mut text = error.message();
    for hint in &error.hints {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    text
}

/// A single string of the wire is limited; a longer text is cut.
const MAX_TEXT: usize = 4_194_304;

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else {
        put_word(out, 0);
        return;
    };
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_word(out, 1);
    put_word(out, end as u32);
    out.extend_from_slice(&text.as_bytes()[..end]);
    out.resize(out.len() + end.next_multiple_of(4) - end, 0);
}

fn put_word(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// The untranslated message of a code, with `%1$s` where the detail stands (what clients see as `str1`). Errors that are
/// all detail show libvirt's `%s` there.
fn template(error: &VirError) -> String {
    let template = error.template();
    if template == "%1$s" { "%s".to_owned() } else { template }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_domain_as_seen_on_the_wire() {
        let error = VirError::new(ErrorCode::NO_DOMAIN, "no domain with matching name 'nosuch'");
        let mut out = Vec::new();
        encode(&mut out, &error);
        let words = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!((words(0), words(4), words(8)), (42, 10, 1));
        let text = "Domain not found: no domain with matching name 'nosuch'";
        assert_eq!(words(12) as usize, text.len());
        assert_eq!(&out[16..16 + text.len()], text.as_bytes());
        assert_eq!(out.len() % 4, 0);
        let tail = &out[out.len() - 16..];
        assert_eq!(tail, [0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn refused_flags_name_the_function_and_the_argument() {
        let detail = "unsupported flags (0x8) in function qemuDomainReset";
        let error = VirError::new(ErrorCode::INVALID_ARG, detail).verbatim();
        let mut out = Vec::new();
        encode(&mut out, &error);
        let mut tail = Vec::new();
        put_optional(&mut tail, Some("qemuDomainReset"));
        put_optional(&mut tail, Some("flags"));
        tail.extend_from_slice(&[0; 16]);
        assert!(out.ends_with(&tail), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn rpc_errors_are_their_own_sentence() {
        assert_eq!(message(&unknown_program(291, 1)), "Cannot find program 291 version 1");
        assert_eq!(message(&unknown_procedure(-3)), "unknown procedure: -3");
        assert_eq!(message(&VirError::internal("x")), "internal error: x");
    }
}
