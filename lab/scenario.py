# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A lab with a partition under a workload that notices: what the demo, the end-to-end tests and the
benchmark have in common."""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time

from lab import guest, host, lpmd, net, proc, updown
from lab.proc import LabError
from lab.state import Lab

LEDGER_PORT = 7000


class Ledger:
    """The client of a partition's service, running in the client namespace until stop()."""

    def __init__(self, scenario, partition, connections, rate):
        self.scenario, self.partition = scenario, partition
        self.folder = tempfile.mkdtemp(prefix="lpm-ledger-")
        self.journal = os.path.join(self.folder, "journal")
        self.out = open(os.path.join(self.folder, "report.json"), "wb")
        line = scenario.enter("client", scenario.program("ledger"), "run", "--to",
                              scenario.service(partition), "--journal", self.journal,
                              "--connections", str(connections), "--rate", str(rate),
                              "--wait", "90")
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=self.out)

    def acknowledged(self):
        """Whether anything was acknowledged yet: the journal has grown beyond its head."""
        try:
            return os.path.getsize(self.journal) > 4096
        except FileNotFoundError:
            return False

    def wait_busy(self, timeout=120):
        def busy():
            if self.process.poll() is not None:
                raise LabError(f"the ledger client ended early with {self.process.returncode}")
            return self.acknowledged()
        proc.wait_until(f"the clients of {self.partition} to be served", busy, timeout, 0.1)

    def written_until(self):
        """The instant of the journal's last whole line; the client writes it once a second."""
        with open(self.journal, "rb") as f:
            f.seek(max(0, os.path.getsize(self.journal) - 4096))
            lines = f.read().split(b"\n")[:-1]
        return int(lines[-1].split()[-1]) if lines and lines[-1][:1] in b"ADFURC" else 0

    def gap_us(self, begin_us, end_us):
        """The longest silence between two instants of CLOCK_MONOTONIC, in microseconds."""
        if self.process.poll() is None:
            proc.wait_until("the client's journal to reach the end of the move",
                            lambda: self.written_until() > end_us, 60, 0.05)
        out = proc.run([self.scenario.program("ledger"), "gaps", "--journal", self.journal,
                        "--from", str(begin_us), "--to", str(end_us), "--top", "1"])
        gaps = json.loads(out)["gaps"]
        return gaps[0]["gap_us"] if gaps else 0

    def stop(self, disk=None):
        """Ends the clients; their report, with `disk_check`, the independent look at the disk."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=180)
        self.out.close()
        with open(self.out.name) as f:
            text = f.read()
        if not text.strip():
            raise LabError(f"the ledger client left no report (exit {self.process.returncode})")
        report = json.loads(text)
        if disk:
            done = proc.run([self.scenario.program("ledger"), "verify", "--journal", self.journal,
                             "--disk", disk], check=False)
            report["disk_check"] = json.loads(done.stdout)
        return report

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Scenario:
    """Context manager: a lab of its own name, taken down at the end unless `keep`."""

    def __init__(self, name, hosts=2, rate="1gbit", build=None, keep=False, with_lpmd=True,
                 locks=None):
        self.lab = Lab(name, build)
        self.hosts, self.rate, self.keep = hosts, rate, keep
        self.with_lpmd, self.locks = with_lpmd, locks
        self.state = None
        self.ledgers = []

    def __enter__(self):
        with self.lab.lock():
            updown.down(self.lab)  # what an aborted run of this name has left
            self.state = updown.up(self.lab, self.hosts, self.rate, self.with_lpmd,
                                   self.locks)
        return self

    def __exit__(self, *exception):
        for ledger in self.ledgers:
            ledger.kill()
        if not self.keep:
            with self.lab.lock():
                updown.down(self.lab)

    def program(self, name):
        return lpmd.program(self.lab, name)

    def enter(self, where, *argv):
        """Command line that runs argv inside a host, the SAN, the client or the switch."""
        return host.enter(self.state, where, list(argv))

    def add_guest(self, name, where="alpha", **options):
        """Makes, starts and awaits a tiny guest; options as those of `lab guest add`."""
        values = {"mem": 256, "machine": "pc", "append": "", "disks": 1, "nics": 1, "cpus": 1,
                  "lun_size": "256M", "no_start": False} | options
        with self.lab.lock():
            made = guest.add(self.lab, self.state, argparse.Namespace(name=name, host=where,
                                                                      **values))
        if not values["no_start"]:
            guest.wait_booted(made)
        return made

    def remove_guest(self, name):
        """Ends and forgets a partition that add_guest has made, wherever it is."""
        with self.lab.lock():
            guest.remove(self.lab, self.state, name)

    def service(self, partition):
        return f"{self.state['guests'][partition]['nics'][0]['address']}:{LEDGER_PORT}"

    def disk(self, partition):
        """The file behind a partition's first LUN."""
        number = self.state["guests"][partition]["luns"][0]
        return self.state["san"]["luns"][str(number)]["file"]

    def start_ledger(self, partition, connections=4, rate=200):
        ledger = Ledger(self, partition, connections, rate)
        self.ledgers.append(ledger)
        ledger.wait_busy()
        return ledger

    def lpm(self, where, *argv, timeout=300):
        """Runs `lpm ... --json` on a host; (exit code, document)."""
        done = proc.run(self.enter(where, self.program("lpm"), *argv, "--json"), check=False,
                        timeout=timeout)
        try:
            return done.returncode, json.loads(done.stdout)
        except json.JSONDecodeError:
            raise LabError(f"lpm {' '.join(argv)} on {where}: exit {done.returncode}, "
                           f"no JSON: {done.stdout[:200]!r} {done.stderr[:400]!r}") from None

    def virsh(self, where, *argv, check=True, timeout=120):
        return host.virsh(self.state, where, *argv, check=check, timeout=timeout)

    def places(self, partition):
        """[(host, libvirt's state)]"""
        return guest.places(self.state).get(partition, [])

    def places_of_all(self):
        """{partition: [(host, libvirt's state)]}, those that the lab has not made too."""
        return guest.places(self.state)

    def kill_connections(self, where, port):
        """Ends the TCP connections to a port of a host as a reset would."""
        proc.run(self.enter(where, "ss", "--kill", "--tcp", "state", "established",
                            f"( sport = :{port} )"))

    def callers(self, where, port):
        """The other ends' ports of the TCP connections to a port of a host."""
        lines = proc.run(self.enter(where, "ss", "--tcp", "--numeric", "--no-header", "state",
                                    "established", f"( sport = :{port} )"))
        return [int(line.split()[3].rsplit(":", 1)[1]) for line in lines.splitlines()]

    def kill_connection(self, where, port, caller):
        """Ends one of them, as a reset would."""
        proc.run(self.enter(where, "ss", "--kill", "--tcp", "state", "established",
                            f"( sport = :{port} and dport = :{caller} )"))

    def wire_bytes(self, where):
        """What left a host on its uplink, in bytes."""
        return net.counters(self.state["hosts"][where]["holder"]["pid"])["tx_bytes"]

    def migrate(self, partition, source, target, *options, ledger=None, timeout=300):
        """Moves a partition through OpenLPM; its migration document, with `wire_bytes` and, given a
        ledger, `client_gap_us` put into the report."""
        before, begin = self.wire_bytes(source), time.monotonic_ns() // 1000
        code, document = self.lpm(source, "migrate", partition, "--to", target, *options,
                                  timeout=timeout)
        self.complete(document, source, before, begin, ledger)
        return code, document

    def complete(self, document, source, bytes_before, begin_us, ledger=None):
        """Puts what only the lab can measure into a migration's report."""
        report = document.get("report")
        if not report:
            return
        report["wire_bytes"] = self.wire_bytes(source) - bytes_before
        if ledger:
            # Up to now, so that a silence that is not over yet is seen too.
            report["client_gap_us"] = ledger.gap_us(begin_us, time.monotonic_ns() // 1000)
