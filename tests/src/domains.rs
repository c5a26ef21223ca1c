//! Domain XML that tests start from.

use std::path::Path;

use crate::Daemon;
use crate::guests::{self, Linux};

/// A domain with nothing but a name: enough to define, list and undefine.
pub fn minimal(name: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices/>
</domain>
"
    )
}

/// A domain that boots the disk image at `disk` and writes its serial port into the file `serial`.
pub fn from_disk(name: &str, disk: &Path, serial: &Path) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{}'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <serial type='file'><source path='{}'/><target port='0'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
",
        disk.display(),
        serial.display()
    )
}

/// Writes a boot sector image for `name` below the daemon's folder; returns the domain's XML. Its
/// serial output goes to [`serial_file`].
pub fn boot_sector(daemon: &Daemon, name: &str) -> String {
    let disk = daemon.write(&format!("images/{name}.img"), guests::boot_sector());
    from_disk(name, &disk, &serial_file(daemon, name))
}

/// Where the serial output of a [`boot_sector`] guest goes.
pub fn serial_file(daemon: &Daemon, name: &str) -> std::path::PathBuf {
    daemon.path(&format!("images/{name}.serial"))
}

/// A Linux guest with serial console, network, random numbers and panic device.
/// `arguments` are added to the kernel's; `extra` is put below `<domain>`.
pub fn linux(name: &str, guest: &Linux, arguments: &str, extra: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{}</kernel>
    <initrd>{}</initrd>
    <cmdline>console=ttyS0 quiet no_timer_check hostname={name} {arguments}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {extra}
  <devices>
    <interface type='user'><model type='virtio'/></interface>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <controller type='usb' model='none'/>
    <panic model='isa'/>
  </devices>
</domain>
",
        guest.kernel.display(),
        guest.initrd.display()
    )
}

/// A Linux guest whose qemu-guest-agent answers, with an ext4 file system on `/mnt`, two of four
/// processors, room for more memory, and sleep to memory.
pub fn linux_with_agent(daemon: &Daemon, name: &str) -> String {
    let disk = daemon.write(&format!("images/{name}.img"), guests::ext4());
    let extra = "<maxMemory slots='4' unit='MiB'>1024</maxMemory>
  <cpu mode='custom' match='exact'><model>qemu64</model>
    <numa><cell id='0' cpus='0-3' memory='256' unit='MiB'/></numa></cpu>
  <pm><suspend-to-mem enabled='yes'/><suspend-to-disk enabled='no'/></pm>";
    linux(name, guests::linux_with_agent(), "", extra)
        .replace("<vcpu>1</vcpu>", "<vcpu current='2'>4</vcpu>")
        .replace("    <panic model='isa'/>\n", "")
        .replace(
            "    <rng ",
            &format!(
                "    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' discard='unmap'/>
      <source file='{}'/>
      <target dev='vda' bus='virtio'/>
      <serial>SERIAL1</serial>
    </disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng ",
                disk.display()
            ),
        )
}

/// Removes `name` in whatever state it is; for clean-up against a daemon that outlives the test.
pub fn discard(daemon: &Daemon, name: &str) {
    daemon.virsh_words(&["destroy", name]);
    daemon.virsh_words(&["undefine", name]);
}
