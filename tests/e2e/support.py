# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What the end-to-end tests ask of a lab: where a partition is, what is left over, what lpmd says."""

import contextlib
import json
import os
import signal
import socket
import time

from lab import host, lpmd, proc, updown

FINAL = ("done", "failed", "stopped")
# Slow enough that there is time to do something while a guest of 128 MiB is copied: 10 s or so. It is
# the rate on the wire, where about a third of the memory's bytes are left.
# For guests with ledger.dirty=0 only: see lab/README.md, "A limit of emulation".
SLOW = ("--bandwidth", "2500K")


def other(where):
    return {"alpha": "beta", "beta": "alpha"}[where]


def home(lab, partition):
    """The one host where it runs; nothing of it may be anywhere else."""
    places = lab.places(partition)
    assert len(places) == 1 and places[0][1] == "running", f"{partition} is at {places}"
    return places[0][0]


def api(lab, where, path, method="GET", timeout=10):
    """(HTTP status, document) of lpmd's local API, without a process in between: for looks that
    must be quick."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        s.connect(lpmd.socket_path(lab.state, where))
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: lpmd\r\nContent-Length: 0\r\n"
                  "Connection: close\r\n\r\n".encode())
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def newest(lab, where, partition):
    """The newest migration of a partition as that host's lpmd tells it; None without one."""
    found = api(lab, where, f"/v1/migrations?partition={partition}")[1]["migrations"]
    return found[0] if found else None


def begin(lab, partition, *options):
    """Starts a migration to the other host and returns (source, target, id)."""
    source = home(lab, partition)
    code, document = lab.lpm(source, "migrate", partition, "--to", other(source), "--no-wait",
                             *options)
    assert code == 0, document
    return source, other(source), document["id"]


def await_state(lab, where, identity, states, timeout=60):
    """Waits until a migration is in one of the states; its document."""
    def look():
        document = api(lab, where, f"/v1/migrations/{identity}")[1]
        if document["state"] in FINAL and document["state"] not in states:
            raise AssertionError(f"ended as {document['state']}: {document['error']}")
        return document if document["state"] in states else None
    return proc.wait_until(f"migration {identity} on {where} to be {' or '.join(states)}", look,
                           timeout, 0.005)


def await_copying(lab, source, identity, at_least=4 << 20):
    """Waits until so many bytes of the stream have passed the source's mover."""
    await_state(lab, source, identity, ("copying",))

    def passed():
        for mover in api(lab, source, "/v1/movers")[1]["movers"]:
            if mover["migration"] == identity and mover["side"] == "source":
                return mover["transmit"]["bytes"] >= at_least // 8 and any(
                    s["bytes_done"] >= at_least for s in mover["streams"])
        return False
    proc.wait_until(f"migration {identity} to copy", passed, 30, 0.05)


def await_end(lab, where, identity, timeout=120):
    return await_state(lab, where, identity, FINAL, timeout)


def mover_pids(lab):
    """Pids of the movers of this lab, by their executable."""
    wanted = os.path.realpath(lab.program("lpm-mover"))
    found = []
    for pid in updown.members(lab.lab):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe") == wanted:
                found.append(pid)
    return sorted(found)


def kill_mover(lab, _where, side):
    """The movers of that side, "source" or "target", as by SIGKILL."""
    for pid in mover_pids(lab):
        with open(f"/proc/{pid}/cmdline", encoding="ascii") as f:
            if f"--side\0{side}\0" in f.read():
                os.kill(pid, signal.SIGKILL)


def kill_libvirtd(lab, where, _side):
    """SIGKILL, and a new one, as by systemd."""
    host.stop_libvirt(lab.lab, lab.state, where, kill=True)
    host.begin_libvirtd(lab.lab, lab.state, where)
    host.await_libvirt(lab.lab, lab.state, where)


def leftovers(lab):
    """What a migration that has ended may not leave: movers, their sockets, their folders."""
    found = [f"mover process {pid}" for pid in mover_pids(lab)]
    for where in lab.state["hosts"]:
        for folder in ("/run/lpm/mover", "/run/libvirt/lpm"):
            with contextlib.suppress(FileNotFoundError):
                found += [f"{where}:{folder}/{name}"
                          for name in os.listdir(host.root(lab.state, where) + folder)]
    return found


def assert_clean(lab, timeout=15):
    """Both hosts have cleaned up; the target hears of the end a moment after the source."""
    def clean():
        return not leftovers(lab)
    try:
        proc.wait_until("both hosts to have cleaned up", clean, timeout, 0.05)
    except proc.LabError:
        raise AssertionError(f"left over: {leftovers(lab)}") from None


def qemu_pid(lab, where, partition):
    path = f"{host.root(lab.state, where)}/run/libvirt/qemu/{partition}.pid"
    try:
        with open(path, encoding="ascii") as f:
            return int(f.read())
    except FileNotFoundError:
        return None


def ended(pid):
    """Whether no thread of that process will run its program again: each is gone or on its way out
    of the kernel, which takes a process with much memory a while."""
    exiting = 0x4  # PF_EXITING
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/task/{thread}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X") and not int(fields[6]) & exiting:
                    return False
    except FileNotFoundError:
        pass
    return True


def standing(lab):
    """What an operation that was refused may not have changed."""
    names = sorted(lab.places_of_all())
    return {
        "places": lab.places_of_all(),
        "qemu": {(w, n): qemu_pid(lab, w, n) for w in lab.state["hosts"] for n in names},
        "persistent": {(w, n): lab.virsh(w, "dominfo", n, check=False).stdout.count("yes")
                       for w in lab.state["hosts"] for n in names},
        "leftovers": leftovers(lab),
    }


@contextlib.contextmanager
def nothing_changes(lab):
    before = standing(lab)
    assert before["leftovers"] == []
    yield
    assert_clean(lab)
    assert standing(lab) == before


@contextlib.contextmanager
def clients(lab, partition, **options):
    """Clients use the partition's service meanwhile; afterwards nothing of what they were told may
    be lost or doubled, no connection may have been reset, and the memory must be whole."""
    ledger = lab.start_ledger(partition, **options)
    try:
        yield ledger
        ledger.report = ledger.stop(lab.disk(partition))
    finally:
        ledger.kill()
    assert_whole(ledger.report)


def assert_whole(report):
    disk = report["disk_check"]
    facts = {name: report[name] for name in ("lost", "doubled", "resets", "memory_ok")}
    facts |= {f"disk_{name}": disk[name] for name in ("lost", "doubled", "corrupt")}
    assert facts == {"lost": 0, "doubled": 0, "resets": 0, "memory_ok": True, "disk_lost": 0,
                     "disk_doubled": 0, "disk_corrupt": 0}, report["errors"]
    assert report["acknowledged"] > 0 and disk["acknowledged"] == report["acknowledged"]


def move(lab, partition, *options, ledger=None):
    """Moves it to the other host and sees that it arrived; the report."""
    source = home(lab, partition)
    code, document = lab.migrate(partition, source, other(source), *options, ledger=ledger)
    assert code == 0 and document["state"] == "done", document
    assert document["report"]["stream_hash"]["identical"] is True
    assert home(lab, partition) == other(source)
    return document["report"]


def assert_answers(lab, partition, timeout=20):
    """The partition's service answers a client that comes anew."""
    ask = lab.enter("client", lab.program("ledger"), "status", "--to", lab.service(partition))
    proc.wait_until(f"{partition} to answer", lambda: proc.run(ask, check=False,
                                                               timeout=20).returncode == 0, timeout)


def error_of(document, code):
    """The error of an answer, checked for its form."""
    error = document["error"]
    assert error["code"] == code, error
    assert error["severity"] == "error" and error["cause"] and error["remedy"]
    return error


def pause(seconds, why):
    """A wait that is the point of the test, and not a wait for something."""
    assert why
    time.sleep(seconds)
