//! The daemon: sockets, engine, signals, readiness, and a clean end that leaves guests running.

mod args;
mod log;
mod paths;

pub use args::{Args, Parsed, parse};
use dispatch::Libvirt;
use engine::conf::ConfFile;
use engine::settings::{self, Accounts};
use engine::{DaemonHook, Engine, EngineConfig, Layout};
use host::spawn::Helper;
use host::users::Users;
pub use log::start as start_log;
pub use paths::layout;
use rpc::server::{ListenerKind, ListenerSpec, Server, ServerConfig, ServerHandle, Shards};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The hidden argument that makes this binary the exec helper of a guest's start.
pub const EXEC_HELPER: &str = "__exec";

/// Runs the daemon; returns the exit status. `as_libvirtd`: started under that name.
pub fn main(args: Vec<OsString>, as_libvirtd: bool) -> i32 {
    let mut args = match args::parse(args) {
        Ok(Parsed::Run(args)) => args,
        Ok(Parsed::Help) => {
            print!("{}", args::HELP);
            return 0;
        }
        Ok(Parsed::Version) => {
            println!("ironvirt {}", env!("CARGO_PKG_VERSION"));
            return 0;
        }
        Err(message) => {
            eprintln!("error: {message}");
            return 2;
        }
    };
    // libvirtd of an ordinary user is that user's session daemon.
    let ordinary = !rustix::process::geteuid().is_root();
    if ordinary && args.root.is_none() && as_libvirtd {
        args.session = true;
    }
    log::start(args.verbose);
    if args.background {
        return background();
    }
    match run(&args) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("error: {message}");
            1
        }
    }
}

/// Starts this program again without `--daemon`, detached, and returns once it is ready.
fn background() -> i32 {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| "ironvirt".into());
    let args: Vec<_> = args.filter(|arg| arg != "-d" && arg != "--daemon").collect();
    let child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("error: cannot start the daemon in the background");
        return 1;
    };
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    if line.starts_with("ready") { 0 } else { 1 }
}

fn run(args: &Args) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 4))
        .thread_name("engine")
        .thread_stack_size(model::STACK_SIZE)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let handle = runtime.handle().clone();
    let result = runtime.block_on(serve(args, handle));
    // Work that is stuck on a disk or a guest must not keep the daemon from ending.
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn serve(args: &Args, handle: tokio::runtime::Handle) -> Result<(), String> {
    // From here on a signal to end is heard, even if it comes while guests are taken over.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    let activated = activated_sockets();
    let layout = paths::layout(args)?;
    let settings = read_settings(&layout)?;
    let conf = paths::daemon_conf(&layout, args)?;
    let engine = Engine::open(EngineConfig {
        layout: layout.clone(),
        settings,
        exec_helper: Helper::own_binary(EXEC_HELPER),
        log_helper: Some(crate::logd::helper(args)),
        lock_helper: Some(crate::lockd::helper(args)),
        runtime: handle.clone(),
        environment: ["PATH", "HOME", "USER", "LOGNAME"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)))
            .collect(),
        system_bus: Some(paths::system_bus()),
    })
    .map_err(|error| error.to_string())?;
    let taken_over = tokio::select! {
        () = engine.reattach() => true,
        // Guests do not notice: the next start takes them over.
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if !taken_over {
        engine.close();
        return Ok(());
    }
    {
        let engine = Arc::clone(&engine);
        let swept = tokio::task::spawn_blocking(move || engine.sweep()).await;
        if let Err(error) = swept {
            tracing::error!(%error, "leftovers were not removed");
        }
    }
    let servers = open_doors(&engine, &layout, args, &conf, handle, activated)?;
    engine.daemon_hook(DaemonHook::Start).await;
    // Most of what the start ran is not run again.
    host::process::forget_code();
    announce_ready(&layout);
    engine.follow_host(paths::system_bus());
    {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.autostart().await });
    }
    let control = &servers.service.control;
    control.set_timeout(args.timeout);
    let mut timeout = control.timeout();
    loop {
        let patience = *timeout.borrow_and_update();
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: nothing to read again");
                engine.daemon_hook(DaemonHook::Reload).await;
            }
            _ = timeout.changed() => {}
            () = control.shutdown_requested() => {
                tracing::info!("an admin client asks the daemon to end");
                break;
            }
            () = idle(&engine, &servers.main, patience) => {
                tracing::info!("no clients and no guests for a while: ending");
                break;
            }
        }
    }
    tell_manager("STOPPING=1");
    let preserve = control.preserves();
    servers.shutdown().await;
    if preserve {
        tracing::info!("guests end as when the host stops");
        engine.host_stops().await;
    }
    engine.daemon_hook(DaemonHook::Shutdown).await;
    engine.close();
    Ok(())
}

/// The servers of the daemon and the threads they share.
struct Servers {
    main: ServerHandle,
    admin: ServerHandle,
    service: Arc<Libvirt>,
    _shards: Arc<Shards>,
}

impl Servers {
    async fn shutdown(&self) {
        self.service.control.manage(Vec::new());
        tokio::join!(self.main.shutdown(), self.admin.shutdown());
    }
}

/// Explains the start of the guest that `xml` defines, without a daemon. `record`: what its
/// emulator can do, as a recorded conversation.
///
/// # Errors
/// In words: the definition cannot be carried out, or the record is none.
pub fn explain(xml: &str, record: Option<&str>) -> Result<serde_json::Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let session = !rustix::process::geteuid().is_root();
    let layout = paths::layout(&Args { session, ..Args::default() })?;
    let settings = read_settings(&layout)?;
    let config = EngineConfig {
        layout,
        settings,
        exec_helper: Helper::own_binary(EXEC_HELPER),
        log_helper: None,
        lock_helper: None,
        runtime: runtime.handle().clone(),
        environment: std::collections::BTreeMap::new(),
        system_bus: None,
    };
    let emulator = engine::emulator_named(xml);
    let record = match (&emulator, record) {
        (Some(emulator), Some(record)) => Some((emulator.as_str(), record)),
        (None, Some(_)) => {
            return Err("with recorded capabilities, <emulator> has to name the binary".into());
        }
        (_, None) => None,
    };
    let engine = Engine::offline(config, record)?;
    runtime.block_on(engine.explain(xml.to_owned())).map_err(|error| {
        let hints = error.hints.iter().map(|hint| format!("\nhint: {hint}"));
        hints.fold(error.message(), |text, hint| text + &hint)
    })
}

fn open_doors(
    engine: &Arc<Engine>,
    layout: &Layout,
    args: &Args,
    conf: &paths::DaemonConf,
    handle: tokio::runtime::Handle,
    activated: Vec<(String, std::os::fd::OwnedFd)>,
) -> Result<Servers, String> {
    let shards = Shards::start(None).map_err(|error| error.to_string())?;
    let service = Libvirt::new(Arc::clone(engine));
    let config = ServerConfig { runtime: Some(handle), ..ServerConfig::default() };
    let main_config = ServerConfig {
        limits: conf.limits,
        max_queued: conf.max_queued.unwrap_or(config.max_queued),
        ..config.clone()
    };
    let mut activated = activated;
    let mut door = |kind, path: PathBuf, mode| {
        let owner = rustix::process::geteuid().as_raw();
        let group = conf.socket_group;
        let made = activated.iter().position(|(name, _)| path.ends_with(name));
        let spec = match made.map(|at| activated.remove(at)) {
            Some((_, fd)) => ListenerSpec::fd(kind, fd),
            None => ListenerSpec::path(kind, path, mode),
        };
        let spec = match group {
            Some(gid) if kind != ListenerKind::Admin => spec.group(gid),
            _ => spec,
        };
        // The file's mode decides on most systems; the peer's identity is checked all the same.
        spec.allow(move |peer| {
            peer.uid == 0 || peer.uid == owner || (kind != ListenerKind::Admin && group.is_some())
        })
    };
    let mode = if conf.socket_group.is_some() { 0o660 } else { 0o600 };
    let mut doors = vec![
        door(ListenerKind::Main, layout.socket(), mode),
        door(ListenerKind::ReadOnly, layout.socket_read_only(), mode),
    ];
    if args.modular {
        doors.push(door(ListenerKind::Main, layout.run.join("virtqemud-sock"), mode));
        doors.push(door(ListenerKind::ReadOnly, layout.run.join("virtqemud-sock-ro"), mode));
    }
    let main = Server::start(&shards, Arc::clone(&service), main_config, doors)
        .map_err(|error| error.to_string())?;
    let admin_config = ServerConfig { name: "admin".into(), ..config };
    let admin_door = vec![door(ListenerKind::Admin, layout.socket_admin(), 0o600)];
    let admin = Server::start(&shards, Arc::clone(&service), admin_config, admin_door)
        .map_err(|error| error.to_string())?;
    service.control.manage(vec![main.clone(), admin.clone()]);
    Ok(Servers { main, admin, service, _shards: shards })
}

/// Tells a service manager, if one started us (sd_notify(3)).
pub fn tell_manager(state: &str) {
    if let Ok(socket) = std::env::var("NOTIFY_SOCKET")
        && let Err(error) = host::notify::notify(&socket, state)
    {
        tracing::warn!(socket, %error, "the service manager was not told");
    }
}

/// The sockets that a service manager made for us (sd_listen_fds(3)), if one did.
/// Each comes with the name of its file, which tells what it is for.
pub fn activated_sockets() -> Vec<(String, std::os::fd::OwnedFd)> {
    let (Ok(pid), Ok(count)) = (std::env::var("LISTEN_PID"), std::env::var("LISTEN_FDS")) else {
        return Vec::new();
    };
    let taken = host::notify::take_listen_fds(&pid, &count).unwrap_or_else(|error| {
        tracing::error!(%error, "the service manager's sockets cannot be used");
        Vec::new()
    });
    let named = taken.into_iter().filter_map(|fd| Some((socket_name(&fd)?, fd)));
    named.collect()
}

/// The last part of the path that a socket is bound to.
fn socket_name(fd: &std::os::fd::OwnedFd) -> Option<String> {
    let address = rustix::net::getsockname(fd).ok()?;
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    let path = address.path()?.to_string_lossy().into_owned();
    path.rsplit('/').next().map(str::to_owned)
}

/// Tells whoever waits that clients may come: service managers, scripts, and people.
fn announce_ready(layout: &Layout) {
    tell_manager("READY=1");
    let mut out = std::io::stdout();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "ready: {}", layout.socket().display());
    let _ = out.flush();
}

/// Comes to an end when nobody needed the daemon for `timeout`.
async fn idle(engine: &Engine, server: &ServerHandle, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return std::future::pending().await };
    let mut clients = server.client_count();
    loop {
        if *clients.borrow_and_update() == 0 && engine.active_count() == 0 {
            tokio::select! {
                () = tokio::time::sleep(timeout) => {
                    if *clients.borrow() == 0 && engine.active_count() == 0 {
                        return;
                    }
                }
                changed = clients.changed() => if changed.is_err() { return },
            }
        } else {
            tokio::select! {
                () = tokio::time::sleep(timeout) => {}
                changed = clients.changed() => if changed.is_err() { return },
            }
        }
    }
}

struct MachineAccounts(Users);

impl Accounts for MachineAccounts {
    fn user(&self, name: &str) -> Option<u32> {
        self.0.resolve_uid(name)
    }
    fn group(&self, name: &str) -> Option<u32> {
        self.0.resolve_gid(name)
    }
}

/// Reads qemu.conf and our own settings.
///
/// # Errors
/// In words, naming file and line.
pub fn read_settings(layout: &Layout) -> Result<settings::EngineSettings, String> {
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    };
    let qemu_conf = read(layout.etc.join("qemu.conf"))?;
    let own_conf = read(layout.etc.join("ironvirt.conf"))?;
    let accounts = MachineAccounts(Users::load(Path::new("/")));
    let mut settings = settings::load(layout, qemu_conf.as_deref(), own_conf.as_deref(), &accounts)
        .map_err(|error| error.to_string())?;
    let path = layout.etc.join("qemu-lockd.conf");
    if let (Some("lockd"), Some(text)) = (settings.lock_manager.as_deref(), read(path.clone())?) {
        settings.locks = ConfFile::parse(&path.display().to_string(), &text)
            .and_then(|conf| settings::LockSettings::read(&conf))
            .map_err(|error| error.to_string())?;
    }
    Ok(settings)
}
