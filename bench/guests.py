# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The partitions that are moved, what they do meanwhile, and the clients that watch them."""

import glob
import os

from lab.proc import LabError

MIB = 1 << 20


class Workload:
    """What the tiny guest does. `away` and `dirty` are chosen so that 5 to 10 % of what the partition
    holds is new when it comes home."""

    def __init__(self, name, title, table="256M", dirty="8M", content="text", extra="", cache=0,
                 away_s=8):
        self.name, self.title, self.cache, self.away_s = name, title, cache, away_s
        self.append = (f"ledger.mem={table} ledger.dirty={dirty} ledger.content={content}"
                       + (f" {extra}" if extra else ""))


WORKLOADS = {w.name: w for w in (
    Workload("text", "text-like pages, 8 MiB/s rewritten", away_s=3),
    Workload("random", "random pages, 8 MiB/s rewritten", content="random", away_s=3),
    Workload("update", "small updates: 64 bytes in each of 4096 pages a second, all over a table",
             dirty="16M", content="mostly"),
    Workload("cache", "page cache: programs and libraries read from the disk over and over",
             table="16M", dirty="1M", cache=256, extra="lpm.read=/dev/vdb"),
    Workload("idle", "idle", table="16M", dirty="0"),
    Workload("writer", "a writer that outruns the link: random pages, 64 MiB/s", dirty="64M",
             content="random"),
)}


def fill_with_files(path, size):
    """What a page cache holds: the machine's own programs and libraries, up to `size` bytes."""
    seen = 0
    with open(path, "r+b") as out:
        for name in sorted(glob.glob("/usr/lib/x86_64-linux-gnu/*.so*") + glob.glob("/usr/bin/*")):
            if os.path.islink(name) or not os.path.isfile(name):
                continue
            with open(name, "rb") as f:
                data = f.read(min(32 * MIB, size - seen))
            out.write(data)
            seen += len(data)
            if seen >= size:
                return
    raise LabError(f"the machine's programs are only {seen >> 20} MiB, and {size >> 20} are wanted")


class TinyGuest:
    """The tiny guest with its ledger; its clients write 200 numbers a second, durably."""

    name = "tiny"

    def __init__(self, lab, workload, mem, backing):
        self.lab, self.mem, self.away_s = lab, mem, workload.away_s
        options = {"disks": 2, "lun_size": "256M"} if workload.cache else {}
        lab.add_guest(self.name, mem=mem, backing=backing, append=workload.append, no_start=True,
                      **options)
        if workload.cache:
            number = lab.state["guests"][self.name]["luns"][1]
            fill_with_files(lab.state["san"]["luns"][str(number)]["file"], workload.cache * MIB)
        lab.virsh("alpha", "start", self.name)
        self.ledger = lab.start_ledger(self.name)

    def gap_us(self, begin, end):
        return self.ledger.gap_us(begin, end)

    def rate(self, begin, end):
        """Acknowledged writes per second between two instants of CLOCK_MONOTONIC, in us."""
        count = 0
        with open(self.ledger.journal, "rb") as f:
            # 60 bytes a line and 200 lines a second: the last eight minutes.
            f.seek(max(0, os.path.getsize(self.ledger.journal) - 6 * MIB))
            for line in f:
                words = line.split()
                if len(words) == 5 and words[0] == b"A" and begin <= int(words[4]) < end:
                    count += 1
        return count * 1e6 / max(1, end - begin)

    def stop(self):
        clients = self.ledger.stop(self.lab.disk(self.name))
        return {name: clients[name] for name in ("acknowledged", "lost", "doubled", "resets",
                                                 "memory_ok")}
