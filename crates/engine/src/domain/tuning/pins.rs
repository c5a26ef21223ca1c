//! Host CPUs for threads of guests (`virsh vcpupin`, `emulatorpin`, `iothreadpin`).

use super::super::record::Domain;
use super::LiveSide;
use super::io_threads::listed;
use crate::domain::hardware::threads::set_affinity;
use crate::domain::hardware::vcpus::{
    affinity_of, emulator_threads, from_model, io_thread_ids, io_thread_thread, online_vcpus,
    thread_names, to_model, vcpu_thread,
};
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::events::DomainEvent;
use crate::typed::Value;
use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::tune::{CpuTune, EmulatorPin, IoThreadPin, VcpuPin};
use std::sync::Arc;
use units::CpuSet;

/// What is bound to host CPUs.
#[derive(Clone, Copy, Debug)]
enum Pinned {
    Vcpu(u32),
    Emulator,
    IoThread(u32),
}

impl Engine {
    /// Binds a virtual CPU to host CPUs.
    ///
    /// # Errors
    /// An empty set, a CPU that is not there, the kernel's refusal.
    pub async fn pin_vcpu(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vcpu: u32,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::Vcpu(vcpu), cpus, flags, "vcpupin", client).await
    }

    /// Binds QEMU's other threads to host CPUs.
    ///
    /// # Errors
    /// As [`Engine::pin_vcpu`].
    pub async fn pin_emulator(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::Emulator, cpus, flags, "emulatorpin", client).await
    }

    /// Binds an I/O thread to host CPUs.
    ///
    /// # Errors
    /// As [`Engine::pin_vcpu`].
    pub async fn pin_io_thread(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        id: u32,
        cpus: CpuSet,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        self.pin(domain, Pinned::IoThread(id), cpus, flags, "iothreadpin", client).await
    }

    async fn pin(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        what: Pinned,
        cpus: CpuSet,
        flags: u32,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        // Bits for CPUs this host does not have mean nothing.
        let cpus = cpus.intersection(&CpuSet::first(self.host_cpu_count()));
        let (job, affect) = self.job_for(domain, flags, verb, client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let (live, config) = (sides.live.as_ref(), sides.config.as_ref());
            let somewhere = || match cpus.is_empty() {
                true => Err(VirError::invalid_arg(what.without_cpus())),
                false => Ok(()),
            };
            let check_live = || live.map_or(Ok(()), |live| what.check(&live.definition, true));
            let check_config = || config.map_or(Ok(()), |config| what.check(config, false));
            // In libvirtd's order.
            match what {
                Pinned::Vcpu(_) => {
                    check_config().and_then(|()| somewhere()).and_then(|()| check_live())
                }
                Pinned::Emulator | Pinned::IoThread(_) => {
                    somewhere().and_then(|()| check_live()).and_then(|()| check_config())
                }
            }?;
            if let Some(config) = &mut sides.config {
                what.write(config, &cpus);
            }
            let mut moved = Moved::default();
            let live = sides.live.take();
            let is_live = live.is_some();
            let mut before = None;
            if let Some(LiveSide { vm, mut definition }) = live {
                let threads = what.threads(vm.process.pid(), &definition);
                before = Some((Arc::clone(&vm), definition.clone()));
                what.write(&mut definition, &cpus);
                // Written down first: a daemon that takes over half way does the rest.
                vm.redefine(definition).await;
                if let Err(error) = moved.all(&threads, &cpus) {
                    take_back(moved, before).await;
                    return Err(error);
                }
            }
            if let Err(error) = engine.keep(&domain, sides).await {
                take_back(moved, before).await;
                return Err(error);
            }
            if is_live {
                let value = Value::Text(cpus.to_string());
                let params = vec![(format!("cputune.{}", what.name()), value)];
                engine.tell(&domain, DomainEvent::Tunable { params });
            }
            Ok(())
        })
        .await
    }
}

async fn take_back(moved: Moved, before: Option<(Arc<Vm>, Definition)>) {
    moved.take_back();
    if let Some((vm, definition)) = before {
        vm.redefine(definition).await;
    }
}

/// Binds the threads of a running guest that its definition binds and that run elsewhere: a daemon
/// that died had written it down and not done it.
pub(super) fn bind_as_defined(definition: &Definition, pid: u32) {
    let Some(tune) = &definition.cpu_tune else { return };
    let emulator = tune.emulator_pin.iter().map(|pin| (Pinned::Emulator, &pin.cpuset));
    let vcpus = tune.vcpu_pins.iter().map(|pin| (Pinned::Vcpu(pin.vcpu), &pin.cpuset));
    let threads =
        tune.iothread_pins.iter().map(|pin| (Pinned::IoThread(pin.iothread), &pin.cpuset));
    for (what, cpus) in emulator.chain(vcpus).chain(threads) {
        let cpus = from_model(cpus);
        for thread in what.threads(pid, definition) {
            if affinity_of(thread).is_some_and(|there| there == cpus) {
                continue;
            }
            if let Err(error) = set_affinity(thread, &cpus.to_string()) {
                tracing::warn!(error = %error.detail, thread, "a thread is not where it is to be");
            }
        }
    }
}

/// Threads that were bound, and where they ran before.
#[derive(Default)]
struct Moved(Vec<(u32, CpuSet)>);

impl Moved {
    fn all(&mut self, threads: &[u32], cpus: &CpuSet) -> Result<(), VirError> {
        let text = cpus.to_string();
        for thread in threads {
            let before = affinity_of(*thread);
            set_affinity(*thread, &text)?;
            self.0.extend(before.map(|before| (*thread, before)));
        }
        Ok(())
    }

    fn take_back(self) {
        for (thread, before) in self.0.into_iter().rev() {
            if let Err(error) = set_affinity(thread, &before.to_string()) {
                tracing::warn!(error = %error.detail, thread, "a thread was not moved back");
            }
        }
    }
}

impl Pinned {
    /// libvirt's words for a binding to no processor.
    fn without_cpus(self) -> &'static str {
        match self {
            Self::IoThread(_) => "Empty iothread cpumap list for pinning",
            Self::Vcpu(_) | Self::Emulator => "Empty cpu list for pinning",
        }
    }

    fn check(self, definition: &Definition, live: bool) -> Result<(), VirError> {
        match self {
            Self::Vcpu(number) => {
                let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
                if number < maximum {
                    return Ok(());
                }
                let (which, count) = if live {
                    ("live", maximum)
                } else {
                    ("persistent", u32::try_from(online_vcpus(definition).len()).unwrap_or(0))
                };
                Err(VirError::invalid_arg(format!(
                    "vcpu {number} is out of range of {which} cpu count {count}"
                )))
            }
            Self::IoThread(id) if !io_thread_ids(definition).contains(&id) => {
                let word = if live { "iothread" } else { "iothreadid" };
                Err(VirError::invalid_arg(format!("{word} {id} not found")))
            }
            Self::Emulator | Self::IoThread(_) => Ok(()),
        }
    }

    /// The threads it is; none for a virtual CPU that is not plugged.
    fn threads(self, pid: u32, definition: &Definition) -> Vec<u32> {
        let names = thread_names(pid);
        match self {
            Self::Vcpu(number) if !online_vcpus(definition).contains(&number) => Vec::new(),
            Self::Vcpu(number) => vcpu_thread(&names, number).into_iter().collect(),
            Self::IoThread(id) => io_thread_thread(&names, id).into_iter().collect(),
            Self::Emulator => emulator_threads(pid),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Vcpu(number) => format!("vcpupin{number}"),
            Self::Emulator => "emulatorpin".to_owned(),
            Self::IoThread(id) => format!("iothreadpin{id}"),
        }
    }

    fn write(self, definition: &mut Definition, cpus: &CpuSet) {
        if let Self::IoThread(_) = self {
            // What is said of one of them is said of a thread with a number, not of their count.
            listed(definition);
        }
        let tune = definition.cpu_tune.get_or_insert_with(CpuTune::default);
        let cpuset = to_model(cpus);
        match self {
            Self::Vcpu(vcpu) => {
                tune.vcpu_pins.retain(|pin| pin.vcpu != vcpu);
                tune.vcpu_pins.push(VcpuPin { vcpu, cpuset });
                tune.vcpu_pins.sort_by_key(|pin| pin.vcpu);
            }
            Self::Emulator => tune.emulator_pin = Some(EmulatorPin { cpuset }),
            Self::IoThread(iothread) => {
                tune.iothread_pins.retain(|pin| pin.iothread != iothread);
                tune.iothread_pins.push(IoThreadPin { iothread, cpuset });
                tune.iothread_pins.sort_by_key(|pin| pin.iothread);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(xml: &str) -> Definition {
        let text = format!(
            "<domain type='qemu'><name>x</name><memory>1024</memory>{xml}\
             <os><type>hvm</type></os></domain>"
        );
        let parsed = model::domain::parse(&text, model::domain::ParseOptions::default());
        parsed.domain.expect("a definition")
    }

    #[test]
    fn a_pin_replaces_the_one_before() {
        let mut definition = definition("<vcpu>2</vcpu>");
        let set = |text: &str| text.parse::<CpuSet>().expect("a list");
        Pinned::Vcpu(1).write(&mut definition, &set("0"));
        Pinned::Vcpu(0).write(&mut definition, &set("1"));
        Pinned::Vcpu(1).write(&mut definition, &set("0-1"));
        let pins = definition.cpu_tune.expect("made").vcpu_pins;
        let pins: Vec<_> = pins.iter().map(|pin| (pin.vcpu, pin.cpuset.to_string())).collect();
        assert_eq!(pins, [(0, "1".to_owned()), (1, "0-1".to_owned())]);
    }

    #[test]
    fn what_there_is_to_bind() {
        let definition = definition("<vcpu current='2'>4</vcpu><iothreads>1</iothreads>");
        let check = |what: Pinned, live| what.check(&definition, live).map_err(|e| e.detail);
        assert_eq!(check(Pinned::Vcpu(3), true), Ok(()));
        let fault = "vcpu 4 is out of range of live cpu count 4".to_owned();
        assert_eq!(check(Pinned::Vcpu(4), true), Err(fault));
        let fault = "vcpu 4 is out of range of persistent cpu count 2".to_owned();
        assert_eq!(check(Pinned::Vcpu(4), false), Err(fault));
        assert_eq!(check(Pinned::IoThread(1), true), Ok(()));
        assert_eq!(check(Pinned::IoThread(2), true), Err("iothread 2 not found".to_owned()));
        assert_eq!(check(Pinned::IoThread(2), false), Err("iothreadid 2 not found".to_owned()));
    }
}
