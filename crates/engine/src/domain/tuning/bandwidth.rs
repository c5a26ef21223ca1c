//! Limits of network interfaces (`virsh domiftune`): what definitions say. A running guest's cannot
//! be changed yet.

use super::super::record::Domain;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Bandwidth, BandwidthLimit, Interface, InterfaceType};
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

    /// Sets limits of an interface in the stored definition.
    ///
    /// # Errors
    /// An unknown interface, a running guest's, and those of the flags.
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
            if sides.live.is_some() {
                return Err(VirError::new(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "limits of a running guest's network interface cannot be changed yet",
                ));
            }
            engine.keep(&domain, sides).await
        })
        .await
    }
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

/// The kinds of interfaces that have a device on the host whose traffic the kernel can hold back.
fn has_limits(kind: InterfaceType) -> bool {
    use InterfaceType::{Bridge, Direct, Ethernet, Network};
    matches!(kind, Bridge | Direct | Ethernet | Network)
}

/// A direction that is mentioned gets what is said of it and nothing else; one without a rate has
/// no limits.
fn change(
    definition: &mut Definition,
    name: &str,
    params: &[(String, Value)],
) -> Result<(), VirError> {
    let interfaces = &mut definition.devices_mut().interfaces;
    let interface = interfaces.iter_mut().find(|own| is_named(own, name));
    let interface = interface.ok_or_else(|| unknown(name))?;
    if !has_limits(interface.kind) {
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
        if own.is_empty() {
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
        assert_eq!(set(mac, &[("inbound.peak", 9)]), Ok((None, None)));
        assert_eq!(set("vnet9", &[]), Err("'vnet9' is not a known interface".to_owned()));
    }
}
