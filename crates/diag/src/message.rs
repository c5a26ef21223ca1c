//! libvirt's sentence for each error number: what clients print before the detail.
//!
//! Clients know these texts (they stand in scripts and in translations), so they are part of the
//! contract. Each number has a short form, used without a detail, and a template, which goes over
//! the wire as `str1` with the detail as `str2`.

use crate::ErrorCode;

/// Most templates are the short form, a colon and the detail; the others say so.
enum Form {
    /// `short: detail`
    Colon(&'static str),
    /// `short detail`
    Space(&'static str),
    /// Two forms that differ, the second with `%1$s`.
    Pair(&'static str, &'static str),
}
use Form::{Colon, Pair, Space};

const fn form(code: u32) -> Form {
    match code {
        1 => Colon("internal error"),
        2 => Colon("out of memory"),
        3 => Colon("this function is not supported by the connection driver"),
        4 => Space("unknown host"),
        5 => Pair("no connection driver available", "no connection driver available for %1$s"),
        6 => Space("invalid connection pointer in"),
        7 => Space("invalid domain pointer in"),
        8 => Colon("invalid argument"),
        9 => Colon("operation failed"),
        10 => Colon("GET operation failed"),
        11 => Colon("POST operation failed"),
        12 => Pair("got unknown HTTP error code", "got unknown HTTP error code %1$s"),
        13 => Colon("failed to serialize S-Expr"),
        14 => Space("could not use Xen hypervisor entry"),
        15 => Space("failed Xen syscall"),
        16 => Space("unknown OS type"),
        17 => Pair("missing kernel information", "missing kernel information in %1$s"),
        18 => Pair("missing root device information", "missing root device information in %1$s"),
        19 => Space("missing source information for device"),
        20 => Space("missing target information for device"),
        21 => Pair("missing name information", "missing name information in %1$s"),
        22 => Pair(
            "missing operating system information",
            "missing operating system information for %1$s",
        ),
        23 => Pair("missing devices information", "missing devices information for %1$s"),
        24 => Space("could not connect to Xen Store"),
        25 => Pair("too many drivers registered", "too many drivers registered in %1$s"),
        26 => Colon("library call failed"),
        27 => Pair("XML description is invalid or not well formed", "XML error: %1$s"),
        28 => Pair("this domain exists already", "domain %1$s exists already"),
        29 => Pair("operation forbidden for read only access", "operation forbidden: %1$s"),
        30 => Pair("failed to open configuration file for reading", "failed to open %1$s"),
        31 => Space("failed to read configuration file"),
        32 => Space("failed to parse configuration file"),
        33 => Colon("configuration file syntax error"),
        34 => Colon("failed to write configuration file"),
        35 => Pair("parser error", "%1$s"),
        36 => Space("invalid network pointer in"),
        37 => Pair("this network exists already", "network %1$s exists already"),
        38 => Pair("system call error", "%1$s"),
        39 => Pair("RPC error", "%1$s"),
        40 => Pair("GNUTLS call error", "%1$s"),
        41 => Colon("Failed to find the network"),
        42 => Colon("Domain not found"),
        43 => Colon("Network not found"),
        44 => Colon("invalid MAC address"),
        45 => Colon("authentication failed"),
        46 => Space("invalid storage pool pointer in"),
        47 => Space("invalid storage volume pointer in"),
        48 => Colon("Failed to find a storage driver"),
        49 => Colon("Storage pool not found"),
        50 => Colon("Storage volume not found"),
        51 => Colon("Failed to find a node driver"),
        52 => Pair("invalid node device pointer", "invalid node device pointer in %1$s"),
        53 => Colon("Node device not found"),
        54 => Colon("Security model not found"),
        55 => Colon("Requested operation is not valid"),
        56 => Colon("Failed to find the interface"),
        57 => Colon("Interface not found"),
        58 => Space("invalid interface pointer in"),
        59 => Colon("multiple matching interfaces found"),
        60 => Colon("Failed to start the nwfilter driver"),
        61 => Colon("Invalid network filter"),
        62 => Colon("Network filter not found"),
        63 => Colon("Error while building firewall"),
        64 => Colon("Failed to find a secret storage driver"),
        65 => Colon("Invalid secret"),
        66 => Colon("Secret not found"),
        67 => Colon("unsupported configuration"),
        68 => Colon("Timed out during operation"),
        69 => Colon("Failed to make domain persistent after migration"),
        70 => Colon("Hook script execution failed"),
        71 => Colon("Invalid snapshot"),
        72 => Colon("Domain snapshot not found"),
        73 => Space("invalid stream pointer in"),
        74 => Colon("argument unsupported"),
        75 => Colon("Storage pool probe failed"),
        76 => Colon("Storage pool already built"),
        77 => Colon("revert requires force"),
        78 => Colon("operation aborted"),
        79 => Colon("authentication cancelled"),
        80 => Colon("metadata not found"),
        81 => Colon("Unsafe migration"),
        82 => Colon("numerical overflow"),
        83 => Colon("block copy still active"),
        84 => Colon("Operation not supported"),
        85 => Colon("SSH transport error"),
        86 => Colon("Guest agent is not responding"),
        87 => Colon("resource busy"),
        88 => Colon("access denied"),
        89 => Colon("error from service"),
        90 => Pair("this storage volume exists already", "storage volume %1$s exists already"),
        91 => Colon("the CPU is incompatible with host CPU"),
        92 => Colon("XML document failed to validate against schema"),
        93 => Colon("migration successfully aborted"),
        94 => Colon("authentication unavailable"),
        95 => Colon("Server not found"),
        96 => Colon("Client not found"),
        97 => Colon("guest agent replied with wrong id to guest-sync command"),
        98 => Colon("libssh transport error"),
        99 => Colon("device not found"),
        100 => Colon("Invalid network filter binding"),
        101 => Colon("Network filter binding not found"),
        102 => Colon("Invalid domain checkpoint"),
        103 => Colon("Domain checkpoint not found"),
        104 => Colon("Domain backup job id not found"),
        105 => Colon("Invalid network port pointer"),
        106 => Pair("this network port exists already", "network port %1$s exists already"),
        107 => Colon("network port not found"),
        108 => Colon("no hostname found"),
        109 => Colon("checkpoint inconsistent"),
        110 => Colon("multiple matching domains found"),
        111 => Colon("metadata not found"),
        112 => Colon("guest agent command timed out"),
        113 => Colon("guest agent command failed"),
        _ => Colon("unknown error"),
    }
}

impl ErrorCode {
    /// libvirt's sentence when there is no detail: "Domain not found".
    pub const fn short_message(self) -> &'static str {
        match form(self.0) {
            Colon(s) | Space(s) | Pair(s, _) => s,
        }
    }

    /// libvirt's sentence with `%1$s` where the detail goes: "Domain not found: %1$s".
    pub fn template(self) -> String {
        match form(self.0) {
            Colon(s) => format!("{s}: %1$s"),
            Space(s) => format!("{s} %1$s"),
            Pair(_, t) => t.to_owned(),
        }
    }

    /// The detail within a text that may be whole already ("missing source information for device
    /// hda" is "hda"). Only of codes whose sentence goes on in the detail.
    pub fn detail_of(self, text: &str) -> &str {
        match form(self.0) {
            Space(s) => {
                text.strip_prefix(s).and_then(|rest| rest.strip_prefix(' ')).unwrap_or(text)
            }
            _ => text,
        }
    }

    /// The whole text for a detail, which may be empty.
    pub fn message(self, detail: &str) -> String {
        if detail.is_empty() {
            return self.short_message().to_owned();
        }
        match form(self.0) {
            Colon(s) => format!("{s}: {detail}"),
            Space(s) => format!("{s} {detail}"),
            Pair(_, t) => t.replace("%1$s", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_clients_print() {
        let name = "no domain with matching name 'nosuch'";
        for (code, detail, expected) in [
            (ErrorCode::NO_DOMAIN, name, "Domain not found: no domain with matching name 'nosuch'"),
            (ErrorCode::NO_DOMAIN, "", "Domain not found"),
            (ErrorCode::XML_ERROR, "x", "XML error: x"),
            (ErrorCode::NO_TARGET, "/x", "missing target information for device /x"),
            (ErrorCode::SYSTEM_ERROR, "a %1$s b", "a %1$s b"),
            (ErrorCode(9999), "x", "unknown error: x"),
        ] {
            assert_eq!(code.message(detail), expected);
        }
        assert_eq!(ErrorCode::NO_DOMAIN.template(), "Domain not found: %1$s");
        assert_eq!(ErrorCode::DOM_EXIST.template(), "domain %1$s exists already");
    }

    #[test]
    fn every_code_has_a_sentence() {
        for code in 1..=113 {
            assert_ne!(ErrorCode(code).short_message(), "unknown error", "{code}");
            assert!(ErrorCode(code).template().contains("%1$s"), "{code}");
        }
    }
}
