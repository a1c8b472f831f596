# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What the tests of validation share: to ask, and to break one prerequisite and mend it again."""

import contextlib
import os
import re

from lab import host, lpmd, proc
from support import other

TWO_DISKS = {"mem": 128, "disks": 2, "append": "ledger.mem=16M ledger.dirty=0"}
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
    for check in report["checks"]:
        assert check["severity"] == "error" or check["verdict"] != "error", check
    return sorted(f["code"] for check in report["checks"] for f in check["findings"])


def cause(report, code):
    return next(f["cause"] for check in report["checks"] for f in check["findings"]
                if f["code"] == code)


def verdict(report, check):
    return next(c["verdict"] for c in report["checks"] if c["id"] == check)


# ---- disks ----

@contextlib.contextmanager
def attached_file(lab, partition, path, *options):
    lab.virsh("alpha", "attach-disk", partition, path, "vdx", *options)
    try:
        yield
    finally:
        lab.virsh("alpha", "detach-disk", partition, "vdx")
        proc.wait_until("the disk to be gone",
                        lambda: "vdx" not in lab.virsh("alpha", "domblklist", partition), 20)


def private(lab, where, name, content=None):
    """A file in a folder that each host has for itself; written there if content is given."""
    path = f"/var/lib/libvirt/{name}"
    if content is not None:
        with open(host.root(lab.state, where) + path, "wb") as f:
            f.write(content)
    return path


# ---- networks ----

SEGMENT = "br1"  # the second network, of fixture `segment`


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


# ---- definitions ----

def definition(lab, partition, *changes, where="alpha"):
    """Path of its definition with parts replaced: (pattern, text) pairs."""
    xml = lab.virsh(where, "dumpxml", partition, "--inactive", "--security-info")
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


# ---- devices ----

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


@contextlib.contextmanager
def bound(lab, where, source, target):
    """A file or folder of a host lies under another name there too."""
    proc.run(lab.enter(where, "mount", "--bind", source, target))
    try:
        yield
    finally:
        proc.run(lab.enter(where, "umount", target))


@contextlib.contextmanager
def on_battery(lab, where):
    battery = os.path.join(lab.lab.var_dir, "power", "BAT0")
    os.makedirs(battery, exist_ok=True)
    for name, text in (("type", "Battery"), ("status", "Discharging")):
        with open(os.path.join(battery, name), "w", encoding="ascii") as f:
            f.write(text + "\n")
    with bound(lab, where, os.path.dirname(battery), "/sys/class/power_supply"):
        yield
