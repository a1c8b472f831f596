# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Post-copy: the partition runs on the target before all of its memory is there. What breaks on the
way is waited for or replaced; only the end of one of the two hypervisors ends the partition, and
that is said."""

import os
import signal
import time

import pytest

from lab import lpmd, proc
from support import (FINAL, api, assert_clean, await_end, await_state, begin, clients, error_of,
                     home, move, other, pause, qemu_pid)
from test_link import cut

NOW = ("--post-copy", "now", "--bandwidth", "8M")
# More than the bandwidth carries in a second or two, so that there is time for what breaks.
GUEST = {"mem": 160, "append": "ledger.dirty=0"}


def reason(lab, where, partition):
    return lab.virsh(where, "domstate", "--reason", partition, check=False).stdout.strip()


def begin_post_copy(lab, partition, *options):
    """Starts a migration and waits until the partition runs on the target."""
    source, target, identity = begin(lab, partition, *(options or NOW))
    proc.wait_until("the partition to run on the target",
                    lambda: reason(lab, target, partition) == "running (post-copy)", 30, 0.02)
    # libvirt says so before lpmd has decided and let it go.
    await_state(lab, target, identity, ("post-copy", "committing", "cleaning", "done"))
    return source, target, identity


def states(document):
    return [phase["name"] for phase in document["phases"]]


def arrived(lab, partition, source, target, identity):
    document = await_end(lab, source, identity)
    assert document["state"] == "done", document["error"]
    assert "post-copy" in states(document)
    assert home(lab, partition) == target
    assert await_end(lab, target, identity)["state"] == "done"


def test_nothing_breaks(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin_post_copy(lab, tiny)
        assert reason(lab, source, tiny) == "paused (post-copy)"
        assert api(lab, target, f"/v1/migrations/{identity}")[1]["shown"] == "Migrating - Post-Copy"
        arrived(lab, tiny, source, target, identity)
    assert_clean(lab)


def test_auto_leaves_alone_what_converges(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, "--post-copy", "auto")
        document = await_end(lab, source, identity)
        assert document["state"] == "done" and "post-copy" not in states(document)
        assert document["report"]["stream_hash"]["identical"] is True
        assert home(lab, tiny) == target
    assert_clean(lab)


def test_stop_is_refused(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin_post_copy(lab, tiny)
        code, document = lab.lpm(source, "stop", tiny)
        assert code == 4
        error_of(document, "LPM-5002")
        arrived(lab, tiny, source, target, identity)
    assert_clean(lab)


@pytest.mark.parametrize("side", ["source", "target"])
def test_mover_killed(lab, tiny, side):
    """Another pair takes its place, and QEMU goes on where it was."""
    with clients(lab, tiny):
        source, target, identity = begin_post_copy(lab, tiny)
        movers = api(lab, source if side == "source" else target, "/v1/movers")[1]["movers"]
        os.kill(next(m["pid"] for m in movers if m["migration"] == identity), signal.SIGKILL)
        arrived(lab, tiny, source, target, identity)
    assert_clean(lab)


RUNS_OR_POLLS = ("running", "7", "271")  # of /proc/PID/syscall: poll, ppoll
# To everybody on the LAN, as many as a virtual adapter has buffers in the guest's memory.
SHOUT = ("import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
         "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); "
         "[s.sendto(bytes(1400), (sys.argv[1], 9)) for _ in range(300)]")


def stands(pid):
    """Whether QEMU's main thread waits for something that is no event: a page, or the lock that
    another thread has which waits for one."""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
        return f.read().split()[0] not in RUNS_OR_POLLS


def hangs(lab, where, partition):
    """Whether QEMU waits for a page with its lock held, when no page comes any more. Frames arrive, which
    it writes to buffers that may not have. Its monitor cannot be asked: libvirt, whose Finish lasts as
    long as the post-copy, lets nobody else to it."""
    pid = qemu_pid(lab, where, partition)
    lan = lab.state["guests"][partition]["nics"][0]["address"].rpartition(".")[0] + ".255"
    end = time.monotonic() + 5
    since = time.monotonic()
    while time.monotonic() - since < 1 and time.monotonic() < end:
        if not stands(pid):
            proc.run(lab.enter("client", "/usr/bin/python3", "-c", SHOUT, lan))
            since = time.monotonic()
        pause(0.01, "it is looked at again and again")
    return time.monotonic() - since >= 1


def begin_and_hang(lab, partition):
    """A migration in post-copy whose movers give nothing since the copy started, and whose copy hangs:
    nearly always, as it has next to nothing then, or else once more."""
    for _ in range(4):
        source, target, identity = begin(lab, partition, *NOW)
        await_state(lab, source, identity, ("copying", "suspending", "post-copy"))
        movers = [m["pid"] for where in (source, target)
                  for m in api(lab, where, "/v1/movers")[1]["movers"] if m["migration"] == identity]
        await_state(lab, target, identity, ("post-copy",))
        os.kill(movers[0], signal.SIGSTOP)
        if hangs(lab, target, partition):
            return source, target, identity, movers
        os.kill(movers[0], signal.SIGCONT)
        arrived(lab, partition, source, target, identity)
    raise AssertionError("no copy hangs that waits for its pages")


def log_of(lab, where, identity, event):
    entries = api(lab, where, f"/v1/log?migration={identity}")[1]["entries"]
    return [entry["text"] for entry in entries if entry["event"] == event]


@pytest.mark.parametrize("lpmd_dies", [False, True], ids=["lpmd-lives", "lpmd-killed"])
def test_movers_killed_while_the_monitor_hangs(lab, tiny, lpmd_dies):
    """What QEMU waits for with its lock held is fetched beside the movers, so that its monitor
    answers, and QEMU can be given another connection; and none of it is lost or sent twice."""
    with clients(lab, tiny):
        source, target, identity, movers = begin_and_hang(lab, tiny)
        for pid in movers:
            os.kill(pid, signal.SIGKILL)
        if lpmd_dies:
            proc.wait_until("the feeding to begin",
                            lambda: log_of(lab, target, identity, "feeding"), 20, 0.01)
            lpmd.stop(lab.lab, lab.state, target, kill=True)
            lpmd.start(lab.lab, lab.state, target)
            lpmd.wait_ready(lab.lab, lab.state, target)
        arrived(lab, tiny, source, target, identity)
        assert lpmd_dies or log_of(lab, target, identity, "fed"), "nothing was fed: QEMU did not hang"
    assert_clean(lab)


@pytest.mark.parametrize("side", ["source", "target"])
def test_link_cut(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin_post_copy(lab, tiny)
        with cut(lab, source if side == "source" else target):
            pause(5, "the length of the outage is the test's subject")
            assert api(lab, source, f"/v1/migrations/{identity}")[1]["state"] not in FINAL
        arrived(lab, tiny, source, target, identity)
    assert_clean(lab)


@pytest.mark.parametrize("side", ["source", "target"])
def test_lpmd_killed(lab, tiny, side):
    with clients(lab, tiny):
        source, target, identity = begin_post_copy(lab, tiny)
        victim = source if side == "source" else target
        lpmd.stop(lab.lab, lab.state, victim, kill=True)
        pause(0.5, "the time without lpmd is the test's subject")
        lpmd.start(lab.lab, lab.state, victim)
        lpmd.wait_ready(lab.lab, lab.state, victim)
        arrived(lab, tiny, source, target, identity)
    assert_clean(lab)


def test_autostart_goes_along(lab, tiny):
    """Where a partition runs it is started when the host boots, and nowhere else."""
    source = home(lab, tiny)
    lab.virsh(source, "autostart", tiny)
    move(lab, tiny)
    assert "Autostart:      enable" in lab.virsh(other(source), "dominfo", tiny)
    assert lab.virsh(source, "dominfo", tiny, check=False).returncode != 0
    source, _, identity = begin(lab, tiny, "--bandwidth", "8M")
    await_state(lab, source, identity, ("copying",))
    assert "Autostart:      disable" in lab.virsh(source, "dominfo", tiny)
    assert lab.lpm(source, "stop", tiny)[0] == 0
    assert "Autostart:      enable" in lab.virsh(source, "dominfo", tiny)
    lab.virsh(source, "autostart", "--disable", tiny)
    assert_clean(lab)


@pytest.mark.parametrize("side", ["source", "target"])
def test_hypervisor_killed(lab, tiny, side):
    """Half of the memory is gone with it. No copy is left running, the source keeps the definition
    and lpm says so; started anew, the partition has all that its clients were told."""
    source, target, identity = begin_post_copy(lab, tiny)
    os.kill(qemu_pid(lab, source if side == "source" else target, tiny), signal.SIGKILL)
    document = await_end(lab, source, identity)
    assert document["state"] == "failed"
    error_of(document, "LPM-5006")
    assert_clean(lab, 30)
    assert lab.places(tiny) == [(source, "shut off")]
    code, answer = lab.lpm(source, "recover", tiny)
    assert code == 0 and answer["recoveries"][0]["owner"] == source
    lab.virsh(source, "start", tiny)
    with clients(lab, tiny):
        move(lab, tiny)
    assert_clean(lab)
