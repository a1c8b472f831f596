# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The faults: what each does to the lab and how it ends.

A fault is a class with `apply()`, which says whether there was anything to do it to, and `heal()`,
which ends it and must work whatever has happened meanwhile. `names()` of the table are what
--only matches.
"""

import fcntl
import os
import signal
import time

from lab import host, net, proc
from lab.faults.ground import DAEMONS, PARTITION, NoAnswer
from lab.state import RUN

DATA, CONTROL, ISCSI = 16521, 16520, 3260
MARGIN = 1 << 20  # of a file system, filled by writing and not by reserving


class Fault:
    """`where`: the victim's host; `seconds`: from apply to heal."""

    waits_for_point = False  # whether heal() can only work once a fault point is released

    def __init__(self, ground, side, where, seconds):
        self.ground, self.side, self.where, self.seconds = ground, side, where, seconds

    def prepare(self):
        """Before the migration begins."""

    def apply(self):
        raise NotImplementedError

    def heal(self):
        pass

    def may_end_guest(self, _state, _instant, _post_copy):
        """Whether the partition may have ended with it, applied in that state of the matrix."""
        return False


# Where the copy on a side is not the partition: killing it may not end that.
NOT_YET = ("validating", "preparing", "copying", "rolling-back")
NOT_YET_POINTS = ("source.after-suspending", "source.before-committing", "source.finish-held",
                  "target.prepared-asked")
NO_MORE = ("decided", "cleaning", "after the end")


class Kill(Fault):
    """SIGKILL; a daemon is started again after `seconds`."""

    def __init__(self, ground, side, where, seconds, what):
        super().__init__(ground, side, where, seconds)
        self.what = what

    def apply(self):
        pids = self.ground.pids(self.what, self.where, self.side)
        if self.what in DAEMONS:
            # Gone before its fault point is released, or it would go on for a moment.
            self.ground.end_daemon(self.what, self.where, kill=True)
        else:
            for pid in pids:
                proc.send(pid, proc.start_time(pid), signal.SIGKILL)
        return bool(pids)

    def heal(self):
        if self.what in DAEMONS:
            self.ground.start_daemon(self.what, self.where)

    def may_end_guest(self, state, instant, post_copy):
        if self.what != "qemu":
            return False
        if post_copy != "never" and state not in ("validating", "preparing", "after the end"):
            # Each of the two may hold a half, or be the one that runs.
            return self.side == "target" or state != "cleaning"
        if self.side == "target":
            return state not in NOT_YET and instant not in NOT_YET_POINTS
        return state not in NO_MORE


class Pause(Fault):
    """SIGSTOP, and SIGCONT after `seconds`."""

    def __init__(self, ground, side, where, seconds, what):
        super().__init__(ground, side, where, seconds)
        self.what, self.stopped = what, []

    def apply(self):
        for pid in self.ground.pids(self.what, self.where, self.side):
            start = proc.start_time(pid)
            proc.send(pid, start, signal.SIGSTOP)
            self.stopped.append((pid, start))
        return bool(self.stopped)

    def heal(self):
        for pid, start in self.stopped:
            proc.send(pid, start, signal.SIGCONT)


class Restart(Fault):
    """lpmd as systemd restarts it: SIGTERM, and the next at once."""

    waits_for_point = True

    def apply(self):
        rec = self.ground.state["hosts"][self.where]["lpmd"]
        if not proc.alive(rec):
            return False
        self.ground.ended.add(("lpmd", self.where))
        proc.send(rec["pid"], rec["start"], signal.SIGTERM)
        return True

    def heal(self):
        self.ground.end_daemon("lpmd", self.where, kill=False)
        self.ground.start_daemon("lpmd", self.where)


class Ports(Fault):
    """The link between the hosts fails for some ports: `reset` as a firewall that refuses, else
    as a cable that is cut somewhere: silence."""

    def __init__(self, ground, side, where, seconds, ports, reset, device=None):
        super().__init__(ground, side, where, seconds)
        self.ports, self.reset, self.device = ports, reset, device

    def _rules(self, order):
        jump = "REJECT --reject-with tcp-reset" if self.reset else "DROP"
        lines = [f"{order} {chain} -p tcp --{end} {port} -j {jump}" for port in self.ports
                 for chain in ("INPUT", "OUTPUT") for end in ("sport", "dport")]
        proc.run(self.ground.enter(self.where, "iptables-restore", "--noflush"),
                 stdin="\n".join(["*filter"] + lines + ["COMMIT"]) + "\n")

    def apply(self):
        self._rules("-I")
        if self.reset:
            for port in self.ports:
                proc.run(self.ground.enter(
                    self.where, "ss", "--kill", "--tcp", "state", "established",
                    f"( sport = :{port} or dport = :{port} )"), check=False)
        return True

    def heal(self):
        self._rules("-D")


class Unplug(Fault):
    """The host's cable to the LAN: its guests are cut off as well, storage is not."""

    def apply(self):
        net.ip("link", "set", "uplink", "down", netns=self.ground.lab.netns(self.where))
        return True

    def heal(self):
        net.ip("link", "set", "uplink", "up", netns=self.ground.lab.netns(self.where))


class DiskFull(Fault):
    """No byte is free beside the journal."""

    def prepare(self):
        # A log that has been written once round needs no new block: begin with a short one.
        self.ground.end_daemon("lpmd", self.where, kill=False)
        self.ground.start_daemon("lpmd", self.where)
        self.ground.await_daemons()

    def _filler(self):
        return self.ground.path(self.where, "/var/lib/lpm/filler")

    def apply(self):
        with open(self._filler(), "wb", buffering=0) as f:
            facts = os.statvfs(self._filler())
            os.posix_fallocate(f.fileno(), 0, max(1, facts.f_bavail * facts.f_frsize - MARGIN))
            f.seek(0, os.SEEK_END)
            block = b"\0" * 65536
            while block:
                try:
                    f.write(block)
                except OSError:
                    block = block[:len(block) // 2 // 512 * 512]
        return True

    def heal(self):
        if os.path.exists(self._filler()):
            os.unlink(self._filler())


class DiskReadOnly(Fault):
    """The file system under the journal gives up and is read-only, as after an error; an operator
    repairs it, for which lpmd must be ended, and starts lpmd again."""

    def apply(self):
        proc.run(self.ground.enter(self.where, "mount", "-o", "remount,abort", "/var/lib/lpm"))
        return True

    def heal(self):
        self.ground.end_daemon("lpmd", self.where, kill=True)
        self.ground.remount_journal(self.where)
        self.ground.start_daemon("lpmd", self.where)


class Clock(Fault):
    """The clock of the day jumps, and back at the end. All hosts of a lab share the machine's."""

    def __init__(self, ground, side, where, seconds, step):
        super().__init__(ground, side, where, seconds)
        self.step, self.stepped = step, False

    def _shift(self, seconds):
        # Labs beside each other may step it at the same time.
        with open(os.path.join(RUN, "clock.lock"), "a", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            now = time.clock_gettime_ns(time.CLOCK_REALTIME)
            time.clock_settime_ns(time.CLOCK_REALTIME, now + seconds * 10**9)

    def apply(self):
        self._shift(self.step)
        self.stepped = True
        return True

    def heal(self):
        if self.stepped:
            self.stepped = False
            self._shift(-self.step)


class Stop(Fault):
    """`lpm stop`, while others wait for it."""

    def apply(self):
        try:
            moves = self.ground.migrations(self.where, active=True, timeout=0.5)
            if not moves:
                return False
            # Refused after the decision, which is an answer as well.
            self.ground.api(self.where, f"/v1/migrations/{moves[0]['id']}/stop", "POST", body={},
                            timeout=0.5)
            return True
        except NoAnswer:
            return True  # asked; the answer comes when the fault point lets it


def _processes():
    table = {}
    for verb, kind in (("kill", Kill), ("pause", Pause)):
        for what in ("lpmd", "mover", "libvirtd", "qemu"):
            for side in ("source", "target"):
                table[f"{verb}-{what}-{side}"] = (side, kind, {"what": what})
    return table


def _links():
    table = {}
    for verb, reset in (("cut", True), ("stall", False)):
        for name, ports in (("data", (DATA,)), ("control", (CONTROL,)), ("both", (DATA, CONTROL))):
            table[f"{verb}-{name}"] = ("source", Ports, {"ports": ports, "reset": reset})
    return table


def _by_side(name, kind, options=None):
    return {f"{name}-{side}": (side, kind, options or {}) for side in ("source", "target")}


# name -> (victim's side, class, options)
TABLE = (_processes() | _links() | _by_side("unplug", Unplug) |
         _by_side("san", Ports, {"ports": (ISCSI,), "reset": False}) |
         _by_side("disk-full", DiskFull) | _by_side("disk-readonly", DiskReadOnly) |
         _by_side("restart-lpmd", Restart) |
         {"clock-forward": ("source", Clock, {"step": 90}),
          "clock-back": ("source", Clock, {"step": -90})} | {"lpm-stop": ("source", Stop, {})})


def make(ground, name, hosts, seconds):
    """`hosts`: {side: host} of the trial's migration."""
    side, kind, options = TABLE[name]
    return kind(ground, side, hosts[side], seconds, **options)


def clear(ground):
    """What a fault that could not heal may have left: for the end of a trial."""
    for where in ground.state["hosts"]:
        proc.run(ground.enter(where, "iptables", "-F"), check=False)
        net.ip("link", "set", "uplink", "up", netns=ground.lab.netns(where))


def partition_state(ground, where):
    return host.virsh(ground.state, where, "domstate", PARTITION, check=False).stdout.strip()
