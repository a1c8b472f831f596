# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Counting trials, and the tables of docs/faults.md."""

import collections
import json
import os

from lab.faults import judge

HERE = os.path.dirname(os.path.abspath(__file__))
RUNS = os.path.join(HERE, "results.json")
PLAIN = os.path.join(HERE, "plain-results.json")
CUTS = os.path.join(HERE, "cuts-results.json")
PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "faults.md")
BEGIN, END = "<!-- counts begin -->", "<!-- counts end -->"
# What a fault met, by its fault point or by what the source's lpmd said at a random instant.
STATES = ("validating", "preparing", "copying", "suspending", "committing", "decided", "cleaning",
          "rolling-back", "in-doubt", "ended", "post-copy", "after the end", "unknown")
HEADS = {"committing": "committing, undecided", "decided": "committing, decided",
         "unknown": "lpmd silent"}


class Tally:
    def __init__(self, seed):
        self.seed, self.records = seed, []

    @property
    def count(self):
        return len(self.records)

    def add(self, record):
        self.records.append(record)

    def _with(self, *kinds):
        return sum(any(kind in kinds for kind, _ in r["failures"]) for r in self.records)

    def _noted(self, *notes):
        return sum(all(note in r["notes"] for note in notes) for r in self.records)

    def by_fault(self):
        table = collections.defaultdict(lambda: {"trials": 0, "applied": 0, "failed": 0})
        for record in self.records:
            for injection in record["injections"]:
                entry = table[injection["fault"]]
                entry["trials"] += 1
                entry["applied"] += injection["applied"]
                entry["failed"] += bool(record["failures"])
        return dict(sorted(table.items()))

    def by_option(self):
        """{"name=value": {trials, failed}}; a knob that was not given has no entry."""
        table = collections.defaultdict(lambda: {"trials": 0, "failed": 0})
        for record in self.records:
            for name, value in record["options"].items():
                entry = table[f"{name}={value}"]
                entry["trials"] += 1
                entry["failed"] += bool(record["failures"])
        return dict(sorted(table.items()))

    def summary(self):
        return {"trials": self.count, "double_runs": self._with("double"),
                "lost": self._with("lost"), "doubled": self._with("doubled"),
                "leftovers": self._with("leftover"),
                "failed": sum(bool(r["failures"]) for r in self.records), "seed": self.seed,
                # No copy left, as lpm said: QEMU was killed.
                "ended": self._noted(judge.ENDED),
                "not_applied": sum(not any(i["applied"] for i in r["injections"])
                                   for r in self.records),
                "by_option": self.by_option(), "by_fault": self.by_fault()}

    def cells(self):
        """{fault: {state: [applied, of them in trials that failed]}}"""
        table = {}
        for record in self.records:
            for injection in record["injections"]:
                if injection["applied"]:
                    cell = table.setdefault(injection["fault"], {}).setdefault(
                        injection["state"], [0, 0])
                    cell[0] += 1
                    cell[1] += bool(record["failures"])
        return table

    def points(self):
        """{fault point: how often a fault was applied at it}"""
        return dict(collections.Counter(
            i["at"] for r in self.records for i in r["injections"]
            if i["applied"] and i["at"][:1] not in "+-"))

    def ends(self):
        return dict(collections.Counter(r["ended"] or "not begun" for r in self.records))


def line(record, number, total, verbose=False):
    """One line per trial, and what stands below a failure."""
    at = "; ".join(f"{i['fault']} in {i['state']}" if i["applied"] else
                   f"{i['fault']} {'had no victim' if i['reached'] else 'not reached'}"
                   for i in record["injections"])
    words = (f"[{number}/{total}] {record['seed']} {record['text']}: {at}; "
             f"ended {record['ended']}, {record['seconds']} s")
    words += "".join(f"\n    note: {n}" for n in record["notes"])
    if record["failures"]:
        words += "\n  FAILED " + "\n  FAILED ".join(f"{k}: {v}" for k, v in record["failures"])
        if record["column"] not in ("mutant", "chosen", "cuts"):
            words += f"\n  replay: ./run faults --replay {record['seed']}"
    if record["failures"] or verbose:
        words += "".join(f"\n    {entry}" for entry in record["timeline"])
    return words


def text(summary):
    lines = [f"{summary['trials']} trials (seed {summary['seed']}), {summary['failed']} failed: "
             f"{summary['double_runs']} double runs, {summary['lost']} with lost and "
             f"{summary['doubled']} with doubled writes, {summary['leftovers']} with leftovers; "
             f"in {summary['not_applied']} no fault came to bear"]
    lines += [f"  {name:24} {e['trials']:4} trials, {e['applied']:4} applied, "
              f"{e['failed']:3} failed" for name, e in summary["by_fault"].items()]
    return "\n".join(lines)


# ---- docs/faults.md ----

def load(path=RUNS):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def update(tally):
    """Keeps the run's counts, in the place of an earlier run of the same seed, and the page's."""
    runs = load()
    summary = tally.summary()
    del summary["by_fault"]
    runs[str(tally.seed)] = summary | {"cells": tally.cells(), "points": tally.points(),
                                       "ends": tally.ends()}
    with open(RUNS, "w", encoding="utf-8") as f:
        json.dump(runs, f, indent=1, sort_keys=True)
        f.write("\n")
    write_page(runs)


def write_page(runs):
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(head + BEGIN + "\n" + "\n".join(_page(runs)) + "\n\n" + END + tail)


def _page(runs):
    if runs:
        yield from _runs(runs)
    cuts = load(CUTS)
    if cuts:
        yield ""
        yield (f"Cuts of the link for {cuts['cut_s']:g} s in post-copy (seed {cuts['seed']}): "
               f"{cuts['went_on']} of {cuts['cuts']} went on by themselves and without a "
               f"reset; the clients' longest silence was {min(cuts['silences_s'])} to "
               f"{max(cuts['silences_s'])} s{_pauses(cuts)}.")
    plain = load(PLAIN)
    if plain:
        yield from _plain(plain)


def _pauses(cuts):
    bound = cuts.get("client_rto_max_ms")
    return f", with their TCP's pauses bounded to {bound / 1000:g} s" if bound else ""


def _runs(runs):
    order = sorted(runs, key=int)
    yield ""
    yield ("| seed | trials | double runs | lost | doubled | leftovers | failed | "
           "the partition ended | no fault came to bear |")
    yield "|---|---|---|---|---|---|---|---|---|"
    names = ("trials", "double_runs", "lost", "doubled", "leftovers", "failed", "ended",
             "not_applied")
    for seed in order:
        yield f"| {seed} | " + " | ".join(str(runs[seed][n]) for n in names) + " |"
    yield "| all | " + " | ".join(str(sum(runs[s][n] for s in order)) for n in names) + " |"
    yield from _matrix([runs[s]["cells"] for s in order])
    yield from _points([runs[s]["points"] for s in order])
    yield from _options([runs[s].get("by_option", {}) for s in order])


def _matrix(tables):
    """Rows are faults, columns what they met; a count of faults, and after a slash those of trials
    that failed."""
    sums = {}
    for table in tables:
        for fault, cells in table.items():
            for state, (applied, failed) in cells.items():
                cell = sums.setdefault(fault, {}).setdefault(state, [0, 0])
                cell[0] += applied
                cell[1] += failed
    used = [s for s in STATES if any(s in cells for cells in sums.values())]
    yield ""
    yield "| fault | " + " | ".join(HEADS.get(s, s) for s in used) + " |"
    yield "|---" * (len(used) + 1) + "|"
    for fault in sorted(sums):
        cells = [sums[fault].get(s, (0, 0)) for s in used]
        shown = [f"{a}/**{f}**" if f else str(a or "") for a, f in cells]
        yield f"| `{fault}` | " + " | ".join(shown) + " |"


def _points(counts):
    total = collections.Counter()
    for count in counts:
        total.update(count)
    yield ""
    yield "Faults applied at each fault point: " + ", ".join(
        f"`{name}` {total[name]}" for name in sorted(total)) + "."


def _options(tables):
    trials, failed = collections.Counter(), collections.Counter()
    for table in tables:
        for option, entry in table.items():
            trials[option] += entry["trials"]
            failed[option] += entry["failed"]
    if not trials:
        return
    yield ""
    yield "Trials with each option of the migration (after a slash, those that failed): " + ", ".join(
        f"`{o}` {trials[o]}" + (f"/**{failed[o]}**" if failed[o] else "")
        for o in sorted(trials)) + "."


ENDS = (("one", "one copy runs"), ("two", "two run"), ("none", "none runs"),
        ("one_and_paused", "one runs, another is left paused"))


def _plain(plain):
    """The baseline: the same faults for `virsh migrate --p2p`."""
    versions = plain["versions"]
    yield ""
    yield "### Plain libvirt under the same faults"
    yield ""
    yield (f"`virsh migrate --live --p2p` with libvirt {versions['libvirt']} and QEMU "
           f"{versions['qemu']}, the same partition and observer (`python -m lab.faults.plain`, "
           f"seed {plain['seed']}, {plain['trials']} trials). Killing QEMU ends the partition here too. "
           "Named are the instants of the trials that ended badly; `finish` is libvirt's last "
           "remote call, whose reply tells the source that the target runs.")
    yield ""
    yield "| fault | trials | " + " | ".join(head for _, head in ENDS) + " | at |"
    yield "|---" * (len(ENDS) + 3) + "|"
    for fault, instants in sorted(plain["faults"].items()):
        sums = collections.Counter()
        for ends in instants.values():
            sums.update(ends)
        bad = sorted(at for at, ends in instants.items() if set(ends) - {"one"})
        counts = " | ".join(str(sums[key] or "") for key, _ in ENDS)
        yield f"| `{fault}` | {sum(sums.values())} | {counts} | {', '.join(bad)} |"
