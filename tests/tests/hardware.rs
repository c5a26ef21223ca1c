//! The same hardware under libvirtd and in its place: guests that one made are started by the
//! other from the same files, and list what they see.
//!
//! The guest prints PCI devices with their configuration space, SMBIOS and ACPI tables, processors,
//! the memory map, addresses of network cards, serial numbers of disks and what virtio offers; the
//! listings must be equal. Runs in a mount namespace as `dropin` does, and skips as it does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tests::on_host::{LIBVIRTD, Running, uri, virsh};
use tests::{guests, namespace, tool, wait};

const IMAGES: &str = "/var/lib/libvirt/images";
const END: &str = "-- end of the listing";

/// First process of the guest: lists the hardware on the first serial port and turns it off.
const LISTING: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin
while read -r module; do insmod "/lib/modules/$module.ko" 2>/dev/null; done < /lib/modules/modules.order
exec > /dev/ttyS0 2>&1
show() { for file in "$@"; do [ -f "$file" ] && echo "$file: $(cat "$file" 2>/dev/null)"; done; }
echo "-- pci"
for device in /sys/bus/pci/devices/*; do
    echo "${device##*/}"
    show $device/vendor $device/device $device/subsystem_vendor $device/subsystem_device $device/class \
        $device/revision $device/resource
    head -c 64 $device/config | hexdump -C
done
echo "-- smbios"
show /sys/class/dmi/id/*
md5sum /sys/firmware/dmi/tables/*
echo "-- acpi"
# Where UEFI puts its picture and logs, and what points at them, differs between its first start and
# later ones, under either daemon.
moving='^$'
[ -d /sys/firmware/efi ] && moving='BGRT|FACP|TPM2'
md5sum /sys/firmware/acpi/tables/[A-Z]* | grep -Ev "$moving"
echo "-- processors"
grep -v -e MHz -e bogomips /proc/cpuinfo
echo "-- memory"
grep -v -e Kernel -e 'System RAM' /proc/iomem
cat /proc/ioports
grep MemTotal /proc/meminfo
echo "-- devices"
show /sys/class/net/*/address /sys/block/*/serial /sys/block/*/size /sys/block/*/ro
show /sys/bus/virtio/devices/*/device /sys/bus/virtio/devices/*/features
show /sys/class/virtio-ports/*/name /sys/class/rtc/*/name /sys/class/tty/ttyS*/port
# Numbers are given in the order in which drivers come up.
grep -v -e Sysfs= -e Handlers= /proc/bus/input/devices | sort
cat /proc/cmdline
echo "-- end of the listing"
poweroff -f
"#;

/// A file of a `newc` cpio archive, or its end.
fn entry(name: &str, mode: u32, content: &[u8], archive: &mut Vec<u8>) {
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    let fields = [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

/// The guest's kernel and an initramfs that lists, in libvirt's folder of images.
fn put_guest() {
    let guest = guests::linux();
    let mut initrd = fs::read(&guest.initrd).expect("the initramfs");
    // The kernel unpacks archives one after the other; each starts at a multiple of four.
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    let mut archive = Vec::new();
    entry("listing", 0o100_755, LISTING.as_bytes(), &mut archive);
    entry("TRAILER!!!", 0, b"", &mut archive);
    initrd.extend_from_slice(&archive);
    fs::create_dir_all(IMAGES).expect("a folder");
    fs::write(format!("{IMAGES}/initrd"), initrd).expect("written");
    fs::copy(&guest.kernel, format!("{IMAGES}/vmlinuz")).expect("copied");
}

/// Without the check whether the timer ticks: emulated on a busy machine, it may seem not to, and
/// the kernel gives up.
const ARGUMENTS: &str = "console=ttyS0 quiet nokaslr no_timer_check rdinit=/listing";

/// Each test keeps two emulated machines busy already.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A guest of one kind of board with devices of many kinds.
fn domain(name: &str, machine: &str, firmware: &str) -> String {
    let disks: String = [("vda", "virtio"), ("sda", "scsi"), ("sdb", "sata")]
        .into_iter()
        .filter(|(_, bus)| machine == "q35" || *bus != "sata")
        .map(|(target, bus)| {
            let path = format!("{IMAGES}/{name}-{target}.img");
            let file = fs::File::create(&path).expect("an image");
            file.set_len(1 << 20).expect("grown");
            format!(
                "<disk type='file' device='disk'><driver name='qemu' type='raw'/>\
                 <source file='{path}'/><target dev='{target}' bus='{bus}'/>\
                 <serial>S-{target}</serial></disk>"
            )
        })
        .collect();
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>320</memory>
  <vcpu>2</vcpu>
  <sysinfo type='smbios'><system><entry name='serial'>12-34</entry></system></sysinfo>
  <os{firmware}>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{IMAGES}/vmlinuz</kernel><initrd>{IMAGES}/initrd</initrd>
    <cmdline>{ARGUMENTS}</cmdline>
    <smbios mode='sysinfo'/>
  </os>
  <features><acpi/><apic/></features>
  <clock offset='utc'/>
  <devices>
    {disks}
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <interface type='user'><model type='virtio'/></interface>
    <interface type='user'><model type='e1000'/></interface>
    <serial type='file'><source path='{IMAGES}/{name}.serial'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <input type='tablet' bus='virtio'/>
    <sound model='ich6'/>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <watchdog model='i6300esb' action='none'/>
    <panic model='isa'/>
  </devices>
</domain>
"
    )
}

fn define(name: &str, xml: &str) {
    let file = format!("{IMAGES}/{name}.xml");
    fs::write(&file, xml).expect("written");
    virsh(&format!("define {file}")).ok();
}

fn serial(name: &str) -> PathBuf {
    PathBuf::from(format!("{IMAGES}/{name}.serial"))
}

/// How long an emulated guest may take to list, and how often it is started anew. Emulated
/// processors on a busy machine now and then never come up in the firmware or in the kernel, under
/// either daemon; what the hardware looks like has nothing to do with that.
const BOOT: Duration = Duration::from_secs(120);
const ATTEMPTS: u32 = 4;

/// Starts guests, and what each lists before it turns itself off.
fn listings(names: &[&String]) -> Vec<String> {
    names.iter().for_each(|name| start(name));
    names.iter().map(|name| listing(name)).collect()
}

/// The same, expected to be equal to earlier ones. A listing that differs is asked for once more:
/// a processor that did not come up in time is missing once, other hardware every time.
fn listings_like(names: &[&String], earlier: &[String]) -> Vec<String> {
    let again = |(name, (listed, earlier)): (&&String, (String, &String))| {
        if listed == *earlier {
            return listed;
        }
        eprintln!("{name} listed something else; asked again");
        start(name);
        listing(name)
    };
    names.iter().zip(listings(names).into_iter().zip(earlier)).map(again).collect()
}

fn start(name: &str) {
    let _ = fs::remove_file(serial(name));
    virsh(&format!("start {name}")).ok();
}

/// What a started guest lists; it is off when this returns.
fn listing(name: &str) -> String {
    let said = || String::from_utf8_lossy(&fs::read(serial(name)).unwrap_or_default()).into_owned();
    let complete = || Some(said()).filter(|text| text.contains(END));
    for attempt in 1..=ATTEMPTS {
        let Some(text) = wait::until_some(BOOT, complete) else {
            let state = virsh(&format!("domstate {name} --reason"));
            let registers = virsh(&format!("qemu-monitor-command {name} --hmp info registers -a"));
            eprintln!(
                "{name} did not list in {BOOT:?} (attempt {attempt}): {}{}\nit said:\n{}\n{}{}",
                state.stdout,
                state.stderr,
                said(),
                registers.stdout,
                registers.stderr
            );
            assert!(attempt < ATTEMPTS, "{name} did not list in {ATTEMPTS} attempts");
            virsh(&format!("destroy {name}"));
            start(name);
            continue;
        };
        wait::until(&format!("{name} to be off"), || {
            (virsh(&format!("domstate {name}")).stdout.trim() == "shut off").then_some(())
        });
        // What comes before is the firmware's and the kernel's.
        let (_, listing) = text.split_once("-- pci").expect("the listing's start");
        let (listing, _) = listing.split_once(END).expect("and its end");
        return listing.replace('\r', "");
    }
    unreachable!("the last attempt returns or panics")
}

#[track_caller]
fn assert_same(name: &str, one: &str, other: &str) {
    assert!(one.lines().count() > 100, "{name} lists little:\n{one}");
    let differs = |(a, b): &(&str, &str)| a != b;
    let places: Vec<String> = one
        .lines()
        .zip(other.lines())
        .filter(differs)
        .map(|(a, b)| format!("  first  {a}\n  second {b}"))
        .collect();
    let lengths = (one.lines().count(), other.lines().count());
    assert!(
        places.is_empty() && lengths.0 == lengths.1,
        "{name} sees other hardware ({lengths:?} lines):\n{}",
        places.join("\n")
    );
}

/// Guests made by libvirtd and by us, of one kind of board, under both.
fn there_and_back(test: &str, machine: &str, firmware: &str) {
    if !Path::new(LIBVIRTD).exists() {
        eprintln!("skipped: {test} needs libvirtd to compare with");
        return;
    }
    if !firmware.is_empty() && !Path::new("/usr/share/OVMF").exists() {
        eprintln!("skipped: {test} needs OVMF");
        return;
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Of its own also the network: ports of screens are not taken by others.
    namespace::inside_network(test, || {
        // Control groups are the machine's: those of two tests must not have one name.
        let name =
            |of: &str| format!("{of}-{machine}{}", if firmware.is_empty() { "" } else { "-uefi" });
        let (theirs, installed, ours) = (&name("theirs"), &name("installed"), &name("ours"));
        // Without a log daemon beside it.
        fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").expect("written");
        put_guest();

        let daemon = Running::libvirtd();
        define(theirs, &domain(theirs, machine, firmware));
        virt_install(installed, machine, firmware);
        let before = listings(&[theirs, installed]);
        daemon.stop();

        let daemon = Running::ours();
        let after = listings_like(&[theirs, installed], &before);
        define(ours, &domain(ours, machine, firmware));
        let listed = listings(&[ours]);
        daemon.stop();
        for ((name, one), other) in [theirs, installed].iter().zip(&before).zip(&after) {
            assert_same(name, one, other);
        }

        let daemon = Running::libvirtd();
        let back = listings_like(&[ours], &listed);
        daemon.stop();
        assert_same(ours, &listed[0], &back[0]);
    });
}

/// A guest as virt-install makes it; it runs once, and is off when this returns.
fn virt_install(name: &str, machine: &str, firmware: &str) {
    let disk = format!("{IMAGES}/{name}.img");
    fs::File::create(&disk).and_then(|file| file.set_len(1 << 20)).expect("an image");
    let uefi = if firmware.is_empty() { "" } else { ",uefi=on" };
    let boot =
        format!("kernel={IMAGES}/vmlinuz,initrd={IMAGES}/initrd,kernel_args={ARGUMENTS}{uefi}");
    let serial = format!("file,path={}", serial(name).display());
    let uri = uri();
    let words = [
        "--connect",
        &uri,
        "--name",
        name,
        "--memory",
        "320",
        "--vcpus",
        "2",
        "--virt-type",
        "qemu",
        "--machine",
        machine,
        "--import",
        "--disk",
        &disk,
        "--network",
        "user",
        "--serial",
        &serial,
        "--boot",
        &boot,
        "--osinfo",
        "detect=on,require=off",
        "--graphics",
        "vnc",
        "--noautoconsole",
        "--noreboot",
    ];
    tool("virt-install", &words, "").ok();
    virsh(&format!("destroy {name}"));
}

#[test]
fn a_pc_with_bios_is_the_same() {
    there_and_back("a_pc_with_bios_is_the_same", "pc", "");
}

#[test]
fn a_q35_with_bios_is_the_same() {
    there_and_back("a_q35_with_bios_is_the_same", "q35", "");
}

#[test]
fn a_q35_with_uefi_is_the_same() {
    there_and_back("a_q35_with_uefi_is_the_same", "q35", " firmware='efi'");
}
