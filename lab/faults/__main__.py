# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run faults`: trials, each a migration in the lab with faults at chosen instants. Exit 0 only
if every trial held. docs/faults.md tells what is injected and what is asserted."""

import argparse
import json
import random
import signal
import sys
import time

from lab.faults import cuts, mutants, plan, results, workers
from lab.proc import LabError


def parse():
    parser = argparse.ArgumentParser(prog="run faults", description=__doc__)
    parser.add_argument("--count", type=int, default=50, metavar="N", help="trials (50)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the run (a random one)")
    parser.add_argument("--only", metavar="PATTERN", help="trials whose description holds this, "
                        "such as kill-mover-source@source.frozen")
    parser.add_argument("--labs", type=int, default=1, metavar="K", help="labs side by side (1)")
    parser.add_argument("--name", default="flt", help="begin of the labs' names (flt)")
    parser.add_argument("--list", action="store_true", help="only describe the trials")
    parser.add_argument("--replay", type=int, metavar="TRIAL", help="one trial, by its seed")
    parser.add_argument("--chosen", action="store_true",
                        help=f"{len(plan.chosen())} chosen trials instead, about a minute")
    parser.add_argument("--mutant", choices=sorted(mutants.TABLE), metavar="NAME",
                        help="show that the engine catches a deliberate bug: "
                        f"{', '.join(sorted(mutants.TABLE))}; exit 0 if it does")
    parser.add_argument("--post-copy-cuts", type=int, metavar="N",
                        help="instead: the link fails N times in post-copy for --cut-seconds")
    parser.add_argument("--cut-seconds", type=float, default=60, metavar="S", help="(60)")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--verbose", action="store_true", help="a timeline of good trials too")
    parser.add_argument("--update", action="store_true", help="put the outcome into docs/faults.md")
    parser.add_argument("--build", help="build folder with -Dfault_points=true")
    args = parser.parse_args()
    if args.count < 1 or not 1 <= args.labs <= 8:
        parser.error("--count: 1 or more; --labs: 1 to 8")
    if args.chosen:
        args.seed = 0
    if args.seed is None:
        args.seed = args.replay // plan.RUN if args.replay is not None else random.randrange(1000)
    return args


def seeds_of(args):
    if args.replay is not None:
        return [args.replay]
    return [args.seed * plan.RUN + i for i in range(args.count)]


def run_mutant(args):
    def say(record, number, total):
        print(results.line(record, number, total, args.verbose), file=sys.stderr, flush=True)
    answer = mutants.run(args.mutant, args.build, args.name, say)
    print(json.dumps(answer) if args.json else
          f"{args.mutant}: {'caught by ' + answer['by'][0] if answer['caught'] else 'NOT CAUGHT'}")
    return 0 if answer["caught"] else 1


def run_cuts(args):
    def say(record, number, total):
        print(results.line(record, number, total, args.verbose), file=sys.stderr, flush=True)
    answer, good = cuts.run(args, say)
    if args.update:
        results.write_page(results.load())
    print(json.dumps(answer) if args.json else
          f"{answer['went_on']} of {answer['cuts']} went on by themselves; longest silences of the "
          f"clients in s: {answer['silences_s']}")
    return 0 if good else 1


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


def main():
    args = parse()
    signal.signal(signal.SIGTERM, interrupted)
    begin = time.monotonic()
    try:
        if args.mutant:
            return run_mutant(args)
        if args.post_copy_cuts:
            return run_cuts(args)
        job = workers.Job(args.build, args.name, args.only)
        plans = plan.chosen() if args.chosen else [
            p for p in (job.plan(s) for s in seeds_of(args)) if p]
        if not plans:
            raise LabError(f"no trial matches '{args.only}': --list shows some")
        if args.list:
            for p in plans:
                print(p.seed, p.text())
            return 0
        tally = results.Tally(args.seed)
        for record in workers.run(job, plans, args.labs):
            tally.add(record)
            print(results.line(record, tally.count, len(plans), args.verbose),
                  file=sys.stderr, flush=True)
    except LabError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("faults: interrupted", file=sys.stderr)
        return 130
    summary = tally.summary() | {"seconds": round(time.monotonic() - begin)}
    if args.update:
        results.update(tally)
    print(json.dumps(summary) if args.json else results.text(summary))
    return 0 if summary["failed"] == 0 and summary["trials"] == len(plans) else 1


if __name__ == "__main__":
    sys.exit(main())
