# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The ways to move a partition that are measured side by side.

A peer is a function (bench, source, target) -> command line, and what has to be set up before it.
Everything but OpenLPM is libvirt's own migration of the same partition, peer to peer, over the same
uplink. One OpenLPM carries everything in clear, which only a program of this folder can
(bench/meson.build): it shows what encryption costs. libvirt 9.0 has no word for multifd with zstd. So both QEMUs are told without it: the source's
by `qemu-monitor-command` before the move, the target's by a `-global` in the description that the
move hands over (`--xml`); the next move's description leaves that out again.
"""

import os
import re

from lab import host

GLOBALS = """\
  <qemu:commandline>
    <qemu:arg value='-global'/>
    <qemu:arg value='migration.multifd-compression=zstd'/>
    <qemu:arg value='-global'/>
    <qemu:arg value='migration.multifd-zstd-level=1'/>
  </qemu:commandline>
"""
NAMESPACE = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"


class Peer:
    def __init__(self, name, title, options=(), zstd=False, mover=None):
        self.name, self.title, self.options, self.zstd = name, title, list(options), zstd
        self.mover = mover  # path of the program in the build folder, if it is OpenLPM's

    @property
    def ours(self):
        return self.mover is not None

    def prepare(self, bench, source):
        """What must be said to lpmd or to the source's QEMU before the clock runs."""
        if self.ours:
            bench.use_mover(self.mover)
            return
        bench.lab.virsh(source, "qemu-monitor-command", bench.partition, "--hmp",
                        "migrate_set_parameter multifd-compression "
                        + ("zstd" if self.zstd else "none"))
        if self.zstd:
            bench.lab.virsh(source, "qemu-monitor-command", bench.partition, "--hmp",
                            "migrate_set_parameter multifd-zstd-level 1")

    def command(self, bench, source, target):
        lab = bench.lab
        if self.ours:
            return lab.enter(source, lab.program("lpm"), "migrate", bench.partition, "--to", target,
                             *self.options, "--json")
        # In clear, as it comes by default, unless --tls is among the options.
        return ["virsh", "-c", host.libvirt_uri(lab.state, source), "migrate", "--live", "--p2p",
                "--persistent", "--undefinesource", *self.options,
                "--xml", self.description(bench, source), bench.partition,
                host.libvirt_uri(lab.state, target),
                "--migrateuri", f"tcp://{lab.state['hosts'][target]['address']}"]

    def abort(self, bench, source):
        lab = bench.lab
        if self.ours:
            return lab.enter(source, lab.program("lpm"), "stop", bench.partition)
        return ["virsh", "-c", host.libvirt_uri(lab.state, source), "domjobabort", bench.partition]

    def description(self, bench, source):
        """File with the partition's description for the target, with or without zstd's globals."""
        text = bench.lab.virsh(source, "dumpxml", "--migratable", bench.partition)
        text = re.sub(r"\s*<qemu:commandline>.*?</qemu:commandline>", "", text, flags=re.DOTALL)
        if self.zstd:
            if "xmlns:qemu" not in text:
                text = re.sub(r"<domain type='(\w+)'", rf"<domain type='\1'{NAMESPACE}", text, count=1)
            text = text.replace("</domain>", GLOBALS + "</domain>")
        path = os.path.join(bench.folder, "target.xml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path


MOVER, IN_CLEAR = "src/mover/lpm-mover", "bench/lpm-mover-in-clear"
PEERS = [
    Peer("openlpm", "OpenLPM", mover=MOVER),
    Peer("openlpm-post", "OpenLPM, post-copy auto", ["--post-copy", "auto"], mover=MOVER),
    Peer("openlpm-clear", "OpenLPM in clear", mover=IN_CLEAR),
    Peer("plain", "plain"),
    Peer("multifd", "multifd 2", ["--parallel", "--parallel-connections", "2"]),
    Peer("multifd-zstd", "multifd 2, zstd", ["--parallel", "--parallel-connections", "2"],
         zstd=True),
    Peer("xbzrle", "XBZRLE", ["--compressed", "--comp-methods", "xbzrle"]),
    Peer("auto-converge", "auto-converge", ["--auto-converge"]),
    Peer("tls", "TLS", ["--tls"]),
    Peer("post-copy", "post-copy", ["--postcopy", "--postcopy-after-precopy"]),
]
# Whose cost is asked for in one scenario alone.
USUAL = [peer.name for peer in PEERS if peer.mover != IN_CLEAR]
BY_NAME = {peer.name: peer for peer in PEERS}
