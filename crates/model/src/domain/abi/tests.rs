//! Pairs of definitions, and what libvirt 11.3 says of them.

use super::{Scope, check, check_in};
use crate::domain::{Domain, ParseOptions, parse};

const GUEST: &str = "<domain type='qemu'>
  <name>guest</name>
  <uuid>c7a5fdbd-edaf-9455-926a-d65c06db1801</uuid>
  <maxMemory slots='4' unit='KiB'>4194304</maxMemory>
  <memory unit='KiB'>1048576</memory>
  <currentMemory unit='KiB'>1000000</currentMemory>
  <memoryBacking><source type='memfd'/></memoryBacking>
  <vcpu current='1'>2</vcpu>
  <sysinfo type='smbios'><bios><entry name='vendor'>us</entry></bios></sysinfo>
  <os><type arch='x86_64' machine='pc-q35-10.0'>hvm</type><smbios mode='sysinfo'/></os>
  <features>
    <acpi/><apic eoi='on'/><pmu state='on'/>
    <hyperv mode='custom'>
      <relaxed state='on'/><spinlocks state='on' retries='8191'/>
      <stimer state='on'><direct state='on'/></stimer><vendor_id state='on' value='us'/>
    </hyperv>
    <kvm><hidden state='on'/></kvm>
    <smm state='on'><tseg unit='MiB'>48</tseg></smm>
  </features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>Nehalem</model>
    <topology sockets='2' dies='1' clusters='1' cores='1' threads='1'/>
    <feature policy='require' name='vmx'/>
    <numa>
      <cell id='0' cpus='0-1' memory='524288' unit='KiB'/>
    </numa>
  </cpu>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' queues='2' queue_size='256'/><source file='/a'/>
      <blockio logical_block_size='512'/><target dev='vda' bus='virtio'/><serial>abc</serial>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </disk>
    <controller type='usb' index='0' model='qemu-xhci' ports='8'/>
    <controller type='scsi' index='0' model='virtio-scsi'><driver iommu='on'/></controller>
    <interface type='user'>
      <mac address='52:54:00:11:22:33'/><model type='virtio'/><acpi index='5'/>
    </interface>
    <serial type='pty'><target type='isa-serial' port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.a'/></channel>
    <input type='tablet' bus='usb'/>
    <tpm model='tpm-crb'>
      <backend type='emulator' version='2.0'>
        <profile name='default-v1'/><active_pcr_banks><sha256/></active_pcr_banks>
      </backend>
    </tpm>
    <sound model='ich9'/>
    <video><model type='virtio' heads='1'/></video>
    <redirdev bus='usb' type='tcp'><source mode='connect' host='h' service='1'/></redirdev>
    <redirfilter><usbdev class='0x08' allow='yes'/></redirfilter>
    <watchdog model='i6300esb' action='reset'/>
    <memballoon model='virtio' autodeflate='on'/>
    <panic model='isa'><address type='isa' iobase='0x505'/></panic>
    <shmem name='s' role='peer'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>
    <memory model='dimm'>
      <target><size unit='KiB'>524288</size><node>0</node></target>
      <address type='dimm' slot='0'/>
    </memory>
    <iommu model='intel'><driver intremap='on' aw_bits='48'/></iommu>
    <vsock model='virtio'><cid auto='no' address='4'/></vsock>
  </devices>
</domain>";

fn read(text: &str) -> Domain {
    let parsed = parse(text, ParseOptions::default());
    parsed.domain.unwrap_or_else(|| panic!("{:?}\n{text}", parsed.diagnostics))
}

/// The guest with a text replaced, as often as it stands there.
fn changed(from: &str, to: &str) -> Domain {
    assert!(GUEST.contains(from), "{from}");
    read(&GUEST.replace(from, to))
}

/// (what is replaced, by what, libvirt's sentence, its domain of errors)
const DIFFERENCES: &[(&str, &str, &str, u32)] = &[
    ("guest<", "other<", "Target domain name 'other' does not match source 'guest'", 20),
    (
        "1801",
        "1802",
        "Target domain uuid c7a5fdbd-edaf-9455-926a-d65c06db1802 does not match source \
         c7a5fdbd-edaf-9455-926a-d65c06db1801",
        20,
    ),
    // The module of 524288 KiB does not count.
    (">1048576<", ">2097152<", "Target domain max memory 1572864 does not match source 524288", 20),
    ("1000000", "900000", "Target domain current memory 900000 does not match source 1000000", 20),
    ("slots='4'", "slots='5'", "Target domain memory slots count '5' doesn't match source '4'", 20),
    (
        "'memfd'",
        "'file'",
        "Target memoryBacking source 'file' doesn't match source memoryBacking source'memfd'",
        10,
    ),
    (
        "current='1'",
        "current='2'",
        "State of vCPU '1' differs between source and destination definitions",
        20,
    ),
    (">us</entry>", ">you</entry>", "Target sysinfo BIOS vendor you does not match source us", 37),
    (
        "<smbios mode='sysinfo'/>",
        "",
        "Target domain SMBIOS mode none does not match source sysinfo",
        20,
    ),
    (
        "<apic eoi='on'/>",
        "<apic eoi='off'/>",
        "State of feature 'apic' differs: source: 'on,eoi=on', destination: 'on,eoi=off'",
        20,
    ),
    (
        "<pmu state='on'/>",
        "",
        "State of feature 'pmu' differs: source: 'on', destination: 'default'",
        20,
    ),
    (
        "<relaxed state='on'/>",
        "<relaxed state='off'/>",
        "State of HyperV enlightenment feature 'relaxed' differs: source: 'on', destination: 'off'",
        20,
    ),
    (
        "retries='8191'",
        "retries='4096'",
        "HyperV spinlock retry count differs: source: '8191', destination: '4096'",
        20,
    ),
    (
        "<direct state='on'/>",
        "",
        "State of HyperV stimer direct feature differs: source: 'on', destination: 'default'",
        20,
    ),
    (
        " value='us'",
        " value='you'",
        "HyperV vendor_id differs: source: 'us', destination: 'you'",
        20,
    ),
    (
        "<hidden state='on'/>",
        "",
        "State of KVM feature 'hidden' differs: source: 'on', destination: 'default'",
        20,
    ),
    (
        "48</tseg>",
        "96</tseg>",
        "Size of SMM TSEG size differs: source: '48 MiB', destination: '96 MiB'",
        20,
    ),
    ("Nehalem", "Westmere", "Target CPU model Westmere does not match source Nehalem", 31),
    (
        "'require' name",
        "'disable' name",
        "Target CPU feature policy disable does not match source require",
        31,
    ),
    (
        "sockets='2' dies='1' clusters='1' cores='1'",
        "sockets='1' dies='1' clusters='1' cores='2'",
        "Target CPU sockets 1 does not match source 2",
        31,
    ),
    (
        "memory='524288'",
        "memory='524287'",
        "Size of target NUMA node 0 (524287) doesn't match source (524288)",
        20,
    ),
    ("present='no'", "present='yes'", "Target timer presence 'yes' does not match source 'no'", 20),
    ("<timer name='hpet' present='no'/>", "", "Target domain timers do not match source", 20),
    ("'vda'", "'vdb'", "Target disk vdb does not match source vda", 20),
    ("device='disk'", "device='cdrom'", "Target disk device cdrom does not match source disk", 20),
    ("<serial>abc</serial>", "", "Target disk serial <null> does not match source abc", 20),
    ("'512'", "'1024'", "Target disk logical_block_size 1024 does not match source 512", 20),
    // libvirt names the number of queues here, twice.
    (
        "queue_size='256'",
        "queue_size='512'",
        "Target disk queue size 512 does not match source 256",
        20,
    ),
    (
        "bus='0x01'",
        "bus='0x02'",
        "Target device PCI address 0000:02:00.0 does not match source 0000:01:00.0",
        20,
    ),
    // libvirt names models of controllers by their number.
    (
        "'qemu-xhci'",
        "'ich9-ehci1'",
        "Target controller model ich9-ehci1 does not match source qemu-xhci",
        20,
    ),
    ("ports='8'", "ports='4'", "Target controller ports 4 does not match source 8", 20),
    (
        "<driver iommu='on'/>",
        "<driver iommu='off'/>",
        "Target device iommu option 'off' does not match source 'on'",
        20,
    ),
    ("<driver iommu='on'/>", "", "Target device virtio options don't match the source", 20),
    (
        "11:22:33",
        "11:22:34",
        "Target network card mac 52:54:00:11:22:34 does not match source 52:54:00:11:22:33",
        20,
    ),
    (
        "<model type='virtio'/><acpi",
        "<model type='e1000e'/><acpi",
        "Target network card model e1000e does not match source virtio",
        20,
    ),
    ("index='5'", "index='6'", "Target ACPI index '6' does not match source '5'", 20),
    ("port='0'", "port='1'", "Target serial port 1 does not match source 0", 20),
    ("org.a", "org.b", "Target channel name org.b does not match source org.a", 20),
    (
        "<input type='tablet' bus='usb'/>",
        "",
        "Target domain input device count 0 does not match source 1",
        20,
    ),
    ("<sha256/>", "<sha512/>", "Target active PCR banks doesn't match source", 20),
    ("'ich9'", "'ac97'", "Target sound card model ac97 does not match source ich9", 20),
    ("heads='1'", "heads='2'", "Target video card heads 2 does not match source 1", 20),
    (
        "type='tcp'><source mode='connect' host='h' service='1'/>",
        "type='spicevmc'>",
        "Target redirected device source type spicevmc does not match source device source type \
         tcp",
        20,
    ),
    ("class='0x08'", "class='0x09'", "Target USB Class code does not match source", 20),
    ("'i6300esb'", "'itco'", "Target watchdog model itco does not match source i6300esb", 20),
    (
        "autodeflate='on'",
        "autodeflate='off'",
        "Target balloon autodeflate attribute value 'off' does not match source 'on'",
        20,
    ),
    ("0x505", "0x506", "Target device isa address 1286:0 does not match source 1285:0", 20),
    (
        "'M'>4<",
        "'M'>8<",
        "Target shared memory size '8388608' does not match source size '4194304'",
        20,
    ),
    ("slot='0'", "slot='1'", "Target device dimm slot 1 does not match source 0", 20),
    (
        "aw_bits='48'",
        "aw_bits='39'",
        "Target domain IOMMU device aw_bits value '39' does not match source '48'",
        20,
    ),
    (
        "<vsock model='virtio'><cid auto='no' address='4'/></vsock>",
        "",
        "Target domain vsock device count does not match source",
        20,
    ),
];

#[test]
fn what_the_guest_sees_must_stay() {
    let source = read(GUEST);
    for (from, to, says, domain) in DIFFERENCES {
        let error = check(&source, &changed(from, to)).expect_err(from);
        let first = &error.mismatches[0];
        assert_eq!((first.message.as_str(), first.domain.0), (*says, *domain), "{from} -> {to}");
        assert_ne!(first.source, first.target, "{from}");
    }
}

#[test]
fn the_rest_may_change() {
    let source = read(GUEST);
    assert_eq!(check(&source, &source), Ok(()));
    for (from, to) in [
        ("file='/a'", "file='/elsewhere'"),
        ("type='raw'", "type='qcow2'"),
        ("type='pty'", "type='null'"),
        ("action='reset'", "action='poweroff'"),
        ("address='4'", "address='5'"),
        ("name='s'", "name='t'"),
        ("offset='utc'", "offset='localtime'"),
        ("/usr/bin/qemu-system-x86_64", "/opt/qemu"),
    ] {
        assert_eq!(check(&source, &changed(from, to)), Ok(()), "{from} -> {to}");
    }
}

#[test]
fn a_running_guest_may_have_another_balloon() {
    let (source, target) = (read(GUEST), changed("1000000", "900000"));
    assert!(check(&source, &target).is_err());
    assert_eq!(check_in(Scope::Running, &source, &target), Ok(()));
}

#[test]
fn all_differences_are_told_the_first_as_the_error() {
    let text = GUEST.replace("guest<", "other<").replace("'vda'", "'vdb'").replace("org.a", "b");
    let error = check(&read(GUEST), &read(&text)).unwrap_err();
    let paths: Vec<_> = error.mismatches.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths, ["name", "devices/disk[1]/target/@dev", "devices/channel[1]/target/@name"]);
    let shown = error.to_vir();
    assert_eq!(
        shown.message(),
        "unsupported configuration: Target domain name 'other' does not match source 'guest'"
    );
    assert_eq!(shown.hints.len(), 2);
}
