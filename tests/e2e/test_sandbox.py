# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What a mover may do while it carries a partition: nearly nothing."""

import os
import re

import pytest

from lab import host
from support import SLOW, assert_clean, await_copying, await_end, begin, mover_pids

# What a mover works with; anything else, a file or a folder above all, is too much.
# /proc/stat: by it a source knows whether processors are idle, before it asks for another link.
DESCRIPTORS = re.compile(r"(socket|pipe|anon_inode):|/dev/null$|/proc/stat$")


@pytest.fixture(scope="module")
def movers(lab, tiny):
    """The two movers of a migration under way."""
    source, _, identity = begin(lab, tiny, *SLOW)
    await_copying(lab, source, identity)
    pids = mover_pids(lab)
    assert len(pids) == 2
    yield pids
    assert await_end(lab, source, identity)["state"] == "done"
    assert_clean(lab)


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_runs_as_nobody_in_particular(movers):
    for pid in movers:
        facts = status(pid)
        assert all(int(n) >= 1000 for n in facts["Uid"].split()), facts["Uid"]
        assert all(int(n) >= 1000 for n in facts["Gid"].split()), facts["Gid"]
        assert facts["Groups"].split() in ([], [facts["Gid"].split()[0]])


def test_has_no_capabilities_and_gets_none(movers):
    for pid in movers:
        facts = status(pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(facts[name], 16) == 0, f"{name} {facts[name]}"
        assert facts["NoNewPrivs"] == "1"


def test_every_thread_is_under_the_filter(movers):
    for pid in movers:
        threads = os.listdir(f"/proc/{pid}/task")
        assert len(threads) > 1
        for thread in threads:
            assert status(f"{pid}/task/{thread}")["Seccomp"] == "2"
            assert status(f"{pid}/task/{thread}")["NoNewPrivs"] == "1"


def test_its_root_is_an_empty_folder(lab, movers):
    empty = {os.stat(f"{host.root(lab.state, w)}/run/lpm/empty").st_ino for w in lab.state["hosts"]}
    for pid in movers:
        root = os.stat(f"/proc/{pid}/root")
        assert root.st_ino in empty
        # Through the host's own path, since the mover's root may be entered by nobody else.
        assert os.listdir(f"/proc/{pid}/root/") == []
        assert root.st_uid == 0 and root.st_mode & 0o022 == 0
        assert os.stat(f"/proc/{pid}/cwd").st_ino in empty


def test_holds_no_file(movers):
    """But for /proc/stat, and lpmd's own log behind stdout and stderr, which it can only append to."""
    for pid in movers:
        targets = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}")
                   for fd in os.listdir(f"/proc/{pid}/fd")}
        assert len(targets) > 3
        assert {fd: t for fd, t in targets.items() if fd > 2 and not DESCRIPTORS.match(t)} == {}
        assert DESCRIPTORS.match(targets[0])


def test_core_of_it_is_not_written(movers):
    """Its memory holds the session's key and the guest's pages."""
    for pid in movers:
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            limits = {line[:25].strip(): line[25:].split() for line in f}
        # Not dumpable: the files of its process belong to root.
        dumpable = os.stat(f"/proc/{pid}/mem").st_uid != 0
        assert limits["Max core file size"][0] == "0" or not dumpable
