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
        let mut steps = path.split('/');
        let Some(mut entity) = steps.next().and_then(|name| self.entities.get(name).copied())
        else {
            return false;
        };
        // The thing that a `$feature` step refers to: an entity or one member of it.
        let mut holder = entity;
        let mut at_root = true;
        for step in steps {
            if let Some(feature) = step.strip_prefix('$') {
                return has_feature(holder, feature);
            }
            if let Some(value) = step.strip_prefix('^') {
                return items(entity, "values").iter().any(|v| v.as_str() == Some(value));
            }
            let found = if at_root {
                text(entity, if step == "ret" { "ret-type" } else { "arg-type" })
                    .map(|name| (name, None))
            } else if let Some(case) = step.strip_prefix('+') {
                items(entity, "variants")
                    .iter()
                    .find(|v| text(v, "case") == Some(case))
                    .and_then(|v| Some((text(v, "type")?, None)))
            } else {
                self.member(entity, step)
            };
            at_root = false;
            let Some((type_name, member)) = found else {
                return false;
            };
            let Some(next) = self.resolve(type_name) else {
                return false;
            };
            entity = next;
            holder = member.unwrap_or(next);
        }
        true
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
