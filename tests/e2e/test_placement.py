# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Direct placement: the target's mover writes the partition's pages into QEMU's memory itself, where
that memory is shared, and QEMU's stream goes without them."""

import os
import signal

import pytest
from support import (SLOW, api, assert_answers, assert_clean, await_copying, await_end, begin,
                     clients, home, mover_pids, move)
from test_link import cut
from validating import configured

GUEST = {"backing": "memfd", "append": "ledger.mem=48M"}
# Nothing is written in it while it is copied slowly: see lab/README.md, "A limit of emulation".
STILL = {"backing": "memfd", "append": "ledger.mem=48M ledger.dirty=0"}


@pytest.fixture(name="still", scope="module")
def make_still(lab):
    lab.add_guest("still", mem=128, **STILL)
    return "still"


def assert_direct(report):
    placement = report["placement"]
    assert placement["method"] == "direct" and placement["reason"] is None, placement
    # All but records that name their block, and the few of other blocks.
    pages = report["pages"]
    sent = pages["sent"] + pages["zero"] - pages["unchanged"]
    assert placement["pages"] > 0.8 * sent, (placement, pages)
    assert placement["bytes"] > 0.8 * (report["stream_bytes"] or 0), (placement, report)


def test_there_and_back(lab, tiny):
    """Several times, with clients that know each record, and every page looked at."""
    with clients(lab, tiny) as ledger:
        for _ in range(4):
            assert_direct(move(lab, tiny, ledger=ledger))
    assert_clean(lab)


def test_memory_of_a_file(lab):
    lab.add_guest("filed", mem=128, backing="file", append="ledger.mem=16M")
    with clients(lab, "filed") as ledger:
        assert_direct(move(lab, "filed", ledger=ledger))
        assert_direct(move(lab, "filed", ledger=ledger))
    lab.remove_guest("filed")


@pytest.mark.parametrize("config, options, reason", [
    ("[mover]\ndirect_placement=off\n", (), "direct_placement is off"),
    ("", ("--post-copy", "now"), "may go over to post-copy")], ids=["off", "post-copy"])
def test_stream_is_taken(lab, tiny, config, options, reason):
    with configured(lab, "alpha", config), configured(lab, "beta", config):
        report = move(lab, tiny, *options)
    assert report["placement"]["method"] == "stream"
    assert report["placement"]["pages"] == 0
    assert reason in report["placement"]["reason"]


def test_ordinary_memory(lab):
    lab.add_guest("plain", mem=128, append="ledger.mem=16M")
    placement = move(lab, "plain")["placement"]
    assert (placement["method"], placement["reason"]) == ("stream", "QEMU's memory is not shared")
    lab.remove_guest("plain")


def test_link_cut(lab, still):
    with clients(lab, still):
        source, target, identity = begin(lab, still, *SLOW)
        await_copying(lab, source, identity)
        with cut(lab, target):
            assert api(lab, source, f"/v1/migrations/{identity}")[1]["state"] == "copying"
        document = await_end(lab, source, identity)
        assert document["state"] == "done", document["error"]
        assert document["report"]["stream_hash"]["identical"] is True
        assert_direct(document["report"])
        assert home(lab, still) == target
    assert_clean(lab)


def test_mover_killed(lab, still):
    """Half of its pages are in the memory of a QEMU that will never run: it runs on where it was."""
    with clients(lab, still):
        source, _, identity = begin(lab, still, *SLOW)
        await_copying(lab, source, identity)
        target_mover = next(m["pid"] for m in api(lab, _, "/v1/movers")[1]["movers"])
        assert target_mover in mover_pids(lab)
        os.kill(target_mover, signal.SIGKILL)
        assert await_end(lab, source, identity)["state"] == "failed"
        assert home(lab, still) == source
        assert_answers(lab, still)
    assert_clean(lab)
    assert_direct(move(lab, still))
