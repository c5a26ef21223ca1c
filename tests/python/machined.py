"""A stand-in for systemd-machined, and for systemd as far as it is asked, on the message bus that
listens at argv[1]: makes scopes for machines and ends them as systemd does, and tells on stdout of each
call with its arguments, as JSON. The file at argv[2] says how it is to fail: "refuse" or "hang" for
new machines, "nowhere" to leave their leaders where they are, "old" for one of before systemd 211,
"hang-end" for the end of machines."""

import contextlib
import json
import os
import signal
import sys
import time

import dbus
import dbus.bus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection("unix:path=" + sys.argv[1])
MANAGER = "org.freedesktop.machine1.Manager"
UNITS = "org.freedesktop.systemd1.Manager"
# What systemd uses itself; it leaves the others alone.
CONTROLLERS = {"cpu", "cpuacct", "memory", "devices", "blkio", "pids"}
WEIGHTS = {"CPUShares": "cpu.shares", "BlockIOWeight": "blkio.bfq.weight"}


def tell(member, *args):
    print(json.dumps([member, *args]), flush=True)


def fault():
    if len(sys.argv) > 2 and os.path.exists(sys.argv[2]):
        return open(sys.argv[2]).read().strip()


def refused(name, text):
    return dbus.DBusException(text, name=name)


def groups():
    for line in open("/proc/self/mounts"):
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup2" or kind == "cgroup" and CONTROLLERS & set(options.split(",")):
            yield mount


def below(folder):
    return [path for path, _, _ in os.walk(folder, topdown=False)]


def processes(folder):
    for path in below(folder):
        try:
            yield from map(int, open(path + "/cgroup.procs"))
        except OSError:
            # Its threads are those of processes above.
            pass


def escaped(name):
    return "".join(c if c.isalnum() or c in "_.:" else "\\x%02x" % ord(c) for c in name)


def place_of(slice):
    """Each dash in the name of a slice is a step down."""
    parts = slice.removesuffix(".slice").split("-")
    return "".join("/%s.slice" % "-".join(parts[:n]) for n in range(1, len(parts) + 1))


class Machine(dbus.service.Object):
    """A machine and what it tells of itself."""

    def __init__(self, name, leader, slice):
        quoted = "".join(c if c.isalnum() else "_%02x" % ord(c) for c in name)
        self.path = "/org/freedesktop/machine1/machine/" + quoted
        super().__init__(bus, self.path)
        self.name, self.leader = name, leader
        self.unit = "machine-" + escaped(name) + ".scope"
        self.folder = place_of(slice) + "/" + self.unit

    def folders(self):
        return [mount + self.folder for mount in groups()]

    def begin(self):
        for folder in self.folders():
            # What a test that failed has left.
            for path in below(folder):
                os.rmdir(path)
            os.makedirs(folder)
            open(folder + "/cgroup.procs", "w").write(str(self.leader))

    def is_empty(self):
        return not any(next(processes(folder), None) for folder in self.folders())

    def kill(self):
        for folder in self.folders():
            for process in processes(folder):
                os.kill(process, signal.SIGKILL)

    def end(self):
        for path in [path for folder in self.folders() for path in below(folder)]:
            # The daemon takes away its groups in there at the same time.
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)
        self.remove_from_connection()

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        tell("Get", str(interface), str(name))
        return {"Unit": self.unit, "Name": self.name}[name]


class Machined(dbus.service.Object):
    made = {}

    def create(self, member, args):
        name, uuid, service, kind, leader, root = args[:6]
        network = [int(n) for n in args[6]] if len(args) == 8 else None
        scope = [[str(key), plain(value)] for key, value in args[-1]]
        name, leader, wrong = str(name), int(leader), fault()
        tell(member, name, bytes(uuid).hex(), str(service), str(kind), leader, str(root), network,
             scope)
        if wrong == "hang":
            time.sleep(10000)
        if wrong == "refuse":
            raise refused("org.freedesktop.DBus.Error.AccessDenied", "not today")
        if name in self.made:
            raise refused("org.freedesktop.machine1.MachineExists", f"Machine '{name}' exists.")
        machine = Machine(name, leader, dict(scope)["Slice"])
        if wrong != "nowhere":
            machine.begin()
        self.made[name] = machine
        return dbus.ObjectPath(machine.path)

    @dbus.service.method(MANAGER, in_signature="sayssusa(sv)", out_signature="o")
    def CreateMachine(self, name, uuid, service, kind, leader, root, scope):
        return self.create("CreateMachine", (name, uuid, service, kind, leader, root, scope))

    @dbus.service.method(MANAGER, in_signature="sayssusaia(sv)", out_signature="o")
    def CreateMachineWithNetwork(self, name, uuid, service, kind, leader, root, network, scope):
        if fault() == "old":
            raise refused("org.freedesktop.DBus.Error.UnknownMethod", "Unknown method")
        args = (name, uuid, service, kind, leader, root, network, scope)
        return self.create("CreateMachineWithNetwork", args)

    @dbus.service.method(MANAGER, in_signature="s", out_signature="")
    def TerminateMachine(self, name):
        tell("TerminateMachine", str(name))
        if fault() == "hang-end":
            time.sleep(10000)
        if name not in self.made:
            raise refused("org.freedesktop.machine1.NoSuchMachine", f"No machine '{name}' known")
        self.made[name].kill()

    @dbus.service.method(MANAGER, in_signature="u", out_signature="o")
    def GetMachineByPID(self, pid):
        tell("GetMachineByPID", int(pid))
        for machine in self.made.values():
            if machine.leader == pid:
                return dbus.ObjectPath(machine.path)
        raise refused("org.freedesktop.machine1.NoMachineForPID", "none")

    def look(self):
        """A scope ends when nobody is in it any more."""
        for name, machine in list(self.made.items()):
            if machine.is_empty():
                machine.end()
                del self.made[name]
                tell("ended", name)
        return True


class Systemd(dbus.service.Object):
    @dbus.service.method(UNITS, in_signature="sba(sv)", out_signature="")
    def SetUnitProperties(self, unit, runtime, properties):
        settings = [[str(key), plain(value)] for key, value in properties]
        tell("SetUnitProperties", str(unit), bool(runtime), settings)
        for key, value in settings:
            for machine in machined.made.values():
                for folder in machine.folders() if machine.unit == unit else []:
                    if os.path.exists(folder + "/" + WEIGHTS[key]):
                        open(folder + "/" + WEIGHTS[key], "w").write(str(value))


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, dbus.Boolean)):
        return bool(value)
    return int(value) if isinstance(value, int) else str(value)


systemd = Systemd(bus, "/org/freedesktop/systemd1")
machined = Machined(bus, "/org/freedesktop/machine1")
names = [dbus.service.BusName(name, bus)
         for name in ("org.freedesktop.machine1", "org.freedesktop.systemd1")]
GLib.timeout_add(20, machined.look)
print(json.dumps(["ready"]), flush=True)
GLib.MainLoop().run()
