# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""When which copy of a partition could run, seen by neither lpmd nor libvirt.

`Observer` runs lpm-watch (watch/) beside a lab and reads what it writes. All times are microseconds
of CLOCK_MONOTONIC. A copy is one QEMU process with a partition's UUID; the guest has to be made with
`watch=True`, so that it has a monitor of the observer's own.

What is exact and what is not: STOP and RESUME carry QEMU's own stamps, RESUME from before the
processors start and STOP from after they have stopped. The end of a copy that was killed, or its
freezing by a signal, is seen by looks 1 ms apart: `running_to_us` is when it was seen, and
`running_to_min_us` the last look that still found it running. overlaps() counts certain times
only, so it needs no tolerance, and misses two copies that ran together for less than a millisecond
at the violent death of one.
"""

import json
import os
import subprocess
import time

from lab import proc
from lab.proc import LabError

PROGRAM = "lab/faults/watch/lpm-watch"
INFINITY = float("inf")
# A processor that is stopped still wakes now and then for QEMU's own work on it.
IDLE_SHARE = 0.05
IDLE_NS = 20_000_000
SILENT_US = 5_000_000  # a copy that lives and says nothing for so long is not observed


class Copy:
    """One QEMU process, put together from the lines about it."""

    def __init__(self, line):
        self.host, self.pid, self.uuid = line["host"], line["pid"], line["uuid"]
        self.incoming, self.monitor = line["incoming"], line["monitor"]
        self.born_us = line["t_us"]
        self.gone_us = None        # when its end was seen
        self.alive_min_us = None   # the last look before its end; None while it lives
        self.attached_us = None
        self.closed_us = None      # when its monitor ended
        self.status = None
        self.runs = []             # [from, to or None, to_min or None]: by STOP, RESUME, death
        self.frozen = []           # [from, to or None, certain_from, certain_to]: by signal
        self.events = []           # (at_us, name, data)
        self.inexact = 0           # events that no clock fits
        self.cpu = []              # (from_us, to_us, ns, running): of its processors' threads

    @property
    def running(self):
        return bool(self.runs) and self.runs[-1][1] is None

    @property
    def is_frozen(self):
        return bool(self.frozen) and self.frozen[-1][1] is None and self.gone_us is None

    @property
    def ever_ran(self):
        return bool(self.runs)

    def postcopy_us(self):
        """When it, as a source, handed its run over for good; None if it did not."""
        for at, name, data in self.events:
            if name == "MIGRATION" and (data or {}).get("status") == "postcopy-active":
                return at
        return None

    def _end_run(self, at, at_min):
        if self.running:
            self.runs[-1][1:] = [at, at_min]

    def _end_frozen(self, at, certain):
        if self.frozen and self.frozen[-1][1] is None:
            self.frozen[-1][1] = at
            self.frozen[-1][3] = certain

    def take(self, line):
        what, now = line["what"], line["t_us"]
        if what == "attached":
            self.attached_us, self.status = now, line["status"]
            if line["running"]:
                self.runs.append([now, None, None])
        elif what == "event":
            self._take_event(line)
        elif what == "monitor-closed":
            self.closed_us = now
        elif what == "frozen":
            self.frozen.append([line["not_before_us"], None, now, None])
        elif what == "thawed":
            self._end_frozen(now, line["not_before_us"])
        elif what in ("exiting", "gone"):
            seen = line["not_before_us"] or self.born_us
            self._end_run(now, seen)
            self._end_frozen(now, seen)
            if self.alive_min_us is None:
                self.alive_min_us = seen
            if what == "gone":
                self.gone_us = now
        elif what == "cpu":
            self.cpu.append((line["from_us"], line["to_us"], line["ns"], line["running"]))

    def _take_event(self, line):
        at, name = line["at_us"], line["event"]
        self.events.append((at, name, line["data"]))
        self.inexact += not line["exact"]
        if name == "RESUME" and not self.running:
            self.runs.append([at, None, None])
        elif name == "STOP":
            # An instant that is not known exactly is only a bound: the copy may have stopped at any
            # time since it was started.
            self._end_run(at, at if line["exact"] else self.runs[-1][0] if self.runs else at)

    def certain_runs(self):
        """[from, to) in which its processors were surely running: without what was frozen."""
        pieces = []
        for begin, end, end_min in self.runs:
            upto = INFINITY if end is None else end_min
            at = begin
            for frozen_from, frozen_to, _, _ in self.frozen:
                stop = max(at, frozen_from)
                if at < min(stop, upto):
                    pieces.append((at, min(stop, upto)))
                at = max(at, INFINITY if frozen_to is None else frozen_to)
            if at < upto:
                pieces.append((at, upto))
        return pieces

    def describe(self):
        return f"{self.host}:{self.pid}"


class Observer:
    """Watches the copies of all partitions on all hosts of a lab, from start() to stop()."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.log = os.path.join(scenario.lab.run_dir, "watch.jsonl")
        self.process = None
        self.copies = []
        self._live = {}
        self._read_to = 0

    def start(self):
        program = os.path.join(self.scenario.lab.build, PROGRAM)
        if not os.access(program, os.X_OK):
            raise LabError(f"{program} is missing: build with the option lab")
        hosts = [f"{name}={entry['holder']['pid']}"
                 for name, entry in self.scenario.state["hosts"].items()]
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.process = subprocess.Popen([program, "--log", self.log] + hosts, cwd="/",
                                        stdin=subprocess.DEVNULL, env=self.scenario.lab.env())
        proc.wait_until("the observer to begin", self._begun, 10, 0.01)
        return self

    def _begun(self):
        if self.process.poll() is not None:
            raise LabError(f"lpm-watch has ended with {self.process.returncode}")
        return os.path.exists(self.log) and os.path.getsize(self.log) > 0

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10)
        if self.process:
            self.refresh()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()

    def refresh(self):
        """Takes in what was written since the last time; cheap, for every look calls it."""
        with open(self.log, "rb") as f:
            f.seek(self._read_to)
            text = f.read()
        whole = text.rfind(b"\n") + 1
        self._read_to += whole
        for raw in text[:whole].splitlines():
            line = json.loads(raw)
            if line["what"] == "born":
                copy = Copy(line)
                self.copies.append(copy)
                self._live[copy.pid] = copy
            elif line.get("pid") in self._live:
                self._live[line["pid"]].take(line)
                if line["what"] == "gone":
                    del self._live[line["pid"]]
        return self

    def alive(self):
        """Whether the observer itself still watches; a check without it proves nothing."""
        return self.process is not None and self.process.poll() is None

    def forget(self, before_us):
        """Drops copies that ended before an instant, for runs of thousands of trials."""
        self.refresh()
        self.copies = [c for c in self.copies if c.gone_us is None or c.gone_us >= before_us]

    def of(self, uuid=None):
        self.refresh()
        return [c for c in self.copies if uuid is None or c.uuid == uuid]

    def living(self, uuid=None):
        return [c for c in self.of(uuid) if c.gone_us is None]

    def intervals(self, since_us=0, uuid=None):
        """Times in which copies were running by their own word, oldest first."""
        found = []
        for copy in self.of(uuid):
            for begin, end, end_min in copy.runs:
                if end is None or end >= since_us:
                    found.append({"host": copy.host, "pid": copy.pid, "uuid": copy.uuid,
                                  "running_from_us": begin, "running_to_us": end,
                                  "running_to_min_us": end_min})
        return sorted(found, key=lambda i: i["running_from_us"])

    def _pairs(self, uuid):
        copies = self.of(uuid)
        for i, a in enumerate(copies):
            for b in copies[i + 1:]:
                if a.uuid == b.uuid:
                    yield a, b

    def overlaps(self, since_us=0, uuid=None):
        """Pairs of copies of one partition that were surely running at the same time."""
        now, found = now_us(), []
        for a, b in self._pairs(uuid):
            for a_from, a_to in a.certain_runs():
                for b_from, b_to in b.certain_runs():
                    begin, end = max(a_from, b_from), min(a_to, b_to, now)
                    if begin < end and end >= since_us:
                        found.append({"copies": [a.describe(), b.describe()], "uuid": a.uuid,
                                      "from_us": begin, "to_us": end, "for_us": end - begin})
        return found

    def busy_while_stopped(self, since_us=0, uuid=None):
        """The second, independent evidence: processors that used the machine while their QEMU said
        that they were stopped, in the time in which another copy existed. Texts."""
        found = []
        for copy in self.of(uuid):
            if copy.postcopy_us() is not None:
                continue
            for begin, end, ns, _ in copy.cpu:
                stopped = not any(r[0] < end and (r[1] is None or r[1] > begin)
                                  for r in copy.runs)
                if stopped and end >= since_us and begin > (copy.attached_us or INFINITY) and \
                        ns > IDLE_NS + IDLE_SHARE * (end - begin) * 1000:
                    found.append(f"{copy.describe()} used {ns // 1000} us of processor time in "
                                 f"{end - begin} us in which it was stopped")
        return found

    def unsafe_starts(self, since_us=0, uuid=None):
        """Starts of a copy while another that has run could run again: neither ended nor ending,
        and not given away for good in post-copy. Plain libvirt always does this; OpenLPM never.
        What counts is only an end that surely came after the start."""
        found = []
        for copy in self.of(uuid):
            for at, _, _ in copy.runs:
                for other in self.of(copy.uuid):
                    if other is copy or at < since_us or other.born_us > at:
                        continue
                    ran = any(r[0] < at for r in other.runs)
                    given = other.postcopy_us()
                    ended = other.alive_min_us
                    if ran and (ended is None or ended > at) and (given is None or given > at):
                        found.append({"started": copy.describe(), "beside": other.describe(),
                                      "at_us": at, "uuid": copy.uuid,
                                      "alive_until_us": ended})
        return found

    def blind_spots(self, uuid=None):
        """Copies of which it is not known whether they ran. Texts."""
        found = []
        for copy in self.of(uuid):
            end = copy.gone_us or now_us()
            if not copy.monitor:
                found.append(f"{copy.describe()} has no monitor for the observer")
            elif copy.attached_us is None and end - copy.born_us > SILENT_US and not copy.frozen:
                found.append(f"{copy.describe()} has not answered the observer")
            elif copy.closed_us and end - copy.closed_us > SILENT_US:
                found.append(f"{copy.describe()} has hung up on the observer")
        if not self.alive():
            found.append("the observer has ended")
        return found

    def timeline(self, since_us=0, uuid=None):
        """What was seen, oldest first, for a report: [(at_us, text)]."""
        lines = []
        for copy in self.of(uuid):
            name = copy.describe()
            lines.append((copy.born_us, f"{name} begins{' (incoming)' if copy.incoming else ''}"))
            lines += [(at, f"{name} {event} {json.dumps(data) if data else ''}".rstrip())
                      for at, event, data in copy.events]
            for begin, end, _, _ in copy.frozen:
                lines.append((begin, f"{name} frozen by a signal"))
                if end is not None:
                    lines.append((end, f"{name} no longer frozen"))
            if copy.alive_min_us is not None:
                lines.append((copy.alive_min_us, f"{name} last seen able to run"))
            if copy.gone_us is not None:
                lines.append((copy.gone_us, f"{name} has ended"))
        return sorted(line for line in lines if line[0] >= since_us)


def now_us():
    """CLOCK_MONOTONIC in microseconds, as the observer and QEMU's stamps are."""
    return time.monotonic_ns() // 1000
