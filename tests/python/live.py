"""What is asked of a guest and changed in it, through python3-libvirt.

Arguments: URI, name of a running persistent guest with three virtual CPUs at most and two now.
"""
import sys

import libvirt

libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName(sys.argv[2])
LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG


def refused(code, part, call):
    try:
        call()
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, error
        assert part in error.get_error_message(), error
    else:
        raise AssertionError("not refused: " + part)


# Virtual CPUs.
cpus, maps = domain.vcpus()
assert [cpu[0] for cpu in cpus] == [0, 1] and len(maps) == 2, (cpus, maps)
assert domain.vcpusFlags(LIVE) == 2 and domain.vcpusFlags(LIVE | 4) == 3
refused(8, "requested vcpus is greater than max allowable vcpus for the live domain: 4 > 3",
        lambda: domain.setVcpusFlags(4, LIVE))
domain.setVcpusFlags(3, LIVE)
assert domain.vcpusFlags(LIVE) == 3 and domain.vcpusFlags(CONFIG) == 2
assert len(domain.vcpus()[0]) == 3
domain.setVcpusFlags(1, CONFIG)
assert domain.vcpusFlags(CONFIG) == 1 and domain.vcpusFlags(LIVE) == 3
pin = tuple(index == 0 for index in range(len(maps[0])))
domain.pinVcpuFlags(0, pin, LIVE | CONFIG)
assert domain.vcpuPinInfo(LIVE)[0] == pin == domain.vcpuPinInfo(CONFIG)[0]
assert domain.vcpus()[1][0] == pin
domain.pinEmulator(pin, LIVE | CONFIG)
assert domain.emulatorPinInfo(LIVE) == pin
refused(8, "vcpu 9 is out of range", lambda: domain.pinVcpuFlags(9, pin, LIVE))
refused(8, "Empty cpu list", lambda: domain.pinVcpuFlags(0, tuple(False for _ in pin), LIVE))

# Memory.
maximum = domain.maxMemory()
domain.setMemoryFlags(maximum - 1024, CONFIG)
assert "<currentMemory unit='KiB'>%d<" % (maximum - 1024) in domain.XMLDesc(2)
refused(8, "cannot set memory higher than max memory",
        lambda: domain.setMemoryFlags(maximum + 1, LIVE))
refused(55, "cannot resize the maximum memory on an active domain",
        lambda: domain.setMaxMemory(maximum + 1024))
assert domain.memoryStats()["rss"] > 1024
domain.setMemoryStatsPeriod(5, LIVE)
assert "<stats period='5'/>" in domain.XMLDesc(0)
assert "<stats period" not in domain.XMLDesc(2)

# Metadata.
domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "A <title>", None, None, LIVE | CONFIG)
assert domain.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None, CONFIG) == "A <title>"
domain.setMetadata(2, "<a><b c='1'/></a>", "k", "urn:x", CONFIG)
assert domain.metadata(2, "urn:x", CONFIG) == '<a>\n  <b c="1"/>\n</a>'
refused(80, "Requested metadata element is not present",
        lambda: domain.metadata(2, "urn:x", LIVE))

# Statistics.
[(_, stats)] = connection.domainListGetStats([domain])
assert stats["state.state"] == 1 and stats["vcpu.current"] == 3, stats
assert stats["block.count"] == 1 and stats["block.0.rd.reqs"] > 0, stats
assert stats["cpu.time"] > 0 and stats["balloon.maximum"] == maximum, stats
assert stats["cpu.time"] >= stats["cpu.user"], stats
[(_, state)] = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_STATE)
assert list(state) == ["state.state", "state.reason"], state
refused(74, "Stats types bits 0x100000", lambda: connection.domainListGetStats(
    [domain], 1 << 20, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS))
reads, read_bytes, *_ = domain.blockStats("hda")
assert reads > 0 and read_bytes >= 512
assert domain.blockInfo("hda")[0] > 0
refused(8, "invalid path", lambda: domain.blockStats("vdz"))

# Nobody in the guest.
refused(74, "QEMU guest agent is not configured", lambda: domain.hostname(2))

# Keys.
domain.sendKey(0, 10, [28, 29], 2, 0)
refused(1, "cannot translate keycode 99999 of linux codeset",
        lambda: domain.sendKey(0, 10, [99999], 1, 0))

# The console has one user.
first, second = connection.newStream(0), connection.newStream(0)
domain.openConsole("console1", first, 0)
refused(9, "Active console session exists", lambda: domain.openConsole("console1", second, 0))
second = connection.newStream(0)
domain.openConsole("console1", second, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
third = connection.newStream(0)
second.abort()
domain.openConsole("console1", third, 0)
third.abort()
print("well")
