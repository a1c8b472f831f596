# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What the tests of lock managers share."""

import contextlib

from lab import lpmd, ramdisk
from support import api
from validating import ANOTHER_MAC, ANOTHER_UUID, definition


def add_locked(lab, partition, space, lease, path):
    """Starts a partition of alpha's with a disk more, which is locked by its path, and with a lease
    for the one on iSCSI, which a lock manager does not see."""
    device = ramdisk.add(lab.lab, 4 << 20)
    lab.virsh("alpha", "define", definition(lab, partition, (
        "</devices>",
        "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>"
        f"<source dev='{device}'/><target dev='vdz' bus='virtio'/></disk>"
        f"<lease><lockspace>{space}</lockspace><key>{lease}</key><target path='{path}'/></lease>"
        "</devices>")))
    lab.virsh("alpha", "start", partition)


def assert_refused(lab, where, partition, change, reason):
    """libvirt does not start another partition with the same disks and leases, but for a change of
    its definition, there."""
    home = next(host for host, _ in lab.places(partition))
    path = definition(lab, partition, ANOTHER_UUID, ANOTHER_MAC,
                      (f"<name>{partition}</name>", "<name>rival</name>"), change, where=home)
    lab.virsh(where, "define", path)
    try:
        done = lab.virsh(where, "start", "rival", check=False)
        assert done.returncode != 0 and reason in done.stderr, done
    finally:
        lab.virsh(where, "undefine", "rival")


@contextlib.contextmanager
def silent(lab, where):
    """Without lpmd on a host, so that the other one waits in the hand-over."""
    lpmd.stop(lab.lab, lab.state, where, kill=True)
    try:
        yield
    finally:
        lpmd.start(lab.lab, lab.state, where)
        lpmd.wait_ready(lab.lab, lab.state, where)


def told(lab, where, identity, text):
    """Whether the log has an entry of the migration with this in it."""
    entries = api(lab, where, f"/v1/log?migration={identity}")[1]["entries"]
    return any(text in entry["text"] for entry in entries)
