# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run bench`: the same running partition moved by OpenLPM and by QEMU's own ways, in turn, in one
lab, with clients that watch. Nothing here decides whether a test passes: it measures."""

import argparse
import json
import os
import sys
import time

from bench import document, guests, peers, pipeline, scenario
from lab import guest
from lab.proc import LabError

# Every scenario with its share of the time. The first two are the main ones, which are measured if
# nothing is asked for.
FEW = ["openlpm", "plain", "multifd-zstd", "tls"]
SUITE = [
    (24, dict(guest="db")),
    (14, dict(guest="db", visit="home", only=FEW[:3])),
    (8, dict(guest="db", mem=4096, only=["openlpm", "plain"])),
    (14, dict(guest="tiny", workload="text")),
    (8, dict(guest="tiny", workload="text", visit="home", only=FEW[:3])),
    (9, dict(guest="tiny", workload="text", only=["openlpm", "plain"], pairs=15)),
    (8, dict(guest="tiny", workload="text", rate="200mbit", only=FEW)),
    (9, dict(guest="tiny", workload="text", rate="none", only=FEW + ["openlpm-clear"])),
    (6, dict(guest="tiny", workload="random", only=FEW)),
    (6, dict(guest="tiny", workload="update", only=FEW + ["xbzrle"])),
    (6, dict(guest="tiny", workload="cache", only=FEW)),
    (4, dict(guest="tiny", workload="idle", only=FEW)),
    (12, dict(guest="tiny", workload="writer", rate="200mbit",
              only=["openlpm", "openlpm-post", "plain", "auto-converge", "post-copy"])),
]
MAIN = SUITE[:2]
MAIN_MINUTES = 38


def options():
    parser = argparse.ArgumentParser(
        prog="run bench", description=__doc__,
        epilog="Without --guest, --workload, --rate, --visit, --mem or --all: the two main "
               "scenarios, the guest with PostgreSQL at 1 Gb/s on its first visit and coming home.")
    parser.add_argument("--guest", choices=["tiny", "db"],
                        help="tiny: the guest with the ledger; db: Debian with PostgreSQL (tiny)")
    parser.add_argument("--workload", choices=list(guests.WORKLOADS),
                        help="of the tiny guest (text)")
    parser.add_argument("--rate", help="of each uplink: 1gbit, 200mbit, 10gbit, none (1gbit)")
    parser.add_argument("--visit", choices=["first", "home"],
                        help="first: to a host that knows nothing; home: back after a while (first)")
    parser.add_argument("--pairs", type=int, default=5, help="rounds over all peers (5)")
    parser.add_argument("--only", metavar="PEER[,PEER]", help="of " + ", ".join(peers.BY_NAME))
    parser.add_argument("--mem", type=int, help="of the partition in MiB (tiny 512, db 1024)")
    parser.add_argument("--backing", choices=guest.BACKINGS,
                        help="of its memory; shared, lpm writes pages past QEMU (private)")
    parser.add_argument("--all", action="store_true", help="every scenario of docs/benchmarks.md")
    parser.add_argument("--scenario", action="append", metavar="NAME",
                        choices=[scenario.Plan(**values).name for _, values in SUITE],
                        help="one of those, by the name of its file in bench/results; may be "
                        "given again")
    parser.add_argument("--minutes", type=float,
                        help=f"begin no round that would end later ({MAIN_MINUTES} for the main "
                             "scenarios)")
    parser.add_argument("--json", action="store_true", help="the raw figures on stdout")
    parser.add_argument("--update", action="store_true",
                        help="keep the raw figures in bench/results and write docs/benchmarks.md")
    parser.add_argument("--pipeline", action="store_true",
                        help="QEMU and the source's mover, each alone: channels and threads")
    parser.add_argument("--document", action="store_true",
                        help="measure nothing: write docs/benchmarks.md from bench/results")
    parser.add_argument("--name", default="bench", help="of the lab (bench)")
    parser.add_argument("--build", help="build folder (the checkout's build/)")
    args = parser.parse_args()
    for name in (args.only or "").split(","):
        if name and name not in peers.BY_NAME:
            parser.error(f"--only {name}: the peers are {', '.join(peers.BY_NAME)}")
    if args.pairs < 1:
        parser.error("--pairs: give 1 or more")
    return args


def plans(args):
    """[(share of the time, plan)]"""
    only = {"only": args.only.split(",")} if args.only else {}
    suite = [(share, scenario.Plan(**(values | only))) for share, values in SUITE]
    if args.scenario:
        return [(share, plan) for share, plan in suite if plan.name in args.scenario]
    asked = {name: getattr(args, name) for name in ("guest", "workload", "rate", "visit", "mem",
                                                  "backing")
             if getattr(args, name)}
    if asked and not args.all:
        return [(1, scenario.Plan(**asked, **only))]
    return suite if args.all else suite[:len(MAIN)]


def measure_pipeline(args):
    result = pipeline.run(os.path.abspath(args.build or os.environ["LPM_BUILD"]), args.pairs)
    print(json.dumps(result, indent=1) if args.json else pipeline.section(result))
    if args.update:
        document.keep(result, "pipeline")
        document.write()
    return 0


def main():
    args = options()
    if args.document:
        document.write()
        return 0
    if args.pipeline:
        return measure_pipeline(args)
    todo, results, failed = plans(args), [], 0
    minutes = args.minutes or (MAIN_MINUTES if len(todo) == len(MAIN) else None)
    end = time.monotonic() + minutes * 60 if minutes else None
    for i, (share, plan) in enumerate(todo):
        until = None
        if end:
            left = sum(s for s, _ in todo[i:])
            until = time.monotonic() + (end - time.monotonic()) * share / left
        try:
            result = scenario.run(plan, args.pairs, until, args.name, args.build)
        except LabError as error:
            print(f"bench: {plan.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        results.append(result)
        if args.update:
            document.keep(result, result["plan"]["name"])
        if not args.json:
            print(document.table(result), flush=True)
    if args.update:
        document.write()
    if args.json:
        json.dump(results, sys.stdout, indent=1)
        print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
