# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Two QEMUs for a migration between them, with a partition that watches over its own memory."""
import os

from lab import qmp
from movers import wait_for

# A boot sector. It goes to protected mode, fills 64 MiB from 16 MiB on with 16384 different pages
# that do not compress, writes R to the debug port, then for ever visits the pages in an order
# without pattern (x = 5x + 12345) and compares the first and the last word: a dot per 64 pages, E
# and no more dots if a page is wrong. It writes to no other page but one counter's.
BOOT = bytes.fromhex(
    "fa31c08ed8e4920c02e6920f0116c87c0f20c00c010f22c0ea1d7c080066b810008ed88ec08ed0bc00700000bf0000"
    "000189fb69c3b179379eb900040000ab69c00d661900055ff36e3ce2f269c3b179379ef7d08947fc81ff0000000572"
    "d2b052e6e931f66bf60581c63930000081e6ff3f000089f3c1e30c81c30000000169c3b179379e3903751ef7d03983"
    "fc0f00007514ff0500000900f7c63f00000075c4b02ee6e9ebbeb045e6e9f4ebf966900000000000000000ffff0000"
    "009acf00ffff00000092cf001700b07c0000")

ARGS = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-net", "none",
        "-M", "pc", "-m", "96"]
HUGE = ["-object", "memory-backend-memfd,id=mem,size=96M,hugetlb=on,hugetlbsize=2M,share=on",
        "-machine", "memory-backend=mem"]
HUGE_PAGES = 96  # of 2 MiB, for two of them


def huge_pages_free():
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("HugePages_Free")),
                    0)


class Qemu(qmp.Qemu):
    def __init__(self, folder, name, *more):
        disk = os.path.join(folder, "boot")
        if not os.path.exists(disk):
            with open(disk, "wb") as out:
                out.write(BOOT.ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 2879))
        self.words = os.path.join(folder, name + ".words")
        super().__init__(ARGS + ["-drive", f"file={disk},format=raw,if=none,id=d,snapshot=on",
                                 "-device", "ide-hd,drive=d", "-debugcon", f"file:{self.words}",
                                 *more], os.path.join(folder, name + ".qmp"))

    def status(self):
        return self("query-migrate").get("status")

    def said(self):
        with open(self.words, "rb") as words:
            return words.read()

    def goes_on(self, seconds=30):
        """The partition visits pages, and finds them right."""
        before = len(self.said())
        wait_for(lambda: len(self.said()) > before + 2, seconds, "the partition goes on")
        assert b"E" not in self.said(), "a page is not what was written to it"


class Migration:
    """A partition on the source, and a target that waits for it. The movers are the caller's."""

    def __init__(self, folder, *more):
        self.folder, self.data = folder, os.path.join(folder, "target.sock")
        self.source = Qemu(folder, "source", *more)
        self.target = Qemu(folder, "target", "-incoming", "defer", *more)
        for qemu in (self.source, self.target):
            qemu.capabilities("postcopy-ram", "return-path", "events")
        self.target("migrate-incoming", uri="unix:" + self.data)
        wait_for(lambda: b"R" in self.source.said(), 60, "the partition has filled its memory")

    def begin(self, movers, bandwidth=8 << 20):
        self.source("migrate-set-parameters", **{"max-bandwidth": bandwidth, "downtime-limit": 1,
                                                 "max-postcopy-bandwidth": 0})
        self.source("migrate", uri="unix:" + movers.path("data"))
        wait_for(lambda: self.source.status() == "active", 20, "the migration begins")

    def switch(self):
        self.source("migrate-start-postcopy")
        wait_for(lambda: self.source.status() != "active", 20, "the switch")
        wait_for(lambda: self.target("query-status")["running"], 20, "the target runs")

    def complete(self, seconds=120):
        wait_for(lambda: self.source.status() in ("completed", "failed", "postcopy-paused"), seconds,
                 "the migration's end")
        assert self.source.status() == "completed"
        wait_for(lambda: self.target.status() == "completed", 20, "the target's end")
        self.target.goes_on()

    def paused(self):
        return self.source.status() == self.target.status() == "postcopy-paused"

    def recover(self, movers, path):
        """A new stream over new movers, which give it to the target at `path`."""
        self.target("migrate-recover", uri="unix:" + path)
        self.source("migrate", uri="unix:" + movers.path("data"), resume=True)
        wait_for(lambda: self.source.status() != "postcopy-paused", 20, "the recovery begins")

    def end(self):
        self.source.end()
        self.target.end()
