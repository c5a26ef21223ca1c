//! Span-keeping XML reader, ordered writer and the typed mapping between XML and Rust.
