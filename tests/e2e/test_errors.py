# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Mistakes and absent hosts: one clear error each, and nothing has changed."""

import os

import pytest

from lab import host, lpmd, net, proc
from support import (FINAL, SLOW, assert_clean, await_copying, await_end, begin, clients, error_of,
                     home, move, nothing_changes, other)


def refused(lab, where, words, exit_code, error_code, cause):
    """Runs lpm both ways; the cause names what was wrong, the remedy is an order to somebody."""
    code, document = lab.lpm(where, *words)
    error = error_of(document, error_code)
    assert code == exit_code, document
    assert cause in error["cause"], error
    done = proc.run(lab.enter(where, lab.program("lpm"), *words), check=False)
    assert done.returncode == exit_code and done.stdout == ""
    lines = done.stderr.strip().splitlines()
    told = [line for line in lines if error_code in line]
    assert len(told) == 1 and cause in told[0], lines
    assert any(error["remedy"].split()[0] in line for line in lines), lines
    return error


def test_no_such_partition(lab, tiny):
    with clients(lab, tiny), nothing_changes(lab):
        refused(lab, "alpha", ("migrate", "nosuch", "--to", "beta"), 3, "LPM-1003", "nosuch")
        refused(lab, "alpha", ("show", "nosuch"), 3, "LPM-1003", "nosuch")


def test_partition_that_is_on_the_other_host(lab, tiny):
    """A migration starts only from the manager that holds the partition."""
    with nothing_changes(lab):
        there = other(home(lab, tiny))
        refused(lab, there, ("migrate", tiny, "--to", other(there)), 3, "LPM-1003", tiny)


def test_no_such_peer(lab, tiny):
    with clients(lab, tiny), nothing_changes(lab):
        refused(lab, "alpha", ("migrate", tiny, "--to", "nosuch"), 3, "LPM-2001", "nosuch")
        refused(lab, "alpha", ("host", "unpair", "nosuch"), 3, "LPM-2001", "nosuch")


def test_to_itself(lab, tiny):
    """A host is not its own peer."""
    with nothing_changes(lab):
        refused(lab, "alpha", ("migrate", tiny, "--to", "alpha"), 3, "LPM-2001", "alpha")


@pytest.mark.parametrize("words, part", [
    (("migrate", "tiny"), "--to"),
    (("migrate", "--to", "beta"), "PARTITION"),
    (("migrate", "tiny", "--to", "beta", "--bandwidth", "fast"), "fast"),
    (("migrate", "tiny", "--to", "beta", "--max-suspend", "-1"), "-1"),
    (("migrate", "tiny", "--to", "beta", "--froce"), "--froce"),
    (("mirgate", "tiny"), "mirgate"),
    (("stop",), "PARTITION"),
])
def test_command_line(lab, tiny, words, part):
    assert tiny == "tiny"
    with nothing_changes(lab):
        refused(lab, "alpha", words, 2, "LPM-1009", part)


def test_not_running(lab, tiny):
    lab.add_guest("off", mem=96, no_start=True)
    lab.virsh("alpha", "start", "off", "--paused")
    with nothing_changes(lab):
        refused(lab, "alpha", ("migrate", "off", "--to", "beta"), 4, "LPM-3002", "off")


def test_paused(lab, tiny):
    """Moving it would resume it, which nobody has asked for."""
    where = home(lab, tiny)
    lab.virsh(where, "suspend", tiny)
    try:
        with nothing_changes(lab):
            refused(lab, where, ("migrate", tiny, "--to", other(where)), 4, "LPM-3002", "Paused")
    finally:
        lab.virsh(where, "resume", tiny)


def define_elsewhere(lab, partition, uuid=None):
    """An inactive partition of the same name, or of the same UUID, on the other host."""
    where = home(lab, partition)
    xml = lab.virsh(where, "dumpxml", partition, "--inactive")
    if uuid:
        xml = xml.replace(f"<name>{partition}</name>", "<name>namesake</name>")
    else:
        xml = xml.replace(f"<uuid>{lab.virsh(where, 'domuuid', partition).strip()}</uuid>", "")
    path = os.path.join(lab.lab.var_dir, "elsewhere.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(xml)
    lab.virsh(other(where), "define", path)
    return where, "namesake" if uuid else partition


@pytest.mark.parametrize("same", ["name", "uuid"])
def test_in_use_on_the_target(lab, tiny, same):
    """libvirt would replace an inactive one without a word."""
    where, name = define_elsewhere(lab, tiny, uuid=same == "uuid")
    try:
        with clients(lab, tiny), nothing_changes(lab):
            refused(lab, where, ("migrate", tiny, "--to", other(where)), 4, "LPM-3003", tiny)
    finally:
        lab.virsh(other(where), "undefine", name)
    move(lab, tiny)


def test_stop_and_show_of_what_is_not_there(lab, tiny):
    with nothing_changes(lab):
        refused(lab, "alpha", ("stop", "nosuch"), 3, "LPM-1003", "nosuch")
        refused(lab, "alpha", ("status", "nosuch"), 3, "LPM-1003", "nosuch")


def test_already_migrating(lab, tiny):
    with clients(lab, tiny):
        source, target, identity = begin(lab, tiny, *SLOW)
        await_copying(lab, source, identity)
        refused(lab, source, ("migrate", tiny, "--to", target), 4, "LPM-1005", tiny)
        refused(lab, source, ("host", "unpair", target), 4, "LPM-2008", target)
        assert await_end(lab, source, identity)["state"] == "done"
    assert home(lab, tiny) == target
    assert_clean(lab)


def test_lpmd_does_not_run_here(lab, tiny):
    where = other(home(lab, tiny))
    lpmd.stop(lab.lab, lab.state, where)
    try:
        with nothing_changes(lab):
            refused(lab, where, ("list",), 5, "LPM-1010", "lpmd.sock")
    finally:
        lpmd.start(lab.lab, lab.state, where)


def test_lpmd_of_the_target_is_down(lab, tiny):
    where = home(lab, tiny)
    lpmd.stop(lab.lab, lab.state, other(where))
    try:
        with clients(lab, tiny), nothing_changes(lab):
            refused(lab, where, ("migrate", tiny, "--to", other(where)), 5, "LPM-2002",
                    other(where))
            peers = lab.lpm(where, "host", "list")[1]["peers"]
            assert [p["state"] for p in peers if p["name"] == other(where)] == ["down"]
    finally:
        lpmd.start(lab.lab, lab.state, other(where))
    move(lab, tiny)


def test_target_cannot_be_reached(lab, tiny):
    where = home(lab, tiny)
    device = ("link", "set", "uplink")
    net.ip(*device, "down", netns=lab.lab.netns(other(where)))
    try:
        with clients(lab, tiny), nothing_changes(lab):
            code, document = lab.lpm(where, "migrate", tiny, "--to", other(where), timeout=120)
            assert code == 5
            assert other(where) in error_of(document, "LPM-2002")["cause"]
    finally:
        net.ip(*device, "up", netns=lab.lab.netns(other(where)))
    move(lab, tiny)


def test_target_without_libvirt(lab, tiny):
    where = home(lab, tiny)
    host.stop_libvirt(lab.lab, lab.state, other(where))
    try:
        with clients(lab, tiny):
            code, document = lab.lpm(where, "migrate", tiny, "--to", other(where), timeout=120)
            assert code in (5, 6) and document["state"] in FINAL
            assert document["error"]["cause"] and document["error"]["remedy"]
    finally:
        host.begin_libvirtd(lab.lab, lab.state, other(where))
        host.await_libvirt(lab.lab, lab.state, other(where))
    assert_clean(lab)
    assert home(lab, tiny) == where
    move(lab, tiny)
