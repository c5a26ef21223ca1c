//! The single steps of a launch plan, each on a thread that may block.

use crate::domain::start::qemu_log;
use crate::domain::start::results::Results;
use crate::domain::stored::store::os_words;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::access::{Expected, FileId, OpenMode, Owner, make_parents, place};
use host::files::{self, WriteMode};
use plan::{
    Access, Action, Content, FileKind, Grant, Helper, HostDevice, Ids, ResultName, SecretRef, Step,
    ThreadSetting,
};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a helper process may take until its socket is there.
const HELPER_DEADLINE: Duration = Duration::from_secs(30);

/// How long one may take that makes something and ends: `swtpm_setup` makes keys and certificates,
/// one guest at a time on the whole machine, and many guests may start at once on a busy host.
const SETUP_DEADLINE: Duration = Duration::from_secs(300);

/// Does one step and keeps what it yields.
pub(in crate::domain) fn perform(
    engine: &Engine,
    domain: &str,
    step: &Step,
    results: &mut Results,
) -> Result<(), VirError> {
    // Whose links are not followed: some of the folders below are that user's.
    let guest = engine.guest_uid();
    match &step.action {
        Action::MakeDir { path, mode, owner } => make_dir(path, *mode, *owner, guest),
        Action::WriteFile { path, mode, owner, content } => {
            write_file(engine, path, *mode, *owner, content)
        }
        Action::CopyFile { from, to, mode, owner, reset } => {
            if copy_file(from, to, *mode, *owner, *reset, guest)? {
                results.created.insert(to.clone());
            }
            Ok(())
        }
        Action::RequireFile { path, role, kind } => require_file(path, role, *kind),
        Action::Grant(grant) => {
            if let Some(file) = grant_access(engine, grant)? {
                results.lent.insert(grant.path.clone(), file);
            }
            Ok(())
        }
        Action::OpenFile { path, access, create_append } => {
            // QEMU takes a descriptor only for just the access it asks for: a log is only written.
            let mode = match access {
                _ if *create_append => OpenMode::Append,
                Access::Read => OpenMode::Read,
                Access::ReadWrite => OpenMode::ReadWrite,
            };
            if *create_append && let Some(fd) = engine.open_device_log(domain, path, results)? {
                keep_fd(step, results, fd);
                return Ok(());
            }
            let file = host::access::open(Path::new(path), guest, mode)
                .map_err(|error| system(&format!("cannot open '{path}'"), &error))?;
            keep_fd(step, results, file.into());
            Ok(())
        }
        Action::OpenLog { path } => {
            if engine.open_qemu_log(domain, path, results)? {
                return Ok(());
            }
            let file = open_log(path, guest)?;
            results.log = Some(file.into());
            results.log_path = Some(PathBuf::from(path));
            Ok(())
        }
        Action::ListenUnix { path, mode, owner } => {
            let listener = listen_unix(path, *mode, *owner, guest)?;
            keep_fd(step, results, listener.into());
            Ok(())
        }
        Action::ConnectUnix { path } => {
            let stream = std::os::unix::net::UnixStream::connect(path)
                .map_err(|error| system(&format!("cannot connect to '{path}'"), &error))?;
            keep_fd(step, results, stream.into());
            Ok(())
        }
        Action::ReservePort { purpose, listen, min, max, fixed } => {
            let port = match fixed {
                Some(port) if engine.ports.take(*port) => *port,
                Some(port) => {
                    let by = engine.port_holders(*port);
                    let by = by.unwrap_or_else(|| "another guest that starts".to_owned());
                    return Err(VirError::internal(format!("Failed to reserve port {port}"))
                        .from_domain(ErrorDomain::NONE)
                        .hint(format!("the {purpose} port {port} is in use by {by}")));
                }
                None => engine.ports.reserve(listen, *min, *max).ok_or_else(|| {
                    let range = if *purpose == "vnc-websocket" { "webSocket" } else { "display" };
                    VirError::internal(format!(
                        "Unable to find an unused port in range '{range}' ({min}-{max})"
                    ))
                    .from_domain(ErrorDomain::NONE)
                })?,
            };
            if let Some(name) = &step.result {
                results.ports.insert(name.clone(), port);
            }
            Ok(())
        }
        Action::Tap(tap) => crate::domain::start::links::make_tap(engine, step, tap, results),
        Action::VhostNet { path, queues } => {
            for queue in 0..*queues {
                let file = fs::File::options()
                    .read(true)
                    .write(true)
                    .open(path)
                    .map_err(|error| system(&format!("cannot open '{path}'"), &error))?;
                if let Some(name) = crate::domain::start::links::queue_name(step, queue, *queues) {
                    results.fds.insert(name, file.into());
                }
            }
            Ok(())
        }
        Action::Secret(secret) => {
            let sealed = seal(engine, secret)?;
            if let Some(name) = &step.result {
                results.secrets.insert(name.clone(), sealed);
            }
            Ok(())
        }
        Action::VhostVsock { path, cid } => {
            let (device, cid) =
                host::vsock::open(Path::new(path), *cid).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        VirError::config("unable to open vhost-vsock device")
                    }
                    _ => system("failed to set guest cid", &error),
                })?;
            if let Some(name) = &step.result {
                results.cids.insert(name.clone(), cid);
            }
            keep_fd(step, results, device);
            Ok(())
        }
        Action::Assign(device) => Err(cannot_assign(device)),
        Action::Helper(helper) => start_helper(helper, results, guest),
        Action::Cgroup(cgroup) => {
            crate::domain::start::limits::check(engine.cgroups.as_ref(), &cgroup.settings)?;
            engine.make_cgroup(domain, cgroup, results)
        }
        Action::Exec(_) | Action::Qmp { .. } | Action::Threads(_) => {
            Err(VirError::internal("a step of the second half in the first half of a plan"))
        }
    }
}

/// Sets priority and placement of QEMU's threads.
pub(in crate::domain) fn set_threads(
    settings: &[ThreadSetting],
    results: &Results,
) -> Result<(), VirError> {
    crate::domain::hardware::threads::apply(settings, results)
}

/// Why a plan cannot be carried out by this daemon, before anything is touched.
pub(in crate::domain) fn unsupported(steps: &[Step]) -> Option<VirError> {
    steps.iter().find_map(|step| match &step.action {
        Action::Assign(device) => Some(cannot_assign(device)),
        Action::Tap(tap) => crate::domain::start::links::unsupported(tap),
        _ => None,
    })
}

fn cannot_assign(device: &HostDevice) -> VirError {
    // Without an IOMMU the kernel hands no device over, whoever asks.
    let groups = fs::read_dir("/sys/kernel/iommu_groups").ok();
    if groups.is_none_or(|mut groups| groups.next().is_none()) {
        return VirError::config(match device {
            HostDevice::Pci { .. } => "host doesn't support passthrough of host PCI devices",
            HostDevice::Mdev { .. } => "Mediated host device assignment requires VFIO support",
        })
        .hint("the kernel has no IOMMU groups: is the IOMMU enabled in firmware and kernel?");
    }
    VirError::new(
        ErrorCode::CONFIG_UNSUPPORTED,
        format!("assigning host devices to guests is not supported yet ({device})"),
    )
}

/// The value of a secret.
fn secret_value(engine: &Engine, secret: &SecretRef) -> Result<Arc<[u8]>, VirError> {
    match &secret.text {
        Some(text) => Ok(Arc::from(text.as_bytes())),
        None => engine.secrets.resolve(secret),
    }
}

/// Looks whether all secrets of a plan are there, before anything is touched.
pub(in crate::domain) fn check_secrets(engine: &Engine, steps: &[Step]) -> Result<(), VirError> {
    steps.iter().try_for_each(|step| match &step.action {
        Action::Secret(secret) | Action::WriteFile { content: Content::Secret(secret), .. } => {
            secret_value(engine, secret).map(|_| ())
        }
        _ => Ok(()),
    })
}

/// A secret sealed with the guest's master key, and the vector used.
fn seal(engine: &Engine, secret: &SecretRef) -> Result<(String, String), VirError> {
    let value = secret_value(engine, secret)?;
    let failed = |error| system(&format!("cannot read '{}'", secret.master_key), &error);
    let key = fs::read(&secret.master_key).map_err(failed)?;
    let key: [u8; 32] = key.try_into().map_err(|_| VirError::internal("Bad master key size"))?;
    let iv = crate::random::bytes(16)?;
    let iv: [u8; 16] = iv.try_into().map_err(|_| VirError::internal("Bad vector size"))?;
    Ok((plan::secret::seal(&key, &iv, &value), plan::secret::base64(&iv)))
}

fn keep_fd(step: &Step, results: &mut Results, fd: std::os::fd::OwnedFd) {
    if let Some(name) = &step.result {
        results.fds.insert(name.clone(), fd);
    }
}

/// A system error as libvirt words it.
pub(in crate::domain) fn system(what: &str, error: &std::io::Error) -> VirError {
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("{what}: {}", os_words(error)))
}

/// Gives what was just made its mode and owner, even where the owner-to-be may have replaced it.
fn hand_over(
    path: &str,
    expected: Expected,
    mode: u32,
    owner: Option<Ids>,
) -> Result<(), VirError> {
    let owner = owner.map(|ids| Owner { uid: ids.uid, gid: ids.gid });
    host::access::hand_over(Path::new(path), expected, mode, owner)
        .map_err(|error| system(&format!("cannot set mode and owner of '{path}'"), &error))
}

fn make_dir(path: &str, mode: u32, owner: Option<Ids>, guest: u32) -> Result<(), VirError> {
    let failed = |error| system(&format!("cannot create directory '{path}'"), &error);
    make_parents(Path::new(path), guest, 0o755).map_err(failed)?;
    match fs::create_dir(place(Path::new(path), guest).map_err(failed)?.path()) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(error));
        }
        _ => {}
    }
    hand_over(path, Expected::Folder, mode, owner)
}

fn write_file(
    engine: &Engine,
    path: &str,
    mode: u32,
    owner: Option<Ids>,
    content: &Content,
) -> Result<(), VirError> {
    let guest = engine.guest_uid();
    let failed = |error| system(&format!("cannot write '{path}'"), &error);
    if matches!(content, Content::Bytes(bytes) if bytes.is_empty()) && owner.is_none() {
        // To be emptied, and not to be replaced: it may be /dev/null.
        return host::access::open(Path::new(path), guest, OpenMode::Empty)
            .map(|_| ())
            .map_err(|error| system(&format!("Unable to open file: {path}"), &error));
    }
    let bytes = match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Random(length) => crate::random::bytes(*length)?,
        Content::Secret(secret) => secret_value(engine, secret)?.to_vec(),
    };
    let how = WriteMode { mode, owner: owner.map(|ids| (ids.uid, ids.gid)), durable: false };
    let place = place(Path::new(path), guest).map_err(failed)?;
    files::write_atomic(&place.path(), &bytes, how).map_err(|error| failed(error.source))
}

/// True if the file was made.
fn copy_file(
    from: &str,
    to: &str,
    mode: u32,
    owner: Option<Ids>,
    reset: bool,
    guest: u32,
) -> Result<bool, VirError> {
    let failed = |error| system(&format!("Failed to create variable store '{to}'"), &error);
    make_parents(Path::new(to), guest, 0o755).map_err(failed)?;
    let place = place(Path::new(to), guest).map_err(failed)?;
    let existed = place.path().exists();
    if existed && !reset {
        return Ok(false);
    }
    let content = fs::read(from)
        .map_err(|error| system(&format!("Failed to open master store '{from}'"), &error))?;
    let how = WriteMode { mode, owner: owner.map(|ids| (ids.uid, ids.gid)), durable: true };
    files::write_atomic(&place.path(), &content, how).map_err(|error| failed(error.source))?;
    Ok(!existed)
}

fn require_file(path: &str, role: &str, kind: FileKind) -> Result<(), VirError> {
    let Err(error) = fs::metadata(path) else { return Ok(()) };
    // libvirt's words, which scripts look for.
    Err(match kind {
        FileKind::Image => system(&format!("Cannot access storage file '{path}'"), &error)
            .from_domain(ErrorDomain::STORAGE)
            .hint(format!("the source of {role} must exist before the guest can start")),
        FileKind::Random => system(&format!("Path '{path}' is not accessible"), &error)
            .hint(format!("{role} asks for this source of random numbers")),
        FileKind::SharedFolder => {
            VirError::internal(format!("the virtiofs export directory '{path}' does not exist"))
                .hint(format!("make the folder that the <source> of {role} names"))
        }
        FileKind::Variables => VirError::new(
            ErrorCode::OPERATION_FAILED,
            format!("unable to find any master var store for loader: {role}"),
        )
        .hint(format!("name a <nvram template=…>, or make '{path}'")),
        FileKind::Other => system(&format!("cannot access {role} '{path}'"), &error),
    })
}

fn grant_access(engine: &Engine, grant: &Grant) -> Result<Option<FileId>, VirError> {
    if grant.optional && !Path::new(&grant.path).exists() {
        return Ok(None);
    }
    crate::domain::start::grants::grant(engine, grant)
}

fn open_log(path: &str, guest: u32) -> Result<fs::File, VirError> {
    let failed = |error| system(&format!("cannot open log '{path}'"), &error);
    let place = place(Path::new(path), guest).map_err(failed)?;
    files::open_log(&place.path()).map_err(|error| failed(error.source))
}

fn listen_unix(
    path: &str,
    mode: u32,
    owner: Option<Ids>,
    guest: u32,
) -> Result<UnixListener, VirError> {
    let failed = |error| system(&format!("cannot listen on '{path}'"), &error);
    let stale = place(Path::new(path), guest).map_err(failed)?;
    match fs::symlink_metadata(stale.path()) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(stale.path()).map_err(failed)?;
        }
        Ok(_) => {
            let taken = format!("cannot listen on '{path}': it is there and no socket");
            return Err(VirError::new(ErrorCode::SYSTEM_ERROR, taken)
                .hint("nothing is removed: name a path that is free"));
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) => {}
    }
    // By its own name, which QEMU tells and unlinks; that it is there is seen by handing it over.
    let listener = UnixListener::bind(path).map_err(failed)?;
    hand_over(path, Expected::Socket, mode, owner)?;
    Ok(listener)
}

/// Starts a helper process and waits until it is ready.
fn start_helper(helper: &Helper, results: &Results, guest: u32) -> Result<(), VirError> {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut numbers = std::collections::BTreeMap::new();
    let args: Vec<_> = helper.args.iter().map(|arg| results.render(arg, &mut numbers)).collect();
    if !numbers.is_empty() {
        return Err(VirError::internal(format!("'{}' is to get descriptors", helper.program)));
    }
    let mut command = Command::new(&helper.program);
    command.args(args).stdin(Stdio::null()).current_dir("/").process_group(0);
    let output = match &helper.log {
        Some(log) => Some(open_log(log, guest)?),
        None => None,
    };
    // What its forerunners said is no news.
    let said_before = output.as_ref().and_then(|log| log.metadata().ok()).map_or(0, |is| is.len());
    match output {
        Some(file) => {
            let second = file.try_clone().map_err(|error| system("cannot open a log", &error))?;
            command.stdout(file).stderr(second);
        }
        None => {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        }
    }
    if let Some(ids) = helper.owner {
        command.uid(ids.uid).gid(ids.gid);
    }
    let mut child = command.spawn().map_err(|error| {
        let searched = !helper.program.contains('/');
        let what = match error.kind() {
            std::io::ErrorKind::NotFound if searched => "Cannot find '{}' in path",
            _ => "cannot start '{}'",
        };
        system(&what.replace("{}", &helper.program), &error)
            .hint(format!("install the package that has '{}'", helper.program))
    })?;
    if let (Some(path), false, false) = (&helper.pid_file, helper.daemonizes, helper.one_shot) {
        // One that stays in the foreground writes none itself.
        let text = format!("{}\n", child.id());
        let failed = |error| system(&format!("cannot write '{path}'"), &error);
        let written = place(Path::new(path), guest).map_err(failed).and_then(|place| {
            files::write_atomic(&place.path(), text.as_bytes(), WriteMode::RUNTIME)
                .map_err(|error| failed(error.source))
        });
        if let Err(error) = written {
            // Without the file nobody would find it again.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    }
    let patience = if helper.one_shot { SETUP_DEADLINE } else { HELPER_DEADLINE };
    let deadline = Instant::now() + patience;
    let ended_well = helper.daemonizes || helper.one_shot;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if !status.success() || !ended_well => {
                return Err(helper_error(
                    helper,
                    child.stderr.take(),
                    said_before,
                    &status.to_string(),
                ));
            }
            Ok(Some(_)) if helper_ready(helper) => return hand_over_socket(helper),
            Ok(None) if !ended_well && helper_ready(helper) => {
                // It runs on as our child; somebody has to collect its exit status in the end.
                std::thread::spawn(move || child.wait());
                return hand_over_socket(helper);
            }
            Ok(_) => {}
            Err(error) => return Err(system(&format!("lost '{}'", helper.program), &error)),
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(VirError::new(
                ErrorCode::OPERATION_TIMEOUT,
                format!("'{}' was not ready after {patience:?}", helper.program),
            ));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn hand_over_socket(helper: &Helper) -> Result<(), VirError> {
    match (&helper.socket, helper.socket_owner) {
        (Some(socket), owner @ Some(_)) => hand_over(socket, Expected::Socket, 0o700, owner),
        _ => Ok(()),
    }
}

fn helper_ready(helper: &Helper) -> bool {
    let written = helper.pid_file.as_ref().is_none_or(|path| Path::new(path).exists());
    written && helper.socket.as_ref().is_none_or(|path| listens(path))
}

/// True once somebody listens on a unix socket. A socket's file is there a moment before that, and
/// a look by connecting would be taken for the one client that helpers serve (proc(5), `net/unix`:
/// flag 0x10000 is "accepts connections").
fn listens(path: &str) -> bool {
    let Ok(table) = fs::read_to_string("/proc/net/unix") else { return Path::new(path).exists() };
    table.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(3) == Some("00010000") && line.ends_with(path)
    })
}

fn helper_error(
    helper: &Helper,
    stderr: Option<std::process::ChildStderr>,
    said_before: u64,
    status: &str,
) -> VirError {
    use std::io::Read;
    let mut said = String::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(2048).read_to_string(&mut said);
    } else if let Some(log) = &helper.log {
        said = qemu_log::tail(Path::new(log), said_before);
    }
    let said = said.trim();
    let why = if said.is_empty() { status } else { said };
    VirError::internal(format!("Could not start '{}': {why}", helper.program))
}

/// Names the results of a step that yields several.
pub(in crate::domain) fn named(step: &Step, tail: &str) -> Option<ResultName> {
    step.result.as_ref().map(|name| ResultName::new(format!("{}{tail}", name.0)))
}
