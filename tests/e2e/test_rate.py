# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The rate on the wire and the threads of a mover: as told, and as told otherwise while it works."""

import os
import time

from support import api, assert_clean, await_copying, begin, error_of, home, mover_pids, pause
from validating import configured

# Nothing in it compresses and nobody writes, so that there is enough to send.
GUEST = {"mem": 192, "append": "ledger.mem=96M ledger.content=random ledger.dirty=0"}


def rate_on_the_wire(lab, where, seconds):
    """Bytes per second that left the host on its uplink, of whatever sort."""
    begin_bytes, begin_s = lab.wire_bytes(where), time.monotonic()
    pause(seconds, "the rate is over some time")
    return (lab.wire_bytes(where) - begin_bytes) / (time.monotonic() - begin_s)


def mover(lab, where, identity):
    return next(m for m in api(lab, where, "/v1/movers")[1]["movers"]
                if m["migration"] == identity)


def assert_near(measured, told):
    assert 0.95 * told <= measured <= 1.05 * told, f"{measured:.0f} instead of {told} bytes/s"


def anonymous(pid):
    """MiB of memory of a process's own."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:")) / 1024


def assert_bounded(lab):
    """The formula of docs/mover-protocol.md, for the window of 4 MiB and one link; the rings are full
    by now, and both movers began with a thread for each processor."""
    n, window, libraries, memory = len(os.sched_getaffinity(0)), 4, 5, 4.3 * GUEST["mem"] / 1024
    source = 34.2 + memory + 1 + (2 * n + 2) * 1.3 + window + 0.3 * n + 0.4 + libraries
    target = 32 + memory + window + 1 + (2 * n + 2) + 0.4 * n + 0.2 + libraries
    held = [anonymous(pid) for pid in mover_pids(lab)]
    assert len(held) == 2
    assert sum(held) <= source + target, f"{held} MiB, and {source + target:.0f} are said to be all"
    assert sum(held) > 64  # both rings


def test_rate_holds_and_is_changed_live(lab, tiny):
    source, target, identity = begin(lab, tiny, "--bandwidth", "4M")
    await_copying(lab, source, identity)
    assert_near(rate_on_the_wire(lab, source, 3), 4 << 20)
    code, document = lab.lpm(source, "mover", "set", tiny, "--bandwidth", "9M", "--threads", "1")
    assert code == 0 and document["pipeline"]["bandwidth"] == 9 << 20
    assert mover(lab, source, identity)["pipeline"]["threads"] == 1
    pause(0.3, "what was sent before is still on its way")
    assert_near(rate_on_the_wire(lab, source, 3), 9 << 20)
    assert_bounded(lab)
    code, document = lab.lpm(target, "mover", "set", tiny, "--bandwidth", "9M")
    assert code == 4
    error_of(document, "LPM-4008")
    code, document = lab.lpm(target, "mover", "set", tiny, "--threads", "7")
    assert code == 0 and document["pipeline"]["threads"] == 7
    assert lab.lpm(source, "stop", tiny)[0] == 0
    code, document = lab.lpm(source, "mover", "set", tiny, "--threads", "2")
    assert code == 3
    error_of(document, "LPM-4006")
    assert_clean(lab)


def test_priority_and_processors(lab, tiny):
    """Every thread of the mover, those that compress included."""
    source = home(lab, tiny)
    own = max(os.sched_getaffinity(0))
    with configured(lab, source, f"[mover]\nnice=7\ncpus={own}\n"):
        identity = begin(lab, tiny, "--bandwidth", "4M")[2]
        await_copying(lab, source, identity)
        pid = mover(lab, source, identity)["pid"]
        for thread in os.listdir(f"/proc/{pid}/task"):
            assert os.getpriority(os.PRIO_PROCESS, int(thread)) == 7
            assert os.sched_getaffinity(int(thread)) == {own}
        assert mover(lab, source, identity)["pipeline"]["threads"] == 1
        assert lab.lpm(source, "stop", tiny)[0] == 0
        assert_clean(lab)
