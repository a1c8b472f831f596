# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`lpm stop`: as long as nothing is decided, everything is as it was before."""

import contextlib
import os
import time

import pytest

from lab import lpmd, proc
from lab.faults.actions import ISCSI
from support import (SLOW, assert_clean, await_copying, await_end, await_state, begin, clients,
                     error_of, home, kill_libvirtd, kill_mover, move, nothing_changes, qemu_pid)


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


@contextlib.contextmanager
def storage_stands(lab, where):
    """No byte passes between the host and its storage."""
    def rules(order):
        lines = [f"{order} {chain} -p tcp --{end} {ISCSI} -j DROP"
                 for chain in ("INPUT", "OUTPUT") for end in ("sport", "dport")]
        proc.run(lab.enter(where, "iptables-restore", "--noflush"),
                 stdin="\n".join(["*filter"] + lines + ["COMMIT"]) + "\n")
    rules("-I")
    try:
        yield
    finally:
        rules("-D")


@contextlib.contextmanager
def monitor_first(pid):
    """QEMU's main thread, which serves the monitor, goes before all others of it as soon as it can."""
    everywhere = os.sched_getaffinity(pid)

    def set_to(processors, nice):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), processors)
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    set_to({min(everywhere)}, -20)
    try:
        yield
    finally:
        set_to(everywhere, 0)


def stop(lab, source, _target):
    assert lab.lpm(source, "stop", "tiny", "--no-wait")[0] == 0


def end_mover(lab, source, _target):
    kill_mover(lab, source, "source")


def end_mover_and_lpmd(lab, source, _target):
    lpmd.stop(lab.lab, lab.state, source, kill=True)
    kill_mover(lab, source, "source")
    lpmd.start(lab.lab, lab.state, source)
    lpmd.wait_ready(lab.lab, lab.state, source)


def end_libvirtd(lab, _source, target):
    kill_libvirtd(lab, target, "target")


@pytest.mark.parametrize("how, post_copy, state", [
    (stop, "never", "stopped"), (end_mover, "auto", "failed"),
    (end_mover_and_lpmd, "auto", "failed"), (end_libvirtd, "never", "failed")])
def test_cancelled_while_qemu_looks_away(lab, tiny, how, post_copy, state):
    """QEMU lets go of its lock for an instant after it has stopped the processors. What cancels it just
    then it does not see, and would wait for the word to go on for ever, the partition suspended."""
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--post-copy", post_copy)
        await_copying(lab, source, identity, 1 << 20)
        with monitor_first(qemu_pid(lab, source, tiny)):
            with storage_stands(lab, source):  # for which QEMU waits with its lock held
                await_state(lab, source, identity, ("suspending",))
                how(lab, source, target)
                time.sleep(0.3)  # that QEMU has been told nobody sees: its monitor is busy
            assert await_end(lab, source, identity, 15)["state"] == state
        assert lab.places(tiny) == [(source, "running")]
    assert_clean(lab)
