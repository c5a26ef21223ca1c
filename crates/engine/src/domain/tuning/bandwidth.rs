//! Limits of network interfaces (`virsh domiftune`): what definitions say, and what the kernel does for
//! a running guest's.

use super::super::affect::not_running;
use super::super::record::Domain;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Bandwidth, BandwidthLimit, Interface};
use model::domain::hotplug::update::{self, Updated};
use model::domain::hotplug::{Device, DeviceKind, Place};
use std::sync::Arc;

/// libvirt's names, in the order in which it gives them.
const KEYS: &[(&str, Kind)] = &[
    ("inbound.average", Kind::UInt),
    ("inbound.peak", Kind::UInt),
    ("inbound.burst", Kind::UInt),
    ("inbound.floor", Kind::UInt),
    ("outbound.average", Kind::UInt),
    ("outbound.peak", Kind::UInt),
    ("outbound.burst", Kind::UInt),
];

impl Engine {
    /// How many limits of an interface there are to ask for.
    pub const INTERFACE_PARAMETERS: usize = KEYS.len();

    /// The limits of an interface, named by its device on the host or its hardware address.
    ///
    /// # Errors
    /// When there is no such side or interface.
    pub fn interface_parameters(
        &self,
        domain: &Domain,
        name: &str,
        flags: u32,
    ) -> Result<Params, VirError> {
        self.with_side(domain, flags, |definition, _| {
            let interfaces = definition.devices.iter().flat_map(|devices| &devices.interfaces);
            let interface = interfaces.into_iter().find(|own| is_named(own, name));
            let bandwidth = interface.ok_or_else(|| unknown(name))?.bandwidth.as_ref();
            let value = |key: &str| {
                let (way, what) = key.split_once('.')?;
                let bandwidth = bandwidth?;
                let limit = match way {
                    "inbound" => bandwidth.inbound.as_ref()?,
                    _ => bandwidth.outbound.as_ref()?,
                };
                let number = match what {
                    "average" => limit.average,
                    "peak" => limit.peak,
                    "burst" => limit.burst,
                    _ => limit.floor,
                };
                number.and_then(|number| u32::try_from(number).ok())
            };
            Ok(KEYS
                .iter()
                .map(|(key, _)| ((*key).to_owned(), value(key).unwrap_or(0).into()))
                .collect())
        })
    }

    /// Sets limits of an interface: of the running guest's in the kernel, and in the definitions.
    ///
    /// # Errors
    /// An unknown interface, one without limits, what the kernel refuses, and those of the flags.
    pub async fn set_interface_parameters(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        name: String,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        let (job, affect) = self.job_for(domain, flags, "domiftune", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            for definition in
                sides.live.iter_mut().map(|live| &mut live.definition).chain(&mut sides.config)
            {
                change(definition, &name, &params)?;
            }
            // What the kernel may refuse comes first.
            let mut back = None;
            if let Some(live) = sides.live.take() {
                let before = domain.snapshot().live.clone().ok_or_else(not_running)?;
                refuse_floor(&live.definition, &name)?;
                let there = limited(&live.definition, &before.definition, &name)?;
                back = Some(limited(&before.definition, &live.definition, &name)?);
                engine.update_running(&domain, there, false).await?;
            }
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some(back)) = (&kept, back) {
                engine.update_running(&domain, back, false).await?;
            }
            kept
        })
        .await
    }
}

/// The change of a running guest's interface to what it is in `wanted`.
fn limited(wanted: &Definition, now: &Definition, name: &str) -> Result<Updated, VirError> {
    fn interfaces(definition: &Definition) -> &[Interface] {
        definition.devices.as_ref().map(|devices| devices.interfaces.as_slice()).unwrap_or_default()
    }
    let (wanted, now) = (interfaces(wanted), interfaces(now));
    let index = wanted.iter().position(|own| is_named(own, name)).ok_or_else(|| unknown(name))?;
    let (Some(wanted), Some(now)) = (wanted.get(index), now.get(index)) else {
        return Err(unknown(name));
    };
    let change = update::limits(now, wanted.bandwidth.clone());
    Ok(Updated {
        place: Place { kind: DeviceKind::Interface, index },
        device: Device::Interface(Box::new(wanted.clone())),
        changes: change.into_iter().collect(),
    })
}

/// Only networks keep a part of their bandwidth free for one guest.
fn refuse_floor(definition: &Definition, name: &str) -> Result<(), VirError> {
    let interfaces = definition.devices.iter().flat_map(|devices| &devices.interfaces);
    let floor = |own: &&Interface| {
        let inbound = own.bandwidth.as_ref().and_then(|bandwidth| bandwidth.inbound.as_ref());
        inbound.is_some_and(|limit| limit.floor.is_some())
    };
    let Some(interface) = interfaces.into_iter().find(|own| is_named(own, name)).filter(floor)
    else {
        return Ok(());
    };
    let mac = interface.mac.as_ref().map_or_else(String::new, |mac| mac.address.to_string());
    Err(VirError::new(
        ErrorCode::OPERATION_UNSUPPORTED,
        format!(
            "Invalid use of 'floor' on interface with MAC address {mac} - 'floor' is only \
             supported for interface type 'network' with forward type 'nat', 'route', 'open' or \
             none"
        ),
    ))
}

fn is_named(interface: &Interface, name: &str) -> bool {
    let device = interface.target.as_ref().and_then(|target| target.dev.as_deref());
    let mac = interface.mac.as_ref().map(|mac| mac.address.to_string());
    device == Some(name) || mac.is_some_and(|mac| mac.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> VirError {
    VirError::invalid_arg(format!("'{name}' is not a known interface"))
        .from_domain(ErrorDomain::DOMAIN)
}

/// A direction of which the rate (or what is kept free for it) is said gets what is said of it and
/// nothing else: where that is 0, no limits.
fn change(
    definition: &mut Definition,
    name: &str,
    params: &[(String, Value)],
) -> Result<(), VirError> {
    let interfaces = &mut definition.devices_mut().interfaces;
    let interface = interfaces.iter_mut().find(|own| is_named(own, name));
    let interface = interface.ok_or_else(|| unknown(name))?;
    if !interface.kind.has_limits() {
        return Err(VirError::config(format!(
            "setting bandwidth on interfaces of type '{}' is not implemented yet",
            interface.kind
        )));
    }
    let said = |way: &str| {
        let own = params.iter().filter_map(|(key, value)| {
            let (direction, what) = key.split_once('.')?;
            (direction == way).then_some((what, value.as_u64()?))
        });
        let own: Vec<(&str, u64)> = own.collect();
        if !own.iter().any(|(what, _)| matches!(*what, "average" | "floor")) {
            return None;
        }
        let number = |what: &str| {
            let number = own.iter().find(|(name, _)| *name == what).map(|(_, number)| *number);
            number.filter(|number| *number > 0)
        };
        let limit = BandwidthLimit {
            average: number("average"),
            peak: number("peak"),
            floor: number("floor"),
            burst: number("burst"),
        };
        Some((limit.average.is_some() || limit.floor.is_some()).then_some(limit))
    };
    let mut bandwidth = interface.bandwidth.take().unwrap_or_default();
    if let Some(limit) = said("inbound") {
        bandwidth.inbound = limit;
    }
    if let Some(limit) = said("outbound") {
        bandwidth.outbound = limit;
    }
    if let Some(text) = bandwidth.overflow() {
        return Err(VirError::new(ErrorCode::OVERFLOW, text).from_domain(ErrorDomain::NONE));
    }
    interface.bandwidth = (bandwidth != Bandwidth::default()).then_some(bandwidth);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_set_by_themselves() {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
                    <devices><interface type='ethernet'><mac address='52:54:00:00:00:01'/>\
                    </interface></devices></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions::default());
        let mut definition = parsed.domain.expect("a definition");
        let mut set = |name: &str, pairs: &[(&str, u32)]| {
            let params: Params =
                pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
            change(&mut definition, name, &params).map_err(|error| error.detail)?;
            let interface = definition.devices.as_ref().and_then(|all| all.interfaces.first());
            let bandwidth = interface.and_then(|own| own.bandwidth.clone()).unwrap_or_default();
            let shown =
                |limit: Option<BandwidthLimit>| limit.map(|limit| (limit.average, limit.peak));
            Ok::<_, String>((shown(bandwidth.inbound), shown(bandwidth.outbound)))
        };
        let mac = "52:54:00:00:00:01";
        let both = [("inbound.average", 5), ("inbound.peak", 6), ("outbound.average", 7)];
        let inbound = Some((Some(5), Some(6)));
        assert_eq!(set(mac, &both), Ok((inbound, Some((Some(7), None)))));
        assert_eq!(set(mac, &[("outbound.average", 0)]), Ok((inbound, None)));
        // Without a rate nothing is said of it.
        assert_eq!(set(mac, &[("inbound.peak", 9)]), Ok((inbound, None)));
        assert_eq!(set(mac, &[("inbound.floor", 0)]), Ok((None, None)));
        let most = "value '4194304' is too big for 'burst' parameter, maximum is '4194303'";
        let burst = [("inbound.average", 1), ("inbound.burst", 4_194_304)];
        assert_eq!(set(mac, &burst), Err(most.to_owned()));
        assert_eq!(set("vnet9", &[]), Err("'vnet9' is not a known interface".to_owned()));
    }
}
