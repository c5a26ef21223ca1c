//! Procedures and events as types.

use xdr::{Decode, Encode};

/// A call: which numbers it has and which messages it takes and gives.
pub trait Procedure {
    /// The program's number.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// The procedure's number.
    const NUMBER: i32;
    /// The name in upper case, as `DOMAIN_CREATE`.
    const NAME: &'static str;
    /// What the client sends; `()` for nothing.
    type Args: Encode + Decode;
    /// What the daemon answers; `()` for nothing.
    type Ret: Encode + Decode;

    /// The call's `flags`, 0 where it has none. Access checks may depend on them.
    fn flags(_: &Self::Args) -> u32 {
        0
    }

    /// Whether a read-only client may make the call with these arguments.
    fn read_only_admits(_: &Self::Args) -> bool {
        crate::info(Self::PROGRAM, Self::NUMBER)
            .is_some_and(|i| i.read_only == crate::info::ReadOnly::Yes)
    }
}

/// A message that the daemon sends by itself.
pub trait Event {
    /// The program's number.
    const PROGRAM: u32;
    /// The program's version.
    const VERSION: u32;
    /// The event's procedure number.
    const NUMBER: i32;
    /// The name in upper case.
    const NAME: &'static str;
    /// Its content; `()` for nothing.
    type Msg: Encode + Decode;
}
