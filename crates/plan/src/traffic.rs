//! Limits of what passes a guest's interface, as the host's end of it sees them.

use model::domain::devices::interface::{Bandwidth, BandwidthLimit, InterfaceType};
use std::fmt::{Display, Formatter, Result};

/// The limits of the two directions of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Of what the host sends into the device.
    pub sent: Option<TrafficLimit>,
    /// Of what comes out of the device.
    pub received: Option<TrafficLimit>,
}

/// A limit of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrafficLimit {
    /// What it is in the definition: `inbound` (to the guest) or `outbound`.
    pub element: &'static str,
    /// Kilobytes a second.
    pub average: u64,
    /// At most, in kilobytes a second.
    pub peak: Option<u64>,
    /// What may pass at the peak's rate, in KiB.
    pub burst: Option<u64>,
}

impl Traffic {
    /// Of an interface: what comes to its guest is sent into a tap; a macvtap is the guest's own
    /// card, which receives it. `None` for a kind without a device whose traffic can be limited.
    pub fn of(kind: InterfaceType, bandwidth: Option<&Bandwidth>) -> Option<Self> {
        use InterfaceType::{Bridge, Direct, Ethernet, Network};
        let limit = |element, limit: Option<&BandwidthLimit>| {
            let limit = limit?;
            Some(TrafficLimit {
                element,
                average: limit.average.filter(|average| *average > 0)?,
                peak: limit.peak,
                burst: limit.burst,
            })
        };
        let inbound = limit("inbound", bandwidth.and_then(|own| own.inbound.as_ref()));
        let outbound = limit("outbound", bandwidth.and_then(|own| own.outbound.as_ref()));
        match kind {
            Bridge | Ethernet | Network => Some(Self { sent: inbound, received: outbound }),
            Direct => Some(Self { sent: outbound, received: inbound }),
            _ => None,
        }
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Display for TrafficLimit {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {} KB/s", self.element, self.average)?;
        if let Some(peak) = self.peak {
            write!(f, " peak {peak} KB/s")?;
        }
        if let Some(burst) = self.burst {
            write!(f, " burst {burst} KiB")?;
        }
        Ok(())
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.is_empty() {
            return f.write_str("no limits");
        }
        let limits = [("sent", &self.sent), ("received", &self.received)];
        let told = limits.into_iter().filter_map(|(way, limit)| {
            limit.as_ref().map(|limit| format!("{limit} of what is {way}"))
        });
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_macvtap_sees_the_guests_side() {
        let limit = |average, floor| BandwidthLimit { average, floor, ..BandwidthLimit::default() };
        let both = Bandwidth {
            inbound: Some(BandwidthLimit { peak: Some(6), ..limit(Some(5), None) }),
            outbound: Some(BandwidthLimit { burst: Some(8), ..limit(Some(7), None) }),
        };
        let told = |kind| Traffic::of(kind, Some(&both)).map(|traffic| traffic.to_string());
        let tap = "inbound 5 KB/s peak 6 KB/s of what is sent, outbound 7 KB/s burst 8 KiB of what is received";
        let macvtap = "outbound 7 KB/s burst 8 KiB of what is sent, inbound 5 KB/s peak 6 KB/s of what is received";
        assert_eq!(told(InterfaceType::Bridge).as_deref(), Some(tap));
        assert_eq!(told(InterfaceType::Ethernet).as_deref(), Some(tap));
        assert_eq!(told(InterfaceType::Direct).as_deref(), Some(macvtap));
        assert_eq!(told(InterfaceType::User), None);
        // What is kept free for it limits nothing.
        let floor = Bandwidth { inbound: Some(limit(None, Some(9))), outbound: None };
        for bandwidth in [None, Some(&floor)] {
            assert_eq!(Traffic::of(InterfaceType::Bridge, bandwidth), Some(Traffic::default()));
        }
    }
}
