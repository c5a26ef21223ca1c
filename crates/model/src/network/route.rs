//! Static routes of the host, over a gateway in the network.

use xml::{Element, ErrorCode, Reader, Xml};

use super::address::{Family, IpAddress};
use crate::object::fault;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(check = Route::check)]
pub struct Route {
    /// The family, as it was given; IPv4 without.
    #[xml(
        attr,
        fault = (
            ErrorCode::XML_ERROR,
            "{network}: Unrecognized family '{}' in route definition"
        )
    )]
    pub family: Option<Family>,
    /// The network it leads to.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "{network}: Missing required address attribute in route definition"
        ),
        fault = (ErrorCode::XML_ERROR, "{network}: Bad network address '{}' in route definition")
    )]
    pub address: IpAddress,
    /// Its mask; IPv4 only, and not together with a prefix.
    #[xml(
        attr,
        fault = (ErrorCode::XML_ERROR, "{network}: Bad netmask address '{}' in route definition")
    )]
    pub netmask: Option<IpAddress>,
    /// Its prefix.
    #[xml(attr)]
    pub prefix: Option<u32>,
    /// Over whom.
    #[xml(
        attr,
        missing = (
            ErrorCode::XML_ERROR,
            "{network}: Missing required gateway attribute in route definition"
        ),
        fault = (ErrorCode::XML_ERROR, "{network}: Bad gateway address '{}' in route definition")
    )]
    pub gateway: IpAddress,
    /// Lower ones are preferred.
    #[xml(attr)]
    pub metric: Option<u32>,
}

impl Route {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if self.metric == Some(0) {
            let message =
                "Invalid value for attribute 'metric' in element 'route': Zero is not permitted";
            fault(cx, el, "network.route", ErrorCode::XML_ERROR, message);
        }
        let written = |name: &str| el.attr(name).unwrap_or_default();
        if let Err(message) = self.check_addresses(written("address"), written("gateway")) {
            let message = format!("{{network}}: {message}");
            fault(cx, el, "network.route", ErrorCode::XML_ERROR, message);
        }
    }

    /// The addresses stand in messages as they were written.
    pub(crate) fn check_addresses(&self, written: &str, over: &str) -> Result<(), String> {
        let Self { address, gateway, .. } = *self;
        let at = "in route definition";
        match self.family {
            Some(Family::Ipv6) => {
                if address.is_v4() {
                    return Err(format!(
                        "ipv6 family specified for non-IPv6 address '{written}' {at}"
                    ));
                }
                if self.netmask.is_some() {
                    return Err(format!(
                        "Specifying netmask invalid for IPv6 address '{written}' {at}"
                    ));
                }
                if gateway.is_v4() {
                    return Err(format!(
                        "ipv6 specified for non-IPv6 gateway address '{over}' {at}"
                    ));
                }
            }
            family => {
                let what =
                    if family.is_some() { "IPv4 family specified" } else { "No family specified" };
                if !address.is_v4() {
                    return Err(format!("{what} for non-IPv4 address '{written}' {at}"));
                }
                if !gateway.is_v4() {
                    return Err(format!("{what} for non-IPv4 gateway '{written}' {at}"));
                }
                if self.netmask.is_some() && self.prefix.is_some() {
                    return Err("Route definition cannot have both a prefix and a netmask".into());
                }
            }
        }
        if let Some(prefix) = self.prefix
            && prefix > address.width()
        {
            let most = address.width();
            return Err(format!("Invalid prefix {prefix} specified {at}, must be 0 - {most}"));
        }
        match self.effective_prefix() {
            Some(prefix) if address.network(prefix) == address => Ok(()),
            _ => Err(format!("Address '{written}' {at} is not a network address")),
        }
    }

    /// The prefix of the network it leads to; without one only the whole world can be meant.
    /// `None` where the netmask is no prefix.
    pub fn effective_prefix(&self) -> Option<u32> {
        match (self.prefix, self.netmask) {
            (Some(prefix), _) => Some(prefix),
            (None, Some(netmask)) => netmask.as_prefix(),
            (None, None) => Some(0),
        }
    }
}
