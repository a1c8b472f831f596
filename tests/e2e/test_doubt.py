# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The one instant at which a host cannot know: it has the complete copy, and the source, which has
ended its own, died before it could say so. Nothing starts by itself then; the source coming back
settles it, or an operator's oath."""

import os

import pytest

import conftest
from lab import host, lpmd, proc
from lab.scenario import Scenario
from support import (assert_answers, assert_clean, await_end, begin, clients, error_of, home, move,
                     pause)

IN_DOUBT = 8


@pytest.fixture(scope="module")
def lab(fault_build):
    with Scenario(f"doubt{conftest.RUN}", build=fault_build) as scenario:
        yield scenario


def recover(lab, where, *options):
    code, document = lab.lpm(where, "recover", *options)
    return code, document.get("recoveries", document)


def start(lab, where):
    lpmd.start(lab.lab, lab.state, where)
    lpmd.wait_ready(lab.lab, lab.state, where)


def into_doubt(lab, partition):
    """Kills the source's lpmd when its QEMU is ended and the target does not know; (source, target,
    id, what `lpm recover` says on the target)."""
    folder = host.root(lab.state, home(lab, partition)) + "/run/lpm/fault-points"
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/source.telling-commit", "w", encoding="ascii") as f:
        f.write("kill")
    source, target, identity = begin(lab, partition)

    def look():
        code, document = recover(lab, target, partition)
        return document[0] if code == IN_DOUBT else None
    said = proc.wait_until("the target to be in doubt", look, 30, 0.2)
    os.unlink(folder + "/source.telling-commit.reached")
    return source, target, identity, said


def test_the_source_comes_back(lab, tiny):
    with clients(lab, tiny):
        source, target, identity, said = into_doubt(lab, tiny)
        assert said["owner"] is None and said["verdict"] == "in-doubt"
        assert any(f"--fenced {source}" in sentence for sentence in said["why"])
        pause(3, "that nothing starts by itself is the test's subject")
        assert [s for _, s in lab.places(tiny) if s == "running"] == []
        assert recover(lab, target, tiny)[0] == IN_DOUBT
        start(lab, source)
        assert await_end(lab, source, identity)["state"] == "done"
        assert home(lab, tiny) == target
    assert_clean(lab)


def test_the_oath(lab, tiny):
    with clients(lab, tiny):
        source, target, _, _ = into_doubt(lab, tiny)
        code, document = lab.lpm(target, "recover", tiny, "--fenced", target)
        assert code == 2
        error_of(document, "LPM-1001")
        assert [s for _, s in lab.places(tiny) if s == "running"] == []
        code, document = recover(lab, target, tiny, "--fenced", source)
        assert (code, document[0]["owner"]) == (0, target), document
        assert (target, "running") in lab.places(tiny)
        entries = lab.lpm(target, "log", tiny)[1]["entries"]
        assert any(e["event"] == "fenced" and source in e["text"] for e in entries)
        start(lab, source)  # the oath held: nothing of it ran there when it came back
        proc.wait_until("the source to clean up", lambda: lab.places(tiny) == [(target, "running")],
                        30, 0.2)
    assert_clean(lab)
    with clients(lab, tiny):
        move(lab, tiny)


def test_the_copy_is_older_than_the_disks(lab, tiny):
    """The operator knows that the partition ran on after the copy was complete."""
    source, target, _, said = into_doubt(lab, tiny)
    assert any("--discard" in sentence for sentence in said["why"])
    code, document = recover(lab, target, tiny, "--fenced", source, "--discard")
    assert code == 0, document
    assert (target, "shut off") in lab.places(tiny)
    start(lab, source)
    proc.wait_until("the source to clean up", lambda: lab.places(tiny) == [(target, "shut off")], 30,
                    0.2)
    lab.virsh(target, "start", tiny)
    assert_answers(lab, tiny, 60)
    move(lab, tiny)
    assert_clean(lab)
