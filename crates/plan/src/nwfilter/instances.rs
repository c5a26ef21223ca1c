//! Rules without variables: each rule once for every combination of values.

use std::collections::HashSet;

use diag::VirError;
use model::nwfilter::{Rule, Value, Variable, VariableIndex};

use super::Variables;

/// Variables that go in step.
struct Group<'a> {
    index: VariableIndex,
    variables: Vec<&'a Variable>,
    /// The places of their values that differ from all earlier ones.
    places: Vec<usize>,
}

fn refused(message: String) -> VirError {
    VirError::internal(message)
}

fn unresolved(what: impl std::fmt::Display) -> VirError {
    refused(format!(
        "Cannot instantiate filter due to unresolvable variables or unavailable list elements: \
         {what}"
    ))
}

fn values<'a>(variable: &Variable, known: &'a Variables) -> Result<&'a [String], VirError> {
    match known.get(&variable.name) {
        Some(values) if !values.is_empty() => Ok(values),
        _ => Err(unresolved(&variable.name)),
    }
}

fn groups<'a>(rule: &'a Rule, known: &Variables) -> Result<Vec<Group<'a>>, VirError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for condition in &rule.conditions {
        let Value::Variable(variable) = &condition.value else { continue };
        let values = values(variable, known)?;
        if let VariableIndex::At(place) = variable.index {
            if values.len() <= place as usize {
                return Err(unresolved(format_args!("{}[{place}]", variable.name)));
            }
            continue;
        }
        match groups.iter_mut().find(|group| group.index == variable.index) {
            Some(group) => group.variables.push(variable),
            None => groups.push(Group {
                index: variable.index,
                variables: vec![variable],
                places: Vec::new(),
            }),
        }
    }
    for group in &mut groups {
        let lists: Vec<&[String]> =
            group.variables.iter().map(|v| values(v, known)).collect::<Result<_, _>>()?;
        let count = lists.first().map_or(0, |list| list.len());
        if lists.iter().any(|list| list.len() != count) {
            return Err(refused(
                "Cardinality of list items must be the same for processing them in parallel"
                    .to_owned(),
            ));
        }
        let mut seen = HashSet::new();
        let row = |place: usize| lists.iter().map(|list| &list[place]).collect::<Vec<_>>();
        group.places = (0..count).filter(|place| seen.insert(row(*place))).collect();
    }
    Ok(groups)
}

/// The rule with the values that the groups' places say.
fn instance(
    rule: &Rule,
    known: &Variables,
    place: impl Fn(VariableIndex) -> usize,
) -> Result<Rule, VirError> {
    let mut made = rule.clone();
    for condition in &mut made.conditions {
        let Value::Variable(variable) = &condition.value else { continue };
        let at = match variable.index {
            VariableIndex::At(at) => at as usize,
            index => place(index),
        };
        let text = values(variable, known)?
            .get(at)
            .ok_or_else(|| unresolved(format_args!("{}[{at}]", variable.name)))?;
        let value = condition.attribute.kind.parse(text).ok_or_else(|| {
            refused(format!(
                "The value '{text}' of variable {} cannot be used for attribute '{}'",
                variable.name, condition.attribute.name
            ))
        })?;
        condition.value = value;
    }
    Ok(made)
}

/// The rule for every combination of its variables' values; the first group changes fastest.
/// `most` is the greatest number of rules wanted.
pub(super) fn instances(
    rule: &Rule,
    known: &Variables,
    most: usize,
) -> Result<Vec<Rule>, VirError> {
    let groups = groups(rule, known)?;
    let count =
        groups.iter().try_fold(1usize, |count, group| count.checked_mul(group.places.len()));
    let Some(count) = count.filter(|count| *count <= most) else {
        return Err(refused("The filter makes too many rules".to_owned()));
    };
    let make = |number: usize| {
        let place = |index| {
            let mut rest = number;
            for group in &groups {
                if group.index == index {
                    return group.places[rest % group.places.len()];
                }
                rest /= group.places.len();
            }
            0
        };
        instance(rule, known, place)
    };
    (0..count).map(make).collect()
}
