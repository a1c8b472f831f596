# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Guests of the lab: ordinary libvirt domains with their disks on the SAN.

Nothing in their XML is special to OpenLPM. They run under TCG: the lab must work where /dev/kvm is
missing or cannot run an ordinary guest.
"""

import os
import re
import uuid
from xml.sax.saxutils import escape, quoteattr

from lab import host, image, proc, san
from lab.proc import LabError

FIRST_ADDRESS = 101

DOMAIN = """\
<domain type='qemu'{namespace}>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{mem}</memory>
{backing}  <vcpu>{cpus}</vcpu>
  <os>
    <type arch='x86_64' machine={machine}>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>
  <clock offset='utc'/>
  <on_crash>preserve</on_crash>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
{disks}{nics}    <serial type='pty'>
      <log file={log} append='on'/>
      <target port='0'/>
    </serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <console type='pty'><target type='virtio' port='1'/></console>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
{watch}</domain>
"""

# A second monitor, for an observer that asks neither libvirt nor lpmd. The path is the same on every
# host, as it travels with the domain; each host's /run is its own.
WATCH_FOLDER = "/run/lpm-watch"
WATCH_NAMESPACE = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
WATCH = """\
  <qemu:commandline>
    <qemu:arg value='-qmp'/>
    <qemu:arg value='unix:{folder}/{uuid}.qmp,server=on,wait=off'/>
  </qemu:commandline>
"""

# Memory that processes beside QEMU may map and write as well.
BACKING = """\
  <memoryBacking><source type='{kind}'/><access mode='shared'/></memoryBacking>
"""
BACKINGS = ("private", "memfd", "file")

DISK = """\
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/>
      <source protocol='iscsi' name={source}>
        <host name={address} port='{port}'/>
        <initiator><iqn name={initiator}/></initiator>
      </source>
      <target dev='vd{letter}' bus='virtio'/>
    </disk>
"""

NIC = """\
    <interface type='bridge'>
      <mac address='{mac}'/>
      <source bridge='br0'/>
      <model type='virtio'/>
    </interface>
"""


def console_log(lab, name):
    """Serial output of a guest over its whole life, whichever hosts it ran on."""
    return os.path.join(lab.console_dir, f"{name}.log")


def _xml(lab, state, guest, append):
    kernel, initrd = guest.get("boot") or image.tiny(lab)
    sto = state["san"]
    disks = "".join(DISK.format(
        source=quoteattr(f"{sto['iqn']}/{lun}"), address=quoteattr(sto["address"]),
        port=sto["port"], initiator=quoteattr(f"iqn.2026-11.org.openlpm.{lab.name}:{guest['name']}"),
        letter="abcdefgh"[i]) for i, lun in enumerate(guest["luns"]))
    nics = "".join(NIC.format(mac=n["mac"]) for n in guest["nics"])
    # pti=on: README.md, "A limit of emulation".
    words = ["console=ttyS0", "quiet", "panic=0", "pti=on", f"lpm.name={guest['name']}"]
    words += [f"lpm.net={n['mac']},{n['address']}/24" for n in guest["nics"]]
    if append:
        words.append(append)
    watched = guest.get("watch", False)
    backing = guest.get("backing", "private")
    return DOMAIN.format(
        name=escape(guest["name"]), uuid=guest["uuid"],
        namespace=WATCH_NAMESPACE if watched else "",
        watch=WATCH.format(folder=WATCH_FOLDER, uuid=guest["uuid"]) if watched else "",
        backing=BACKING.format(kind=backing) if backing != "private" else "",
        mem=guest["mem"], cpus=guest["cpus"], machine=quoteattr(guest["machine"]),
        kernel=escape(kernel), initrd=escape(initrd), cmdline=escape(" ".join(words)),
        disks=disks, nics=nics, log=quoteattr(console_log(lab, guest["name"])))


def _check(state, args):
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", args.name):
        raise LabError(f"'{args.name}' cannot be a guest's name: use letters, digits, '_', '.', '-'")
    if args.name in state["guests"]:
        raise LabError(f"there is a guest '{args.name}' already: 'lab guest rm {args.name}' removes it")
    if args.host not in state["hosts"]:
        raise LabError(f"there is no host '{args.host}': this lab has {', '.join(state['hosts'])}")
    for option, value, low, high in (("--mem", args.mem, 96, 65536), ("--cpus", args.cpus, 1, 16),
                                     ("--disks", args.disks, 0, 8), ("--nics", args.nics, 0, 8)):
        if not low <= value <= high:
            raise LabError(f"{option} {value}: give a number from {low} to {high}")


def _next_number(state):
    """Addresses are per NIC, in blocks of eight. Of the free ones the next in turn: the bridges still
    know the MAC addresses of a guest that has just gone, behind the port of the host that it was on."""
    taken = {g["number"] for g in state["guests"].values()}
    for step in range(16):
        number = (state.get("next_guest", 0) + step) % 16
        if number not in taken:
            state["next_guest"] = number + 1
            return number
    raise LabError("a lab holds 16 guests: remove one first")


def add(lab, state, args):
    """Makes the LUNs, defines the domain on its first host and starts it."""
    _check(state, args)
    size = san.parse_size(args.lun_size)
    number = _next_number(state)
    guest = {"name": args.name, "number": number, "first_host": args.host, "mem": args.mem,
             "cpus": args.cpus, "machine": args.machine, "luns": [], "nics": [],
             "console_log": console_log(lab, args.name),
             "uuid": str(uuid.uuid5(host.UUIDS, f"{lab.name}/guest/{args.name}")),
             "watch": getattr(args, "watch", False),
             "backing": getattr(args, "backing", "private"),
             "boot": getattr(args, "boot", None)}  # (kernel, initrd) of another kind of guest
    if guest["watch"]:
        for where in state["hosts"]:
            os.makedirs(host.root(state, where) + WATCH_FOLDER, exist_ok=True)
    for i in range(args.nics):
        guest["nics"].append({
            "mac": f"52:54:00:{state['slot']:02x}:{number:02x}:{i:02x}",
            "address": lab.lan_address(state, FIRST_ADDRESS + number * 8 + i)})
    state["guests"][args.name] = guest
    lab.save(state)
    try:
        for _ in range(args.disks):
            guest["luns"].append(san.add_lun(lab, state, args.name, size))
            lab.save(state)
        path = os.path.join(lab.var_dir, f"{args.name}.xml")
        with open(path, "w") as f:
            f.write(_xml(lab, state, guest, args.append))
        host.virsh(state, args.host, "define", path)
        if not args.no_start:
            host.virsh(state, args.host, "start", args.name)
    except BaseException:
        remove(lab, state, args.name)
        raise
    return guest


def wait_booted(guest, timeout=90):
    """Until the guest's init has reported on the console."""
    def booted():
        try:
            with open(guest["console_log"], errors="replace") as f:
                return "lpm-lab: " in f.read()
        except FileNotFoundError:
            return False
    proc.wait_until(f"guest {guest['name']} to boot (see {guest['console_log']})", booted, timeout,
                    interval=0.1)


def remove(lab, state, name):
    """Ends and forgets a guest wherever it is, and its LUNs with it."""
    guest = state["guests"].get(name)
    if guest is None:
        raise LabError(f"there is no guest '{name}': this lab has "
                       f"{', '.join(state['guests']) or 'none'}")
    for where in state["hosts"]:
        if proc.alive(state["hosts"][where]["libvirtd"]):
            host.virsh(state, where, "destroy", name, check=False)
            host.virsh(state, where, "undefine", name, check=False)
    for lun in guest["luns"]:
        san.remove_lun(lab, state, lun)
    for path in (guest["console_log"], os.path.join(lab.var_dir, f"{name}.xml")):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
    del state["guests"][name]
    lab.save(state)


def places(state):
    """{guest or domain name: [(host, libvirt's state)]} over all hosts, lab-made or not."""
    found = {name: [] for name in state["guests"]}
    for where, entry in state["hosts"].items():
        if not proc.alive(entry["libvirtd"]):
            continue
        out = host.virsh(state, where, "list", "--all", check=False, timeout=20).stdout
        for line in out.splitlines():
            words = line.split(None, 2)
            if len(words) == 3:
                found.setdefault(words[1], []).append((where, words[2].strip()))
    return found
