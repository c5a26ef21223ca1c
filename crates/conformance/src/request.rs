//! A request and the profile it is read under.

use crate::answer::Answer;
use serde_json::Value;
use std::collections::BTreeMap;

/// Folders of the data set that stand for folders of a host.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Folders of firmware descriptors: the system's name and the one to read.
    pub firmware_dirs: BTreeMap<String, String>,
    /// Folders of descriptors of vhost-user back ends, in the same way.
    pub vhost_user_dirs: BTreeMap<String, String>,
}

impl Profile {
    /// From the first request.
    pub fn new(profile: Option<&Value>) -> Self {
        let Some(profile) = profile else { return Self::default() };
        let folders = |name: &str| {
            let map = profile.get(name).and_then(Value::as_object);
            map.into_iter()
                .flatten()
                .filter_map(|(from, to)| Some((from.clone(), to.as_str()?.to_owned())))
                .collect()
        };
        Self {
            firmware_dirs: folders("firmware_dirs"),
            vhost_user_dirs: folders("vhost_user_dirs"),
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its members.
    pub body: &'a Value,
    /// What the first request said.
    pub profile: &'a Profile,
}

impl<'a> Request<'a> {
    /// Joins a request and the profile.
    pub fn new(body: &'a Value, profile: &'a Profile) -> Self {
        Self { body, profile }
    }

    /// A member that is a text.
    pub fn str(&self, name: &str) -> Option<&'a str> {
        self.body.get(name).and_then(Value::as_str)
    }

    /// A member that is a text and must be there.
    ///
    /// # Errors
    /// It is missing: the request is wrong.
    pub fn need(&self, name: &str) -> Result<&'a str, Answer> {
        self.str(name).ok_or_else(|| Answer::wrong(format!("the request has no text '{name}'")))
    }

    /// A member that is true or false; false where it is missing.
    pub fn flag(&self, name: &str) -> bool {
        self.body.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A member that is an object or a list; null where it is missing.
    pub fn value(&self, name: &str) -> &'a Value {
        self.body.get(name).unwrap_or(&Value::Null)
    }

    /// Texts of a list; empty where it is missing.
    pub fn list(&self, name: &str) -> Vec<&'a str> {
        let list = self.body.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}
