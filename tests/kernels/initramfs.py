"""The first file system of a guest: modules for the disk, and a step onto it.

The disk's modules are loaded in the order of their dependencies; what the kernel has
built in has no file and is left out.
"""

import lzma
import re
import subprocess

WANTED = ("virtio_pci", "virtio_blk", "ext4", "virtio_rng", "ipv6", "unix")
DIRECTORY, PROGRAM, FILE = 0o040755, 0o100755, 0o100644

INIT = r"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in MODULES; do /bin/busybox insmod /modules/$module.ko; done
waits=0
until [ -b /dev/vda ] || [ $waits -gt 600 ]; do
    waits=$((waits + 1)); /bin/busybox sleep 0.1
done
/bin/busybox mount -t ext4 -o noatime /dev/vda /disk || /bin/busybox poweroff -f
/bin/busybox mount -o move /dev /disk/dev
exec /bin/busybox switch_root /disk SECOND
"""


def make(kernel, busybox, second):
    """The bytes of a cpio archive; `second` is what the disk begins with."""
    modules = in_order(kernel, WANTED)
    names = " ".join(name for name, _ in modules)
    script = INIT.replace("MODULES", names).replace("SECOND", second)
    entries = [(name, DIRECTORY, b"") for name in ("bin", "dev", "disk", "modules")]
    entries += [("bin/busybox", PROGRAM, busybox), ("init", PROGRAM, script.encode())]
    entries += [(f"modules/{name}.ko", FILE, data) for name, data in modules]
    return cpio(entries)


def in_order(kernel, wanted):
    """[(name, contents)] of these modules and of all that they depend on."""
    files = {underscored(path.name.split(".ko")[0]): path
             for path in kernel.rglob("*.ko*")}
    found = {}

    def add(name):
        if name in found or name not in files:
            return
        data = decompressed(files[name])
        for other in dependencies(data):
            add(other)
        found[name] = data

    for name in wanted:
        add(name)
    return list(found.items())


def dependencies(module):
    listed = re.search(rb"\0depends=([^\0]*)\0", module)
    return list(map(underscored, listed[1].decode().split(","))) if listed else []


def underscored(name):
    """A module's name: its file may have dashes."""
    return name.replace("-", "_")


def decompressed(path):
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return data


def cpio(entries):
    """An archive in the one format that the kernel reads ("newc")."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        word = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(word), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + word
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)
