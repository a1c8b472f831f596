# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpm validate: a prerequisite that is missing is found by its code, and nothing else is; a lab in
which all is well has no finding at all. Each test breaks one thing and mends it again."""

import contextlib
import json
import os
import re

import pytest

from lab import host, lpmd, net, proc, san
from support import (SLOW, assert_clean, await_copying, await_end, begin, home, nothing_changes,
                     other)

GUEST = {"mem": 128, "disks": 2, "append": "ledger.mem=16M ledger.dirty=0"}
LIMIT_MS = 3000


def validate(lab, partition, *options):
    """The report of moving it to the other host, checked for its form."""
    source = next(w for w, _ in lab.places(partition))
    code, report = lab.lpm(source, "validate", partition, "--to", other(source), *options)
    assert "checks" in report, report
    findings = [f for check in report["checks"] for f in check["findings"]]
    errors = sum(f["severity"] == "error" for f in findings)
    assert all(f["cause"] and f["remedy"] for f in findings), findings
    assert (report["errors"], report["warnings"]) == (errors, len(findings) - errors)
    assert code == (2 if errors else 1 if findings else 0)
    assert report["verdict"] == ("not-possible" if errors else "may-be-possible")
    return report


def codes(report):
    return sorted(f["code"] for check in report["checks"] for f in check["findings"])


def cause(report, code):
    return next(f["cause"] for check in report["checks"] for f in check["findings"]
                if f["code"] == code)


def verdict(report, check):
    return next(c["verdict"] for c in report["checks"] if c["id"] == check)


# ---- the clean case ----

def test_clean(lab, tiny):
    with nothing_changes(lab):
        report = validate(lab, tiny)
        assert codes(report) == [] and report["took_ms"] < LIMIT_MS
    assert {c["verdict"] for c in report["checks"]} == {"pass", "not-applicable"}
    assert {c["id"] for c in report["checks"] if c["verdict"] == "pass"} >= {
        "trust", "versions", "mover", "disks", "reservations", "files", "networks", "devices",
        "consoles", "memory", "processors", "processor", "machine", "names", "macs", "state",
        "jobs", "power", "clocks", "limits"}
    assert [a["kind"] for a in report["adapters"]] == ["disk", "disk", "network"]


def test_for_people(lab, tiny):
    done = proc.run(lab.enter("alpha", lab.program("lpm"), "validate", tiny, "--to", "beta"),
                    check=False)
    assert done.returncode == 0
    assert done.stdout.endswith(f"Moving {tiny} to beta may be possible.\n")
    assert re.search(r"^pass +R2\.3 +The target sees the same disks$", done.stdout, re.M)
    assert re.search(r"^vda +disk +iqn\S+ +iqn\S+$", done.stdout, re.M)


def test_all_hosts(lab, tiny):
    code, document = lab.lpm("alpha", "validate", tiny, "--all-hosts")
    assert code == 0 and [v["target"] for v in document["validations"]] == ["beta"]


def test_what_is_not_there(lab, tiny):
    assert lab.lpm("alpha", "validate", "nosuch", "--to", "beta")[1]["error"]["code"] == "LPM-1003"
    assert lab.lpm("alpha", "validate", tiny, "--to", "nosuch")[1]["error"]["code"] == "LPM-2001"
    assert lab.lpm("alpha", "validate", tiny)[1]["error"]["code"] == "LPM-1009"


def test_other_host_does_not_answer(lab, tiny):
    lpmd.stop(lab.lab, lab.state, "beta")
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-2002"]
        assert verdict(report, "disks") == "not-checked" and verdict(report, "state") == "pass"
    finally:
        lpmd.start(lab.lab, lab.state, "beta")


# ---- disks ----

def lun_of(lab, partition, index=0):
    return lab.state["guests"][partition]["luns"][index]


def test_swapped_lun(lab, tiny):
    """Same portal, same target, same LUN number, same size: another disk."""
    san.begin_impostor(lab.lab, lab.state, "beta", lun_of(lab, tiny))
    try:
        report = validate(lab, tiny)
        # The second LUN is not there at all.
        assert codes(report) == ["LPM-6001", "LPM-6002"]
        assert "OTHER" in cause(report, "LPM-6001") and "beta" in cause(report, "LPM-6001")
    finally:
        san.end_impostor(lab.lab, lab.state)
    assert codes(validate(lab, tiny)) == []


def test_disk_out_of_reach(lab, tiny):
    net.ip("link", "set", "san0", "down", netns=lab.lab.netns("beta"))
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6002", "LPM-6002"]
        assert report["took_ms"] < LIMIT_MS
    finally:
        net.ip("link", "set", "san0", "up", netns=lab.lab.netns("beta"))


@contextlib.contextmanager
def attached_file(lab, partition, path, *options):
    lab.virsh("alpha", "attach-disk", partition, path, "vdx", *options)
    try:
        yield
    finally:
        lab.virsh("alpha", "detach-disk", partition, "vdx")
        proc.wait_until("the disk to be gone",
                        lambda: "vdx" not in lab.virsh("alpha", "domblklist", partition), 20)


@pytest.fixture
def image(lab):
    """A file that both hosts see under one name, on a file system that libvirt takes for local."""
    path = os.path.join(lab.lab.var_dir, "image.raw")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    yield path
    os.unlink(path)


def test_image_on_a_local_file_system(lab, tiny, image):
    with attached_file(lab, tiny, image, "--cache", "none"):
        assert codes(validate(lab, tiny)) == ["LPM-6003"]
    assert not [n for n in os.listdir(lab.lab.var_dir) if n.startswith(".lpm-")]


def test_cache_mode(lab, tiny, image):
    """On top of the place of the file, which the lab cannot offer otherwise."""
    with attached_file(lab, tiny, image, "--cache", "writeback"):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6003", "LPM-6006"]
        assert "writeback" in cause(report, "LPM-6006")


def private(lab, where, name, content=None):
    """A file in a folder that each host has for itself; written there if content is given."""
    path = f"/var/lib/libvirt/{name}"
    if content is not None:
        with open(host.root(lab.state, where) + path, "wb") as f:
            f.write(content)
    return path


def test_medium(lab, tiny):
    path = private(lab, "alpha", "seed.iso", b"seed" * 4096)
    with attached_file(lab, tiny, path, "--mode", "readonly"):
        assert codes(validate(lab, tiny)) == ["LPM-6007"]
        private(lab, "beta", "seed.iso", b"Seed" * 4096)
        assert codes(validate(lab, tiny)) == ["LPM-6008"]
        private(lab, "beta", "seed.iso", b"seed" * 4096)
        assert codes(validate(lab, tiny)) == []


def serve(lab, where, address, path):
    """An NBD server on a host that has the address, until the process that is returned ends."""
    net.ip("addr", "add", f"{address}/32", "dev", "lo", netns=lab.lab.netns(where))
    return host.daemon_in(lab.lab, lab.state, where,
                          ["qemu-nbd", "-t", "--shared=0", "-f", "raw", "-x", "vol", "-b", address,
                           path], os.path.join(lab.lab.var_dir, "nbd.log"))


@contextlib.contextmanager
def nbd_disk(lab, partition, contents):
    """A disk that does not say who it is: an export that each host finds under one address, behind
    which each of them has its own content."""
    address, servers = "10.99.1.1", []
    try:
        for where, content in contents.items():
            path = private(lab, where, "export.raw", content)
            servers.append((where, serve(lab, where, address, path)))
        proc.wait_until("the servers", lambda: all(
            proc.run(lab.enter(w, "qemu-img", "info", f"nbd://{address}/vol"), check=False)
            .returncode == 0 for w in contents), 20)
        with device(lab, partition,
                    "<disk type='network' device='disk'><driver name='qemu' cache='none'/>"
                    f"<source protocol='nbd' name='vol'><host name='{address}' port='10809'/>"
                    "</source><target dev='vdn' bus='virtio'/></disk>", "vdn"):
            yield
    finally:
        for where, server in servers:
            proc.end(server)
            net.ip("addr", "del", f"{address}/32", "dev", "lo", netns=lab.lab.netns(where))


def some_disk(seed, size=8 << 20):
    """Content without two equal blocks."""
    return b"".join(seed + n.to_bytes(4, "big") + bytes(4088) for n in range(size >> 12))


@pytest.mark.parametrize("there, found", [
    (some_disk(b"same"), []),
    # A partition that runs writes a block now and then.
    (some_disk(b"same")[:-4096] + bytes(4096), []),
    (some_disk(b"none"), ["LPM-6001"]),
    (some_disk(b"same", 4 << 20), ["LPM-6001"]),
], ids=["same", "written", "other", "smaller"])
def test_export_that_does_not_say_who_it_is(lab, tiny, there, found):
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same"), "beta": there}):
        assert codes(validate(lab, tiny)) == found


def test_exports_that_are_empty(lab, tiny):
    """Two empty disks look alike: that proves nothing, and is said."""
    with nbd_disk(lab, tiny, {"alpha": bytes(8 << 20), "beta": bytes(8 << 20)}):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6004"] and report["verdict"] == "may-be-possible"


def test_no_such_export(lab, tiny):
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same")}):
        assert codes(validate(lab, tiny)) == ["LPM-6002"]


def test_layer_below_an_image(lab, tiny, image):
    """An image that both hosts see over one that only the source has."""
    base = private(lab, "alpha", "base.raw", bytes(1 << 20))
    os.unlink(image)
    proc.run(lab.enter("alpha", "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw",
                       image))
    with attached_file(lab, tiny, image, "--cache", "none", "--subdriver", "qcow2"):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6003", "LPM-6007"]
        assert base in cause(report, "LPM-6007")


@pytest.mark.parametrize("kind, found", [(1, ["LPM-6005"]), (3, ["LPM-6005"]), (5, []), (8, [])])
def test_reservation(lab, tiny, kind, found):
    """On the second LUN, which the guest does not use."""
    sto = lab.state["san"]

    def reserve(number):
        proc.run(lab.enter("beta", lab.program("lab-reserve"), f"{sto['address']}:{sto['port']}",
                           sto["iqn"], str(lun_of(lab, tiny, 1)), str(number)))
    reserve(kind)
    try:
        assert codes(validate(lab, tiny)) == found
    finally:
        reserve(0)


# ---- networks ----

SEGMENT = "br1"


@pytest.fixture(scope="module")
def segment(lab):
    net.add_segment(lab.lab, lab.state, SEGMENT)
    return SEGMENT


@contextlib.contextmanager
def adapter(lab, partition, bridge, mac="52:54:00:aa:00:01"):
    lab.virsh("alpha", "attach-interface", partition, "bridge", bridge, "--mac", mac, "--model",
              "virtio", "--live")
    try:
        yield
    finally:
        lab.virsh("alpha", "detach-interface", partition, "bridge", "--mac", mac, "--live")
        proc.wait_until("the adapter to be gone",
                        lambda: mac not in lab.virsh("alpha", "domiflist", partition), 20)


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
        assert codes(validate(lab, "office")) == ["LPM-3002", "LPM-6010"]
        network(lab, "beta", "bridge")
        assert codes(validate(lab, "office")) == ["LPM-3002"]
        lab.virsh("beta", "net-undefine", "office")
        network(lab, "beta", "nat")
        assert codes(validate(lab, "office")) == ["LPM-3002", "LPM-6013"]
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


# ---- names and addresses ----

def definition(lab, partition, *changes):
    """Path of its definition with parts replaced: (pattern, text) pairs."""
    xml = lab.virsh("alpha", "dumpxml", partition, "--inactive", "--security-info")
    for pattern, text in changes:
        xml, count = re.subn(pattern, text, xml, flags=re.S)
        assert count, f"nothing in the definition is like {pattern}"
    path = os.path.join(lab.lab.var_dir, "variant.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(xml)
    return path


ANOTHER_UUID = (r"<uuid>.*?</uuid>", "<uuid>0c4b3f4e-4cf5-4b2c-8a41-0f2f1f0e9a11</uuid>")
ANOTHER_MAC = (r"<mac address='.*?'/>", "<mac address='52:54:00:bb:00:02'/>")


@contextlib.contextmanager
def defined(lab, where, name, path):
    lab.virsh(where, "define", path)
    try:
        yield name
    finally:
        lab.virsh(where, "undefine", name)


def test_inactive_namesake(lab, tiny):
    with defined(lab, "beta", tiny, definition(lab, tiny, ANOTHER_UUID)):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-3003"] and "inactive" in cause(report, "LPM-3003")


def test_inactive_definition_of_the_same_partition(lab, tiny):
    """What libvirt replaces without a word."""
    with defined(lab, "beta", tiny, definition(lab, tiny)):
        assert codes(validate(lab, tiny)) == ["LPM-3003"]


def test_uuid_in_use(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>elsewhere</name>"))
    with defined(lab, "beta", "elsewhere", path):
        assert codes(validate(lab, tiny)) == ["LPM-3003"]


def test_mac_in_use(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>elsewhere</name>"), ANOTHER_UUID)
    with defined(lab, "beta", "elsewhere", path):
        assert codes(validate(lab, tiny)) == ["LPM-6015"]


# ---- what cannot be started in the lab: a definition's findings, beside that it does not run ----

HUGE = "<memoryBacking><hugepages/></memoryBacking><vcpu"
DISPLAY = "<graphics type='vnc' port='-1' listen='10.99.99.99'/></devices>"
OFF = [
    ("memory", [(r"<memory unit='KiB'>\d+<", "<memory unit='TiB'>2<"),
                (r"<currentMemory unit='KiB'>\d+<", "<currentMemory unit='TiB'>2<")], "LPM-6030"),
    ("hugepages", [("<vcpu", HUGE)], "LPM-6031"),
    ("display", [("</devices>", DISPLAY)], "LPM-6041"),
    ("console", [("<serial type='pty'>",
                  "<serial type='file'><source path='/var/lib/libvirt/only-alpha/log'/>")],
     "LPM-6042"),
    ("hostdev", [("</devices>", "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                  "<address domain='0x0' bus='0x6' slot='0x2' function='0x0'/></source></hostdev>"
                  "</devices>")], "LPM-6040"),
    ("folder", [("</devices>", "<filesystem type='mount' accessmode='passthrough'>"
                 "<source dir='/srv'/><target dir='srv'/></filesystem></devices>")], "LPM-6040"),
    ("user-network", [(r"<interface type='bridge'>(.*?)<source bridge='br0'/>",
                       r"<interface type='user'>\1")], "LPM-6013"),
]


@pytest.mark.parametrize("name, changes, code", OFF, ids=[o[0] for o in OFF])
def test_definition(lab, tiny, name, changes, code):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", f"<name>{name}</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, *changes)
    if name == "console":
        os.makedirs(host.root(lab.state, "alpha") + "/var/lib/libvirt/only-alpha", exist_ok=True)
    with defined(lab, "alpha", name, path):
        assert codes(validate(lab, name)) == sorted(["LPM-3002", code])


# ---- devices and state of a running one ----

@contextlib.contextmanager
def device(lab, partition, xml, mark):
    """`mark`: what stands in the partition's description as long as the device is there."""
    path = os.path.join(lab.lab.var_dir, "device.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(xml)
    lab.virsh("alpha", "attach-device", partition, path, "--live")
    try:
        yield
    finally:
        lab.virsh("alpha", "detach-device", partition, path, "--live")
        proc.wait_until("the device to be gone",
                        lambda: mark not in lab.virsh("alpha", "dumpxml", partition), 20)


def test_shared_memory(lab, tiny):
    with device(lab, tiny, "<shmem name='lpmtest'><model type='ivshmem-plain'/>"
                           "<size unit='M'>4</size></shmem>", "lpmtest"):
        assert codes(validate(lab, tiny)) == ["LPM-6040"]


def test_silent_agent(lab):
    """A warning: it is not needed, but somebody meant it to be there."""
    lab.add_guest("agent", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    lab.virsh("alpha", "define", definition(
        lab, "agent", ("</devices>", "<channel type='unix'><target type='virtio' "
                       "name='org.qemu.guest_agent.0'/></channel></devices>")))
    lab.virsh("alpha", "start", "agent")
    try:
        assert codes(validate(lab, "agent")) == ["LPM-6100"]
    finally:
        lab.remove_guest("agent")


def test_paused(lab, tiny):
    lab.virsh("alpha", "suspend", tiny)
    try:
        assert codes(validate(lab, tiny)) == ["LPM-3002"]
    finally:
        lab.virsh("alpha", "resume", tiny)


def test_snapshot(lab, tiny):
    """One that libvirt is only told of: its metadata is what cannot be moved."""
    xml = lab.virsh("alpha", "dumpxml", tiny)
    path = os.path.join(lab.lab.var_dir, "snapshot.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write("<domainsnapshot><name>one</name><state>disk-snapshot</state><creationTime>1"
                "</creationTime><memory snapshot='no'/><disks><disk name='vda' snapshot='external' "
                "type='file'><source file='/tmp/overlay'/></disk><disk name='vdb' snapshot='no'/>"
                f"</disks>{xml}</domainsnapshot>")
    lab.virsh("alpha", "snapshot-create", tiny, path, "--redefine")
    try:
        assert codes(validate(lab, tiny)) == ["LPM-6080"]
    finally:
        lab.virsh("alpha", "snapshot-delete", tiny, "one", "--metadata")


def test_block_job(lab, tiny):
    copy = os.path.join(lab.lab.var_dir, "copy.raw")
    lab.virsh("alpha", "blockcopy", tiny, "vda", "--dest", copy, "--format", "raw",
              "--transient-job", "--bandwidth", "1")
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-3005"] and "vda" in cause(report, "LPM-3005")
    finally:
        lab.virsh("alpha", "blockjob", tiny, "vda", "--abort")


def test_already_migrating(lab):
    lab.add_guest("mover", mem=128, append="ledger.mem=16M ledger.dirty=0")
    source, _, identity = begin(lab, "mover", *SLOW)
    try:
        await_copying(lab, source, identity)
        code, report = lab.lpm(source, "validate", "mover", "--to", "beta")
        # Its own copy on the target, which is there already, is no namesake.
        assert (code, codes(report)) == (2, ["LPM-1005"])
        # Another partition may be moved meanwhile, unless that is one too many.
        lab.add_guest("second", mem=128, append="ledger.mem=16M ledger.dirty=0")
        try:
            assert codes(validate(lab, "second")) == []
        finally:
            lab.remove_guest("second")
    finally:
        lab.lpm(source, "stop", "mover")
        await_end(lab, source, identity)
    assert_clean(lab)
    lab.remove_guest("mover")


def test_as_many_as_the_host_may_carry(lab, tiny):
    with configured(lab, "beta", "[migration]\nmax_migrations=1\n"):
        lab.add_guest("first", mem=128, append="ledger.mem=16M ledger.dirty=0")
        source, _, identity = begin(lab, "first", *SLOW)
        try:
            await_copying(lab, source, identity)
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-1008"] and "beta" in cause(report, "LPM-1008")
        finally:
            lab.lpm(source, "stop", "first")
            await_end(lab, source, identity)
        assert_clean(lab)
        lab.remove_guest("first")


# ---- the hosts ----

@contextlib.contextmanager
def configured(lab, where, text):
    """lpmd of a host runs with more in its configuration."""
    folder = os.path.join(lab.lab.host_dir(where), "etc-lpm", "conf.d")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "test.conf")

    def restart():
        lpmd.stop(lab.lab, lab.state, where)
        lpmd.start(lab.lab, lab.state, where)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    restart()
    try:
        yield
    finally:
        os.unlink(path)
        restart()


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


@contextlib.contextmanager
def bound(lab, where, source, target):
    """A file or folder of a host lies under another name there too."""
    proc.run(lab.enter(where, "mount", "--bind", source, target))
    try:
        yield
    finally:
        proc.run(lab.enter(where, "umount", target))


def test_other_kernel(lab, tiny, image):
    xml = lab.virsh("alpha", "dumpxml", tiny)
    kernel = re.search(r"<kernel>(.*?)</kernel>", xml)[1]
    with bound(lab, "beta", image, kernel):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6009"] and report["verdict"] == "may-be-possible"


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


def test_battery(lab, tiny):
    battery = os.path.join(lab.lab.var_dir, "power", "BAT0")
    os.makedirs(battery)
    for name, text in (("type", "Battery"), ("status", "Discharging")):
        with open(os.path.join(battery, name), "w", encoding="ascii") as f:
            f.write(text + "\n")
    supplies = "/sys/class/power_supply"
    with bound(lab, "beta", os.path.dirname(battery), supplies):
        assert codes(validate(lab, tiny)) == ["LPM-6070"]
    with bound(lab, "alpha", os.path.dirname(battery), supplies):
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


# ---- many at once ----

def test_many_at_once(lab, tiny, segment, image):
    """Twelve broken prerequisites are all in one report."""
    lan, beta = lab.lab.netns("lan"), lab.lab.netns("beta")
    seed = private(lab, "alpha", "many.iso", b"1" * 4096)
    changes = [(f"<name>{tiny}</name>", "<name>many</name>"), ANOTHER_UUID,
               (r"<memory unit='KiB'>\d+<", "<memory unit='TiB'>2<"),
               (r"<currentMemory unit='KiB'>\d+<", "<currentMemory unit='TiB'>2<"),
               ("</devices>",
                "<filesystem type='mount' accessmode='passthrough'><source dir='/srv'/>"
                "<target dir='srv'/></filesystem>"
                f"<disk type='file' device='disk'><driver name='qemu' cache='writeback'/>"
                f"<source file='{image}'/><target dev='vdy' bus='virtio'/></disk>"
                f"<disk type='file' device='disk'><driver name='qemu'/><source file='{seed}'/>"
                "<readonly/><target dev='vdz' bus='virtio'/></disk>"
                "<interface type='bridge'><mac address='52:54:00:cc:00:01'/>"
                "<source bridge='br8'/></interface>"
                "<interface type='bridge'><mac address='52:54:00:cc:00:02'/>"
                f"<source bridge='{segment}'/></interface>"
                "<interface type='user'><mac address='52:54:00:cc:00:03'/></interface>"
                "<graphics type='vnc' port='-1' listen='10.99.99.99'/></devices>")]
    broken = definition(lab, tiny, *changes)
    net.ip("link", "add", "br8", "type", "bridge", netns=lab.lab.netns("alpha"))
    net.ip("link", "set", f"beta-{segment}", "nomaster", netns=lan)
    with contextlib.ExitStack() as stack:
        stack.callback(net.ip, "link", "set", f"beta-{segment}", "master", segment, netns=lan)
        stack.callback(net.ip, "link", "del", "br8", netns=lab.lab.netns("alpha"))
        net.ip("link", "set", "san0", "down", netns=beta)
        stack.callback(net.ip, "link", "set", "san0", "up", netns=beta)
        stack.enter_context(defined(lab, "alpha", "many", broken))
        namesake = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>many</name>"),
                              (r"<uuid>.*?</uuid>", ""))
        stack.enter_context(defined(lab, "beta", "many", namesake))
        stack.enter_context(configured(lab, "beta", "[mover]\npath=/nonexistent/lpm-mover\n"))
        report = validate(lab, "many")
    assert set(codes(report)) == {
        "LPM-3002", "LPM-3003", "LPM-4002", "LPM-6002", "LPM-6003", "LPM-6006", "LPM-6007",
        "LPM-6010", "LPM-6011", "LPM-6013", "LPM-6030", "LPM-6040", "LPM-6041"}
    assert report["took_ms"] < LIMIT_MS


def test_clean_again(lab, tiny):
    """Nothing of all this is left over."""
    assert home(lab, tiny) == "alpha"
    report = validate(lab, tiny)
    assert codes(report) == [], json.dumps(report["checks"], indent=1)
    assert_clean(lab)
