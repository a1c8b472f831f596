# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Runs trials in one or several labs, each in a process of its own, and hands back their records.

A lab is used for trial after trial as long as all is well; after a failure it is made anew, so that
one failure is not counted twice.
"""

import ctypes
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import time
import traceback

from lab import proc
from lab.faults import actions, journals, judge, plan, trial
from lab.faults.ground import Ground
from lab.proc import LabError
from lab.state import Lab

PR_SET_PDEATHSIG = 1
ATTEMPTS = 3  # to set a lab up


class Job:
    """What all trials of a run have in common."""

    rate = "1gbit"     # of the uplinks
    rto_max_ms = None  # of the clients' TCP; the kernel's own

    def __init__(self, build, name, only, link_timeout_s=None, settle_s=trial.SETTLE_S):
        self.build, self.name, self.only = build, name, only
        self.link_timeout_s, self.settle_s = link_timeout_s, settle_s
        program = os.path.join(Lab(name, build).build, "src/daemon/lpmd")
        try:
            listed = subprocess.run([program, "--list-fault-points"], stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True, check=True).stdout
            lpm = os.path.join(Lab(name, build).build, "src/cli/lpm")
            self.post_copy = "--post-copy" in proc.run([lpm, "help", "migrate"])
        except (OSError, subprocess.CalledProcessError):
            raise LabError(f"{program} is not there or has no fault points: build with "
                           "-Dfault_points=true and name the build with --build") from None
        self.points = listed.split()

    def plan(self, seed):
        return plan.make(seed, self.points, self.post_copy, self.only)


def run(job, plans, labs):
    """Yields a record per trial as they end."""
    todo, done = multiprocessing.Queue(), multiprocessing.Queue()
    for p in plans:
        todo.put(p)
    crew = [multiprocessing.Process(target=_work, args=(job, f"{job.name}{os.getpid() % 10000}{c}",
                                                        todo, done))
            for c in "abcdefgh"[:min(labs, len(plans))]]
    for worker in crew:
        worker.start()
    try:
        missing = len(plans)
        while missing:
            try:
                yield done.get(timeout=1)
                missing -= 1
            except queue.Empty:
                if not any(worker.is_alive() for worker in crew):
                    raise LabError("the labs have ended before the trials were done") from None
    finally:
        for worker in crew:
            if missing and worker.is_alive():
                os.kill(worker.pid, signal.SIGTERM)
        for worker in crew:
            worker.join()
        todo.cancel_join_thread()  # nobody reads what is left; this process would wait for one


def _interrupt(_signal, _frame):
    raise KeyboardInterrupt


def _work(job, name, todo, done):
    signal.signal(signal.SIGTERM, _interrupt)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # no lab outlives its run
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C comes as SIGTERM
    try:
        left = True
        while left:
            left = _one_lab(job, name, todo, done)
    except KeyboardInterrupt:
        pass
    except LabError as error:
        print(f"faults: lab {name}: {error}", file=sys.stderr, flush=True)


def _one_lab(job, name, todo, done):
    """Trials until one fails; False when there are no more."""
    with _set_up(job, name) as ground:
        while True:
            try:
                p = todo.get(timeout=0.2)
            except queue.Empty:
                return False
            record, usable = _one_trial(job, ground, p)
            done.put(record)
            if not usable:
                return True


def _set_up(job, name):
    for attempt in range(ATTEMPTS):
        try:
            return _Entered(Ground(name, job.build, job.link_timeout_s, job.rate,
                                   job.rto_max_ms))
        except LabError as error:
            if attempt == ATTEMPTS - 1:
                raise
            print(f"faults: lab {name}: {error}: once more", file=sys.stderr, flush=True)
            time.sleep(1)
    return None


class _Entered:
    """A context manager that was entered already."""

    def __init__(self, ground):
        self.ground = ground.__enter__()

    def __enter__(self):
        return self.ground

    def __exit__(self, *exception):
        self.ground.__exit__(*exception)


def _one_trial(job, ground, p):
    begin = time.monotonic()
    source = ground.home()
    out, usable, lines = trial.Outcome(p, source), False, []
    try:
        if source is None:
            raise LabError("the partition is not at one place before the trial")
        task = trial.Trial(ground, p, source)
        out = task.out
        task.run()
        if not out.migration:  # its start was not answered
            newest = journals.newest(ground, source)
            out.migration = newest if newest != task.previous else None
        usable = judge.judge(ground, out, task.faults, job.settle_s)
    except LabError as error:
        out.fail("engine", str(error))
    except Exception:  # pylint: disable=broad-except  # one trial must not end the others
        out.fail("engine", traceback.format_exc())
    if out.failures:
        usable = False
    lines = journals.timeline(ground, out)
    if any(kind in ("died", "engine") for kind, _ in out.failures):
        lines += journals.last_words(ground)
    actions.clear(ground)
    return _record(out, lines, time.monotonic() - begin), usable


def _record(out, lines, seconds):
    return {"seed": out.plan.seed, "text": out.plan.text(), "column": out.plan.column,
            "options": out.plan.options,
            "ended": out.ended, "source": out.source, "migration": out.migration,
            "injections": [{"fault": i.step.fault, "at": i.step.text().partition("@")[2],
                            "reached": i.reached, "applied": i.applied, "state": i.state}
                           for i in out.injections],
            "silence_us": out.silence_us, "failures": out.failures, "notes": out.notes, "timeline": lines,
            "seconds": round(seconds, 2)}
