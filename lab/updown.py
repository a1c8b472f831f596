# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Bringing a lab up and down.

`down` trusts nothing: it looks for processes, namespaces, mounts and folders by the lab's name, so it
also cleans after an `up` that was killed half-way or a state file that was lost.
"""

import contextlib
import os
import shutil
import signal
import time

from lab import host, lpmd, net, proc, ramdisk, san
from lab.proc import LabError
from lab.state import (HOSTS, ROLES, VAR, all_labs_lock, boot_id, free_slot, lab_names, remove_lock,
                       take_slot)


def leftovers(lab):
    """What there is of a lab, as a list of short texts; empty when it is down."""
    found = [f"process {p}" for p in members(lab)]
    found += [f"namespace {n}" for n in sorted(_namespaces(lab))]
    found += [f"mount {m}" for m in _mounts(lab)]
    found += [f"folder {d}" for d in (lab.run_dir, lab.var_dir) if os.path.isdir(d)]
    return found


def members(lab):
    return proc.find_members(lab.marker, [lab.netns_path(r) for r in ROLES])


def _namespaces(lab):
    return {lab.netns(r) for r in ROLES} & net.netns_names()


def _mounts(lab):
    """Mount points of this mount namespace below the lab's folders, innermost first."""
    with open("/proc/self/mounts") as f:
        points = [line.split()[1] for line in f]
    return [p for p in reversed(points)
            if p.startswith((lab.run_dir + "/", lab.var_dir + "/"))]


def up(lab, hosts, rate, with_lpmd, locks=None):
    net.parse_rate(rate)
    if leftovers(lab):
        what = "is up already" if lab.load(missing_ok=True) else "was left half-built"
        raise LabError(f"lab '{lab.name}' {what}: 'lab {lab.option()}down' takes it down")
    if with_lpmd:
        lpmd.check_programs(lab)
    try:
        return _build(lab, HOSTS[:hosts], rate, with_lpmd, locks)
    except BaseException:
        down(lab)
        raise


def _build(lab, names, rate, with_lpmd, locks):
    with all_labs_lock():
        os.makedirs(lab.run_dir)
        host.create_mount_points()
    os.makedirs(lab.console_dir)
    state = {"name": lab.name, "boot_id": boot_id(), "slot": take_slot(lab.name), "rate": rate,
             "build": lab.build, "locks": locks, "hosts": {}, "guests": {}}
    state["lan"] = {"netns": lab.netns("lan"), "bridge": "lan", "san_bridge": "san"}
    state["client"] = {"netns": lab.netns("client"),
                       "address": lab.lan_address(state, net.CLIENT_NUMBER)}
    state["san"] = san.new_entry(lab, state)
    for name in names:
        state["hosts"][name] = host.new_entry(lab, state, name)
    lab.save(state)
    net.create_switch(lab)
    net.create_client(lab, state)
    san.create_net(lab, state)
    for name in names:
        net.create_host_net(lab, state, name)
        net.set_rate(lab, state, name, rate)
        host.write_files(lab, state, name)
    host.prepare_locks(lab, state)
    _start(lab, state, names)
    if with_lpmd:
        for name in names:
            lpmd.start(lab, state, name)
        lpmd.pair_all(lab, state)
    lab.save(state)
    return state


def _start(lab, state, names):
    """All holders, then all daemons: each is begun before any is waited for."""
    begun = [("san", state["san"], san.begin(lab), f"{lab.var_dir}/san/holder.log")]
    begun += [(n, state["hosts"][n], host.begin_host(lab, n), f"{lab.host_dir(n)}/log/holder.log")
              for n in names]
    for role, entry, child, log in begun:
        entry["holder"] = host.await_holder(role, child, log)
    lab.save(state)
    for name in names:
        host.begin_libvirt(lab, state, name)
    san.start(lab, state)
    for name in names:
        host.await_libvirt(lab, state, name)


def _end_members(lab, timeout=15):
    """Ends every process of the lab, looking again until none is found: a dying one may still have
    started another."""
    stop = time.monotonic() + timeout
    while True:
        found = members(lab)
        if not found:
            return
        if time.monotonic() > stop:
            raise LabError(f"processes {sorted(found)} do not end: see 'ps' for their state")
        for pid, start in found.items():
            proc.send(pid, start, signal.SIGKILL)
        time.sleep(0.02)


def down(lab):
    """Takes away whatever there is; True if there was anything."""
    was = bool(leftovers(lab))
    _end_members(lab)
    for name in sorted(_namespaces(lab)):
        if proc.run(["ip", "netns", "del", name], check=False).returncode != 0:
            # An `ip netns add` that was killed leaves a plain file where the namespace belongs.
            proc.run(["umount", "-l", f"/run/netns/{name}"], check=False)
            try:
                os.unlink(f"/run/netns/{name}")
            except FileNotFoundError:
                pass
    for point in _mounts(lab):
        proc.run(["umount", "-l", point])
    ramdisk.remove_all(lab)
    shutil.rmtree(lab.var_dir, ignore_errors=True)
    free_slot(lab.name)
    with all_labs_lock():
        shutil.rmtree(lab.run_dir, ignore_errors=True)
        if not lab_names():
            host.remove_mount_points()
            with contextlib.suppress(OSError):
                os.rmdir(VAR)
    remove_lock(lab)
    left = leftovers(lab)
    if left:
        raise LabError(f"could not take everything away: {', '.join(left)}")
    return was
