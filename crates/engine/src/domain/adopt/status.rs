//! Status files of running domains: what a restarted daemon (ours or libvirtd) needs to take a
//! guest over. `NAME.xml` has libvirt's format; what we keep beyond it lies beside, in
//! `NAME.ivirt`.

use super::status_text::{Around, StatusText, Written, opening_tag};
use crate::domain::devices::blockjobs::BlockJob;
use crate::domain::devices::{Held, UpdateNote};
use crate::domain::save::SaveNote;
use crate::domain::start::teardown::Made;
use crate::domain::stored::store::os_words;
use crate::domain::tuning::LimitsNote;
use crate::domain::view::aliases;
use crate::domain::vm::taint::Taint;
use crate::layout::Layout;
use diag::{ErrorCode, Severity, VirError};
use host::access::FileId;
use host::files::{self, FileError, WriteMode};
use lifecycle::{PausedReason, Status};
use model::domain::Domain as Definition;
use model::domain::cpu::Cpu;
use model::domain::devices::disk::Disk;
use model::domain::status::{
    BlockJobs, CapsFlag, CapsFlags, DeviceAlias, DeviceAliases, DomStatus, Monitor, StatusIndex,
    StatusPath, VcpuPid, VcpuPids,
};
use plan::{LaunchPlan, Undo};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Largest status file that is read.
const FILE_MAX: usize = 16 << 20;

/// How the name of our own file ends: no longer than what libvirt's writes add to a name, so that
/// every name which libvirt can start can be started.
pub(in crate::domain) const SIDECAR: &str = "ivirt";

/// The status of one running domain and where it is written.
#[derive(Clone, Debug)]
pub(in crate::domain) struct StatusFile {
    path: PathBuf,
    pid_file: Option<PathBuf>,
    /// Its folder is on a file system in memory, where writing waits for no disk.
    in_memory: bool,
    content: Arc<StatusContent>,
    /// What was written last.
    written: Arc<Written>,
}

/// What a status file says.
#[derive(Clone, Debug)]
pub(in crate::domain) struct StatusContent {
    pub name: String,
    pub status: Status,
    pub pid: u32,
    pub monitor: String,
    pub lib_dir: String,
    pub channel_dir: String,
    pub memory_dir: String,
    pub vcpu_threads: Vec<i32>,
    pub flags: Vec<String>,
    /// The names of devices that QEMU has. Libvirtd takes what is here and not in QEMU for gone: a
    /// part of the board would be lost.
    pub devices: BTreeSet<String>,
    /// The CPU as configured, where the live definition is more precise.
    pub configured_cpu: Option<Cpu>,
    pub fake_reboot: bool,
    pub definition: Arc<Definition>,
    /// What libvirt records beyond this; its parts that have a field here are empty.
    rest: Arc<DomStatus>,
    /// The file's text before and behind the opening tag of its root, which tells state and reason:
    /// a guest that is stopped and run again needs no more than that formatted.
    around: OnceLock<Around>,
}

/// What only our own daemon keeps.
#[derive(Clone, Debug, Default)]
pub(in crate::domain) struct Sidecar {
    /// QEMU's process; 0 while there is none. The status file of another one is of a later run of the
    /// guest, which another daemon started: nothing of what is here is true of that.
    pub pid: u32,
    /// The process's start time, which with the pid identifies it.
    pub start_time: u64,
    /// What to take back when the guest stops.
    pub undo: Vec<Undo>,
    /// What taking back needs to know.
    pub made: Made,
    /// What is under way.
    pub pending: Pending,
}

/// What the next daemon has to finish or to take back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::domain) struct Pending {
    /// The save, dump or restore under way.
    pub note: Option<SaveNote>,
    /// The change of a device under way.
    pub update: Option<UpdateNote>,
    /// What QEMU has open still of devices that left.
    pub held: Vec<Held>,
    /// The change of limits under way.
    pub limits: Option<LimitsNote>,
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
            in_memory: files::in_memory(&folder),
            path: folder.join(format!("{name}.xml")),
            // A guest named "driver" cannot be started: that name's pid file is the daemon's own lock,
            // which must not be removed after the attempt.
            pid_file: plan
                .exec()
                .filter(|_| name != "driver")
                .map(|exec| PathBuf::from(&exec.pid_file)),
            content: Arc::new(StatusContent {
                name: name.to_owned(),
                status: Status::Paused(PausedReason::StartingUp),
                pid: 0,
                monitor: plan.monitor.path.clone(),
                lib_dir: parent_of(&plan.monitor.path),
                channel_dir: folder.join("channel").join(&short).display().to_string(),
                memory_dir: layout.qemu_lib().join("ram").join(&short).display().to_string(),
                vcpu_threads: Vec::new(),
                devices: plan.device_names(),
                flags: plan.flags.iter().map(|flag| (*flag).to_owned()).collect(),
                configured_cpu: plan.configured_cpu.clone(),
                fake_reboot: false,
                definition: Arc::new(definition.clone()),
                rest: Arc::new(DomStatus {
                    dbus_daemon: has_bus(plan),
                    ..nothing_else(plan::qemu::last_node(definition))
                }),
                around: OnceLock::new(),
            }),
            written: Arc::default(),
        }
    }

    /// A status that was read from `path`.
    pub fn found(path: PathBuf, content: StatusContent) -> Self {
        let pid_file = path.with_extension("pid");
        let in_memory = path.parent().is_some_and(files::in_memory);
        let (content, written) = (Arc::new(content), Arc::default());
        Self { path, pid_file: Some(pid_file), in_memory, content, written }
    }

    /// Whether writing waits for no disk.
    pub fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// The content to be changed.
    fn edit(&mut self) -> &mut StatusContent {
        let content = Arc::make_mut(&mut self.content);
        content.around.take();
        content
    }

    /// What it says now.
    pub fn content(&self) -> &StatusContent {
        &self.content
    }

    /// Sets state and reason.
    pub fn set_status(&mut self, status: Status) {
        // Not part of the text that is kept.
        Arc::make_mut(&mut self.content).status = status;
    }

    /// Sets whether the next power-off stands for a reboot; tells whether that is news.
    pub fn set_fake_reboot(&mut self, fake: bool) -> bool {
        if self.content.fake_reboot == fake {
            return false;
        }
        self.edit().fake_reboot = fake;
        true
    }

    /// Sets the process id.
    pub fn set_pid(&mut self, pid: u32) {
        self.edit().pid = pid;
    }

    /// The greatest number that an image of the guest has or had.
    pub fn last_node(&self) -> u32 {
        let noted = self.content.rest.nodename.as_ref().map_or(0, |index| index.index);
        u32::try_from(noted).unwrap_or(0).max(greatest_node(&self.content.definition))
    }

    /// Notes that an image got this number: libvirtd, too, gives none twice.
    pub fn note_node(&mut self, number: u32) {
        let content = self.edit();
        let rest = Arc::make_mut(&mut content.rest);
        let noted = rest.nodename.get_or_insert(StatusIndex { index: 0 });
        noted.index = noted.index.max(number.into());
    }

    /// The jobs of the guest's images.
    pub fn block_jobs(&self) -> Vec<BlockJob> {
        let jobs = self.content.rest.block_jobs.iter().flat_map(|jobs| &jobs.jobs);
        jobs.filter_map(BlockJob::from_status).collect()
    }

    /// Sets them; what libvirtd noted of others stays.
    pub fn set_block_jobs(&mut self, jobs: &[BlockJob]) {
        let rest = Arc::make_mut(&mut self.edit().rest);
        let noted = rest.block_jobs.take().map(|noted| noted.jobs).unwrap_or_default();
        let mut all: Vec<_> =
            noted.into_iter().filter(|job| BlockJob::from_status(job).is_none()).collect();
        all.extend(jobs.iter().filter_map(BlockJob::to_status));
        let active = if all.is_empty() { xml::YesNo::No } else { xml::YesNo::Yes };
        rest.block_jobs = Some(BlockJobs { active, jobs: all });
    }

    /// How long answers of the guest's agent are waited for, as the wire has it.
    pub fn agent_seconds(&self) -> Option<i32> {
        self.content.rest.agent_timeout
    }

    /// Sets that.
    pub fn set_agent_seconds(&mut self, seconds: i32) {
        Arc::make_mut(&mut self.edit().rest).agent_timeout = Some(seconds);
    }

    /// The live definition.
    pub fn definition(&self) -> &Definition {
        &self.content.definition
    }

    /// What makes support harder.
    pub fn taints(&self) -> BTreeSet<Taint> {
        let words = self.content.rest.taints.iter();
        words.filter_map(|taint| Taint::from_word(&taint.flag)).collect()
    }

    /// Adds to what makes support harder; tells whether that is news.
    pub fn add_taint(&mut self, taint: Taint) -> bool {
        if self.taints().contains(&taint) {
            return false;
        }
        let rest = Arc::make_mut(&mut self.edit().rest);
        rest.taints.push(model::domain::status::Taint { flag: taint.word().to_owned() });
        rest.taints.sort_by_key(|taint| Taint::from_word(&taint.flag));
        true
    }

    /// Sets the live definition.
    pub fn set_definition(&mut self, definition: &Definition) {
        let content = self.edit();
        let before = aliases(&content.definition);
        let now = aliases(definition);
        // What came was plugged into QEMU.
        content.devices.retain(|name| now.contains(name) || !before.contains(name));
        content.devices.extend(now.difference(&before).cloned());
        content.definition = Arc::new(definition.clone());
    }

    /// Sets the threads of the virtual CPUs, in the order of their numbers.
    pub fn set_vcpu_threads(&mut self, threads: Vec<i32>) {
        self.edit().vcpu_threads = threads;
    }

    /// Writes the file: whole or not at all, and not again what it says already.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self) -> Result<(), VirError> {
        let text = self.content.text();
        self.written.write(&self.path, text, self.in_memory).map_err(unwritten)
    }

    /// Writes what only we keep.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_sidecar(&self, sidecar: &Sidecar) -> Result<(), VirError> {
        let path = self.path.with_extension(SIDECAR);
        files::write_atomic(&path, sidecar.json().as_bytes(), WriteMode::RUNTIME).map_err(unwritten)
    }

    /// Reads what only we keep; none where libvirtd started the guest.
    pub fn read_sidecar(&self) -> Option<Sidecar> {
        Sidecar::read(&self.path.with_extension(SIDECAR))
    }

    /// Removes the files of a domain that no longer runs.
    ///
    /// # Errors
    /// Those of removing; what is not there is none.
    pub fn remove(&self) -> io::Result<()> {
        if let Some(pid_file) = &self.pid_file {
            files::remove(pid_file, false).map_err(|error| error.source)?;
        }
        files::remove(&self.path.with_extension(SIDECAR), false).map_err(|e| e.source)?;
        files::remove(&self.path, false).map_err(|error| error.source)?;
        Ok(())
    }

    /// Reads a status file.
    ///
    /// # Errors
    /// In words, when it cannot be read or does not say what is needed.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = files::read_own(path, FILE_MAX).map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?;
        Ok(Self::found(path.to_path_buf(), StatusContent::parse(&text)?))
    }
}

/// The greatest number among the images of a definition.
fn greatest_node(definition: &Definition) -> u32 {
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    let numbers = disks
        .flat_map(Disk::images)
        .flat_map(|image| [image.number, image.source.data_source().and_then(|data| data.index)]);
    numbers.flatten().max().unwrap_or(0)
}

impl StatusContent {
    /// The whole file.
    fn text(&self) -> StatusText {
        if let Some(around) = self.around.get() {
            return StatusText::new(Arc::clone(around), self.status, self.pid);
        }
        let text = self.whole_text();
        let Some((before, behind)) = text.split_once(&opening_tag(self.status, self.pid)) else {
            return StatusText::rigid(text);
        };
        let around = self.around.get_or_init(|| Arc::new((before.into(), behind.into())));
        StatusText::new(Arc::clone(around), self.status, self.pid)
    }

    /// The same, formatted. What libvirtd recorded and we have no word of our own for stays as it was.
    fn whole_text(&self) -> String {
        let word = |text: &str| (!text.is_empty()).then(|| StatusPath { path: text.to_owned() });
        let threads = self.vcpu_threads.iter().enumerate();
        let threads: Vec<_> = threads
            .map(|(id, pid)| VcpuPid { id: u32::try_from(id).unwrap_or(0), pid: i64::from(*pid) })
            .collect();
        let aliases = self.devices.iter().map(|alias| DeviceAlias { alias: alias.clone() });
        let aliases: Vec<_> = aliases.collect();
        let flags = self.flags.iter().map(|name| CapsFlag { name: name.clone() }).collect();
        let file = DomStatus {
            state: self.status.state_word().to_owned(),
            reason: Some(self.status.reason_word().to_owned()),
            pid: i64::from(self.pid),
            monitor: Some(Monitor { path: self.monitor.clone(), kind: "unix".to_owned() }),
            vcpus: (!threads.is_empty()).then_some(VcpuPids { list: threads }),
            qemu_caps: Some(CapsFlags { flags }),
            device_aliases: (!aliases.is_empty()).then_some(DeviceAliases { list: aliases }),
            lib_dir: word(&self.lib_dir),
            channel_target_dir: word(&self.channel_dir),
            memory_backing_dir: word(&self.memory_dir),
            cpu: self.configured_cpu.clone(),
            fake_reboot: self.fake_reboot,
            domain: Arc::clone(&self.definition),
            ..(*self.rest).clone()
        };
        model::domain::status::format_file(&file)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parsed = model::domain::status::parse(text);
        let Some(mut file) = parsed.status else {
            let fault = parsed.diagnostics.iter().find(|d| d.severity == Severity::Error);
            return Err(fault
                .map_or_else(|| "it is no status file".to_owned(), |fault| fault.message.clone()));
        };
        let reason = file.reason.take().unwrap_or_default();
        let status = Status::parse(&file.state, &reason)
            .ok_or_else(|| format!("its state '{}' ({reason}) is unknown", file.state))?;
        let monitor = file.monitor.take().ok_or("it names no monitor")?.path;
        let path = |path: Option<StatusPath>| path.map(|path| path.path).unwrap_or_default();
        let lib_dir = path(file.lib_dir.take());
        let definition = std::mem::take(&mut file.domain);
        Ok(Self {
            name: definition.name.clone(),
            status,
            pid: u32::try_from(file.pid).unwrap_or(0),
            lib_dir: if lib_dir.is_empty() { parent_of(&monitor) } else { lib_dir },
            channel_dir: path(file.channel_target_dir.take()),
            memory_dir: path(file.memory_backing_dir.take()),
            monitor,
            vcpu_threads: file
                .vcpus
                .take()
                .map(|vcpus| vcpus.list.iter().filter_map(|v| i32::try_from(v.pid).ok()).collect())
                .unwrap_or_default(),
            flags: file
                .qemu_caps
                .take()
                .map(|caps| caps.flags.into_iter().map(|flag| flag.name).collect())
                .unwrap_or_default(),
            devices: file
                .device_aliases
                .take()
                .map(|devices| devices.list.into_iter().map(|device| device.alias).collect())
                .unwrap_or_default(),
            configured_cpu: file.cpu.take(),
            fake_reboot: file.fake_reboot,
            definition,
            rest: Arc::new(file),
            around: OnceLock::new(),
        })
    }
}

/// Whether the guest gets a bus of its own, which libvirtd ends where its status says so.
fn has_bus(plan: &LaunchPlan) -> bool {
    plan.steps.iter().any(|step| {
        matches!(&step.action, plan::Action::Helper(helper) if helper.program == "dbus-daemon")
    })
}

/// What a status of our own says besides the guest: no block job, no agent timeout of its own.
fn nothing_else(last_node: u32) -> DomStatus {
    DomStatus {
        remember_owner: true,
        nodename: Some(StatusIndex { index: last_node.into() }),
        fdset: Some(StatusIndex { index: 0 }),
        block_jobs: Some(BlockJobs { active: xml::YesNo::No, jobs: Vec::new() }),
        agent_timeout: Some(AGENT_WAITS),
        ..DomStatus::default()
    }
}

/// Agent calls wait as long as the agent takes (`VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK`).
const AGENT_WAITS: i32 = -2;

impl Sidecar {
    /// Reads such a file; none where there is none, or it cannot be understood.
    pub fn read(path: &Path) -> Option<Self> {
        Self::parse(&files::read_own(path, FILE_MAX).ok()?)
    }

    fn json(&self) -> String {
        let undo: Vec<_> = self.undo.iter().map(undo_to_json).collect();
        let lent = self.made.lent.as_ref().map(|lent| {
            let files = lent.iter().map(|(path, file)| (path, [file.device, file.inode]));
            files.collect::<BTreeMap<_, _>>()
        });
        serde_json::json!({
            "pid": self.pid,
            "start_time": self.start_time,
            "undo": undo,
            "created": self.made.created,
            "ports": pairs(&self.made.ports),
            "links": pairs(&self.made.links),
            "lent": lent,
            "cgroup": self.made.cgroup,
            "save": self.pending.note.as_ref().map(SaveNote::to_json),
            "update": self.pending.update.as_ref().map(UpdateNote::to_json),
            "limits": self.pending.limits.as_ref().map(LimitsNote::to_json),
            "held": self.pending.held.iter().map(Held::to_json).collect::<Vec<_>>(),
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
        if let Some(files) = object("lent") {
            let mut lent = BTreeMap::new();
            for (path, file) in files {
                let device = file.get(0)?.as_u64()?;
                let inode = file.get(1)?.as_u64()?;
                lent.insert(path.clone(), FileId { device, inode });
            }
            made.lent = Some(lent);
        }
        made.cgroup = value.get("cgroup").and_then(|path| path.as_str()).map(str::to_owned);
        let undo = value.get("undo")?.as_array()?;
        let held = value.get("held").and_then(serde_json::Value::as_array);
        Some(Self {
            pid: u32::try_from(value.get("pid")?.as_u64()?).ok()?,
            start_time: value.get("start_time")?.as_u64()?,
            undo: undo.iter().map(undo_from_json).collect::<Option<_>>()?,
            made,
            pending: Pending {
                note: value.get("save").and_then(SaveNote::from_json),
                update: value.get("update").and_then(UpdateNote::from_json),
                limits: value.get("limits").and_then(LimitsNote::from_json),
                held: held.into_iter().flatten().filter_map(Held::from_json).collect(),
            },
        })
    }
}

fn pairs<T: serde::Serialize>(
    map: &BTreeMap<plan::ResultName, T>,
) -> serde_json::Map<String, serde_json::Value> {
    map.iter()
        .map(|(name, value)| (name.0.clone(), serde_json::to_value(value).unwrap_or_default()))
        .collect()
}

/// One step of taking back, as it lies in our file.
pub(in crate::domain) fn undo_to_json(undo: &Undo) -> serde_json::Value {
    let (kind, subject) = match undo {
        Undo::RemoveTree(path) => ("remove-tree", path),
        Undo::RemoveFile(path) => ("remove-file", path),
        Undo::RemoveSocket(path) => ("remove-socket", path),
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

/// From our file; none where it cannot be understood.
pub(in crate::domain) fn undo_from_json(value: &serde_json::Value) -> Option<Undo> {
    let subject = value.get(1)?.as_str()?.to_owned();
    Some(match value.get(0)?.as_str()? {
        "remove-tree" => Undo::RemoveTree(subject),
        "remove-file" => Undo::RemoveFile(subject),
        "remove-socket" => Undo::RemoveSocket(subject),
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

fn parent_of(path: &str) -> String {
    Path::new(path).parent().map_or_else(String::new, |parent| parent.display().to_string())
}

/// The error of a status file, or of the file beside it, that could not be written.
fn unwritten(error: FileError) -> VirError {
    let (path, why) = (error.path.display(), os_words(&error.source));
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("cannot write the status file '{path}': {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_survives_being_written_and_read() {
        let mut made = Made::default();
        made.created.insert("/n".into());
        made.ports.insert(plan::ResultName::new("vnc.port"), 5900);
        made.cgroup = Some("a.partition/qemu-1-b.libvirt-qemu".to_owned());
        made.lent =
            Some(BTreeMap::from([("/d".to_owned(), FileId { device: 1, inode: u64::MAX })]));
        let undo = vec![
            Undo::RemoveTree("/a".into()),
            Undo::RemoveSocket("/s.sock".into()),
            Undo::ReleasePort(plan::ResultName::new("vnc.port")),
            Undo::EndHelper { pid_file: "/p".into() },
            Undo::EndQemu,
        ];
        let note = Some(SaveNote::Restored { path: "/s".into(), file: (1, 2) });
        let held = Held { nodes: vec!["libvirt-2-storage".into()], undo: undo.clone() };
        let pending = Pending { note, held: vec![held], ..Pending::default() };
        let sidecar = Sidecar {
            pid: 7,
            start_time: 42,
            undo: undo.clone(),
            made: made.clone(),
            pending: pending.clone(),
        };
        let read = Sidecar::parse(sidecar.json().as_bytes()).expect("own format");
        assert_eq!((read.pid, read.start_time), (7, 42));
        assert_eq!((read.undo, read.pending), (undo, pending));
        assert_eq!(read.made.ports.len(), 1);
        assert_eq!((read.made.lent, read.made.cgroup), (made.lent, made.cgroup));
        assert!(Sidecar::parse(b"{").is_none());
        assert!(Sidecar::parse(b"{\"undo\":[[\"x\",\"y\"]]}").is_none());
    }

    #[test]
    fn what_is_no_status_is_refused_in_words() {
        for (text, expected) in [
            (
                "<domstatus state='x' reason='y' pid='1'><monitor path='/m' type='unix'/>\
                 <domain type='qemu'><name>a</name><memory>1</memory></domain></domstatus>",
                "its state 'x' (y) is unknown",
            ),
            (
                "<domstatus state='running' reason='booted' pid='1'>\
                 <domain type='qemu'><name>a</name><memory>1</memory></domain></domstatus>",
                "it names no monitor",
            ),
        ] {
            assert_eq!(StatusContent::parse(text).map(|_| ()), Err(expected.to_owned()));
        }
        for text in ["<domain/>", "<domstatus state='running' reason='booted'/>", "", "<domst"] {
            assert!(StatusContent::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_kept_tells_the_state_of_the_day() {
        let text = "<domstatus state='running' reason='booted' pid='7'>\
            <monitor path='/x/m' type='unix'/><vcpus><vcpu id='0' pid='8'/></vcpus>\
            <domain type='qemu' id='3'><name>a</name><memory>1</memory></domain></domstatus>";
        let content = StatusContent::parse(text).expect("libvirt's format");
        let mut file = StatusFile::found(PathBuf::from("/nowhere/a.xml"), content);
        assert_eq!(
            file.write().expect_err("no such folder").message(),
            "cannot write the status file '/nowhere/a.xml': No such file or directory"
        );
        let states = [
            Status::Running(lifecycle::RunningReason::Booted),
            Status::Paused(PausedReason::User),
            Status::Running(lifecycle::RunningReason::Unpaused),
        ];
        for status in states {
            file.set_status(status);
            let (kept, formatted) = (file.content().text().whole(), file.content().whole_text());
            assert!(kept.lines().map(str::trim_end).eq(formatted.lines()), "{kept}");
            assert!(file.content().around.get().is_some());
        }
        file.set_vcpu_threads(vec![9]);
        assert!(file.content().text().whole().contains("<vcpu id='0' pid='9'/>"));
    }

    #[test]
    fn what_libvirtd_recorded_beyond_us_stays() {
        let text = "<domstatus state='running' reason='booted' pid='7'>\
            <taint flag='custom-argv'/><monitor path='/x/m' type='unix'/>\
            <vcpus><vcpu id='0' pid='8'/></vcpus><libDir path='/x'/><allowReboot value='yes'/>\
            <nodename index='4'/><blockjobs active='no'/><agentTimeout>5</agentTimeout>\
            <domain type='qemu' id='3'><name>a</name><memory>1</memory></domain></domstatus>";
        let read = StatusContent::parse(text).expect("libvirt's format");
        assert_eq!((read.pid, read.vcpu_threads.as_slice(), &*read.monitor), (7, &[8][..], "/x/m"));
        let written = read.text().whole();
        for kept in [
            "<taint flag='custom-argv'/>",
            "<allowReboot value='yes'/>",
            "<nodename index='4'/>",
            "<agentTimeout>5</agentTimeout>",
            "<vcpu id='0' pid='8'/>",
            "<domain type='qemu' id='3'>",
        ] {
            assert!(written.contains(kept), "{kept} is not in\n{written}");
        }
    }
}
