//! Running guests that a daemon finds when it starts, and the status files that tell of them.

mod cut_starts;
pub(in crate::domain) mod reattach;
pub(in crate::domain) mod status;
mod status_text;
mod strays;
