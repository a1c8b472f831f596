# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The main job: a running partition moves under load and nothing is lost."""

import pytest

from support import (FINAL, api, assert_clean, await_end, begin, clients, home, move,
                     other)

APPEND = "ledger.mem=64M ledger.dirty=2M ledger.content=text"


@pytest.fixture(scope="module")
def tiny(lab):
    lab.add_guest("tiny", append=APPEND)
    return lab


def test_there_and_back_under_load(tiny):
    with clients(tiny, "tiny") as ledger:
        for _ in range(2):
            assert_plausible(move(tiny, "tiny", ledger=ledger))
    assert_clean(tiny)


def assert_plausible(report):
    # The clients cannot have been served while the processors stood still.
    assert 0 < report["suspended_us"] <= report["client_gap_us"] + report["clock_error_us"]
    assert report["total_ms"] * 1000 > report["suspended_us"]
    pages = report["pages"]
    assert (pages["sent"] - pages["unchanged"]) * 4096 <= report["stream_bytes"]
    assert 0 <= pages["unchanged"] <= pages["resent"]
    assert 0 < report["encoded_bytes"] < report["stream_bytes"]
    assert report["wire_bytes"] >= report["encoded_bytes"]
    assert [p["name"] for p in report["phases"]] == [
        "validating", "preparing", "copying", "suspending", "committing", "cleaning"]
    handover = report["handover"]
    assert handover["source_ended_us"] <= handover["committed_us"]
    assert handover["committed_us"] <= handover["resumed_us"] + report["clock_error_us"]


def test_report_tells_how_it_went(tiny, tmp_path):
    source = home(tiny, "tiny")
    identity = move(tiny, "tiny", "--bandwidth", "30M")["id"]
    document = tiny.lpm(source, "report", identity, "--svg", str(tmp_path / "move.svg"))[1]
    samples = document["samples"]
    # The pages of some 80 MiB at 30 MiB/s take two seconds at least.
    assert len(samples) >= 3, samples
    assert [s["at_us"] for s in samples] == sorted({s["at_us"] for s in samples})
    assert [s["wire_bytes"] for s in samples] == sorted(s["wire_bytes"] for s in samples)
    report = document["migration"]["report"]
    assert samples[-1]["pages_sent"] == report["pages"]["sent"]
    assert samples[-1]["stream_bytes"] == report["stream_bytes"]
    assert "<svg" in (tmp_path / "move.svg").read_text()


def test_definition_moves_with_the_partition(tiny):
    source = home(tiny, "tiny")
    move(tiny, "tiny")
    persistent = tiny.virsh(other(source), "list", "--all", "--persistent", "--name")
    assert persistent.split() == ["tiny"]
    assert tiny.virsh(source, "list", "--all", "--name").split() == []


def test_shown_while_it_lasts(tiny):
    source, target, identity = begin(tiny, "tiny", "--bandwidth", "16M")
    seen, percents = set(), []
    document = api(tiny, source, f"/v1/migrations/{identity}")[1]
    while document["state"] not in FINAL:
        for where in (source, target):
            partitions = api(tiny, where, "/v1/partitions")[1]["partitions"]
            seen |= {(where, p["state"]) for p in partitions}
        document = api(tiny, source, f"/v1/migrations/{identity}")[1]
        if document["state"] == "copying":
            percents.append(document["progress"]["percent"])
    assert document["state"] == "done", document
    assert {(source, "Migrating - Running"), (target, "Migrating - Running")} <= seen
    assert percents == sorted(percents) and len(set(percents)) > 3
    assert_clean(tiny)
    assert home(tiny, "tiny") == target


def test_transient_partition(tiny):
    source = home(tiny, "tiny")
    xml = tiny.virsh(source, "dumpxml", "tiny", "--migratable")
    tiny.virsh(source, "undefine", "tiny")
    try:
        for target in (other(source), source):
            move(tiny, "tiny")
            assert tiny.virsh(target, "list", "--all", "--transient", "--name").split() == \
                ["tiny"]
    finally:
        path = "/tmp/lpm-e2e-tiny.xml"
        with open(path, "w") as f:
            f.write(xml)
        tiny.virsh(home(tiny, "tiny"), "define", path)


def test_two_at_once_in_opposite_directions(tiny):
    start = home(tiny, "tiny")
    tiny.add_guest("second", where=other(start), append=APPEND, machine="q35", mem=192)
    with clients(tiny, "tiny"), clients(tiny, "second"):
        begun = [begin(tiny, "tiny"), begin(tiny, "second")]
        ended = [await_end(tiny, source, identity) for source, _, identity in begun]
    assert [document["state"] for document in ended] == ["done", "done"], ended
    assert home(tiny, "tiny") == other(start) and home(tiny, "second") == start
    assert_clean(tiny)
