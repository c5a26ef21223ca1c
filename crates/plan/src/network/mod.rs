//! What a running network needs of the host: dnsmasq's configuration and the firewall's rules.

mod dnsmasq;
mod firewall;
mod iptables;
mod nftables;
#[cfg(test)]
mod tests;

pub use dnsmasq::{Dnsmasq, DnsmasqPaths, dnsmasq, needs_dnsmasq};
pub use firewall::{Backend, Layer, Rule, Subnet, rules, set_up, to_commands};
