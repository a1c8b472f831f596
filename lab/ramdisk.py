# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Block devices that all hosts of a lab see under one path, as those of a Fibre Channel SAN.

They are the kernel's zram devices, which every namespace has in /dev. A loop device would be refused
by validation, rightly: the kernel tells that it is a file of one host.
"""

import os
import re

from lab import proc
from lab.proc import LabError

CONTROL = "/sys/class/zram-control"


def available():
    return os.path.exists(CONTROL)


def _folder(lab):
    return os.path.join(lab.var_dir, "ramdisks")


def add(lab, size):
    """A new device with random content, so that two hosts can tell that it is the same; its path."""
    if not available():
        raise LabError("this kernel has no zram, of which the lab makes block devices")
    os.makedirs(_folder(lab), exist_ok=True)
    with open(f"{CONTROL}/hot_add", encoding="ascii") as f:  # reading it makes one
        name = "zram" + f.read().strip()
    open(os.path.join(_folder(lab), name), "w").close()  # for remove_all()
    with open(f"/sys/block/{name}/disksize", "w", encoding="ascii") as f:
        f.write(str(size))
    path = f"/dev/{name}"
    with open(path, "wb", buffering=0) as f:
        for _ in range(0, size, 1 << 20):
            f.write(os.urandom(1 << 20))
        os.fsync(f.fileno())
    return path


def remove_all(lab):
    """Takes the lab's devices away, after its processes."""
    try:
        names = os.listdir(_folder(lab))
    except FileNotFoundError:
        return
    for name in names:
        number = re.fullmatch(r"zram(\d+)", name)[1]

        def removed():
            try:
                with open(f"{CONTROL}/hot_remove", "w", encoding="ascii") as f:
                    f.write(number)
            except OSError:  # somebody looks at it: EBUSY
                return not os.path.exists(f"/sys/block/{name}")
            return True
        proc.wait_until(f"/dev/{name} to be free", removed, 10)
        os.unlink(os.path.join(_folder(lab), name))
