# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What a script needs to know of a lab, as one JSON document, and the same for people."""

import os

from lab import guest, host, lpmd, net, proc


DAEMONS = ("libvirtd", "virtlogd", "virtlockd", "sanlock", "lpmd")


def _pid(rec):
    return rec["pid"] if proc.alive(rec) else None


def describe(lab, state, counters=False):
    """The document of `lab info --json`; with counters, each uplink's byte counters as well."""
    hosts = {}
    for name, entry in state["hosts"].items():
        logs = os.path.join(lab.host_dir(name), "log")
        holder = _pid(entry["holder"])
        hosts[name] = {
            "name": name, "address": entry["address"], "san_address": entry["san_address"],
            "netns": entry["netns"], "holder_pid": holder, "root": host.root(state, name),
            "libvirt_uri": host.libvirt_uri(state, name),
            "libvirt_socket": host.libvirt_socket(state, name),
            "lpmd_socket": lpmd.socket_path(state, name),
            "pids": {d: _pid(entry[d]) for d in DAEMONS},
            "rate": entry["rate"],
            "uplink": {"host_netns": entry["netns"], "host_if": "uplink", "bridge": "br0",
                       "switch_netns": state["lan"]["netns"], "switch_if": name},
            "state_dir": os.path.join(lab.host_dir(name), "lib-lpm"),
            "config": os.path.join(lab.host_dir(name), "etc-lpm", "lpmd.conf"),
            "logs": {"lpmd": lpmd.log_path(lab, name), "libvirtd": f"{logs}/libvirtd.log",
                     "virtlogd": f"{logs}/virtlogd.log",
                     "qemu_dir": os.path.join(lab.host_dir(name), "log-libvirt", "qemu")},
        }
        if counters and holder:
            hosts[name]["uplink"]["counters"] = net.counters(holder)
    sto = state["san"]
    guests = {}
    for name, g in state["guests"].items():
        guests[name] = dict(g, address=g["nics"][0]["address"] if g["nics"] else None,
                            mac=g["nics"][0]["mac"] if g["nics"] else None)
    return {
        "name": lab.name, "rate": state["rate"], "build": lab.build,
        "programs": {n: lpmd.program(lab, n) for n in lpmd.PROGRAMS | lpmd.WORKLOAD},
        "switch": {"netns": state["lan"]["netns"], "bridge": state["lan"]["bridge"],
                   "san_bridge": state["lan"]["san_bridge"]},
        "hosts": hosts,
        "san": {"address": sto["address"], "port": sto["port"], "iqn": sto["iqn"],
                "netns": sto["netns"], "holder_pid": _pid(sto["holder"]),
                "tgtd_pid": _pid(sto["tgtd"]), "luns": list(sto["luns"].values())},
        "client": dict(state["client"]),
        "guests": guests,
    }


def text(document):
    """The document as indented 'key: value' lines."""
    lines = []

    def walk(key, value, depth):
        indent = "  " * depth
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:")
            for k, v in value.items():
                walk(k, v, depth + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{key}:")
            for i, v in enumerate(value):
                walk(f"[{i}]", v, depth + 1)
        else:
            shown = "-" if value in (None, [], "") else value
            lines.append(f"{indent}{key}: {shown}")
    for k, v in document.items():
        walk(k, v, 0)
    return "\n".join(lines)


def status(lab, state):
    """{'lab', 'ok', 'hosts': {name: {daemon: bool}}, 'san', 'guests': {name: [[host, state]]}}."""
    hosts = {}
    ok = proc.alive(state["san"]["tgtd"])
    for name, entry in state["hosts"].items():
        up = {d: proc.alive(entry[d]) for d in ("holder", "libvirtd", "virtlogd")}
        ok = ok and all(up.values())
        # May be absent on purpose; broken is only what was started and has gone.
        for optional in ("virtlockd", "sanlock", "lpmd"):
            up[optional] = proc.alive(entry[optional]) if entry[optional] else None
            ok = ok and up[optional] is not False
        hosts[name] = up
    return {"lab": lab.name, "ok": ok, "rate": state["rate"], "hosts": hosts,
            "san": proc.alive(state["san"]["tgtd"]), "guests": guest.places(state)}


def status_text(s):
    words = {True: "up", False: "DOWN", None: "off"}
    lines = [f"lab {s['lab']}: {'up' if s['ok'] else 'BROKEN'}, uplinks {s['rate']}",
             f"  san    tgtd {words[s['san']]}"]
    for name, up in s["hosts"].items():
        lines.append(f"  {name:6} " + ", ".join(f"{d} {words[v]}" for d, v in up.items()))
    for name, places in sorted(s["guests"].items()):
        shown = ", ".join(f"{state} on {where}" for where, state in places) or "nowhere"
        lines.append(f"  guest {name}: {shown}")
    return "\n".join(lines)
