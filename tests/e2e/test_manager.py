# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpmd as the manager of a host: its limits, its log, and that looking at it is harmless."""

import os

from lab import lpmd
from support import (SLOW, api, assert_answers, assert_clean, await_copying, await_end, begin,
                     error_of, home, mover_pids, move, nothing_changes, other, qemu_pid)


def test_looking_changes_nothing(lab, tiny):
    with nothing_changes(lab):
        for where in ("alpha", "beta"):
            for words in (("list",), ("status", "--all"), ("log",), ("mover", "stats"),
                          ("host", "list"), ("version",)):
                assert lab.lpm(where, *words)[0] == 0
        assert lab.lpm(home(lab, tiny), "show", tiny)[0] == 0


def test_both_logs_tell_the_migration(lab, tiny):
    source = home(lab, tiny)
    identity = move(lab, tiny)["id"]
    assert_clean(lab)
    for where, expected in ((source, ["ending", "committed", "running"]),
                            (other(source), ["prepared", "committed", "running"])):
        entries = lab.lpm(where, "log", "--migration", identity)[1]["entries"]
        decided = [e["text"].removeprefix("decided: ") for e in entries if e["event"] == "decided"]
        assert decided == expected
        assert {e["partition"] for e in entries} == {tiny}
        assert {e["host"] for e in entries} == {where}
        assert entries[-1]["event"] == "done"


def test_source_is_ended_before_the_target_runs(lab, tiny):
    """By the stamps of two hosts: the offset measured between their clocks is allowed for."""
    source = home(lab, tiny)
    pid = qemu_pid(lab, source, tiny)
    report = move(lab, tiny)
    at = report["handover"]
    resumed = at["resumed_us"] - report["clock_offset_us"] + report["clock_error_us"]
    assert at["finish_held_us"] <= at["source_ended_us"] <= at["committed_us"]
    assert at["source_ended_us"] <= resumed
    assert not os.path.exists(f"/proc/{pid}")
    assert_answers(lab, tiny)


def test_figures_of_both_movers(lab, tiny):
    """What one mover has sent the other has received; both live as long as the migration."""
    source, target, identity = begin(lab, tiny, *SLOW)
    await_copying(lab, source, identity)
    assert len(mover_pids(lab)) == 2
    stats = {}
    for where in (source, target):
        movers = lab.lpm(where, "mover", "stats", identity)[1]["movers"]
        assert len(movers) == 1 and movers[0]["partition"] == tiny
        stats[where] = movers[0]
    assert (stats[source]["side"], stats[target]["side"]) == ("source", "target")
    assert stats[source]["pid"] != stats[target]["pid"]
    for mover in stats.values():
        assert mover["operations"]["active"] >= 1 and mover["elapsed_ms"] > 0
        assert mover["receive"]["bad_packets"] == 0 and mover["receive"]["errors"] == 0
        assert mover["cpu_us"] > 0
    # The target was asked a moment later.
    assert 0 < stats[source]["transmit"]["bytes"] <= stats[target]["receive"]["bytes"] + (4 << 20)
    assert await_end(lab, source, identity)["state"] == "done"
    assert_clean(lab)
    for where in (source, target):
        assert api(lab, where, "/v1/movers")[1]["movers"] == []
    status = lab.lpm(source, "status", identity)[1]
    assert status["report"]["link_bytes"]["sent"] > stats[source]["transmit"]["bytes"]


def test_history_outlives_lpmd(lab, tiny):
    identity = move(lab, tiny)["id"]
    source = other(home(lab, tiny))
    before = api(lab, source, f"/v1/migrations/{identity}")[1]
    lpmd.stop(lab.lab, lab.state, source)
    lpmd.start(lab.lab, lab.state, source)
    assert api(lab, source, f"/v1/migrations/{identity}")[1] == before
    assert before["report"]["result"] == "done"
    move(lab, tiny)


def test_no_more_at_once_than_configured(lab, tiny):
    """The last of this module: it changes a host's configuration."""
    source = home(lab, tiny)
    lab.add_guest("second", where=source, mem=128, append="ledger.mem=8M")
    folder = os.path.join(lab.lab.host_dir(source), "etc-lpm", "conf.d")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "limit.conf"), "w", encoding="ascii") as f:
        f.write("[migration]\nmax_migrations=1\n")
    lpmd.stop(lab.lab, lab.state, source)
    lpmd.start(lab.lab, lab.state, source)
    identity = begin(lab, tiny, *SLOW)[2]
    await_copying(lab, source, identity)
    code, document = lab.lpm(source, "migrate", "second", "--to", other(source), "--no-queue")
    assert code == 4
    error_of(document, "LPM-1008")
    assert home(lab, "second") == source
    assert await_end(lab, source, identity)["state"] == "done"
    # The target of that limit counts as well: it is asked to take one while it gives one.
    there = begin(lab, "second", *SLOW)[2]
    await_copying(lab, source, there)
    code, document = lab.lpm(other(source), "migrate", tiny, "--to", source, "--no-queue")
    assert code == 4
    error_of(document, "LPM-1008")
    assert home(lab, tiny) == other(source)
    assert await_end(lab, source, there)["state"] == "done"
    assert_clean(lab)
