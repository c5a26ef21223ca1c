//! USB devices of the host that guests are given, found by what the kernel lists.

use crate::domain::stored::store::os_words;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use model::domain::devices::disk::StartupPolicy;
use model::domain::devices::hostdev::{Hostdev, HostdevSource, HostdevType};
use model::domain::scalar::AnyBase;
use std::path::Path;
use xml::YesNo;

/// Where the kernel lists them.
const LISTED: &str = "/sys/bus/usb/devices";

/// A device that is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plugged {
    vendor: u32,
    product: u32,
    bus: u32,
    device: u32,
}

impl Engine {
    /// Writes into `hostdevs` where their USB devices are, or that they are missing and may be.
    ///
    /// # Errors
    /// libvirt's: a device is not there, or several are and none is named.
    pub(in crate::domain) fn find_usb_devices<'a>(
        &self,
        hostdevs: impl Iterator<Item = &'a mut Hostdev>,
    ) -> Result<(), VirError> {
        let usb = hostdevs.filter(|hostdev| hostdev.kind == Some(HostdevType::Usb));
        let mut sources = usb.filter_map(|hostdev| hostdev.source.as_mut()).peekable();
        if sources.peek().is_none() {
            return Ok(());
        }
        let plugged = plugged(Path::new(LISTED))?;
        sources.try_for_each(|source| find(source, &plugged))
    }
}

/// What is plugged in, from the folder in which the kernel lists it.
fn plugged(folder: &Path) -> Result<Vec<Plugged>, VirError> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        let text = format!("cannot open directory '{}': {}", folder.display(), os_words(&error));
        VirError::new(ErrorCode::SYSTEM_ERROR, text)
    })?;
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let read = |name: &str, radix| {
                let text = std::fs::read_to_string(entry.path().join(name)).ok()?;
                u32::from_str_radix(text.trim(), radix).ok()
            };
            Some(Plugged {
                vendor: read("idVendor", 16)?,
                product: read("idProduct", 16)?,
                bus: read("busnum", 10)?,
                device: read("devnum", 10)?,
            })
        })
        .collect())
}

fn find(source: &mut HostdevSource, plugged: &[Plugged]) -> Result<(), VirError> {
    let ids = (source.vendor.as_ref(), source.product.as_ref());
    let kind = match ids {
        (Some(vendor), Some(product)) => Some((vendor.id.0, product.id.0)),
        _ => None,
    };
    let place = source
        .address
        .as_ref()
        .and_then(|address| Some((address.bus.as_deref()?.parse().ok()?, address.device?.0)));
    let mut fitting = plugged.iter().filter(|there| {
        kind.is_none_or(|kind| kind == (there.vendor.into(), there.product.into()))
            && place.is_none_or(|place| place == (there.bus, there.device))
    });
    let found = fitting.next().copied();
    if let (Some(_), Some((vendor, product))) = (fitting.next(), kind) {
        return Err(VirError::new(
            ErrorCode::OPERATION_FAILED,
            format!(
                "Multiple USB devices for {vendor:x}:{product:x}, use <address> to specify one"
            ),
        ));
    }
    let optional = source.startup_policy == Some(StartupPolicy::Optional);
    source.missing = None;
    match found {
        Some(found) => {
            let address = source.address.get_or_insert_default();
            address.bus = Some(found.bus.to_string());
            address.device = Some(AnyBase(found.device));
            Ok(())
        }
        None if optional => {
            source.missing = Some(YesNo::Yes);
            Ok(())
        }
        None => {
            let kind = kind.map(|(vendor, product)| format!("{vendor:x}:{product:x}"));
            let place = place.map(|(bus, device)| format!("bus:{bus} device:{device}"));
            let words: Vec<_> = kind.into_iter().chain(place).collect();
            Err(VirError::internal(format!("Did not find USB device {}", words.join(" "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    fn source(inner: &str) -> HostdevSource {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><hostdev mode='subsystem' type='usb'><source {inner}</source></hostdev>\
             </devices></domain>"
        );
        let domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
        domain.devices.expect("devices").hostdevs.remove(0).source.expect("a source")
    }

    fn host() -> Vec<Plugged> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, vendor, product, bus, device) in [
            ("usb1", "1d6b", "0002", "1", "1"),
            ("1-1", "1234", "5678", "1", "5"),
            ("1-2", "abcd", "0001", "1", "6"),
            ("2-1", "abcd", "0001", "2", "12"),
        ] {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).expect("a folder");
            for (file, text) in
                [("idVendor", vendor), ("idProduct", product), ("busnum", bus), ("devnum", device)]
            {
                std::fs::write(own.join(file), format!("{text}\n")).expect("a file");
            }
        }
        // An interface, not a device.
        std::fs::create_dir(folder.path().join("1-0:1.0")).expect("a folder");
        plugged(folder.path()).expect("it can be read")
    }

    #[test]
    fn devices_are_found_where_they_are_plugged_in() {
        let host = host();
        assert_eq!(host.len(), 4);
        let ids = |vendor: &str, product: &str| {
            format!("<vendor id='0x{vendor}'/><product id='0x{product}'/>")
        };
        let at = |bus: u32, device: u32| format!("<address bus='{bus}' device='{device}'/>");
        let (one, two) = (ids("1234", "5678"), ids("abcd", "0001"));
        let several = "operation failed: Multiple USB devices for abcd:1, use <address> to specify \
                       one";
        for (inner, expected) in [
            (one.clone(), Ok((1, 5))),
            (at(1, 5), Ok((1, 5))),
            (format!("{two}{}", at(2, 12)), Ok((2, 12))),
            (two, Err(several)),
            (ids("4321", "5678"), Err("internal error: Did not find USB device 4321:5678")),
            (at(1, 9), Err("internal error: Did not find USB device bus:1 device:9")),
            (
                format!("{one}{}", at(1, 9)),
                Err("internal error: Did not find USB device 1234:5678 bus:1 device:9"),
            ),
        ] {
            let mut own = source(&format!(">{inner}"));
            let place = find(&mut own, &host).map(|()| {
                let address = own.address.expect("where it is");
                let bus: u32 = address.bus.expect("a bus").parse().expect("a number");
                (bus, address.device.expect("a device").0)
            });
            let place = place.map_err(|error| error.message());
            assert_eq!(place, expected.map_err(str::to_owned), "{inner}");
        }
    }

    #[test]
    fn a_device_may_be_missing_where_the_definition_allows_it() {
        let missing = |ids: &str| {
            let mut own = source(&format!("startupPolicy='optional'>{ids}"));
            find(&mut own, &host()).expect("it may be missing");
            own.missing
        };
        assert_eq!(missing("<vendor id='1'/><product id='2'/>"), Some(YesNo::Yes));
        assert_eq!(missing("<vendor id='0x1234'/><product id='0x5678'/>"), None);
    }

    #[test]
    fn a_host_without_usb_says_so() {
        let error = plugged(Path::new("/nowhere/usb")).expect_err("nothing is there");
        assert_eq!(
            error.message(),
            "cannot open directory '/nowhere/usb': No such file or directory"
        );
    }
}
