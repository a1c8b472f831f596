# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Processes: running commands, waiting with a bound, and ending only what is provably ours.

A pid alone names nobody: it may have been given to another process since it was written down. So a
process is recorded with its start time, and is signalled through a pidfd opened before that start
time is checked.
"""

import os
import shlex
import signal
import subprocess
import time


class LabError(Exception):
    """What went wrong and, after a colon or in a second sentence, what to do about it."""


def run(argv, check=True, stdin=None, timeout=60):
    """Runs a command to its end and returns its output; raises LabError with its stderr."""
    try:
        done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=timeout,
                              stdin=None if stdin is not None else subprocess.DEVNULL)
    except FileNotFoundError:
        raise LabError(f"the program '{argv[0]}' is missing: "
                       "install the packages of packaging/debian/packages.lab") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"no answer within {timeout} s from: {shlex.join(argv)}") from None
    if check and done.returncode != 0:
        raise LabError(f"{shlex.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout if check else done


def wait_until(what, condition, timeout, interval=0.03):
    """Polls until condition() is true and returns its value; raises LabError after timeout s."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {timeout} s in vain for {what}")
        time.sleep(interval)


def start_time(pid):
    """Start time of a live process in clock ticks since boot; None if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            # The name in parentheses may hold anything, so count from the last one.
            fields = f.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def words(pid):
    """The command line of a process; [] when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().decode(errors="replace").split("\0")
    except OSError:
        return []


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return int(f.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def record(pid):
    return {"pid": pid, "start": start_time(pid)}


def alive(rec):
    return bool(rec) and rec["start"] is not None and start_time(rec["pid"]) == rec["start"]


def send(pid, start, sig):
    """Signals the process only if it is still the one that started at that time."""
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return
    try:
        if start_time(pid) == start:
            signal.pidfd_send_signal(fd, sig)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


def end(rec, timeout=10):
    """TERM, then KILL when it has not gone within the time-out (s)."""
    if not alive(rec):
        return
    send(rec["pid"], rec["start"], signal.SIGTERM)
    stop = time.monotonic() + timeout
    while alive(rec) and time.monotonic() < stop:
        time.sleep(0.02)
    if alive(rec):
        send(rec["pid"], rec["start"], signal.SIGKILL)
        wait_until(f"process {rec['pid']} to end", lambda: not alive(rec), timeout)


def daemon(enter, argv, log, env):
    """Starts a long-running program under a reaper, output to the log; the program's record.

    `enter` is the command line that takes the reaper to where the program belongs.
    """
    reaper = ["/usr/bin/python3", "-E", "-S", os.path.join(os.path.dirname(__file__), "reaper.py")]
    with open(log, "ab") as out:
        child = subprocess.Popen(enter + reaper + argv, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=out, cwd="/", env=env,
                                 start_new_session=True)
    # The reaper reports at once or ends, and the end closes the pipe.
    line = child.stdout.readline().strip()
    child.stdout.close()
    if not line.isdigit():
        raise LabError(f"cannot start {argv[0]}: {tail(log)}")
    return record(int(line))


def tail(path, lines=5):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:]).rstrip()
    except FileNotFoundError:
        return ""


def _ns(pid, kind):
    try:
        s = os.stat(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None
    return (s.st_dev, s.st_ino)


def _environ(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as f:
            return f.read().split(b"\0")
    except OSError:
        return []


def find_members(marker, netns_paths):
    """Every process of a lab as {pid: start}, found without any state file.

    A member carries the marker in its environment, or is in one of the network namespaces, or
    shares a mount namespace with such a process, or descends from one (a sandboxed program may have
    left every namespace of its parent). The caller and its ancestors are never members.
    """
    nets = set()
    for path in netns_paths:
        try:
            s = os.stat(path)
        except OSError:
            continue
        nets.add((s.st_dev, s.st_ino))
    # A name whose namespace has been unmounted is a plain file: it must not match anything.
    own = set()
    pid = os.getpid()
    while pid > 0:
        own.add(pid)
        pid = parent(pid)
    nets.discard(_ns(os.getpid(), "net"))
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) not in own]
    found = {p for p in pids if _ns(p, "net") in nets or marker in _environ(p)}
    mounts = {_ns(p, "mnt") for p in found} - {None, _ns(os.getpid(), "mnt"), _ns(1, "mnt")}
    found |= {p for p in pids if _ns(p, "mnt") in mounts}
    parents = {p: parent(p) for p in pids}
    grew = True
    while grew:
        more = {p for p in pids if parents[p] in found} - found
        found |= more
        grew = bool(more)
    return {p: start_time(p) for p in found if start_time(p) is not None}
