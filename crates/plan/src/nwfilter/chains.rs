//! The order of rules, and the chains they are in.

use std::collections::BTreeMap;

use diag::VirError;
use model::nwfilter::{Entry, Filter, Layer, Rule};

use super::ebtables::{self, Side};
use super::{Filters, Variables, instances, iptables};
use crate::Command;

/// The most rules of one interface, and the most filters included: what is beyond is a mistake
/// that would keep the host busy.
const MOST: usize = 20_000;

/// A rule, and where it stands.
struct Placed<'a> {
    filter: &'a Filter,
    rule: Rule,
}

impl Placed<'_> {
    fn layer(&self) -> Layer {
        self.rule.protocol.map_or(Layer::Ethernet, model::nwfilter::Protocol::layer)
    }

    fn is_root(&self) -> bool {
        self.filter.chain == "root"
    }
}

struct Collector<'a> {
    filters: &'a Filters,
    found: Vec<Placed<'a>>,
    /// The filters that are being gone through.
    path: Vec<&'a str>,
    includes: usize,
}

fn refused(message: String) -> VirError {
    VirError::internal(message)
}

impl<'a> Collector<'a> {
    fn add(&mut self, filter: &'a Filter, known: &Variables) -> Result<(), VirError> {
        self.includes += 1;
        if self.includes > MOST {
            return Err(refused("The filter includes too many filters".to_owned()));
        }
        self.path.push(&filter.name);
        for entry in &filter.entries {
            match entry {
                Entry::Rule(rule) => {
                    let left = MOST.saturating_sub(self.found.len());
                    let rules = instances::instances(rule, known, left)?;
                    self.found.extend(rules.into_iter().map(|rule| Placed { filter, rule }));
                }
                Entry::Include(reference) => {
                    if self.path.contains(&reference.filter.as_str()) {
                        return Err(refused(format!(
                            "Filter '{}' includes itself",
                            reference.filter
                        )));
                    }
                    let included = self.filters.get(&reference.filter).ok_or_else(|| {
                        refused(format!("referenced filter '{}' is missing", reference.filter))
                    })?;
                    // Values from outside count before those of the reference.
                    let mut inner = Variables::new();
                    for (name, value) in reference.parameters.iter().filter_map(|p| p.usable()) {
                        inner.entry(name.to_owned()).or_default().push(value.to_owned());
                    }
                    inner.extend(known.iter().map(|(k, v)| (k.clone(), v.clone())));
                    self.add(included, &inner)?;
                }
            }
        }
        self.path.pop();
        Ok(())
    }
}

/// The commands that put the rules of `filter` on an interface, in order. `filters` are those
/// that it includes.
///
/// # Errors
/// A variable has no value or none that its attribute can have; an included filter is missing;
/// the rules are too many.
pub fn rules(
    filter: &Filter,
    filters: &Filters,
    interface: &str,
    variables: &Variables,
) -> Result<Vec<Command>, VirError> {
    let mut collector = Collector { filters, found: Vec::new(), path: Vec::new(), includes: 0 };
    collector.add(filter, variables)?;
    let mut found = collector.found;
    // Rules of the root chain first, since the other chains are called from there.
    found.sort_by_key(|placed| (!placed.is_root(), placed.rule.priority));
    let (bridge, above): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|placed| placed.layer() == Layer::Ethernet);
    let mut commands = bridge_commands(&bridge, interface);
    for layer in [Layer::Ipv4, Layer::Ipv6] {
        for placed in above.iter().filter(|placed| placed.layer() == layer) {
            commands.extend(iptables::commands(&placed.rule, layer, interface));
        }
    }
    Ok(commands)
}

/// The chains besides the root chain, by their priority; those from the guest first.
fn sub_chains<'a>(rules: &[Placed<'a>]) -> Vec<(i32, Side, &'a str)> {
    let mut chains = BTreeMap::new();
    for placed in rules.iter().filter(|placed| !placed.is_root()) {
        for side in Side::ALL.into_iter().filter(|side| side.has(placed.rule.direction)) {
            // Filters of one chain have one priority; libvirt sees to that.
            chains.entry((side, placed.filter.chain.as_str())).or_insert(placed.filter.priority);
        }
    }
    let mut chains: Vec<_> =
        chains.into_iter().map(|((side, chain), priority)| (priority, side, chain)).collect();
    chains.sort();
    chains
}

fn bridge_commands(rules: &[Placed<'_>], interface: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut chains = sub_chains(rules).into_iter().peekable();
    let (root, others): (Vec<_>, Vec<_>) = rules.iter().partition(|placed| placed.is_root());
    for placed in root {
        while let Some((_, side, chain)) =
            chains.next_if(|(priority, ..)| *priority <= placed.rule.priority)
        {
            commands.extend(ebtables::sub_chain(side, chain, interface));
        }
        commands.extend(ebtables::commands(&placed.rule, "root", interface));
    }
    for (_, side, chain) in chains {
        commands.extend(ebtables::sub_chain(side, chain, interface));
    }
    for placed in others {
        commands.extend(ebtables::commands(&placed.rule, &placed.filter.chain, interface));
    }
    commands
}
