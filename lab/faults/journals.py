# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The timeline of a migration from both journals, read without lpmd."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time

from lab import lpmd, proc
from lab.faults.ground import NoAnswer


def _rows(folder, sql, *values):
    with contextlib.closing(sqlite3.connect(os.path.join(folder, "lpmd.db"))) as db:
        return db.execute(sql, values).fetchall()


def _of_host(ground, where, migration):
    """[(wall clock in us, host, text)] of one journal. The log is copied without its index: that is
    kept by the living lpmd."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="lpm-journal-") as folder:
        for name in ("lpmd.db", "lpmd.db-wal"):
            with contextlib.suppress(OSError):
                shutil.copy(ground.path(where, f"/var/lib/lpm/{name}"), folder)
        lines += [(begin, where, f"state {name}") for name, begin in _rows(
            folder, "SELECT name, begin_us FROM phases WHERE migration = ?", migration)]
        lines += [(at, where, f"DECIDED {what} {facts}") for at, what, facts in _rows(
            folder, "SELECT wall_us, what, facts FROM decisions WHERE migration = ?", migration)]
        lines += [(at, where, f"{level} {event}: {text or ''}") for at, level, event, text in _rows(
            folder, "SELECT time_us, level, event, text FROM log WHERE migration = ?", migration)]
        lines += _living_log(ground, where, migration)
        ends = _rows(folder, "SELECT state, error FROM migrations WHERE id = ?", migration)
        lines += [(2**62, where, f"now {state} {error or ''}") for state, error in ends]
    return list(dict.fromkeys(lines))


def _living_log(ground, where, migration):
    """lpmd's own word, which has entries that are not on the disk yet."""
    try:
        entries = ground.api(where, f"/v1/log?migration={migration}")[1].get("entries", [])
    except NoAnswer:
        return []
    return [(e["time_us"], where, f"{e['level']} {e['event']}: {e['text'] or ''}") for e in entries]


def newest(ground, where):
    """The newest migration's id in a host's journal; for one whose start was not answered."""
    with tempfile.TemporaryDirectory(prefix="lpm-journal-") as folder:
        for name in ("lpmd.db", "lpmd.db-wal"):
            with contextlib.suppress(OSError):
                shutil.copy(ground.path(where, f"/var/lib/lpm/{name}"), folder)
        try:
            rows = _rows(folder, "SELECT id FROM migrations ORDER BY number DESC LIMIT 1")
        except sqlite3.Error:
            return None
    return rows[0][0] if rows else None


def timeline(ground, out):
    """Lines for people: instants relative to the migration's begin, both hosts, and the faults."""
    shift = time.time_ns() // 1000 - time.monotonic_ns() // 1000
    lines = []
    for where in ground.state["hosts"]:
        try:
            lines += _of_host(ground, where, out.migration)
        except (sqlite3.Error, OSError) as error:
            lines.append((0, where, f"its journal cannot be read: {error}"))
    lines += [(i.at_us + shift, "engine", f"FAULT {i.step.text()} applied={i.applied}, heals after "
               f"{i.step.seconds} s") for i in out.injections if i.at_us]
    lines += [(at + shift, "watch", text) for at, text in ground.observer.timeline(out.begin_us)]
    begin = out.begin_us + shift
    return [(f"{(at - begin) / 1e6:+9.3f}s" if at < 2**61 else " " * 10) + f" {where:6} {text}"
            for at, where, text in sorted(lines)]


def last_words(ground):
    """The end of both lpmd's logs, for one that has died: an assertion stands there."""
    lines = []
    for where in ground.state["hosts"]:
        words = proc.tail(lpmd.log_path(ground.lab, where), 12)
        lines += [f"{where} log: {line}" for line in words.splitlines()]
    return lines
