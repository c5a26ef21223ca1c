"""Talks to a Linux guest over a console stream: URI NAME.

Opens the console, types a command and waits for what it prints.
"""
import sys
import threading
import time

import libvirt

uri, name = sys.argv[1:3]
# The library reads the socket of a non-blocking stream in its event loop.
libvirt.virEventRegisterDefaultImpl()


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


threading.Thread(target=loop, daemon=True).start()
conn = libvirt.open(uri)
domain = conn.lookupByName(name)
stream = conn.newStream(libvirt.VIR_STREAM_NONBLOCK)
domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)

heard = b""


def listen(until, seconds):
    """Whether `until` is heard within that time."""
    global heard
    deadline = time.time() + seconds
    while until not in heard:
        if time.time() > deadline:
            return False
        got = stream.recv(65536)
        if got == -2:  # nothing there yet
            time.sleep(0.02)
        elif not got:
            sys.exit(f"the console ended; heard {heard[-2000:]!r}")
        else:
            heard += got
    return True


def say(text):
    rest = text
    while rest:
        sent = stream.send(rest)
        if sent == -2:
            time.sleep(0.02)
        else:
            rest = rest[sent:]


# The shell may not be there yet, or its banner may have gone by: ask until it answers.
for attempt in range(60):
    say(b"echo sum-$((40 + 2))\r")
    if listen(b"sum-42", 1):
        break
else:
    sys.exit(f"the shell did not answer; heard {heard[-2000:]!r}")

# A stretch longer than any single buffer on the way comes whole and in order.
heard = b""
say(b"seq 1 20000 | tr '\\n' ','; echo END-$((1 + 1))\r")
if not listen(b"END-2", 60):
    sys.exit(f"the long line did not end; heard {heard[-2000:]!r}")
text = heard.decode(errors="replace").replace("\r", "").replace("\n", "")
numbers = ",".join(str(n) for n in range(1, 20001)) + ","
assert numbers in text, f"bytes were lost or reordered; {len(text)} characters came"
stream.abort()
print("passed")
