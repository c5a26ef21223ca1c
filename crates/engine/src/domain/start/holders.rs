//! Who has an image open, or a port, that a guest cannot have.

use crate::engine::Engine;
use host::openers::{self, Opener};
use std::path::Path;

/// How many are named.
const NAMED: usize = 5;

impl Engine {
    /// In words, who on this host has the file at `path` open. Looks at every process: for a fault.
    pub(in crate::domain) fn holders(&self, path: &str) -> String {
        let named = self.holders_but(path, &[]);
        if named.is_empty() {
            return format!("no process of this host has '{path}' open: one of another host may");
        }
        format!("'{path}' is open in {}", named.join(", "))
    }

    /// Who on this host has the file at `path` open, without those processes and us.
    pub(in crate::domain) fn holders_but(&self, path: &str, known: &[u32]) -> Vec<String> {
        let own = std::process::id();
        let others = openers::of(Path::new(path)).into_iter();
        others
            .filter(|opener| opener.pid != own && !known.contains(&opener.pid))
            .take(NAMED)
            .map(|opener| self.named(&opener))
            .collect()
    }

    /// In words, who on this host listens on a TCP port, if anybody can be found. Looks at every
    /// process: for a fault.
    pub(in crate::domain) fn port_holders(&self, port: u16) -> Option<String> {
        let holders = openers::of_port(port);
        let named: Vec<_> = holders.iter().take(NAMED).map(|opener| self.named(opener)).collect();
        (!named.is_empty()).then(|| named.join(", "))
    }

    fn named(&self, opener: &Opener) -> String {
        match self.guest_of(opener.pid) {
            Some(name) => format!("domain '{name}' (process {})", opener.pid),
            None => format!("process {} ({})", opener.pid, opener.name),
        }
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
