"""Drives `virsh console` on a pseudo terminal: PROGRAM URI NAME.

Types a command into the guest's shell, waits for its output and leaves with ctrl-].
"""
import os
import pty
import select
import sys
import time

program, uri, name = sys.argv[1:4]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(program, [program, "-c", uri, "console", name, "--force"])

heard = b""


def listen(until, seconds):
    global heard
    deadline = time.time() + seconds
    while until not in heard:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.time()))
        if not ready:
            return False
        try:
            heard += os.read(terminal, 65536)
        except OSError:  # the program ended
            return until in heard
    return True


if not listen(b"Escape character is ^]", 20):
    sys.exit(f"no greeting; heard {heard!r}")
for attempt in range(60):
    os.write(terminal, b"echo sum-$((40 + 2))\r")
    if listen(b"sum-42", 1):
        break
else:
    sys.exit(f"the shell did not answer; heard {heard[-2000:]!r}")
os.write(terminal, b"\x1d")
deadline = time.time() + 20
while True:
    listen(b"\0never\0", 0.1)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        break
    if time.time() > deadline:
        sys.exit("ctrl-] did not end it")
if os.waitstatus_to_exitcode(status) != 0:
    sys.exit(f"ended with {status}; heard {heard[-500:]!r}")
print("passed")
