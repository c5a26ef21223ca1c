//! What a daemon that was killed in the middle of a start left behind: taken away by the next one,
//! once it knows which guests there are.

use crate::domain::adopt::status::SIDECAR;
use crate::engine::Engine;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

impl Engine {
    /// Removes private directories, pid files, control groups and half-written files of guests
    /// that do not exist. To be called after running guests were taken over and before clients
    /// come: whatever no running domain owns then belongs to nobody.
    pub fn sweep(&self) {
        let mut active = BTreeSet::new();
        let mut names = BTreeSet::new();
        self.registry.for_each_active(|id, domain| {
            active.insert(id);
            names.insert(domain.snapshot().name.to_string());
        });
        let run = self.layout.qemu_run();
        let files = children(&run);
        // Guests that run out of control need their monitors, should they be taken over once more.
        let unknown = files
            .iter()
            .filter_map(|file| file.rsplit_once('.'))
            .filter_map(|(name, kind)| ["pid", SIDECAR].contains(&kind).then_some(name))
            .filter(|name| !names.contains(*name));
        let strays = unknown.filter_map(|name| Some((name, self.stray(name)?)));
        let strays: BTreeMap<&str, String> =
            strays.map(|(name, pid)| (name, started_with(pid))).collect();
        for folder in children(&self.layout.qemu_lib()) {
            let Some((id, short)) = folder.strip_prefix("domain-").and_then(split_id) else {
                continue;
            };
            let own = format!("/{folder}/");
            if active.contains(&id) || strays.values().any(|command| command.contains(&own)) {
                continue;
            }
            remove_tree(&self.layout.qemu_lib().join(&folder));
            remove_tree(&self.layout.qemu_run().join("channel").join(format!("{id}-{short}")));
            let group = format!("qemu-{id}-{short}");
            if let Err(error) = self.remove_cgroup(&group, None) {
                tracing::debug!(group, error, "a control group was left");
            }
        }
        if let Some(cgroups) = self.cgroups.as_ref().filter(|_| self.layout.is_hosts()) {
            cgroups.remove_empty_scopes();
        }
        for file in &files {
            // Of helpers that libvirtd started, a number is before the guest's name.
            let helps = |name: &str| split_id(name).is_some_and(|(id, _)| active.contains(&id));
            let orphan = file.strip_suffix(".pid").is_some_and(|name| {
                let runs = names.contains(name) || strays.contains_key(name);
                name != "driver" && !runs && !held(&run, name) && !helps(name)
            });
            if orphan || is_half_written(file) {
                remove_file(&run.join(file));
            }
        }
        for folder in [self.layout.domain_config(), self.layout.pool_config()] {
            for file in children(&folder).into_iter().filter(|file| is_half_written(file)) {
                remove_file(&folder.join(file));
            }
        }
    }
}

/// What a process was started with; empty when it is gone.
fn started_with(pid: u32) -> String {
    String::from_utf8_lossy(&host::process::command_line(pid)).into_owned()
}

/// A status file still tells of the guest: one that could not be read is not ours to clear.
fn held(run: &Path, name: &str) -> bool {
    run.join(format!("{name}.xml")).exists()
}

/// The names in a folder; none where it cannot be read.
fn children(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// `7-name` as its number and name.
fn split_id(text: &str) -> Option<(i32, &str)> {
    let (id, name) = text.split_once('-')?;
    Some((id.parse().ok().filter(|id| *id > 0)?, name))
}

/// A temporary file of an atomic write, `.NAME.PID.COUNT.new`, whose writer is not this process.
fn is_half_written(file: &str) -> bool {
    let Some(rest) = file.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")) else {
        return false;
    };
    let mut parts = rest.rsplitn(3, '.');
    let count = parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
    let pid = parts.next().and_then(|part| part.parse::<u32>().ok());
    count && pid.is_some_and(|pid| pid != std::process::id()) && parts.next().is_some()
}

fn remove_tree(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => tracing::info!(path = %path.display(), "removed what a killed start left"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "not removed"),
    }
}

fn remove_file(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_of_others_are_half_written() {
        let own = format!(".a.xml.{}.3.new", std::process::id());
        for (file, expected) in [
            (".a.xml.1.3.new", true),
            (".with.dots.xml.1.3.new", true),
            (own.as_str(), false),
            ("a.xml", false),
            (".hidden.new", false),
            ("a.1.2.new", false),
        ] {
            assert_eq!(is_half_written(file), expected, "{file}");
        }
    }

    #[test]
    fn names_of_private_directories() {
        assert_eq!(split_id("7-a-b"), Some((7, "a-b")));
        assert_eq!(split_id("-1-a"), None);
        assert_eq!(split_id("x-a"), None);
    }
}
