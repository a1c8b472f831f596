# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The tiny guest's kernel and initramfs, made of Debian packages that are never installed.

The kernel is Debian's cloud kernel, downloaded and unpacked into the cache; the initramfs is written
here: busybox, the few modules a virtio guest needs, /init, and the workload when it has been built.
Everything is keyed by versions and content, so a second use takes no time and a host that still runs
a guest with an older image keeps its files.
"""

import glob
import hashlib
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile

from lab.proc import LabError, run
from lab.state import CACHE

META = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_scsi", "sd_mod",
           "virtio_balloon", "virtio_rng", "af_packet")


def _say(text):
    print(f"lab: {text}", file=sys.stderr)


def _kernel_package():
    """Name of the real, versioned package behind the meta package."""
    for attempt in (1, 2):
        out = run(["apt-cache", "depends", META], check=False).stdout
        match = re.search(r"Depends: (linux-image-\S+)", out)
        if match:
            return match[1]
        if attempt == 1:
            run(["apt-get", "update", "-q"], timeout=300)
    raise LabError(f"apt knows no package {META}: check the sources of apt")


def kernel_dir():
    """Folder of the unpacked kernel (vmlinuz, modules/), fetched the first time."""
    ready = sorted(glob.glob(f"{CACHE}/kernel-*/vmlinuz"))
    if ready:
        return os.path.dirname(ready[-1])
    package = _kernel_package()
    os.makedirs(CACHE, exist_ok=True)
    work = tempfile.mkdtemp(prefix="fetch-", dir=CACHE)
    try:
        # apt drops its rights for the download and then needs to reach the folder.
        os.chmod(work, 0o777)
        _say(f"downloading {package} (unpacked only, not installed)")
        fetch = f"cd {work} && apt-get download {package}"
        if run(["sh", "-c", fetch], check=False, timeout=600).returncode != 0:
            run(["apt-get", "update", "-q"], timeout=300)
            run(["sh", "-c", fetch], timeout=600)
        deb = glob.glob(f"{work}/*.deb")[0]
        version = re.sub(r"[^A-Za-z0-9.+~-]", "_", run(["dpkg-deb", "-f", deb, "Version"]).strip())
        run(["dpkg", "-x", deb, f"{work}/root"], timeout=300)
        made = f"{work}/made"
        os.mkdir(made)
        os.rename(glob.glob(f"{work}/root/boot/vmlinuz-*")[0], f"{made}/vmlinuz")
        modules = (glob.glob(f"{work}/root/lib/modules/*/kernel") +
                   glob.glob(f"{work}/root/usr/lib/modules/*/kernel"))[0]
        os.rename(modules, f"{made}/modules")
        final = f"{CACHE}/kernel-{version}"
        try:
            os.rename(made, final)
        except OSError:
            pass  # another lab has made the same one meanwhile
        return final
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _module_bytes(path):
    with open(path, "rb") as f:
        data = f.read()
    return lzma.decompress(data) if path.endswith(".xz") else data


def _modules(kernel, more=()):
    """[(name, bytes)] in an order in which insmod succeeds; what is built in is left out.

    The package brings no modules.dep, but each module names what it needs in its .modinfo section.
    """
    paths = {}
    for path in glob.glob(f"{kernel}/modules/**/*.ko*", recursive=True):
        paths[os.path.basename(path).split(".")[0].replace("-", "_")] = path
    order, done = [], set()

    def add(name):
        if name in done or name not in paths:
            return
        done.add(name)
        data = _module_bytes(paths[name])
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in (depends[1].decode().split(",") if depends else []):
            if other:
                add(other.replace("-", "_"))
        order.append((name, data))
    for wanted in MODULES + tuple(more):
        add(wanted)
    return order


class Cpio:
    """Writer of the newc format, which is what the kernel unpacks as initramfs."""

    def __init__(self):
        self.parts = []
        self.inode = 0

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0,
                  device[0], device[1], len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % f for f in fields)
        self.parts += [header, raw, b"\0" * (-(len(header) + len(raw)) % 4),
                       data, b"\0" * (-len(data) % 4)]

    def folder(self, name):
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o755):
        self._entry(name, stat.S_IFREG | mode, data)

    def node(self, name, major, minor):
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0)
        return b"".join(self.parts)


def _read(path):
    with open(path, "rb") as f:
        return f.read()


def _busybox():
    path = shutil.which("busybox")
    if not path:
        raise LabError("busybox is missing: install the package busybox-static")
    return _read(path)


def workload_paths(lab):
    """Programs of the workload that the build has made, by their name in the guest."""
    path = os.path.join(lab.build, "lab", "ledger", "ledgerd")
    return {"ledgerd": path} if os.path.exists(path) else {}


def _initramfs(kernel, programs):
    return boot_image(kernel, _read(os.path.join(os.path.dirname(__file__), "guest-init")),
                      programs=programs)


def boot_image(kernel, init, more_modules=(), programs=None):
    """Bytes of an initramfs: busybox, modules in lib/modules in the order of lib/modules/order, `init`,
    and programs (path by name) in bin."""
    cpio = Cpio()
    for name in ("bin", "dev", "proc", "sys", "tmp", "run", "lib", "lib/modules", "mnt"):
        cpio.folder(name)
    cpio.node("dev/console", 5, 1)
    cpio.file("bin/busybox", _busybox())
    cpio.file("init", init)
    modules = _modules(kernel, more_modules)
    for name, data in modules:
        cpio.file(f"lib/modules/{name}.ko", data, 0o644)
    cpio.file("lib/modules/order", "".join(f"{n}\n" for n, _ in modules).encode(), 0o644)
    for name, path in (programs or {}).items():
        cpio.file(f"bin/{name}", _read(path))
    return cpio.finish()


def _source_stamp(kernel, programs):
    """Names everything the image is made of, cheaply: sizes and times, not contents."""
    here = os.path.dirname(__file__)
    inputs = [shutil.which("busybox") or "", f"{here}/guest-init", f"{here}/image.py"]
    inputs += list(programs.values())
    text = kernel + "".join(f"|{p}:{os.stat(p).st_mtime_ns}:{os.stat(p).st_size}"
                            for p in inputs if p)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tiny(lab):
    """(kernel, initrd): paths that are the same on every host of the lab."""
    kernel = kernel_dir()
    programs = workload_paths(lab)
    initrd = f"{CACHE}/tiny-{_source_stamp(kernel, programs)}.cpio"
    if not os.path.exists(initrd):
        data = _initramfs(kernel, programs)
        temporary = f"{initrd}.{os.getpid()}"
        with open(temporary, "wb") as f:
            f.write(data)
        os.rename(temporary, initrd)
    return f"{kernel}/vmlinuz", initrd
