# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Why OpenLPM has a hand-over of its own: plain libvirt runs a partition twice when the answer to
its last question is lost or late. Seen by the observer, in a lab without lpmd."""

import time

import pytest

import conftest
from lab.faults.observe import Observer, now_us
from lab.faults.plain import HELD_S, Bench, PARTITION, end_call, start_migration
from lab.faults.relay import Relay
from lab.scenario import Scenario
from support import other, pause


@pytest.fixture(scope="module")
def bench():
    with Scenario(f"two{conftest.RUN}", with_lpmd=False) as scenario, \
            Observer(scenario) as observer:
        yield Bench(scenario, observer)


def migrate(bench, at_reply):
    """Moves the partition over a wire that does `at_reply(relay)` when the answer to Finish passes;
    (virsh's exit code, what it said, names of the moments, seconds)."""
    source = bench.home()
    begin = time.monotonic()

    def moment(name, relay):
        return at_reply(relay) if name == "finish.reply" else False

    with Relay(bench.scenario, source, other(source), moment) as relay:
        call = start_migration(bench.scenario, PARTITION, source, relay)
        try:
            code = call.wait(timeout=90)
        finally:
            text = end_call(call)
    return code, text, [name for name, _ in relay.seen], time.monotonic() - begin


def uuid_of(bench):
    return bench.scenario.state["guests"][PARTITION]["uuid"]


def assert_two(bench, since):
    """Both copies run, by QEMU's word and by the time that their processors use."""
    pause(1.0, "two copies shall be seen to go on, not only to begin")
    together = bench.observer.overlaps(since, uuid_of(bench))
    assert together and together[0]["for_us"] > 500_000
    living = bench.observer.living(uuid_of(bench))
    assert sorted(c.host for c in living if c.running) == ["alpha", "beta"]
    for copy in living:
        used = [ns for begin, _, ns, running in copy.cpu if running and begin > since]
        assert sum(used) > 0, f"{copy.describe()} says that it runs but uses no processor"
    assert bench.scenario.places(PARTITION) == [("alpha", "running"), ("beta", "running")]


def test_over_the_same_wire_nothing_is_wrong(bench):
    source, since = bench.home(), now_us()
    code, text, moments, _ = migrate(bench, lambda relay: False)
    assert code == 0, text
    assert moments == ["prepare.call", "prepare.reply", "finish.call", "finish.reply"]
    assert bench.observer.overlaps(since) == []
    assert [c.host for c in bench.observer.living(uuid_of(bench))] == [other(source)]


def test_a_lost_reply_leaves_two(bench):
    since = now_us()

    def lose(relay):
        relay.cut()
        return True
    code, text, _, _ = migrate(bench, lose)
    assert code != 0 and "closed" in text, text
    assert_two(bench, since)


@pytest.mark.slow
def test_a_late_reply_leaves_two(bench):
    since = now_us()

    def hold(_relay):
        # Keepalive closes the connection 30 s after the last message that came; the copy itself has
        # taken some of them.
        time.sleep(HELD_S)
        return False
    code, _, _, seconds = migrate(bench, hold)
    assert code != 0 and seconds < 60
    assert_two(bench, since)
