# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""sanlock on both hosts: its leases go where the partition goes and stay where it stays, and its
daemons take no notice of how the partition has left."""

import contextlib
import os
import subprocess

import pytest

import conftest
from lab import guest, host, proc, ramdisk
from lab.scenario import Scenario
from locking import add_locked, assert_refused, silent, told
from support import (SLOW, assert_clean, await_copying, await_end, await_state, begin, clients,
                     ended, error_of, home, kill_mover, move, other, qemu_pid)

pytestmark = pytest.mark.skipif(not ramdisk.available(),
                                reason="no zram, of which the lab makes a disk that can be leased")

SPACE, LEASE = host.LOCKSPACE, "tiny"
NOTHING = {"alpha": [], "beta": []}


def lease_path(lab):
    return os.path.join(host.locks_dir(lab.lab), LEASE)


def sanlock(lab, where, *argv):
    return proc.run(lab.enter(where, "sanlock", "client", *argv))


@pytest.fixture(scope="module")
def lab():
    with Scenario(f"sanl{conftest.RUN}", locks="sanlock") as scenario:
        yield scenario


@pytest.fixture(scope="module")
def tiny(lab):
    """With a disk by its path, for which libvirt makes a lease by itself, and a lease for the one
    on iSCSI, for which it makes none."""
    made = lab.add_guest("tiny", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    with open(lease_path(lab), "wb") as f:
        f.truncate(host.LEASES_SIZE)
    sanlock(lab, "alpha", "init", "-r", f"{SPACE}:{LEASE}:{lease_path(lab)}:0")
    add_locked(lab, "tiny", SPACE, LEASE, lease_path(lab))
    guest.wait_booted(made)
    return "tiny"


def held(lab):
    """{host: [(name of a lease, pid it is held for)]}, as its sanlock daemon tells; that is in the
    lockspace, and in good order."""
    found = {}
    for where in lab.state["hosts"]:
        lines = [line.split() for line in sanlock(lab, where, "status").splitlines()]
        spaces = [line for line in lines if line[:1] == ["s"]]
        assert len(spaces) == 1 and len(spaces[0]) == 2, spaces  # a third word tells of a failure
        assert spaces[0][1].startswith(SPACE + ":")
        found[where] = sorted((line[1].split(":")[1], int(line[3])) for line in lines
                              if line[:1] == ["r"])
    return found


def holds_all(lab, where):
    """Only that host has leases, and both of them for its QEMU: the one that the description names,
    and the disk's by a hash of its path."""
    now = held(lab)
    return ([pid for _, pid in now[where]] == 2 * [qemu_pid(lab, where, "tiny")]
            and LEASE in dict(now[where]) and now[other(where)] == [])


@contextlib.contextmanager
def taker(lab, where):
    """Another process of that host has the lease until it is ended."""
    process = subprocess.Popen(
        lab.enter(where, "sanlock", "client", "command", "-r",
                  f"{SPACE}:{LEASE}:{lease_path(lab)}:0", "-c", "/bin/sleep", "infinity"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        proc.wait_until("somebody else to have the lease", lambda: process.poll() is None and (
            LEASE, process.pid) in held(lab)[where], 10, 0.05)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [(), ("--post-copy", "now", "--bandwidth", "32M")],
                         ids=["pre-copy", "post-copy"])
def test_leases_go_along(lab, tiny, options):
    source = home(lab, tiny)
    with clients(lab, tiny):
        assert holds_all(lab, source), held(lab)
        move(lab, tiny, *options)
        assert holds_all(lab, other(source)), held(lab)
    assert_clean(lab)


def test_another_partition_is_refused(lab, tiny):
    """By its lease alone: QEMU's own lock of the disk would stop it too where it is one kernel's."""
    assert_refused(lab, other(home(lab, tiny)), tiny, ("<disk type='block'.*?</disk>", ""),
                   "Failed to acquire lock: Lease is held by another host")
    assert holds_all(lab, home(lab, tiny)), held(lab)


def test_failure_while_copying(lab, tiny):
    source, target, identity = begin(lab, tiny, *SLOW)
    await_copying(lab, source, identity)
    assert holds_all(lab, source), held(lab)
    kill_mover(lab, target, "target")
    assert await_end(lab, source, identity)["state"] == "failed"
    assert home(lab, tiny) == source and holds_all(lab, source), held(lab)
    assert_clean(lab)


@contextlib.contextmanager
def suspended(lab, partition):
    """A migration that waits in the hand-over, for lpmd of the target, which comes back at the end:
    (source, target, id)."""
    source, target, identity = begin(lab, partition, "--bandwidth", "32M")
    await_copying(lab, source, identity)
    with silent(lab, target):
        await_state(lab, source, identity, ("committing",))
        proc.wait_until("the leases to be given up", lambda: held(lab) == NOTHING, 10, 0.02)
        yield source, target, identity


def await_told(lab, where, identity):
    proc.wait_until("lpmd to say what it waits for", lambda: told(
        lab, where, identity, "Lease is held by another host"), 30, 0.1)
    assert (where, "paused") in lab.places("tiny")


def test_taken_before_going_back(lab, tiny):
    """A suspended partition holds no leases. Going back it takes them again; while somebody else
    has one it stays suspended, and that is said."""
    with suspended(lab, tiny) as (source, target, identity):
        with taker(lab, target):
            assert lab.lpm(source, "stop", tiny, "--no-wait")[0] == 0
            await_told(lab, source, identity)
        proc.wait_until("the partition to run", lambda: (source, "running") in lab.places(tiny),
                        15, 0.1)
        assert holds_all(lab, source), held(lab)
    error_of(await_end(lab, source, identity), "LPM-5001")
    assert home(lab, tiny) == source and holds_all(lab, source), held(lab)
    assert_clean(lab)


def test_taken_before_going_on(lab, tiny):
    """The source is ended and the target may not run: nothing is given up, and it goes on as soon
    as it can."""
    process = qemu_pid(lab, home(lab, tiny), tiny)
    with contextlib.ExitStack() as somebody:
        with suspended(lab, tiny) as (source, target, identity):
            somebody.enter_context(taker(lab, source))
        await_told(lab, target, identity)
        await_state(lab, source, identity, ("in-doubt",))
        assert ended(process)
    assert await_end(lab, source, identity)["state"] == "done"
    assert home(lab, tiny) == target and holds_all(lab, target), held(lab)
    assert_clean(lab)
