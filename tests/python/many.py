"""Many threads on one connection ask at once: URI PREFIX THREADS CALLS.

They look up the domains whose name starts with PREFIX; each answer must be its own.
"""
import sys
import threading

import libvirt

uri, prefix, threads, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
conn = libvirt.open(uri)
domains = {d.name(): d.UUIDString() for d in conn.listAllDomains()}
names = sorted(name for name in domains if name.startswith(prefix))
wrong = []


def ask(start):
    try:
        for i in range(calls):
            name = names[(start + i) % len(names)]
            if conn.lookupByName(name).UUIDString() != domains[name]:
                wrong.append(name)
    except Exception as error:  # told by the main thread
        wrong.append(repr(error))


workers = [threading.Thread(target=ask, args=(n,)) for n in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
if wrong:
    sys.exit(f"wrong answers: {wrong[:5]}")
print("passed")
