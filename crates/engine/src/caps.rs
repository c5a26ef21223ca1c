//! What QEMU binaries can do: probed once, kept on disk, asked again when the binary changes.

use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::probe::{Account, Conversation};
use model::capabilities::firmware::Firmware;
use model::capabilities::qemu::{Accel, CacheKey, Exchange, ProbeKind, QemuCaps};
use model::capabilities::qemu::{complete, cpu_commands, probe_commands, rules_id};
use model::domain::defaults::EmulatorDefaults;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

mod failed;
mod recorded;
use failed::Failed;

/// How long a binary may take to answer all questions.
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

/// Largest file of cached capabilities that is read.
const CACHE_MAX: usize = 64 << 20;

/// Where distributions put emulators.
const EMULATOR_FOLDERS: &[&str] = &["/usr/bin", "/usr/local/bin"];

/// Where distributions put the parts of QEMU that it loads when they are there: displays, sound,
/// some devices.
const MODULE_FOLDERS: &[&str] = &["/usr/lib/qemu", "/usr/lib64/qemu", "/usr/local/lib/qemu"];

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// When a part of QEMU last came or went: the latest change of their folders; 0 without any.
fn modules_changed() -> i64 {
    let of_arch = format!("/usr/lib/{}-linux-gnu/qemu", std::env::consts::ARCH);
    let folders = MODULE_FOLDERS.iter().copied().chain([of_arch.as_str()]);
    let found = folders.filter_map(|folder| std::fs::metadata(folder).ok());
    found.map(|found| nanoseconds(found.mtime(), found.mtime_nsec())).max().unwrap_or(0)
}

/// What is known of one binary. Looked up once for a call and handed on, because each look asks the
/// file system whether the binary is still the same.
#[derive(Debug)]
pub(crate) struct Known {
    key: CacheKey,
    pub(crate) caps: Arc<QemuCaps>,
    /// Made from `caps` for each accelerator, once.
    tcg: EmulatorDefaults,
    kvm: EmulatorDefaults,
}

impl Known {
    fn new(key: CacheKey, caps: QemuCaps) -> Self {
        let caps = caps.shared();
        Self {
            key,
            tcg: EmulatorDefaults::new(&caps, Accel::Tcg),
            kvm: EmulatorDefaults::new(&caps, Accel::Kvm),
            caps,
        }
    }

    /// The binary's path.
    pub(crate) fn emulator(&self) -> &str {
        &self.key.path
    }

    /// What defaults depend on for guests that run under `accel`.
    pub(crate) fn defaults(&self, accel: Accel) -> &EmulatorDefaults {
        match accel {
            Accel::Kvm => &self.kvm,
            Accel::Tcg => &self.tcg,
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    known: Option<Arc<Known>>,
    failed: Option<Failed>,
}

/// Capabilities of the binaries that were asked for.
#[derive(Debug)]
pub struct CapsStore {
    folder: PathBuf,
    account: Option<Account>,
    kvm_usable: bool,
    host: String,
    slots: Mutex<HashMap<String, Arc<Mutex<Slot>>>>,
    /// The emulator of which a record is used, whether it is installed or not.
    recorded: Option<String>,
    /// How long a binary may take to answer all questions.
    patience: Duration,
    /// What binaries are taken not to have.
    filters: Vec<String>,
}

impl CapsStore {
    /// A store that keeps its files in `folder` and probes as `account`.
    pub fn new(folder: PathBuf, account: Option<Account>, kvm_usable: bool, kernel: &str) -> Self {
        // Whether QEMU's user may open /dev/kvm decides what it says, so a change of the user or
        // its groups makes the file a stranger's.
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        let host = format!("{kernel} kvm={kvm_usable} account={:016x}", hasher.finish());
        Self {
            folder,
            account,
            kvm_usable,
            host,
            slots: Mutex::default(),
            recorded: None,
            patience: PROBE_DEADLINE,
            filters: Vec::new(),
        }
    }

    /// The same store, which takes binaries not to have what `flags` name (`capability_filters`).
    #[must_use]
    pub fn without(self, flags: &[String]) -> Self {
        Self { filters: flags.to_vec(), ..self }
    }

    /// The emulator that is used for guests of architecture `arch` when none is named.
    pub fn default_emulator(arch: &str) -> Option<String> {
        // What else runs guests of it, where its own is not there.
        let (target, other) = match arch {
            "i686" => ("i386", Some("x86_64")),
            "armv7l" | "armv6l" => ("arm", None),
            "ppc64le" => ("ppc64le", Some("ppc64")),
            same => (same, None),
        };
        let place = |target: &str| {
            EMULATOR_FOLDERS
                .iter()
                .map(|folder| format!("{folder}/qemu-system-{target}"))
                .find(|path| Path::new(path).exists())
        };
        place(target).or_else(|| place(other?))
    }

    /// The emulators of this machine, with the architecture of the guests that each is for; in
    /// libvirt's order of architectures. One emulator may be for several.
    pub fn emulators() -> Vec<(&'static str, String)> {
        let own = |arch: &&'static str| Some((*arch, Self::default_emulator(arch)?));
        model::domain::ARCHITECTURES.iter().filter_map(own).collect()
    }

    /// What `emulator` can do. May start it and wait for it: call where blocking is allowed.
    ///
    /// # Errors
    /// When there is no such file, it cannot be started, or it is no QEMU we know how to drive.
    pub fn get(&self, emulator: &str) -> Result<Arc<QemuCaps>, VirError> {
        self.learn(emulator).map(|known| Arc::clone(&known.caps))
    }

    /// All that is known of `emulator`, asking it where that is nothing; as [`Self::get`].
    pub(crate) fn learn(&self, emulator: &str) -> Result<Arc<Known>, VirError> {
        let key = self.key(emulator)?;
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(emulator.to_owned()).or_default())
        };
        // One prober per binary; the others wait here for its result.
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &slot.known
            && known.key == key
        {
            return Ok(Arc::clone(known));
        }
        if let Some(error) =
            slot.failed.as_ref().and_then(|failed| failed.stands(&key, Instant::now()))
        {
            return Err(error);
        }
        let found = self.load(&key).map_or_else(|| self.probe(&key), Ok);
        slot.failed = found.as_ref().err().map(|error| Failed::now(&key, error));
        let mut caps = found?;
        caps.flags.retain(|flag| !self.filters.contains(flag));
        let known = Arc::new(Known::new(key, caps));
        slot.known = Some(Arc::clone(&known));
        // A binary's answers are many times as large as what is kept of them, and the code that asks
        // and reads is done.
        host::process::give_back_freed_memory();
        host::process::forget_code();
        Ok(known)
    }

    /// The same if it is known already and the binary is unchanged; never waits.
    pub fn known(&self, emulator: &str) -> Option<Arc<QemuCaps>> {
        self.look(emulator).map(|known| Arc::clone(&known.caps))
    }

    /// All that is known of `emulator` already; as [`Self::known`].
    pub(crate) fn look(&self, emulator: &str) -> Option<Arc<Known>> {
        let key = self.key(emulator).ok()?;
        let slot = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.get(emulator)?)
        };
        let slot = slot.try_lock().ok()?;
        slot.known.clone().filter(|known| known.key == key)
    }

    fn key(&self, emulator: &str) -> Result<CacheKey, VirError> {
        if self.recorded.as_deref() == Some(emulator) {
            return Ok(CacheKey { path: emulator.to_owned(), ..CacheKey::default() });
        }
        let metadata = std::fs::metadata(emulator).map_err(|error| {
            VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!(
                    "Cannot check QEMU binary {emulator}: {}",
                    crate::domain::stored::store::os_words(&error)
                ),
            )
        })?;
        Ok(CacheKey {
            path: emulator.to_owned(),
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            modules_ns: modules_changed(),
            writer: format!("{} {:016x}", env!("CARGO_PKG_VERSION"), rules_id()),
            host: self.host.clone(),
        })
    }

    fn file(&self, key: &CacheKey) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.path.hash(&mut hasher);
        self.folder.join("capabilities").join(format!("ironvirt-{:016x}.json", hasher.finish()))
    }

    fn load(&self, key: &CacheKey) -> Option<QemuCaps> {
        let file = self.file(key);
        // libvirtd's cache folder is QEMU's user's, and ours may have been: what another user wrote
        // there would have us believe anything of the binary.
        let bytes = match host::files::read_own(&file, CACHE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return None,
            Err(error) => {
                tracing::warn!(%error, "cached capabilities are not used");
                return None;
            }
        };
        let text = std::str::from_utf8(&bytes).ok()?;
        match QemuCaps::from_cache(text, key) {
            Ok(caps) => Some(caps),
            Err(error) => {
                tracing::info!(file = %file.display(), %error, "the emulator is asked again");
                None
            }
        }
    }

    fn probe(&self, key: &CacheKey) -> Result<QemuCaps, VirError> {
        let refused = |why: &dyn std::fmt::Display| {
            VirError::internal(format!("Failed to probe QEMU binary '{}': {why}", key.path))
        };
        let ask = |accel: &str, kind| {
            self.converse(&key.path, accel, kind)
                .map_err(|error| refused(&crate::domain::stored::store::os_words(&error)))
        };
        let accel = if self.kvm_usable { "kvm:tcg" } else { "tcg" };
        let primary = ask(accel, ProbeKind::Primary)?;
        let tcg = if self.kvm_usable { Some(ask("tcg", ProbeKind::TcgOnly)?) } else { None };
        // What was not answered is not known: it must not be kept as if the binary had nothing.
        complete(ProbeKind::Primary, &primary, None)
            .and_then(|asked| match &tcg {
                Some(tcg) => complete(ProbeKind::TcgOnly, tcg, Some(&asked)).map(|_| ()),
                None => Ok(()),
            })
            .map_err(|error| refused(&error))?;
        let caps = QemuCaps::from_replies(&key.path, &primary, tcg.as_deref())
            .map_err(|error| refused(&error))?;
        let file = self.file(key);
        let kept = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .map_err(|error| error.to_string())
            .and_then(|()| {
                host::files::write_atomic(
                    &file,
                    caps.to_cache(key).as_bytes(),
                    host::files::WriteMode { durable: false, ..host::files::WriteMode::PRIVATE },
                )
                .map_err(|error| error.to_string())
            });
        if let Err(error) = kept {
            // Without the file the next start asks again; nothing else is lost.
            tracing::warn!(file = %file.display(), %error, "capabilities not kept on disk");
        }
        Ok(caps)
    }

    /// A conversation with `emulator` under `accel`, for what is not asked of every binary. Blocks.
    ///
    /// # Errors
    /// It cannot be started, or does not greet like a QEMU.
    pub(crate) fn conversation(
        &self,
        emulator: &str,
        accel: Accel,
    ) -> std::io::Result<Conversation> {
        let accel = match accel {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        };
        Conversation::start(emulator, accel, self.account.as_ref(), self.patience)
    }

    fn converse(
        &self,
        emulator: &str,
        accel: &str,
        kind: ProbeKind,
    ) -> std::io::Result<Vec<Exchange>> {
        let mut conversation =
            Conversation::start(emulator, accel, self.account.as_ref(), self.patience)?;
        let mut exchanges = Vec::new();
        let mut commands = probe_commands(kind);
        for round in 0..2 {
            let answers = conversation.ask(&commands)?;
            for (command, answer) in commands.iter().zip(&answers) {
                let exchange = Exchange::new(command, answer).ok_or_else(|| {
                    let name = command.get("execute").and_then(qmp::Value::as_str);
                    let start: String = answer.to_string().chars().take(60).collect();
                    let name = name.unwrap_or_default();
                    std::io::Error::other(format!(
                        "QMP command '{name}': neither a result nor an error came: {start}"
                    ))
                })?;
                exchanges.push(exchange);
            }
            if round == 0 {
                commands = cpu_commands(&exchanges);
            }
        }
        Ok(exchanges)
    }
}

impl Engine {
    /// Makes sure that the capabilities which reading `xml` needs are known, probing them where
    /// waiting hurts nobody.
    pub(crate) async fn capabilities_ready(self: &Arc<Self>, xml: &str) -> Result<(), VirError> {
        let Some(emulator) = self.emulator_for(xml) else { return Ok(()) };
        if self.caps.known(&emulator).is_some() {
            return Ok(());
        }
        let engine = Arc::clone(self);
        crate::blocking(move || {
            engine.learn(&emulator);
            Ok(())
        })
        .await
    }

    /// The same where blocking is allowed. Returns what is known then.
    pub(crate) fn learn_capabilities(&self, xml: &str) -> Option<Arc<Known>> {
        let named = emulator_in(xml).map(str::to_owned);
        let emulator = named.or_else(|| self.default_emulator())?;
        match self.caps.learn(&emulator) {
            Ok(known) => Some(known),
            Err(_) if !Path::new(&emulator).exists() => None,
            Err(error) => {
                tracing::warn!(emulator, error = %error.detail, "capabilities not known");
                None
            }
        }
    }

    fn learn(&self, emulator: &str) {
        if let Err(error) = self.caps.get(emulator) {
            tracing::warn!(emulator, error = %error.detail, "capabilities not known");
        }
    }

    /// The emulator that a definition is for, if it is installed.
    fn emulator_for(&self, xml: &str) -> Option<String> {
        let named = emulator_in(xml).map(str::to_owned);
        let default = || match arch_in(xml) {
            Some(arch) => CapsStore::default_emulator(arch),
            None => self.default_emulator(),
        };
        named.or_else(default).filter(|path| Path::new(path).exists())
    }

    /// Installed firmware, by file name; a file in a more specific folder hides its namesakes, and
    /// an empty one hides them without a replacement.
    pub(crate) fn firmware(&self) -> Vec<Firmware> {
        let mut seen = std::collections::BTreeMap::new();
        for folder in &self.layout.firmware {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if name.ends_with(".json") {
                    seen.entry(name).or_insert_with(|| entry.path());
                }
            }
        }
        seen.into_iter()
            .filter_map(|(name, path)| {
                let text = std::fs::read_to_string(&path).ok()?;
                if text.trim().is_empty() {
                    return None;
                }
                Firmware::parse(&name, &text)
                    .map_err(|why| tracing::warn!(file = %path.display(), why, "firmware left out"))
                    .ok()
            })
            .collect()
    }

    /// The emulator for guests of the host's own architecture.
    pub(crate) fn default_emulator(&self) -> Option<String> {
        CapsStore::default_emulator(&self.facts.arch)
    }
}

/// The emulator that a definition names.
pub fn emulator_named(xml: &str) -> Option<String> {
    emulator_in(xml).map(str::to_owned)
}

/// The emulator that a definition names, found without reading it properly: only a hint.
fn emulator_in(xml: &str) -> Option<&str> {
    let (_, rest) = xml.split_once("<emulator>")?;
    let (path, _) = rest.split_once("</emulator>")?;
    Some(path.trim())
}

/// The architecture that a definition names, found in the same way.
fn arch_in(xml: &str) -> Option<&str> {
    let (_, rest) = xml.split_once("<type")?;
    let (tag, _) = rest.split_once('>')?;
    let (_, value) = tag.split_once("arch")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    value[1..].split_once(quote).map(|(arch, _)| arch)
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod hints {
    use super::*;

    #[test]
    fn emulator_and_architecture_are_found_in_a_definition() {
        for (xml, arch, emulator) in [
            (
                "<domain><os><type arch='s390x' machine='x'>hvm</type></os></domain>",
                Some("s390x"),
                None,
            ),
            ("<type machine='virt' arch = \"aarch64\">", Some("aarch64"), None),
            ("<type>hvm</type><emulator> /usr/bin/q </emulator>", None, Some("/usr/bin/q")),
            ("<type arch=s390x>", None, None),
            ("<type arch='", None, None),
            ("", None, None),
        ] {
            assert_eq!(arch_in(xml), arch, "{xml}");
            assert_eq!(emulator_in(xml), emulator, "{xml}");
        }
    }
}
