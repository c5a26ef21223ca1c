//! Serial ports, consoles and channels.

use super::{DefaultsContext, Machine, Settings};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{
    CharPort, CharSourceElement, CharTarget, CharTargetModel, CharTargetType, CharType,
    ProtocolType, Serial, SocketMode,
};

/// The first console and the first serial port are one device: each implies the other.
pub(super) fn consoles(d: &mut Domain) {
    let dev = d.devices_mut();
    for c in &mut dev.consoles {
        let t = c.target.get_or_insert_default();
        if t.kind.is_none() {
            t.kind = Some(CharTargetType::Serial);
        }
    }
    let has_serial = !dev.serials.is_empty();
    match dev.consoles.first() {
        Some(c) if c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Serial) => {
            if !has_serial {
                let mut s = c.clone();
                s.target = Some(CharTarget { port: Some(CharPort(0)), ..CharTarget::default() });
                dev.serials.push(s);
            } else if let (Some(c), Some(s)) = (dev.consoles.first_mut(), dev.serials.first()) {
                // The console repeats what the serial port says.
                if c.source.kind != s.source.kind || c.source.sources.is_empty() {
                    c.source = s.source.clone();
                }
                c.alias = s.alias.clone();
            }
        }
        _ => {
            if let Some(s) = dev.serials.first()
                && s.target.as_ref().is_none_or(|t| {
                    matches!(
                        t.kind,
                        None | Some(
                            CharTargetType::IsaSerial
                                | CharTargetType::SpaprVioSerial
                                | CharTargetType::SystemSerial
                                | CharTargetType::SclpSerial
                        )
                    )
                })
            {
                let mut c = s.clone();
                c.target = Some(CharTarget {
                    kind: Some(CharTargetType::Serial),
                    port: Some(CharPort(0)),
                    ..CharTarget::default()
                });
                c.address = None;
                c.acpi = None;
                dev.consoles.insert(0, c);
            }
        }
    }
    for list in [&mut dev.serials, &mut dev.parallels] {
        number_ports(list);
    }
    for (n, c) in dev.consoles.iter_mut().enumerate() {
        let copy = n == 0 && c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Serial);
        let serial = dev.serials.first().and_then(|s| s.target.as_ref()?.port).filter(|_| copy);
        c.target.get_or_insert_default().port = Some(serial.unwrap_or(CharPort(n as i32)));
    }
}

/// Ports that are not given: one more than the greatest there is.
fn number_ports(list: &mut [Serial]) {
    let given = list.iter().filter_map(|s| s.target.as_ref()?.port);
    let mut next = given.max().map_or(0, |n| n.0.saturating_add(1)).max(0);
    for s in list {
        let target = s.target.get_or_insert_default();
        if target.port.is_none() {
            target.port = Some(CharPort(next));
            next = next.saturating_add(1);
        }
    }
}

/// Types and models of serial ports, sources of channels.
pub(super) fn apply(d: &mut Domain, m: &Machine, ctx: &DefaultsContext<'_>) {
    let running = d.id.is_some();
    let dev = d.devices_mut();
    for s in &mut dev.serials {
        let t = s.target.get_or_insert_default();
        // Long ago every port was written as one of ISA, also where there is none.
        let never = m.is_virt() || m.is_pseries() || m.is_s390();
        if never && t.kind == Some(CharTargetType::IsaSerial) && t.model.is_none() {
            t.kind = None;
        }
        t.kind = t.kind.or(match &s.address {
            Some(Address::Usb(_)) => Some(CharTargetType::UsbSerial),
            Some(Address::Pci(_)) => Some(CharTargetType::PciSerial),
            Some(Address::SpaprVio(_)) => Some(CharTargetType::SpaprVioSerial),
            _ => default_serial(m),
        });
        if let (None, Some(kind)) = (&t.model, t.kind) {
            t.model = serial_model(kind, m).map(|name| CharTargetModel { name: name.to_owned() });
        }
    }
    sources(dev);
    if !running {
        forget_generated_channels(dev, ctx.settings);
    }
}

/// Takes away the paths of channels that a daemon chose for a run of the guest.
pub fn forget_generated_channels(devices: &mut Devices, settings: &Settings) {
    for channel in &mut devices.channels {
        let name = channel.target.as_ref().and_then(|target| target.name.clone());
        drop_default_channel(channel, &name.unwrap_or_default(), settings);
    }
}

/// The part that needs no machine.
pub(super) fn apply_core(d: &mut Domain) {
    let dev = d.devices_mut();
    sources(dev);
    for c in &mut dev.channels {
        if c.source.kind == CharType::Unix {
            c.source.sources.retain(|s| s.path.is_some() || s.reconnect.is_some());
        }
    }
}

/// What a source does not say, and the console's copy of the first serial port.
fn sources(dev: &mut crate::domain::devices::Devices) {
    if let (Some(s), Some(c)) = (dev.serials.first(), dev.consoles.first_mut())
        && c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Serial)
    {
        c.source = s.source.clone();
        c.address.clone_from(&s.address);
    }
    let lists = [&mut dev.serials, &mut dev.parallels, &mut dev.consoles, &mut dev.channels];
    for c in lists.into_iter().flatten() {
        source(&mut c.source);
    }
    for r in &mut dev.redirdevs {
        source(&mut r.source);
        if r.source.kind == CharType::Dbus && r.source.sources.is_empty() {
            r.source.sources.push(CharSourceElement {
                channel: Some("org.qemu.usbredir".to_owned()),
                ..CharSourceElement::default()
            });
        }
    }
    for c in &mut dev.smartcards {
        passthrough(&mut c.source);
    }
    for r in &mut dev.rngs {
        passthrough(&mut r.backend.source);
    }
}

/// A socket path that the daemon made in an earlier run is not kept.
fn drop_default_channel(c: &mut Serial, name: &str, settings: &Settings) {
    if c.source.kind != CharType::Unix {
        return;
    }
    let legacy = format!("{}/channel", settings.lib_dir);
    let dirs = [settings.channel_dir.as_str(), legacy.as_str()];
    for s in &mut c.source.sources {
        let generated = s.path.as_deref().is_some_and(|p| {
            dirs.iter().any(|dir| {
                p.strip_prefix(dir)
                    .and_then(|r| r.strip_prefix('/'))
                    .and_then(|r| r.strip_suffix(name))
                    .is_some_and(is_generated_dir)
            })
        });
        if generated {
            s.path = None;
        }
    }
    c.source.sources.retain(|s| s.path.is_some() || s.reconnect.is_some());
}

/// `7-demo/`, `domain-7-demo/`, `target/domain-…/`, `target/demo.`: what stands before the name.
fn is_generated_dir(mid: &str) -> bool {
    let (mid, legacy) = match mid.strip_prefix("target/") {
        Some(r) => (r, true),
        None => (mid, false),
    };
    if legacy && mid.ends_with('.') && !mid.contains('/') && mid.len() > 1 {
        return true;
    }
    let Some(dir) = mid.strip_suffix('/') else { return false };
    if dir.contains('/') {
        return false;
    }
    if dir.starts_with("domain-") {
        return true;
    }
    let digits = dir.bytes().take_while(u8::is_ascii_digit).count();
    !legacy && digits > 0 && dir.as_bytes().get(digits) == Some(&b'-')
}

fn source(s: &mut crate::domain::devices::chardev::CharSource) {
    match s.kind {
        CharType::Tcp => {
            s.protocol.get_or_insert_default().kind.get_or_insert(ProtocolType::Raw);
            for e in &mut s.sources {
                e.mode.get_or_insert(SocketMode::Connect);
            }
        }
        CharType::Unix => {
            s.protocol = None;
            for e in &mut s.sources {
                // Where the path is made up, the daemon's end is the server.
                let own = e.path.is_none() && e.reconnect.is_none();
                e.mode.get_or_insert(if own { SocketMode::Bind } else { SocketMode::Connect });
            }
        }
        CharType::Udp => {
            for e in &mut s.sources {
                e.mode.get_or_insert(SocketMode::Connect);
            }
        }
        _ => {}
    }
}

fn passthrough(s: &mut crate::domain::devices::smartcard::PassthroughSource) {
    match s.kind {
        Some(CharType::Tcp) => {
            s.protocol.get_or_insert_default().kind.get_or_insert(ProtocolType::Raw);
            for e in &mut s.sources {
                e.mode.get_or_insert(SocketMode::Connect);
            }
        }
        Some(CharType::Unix) => {
            s.protocol = None;
            for e in &mut s.sources {
                e.mode.get_or_insert(SocketMode::Connect);
            }
        }
        _ => s.protocol = None,
    }
}

/// What a serial port is that does not say. `None` on boards whose ports have no name.
fn default_serial(m: &Machine) -> Option<CharTargetType> {
    if m.is_pseries() {
        Some(CharTargetType::SpaprVioSerial)
    } else if m.is_s390() {
        Some(CharTargetType::SclpSerial)
    } else if m.is_virt() {
        Some(CharTargetType::SystemSerial)
    } else if m.is_x86() {
        Some(CharTargetType::IsaSerial)
    } else {
        None
    }
}

fn serial_model(kind: CharTargetType, m: &Machine) -> Option<&'static str> {
    Some(match kind {
        CharTargetType::IsaSerial => "isa-serial",
        CharTargetType::UsbSerial => "usb-serial",
        CharTargetType::PciSerial => "pci-serial",
        CharTargetType::SpaprVioSerial => "spapr-vty",
        CharTargetType::SclpSerial => "sclpconsole",
        CharTargetType::IsaDebug => "isa-debugcon",
        CharTargetType::SystemSerial if m.is_arm() => "pl011",
        CharTargetType::SystemSerial if m.is_riscv() || m.is_loongarch() => "16550a",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::consoles;
    use crate::domain::{ParseOptions, parse};

    #[test]
    fn the_console_has_the_serial_ports_alias() {
        for console in
            ["", "<console type='pty'/>", "<console type='pty'><alias name='ua-b'/></console>"]
        {
            let text = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
                 <devices><serial type='pty'><alias name='ua-a'/></serial>{console}</devices></domain>"
            );
            let mut domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
            consoles(&mut domain);
            let devices = domain.devices_mut();
            assert_eq!(devices.consoles.len(), 1);
            assert_eq!(devices.consoles[0].alias, devices.serials[0].alias);
            assert!(devices.consoles[0].alias.is_some());
        }
    }
}
