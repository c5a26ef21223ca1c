//! Flags that a call does not know are refused, as in libvirt.

use diag::VirError;

/// Refuses flags where none is known.
pub(crate) fn no_flags(flags: u32) -> Result<(), VirError> {
    if flags == 0 { Ok(()) } else { Err(unknown_flags(flags)) }
}

/// Refuses flags other than `known`.
pub(crate) fn only_flags(flags: u32, known: u32) -> Result<(), VirError> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(unknown_flags(unknown)),
    }
}

/// libvirt's words for flags that a call does not know.
pub(crate) fn unknown_flags(flags: u32) -> VirError {
    // The function's name is added where it is known: see `bind`.
    VirError::invalid_arg(format!("unsupported flags (0x{flags:x})")).verbatim()
}
