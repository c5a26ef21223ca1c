//! Devices, kind by kind in the order in which libvirt compares them.

use super::address::{Placed, given, place, virtio};
use super::platform::{BALLOON, CRYPTO, IOMMU, PANIC, PSTORE, RNG, SHMEM, TPM, VSOCK, WATCHDOG};
use super::rule::{Checker, Rule, number, word, yes_no};
use super::{chardevs, memory, storage};
use crate::domain::Domain;
use crate::domain::alias::VirtioDriver;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::hostdev::{Hostdev, HostdevMode};
use crate::domain::devices::input::Input;
use crate::domain::devices::interface::Interface;
use crate::domain::devices::sound::Sound;
use crate::domain::devices::video::{Video, VideoModel};

const CONTROLLER: &[Rule<Controller>] = &[
    Rule {
        at: "@type",
        says: "Target controller type {target} does not match source {source}",
        value: |c| c.kind.to_string(),
    },
    Rule {
        at: "@index",
        says: "Target controller index {target} does not match source {source}",
        value: |c| number(c.index),
    },
    Rule {
        at: "@model",
        says: "Target controller model {target} does not match source {source}",
        value: |c| c.model.clone().unwrap_or_else(|| "default".to_owned()),
    },
];
const VIRTIO_SERIAL: &[Rule<Controller>] = &[
    PORTS,
    Rule {
        at: "@vectors",
        says: "Target controller vectors {target} does not match source {source}",
        value: |c| c.vectors.map_or_else(|| "-1".to_owned(), |n| n.to_string()),
    },
];
const PORTS: Rule<Controller> = Rule {
    at: "@ports",
    says: "Target controller ports {target} does not match source {source}",
    value: |c| c.ports.map_or_else(|| "-1".to_owned(), |n| n.to_string()),
};
const INTERFACE: &[Rule<Interface>] = &[
    Rule {
        at: "mac/@address",
        says: "Target network card mac {target} does not match source {source}",
        value: |i| i.mac.as_ref().map_or_else(|| "<null>".to_owned(), |m| m.address.to_string()),
    },
    Rule {
        at: "model/@type",
        says: "Target network card model {target} does not match source {source}",
        value: |i| i.model.as_ref().map_or("unknown", |m| m.kind.as_str()).to_owned(),
    },
    Rule {
        at: "mtu/@size",
        says: "Target network card MTU {target} does not match source {source}",
        value: |i| number(i.mtu.as_ref().and_then(|m| m.size)),
    },
];
const INPUT: &[Rule<Input>] = &[
    Rule {
        at: "@type",
        says: "Target input device type {target} does not match source {source}",
        value: |i| i.kind.to_string(),
    },
    Rule {
        at: "@bus",
        says: "Target input device bus {target} does not match source {source}",
        value: |i| word(i.bus, "default"),
    },
    Rule {
        at: "@model",
        says: "Target input model {target} does not match source {source}",
        value: |i| word(i.model, "default"),
    },
];
const SOUND: &[Rule<Sound>] = &[Rule {
    at: "@model",
    says: "Target sound card model {target} does not match source {source}",
    value: |s| s.model.to_string(),
}];
const VIDEO: &[Rule<Video>] = &[
    Rule {
        at: "model/@type",
        says: "Target video card model {target} does not match source {source}",
        value: |v| word(v.model.as_ref().map(|m| m.kind), "default"),
    },
    Rule {
        at: "model/@ram",
        says: "Target video card ram {target} does not match source {source}",
        value: |v| size(v, |m| m.ram),
    },
    Rule {
        at: "model/@vram",
        says: "Target video card vram {target} does not match source {source}",
        value: |v| size(v, |m| m.vram),
    },
    Rule {
        at: "model/@vram64",
        says: "Target video card vram64 {target} does not match source {source}",
        value: |v| size(v, |m| m.vram64),
    },
    Rule {
        at: "model/@vgamem",
        says: "Target video card vgamem {target} does not match source {source}",
        value: |v| size(v, |m| m.vgamem),
    },
    Rule {
        at: "model/@heads",
        says: "Target video card heads {target} does not match source {source}",
        value: |v| size(v, |m| m.heads),
    },
    Rule {
        at: "model/acceleration",
        says: "Target video card acceleration does not match source",
        value: |v| {
            let given = v.model.as_ref().is_some_and(|m| m.acceleration.is_some());
            if given { "given" } else { "none" }.to_owned()
        },
    },
    Rule {
        at: "model/acceleration/@accel2d",
        says: "Target video card 2d accel {target} does not match source {source}",
        value: |v| {
            let accel = v.model.as_ref().and_then(|m| m.acceleration.as_ref());
            yes_no(accel.and_then(|a| a.accel2d)).to_owned()
        },
    },
    Rule {
        at: "model/acceleration/@accel3d",
        says: "Target video card 3d accel {target} does not match source {source}",
        value: |v| {
            let accel = v.model.as_ref().and_then(|m| m.acceleration.as_ref());
            yes_no(accel.and_then(|a| a.accel3d)).to_owned()
        },
    },
];
const HOSTDEV: &[Rule<Hostdev>] = &[
    Rule {
        at: "@mode",
        says: "Target host device mode {target} does not match source {source}",
        value: |h| h.mode.to_string(),
    },
    Rule {
        at: "@type",
        says: "Target host device subsystem {target} does not match source {source}",
        value: |h| {
            let subsystem = h.mode == HostdevMode::Subsystem;
            word(h.kind.filter(|_| subsystem), "none")
        },
    },
];
fn size(video: &Video, part: fn(&VideoModel) -> Option<u32>) -> String {
    number(video.model.as_ref().and_then(part))
}

/// Compares the devices of one kind: by their table, by `more`, and by where they are.
fn kind<T: Placed>(
    cx: &mut Checker,
    (element, count_says): (&str, &str),
    (source, target): (&[T], &[T]),
    rules: &[Rule<T>],
    more: impl Fn(&mut Checker, &str, &T, &T),
) {
    cx.lists(element, count_says, source, target, |cx, path, x, y| {
        cx.rules(path, rules, x, y);
        more(cx, path, x, y);
        place(cx, path, x.place(), y.place());
    });
}

/// The table says it all.
fn no_more<T>(_: &mut Checker, _: &str, _: &T, _: &T) {}

/// The `<driver>` that holds nothing but virtio's options.
fn plain(driver: &Option<VirtioDriver>) -> Option<&VirtioDriver> {
    driver.as_ref().filter(|v| **v != VirtioDriver::default())
}

/// Compares all devices.
pub(super) fn check(source: &Domain, target: &Domain, cx: &mut Checker) {
    let none = Devices::default();
    let a = source.devices.as_ref().unwrap_or(&none);
    let b = target.devices.as_ref().unwrap_or(&none);
    storage::disks(a, b, cx);
    kind(
        cx,
        (
            "devices/controller",
            "Target domain controller count {target} does not match source {source}",
        ),
        (&a.controllers, &b.controllers),
        CONTROLLER,
        controller,
    );
    storage::filesystems(a, b, cx);
    kind(
        cx,
        (
            "devices/interface",
            "Target domain net card count {target} does not match source {source}",
        ),
        (&a.interfaces, &b.interfaces),
        INTERFACE,
        |cx, path, x, y| virtio(cx, path, given!(x.driver), given!(y.driver)),
    );
    kind(
        cx,
        (
            "devices/input",
            "Target domain input device count {target} does not match source {source}",
        ),
        (&a.inputs, &b.inputs),
        INPUT,
        |cx, path, x, y| virtio(cx, path, plain(&x.driver), plain(&y.driver)),
    );
    kind(
        cx,
        ("devices/sound", "Target domain sound card count {target} does not match source {source}"),
        (&a.sounds, &b.sounds),
        SOUND,
        no_more,
    );
    kind(
        cx,
        ("devices/video", "Target domain video card count {target} does not match source {source}"),
        (&a.videos, &b.videos),
        VIDEO,
        |cx, path, x, y| virtio(cx, path, given!(x.driver), given!(y.driver)),
    );
    hostdevs(a, b, cx);
    chardevs::ports(a, b, cx);
    kind(
        cx,
        ("devices/hub", "Target domain hub device count {target} does not match source {source}"),
        (&a.hubs, &b.hubs),
        &[],
        no_more,
    );
    chardevs::redirected(a, b, cx);
    chardevs::filters(a, b, cx);
    kind(
        cx,
        (
            "devices/watchdog",
            "Target domain watchdog device count {target} does not match source {source}",
        ),
        (&a.watchdogs, &b.watchdogs),
        WATCHDOG,
        no_more,
    );
    kind(
        cx,
        (
            "devices/memballoon",
            "Target domain memory balloon count {target} does not match source {source}",
        ),
        (&a.memballoons, &b.memballoons),
        BALLOON,
        |cx, path, x, y| virtio(cx, path, plain(&x.driver), plain(&y.driver)),
    );
    kind(
        cx,
        ("devices/rng", "Target domain RNG device count {target} does not match source {source}"),
        (&a.rngs, &b.rngs),
        RNG,
        |cx, path, x, y| virtio(cx, path, plain(&x.driver), plain(&y.driver)),
    );
    kind(
        cx,
        ("devices/nvram", "Target domain NVRAM device count does not match source"),
        (&a.nvrams, &b.nvrams),
        &[],
        no_more,
    );
    kind(
        cx,
        (
            "devices/panic",
            "Target domain panic device count {target} does not match source {source}",
        ),
        (&a.panics, &b.panics),
        PANIC,
        no_more,
    );
    kind(
        cx,
        (
            "devices/shmem",
            "Target domain shared memory device count {target} does not match source {source}",
        ),
        (&a.shmems, &b.shmems),
        SHMEM,
        no_more,
    );
    kind(
        cx,
        ("devices/tpm", "Target domain TPM device count {target} does not match source {source}"),
        (&a.tpms, &b.tpms),
        TPM,
        no_more,
    );
    memory::modules(a, b, cx);
    kind(
        cx,
        ("devices/crypto", "Target domain crypto count {target} does not match source {source}"),
        (&a.cryptos, &b.cryptos),
        CRYPTO,
        |cx, path, x, y| virtio(cx, path, plain(&x.driver), plain(&y.driver)),
    );
    kind(
        cx,
        ("devices/iommu", "Target domain IOMMU device count does not match source"),
        (&a.iommus, &b.iommus),
        IOMMU,
        no_more,
    );
    kind(
        cx,
        ("devices/vsock", "Target domain vsock device count does not match source"),
        (&a.vsocks, &b.vsocks),
        VSOCK,
        |cx, path, x, y| virtio(cx, path, plain(&x.driver), plain(&y.driver)),
    );
    kind(
        cx,
        ("devices/pstore", "Target domain pstore device count does not match source"),
        (&a.pstores, &b.pstores),
        PSTORE,
        no_more,
    );
}

fn controller(cx: &mut Checker, path: &str, a: &Controller, b: &Controller) {
    if a.kind == b.kind {
        match a.kind {
            ControllerType::VirtioSerial => cx.rules(path, VIRTIO_SERIAL, a, b),
            ControllerType::Usb => cx.rules(path, &[PORTS], a, b),
            _ => {}
        }
    }
    virtio(cx, path, given!(a.driver), given!(b.driver));
}

/// Host devices, those that network cards are among them.
fn hostdevs(a: &Devices, b: &Devices, cx: &mut Checker) {
    let of_interfaces = |d: &Devices| {
        use crate::domain::devices::interface::InterfaceType::Hostdev;
        d.interfaces.iter().filter(|i| i.kind == Hostdev).count()
    };
    let says = "Target domain host device count {target} does not match source {source}";
    let (x, y) = (a.hostdevs.len() + of_interfaces(a), b.hostdevs.len() + of_interfaces(b));
    if !cx.compare(|| "devices/hostdev".to_owned(), says, x, y) {
        return;
    }
    for (i, (x, y)) in a.hostdevs.iter().zip(&b.hostdevs).enumerate() {
        let path = format!("devices/hostdev[{}]", i + 1);
        cx.rules(&path, HOSTDEV, x, y);
        place(cx, &path, x.place(), y.place());
    }
}
