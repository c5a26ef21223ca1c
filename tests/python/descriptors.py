"""Images by descriptors of clients: URI FOLDER, in which only we can look.

The disks' paths lead nowhere: what the guest has it can only have by descriptor.
"""

import json
import os
import sys
import time

import libvirt
import libvirt_qemu

uri, folder = sys.argv[1:]
libvirt.registerErrorHandler(lambda *_: None, None)
one, other = libvirt.open(uri), libvirt.open(uri)


def image(name, flags=os.O_RDWR):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.truncate(1 << 20)
    return os.open(path, flags)


def disk(group, target, device="disk", bus="virtio", more=""):
    source = f"<source file='/nowhere/{group}' fdgroup='{group}'/>" if group else ""
    return (f"<disk type='file' device='{device}'><driver name='qemu' type='raw'/>{source}"
            f"<target dev='{target}' bus='{bus}'/>{more}</disk>")


def cdrom(group):
    return disk(group, "hdc", "cdrom", "ide", "<readonly/>")


def refused(call, *parts):
    try:
        call()
    except libvirt.libvirtError as error:
        for part in parts:
            assert str(part) in f"{error.get_error_code()} {error}", (part, str(error))
    else:
        raise AssertionError(f"{parts} is not said")


def sets(domain):
    said = json.loads(libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-fdsets"}', 0))
    return sorted(fd["opaque"] for each in said["return"] for fd in each["fds"])


def absent(group):
    return (8, f"file descriptor group '{group}' was not associated with the domain")


xml = f"""<domain type='qemu'><name>given</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
<devices>{disk("top", "vda")}{cdrom(None)}</devices></domain>"""
domain = one.defineXML(xml)
refused(domain.create, *absent("top"))
refused(lambda: domain.FDAssociate("top", [image("a")], 4), "unsupported flags (0x4)")
reader = libvirt.openReadOnly(uri)
theirs = reader.lookupByName("given")
refused(lambda: theirs.FDAssociate("top", [image("a")], 0), 29, "virDomainFDAssociate")

# Another client's serve as well, and go with it.
other.lookupByName("given").FDAssociate("top", [image("a")], 0)
domain.create()
assert "fdgroup='top'" in domain.XMLDesc(0)
refused(lambda: domain.blockInfo("vda"), 84)
refused(lambda: domain.blockPeek("vda", 0, 512), 84)
domain.destroy()
other.close()
deadline = time.monotonic() + 60
while True:
    try:
        domain.create()
    except libvirt.libvirtError as error:
        assert absent("top")[1] in str(error), error
        break
    domain.destroy()
    assert time.monotonic() < deadline, "what a client handed in stays when it went"

# Whoever comes last owns the name; a guest that is stopped can be started again.
domain.FDAssociate("top", [image("a", os.O_RDONLY)], 0)
domain.FDAssociate("top", [image("a", os.O_RDONLY), image("a")], 1)
domain.create()
domain.destroy()
domain.create()
assert sets(domain) == ["libvirt-2-storage0", "libvirt-2-storage1"], sets(domain)

# Devices that come, and media that come and go.
refused(lambda: domain.attachDeviceFlags(disk("new", "vdb"), 1), *absent("new"))
domain.FDAssociate("new", [image("b")], 0)
domain.attachDeviceFlags(disk("new", "vdb"), 1)
domain.FDAssociate("cd", [image("c", os.O_RDONLY)], 0)
before = sets(domain)
assert len(before) == 3, before
domain.updateDeviceFlags(cdrom("cd"), 1)
assert "/nowhere/cd" in domain.XMLDesc(0)
assert len(sets(domain)) == 4, sets(domain)
refused(lambda: domain.updateDeviceFlags(cdrom("none"), 1), *absent("none"))
assert "/nowhere/cd" in domain.XMLDesc(0)
domain.updateDeviceFlags(cdrom(None), 1)
assert "/nowhere/cd" not in domain.XMLDesc(0)
assert sets(domain) == before, sets(domain)
domain.destroy()

# With the domain they are gone.
domain.undefine()
again = one.defineXML(xml)
refused(again.create, *absent("top"))
again.undefine()
