//! What the steps of a plan yielded, by name, and how it gets into QEMU's command line.

use crate::domain::start::teardown::Made;
use crate::engine::Engine;
use diag::VirError;
use host::access::FileId;
use host::spawn::{Credentials, Resource, ResourceLimit, SpawnSpec};
use plan::qemu::ResultValue;
use plan::{Arg, Exec, Piece, ResultName};
use qmp::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tokio::sync::oneshot;

/// The first number given to a descriptor passed on to QEMU.
const FIRST_FD: i32 = 10;

/// Named results.
#[derive(Debug, Default)]
pub(in crate::domain) struct Results {
    /// Who holds the locks of its disks, and for whom.
    pub lock_owner: Option<(PathBuf, host::lock_daemon::Guest)>,
    /// Descriptors not handed over yet.
    pub fds: BTreeMap<ResultName, OwnedFd>,
    /// Reserved ports.
    pub ports: BTreeMap<ResultName, u16>,
    /// Context ids of guests.
    pub cids: BTreeMap<ResultName, u32>,
    /// Names of network devices, and what their removal needs.
    pub links: BTreeMap<ResultName, String>,
    /// Answers of QEMU.
    pub values: BTreeMap<ResultName, Value>,
    /// Secrets, sealed, and the vectors they were sealed with.
    pub secrets: BTreeMap<ResultName, (String, String)>,
    /// Files that this start made.
    pub created: BTreeSet<String>,
    /// Files that this start lent to QEMU's user.
    pub lent: BTreeMap<String, FileId>,
    /// The guest's number.
    pub id: u32,
    /// The guest's UUID, for those who are asked to do something for it.
    pub uuid: [u8; 16],
    /// Where in its log QEMU begins, where a log daemon has it.
    pub log_position: Option<host::log_daemon::Position>,
    /// The log, once open.
    pub log_path: Option<PathBuf>,
    /// The log's descriptor, for QEMU's output.
    pub log: Option<OwnedFd>,
    /// Where the control groups are, once made.
    pub cgroup: Option<String>,
    /// Control group files QEMU's process has to be written to.
    pub cgroup_files: Vec<PathBuf>,
    /// Tells the process that becomes QEMU, as soon as there is one.
    pub leader: Option<oneshot::Receiver<u32>>,
    /// Somebody may move that process to where it does not belong: another one has to become QEMU.
    pub leader_is_lost: bool,
}

impl Results {
    /// What taking back needs to know.
    pub fn made(&self) -> Made {
        Made {
            created: self.created.clone(),
            ports: self.ports.clone(),
            links: self.links.clone(),
            lent: Some(self.lent.clone()),
            cgroup: self.cgroup.clone(),
        }
    }

    /// An argument with its results put in; `numbers` collects which descriptor gets which number.
    pub fn render(&self, arg: &Arg, numbers: &mut BTreeMap<ResultName, i32>) -> String {
        arg.render(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Fd(name) => {
                let next = FIRST_FD + i32::try_from(numbers.len()).unwrap_or(0);
                numbers.entry(name.clone()).or_insert(next).to_string()
            }
            Piece::Port(name) => self.port(name).to_string(),
            Piece::Cid(name) => self.cids.get(name).copied().unwrap_or(0).to_string(),
            Piece::VncDisplay(name) => self.port(name).saturating_sub(5900).to_string(),
            Piece::Secret(name) => self.secrets.get(name).map(|s| s.0.clone()).unwrap_or_default(),
            Piece::SecretIv(name) => {
                self.secrets.get(name).map(|s| s.1.clone()).unwrap_or_default()
            }
        })
    }

    /// What the live definition is completed with.
    pub fn observed(&self) -> plan::qemu::Results {
        let values = self.values.iter().map(|(n, v)| (n.clone(), ResultValue::Json(v.clone())));
        let ports = self.ports.iter().map(|(n, p)| (n.clone(), ResultValue::Port(*p)));
        let links = self.links.iter().map(|(n, l)| (n.clone(), ResultValue::Text(l.clone())));
        let cids = self.cids.iter().map(|(n, cid)| (n.clone(), ResultValue::Cid(*cid)));
        values.chain(ports).chain(links).chain(cids).collect()
    }

    /// The threads of QEMU that a setting is about: `vcpu0`, `emulator`, `iothread1`.
    pub fn threads_of(&self, name: &str) -> Vec<u32> {
        let answer = |key: &str| {
            let list = self.values.get(&ResultName::new(key)).and_then(Value::as_array);
            list.map_or(&[][..], Vec::as_slice)
        };
        let thread = |item: &Value| u32::try_from(item.get("thread-id")?.as_u64()?).ok();
        if let Some(number) = name.strip_prefix("vcpu") {
            let wanted = number.parse::<u64>().ok();
            let cpus = answer("qmp.cpus").iter();
            return cpus
                .filter(|cpu| cpu.get("cpu-index").and_then(Value::as_u64) == wanted)
                .filter_map(thread)
                .collect();
        }
        answer("qmp.iothreads")
            .iter()
            .filter(|item| item.get("id").and_then(Value::as_str) == Some(name))
            .filter_map(thread)
            .collect()
    }

    fn port(&self, name: &ResultName) -> u16 {
        self.ports.get(name).copied().unwrap_or(0)
    }

    /// The start specification of QEMU; takes the descriptors that it mentions.
    pub fn spawn_spec(&mut self, engine: &Engine, exec: &Exec) -> Result<SpawnSpec, VirError> {
        let log = self.log.take().ok_or_else(|| VirError::internal("a plan without a log"))?;
        let mut numbers = BTreeMap::new();
        let args: Vec<OsString> =
            exec.args.iter().map(|arg| self.render(arg, &mut numbers).into()).collect();
        for name in &exec.extra_fds {
            let next = FIRST_FD + i32::try_from(numbers.len()).unwrap_or(0);
            numbers.entry(name.clone()).or_insert(next);
        }
        let mut spec = SpawnSpec::new(&exec.program, log);
        spec.args = args;
        spec.env = environment(engine, exec);
        spec.directory = PathBuf::from(&exec.cwd);
        if let Some(ids) = exec.owner {
            spec.user = Some(Credentials {
                uid: ids.uid,
                gid: ids.gid,
                groups: engine.groups_of(ids.uid, ids.gid),
            });
            spec.clear_capabilities = true;
        }
        // Its group may connect to the sockets that QEMU makes.
        spec.umask = 0o002;
        spec.limits = limits(exec)?;
        spec.cgroups = std::mem::take(&mut self.cgroup_files);
        spec.locks = self.lock_owner.take();
        spec.pid_file = Some(PathBuf::from(&exec.pid_file));
        for (name, number) in numbers {
            let fd = self.fds.remove(&name).ok_or_else(|| {
                VirError::internal(format!("no step yielded the descriptor '{}'", name.0))
            })?;
            spec.fds.push((fd, number));
        }
        Ok(spec)
    }
}

/// The environment as the plan says; values it leaves to the daemon are the daemon's own.
fn environment(engine: &Engine, exec: &Exec) -> Vec<(OsString, OsString)> {
    exec.env
        .iter()
        .filter_map(|(name, value)| {
            let value = match value {
                Some(value) => OsString::from(value),
                None => engine.environment.get(name)?.clone(),
            };
            Some((name.into(), value))
        })
        .collect()
}

fn limits(exec: &Exec) -> Result<Vec<ResourceLimit>, VirError> {
    exec.rlimits
        .iter()
        .map(|(name, value)| {
            let resource = match name.as_str() {
                "memlock" => Resource::Memlock,
                "nofile" => Resource::Nofile,
                "nproc" => Resource::Nproc,
                "core" => Resource::Core,
                other => {
                    return Err(VirError::internal(format!("no resource limit '{other}'")));
                }
            };
            Ok(ResourceLimit { resource, soft: Some(*value), hard: Some(*value) })
        })
        .collect()
}
