//! Counters of guests' network interfaces, as the host's devices count them.

use super::Out;
use model::domain::Domain as Definition;
use model::domain::devices::interface::InterfaceType;
use std::collections::HashMap;

/// Counters of a network device of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicCounters {
    /// Received: bytes, packets, errors, dropped.
    pub rx: [u64; 4],
    /// Sent: bytes, packets, errors, dropped.
    pub tx: [u64; 4],
}

impl NicCounters {
    /// Seen from the other end of the cable: what a tap device receives, its guest has sent.
    #[must_use]
    pub fn swapped(self) -> Self {
        Self { rx: self.tx, tx: self.rx }
    }
}

/// Counters of all network devices, by name (`/proc/net/dev`).
pub(crate) fn nic_counters() -> HashMap<String, NicCounters> {
    parse_net_dev(&std::fs::read_to_string("/proc/net/dev").unwrap_or_default())
}

fn parse_net_dev(text: &str) -> HashMap<String, NicCounters> {
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let mut fields = rest.split_ascii_whitespace().map(|field| field.parse().ok());
            let mut numbers = [0_u64; 16];
            for number in &mut numbers {
                *number = fields.next()??;
            }
            let [rb, rp, re, rd, _, _, _, _, tb, tp, te, td, ..] = numbers;
            let counters = NicCounters { rx: [rb, rp, re, rd], tx: [tb, tp, te, td] };
            Some((name.trim().to_owned(), counters))
        })
        .collect()
}

pub(super) fn net_group(
    out: &mut Out,
    definition: &Definition,
    nics: &HashMap<String, NicCounters>,
) {
    let interfaces = definition.devices.as_ref().map_or(&[][..], |devices| &devices.interfaces);
    if interfaces.is_empty() {
        return;
    }
    out.count("net.count", interfaces.len());
    for (index, interface) in interfaces.iter().enumerate() {
        let Some(name) = interface.target.as_ref().and_then(|target| target.dev.as_deref()) else {
            continue;
        };
        out.add(format!("net.{index}.name"), name.to_owned());
        let Some(counters) = nics.get(name) else { continue };
        // A macvtap is the guest's own end, a tap the host's.
        let own_end = interface.kind == InterfaceType::Direct;
        let counters = if own_end { *counters } else { counters.swapped() };
        for (way, numbers) in [("rx", counters.rx), ("tx", counters.tx)] {
            for (what, number) in ["bytes", "pkts", "errs", "drop"].into_iter().zip(numbers) {
                out.add(format!("net.{index}.{way}.{what}"), number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_network_devices() {
        let text = "Inter-|   Receive | Transmit\n face |bytes packets\n\
                    \x20 lo: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\nvnet0:9 8 7 6 0 0 0 0 1 2 3 4 0 0 0 0\n\
                    odd: 1 2\n";
        let nics = parse_net_dev(text);
        assert_eq!(nics.len(), 2);
        assert_eq!(nics["lo"], NicCounters { rx: [1, 2, 3, 4], tx: [5, 6, 7, 8] });
        assert_eq!(nics["vnet0"].swapped().rx, [1, 2, 3, 4]);
    }
}
