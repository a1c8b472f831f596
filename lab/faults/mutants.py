# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Deliberate bugs that the engine must catch, each by trials that aim at it.

An engine that finds nothing proves nothing; these show that it would. A mutant is a build of its
own with -Dmutant=NAME; it is caught when a trial fails for one of the reasons that it leads to.
"""

import os
import subprocess
import sys

from lab.faults import workers
from lab.faults.observe import PROGRAM
from lab.faults.plan import Plan, Step
from lab.lpmd import PROGRAMS, WORKLOAD
from lab.proc import LabError
from lab.state import Lab

SETTLE_S = 8  # a trial that is to fail need not be waited for any longer
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Mutant:
    """`steps`: one trial each; `kinds`: failures that count as catching it."""

    def __init__(self, breaks, kinds, steps, link_timeout_s=None):
        self.breaks, self.kinds, self.steps = breaks, kinds, steps
        self.link_timeout_s = link_timeout_s

    def plans(self):
        return [Plan(seed, "mutant", (step,), "never") for seed, step in enumerate(self.steps)]


TABLE = {
    "resume-before-dead": Mutant(
        "the target starts as soon as it is prepared (rule 1)", ("double",),
        (Step("stall-control", "source.frozen", 1.0, 0.5),
         Step("pause-lpmd-source", "source.asked-prepared", 1.0, 0.3))),
    "finish-on-timeout": Mutant(
        "the mover lets the Finish reply go after a second (rule 3)",
        ("none", "double", "wrong", "untrue", "lost"),
        (Step("stall-control", "source.finish-held", 3.0, 2.0),
         Step("pause-lpmd-source", "source.finish-held", 3.0, 0.0),
         Step("pause-lpmd-target", "target.prepared-asked", 3.0, 0.0))),
    "skip-fsync": Mutant(
        "decisions are not on the disk when they are acted on",
        ("untrue", "none", "wrong", "double", "unsettled", "leftover"),
        (Step("kill-lpmd-source", "source.telling-commit", 0.5, 0.0),
         Step("kill-lpmd-target", "target.after-running", 0.5, 0.0),
         Step("kill-lpmd-target", "target.resuming", 0.5, 0.0),
         Step("kill-lpmd-source", "source.after-running", 0.5, 0.0))),
    "give-up-prepared": Mutant(
        "a prepared target gives up when the source is silent (rule 2)",
        ("none", "wrong", "untrue", "lost", "unsettled"),
        (Step("cut-both", "source.after-ending", 12.0, 0.1),
         Step("cut-both", "target.after-prepared", 12.0, 0.1)), link_timeout_s=3),
}


def _build(build, name):
    folder = f"{build}-{name}"
    steps = [["ninja", "-C", folder] + list((PROGRAMS | WORKLOAD).values()) + [PROGRAM]]
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        steps.insert(0, ["meson", "setup", folder, TREE, "-Dfault_points=true", f"-Dmutant={name}",
                         "-Doptimization=0", "-Ddebug=false"])
    for step in steps:
        done = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise LabError(f"{' '.join(step)} failed:\n{done.stdout[-2000:]}")
    return folder


def run(name, build, labs_name, say):
    """{mutant, caught, by, trials, ...}; ends with the first trial that catches it."""
    mutant = TABLE[name]
    folder = _build(Lab(labs_name, build).build, name)
    job = workers.Job(folder, labs_name, None, mutant.link_timeout_s, SETTLE_S)
    trials = 0
    for record in workers.run(job, mutant.plans(), 1):
        trials += 1
        say(record, trials, len(mutant.steps))
        by = [f"{kind}: {text}" for kind, text in record["failures"] if kind in mutant.kinds]
        if by:
            return {"mutant": name, "breaks": mutant.breaks, "caught": True, "trials": trials,
                    "by": by, "trial": record["text"]}
    print(f"faults: mutant {name} was not caught", file=sys.stderr)
    return {"mutant": name, "breaks": mutant.breaks, "caught": False, "trials": trials, "by": []}
