# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Acknowledged writes against the disk, while clients go on writing.

The order makes it sound: the journals are read first, the disk after them. A write is on the disk
before it is acknowledged, so whatever a journal says must be found; what the disk has beyond it is
on its way. A look reads only what is new, and now and then once more what was found lately: a
second copy of a partition that wakes up goes on where it was, and overwrites that. `ledger verify`
at the end reads everything again, payloads too, with another program.

Formats: lab/ledger/record.h (the disk) and lab/ledger/journal.h (the clients).
"""

import re
import struct
import time

BLOCK = 512
CHUNK_BLOCKS = 2048
RECORD_MAGIC, HEAD_MAGIC = 0x5452474C, 0x4448474C
RECORD = struct.Struct("<IHHQQQQQQQ")
SUM_AT = BLOCK - 8
M = (1 << 64) - 1
NUMBER_MAX = 1 << 26
SETTLE_LOOKS, SETTLE_S = 5, 0.02  # a block that is being written while it is read


def _mix64(x):
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & M
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & M
    return x ^ x >> 33


def block_sum(block):
    h = RECORD_MAGIC ^ (SUM_AT * 0x9E3779B97F4A7C15 & M)
    for word in struct.unpack_from(f"<{SUM_AT // 8}Q", block):
        h ^= word * 0xC2B2AE3D27D4EB4F & M
        h = (h << 29 | h >> 35) & M
        h = (h * 0x9E3779B185EBCA87 + 0x165667B19E3779F9) & M
    return _mix64(h)


class _Bits(bytearray):
    """Which numbers were seen; a byte each, as there are tens of thousands."""

    def has(self, number):
        return number < len(self) and self[number] != 0

    def put(self, number, value=1):
        if number >= len(self):
            self.extend(bytes(number + 4096 - len(self)))
        self[number] = value


class _Journal:
    """One client's journal, read as it grows."""

    def __init__(self, path):
        self.path, self.at, self.run = path, 0, None
        self.until_us, self.resets = 0, []

    def read(self):
        """New acknowledgements: [(connection, number, doubled)]."""
        with open(self.path, "rb") as f:
            f.seek(self.at)
            text = f.read()
        whole = text.rfind(b"\n") + 1
        self.at += whole
        found = []
        for line in text[:whole].splitlines():
            words = line.split()
            if self.run is None:
                match = re.match(rb"ledger-journal 1 run=([0-9a-f]+) ", line)
                if not match:
                    raise ValueError(f"{self.path} is no journal of the ledger")
                self.run = int(match[1], 16)
                continue
            kind, connection, number, at = words[0], int(words[1]), int(words[2]), int(words[4])
            self.until_us = max(self.until_us, at)
            if kind in (b"A", b"D"):
                found.append((connection, number, kind == b"D"))
            elif kind == b"R":
                self.resets.append(at)
        return found


class DiskAudit:
    """The log on one disk and the journals of all clients that have written to it."""

    def __init__(self, disk):
        self.disk = disk
        self.journals = {}
        self.epoch = None
        self.records = []   # (sum, run, connection, number) of all accepted, by their place
        self.seen = {}      # (run, connection) -> _Bits
        self.acked = {}     # the same
        self.acknowledged = 0
        self.window = [0, 0]  # how many there were after the last two looks with `again`
        self.skipped = set()  # places that are known to be damaged
        self.lost, self.doubled, self.corrupt, self.chain_breaks, self.rewritten = 0, 0, 0, 0, 0
        self.texts = []

    def follow(self, path):
        if path not in self.journals:
            self.journals[path] = _Journal(path)
        return self.journals[path]

    def counts(self):
        return {"lost": self.lost, "doubled": self.doubled, "corrupt": self.corrupt,
                "chain_breaks": self.chain_breaks, "rewritten": self.rewritten}

    def look(self, again=False):
        """Takes in what is new; what it found wrong, as the difference of counts(). Reads anew what
        was found since the look before the last one with `again`, if this is one."""
        before = self.counts()
        # Journals first: see above.
        new = [(j.run, ack) for j in self.journals.values() for ack in j.read()]
        with open(self.disk, "rb", buffering=0) as f:
            suspects = self._recheck(f) if again else set()
            suspects |= {(run, c, n) for run, (c, n, _) in new}
            self._scan(f)
        for run, (connection, number, doubled) in new:
            bits = self.acked.setdefault((run, connection), _Bits())
            self.acknowledged += not bits.has(number)
            bits.put(number)
            if doubled:
                self._note("doubled", f"write {connection}/{number} was acknowledged as applied "
                                      "before")
        for run, connection, number in sorted(suspects):
            if self.acked.get((run, connection), _Bits()).has(number) and \
                    not self.seen.get((run, connection), _Bits()).has(number):
                self._note("lost", f"write {connection}/{number} of client {run:08x} was "
                                   "acknowledged and is not on the disk")
        if again:
            self.window = [self.window[1], len(self.records)]
        return {name: value - before[name] for name, value in self.counts().items()}

    def _note(self, kind, text):
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.texts) < 64:
            self.texts.append(f"{kind}: {text}")

    def _head(self, f):
        f.seek(0)
        block = f.read(BLOCK)
        magic, _, _, epoch = struct.unpack_from("<IHHQ", block)
        if magic != HEAD_MAGIC:
            return None
        return epoch

    def _recheck(self, f):
        """Whether what was found lately is still there. What is not is forgotten, and found
        anew by the scan that follows: {(run, connection, number)} of it."""
        begin = self.window[0]
        f.seek((begin + 1) * BLOCK)
        text = f.read((len(self.records) - begin) * BLOCK)
        for i in range(begin, len(self.records)):
            at = (i - begin) * BLOCK + SUM_AT
            if i in self.skipped or \
                    int.from_bytes(text[at:at + 8], "little") == self.records[i][0]:
                continue
            self._note("rewritten", f"record {i} is not what it was at the last look")
            gone = {r[1:] for r in self.records[i:] if r[1] is not None}
            for run, connection, number in gone:
                self.seen[(run, connection)].put(number, 0)
            self.skipped = {s for s in self.skipped if s < i}
            del self.records[i:]
            return gone
        return set()

    def _scan(self, f):
        epoch = self._head(f)
        if epoch is None:
            return
        if self.epoch is None:
            self.epoch = epoch
        elif epoch != self.epoch:
            self._note("corrupt", "the log was begun anew")
            self.epoch, self.records, self.skipped = epoch, [], set()
        for attempt in range(SETTLE_LOOKS):
            blocks, hole = self._read_new(f)
            if not hole or attempt == SETTLE_LOOKS - 1:
                break
            time.sleep(SETTLE_S)
        for record in blocks:
            self._accept(record)

    def _read_new(self, f):
        """The records after those that are known, None for a damaged place between good ones, and
        whether there is such a place."""
        begin, found, good = len(self.records), [], 0
        f.seek((begin + 1) * BLOCK)
        while True:
            text = f.read(CHUNK_BLOCKS * BLOCK)
            any_here = False
            for at in range(0, len(text) - BLOCK + 1, BLOCK):
                record = self._decode(text[at:at + BLOCK], begin + len(found))
                found.append(record)
                if record:
                    good, any_here = len(found), True
            if not any_here or len(text) < CHUNK_BLOCKS * BLOCK:
                break
        found = found[:good]
        return found, None in found

    def _decode(self, block, place):
        magic, version, length, epoch, sequence, client, number, _, _, previous = \
            RECORD.unpack_from(block)
        if magic != RECORD_MAGIC or epoch != self.epoch:
            return None
        have = int.from_bytes(block[SUM_AT:], "little")
        if version != 1 or length > 256 or sequence != place or number > NUMBER_MAX or \
                have != block_sum(block):
            return None
        return have, client >> 32, (client & 0xFFFFFFFF) - 1, number, previous

    def _accept(self, record):
        place = len(self.records)
        if record is None:
            self._note("corrupt", f"record {place} is damaged or missing")
            self.skipped.add(place)
            self.records.append((None, None, None, None))
            return
        total, run, connection, number, previous = record
        before = self.records[-1][0] if self.records else self.epoch
        if before is not None and previous != before:
            self._note("chain_breaks", f"record {place} does not follow from the one before it: "
                                       "two writers")
        self.records.append((total, run, connection, number))
        bits = self.seen.setdefault((run, connection), _Bits())
        if bits.has(number):
            self._note("doubled", f"write {connection}/{number} of client {run:08x} is on the "
                                  f"disk twice, the second time as record {place}")
        bits.put(number)
