# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A network that goes away is a pause, not a failure, whenever it happens."""

import contextlib
import os

import pytest

from lab import lpmd, net, proc
from support import (FINAL, SLOW, api, assert_clean, await_copying, await_end, await_state, begin,
                     clients, home, pause)


@contextlib.contextmanager
def cut(lab, where):
    """No frame leaves or reaches a host; its guests are cut off as well."""
    net.ip("link", "set", "uplink", "down", netns=lab.lab.netns(where))
    try:
        yield
    finally:
        net.ip("link", "set", "uplink", "up", netns=lab.lab.netns(where))


@pytest.mark.parametrize("side", ["source", "target"])
def test_cut_while_copying(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        with cut(lab, source if side == "source" else target):
            pause(5, "the length of the outage is the test's subject")
            assert api(lab, source, f"/v1/migrations/{identity}")[1]["state"] == "copying"
        document = await_end(lab, source, identity)
        assert document["state"] == "done", document["error"]
        assert document["report"]["stream_hash"]["identical"] is True
        assert home(lab, tiny) == target
    assert_clean(lab)


def test_connection_cut_and_network_there(lab, tiny):
    """A link of the movers alone ends (a firewall forgot it): they make another and go on."""
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        for amount in (12 << 20, 24 << 20):
            lab.kill_connections(target, 16521)
            await_copying(lab, source, identity, amount)
        movers = api(lab, source, "/v1/movers")[1]["movers"]
        assert [link["reconnects"] >= 2 for m in movers for link in m["links"]] == [True]
        document = await_end(lab, source, identity)
        assert document["state"] == "done", document["error"]
        assert document["report"]["stream_hash"]["identical"] is True
        assert home(lab, tiny) == target
    assert_clean(lab)


@contextlib.contextmanager
def links(lab, number):
    """Both hosts' lpmd move with so many connections at a time."""
    def restart(text):
        for where in ("alpha", "beta"):
            folder = os.path.join(lab.lab.host_dir(where), "etc-lpm", "conf.d")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "links.conf"), "w", encoding="ascii") as file:
                file.write(text)
            lpmd.stop(lab.lab, lab.state, where)
            lpmd.start(lab.lab, lab.state, where)

    restart(f"[mover]\nlinks={number}\n")
    try:
        yield
    finally:
        restart("")


def link_states(lab, where):
    movers = api(lab, where, "/v1/movers")[1]["movers"]
    return [link["state"] for mover in movers for link in mover["links"]]


def await_three(lab, where):
    proc.wait_until("three links", lambda: link_states(lab, where) == ["up"] * 3, 20, 0.05)


def test_one_of_three_connections_is_cut(lab, tiny):
    """The others carry on, what it carried included, and it is made again."""
    with links(lab, 3), clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        await_three(lab, source)
        callers = lab.callers(target, 16521)
        assert len(callers) == 3
        for caller in callers:
            lab.kill_connection(target, 16521, caller)
            proc.wait_until("it to end", lambda: caller not in lab.callers(target, 16521), 10)
            await_three(lab, source)
        movers = api(lab, source, "/v1/movers")[1]["movers"]
        assert sum(link["reconnects"] for m in movers for link in m["links"]) >= 3
        log = lab.lpm(source, "log", "--migration", identity)[1]["entries"]
        assert not [e for e in log if e["event"] == "link-down"]
        document = await_end(lab, source, identity)
        assert document["state"] == "done", document["error"]
        assert document["report"]["stream_hash"]["identical"] is True
        assert home(lab, tiny) == target
    assert_clean(lab)


@pytest.mark.parametrize("state", ["suspending", "committing"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_cut_at_the_hand_over(lab, tiny, side, state):
    """The worst moment. The partition stands still meanwhile or already runs; it never runs twice,
    and when the network is back it runs once."""
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny)
        late = ("suspending", "committing", "cleaning") + FINAL
        await_state(lab, source, identity, late if state == "suspending" else late[1:])
        with cut(lab, source if side == "source" else target):
            for _ in range(10):
                pause(0.5, "the length of the outage is the test's subject")
                running = [w for w, s in lab.places(tiny) if s == "running"]
                assert len(running) <= 1, f"runs on {running}"
        assert await_end(lab, source, identity)["state"] == "done"
        assert home(lab, tiny) == target
    assert_clean(lab, timeout=30)
