# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The LAN: a switch in a namespace of its own, a client, and the hosts' shaped uplinks.

lpm-NAME-lan holds two bridges: `lan`, where hosts, guests and the client meet, and `san`, which
only carries iSCSI and is never shaped. The machine's own network is not touched.
"""

import os
import re

from lab.proc import LabError, run

UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
CLIENT_NUMBER = 2
SAN_NUMBER = 3
HOST_NUMBER = {"alpha": 11, "beta": 12, "gamma": 13}


def parse_rate(text):
    """'1gbit' -> bits per second; 'none' -> None."""
    if text == "none":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?bit)", text.lower())
    rate = int(float(match[1]) * UNITS[match[2]]) if match else 0
    if rate < 64000:
        raise LabError(f"'{text}' is not a rate: give 'none' or a number with kbit, mbit or gbit, "
                       "64kbit or more")
    return rate


def ip(*args, netns=None):
    prefix = ["ip"] if netns is None else ["ip", "-n", netns]
    return run(prefix + list(args))


def ip_batch(netns, lines):
    """Many ip commands in one process: creating the lab is a matter of process starts."""
    run(["ip", "-n", netns, "-batch", "-"], stdin="\n".join(lines) + "\n")


def add_netns(name):
    ip("netns", "add", name)
    ip("link", "set", "lo", "up", netns=name)


def netns_names():
    """Names that have an entry, whether a namespace is still mounted on it or not."""
    try:
        return set(os.listdir("/run/netns"))
    except FileNotFoundError:
        return set()


def create_switch(lab):
    ns = lab.netns("lan")
    add_netns(ns)
    lines = []
    for bridge in ("lan", "san"):
        lines += [f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
                  f"link set {bridge} up"]
    ip_batch(ns, lines)


def plug(lab, role, device, bridge, port):
    """Runs a cable from `device` in the role's namespace to `port` of a bridge of the switch."""
    ns = lab.netns("lan")
    ip_batch(ns, [
        f"link add {port} type veth peer name {device} netns {lab.netns(role)}",
        f"link set {port} master {bridge} up",
    ])


def create_client(lab, state):
    add_netns(lab.netns("client"))
    plug(lab, "client", "lan0", "lan", "client")
    ip_batch(lab.netns("client"), [
        f"addr add {lab.lan_address(state, CLIENT_NUMBER)}/24 dev lan0",
        "link set lan0 up",
    ])


def create_host_net(lab, state, host):
    """The host's uplink sits in br0, where libvirt puts guests; the host's own address is br0's."""
    number = HOST_NUMBER[host]
    mac = f"02:4c:50:4d:{state['slot']:02x}:{number:02x}"
    add_netns(lab.netns(host))
    plug(lab, host, "uplink", "lan", host)
    plug(lab, host, "san0", "san", f"{host}-san")
    ip_batch(lab.netns(host), [
        # A bridge without an address of its own takes the lowest of its ports, which may be a
        # guest's tap; the guest's tap on another host has the same one, and the hosts lose touch.
        f"link add br0 address {mac} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        "link set uplink master br0 up",
        f"addr add {lab.lan_address(state, number)}/24 dev br0",
        "link set br0 up",
        f"addr add {lab.san_address(state, number)}/24 dev san0",
        "link set san0 up",
    ])


def _shape(netns, device, rate):
    qdisc = ["tc", "-n", netns, "qdisc"]
    if rate is None:
        # There is none to delete when the link was never shaped.
        run(qdisc + ["del", "dev", device, "root"], check=False)
        return
    # A burst of 2 ms, but at least one offloaded segment of 64 KiB and at most what was measured
    # to reach 1 Gb/s.
    burst = max(70 * 1024, min(256 * 1024, rate // 8 // 500))
    run(qdisc + ["replace", "dev", device, "root", "tbf", "rate", f"{rate}bit",
                 "burst", str(burst), "latency", "50ms"])


def set_rate(lab, state, host, text):
    """Shapes both directions: what the host sends and what the switch sends it."""
    rate = parse_rate(text)
    _shape(lab.netns(host), "uplink", rate)
    _shape(lab.netns("lan"), host, rate)
    state["hosts"][host]["rate"] = text


def counters(holder_pid, device="uplink"):
    """Byte and packet counters of a device in the network namespace of a process."""
    with open(f"/proc/{holder_pid}/net/dev") as f:
        for line in f:
            name, _, values = line.partition(":")
            if name.strip() == device:
                v = [int(x) for x in values.split()]
                return {"rx_bytes": v[0], "rx_packets": v[1], "tx_bytes": v[8], "tx_packets": v[9]}
    raise LabError(f"no interface {device} in the network of process {holder_pid}")


def add_segment(lab, state, bridge):
    """A second LAN, with a bridge of that name on every host; no host has an address on it."""
    ip_batch(lab.netns("lan"), [f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0",
                                f"link set {bridge} up"])
    for where in state["hosts"]:
        plug(lab, where, f"{bridge}-up", bridge, f"{where}-{bridge}")
        ip_batch(lab.netns(where), [
            f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
            f"link set {bridge}-up master {bridge} up", f"link set {bridge} up"])
