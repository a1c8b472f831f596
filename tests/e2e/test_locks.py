# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""virtlockd on both hosts: its locks go where the partition goes, stay where it stays, and one that
somebody else holds keeps the partition from running without harming it."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

import conftest
from lab import guest, host, proc, ramdisk
from lab.scenario import Scenario
from locking import add_locked, assert_refused, silent, told
from support import (SLOW, api, assert_clean, await_copying, await_end, await_state, begin, clients,
                     ended, error_of, home, move, other, qemu_pid)
from validating import codes, validate

pytestmark = pytest.mark.skipif(not ramdisk.available(),
                                reason="no zram, of which the lab makes a disk that can be locked")

LEASE = "tiny"  # a lock that its description names, as is used for disks without a path
NOTHING = {"alpha": [], "beta": []}


@pytest.fixture(scope="module")
def lab():
    with Scenario(f"locks{conftest.RUN}", locks="lockd") as scenario:
        yield scenario


@pytest.fixture(scope="module")
def tiny(lab):
    """With a disk by its path, which virtlockd locks by itself, and a lease for the one on iSCSI,
    which it would not see."""
    made = lab.add_guest("tiny", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    folder, space = os.path.split(host.locks_dir(lab.lab))
    open(os.path.join(folder, space, LEASE), "w").close()
    add_locked(lab, "tiny", space, LEASE, folder)
    guest.wait_booted(made)
    return "tiny"


def held(lab):
    """{host: names of the lock files that its virtlockd holds}"""
    found = {}
    for where, entry in lab.state["hosts"].items():
        folder, names = f"/proc/{entry['virtlockd']['pid']}", []
        for fd in os.listdir(folder + "/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                path = os.readlink(f"{folder}/fd/{fd}")
                with open(f"{folder}/fdinfo/{fd}", encoding="ascii") as f:
                    if "\nlock:" in f.read() and os.path.dirname(path) == host.locks_dir(lab.lab):
                        names.append(os.path.basename(path))
        found[where] = sorted(names)
    return found


def holds_all(lab, where):
    """Only that host has locks, and both of them: the lease, and the disk's by a hash of its path."""
    now = held(lab)
    return len(now[where]) == 2 and LEASE in now[where] and now[other(where)] == []


class Taker:
    """Waits in the kernel's queue for the lease and has it as soon as nobody else has, until it is
    dropped: what a virtlockd of a third host would be."""
    PROGRAM = ("import fcntl, signal, sys; f = open(sys.argv[1], 'r+b');"
               " fcntl.lockf(f, fcntl.LOCK_EX, 1); print('taken', flush=True); signal.pause()")

    def __init__(self, lab):
        path = os.path.join(host.locks_dir(lab.lab), LEASE)
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, path], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def taken(self):
        return self.process.stdout.readline().strip() == "taken"


@pytest.mark.parametrize("options", [(), ("--post-copy", "now", "--bandwidth", "32M")],
                         ids=["pre-copy", "post-copy"])
def test_locks_go_along(lab, tiny, options):
    assert codes(validate(lab, tiny)) == []
    with clients(lab, tiny):
        for _ in range(2):
            source = home(lab, tiny)
            assert holds_all(lab, source)
            move(lab, tiny, *options)
            assert holds_all(lab, other(source)), held(lab)
    assert_clean(lab)


def test_another_partition_is_refused(lab, tiny):
    """That the locks hold at all, on the host to which it has come."""
    without_disk, reason = ("<disk type='block'.*?</disk>", ""), f"'{LEASE}' is locked"
    assert_refused(lab, "beta", tiny, without_disk, reason)
    move(lab, tiny)
    assert_refused(lab, "alpha", tiny, without_disk, reason)


@pytest.mark.parametrize("name, old, new, errors", [
    ("qemu.conf", 'lock_manager = "lockd"', "", 0),
    ("qemu-lockd.conf", 'file_lockspace_dir = "', 'file_lockspace_dir = "/elsewhere', 1)],
    ids=["none", "elsewhere"])
def test_target_that_does_not_lock_alike(lab, tiny, name, old, new, errors):
    """libvirt would move it all the same, and the locks be gone, or missed when it is to go on."""
    source = home(lab, tiny)
    path = os.path.join(lab.lab.host_dir(other(source)), "etc-libvirt", name)
    with open(path, encoding="ascii") as f:
        text = f.read()
    assert old in text
    with open(path, "w", encoding="ascii") as f:
        f.write(text.replace(old, new))
    try:
        assert codes(validate(lab, tiny)) == ["LPM-6130"]
        report = lab.lpm(source, "validate", tiny, "--to", other(source), "--force")[1]
        assert codes(report) == ["LPM-6130"] and report["errors"] == errors
    finally:
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    assert codes(validate(lab, tiny)) == []


def test_stop_and_failure_while_copying(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        assert holds_all(lab, source)
        assert lab.lpm(source, "stop", tiny)[0] == 0
        assert holds_all(lab, source) and home(lab, tiny) == source
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        os.kill(qemu_pid(lab, target, tiny), signal.SIGKILL)
        assert await_end(lab, source, identity)["state"] == "failed"
        assert holds_all(lab, source) and home(lab, tiny) == source
    assert_clean(lab)


@pytest.mark.parametrize("taken", [False, True], ids=["free", "taken"])
def test_stop_while_suspended(lab, tiny, taken):
    """A suspended partition holds no locks. Going back it takes them again; while somebody else has
    them it stays suspended, and that is said."""
    with clients(lab, tiny), Taker(lab) if taken else contextlib.nullcontext() as taker:
        source, target, identity = begin(lab, tiny, "--bandwidth", "32M")
        await_copying(lab, source, identity)
        with silent(lab, target):
            await_state(lab, source, identity, ("committing",))
            proc.wait_until("the locks to be given up", lambda: held(lab) == NOTHING, 10, 0.02)
            assert lab.lpm(source, "stop", tiny, "--no-wait")[0] == 0
            if taken:
                assert taker.taken()
                proc.wait_until("lpmd to say what it waits for", lambda: told(
                    lab, source, identity, f"'{LEASE}' is locked"), 30, 0.1)
                assert api(lab, source, f"/v1/migrations/{identity}")[1]["state"] == "rolling-back"
                assert (source, "paused") in lab.places(tiny)
                taker.process.kill()
            proc.wait_until("the partition to run", lambda: (source, "running") in lab.places(tiny),
                            30, 0.1)
            assert holds_all(lab, source)
        document = await_end(lab, source, identity)
        assert document["state"] == "stopped"
        error_of(document, "LPM-5001")
        assert home(lab, tiny) == source and holds_all(lab, source)
    assert_clean(lab)


def test_taken_in_the_hand_over(lab, tiny):
    """The source is ended and the target may not run: nothing is given up, and it goes on as soon
    as it can."""
    with clients(lab, tiny), Taker(lab) as taker:
        process = qemu_pid(lab, home(lab, tiny), tiny)
        source, target, identity = begin(lab, tiny)
        assert taker.taken()
        await_state(lab, source, identity, ("in-doubt",))
        assert told(lab, source, identity, f"'{LEASE}' is locked")
        assert ended(process)
        assert (target, "paused") in lab.places(tiny)
        assert held(lab) == NOTHING
        taker.process.kill()
        assert await_end(lab, source, identity)["state"] == "done"
        assert home(lab, tiny) == target and holds_all(lab, target)
    assert_clean(lab)
