# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`lpm recover`: who owns the partition, from either host, after a crash. test_doubt.py has the one
case that it cannot settle."""

import concurrent.futures

import pytest

from lab import lpmd
from support import (assert_clean, await_end, await_state, begin, clients, error_of, home, move,
                     other, pause)


def recover(lab, where, *options):
    code, document = lab.lpm(where, "recover", *options)
    return code, document.get("recoveries", document)


def kill_while(lab, partition, victim_side, state):
    """Kills lpmd of one side when the source's side has come to `state`; (source, target, id)."""
    source, target, identity = begin(lab, partition, "--bandwidth", "8M")
    await_state(lab, source, identity, (state,))
    lpmd.stop(lab.lab, lab.state, source if victim_side == "source" else target, kill=True)
    return source, target, identity


def start(lab, where):
    lpmd.start(lab.lab, lab.state, where)
    lpmd.wait_ready(lab.lab, lab.state, where)


def test_nothing_to_recover(lab, tiny):
    code, document = recover(lab, "alpha", "--all")
    assert (code, document) == (0, [])
    code, document = recover(lab, "alpha", tiny)
    assert code == 3
    error_of(document, "LPM-1003")


def test_a_check_is_left_alone(lab, tiny):
    """A check before a move has movers that belong to no migration; recover on either host must not
    take them for left over."""
    source = home(lab, tiny)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        check = pool.submit(lab.lpm, source, "validate", tiny, "--to", other(source))
        rounds = 0
        while not check.done():
            for where in (source, other(source)):
                assert recover(lab, where, "--all")[0] == 0
            rounds += 1
        _, document = check.result()
    assert rounds
    checks = {c["id"]: c["verdict"] for c in document["checks"]}
    assert checks["mover"] == "pass", document
    assert_clean(lab)


def test_owner_is_named_on_both_hosts(lab, tiny):
    with clients(lab, tiny):
        source = home(lab, tiny)
        move(lab, tiny)
        for where, verdict in ((source, "owned-by-peer"), (other(source), "owned-here")):
            code, document = recover(lab, where, tiny)
            assert code == 0
            assert (document[0]["owner"], document[0]["verdict"]) == (other(source), verdict)
            assert document[0]["why"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_after_a_crash_in_the_copy(lab, tiny, side):
    """One command finishes or undoes; the second finds nothing to do."""
    with clients(lab, tiny):
        source, target, identity = kill_while(lab, tiny, side, "copying")
        pause(1, "the time without lpmd is the test's subject")
        start(lab, source if side == "source" else target)
        for _ in range(2):
            for where in (source, target):
                code, document = recover(lab, where, "--all")
                assert code == 0, document
        end = await_end(lab, source, identity)
        assert home(lab, tiny) == (target if end["state"] == "done" else source)
        answers = [recover(lab, where, tiny)[1][0] for where in (source, target)]
        assert {a["owner"] for a in answers} == {home(lab, tiny)}
    assert_clean(lab)
