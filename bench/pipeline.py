# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run bench --pipeline`: the parts of a migration that meet in the source's mover, each alone. What
QEMU gives, over one channel and over several (multifd), and what the mover takes of it with one
thread and with two. The answer decides whether more than one channel into the mover would help."""

import datetime
import json
import os
import socket
import subprocess
import tempfile
import threading
import time

from bench.guests import MIB, fill_with_files
from bench.scenario import machine, middle, rotated, say
from lab import qmp
from lab.proc import LabError

MEM = 512             # of the partition, MiB
ZEROS = 38            # per cent of its pages; the rest is what a page cache holds
CHUNK = 256 << 10
LIMIT_S = 120
# Runs take a second or two each. They go before all other work, which gets its turn between.
TURN_S = 3
# multifd's channels; 0: the one channel of a migration without it.
CHANNELS = (0, 2, 4)
# What the mover does with it: (compression, level, threads).
WORK = (("none", 0, 2), ("lz4", 0, 2), ("zstd", -3, 2), ("zstd", 1, 2), ("zstd", 3, 1),
        ("zstd", 3, 2), ("zstd", 9, 1), ("zstd", 9, 2))
ARGS = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-net", "none",
        "-M", "pc,memory-backend=mem", "-m", str(MEM), "-S"]


def make_content(path):
    with open(path, "wb") as f:
        f.truncate((MEM * (100 - ZEROS) // 100 + 1) * MIB)
    fill_with_files(path, os.path.getsize(path))


def make_memory(path, content):
    """A partition's memory as a file, with the content's pages at even distances."""
    with open(path, "wb") as out, open(content, "rb") as pages:
        for i in range(MEM * 256):
            if (i + 1) * ZEROS // 100 == i * ZEROS // 100:
                out.seek(i * 4096)
                out.write(pages.read(4096))
        out.truncate(MEM * MIB)


class Qemu(qmp.Qemu):
    """One that stands still: nothing but the migration uses its processor time."""

    def __init__(self, folder, name, *more):
        super().__init__(ARGS + list(more), os.path.join(folder, f"{name}.qmp"))

    def prepare(self, channels):
        if channels:
            self.capabilities("multifd")
            self("migrate-set-parameters", **{"multifd-channels": channels})
        self("migrate-set-parameters", **{"max-bandwidth": 1 << 40})

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Relay(threading.Thread):
    """Takes every connection at `path` and carries its bytes to another one at `to`; or, without
    `to`, counts them and drops them, as nothing is quicker."""

    def __init__(self, path, to=None):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.to, self.bytes, self.lock = to, 0, threading.Lock()
        self.start()

    def run(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            # In the order in which they came: multifd's first connection is the main one.
            there = socket.socket(socket.AF_UNIX) if self.to else None
            if there:
                there.connect(self.to)
            threading.Thread(target=self.carry, args=(here, there), daemon=True).start()

    def carry(self, here, there):
        buffer, count = bytearray(CHUNK), 0
        while n := here.recv_into(buffer):
            count += n
            if there:
                there.sendall(memoryview(buffer)[:n])
        if there:
            there.shutdown(socket.SHUT_WR)
        with self.lock:
            self.bytes += count

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def give(folder, memory, channels, loads):
    """One migration of the partition into a relay: MB/s of its memory, and QEMU's CPU seconds."""
    own = tempfile.mkdtemp(dir=folder)
    path, to = os.path.join(own, "relay"), os.path.join(own, "target")
    source = Qemu(own, "s", "-object", f"memory-backend-file,id=mem,size={MEM}M,share=on,"
                                       f"mem-path={memory},prealloc=on")
    target = relay = None
    try:
        source.prepare(channels)
        if loads:
            target = Qemu(own, "t", "-incoming", "defer", "-object",
                          f"memory-backend-ram,id=mem,size={MEM}M")
            target.prepare(channels)
            target("migrate-incoming", uri=f"unix:{to}")
        relay = Relay(path, to if loads else None)
        used, begin = source.cpu_s(), time.monotonic()
        source("migrate", uri=f"unix:{path}")
        while source("query-migrate")["status"] not in ("completed", "failed"):
            if time.monotonic() - begin > LIMIT_S:
                raise LabError(f"{channels} channels: not done after {LIMIT_S} s")
            time.sleep(0.01)
        seconds, ended = time.monotonic() - begin, source("query-migrate")
        if ended["status"] != "completed":
            raise LabError(f"{channels} channels: {ended.get('error-desc', 'failed')}")
        return {"channels": channels, "loads": loads, "seconds": seconds,
                "mb_per_s": MEM * MIB / 1e6 / seconds, "qemu_cpu_s": source.cpu_s() - used,
                "stream_bytes": ended["ram"]["transferred"]}
    finally:
        for part in (source, target, relay):
            if part:
                part.end()


def take(build, content, compression, level, threads):
    """The source's mover alone: MB/s of the same memory."""
    done = subprocess.run(
        [os.path.join(build, "bench", "bench-movers"), "--source-alone", "--json", "--content",
         content, "--mib", str(MEM), "--zeros", str(ZEROS), "--compression", compression, "--level",
         str(level), "--threads", str(threads)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT_S,
        env=os.environ | {"LPM_MOVER": os.path.join(build, "src", "mover", "lpm-mover")})
    return json.loads(done.stdout) | {"compression": compression, "level": level,
                                      "threads": threads}


def measured(work, *words):
    """Runs it in real time, and tells the figures."""
    time.sleep(TURN_S)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        figures = work(*words)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    say(", ".join(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
                  for name, value in figures.items()))
    return figures


def run(build, rounds):
    # QEMU's memory file must not be on a disk.
    with tempfile.TemporaryDirectory(prefix="lpm-bench-", dir="/dev/shm") as folder:
        content, memory = os.path.join(folder, "content"), os.path.join(folder, "memory")
        make_content(content)
        make_memory(memory, content)
        gives, takes = [], []
        cases = [(channels, loads) for loads in (False, True) for channels in CHANNELS]
        for number in range(rounds):
            for channels, loads in rotated(cases, number):
                gives.append(measured(give, folder, memory, channels, loads))
            for work in rotated(list(WORK), number):
                takes.append(measured(take, build, content, *work))
    return {"what": "pipeline", "rounds": rounds, "mem": MEM, "zeros": ZEROS,
            "date": datetime.date.today().isoformat(), "machine": machine(),
            "load": os.getloadavg()[0], "gives": gives, "takes": takes}


# ---- what docs/benchmarks.md says of it ----

def speed(result, **wanted):
    """(median, least, most) MB/s of the runs that were like this."""
    return middle(r["mb_per_s"] for r in result["gives"] + result["takes"]
                  if all(r.get(name) == value for name, value in wanted.items()))


def threads_gain(result, level):
    """How many times as much two threads take as one, where the processors are the bound."""
    one, two = (speed(result, compression="zstd", level=level, threads=n) for n in (1, 2))
    return two[0] / one[0] if one and two else None


def _figures(figures):
    return f"{figures[0]:.0f} ({figures[1]:.0f}-{figures[2]:.0f})"


def section(result):
    lines = ["| what QEMU gives | MB/s into a sink | QEMU's CPU, s/GB | MB/s through a relay, "
             "loaded by another QEMU |", "|---|---|---|---|"]
    for channels in CHANNELS:
        cpu = middle(r["qemu_cpu_s"] / r["mem"] * 1000 / 1.048576
                     for r in ({**g, "mem": result["mem"]} for g in result["gives"])
                     if r["channels"] == channels and not r["loads"])
        lines.append(f"| {f'multifd {channels}' if channels else 'one channel'} | "
                     f"{_figures(speed(result, channels=channels, loads=False))} | {cpu[0]:.2f} | "
                     f"{_figures(speed(result, channels=channels, loads=True))} |")
    lines += ["", "| what the source's mover takes | MB/s | CPU, s/GB |", "|---|---|---|"]
    for compression, level, threads in WORK:
        same = [t for t in result["takes"] if (t["compression"], t["level"], t["threads"])
                == (compression, level, threads)]
        cpu = middle(t["cpu_s_per_gb"] for t in same)
        lines.append(f"| {compression}{f' {level}' if compression == 'zstd' else ''}, {threads} "
                     f"thread{'s' if threads > 1 else ''} | "
                     f"{_figures(middle(t['mb_per_s'] for t in same))} | {cpu[0]:.2f} |")
    return "\n".join([
        "### The pipeline alone", "",
        f"{result['rounds']} rounds, {result['date']}, revision {result['machine']['revision']}; "
        f"load of the machine at the end {result['load']:.1f}. A partition of {result['mem']} MiB "
        f"that stands still, {result['zeros']} % of its pages zeros and the rest what a page cache "
        "holds; MB/s are of its memory; all in real time (SCHED_RR). `sudo ./run bench --pipeline`.", "", *lines])
