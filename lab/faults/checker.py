# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What is true after a trial, found out without lpmd or lpm.

It looks at processes, at libvirt and the files of both hosts, at the partition's disk and at what
its clients were told, and takes the observer's word for what ran when. What lpm says about it is
for its caller to compare.
"""

import contextlib
import os
import time
import weakref
from dataclasses import dataclass, field

from lab import host, proc, updown
from lab.faults.audit import DiskAudit
from lab.faults.observe import now_us

SETTLE_S = 5.0   # leftovers may take this long to go
SERVED_S = 15.0  # a partition that runs has answered its clients within this
# What lpmd has in its run folder while nothing is being moved.
RUN_LPM = {"lpmd.sock", "lpmd.lock", "mover", "empty", "fault-points"}
EMPTY_FOLDERS = ("/run/lpm/mover", "/run/lpm/empty", "/run/libvirt/lpm")

_audits = weakref.WeakKeyDictionary()


@dataclass
class Verdict:
    ok: bool = False
    double_runs: list = field(default_factory=list)    # Observer.overlaps()
    unsafe_starts: list = field(default_factory=list)  # Observer.unsafe_starts()
    lost: int = 0
    doubled: int = 0
    corrupt: int = 0        # damaged places, breaks in the chain, overwritten records
    resets: int = 0         # connections of clients that ended
    leftovers: list = field(default_factory=list)
    running_on: list = field(default_factory=list)     # hosts
    paused_on: list = field(default_factory=list)      # hosts with a copy that does not run
    defined_on: list = field(default_factory=list)     # hosts that know of the partition
    notes: list = field(default_factory=list)          # what else is wrong, or was found

    def problems(self):
        found = [f"two copies ran at once: {o}" for o in self.double_runs]
        found += [f"started beside a copy that could run: {u}" for u in self.unsafe_starts]
        found += [f"{name}: {value}" for name, value in
                  (("lost", self.lost), ("doubled", self.doubled), ("corrupt", self.corrupt)) if value]
        return found + [f"left over: {text}" for text in self.leftovers] + self.notes


def audit_of(scenario, partition):
    """The running audit of a partition's disk, kept over the trials of a scenario."""
    return _audits.setdefault(scenario, {}).setdefault(
        partition, DiskAudit(scenario.disk(partition)))


def forget_audit(scenario, partition):
    """For a partition that is made anew, or whose disk is known to be damaged."""
    _audits.get(scenario, {}).pop(partition, None)


def _names(folder):
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            name, _, rest = f.read().rpartition(b")")
        return name.partition(b"(")[2].decode(errors="replace"), rest.split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return None, None


def _exe(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def _processes(scenario, found):
    """Movers, and anything that a signal has stopped."""
    mover = os.path.realpath(scenario.program("lpm-mover"))
    for pid in sorted(updown.members(scenario.lab)):
        name, state = _state_of(pid)
        if state is None or state in "ZX":
            continue
        if _exe(pid) == mover:
            found.append(f"mover process {pid}")
        if state == "T":
            found.append(f"process {pid} ({name}) is stopped by a signal")


def _files(scenario, partition, where, owner, found):
    root = host.root(scenario.state, where)
    for folder in EMPTY_FOLDERS:
        found += [f"{where}:{folder}/{name}" for name in _names(root + folder)]
    found += [f"{where}:/run/lpm/{name}" for name in _names(root + "/run/lpm")
              if name not in RUN_LPM]
    found += [f"{where}:/run/libvirt/qemu/{name}" for name in _names(root + "/run/libvirt/qemu")
              if "tunnelmigrate" in name or
              (where != owner and name in (f"{partition}.xml", f"{partition}.pid"))]
    if where != owner:
        found += [f"{where}:/var/lib/libvirt/qemu/{name}"
                  for name in _names(root + "/var/lib/libvirt/qemu")
                  if name.startswith("domain-") and name.endswith(f"-{partition}")]


def _libvirt(scenario, partition, where):
    """libvirt's state of the partition on a host and whether it is defined there for good; a text
    when libvirt does not answer."""
    if not proc.alive(scenario.state["hosts"][where]["libvirtd"]):
        return None, False, f"libvirtd of {where} does not run"
    done = host.virsh(scenario.state, where, "list", "--all", check=False, timeout=20)
    if done.returncode != 0:
        return None, False, f"libvirt of {where} does not answer: {done.stderr.strip()}"
    state = None
    for line in done.stdout.splitlines():
        words = line.split(None, 2)
        if len(words) == 3 and words[1] == partition:
            state = words[2].strip()
    file = f"{host.root(scenario.state, where)}/etc/libvirt/qemu/{partition}.xml"
    return state, os.path.exists(file), None


def look(scenario, partition, observer):
    """What there is at this moment: (running_on, paused_on, defined_on, leftovers)."""
    uuid = scenario.state["guests"][partition]["uuid"]
    copies = observer.living(uuid)
    running = [c.host for c in copies if c.running]
    paused = [c.host for c in copies if not c.running]
    hosts, found, defined = list(scenario.state["hosts"]), [], []
    states = {where: _libvirt(scenario, partition, where) for where in hosts}
    # The owner is where it runs; if it runs nowhere, the one host that has a copy or knows of it.
    known = running or paused or [w for w in hosts if states[w][0] is not None]
    owner = known[0] if len(known) == 1 else None
    _processes(scenario, found)
    for where in hosts:
        state, permanent, trouble = states[where]
        if trouble:
            found.append(trouble)
        if state is not None or permanent:
            defined.append(where)
        if owner and where != owner and (state is not None or permanent):
            found.append(f"libvirt of {where} still knows {partition} ({state}, "
                         f"{'defined' if permanent else 'not defined'})")
        if where == owner and not permanent:
            found.append(f"{where} has no definition of {partition} to start it again")
        expected = {"running": running, "paused": paused}.get(state)
        if where == owner and trouble is None and (running or paused) and \
                where not in (expected or []):
            found.append(f"libvirt of {where} takes {partition} for '{state}'; QEMU "
                         f"{'runs' if where in running else 'is paused'}")
        _files(scenario, partition, where, owner, found)
    found += [f"QEMU {c.describe()} beside the owner's on {owner}" for c in copies
              if owner and c.host != owner]
    return running, paused, defined, found


def _is_right(running, paused, leftovers, allow_zero, allow_paused):
    if leftovers:
        return False
    if len(running) == 1 and not paused:
        return True
    if not running and not paused:
        return allow_zero
    return allow_paused and not running and len(paused) == 1


def _clients(scenario, partition, ledger, verdict, must_be_served, since_us):
    audit = audit_of(scenario, partition)
    journal = audit.follow(ledger.journal)
    asked, end = now_us(), time.monotonic() + SERVED_S
    wrong = audit.look(again=True)
    while must_be_served and journal.until_us <= asked:
        if time.monotonic() > end or ledger.process.poll() is not None:
            verdict.notes.append("its clients are not served" if ledger.process.poll() is None else
                                 f"the clients have ended ({ledger.process.returncode})")
            break
        time.sleep(0.03)
        for name, value in audit.look().items():
            wrong[name] += value
    verdict.lost, verdict.doubled = wrong["lost"], wrong["doubled"]
    verdict.corrupt = wrong["corrupt"] + wrong["chain_breaks"] + wrong["rewritten"]
    if any(wrong.values()):
        verdict.notes += audit.texts[-8:]
    verdict.resets = sum(at >= since_us for at in journal.resets)


def _memory(scenario, partition, verdict):
    done = proc.run(scenario.enter("client", scenario.program("ledger"), "check", "--to",
                                   scenario.service(partition)), check=False, timeout=60)
    if done.returncode != 0:
        verdict.notes.append(f"the service finds itself damaged: {done.stdout.strip()[:400]}")


def check(scenario, partition, observer, ledger, allow_zero=False, allow_paused=False, since_us=0,
          settle_s=SETTLE_S, memory=False):
    """Judges the time from `since_us` (CLOCK_MONOTONIC) to now, and what there is now.

    Waits at most `settle_s` for leftovers to go. `ledger` may be None. `allow_zero`: no copy is a
    right end too (a QEMU was killed); `allow_paused`: one paused copy is (its owner is in doubt).
    `memory` has the service check its own memory as well. Counts of writes are those that went wrong
    since the check before."""
    uuid = scenario.state["guests"][partition]["uuid"]
    verdict, end = Verdict(), time.monotonic() + settle_s
    while True:
        now = look(scenario, partition, observer)
        right = _is_right(now[0], now[1], now[3], allow_zero, allow_paused)
        if right or time.monotonic() > end:
            break
        time.sleep(0.05)
    verdict.running_on, verdict.paused_on, verdict.defined_on, verdict.leftovers = now
    if not right and not verdict.leftovers:
        verdict.notes.append(f"copies running on {verdict.running_on or 'no host'}, paused on "
                             f"{verdict.paused_on or 'no host'}")
    if ledger is not None:
        with contextlib.suppress(FileNotFoundError):
            _clients(scenario, partition, ledger, verdict, len(now[0]) == 1, since_us)
    if memory and len(now[0]) == 1:
        _memory(scenario, partition, verdict)
    verdict.double_runs = observer.overlaps(since_us, uuid)
    verdict.unsafe_starts = observer.unsafe_starts(since_us, uuid)
    verdict.notes += observer.busy_while_stopped(since_us, uuid) + observer.blind_spots(uuid)
    verdict.ok = right and not verdict.problems()
    return verdict
