//! TPMs: swtpm beside QEMU, or the host's.

use super::build::{Build, Props, comma};
use super::words::Address;
use crate::step::{Access, Action, Arg, Helper, Ids, Step, Undo};
use model::domain::devices::tpm::*;

impl Build<'_> {
    /// All TPMs.
    pub(super) fn tpms(&mut self) {
        for tpm in &self.dev.tpms {
            self.tpm(tpm);
        }
    }

    fn tpm(&mut self, tpm: &Tpm) {
        let id = self.alias(&tpm.alias, "<tpm>");
        match tpm.backend.kind {
            TpmBackendType::Emulator => {
                self.need("tpm-emulator", "<backend type='emulator'>");
                let socket = self.swtpm(tpm);
                self.opt("-chardev", &format!("socket,id=chrtpm,path={}", comma(&socket)));
                self.opt("-tpmdev", &format!("emulator,id=tpm-{id},chardev=chrtpm"));
            }
            TpmBackendType::External => {
                self.need("tpm-emulator", "<backend type='external'>");
                let source = tpm.backend.source.as_ref();
                let path = source.map(|source| source.path.clone()).unwrap_or_default();
                self.opt("-chardev", &format!("socket,id=chrtpm,path={}", comma(&path)));
                self.opt("-tpmdev", &format!("emulator,id=tpm-{id},chardev=chrtpm"));
            }
            TpmBackendType::Passthrough => {
                self.need("tpm-passthrough", "<backend type='passthrough'>");
                let device = tpm.backend.device.as_ref();
                let path = device.map_or("/dev/tpm0".to_string(), |device| device.path.clone());
                let name = path.rsplit('/').next().unwrap_or_default().to_string();
                let cancel = format!("/sys/class/misc/{name}/device/cancel");
                let mut sets = Vec::new();
                for (path, part) in [(path, "tpm"), (cancel, "cancel")] {
                    let result = format!("{id}-{part}");
                    let step = Step::new(Action::OpenFile {
                        path,
                        access: Access::ReadWrite,
                        create_append: false,
                    });
                    self.steps.push(step.yields(result.clone()));
                    sets.push(self.fdset(&result, &result));
                }
                let path = sets.first().cloned().unwrap_or_default();
                let cancel = sets.get(1).cloned().unwrap_or_default();
                self.opt(
                    "-tpmdev",
                    &format!("passthrough,id=tpm-{id},path={path},cancel-path={cancel}"),
                );
            }
        }
        let driver = match tpm.model.unwrap_or_default() {
            TpmModel::TpmTis if self.arch == "aarch64" || self.arch == "riscv64" => {
                "tpm-tis-device"
            }
            TpmModel::TpmTis => "tpm-tis",
            TpmModel::TpmCrb => "tpm-crb",
            TpmModel::TpmSpapr => "tpm-spapr",
            TpmModel::SpaprTpmProxy => "spapr-tpm-proxy",
        };
        let mut props = Props::device(driver).set("tpmdev", format!("tpm-{id}")).set("id", id);
        if let Some(Address::SpaprVio(_)) = &tpm.address {
            let place = self.place(&tpm.address, "<tpm>");
            props = props.extend(place);
        }
        self.device(props);
    }

    /// Starts swtpm; the path of its socket.
    fn swtpm(&mut self, tpm: &Tpm) -> String {
        let backend = &tpm.backend;
        if backend.encryption.is_some() {
            self.fail("qemu.tpm", "<tpm>: <encryption> is not supported until secrets exist");
        }
        if backend.active_pcr_banks.is_some() || backend.profile.is_some() {
            self.fail("qemu.tpm", "<tpm>: <active_pcr_banks> and <profile> are not supported yet");
        }
        if backend.source.is_some() {
            self.fail("qemu.tpm", "<tpm>: a <source> of the emulator is not supported yet");
        }
        let version = match backend.version {
            Some(TpmVersion::V12) => "1.2",
            _ => "2.0",
        };
        if !self.host.swtpm_versions.iter().any(|known| known == version) {
            self.fail(
                "qemu.tpm",
                format!("TPM version '{version}' is not supported: swtpm for it is not installed"),
            );
        }
        let uuid = self.d.uuid.map_or(String::new(), |uuid| uuid.to_string());
        let folder = if version == "2.0" { "tpm2" } else { "tpm1.2" };
        let state = format!("{}/{uuid}/{folder}", self.set.swtpm_storage_dir);
        let run = format!("{}/swtpm", self.set.run_dir);
        let base = format!("{run}/{}-swtpm", self.short_name);
        let (socket, pid_file) = (format!("{base}.sock"), format!("{base}.pid"));
        let name = &self.d.name;
        let log = format!("{}/{name}-swtpm.log", self.set.swtpm_log_dir);
        let owner = self.set.swtpm_ids;
        self.swtpm_folders(&uuid, &state, &run);
        let two = (version == "2.0").then_some("--tpm2");
        let words = |list: &[&str]| -> Vec<Arg> {
            list.iter().copied().chain(two).map(Arg::from).collect()
        };
        let helper = |program: &str, args: Vec<Arg>, one_shot: bool| Helper {
            program: program.into(),
            args,
            owner,
            pid_file: (!one_shot).then(|| pid_file.clone()),
            socket: (!one_shot).then(|| socket.clone()),
            // Root writes the pid file: what ends a process by it must not trust swtpm's user.
            daemonizes: false,
            log: None,
            one_shot,
        };
        // Makes the TPM's keys and certificates unless its state is there already.
        let setup = words(&[
            "--tpm-state",
            &state,
            "--vmid",
            &format!("{name}:{uuid}"),
            "--logfile",
            &log,
            "--createek",
            "--create-ek-cert",
            "--create-platform-cert",
            "--lock-nvram",
            "--not-overwrite",
        ]);
        self.steps.push(Step::new(Action::Helper(helper("swtpm_setup", setup, true))));
        let args = words(&[
            "socket",
            "--ctrl",
            &format!("type=unixio,path={socket},mode=0600"),
            "--tpmstate",
            &format!("dir={state},mode=0600"),
            "--log",
            &format!("file={log}"),
            "--terminate",
        ]);
        let step = Step::new(Action::Helper(helper("swtpm", args, false)));
        self.steps.push(step.undone_by(Undo::EndHelper { pid_file: pid_file.clone() }));
        if let Some(owner) = self.ids() {
            // QEMU connects as its own user.
            self.steps.push(Step::new(Action::Grant(crate::step::Grant {
                path: socket.clone(),
                access: Access::ReadWrite,
                owner: Some(owner),
                restore: false,
                optional: false,
                shared: false,
                why: "<tpm>".into(),
            })));
        }
        socket
    }

    /// The folders of swtpm's state, sockets and log, with libvirt's modes.
    fn swtpm_folders(&mut self, uuid: &str, state: &str, run: &str) {
        let (set, owner) = (self.set, self.set.swtpm_ids);
        let storage = &set.swtpm_storage_dir;
        // QEMU's user owns the sockets' folder, swtpm's group may make sockets in it.
        let both = self.ids().map(|ids| Ids { gid: owner.unwrap_or(ids).gid, ..ids });
        let mut folders = vec![(storage.clone(), 0o711, None)];
        folders.push((format!("{storage}/{uuid}"), 0o711, None));
        folders.push((state.to_string(), 0o700, owner));
        folders.push((run.to_string(), 0o770, both));
        let log = &set.swtpm_log_dir;
        if set.privileged {
            // Its own parents are swtpm's alone; those above belong to the system.
            let mut above: Vec<&str> = Vec::new();
            let mut path = log.as_str();
            while let Some((parent, _)) =
                path.rsplit_once('/').filter(|(p, _)| p.contains("/swtpm"))
            {
                above.push(parent);
                path = parent;
            }
            folders.extend(above.into_iter().rev().map(|path| (path.to_string(), 0o711, None)));
        }
        folders.push((log.clone(), 0o730, owner));
        for (path, mode, owner) in folders {
            self.steps.push(Step::new(Action::MakeDir { path, mode, owner }));
        }
    }
}
