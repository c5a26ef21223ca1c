//! The TPM emulator: swtpm, set up and started beside QEMU.

use super::build::Build;
use crate::step::{Access, Action, Arg, Content, Helper, Ids, SecretBy, SecretRef, Step, Undo};
use model::domain::devices::tpm::*;

/// What a new TPM is set up with, beyond what all have.
fn setup_options(backend: &TpmBackend) -> Vec<Arg> {
    let mut words: Vec<Arg> = Vec::new();
    if let Some(banks) = &backend.active_pcr_banks {
        let all = [
            (banks.sha1, "sha1"),
            (banks.sha256, "sha256"),
            (banks.sha384, "sha384"),
            (banks.sha512, "sha512"),
        ];
        let active: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        words.push("--pcr-banks".into());
        words.push(active.join(",").into());
    }
    if let Some(profile) = &backend.profile
        && let Some(source) = &profile.source
    {
        words.push("--profile-name".into());
        words.push(source.as_str().into());
        if let Some(mode) = &profile.remove_disabled {
            words.push("--profile-remove-disabled".into());
            words.push(mode.as_str().into());
        }
    }
    words
}

impl Build<'_> {
    /// Starts swtpm; the path of its socket.
    pub(super) fn swtpm(&mut self, tpm: &Tpm) -> String {
        let backend = &tpm.backend;
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
        // A file or folder that the domain names, or one of ours.
        let (state, uri, folder) = match &backend.source {
            Some(source) if source.kind == "file" => {
                let uri = format!("file://{}", source.path);
                (uri.clone(), format!("backend-uri={uri}"), None)
            }
            source => {
                let own = || format!("{}/{uuid}/{folder}", self.set.swtpm_storage_dir);
                let dir = source.as_ref().map_or_else(own, |source| source.path.clone());
                (dir.clone(), format!("dir={dir}"), Some(dir))
            }
        };
        let run = format!("{}/swtpm", self.set.run_dir);
        let base = format!("{run}/{}-swtpm", self.short_name);
        let (socket, pid_file) = (format!("{base}.sock"), format!("{base}.pid"));
        let name = &self.d.name;
        let log = format!("{}/{name}-swtpm.log", self.set.swtpm_log_dir);
        let owner = self.set.swtpm_ids;
        self.swtpm_folders(&uuid, folder, backend.source.is_none(), &run);
        let key = self.swtpm_key(backend, &base);
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
            socket_owner: None,
            one_shot,
        };
        // Makes the TPM's keys and certificates unless its state is there already.
        let mut setup = words(&[
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
        setup.extend(setup_options(backend));
        if let Some(path) = &key {
            let words = ["--pwdfile", path.as_str(), "--cipher", "aes-256-cbc"];
            setup.extend(words.map(Arg::from));
        }
        self.steps.push(Step::new(Action::Helper(helper("swtpm_setup", setup, true))));
        let level = backend.debug.map_or(String::new(), |level| format!(",level={level}"));
        let mut args = words(&[
            "socket",
            "--ctrl",
            &format!("type=unixio,path={socket},mode=0600"),
            "--tpmstate",
            &format!("{uri},mode=0600"),
            "--log",
            &format!("file={log}{level}"),
            "--terminate",
        ]);
        if let Some(path) = &key {
            // The second is for what it hands to QEMU, for a saved or migrated guest; both are read
            // at its start, and then the file is of no more use.
            let key = format!("pwdfile={path},mode=aes-256-cbc");
            let last = format!("{key},remove=true");
            args.extend(["--key", &key, "--migration-key", &last].map(Arg::from));
        }
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
                kind: crate::step::FileKind::Other,
            })));
        }
        socket
    }

    /// The file with the passphrase of the TPM's state, if it has one; where swtpm's user, who is
    /// not QEMU's, can read it.
    fn swtpm_key(&mut self, backend: &TpmBackend, base: &str) -> Option<String> {
        let encryption = backend.encryption.as_ref()?;
        let path = format!("{base}.key");
        let secret = SecretRef {
            usage_type: "vtpm".into(),
            by: SecretBy::Uuid(encryption.secret.to_string()),
            master_key: String::new(),
            text: None,
        };
        let write = Action::WriteFile {
            path: path.clone(),
            mode: 0o600,
            owner: self.set.swtpm_ids,
            content: Content::Secret(secret),
        };
        self.steps.push(Step::new(write).undone_by(Undo::RemoveFile(path.clone())));
        Some(path)
    }

    /// The folders of swtpm's state, sockets and log, with libvirt's modes.
    /// `own`: the state lies in a folder that is named after the domain's UUID.
    fn swtpm_folders(&mut self, uuid: &str, state: Option<String>, own: bool, run: &str) {
        let (set, owner) = (self.set, self.set.swtpm_ids);
        let storage = &set.swtpm_storage_dir;
        // QEMU's user owns the sockets' folder, swtpm's group may make sockets in it.
        let both = self.ids().map(|ids| Ids { gid: owner.unwrap_or(ids).gid, ..ids });
        let mut folders = vec![(storage.clone(), 0o711, None)];
        folders.extend(own.then(|| (format!("{storage}/{uuid}"), 0o711, None)));
        folders.extend(state.map(|state| (state, 0o700, owner)));
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
