# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What is asserted after a trial.

Facts come from processes, libvirt, the disk and the clients; then lpm is asked and must agree with
them; then the next migration must work.
"""

import os

from lab import proc
from lab.faults import trial
from lab.faults.ground import FINAL, PARTITION, NoAnswer, other
from lab.proc import LabError

RUNS_S = 15   # until libvirt says that one copy runs, after the migration has ended
CLEAN_S = 15  # until nothing is left over


def judge(ground, out, faults):
    """Adds what is wrong to out.failures; True when the ground can be used for another trial."""
    if not trial.settle(ground, out):
        return False
    may_end = any(f.may_end_guest() and i.applied for f, i in zip(faults, out.injections))
    where = _await_one(ground, out, may_end)
    _leftovers(ground, out)
    _what_lpm_says(ground, out, where)
    if where is None:
        where = _begin_anew(ground, out, may_end)
    if where is None:
        return False
    _next(ground, out, where)
    _clients(ground, out, may_end)
    return not out.failures


def _await_one(ground, out, may_end):
    """The host of the one running copy; None when there is none and that may be."""
    def looked():
        places = ground.places(PARTITION)
        if len([p for p in places if p[1] == "running"]) == 1 and len(places) == 1:
            return True
        return may_end and len(places) <= 1 and not any(p[1] == "running" for p in places) and \
            not any(ground.pids("qemu", w, "") for w in ground.state["hosts"])
    try:
        proc.wait_until("one copy to run", looked, RUNS_S, 0.1)
    except LabError:
        places = ground.places(PARTITION)
        running = [w for w, state in places if state == "running"]
        out.fail("double" if len(running) > 1 else "none" if not running else "leftover",
                 f"{RUNS_S} s after the end libvirt shows {places}")
        return running[0] if len(running) == 1 else None
    return ground.home()


def left(ground):
    found = [f"mover process {pid}" for pid in ground.mover_processes()]
    for where in ground.state["hosts"]:
        for folder in ("/run/lpm/mover", "/run/libvirt/lpm"):
            path = ground.path(where, folder)
            found += [f"{where}:{folder}/{n}" for n in os.listdir(path)] \
                if os.path.isdir(path) else []
    return found


def _leftovers(ground, out):
    try:
        proc.wait_until("both hosts to be clean", lambda: not left(ground), CLEAN_S, 0.05)
    except LabError:
        out.fail("leftover", f"left over: {', '.join(left(ground))}")


def _what_lpm_says(ground, out, where):
    """lpm's word about this migration on both hosts, against where the partition is."""
    moves = {}
    for name in ground.state["hosts"]:
        try:
            moves[name] = next((m for m in ground.migrations(name) if m["id"] == out.migration), None)
            shown = {p["name"]: p["state"] for p in
                     ground.api(name, "/v1/partitions")[1]["partitions"]}
        except NoAnswer as error:
            out.fail("silent", str(error))
            return
        state = shown.get(PARTITION)
        if (state == "Running") != (name == where):
            out.fail("untrue", f"lpm on {name} shows {state}, and it runs on {where}")
    if not out.migration:
        return
    if moves[out.source]:
        out.ended = moves[out.source]["state"]
    _end_agrees(out, where)
    _recover_agrees(ground, out, where)


def _end_agrees(out, where):
    owner = {"done": out.target, "failed": out.source, "stopped": out.source}.get(out.ended)
    if out.ended is not None and out.ended not in FINAL:
        out.fail("unsettled", f"{out.source} shows the migration as {out.ended}")
    elif owner and where and owner != where:
        out.fail("untrue", f"ended as {out.ended} but the partition runs on {where}")


def _recover_agrees(ground, out, where):
    """`lpm recover` names the owner, from either host."""
    defined = [w for w, _ in ground.places(PARTITION)]
    home = where or (defined[0] if len(defined) == 1 else None)
    for name, (code, told) in trial.ask_recover(ground).items():
        if told.get("migration") != out.migration:
            continue  # this host never heard of it
        if code != 0 or (home and told.get("owner") != home):
            out.fail("untrue", f"lpm recover on {name}: exit {code}, owner {told.get('owner')}, "
                               f"but it is on {home}: {told.get('why')}")


def _begin_anew(ground, out, may_end):
    """After QEMU was killed: the clients' journal against the disk first, then a new start."""
    if not may_end:
        return None
    out.notes.append("the partition ended with its QEMU")
    try:
        _clients(ground, out, may_end, begin=False)
        where = ground.start_partition()
    except LabError as error:
        out.fail("none", f"it could not be started again: {error}")
        return None
    if where is None:
        out.fail("none", "its definition is on no host")
        return None
    ground.begin_clients()
    return where


def _next(ground, out, where):
    """A migration without any fault."""
    try:
        code, document = ground.lpm(where, "migrate", PARTITION, "--to", other(where), timeout=60)
    except LabError as error:
        out.fail("next", f"the next migration: {error}")
        return
    if code != 0 or ground.home() != other(where):
        error = document.get("error") or {}
        out.fail("next", f"the next migration: exit {code}, {document.get('state')}, "
                         f"{error.get('code')} {error.get('cause')}; it is at "
                         f"{ground.places(PARTITION)}")


def _clients(ground, out, may_end, begin=True):
    """What the clients were told is on the disk once, and in memory."""
    try:
        report = ground.end_clients() if ground.ledger else None
    except LabError as error:
        out.fail("clients", str(error))
        report = None
    if report:
        _judge_report(out, report, may_end)
    if begin:
        ground.begin_clients()


def _judge_report(out, report, may_end):
    disk = report["disk_check"]
    for kind in ("lost", "doubled"):
        count = max(report[kind] or 0, disk[kind])
        if count:
            out.fail(kind, f"{count} acknowledged writes {kind}")
    if disk["corrupt"] or disk["chain_breaks"]:
        out.fail("lost", f"the disk: {disk}")
    if may_end:
        return  # its connections ended with it, and its memory is another
    if report["resets"] or not report["verified"] or not report["memory_ok"] or report["refused"]:
        out.fail("clients", "; ".join(f"{k} {report[k]}" for k in (
            "resets", "verified", "memory_ok", "refused", "errors")))
