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
    let template = template(error.code);
    put_word(out, error.code.0);
    put_word(out, error.domain.0);
    put_optional(out, Some(&message(error)));
    put_word(out, 2);
    put_word(out, 0);
    put_optional(out, Some(template));
    put_optional(out, Some(&error.detail));
    put_optional(out, None);
    put_word(out, u32::MAX);
    put_word(out, u32::MAX);
    put_word(out, 0);
}

/// The whole sentence that clients show: the code's template with the detail in it.
pub fn message(error: &VirError) -> String {
    let template = template(error.code);
    if template.contains("%1$s") {
        template.replacen("%1$s", &error.detail, 1)
    } else if template == "%s" {
        error.detail.clone()
    } else {
        template.to_owned()
    }
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

/// The untranslated message of a code, with `%1$s` where the detail stands (what clients see as `str1`).
fn template(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::INTERNAL_ERROR => "internal error: %1$s",
        ErrorCode::NO_MEMORY => "out of memory: %1$s",
        ErrorCode::NO_SUPPORT => "this function is not supported by the connection driver: %1$s",
        ErrorCode::UNKNOWN_HOST => "unknown host %1$s",
        ErrorCode::NO_CONNECT => "no connection driver available for %1$s",
        ErrorCode::INVALID_CONN => "invalid connection pointer in %1$s",
        ErrorCode::INVALID_DOMAIN => "invalid domain pointer in %1$s",
        ErrorCode::INVALID_ARG => "invalid argument: %1$s",
        ErrorCode::OPERATION_FAILED => "operation failed: %1$s",
        ErrorCode::GET_FAILED => "GET operation failed: %1$s",
        ErrorCode::POST_FAILED => "POST operation failed: %1$s",
        ErrorCode::OS_TYPE => "unknown OS type %1$s",
        ErrorCode::NO_KERNEL => "missing kernel information",
        ErrorCode::NO_ROOT => "missing root device information in %1$s",
        ErrorCode::NO_SOURCE => "missing source information for device %1$s",
        ErrorCode::NO_TARGET => "missing target information for device %1$s",
        ErrorCode::NO_NAME => "missing name information in %1$s",
        ErrorCode::NO_OS => "missing operating system information for %1$s",
        ErrorCode::NO_DEVICE => "missing devices information for %1$s",
        ErrorCode::DRIVER_FULL => "too many drivers registered in %1$s",
        ErrorCode::XML_ERROR => "XML error: %1$s",
        ErrorCode::DOM_EXIST => "domain %1$s exists already",
        ErrorCode::OPERATION_DENIED => "operation %1$s forbidden for read only access",
        ErrorCode::OPEN_FAILED => "failed to open configuration file %1$s",
        ErrorCode::READ_FAILED => "failed to read configuration file %1$s",
        ErrorCode::PARSE_FAILED => "failed to parse configuration file %1$s",
        ErrorCode::CONF_SYNTAX => "configuration file syntax error: %1$s",
        ErrorCode::WRITE_FAILED => "failed to write configuration file: %1$s",
        ErrorCode::INVALID_NETWORK => "invalid network pointer in %1$s",
        ErrorCode::NETWORK_EXIST => "network %1$s exists already",
        ErrorCode::NO_DOMAIN => "Domain not found: %1$s",
        ErrorCode::NO_NETWORK => "Network not found: %1$s",
        ErrorCode::INVALID_MAC => "invalid MAC address: %1$s",
        ErrorCode::AUTH_FAILED => "authentication failed: %1$s",
        ErrorCode::INVALID_STORAGE_POOL => "invalid storage pool pointer in %1$s",
        ErrorCode::INVALID_STORAGE_VOL => "invalid storage volume pointer in %1$s",
        ErrorCode::NO_STORAGE_POOL => "Storage pool not found: %1$s",
        ErrorCode::NO_STORAGE_VOL => "Storage volume not found: %1$s",
        ErrorCode::INVALID_NODE_DEVICE => "invalid node device pointer in %1$s",
        ErrorCode::NO_NODE_DEVICE => "Node device not found: %1$s",
        ErrorCode::NO_SECURITY_MODEL => "Security model not found: %1$s",
        ErrorCode::OPERATION_INVALID => "Requested operation is not valid: %1$s",
        ErrorCode::NO_INTERFACE => "Interface not found: %1$s",
        ErrorCode::INVALID_INTERFACE => "invalid interface pointer in %1$s",
        ErrorCode::MULTIPLE_INTERFACES => "multiple matching interfaces found: %1$s",
        ErrorCode::INVALID_NWFILTER => "Invalid network filter: %1$s",
        ErrorCode::NO_NWFILTER => "Network filter not found: %1$s",
        ErrorCode::BUILD_FIREWALL => "Error while building firewall: %1$s",
        ErrorCode::INVALID_SECRET => "Invalid secret: %1$s",
        ErrorCode::NO_SECRET => "Secret not found: %1$s",
        ErrorCode::CONFIG_UNSUPPORTED => "unsupported configuration: %1$s",
        ErrorCode::OPERATION_TIMEOUT => "Timed out during operation: %1$s",
        ErrorCode::MIGRATE_PERSIST_FAILED => {
            "Failed to make domain persistent after migration: %1$s"
        }
        ErrorCode::HOOK_SCRIPT_FAILED => "Hook script execution failed: %1$s",
        ErrorCode::INVALID_DOMAIN_SNAPSHOT => "Invalid snapshot: %1$s",
        ErrorCode::NO_DOMAIN_SNAPSHOT => "Domain snapshot not found: %1$s",
        ErrorCode::INVALID_STREAM => "invalid stream pointer in %1$s",
        ErrorCode::ARGUMENT_UNSUPPORTED => "argument unsupported: %1$s",
        ErrorCode::STORAGE_PROBE_FAILED => "Storage pool probe failed: %1$s",
        ErrorCode::STORAGE_POOL_BUILT => "Storage pool already built: %1$s",
        ErrorCode::SNAPSHOT_REVERT_RISKY => "revert requires force: %1$s",
        ErrorCode::OPERATION_ABORTED => "operation aborted: %1$s",
        ErrorCode::AUTH_CANCELLED => "authentication cancelled: %1$s",
        ErrorCode::NO_DOMAIN_METADATA => "metadata not found: %1$s",
        ErrorCode::MIGRATE_UNSAFE => "Unsafe migration: %1$s",
        ErrorCode::OVERFLOW => "numerical overflow: %1$s",
        ErrorCode::BLOCK_COPY_ACTIVE => "block copy still active: %1$s",
        ErrorCode::OPERATION_UNSUPPORTED => "Operation not supported: %1$s",
        ErrorCode::SSH => "SSH transport error: %1$s",
        ErrorCode::AGENT_UNRESPONSIVE => "Guest agent is not responding: %1$s",
        ErrorCode::RESOURCE_BUSY => "resource busy: %1$s",
        ErrorCode::ACCESS_DENIED => "access denied: %1$s",
        ErrorCode::DBUS_SERVICE => "error from service: %1$s",
        ErrorCode::STORAGE_VOL_EXIST => "storage volume '%1$s' exists already",
        ErrorCode::CPU_INCOMPATIBLE => "the CPU is incompatible with host CPU: %1$s",
        ErrorCode::XML_INVALID_SCHEMA => "XML document failed to validate against schema: %1$s",
        ErrorCode::AUTH_UNAVAILABLE => "authentication unavailable: %1$s",
        ErrorCode::NO_SERVER => "Server not found: %1$s",
        ErrorCode::NO_CLIENT => "Client not found: %1$s",
        ErrorCode::AGENT_UNSYNCED => {
            "guest agent replied with wrong id to guest-sync command: %1$s"
        }
        ErrorCode::LIBSSH => "libssh transport error: %1$s",
        ErrorCode::DEVICE_MISSING => "device not found: %1$s",
        ErrorCode::INVALID_NWFILTER_BINDING => "Invalid network filter binding: %1$s",
        ErrorCode::NO_NWFILTER_BINDING => "Network filter binding not found: %1$s",
        ErrorCode::INVALID_DOMAIN_CHECKPOINT => "Invalid domain checkpoint: %1$s",
        ErrorCode::NO_DOMAIN_CHECKPOINT => "Domain checkpoint not found: %1$s",
        ErrorCode::NO_DOMAIN_BACKUP => "Domain backup job id not found: %1$s",
        ErrorCode::INVALID_NETWORK_PORT => "Invalid network port pointer: %1$s",
        ErrorCode::NETWORK_PORT_EXIST => "network port %1$s exists already",
        ErrorCode::NO_NETWORK_PORT => "network port not found: %1$s",
        ErrorCode::NO_HOSTNAME => "no hostname found: %1$s",
        ErrorCode::CHECKPOINT_INCONSISTENT => "checkpoint inconsistent: %1$s",
        ErrorCode::MULTIPLE_DOMAINS => "multiple matching domains found: %1$s",
        ErrorCode::NO_NETWORK_METADATA => "Network metadata not found: %1$s",
        ErrorCode::AGENT_COMMAND_TIMEOUT => "guest agent command timed out: %1$s",
        ErrorCode::AGENT_COMMAND_FAILED => "guest agent command failed: %1$s",
        // System, RPC, TLS and other errors bring their own whole sentence.
        _ => "%s",
    }
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
    fn rpc_errors_are_their_own_sentence() {
        assert_eq!(message(&unknown_program(291, 1)), "Cannot find program 291 version 1");
        assert_eq!(message(&unknown_procedure(-3)), "unknown procedure: -3");
        assert_eq!(message(&VirError::internal("x")), "internal error: x");
    }
}
