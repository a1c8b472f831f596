# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The ground that trials run on: a lab with one partition and its clients, kept over many trials.

Each host's journal is on a small ext4 of its own, so that it can be filled or fail without harm to
the machine.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import time

from lab import guest, host, lpmd, proc, updown
from lab.faults.observe import Observer
from lab.proc import LabError
from lab.scenario import Scenario

PARTITION = "tiny"
GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0", "watch": True,
         "backing": "memfd"}  # for direct placement, unless the trial turns it off
JOURNAL_BYTES = 256 << 20  # with room for what [retain] keeps of the partition; sparse
FINAL = ("done", "failed", "stopped")
DAEMONS = ("lpmd", "libvirtd")
SIDES = ("source", "target")
RTO_MAX = "/proc/sys/net/ipv4/tcp_rto_max_ms"  # of a network namespace; Linux 6.15
RETRIES = 255  # the most that Linux takes
IMAGES = "/dev/shm"  # the journal's speed shall be the program's, not this machine's disk's


def other(where):
    return {"alpha": "beta", "beta": "alpha"}[where]


class NoAnswer(Exception):
    """lpmd did not answer a look: it is stopped, dead or waits at a fault point."""


class Ground(Scenario):
    """Context manager, like the scenario it is."""

    def __init__(self, name, build=None, link_timeout_s=None, rate="1gbit", rto_max_ms=None,
                 keep=False):
        super().__init__(name, build=build, rate=rate, keep=keep, with_lpmd=False)
        self.link_timeout_s, self.rto_max_ms = link_timeout_s, rto_max_ms
        self.ended, self.deaths = set(), []  # daemons that a fault ended, and that died by themselves
        self.configuration = ""  # what trials have added to lpmd.conf
        self.ledger, self.observer, self.old_folders = None, None, []

    def __enter__(self):
        super().__enter__()
        try:
            for where in self.state["hosts"]:
                self._make_journal_disk(where)
                self._limit_link(where)
                lpmd.start(self.lab, self.state, where)
            lpmd.pair_all(self.lab, self.state)
            self._bound_client_pauses()
            self.observer = Observer(self).start()
            self.add_guest(PARTITION, **GUEST)
            self._first_move()
            self.begin_clients()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        # Nothing interrupts the taking down: it is what an interrupt leads to.
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            self._take_down(*exception)
        finally:
            signal.signal(signal.SIGTERM, before)

    def _take_down(self, *exception):
        if self.observer:
            self.observer.stop()
        super().__exit__(*exception)
        for folder in self.old_folders + [ledger.folder for ledger in self.ledgers]:
            shutil.rmtree(folder, ignore_errors=True)
        if not self.keep:
            for where in self.state["hosts"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._image(where))

    def _bound_client_pauses(self):
        """Of the clients' TCP, which doubles its pauses for as long as nobody answers. It gives up
        after a number of them, which has to be larger then."""
        if self.rto_max_ms:
            proc.run(self.enter("client", "sh", "-c", f"echo {self.rto_max_ms} >{RTO_MAX} && "
                                f"echo {RETRIES} >/proc/sys/net/ipv4/tcp_retries2"))

    def _first_move(self):
        """The hosts measure each other's clocks now: no later migration is slower than another."""
        code, document = self.lpm("alpha", "migrate", PARTITION, "--to", "beta", timeout=60)
        if code != 0:
            raise LabError(f"the first migration of a new lab failed: {document.get('error')}")

    # ---- configuration ----

    def _write_conf(self, where, name, text):
        folder = os.path.join(self.lab.host_dir(where), "etc-lpm", "conf.d")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(text)

    def _limit_link(self, where):
        if self.link_timeout_s is not None:
            self._write_conf(where, "link.conf",
                             f"[migration]\nlink_timeout_s={self.link_timeout_s}\n")

    def configure(self, text):
        """Both hosts' lpmd with these lines of lpmd.conf, started anew if they are others."""
        if text == self.configuration:
            return
        for where in self.state["hosts"]:
            self._write_conf(where, "trial.conf", text)
            self.end_daemon("lpmd", where, kill=False)
        for where in self.state["hosts"]:
            self.start_daemon("lpmd", where)
        self.await_daemons()
        self.configuration = text

    # ---- the journal's file system ----

    def _image(self, where):
        return os.path.join(IMAGES, f"lpm-lab-{self.lab.name}-{where}.img")

    def _make_journal_disk(self, where):
        with open(self._image(where), "wb") as f:
            f.truncate(JOURNAL_BYTES)
        proc.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", self._image(where)])
        self.mount_journal(where)

    def mount_journal(self, where):
        proc.run(self.enter(where, "mount", "-o", "loop", self._image(where), "/var/lib/lpm"))

    def remount_journal(self, where):
        """A file system that has failed is whole again after a check. A mover may still have a
        retained image of it open: so it goes away with its last user, and its copy is repaired."""
        image = self._image(where)
        proc.run(self.enter(where, "umount", "--lazy", "/var/lib/lpm"))
        for device in proc.run(["losetup", "--noheadings", "-O", "NAME", "-j", image]).split():
            proc.run(["blockdev", "--flushbufs", device])  # what it has not written to the image yet
        proc.run(["cp", "--sparse=always", image, image + ".copy"])
        os.replace(image + ".copy", image)
        proc.run(["e2fsck", "-f", "-y", image], check=False)
        self.mount_journal(where)

    def path(self, where, path):
        """A host's file as seen from outside."""
        return host.root(self.state, where) + path

    # ---- clients ----

    def begin_clients(self):
        self.ledger = self.start_ledger(PARTITION)

    def kill_clients(self):
        """Without a word to a service that is not there to answer it."""
        ledger, self.ledger = self.ledger, None
        self.ledgers.remove(ledger)
        ledger.kill()
        ledger.out.close()
        self.old_folders.append(ledger.folder)  # the audit goes on reading what they were told

    # ---- looks ----

    def api(self, where, path, method="GET", body=None, timeout=2):
        """(HTTP status, document); NoAnswer when lpmd is silent."""
        data = json.dumps(body).encode() if body is not None else b""
        head = (f"{method} {path} HTTP/1.1\r\nHost: lpmd\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n").encode()
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(timeout)
                s.connect(lpmd.socket_path(self.state, where))
                s.sendall(head + data)
                while chunk := s.recv(65536):
                    answer += chunk
            top, _, rest = answer.partition(b"\r\n\r\n")
            return int(top.split()[1]), json.loads(rest)
        except (OSError, ValueError, IndexError) as error:
            raise NoAnswer(f"lpmd of {where}: {error}") from None

    def migrations(self, where, active=False, timeout=2):
        query = "&active=1" if active else ""
        code, document = self.api(where, f"/v1/migrations?partition={PARTITION}{query}",
                                  timeout=timeout)
        if code != 200:
            raise NoAnswer(f"lpmd of {where}: {document}")
        return document["migrations"]

    def home(self):
        """The one host where the partition runs, None when it is not exactly one."""
        places = self.places(PARTITION)
        running = [where for where, state in places if state == "running"]
        return running[0] if len(places) == 1 and len(running) == 1 else None

    def pids(self, what, where, side):
        """The processes of one kind on a host, those that live."""
        if what in DAEMONS:
            rec = self.state["hosts"][where][what]
            return [rec["pid"]] if proc.alive(rec) else []
        if what == "qemu":
            return self._qemu(where)
        return self._movers(where, side)

    def _qemu(self, where):
        try:
            with open(self.path(where, f"/run/libvirt/qemu/{PARTITION}.pid"), "rb") as f:
                pid = int(f.read())
        except (FileNotFoundError, ValueError):
            return []
        return [pid] if proc.start_time(pid) is not None else []

    def has_movers(self, where):
        try:
            return bool(os.listdir(self.path(where, "/run/lpm/mover")))
        except FileNotFoundError:
            return False

    def _movers(self, where, side):
        """By the sockets in the host's run folder and the command line that names the same id."""
        try:
            names = os.listdir(self.path(where, "/run/lpm/mover"))
        except FileNotFoundError:
            return []
        ids = {n.split(".")[0] for n in names}
        found = []
        for pid in (int(p) for p in os.listdir("/proc") if p.isdigit()):
            words = proc.words(pid)
            if len(words) > 1 and os.path.basename(words[0]) == "lpm-mover" and \
                    side in words and ids & set(words):
                found.append(pid)
        return found

    def mover_processes(self):
        wanted = os.path.realpath(self.program("lpm-mover"))
        found = []
        for pid in updown.members(self.lab):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)") == wanted:
                    found.append(pid)
        return found

    # ---- daemons ----

    def end_daemon(self, what, where, kill):
        """Ends lpmd or libvirtd; the record stays, so that it counts as dead and not as absent."""
        rec = self.state["hosts"][where][what]
        if proc.alive(rec):
            self.ended.add((what, where))
        if kill:
            proc.send(rec["pid"], rec["start"], signal.SIGKILL)
        proc.end(rec)

    def start_daemon(self, what, where):
        if proc.alive(self.state["hosts"][where][what]):
            return
        if (what, where) not in self.ended:
            self.deaths.append((what, where))
        self.ended.discard((what, where))
        {"lpmd": lpmd.begin, "libvirtd": host.begin_libvirtd}[what](self.lab, self.state, where)

    def dead_daemons(self):
        return [(what, where) for where, entry in self.state["hosts"].items() for what in DAEMONS
                if not proc.alive(entry[what])]

    def await_daemons(self):
        for where, entry in self.state["hosts"].items():
            lpmd.wait_ready(self.lab, self.state, where)
            proc.wait_until(f"libvirtd of {where}",
                            lambda w=where: host.answers(host.libvirt_socket(self.state, w)), 30)
            del entry

    # ---- fault points ----

    def _point(self, where, name, suffix=""):
        return self.path(where, f"/run/lpm/fault-points/{name}{suffix}")

    def arm(self, where, name):
        os.makedirs(os.path.dirname(self._point(where, name)), exist_ok=True)
        self.disarm(where, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._point(where, name, ".reached"))
        with open(self._point(where, name), "w", encoding="ascii") as f:
            f.write("wait\n")

    def reached(self, where, name):
        return os.path.exists(self._point(where, name, ".reached"))

    def disarm(self, where, name):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._point(where, name))

    # ---- a partition that has ended ----

    def start_partition(self, timeout=60):
        """Starts it anew on the host that has its definition; that host, or None."""
        where = next((w for w, _ in self.places(PARTITION)), None)
        if where is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(guest.console_log(self.lab, PARTITION))
        self.virsh(where, "start", PARTITION, timeout=timeout)
        guest.wait_booted(self.state["guests"][PARTITION])
        return where

    def lpm_timed(self, where, *argv, timeout=60):
        """`lpm ... --json`; (exit code, document), or (None, text) when it ends in no time."""
        try:
            return self.lpm(where, *argv, timeout=timeout)
        except LabError as error:
            return None, str(error)


def monotonic_us():
    return time.monotonic_ns() // 1000
