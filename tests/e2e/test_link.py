# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A network that goes away is a pause, not a failure, whenever it happens."""

import contextlib

import pytest

from lab import net
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
