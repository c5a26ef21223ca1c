"""A Linux guest through everything that runs: URI NAME XML-FILE FOLDER.

The guest has an agent; what a change does is looked up inside it.
"""
import base64
import json
import sys
import time

import libvirt
import libvirt_qemu

uri, name, xml_file, folder = sys.argv[1:5]
xml = open(xml_file).read()
# What is waited for fails many times.
libvirt.registerErrorHandler(lambda context, error: None, None)
conn = libvirt.open(uri)
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def until(what, probe, seconds=90):
    deadline = time.time() + seconds
    while True:
        try:
            value = probe()
            if value:
                return value
        except libvirt.libvirtError as error:
            value = error
        if time.time() > deadline:
            sys.exit(f"waited in vain for {what}; last: {value!r}")
        time.sleep(0.1)


def agent(command, **arguments):
    text = json.dumps({"execute": command, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, 30, 0))["return"]


def inside(script):
    """What a script prints inside the guest."""
    arg = ["-c", script]
    pid = agent("guest-exec", path="/bin/sh", arg=arg, **{"capture-output": True})["pid"]
    done = until("a script's end", lambda: (s := agent("guest-exec-status", pid=pid))["exited"] and s)
    return base64.b64decode(done.get("out-data", "")).decode()


def up():
    until("the agent", lambda: agent("guest-ping") == {})


def state():
    return domain.state()[0]


# Transient: gone when it ends.
domain = conn.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
assert not domain.isPersistent() and state() == libvirt.VIR_DOMAIN_PAUSED
domain.destroy()
assert name not in [d.name() for d in conn.listAllDomains()]

# Persistent.
domain = conn.defineXML(xml)
domain.create()
up()
assert inside("cat /proc/sys/kernel/hostname").strip() == name

# A disk: seen, written through, gone.
disk = f"{folder}/second.img"
with open(disk, "wb") as image:
    image.truncate(8 << 20)
disk_xml = f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{disk}'/><target dev='vdb' bus='virtio'/></disk>"""
domain.attachDeviceFlags(disk_xml, LIVE)
until("the disk", lambda: inside("cat /sys/block/vdb/size 2>/dev/null").strip() == str((8 << 20) // 512))
inside("printf hello > /dev/vdb; sync")
assert open(disk, "rb").read(5) == b"hello"
domain.detachDeviceFlags(disk_xml, LIVE)
until("its end", lambda: "vdb" not in domain.XMLDesc())
assert "vdb" not in inside("ls /sys/block")

# A network card.
nic = "<interface type='user'><mac address='52:54:00:77:88:99'/><model type='virtio'/></interface>"
domain.attachDeviceFlags(nic, LIVE)
until("the card", lambda: "52:54:00:77:88:99" in inside("cat /sys/class/net/*/address"))
domain.detachDeviceFlags(nic, LIVE)
until("its end", lambda: "52:54:00:77:88:99" not in domain.XMLDesc())
assert "52:54:00:77:88:99" not in inside("cat /sys/class/net/*/address")

# Processors.
domain.setVcpusFlags(3, LIVE)
until("a processor", lambda: inside("ls -d /sys/devices/system/cpu/cpu2").strip())
inside("echo 1 > /sys/devices/system/cpu/cpu2/online; sleep 1")
assert inside("nproc").strip() == "3"
try:
    domain.setVcpusFlags(2, LIVE)
except libvirt.libvirtError as error:
    # A guest that is slow: it gives the processor back later.
    assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT, error
until("its end", lambda: inside("nproc").strip() == "2")
until("its end", lambda: domain.vcpusFlags(LIVE) == 2)

# Memory: a module, and the balloon.
before = int(inside("awk '/MemTotal/ {print $2}' /proc/meminfo"))
domain.attachDeviceFlags("""<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node>
</target></memory>""", LIVE)
# The guest takes its time to find the module: what has come so far is used, until all has.
USE = ("for m in /sys/devices/system/memory/memory*; do "
       "[ $(cat $m/state) = online ] || echo online_movable > $m/state; done; "
       "awk '/MemTotal/ {print $2}' /proc/meminfo")
until("the memory", lambda: int(inside(USE)) > before + 100 * 1024)
whole = domain.maxMemory()
domain.setMemoryFlags(whole - 64 * 1024, LIVE)
until("the balloon", lambda: domain.info()[2] == whole - 64 * 1024)
domain.setMemoryFlags(whole, LIVE)
until("the balloon's end", lambda: domain.info()[2] == whole)

# The agent's verbs.
assert domain.hostname(libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT) == name
assert domain.guestInfo()["os.id"] == "ironvirt-guest"
assert [fs[0] for fs in domain.fsInfo()] == ["/mnt"]
assert domain.fsFreeze() == 1 and domain.fsThaw() == 1
domain.fSTrim(None, 0)
domain.setTime({"seconds": 1_000_000_000, "nseconds": 0})
assert 0 <= domain.getTime()["seconds"] - 1_000_000_000 < 600
domain.setTime(None, libvirt.VIR_DOMAIN_TIME_SYNC)
domain.setUserPassword("root", "secret")
domain.authorizedSSHKeysSet("someone", ["ssh-rsa AAAA one"])
assert domain.authorizedSSHKeysGet("someone") == ["ssh-rsa AAAA one"]
assert "eth0" in domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
assert domain.guestVcpus()["vcpus"] == "0-1"

# Saved and taken up: the guest goes on where it was.
inside("echo kept > /tmp/mark")
domain.save(f"{folder}/image")
assert state() == libvirt.VIR_DOMAIN_SHUTOFF
conn.restore(f"{folder}/image")
up()
assert inside("cat /tmp/mark").strip() == "kept"
domain.managedSave()
assert domain.hasManagedSaveImage()
domain.create()
up()
assert inside("cat /tmp/mark").strip() == "kept"

# Over, and off.
domain.reboot(libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT)
until("a new boot", lambda: inside("ls /tmp/mark 2>/dev/null || echo none").strip() == "none")
domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
until("the end", lambda: state() == libvirt.VIR_DOMAIN_SHUTOFF)
domain.undefine()
print("passed")
