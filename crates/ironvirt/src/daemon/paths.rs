//! Where this daemon's tree is, and what libvirtd.conf says about its sockets.

use super::args::Args;
use engine::Layout;
use engine::conf::ConfFile;
use host::users::Users;
use rpc::server::Limits;
use std::path::{Path, PathBuf};

/// What of libvirtd.conf matters here.
#[derive(Clone, Copy, Debug, Default)]
pub struct DaemonConf {
    /// `unix_sock_group`: members may connect.
    pub socket_group: Option<u32>,
    /// `max_clients`, `max_anonymous_clients`, `max_client_requests`.
    pub limits: Limits,
    /// `max_queued_clients`.
    pub max_queued: Option<i32>,
}

/// The tree of a daemon with these arguments.
///
/// # Errors
/// In words, when a path is too long for sockets or there is no home.
pub fn layout(args: &Args) -> Result<Layout, String> {
    let mut layout = tree(args)?;
    if let Some(path) = &args.pid_file {
        layout.pid_file = std::path::absolute(path).map_err(|error| error.to_string())?;
    }
    Ok(layout)
}

fn tree(args: &Args) -> Result<Layout, String> {
    if !args.session || args.root.is_some() {
        let root = args.root.as_deref().unwrap_or(Path::new("/"));
        let root = std::path::absolute(root).map_err(|error| error.to_string())?;
        let layout = Layout::system(&root).map_err(|error| error.to_string())?;
        return Ok(Layout { session: args.session, ..layout });
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let xdg = |name: &str, below_home: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home.as_ref()?.join(below_home)))
            .ok_or_else(|| format!("neither {name} nor HOME is set"))
    };
    let cache = xdg("XDG_CACHE_HOME", ".cache")?;
    let config = xdg("XDG_CONFIG_HOME", ".config")?;
    // Without a run-time directory libvirt's clients look below the cache's.
    let run = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(run) if run.is_absolute() => run,
        _ => cache.clone(),
    };
    Layout::session(&config, &run, &cache).map_err(|error| error.to_string())
}

/// Reads libvirtd.conf, if there is one.
///
/// # Errors
/// In words, naming file and line.
pub fn daemon_conf(layout: &Layout, args: &Args) -> Result<DaemonConf, String> {
    let path = args.config.clone().unwrap_or_else(|| layout.etc.join("libvirtd.conf"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && args.config.is_none() => {
            return Ok(DaemonConf::default());
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let conf = ConfFile::parse(&path.display().to_string(), &text).map_err(|e| e.to_string())?;
    let words = |error: engine::conf::ConfError| error.to_string();
    engine::conf::known::LIBVIRTD.check(&conf).map_err(words)?;
    let socket_group = match conf.text("unix_sock_group").map_err(words)? {
        None => None,
        Some(name) => Some(Users::load(Path::new("/")).resolve_gid(name).ok_or_else(|| {
            conf.invalid("unix_sock_group", &format!("there is no group '{name}'")).to_string()
        })?),
    };
    let read = DaemonConf { socket_group, limits: limits(&conf)?, max_queued: max_queued(&conf)? };
    conf.tell_unheeded();
    Ok(read)
}

/// How much the main server takes on.
fn limits(conf: &ConfFile) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for (name, slot) in [
        ("max_clients", &mut limits.max_clients),
        ("max_anonymous_clients", &mut limits.max_anonymous_clients),
        ("max_client_requests", &mut limits.max_client_requests),
    ] {
        if let Some(number) = conf.number(name).map_err(|error| error.to_string())? {
            if number == 0 && name == "max_anonymous_clients" {
                // As libvirtd's file says: no limit of their own.
                *slot = usize::MAX;
                continue;
            }
            // Else nobody could ever connect, or call.
            let usable = usize::try_from(number).ok().filter(|number| *number > 0);
            *slot = usable.ok_or_else(|| conf.invalid(name, "expected 1 or more").to_string())?;
        }
    }
    Ok(limits)
}

fn max_queued(conf: &ConfFile) -> Result<Option<i32>, String> {
    let number = conf.number("max_queued_clients").map_err(|error| error.to_string())?;
    Ok(number.map(|number| i32::try_from(number).unwrap_or(i32::MAX)))
}
/// Where the host's message bus listens: `DBUS_SYSTEM_BUS_ADDRESS` where that is a path, or the
/// usual place.
pub fn system_bus() -> PathBuf {
    let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    let path = address.strip_prefix("unix:path=").and_then(|rest| rest.split([',', ';']).next());
    path.unwrap_or("/run/dbus/system_bus_socket").into()
}
