# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpm validate: the target sees the same disks, media and kernels (see test_validate.py)."""

import contextlib
import os
import re
import subprocess
import sys

import pytest

from lab import host, net, proc, ramdisk, san
from validating import (LIMIT_MS, TWO_DISKS, attached_file, bound, cause, codes, device, private,
                        validate)

GUEST = TWO_DISKS
SERVER = "10.99.1.1"  # each host's own


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


def multipath(lab, where, states):
    """A folder as sysfs has for a multipath device of 4 MiB whose paths are in these states."""
    files = {"size": 8192, "dm/uuid": "mpath-3600140500000000000000000000000001"}
    files.update({f"slaves/sd{i}/device/state": state for i, state in enumerate(states)})
    folder = os.path.join(lab.lab.var_dir, f"multipath-{where}")
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as f:
            f.write(f"{text}\n")
    return folder


@pytest.mark.skipif(not ramdisk.available(), reason="no zram, of which the lab makes a block device")
def test_paths_that_have_failed(lab, tiny):
    """Fewer ways to the same disk are a loss of redundancy. This kernel has no device mapper: what
    the hosts see of it in sysfs is the test's."""
    disk = ramdisk.add(lab.lab, 4 << 20)
    folder = f"/sys/devices/virtual/block/{os.path.basename(disk)}"
    xml = ("<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>"
           f"<source dev='{disk}'/><target dev='vdz' bus='virtio'/></disk>")
    with bound(lab, "alpha", multipath(lab, "alpha", ["running"] * 2), folder), \
            bound(lab, "beta", multipath(lab, "beta", ["running", "offline"]), folder), \
            device(lab, tiny, xml, disk):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6110"]
        assert "2 of 2 paths" in cause(report, "LPM-6110") and "1 of 2" in cause(report, "LPM-6110")
        multipath(lab, "beta", ["running"] * 2)
        assert codes(validate(lab, tiny)) == []


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


def test_medium(lab, tiny):
    path = private(lab, "alpha", "seed.iso", b"seed" * 4096)
    with attached_file(lab, tiny, path, "--mode", "readonly"):
        assert codes(validate(lab, tiny)) == ["LPM-6007"]
        private(lab, "beta", "seed.iso", b"Seed" * 4096)
        assert codes(validate(lab, tiny)) == ["LPM-6008"]
        private(lab, "beta", "seed.iso", b"seed" * 4096)
        assert codes(validate(lab, tiny)) == []


def serve(lab, where, address, argv):
    """A server on a host that has the address, until the process that is returned ends."""
    net.ip("addr", "add", f"{address}/32", "dev", "lo", netns=lab.lab.netns(where))
    return host.daemon_in(lab.lab, lab.state, where, argv,
                          os.path.join(lab.lab.var_dir, "server.log"))


def export(lab, where):
    """The file that served_disk serves, as seen from outside the host."""
    return os.path.join(lab.lab.host_dir(where), "lib-libvirt", "export.raw")


@contextlib.contextmanager
def served_disk(lab, partition, contents, argv_of, url, source, *words):
    """A disk that does not say who it is: each host finds a server under one address, behind which
    each of them has its own content; None: that of the host before, one file under two names."""
    servers = []
    try:
        for where, content in contents.items():
            path = private(lab, where, "export.raw")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(export(lab, where))
            if content is None:
                os.link(export(lab, servers[-1][0]), export(lab, where))
            else:
                private(lab, where, "export.raw", content)
            servers.append((where, serve(lab, where, SERVER, argv_of(path))))
        proc.wait_until("the servers", lambda: all(
            proc.run(lab.enter(w, "qemu-img", "info", url), check=False).returncode == 0
            for w in contents), 20)
        with device(lab, partition,
                    "<disk type='network' device='disk'><driver name='qemu' cache='none'/>"
                    f"{source}<target dev='vdn' bus='virtio'/>{''.join(words)}</disk>", "vdn"):
            yield servers
    finally:
        for where, server in servers:
            proc.end(server)
            net.ip("addr", "del", f"{SERVER}/32", "dev", "lo", netns=lab.lab.netns(where))


def nbd_disk(lab, partition, contents):
    return served_disk(
        lab, partition, contents,
        lambda path: ["qemu-nbd", "-t", "--shared=0", "-x", "vol", "-b", SERVER, "--image-opts",
                      f"driver=raw,file.driver=file,file.locking=off,file.filename={path}"],
        f"nbd://{SERVER}/vol", "<source protocol='nbd' name='vol'>"
        f"<host name='{SERVER}' port='10809'/></source>")


def web_disk(lab, partition, contents):
    """Read by QEMU's own driver."""
    return served_disk(
        lab, partition, contents,
        lambda path: [sys.executable, os.path.join(os.path.dirname(__file__), "web.py"), SERVER,
                      "8080", path],
        f"http://{SERVER}:8080/vol", "<source protocol='http' name='vol'>"
        f"<host name='{SERVER}' port='8080'/></source>", "<readonly/>")


def some_disk(seed, size=8 << 20):
    """Content without two equal blocks."""
    return b"".join(seed + n.to_bytes(4, "big") + bytes(4088) for n in range(size >> 12))


def blocks(content):
    return [content[at:at + 4096] for at in range(0, len(content), 4096)]


@pytest.mark.parametrize("there, found", [
    (some_disk(b"same"), []),
    # A copy that the disk has gone away from since: one block in 32 is another.
    (b"".join(b if n % 32 else b[::-1] for n, b in enumerate(blocks(some_disk(b"same")))),
     ["LPM-6001"]),
    (some_disk(b"none"), ["LPM-6001"]),
    (some_disk(b"same", 4 << 20), ["LPM-6001"]),
], ids=["same", "diverged", "other", "smaller"])
def test_export_that_does_not_say_who_it_is(lab, tiny, there, found):
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same"), "beta": there}):
        assert codes(validate(lab, tiny)) == found


WRITER = """
import os, random, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY)
pool = os.urandom(1 << 20)
while True:
    for _ in range(4):
        n = random.choice((random.randrange(16), random.randrange(2048)))
        at = random.randrange(len(pool) - 4096)
        os.pwrite(fd, pool[at:at + 4096], n * 4096)
    time.sleep(0.002)
"""


@contextlib.contextmanager
def written(path):
    """One or two thousand blocks a second, half of them the first sixteen of the disk."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path])
    try:
        yield
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


def unlike(one, other):
    with open(one, "rb") as a, open(other, "rb") as b:
        return sum(x != y for x, y in zip(blocks(a.read()), blocks(b.read())))


def test_disk_that_is_written_meanwhile(lab, tiny):
    """Of one disk both hosts read what is not alike, and are not misled; a copy of it from which the
    disk goes on is found, though most of it is alike."""
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same"), "beta": None}):
        with written(export(lab, "alpha")):
            for _ in range(5):
                report = validate(lab, tiny, "--no-forecast")
                assert codes(report) == [] and report["took_ms"] < LIMIT_MS
            facts = next(c["facts"] for c in report["checks"] if c["id"] == "disks")
            assert [d for d in facts["source"]["disks"] if d.get("again", {}).get("rounds")]
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same"), "beta": some_disk(b"same")}):
        files = [export(lab, where) for where in ("alpha", "beta")]
        with written(files[0]):
            proc.wait_until("the disk to be another one", lambda: unlike(*files) > 200, 20)
            report = validate(lab, tiny, "--no-forecast")
            assert codes(report) == ["LPM-6001"] and report["took_ms"] < LIMIT_MS
            assert "stay what they are on alpha" in cause(report, "LPM-6001")


def test_exports_that_are_empty(lab, tiny):
    """Two empty disks look alike: that proves nothing, and is said."""
    with nbd_disk(lab, tiny, {"alpha": bytes(8 << 20), "beta": bytes(8 << 20)}):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6004"] and report["verdict"] == "may-be-possible"


def test_no_such_export(lab, tiny):
    with nbd_disk(lab, tiny, {"alpha": some_disk(b"same")}):
        assert codes(validate(lab, tiny)) == ["LPM-6002"]


@pytest.mark.parametrize("there, found", [
    (some_disk(b"same"), []), (some_disk(b"none"), ["LPM-6001"])], ids=["same", "other"])
def test_disk_that_qemu_reads(lab, tiny, there, found):
    with web_disk(lab, tiny, {"alpha": some_disk(b"same"), "beta": there}):
        report = validate(lab, tiny, "--no-forecast")
        assert codes(report) == found and report["took_ms"] < 2 * LIMIT_MS
    assert not readers(lab)


def readers(lab):
    """Programs of QEMU's that still look at a disk, on any of the hosts."""
    names = []
    for where in lab.state["hosts"]:
        for pid in proc.run(["ip", "netns", "pids", lab.lab.netns(where)]).split():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as f:
                names.append(f.read())
    assert any("lpmd" in n for n in names)
    return [n for n in names if "qemu-nbd" in n]


def test_disk_that_qemu_cannot_open(lab, tiny):
    """No server there; the host's QEMU says why. Then one that takes connections and says nothing:
    the look ends all the same."""
    with web_disk(lab, tiny, {"alpha": some_disk(b"same")}):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6002"]
        assert "onnect" in cause(report, "LPM-6002"), report
        net.ip("addr", "add", f"{SERVER}/32", "dev", "lo", netns=lab.lab.netns("beta"))
        mute = host.daemon_in(lab.lab, lab.state, "beta", [sys.executable, "-c", MUTE, SERVER],
                              os.path.join(lab.lab.var_dir, "server.log"))
        try:
            report = validate(lab, tiny, "--no-forecast")
            assert codes(report) == ["LPM-6002"] and report["took_ms"] < 2 * LIMIT_MS
        finally:
            proc.end(mute)
            net.ip("addr", "del", f"{SERVER}/32", "dev", "lo", netns=lab.lab.netns("beta"))
    assert not readers(lab)


MUTE = """
import socket, sys
s = socket.create_server((sys.argv[1], 8080))
held = []
while True:
    held.append(s.accept())
"""


NAMELESS = (" ", " ")


def fill(path, content):
    with open(path, "r+b") as f:
        f.write(content)


def test_lun_that_does_not_say_who_it_is(lab, tiny):
    """The second LUN, which the guest does not use: what it says of itself is made of its number.
    The same disk passes; another one that says the same is found."""
    number = lun_of(lab, tiny, 1)
    lun = lab.state["san"]["luns"][str(number)]
    san.set_identity(lab.state, number, *NAMELESS)
    try:
        # Empty: nothing to go by.
        assert codes(validate(lab, tiny, "--no-forecast")) == ["LPM-6004"]
        fill(lun["file"], some_disk(b"same"))
        report = validate(lab, tiny, "--no-forecast")
        assert codes(report) == []
        facts = next(c["facts"] for c in report["checks"] if c["id"] == "disks")
        assert [len(d.get("samples", [])) for d in facts["target"]["disks"]] == [0, 256]
        for seed, found in ((b"same", []), (b"none", ["LPM-6001"])):
            path = san.begin_impostor(lab.lab, lab.state, "beta", number, NAMELESS)
            try:
                fill(path, some_disk(seed))
                # The first LUN is not there at all.
                report = validate(lab, tiny, "--no-forecast")
                assert codes(report) == sorted(found + ["LPM-6002"])
            finally:
                san.end_impostor(lab.lab, lab.state)
    finally:
        san.set_identity(lab.state, number, lun["serial"], lun["id"])


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


def test_other_kernel(lab, tiny, image):
    xml = lab.virsh("alpha", "dumpxml", tiny)
    kernel = re.search(r"<kernel>(.*?)</kernel>", xml)[1]
    with bound(lab, "beta", image, kernel):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-6009"] and report["verdict"] == "may-be-possible"


def test_files_are_hashed_once(lab, tiny):
    """The kernel, which is old; a medium that is replaced is seen at once."""
    path = private(lab, "alpha", "seed.iso", b"seed" * 4096)
    private(lab, "beta", "seed.iso", b"seed" * 4096)

    def facts():
        found = next(c["facts"] for c in validate(lab, tiny)["checks"] if c["id"] == "files")
        return [f for side in ("source", "target") for f in found[side]["files"]]
    with attached_file(lab, tiny, path, "--mode", "readonly"):
        facts()
        assert all(f["remembered"] for f in facts() if f["role"] in ("kernel", "initrd"))
        private(lab, "beta", "seed.iso", b"Seed" * 4096)
        assert codes(validate(lab, tiny)) == ["LPM-6008"]
