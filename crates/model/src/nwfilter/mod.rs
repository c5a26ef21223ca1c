//! Network filters: their XML, and bindings of filters to guests' interfaces.
//!
//! Every protocol has a table of attributes ([`Protocol::attributes`]), each with the kind of its
//! values; reading, writing and the schema come from it. A value may be a variable.
//!
//! Sources: `nwfilter.rng`, `nwfilterbinding.rng`, formatnwfilter.html, and answers of libvirt
//! 11.3.

mod binding;
mod filter;
mod kind;
mod protocol;
mod rule;
#[cfg(test)]
mod tests;
mod value;
mod variable;

pub use binding::{BindingOwner, FilterBinding, LinkDevice, format_binding, parse_binding};
pub use filter::{CHAINS, Entry, Filter, FilterRef, Parameter, format, parse};
pub use kind::Kind;
pub use protocol::{Attribute, Layer, Protocol};
pub use rule::{Action, Condition, DEFAULT_PRIORITY, Rule, RuleDirection};
pub use value::{Direction, State, TcpFlags, Value};
pub use variable::{Variable, VariableIndex};

/// Reads arbitrary text as filter and as binding; must not panic.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(filter) = parse(text).value {
        let written = format(&filter);
        // What was written is read again, and to the same rules.
        let again = parse(&written).value.map(|again| again.entries);
        assert_eq!(again.as_ref(), Some(&filter.entries), "{written}");
    }
    if let Some(binding) = parse_binding(text).value {
        let written = format_binding(&binding);
        assert_eq!(parse_binding(&written).value.as_ref(), Some(&binding), "{written}");
    }
}
