# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""One trial: a migration, its faults, and what came of it.

Each step of the plan waits for its instant, on its own: a fault point of lpmd that is armed before
the migration begins, or a time. What a fault began is healed by the same loop. Then everything
has a bounded time to settle by itself, and the checks follow.
"""

import dataclasses
import heapq
import itertools
import json
import subprocess
import time

from lab import proc
from lab.faults import actions, knobs, plan
from lab.faults.ground import FINAL, PARTITION, NoAnswer, monotonic_us, other
from lab.proc import LabError

SETTLE_S = 30     # beyond the end of the last fault
UNREACHED_S = 20  # for a fault point that the migration does not come to
CLEAN_S = 15


@dataclasses.dataclass
class Injection:
    """What came of one step."""
    step: object
    reached: bool = False
    applied: bool = False
    state: str = None  # of the migration on its source, when the fault was applied
    at_us: int = None


@dataclasses.dataclass
class Outcome:
    plan: object
    source: str = None
    target: str = None
    injections: list = dataclasses.field(default_factory=list)
    migration: str = None
    ended: str = None
    failures: list = dataclasses.field(default_factory=list)  # [(kind, text)]
    notes: list = dataclasses.field(default_factory=list)
    begin_us: int = 0
    seconds: float = 0.0
    silence_us: int = None  # the clients' longest

    def fail(self, kind, text):
        self.failures.append((kind, text))

    def applied(self):
        return any(i.applied for i in self.injections)


class Trial:
    def __init__(self, ground, what, source):
        self.ground, self.plan = ground, what
        self.out = Outcome(what, source, other(source))
        self.hosts = {"source": source, "target": other(source)}
        self.todo, self.order = [], itertools.count()  # heap of (due, order, function)
        self.faults = [actions.make(ground, s.fault, self.hosts, s.seconds) for s in what.steps]
        self.out.injections = [Injection(s) for s in what.steps]
        self.call, self.movers_since = None, 0.0
        self.previous = None  # the newest migration before this one, as the source knows it
        self.passed = {}  # steps with a delay: when their fault point was passed

    # ---- the loop ----

    def run(self):
        begin = time.monotonic()
        self.ground.configure(knobs.configuration(self.plan.options))
        for fault in self.faults:
            fault.prepare()
        for step in self.plan.steps:
            if isinstance(step.instant, str):
                self.ground.arm(self._host_of(step), step.instant)
        try:
            self._start()
            self._loop()
        finally:
            self._end_faults()
        self.out.seconds = time.monotonic() - begin
        return self.out

    def _host_of(self, step):
        return self.hosts[step.instant.partition(".")[0]]

    def _start(self):
        options = knobs.arguments(self.plan.options)
        if self.plan.post_copy != "never":
            options += ["--post-copy", self.plan.post_copy]
        earlier = self.ground.migrations(self.out.source)
        self.previous = earlier[0]["id"] if earlier else None
        self.out.begin_us = monotonic_us()
        self.began = time.monotonic()
        line = self.ground.enter(self.out.source, self.ground.program("lpm"), "migrate", PARTITION,
                                 "--to", self.out.target, "--no-wait", "--json", *options)
        self.call = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)

    def _loop(self):
        limit = self.began + UNREACHED_S
        look = 0.0
        waiting = list(zip(self.out.injections, self.faults))
        while waiting or self.todo:
            now = time.monotonic()
            while self.todo and self.todo[0][0] <= now:
                heapq.heappop(self.todo)[2]()
            for pair in [p for p in waiting if self._has_come(p[0].step, now)]:
                waiting.remove(pair)
                self._inject(*pair)
                limit = max(limit, time.monotonic() + pair[1].seconds + UNREACHED_S)
            if waiting and now > look:
                look = now + 0.1
                if now > limit or (not self.todo and self._over(waiting)):
                    self._unreached(waiting)
            time.sleep(0.002)

    def _has_come(self, step, now):
        if step.delay:
            return self._delay_is_over(step, now)
        if isinstance(step.instant, str):
            return self.ground.reached(self._host_of(step), step.instant)
        if step.instant < 0:
            return now - self.began >= -step.instant
        if not self.movers_since and self.ground.has_movers(self.out.source):
            self.movers_since = now
        return bool(self.movers_since) and now - self.movers_since >= step.instant

    def _delay_is_over(self, step, now):
        if step not in self.passed and self.ground.reached(self._host_of(step), step.instant):
            self.ground.disarm(self._host_of(step), step.instant)
            self.passed[step] = now
        return step in self.passed and now - self.passed[step] >= step.delay

    def _unreached(self, waiting):
        for injection, _ in waiting:
            if isinstance(injection.step.instant, str):
                self.ground.disarm(self._host_of(injection.step), injection.step.instant)
        waiting.clear()

    def _over(self, waiting):
        """Whether no fault point can be reached any more, nor any time after the movers' start."""
        if any(not isinstance(i.step.instant, str) and self.movers_since for i, _ in waiting):
            return False
        code = self.call.poll()  # first, or the migration might begin between the two looks
        if code is None or code:
            return bool(code)
        try:
            return all(not self.ground.migrations(w, active=True, timeout=0.2)
                       for w in self.hosts.values())
        except NoAnswer:
            return False

    def _inject(self, injection, fault):
        step = injection.step
        point = step.instant if isinstance(step.instant, str) and not step.delay else None
        injection.reached = True
        injection.state = plan.column_of(point) if point else self._state()
        injection.at_us = monotonic_us()
        try:
            injection.applied = fault.apply()
        finally:
            now = time.monotonic()
            # A daemon that is asked to end, ends only once it is beyond its fault point.
            healed = now + max(step.seconds, step.hold + 0.01 if fault.waits_for_point else 0)
            if point:
                self._later(now + step.hold, lambda: self.ground.disarm(self._host_of(step), point))
            self._later(healed, fault.heal)

    def _later(self, due, function):
        heapq.heappush(self.todo, (due, next(self.order), function))

    def _state(self):
        """For a random instant: what the source says, as a column of the matrix."""
        try:
            moves = self.ground.migrations(self.out.source, timeout=0.1)
        except NoAnswer:
            return "unknown"
        if not moves or moves[0]["id"] == self.previous:
            return "validating"
        state = moves[0]["state"]
        if state in FINAL:
            return "after the end"
        return state

    def _end_faults(self):
        """Also on an error: nothing may stay armed, cut or stopped."""
        for step in self.plan.steps:
            if isinstance(step.instant, str):
                self.ground.disarm(self._host_of(step), step.instant)
        while self.todo:
            heapq.heappop(self.todo)[2]()
        try:
            out, _ = self.call.communicate(timeout=30)
            self._read_start(out)
        except subprocess.TimeoutExpired:
            self.call.kill()
            self.call.communicate()
            self.out.fail("stuck", "lpm migrate --no-wait did not return within 30 s")

    def _read_start(self, text):
        try:
            document = json.loads(text)
        except ValueError:
            self.out.notes.append(f"lpm migrate: exit {self.call.returncode}: {text[:200]!r}")
            return
        self.out.migration = document.get("id")
        if not self.out.migration:
            self.out.notes.append(f"lpm migrate: {document.get('error', {}).get('cause')}")


# ---- afterwards ----

def settle(ground, out, seconds=SETTLE_S):
    """Until no lpmd has an unfinished migration; then a bound for the sweepers. Notes failures."""
    for what, where in ground.dead_daemons():
        ground.start_daemon(what, where)
    for what, where in ground.deaths:
        out.fail("died", f"{what} of {where} has ended by itself")
    ground.deaths.clear()
    try:
        ground.await_daemons()
        proc.wait_until("the migration to end", lambda: _none_active(ground), seconds, 0.02)
    except LabError as error:
        if not _recover_all(ground, out, 5):
            out.fail("unsettled", f"{error}; {_states(ground)}")
            return False
    return True


def _none_active(ground):
    try:
        return all(not ground.migrations(w, active=True) for w in ground.state["hosts"])
    except NoAnswer:
        return False


def _recover_all(ground, out, seconds):
    answers = {w: ground.lpm_timed(w, "recover", "--all", timeout=15)
               for w in ground.state["hosts"]}
    out.notes.append(f"lpm recover --all: { {w: a[0] for w, a in answers.items()} }")
    try:
        proc.wait_until("recovery to end", lambda: _none_active(ground), seconds, 0.05)
    except LabError:
        return False
    out.fail("helped", "it ended only after lpm recover --all")
    return True


def _states(ground):
    found = {}
    for where in ground.state["hosts"]:
        try:
            found[where] = [(m["role"], m["state"]) for m in ground.migrations(where, active=True)]
        except NoAnswer as error:
            found[where] = str(error)
    return found


def ask_recover(ground):
    """{host: the newest migration's recovery as that host tells it}."""
    told = {}
    for where in ground.state["hosts"]:
        code, document = ground.lpm_timed(where, "recover", PARTITION)
        told[where] = (code, (document.get("recoveries") or [{}])[0] if isinstance(document, dict)
                       else {"error": document})
    return told
