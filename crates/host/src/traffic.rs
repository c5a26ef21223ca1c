//! Limits of what passes a network interface, by the kernel's traffic control.
//!
//! What is set up is what libvirtd 11.3 has `tc` set up, number by number, so that either daemon
//! takes back what the other did: what is sent goes through class `1:1` of an HTB at the root, what
//! is received through a policer at `ffff:`. Requests are those of `linux/rtnetlink.h`, structures
//! those of `linux/pkt_sched.h` and `linux/pkt_cls.h`; units of time are the kernel's own, which
//! `/proc/net/psched` tells.
//!
//! All calls act in the network namespace of the calling thread.

use std::io;

use crate::netdev;
use crate::netlink::{self, Message, NLM_F_CREATE, NLM_F_EXCL};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTCLASS: u16 = 40;
const RTM_NEWTFILTER: u16 = 44;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// Of the queue at the root.
const ROOT: u32 = 1 << 16;
/// The one class below it.
const CLASS: u32 = ROOT | 1;
/// Of the queue below the class.
const FAIR: u32 = 2 << 16;
/// Of what is received.
const INGRESS: u32 = 0xffff << 16;
/// All protocols (`ETH_P_ALL`), in the byte order of the network.
const ALL: u32 = (3u16.to_be()) as u32;

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_CTAB: u16 = 3;
const TCA_HTB_RTAB: u16 = 4;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
const TCA_FW_CLASSID: u16 = 1;
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_POLICE: u16 = 6;
const TCA_POLICE_TBF: u16 = 1;
const TCA_POLICE_RATE: u16 = 2;
const TCA_POLICE_RATE64: u16 = 8;
const TC_POLICE_SHOT: u32 = 2;
const TC_U32_TERMINAL: u8 = 1;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// The largest packet that the class reckons with, in bytes.
const CLASS_MTU: u64 = 1600;
/// The largest that the policer lets through, in bytes: segmentation offload makes them.
const POLICE_MTU: u64 = 64 << 10;
/// Seconds between two changes of the fair queue's hash.
const PERTURB: u32 = 10;
/// The longest burst without one that is said, in KiB.
const LONGEST_BURST: u64 = (u32::MAX >> 10) as u64;
/// Frames of Ethernet, in bits.
const FRAME_BITS: u64 = 1500 * 8;

/// A limit of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Kilobytes (1000 bytes) a second.
    pub average: u64,
    /// At most, in kilobytes a second; only for what is sent.
    pub peak: Option<u64>,
    /// What may pass at the peak's rate, in KiB.
    pub burst: Option<u64>,
}

/// The limits of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of what the host sends into it.
    pub sent: Option<Rate>,
    /// Of what comes out of it.
    pub received: Option<Rate>,
}

/// Limits could not be set.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// There is no such interface.
    #[error("there is no interface '{0}'")]
    NoInterface(String),
    /// The kernel lacks what it takes.
    #[error("the kernel has no {part} (module {module})")]
    Missing {
        /// Whether it is for what is sent.
        sent: bool,
        /// What it lacks.
        part: &'static str,
        /// The kernel's modules of it.
        module: &'static str,
    },
    /// The kernel refuses.
    #[error("{what}: {source}")]
    Refused {
        /// Whether it is about what is sent.
        sent: bool,
        /// What it refuses.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Has an interface's packets wait nowhere: a guest's end takes them or they are lost.
///
/// # Errors
/// There is no such interface, or the kernel refuses.
pub fn skip_queue(name: &str) -> Result<(), TrafficError> {
    queue("noqueue", number(name)?, 0, TC_H_ROOT).send().map_err(|source| TrafficError::Refused {
        sent: true,
        what: "cannot skip the queue",
        source,
    })
}

/// Takes all limits of an interface back; that there are none is no fault.
pub fn clear(name: &str) {
    if let Ok(index) = number(name) {
        forget(index);
    }
}

/// Sets the limits of an interface, instead of those that it has. On failure it has none.
///
/// A queue that treats connections alike, and marks of the firewall, are done without where the
/// kernel lacks them, as the limits hold all the same; the modules that those would take.
///
/// # Errors
/// There is no such interface, or the kernel refuses or lacks what it takes.
pub fn set(name: &str, limits: &Limits) -> Result<Vec<&'static str>, TrafficError> {
    let index = number(name)?;
    forget(index);
    let clock = Clock::of_kernel();
    let set = || {
        let without = match &limits.sent {
            Some(rate) => limit_sent(index, rate, clock)?,
            None => Vec::new(),
        };
        if let Some(rate) = &limits.received {
            limit_received(index, rate, clock)?;
        }
        Ok(without)
    };
    set().inspect_err(|_| forget(index))
}

fn number(name: &str) -> Result<u32, TrafficError> {
    netdev::index(name).ok_or_else(|| TrafficError::NoInterface(name.to_owned()))
}

fn forget(index: u32) {
    let root = Request::new(RTM_DELQDISC, 0, index, 0, TC_H_ROOT, 0);
    let mut ingress = Request::new(RTM_DELQDISC, 0, index, INGRESS, TC_H_INGRESS, 0);
    ingress.kind("ingress");
    for request in [root, ingress] {
        // The kernel's own queue cannot be deleted, and often there is nothing.
        let _ = request.send();
    }
}

fn limit_sent(index: u32, rate: &Rate, clock: Clock) -> Result<Vec<&'static str>, TrafficError> {
    let refused = |what| {
        move |source: io::Error| match is_missing(&source) {
            true => {
                TrafficError::Missing { sent: true, part: "token bucket queue", module: "sch_htb" }
            }
            false => TrafficError::Refused { sent: true, what, source },
        }
    };
    bucket(index).send().map_err(refused("cannot set up a token bucket"))?;
    class(index, rate, clock).send().map_err(refused("cannot set up its class"))?;
    let mut without = Vec::new();
    for (request, module) in [(fair(index), "sch_sfq"), (marks(index), "cls_fw")] {
        match request.send() {
            Err(error) if is_missing(&error) => without.push(module),
            done => done.map_err(refused("cannot set up its queue"))?,
        }
    }
    Ok(without)
}

fn limit_received(index: u32, rate: &Rate, clock: Clock) -> Result<(), TrafficError> {
    let refused = |part, module, what| {
        move |source: io::Error| match is_missing(&source) {
            true => TrafficError::Missing { sent: false, part, module },
            false => TrafficError::Refused { sent: false, what, source },
        }
    };
    queue("ingress", index, INGRESS, TC_H_INGRESS).send().map_err(refused(
        "queue of what is received",
        "sch_ingress",
        "cannot look at it",
    ))?;
    police(index, rate, clock).send().map_err(refused(
        "policer of arriving packets",
        "act_police or cls_u32",
        "cannot set up a policer",
    ))
}

/// Of what the kernel has no module of, it says so.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// A request of traffic control being put together.
struct Request(Message);

impl Request {
    /// With its header and `struct tcmsg`.
    fn new(kind: u16, flags: u16, index: u32, handle: u32, parent: u32, info: u32) -> Self {
        let body: [&[u8]; 5] = [
            &[0; 4],
            &index.to_ne_bytes(),
            &handle.to_ne_bytes(),
            &parent.to_ne_bytes(),
            &info.to_ne_bytes(),
        ];
        Self(Message::new(kind, flags, &body))
    }

    fn kind(&mut self, name: &str) {
        self.0.attribute(TCA_KIND, &[name.as_bytes(), &[0]].concat());
    }

    fn send(&self) -> io::Result<()> {
        netlink::exchange(&self.0)
    }
}

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

fn queue(name: &str, index: u32, handle: u32, parent: u32) -> Request {
    let mut request = Request::new(RTM_NEWQDISC, NEW, index, handle, parent, 0);
    request.kind(name);
    request
}

/// `qdisc add root handle 1: htb default 1`.
fn bucket(index: u32) -> Request {
    let mut request = queue("htb", index, ROOT, TC_H_ROOT);
    // struct tc_htb_glob: version, quantum from rate, class of what no filter takes, no debugging.
    let init = words(&[3, 10, 1, 0, 0]);
    request.0.nested(TCA_OPTIONS, |options| options.attribute(TCA_HTB_INIT, &init));
    request
}

/// `class add parent 1: classid 1:1 htb rate … ceil … burst … quantum …`.
fn class(index: u32, rate: &Rate, clock: Clock) -> Request {
    let mut request = Request::new(RTM_NEWTCLASS, NEW, index, CLASS, ROOT, 0);
    request.kind("htb");
    let (average, ceiling) = (bytes(rate.average), bytes(rate.peak.unwrap_or(rate.average)));
    let least = |rate: u64| rate / clock.per_second + CLASS_MTU;
    let burst = rate.burst.map_or(least(average), |burst| burst.saturating_mul(1024));
    let quantum = (rate.average.saturating_mul(1024) / FRAME_BITS).clamp(1, u32::MAX.into());
    let mut parameters = rate_spec(average, CLASS_MTU);
    parameters.extend(rate_spec(ceiling, CLASS_MTU));
    parameters.extend(words(&[
        clock.ticks(burst, average),
        clock.ticks(least(ceiling), ceiling),
        u32::try_from(quantum).unwrap_or(u32::MAX),
        // Level and priority.
        0,
        0,
    ]));
    request.0.nested(TCA_OPTIONS, |options| {
        if average > u32::MAX.into() {
            options.attribute(TCA_HTB_RATE64, &average.to_ne_bytes());
        }
        if ceiling > u32::MAX.into() {
            options.attribute(TCA_HTB_CEIL64, &ceiling.to_ne_bytes());
        }
        options.attribute(TCA_HTB_PARMS, &parameters);
        options.attribute(TCA_HTB_RTAB, &table(average, CLASS_MTU, clock));
        options.attribute(TCA_HTB_CTAB, &table(ceiling, CLASS_MTU, clock));
    });
    request
}

/// `qdisc add parent 1:1 handle 2: sfq perturb 10`.
fn fair(index: u32) -> Request {
    let mut request = queue("sfq", index, FAIR, CLASS);
    // struct tc_sfq_qopt_v1: quantum, seconds, and 16 words that are the kernel's to choose.
    let mut options = [0; 18];
    options[1] = PERTURB;
    request.0.attribute(TCA_OPTIONS, &words(&options));
    request
}

/// `filter add parent 1:0 protocol all prio 1 handle 1 fw flowid 1`.
fn marks(index: u32) -> Request {
    let mut request = Request::new(RTM_NEWTFILTER, NEW, index, 1, ROOT, 1 << 16 | ALL);
    request.kind("fw");
    request.0.nested(TCA_OPTIONS, |options| options.attribute(TCA_FW_CLASSID, &words(&[1])));
    request
}

/// `filter add parent ffff: protocol all u32 match u32 0 0 police rate … burst … mtu 64kb drop
/// flowid :1`.
fn police(index: u32, rate: &Rate, clock: Clock) -> Request {
    let mut request = Request::new(RTM_NEWTFILTER, NEW, index, 0, INGRESS, ALL);
    request.kind("u32");
    let average = bytes(rate.average);
    let burst = rate.burst.unwrap_or(rate.average.min(LONGEST_BURST)).saturating_mul(1024);
    // struct tc_police: index, action, limit, burst, MTU, rate, no peak, three that it counts.
    let ticks = clock.ticks(burst, average);
    let mut parameters = words(&[0, TC_POLICE_SHOT, 0, ticks, POLICE_MTU as u32]);
    parameters.extend(rate_spec(average, POLICE_MTU));
    parameters.extend(words(&[0; 6]));
    // struct tc_u32_sel with one key that every packet has.
    let mut selection = vec![TC_U32_TERMINAL, 0, 1, 0];
    selection.extend([0; 28]);
    request.0.nested(TCA_OPTIONS, |options| {
        options.nested(TCA_U32_POLICE, |police| {
            police.attribute(TCA_POLICE_TBF, &parameters);
            police.attribute(TCA_POLICE_RATE, &table(average, POLICE_MTU, clock));
            if average > u32::MAX.into() {
                police.attribute(TCA_POLICE_RATE64, &average.to_ne_bytes());
            }
        });
        options.attribute(TCA_U32_CLASSID, &words(&[1]));
        options.attribute(TCA_U32_SEL, &selection);
    });
    request
}

/// Bytes a second of a rate in kilobytes a second; above 0, by which is divided.
fn bytes(rate: u64) -> u64 {
    rate.saturating_mul(1000).max(1)
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// How many bits of a packet's length the table of its times leaves out.
fn cell(mtu: u64) -> u32 {
    (0..).find(|shift| mtu >> shift <= 255).unwrap_or_default()
}

/// `struct tc_ratespec`.
fn rate_spec(rate: u64, mtu: u64) -> Vec<u8> {
    // No overhead; cells begin one byte before; no least packet.
    let mut spec = vec![cell(mtu) as u8, TC_LINKLAYER_ETHERNET, 0, 0, 0xff, 0xff, 0, 0];
    spec.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    spec
}

/// How long packets take, by their length.
fn table(rate: u64, mtu: u64, clock: Clock) -> Vec<u8> {
    let lengths = (1..=256u64).map(|number| number << cell(mtu));
    lengths.flat_map(|length| clock.ticks(length, rate).to_ne_bytes()).collect()
}

/// The kernel's unit of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Clock {
    /// Units in a microsecond.
    per_microsecond: f64,
    /// How often in a second the kernel's timers can run out.
    per_second: u64,
}

impl Clock {
    /// As Linux has had it since 2.6.31, with timers of high resolution.
    const USUAL: Self = Self { per_microsecond: 15.625, per_second: 1_000_000_000 };

    fn of_kernel() -> Self {
        let text = std::fs::read_to_string("/proc/net/psched").unwrap_or_default();
        Self::parse(&text).unwrap_or(Self::USUAL)
    }

    /// Four hexadecimal numbers: nanoseconds of a microsecond and of a unit, microseconds of a
    /// second, and how often timers can run out.
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u32> = text
            .split_whitespace()
            .map(|word| u32::from_str_radix(word, 16).ok())
            .collect::<Option<_>>()?;
        let [microsecond, unit, _, per_second] = numbers[..] else { return None };
        if microsecond == 0 || unit == 0 || per_second == 0 {
            return None;
        }
        let per_microsecond = f64::from(microsecond) / f64::from(unit);
        Some(Self { per_microsecond, per_second: per_second.into() })
    }

    /// How long so many bytes take, in whole microseconds' units; at most what the kernel can hold
    /// (some four minutes).
    fn ticks(self, bytes: u64, rate: u64) -> u32 {
        let microseconds = (1e6 * (bytes as f64 / rate as f64)).floor();
        // `as` keeps to the bounds.
        (microseconds * self.per_microsecond) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(average: u64, peak: Option<u64>, burst: Option<u64>) -> Rate {
        Rate { average, peak, burst }
    }

    /// The bytes behind the header and `struct tcmsg`.
    fn attributes(request: &Request) -> Vec<u8> {
        request.0.finish().split_off(36)
    }

    /// Numbers of 32 bits at a place.
    fn numbers(bytes: &[u8], at: usize, count: usize) -> Vec<u32> {
        let words = bytes[at..at + 4 * count].chunks(4);
        words.map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
    }

    // What tc(8) of iproute2 6.1 sends for libvirtd's commands, seen with strace(1).

    #[test]
    fn queues_are_asked_for_as_tc_does() {
        let bytes = bucket(7).0.finish();
        assert_eq!(numbers(&bytes, 0, 1), [72]);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 0x10000, 0xffff_ffff, 0]);
        let expected = [&b"\x08\x00\x01\x00htb\x00"[..], b"\x1c\x00\x02\x00\x18\x00\x02\x00"];
        assert_eq!(attributes(&bucket(7))[..16], expected.concat());
        assert_eq!(numbers(&bytes, 52, 5), [3, 10, 1, 0, 0]);
        let bytes = fair(7).0.finish();
        assert_eq!(bytes.len(), 120);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 0x20000, 0x10001, 0]);
        assert_eq!(attributes(&fair(7))[..8], *b"\x08\x00\x01\x00sfq\x00");
        assert_eq!(numbers(&bytes, 48, 3), [0, 10, 0]);
        let bytes = queue("ingress", 7, INGRESS, TC_H_INGRESS).0.finish();
        assert_eq!(bytes.len(), 48);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 4_294_901_760, 4_294_967_281, 0]);
        let bytes = marks(7).0.finish();
        assert_eq!(bytes.len(), 56);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 1, 0x10000, 66304]);
        let expected =
            b"\x07\x00\x01\x00fw\x00\x00\x0c\x00\x02\x00\x08\x00\x01\x00\x01\x00\x00\x00";
        assert_eq!(attributes(&marks(7)), expected);
    }

    #[test]
    fn classes_are_asked_for_as_tc_does() {
        let bytes = class(7, &rate(1000, Some(5000), Some(1024)), Clock::USUAL).0.finish();
        assert_eq!(bytes.len(), 2152);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 0x10001, 0x10000, 0]);
        assert_eq!(bytes[44..52], *b"\x3c\x08\x02\x00\x30\x00\x01\x00");
        let spec = b"\x03\x01\x00\x00\xff\xff\x00\x00\x40\x42\x0f\x00";
        assert_eq!(bytes[52..64], *spec);
        // Ceiling's rate; burst, burst at the ceiling, quantum, level, priority.
        assert_eq!(numbers(&bytes, 72, 6), [5_000_000, 16_384_000, 5000, 85, 0, 0]);
        assert_eq!(bytes[96..100], *b"\x04\x04\x04\x00");
        assert_eq!(numbers(&bytes, 100, 4), [125, 250, 375, 500]);
        // Rate, burst, burst at the ceiling, quantum, two cells.
        for (limit, expected) in [
            (rate(1, None, None), [1000, 25_000_000, 25_000_000, 1, 125_000, 250_000]),
            (rate(3, Some(7), Some(11)), [3000, 58_666_656, 3_571_421, 1, 41_656, 83_328]),
            (rate(77, None, None), [77_000, 324_671, 324_671, 6, 1609, 3234]),
            (
                rate(999_999, Some(1_234_567), Some(55_555)),
                [999_999_000, 888_875, 15, 85_333, 0, 0],
            ),
        ] {
            let bytes = class(7, &limit, Clock::USUAL).0.finish();
            let mut found = numbers(&bytes, 60, 1);
            found.extend(numbers(&bytes, 76, 3));
            found.extend(numbers(&bytes, 100, 2));
            assert_eq!(found, expected, "{limit:?}");
        }
        let bytes = class(7, &rate(5_000_000, Some(6_000_000), None), Clock::USUAL).0.finish();
        assert_eq!(bytes.len(), 2176);
        let wide =
            b"\x0c\x00\x06\x00\x00\xf2\x05\x2a\x01\x00\x00\x00\x0c\x00\x07\x00\x00\xbc\xa0\x65\x01";
        assert_eq!(bytes[48..48 + wide.len()], *wide);
        assert_eq!(numbers(&bytes, 84, 1), [u32::MAX]);
        assert_eq!(numbers(&bytes, 100, 3), [0, 0, 426_666]);
    }

    #[test]
    fn policers_are_asked_for_as_tc_does() {
        let bytes = police(7, &rate(128, Some(256), Some(256)), Clock::USUAL).0.finish();
        assert_eq!(bytes.len(), 1184);
        assert_eq!(numbers(&bytes, 16, 5), [0, 7, 0, 4_294_901_760, 768]);
        let expected =
            [&b"\x08\x00\x01\x00u32\x00\x74\x04\x02\x00"[..], b"\x44\x04\x06\x00\x3c\x00\x01\x00"];
        assert_eq!(bytes[36..56], expected.concat());
        assert_eq!(numbers(&bytes, 56, 5), [0, 2, 0, 32_000_000, 65_536]);
        assert_eq!(bytes[76..84], *b"\x09\x01\x00\x00\xff\xff\x00\x00");
        assert_eq!(numbers(&bytes, 84, 7), [128_000, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[112..116], *b"\x04\x04\x02\x00");
        assert_eq!(numbers(&bytes, 116, 2), [62_500, 125_000]);
        let tail = b"\x08\x00\x01\x00\x01\x00\x00\x00\x24\x00\x05\x00\x01\x00\x01\x00";
        assert_eq!(bytes[1140..1156], *tail);
        for (limit, burst) in [
            (rate(3, None, Some(5)), 0x0196_e6a0),
            (rate(77, None, None), 0x00f4_2400),
            (rate(5_000_000, None, None), 0x00cc_ccc5),
        ] {
            let bytes = police(7, &limit, Clock::USUAL).0.finish();
            assert_eq!(numbers(&bytes, 68, 1), [burst], "{limit:?}");
            let wide = if limit.average > 4_294_967 { 12 } else { 0 };
            assert_eq!(bytes.len(), 1184 + wide, "{limit:?}");
        }
    }

    #[test]
    fn no_number_is_too_large() {
        for number in [0, 1, u64::MAX / 1000, u64::MAX] {
            let limit = rate(number, Some(number), Some(number));
            let _ = (class(7, &limit, Clock::USUAL), police(7, &limit, Clock::USUAL));
        }
        // Ten minutes at this rate, where the kernel can hold some four.
        assert_eq!(Clock::USUAL.ticks(600_000, 1000), u32::MAX);
    }

    #[test]
    fn the_kernel_tells_its_unit_of_time() {
        assert_eq!(Clock::parse("000003e8 00000040 000f4240 3b9aca00\n"), Some(Clock::USUAL));
        let coarse = Clock { per_microsecond: 15.625, per_second: 250 };
        assert_eq!(Clock::parse("000003e8 00000040 000f4240 000000fa"), Some(coarse));
        for bad in ["", "1 2 3", "1 0 3 4", "0 1 1 1", "1 1 1 0", "x 1 1 1", "1 2 3 4 5"] {
            assert_eq!(Clock::parse(bad), None, "{bad}");
        }
    }
}
