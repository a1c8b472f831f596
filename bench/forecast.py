# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run forecast-score`: partitions of different sizes and loads are moved to and fro, and what lpmd
expected of each move is held against what came. lpmd itself keeps both (`lpm forecast --history`);
this only makes the moves and the table. Nothing here decides whether a test passes."""

import argparse
import json
import os
import platform
import statistics
import sys
import time

from bench.scenario import say
from lab import proc
from lab.proc import LabError
from lab.scenario import Scenario

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(TREE, "docs", "forecast.md")
RESULTS = os.path.join(TREE, "bench", "results", "forecast.json")
BEGIN, END = "<!-- score: begin -->", "<!-- score: end -->"
SETTLE_S = 3  # for a workload to reach its own pace after the boot, a change of rate, or a move


class Load:
    """A partition and its moves, each with the bytes per second that are written meanwhile."""

    def __init__(self, name, mem, table, content, *moves):
        self.name, self.mem, self.table, self.content, self.moves = name, mem, table, content, moves


# A cap makes copies long, and a guest under emulation must not write much then (lab/README.md).
LOADS = (
    Load("small, idle", 128, "16M", "text", ("0",), ("0",), ("0", "--bandwidth", "10M"), ("0",)),
    Load("text", 512, "256M", "text", ("8M",), ("8M",), ("1M",), ("8M", "--max-suspend", "150")),
    Load("random", 512, "256M", "random", ("8M",), ("8M",), ("0", "--bandwidth", "40M"), ("2M",)),
    Load("large, half empty", 1024, "384M", "text", ("4M",), ("4M",), ("0", "--bandwidth", "20M"),
         ("4M",)),
    Load("small updates", 256, "96M", "mostly", ("4M",), ("16M",), ("4M",), ("1M",)),
)
# The first of each direction on hosts that have never migrated anything.
FIRST = Load("the hosts' first", 256, "64M", "text", ("1M",), ("1M",))


def set_rate(lab, partition, rate):
    proc.run(lab.enter("client", lab.program("ledger"), "rate", "--to", lab.service(partition),
                       "--dirty", rate))


def move_all(lab, load, number):
    """Moves the load's partition to and fro; [{migration, load, dirty, options, host_load}]."""
    name, where, moved = f"g{number}", ["alpha", "beta"], []
    lab.add_guest(name, mem=load.mem, append=f"ledger.mem={load.table} ledger.dirty=0 "
                  f"ledger.content={load.content}")
    ledger = lab.start_ledger(name)
    for dirty, *options in load.moves:
        set_rate(lab, name, dirty)
        time.sleep(SETTLE_S)
        code, document = lab.migrate(name, where[0], where[1], *options)
        if code:
            raise LabError(f"{load.name}: exit {code}: {document.get('error')}")
        moved.append({"migration": document["id"], "load": load.name, "mem": load.mem,
                      "dirty": dirty, "options": " ".join(options), "source": where[0],
                      "machine_load": os.getloadavg()[0]})
        report = document["report"]
        expected = report["forecast"]
        say(f"{load.name}, {dirty}/s {' '.join(options)}: {report['total_ms']} ms and "
            f"{report['suspended_us'] // 1000} ms suspended" + (
                f"; expected {expected['total_ms']['expected']} and "
                f"{expected['suspended_us']['expected'] // 1000}" if expected else ""))
        where.reverse()
    ledger.stop()
    lab.remove_guest(name)
    return moved


def measure(args):
    with Scenario(args.name, rate=args.rate, build=args.build) as lab:
        moves = [m | {"first": True} for m in move_all(lab, FIRST, 0)]
        for number, load in enumerate(LOADS, 1):
            moves += move_all(lab, load, number)
        past = {}
        for host in ("alpha", "beta"):
            code, answer = lab.lpm(host, "forecast", "--history")
            if code:
                raise LabError(f"no history on {host}: {answer}")
            past |= {entry["migration"]: entry for entry in answer["forecasts"]}
    for move in moves:
        if not past.get(move["migration"], {}).get("errors"):
            raise LabError(f"{move['load']}: migration {move['migration']} has no score")
    return {"rate": args.rate, "processors": os.cpu_count(), "kernel": platform.release(),
            "moves": [m | {key: past[m["migration"]][key]
                           for key in ("forecast", "outcome", "errors")} for m in moves]}


def scored(result):
    return [m for m in result["moves"] if not m.get("first")]


def cell(forecast, name, divisor, digits):
    low, expected, high = ("no end" if forecast[name][end] is None
                           else f"{forecast[name][end] / divisor:.{digits}f}"
                           for end in ("low", "expected", "high"))
    return f"{expected} ({low}-{high})"


def row(number, move):
    forecast, outcome, errors = move["forecast"], move["outcome"], move["errors"]
    return (f"| {number} | {move['load']} | {move['mem']} | {move['dirty']} | "
            f"{move['options'] or '-'} | {cell(forecast, 'total_ms', 1000, 1)} | "
            f"{outcome['total_ms'] / 1000:.1f} | {errors['total'] * 100:.0f} % | "
            f"{cell(forecast, 'suspended_us', 1000, 0)} | {outcome['suspended_us'] / 1000:.0f} | "
            f"{errors['suspended_factor']:.2f} | {cell(forecast, 'link_bytes', 1 << 20, 0)} | "
            f"{outcome['link_bytes'] / (1 << 20):.0f} |")


def medians(moves):
    return (statistics.median(m["errors"]["total"] for m in moves),
            statistics.median(m["errors"]["suspended_factor"] for m in moves))


def table(result):
    moves, every = scored(result), result["moves"]
    total, factor = medians(moves)
    total_all, factor_all = medians(every)
    loads = sorted(m["machine_load"] for m in every)
    inside = [sum(m["errors"][name] for m in moves)
              for name in ("total_in_range", "suspended_in_range")]
    lines = [f"Made by `./run forecast-score --update` with uplinks of {result['rate']}, on "
             f"{result['processors']} processors whose load was {loads[0]:.1f} to {loads[-1]:.1f}.",
             "",
             f"**{len(moves)} migrations: the total time was wrong by {total * 100:.0f} % (median), "
             f"the suspension by a factor of {factor:.2f}.** Within their ranges were {inside[0]} "
             f"totals and {inside[1]} suspensions. With the first move of each direction, of which "
             f"the hosts know nothing (rows F): {total_all * 100:.0f} % and {factor_all:.2f}.", "",
             "| | partition | MiB | written/s | options | total, s: expected (range) | was | wrong by "
             "| suspended, ms: expected (range) | was | factor | on the link, MiB: expected (range) "
             "| was |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    number = 0
    for move in every:
        number += 0 if move.get("first") else 1
        lines.append(row("F" if move.get("first") else number, move))
    return "\n".join(lines)


def update_document(text):
    with open(DOCUMENT, encoding="utf-8") as f:
        head, _, rest = f.read().partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main():
    parser = argparse.ArgumentParser(prog="run forecast-score", description=__doc__)
    parser.add_argument("--rate", default="1gbit", help="of each uplink, or 'none' (1gbit)")
    parser.add_argument("--json", metavar="FILE", help="every forecast and outcome")
    parser.add_argument("--update", action="store_true",
                        help="write docs/forecast.md and bench/results/forecast.json")
    parser.add_argument("--name", default="fscore", help="of the lab (fscore)")
    parser.add_argument("--build", help="build folder (the checkout's build/)")
    args = parser.parse_args()
    try:
        result = measure(args)
    except LabError as error:
        print(f"forecast-score: {error}", file=sys.stderr)
        return 1
    text = table(result)
    print(text)
    if args.update:
        update_document(text)
    for path in filter(None, (args.json, args.update and RESULTS)):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
