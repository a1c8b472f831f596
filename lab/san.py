# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The SAN: Debian's tgt in namespaces of its own, one LUN per guest disk.

Each LUN has a serial and a SCSI id of its own, as a storage server's would, so that two hosts can
find out that what they see is the same disk.
"""

import os
import re

from lab import host, net, proc
from lab.proc import LabError, run

TID = "1"
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def parse_size(text):
    """'256M' -> bytes."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    size = int(match[1]) * UNITS[match[2]] if match else 0
    if size < 2**20 or size % 512:
        raise LabError(f"'{text}' is not a size: give a number with K, M or G, 1M or more")
    return size


def new_entry(lab, state):
    return {"address": lab.san_address(state, net.SAN_NUMBER), "port": 3260,
            "iqn": f"iqn.2026-11.org.openlpm.{lab.name}:san", "netns": lab.netns("san"),
            "holder": None, "tgtd": None, "next_lun": 1, "luns": {}}


def create_net(lab, state):
    net.add_netns(lab.netns("san"))
    net.plug(lab, "san", "san0", "san", "san-port")
    net.ip_batch(lab.netns("san"), [f"addr add {state['san']['address']}/24 dev san0",
                                    "link set san0 up"])


def begin(lab):
    folder = os.path.join(lab.var_dir, "san")
    os.makedirs(folder, exist_ok=True)
    script = host.holder_script(lab, "san", "san", [], ["/run/tgtd"])
    return host.start_holder(lab, "san", script, os.path.join(folder, "holder.log"))


def start(lab, state):
    san = state["san"]
    log = os.path.join(lab.var_dir, "san", "tgtd.log")
    argv = ["tgtd", "-f", "--iscsi", f"portal={san['address']}:{san['port']}"]
    san["tgtd"] = host.daemon_in(lab, state, "san", argv, log)
    lab.save(state)

    def ready():
        if not proc.alive(san["tgtd"]):
            raise LabError(f"tgtd has ended: {proc.tail(log)}")
        return tgtadm(state, "--mode", "target", "--op", "show", check=False).returncode == 0
    proc.wait_until("tgtd", ready, 20)
    tgtadm(state, "--mode", "target", "--op", "new", "--tid", TID, "-T", san["iqn"])
    tgtadm(state, "--mode", "target", "--op", "bind", "--tid", TID, "-I", "ALL")


def tgtadm(state, *args, check=True):
    return run(host.enter(state, "san", ["tgtadm", "--lld", "iscsi"] + list(args)),
               check=check)


def add_lun(lab, state, guest, size):
    """A new LUN with an empty sparse file behind it; returns its number. A number is never used
    twice in the life of a lab: a host that has seen a LUN must not take another disk for it."""
    san = state["san"]
    number = san["next_lun"]
    san["next_lun"] = number + 1
    path = os.path.join(lab.var_dir, "san", f"lun{number}.img")
    serial = f"LPM{lab.name.upper()}{number:04d}"
    lun = {"lun": number, "serial": serial, "id": f"openlpm-{lab.name}-{number:04d}",
           "file": path, "size": size, "guest": guest}
    san["luns"][str(number)] = lun
    lab.save(state)
    with open(path, "wb") as f:
        f.truncate(size)
    unit = ["--mode", "logicalunit", "--tid", TID, "--lun", str(number)]
    tgtadm(state, *unit, "--op", "new", "-b", path)
    tgtadm(state, *unit, "--op", "update", "--params",
           f"vendor_id=OPENLPM,product_id=LAB,scsi_sn={serial},scsi_id={lun['id']}")
    return number


def set_identity(state, number, serial, name):
    """What the LUN says of itself from now on; a blank for each: nothing."""
    tgtadm(state, "--mode", "logicalunit", "--tid", TID, "--lun", str(number), "--op", "update",
           "--params", f"scsi_sn={serial},scsi_id={name}")


def remove_lun(lab, state, number):
    lun = state["san"]["luns"].pop(str(number), None)
    if lun is None:
        return
    tgtadm(state, "--mode", "logicalunit", "--tid", TID, "--lun", str(number), "--op", "delete",
           check=False)
    try:
        os.unlink(lun["file"])
    except FileNotFoundError:
        pass
    lab.save(state)


def rename_for(lab, state, where, number):
    """From now on one host finds the LUN, the same disk, at a second server's port and under that
    one's name only, and the others only at the first's; who has logged in stays so. A server of its
    own, since tgt makes part of a LUN's identity from the target's number. Returns both names as
    libvirt knows them, with the port before the second."""
    san = state["san"]
    lun, port, name = san["luns"][str(number)], san["port"] + 1, san["iqn"] + ".second"
    san["second"] = host.daemon_in(
        lab, state, "san", ["tgtd", "-f", "-C", "1", "--iscsi", f"portal={san['address']}:{port}"],
        os.path.join(lab.var_dir, "san", "second.log"))
    lab.save(state)

    def admin(*args, check=True):
        return tgtadm(state, "-C", "1", *args, check=check)
    proc.wait_until("the second tgtd",
                    lambda: admin("--mode", "target", "--op", "show", check=False).returncode == 0,
                    20)
    unit = ["--mode", "logicalunit", "--tid", TID, "--lun", str(number)]
    admin("--mode", "target", "--op", "new", "--tid", TID, "-T", name)
    admin(*unit, "--op", "new", "-b", lun["file"])
    admin(*unit, "--op", "update", "--params",
          f"vendor_id=OPENLPM,product_id=LAB,scsi_sn={lun['serial']},scsi_id={lun['id']}")
    tgtadm(state, "--mode", "target", "--op", "unbind", "--tid", TID, "-I", "ALL")
    for host_name, entry in state["hosts"].items():
        ask = admin if host_name == where else lambda *args: tgtadm(state, *args)
        ask("--mode", "target", "--op", "bind", "--tid", TID, "-I", entry["san_address"])
    return f"{san['iqn']}/{number}", f"//{san['address']}:{port}/{name}/{number}"


def begin_impostor(lab, state, where, number, identity=None):
    """On one host, another disk behind the name of a LUN: a second storage server that answers
    there, and only there, at the SAN's address. `identity`: its serial and name, if not others than
    the LUN's. Returns the path of the file behind it."""
    serial, name = identity or (f"OTHER{number:04d}", f"other-{number:04d}")
    san = state["san"]
    size = san["luns"][str(number)]["size"]
    path = os.path.join(lab.var_dir, "san", f"impostor{number}.img")
    with open(path, "wb") as f:
        f.truncate(size)
    net.ip("addr", "add", f"{san['address']}/32", "dev", "lo", netns=lab.netns(where))
    run(host.enter(state, where, ["mkdir", "-p", "/run/tgtd"]))
    san["impostor"] = {"where": where, "tgtd": host.daemon_in(
        lab, state, where, ["tgtd", "-f", "-C", "1", "--iscsi",
                            f"portal={san['address']}:{san['port']}"],
        os.path.join(lab.var_dir, "san", "impostor.log"))}
    lab.save(state)

    def admin(*args, check=True):
        return run(host.enter(state, where, ["tgtadm", "-C", "1", "--lld", "iscsi"] + list(args)),
                   check=check)
    proc.wait_until("the second tgtd",
                    lambda: admin("--mode", "target", "--op", "show", check=False).returncode == 0,
                    20)
    unit = ["--mode", "logicalunit", "--tid", TID, "--lun", str(number)]
    admin("--mode", "target", "--op", "new", "--tid", TID, "-T", san["iqn"])
    admin(*unit, "--op", "new", "-b", path)
    admin(*unit, "--op", "update", "--params",
          f"vendor_id=OPENLPM,product_id=LAB,scsi_sn={serial},scsi_id={name}")
    admin("--mode", "target", "--op", "bind", "--tid", TID, "-I", "ALL")
    return path


def end_impostor(lab, state):
    impostor = state["san"].pop("impostor")
    proc.end(impostor["tgtd"])
    net.ip("addr", "del", f"{state['san']['address']}/32", "dev", "lo",
           netns=lab.netns(impostor["where"]))
    lab.save(state)
