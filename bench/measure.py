# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What is read while a partition moves: events of QEMU, processor time and memory of processes."""

import collections
import os
import re
import subprocess
import tempfile
import threading
import time

from lab import host

EVENT = re.compile(r"event (STOP|RESUME) at (\d+)\.(\d+) for domain")
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
# Which account the processor time of a process goes to.
ACCOUNTS = {"qemu-system-x86": "qemu", "libvirtd": "libvirt", "virtlogd": "libvirt",
            "lpmd": "openlpm", "lpm-mover": "openlpm"}


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


def _stat(path):
    """(name, user and system time in ms), or None when the process or thread is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
    except OSError:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return name, (int(fields[11]) + int(fields[12])) * TICK_MS


def _memory(pid):
    """Anonymous memory of a process in bytes: what it holds beyond files and shared memory."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Processes(threading.Thread):
    """Processor time of QEMU (its guest's processors left out), libvirt and OpenLPM on both hosts,
    and the most memory that the movers had. Processes that come and go are followed by looking ten
    times a second: what one uses in its last tenth is not seen."""

    PERIOD_S = 0.1

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.spaces = {os.stat(f"/proc/{entry['holder']['pid']}/ns/net").st_ino
                       for entry in lab.state["hosts"].values()}
        self.foreign, self.vcpus = set(), {}
        self.first, self.last, self.memory = {}, {}, collections.Counter()
        self.ending = threading.Event()
        self.look(initial=True)
        self.start()

    def run(self):
        while not self.ending.wait(self.PERIOD_S):
            self.look()

    def look(self, initial=False):
        for word in os.listdir("/proc"):
            if not word.isdigit() or word in self.foreign:
                continue
            try:
                if word not in self.last and os.stat(f"/proc/{word}/ns/net").st_ino not in self.spaces:
                    self.foreign.add(word)
                    continue
            except OSError:
                continue
            self.look_at(word, initial)

    def look_at(self, pid, initial):
        found = _stat(f"/proc/{pid}/stat")
        if not found:
            return
        name, used = found
        account = ACCOUNTS.get(name[:15])
        if not account:
            return
        if account == "qemu":
            guest = self.guest_time(pid)
            if guest is None:
                return
            used -= guest
        if initial:
            self.first[pid] = used
        self.last[pid] = (account, used)
        if name == "lpm-mover":
            self.memory[pid] = max(self.memory[pid], _memory(pid))

    def guest_time(self, pid):
        """Of the threads that are the guest's processors; None once they are gone, for then the
        process still counts what they have used."""
        if pid not in self.vcpus:
            try:
                tasks = os.listdir(f"/proc/{pid}/task")
            except OSError:
                return None
            found = [t for t in tasks
                     if (_stat(f"/proc/{pid}/task/{t}/stat") or ("",))[0].startswith("CPU ")]
            if not found:
                return 0
            self.vcpus[pid] = found
        used = [_stat(f"/proc/{pid}/task/{t}/stat") for t in self.vcpus[pid]]
        return sum(ms for _, ms in used) if all(used) else None

    def finish(self):
        """{account: ms}, bytes of both movers together."""
        self.ending.set()
        self.join()
        self.look()
        spent = {"qemu": 0, "libvirt": 0, "openlpm": 0}
        for pid, (account, used) in self.last.items():
            spent[account] += max(0, used - self.first.get(pid, 0))
        return {k: round(v) for k, v in spent.items()}, sum(self.memory.values())
