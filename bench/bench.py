# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run bench first`: the same running partition moved by OpenLPM and by plain libvirt, in turn, in
one lab, with clients that watch. Nothing here decides whether a test passes: it measures."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from lab import host
from lab.proc import LabError
from lab.scenario import Scenario

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(TREE, "docs", "benchmarks.md")
EVENT = re.compile(r"event (STOP|RESUME) at (\d+)\.(\d+) for domain")
KINDS = ("openlpm", "plain")
# What is shown: member, heading, divisor, decimals.
COLUMNS = (("total_ms", "total, ms", 1, 0), ("suspended_us", "STOP to RESUME, ms", 1000, 0),
           ("client_gap_us", "clients' longest silence, ms", 1000, 0),
           ("wire_bytes", "on the wire, MiB", 1 << 20, 1),
           ("busy_ms", "processor time of the machine, ms", 1, 0))


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def busy_ms():
    """Processor time that the whole machine has spent not idle, in milliseconds (/proc/stat)."""
    with open("/proc/stat", encoding="ascii") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * 1000 // os.sysconf("SC_CLK_TCK")


class Events:
    """QEMU's STOP and RESUME on both hosts with QEMU's own stamps, by virsh."""

    def __init__(self, lab):
        self.files, self.children = [], []
        for where in lab.state["hosts"]:
            out = tempfile.TemporaryFile("w+")
            self.files.append(out)
            self.children.append(subprocess.Popen(
                ["virsh", "-c", host.libvirt_uri(lab.state, where), "qemu-monitor-event", "--loop"],
                stdout=out, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL))
        time.sleep(0.5)  # virsh does not tell when it listens

    def suspended_us(self):
        """From the first STOP to the last RESUME; both hosts of the lab have one clock."""
        stamps = {"STOP": [], "RESUME": []}
        for child in self.children:
            child.terminate()
            child.wait()
        for out in self.files:
            out.seek(0)
            for name, seconds, micros in EVENT.findall(out.read()):
                stamps[name].append(int(seconds) * 1000000 + int(micros))
            out.close()
        if not stamps["STOP"] or not stamps["RESUME"]:
            return None
        return max(stamps["RESUME"]) - min(stamps["STOP"])


def command(lab, kind, source, target):
    if kind == "openlpm":
        return lab.enter(source, lab.program("lpm"), "migrate", "tiny", "--to", target, "--json")
    # Data and RPC of plain libvirt: the data over the same uplink in clear, as it comes by default.
    return ["virsh", "-c", host.libvirt_uri(lab.state, source), "migrate", "--live", "--p2p",
            "--persistent", "--undefinesource", "tiny", host.libvirt_uri(lab.state, target),
            "--migrateuri", f"tcp://{lab.state['hosts'][target]['address']}"]


def one_move(lab, kind, source, target, ledger):
    events = Events(lab)
    wire, busy = lab.wire_bytes(source), busy_ms()
    begin = time.monotonic_ns() // 1000
    done = subprocess.run(command(lab, kind, source, target), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    end = time.monotonic_ns() // 1000
    busy = busy_ms() - busy
    wire = lab.wire_bytes(source) - wire
    if done.returncode:
        raise LabError(f"{kind} {source} to {target}: exit {done.returncode}: {done.stderr}")
    time.sleep(1)  # RESUME and the end of the silence may come after the command's end
    move = {"kind": kind, "source": source, "target": target, "total_ms": (end - begin) // 1000,
            "wire_bytes": wire, "busy_ms": busy, "load": os.getloadavg()[0],
            "suspended_us": events.suspended_us(),
            "client_gap_us": ledger.gap_us(begin, time.monotonic_ns() // 1000)}
    if kind == "openlpm":
        move["report"] = json.loads(done.stdout)["report"]
    say(f"{kind:8} {source} to {target}: " + ", ".join(
        f"{heading} {move[name] / divisor:.{digits}f}" for name, heading, divisor, digits in COLUMNS
        if move[name] is not None))
    return move


def measure(args, content):
    append = f"ledger.mem={args.table} ledger.dirty={args.dirty} ledger.content={content}"
    moves = []
    with Scenario(args.name, rate=args.rate, build=args.build) as lab:
        lab.add_guest("tiny", mem=args.mem, append=append)
        ledger = lab.start_ledger("tiny")
        time.sleep(2)  # the workload's own pace
        where = ["alpha", "beta"]
        for pair in range(args.pairs):
            # Who is first changes with each pair, and with it the direction of each kind.
            for kind in KINDS if pair % 2 == 0 else KINDS[::-1]:
                moves.append(one_move(lab, kind, *where, ledger))
                where.reverse()
        clients = ledger.stop(lab.disk("tiny"))
    return {"content": content, "moves": moves,
            "clients": {name: clients[name] for name in ("acknowledged", "lost", "doubled",
                                                         "resets", "memory_ok")}}


def median_of(moves, kind, name):
    """(median, least, most) or None."""
    values = [m[name] for m in moves if m["kind"] == kind and m[name] is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def cell(figures, divisor, digits):
    if not figures:
        return "-"
    middle, least, most = (f"{value / divisor:.{digits}f}" for value in figures)
    return f"{middle} ({least}-{most})"


def table(results, args):
    lines = [f"Made by `./run bench first --pairs {args.pairs} --rate {args.rate} --mem {args.mem} "
             f"--table {args.table} --dirty {args.dirty} --update`; medians (least-most) of "
             f"{args.pairs} moves each."]
    for result in results:
        clients = result["clients"]
        lines += ["", f"Content of the writer: **{result['content']}**. Over all moves: "
                  f"{clients['acknowledged']} acknowledged, {clients['lost']} lost, "
                  f"{clients['doubled']} doubled, {clients['resets']} resets.", "",
                  "| | OpenLPM | plain `virsh migrate --live` | ratio of medians |", "|---|---|---|---|"]
        for name, heading, divisor, digits in COLUMNS:
            ours, plain = (median_of(result["moves"], kind, name) for kind in KINDS)
            ratio = f"{ours[0] / plain[0]:.2f}" if ours and plain and plain[0] else "-"
            lines.append(f"| {heading} | {cell(ours, divisor, digits)} | "
                         f"{cell(plain, divisor, digits)} | {ratio} |")
        lines += ["", "Where OpenLPM's time goes: " + where_it_goes(result["moves"]) + "."]
    return "\n".join(lines)


def where_it_goes(moves):
    reports = [m["report"] for m in moves if m["kind"] == "openlpm"]
    middle = lambda values: statistics.median(list(values) or [0])
    names = [phase["name"] for phase in reports[0]["phases"]]
    parts = [name + " " + format(middle(
        (p["end_us"] - p["begin_us"]) / 1000 for r in reports for p in r["phases"]
        if p["name"] == name and p["end_us"]), ".0f") + " ms" for name in names]
    added = middle(r["handover"]["added_us"] / 1000 for r in reports if r["handover"]["added_us"])
    cpu = [middle(r["cpu_ms"][side] for r in reports) for side in ("source_mover", "target_mover")]
    return (", ".join(parts) + f"; of the suspension {added:.0f} ms are the hand-over itself; the "
            f"movers used {cpu[0]:.0f} and {cpu[1]:.0f} ms of processor time")


def update_document(text):
    begin, end = "<!-- first: begin -->", "<!-- first: end -->"
    with open(TABLE, encoding="utf-8") as f:
        document = f.read()
    head, _, rest = document.partition(begin)
    _, _, tail = rest.partition(end)
    with open(TABLE, "w", encoding="utf-8") as f:
        f.write(f"{head}{begin}\n{text}\n{end}{tail}")


def main():
    parser = argparse.ArgumentParser(prog="run bench", description=__doc__)
    parser.add_argument("what", choices=["first"], help="first: OpenLPM beside plain libvirt")
    parser.add_argument("--pairs", type=int, default=5, help="moves of each kind (5)")
    parser.add_argument("--rate", default="1gbit", help="of each uplink, or 'none' (1gbit)")
    parser.add_argument("--mem", type=int, default=512, help="of the partition in MiB (512)")
    parser.add_argument("--table", default="256M", help="memory that the workload fills (256M)")
    parser.add_argument("--dirty", default="8M", help="bytes a second that it writes (8M)")
    parser.add_argument("--content", nargs="+", default=["text", "random"],
                        choices=["text", "random", "mostly"], help="what it writes (text random)")
    parser.add_argument("--json", metavar="FILE", help="raw figures of every move")
    parser.add_argument("--update", action="store_true", help="write docs/benchmarks.md and "
                        "bench/results/first.json")
    parser.add_argument("--name", default="bench", help="of the lab (bench)")
    parser.add_argument("--build", help="build folder (the checkout's build/)")
    args = parser.parse_args()
    try:
        results = [measure(args, content) for content in args.content]
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = table(results, args)
    print(text)
    if args.update:
        update_document(text)
    for path in filter(None, (args.json, args.update and
                              os.path.join(TREE, "bench", "results", "first.json"))):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
