"""Takes a screenshot of a guest through a download stream: URI NAME."""
import sys

import libvirt

uri, name = sys.argv[1:3]
conn = libvirt.open(uri)
domain = conn.lookupByName(name)
stream = conn.newStream()
kind = domain.screenshot(stream, 0)
image = bytearray()
stream.recvAll(lambda stream, chunk, into: into.extend(chunk), image)
stream.finish()
conn.close()
if kind == "image/png":
    assert image[:8] == b"\x89PNG\r\n\x1a\n", image[:8]
    assert image[-8:-4] == b"IEND", "the image is cut short"
else:
    assert kind == "image/x-portable-pixmap", kind
    magic, width, height, depth = image.split(maxsplit=4)[:4]
    assert magic == b"P6" and depth == b"255", image[:20]
    assert len(image) >= int(width) * int(height) * 3, "the image is cut short"
print("passed")
