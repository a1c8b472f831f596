# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Counting trials."""

import collections


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

    def summary(self):
        by_fault = collections.defaultdict(lambda: {"trials": 0, "applied": 0, "failed": 0})
        for record in self.records:
            for injection in record["injections"]:
                entry = by_fault[injection["fault"]]
                entry["trials"] += 1
                entry["applied"] += injection["applied"]
                entry["failed"] += bool(record["failures"])
        return {"trials": self.count, "double_runs": self._with("double"),
                "lost": self._with("lost"), "doubled": self._with("doubled"),
                "leftovers": self._with("leftover"),
                "failed": sum(bool(r["failures"]) for r in self.records), "seed": self.seed,
                "not_applied": sum(not any(i["applied"] for i in r["injections"])
                                   for r in self.records),
                "by_fault": dict(sorted(by_fault.items()))}


def line(record, number, total, verbose=False):
    """One line per trial, and what stands below a failure."""
    at = "; ".join(f"{i['fault']} in {i['state']}" if i["applied"] else
                   f"{i['fault']} {'had no victim' if i['reached'] else 'not reached'}"
                   for i in record["injections"])
    text = (f"[{number}/{total}] {record['seed']} {record['text']}: {at}; "
            f"ended {record['ended']}, {record['seconds']} s")
    text += "".join(f"\n    note: {n}" for n in record["notes"])
    if record["failures"]:
        text += "\n  FAILED " + "\n  FAILED ".join(f"{k}: {v}" for k, v in record["failures"])
        if record["column"] != "mutant":
            text += f"\n  replay: ./run faults --replay {record['seed']}"
    if record["failures"] or verbose:
        text += "".join(f"\n    {entry}" for entry in record["timeline"])
    return text


def text(summary):
    lines = [f"{summary['trials']} trials (seed {summary['seed']}), {summary['failed']} failed: "
             f"{summary['double_runs']} double runs, {summary['lost']} with lost and "
             f"{summary['doubled']} with doubled writes, {summary['leftovers']} with leftovers; "
             f"in {summary['not_applied']} no fault came to bear"]
    lines += [f"  {name:24} {e['trials']:4} trials, {e['applied']:4} applied, {e['failed']:3} failed"
              for name, e in summary["by_fault"].items()]
    return "\n".join(lines)
