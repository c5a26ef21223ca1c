//! Status files of running domains: what a restarted daemon (ours or libvirtd) needs to take a
//! guest over. `NAME.xml` has libvirt's format; what we keep beyond it lies beside, in
//! `NAME.ironvirt`.

use super::store::banner;
use super::teardown::Made;
use crate::layout::Layout;
use host::files::{self, WriteMode};
use lifecycle::{PausedReason, Status};
use model::domain::{Domain as Definition, ParseOptions};
use plan::{LaunchPlan, Undo};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xml::{Document, WriteOptions, Writer};

/// Largest status file that is read.
const FILE_MAX: usize = 16 << 20;

/// The status of one running domain and where it is written.
#[derive(Clone, Debug)]
pub(super) struct StatusFile {
    path: PathBuf,
    pid_file: Option<PathBuf>,
    content: Arc<StatusContent>,
}

/// What a status file says.
#[derive(Clone, Debug)]
pub(super) struct StatusContent {
    pub name: String,
    pub status: Status,
    pub pid: u32,
    pub monitor: String,
    pub lib_dir: String,
    pub channel_dir: String,
    pub memory_dir: String,
    pub vcpu_threads: Vec<i32>,
    pub flags: Vec<String>,
    pub fake_reboot: bool,
    pub definition: Definition,
}

/// What only our own daemon keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Sidecar {
    /// The process's start time, which with the pid identifies it.
    pub start_time: u64,
    /// What to take back when the guest stops.
    pub undo: Vec<Undo>,
    /// What taking back needs to know.
    pub made: Made,
}

impl StatusFile {
    /// The status of a domain that is about to be started.
    pub fn new(layout: &Layout, name: &str, definition: &Definition, plan: &LaunchPlan) -> Self {
        let folder = layout.qemu_run();
        let short = Path::new(&plan.monitor.path)
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("domain-"))
            .unwrap_or(name)
            .to_owned();
        Self {
            path: folder.join(format!("{name}.xml")),
            pid_file: plan.exec().map(|exec| PathBuf::from(&exec.pid_file)),
            content: Arc::new(StatusContent {
                name: name.to_owned(),
                status: Status::Paused(PausedReason::StartingUp),
                pid: 0,
                monitor: plan.monitor.path.clone(),
                lib_dir: parent_of(&plan.monitor.path),
                channel_dir: folder.join("channel").join(&short).display().to_string(),
                memory_dir: layout.qemu_lib().join("ram").join(&short).display().to_string(),
                vcpu_threads: Vec::new(),
                flags: plan.flags.iter().map(|flag| (*flag).to_owned()).collect(),
                fake_reboot: false,
                definition: definition.clone(),
            }),
        }
    }

    /// A status that was read from `path`.
    pub fn found(path: PathBuf, content: StatusContent) -> Self {
        let pid_file = path.with_extension("pid");
        Self { path, pid_file: Some(pid_file), content: Arc::new(content) }
    }

    /// What it says now.
    pub fn content(&self) -> &StatusContent {
        &self.content
    }

    /// Sets state and reason.
    pub fn set_status(&mut self, status: Status) {
        Arc::make_mut(&mut self.content).status = status;
    }

    /// Sets the process id.
    pub fn set_pid(&mut self, pid: u32) {
        Arc::make_mut(&mut self.content).pid = pid;
    }

    /// Sets the live definition.
    pub fn set_definition(&mut self, definition: &Definition) {
        Arc::make_mut(&mut self.content).definition.clone_from(definition);
    }

    /// Sets the threads of the virtual CPUs, in the order of their numbers.
    pub fn set_vcpu_threads(&mut self, threads: Vec<i32>) {
        Arc::make_mut(&mut self.content).vcpu_threads = threads;
    }

    /// Writes the file: whole or not at all.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self) -> io::Result<()> {
        let mut text = banner("edit", &self.content.name);
        text.push_str(&self.content.xml());
        files::write_atomic(&self.path, text.as_bytes(), WriteMode::RUNTIME)
            .map_err(|error| error.source)
    }

    /// Writes what only we keep.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_sidecar(&self, sidecar: &Sidecar) -> io::Result<()> {
        let path = self.path.with_extension("ironvirt");
        files::write_atomic(&path, sidecar.json().as_bytes(), WriteMode::RUNTIME)
            .map_err(|error| error.source)
    }

    /// Reads what only we keep; none where libvirtd started the guest.
    pub fn read_sidecar(&self) -> Option<Sidecar> {
        let bytes = files::read_bounded(&self.path.with_extension("ironvirt"), FILE_MAX).ok()?;
        Sidecar::parse(&bytes)
    }

    /// Removes the files of a domain that no longer runs.
    ///
    /// # Errors
    /// Those of removing; what is not there is none.
    pub fn remove(&self) -> io::Result<()> {
        if let Some(pid_file) = &self.pid_file {
            files::remove(pid_file, false).map_err(|error| error.source)?;
        }
        files::remove(&self.path.with_extension("ironvirt"), false).map_err(|e| e.source)?;
        files::remove(&self.path, false).map_err(|error| error.source)?;
        Ok(())
    }

    /// Reads a status file.
    ///
    /// # Errors
    /// In words, when it cannot be read or does not say what is needed.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = files::read_bounded(path, FILE_MAX).map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?;
        Ok(Self::found(path.to_path_buf(), StatusContent::parse(&text)?))
    }
}

impl StatusContent {
    fn xml(&self) -> String {
        let options = WriteOptions { live: true, secure: true, ..WriteOptions::default() };
        let mut w = Writer::new(&options);
        w.start("domstatus");
        w.attr_str("state", self.status.state_word());
        w.attr_str("reason", self.status.reason_word());
        w.attr_str("pid", &self.pid.to_string());
        element(&mut w, "monitor", &[("path", &self.monitor), ("type", "unix")]);
        if !self.vcpu_threads.is_empty() {
            w.start("vcpus");
            for (id, pid) in self.vcpu_threads.iter().enumerate() {
                element(&mut w, "vcpu", &[("id", &id.to_string()), ("pid", &pid.to_string())]);
            }
            w.end("vcpus");
        }
        w.start("qemuCaps");
        for flag in &self.flags {
            element(&mut w, "flag", &[("name", flag)]);
        }
        w.end("qemuCaps");
        if self.fake_reboot {
            w.empty("fakereboot");
        }
        let aliases = super::view::aliases(&self.definition);
        if !aliases.is_empty() {
            w.start("devices");
            for alias in &aliases {
                element(&mut w, "device", &[("alias", alias)]);
            }
            w.end("devices");
        }
        element(&mut w, "libDir", &[("path", &self.lib_dir)]);
        element(&mut w, "channelTargetDir", &[("path", &self.channel_dir)]);
        element(&mut w, "memoryBackingDir", &[("path", &self.memory_dir)]);
        w.empty("rememberOwner");
        element(&mut w, "nodename", &[("index", "0")]);
        element(&mut w, "fdset", &[("index", "0")]);
        element(&mut w, "blockjobs", &[("active", "no")]);
        w.start("agentTimeout");
        w.text_str("-2");
        w.end("agentTimeout");
        model::domain::write_domain(&self.definition, &mut w);
        w.end("domstatus");
        w.finish()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let document = Document::parse(text).map_err(|faults| {
            faults.first().map_or_else(|| "it is no XML".to_owned(), |f| f.message.clone())
        })?;
        let root = document.root();
        if root.name() != "domstatus" {
            return Err(format!("its root element is <{}>, not <domstatus>", root.name()));
        }
        let attr = |name: &str| root.attr(name).ok_or_else(|| format!("<domstatus> has no {name}"));
        let (state, reason) = (attr("state")?, attr("reason")?);
        let status = Status::parse(state, reason)
            .ok_or_else(|| format!("its state '{state}' ({reason}) is unknown"))?;
        let pid = attr("pid")?.parse().map_err(|_| "its pid is no number".to_owned())?;
        let domain = root.child("domain").ok_or("it holds no <domain>")?;
        let path_of = |name: &str| root.child(name)?.attr("path").map(str::to_owned);
        // The embedded domain is read as a document of its own, with the same rules.
        let parsed = model::domain::parse(domain.source(), ParseOptions { live: true });
        let definition = parsed.domain.ok_or_else(|| {
            parsed
                .diagnostics
                .first()
                .map_or_else(|| "its domain cannot be read".to_owned(), |d| d.message.clone())
        })?;
        let monitor = path_of("monitor").ok_or("it names no monitor")?;
        Ok(Self {
            name: definition.name.clone(),
            status,
            pid,
            lib_dir: path_of("libDir").unwrap_or_else(|| parent_of(&monitor)),
            channel_dir: path_of("channelTargetDir").unwrap_or_default(),
            memory_dir: path_of("memoryBackingDir").unwrap_or_default(),
            monitor,
            vcpu_threads: root
                .child("vcpus")
                .map(|vcpus| vcpus.children().filter_map(|v| v.attr("pid")?.parse().ok()).collect())
                .unwrap_or_default(),
            flags: root
                .child("qemuCaps")
                .map(|caps| {
                    caps.children().filter_map(|f| f.attr("name").map(str::to_owned)).collect()
                })
                .unwrap_or_default(),
            fake_reboot: root.child("fakereboot").is_some(),
            definition,
        })
    }
}

impl Sidecar {
    fn json(&self) -> String {
        let undo: Vec<_> = self.undo.iter().map(undo_to_json).collect();
        serde_json::json!({
            "start_time": self.start_time,
            "undo": undo,
            "created": self.made.created,
            "ports": pairs(&self.made.ports),
            "links": pairs(&self.made.links),
        })
        .to_string()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let object = |name: &str| value.get(name).and_then(serde_json::Value::as_object);
        let mut made = Made::default();
        for path in value.get("created").and_then(serde_json::Value::as_array)? {
            made.created.insert(path.as_str()?.to_owned());
        }
        for (name, port) in object("ports")? {
            made.ports.insert(plan::ResultName::new(name), u16::try_from(port.as_u64()?).ok()?);
        }
        for (name, link) in object("links")? {
            made.links.insert(plan::ResultName::new(name), link.as_str()?.to_owned());
        }
        let undo = value.get("undo")?.as_array()?;
        Some(Self {
            start_time: value.get("start_time")?.as_u64()?,
            undo: undo.iter().map(undo_from_json).collect::<Option<_>>()?,
            made,
        })
    }
}

fn pairs<T: serde::Serialize>(
    map: &std::collections::BTreeMap<plan::ResultName, T>,
) -> serde_json::Map<String, serde_json::Value> {
    map.iter()
        .map(|(name, value)| (name.0.clone(), serde_json::to_value(value).unwrap_or_default()))
        .collect()
}

fn undo_to_json(undo: &Undo) -> serde_json::Value {
    let (kind, subject) = match undo {
        Undo::RemoveTree(path) => ("remove-tree", path),
        Undo::RemoveFile(path) => ("remove-file", path),
        Undo::RemoveIfCreated(path) => ("remove-if-created", path),
        Undo::RestoreOwner(path) => ("restore-owner", path),
        Undo::RemoveLink(name) => ("remove-link", &name.0),
        Undo::ReleasePort(name) => ("release-port", &name.0),
        Undo::EndHelper { pid_file } => ("end-helper", pid_file),
        Undo::RemoveCgroup(name) => ("remove-cgroup", name),
        Undo::EndQemu => return serde_json::json!(["end-qemu", ""]),
    };
    serde_json::json!([kind, subject])
}

fn undo_from_json(value: &serde_json::Value) -> Option<Undo> {
    let subject = value.get(1)?.as_str()?.to_owned();
    Some(match value.get(0)?.as_str()? {
        "remove-tree" => Undo::RemoveTree(subject),
        "remove-file" => Undo::RemoveFile(subject),
        "remove-if-created" => Undo::RemoveIfCreated(subject),
        "restore-owner" => Undo::RestoreOwner(subject),
        "remove-link" => Undo::RemoveLink(plan::ResultName::new(subject)),
        "release-port" => Undo::ReleasePort(plan::ResultName::new(subject)),
        "end-helper" => Undo::EndHelper { pid_file: subject },
        "remove-cgroup" => Undo::RemoveCgroup(subject),
        "end-qemu" => Undo::EndQemu,
        _ => return None,
    })
}

fn element(w: &mut Writer, name: &str, attrs: &[(&str, &str)]) {
    w.start(name);
    for (attr, value) in attrs {
        w.attr_str(attr, value);
    }
    w.end(name);
}

fn parent_of(path: &str) -> String {
    Path::new(path).parent().map_or_else(String::new, |parent| parent.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_survives_being_written_and_read() {
        let mut made = Made::default();
        made.created.insert("/n".into());
        made.ports.insert(plan::ResultName::new("vnc.port"), 5900);
        let undo = vec![
            Undo::RemoveTree("/a".into()),
            Undo::ReleasePort(plan::ResultName::new("vnc.port")),
            Undo::EndHelper { pid_file: "/p".into() },
            Undo::EndQemu,
        ];
        let sidecar = Sidecar { start_time: 42, undo: undo.clone(), made };
        let read = Sidecar::parse(sidecar.json().as_bytes()).expect("own format");
        assert_eq!((read.start_time, read.undo), (42, undo));
        assert_eq!(read.made.ports.len(), 1);
        assert!(Sidecar::parse(b"{").is_none());
        assert!(Sidecar::parse(b"{\"undo\":[[\"x\",\"y\"]]}").is_none());
    }

    #[test]
    fn what_is_no_status_is_refused_in_words() {
        for (text, expected) in [
            ("<domain/>", "its root element is <domain>, not <domstatus>"),
            ("<domstatus state='running' reason='booted'/>", "<domstatus> has no pid"),
            ("<domstatus state='x' reason='y' pid='1'/>", "its state 'x' (y) is unknown"),
        ] {
            assert_eq!(StatusContent::parse(text).map(|_| ()), Err(expected.to_owned()));
        }
    }
}
