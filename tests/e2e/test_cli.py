# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpm as a person and as a script sees it, while partitions really move."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from lab import proc
from support import (SLOW, assert_clean, await_copying, await_end, begin, home, newest, other)

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def on_terminal(line, timeout=60):
    """Runs a command whose stderr is a terminal; (exit code, stdout, what the terminal got)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen, end = b"", time.monotonic() + timeout
    while time.monotonic() < end:
        if not select.select([ours], [], [], 0.2)[0]:
            if child.poll() is not None:
                break
            continue
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(ours)
    out = child.communicate(timeout=timeout)[0]
    return child.returncode, out.decode(), seen.decode()


def migrate_line(lab, partition, *options):
    source = home(lab, partition)
    return lab.enter(source, lab.program("lpm"), "migrate", partition, "--to", other(source),
                     *options)


def test_bar_on_a_terminal(lab, tiny):
    code, out, seen = on_terminal(migrate_line(lab, tiny, "--bandwidth", "8M"))
    assert code == 0
    percents = [int(p) for p in re.findall(r"(\d+)%", seen)]
    assert len(percents) > 3 and percents == sorted(percents) and percents[-1] <= 100
    assert "\r" in seen and "copying" in seen and "iB/s" in seen and "ETA" in seen
    assert "\r" not in out and "\x1b" not in out
    assert "suspended" in out.lower()


def test_no_bar_in_a_pipe(lab, tiny):
    done = proc.run(migrate_line(lab, tiny), check=False)
    assert done.returncode == 0
    for text in (done.stdout, done.stderr):
        assert "\r" not in text and "\x1b" not in text
    # Each phase is a line instead, once.
    phases = [line.split()[1] for line in done.stderr.splitlines() if line.startswith(f"{tiny}: ")]
    assert phases[0] == "validating" and phases[-1] == "done"
    assert len(phases) == len(set(phases))


def test_json_is_all_there_is_on_stdout(lab, tiny):
    code, out, seen = on_terminal(migrate_line(lab, tiny, "--json"))
    assert code == 0
    assert json.loads(out)["state"] == "done"
    done = proc.run(migrate_line(lab, tiny, "--json"), check=False)
    assert json.loads(done.stdout)["report"]["stream_hash"]["identical"] is True
    assert seen is not None


def test_quiet(lab, tiny):
    _, _, seen = on_terminal(migrate_line(lab, tiny, "--quiet"))
    assert seen == ""


def test_ctrl_c_leaves_the_migration_alone(lab, tiny):
    source = home(lab, tiny)
    child = subprocess.Popen(migrate_line(lab, tiny, *SLOW), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    proc.wait_until("the migration", lambda: (newest(lab, source, tiny) or {}).get("state") ==
                    "copying", 20)
    child.send_signal(signal.SIGINT)
    words = child.communicate(timeout=20)[1]
    assert child.returncode == 130 and "lpm stop" in words
    identity = newest(lab, source, tiny)["id"]
    assert await_end(lab, source, identity)["state"] == "done"
    assert home(lab, tiny) == other(source)
    assert_clean(lab)


def test_watching_follows_to_the_end(lab, tiny):
    source, _, identity = begin(lab, tiny, "--bandwidth", "8M")
    await_copying(lab, source, identity)
    line = lab.enter(source, lab.program("lpm"), "status", tiny, "--watch", "--json")
    done = proc.run(line, check=False, timeout=60)
    assert done.returncode == 0
    documents = [json.loads(text) for text in done.stdout.splitlines()]
    assert len(documents) > 2 and documents[-1]["state"] == "done"
    assert {d["id"] for d in documents} == {identity}


def test_completion_lists_every_command(lab):
    """By bash itself, with the file that is installed."""
    script = subprocess.run([lab.program("lpm"), "completion", "bash"], capture_output=True,
                            text=True, check=True).stdout
    offered = subprocess.run(
        ["bash", "-c", script + '\nCOMP_WORDS=(lpm ""); COMP_CWORD=1; '
         '$(complete -p lpm | sed "s/.*-F \\([^ ]*\\).*/\\1/") lpm "" lpm; '
         'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True, check=False)
    words = {w.strip() for w in offered.stdout.split()}
    assert {"list", "show", "migrate", "status", "stop", "log", "mover", "host"} <= words, offered
    assert not [w for w in words if not w.startswith("-") and subprocess.run(
        [lab.program("lpm"), "help", w], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False).returncode], "words that lpm does not know"


@pytest.mark.parametrize("page", ["lpm.1", "lpm-mover.8", "lpmd.8", "lpmd.conf.5"])
def test_man_page_renders_without_a_warning(page):
    path = os.path.join(TREE, "docs", "man", page)
    assert shutil.which("mandoc"), "install the packages of packaging/debian/packages.test"
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True,
                          text=True, check=False)
    assert (lint.returncode, lint.stdout) == (0, "")
    text = subprocess.run(["mandoc", "-T", "utf8", path], capture_output=True, text=True,
                          check=True).stdout
    assert "SYNOPSIS" in text.replace("\b", "") or "S\bSY\bYN\bN" in text
