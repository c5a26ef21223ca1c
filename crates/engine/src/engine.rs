//! The daemon's world as one value: settings, tables, events, and the threads that work on them.

use crate::caps::CapsStore;
use crate::domain::registry::Registry;
use crate::domain::stored::store::{Store, StoreError};
use crate::events::EventBus;
use crate::layout::Layout;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::settings::{EngineSettings, KvmPolicy};
use crate::storage::Pools;
use diag::VirError;
use host::cgroup::Cgroups;
use host::files;
use host::lock::{LockError, PidFile};
use host::machined::Machined;
use host::spawn::Helper;
use host::users::Users;
use model::capabilities::host::{HostFacts, KvmState};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// What an engine is opened with.
#[derive(Debug)]
pub struct EngineConfig {
    /// Where everything lives.
    pub layout: Layout,
    /// Settings.
    pub settings: EngineSettings,
    /// How this binary is started as exec helper.
    pub exec_helper: Helper,
    /// How a log daemon is started where none answers; it returns when that one is ready.
    pub log_helper: Option<Helper>,
    /// The same of a lock daemon.
    pub lock_helper: Option<Helper>,
    /// Where its own tasks run.
    pub runtime: Handle,
    /// What guests and scripts may take over of the daemon's environment: PATH, HOME, USER, LOGNAME.
    pub environment: BTreeMap<String, OsString>,
    /// Where the host's message bus listens, to register guests with machined.
    pub system_bus: Option<PathBuf>,
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has the same objects.
    #[error("another daemon is in charge here: {0}")]
    Locked(#[from] LockError),
    /// A folder cannot be made.
    #[error(transparent)]
    Folder(#[from] files::FileError),
    /// The definitions cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One daemon's world.
#[derive(Debug)]
pub struct Engine {
    /// Where everything lives.
    pub layout: Layout,
    /// Settings.
    pub settings: EngineSettings,
    /// All domains.
    pub registry: Registry,
    /// What happens.
    pub events: Arc<EventBus>,
    /// All storage pools.
    pub pools: Pools,
    /// All secrets.
    pub secrets: Secrets,
    /// Facts about this machine.
    pub facts: HostFacts,
    pub(crate) caps: CapsStore,
    pub(crate) store: Store,
    pub(crate) ports: Ports,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) users: Users,
    pub(crate) replies: crate::host_view::Replies,
    pub(crate) consoles: Arc<crate::domain::seat::console::Consoles>,
    pub(crate) freezes: crate::domain::Freezes,
    /// Which clients handed in descriptors.
    pub(crate) handed_in: crate::domain::HandedIn,
    pub(crate) gatherings: crate::domain::stats::Gatherings,
    pub(crate) images: crate::domain::stats::Images,
    pub(crate) environment: BTreeMap<String, OsString>,
    exec_helper: Helper,
    log_helper: Option<Helper>,
    lock_helper: Option<Helper>,
    runtime: Handle,
    /// Held as long as this engine lives, so that no second daemon acts on the same objects.
    locks: Mutex<Vec<PidFile>>,
}

impl Engine {
    /// Makes the folders, takes the locks, reads the definitions. Running guests are taken over by
    /// [`Engine::reattach`].
    ///
    /// # Errors
    /// When another daemon is in charge, or folders cannot be made or read.
    pub fn open(config: EngineConfig) -> Result<Arc<Self>, OpenError> {
        make_folders(&config.layout, &config.settings)?;
        let locks = take_locks(&config.layout)?;
        let engine = Arc::new(Self::assemble(config, locks));
        engine.load_definitions()?;
        // Texts of definitions were read; only what they say is kept.
        host::process::give_back_freed_memory();
        engine.pools.load()?;
        engine.secrets.load();
        Ok(engine)
    }

    /// A world without objects, beside any daemon: to plan with, not to act in. `record` is an
    /// emulator and the recorded conversation that tells what it can do.
    ///
    /// # Errors
    /// In words, when the record is none.
    pub fn offline(
        config: EngineConfig,
        record: Option<(&str, &str)>,
    ) -> Result<Arc<Self>, String> {
        let mut engine = Self::assemble(config, Vec::new());
        if let Some((emulator, text)) = record {
            engine.caps = engine.caps.with_record(emulator, text)?;
        }
        Ok(Arc::new(engine))
    }

    fn assemble(config: EngineConfig, locks: Vec<PidFile>) -> Self {
        let EngineConfig {
            layout,
            mut settings,
            exec_helper,
            log_helper,
            lock_helper,
            runtime,
            environment,
            system_bus,
        } = config;
        let mut facts = crate::host_view::read_facts(&layout);
        match settings.kvm {
            KvmPolicy::Auto => {}
            KvmPolicy::On => facts.kvm = KvmState::Usable,
            KvmPolicy::Off => {
                facts.kvm = KvmState::Unusable("ironvirt.conf says kvm = \"off\"".into())
            }
        }
        // Names of machines belong to the whole host, as its own tree does.
        let machined = system_bus.filter(|_| layout.is_hosts()).map(Machined::new);
        let groups = || Some(settings.groups.detect()?.with_machined(machined));
        let cgroups = if layout.session { None } else { groups() };
        let users = Users::load(Path::new("/"));
        let account = settings.qemu.ids.map(|ids| host::probe::Account {
            uid: ids.uid,
            gid: ids.gid,
            groups: users.supplementary(ids.uid, ids.gid),
        });
        settings.qemu.vhost_net =
            Path::new("/dev/vhost-net").exists().then(|| "/dev/vhost-net".to_owned());
        let kernel = crate::host_view::kernel_release();
        let events = Arc::<EventBus>::default();
        Self {
            caps: CapsStore::new(layout.qemu_cache(), account, facts.kvm_usable(), &kernel)
                .without(&settings.capability_filters),
            store: Store::domains(&layout),
            cgroups,
            users,
            registry: Registry::default(),
            pools: Pools::new(&layout, &events),
            secrets: Secrets::new(&layout, &events),
            events,
            ports: Ports::default(),
            replies: crate::host_view::Replies::default(),
            consoles: Arc::default(),
            freezes: crate::domain::Freezes::default(),
            handed_in: crate::domain::HandedIn::default(),
            gatherings: crate::domain::stats::Gatherings::default(),
            images: crate::domain::stats::Images::default(),
            locks: Mutex::new(locks),
            layout,
            settings,
            facts,
            environment,
            exec_helper,
            log_helper,
            lock_helper,
            runtime,
        }
    }

    /// The runtime of the engine's own tasks.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The hostname now.
    pub fn hostname(&self) -> String {
        crate::host_view::hostname()
    }

    /// The names of a user and of a group, where they have one.
    pub fn account_names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>) {
        let user = self.users.user_by_id(uid).map(|user| user.name.clone());
        (user, self.users.group_by_id(gid).map(|group| group.name.clone()))
    }

    /// Where programs are looked for.
    pub(crate) fn search_path(&self) -> PathBuf {
        self.environment.get("PATH").map(PathBuf::from).unwrap_or_default()
    }

    pub(crate) fn exec_helper(&self) -> &Helper {
        &self.exec_helper
    }

    pub(crate) fn log_helper(&self) -> Option<&Helper> {
        self.log_helper.as_ref()
    }

    pub(crate) fn lock_helper(&self) -> Option<&Helper> {
        self.lock_helper.as_ref()
    }

    /// Carries out `work`, which goes on to its end whatever becomes of whoever asked for it: as a
    /// task of the engine's own, should the future be dropped before.
    pub(crate) fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, VirError>> + Send + 'static,
    ) -> Detached<T> {
        Detached { work: Some(Box::pin(work)), begun: false, runtime: self.runtime.clone() }
    }

    /// Lets go of the locks and pid files; guests run on.
    pub fn close(&self) {
        let mut locks = self.locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for lock in locks.drain(..) {
            if let Err(error) = lock.release() {
                tracing::warn!(%error, "a pid file was not removed");
            }
        }
    }
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, VirError>> + Send>>;

/// See [`Engine::detached`].
pub(crate) struct Detached<T: Send + 'static> {
    /// None: it is over.
    work: Option<Work<T>>,
    begun: bool,
    runtime: Handle,
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = Result<T, VirError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        self.begun = true;
        // A fault of ours costs this one job, whoever carries it out.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                self.work = Some(work);
                Poll::Pending
            }
            Ok(done) => done,
            Err(_) => {
                tracing::error!("a job ended unexpectedly");
                let what = "the job ended unexpectedly; the log says more";
                Poll::Ready(Err(VirError::internal(what)))
            }
        }
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take().filter(|_| self.begun) {
            self.runtime.spawn(work);
        }
    }
}

impl Engine {
    /// The user QEMU runs as, whose links are followed nowhere; 0 where that is the daemon's own.
    pub(crate) fn guest_uid(&self) -> u32 {
        self.settings.qemu.ids.map_or(0, |ids| ids.uid)
    }
}

/// Where libvirt has folders, with its modes.
fn make_folders(layout: &Layout, settings: &EngineSettings) -> Result<(), OpenError> {
    let owner = settings.qemu.ids;
    let qemu = layout.qemu_lib();
    let plain: &[(PathBuf, u32)] = &[
        (layout.etc.clone(), 0o755),
        (layout.domain_config(), 0o755),
        (layout.domain_autostart(), 0o755),
        (layout.pool_config(), 0o755),
        (layout.pool_config().join("autostart"), 0o755),
        (layout.run.clone(), 0o755),
        (layout.pool_run(), 0o755),
        (layout.secret_config(), 0o700),
        (layout.secret_run(), 0o700),
        (layout.lib.clone(), 0o755),
        (layout.cache.clone(), 0o711),
        (layout.log.clone(), 0o755),
        (layout.qemu_log(), 0o750),
    ];
    for (path, mode) in plain {
        files::make_folder(path, *mode)?;
    }
    // libvirtd gives all of these to QEMU's user. Ours keeps those in which we trust names: whoever
    // may rename entries of the first could have us (root) undo, kill and overwrite what he likes.
    // Guests get folders of their own inside. The last two are where helpers make their sockets.
    let qemus: &[(PathBuf, u32, bool)] = &[
        (layout.qemu_run(), 0o755, false),
        (layout.qemu_run().join("channel"), 0o755, false),
        (layout.qemu_cache(), 0o751, false),
        (qemu.clone(), 0o751, false),
        (qemu.join("nvram"), 0o755, false),
        (qemu.join("save"), 0o755, false),
        (qemu.join("ram"), 0o755, false),
        (layout.qemu_run().join("passt"), 0o755, true),
        (layout.qemu_run().join("swtpm"), 0o770, true),
    ];
    for (path, mode, helpers) in qemus {
        files::make_folder(path, *mode)?;
        if let (Some(ids), false) = (owner, layout.session) {
            let (uid, gid) = if *helpers { (ids.uid, ids.gid) } else { (0, 0) };
            std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(|source| {
                files::FileError { action: "change owner of", path: path.clone(), source }
            })?;
        }
    }
    Ok(())
}

/// The pid files that libvirtd locks: whoever holds them is in charge.
fn take_locks(layout: &Layout) -> Result<Vec<PidFile>, OpenError> {
    if let Some(folder) = layout.pid_file.parent() {
        files::make_folder(folder, 0o755)?;
    }
    let mut locks = vec![PidFile::acquire(&layout.pid_file)?];
    for folder in [layout.qemu_run(), layout.pool_run(), layout.secret_run()] {
        locks.push(PidFile::acquire(&folder.join("driver.pid"))?);
    }
    Ok(locks)
}
