"""Freezes a guest's file systems and vanishes without a goodbye: URI NAME."""
import os
import sys

import libvirt

conn = libvirt.open(sys.argv[1])
domain = conn.lookupByName(sys.argv[2])
try:
    assert domain.fsFreeze() == 1
except libvirt.libvirtError as error:
    # Somebody froze them before.
    assert "the agent is in frozen state" in str(error), error
os._exit(0)
