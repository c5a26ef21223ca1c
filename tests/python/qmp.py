"""Talks to a QEMU's monitor without the daemon: qmp.py SOCKET device_del ID, until it is gone."""

import json
import socket
import sys

path, command, name = sys.argv[1:]
monitor = socket.socket(socket.AF_UNIX)
monitor.connect(path)
stream = monitor.makefile("rw")
json.loads(stream.readline())
for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": {"id": name}}):
    stream.write(json.dumps(request) + "\n")
    stream.flush()
for line in stream:
    message = json.loads(line)
    if "error" in message:
        sys.exit(message["error"]["desc"])
    if message.get("event") == "DEVICE_DELETED" and message["data"].get("device") == name:
        break
