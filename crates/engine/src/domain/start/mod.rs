//! Starting domains: from a definition to a running guest.

pub(in crate::domain) mod chains;
pub(in crate::domain) mod device_list;
pub mod explain;
pub(in crate::domain) mod foreign;
pub(in crate::domain) mod found;
pub(in crate::domain) mod grants;
mod groups;
pub(in crate::domain) mod guest_log;
pub(in crate::domain) mod holders;
pub(in crate::domain) mod labels;
pub(in crate::domain) mod launch;
pub(crate) mod limits;
pub(in crate::domain) mod links;
mod nbdkit;
mod policy;
pub(in crate::domain) mod qemu_log;
pub(in crate::domain) mod results;
pub(in crate::domain) mod steps;
pub(in crate::domain) mod sweep;
pub(in crate::domain) mod teardown;
pub(in crate::domain) mod tpm;
mod usb;

use super::job::Admission;
use super::record::{Domain, Live};
use super::save::Incoming;
use super::view::power_policy;
use super::vm::{self, ActorParts, EndReason};
use crate::domain::adopt::status::{Pending, StatusFile};
use crate::domain::start::launch::{Launch, Launched, NotLaunched, Notes};
use crate::domain::stored::define::uuid_of;
use crate::domain::tuning::boot_cpus::{self, boot_cpus_come_first};
use crate::engine::Engine;
use crate::events::{DomainEvent, DomainRef};
use diag::{ErrorCode, ErrorDomain, VirError};
use lifecycle::{
    LifecycleEvent, PausedReason, Phase, Request, RunningReason, ShutoffReason, Status,
};
use model::capabilities::qemu::Accel;
use model::domain::Domain as Definition;
use plan::LaunchPlan;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// How often a start is tried when others take the ports that were chosen for it.
const PORT_TRIES: u32 = 4;

/// A QEMU that is there, stopped, and how it came about.
struct Prepared {
    plan: LaunchPlan,
    status: StatusFile,
    undo: Vec<plan::Undo>,
    resume: plan::QmpCommand,
    launched: Launched,
}

/// How a domain is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartOptions {
    /// Leave the virtual CPUs stopped.
    pub paused: bool,
    /// Unknown content in the XML of a transient domain is an error.
    pub validate: bool,
    /// Give the guest a fresh variable store.
    pub reset_nvram: bool,
    /// Read a managed save image past the page cache.
    pub bypass_cache: bool,
    /// Boot, and remove a managed save image.
    pub force_boot: bool,
    /// QEMU waits for a state to take up; it does not boot.
    pub takes_up: bool,
}

impl Engine {
    /// Starts a defined domain.
    ///
    /// # Errors
    /// When it runs already, its definition cannot be carried out on this host, or QEMU refuses
    /// it; then nothing is left of the attempt.
    pub async fn start(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        options: StartOptions,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = domain.gate.acquire(Request::Start, "start", client).await?;
        let Some(config) = domain.snapshot().config.clone() else {
            // It was transient and ended while this waited: looking it up again says so.
            return Err(self.gone(domain));
        };
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            if let Some((saved, incoming)) = engine.managed_start(&domain, options).await? {
                return engine.run(&domain, saved, options, Some(incoming), job).await;
            }
            let definition = {
                let engine = Arc::clone(&engine);
                crate::blocking(move || engine.definition_of(&config)).await?
            };
            engine.run(&domain, definition, options, None, job).await
        })
        .await
    }

    /// Starts a domain that is gone once it stops, unless it is defined too.
    ///
    /// # Errors
    /// Faults of the text, a domain of that name or UUID that runs, and those of starting.
    pub async fn create(
        self: &Arc<Self>,
        xml: String,
        options: StartOptions,
        client: &Arc<str>,
    ) -> Result<DomainRef, VirError> {
        self.capabilities_ready(&xml).await?;
        let engine = Arc::clone(self);
        let client = Arc::clone(client);
        self.detached(async move {
            let definition = {
                let engine = Arc::clone(&engine);
                crate::blocking(move || {
                    let (definition, left_out) = engine.read_definition(&xml, options.validate)?;
                    crate::domain::stored::store::check_name(
                        &engine.layout.qemu_run(),
                        &definition.name,
                    )
                    .map_err(|error| error.to_vir())?;
                    engine.note_left_out(&definition.name, &left_out, &xml);
                    Ok(definition)
                })
                .await?
            };
            let uuid = uuid_of(&definition)?;
            let (domain, new) = engine.registry.claim(&definition.name, &uuid, || {
                Domain::inactive(uuid, &definition.name, None)
            })?;
            let result = async {
                let job = domain
                    .gate
                    .acquire(Request::Start, "create", &client)
                    .await
                    .map_err(|error| already_active(error, &domain))?;
                engine.run(&domain, definition, options, None, job).await?;
                Ok(domain.reference())
            }
            .await;
            if result.is_err() && new {
                engine.registry.remove_if_gone(&domain);
            }
            result
        })
        .await
    }

    /// Starts all pools and domains that are to start with the host; failures are logged.
    ///
    /// Domains start once after each boot of the host, as with libvirt: a file in the folder of what runs says
    /// that it was done.
    pub async fn autostart(self: &Arc<Self>) {
        self.pools.autostart().await;
        let marker = self.layout.qemu_run().join("autostarted");
        if marker.exists() {
            return;
        }
        if let Err(error) = std::fs::write(&marker, b"") {
            tracing::warn!(path = %marker.display(), %error, "not written");
        }
        let mut wanted = Vec::new();
        self.registry.for_each(|domain, snapshot| {
            if snapshot.autostart || snapshot.autostart_once {
                wanted.push(Arc::clone(domain));
            }
        });
        let client: Arc<str> = Arc::from("autostart");
        let mut first = true;
        for domain in wanted {
            let snapshot = domain.snapshot();
            let options = StartOptions {
                bypass_cache: self.settings.save.auto_start_bypass_cache,
                ..StartOptions::default()
            };
            if !snapshot.is_active() {
                if !std::mem::take(&mut first) {
                    tokio::time::sleep(self.settings.auto_start_delay).await;
                }
                if let Err(error) = self.start(&domain, options, &client).await {
                    let name = &snapshot.name;
                    tracing::error!(domain = %name, error = %error.message(), "not autostarted");
                }
            }
            if snapshot.autostart_once
                && let Err(error) = self.set_autostart_once(&domain, false, &client).wait().await
            {
                let name = &snapshot.name;
                tracing::error!(domain = %name, error = %error.message(), "stays marked");
            }
        }
    }

    /// The plan that starting a definition would carry out, without carrying it out. What may be
    /// missing and is has been left out already ([`Engine::forgo`]).
    ///
    /// # Errors
    /// When there is none: what the definition asks for cannot be had here.
    pub fn plan_start(
        &self,
        definition: &mut Definition,
        id: i32,
        options: StartOptions,
    ) -> Result<LaunchPlan, VirError> {
        boot_cpus_come_first(definition)?;
        let plan = self.plan_text(definition, id, options)?;
        let emulator = plan.exec().map(|exec| exec.program.clone()).unwrap_or_default();
        let accel = match definition.kind {
            model::domain::VirtType::Kvm => Accel::Kvm,
            _ => Accel::Tcg,
        };
        refuse(plan.lacking(&*self.caps.get(&emulator)?, accel))?;
        Ok(plan)
    }

    /// The same for who only wants to read it: what the emulator lacks may be in it.
    fn plan_text(
        &self,
        definition: &mut Definition,
        id: i32,
        options: StartOptions,
    ) -> Result<LaunchPlan, VirError> {
        let emulator =
            definition.devices.as_ref().and_then(|devices| devices.emulator.clone()).ok_or_else(
                || VirError::config("the domain names no emulator and there is no default"),
            )?;
        if id >= 0 {
            self.disks_can_be_locked(definition)?;
            let devices = definition.devices.iter_mut();
            self.find_usb_devices(devices.flat_map(|devices| &mut devices.hostdevs))?;
        }
        let caps = self.caps.get(&emulator)?;
        definition.id = Some(id);
        // A definition of old may have left ports open; a running guest has all.
        model::domain::defaults::assign_usb_ports(definition);
        model::domain::assign_aliases(definition);
        let firmware = self.firmware();
        let variable = definition
            .clock
            .as_ref()
            .is_some_and(|clock| clock.offset == model::domain::clock::ClockOffset::Variable);
        // Only a clock that is set off from now needs to know when that is.
        let dated = variable.then(|| crate::host_view::dated(&self.facts));
        let settings = match self.labelled(definition) {
            // Labels are of the running guest; a command line says nothing of them.
            Err(_) if id < 0 => std::borrow::Cow::Borrowed(&self.settings.qemu),
            settings => settings?,
        };
        let settings = self.with_huge_pages(settings, definition);
        let mut found = self.look_up(definition)?;
        found.fd_groups = self.descriptor_groups(definition)?;
        if id >= 0 {
            self.refuse_image_labels(definition)?;
            // An explanation is of the definition alone: its files need not be there.
            self.look_into_images(definition, &mut found)?;
        }
        let inputs = plan::qemu::Inputs {
            found: &found,
            caps: &caps,
            host: dated.as_ref().unwrap_or(&self.facts),
            firmware: &firmware,
            settings: &settings,
            id,
            incoming: options.takes_up.then_some("defer"),
        };
        let mut plan = plan::qemu::launch(definition, &inputs).map_err(faults_of_plan)?;
        if options.reset_nvram {
            plan.reset_nvram();
        }
        Ok(plan)
    }

    /// What starting a definition would run, as text for people (`domxml-to-native`).
    ///
    /// # Errors
    /// Faults of the definition, and what it asks for that cannot be had here.
    pub async fn native_config(
        self: &Arc<Self>,
        format: &str,
        xml: String,
    ) -> Result<String, VirError> {
        if format == crate::domain::start::explain::FORMAT {
            return Ok(self.explain(xml).await?.to_string());
        }
        if format == super::why::FORMAT {
            return Ok(self.why(xml.trim()).await?.to_string());
        }
        if format == super::rehearse::FORMAT {
            return Ok(self.rehearse(&xml).await?.to_string());
        }
        if format != "qemu-argv" {
            return Err(VirError::invalid_arg(format!("unsupported config type {format}")));
        }
        self.capabilities_ready(&xml).await?;
        let engine = Arc::clone(self);
        crate::blocking(move || {
            let (mut definition, _) = engine.read_definition(&xml, false)?;
            super::native::without_host(&mut definition);
            let of = definition.clone();
            let faults = engine.in_context(&of, |context| {
                model::domain::defaults::assign_places(&mut definition, context)
            })?;
            let mut definition = super::refuse_faults(Some(definition), &faults, "")?;
            let plan = engine.plan_text(&mut definition, -1, StartOptions::default())?;
            crate::domain::start::steps::check_secrets(&engine, &plan.steps)?;
            Ok(super::native::text(&plan, &definition, &engine.environment))
        })
        .await
    }

    /// Starts a guest whose job is held: boots it, or has it take up the state that comes in.
    ///
    /// # Errors
    /// Those of starting; then nothing is left of the attempt.
    pub(super) async fn run(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        definition: Definition,
        options: StartOptions,
        incoming: Option<Incoming>,
        job: Admission,
    ) -> Result<(), VirError> {
        let (abort, aborted) = watch::channel(false);
        domain.begin_start(abort);
        domain.gate.set_phase(Phase::Starting);
        let id = self.registry.assign_id(domain);
        // Seen by everybody from here on, so that a start that takes long can be destroyed.
        let shown = self.registry.publish(domain, |snapshot| {
            snapshot.id = id;
            snapshot.status = Status::Paused(PausedReason::StartingUp);
            snapshot.live =
                Some(Arc::new(Live::new(Definition { id: Some(id), ..definition.clone() }, 0)));
        });
        if let Err(error) = shown {
            self.registry.release_id(id);
            domain.end_start();
            domain.gate.set_phase(Phase::Inactive);
            return Err(error);
        }
        let result = self.bring_up(domain, definition, id, options, incoming, aborted).await;
        domain.end_start();
        if let Err(error) = &result {
            tracing::warn!(domain = %domain.snapshot().name, error = %error.message(), "not started");
            self.give_up(domain, id);
        }
        drop(job);
        result
    }

    async fn bring_up(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        definition: Definition,
        id: i32,
        options: StartOptions,
        incoming: Option<Incoming>,
        aborted: watch::Receiver<bool>,
    ) -> Result<(), VirError> {
        let name = Arc::clone(&domain.snapshot().name);
        if let Some(cgroups) = self.cgroups.clone() {
            // The first move into a group after a quiet time waits for the kernel; let it wait
            // while the plan is made.
            self.runtime().spawn_blocking(move || cgroups.warm_up());
        }
        let saved_cpu = incoming.as_ref().map(|incoming| incoming.cpu.clone());
        let mut tries = PORT_TRIES;
        let Prepared { plan, status, undo, resume, launched } = loop {
            tries -= 1;
            let prepared = self.prepare(
                domain,
                definition.clone(),
                id,
                options,
                saved_cpu.clone(),
                aborted.clone(),
            );
            match prepared.await {
                Ok(prepared) => break prepared,
                Err(NotLaunched { error, lost_port: true }) if tries > 0 => {
                    let error = error.message();
                    tracing::info!(domain = %name, error, "starts again with another port");
                }
                Err(NotLaunched { error, .. }) => return Err(error),
            }
        };
        let loads = incoming.is_some();
        self.take_charge(domain, &plan, status, undo, launched, loads).await?;
        if let Err(error) = self.plug_boot_cpus(domain).await {
            if let Some(vm) = domain.vm() {
                vm.end(EndReason::Failed, false);
                domain.gate.wait_phase(|phase| phase == Phase::Inactive).await;
            }
            return Err(error);
        }
        if let Some(incoming) = incoming {
            return self.take_up(domain, options, incoming).await;
        }
        if let Some(vm) = domain.vm()
            && domain
                .snapshot()
                .live
                .as_ref()
                .is_some_and(|live| boot_cpus::has_plugged(&live.definition))
        {
            // Now it is complete.
            vm.settle(Status::Paused(PausedReason::User)).await;
        }
        if !options.paused {
            self.first_run(domain, &resume).await?;
        } else {
            self.stay_paused(domain).await;
        }
        Ok(())
    }

    /// Plans a start and carries it out up to a stopped QEMU; nothing is left when that fails.
    async fn prepare(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        mut definition: Definition,
        id: i32,
        options: StartOptions,
        saved_cpu: Option<Option<model::domain::cpu::Cpu>>,
        aborted: watch::Receiver<bool>,
    ) -> Result<Prepared, NotLaunched> {
        let name = &Arc::clone(&domain.snapshot().name);
        self.settle_stray(name).await?;
        let plan = {
            let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
            crate::blocking(move || {
                model::domain::assign_aliases(&mut definition);
                for told in engine.forgo(&mut definition, saved_cpu.is_some()) {
                    engine.tell(&domain, told);
                }
                let plan = match saved_cpu {
                    None => engine.plan_start(&mut definition, id, options)?,
                    Some(cpu) => {
                        // The CPU that the guest has, whatever its definition would mean today.
                        let configured = definition.cpu.clone();
                        definition.cpu = cpu.or(configured.clone());
                        let options = StartOptions { takes_up: true, ..options };
                        let mut plan = engine.plan_start(&mut definition, id, options)?;
                        plan.configured_cpu = configured;
                        plan
                    }
                };

                if let Some(error) = crate::domain::start::steps::unsupported(&plan.steps) {
                    return Err(error);
                }
                crate::domain::start::steps::check_secrets(&engine, &plan.steps)?;
                engine.write_log_head(&plan);
                Ok(plan)
            })
            .await?
        };
        let mut status = StatusFile::new(&self.layout, name, &plan.live, &plan);
        status.set_status(Status::Paused(PausedReason::StartingUp));
        for taint in self.taints_of(&plan.live) {
            status.add_taint(taint);
        }
        let undo: Vec<_> = plan.teardown().into_iter().cloned().collect();
        let resume = plan.resume.clone();
        let notes = Notes { status: status.clone(), undo: undo.clone() };
        let launch = Launch::new(self, name, plan.clone());
        let launched = match launch.run(&notes, aborted).await {
            Ok(launched) => launched,
            Err(error) => {
                let _ = status.remove();
                return Err(error);
            }
        };
        Ok(Prepared { plan, status, undo, resume, launched })
    }

    /// QEMU is there, stopped: publish it and start its actor.
    ///
    /// # Errors
    /// When that cannot be written down; QEMU is ended then.
    async fn take_charge(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        plan: &LaunchPlan,
        mut status_file: StatusFile,
        undo: Vec<plan::Undo>,
        launched: Launched,
        loads: bool,
    ) -> Result<(), VirError> {
        let id = plan.id;
        let made = launched.results.made();
        let observed = plan::qemu::observe(plan, &launched.results.observed());
        let definition = observed.domain;
        let policy = power_policy(&definition);
        let pid = launched.process.pid();
        let status = Status::Paused(PausedReason::StartingUp);
        status_file.set_pid(pid);
        status_file.set_definition(&definition);
        status_file.set_vcpu_threads(observed.vcpu_threads.values().copied().collect());
        // A QEMU without a state, or without processors, is of no use to whoever finds it.
        let unfinished = loads || boot_cpus::has_plugged(&definition);
        let found = if unfinished { status } else { Status::Paused(PausedReason::User) };
        status_file.set_status(found);
        if let Err(error) = status_file.write() {
            let _ = launched.process.kill();
            let _ = launched.process.exited().await;
            teardown::run(self, &plan.domain, Some(&plan.live), ShutoffReason::Failed, undo, made)
                .await;
            let _ = status_file.remove();
            return Err(error);
        }
        domain.publish(|snapshot| {
            snapshot.id = id;
            snapshot.status = status;
            snapshot.live = Some(Arc::new(
                Live::new(definition, pid).with_configured_cpu(plan.configured_cpu.clone()),
            ));
        });
        status_file.set_agent_seconds(domain.agent_patience().to_seconds());
        let has_agent = super::view::agent_channel(status_file.definition()).is_some();
        let vm = vm::spawn(ActorParts {
            engine: Arc::clone(self),
            domain: Arc::clone(domain),
            id,
            process: launched.process,
            monitor: launched.connected.monitor,
            events: launched.connected.events,
            counters: launched.counters,
            policy,
            status_file,
            fake_reboot: false,
            found: None,
            loads,
            missed: None,
            undo,
            made,
            pending: Pending::default(),
        });
        domain.gate.set_phase(Phase::Active(status));
        if has_agent {
            // Not there, because the guest is about to start.
            vm.tell(DomainEvent::AgentLifecycle { state: 2, reason: 1 });
        }
        Ok(())
    }

    /// Leaves a freshly started guest as it is: stopped, by the user's wish.
    async fn stay_paused(&self, domain: &Arc<Domain>) {
        let Some(vm) = domain.vm() else { return };
        vm.settle(Status::Paused(PausedReason::User)).await;
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::StartedBooted));
        self.tell(domain, DomainEvent::Lifecycle(LifecycleEvent::SuspendedPaused));
    }

    /// Lets a freshly started guest run.
    async fn first_run(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        resume: &plan::QmpCommand,
    ) -> Result<(), VirError> {
        let Some(vm) = domain.vm() else {
            return Err(VirError::failed("QEMU ended while it was being started"));
        };
        vm.announce_run(RunningReason::Booted);
        let command = crate::domain::start::launch::parse_command(resume)?;
        let run = async {
            vm.lock_disks().await?;
            let run = vm.monitor.execute(command).await;
            run.map_err(|error| VirError::internal(format!("QEMU cannot run the guest: {error}")))
        };
        if let Err(error) = run.await {
            vm.end(EndReason::Failed, false);
            domain.gate.wait_phase(|phase| phase == Phase::Inactive).await;
            return Err(error);
        }
        vm.tell(DomainEvent::Lifecycle(LifecycleEvent::StartedBooted));
        vm.sync().await;
        Ok(())
    }

    /// Undoes the publication of a start that failed before its actor was there.
    fn give_up(&self, domain: &Arc<Domain>, id: i32) {
        if domain.vm().is_some() {
            // The actor is there: it publishes the end itself.
            return;
        }
        vm::retire(self, domain, id, ShutoffReason::Failed, None);
    }

    fn write_log_head(&self, plan: &LaunchPlan) {
        let Some(exec) = plan.exec() else { return };
        let qemu = self.caps.known(&exec.program).map_or_else(String::new, |caps| {
            let (major, minor, micro) = caps.version;
            format!("qemu version: {major}.{minor}.{micro}{}, ", caps.package)
        });
        let mut text = format!(
            "{}: starting up ironvirt version: {}, {qemu}kernel: {}, hostname: {}\n",
            qemu_log::timestamp(SystemTime::now()),
            env!("CARGO_PKG_VERSION"),
            crate::host_view::kernel_release(),
            self.hostname()
        );
        for (name, value) in &exec.env {
            if let Some(value) = value {
                text.push_str(&format!("{name}={value} \\\n"));
            }
        }
        text.push_str(&command_lines(plan));
        text.push('\n');
        let time = qemu_log::timestamp(SystemTime::now());
        let deprecations = self.deprecations(&plan.live);
        for taint in self.taints_of(&plan.live) {
            text.push_str(&format!("{time}: {}\n", taint.log_line(plan.id, &deprecations)));
        }
        let uuid = plan.live.uuid.map_or([0; 16], |uuid| uuid.0);
        self.append_to_log(&plan.domain, uuid, &text);
    }
}

/// Faults of a plan, as one error.
fn faults_of_plan(faults: Vec<diag::Diagnostic>) -> VirError {
    VirError::from_diagnostics(ErrorDomain::QEMU, faults, None)
}

/// Refuses what has faults.
fn refuse(faults: Vec<diag::Diagnostic>) -> Result<(), VirError> {
    if faults.is_empty() { Ok(()) } else { Err(faults_of_plan(faults)) }
}

/// The command line, one argument (with its value) a line, as libvirt logs it.
fn command_lines(plan: &LaunchPlan) -> String {
    let Some(exec) = plan.exec() else { return String::new() };
    let mut text = exec.program.clone();
    for arg in &exec.args {
        let arg = arg.to_string();
        // A value follows its option on the same line.
        text.push_str(if arg.starts_with('-') { " \\\n" } else { " " });
        text.push_str(&quoted(&arg));
    }
    text
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// `create` of a domain that runs: libvirt's words name the domain.
pub(super) fn already_active(error: VirError, domain: &Domain) -> VirError {
    if error.detail != "domain is already running" {
        return error;
    }
    let name = domain.snapshot().name.clone();
    VirError::new(ErrorCode::OPERATION_INVALID, format!("domain '{name}' is already active"))
        .from_domain(ErrorDomain::DOMAIN)
}
