# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`lpm stop`: as long as nothing is decided, everything is as it was before."""

from support import (SLOW, assert_clean, await_copying, await_end, begin, clients, error_of, home,
                     move, nothing_changes)


def test_stop_while_copying(lab, tiny):
    with clients(lab, tiny) as ledger, nothing_changes(lab):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        code, document = lab.lpm(source, "stop", tiny)
        assert code == 0 and document["state"] == "stopped", document
        error_of(document, "LPM-5001")
        assert home(lab, tiny) == source
        ended = await_end(lab, target, identity)
        assert (ended["role"], ended["state"]) == ("target", "stopped")
    # The processors never stood still: what the clients saw is what a busy emulation does anyway.
    assert ledger.report["client_gap_us"] < 2000000


def test_the_one_who_waits_is_told(lab, tiny):
    """`lpm status --watch` ends with the code for a stopped migration."""
    source, _, identity = begin(lab, tiny, *SLOW)
    await_copying(lab, source, identity)
    assert lab.lpm(source, "stop", identity, "--no-wait")[0] == 0
    assert await_end(lab, source, identity)["state"] == "stopped"
    assert lab.lpm(source, "status", identity)[1]["state"] == "stopped"
    assert_clean(lab)


def test_next_migration_works(lab, tiny):
    with clients(lab, tiny) as ledger:
        move(lab, tiny, ledger=ledger)
    assert_clean(lab)


def test_stop_again_and_again(lab, tiny):
    """At several moments, some of them before anything was copied."""
    with clients(lab, tiny):
        for amount in (0, 0, 1 << 20, 16 << 20):
            source, _, identity = begin(lab, tiny, *SLOW)
            if amount:
                await_copying(lab, source, identity, amount)
            code, document = lab.lpm(source, "stop", tiny)
            assert (code, document["state"]) == (0, "stopped"), document
            assert home(lab, tiny) == source
            assert_clean(lab)
        move(lab, tiny)


def test_stop_after_the_end(lab, tiny):
    move(lab, tiny)
    with nothing_changes(lab):
        for where in ("alpha", "beta"):
            code, document = lab.lpm(where, "stop", tiny)
            assert code == 4
            error_of(document, "LPM-1006")
