# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What a trial does, as a pure function of its seed and of the fault points of the build.

The seed of trial N of run S is S * 1000000 + N. A run goes through the cells (fault x column of
instants) in an order that S shuffles, so that a long run visits them all; what is left open in
a cell (which point of the column, how long) comes from the trial's own seed, and so do the options
of the migration (knobs.py).
"""

import dataclasses
import random

from lab.faults import actions, knobs

RUN = 1_000_000
EXPECTED_S = 0.9  # how long a migration of the partition lasts from its movers' start on
EARLY_S = 0.2     # random instants begin so long before
RANDOM = "random"
SECOND_FAULT = 0.2  # of the trials

# Instants that only a migration meets that goes wrong: the fault that leads there comes first.
ROADS = {
    "rolling-back": (("lpm-stop", "source.after-copying"),
                     ("kill-mover-target", "source.after-copying"),
                     ("lpm-stop", "source.finish-held"),
                     ("kill-qemu-target", "source.after-suspending")),
    "stopped": (("lpm-stop", "source.after-copying"), ("lpm-stop", "source.after-committing")),
    "failed": (("kill-mover-target", "source.after-copying"),
               ("kill-mover-source", "source.after-suspending")),
    "doubt-source": (("cut-control", "source.source-ended", 3.0),
                     ("kill-lpmd-target", "source.source-ended", 2.0)),
    # Only once its mover has lost the other one does the target ask, every 2 s.
    "doubt-target": (("cut-both", "target.after-prepared", 5.0),),
    "ended": (("kill-qemu-target", "source.source-ended"),),
    "resumed": (("kill-mover-target", "source.after-post-copy"),
                ("kill-mover-source", "target.after-post-copy")),
    # What the copy has asked for first is lost with either of them, if that is soon enough.
    "fed": (("kill-mover-target", "target.after-switched"),
            ("kill-mover-source", "target.after-switched")),
}
UNDECIDED = ("finish-held", "asked-prepared", "frozen", "before-ending", "after-committing",
             "prepared-asked", "before-prepared", "after-prepared", "mover-started")
DECIDED = ("after-ending", "source-ended", "before-committed", "after-committed", "telling-commit",
           "commit-asked", "resumed")
COLUMNS = ("validating", "preparing", "copying", "suspending", "committing", "decided", "cleaning",
           "rolling-back", "in-doubt", "ended", "post-copy", RANDOM)
# Each such trial boots the partition anew: only faults that may keep its end from being settled.
AFTER_THE_END = ("lpmd-source", "lpmd-target", "control", "both")
POST_COPY = ("post-copy", "post-copy-asked", "resuming-post-copy", "resume-asked", "switching",
             "switched", "allowing-run", "run-allowed", "start-held", "feeding", "fed-journalled",
             "bitmaps")
# Instants that only the migration of a powered-off partition, or one that has waited, meets.
OTHERS_ONLY = ("undefined", "placed", "defined", "queued")
# Instants of a hand-over in which the run passes with the last page.
PRE_COPY_ONLY = ("source.before-suspending", "source.after-suspending", "source.before-committing",
                 "source.after-committing", "source.finish-held", "source.asked-prepared",
                 "source.frozen")
BEFORE_TARGET_QEMU = ("source.after-copying", "target.after-copying")
NO_VICTIM = {"mover": ("validating", "preparing"), "qemu-target": ("validating", "preparing")}


def column_of(point):
    """The column of a fault point's name; None for one that trials do not use."""
    side, _, instant = point.partition(".")
    what = instant.removeprefix("before-").removeprefix("after-")
    if what == "fenced" or what in OTHERS_ONLY:
        return None
    if what in POST_COPY:
        return "post-copy"
    if what in ("rolling-back", "aborted", "stopped", "failed", "telling-abort", "discarding",
                "discarded") or (side, what) == ("source", "resuming"):
        return "rolling-back"
    if what in ("in-doubt", "ended"):
        return what
    if instant in ("before-validating", "after-validating") or point == "source.before-preparing":
        return "validating"
    if instant in DECIDED or (side, what) == ("target", "resuming") or (side, what) == (
            "target", "committed") or (side, instant) == ("target", "before-running"):
        return "decided"
    if what == "mover-started" or point in ("target.before-preparing", "target.after-preparing",
                                            "source.after-preparing", "source.before-copying",
                                            "target.before-copying"):
        return "preparing"
    if point in ("source.after-copying", "source.before-suspending", "target.after-copying",
                 "target.qemu-connected"):
        return "copying"
    if point in ("source.after-suspending", "source.before-committing"):
        return "suspending"
    if instant in UNDECIDED or what == "committing":
        return "committing"
    return "cleaning"


def road_to(point):
    """Key of ROADS for a point that a good migration does not meet; None for the others."""
    side, _, instant = point.partition(".")
    column = column_of(point)
    if column == "rolling-back":
        for word in ("stopped", "failed"):
            if word in instant:
                return word
        return "rolling-back"
    if column == "in-doubt":
        return f"doubt-{side}"
    if instant in ("resuming-post-copy", "resume-asked", "bitmaps"):
        return "resumed"
    if instant in ("feeding", "fed-journalled"):
        return "fed"
    return "ended" if column == "ended" else None


@dataclasses.dataclass(frozen=True)
class Step:
    """One fault. `instant` is a fault point's name, or seconds since the source's mover was there,
    or, negative, seconds since the migration was asked for."""
    fault: str
    instant: object
    seconds: float  # until it is healed
    hold: float     # how long after the fault a fault point is released
    delay: float = 0.0  # the fault comes so long after the fault point, at which nothing waits

    def text(self):
        at = self.instant if isinstance(self.instant, str) else f"{self.instant:+.3f}s"
        if self.delay:
            at += f"{self.delay:+.3f}s"
        return f"{self.fault}@{at}"


@dataclasses.dataclass(frozen=True)
class Plan:
    seed: int
    column: str
    steps: tuple
    post_copy: str
    options: dict = dataclasses.field(default_factory=dict)  # of knobs.TABLE

    def text(self):
        extra = f"+post-copy-{self.post_copy}" if self.post_copy != "never" else ""
        return ",".join(s.text() for s in self.steps) + extra + knobs.text(self.options)


def _length(rng, fault):
    """How long a fault lasts: short ones often, long ones seldom."""
    cube = rng.random() ** 3
    if fault.startswith(("kill", "restart")):
        return rng.choice((0.0, 0.1, 0.3, 1.0, 2.0)) if fault.startswith("kill") else 0.0
    if fault.startswith("pause"):
        return 0.2 + 3.8 * cube
    if fault.startswith("san"):
        return 1.0 + 4.0 * cube
    if fault.startswith("lpm-stop"):
        return 0.0
    if fault.startswith("clock"):
        return 0.3 + 1.7 * cube
    return 15.0 if rng.random() < 0.02 else 0.5 + 7.5 * cube


def _step(rng, fault, instant, at_least=0.0):
    seconds = max(at_least, _length(rng, fault))
    hold = rng.choice((0.0, 0.02, 0.1, 0.3))
    if not fault.startswith(("kill", "restart", "lpm")):
        hold = rng.choice((0.0, 0.1, min(seconds, 1.0)))
    return Step(fault, instant, round(seconds, 3), hold)


def _instants(points, column):
    return [p for p in points if column_of(p) == column]


def _instants_for(points, column, fault):
    """Those of a column at which the fault finds something to be done to."""
    found = _instants(points, column)
    if fault.endswith("qemu-target"):
        found = [p for p in found if p not in BEFORE_TARGET_QEMU]
    return found


def _cells(points, post_copy):
    used = {column_of(p) for p in points} | {RANDOM}
    if not post_copy:
        used.discard("post-copy")
    for fault in actions.TABLE:
        for column in COLUMNS:
            barred = [c for key, columns in NO_VICTIM.items() if key in fault for c in columns]
            if column == "ended" and not fault.endswith(AFTER_THE_END):
                continue
            if column in used and column not in barred:
                yield fault, column


def make(seed, points, post_copy=False, only=None):
    """The plan of a trial; `post_copy`: whether the build can. `only`: those whose text holds it,
    found by going on from the seed's place in the order."""
    cells = list(_cells(points, post_copy))
    if only:
        cells = [c for c in cells if _could_match(c, points, only)] or cells
    random.Random(seed // RUN).shuffle(cells)
    rng = random.Random(seed)
    fault, column = cells[seed % RUN % len(cells)]
    for _ in range(400 if only else 1):
        plan = _draw(rng, seed, fault, column, points, post_copy)
        if not only or only in plan.text():
            return plan
    return None


def _could_match(cell, points, only):
    fault, column = cell
    texts = [f"{fault}@{p}" for p in _instants(points, column)] or [f"{fault}@"]
    return any(only in text or text.startswith(only) for text in texts)


def _draw(rng, seed, fault, column, points, post_copy):
    steps = []
    mode = rng.choice(("never", "never", "now", "auto")) if post_copy else "never"
    if column == RANDOM:
        steps.append(_step(rng, fault, round(rng.uniform(-EARLY_S, EXPECTED_S), 3)))
    else:
        point = rng.choice(_instants_for(points, column, fault))
        road = road_to(point)
        if road:
            steps.append(_step(rng, *rng.choice(ROADS[road])))
        if column == "post-copy":
            mode = "now"
        elif mode == "now" and (road or point in PRE_COPY_ONLY):
            mode = "auto"
        steps.append(_step(rng, fault, point))
    if len(steps) == 1 and rng.random() < SECOND_FAULT:
        steps.append(_second(rng, points, steps[0]))
    return Plan(seed, column, tuple(steps), mode, knobs.draw(seed))


def _second(rng, points, first):
    """Another fault at a later random instant, or at a point on the way that is not the first's."""
    fault = rng.choice(sorted(actions.TABLE))
    usual = [p for p in points if column_of(p) in ("committing", "decided", "cleaning")
             and p != first.instant]
    if isinstance(first.instant, str) and rng.random() < 0.6:
        return _step(rng, fault, rng.choice(usual))
    start = 0.3 if isinstance(first.instant, str) else max(0, first.instant)
    return _step(rng, fault, round(rng.uniform(start, start + EXPECTED_S), 3))


# One for each thing that has to work, for tests that have a minute.
CHOSEN = (
    Step("kill-lpmd-source", "source.after-ending", 0.3, 0.0),
    Step("kill-lpmd-target", "target.after-prepared", 0.3, 0.0),
    Step("kill-lpmd-source", "source.telling-commit", 1.0, 0.0),
    Step("kill-mover-source", "source.frozen", 0.0, 0.1),
    Step("kill-mover-target", "source.source-ended", 0.0, 0.1),
    Step("kill-libvirtd-source", "source.finish-held", 0.3, 0.1),
    Step("kill-libvirtd-target", "source.after-copying", 0.3, 0.1),
    Step("kill-qemu-target", "source.asked-prepared", 0.0, 0.1),
    Step("pause-qemu-source", "source.before-ending", 0.5, 0.1),
    Step("cut-both", "source.telling-commit", 2.0, 0.1),
    Step("stall-data", 0.2, 1.0, 0.0),
    Step("disk-full-target", "target.before-prepared", 1.0, 0.3),
    Step("disk-readonly-source", "source.before-committed", 0.5, 0.1),
    Step("lpm-stop", "source.after-committing", 0.0, 0.1),
)
# The switch to post-copy is agreed upon, the copy converges before QEMU is asked for it, and then
# the target loses what could prove its copy: nobody has switched, so the source has to be taken back.
CHOSEN_CONVERGED = (
    Step("pause-lpmd-source", "source.after-switching", 3.0, 0.0),
    Step("kill-mover-target", "target.before-committing", 0.0, 0.1),
)


def chosen():
    plans = [Plan(seed, "chosen", (step,), "never") for seed, step in enumerate(CHOSEN)]
    return [*plans, Plan(len(plans), "chosen", CHOSEN_CONVERGED, "now")]
