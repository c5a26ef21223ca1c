//! Devices other than disks and controllers, and what a domain says outside its `<devices>`.

use roxmltree::Node;

use super::expect::{
    Context, Device, Expected, alias, bytes, child, number, of, place, switch, virtio_options,
    words,
};

/// What stands outside `<devices>`: memory, threads, features, firmware.
pub fn domain(context: &Context, expected: &mut Expected) {
    let domain = context.domain;
    for thread in child(domain, "iothreadids").into_iter().flat_map(|list| list.children()) {
        if let Some(id) = thread.attribute("id") {
            let wanted = Device::new(format!("iothread{id}"), "iothread");
            let poll = child(thread, "poll");
            let max = poll.and_then(|poll| poll.attribute("max"));
            let wanted = wanted.maybe("thread-pool-min", thread.attribute("thread_pool_min"));
            expected.objects.push(wanted.maybe("poll-max-ns", max));
        }
    }
    if child(domain, "iothreadids").is_none() {
        let count = words(domain, "iothreads").map_or(0, number);
        for id in 1..=count {
            expected.objects.push(Device::new(format!("iothread{id}"), "iothread"));
        }
    }
    memory(context, expected);
    let features = child(domain, "features");
    let feature = |name: &str| features.and_then(|features| child(features, name));
    let state = |name: &str| feature(name).and_then(|node| node.attribute("state"));
    let mut machine = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            expected.machine.push((name.to_owned(), value));
        }
    };
    let is_x86 = matches!(context.arch, "x86_64" | "i686");
    if is_x86 && (context.is_pc() || context.is_q35()) {
        let acpi = if feature("acpi").is_some() { "on" } else { "off" };
        machine("acpi", Some(acpi.to_owned()));
    }
    machine("vmport", state("vmport").map(str::to_owned));
    machine("smm", state("smm").map(str::to_owned));
    let gic = feature("gic").and_then(|gic| gic.attribute("version"));
    machine("gic-version", gic.map(str::to_owned));
    let timers = child(domain, "clock").into_iter().flat_map(|clock| clock.children());
    for timer in timers.filter(|timer| timer.attribute("name") == Some("hpet")) {
        machine("hpet", timer.attribute("present").map(|present| switch(present).to_owned()));
    }
    let os = child(domain, "os");
    for (name, property) in [("kernel", "kernel"), ("initrd", "initrd"), ("cmdline", "append")] {
        machine(property, os.and_then(|os| words(os, name)).map(str::to_owned));
    }
    if let Some(os) = os
        && let Some(loader) = child(os, "loader")
        && loader.attribute("type") == Some("pflash")
    {
        let path = |name: &str| words(os, name).unwrap_or_default().to_owned();
        let nodes = &mut expected.nodes;
        for (node, name) in [("pflash0", "loader"), ("pflash1", "nvram")] {
            let Some(element) = child(os, name) else { continue };
            nodes.insert(format!("libvirt-{node}-storage"), (String::new(), path(name)));
            let format = element.attribute("format").unwrap_or("raw");
            // What is read-only is so by a node above that of the file.
            if format != "raw" || element.attribute("readonly") == Some("yes") {
                nodes.insert(format!("libvirt-{node}-format"), (format.to_owned(), String::new()));
            }
        }
    }
}

/// The objects that memory is made of.
fn memory(context: &Context, expected: &mut Expected) {
    let domain = context.domain;
    let backing = child(domain, "memoryBacking");
    let source = backing.and_then(|backing| of(backing, "source", "type"));
    let kind = match source {
        Some("memfd") => "memory-backend-memfd",
        Some("file") => "memory-backend-file",
        _ => "memory-backend-ram",
    };
    let access = backing.and_then(|backing| of(backing, "access", "mode"));
    let share = access.map(|mode| if mode == "shared" { "true" } else { "false" });
    let numa = child(domain, "cpu").and_then(|cpu| child(cpu, "numa"));
    let cells: Vec<Node> = numa
        .into_iter()
        .flat_map(|numa| numa.children())
        .filter(|cell| cell.has_tag_name("cell"))
        .collect();
    // Boards that still take the sizes of nodes as numbers have one object for all.
    let is_plain = matches!(context.arch, "riscv64" | "loongarch64");
    for cell in &cells {
        let id = format!("ram-node{}", cell.attribute("id").unwrap_or("0"));
        let unit = match cell.attribute("unit") {
            Some("MiB") => 1 << 20,
            _ => 1 << 10,
        };
        let size = number(cell.attribute("memory").unwrap_or("0")) * unit;
        let share =
            cell.attribute("memAccess").map(|mode| if mode == "shared" { "true" } else { "false" });
        let wanted = Device::new(id, kind).with("size", size).maybe("share", share);
        if !is_plain {
            expected.objects.push(wanted);
        }
    }
    if cells.is_empty() || is_plain {
        // One object holds all of it; its name is the machine's own.
        let size = child(domain, "memory").map_or(0, bytes);
        let devices: u64 = context
            .devices()
            .filter(|node| node.has_tag_name("memory"))
            .filter_map(|node| child(child(node, "target")?, "size").map(bytes))
            .sum();
        expected.machine.push(("memory.size".into(), (size - devices).to_string()));
        expected.objects.push(Device {
            id: None,
            kinds: vec![kind.to_owned()],
            ..Device::new("", "").with("size", size - devices).maybe("share", share)
        });
    }
}

/// Whether arguments make the port, or the machine has it.
fn is_added(target: &str) -> bool {
    !matches!(target, "pl011" | "16550a" | "serial")
}

/// The character device behind an element, unless it is that of another one.
fn chardev(node: Node, expected: &mut Expected) -> String {
    let label = format!("char{}", alias(node).unwrap_or_default());
    let source = child(node, "source");
    let path = source.and_then(|source| source.attribute("path")).unwrap_or_default();
    let about = match node.attribute("type").unwrap_or_default() {
        "pty" => format!("pty:{path}"),
        "null" => "null".to_owned(),
        "file" => "file".to_owned(),
        "unix" => format!("unix:{path}"),
        _ => String::new(),
    };
    expected.chardevs.insert(label.clone(), about);
    label
}

/// An element below `<devices>` that is neither disk nor controller.
pub fn device(context: &Context, node: Node, expected: &mut Expected) {
    let id = alias(node).unwrap_or_default();
    let model = node.attribute("model").unwrap_or_default();
    let virtio = |stem: &str| {
        let mut wanted = Device::new(id, "");
        wanted.kinds = context.virtio(node, stem);
        wanted
    };
    let wanted = match node.tag_name().name() {
        "emulator" => return,
        "audio" => {
            let id = node.attribute("id").unwrap_or("1");
            expected.audiodevs.insert(format!("audio{id}"));
            return;
        }
        "interface" => Some(interface(node, id, expected, virtio)),
        "serial" | "parallel" | "console" | "channel" => port(context, node, id, expected),
        "input" => match (node.attribute("bus"), node.attribute("type")) {
            (Some("usb"), Some("keyboard")) => Some(Device::new(id, "usb-kbd")),
            (Some("usb"), Some(kind)) => Some(Device::new(id, format!("usb-{kind}"))),
            (Some("virtio"), Some(kind)) => Some(virtio(&format!("virtio-{kind}"))),
            // PS/2: of the machine.
            _ => None,
        },
        "video" => video(context, node, id, virtio),
        "sound" => sound(node, id, model, expected, virtio),
        "watchdog" => match model {
            // Of the machine.
            "itco" => None,
            other => Some(Device::new(id, other)),
        },
        "memballoon" => match model {
            "none" => None,
            _ => {
                let deflate = node.attribute("autodeflate").map(switch);
                let report = node.attribute("freePageReporting").map(switch);
                let wanted = virtio("virtio-balloon");
                Some(wanted.maybe("deflate-on-oom", deflate).maybe("free-page-reporting", report))
            }
        },
        "rng" => Some(rng(node, id, expected, virtio)),
        "tpm" => {
            let kind = match (model, context.arch) {
                ("tpm-tis", "aarch64" | "riscv64" | "loongarch64") => "tpm-tis-device",
                (model, _) => model,
            };
            expected.chardevs.insert("chrtpm".into(), String::new());
            Some(Device::new(id, kind).with("tpmdev", format!("tpm-{id}")))
        }
        "memory" => Some(memory_device(node, id, model, expected, virtio)),
        "shmem" => {
            let kind = of(node, "model", "type").unwrap_or_default();
            let size = child(node, "size").map_or(0, bytes);
            let object = Device::new(format!("shmmem-{id}"), "memory-backend-file");
            expected.objects.push(object.with("size", size).with("share", "true"));
            Some(Device::new(id, kind).with("memdev", format!("/objects/shmmem-{id}")))
        }
        "iommu" => iommu(node, id, model, expected),
        "panic" => match model {
            "isa" => Some(
                Device { id: None, ..Device::new("", "pvpanic") }
                    .maybe("ioport", of(node, "address", "iobase").map(number)),
            ),
            "pvpanic" => Some(Device { id: None, ..Device::new("", "pvpanic-pci") }),
            _ => None,
        },
        "pstore" => {
            let size = child(node, "size").map_or(0, bytes);
            let object = Device::new(format!("mem{id}"), "memory-backend-file");
            expected.objects.push(object.with("size", size));
            Some(Device::new(id, "acpi-erst").with("memdev", format!("/objects/mem{id}")))
        }
        "crypto" => {
            let queues = of(node, "backend", "queues");
            let object = Device::new(format!("obj{id}"), "cryptodev-backend-builtin");
            expected.objects.push(object.maybe("queues", queues));
            Some(virtio("virtio-crypto").with("cryptodev", format!("/objects/obj{id}")))
        }
        "filesystem" => {
            let tag = of(node, "target", "dir").unwrap_or_default();
            Some(virtio("virtio-9p").with("mount_tag", tag).with("fsdev", format!("fsdev-{id}")))
        }
        "hub" => Some(Device::new(id, "usb-hub")),
        "redirdev" => {
            let label = chardev(node, expected);
            Some(Device::new(id, "usb-redir").with("chardev", label))
        }
        "smartcard" => {
            let label = chardev(node, expected);
            Some(Device::new(id, "ccid-card-passthru").with("chardev", label))
        }
        // Only spoken to over the network; or a property of the machine.
        "graphics" | "nvram" => None,
        other => panic!("no expectation for <{other}>"),
    };
    if let Some(wanted) = wanted {
        let wanted = virtio_options(node, place(context, node, wanted));
        expected.devices.push(wanted);
    }
}

fn interface(
    node: Node,
    id: &str,
    expected: &mut Expected,
    virtio: impl Fn(&str) -> Device,
) -> Device {
    let netdev = format!("host{id}");
    expected.netdevs.insert(netdev.clone());
    let kind = of(node, "model", "type").unwrap_or("virtio");
    let mut wanted = match kind {
        "virtio" | "virtio-transitional" | "virtio-non-transitional" => virtio("virtio-net"),
        same => Device::new(id, same),
    };
    // Its virtual functions are there from the start.
    if kind == "igb" {
        expected.built_in.extend(std::iter::repeat_n("igbvf".to_owned(), 8));
    }
    wanted = wanted.with("netdev", netdev).maybe("mac", of(node, "mac", "address"));
    wanted = wanted.maybe("host_mtu", of(node, "mtu", "size"));
    for (attribute, property) in
        [("rx_queue_size", "rx_queue_size"), ("tx_queue_size", "tx_queue_size")]
    {
        wanted = wanted.maybe(property, of(node, "driver", attribute));
    }
    let offloads = child(node, "driver").and_then(|driver| child(driver, "host"));
    for (attribute, property) in [("gso", "gso"), ("tso4", "host_tso4"), ("mrg_rxbuf", "mrg_rxbuf")]
    {
        let value = offloads.and_then(|host| host.attribute(attribute)).map(switch);
        wanted = wanted.maybe(property, value);
    }
    wanted
}

fn port(context: &Context, node: Node, id: &str, expected: &mut Expected) -> Option<Device> {
    let target = child(node, "target")?;
    let kind = target.attribute("type").unwrap_or_default();
    let model = of(target, "model", "name").unwrap_or(kind);
    let element = node.tag_name().name();
    // The first console is the first serial port, shown twice.
    let shown = context.devices().any(|other| {
        other.has_tag_name("serial") && alias(other) == Some(id) && element == "console"
    });
    if shown {
        return None;
    }
    let label = chardev(node, expected);
    let wanted = match (element, model) {
        ("parallel", _) => Device::new(id, "isa-parallel"),
        ("console", "virtio") => Device::new(id, "virtconsole"),
        ("console", "sclp") => Device::new(id, "sclpconsole"),
        ("console", "sclplm") => Device::new(id, "sclplmconsole"),
        ("channel", "virtio") => {
            Device::new(id, "virtserialport").maybe("name", target.attribute("name"))
        }
        (_, model) if !is_added(model) => return None,
        (_, model) => Device::new(id, model),
    };
    let wanted = wanted.with("chardev", label);
    // Ports of ISA count from 0.
    let is_isa = matches!(model, "isa-serial") || element == "parallel";
    Some(wanted.maybe("index", target.attribute("port").filter(|_| is_isa)))
}

fn video(
    context: &Context,
    node: Node,
    id: &str,
    virtio: impl Fn(&str) -> Device,
) -> Option<Device> {
    let model = child(node, "model")?;
    let primary = model.attribute("primary") == Some("yes");
    let has_vga = matches!(context.arch, "x86_64" | "i686" | "riscv64");
    let size = |name: &str| model.attribute(name).map(|kib| number(kib) * 1024);
    let mebi = |name: &str| model.attribute(name).map(|kib| number(kib) / 1024);
    let wanted = match model.attribute("type")? {
        "none" => return None,
        "vga" => Device::new(id, "VGA").maybe("vgamem_mb", mebi("vram")),
        "cirrus" => Device::new(id, "cirrus-vga"),
        "vmvga" => Device::new(id, "vmware-svga").maybe("vgamem_mb", mebi("vram")),
        "bochs" => Device::new(id, "bochs-display").maybe("vgamem", size("vram")),
        "ramfb" => Device::new(id, "ramfb"),
        "qxl" => Device::new(id, if primary { "qxl-vga" } else { "qxl" })
            .maybe("ram_size", size("ram"))
            .maybe("vram_size", size("vram"))
            .maybe("vgamem_mb", mebi("vgamem"))
            .maybe("max_outputs", model.attribute("heads")),
        "virtio" => {
            let wanted = if primary && has_vga {
                Device::new(id, "virtio-vga")
            } else {
                virtio("virtio-gpu")
            };
            let blob = model.attribute("blob").map(switch);
            let heads = model.attribute("heads");
            wanted.maybe("max_outputs", heads).maybe("blob", blob)
        }
        other => panic!("no expectation for video of type {other}"),
    };
    let resolution = |axis: &str| of(model, "resolution", axis);
    Some(wanted.maybe("xres", resolution("x")).maybe("yres", resolution("y")))
}

fn sound(
    node: Node,
    id: &str,
    model: &str,
    expected: &mut Expected,
    virtio: impl Fn(&str) -> Device,
) -> Option<Device> {
    let audio = format!("audio{}", of(node, "audio", "id").unwrap_or("1"));
    let kind = match model {
        "ich6" => "intel-hda",
        "ich9" => "ich9-intel-hda",
        "ac97" => "AC97",
        "es1370" => "ES1370",
        "sb16" => "sb16",
        "usb" => "usb-audio",
        "virtio" => {
            let streams = node.attribute("streams");
            return Some(virtio("virtio-sound").with("audiodev", audio).maybe("streams", streams));
        }
        "pcspk" => {
            expected.machine.push(("pcspk-audiodev".into(), audio));
            return None;
        }
        other => panic!("no expectation for sound {other}"),
    };
    if !matches!(model, "ich6" | "ich9") {
        return Some(Device::new(id, kind).with("audiodev", audio));
    }
    // The controller is silent; its codecs sound.
    let codecs: Vec<Node> = node.children().filter(|child| child.has_tag_name("codec")).collect();
    let types = codecs.iter().map(|codec| codec.attribute("type").unwrap_or("duplex"));
    let types: Vec<&str> = if codecs.is_empty() { vec!["duplex"] } else { types.collect() };
    for (cad, kind) in types.into_iter().enumerate() {
        let mut codec = Device::new(format!("{id}-codec{cad}"), format!("hda-{kind}"));
        codec.bus = Some(id.to_owned());
        expected.devices.push(codec.with("cad", cad).with("audiodev", &audio));
    }
    Some(Device::new(id, kind))
}

fn rng(node: Node, id: &str, expected: &mut Expected, virtio: impl Fn(&str) -> Device) -> Device {
    let backend = child(node, "backend");
    let object = format!("obj{id}");
    let made = match backend.and_then(|backend| backend.attribute("model")) {
        Some("builtin") => Device::new(&object, "rng-builtin"),
        _ => Device::new(&object, "rng-random").maybe("filename", words(node, "backend")),
    };
    expected.objects.push(made);
    let mut wanted = virtio("virtio-rng").with("rng", format!("/objects/{object}"));
    if let Some(rate) = child(node, "rate") {
        wanted = wanted
            .maybe("max-bytes", rate.attribute("bytes"))
            .maybe("period", rate.attribute("period"));
    }
    wanted
}

fn memory_device(
    node: Node,
    id: &str,
    model: &str,
    expected: &mut Expected,
    virtio: impl Fn(&str) -> Device,
) -> Device {
    let target = child(node, "target").expect("a memory device has a target");
    let size = child(target, "size").map_or(0, bytes);
    let label = child(target, "label").and_then(|label| child(label, "size")).map(bytes);
    let path = child(node, "source").and_then(|source| words(source, "path"));
    let kind = if path.is_some() { "memory-backend-file" } else { "memory-backend-ram" };
    let object = Device::new(format!("mem{id}"), kind).with("size", size);
    expected.objects.push(object.maybe("mem-path", path));
    let cell = words(target, "node").map(number);
    let wanted = match model {
        "dimm" => Device::new(id, "pc-dimm").maybe("node", cell),
        "nvdimm" => Device::new(id, "nvdimm").maybe("node", cell).maybe("label-size", label),
        "virtio-mem" => virtio("virtio-mem")
            .maybe("node", cell)
            .maybe("block-size", child(target, "block").map(bytes))
            .maybe("requested-size", child(target, "requested").map(bytes)),
        "virtio-pmem" => virtio("virtio-pmem"),
        other => panic!("no expectation for memory of model {other}"),
    };
    let mut wanted = wanted.with("memdev", format!("/objects/mem{id}"));
    if matches!(model, "dimm" | "nvdimm") {
        let address = child(node, "address");
        let get = |name: &str| address.and_then(|address| address.attribute(name)).map(number);
        wanted = wanted.maybe("slot", get("slot")).maybe("addr", get("base"));
    }
    wanted
}

fn iommu(node: Node, id: &str, model: &str, expected: &mut Expected) -> Option<Device> {
    let driver = child(node, "driver");
    let get = |name: &str| driver.and_then(|driver| driver.attribute(name));
    match model {
        "intel" => Some(
            Device::new(id, "intel-iommu")
                .maybe("intremap", get("intremap"))
                .maybe("caching-mode", get("caching_mode").map(switch))
                .maybe("eim", get("eim"))
                .maybe("device-iotlb", get("iotlb").map(switch))
                .maybe("aw-bits", get("aw_bits")),
        ),
        "amd" => Some(Device::new(id, "amd-iommu")),
        "virtio" => Some(Device::new(id, "virtio-iommu-pci")),
        "smmuv3" => {
            expected.built_in.push("arm-smmuv3".into());
            None
        }
        other => panic!("no expectation for an IOMMU {other}"),
    }
}
