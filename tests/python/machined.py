"""A stand-in for systemd-machined on the message bus that listens at argv[1]: tells on stdout of each
call with its arguments, as JSON, and makes scopes for machines as systemd does."""

import json
import os
import sys

import dbus
import dbus.bus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection("unix:path=" + sys.argv[1])
MANAGER = "org.freedesktop.machine1.Manager"
SCOPE = "/machine.slice/machine-"


def tell(member, *args):
    print(json.dumps([member, *args]), flush=True)


def groups():
    for line in open("/proc/self/mounts"):
        fields = line.split()
        if fields[2] in ("cgroup", "cgroup2") and "name=systemd" not in fields[3]:
            yield fields[1]


def escaped(name):
    return "".join(c if c.isalnum() or c in "_." else "\\x%02x" % ord(c) for c in name)


class Machine(dbus.service.Object):
    """What a machine tells of itself."""

    def __init__(self, path, unit):
        super().__init__(bus, path)
        self.unit = unit

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        tell("Get", str(interface), str(name))
        return self.unit


class Machined(dbus.service.Object):
    made = {}

    def make(self, name, pid):
        scope = SCOPE + escaped(name) + ".scope"
        for mount in groups():
            # What a test that failed has left.
            for folder, _, _ in os.walk(mount + scope, topdown=False):
                os.rmdir(folder)
            os.makedirs(mount + scope)
            if os.path.exists(mount + scope + "/cpuset.cpus"):
                for folder in ("/machine.slice", scope):
                    for file in ("cpuset.cpus", "cpuset.mems"):
                        whole = open(mount + "/" + file).read()
                        open(mount + folder + "/" + file, "w").write(whole)
            open(mount + scope + "/cgroup.procs", "w").write(str(pid))
        path = "/org/freedesktop/machine1/machine/" + "".join(
            c if c.isalnum() else "_%02x" % ord(c) for c in name
        )
        self.made[name] = (pid, Machine(path, os.path.basename(scope)), path)
        return path

    def create(self, member, args):
        name, uuid, service, kind, leader, root = args[:6]
        network = [int(n) for n in args[6]] if len(args) == 8 else None
        scope = [[str(key), plain(value)] for key, value in args[-1]]
        tell(member, str(name), bytes(uuid).hex(), str(service), str(kind), int(leader), str(root),
             network, scope)
        return dbus.ObjectPath(self.make(str(name), int(leader)))

    @dbus.service.method(MANAGER, in_signature="sayssusa(sv)", out_signature="o")
    def CreateMachine(self, name, uuid, service, kind, leader, root, scope):
        return self.create("CreateMachine", (name, uuid, service, kind, leader, root, scope))

    @dbus.service.method(MANAGER, in_signature="sayssusaia(sv)", out_signature="o")
    def CreateMachineWithNetwork(self, name, uuid, service, kind, leader, root, network, scope):
        args = (name, uuid, service, kind, leader, root, network, scope)
        return self.create("CreateMachineWithNetwork", args)

    @dbus.service.method(MANAGER, in_signature="s", out_signature="")
    def TerminateMachine(self, name):
        tell("TerminateMachine", str(name))

    @dbus.service.method(MANAGER, in_signature="u", out_signature="o")
    def GetMachineByPID(self, pid):
        tell("GetMachineByPID", int(pid))
        for leader, _, path in self.made.values():
            if leader == pid:
                return dbus.ObjectPath(path)
        raise dbus.DBusException("none", name="org.freedesktop.machine1.NoMachineForPID")


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, dbus.Boolean)):
        return bool(value)
    return int(value) if isinstance(value, int) else str(value)


names = [dbus.service.BusName(name, bus)
         for name in ("org.freedesktop.machine1", "org.freedesktop.systemd1")]
machined = Machined(bus, "/org/freedesktop/machine1")
print(json.dumps(["ready"]), flush=True)
GLib.MainLoop().run()
