# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Programs die in the middle of a migration. Whatever dies, the partition runs exactly once
afterwards, its clients have lost nothing, and the next migration works."""

import os
import signal

import pytest

from lab import host, lpmd, proc
from support import (FINAL, SLOW, api, assert_clean, await_copying, await_end, begin, clients, home,
                     mover_pids, move, pause)


def crash(lab, where):
    """lpmd as after SIGKILL, and its start by systemd."""
    lpmd.stop(lab.lab, lab.state, where, kill=True)


def settled(lab, where, identity, timeout=90):
    """How the migration ended on a host whose lpmd may just be starting."""
    lpmd.wait_ready(lab.lab, lab.state, where)
    return await_end(lab, where, identity, timeout)


def assert_once(lab, partition, source, target, state):
    """Exactly one copy, where the end of the migration says."""
    assert home(lab, partition) == (target if state == "done" else source)


@pytest.mark.parametrize("side", ["source", "target"])
def test_lpmd_killed_while_copying(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        victim = source if side == "source" else target
        crash(lab, victim)
        assert len(mover_pids(lab)) == 2, "the movers outlive lpmd"
        lpmd.start(lab.lab, lab.state, victim)
        document = settled(lab, source, identity)
        assert document["state"] in FINAL
        assert_once(lab, tiny, source, target, document["state"])
        assert settled(lab, target, identity)["state"] in FINAL
    assert_clean(lab)
    move(lab, tiny)


@pytest.mark.parametrize("side", ["source", "target"])
def test_lpmd_away_for_a_while(lab, tiny, side):
    """The copy goes on without it; the hand-over waits for it."""
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--bandwidth", "8M")
        await_copying(lab, source, identity)
        victim = source if side == "source" else target
        crash(lab, victim)
        pause(5, "the copy may come to its end meanwhile")
        assert len([w for w, s in lab.places(tiny) if s == "running"]) <= 1
        lpmd.start(lab.lab, lab.state, victim)
        document = settled(lab, source, identity)
        assert_once(lab, tiny, source, target, document["state"])
        settled(lab, target, identity)
    assert_clean(lab)


@pytest.mark.parametrize("delay_ms", [100, 300, 450, 600, 750, 850, 950, 1050, 1250])
@pytest.mark.parametrize("side", ["source", "target"])
def test_lpmd_killed_at_any_moment(lab, tiny, side, delay_ms):
    """A migration without a limit takes a second and a half or so, its checks a quarter of that: the
    moments fall into all its phases."""
    source, target, identity = begin(lab, tiny)
    victim = source if side == "source" else target
    pause(delay_ms / 1000, "the moment is the point of the test")
    crash(lab, victim)
    assert len([w for w, s in lab.places(tiny) if s == "running"]) <= 1
    lpmd.start(lab.lab, lab.state, victim)
    document = settled(lab, source, identity)
    assert_once(lab, tiny, source, target, document["state"])
    if api(lab, target, f"/v1/migrations/{identity}")[0] == 200:
        settled(lab, target, identity)
    else:  # it has not heard of it: it was killed before, or just as it was asked
        assert "copying" not in [phase["name"] for phase in document["phases"]]
    assert_clean(lab)


@pytest.mark.parametrize("side", ["source", "target"])
def test_mover_killed_while_copying(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        victim = source if side == "source" else target
        pid = [m["pid"] for m in api(lab, victim, "/v1/movers")[1]["movers"]
               if m["migration"] == identity]
        os.kill(pid[0], signal.SIGKILL)
        document = await_end(lab, source, identity)
        assert document["state"] == "failed"
        assert document["error"]["cause"] and document["error"]["remedy"]
        assert home(lab, tiny) == source
    assert_clean(lab)
    move(lab, tiny)


@pytest.mark.parametrize("side", ["source", "target"])
def test_libvirtd_killed_while_copying(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        victim = source if side == "source" else target
        host.stop_libvirt(lab.lab, lab.state, victim, kill=True)
        host.begin_libvirtd(lab.lab, lab.state, victim)
        host.await_libvirt(lab.lab, lab.state, victim)
        document = await_end(lab, source, identity)
        assert document["state"] in FINAL
        assert_once(lab, tiny, source, target, document["state"])
    assert_clean(lab, timeout=30)
    move(lab, tiny)


def test_target_qemu_killed_while_copying(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        path = f"{host.root(lab.state, target)}/run/libvirt/qemu/{tiny}.pid"
        with open(path, encoding="ascii") as f:
            pid = int(f.read())
        proc.send(pid, proc.start_time(pid), signal.SIGKILL)
        assert await_end(lab, source, identity)["state"] == "failed"
        assert home(lab, tiny) == source
    assert_clean(lab)
    move(lab, tiny)
