"""A stand-in for systemd-logind on the message bus that listens at argv[1]: tells on stdout of each
delay that is taken and given back, and sends the signals whose names and values it reads."""

import os
import sys

import dbus
import dbus.bus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection("unix:path=" + sys.argv[1])
MANAGER = "org.freedesktop.login1.Manager"


class Logind(dbus.service.Object):
    taken = 0

    @dbus.service.method(MANAGER, in_signature="ssss", out_signature="h")
    def Inhibit(self, what, who, why, mode):
        ours, theirs = os.pipe()
        self.taken += 1
        number = self.taken
        print("taken", number, what, mode, who, why, sep="|", flush=True)

        def given_back(fd, condition):
            print("given back", number, sep="|", flush=True)
            os.close(fd)
            return False

        GLib.io_add_watch(ours, GLib.IO_HUP | GLib.IO_ERR, given_back)
        handed = dbus.types.UnixFd(theirs)
        os.close(theirs)
        return handed

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForShutdown(self, begins):
        pass

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForSleep(self, begins):
        pass


name = dbus.service.BusName("org.freedesktop.login1", bus)
logind = Logind(bus, "/org/freedesktop/login1")


def told(fd, condition):
    lines = os.read(fd, 4096).decode()
    if not lines:
        os._exit(0)
    for line in lines.splitlines():
        signal, value = line.split()
        getattr(logind, signal)(value == "yes")
    return True


GLib.io_add_watch(0, GLib.IO_IN | GLib.IO_HUP, told)
print("ready", flush=True)
GLib.MainLoop().run()
