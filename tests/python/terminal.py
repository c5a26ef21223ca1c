"""Our command at a terminal: PROGRAM URI NAME FOLDER.

NAME is a running guest that writes dots on its console, and a line when it boots. FOLDER becomes the
home folder. Prints "passed".
"""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

program, uri, name, folder = sys.argv[1:5]
environment = {**os.environ, "TERM": "xterm", "HOME": folder, "XDG_CACHE_HOME": folder}


class Session:
    """The program on a pseudo terminal of its own."""

    def __init__(self, *words):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(program, [program, "-c", uri, *words], environment)
        self.before = termios.tcgetattr(self.terminal)
        self.heard = b""
        self.seen = 0

    def pump(self, seconds):
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            try:
                self.heard += os.read(self.terminal, 65536)
            except OSError:  # the program ended
                return False
        return True

    def hear(self, pattern):
        """Waits for what comes after all that was waited for before."""
        deadline = time.time() + 20
        while True:
            found = re.search(pattern, self.heard[self.seen:])
            if found:
                self.seen += found.end()
                return
            if time.time() > deadline:
                sys.exit(f"did not hear {pattern!r} in {self.heard[-2000:]!r}")
            if not self.pump(0.1):
                time.sleep(0.05)

    def type(self, text):
        os.write(self.terminal, text)

    def ends(self, code):
        """Waits for the end; the terminal must be what it was."""
        deadline = time.time() + 20
        while True:
            self.pump(0.05)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            if time.time() > deadline:
                sys.exit(f"did not end; heard {self.heard[-2000:]!r}")
        got = os.waitstatus_to_exitcode(status)
        if got != code:
            sys.exit(f"ended with {got}, not {code}; heard {self.heard[-2000:]!r}")
        if termios.tcgetattr(self.terminal)[:4] != self.before[:4]:
            sys.exit("the terminal was not restored")
        os.close(self.terminal)


def virsh(*words):
    subprocess.run(["virsh", "-c", uri, *words], check=True, capture_output=True)


# The guest boots anew under the console; the escape character ends it, the guest goes on.
console = Session("console", name)
console.hear(rb"Escape character is \^\] \(Ctrl \+ \]\)")
console.hear(rb"\.\.")
virsh("reset", name)
console.hear(rb"boot sector up")
console.hear(rb"\.\.")
console.type(b"\x1d")
console.ends(0)

# What was said while nobody listened comes first, by way of the device's log; then it goes on.
console = Session("console", name, "--history")
console.hear(rb"boot sector up")
console.hear(rb"\.\.")
virsh("reset", name)
console.hear(rb"boot sector up")
console.type(b"\x1d")
console.ends(0)

# A console of another name of the same device; another escape character.
console = Session("-e", "^A", "console", name, "--devname", "serial0", "--safe")
console.hear(rb"Escape character is \^A \(Ctrl \+ A\)")
console.hear(rb"\.\.")

# One console at a time, unless by force, which ends the first.
second = Session("console", name)
second.hear(rb"error: operation failed: Active console session exists for this domain")
second.ends(1)
second = Session("console", name, "--force")
second.hear(rb"\.\.")
deadline = time.time() + 20
while os.waitpid(console.pid, os.WNOHANG)[0] == 0:
    console.pump(0.05)
    if time.time() > deadline:
        sys.exit("the first console was not ended by force")
if termios.tcgetattr(console.terminal)[:4] != console.before[:4]:
    sys.exit("the terminal was not restored when the console was taken away")

# A signal ends it, with the terminal put right.
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    os.kill(second.pid, number)
    second.ends(128 + number)
    second = Session("console", name, "--force")
    second.hear(rb"\.\.")
second.type(b"\x1d")
second.ends(0)

# An interruption ends the wait for events, not the shell.
shell = Session()
shell.hear(rb"virsh # ")
shell.type(f"event --all --loop --domain {name}\r".encode())
shell.hear(rb"event --all")
# It may not listen yet: something happens until it hears of it.
deadline = time.time() + 20
while b"Resumed Unpaused" not in shell.heard and time.time() < deadline:
    virsh("suspend", name)
    virsh("resume", name)
    shell.pump(0.2)
shell.hear(rb"Resumed Unpaused")
shell.type(b"\x03")
shell.hear(rb"event loop interrupted\r\nevents received: [1-9]")
shell.hear(rb"virsh # ")

# Verbs, options and names are completed; a single match is followed by a blank.
shell.type(b"domstate --reas\t" + name[:-1].encode() + b"\t\r")
shell.hear(rb"running \(")
shell.hear(rb"virsh # ")
shell.type(b"dominf\t" + name.encode() + b"\r")
shell.hear(rb"Persistent: +yes")
shell.hear(rb"virsh # ")
shell.type(f"console {name}\r".encode())
shell.hear(rb"Escape character is")
shell.hear(rb"\.\.")
shell.type(b"\x1d")
shell.hear(rb"virsh # ")
# The line before is recalled, and the shell reads again as a shell does.
shell.type(b"\x1b[A\x1b[A\r")
shell.hear(rb"Persistent: +yes")
shell.type(b"quit\r")
shell.ends(0)
with open(os.path.join(folder, "libvirt/virsh/history")) as file:
    lines = file.read().splitlines()
if lines[1].split() != ["domstate", "--reason", name] or lines[-1] != "quit":
    sys.exit(f"another history was expected: {lines}")

# The guest goes: the console ends by itself.
console = Session("console", name)
console.hear(rb"\.\.")
virsh("destroy", name)
console.ends(0)

# And without a guest there is none.
console = Session("console", name)
console.hear(rb"error: The domain is not running")
console.ends(1)
print("passed")
