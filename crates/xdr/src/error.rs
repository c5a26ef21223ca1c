//! What can be wrong with XDR bytes, or with a value that should become some.

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault met while reading or writing XDR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message ends inside an item.
    #[error("message ends {missing} bytes too early at byte {at}")]
    Truncated {
        /// Where the item begins.
        at: usize,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// A string, opaque or array is longer than its declaration allows.
    #[error("length {len} at byte {at} is beyond the limit {max}")]
    TooLong {
        /// Where the length stands (reading) or would stand (writing).
        at: usize,
        /// The length.
        len: usize,
        /// The declared limit.
        max: usize,
    },
    /// A fixed-size array was given another number of elements.
    #[error("{len} elements at byte {at} where {expected} are declared")]
    WrongLength {
        /// Where the array would begin.
        at: usize,
        /// The number given.
        len: usize,
        /// The number declared.
        expected: usize,
    },
    /// A flag that must be 0 or 1 is something else.
    #[error("flag at byte {at} is {value}, neither 0 nor 1")]
    BadFlag {
        /// Where the flag stands.
        at: usize,
        /// Its value.
        value: u32,
    },
    /// A small integer (char, short) does not fit its type.
    #[error("value {value} at byte {at} does not fit the declared type")]
    OutOfRange {
        /// Where the value stands.
        at: usize,
        /// The value.
        value: i64,
    },
    /// An enum or union selector that the declaration does not know.
    #[error("unknown {what} {value} at byte {at}")]
    UnknownVariant {
        /// Name of the enum or union.
        what: &'static str,
        /// Where the selector stands.
        at: usize,
        /// Its value.
        value: i32,
    },
    /// A string that is not UTF-8.
    #[error("string at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Where the characters begin.
        at: usize,
    },
    /// A string with a NUL character, which no peer written in C can represent.
    #[error("string at byte {at} contains a NUL character")]
    Nul {
        /// Where the characters begin (reading) or would begin (writing).
        at: usize,
    },
    /// Optional items and arrays are nested too deeply.
    #[error("items nested too deeply at byte {at}")]
    TooDeep {
        /// Where the limit was passed.
        at: usize,
    },
}
