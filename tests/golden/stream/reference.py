#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""A second reader of the stream, slow and simple, for the tests to compare the parser with.

    reference.py STREAM[.zst]        prints key=value lines

It sees the whole stream at once, keeps every page number in a set, and counts device sections by the
description at the end of the stream, not by footers. It fails on what it does not know.
"""
import json
import subprocess
import sys


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise EOFError(f"{n} bytes wanted at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def string(self):
        return self.take(self.number(1)).decode()


class Stream(Reader):
    def __init__(self, data):
        super().__init__(data)
        self.facts = dict(machine="", ram_bytes=0, blocks=0, pages_normal=0, pages_zero=0,
                          pages_encoded=0, pages_resent=0, pages_distinct=0, rounds=0,
                          ram_sections=0,
                          eof=0, description_bytes=0, packaged=0, sections=0)
        self.names, self.seen, self.block, self.last = {}, set(), None, None
        self.blocks, self.running, self.unordered = {}, False, False
        self.pages = []  # (position, length, kind) of each record of a whole page

    def read(self):
        assert self.take(8) == b"QEVM\0\0\0\3"
        while not self.facts["eof"]:
            kind = self.number(1)
            if kind == 7:
                self.facts["machine"] = self.take(self.number(4)).decode()
            elif kind in (1, 4):
                ident = self.number(4)
                self.names[ident] = self.string()
                self.take(8)
                self.facts["sections"] += 1
                if kind == 4:
                    return self.devices()
                self.body(ident)
            elif kind in (2, 3):
                ident = self.number(4)
                self.body(ident)
            elif kind == 8:
                self.command()
            elif kind == 0:
                self.facts["eof"] = 1
            else:
                raise ValueError(f"section type {kind} at {self.at - 1}")
        assert self.at == len(self.data)
        return self.facts

    def devices(self):
        """Device state to the end: the description is the last thing in the stream."""
        mark = self.data.rindex(b'\0\6', 0, self.data.rindex(b'"devices"'))
        while True:
            length = int.from_bytes(self.data[mark + 2:mark + 6], "big")
            if mark + 6 + length == len(self.data):
                break
            mark = self.data.rindex(b'\0\6', 0, mark)
        description = json.loads(self.data[mark + 6:])
        self.facts.update(eof=1, description_bytes=length)
        self.facts["sections"] += len(description["devices"]) - 1
        return self.facts

    def body(self, ident):
        name = self.names[ident]
        if name == "ram":
            self.ram()
        elif name == "spapr/htab":
            if self.number(4) == 0:
                while (chunk := self.take(8)) != bytes(8):
                    self.take(16 * int.from_bytes(chunk[4:6], "big"))
        else:
            raise ValueError(f"section {name}")
        assert self.take(5) == b"\x7e" + ident.to_bytes(4, "big")

    def command(self):
        number, length = self.number(2), self.number(2)
        body = self.take(length)
        if number == 7:
            self.take(int.from_bytes(body, "big"))
            self.facts["packaged"] = 1
            self.running = True

    def ram(self):
        while True:
            start = self.at
            word = self.number(8)
            flags, offset = word & 0xfff, word & ~0xfff
            if flags == 4:
                self.facts["ram_bytes"] = offset
                while offset:
                    name = self.string()
                    length = self.number(8)
                    self.blocks[name] = len(self.blocks)
                    offset -= length
                self.facts["blocks"] = len(self.blocks)
                continue
            if flags == 0x10:
                self.facts["ram_sections"] += 1
                return
            if not flags & 0x20:
                self.block = self.string()
            kind = {2: "zero", 8: "normal", 0x40: "encoded", 0x100: "encoded"}[flags & ~0x20]
            if kind == "zero":
                assert self.take(1) == b"\0"
            elif kind == "normal":
                self.take(4096)
            elif flags & 0x40:
                assert self.number(1) == 1
                self.take(self.number(2))
            else:
                self.take(self.number(4))
            self.unordered |= flags & ~0x20 == 0x100
            self.page(kind, offset, start)

    def page(self, kind, offset, start):
        if kind != "encoded":
            self.pages.append((start, self.at - start, kind))
        here = (self.blocks[self.block], offset)
        if self.last is None:
            self.facts["rounds"] = 1
        elif here < self.last and not self.running and (here in self.seen or not self.unordered):
            self.facts["rounds"] += 1
        self.last = here
        self.facts[f"pages_{kind}"] += 1
        self.facts["pages_resent"] += here in self.seen
        self.seen.add(here)
        self.facts["pages_distinct"] = len(self.seen)


def load(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    for key, value in Stream(load(sys.argv[1])).read().items():
        print(f"{key}={value}")
