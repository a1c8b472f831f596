# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpm validate: networks between the hosts, and what the hosts are (see test_validate.py)."""

import contextlib
import glob
import os
import re
import shutil

import pytest

from lab import host, lpmd, net, ovs, proc
from support import home
from validating import (ANOTHER_MAC, ANOTHER_UUID, LIMIT_MS, SEGMENT, TWO_DISKS, adapter, bound,
                        cause, codes, configured, defined, definition, device, on_battery, validate)

GUEST = TWO_DISKS


# ---- networks ----

def test_second_network(lab, tiny, segment):
    with adapter(lab, tiny, segment):
        assert codes(validate(lab, tiny)) == []


def test_same_bridge_on_another_segment(lab, tiny, segment):
    lan = lab.lab.netns("lan")
    net.ip("link", "add", "br1b", "type", "bridge", netns=lan)
    net.ip("link", "set", "br1b", "up", netns=lan)
    net.ip("link", "set", f"beta-{segment}", "master", "br1b", netns=lan)
    try:
        with adapter(lab, tiny, segment):
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-6011"] and "aa:00:01" in cause(report, "LPM-6011")
            assert report["took_ms"] < LIMIT_MS
    finally:
        net.ip("link", "set", f"beta-{segment}", "master", segment, netns=lan)
        net.ip("link", "del", "br1b", netns=lan)


def test_no_such_bridge(lab, tiny, segment):
    net.ip("link", "set", segment, "name", "br9", netns=lab.lab.netns("beta"))
    try:
        with adapter(lab, tiny, segment):
            assert codes(validate(lab, tiny)) == ["LPM-6010"]
    finally:
        net.ip("link", "set", "br9", "name", segment, netns=lab.lab.netns("beta"))


def network(lab, where, forward):
    path = os.path.join(lab.lab.var_dir, "network.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"<network><name>office</name><forward mode='{forward}'/>"
                + (f"<bridge name='{SEGMENT}'/>" if forward == "bridge" else
                   "<bridge name='virbr7'/><ip address='192.168.77.1' netmask='255.255.255.0'/>")
                + "</network>")
    lab.virsh(where, "net-define", path)


def test_network_of_libvirt(lab, tiny, segment):
    """The name is looked up on each host: what counts is the bridge behind it."""
    assert segment == SEGMENT
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>office</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, (r"<interface type='bridge'>(.*?)<source bridge='br0'/>",
                                    r"<interface type='network'>\1<source network='office'/>"))
    network(lab, "alpha", "bridge")
    with defined(lab, "alpha", "office", path):
        assert codes(validate(lab, "office")) == ["LPM-6010"]
        network(lab, "beta", "bridge")
        assert codes(validate(lab, "office")) == []
        lab.virsh("beta", "net-undefine", "office")
        network(lab, "beta", "nat")
        assert codes(validate(lab, "office")) == ["LPM-6013"]
    for where in ("alpha", "beta"):
        lab.virsh(where, "net-undefine", "office")


@pytest.mark.parametrize("where, device", [("lan", f"beta-{SEGMENT}"), ("beta", SEGMENT)])
def test_mtu_hole(lab, tiny, segment, where, device):
    net.ip("link", "set", device, "mtu", "1280", netns=lab.lab.netns(where))
    try:
        with adapter(lab, tiny, segment):
            assert codes(validate(lab, tiny)) == ["LPM-6012"]
    finally:
        net.ip("link", "set", device, "mtu", "1500", netns=lab.lab.netns(where))


# ---- Open vSwitch ----

OVS = "ovs0"
VLAN_MAC = "52:54:00:aa:00:03"


@pytest.fixture(scope="module")
def vsctl(lab):
    """Open vSwitch on both hosts, with a bridge; calls ovs-vsctl of one."""
    for where in lab.state["hosts"]:
        ovs.start(lab.lab, lab.state, where)
    ovs.add_bridge(lab.lab, lab.state, OVS)
    return lambda where, *args: ovs.vsctl(lab.lab, lab.state, where, *args)


def tags(*numbers):
    trunk = " trunk='yes'" if len(numbers) > 1 else ""
    return f"<vlan{trunk}>" + "".join(f"<tag id='{n}'/>" for n in numbers) + "</vlan>"


def ovs_adapter(*numbers, bridge=OVS):
    return (f"<interface type='bridge'><mac address='{VLAN_MAC}'/><source bridge='{bridge}'/>"
            + (tags(*numbers) if numbers else "") + "<virtualport type='openvswitch'/>"
            "<model type='virtio'/></interface>")


def ports(vsctl):
    return [p for where in ("alpha", "beta") for p in vsctl(where, "list-ports", OVS).split()]


@pytest.mark.parametrize("numbers", [(), (42, 43)])
def test_vlans(lab, tiny, vsctl, numbers):
    """Frames go through a port on the VLAN, as the partition's do, and no port is left."""
    with device(lab, tiny, ovs_adapter(*numbers), VLAN_MAC):
        before = ports(vsctl)
        assert codes(validate(lab, tiny)) == []
        assert ports(vsctl) == before


def test_uplink_without_the_vlan(lab, tiny, vsctl):
    vsctl("beta", "set", "port", f"{OVS}-up", "trunks=42")
    try:
        with device(lab, tiny, ovs_adapter(42), VLAN_MAC):
            assert codes(validate(lab, tiny)) == []
        with device(lab, tiny, ovs_adapter(42, 43), VLAN_MAC):
            before = ports(vsctl)
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-6011"] and "VLAN 43" in cause(report, "LPM-6011")
            assert ports(vsctl) == before
    finally:
        vsctl("beta", "clear", "port", f"{OVS}-up", "trunks")


def test_mtu_hole_on_a_vlan(lab, tiny, vsctl):
    net.ip("link", "set", f"beta-{OVS}", "mtu", "1280", netns=lab.lab.netns("lan"))
    try:
        with device(lab, tiny, ovs_adapter(42), VLAN_MAC):
            assert codes(validate(lab, tiny)) == ["LPM-6012"]
    finally:
        net.ip("link", "set", f"beta-{OVS}", "mtu", "1500", netns=lab.lab.netns("lan"))


def test_no_such_bridge_of_open_vswitch(lab, tiny, vsctl):
    """One of the kernel's of that name is none."""
    beta = lab.lab.netns("beta")
    vsctl("alpha", "add-br", "ovs1", "--", "set", "bridge", "ovs1", "datapath_type=netdev")
    net.ip("link", "add", "ovs1", "type", "bridge", netns=beta)
    try:
        with device(lab, tiny, ovs_adapter(42, bridge="ovs1"), VLAN_MAC):
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-6010"]
            assert "no Open vSwitch bridge 'ovs1'" in cause(report, "LPM-6010")
    finally:
        net.ip("link", "del", "ovs1", netns=beta)
        vsctl("alpha", "del-br", "ovs1")


def test_bridge_that_flows_rule(lab, tiny, vsctl):
    """Where only a controller's flows let frames pass, a probe that does not arrive proves nothing."""
    vsctl("beta", "set-fail-mode", OVS, "secure")
    try:
        with device(lab, tiny, ovs_adapter(42), VLAN_MAC):
            assert codes(validate(lab, tiny)) == ["LPM-6014"]
    finally:
        vsctl("beta", "del-fail-mode", OVS)


def test_mac_of_another_machine_on_a_vlan(lab, tiny, vsctl):
    beta = lab.lab.netns("beta")
    net.ip("link", "add", "twin", "type", "veth", "peer", "name", "twin-port", netns=beta)
    for name in ("twin", "twin-port"):
        net.ip("link", "set", name, "up", netns=beta)
    try:
        with device(lab, tiny, ovs_adapter(42), VLAN_MAC):
            for vlan, found in ((41, []), (42, ["LPM-6113"])):
                vsctl("beta", "--if-exists", "del-port", "twin-port", "--", "add-port", OVS,
                      "twin-port", f"tag={vlan}")
                proc.run(["ip", "netns", "exec", beta, "/usr/bin/python3", "-c", SEND, "twin",
                          VLAN_MAC])
                report = validate(lab, tiny)
                assert codes(report) == found
            assert "of beta through twin-port" in cause(report, "LPM-6113")
    finally:
        vsctl("beta", "--if-exists", "del-port", "twin-port")
        net.ip("link", "del", "twin", netns=beta)
        for where in ("alpha", "beta"):
            proc.run(lab.enter(where, "ovs-appctl", "fdb/flush", OVS))


def test_port_that_a_crash_has_left(lab, vsctl):
    """It goes when lpmd starts, and no other does."""
    vsctl("alpha", "add-port", OVS, "lpm-left", "external_ids:openlpm=probe", "--", "set",
          "interface", "lpm-left", "type=internal", "--", "add-port", OVS, "lpm-other", "--", "set",
          "interface", "lpm-other", "type=internal")
    with configured(lab, "alpha", ""):
        left = vsctl("alpha", "list-ports", OVS).split()
    vsctl("alpha", "del-port", OVS, "lpm-other")
    assert "lpm-other" in left and "lpm-left" not in left


def test_migration_of_an_adapter_on_a_vlan(lab, vsctl):
    lab.add_guest("vlan", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    lab.virsh("alpha", "define", definition(lab, "vlan", ("</devices>", ovs_adapter(42) +
                                                          "</devices>")))
    lab.virsh("alpha", "start", "vlan")
    try:
        code, document = lab.lpm("alpha", "migrate", "vlan", "--to", "beta")
        assert (code, document["state"], document["findings"]) == (0, "done", []), document
        assert home(lab, "vlan") == "beta"
        tap = re.search(VLAN_MAC + r".*?<target dev='(\S+)'", lab.virsh("beta", "dumpxml", "vlan"),
                        re.S)[1]
        assert vsctl("beta", "get", "port", tap, "tag").strip() == "42"
        assert tap not in vsctl("alpha", "list-ports", OVS).split()
    finally:
        lab.remove_guest("vlan")


# ---- addresses ----

SEND = ("import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); "
        "s.bind((sys.argv[1], 0)); mac = bytes.fromhex(sys.argv[2].replace(':', '')); "
        "s.send(b'\\xff' * 6 + mac + b'\\x88\\xb6' + bytes(46))")


@contextlib.contextmanager
def another_machine(lab, netns, bridge, mac):
    """Something on a bridge in that namespace sends with the address."""
    net.ip("link", "add", "twin", "type", "veth", "peer", "name", "twin-port", netns=netns)
    net.ip("link", "set", "twin-port", "master", bridge, "up", netns=netns)
    net.ip("link", "set", "twin", "up", netns=netns)
    proc.run(["ip", "netns", "exec", netns, "/usr/bin/python3", "-c", SEND, "twin", mac])
    try:
        yield
    finally:
        net.ip("link", "del", "twin", netns=netns)


@pytest.mark.parametrize("where, said", [("beta", "of beta through twin-port"),
                                         ("lan", "of alpha through br1-up")])
def test_mac_of_another_machine(lab, tiny, segment, where, said):
    """On the target's own bridge, and anywhere else on that Ethernet."""
    mac = "52:54:00:aa:00:01"
    with adapter(lab, tiny, segment, mac):
        assert codes(validate(lab, tiny)) == []
        with another_machine(lab, lab.lab.netns(where), segment, mac):
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-6113"] and said in cause(report, "LPM-6113")
    flush(lab, segment)


def flush(lab, bridge):
    """What the bridges have learnt is not for other tests."""
    for where in ("alpha", "beta", "lan"):
        net.ip("link", "set", bridge, "type", "bridge", "fdb_flush", netns=lab.lab.netns(where))


# ---- the hosts ----

def test_mover_cannot_start(lab, tiny):
    with configured(lab, "beta", "[mover]\npath=/nonexistent/lpm-mover\n"):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-4002"] and "beta" in cause(report, "LPM-4002")


def test_data_port_closed(lab, tiny):
    rule = ["INPUT", "-p", "tcp", "--dport", "16521", "-j", "DROP"]
    proc.run(lab.enter("beta", "iptables", "-I", *rule))
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6090"] and report["took_ms"] < LIMIT_MS
    finally:
        proc.run(lab.enter("beta", "iptables", "-D", *rule))


def test_socket_folders_differ(lab, tiny):
    with configured(lab, "beta", "[host]\nsocket_dir=/run/libvirt/elsewhere\n"):
        assert codes(validate(lab, tiny)) == ["LPM-1001"]


def restart_libvirt(lab, where):
    host.stop_libvirt(lab.lab, lab.state, where)
    host.begin_libvirtd(lab.lab, lab.state, where)
    host.await_libvirt(lab.lab, lab.state, where)


@contextlib.contextmanager
def other_qemu(lab, where, old, new):
    """On that host QEMU does not know a word: its program with the word misspelt, and libvirt's
    memory of it in a folder of its own."""
    assert len(old) == len(new)
    emulator = "/usr/bin/qemu-system-x86_64"
    path = os.path.join(lab.lab.var_dir, "qemu")
    cache = os.path.join(lab.lab.var_dir, "qemu-cache")
    os.makedirs(cache, exist_ok=True)
    with open(emulator, "rb") as f:
        program = f.read()
    assert old in program
    with open(path, "wb") as f:
        f.write(program.replace(old, new))
    os.chmod(path, 0o755)
    with bound(lab, where, path, emulator), bound(lab, where, cache, "/var/cache/libvirt"):
        restart_libvirt(lab, where)
        yield
    restart_libvirt(lab, where)


def test_machine_type_unknown(lab, tiny):
    machine = re.search(r"machine='(.*?)'", lab.virsh("alpha", "dumpxml", tiny))[1].encode()
    with other_qemu(lab, "beta", machine + b"-machine", machine[:-1] + b"x-machine"):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6022"] and machine.decode() in cause(report, "LPM-6022")


def test_processor_lacks_a_feature(lab, tiny):
    with other_qemu(lab, "beta", b"\0cx16\0", b"\0cx1q\0"):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6020"] and "cx16" in cause(report, "LPM-6020")


def test_way_back_of_what_is_made_anew(lab, tiny):
    """The target has a feature that the source has not, and which a partition that is started there
    with its host's processor would get: libvirt of the source says that it could not have it."""
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>anew</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, (r"<cpu .*?</cpu>", "<cpu mode='host-model'/>"))
    with defined(lab, "alpha", "anew", path):
        assert codes(validate(lab, "anew")) == []
        with other_qemu(lab, "alpha", b"\0cx16\0", b"\0cx1q\0"):
            report = validate(lab, "anew")
            assert codes(report) == ["LPM-6023"] and "cx16" in cause(report, "LPM-6023")


def test_microcode(lab, tiny):
    """Of a partition that would have the processor itself; it is not started. libvirt of a machine
    that only emulates has more to say of such a one, so what counts is what is added."""
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>own</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, ("<domain type='qemu'", "<domain type='kvm'"),
                      (r"<cpu .*?</cpu>", "<cpu mode='host-passthrough'/>"))
    with open("/proc/cpuinfo", encoding="ascii") as f:
        text, count = re.subn(r"(?m)^(microcode\s*:) .*", r"\1 0x4711", f.read())
    if not count:
        pytest.skip("the kernel does not tell the processor's microcode")
    if "<domain type='kvm'" not in lab.virsh("alpha", "capabilities"):
        pytest.skip("libvirt here does not know KVM, so it defines no such partition")
    cpuinfo = os.path.join(lab.lab.var_dir, "cpuinfo")
    with open(cpuinfo, "w", encoding="ascii") as f:
        f.write(text)
    with defined(lab, "alpha", "own", path):
        before = codes(validate(lab, "own"))
        assert "LPM-6021" not in before
        # What libvirt remembers is of one microcode: in a folder of its own.
        cache = os.path.join(lab.lab.var_dir, "microcode-cache")
        os.makedirs(cache)
        with bound(lab, "beta", cpuinfo, "/proc/cpuinfo"), \
                bound(lab, "beta", cache, "/var/cache/libvirt"):
            restart_libvirt(lab, "beta")
            report = validate(lab, "own")
        restart_libvirt(lab, "beta")
        assert codes(report) == sorted(before + ["LPM-6021"])
        assert str(0x4711) in cause(report, "LPM-6021")


def test_more_processors_than_the_machine_can_have(lab, tiny):
    """libvirt of the target believes that its QEMU gives such a machine one processor at most."""
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>two</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, (r"<vcpu placement='static'>1<", "<vcpu placement='static'>2<"))
    cache = os.path.join(lab.lab.var_dir, "narrow-cache")
    with defined(lab, "alpha", "two", path):
        assert codes(validate(lab, "two")) == []
        shutil.copytree(host.SHARED["/var/cache/libvirt"], cache)
        for name in glob.glob(f"{cache}/qemu/capabilities/*.xml"):
            with open(name, encoding="utf-8") as f:
                text = f.read()
            with open(name, "w", encoding="utf-8") as f:
                f.write(re.sub(r"maxCpus='\d+'", "maxCpus='1'", text))
        with bound(lab, "beta", cache, "/var/cache/libvirt"):
            restart_libvirt(lab, "beta")
            report = validate(lab, "two")
        restart_libvirt(lab, "beta")
        assert codes(report) == ["LPM-6032"]


def test_fewer_processors(lab, tiny):
    """Two processors, pinned to the second that is here; the target has the first only."""
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>two</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, (r"<vcpu placement='static'>1<",
                                    "<vcpu placement='static' cpuset='1'>2<"))
    online = os.path.join(lab.lab.var_dir, "online")
    with open(online, "w", encoding="ascii") as f:
        f.write("0\n")
    with defined(lab, "alpha", "two", path):
        assert codes(validate(lab, "two")) == []
        with bound(lab, "beta", online, "/sys/devices/system/cpu/online"):
            restart_libvirt(lab, "beta")
            report = validate(lab, "two")
            assert codes(report) == ["LPM-6033", "LPM-6034"]
            assert "processors 1" in cause(report, "LPM-6034")
    restart_libvirt(lab, "beta")


def test_tpm_cannot_be_emulated(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>tpm</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, ("</devices>", "<tpm model='tpm-tis'><backend type='emulator' "
                                    "version='2.0'/></tpm></devices>"))
    with defined(lab, "alpha", "tpm", path):
        assert codes(validate(lab, "tpm")) == []
        with bound(lab, "beta", "/dev/null", "/usr/bin/swtpm"):
            restart_libvirt(lab, "beta")
            assert codes(validate(lab, "tpm")) == ["LPM-6115"]
    restart_libvirt(lab, "beta")


def test_battery(lab, tiny):
    with on_battery(lab, "beta"):
        assert codes(validate(lab, tiny)) == ["LPM-6070"]
    with on_battery(lab, "alpha"):
        assert codes(validate(lab, tiny)) == []


@pytest.mark.parametrize("seconds", [-3, 3])
def test_clocks(lab, tiny, seconds):
    entry = lab.state["hosts"]["beta"]
    lpmd.stop(lab.lab, lab.state, "beta")
    entry["lpmd"] = host.daemon_in(
        lab.lab, lab.state, "beta",
        ["env", f"LD_PRELOAD={lab.program('shift-clock')}", f"LPM_LAB_CLOCK_S={seconds}",
         lab.program("lpmd"), "--config", "/etc/lpm/lpmd.conf", "--foreground"],
        lpmd.log_path(lab.lab, "beta"))
    lpmd.wait_ready(lab.lab, lab.state, "beta")
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6060"] and report["verdict"] == "may-be-possible"
        assert ("ahead" if seconds > 0 else "behind") in cause(report, "LPM-6060")
    finally:
        lpmd.stop(lab.lab, lab.state, "beta")
        lpmd.start(lab.lab, lab.state, "beta")
