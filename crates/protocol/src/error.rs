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
    /// Rarely used; -1.
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
        let mut e = VirError::new(e.code, clean(&e.detail)).from_domain(e.domain);
        let (message, template) = (e.message(), e.template());
        Self {
            code: number(e.code.0),
            domain: number(e.domain.0),
            message: Some(message),
            level: 2,
            str1: Some(template),
            str2: (!e.detail.is_empty()).then(|| std::mem::take(&mut e.detail)),
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
        // The code's own words contain at most one colon.
        let colons = shown.match_indices(": ").take(2);
        candidates.extend(colons.map(|(i, sep)| shown[i + sep.len()..].to_owned()));
        candidates.push(String::new());
        for candidate in candidates {
            e.detail = candidate;
            if e.message() == shown {
                return e;
            }
        }
        e.detail = shown;
        e.verbatim = true;
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

/// libvirt's numbers are small; one that cannot be represented becomes 1 (internal error).
fn number(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(1)
}
