//! Kinds of objects that there are none of yet: networks, node devices, interfaces, filters.
//! Lists are empty, look-ups find nothing, events never come; everything else is
//! unsupported. Clients that look here first go on.

use crate::bind::{Request, now};
use crate::events::Family;
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, ErrorDomain, VirError};
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;
use units::Uuid;

/// Answers a procedure with the empty list or number that its result's default is.
macro_rules! nothing {
    ($request:expr, $name:ident) => {
        now::<procs::$name>($request, |_| Ok(Default::default()))
    };
}

/// Answers a look-up with libvirt's error.
macro_rules! missing {
    ($request:expr, $name:ident, $code:ident, $domain:ident, $args:ident => $($detail:tt)*) => {
        now::<procs::$name>($request, |$args| {
            Err(VirError::new(ErrorCode::$code, format!($($detail)*))
                .from_domain(ErrorDomain::$domain))
        })
    };
}

/// Registers for events that never come.
macro_rules! register {
    ($request:expr, $session:expr, $name:ident, $ret:ident, $family:ident, $kinds:expr, $what:expr) => {
        now::<procs::$name>($request, |args| {
            if !(0..$kinds).contains(&args.event_id) {
                let detail = format!("unsupported {} event ID {}", $what, args.event_id);
                return Err(VirError::internal(detail));
            }
            let callback_id = $session.callbacks().add_silent(Family::$family);
            Ok(remote::$ret { callback_id })
        })
    };
}

/// Takes such a registration back.
macro_rules! deregister {
    ($request:expr, $session:expr, $name:ident, $family:ident) => {
        now::<procs::$name>($request, |args| {
            $session.callbacks().remove(Family::$family, args.callback_id)
        })
    };
}

pub(crate) fn call<'a, 'b>(
    _: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    use Procedure as P;
    Bound::Done(match procedure {
        P::ConnectNumOfNetworks => nothing!(request, ConnectNumOfNetworks),
        P::ConnectListNetworks => nothing!(request, ConnectListNetworks),
        P::ConnectNumOfDefinedNetworks => nothing!(request, ConnectNumOfDefinedNetworks),
        P::ConnectListDefinedNetworks => nothing!(request, ConnectListDefinedNetworks),
        P::ConnectListAllNetworks => nothing!(request, ConnectListAllNetworks),
        P::NetworkLookupByName => missing!(request, NetworkLookupByName, NO_NETWORK, NETWORK,
            args => "no network with matching name '{}'", args.name),
        P::NetworkLookupByUuid => missing!(request, NetworkLookupByUuid, NO_NETWORK, NETWORK,
            args => "no network with matching uuid '{}'", Uuid(args.uuid)),
        P::NetworkListAllPorts => missing!(request, NetworkListAllPorts, NO_NETWORK, NETWORK,
            args => "no network with matching uuid '{}' ({})",
            Uuid(args.network.uuid), args.network.name),
        P::NetworkPortLookupByUuid => missing!(request, NetworkPortLookupByUuid, NO_NETWORK,
            NETWORK, args => "no network with matching uuid '{}' ({})",
            Uuid(args.network.uuid), args.network.name),
        P::ConnectNetworkEventRegisterAny => register!(
            request,
            session,
            ConnectNetworkEventRegisterAny,
            ConnectNetworkEventRegisterAnyRet,
            Network,
            2,
            "network"
        ),
        P::ConnectNetworkEventDeregisterAny => {
            deregister!(request, session, ConnectNetworkEventDeregisterAny, Network)
        }

        P::NodeNumOfDevices => nothing!(request, NodeNumOfDevices),
        P::NodeListDevices => nothing!(request, NodeListDevices),
        P::ConnectListAllNodeDevices => nothing!(request, ConnectListAllNodeDevices),
        P::NodeDeviceLookupByName => missing!(request, NodeDeviceLookupByName, NO_NODE_DEVICE,
            NODEDEV, args => "no node device with matching name '{}'", args.name),
        P::NodeDeviceLookupScsiHostByWwn => missing!(request, NodeDeviceLookupScsiHostByWwn,
            NO_NODE_DEVICE, NODEDEV, args => "no SCSI host with matching WWNs '{}', '{}'",
            args.wwnn, args.wwpn),
        P::ConnectNodeDeviceEventRegisterAny => register!(
            request,
            session,
            ConnectNodeDeviceEventRegisterAny,
            ConnectNodeDeviceEventRegisterAnyRet,
            NodeDevice,
            2,
            "node device"
        ),
        P::ConnectNodeDeviceEventDeregisterAny => {
            deregister!(request, session, ConnectNodeDeviceEventDeregisterAny, NodeDevice)
        }

        P::ConnectNumOfInterfaces => nothing!(request, ConnectNumOfInterfaces),
        P::ConnectListInterfaces => nothing!(request, ConnectListInterfaces),
        P::ConnectNumOfDefinedInterfaces => nothing!(request, ConnectNumOfDefinedInterfaces),
        P::ConnectListDefinedInterfaces => nothing!(request, ConnectListDefinedInterfaces),
        P::ConnectListAllInterfaces => nothing!(request, ConnectListAllInterfaces),
        P::InterfaceLookupByName => missing!(request, InterfaceLookupByName, NO_INTERFACE,
            INTERFACE, args => "couldn't find interface named '{}'", args.name),
        P::InterfaceLookupByMacString => missing!(request, InterfaceLookupByMacString,
            NO_INTERFACE, INTERFACE, args => "couldn't find interface with MAC address '{}'",
            args.mac),

        P::ConnectNumOfNwfilters => nothing!(request, ConnectNumOfNwfilters),
        P::ConnectListNwfilters => nothing!(request, ConnectListNwfilters),
        P::ConnectListAllNwfilters => nothing!(request, ConnectListAllNwfilters),
        P::ConnectListAllNwfilterBindings => nothing!(request, ConnectListAllNwfilterBindings),
        P::NwfilterLookupByName => missing!(request, NwfilterLookupByName, NO_NWFILTER, NWFILTER,
            args => "no nwfilter with matching name '{}'", args.name),
        P::NwfilterLookupByUuid => missing!(request, NwfilterLookupByUuid, NO_NWFILTER, NWFILTER,
            args => "no nwfilter with matching uuid '{}'", Uuid(args.uuid)),
        P::NwfilterBindingLookupByPortDev => missing!(request, NwfilterBindingLookupByPortDev,
            NO_NWFILTER_BINDING, NWFILTER, args => "no nwfilter binding for port dev '{}'",
            args.name),
        _ => return Bound::NotMine(request),
    })
}
