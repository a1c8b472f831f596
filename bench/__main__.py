# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run bench`: the same running partition moved by OpenLPM and by QEMU's own ways, in turn, in one
lab, with clients that watch. Nothing here decides whether a test passes: it measures."""

import argparse
import json
import sys
import time

from bench import document, guests, peers, scenario
from lab.proc import LabError

# What `--all` runs, with its share of the time. The first are the main scenarios.
FEW = ["openlpm", "plain", "multifd-zstd", "tls"]
SUITE = [
    (8, dict(guest="db")),
    (5, dict(guest="db", visit="home", only=FEW[:3])),
    (4, dict(guest="db", mem=4096, only=["openlpm", "plain"])),
    (6, dict(guest="tiny", workload="text")),
    (4, dict(guest="tiny", workload="text", visit="home", only=FEW[:3])),
    (4, dict(guest="tiny", workload="text", rate="200mbit", only=FEW)),
    (4, dict(guest="tiny", workload="text", rate="none", only=FEW)),
    (3, dict(guest="tiny", workload="random", only=FEW)),
    (3, dict(guest="tiny", workload="update", only=FEW + ["xbzrle"])),
    (3, dict(guest="tiny", workload="cache", only=FEW)),
    (2, dict(guest="tiny", workload="idle", only=FEW)),
    (6, dict(guest="tiny", workload="writer", rate="200mbit",
             only=["openlpm", "openlpm-post", "plain", "auto-converge", "post-copy"])),
]


def options():
    parser = argparse.ArgumentParser(prog="run bench", description=__doc__)
    parser.add_argument("--guest", choices=["tiny", "db"], default="tiny",
                        help="tiny: the guest with the ledger; db: Debian with PostgreSQL (tiny)")
    parser.add_argument("--workload", choices=list(guests.WORKLOADS), default="text",
                        help="of the tiny guest (text)")
    parser.add_argument("--rate", default="1gbit",
                        help="of each uplink: 1gbit, 200mbit, 10gbit, none (1gbit)")
    parser.add_argument("--visit", choices=["first", "home"], default="first",
                        help="first: to a host that knows nothing; home: back after a while (first)")
    parser.add_argument("--pairs", type=int, default=5, help="rounds over all peers (5)")
    parser.add_argument("--only", metavar="PEER[,PEER]", help="of " + ", ".join(peers.BY_NAME))
    parser.add_argument("--mem", type=int, help="of the partition in MiB (tiny 512, db 1024)")
    parser.add_argument("--all", action="store_true", help="every scenario of docs/benchmarks.md")
    parser.add_argument("--minutes", type=float, help="begin no round that would end later")
    parser.add_argument("--json", action="store_true", help="the raw figures on stdout")
    parser.add_argument("--update", action="store_true",
                        help="keep the raw figures in bench/results and write docs/benchmarks.md")
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
    if args.all:
        return [(share, scenario.Plan(**values)) for share, values in SUITE]
    return [(1, scenario.Plan(args.guest, args.workload, args.rate, args.visit,
                              args.only.split(",") if args.only else None, args.mem))]


def main():
    args = options()
    if args.document:
        document.write()
        return 0
    todo, results, failed = plans(args), [], 0
    end = time.monotonic() + args.minutes * 60 if args.minutes else None
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
            document.keep(result)
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
