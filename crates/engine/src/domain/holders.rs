//! Who has an image open that a guest cannot have.

use crate::engine::Engine;
use host::openers;
use std::path::Path;

/// How many are named.
const NAMED: usize = 5;

impl Engine {
    /// In words, who on this host has the file at `path` open. Looks at every process: for a fault.
    pub(super) fn holders(&self, path: &str) -> String {
        let openers = openers::of(Path::new(path));
        let own = std::process::id();
        let others = openers.into_iter().filter(|opener| opener.pid != own).take(NAMED);
        let named: Vec<String> = others
            .map(|opener| match self.guest_of(opener.pid) {
                Some(name) => format!("domain '{name}' (process {})", opener.pid),
                None => format!("process {} ({})", opener.pid, opener.name),
            })
            .collect();
        if named.is_empty() {
            return format!("no process of this host has '{path}' open: one of another host may");
        }
        format!("'{path}' is open in {}", named.join(", "))
    }

    fn guest_of(&self, pid: u32) -> Option<String> {
        let mut found = None;
        self.registry.for_each(|_, snapshot| {
            if snapshot.live.as_ref().is_some_and(|live| live.pid == pid) {
                found = Some(snapshot.name.to_string());
            }
        });
        found
    }
}
