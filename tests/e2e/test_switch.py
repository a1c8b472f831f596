# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The switch to post-copy: the source stands, the target has loaded and is about to start. Whoever
dies then, the partition goes on, on the one side or on the other, and nobody loses a write."""

import os
import signal

import pytest

import conftest
from lab import host, proc
from lab.scenario import Scenario
from support import (assert_clean, await_end, begin, clients, home, move, mover_pids, other)

GUEST = {"mem": 160, "append": "ledger.dirty=0"}


@pytest.fixture(scope="module")
def lab(fault_build):
    with Scenario(f"switch{conftest.RUN}", build=fault_build) as scenario:
        yield scenario


def kill_mover(lab, where, side):
    for pid in mover_pids(lab):
        with open(f"/proc/{pid}/cmdline", encoding="ascii") as f:
            if f"--side\0{side}\0" in f.read():
                os.kill(pid, signal.SIGKILL)


def kill_libvirtd(lab, where, side):
    host.stop_libvirt(lab.lab, lab.state, where, kill=True)
    host.begin_libvirtd(lab.lab, lab.state, where)
    host.await_libvirt(lab.lab, lab.state, where)


@pytest.mark.parametrize("kill, side, goes_on", [
    (kill_mover, "source", False), (kill_mover, "target", False),
    (kill_libvirtd, "source", True), (kill_libvirtd, "target", False)])
def test_killed_before_the_start(lab, tiny, kill, side, goes_on):
    target = other(home(lab, tiny))
    folder = host.root(lab.state, target) + "/run/lpm/fault-points"
    os.makedirs(folder, exist_ok=True)
    point = folder + "/target.run-waits"
    with open(point, "w", encoding="ascii") as f:
        f.write("wait")
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--post-copy", "now", "--bandwidth", "16M")
        proc.wait_until("the copy to wait for its start",
                        lambda: os.path.exists(point + ".reached"), 30, 0.01)
        kill(lab, source if side == "source" else target, side)
        os.unlink(point)
        os.unlink(point + ".reached")
        document = await_end(lab, source, identity)
        assert document["state"] == ("done" if goes_on else "failed"), document["error"]
        assert lab.places(tiny) == [(target if goes_on else source, "running")]
    assert_clean(lab)
    with clients(lab, tiny):  # and libvirt does not take it for half a migration
        move(lab, tiny)
