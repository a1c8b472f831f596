# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A Debian guest with PostgreSQL on the SAN, under pgbench from the client's namespace.

Its root file system is made of Debian packages by debootstrap, with a database that pgbench has
filled, and cached as an image of ext4; each guest gets a copy on its LUN. The kernel is the tiny
guest's. There is no init system in it (bench/db-init): under emulation that would be a minute of
every run and nothing of what is measured.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

from lab import guest, image, proc
from lab.proc import LabError, run
from lab.state import CACHE

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = "usr/lib/postgresql/15/bin"
DATA = "/var/lib/postgresql/bench"
SIZE = "2G"
SCALE = 20  # of pgbench: two million accounts, some 300 MiB
CLIENTS = 4
RECIPE = 1  # counts changes of _build() and _fill(), whose result is cached
CONF = """\
listen_addresses = '*'
shared_buffers = 256MB
max_wal_size = 256MB
checkpoint_timeout = 60s
unix_socket_directories = '/tmp'
fsync = on
"""


def _say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _in_tree(tree, *argv):
    """Runs a program of the tree as its postgres."""
    return run(["chroot", tree, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
                *argv], timeout=600)


def _fill(tree):
    """A cluster with pgbench's tables."""
    run(["chroot", tree, "install", "-d", "-o", "postgres", "-g", "postgres", "-m", "700", DATA])
    _in_tree(tree, f"/{BIN}/initdb", "-D", DATA, "--auth=trust", "--no-sync", "-E", "UTF8",
             "--locale=C")
    with open(f"{tree}{DATA}/postgresql.conf", "a", encoding="ascii") as f:
        f.write(CONF)
    with open(f"{tree}{DATA}/pg_hba.conf", "a", encoding="ascii") as f:
        f.write("host all all 0.0.0.0/0 trust\n")
    # On a unix socket alone: nothing of it is on the machine's network.
    _in_tree(tree, f"/{BIN}/pg_ctl", "-D", DATA, "-w", "-l", "/tmp/postgres.log", "-o",
             "-c listen_addresses=''", "start")
    try:
        _in_tree(tree, f"/{BIN}/createdb", "-h", "/tmp", "bench")
        _in_tree(tree, f"/{BIN}/pgbench", "-h", "/tmp", "-i", "-q", "-s", str(SCALE), "bench")
    finally:
        _in_tree(tree, f"/{BIN}/pg_ctl", "-D", DATA, "-w", "stop")


def _build(tree, disk):
    _say("making the guest with PostgreSQL of Debian packages; this takes some minutes, once")
    run(["debootstrap", "--variant=minbase", "--include=postgresql-15,iproute2", "bookworm", tree],
        timeout=1800)
    shutil.rmtree(f"{tree}/var/cache/apt/archives", ignore_errors=True)
    shutil.rmtree(f"{tree}/var/lib/apt/lists", ignore_errors=True)
    shutil.copy(f"{HERE}/db-init", f"{tree}/sbin/lpm-init")
    _fill(tree)
    run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, SIZE], timeout=600)


def ready():
    """Folder with `root` (the tree, for its client programs) and `disk.img`, made the first time."""
    with open(f"{HERE}/db-init", "rb") as init:
        stamp = hashlib.sha256(f"{RECIPE} {SIZE} {SCALE} {CONF}".encode()
                               + init.read()).hexdigest()[:16]
    final = f"{CACHE}/db-{stamp}"
    if os.path.exists(f"{final}/disk.img"):
        return final
    os.makedirs(CACHE, exist_ok=True)
    work = tempfile.mkdtemp(prefix="db-making-", dir=CACHE)
    try:
        os.chmod(work, 0o755)
        _build(f"{work}/root", f"{work}/disk.img")
        os.rename(work, final)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return final


def initrd():
    """Loads the modules of the disk's file system and goes to its init."""
    kernel = image.kernel_dir()
    with open(__file__, "rb") as own:
        stamp = hashlib.sha256(own.read() + kernel.encode()).hexdigest()[:16]
    path = f"{CACHE}/db-{stamp}.cpio"
    if not os.path.exists(path):
        init = ("#!/bin/busybox sh\n/bin/busybox mkdir -p /sbin\n/bin/busybox --install -s /bin\n"
                "export PATH=/bin\nmount -t devtmpfs dev /dev\n"
                "while read -r name; do insmod /lib/modules/$name.ko; done </lib/modules/order\n"
                "until mount -t ext4 /dev/vda /mnt; do sleep 0.2; done\n"
                "mount --move /dev /mnt/dev\nexec switch_root /mnt /sbin/lpm-init\n").encode()
        data = image.boot_image(kernel, init, ("crc32c_generic", "ext4"))
        with open(f"{path}.{os.getpid()}", "wb") as f:
            f.write(data)
        os.rename(f"{path}.{os.getpid()}", path)
    return f"{kernel}/vmlinuz", path


class DatabaseGuest:
    """The guest, and pgbench's clients, each of which asks again as soon as it was answered."""

    name = "db"
    away_s = 10

    def __init__(self, lab, mem, backing):
        self.lab, self.mem, self.tree = lab, mem, ready()
        made = lab.add_guest(self.name, mem=mem, backing=backing, lun_size=SIZE, no_start=True,
                             boot=initrd())
        # In place: the SAN has the file open.
        run(["cp", "--sparse=always", f"{self.tree}/disk.img", lab.disk(self.name)], timeout=300)
        lab.virsh("alpha", "start", self.name)
        guest.wait_booted(made, timeout=300)
        self.address = made["nics"][0]["address"]
        self.folder = tempfile.mkdtemp(prefix="lpm-pgbench-")
        self.out = open(os.path.join(self.folder, "out"), "wb")
        self.offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
        self.process = subprocess.Popen(
            self.client("pgbench", "-n", "-c", str(CLIENTS), "-j", "1", "-T", "86400", "-l",
                        f"--log-prefix={self.folder}/log", "bench"),
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, cwd=self.folder)
        proc.wait_until("pgbench's first transactions", self.lines, 120, 0.2)

    def client(self, program, *words):
        """Command line of a client program of the tree, in the client's namespace. By the tree's own
        loader: the machine has no PostgreSQL."""
        root = f"{self.tree}/root"
        libraries = f"{root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu"
        return self.lab.enter("client", f"{root}/lib64/ld-linux-x86-64.so.2", "--library-path",
                              libraries, f"{root}/{BIN}/{program}", "-h", self.address, "-U",
                              "postgres", *words)

    def lines(self):
        """The instants (CLOCK_MONOTONIC, us) of the transactions of the last minutes."""
        found = []
        for path in glob.glob(f"{self.folder}/log.*"):
            with open(path, "rb") as f:
                f.seek(max(0, os.path.getsize(path) - (4 << 20)))
                for line in f.read().split(b"\n")[:-1]:
                    words = line.split()
                    if len(words) >= 6:
                        found.append(int(words[4]) * 1000000 + int(words[5]) - self.offset_us)
        return sorted(found)

    def until(self, end):
        """The instants, once some of them are after `end`: pgbench writes its log by the block."""
        def there():
            if self.process.poll() is not None:
                with open(self.out.name, encoding="utf-8", errors="replace") as f:
                    raise LabError(f"pgbench has ended: {f.read()[-400:]}")
            instants = self.lines()
            return instants if instants and instants[-1] > end else None
        return proc.wait_until("pgbench's log to reach the end of the move", there, 180, 0.5)

    def gap_us(self, begin, end):
        instants = self.until(end)
        return max(b - a for a, b in zip(instants, instants[1:]) if b >= begin and a <= end)

    def rate(self, begin, end):
        return sum(begin <= t < end for t in self.until(end)) * 1e6 / max(1, end - begin)

    def ask(self, sql):
        return run(self.client("psql", "-At", "-c", sql, "bench"), timeout=300).strip()

    def stop(self):
        """pgbench's money adds up whatever was moved, if nothing was lost or done twice."""
        self.process.terminate()
        self.process.wait()
        self.out.close()
        time.sleep(1)  # the server ends what its clients have left
        sums = self.ask("select (select sum(abalance) from pgbench_accounts), "
                        "(select sum(bbalance) from pgbench_branches), "
                        "(select sum(tbalance) from pgbench_tellers), "
                        "(select coalesce(sum(delta), 0) from pgbench_history)").split("|")
        count = int(self.ask("select count(*) from pgbench_history"))
        shutil.rmtree(self.folder, ignore_errors=True)
        return {"transactions": count, "sums_agree": len(set(sums)) == 1}
