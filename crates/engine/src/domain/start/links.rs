//! Network devices of guests: taps and macvtaps, made and taken back.

pub(in crate::domain) mod limits;
mod names;
pub(in crate::domain) mod settings;

use crate::domain::start::results::Results;
use crate::domain::start::steps::{named, system};
use crate::domain::start::teardown::Made;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::netdev::{self, MacvtapSpec, NetdevError, TapDevice, TapSpec};
use host::netlink::MacvtapMode;
use host::script::{self, Call};
use names::{MACVTAPS, TAPS};
use plan::{ResultName, Step, Tap, TapKind};
use std::os::fd::OwnedFd;
use std::time::Duration;
use units::MacAddr;

// What a device's removal needs is kept beside its name, under these ends of the step's name.
const INDEX: &str = ".index";
const LOWER: &str = ".lower";
const DOWN_SCRIPT: &str = ".downscript";
const SETTINGS: &str = ".settings";

/// How long an interface's script may take.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(30);

/// Runs an interface's script: it gets the device's name as its only argument.
fn run_script(engine: &Engine, path: &str, device: &str) -> Result<(), VirError> {
    let env = engine.script_environment();
    let call =
        Call { program: path, args: &[device], env: &env, input: b"", deadline: SCRIPT_DEADLINE };
    script::run(&call).map(drop).map_err(|error| VirError::internal(error.to_string()))
}

/// What a network device asks for that cannot be done here yet.
pub(in crate::domain) fn unsupported(tap: &Tap) -> Option<VirError> {
    let what = tap.asks.first()?;
    Some(VirError::new(
        ErrorCode::CONFIG_UNSUPPORTED,
        format!("<interface> '{}': {what} is not supported yet", tap.mac),
    ))
}

/// Makes a tap (or macvtap) and keeps its descriptors and name.
///
/// # Errors
/// When the kernel or a script refuses; nothing is left then.
pub(in crate::domain) fn make_tap(
    engine: &Engine,
    step: &Step,
    tap: &Tap,
    results: &mut Results,
) -> Result<(), VirError> {
    match &tap.kind {
        TapKind::Bridge { bridge, isolated } => {
            let spec =
                TapSpec { bridge: Some(bridge.clone()), isolated: *isolated, ..tap_spec(tap)? };
            let device = make_named(tap, spec)?;
            settings::begin(&device.name, tap)?;
            limits::begin(&device.name, &tap.traffic)?;
            keep(step, tap, results, device.name, device.queues);
        }
        TapKind::Ethernet { managed, script, down_script } => {
            let device =
                if *managed { make_named(tap, tap_spec(tap)?)? } else { open_existing(tap)? };
            settings::begin(&device.name, tap)?;
            if !managed && let Some(told) = settings::to_take_back(tap) {
                remember(step, results, SETTINGS, told);
                if let Some(name) = &step.result {
                    results.links.insert(name.clone(), device.name.clone());
                }
            }
            limits::begin(&device.name, &tap.traffic)?;
            if let Some(script) = script {
                run_script(engine, script, &device.name)?;
            }
            if let Some(script) = down_script {
                remember(step, results, DOWN_SCRIPT, script.clone());
            }
            keep(step, tap, results, device.name, device.queues);
        }
        TapKind::Macvtap { lower, mode } => make_macvtap(step, tap, lower, mode, results)?,
    }
    Ok(())
}

/// Connects a guest's interface to another bridge.
///
/// # Errors
/// There is no such bridge, or the kernel refuses.
pub(in crate::domain) fn move_to_bridge(
    guest: &str,
    port: &str,
    bridge: &str,
) -> Result<(), VirError> {
    if netdev::index(bridge).is_none() {
        let text =
            format!("cannot add domain {guest} device {port} to nonexistent bridge {bridge}");
        return Err(VirError::new(ErrorCode::OPERATION_FAILED, text));
    }
    netdev::move_to_bridge(port, bridge).map_err(words)
}

fn tap_spec(tap: &Tap) -> Result<TapSpec, VirError> {
    Ok(TapSpec {
        name: String::new(),
        queues: tap.queues,
        vnet_hdr: tap.vnet_hdr,
        bridge: None,
        isolated: false,
        mac: Some(host_end(mac_of(tap)?)),
        mtu: tap.mtu,
    })
}

/// Makes a tap under the name that the definition gives it, or under a free one.
fn make_named(tap: &Tap, spec: TapSpec) -> Result<TapDevice, VirError> {
    let pattern = tap.name.as_deref().unwrap_or("vnet%d");
    TAPS.with_name(pattern, |name| {
        netdev::make_tap(&TapSpec { name: name.to_owned(), ..spec.clone() })
    })
    .map_err(|error| refused(pattern, error))
}

fn open_existing(tap: &Tap) -> Result<TapDevice, VirError> {
    let Some(name) = &tap.name else {
        return Err(VirError::internal("target dev must be supplied when managed='no'"));
    };
    if netdev::index(name).is_none() {
        return Err(VirError::internal("target managed='no' but specified dev doesn't exist")
            .hint(format!("make '{name}' first, for example with 'ip tuntap add'")));
    }
    netdev::open_existing(name, tap.queues, tap.vnet_hdr).map_err(words)
}

fn make_macvtap(
    step: &Step,
    tap: &Tap,
    lower: &str,
    mode: &str,
    results: &mut Results,
) -> Result<(), VirError> {
    let kind = MacvtapMode::parse(mode)
        .ok_or_else(|| VirError::config(format!("there is no mode '{mode}' of a macvtap")))?;
    let mac = mac_of(tap)?.0;
    let pattern = tap.name.as_deref().unwrap_or("macvtap%d");
    let device = MACVTAPS
        .with_name(pattern, |name| {
            netdev::make_macvtap(&MacvtapSpec {
                name: name.to_owned(),
                lower: lower.to_owned(),
                mode: kind,
                mac,
                queues: tap.queues,
                vnet_hdr: tap.vnet_hdr,
            })
        })
        .map_err(words)?;
    remember(step, results, INDEX, device.index.to_string());
    if let Some(before) = device.lower_mac {
        remember(step, results, LOWER, format!("{} {lower}", MacAddr(before)));
    }
    let name = device.name.clone();
    keep(step, tap, results, device.name, device.queues);
    // What was remembered is taken back where this fails.
    limits::begin(&name, &tap.traffic)
}

fn keep(step: &Step, tap: &Tap, results: &mut Results, device: String, queues: Vec<OwnedFd>) {
    for (queue, fd) in (0..).zip(queues) {
        if let Some(name) = queue_name(step, queue, tap.queues.max(1)) {
            results.fds.insert(name, fd);
        }
    }
    if let Some(name) = &step.result {
        results.links.insert(name.clone(), device);
    }
}

fn remember(step: &Step, results: &mut Results, what: &str, value: String) {
    if let Some(name) = named(step, what) {
        results.links.insert(name, value);
    }
}

fn mac_of(tap: &Tap) -> Result<MacAddr, VirError> {
    tap.mac.parse().map_err(|_| VirError::internal(format!("'{}' is no hardware address", tap.mac)))
}

/// The address of the host's end: the guest's with a high first byte, so that a bridge never
/// takes it for its own address; and never the guest's itself.
fn host_end(guest: MacAddr) -> [u8; 6] {
    let mut bytes = guest.0;
    bytes[0] = if bytes[0] == 0xfe { 0xfa } else { 0xfe };
    bytes
}

/// The result that holds the descriptor of one queue.
pub(in crate::domain) fn queue_name(step: &Step, queue: u32, queues: u32) -> Option<ResultName> {
    if queues == 1 { named(step, ".fd") } else { named(step, &format!(".fd{queue}")) }
}

fn words(error: NetdevError) -> VirError {
    system(&error.what, &error.source)
}

/// libvirt says it in other words when the name that the definition asks for is taken.
fn refused(name: &str, error: NetdevError) -> VirError {
    if error.source.kind() == std::io::ErrorKind::AlreadyExists && !name.contains('%') {
        return VirError::new(
            ErrorCode::OPERATION_INVALID,
            format!("The {name} interface already exists"),
        );
    }
    words(error)
}

/// Writes down a macvtap that [`make_tap`] did not make, for [`remove`].
pub(in crate::domain) fn know_macvtap(
    name: &ResultName,
    device: &str,
    index: u32,
    made: &mut Made,
) {
    made.links.insert(name.clone(), device.to_owned());
    made.links.insert(ResultName::new(format!("{}{INDEX}", name.0)), index.to_string());
}

/// Takes back what [`make_tap`] did under this name. A tap of ours vanished with the last of its
/// descriptors, which QEMU had; a macvtap stays until it is removed.
pub(in crate::domain) fn remove(
    engine: &Engine,
    name: &ResultName,
    made: &Made,
) -> Result<(), String> {
    let Some(device) = made.links.get(name) else { return Ok(()) };
    let kept = |what: &str| made.links.get(&ResultName::new(format!("{}{what}", name.0)));
    let mut faults = Vec::new();
    if let Some(script) = kept(DOWN_SCRIPT)
        && let Err(error) = run_script(engine, script, device)
    {
        faults.push(error.message());
    }
    if let Some(told) = kept(SETTINGS) {
        settings::end(device, told);
    }
    if let Some(index) = kept(INDEX).and_then(|index| index.parse().ok())
        && let Err(error) = netdev::remove_macvtap(device, index)
    {
        faults.push(error.to_string());
    }
    if let Some((mac, lower)) = kept(LOWER).and_then(|text| text.split_once(' '))
        && let Ok(mac) = mac.parse::<MacAddr>()
        && let Err(error) = netdev::set_mac(lower, mac.0)
    {
        faults.push(error.to_string());
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_end_has_another_address() {
        for (guest, host) in
            [("52:54:00:11:22:33", "fe:54:00:11:22:33"), ("fe:54:00:11:22:33", "fa:54:00:11:22:33")]
        {
            let guest: MacAddr = guest.parse().expect("an address");
            assert_eq!(MacAddr(host_end(guest)).to_string(), host);
        }
    }
}
