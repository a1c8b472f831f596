# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Open vSwitch on the hosts of a lab, each with its own database and daemon, and a bridge of one name
that carries all VLANs to a switch between them. It forwards in user space, so the kernel needs no
module. Ended with the lab, as everything in a host's namespaces.
"""

import os

from lab import host, net, proc

FOLDER = "/run/openvswitch"  # of the host: its /run is its own
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def vsctl(lab, state, where, *args):
    return proc.run(host.enter(state, where, ["ovs-vsctl", "--timeout=10"] + list(args)))


def start(lab, state, where):
    log = os.path.join(lab.host_dir(where), "log", "openvswitch.log")
    database, control = f"{FOLDER}/conf.db", f"{FOLDER}/db.sock"
    os.makedirs(host.root(state, where) + FOLDER, exist_ok=True)
    proc.run(host.enter(state, where, ["ovsdb-tool", "create", database, SCHEMA]))
    host.daemon_in(lab, state, where, ["ovsdb-server", database, f"--remote=punix:{control}",
                                       f"--pidfile={FOLDER}/ovsdb-server.pid"], log)
    proc.wait_until(f"ovsdb-server of {where}",
                    lambda: host.answers(host.root(state, where) + control), 10)
    vsctl(lab, state, where, "--no-wait", "init")
    host.daemon_in(lab, state, where,
                   ["ovs-vswitchd", f"unix:{control}", f"--pidfile={FOLDER}/ovs-vswitchd.pid"], log)


def add_bridge(lab, state, name):
    """A bridge on every host, and cables from them to a switch that passes frames with any tag."""
    net.ip_batch(lab.netns("lan"), [f"link add {name} type bridge forward_delay 0 mcast_snooping 0",
                                    f"link set {name} up"])
    for where in state["hosts"]:
        net.plug(lab, where, f"{name}-up", name, f"{where}-{name}")
        net.ip("link", "set", f"{name}-up", "up", netns=lab.netns(where))
        vsctl(lab, state, where, "add-br", name, "--", "set", "bridge", name,
              "datapath_type=netdev", "--", "add-port", name, f"{name}-up")
