//! Looking up places in the answer of `query-qmp-schema`.
//!
//! A place is a path: `COMMAND/arg/MEMBER/…`, where a step is a member's name, `+CASE` of a union,
//! `^VALUE` of an enumeration, or `$FEATURE` of the thing before it; `COMMAND/ret/…` looks into
//! what the command returns, and an event has only `arg`.

use serde_json::Value;
use std::collections::HashMap;

/// The schema, indexed by entity name.
pub(super) struct Schema<'a> {
    entities: HashMap<&'a str, &'a Value>,
}

/// The array `key` of `value`, or nothing.
fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn has_feature(value: &Value, feature: &str) -> bool {
    items(value, "features").iter().any(|f| f.as_str() == Some(feature))
}

impl<'a> Schema<'a> {
    /// Indexes the `return` value of `query-qmp-schema`.
    pub(super) fn new(reply: &'a Value) -> Self {
        let entities = reply
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(|entity| Some((text(entity, "name")?, entity)))
            .collect();
        Self { entities }
    }

    /// Whether this command exists.
    pub(super) fn has_command(&self, name: &str) -> bool {
        self.entities.get(name).is_some_and(|entity| text(entity, "meta-type") == Some("command"))
    }

    /// Names of all commands.
    pub(super) fn commands(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.entities
            .iter()
            .filter(|(_, entity)| text(entity, "meta-type") == Some("command"))
            .map(|(name, _)| *name)
    }

    /// Whether the place named by `path` exists.
    pub(super) fn has(&self, path: &str) -> bool {
        let (place, last) = match path.rsplit_once('/') {
            Some((place, last)) if last.starts_with(['$', '^']) => (place, last),
            _ => (path, ""),
        };
        let Some((entity, holder)) = self.find(place) else { return false };
        match last.split_at_checked(1) {
            Some(("$", feature)) => has_feature(holder, feature),
            Some((_, value)) => items(entity, "values").iter().any(|v| v.as_str() == Some(value)),
            None => true,
        }
    }

    /// The values of the enumeration at `path`; none if there is no such place.
    pub(super) fn values(&self, path: &str) -> impl Iterator<Item = &'a str> {
        let found = self.find(path).map_or(&[][..], |(entity, _)| items(entity, "values"));
        found.iter().filter_map(Value::as_str)
    }

    /// What is at `path`, and what has its features: itself, or the member that led to it.
    fn find(&self, path: &str) -> Option<(&'a Value, &'a Value)> {
        let mut steps = path.split('/');
        let mut entity = *self.entities.get(steps.next()?)?;
        let mut holder = entity;
        let mut at_root = true;
        for step in steps {
            let (type_name, member) = if at_root {
                (text(entity, if step == "ret" { "ret-type" } else { "arg-type" })?, None)
            } else if let Some(case) = step.strip_prefix('+') {
                let variants = items(entity, "variants");
                let variant = variants.iter().find(|v| text(v, "case") == Some(case))?;
                (text(variant, "type")?, None)
            } else {
                self.member(entity, step)?
            };
            at_root = false;
            entity = self.resolve(type_name)?;
            holder = member.unwrap_or(entity);
        }
        Some((entity, holder))
    }

    /// A member of an object, or of any alternative of an alternate.
    fn member(&self, entity: &'a Value, name: &str) -> Option<(&'a str, Option<&'a Value>)> {
        if text(entity, "meta-type") == Some("alternate") {
            return items(entity, "members").iter().find_map(|alternative| {
                let object = self.resolve(text(alternative, "type")?)?;
                (text(object, "meta-type") == Some("object"))
                    .then(|| self.member(object, name))
                    .flatten()
            });
        }
        items(entity, "members")
            .iter()
            .find(|m| text(m, "name") == Some(name))
            .and_then(|m| Some((text(m, "type")?, Some(m))))
    }

    /// The entity of this name, seen through arrays (bounded: a schema of arrays of arrays ends).
    fn resolve(&self, name: &str) -> Option<&'a Value> {
        let mut entity = *self.entities.get(name)?;
        for _ in 0..8 {
            if text(entity, "meta-type") != Some("array") {
                return Some(entity);
            }
            entity = self.entities.get(text(entity, "element-type")?).copied()?;
        }
        None
    }
}
