"""Which part of libvirt reports a fault: the error's domain is libvirtd's, as its code and words are.

Arguments: URI, name of a domain that is shut off and has no devices.
"""

import sys

import libvirt

libvirt.registerErrorHandler(lambda *_: None, None)
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName(sys.argv[2])
LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG

NIC = """<interface type='user'><mac address='52:54:00:aa:bb:01'/></interface>"""
DISK = "<disk type='file'><source file='/nowhere.img'/><target dev='vdz' bus='virtio'/></disk>"


def refused(code, reporter, words, call):
    try:
        call()
    except libvirt.libvirtError as error:
        found = (error.get_error_code(), error.get_error_domain())
        assert found == (code, reporter) and words in str(error), (found, str(error))
        return
    raise AssertionError(f"not refused: {words}")


def both(side):
    refused(99, libvirt.VIR_FROM_DOMAIN, "no device found at address",
            lambda: domain.detachDeviceFlags(NIC, side))
    refused(8, libvirt.VIR_FROM_DOMAIN, "memory hard_limit tunable value must be lower",
            lambda: domain.setMemoryParameters({"hard_limit": 200000, "swap_hard_limit": 1000}, side))
    refused(8, libvirt.VIR_FROM_NONE, "Failed to parse bitmap '5-'",
            lambda: domain.setVcpu("5-", 1, side))


both(CONFIG)
refused(8, libvirt.VIR_FROM_NONE, "Failed to parse bitmap '5-'",
        lambda: domain.setNumaParameters({"numa_nodeset": "5-"}, CONFIG))
domain.create()
both(LIVE)
refused(74, libvirt.VIR_FROM_PERF, "unable to enable host cpu perf event for cmt",
        lambda: domain.setPerfEvents({"cmt": True}, LIVE))
refused(38, libvirt.VIR_FROM_STORAGE, "Cannot access storage file '/nowhere.img'",
        lambda: domain.attachDeviceFlags(DISK, LIVE))
refused(8, libvirt.VIR_FROM_CGROUP, "shares '0' must be in range",
        lambda: domain.setSchedulerParametersFlags({"cpu_shares": 0}, LIVE))
print("well")
