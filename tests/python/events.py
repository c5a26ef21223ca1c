"""A guest's life as a python3-libvirt program sees it, with events: URI NAME XML-FILE.

Prints each lifecycle event; exits 0 when all that must come came, in order.
"""
import sys
import threading
import time

import libvirt

uri, name, path = sys.argv[1:4]
xml = open(path, encoding="utf-8").read()
seen = []
arrived = threading.Condition()


def on_lifecycle(conn, domain, event, detail, opaque):
    if domain.name() != name:
        return
    with arrived:
        seen.append((event, detail))
        print("event", event, detail, flush=True)
        arrived.notify_all()


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


def expect(event, detail):
    """Waits until (event, detail) came, after the ones expected before it."""
    deadline = time.time() + 30
    with arrived:
        while (event, detail) not in seen:
            if not arrived.wait(deadline - time.time()):
                sys.exit(f"no event {(event, detail)}; saw {seen}")
        del seen[: seen.index((event, detail)) + 1]


libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=loop, daemon=True).start()
# Errors are raised; the library need not print them too.
libvirt.registerErrorHandler(lambda context, error: None, None)
conn = libvirt.open(uri)
conn.setKeepAlive(5, 3)
callback = conn.domainEventRegisterAny(
    None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle, None
)

domain = conn.defineXML(xml)
expect(libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)
domain.create()
expect(libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
assert domain.isActive() and domain.ID() > 0
assert domain.state() == [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
domain.suspend()
expect(libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
assert domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
domain.resume()
expect(libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
assert domain.info()[0] == libvirt.VIR_DOMAIN_RUNNING
assert [d.name() for d in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)].count(name) == 1
assert conn.lookupByUUIDString(domain.UUIDString()).name() == name
assert conn.lookupByID(domain.ID()).name() == name
assert "<name>%s</name>" % name in domain.XMLDesc(0)
assert domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE
try:
    domain.create()
    sys.exit("a running domain was started again")
except libvirt.libvirtError as error:
    assert error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID, error.get_error_code()
domain.destroy()
expect(libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
domain.undefine()
expect(libvirt.VIR_DOMAIN_EVENT_UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
try:
    conn.lookupByName(name)
    sys.exit("an undefined domain was found")
except libvirt.libvirtError as error:
    assert error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN, error.get_error_code()
    assert error.get_error_domain() == libvirt.VIR_FROM_QEMU, error.get_error_domain()
conn.domainEventDeregisterAny(callback)
conn.close()
print("passed")
