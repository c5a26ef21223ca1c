//! The error structure on the wire, from and to [`VirError`].

use diag::{ErrorCode, ErrorDomain, VirError};
use xdr::{Decode, Decoder, Encode, Encoder, Result};

use crate::STRING_MAX;
use crate::remote::{NonnullDomain, NonnullNetwork};

/// No procedure of this number in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown procedure {number} of program {program:#x}")]
pub struct UnknownProcedure {
    /// The program.
    pub program: u32,
    /// The number.
    pub number: i32,
}

/// The payload of a frame with status [`Error`](crate::message::MessageStatus::Error).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WireError {
    /// What went wrong ([`ErrorCode`]).
    pub code: i32,
    /// Who reports it ([`ErrorDomain`]).
    pub domain: i32,
    /// The text to show.
    pub message: Option<String>,
    /// 2 for an error, 1 for a warning.
    pub level: i32,
    /// Never sent in practice.
    pub dom: Option<NonnullDomain>,
    /// The code's message template, with `%1$s` in the detail's place.
    pub str1: Option<String>,
    /// The detail.
    pub str2: Option<String>,
    /// Rarely used.
    pub str3: Option<String>,
    /// Rarely used; -1.
    pub int1: i32,
    /// Rarely used; -1. (The errno of a system error in int1 is not sent by daemons either.)
    pub int2: i32,
    /// Never sent in practice.
    pub net: Option<NonnullNetwork>,
}

impl Encode for WireError {
    fn encode(&self, e: &mut Encoder) {
        e.int(self.code);
        e.int(self.domain);
        e.opt_string(self.message.as_deref(), STRING_MAX);
        e.int(self.level);
        self.dom.encode(e);
        e.opt_string(self.str1.as_deref(), STRING_MAX);
        e.opt_string(self.str2.as_deref(), STRING_MAX);
        e.opt_string(self.str3.as_deref(), STRING_MAX);
        e.int(self.int1);
        e.int(self.int2);
        self.net.encode(e);
    }
}

impl Decode for WireError {
    const MIN_SIZE: usize = 44;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            code: d.int()?,
            domain: d.int()?,
            message: d.opt_string(STRING_MAX)?,
            level: d.int()?,
            dom: Decode::decode(d)?,
            str1: d.opt_string(STRING_MAX)?,
            str2: d.opt_string(STRING_MAX)?,
            str3: d.opt_string(STRING_MAX)?,
            int1: d.int()?,
            int2: d.int()?,
            net: Decode::decode(d)?,
        })
    }
}

impl From<&VirError> for WireError {
    fn from(e: &VirError) -> Self {
        let detail = clean(&e.detail);
        let message = clean(&message(e));
        let template = if detail.is_empty() {
            message.clone()
        } else {
            match message.strip_suffix(detail.as_str()) {
                Some(prefix) => format!("{prefix}%1$s"),
                None => "%1$s".to_owned(),
            }
        };
        Self {
            code: e.code.0.cast_signed_lossless(),
            domain: e.domain.0.cast_signed_lossless(),
            message: Some(message),
            level: 2,
            str1: Some(template),
            str2: (!detail.is_empty()).then_some(detail),
            int1: -1,
            int2: -1,
            ..Self::default()
        }
    }
}

impl From<WireError> for VirError {
    /// The detail is chosen so that the text shown is the daemon's, whatever it put where.
    fn from(w: WireError) -> Self {
        let shown = w.message.unwrap_or_default();
        let mut e = VirError::new(ErrorCode(w.code.max(0).unsigned_abs()), String::new())
            .from_domain(ErrorDomain(w.domain.max(0).unsigned_abs()));
        let mut candidates = Vec::new();
        candidates.extend(w.str2);
        candidates.extend(shown.match_indices(": ").map(|(i, _)| shown[i + 2..].to_owned()));
        candidates.push(String::new());
        for candidate in candidates {
            e.detail = candidate;
            if message(&e) == shown {
                return e;
            }
        }
        e.detail = shown;
        e
    }
}

/// Texts as the wire can carry them: without NUL, within the limit.
fn clean(text: &str) -> String {
    let mut text =
        if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() };
    // Room for the code's own words around a detail.
    let max = STRING_MAX - 1024;
    if text.len() > max {
        let cut = (0..=max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}

/// The text of an error: the code's own words, then the detail.
fn message(e: &VirError) -> String {
    let words = match e.code {
        ErrorCode::INTERNAL_ERROR => "internal error",
        ErrorCode::NO_SUPPORT => "this function is not supported by the connection driver",
        ErrorCode::INVALID_ARG => "invalid argument",
        ErrorCode::XML_ERROR => "XML error",
        ErrorCode::OPERATION_DENIED => "operation forbidden",
        ErrorCode::NO_DOMAIN => "Domain not found",
        ErrorCode::NO_NETWORK => "Network not found",
        ErrorCode::NO_STORAGE_POOL => "Storage pool not found",
        ErrorCode::NO_STORAGE_VOL => "Storage volume not found",
        ErrorCode::OPERATION_INVALID => "Requested operation is not valid",
        ErrorCode::CONFIG_UNSUPPORTED => "unsupported configuration",
        _ => "",
    };
    match (words, e.detail.as_str()) {
        ("", detail) => detail.to_owned(),
        (words, "") => words.to_owned(),
        (words, detail) => format!("{words}: {detail}"),
    }
}

trait Lossless {
    fn cast_signed_lossless(self) -> i32;
}

impl Lossless for u32 {
    /// libvirt's numbers are small; one that is not cannot be represented and becomes 1 (internal error).
    fn cast_signed_lossless(self) -> i32 {
        i32::try_from(self).unwrap_or(1)
    }
}
