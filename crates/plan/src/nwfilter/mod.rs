//! The rules of the host's firewall that carry a filter out on a guest's interface.
//!
//! A filter's rules and those of the filters it includes are put in order ([`chains`]), each is
//! repeated for the values of its variables ([`instances`]), and written for the tool of its
//! layer. What sets up and takes down the chains of an interface around them is not in here.
//!
//! Sources: formatnwfilter.html, firewall.html, and the commands libvirt 11.3 runs.

mod chains;
mod ebtables;
mod instances;
mod iptables;
mod options;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use model::nwfilter::Filter;

pub use chains::rules;

/// Values of variables, by their names.
pub type Variables = BTreeMap<String, Vec<String>>;

/// Filters by their names.
pub type Filters = BTreeMap<String, Filter>;
