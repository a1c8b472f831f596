# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""One scenario: a partition, a link, and every peer in turn, round after round."""

import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench import database, guests, measure, peers, tls
from lab import lpmd
from lab.proc import LabError
from lab.scenario import Scenario

GIVE_UP_S = 120       # a copy that has not ended by then is stopped, and counts as not done
WINDOW_S = 3          # before and after a move, to compare the clients' pace with
# Of lpmd's report only what the tables use is kept.
REPORT = ("phases", "pages", "rounds", "dirty_rate", "stream_bytes", "encoded_bytes", "link_bytes",
          "compression_ratio", "placement", "handover", "cpu_ms", "total_ms", "suspended_us")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Plan:
    """What one scenario is; its name is that of its file in bench/results."""

    def __init__(self, guest="tiny", workload="text", rate="1gbit", visit="first", only=None,
                 mem=None, pairs=None, backing="private"):
        mem = mem or (1024 if guest == "db" else 512)
        self.guest, self.rate, self.visit, self.mem = guest, rate, visit, mem
        self.backing = backing
        self.workload = workload if guest == "tiny" else "pgbench"
        self.pairs = pairs  # if it needs more rounds than are asked for
        self.peers = [peers.BY_NAME[name] for name in only or peers.USUAL]

    @property
    def name(self):
        size = "4" if self.guest == "db" and self.mem >= 4096 else ""
        many = f"-{self.pairs}" if self.pairs else ""
        memory = "" if self.backing == "private" else f"-{self.backing}"
        return f"{self.guest}{size}-{self.workload}-{self.rate}-{self.visit}{memory}{many}"

    def title(self):
        what = (guests.WORKLOADS[self.workload].title if self.guest == "tiny"
                else "PostgreSQL under pgbench")
        visit = "first visit" if self.visit == "first" else "coming home"
        rate = "unshaped" if self.rate == "none" else self.rate.replace("bit", "bit/s")
        many = f"; {self.pairs} rounds for their medians" if self.pairs else ""
        memory = "" if self.backing == "private" else f", shared ({self.backing})"
        return f"{what}; {rate}; {visit}; {self.mem} MiB{memory}{many}"


class Bench:
    """Context manager: a lab with the plan's partition, ready to be moved."""

    def __init__(self, plan, lab_name, build):
        self.plan, self.lab_name, self.build = plan, lab_name, build
        self.folder = tempfile.mkdtemp(prefix="lpm-bench-")
        self.lab = self.guest = self.mover = None
        self.where = ["alpha", "beta"]

    def __enter__(self):
        scenario = Scenario(self.lab_name, rate=self.plan.rate, build=self.build)
        self.lab = scenario.__enter__()
        try:
            if any("--tls" in peer.options for peer in self.plan.peers):
                tls.setup(self.lab, self.folder)
            self.configure()
            if self.plan.guest == "db":
                self.guest = database.DatabaseGuest(self.lab, self.plan.mem,
                                                    self.plan.backing)
            else:
                self.guest = guests.TinyGuest(self.lab, guests.WORKLOADS[self.plan.workload],
                                              self.plan.mem, self.plan.backing)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        time.sleep(WINDOW_S)  # the workload's own pace
        return self

    def __exit__(self, *exception):
        self.lab.__exit__(*exception)
        shutil.rmtree(self.folder, ignore_errors=True)

    def configure(self):
        """A mover that can be another one for each move; coming home, both hosts keep what leaves
        them, which they do not by default."""
        self.mover = os.path.join(self.folder, "lpm-mover")
        self.use_mover(peers.MOVER)
        for where in self.lab.state["hosts"]:
            conf = os.path.join(self.lab.lab.host_dir(where), "etc-lpm", "lpmd.conf")
            with open(conf, encoding="ascii") as f:
                text = re.sub("^path=.*$", f"path={self.mover}", f.read(), flags=re.MULTILINE)
            if self.plan.visit == "home":
                text += "\n[retain]\nretain=on\n"
            with open(conf, "w", encoding="ascii") as f:
                f.write(text)
            lpmd.stop(self.lab.lab, self.lab.state, where)
            lpmd.start(self.lab.lab, self.lab.state, where)

    def use_mover(self, program):
        """The movers of the next moves, on both hosts, are this program of the build folder."""
        link = f"{self.mover}.next"
        os.symlink(os.path.join(self.lab.lab.build, program), link)
        os.replace(link, self.mover)

    @property
    def partition(self):
        return self.guest.name

    def run_command(self, peer, source, target):
        """(output, why not): one of them is None. A move that takes too long is stopped; one that
        fails leaves the partition where it was, and is counted as not done."""
        child = subprocess.Popen(peer.command(self, source, target), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = child.communicate(timeout=GIVE_UP_S)
        except subprocess.TimeoutExpired:
            subprocess.run(peer.abort(self, source), stdin=subprocess.DEVNULL, check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            child.communicate(timeout=60)
            return None, f"stopped after {GIVE_UP_S} s"
        if child.returncode:
            return None, f"exit {child.returncode}: {(err.strip() or out.strip())[-600:]}"
        return out, None

    def move(self, peer, counted=True):
        """Moves the partition to the other host and returns what was measured."""
        source, target = self.where
        peer.prepare(self, source)
        if not counted:
            _, failure = self.run_command(peer, source, target)
            if failure:
                raise LabError(f"{peer.name} {source} to {target}: {failure}")
            self.where.reverse()
            return None
        events, processes = measure.Events(self.lab), measure.Processes(self.lab)
        wire, back = self.lab.wire_bytes(source), self.lab.wire_bytes(target)
        begin = time.monotonic_ns() // 1000
        out, failure = self.run_command(peer, source, target)
        end = time.monotonic_ns() // 1000
        cpu, memory = processes.finish()
        done = failure is None
        move = {"peer": peer.name, "source": source, "target": target, "done": done,
                "failure": failure,
                "total_ms": (end - begin) // 1000,
                "wire_bytes": self.lab.wire_bytes(source) - wire,
                "back_bytes": self.lab.wire_bytes(target) - back,
                "cpu_ms": cpu, "mover_memory_bytes": memory, "load": os.getloadavg()[0]}
        time.sleep(WINDOW_S)  # RESUME and the end of the silence may come after the command's end
        move["suspended_us"] = events.suspended_us() if done else None
        after = time.monotonic_ns() // 1000
        move["client_gap_us"] = self.guest.gap_us(begin, after)
        window = WINDOW_S * 1000000
        move["pace"] = {"before": self.guest.rate(begin - window, begin),
                        "during": self.guest.rate(begin, end),
                        "after": self.guest.rate(after - window // 2, after)}
        if done:
            self.where.reverse()
            if peer.ours:
                report = json.loads(out)["report"]
                move["report"] = {name: report.get(name) for name in REPORT}
                move["round_trip_us"] = self.round_trip_us(source)
        self.tell(move)
        return move

    def round_trip_us(self, where):
        """Of the link while it has nothing to do."""
        _, document = self.lab.lpm(where, "host", "list")
        return document["peers"][0]["round_trip_us"]

    def tell(self, move):
        suspended = move["suspended_us"]
        say(f"{move['peer']:13} {'' if move['done'] else 'NOT DONE (' + move['failure'] + '), '}"
            f"total {move['total_ms']} ms, suspended "
            f"{'-' if suspended is None else suspended // 1000} ms, "
            f"silence {move['client_gap_us'] // 1000} ms, wire {move['wire_bytes'] >> 20} MiB, "
            f"cpu {sum(move['cpu_ms'].values())} ms, load {move['load']:.1f}")

    def visit(self, peer):
        """One counted move of a peer; coming home, after one there that is not counted."""
        if self.plan.visit == "first":
            return self.move(peer)
        self.move(peer, counted=False)
        time.sleep(self.guest.away_s)
        return self.move(peer)


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def run(plan, pairs, until, lab_name, build):
    """Rounds until there are `pairs` of them, or until the clock (time.monotonic) says that the next
    one would end too late. The first round is always made."""
    pairs = max(pairs, plan.pairs or 0)
    say(f"{plan.name}: {plan.title()}")
    moves, longest = [], 0.0
    with Bench(plan, lab_name, build) as bench:
        for number in range(pairs):
            begin = time.monotonic()
            if number and until and begin + longest > until:
                say(f"{plan.name}: the time is over after {number} of {pairs} rounds")
                break
            for peer in rotated(plan.peers, number):
                moves.append(bench.visit(peer))
            longest = max(longest, time.monotonic() - begin)
        clients = bench.guest.stop()
    return {"plan": {"name": plan.name, "title": plan.title(), "guest": plan.guest,
                     "workload": plan.workload, "rate": plan.rate, "visit": plan.visit,
                     "mem": plan.mem, "backing": plan.backing},
            "pairs": max(sum(m["peer"] == p.name for m in moves) for p in plan.peers),
            "date": datetime.date.today().isoformat(), "machine": machine(), "clients": clients,
            "moves": moves}


def _first_line(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else ""


def machine():
    """What the figures depend on."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) // (1 << 20)
    here = os.path.dirname(os.path.abspath(__file__))
    return {"processors": os.cpu_count(), "model": model, "memory_gib": memory,
            "kernel": platform.release().split("-")[0],
            "qemu": _first_line("qemu-system-x86_64", "--version").partition("version ")[2],
            "libvirt": _first_line("virsh", "--version"),
            "revision": _first_line("git", "-C", here, "rev-parse", "--short", "HEAD")}


def middle(values):
    """(median, least, most), or None for no values."""
    values = [v for v in values if v is not None]
    return (statistics.median(values), min(values), max(values)) if values else None
