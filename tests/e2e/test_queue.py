# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""More migrations than may be under way at once: they wait, in an order that can be changed, and
begin by themselves. Powered-off partitions are moved here, which takes a moment; a running one holds
the slot."""

import contextlib
import os

import pytest

from lab import lpmd, proc
from support import (SLOW, api, assert_clean, await_copying, await_end, begin, error_of, home,
                     newest, other)
from validating import definition

GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0"}
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def off(lab):
    for name in NAMES:
        lab.add_guest(name, mem=96, disks=0, nics=0, no_start=True)
    return NAMES


@contextlib.contextmanager
def limit(lab, where, text):
    folder = os.path.join(lab.lab.host_dir(where), "etc-lpm", "conf.d")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "limit.conf")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"[migration]\n{text}\n")
    restart(lab, where)
    try:
        yield
    finally:
        os.unlink(path)
        restart(lab, where)


def restart(lab, where):
    lpmd.stop(lab.lab, lab.state, where)
    lpmd.start(lab.lab, lab.state, where)


def queue(lab, where):
    return [m["partition"] for m in lab.lpm(where, "queue")[1]["queue"]]


def ask(lab, where, name, *options):
    code, document = lab.lpm(where, "migrate", name, "--to", other(where), "--no-wait", *options)
    assert code == 0, document
    return document


def bring_back(lab, names):
    for name in names:
        for where, _ in lab.places(name):
            if where != "alpha":
                assert lab.lpm(where, "migrate", name, "--to", "alpha")[0] == 0


def test_order(lab, tiny, off):
    """One slot, taken; three wait, are shown, moved, dropped, kept over a restart, and begin in
    their order."""
    assert home(lab, tiny) == "alpha"
    with limit(lab, "alpha", "max_outgoing=1"):
        identity = begin(lab, tiny, *SLOW)[2]
        await_copying(lab, "alpha", identity)
        code, document = lab.lpm("alpha", "migrate", "one", "--to", "beta", "--no-queue")
        assert code == 4
        assert "max_outgoing" in error_of(document, "LPM-1008")["cause"]
        first = ask(lab, "alpha", "one")
        assert first["state"] == "queued" and first["queue"]["position"] == 1
        assert "max_outgoing" in first["queue"]["waits_for"]
        assert api(lab, "alpha", "/v1/partitions/one")[1]["state"] == "Not Activated"
        ask(lab, "alpha", "two")
        ask(lab, "alpha", "three", "--priority", "5")
        assert queue(lab, "alpha") == ["three", "one", "two"]
        code, document = lab.lpm("alpha", "migrate", "two", "--to", "beta")
        assert code == 4
        error_of(document, "LPM-1005")
        lab.lpm("alpha", "queue", "two", "--first")
        assert queue(lab, "alpha") == ["two", "three", "one"]
        lab.lpm("alpha", "queue", "three", "--last")
        lab.lpm("alpha", "queue", "one", "--priority", "7")
        assert queue(lab, "alpha") == ["one", "two", "three"]
        code, document = lab.lpm("alpha", "queue", tiny, "--first")
        assert code == 4
        error_of(document, "LPM-1013")
        restart(lab, "alpha")
        assert queue(lab, "alpha") == ["one", "two", "three"]
        assert lab.lpm("alpha", "queue", "two", "--drop")[0] == 0
        proc.wait_until("two to be dropped",
                        lambda: newest(lab, "alpha", "two")["state"] == "stopped", 10, 0.05)
        assert queue(lab, "alpha") == ["one", "three"]
        assert lab.lpm("alpha", "stop", tiny)[0] == 0
        await_end(lab, "alpha", identity)
        for name in ("one", "three"):
            end = await_end(lab, "alpha", newest(lab, "alpha", name)["id"])
            assert end["state"] == "done" and end["phases"][0]["name"] == "queued"
        begun = {n: newest(lab, "alpha", n)["phases"][1]["begin_us"] for n in ("one", "three")}
        assert begun["one"] < begun["three"]
        assert queue(lab, "alpha") == []
        assert lab.places("two") == [("alpha", "shut off")]
    bring_back(lab, off)
    assert_clean(lab)


def test_target_that_is_full(lab, tiny):
    """The target's limit lets the source wait as well: everything is as before meanwhile, and it
    begins anew when there is room."""
    assert home(lab, tiny) == "alpha"
    lab.add_guest("second", **GUEST)
    lab.virsh("alpha", "autostart", "second")
    with limit(lab, "beta", "max_incoming=1"):
        identity = begin(lab, tiny, *SLOW)[2]
        await_copying(lab, "alpha", identity)
        waiting = ask(lab, "alpha", "second")["id"]

        def waits():
            document = api(lab, "alpha", f"/v1/migrations/{waiting}")[1]
            return document if document["state"] == "queued" else None
        document = proc.wait_until("second to wait for beta", waits, 30, 0.02)
        assert "beta" in document["queue"]["waits_for"] and not document["ended_ms"]
        assert home(lab, "second") == "alpha"
        assert "enable" in lab.virsh("alpha", "dominfo", "second")
        assert lab.lpm("alpha", "stop", tiny)[0] == 0
        await_end(lab, "alpha", identity)
        end = await_end(lab, "alpha", waiting)
        assert end["state"] == "done" and end["report"]["stream_hash"]["identical"]
        assert [p["name"] for p in end["phases"]].count("queued") >= 1
        assert home(lab, "second") == "beta"
        assert "enable" in lab.virsh("beta", "dominfo", "second")
    lab.remove_guest("second")
    assert_clean(lab)


def available():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable"))


def test_two_that_do_not_fit_together(lab, tiny):
    """Each fits by itself. The one that is on its way has its memory reserved, and is named; since
    both are bound to a memory node, in that as well."""
    half = min(int(available() * 0.55) >> 20, 60000)
    assert home(lab, tiny) == "alpha"
    for name in ("large", "huge"):
        lab.add_guest(name, mem=half, disks=0, nics=0, append="ledger.mem=4M ledger.dirty=0",
                      no_start=True)
        lab.virsh("alpha", "define", definition(
            lab, name, ("<os>", "<numatune><memory mode='strict' nodeset='0'/></numatune><os>")))
    try:
        lab.virsh("alpha", "start", "large")
        for name in ("large", "huge"):
            assert lab.lpm("alpha", "validate", name, "--to", "beta")[1]["errors"] == 0
        identity = ask(lab, "alpha", "large", "--bandwidth", "1M")["id"]
        await_copying(lab, "alpha", identity, at_least=1 << 20)
        code, document = lab.lpm("alpha", "migrate", "huge", "--to", "beta")
        assert code == 4
        cause = error_of(document, "LPM-6030")["cause"]
        assert f"promised to large (migration {identity})" in cause
        assert "[LPM-6035] memory nodes 0 of beta" in cause
        assert "promised to partitions on their way there" in cause
        assert lab.lpm("alpha", "stop", "large")[0] == 0
        await_end(lab, "alpha", identity)
        assert_clean(lab)
        assert lab.lpm("alpha", "validate", "huge", "--to", "beta")[1]["errors"] == 0
    finally:
        for name in ("large", "huge"):
            lab.remove_guest(name)
