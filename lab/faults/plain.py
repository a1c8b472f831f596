# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The baseline: what becomes of a partition when plain libvirt moves it and something fails.

`python -m lab.faults.plain --count N --seed S [--json] [--update]`: peer-to-peer migrations by
virsh over a dumb wire (relay.py), each with one fault at one instant, judged by the observer: were
there ever two copies with running processors, and how many run when everything has come to rest?
--update writes plain-results.json, which docs/faults.md shows.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time

from lab import host, proc
from lab.faults.observe import Observer, now_us
from lab.faults.relay import Relay
from lab.proc import LabError
from lab.scenario import Scenario

PARTITION = "plain"
# Nothing is written in it: lab/README.md, "A limit of emulation".
GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0", "watch": True}
BANDWIDTH_MIB = 40  # so that the copy takes 2 to 3 s
COPY_BYTES = 80 << 20
DURATION_S = 3.5
REST_S, REST_LIMIT_S = 1.5, 15
CALL_LIMIT_S = 90
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain-results.json")

MOMENTS = ("prepare.call", "prepare.reply", "data", "finish.call", "finish.reply")
INSTANTS = MOMENTS + ("random",)
STOPPED_S, STALLED_S, RESTART_S = 2.0, 3.0, 0.5
# libvirt's keepalive ends a connection that has been silent for 30 s, counted from the last message.
HELD_S, LONG_S = 30.0, 40.0


def cells():
    """All (fault, instant); what the table is made of."""
    found = []
    for what in ("libvirtd", "qemu"):
        for side in ("source", "target"):
            for act in ("kill", "stop"):
                # Before the target has prepared, it has no QEMU.
                found += [(f"{act}-{what}-{side}", instant) for instant in INSTANTS
                          if (what, side, instant) != ("qemu", "target", "prepare.call")]
    for fault in ("cut-link", "stall-link"):
        found += [(fault, instant) for instant in INSTANTS]
    found += [("stall-link-long", m) for m in ("data", "finish.call", "finish.reply")]
    return found + [("lose-finish-reply", "finish.reply"), ("hold-finish-reply", "finish.reply")]


class Trial:
    """One migration with one fault; `outcome` is one, two or none, or one_and_paused when beside the
    running copy a paused one is left, which nothing keeps from being resumed."""

    def __init__(self, scenario, observer, fault, instant, rng):
        self.scenario, self.observer = scenario, observer
        self.fault, self.instant, self.rng = fault, instant, rng
        self.applied = False
        self.heal = []
        self.outcome, self.detail = None, ""

    def run(self, source):
        target = next(h for h in self.scenario.state["hosts"] if h != source)
        self.hosts = {"source": source, "target": target}
        since = now_us()
        after = self.rng.randrange(COPY_BYTES) if self.instant == "data" else None
        with Relay(self.scenario, source, target, self._moment, after) as self.relay:
            call = start_migration(self.scenario, PARTITION, source, self.relay)
            try:
                self._random_instant(call)
                self._await_call(call)
            finally:
                self._heal()
                end_call(call)
        self._rest(since)

    def _moment(self, name, _relay):
        if name != self.instant or self.applied:
            return False
        return self._apply()

    def _random_instant(self, call):
        if self.instant == "random":
            due = time.monotonic() + self.rng.random() * DURATION_S
            while time.monotonic() < due and call.poll() is None:
                time.sleep(0.01)
            self._apply()

    def _await_call(self, call):
        end = time.monotonic() + CALL_LIMIT_S
        while call.poll() is None and time.monotonic() < end:
            for due, function in [h for h in self.heal if h[0] <= time.monotonic()]:
                self.heal.remove((due, function))
                function()
            time.sleep(0.02)

    def _heal(self):
        for _, function in sorted(self.heal, key=lambda h: h[0]):
            function()
        self.heal.clear()

    def _apply(self):
        """Does it; True to lose the message at which it happens."""
        self.applied = True
        if self.fault in ("lose-finish-reply", "cut-link"):
            self.relay.cut()
            return True
        if self.fault == "hold-finish-reply":
            # Only what comes from the target stands still: the reply and all behind it.
            time.sleep(HELD_S)
        elif self.fault.startswith("stall-link"):
            self.relay.stall(LONG_S if self.fault.endswith("long") else STALLED_S)
        else:
            act, what, side = self.fault.split("-")
            getattr(self, f"_{act}_{what}")(self.hosts[side])
        return False

    def _kill_libvirtd(self, where):
        rec = self.scenario.state["hosts"][where]["libvirtd"]
        proc.send(rec["pid"], rec["start"], signal.SIGKILL)
        self.heal.append((time.monotonic() + RESTART_S, lambda: self._restart(where)))

    def _restart(self, where):
        rec = self.scenario.state["hosts"][where]["libvirtd"]
        proc.wait_until("libvirtd to be gone", lambda: not proc.alive(rec), 10)
        host.begin_libvirtd(self.scenario.lab, self.scenario.state, where)
        host.await_libvirt(self.scenario.lab, self.scenario.state, where)

    def _stop_libvirtd(self, where):
        rec = self.scenario.state["hosts"][where]["libvirtd"]
        self._freeze(rec["pid"], rec["start"])

    def _qemu(self, where):
        uuid = self.scenario.state["guests"][PARTITION]["uuid"]
        return [(c.pid, proc.start_time(c.pid)) for c in self.observer.living(uuid)
                if c.host == where]

    def _kill_qemu(self, where):
        found = self._qemu(where)
        self.applied = bool(found)
        for pid, start in found:
            proc.send(pid, start, signal.SIGKILL)

    def _stop_qemu(self, where):
        found = self._qemu(where)
        self.applied = bool(found)
        for pid, start in found:
            self._freeze(pid, start)

    def _freeze(self, pid, start):
        proc.send(pid, start, signal.SIGSTOP)
        self.heal.append((time.monotonic() + STOPPED_S,
                          lambda: proc.send(pid, start, signal.SIGCONT)))

    def _rest(self, since):
        """Waits until nothing changes any more, then counts."""
        uuid = self.scenario.state["guests"][PARTITION]["uuid"]
        end, last, same_since = time.monotonic() + REST_LIMIT_S, None, time.monotonic()
        while time.monotonic() < end and time.monotonic() - same_since < REST_S:
            now = sorted((c.host, c.running) for c in self.observer.living(uuid))
            if now != last:
                last, same_since = now, time.monotonic()
            time.sleep(0.05)
        together = self.observer.overlaps(since, uuid)
        running = sum(runs for _, runs in last)
        self.outcome = "two" if together or running > 1 else "none" if not running else \
            "one" if len(last) == 1 else "one_and_paused"
        self.detail = ", ".join(f"{'running' if runs else 'paused'} on the "
                                f"{'source' if where == self.hosts['source'] else 'target'}"
                                for where, runs in last) or "no copy"


def start_migration(scenario, partition, source, relay, *options):
    """virsh migrate over the relay; the process."""
    uri, data = relay.uris()
    line = ["virsh", "-q", "-c", host.libvirt_uri(scenario.state, source), "migrate", "--live",
            "--p2p", "--persistent", "--undefinesource", "--bandwidth", str(BANDWIDTH_MIB),
            *options, partition, uri, data]
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def end_call(call):
    """Ends virsh if it has not; what it said."""
    if call.poll() is None:
        call.kill()
    return call.communicate()[1].strip()


class Bench:
    """A lab without lpmd, and a partition that is made anew when a trial has damaged it."""

    def __init__(self, scenario, observer):
        self.scenario, self.observer = scenario, observer

    def home(self):
        """Where the partition runs, after making it anew unless it runs once and nothing is left."""
        if PARTITION in self.scenario.state["guests"]:
            uuid = self.scenario.state["guests"][PARTITION]["uuid"]
            living = self.observer.living(uuid)
            if len(living) == 1 and living[0].running and \
                    self.scenario.places(PARTITION) == [(living[0].host, "running")]:
                return living[0].host
            self._remove(uuid)
        self.scenario.add_guest(PARTITION, **GUEST)
        return "alpha"

    def _remove(self, uuid):
        with contextlib.suppress(LabError):
            self.scenario.remove_guest(PARTITION)
        for copy in self.observer.living(uuid):
            start = proc.start_time(copy.pid)
            if start:
                proc.send(copy.pid, start, signal.SIGKILL)
        proc.wait_until("all copies to end", lambda: not self.observer.living(uuid), 20)
        if PARTITION in self.scenario.state["guests"]:
            self.scenario.remove_guest(PARTITION)


def matching(only):
    return [(fault, instant) for fault, instant in cells() if only in f"{fault}@{instant}"]


def plan(count, seed, only):
    """Every cell once before any comes a second time; in an order of the seed's."""
    rng, chosen = random.Random(seed), []
    while len(chosen) < count:
        once = matching(only)
        rng.shuffle(once)
        chosen += once
    return chosen[:count]


def run_all(args):
    table, begin, result = {}, time.monotonic(), None
    with Scenario(args.name, build=args.build, with_lpmd=False) as scenario, \
            Observer(scenario) as observer:
        bench = Bench(scenario, observer)
        for number, (fault, instant) in enumerate(plan(args.count, args.seed, args.only)):
            trial = Trial(scenario, observer, fault, instant,
                          random.Random(f"{args.seed}/{number}"))
            trial.run(bench.home())
            name = trial.outcome if trial.applied else "not_reached"
            cell = table.setdefault(fault, {}).setdefault(instant, {})
            cell[name] = cell.get(name, 0) + 1
            print(f"{number + 1}/{args.count} {fault}@{instant}: {name} ({trial.detail})",
                  file=sys.stderr, flush=True)
            observer.forget(now_us())
            result = summary(args, table, time.monotonic() - begin)
            if args.update:  # each time: a long run may be cut short
                with open(RESULTS, "w", encoding="ascii") as f:
                    f.write(json.dumps(result, indent=1) + "\n")
    return result


@functools.cache
def versions():
    return {"libvirt": proc.run(["libvirtd", "--version"]).split()[-1],
            "qemu": proc.run(["qemu-system-x86_64", "--version"]).split()[3]}


def summary(args, table, seconds):
    totals = {}
    for cells_of in table.values():
        for cell in cells_of.values():
            for name, n in cell.items():
                totals[name] = totals.get(name, 0) + n
    return {"seed": args.seed, "trials": sum(totals.values()), "seconds": round(seconds),
            "versions": versions(), "instants": list(INSTANTS), "totals": totals,
            "faults": {fault: table[fault] for fault in dict.fromkeys(f for f, _ in cells())
                       if fault in table}}


def main():
    parser = argparse.ArgumentParser(prog="lab.faults.plain", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=len(cells()), metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only trials with this in FAULT@INSTANT")
    parser.add_argument("--name", default="plain", help="of the lab (plain)")
    parser.add_argument("--build", help="build folder with the lab's programs")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--update", action="store_true", help=f"write {os.path.basename(RESULTS)}")
    args = parser.parse_args()
    if args.count < 1 or not matching(args.only):
        parser.error("--count: 1 or more; --only: a part of FAULT@INSTANT that there is")
    try:
        result = run_all(args)
    except LabError as error:
        print(f"plain: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result) if args.json else
          ", ".join(f"{n} {name}" for name, n in sorted(result["totals"].items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
