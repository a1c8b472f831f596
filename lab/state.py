# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Names, paths and the state file of one lab.

Everything of a lab derives from its name, so that `down` finds it all even when the state file was
never written. The state file (JSON, replaced atomically) holds what cannot be derived: slot, pids
with start times, LUNs, guests.
"""

import contextlib
import fcntl
import json
import os
import re
import time

from lab.proc import LabError

RUN = "/run/lpm-lab"
VAR = "/var/lib/lpm-lab"
CACHE = "/var/cache/lpm-lab"
HOSTS = ("alpha", "beta", "gamma")
ROLES = ("lan", "san", "client") + HOSTS
MARKER = "LPM_LAB"
LOCK_TIMEOUT = 60


def boot_id():
    with open("/proc/sys/kernel/random/boot_id") as f:
        return f.read().strip()


class Lab:
    """One lab by name; holds no resource itself."""

    def __init__(self, name="lab", build=None):
        if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", name):
            raise LabError(f"'{name}' cannot be a lab's name: "
                           "use 1 to 12 lower-case letters and digits, a letter first")
        self.name = name
        self.build = os.path.abspath(build or os.environ.get("LPM_BUILD") or
                                     os.path.join(os.path.dirname(__file__), "..", "build"))
        self.run_dir = os.path.join(RUN, name)
        self.var_dir = os.path.join(VAR, name)
        self.state_file = os.path.join(self.run_dir, "state.json")
        self.console_dir = os.path.join(self.var_dir, "console")
        self.marker = f"{MARKER}={name}".encode()

    def netns(self, role):
        return f"lpm-{self.name}-{role}"

    def netns_path(self, role):
        return f"/run/netns/{self.netns(role)}"

    def host_dir(self, host):
        return os.path.join(self.var_dir, "hosts", host)

    def env(self):
        """Environment of every process of the lab: clean, and marked as ours."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root",
                MARKER: self.name}

    # The addresses. Two nets, so that storage traffic does not count as migration traffic.
    def lan_address(self, state, number):
        return f"10.77.{state['slot']}.{number}"

    def san_address(self, state, number):
        return f"10.78.{state['slot']}.{number}"

    def load(self, missing_ok=False):
        try:
            with open(self.state_file) as f:
                state = json.load(f)
        except (FileNotFoundError, json.JSONDecodeError):
            state = None
        if state and state.get("boot_id") != boot_id():
            state = None
        if state is None and not missing_ok:
            names = [n for n in lab_names() if n != self.name]
            more = f" (there is: {', '.join(names)})" if names else ""
            raise LabError(f"no lab '{self.name}' is up{more}: "
                           f"run 'lab {self.option()}up' first")
        return state

    def option(self):
        return "" if self.name == "lab" else f"--name {self.name} "

    def save(self, state):
        # Not durable on purpose: the state means nothing after the machine's crash.
        temporary = self.state_file + ".new"
        with open(temporary, "w") as f:
            json.dump(state, f, indent=1)
        os.replace(temporary, self.state_file)

    @contextlib.contextmanager
    def lock(self):
        """One command at a time may change a lab; the lock dies with the process holding it."""
        path = os.path.join(RUN, f"{self.name}.lock")
        while True:
            os.makedirs(RUN, exist_ok=True)
            with open(path, "a+") as f:
                _flock(f, f"lab '{self.name}'")
                # `down` removes the file while it holds the lock: then this one is the wrong one.
                try:
                    same = os.stat(path).st_ino == os.fstat(f.fileno()).st_ino
                except FileNotFoundError:
                    same = False
                if same:
                    yield
                    return


def _flock(f, what):
    end = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise LabError(f"another command has worked on {what} for {LOCK_TIMEOUT} s: "
                               "end it first") from None
            time.sleep(0.05)


def lab_names():
    """Labs of which anything is left in the runtime folder."""
    try:
        entries = os.listdir(RUN)
    except FileNotFoundError:
        return []
    return sorted(e for e in entries if os.path.isdir(os.path.join(RUN, e)))


@contextlib.contextmanager
def all_labs_lock():
    """Held while something that labs share is made or taken away (the mount points)."""
    os.makedirs(RUN, exist_ok=True)
    with open(os.path.join(RUN, "all.lock"), "a") as f:
        _flock(f, "what all labs share")
        yield


@contextlib.contextmanager
def _slots():
    """The slot table {slot: lab name}, locked; written back on leaving."""
    os.makedirs(RUN, exist_ok=True)
    with open(os.path.join(RUN, "slots"), "a+") as f:
        _flock(f, "the address slots")
        f.seek(0)
        table = {}
        for line in f:
            number, _, name = line.strip().partition(" ")
            if number.isdigit() and name:
                table[int(number)] = name
        yield table
        f.seek(0)
        f.truncate()
        for number in sorted(table):
            f.write(f"{number} {table[number]}\n")


def remove_lock(lab):
    """For `down`, which holds the lock: leaves nothing of the lab, and no folder without a lab."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(RUN, f"{lab.name}.lock"))


def take_slot(name):
    with _slots() as table:
        for number, owner in table.items():
            if owner == name:
                return number
        for number in range(255):
            if number not in table:
                table[number] = name
                return number
    raise LabError("all 255 address slots are taken: take labs down first")


def free_slot(name):
    with _slots() as table:
        for number in [n for n, owner in table.items() if owner == name]:
            del table[number]
