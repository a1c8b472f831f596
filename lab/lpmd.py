# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpmd on the hosts of a lab: configuration, start, stop, pairing."""

import json
import os
import signal

from lab import host, proc
from lab.proc import LabError

PROGRAMS = {"lpmd": "src/daemon/lpmd", "lpm": "src/cli/lpm", "lpm-mover": "src/mover/lpm-mover"}
WORKLOAD = {"ledger": "lab/ledger/ledger", "ledgerd": "lab/ledger/ledgerd",
            "lab-reserve": "lab/lab-reserve", "shift-clock": "lab/lab-shift-clock.so"}

CONF = """\
[host]
name={name}
qemu_user=root

[mover]
path={mover}
"""


def program(lab, name):
    return os.path.join(lab.build, (PROGRAMS | WORKLOAD)[name])


def built(lab):
    return all(os.access(program(lab, name), os.X_OK) for name in PROGRAMS)


def check_programs(lab):
    for name in PROGRAMS:
        if not os.access(program(lab, name), os.X_OK):
            raise LabError(f"{program(lab, name)} is missing: run './run build' first, "
                           "name another build with --build, or use --no-lpmd")


def log_path(lab, where):
    return os.path.join(lab.host_dir(where), "log", "lpmd.log")


def socket_path(state, where):
    """lpmd's API socket as seen from outside the host."""
    return host.root(state, where) + "/run/lpm/lpmd.sock"


def begin(lab, state, where):
    """Starts lpmd; a configuration that is there (a second start) is kept."""
    entry = state["hosts"][where]
    if proc.alive(entry["lpmd"]):
        raise LabError(f"lpmd of {where} runs already (process {entry['lpmd']['pid']}): "
                       f"'lab {lab.option()}stop-lpmd {where}' ends it")
    check_programs(lab)
    conf = os.path.join(lab.host_dir(where), "etc-lpm", "lpmd.conf")
    if not os.path.exists(conf):
        with open(conf, "w") as f:
            f.write(CONF.format(name=where, mover=program(lab, "lpm-mover")))
    entry["lpmd"] = host.daemon_in(
        lab, state, where,
        [program(lab, "lpmd"), "--config", "/etc/lpm/lpmd.conf", "--foreground"],
        log_path(lab, where))
    lab.save(state)


def wait_ready(lab, state, where):
    entry = state["hosts"][where]

    def ready():
        if not proc.alive(entry["lpmd"]):
            raise LabError(f"lpmd of {where} has ended: {proc.tail(log_path(lab, where))}")
        return host.answers(socket_path(state, where))
    proc.wait_until(f"lpmd of {where}", ready, 20)


def start(lab, state, where):
    begin(lab, state, where)
    wait_ready(lab, state, where)


def stop(lab, state, where, kill=False):
    entry = state["hosts"][where]
    if kill and proc.alive(entry["lpmd"]):
        proc.send(entry["lpmd"]["pid"], entry["lpmd"]["start"], signal.SIGKILL)
    proc.end(entry["lpmd"])
    entry["lpmd"] = None
    lab.save(state)


def lpm(lab, state, where, *args, timeout=60):
    """Runs lpm on a host and returns its JSON."""
    line = host.enter(state, where, [program(lab, "lpm")] + list(args) + ["--json"])
    out = proc.run(line, timeout=timeout)
    try:
        return json.loads(out)
    except json.JSONDecodeError:
        raise LabError(f"lpm {' '.join(args)} on {where} answered no JSON: {out[:200]!r}") from None


def pair(lab, state, a, b):
    """b spends a code that a has issued."""
    code = lpm(lab, state, a, "host", "invite")["code"]
    lpm(lab, state, b, "host", "pair", a, state["hosts"][a]["address"], "--code", code)


def pair_all(lab, state):
    names = list(state["hosts"])
    for i, a in enumerate(names):
        for b in names[i + 1:]:
            pair(lab, state, a, b)
