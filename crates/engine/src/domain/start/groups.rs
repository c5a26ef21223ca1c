//! A guest's control groups: made by us, or in the scope that systemd-machined has for it, and taken
//! away with it.

use crate::domain::start::limits;
use crate::domain::start::results::Results;
use crate::domain::start::teardown::is_helper;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::cgroup::{CgroupError, Cgroups, MachineGroup, Part};
use host::dbus::BusError;
use host::machined::{self, Machine, Presence};
use plan::Undo;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// How many names are tried for a guest's control groups.
const CGROUPS_MAX: u32 = 50;

/// The partition of guests that ask for none.
const PARTITION: &str = "/machine";

impl Engine {
    /// Makes a guest's control groups with its limits: the results tell where they are below the
    /// hierarchies, and the files that its process has to be written to. May block.
    pub(in crate::domain) fn make_cgroup(
        &self,
        domain: &str,
        cgroup: &plan::Cgroup,
        results: &mut Results,
    ) -> Result<(), VirError> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let group = match self.register(cgroups, domain, cgroup, results)? {
            Some(group) => Ok(group),
            None => self.claim_cgroup(cgroups, domain, cgroup),
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => {
                if cgroup.settings.iter().any(|(name, _)| name != "cpuset_mems") {
                    return Err(VirError::new(ErrorCode::SYSTEM_ERROR, error.to_string())
                        .hint("the guest's definition has limits that need its control group"));
                }
                // Accounting is lost, the guest is not.
                tracing::warn!(domain, %error, "control group not made");
                return Ok(());
            }
        };
        // Known before anything can fail: it is taken back.
        results.cgroup = Some(group.relative().display().to_string());
        results.cgroup_files = group.join_files(Part::Emulator);
        limits::limit_guest(cgroups, &group, &cgroup.settings)?;
        self.guard_devices(&group, &cgroup.devices)
    }

    /// Registers a guest with machined, where the host has one, and makes its groups in the scope that
    /// it gets there. `None`: it gets groups of ours; why, where there is a machined, is in the logs.
    ///
    /// # Errors
    /// The guest is to be in a partition that only systemd knows, and cannot be.
    fn register(
        &self,
        cgroups: &Cgroups,
        domain: &str,
        cgroup: &plan::Cgroup,
        results: &mut Results,
    ) -> Result<Option<MachineGroup>, VirError> {
        let (Some(machined), Some(leader)) = (cgroups.machined(), results.leader.take()) else {
            return Ok(None);
        };
        let why = match machined.presence() {
            Presence::Absent => return Ok(None),
            Presence::Stuck => "systemd-machined did not answer lately".to_owned(),
            Presence::There => {
                // Where the helper could not be started, that is what is told.
                let Ok(leader) = leader.blocking_recv() else { return Ok(None) };
                let name = machined::machine_name(results.id, domain);
                let slice = machined::slice_of(&cgroup.partition);
                let machine = Machine { name: &name, uuid: results.uuid, leader, slice: &slice };
                match machined.register(&machine) {
                    Ok(()) => match cgroups.enter_scope(&machined::scope_of(&name), leader) {
                        Ok(Some(group)) => return Ok(Some(group)),
                        Ok(None) => "systemd made no scope for it".to_owned(),
                        Err(error) => error.to_string(),
                    },
                    Err(BusError::Refused { name, text }) => format!("GDBus.Error:{name}: {text}"),
                    Err(BusError::Lost(error)) => {
                        // It may be moved into a scope at any time: it becomes no guest.
                        results.leader_is_lost = true;
                        match error.kind() {
                            ErrorKind::TimedOut => "Timeout was reached".to_owned(),
                            _ => error.to_string(),
                        }
                    }
                }
            }
        };
        if cgroup.partition != PARTITION {
            return Err(VirError::new(ErrorCode::DBUS_SERVICE, why).hint(format!(
                "the guest's <partition> '{}' is a slice of systemd, which gets its guests by \
                 systemd-machined",
                cgroup.partition
            )));
        }
        let text = format!("not registered with systemd-machined: {why}");
        tracing::warn!(domain, why, "the guest is not registered with systemd-machined");
        self.note_in_log(domain, results.uuid, &text);
        Ok(None)
    }

    /// Moves helpers of a guest, known by what takes them back, to where QEMU's own threads are: what
    /// they use is the guest's. May block.
    pub(in crate::domain) fn place_helpers<'a>(
        &self,
        domain: &str,
        qemu: u32,
        undo: impl Iterator<Item = &'a Undo>,
    ) {
        let pid_files = undo.filter_map(|step| match step {
            Undo::EndHelper { pid_file } => Some(pid_file),
            _ => None,
        });
        let mut pid_files = pid_files.peekable();
        if pid_files.peek().is_none() {
            return;
        }
        let Some(group) = self.cgroups.as_ref().and_then(|all| all.machine_of(qemu)) else {
            return;
        };
        for pid_file in pid_files {
            let pid = host::lock::written_pid(Path::new(pid_file));
            let mut next = Vec::from_iter(pid.filter(|pid| is_helper(*pid, pid_file)));
            // What it makes from then on begins there; virtiofsd's work is done by one that it made.
            while let Some(pid) = next.pop() {
                match group.move_process(Part::Emulator, pid) {
                    Ok(()) => next.extend(host::process::children(pid)),
                    Err(error) => {
                        tracing::debug!(domain, pid_file, %error, "a helper is not in its guest's group");
                    }
                }
            }
        }
    }

    /// Groups for a guest that nobody else is in. A group of that name with processes in it is
    /// somebody else's (a guest that another daemon lost sight of), and is left alone.
    fn claim_cgroup(
        &self,
        cgroups: &Cgroups,
        domain: &str,
        cgroup: &plan::Cgroup,
    ) -> Result<MachineGroup, CgroupError> {
        let mut group = cgroups.machine(&cgroup.partition, &self.cgroup_name(&cgroup.name));
        for attempt in 1..=CGROUPS_MAX {
            if group.claim()? {
                if let Err(error) = group.create(Part::Emulator) {
                    let _ = group.remove(Part::Machine);
                    return Err(error);
                }
                return Ok(group);
            }
            let path = group.relative().display();
            tracing::warn!(domain, %path, "a control group is in use; the guest gets another");
            let name = self.cgroup_name(&format!("{}-{attempt}", cgroup.name));
            group = cgroups.machine(&cgroup.partition, &name);
        }
        let (path, source) = (group.relative().to_owned(), ErrorKind::AlreadyExists.into());
        Err(CgroupError { action: "create", path, source })
    }

    /// What the control group of a guest is called that libvirt calls `qemu-ID-NAME`.
    fn cgroup_name(&self, name: &str) -> String {
        format!("{name}{}{}", self.layout.cgroup_mark(), host::cgroup::SUFFIX)
    }

    /// Removes a guest's control groups: those at `made`, or, where nobody wrote down where they
    /// are, all of this name.
    pub(in crate::domain) fn remove_cgroup(
        &self,
        name: &str,
        made: Option<&str>,
    ) -> Result<(), String> {
        let Some(cgroups) = &self.cgroups else { return Ok(()) };
        let groups = match made {
            Some(path) => {
                vec![cgroups.at(Path::new(path)).ok_or_else(|| format!("no group: {path}"))?]
            }
            None => cgroups.named(&self.cgroup_name(name)),
        };
        let removed = groups.iter().map(|group| group.remove(Part::Machine));
        removed.fold(Ok(()), Result::and).map_err(|error| error.to_string())
    }

    /// Has machined forget a guest that ended, and systemd its scope with whatever is left in it.
    /// `cgroup` is where its groups were. Nobody has to wait for that.
    pub(in crate::domain) fn unregister(
        &self,
        domain: &str,
        cgroup: Option<&str>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let cgroups = self.cgroups.as_ref()?;
        let group = cgroups.at(Path::new(cgroup?))?;
        let machine = machined::machine_of(group.scope()?)?;
        let machined = Arc::clone(cgroups.machined()?);
        let domain = domain.to_owned();
        Some(self.runtime().spawn_blocking(move || {
            if machined.presence() == Presence::There
                && let Err(error) = machined.terminate(&machine)
            {
                // It knows by itself when a scope is empty.
                tracing::debug!(domain, machine, %error, "machined was not told of its end");
            }
        }))
    }

    /// Where a running guest's control groups are.
    pub(in crate::domain) fn cgroup_of(&self, pid: u32) -> Option<String> {
        let group = self.cgroups.as_ref()?.machine_of(pid)?;
        Some(group.relative().display().to_string())
    }
}
