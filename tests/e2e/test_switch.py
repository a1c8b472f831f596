# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The switch to post-copy: the source stands, the target has loaded and is about to start. Whoever
dies then, the partition goes on, on the one side or on the other, and nobody loses a write."""

import os
import time

import pytest

import conftest
from lab import host, lpmd, proc
from lab.scenario import Scenario
from support import (api, assert_clean, await_end, begin, clients, home, kill_libvirtd, kill_mover,
                     move, other)

GUEST = {"mem": 160, "append": "ledger.dirty=0"}


@pytest.fixture(scope="module")
def lab(fault_build):
    with Scenario(f"switch{conftest.RUN}", build=fault_build) as scenario:
        yield scenario


def logged(lab, where, identity, text):
    entries = api(lab, where, f"/v1/log?migration={identity}")[1]["entries"]
    return any(text in entry["text"] for entry in entries)


def arm(lab, where, instant, what):
    """The next lpmd of that host to come to the instant waits there, or is killed; the point's path."""
    folder = host.root(lab.state, where) + "/run/lpm/fault-points"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{instant}", "w", encoding="ascii") as f:
        f.write(what)
    return f"{folder}/{instant}"


WAITS = "target.run-waits"        # nobody has been told to start the copy
HELD = "target.allowing-run"      # its processors are held
ALLOWED = "target.run-allowed"    # libvirt starts it meanwhile
STARTED = "target.start-held"     # libvirt has started it, and its processors are held
STANDS = "target.before-switched" # as a whole
DECIDED = "target.after-switched"


@pytest.mark.parametrize("instant, kill, side, goes_on", [
    (WAITS, kill_mover, "source", False), (WAITS, kill_mover, "target", False),
    (WAITS, kill_libvirtd, "source", True), (WAITS, kill_libvirtd, "target", False),
    (HELD, kill_mover, "target", False), (HELD, kill_libvirtd, "target", False),
    (ALLOWED, kill_mover, "target", False), (STARTED, kill_mover, "target", False),
    (STARTED, kill_libvirtd, "target", False)])
def test_killed_before_the_start(lab, tiny, instant, kill, side, goes_on):
    point = arm(lab, other(home(lab, tiny)), instant, "wait")
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--post-copy", "now", "--bandwidth", "16M")
        proc.wait_until("the copy to wait for its start",
                        lambda: os.path.exists(point + ".reached"), 30, 0.01)
        kill(lab, source if side == "source" else target, side)
        if (kill, side) == (kill_mover, "source"):  # or it starts before it can know
            proc.wait_until("the target to see it",
                            lambda: logged(lab, target, identity, "lost their link"), 10, 0.01)
        if instant == HELD:
            time.sleep(0.3)  # lpmd learns that its mover is gone, and tells nobody
        os.unlink(point)
        os.unlink(point + ".reached")
        document = await_end(lab, source, identity)
        assert document["state"] == ("done" if goes_on else "failed"), document["error"]
        assert lab.places(tiny) == [(target if goes_on else source, "running")]
    assert_clean(lab)
    with clients(lab, tiny):  # and libvirt does not take it for half a migration
        move(lab, tiny)


def restart_lpmd(lab, where):
    lpmd.stop(lab.lab, lab.state, where, kill=True)
    lpmd.start(lab.lab, lab.state, where)
    lpmd.wait_ready(lab.lab, lab.state, where)


@pytest.mark.parametrize("instant, goes_on", [
    (HELD, False), (ALLOWED, False), (STARTED, False), (STANDS, False), (DECIDED, True)])
def test_lpmd_killed_before_the_start(lab, tiny, instant, goes_on):
    """Its end is that of a copy whose processors it holds, or leaves it standing until the next one
    has seen what was decided."""
    point = arm(lab, other(home(lab, tiny)), instant, "kill")
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--post-copy", "now", "--bandwidth", "16M")
        proc.wait_until("lpmd to have died", lambda: os.path.exists(point + ".reached"), 30, 0.01)
        os.unlink(point + ".reached")
        time.sleep(0.3)
        restart_lpmd(lab, target)
        document = await_end(lab, source, identity)
        assert document["state"] == ("done" if goes_on else "failed"), document["error"]
        assert lab.places(tiny) == [(target if goes_on else source, "running")]
    assert_clean(lab)
    with clients(lab, tiny):
        move(lab, tiny)


def test_lpmd_killed_with_the_connection_to_qemu(lab, tiny):
    """QEMU takes one connection. The lpmd that dies with it, before the mover has it, takes it along,
    and the next one finds nobody: the copy is given up, and nothing waits for ever."""
    point = arm(lab, other(home(lab, tiny)), "target.qemu-connected", "kill")
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny)
        proc.wait_until("lpmd to have died", lambda: os.path.exists(point + ".reached"), 30, 0.01)
        os.unlink(point + ".reached")
        restart_lpmd(lab, target)
        assert await_end(lab, source, identity)["state"] == "failed"
        assert lab.places(tiny) == [(source, "running")]
    assert_clean(lab)
    with clients(lab, tiny):
        move(lab, tiny)
