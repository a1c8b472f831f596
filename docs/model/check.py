#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Checks the model of the hand-over with spin.

    check.py holds         every property holds whatever faults there are, every step is taken in
                           some run, and no run with few faults is endless
    check.py fails NAME    with the deliberate bug NAME some property does not hold (--faults N: with
                           so few already)
    check.py loops NAME    with it a run with few faults is endless

The last line tells the states seen. The exit code is 0 only if the outcome is the one that is
named; 77 when spin is not installed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY_MB = 1900
DEPTH = 200000


class Broken(Exception):
    """The check itself did not work, whatever the model says."""


def run(argv, folder):
    return subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def need(argv, folder):
    done = run(argv, folder)
    if done.returncode:
        raise Broken(f"{' '.join(argv)}:\n{done.stdout}")


def number(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Broken(f"pan does not tell '{pattern}':\n{text}")
    return int(float(found.group(1)))


def explore(defines, kind, search, memory, optimize="-O2"):
    """Runs one search to its end; (errors, states, the first error with its trace, what pan told).
    The trace is only worked out for a search that should not have an error."""
    with tempfile.TemporaryDirectory(prefix="lpm-model-") as folder:
        model = os.path.join(HERE, "handover.pml")
        flags = [f"-D{d}" for d in defines]
        need(["spin", *flags, "-a", model], folder)
        need(["gcc", optimize, f"-D{kind}", f"-DMEMLIM={memory}", "-o", "pan", "pan.c"], folder)
        out = run(["./pan", f"-m{DEPTH}", *search], folder).stdout
        if "max search depth too small" in out or "out of memory" in out or \
                "pan: reached -DMEMLIM" in out:
            raise Broken(f"the search was cut short:\n{out}")
        errors = number(r"errors: (\d+)", out)
        states = number(r"([\d.e+]+) states, stored", out)
        cause = next((line for line in out.splitlines() if line.startswith("pan:1:")), "")
        if errors and optimize != "-O0":
            cause = run(["spin", *flags, "-t", "-p", "-k", "handover.pml.trail", model],
                        folder).stdout + cause
        return errors, states, cause, out


def unreached(out):
    """Steps that no run takes: with one whose guard is never true a property may hold for nothing.
    """
    lines = re.findall(r"^\t\S+handover\.pml:(\d+), state \d+, (.*)$", out, re.M)
    return [f"line {line}: {text}" for line, text in lines if text != '"-end-"']


def holds(defines, few, memory):
    errors, states, cause, out = explore(defines, "SAFETY", [], memory)
    if errors:
        print(cause, f"refuted after {states} states", sep="\n")
        return 1
    if unreached(out):
        print("no run takes these steps:", *unreached(out), sep="\n")
        return 1
    # Without a progress label any cycle is a non-progress cycle: none means that every run ends.
    errors, finite, cause, _ = explore([*defines, f"FAULTS={few}"], "NP", ["-l"], memory)
    if errors:
        print(cause, f"a run without end, after {finite} states", sep="\n")
        return 1
    print(f"holds: {states} states; with {few} faults every run ends: {finite} states")
    return 0


def caught(outcome, defines, few, memory):
    if outcome == "fails":
        errors, states, cause, _ = explore(defines, "SAFETY", [], memory, "-O0")
        word = "assertion violated"
    else:
        errors, states, cause, _ = explore([*defines, f"FAULTS={few}"], "NP", ["-l"], memory, "-O0")
        word = "non-progress cycle"
    if not errors or word not in cause:
        print(f"not caught in {states} states {cause}")
        return 1
    print(f"caught after {states} states: {cause}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcome", choices=["holds", "fails", "loops"])
    parser.add_argument("bug", nargs="?", help="for 'fails' and 'loops': MUTANT_... or WEAK_OATH")
    parser.add_argument("--faults", type=int, metavar="N",
                        help="for 'fails': at most so many; default: any number")
    parser.add_argument("--few", type=int, default=2, metavar="N",
                        help="the faults in a run for 'no run is endless'; default %(default)s")
    parser.add_argument("-D", dest="defines", action="append", default=[], metavar="NAME")
    parser.add_argument("--memory", type=int, default=MEMORY_MB, metavar="MB")
    args = parser.parse_args()
    if (args.outcome != "holds") != bool(args.bug):
        parser.error("'fails' and 'loops' take the name of a bug, 'holds' takes none")
    if not shutil.which("spin"):
        print("spin is not installed")
        return 77
    with open(os.path.join(HERE, "handover.pml"), encoding="utf-8") as file:
        if args.bug and not re.search(rf"^#if(n?def| defined) {args.bug}$", file.read(), re.M):
            parser.error(f"handover.pml has no '{args.bug}'")
    try:
        if args.outcome == "holds":
            return holds(args.defines, args.few, args.memory)
        bounds = [f"FAULTS={args.faults}"] if args.faults is not None else []
        return caught(args.outcome, [*args.defines, *bounds, args.bug], args.few, args.memory)
    except Broken as error:
        print(error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
