# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What is asserted after a trial.

Facts come from the checker, which knows nothing of lpm; then lpm is asked and must agree with them;
then the next migration must work.
"""

import time

from lab.faults import checker, trial
from lab.faults.observe import now_us
from lab.faults.ground import FINAL, PARTITION, NoAnswer, other
from lab.proc import LabError

ENDED = "the partition ended with its QEMU"
JOURNAL_S = 1.1  # the clients write their journal once a second
CLEAN_S = 15  # from the migration's end until one copy runs and nothing is left over


def judge(ground, out, faults, settle_s=trial.SETTLE_S):
    """Adds what is wrong to out.failures; True when the ground can be used for another trial."""
    settled = trial.settle(ground, out, settle_s)
    may_end = any(i.applied and f.may_end_guest(i.state, i.step.instant, out.plan.post_copy)
                  for f, i in zip(faults, out.injections))
    where = _facts(ground, out, may_end, settled)
    if not settled:
        return False
    _what_lpm_says(ground, out, where)
    if where is None:
        where = _begin_anew(ground, out, may_end)
    if where is None:
        return False
    _next(ground, out, where)
    _clients(ground, out, may_end)
    ground.observer.forget(out.begin_us)
    return not out.failures


def _facts(ground, out, may_end, settled):
    """What the checker sees; the host of the one running copy."""
    verdict = checker.check(ground, PARTITION, ground.observer, None, allow_zero=may_end,
                            since_us=out.begin_us, settle_s=CLEAN_S if settled else 0)
    for overlap in verdict.double_runs:
        out.fail("double", f"two copies ran at once: {overlap}")
    for unsafe in verdict.unsafe_starts:
        out.fail("double", f"started beside a copy that could run: {unsafe}")
    if not settled:
        return None
    if verdict.leftovers:
        out.fail("leftover", "; ".join(verdict.leftovers))
    for note in verdict.notes:
        out.fail("wrong", note)
    return verdict.running_on[0] if len(verdict.running_on) == 1 else None


def _what_lpm_says(ground, out, where):
    """lpm's word about this migration on both hosts, against where the partition is."""
    moves = {}
    for name in ground.state["hosts"]:
        try:
            moves[name] = next((m for m in ground.migrations(name)
                                if m["id"] == out.migration), None)
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
    """After QEMU was killed: the clients' journal against the whole disk, then a new start."""
    if not may_end:
        return None
    out.notes.append(ENDED)
    try:
        time.sleep(JOURNAL_S)
        verdict = checker.check(ground, PARTITION, ground.observer, ground.ledger, allow_zero=True,
                                since_us=out.begin_us, settle_s=0)
        _writes(out, verdict)
        ground.kill_clients()
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


def _clients(ground, out, may_end):
    """What the clients were told is on the disk once, and the service's memory is whole; nothing
    was left over by the migration after the trial either."""
    verdict = checker.check(ground, PARTITION, ground.observer, ground.ledger, memory=True,
                            since_us=out.begin_us, settle_s=CLEAN_S)
    _writes(out, verdict)
    if out.plan.column == "cuts":
        out.silence_us = ground.ledger.gap_us(out.begin_us, now_us())
    if verdict.resets and not may_end:
        out.fail("clients", f"{verdict.resets} connections were reset")
    for text in verdict.leftovers + verdict.notes:
        out.fail("next", f"after the next migration: {text}")
    if ground.ledger.process.poll() is not None:
        out.fail("clients", "the clients have ended")


def _writes(out, verdict):
    for kind, count in (("lost", verdict.lost), ("doubled", verdict.doubled),
                        ("lost", verdict.corrupt)):
        if count:
            out.fail(kind, f"{count} writes {kind} or damaged: {'; '.join(verdict.notes)}")
