//! The way to guests' logs: through the log daemon, so that no guest can fill the disk with what it
//! says, or straight to the file where qemu.conf wants that (`stdio_handler`).

use crate::domain::start::qemu_log;
use crate::domain::start::results::Results;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::log_daemon::{Guest, LogDaemon, PeerError, Position};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Most of a log that is asked for to explain a failed start.
const READ_MAX: u64 = 64 << 10;

impl Engine {
    /// Appends text to the log of the guest `name`. A log daemon that has it open gets to know, so
    /// that it counts it; none is started for it.
    pub(in crate::domain) fn append_to_log(&self, name: &str, uuid: [u8; 16], text: &str) {
        let path = self.layout.qemu_log().join(format!("{name}.log"));
        if self.settings.log_daemon
            && let Ok(mut daemon) = LogDaemon::connect(&self.layout.log_daemon_socket())
        {
            let shown = path.display().to_string();
            match daemon.append(Guest { name, uuid }, &shown, text) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(domain = name, %error, "the log daemon refused a note")
                }
            }
        }
        qemu_log::append(&path, text);
    }

    /// Appends a line with the time in front.
    pub(in crate::domain) fn note_in_log(&self, name: &str, uuid: [u8; 16], text: &str) {
        let time = qemu_log::timestamp(std::time::SystemTime::now());
        self.append_to_log(name, uuid, &format!("{time}: {text}\n"));
    }

    /// The log daemon that runs here, started if there is none. May block.
    /// What the guest's QEMU said, the older parts of it too. None without a log daemon: who writes
    /// logs by other means keeps them.
    pub(in crate::domain) fn logs_of(&self, name: &str) -> Vec<PathBuf> {
        if !self.settings.log_daemon {
            return Vec::new();
        }
        let own = format!("{name}.log");
        let is_it = |file: &str| match file.strip_prefix(&own) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            }),
            None => false,
        };
        let entries = std::fs::read_dir(self.layout.qemu_log()).into_iter().flatten().flatten();
        let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_it));
        let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// Removes what the QEMU of a guest that ended said (`destroy --remove-logs`).
    pub(in crate::domain) fn remove_logs(&self, name: &str) {
        for path in self.logs_of(name) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(domain = name, path = %path.display(), %error, "the log stays");
            }
        }
    }

    fn log_daemon(&self) -> Result<LogDaemon, VirError> {
        let socket = self.layout.log_daemon_socket();
        crate::domain::keepers::reach(&socket, self.log_helper(), LogDaemon::connect)
            .map_err(|error| unreachable(&error))
    }

    /// Opens QEMU's own log.
    pub(in crate::domain) fn open_qemu_log(
        &self,
        domain: &str,
        path: &str,
        results: &mut Results,
    ) -> Result<bool, VirError> {
        if !self.settings.log_daemon {
            return Ok(false);
        }
        let guest = Guest { name: domain, uuid: results.uuid };
        let (fd, position) =
            self.log_daemon()?.open(guest, path, false).map_err(|error| refusal(&error))?;
        results.log = Some(fd);
        results.log_path = Some(PathBuf::from(path));
        results.log_position = Some(position);
        Ok(true)
    }

    /// Opens a file that a guest's device writes to; `None` where that is none that can grow.
    pub(in crate::domain) fn open_device_log(
        &self,
        domain: &str,
        path: &str,
        results: &Results,
    ) -> Result<Option<OwnedFd>, VirError> {
        let grows = std::fs::metadata(path).map_or(true, |metadata| metadata.is_file());
        if !self.settings.log_daemon || !grows {
            return Ok(None);
        }
        let guest = Guest { name: domain, uuid: results.uuid };
        let opened = self.log_daemon()?.open(guest, path, false);
        opened.map(|(fd, _)| Some(fd)).map_err(|error| refusal(&error))
    }

    /// What QEMU wrote to its log since `position`.
    pub(in crate::domain) fn said_since(&self, path: &Path, position: &Position) -> String {
        let shown = path.display().to_string();
        let read = LogDaemon::connect(&self.layout.log_daemon_socket())
            .map_err(PeerError::from)
            .and_then(|mut daemon| daemon.read(&shown, position, READ_MAX));
        match read {
            Ok(text) => qemu_log::words(&text),
            Err(error) => {
                tracing::warn!(path = shown, %error, "the log daemon does not tell the log");
                qemu_log::tail(path, 0)
            }
        }
    }
}

fn unreachable(error: &io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("can't connect to virtlogd: {words}")).hint(
        "'ironvirt logd' starts a log daemon; stdio_handler = \"file\" in qemu.conf does without",
    )
}

fn refusal(error: &PeerError) -> VirError {
    match error {
        PeerError::Refused(error) => (**error).clone(),
        PeerError::Io(error) => unreachable(error),
    }
}
