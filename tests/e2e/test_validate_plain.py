# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What plain `virsh migrate` does where validation finds an error: it goes ahead. The three cases
are those of docs/validation.md, which shows what these tests see."""

import contextlib
import os

from lab import host, net, proc, san
from support import home, other
from validating import ANOTHER_MAC, codes, definition, validate

GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0"}


def plain(lab, partition):
    """virsh migrate to beta; its exit status and what it said."""
    done = lab.virsh("alpha", "migrate", "--live", "--p2p", "--persistent", "--undefinesource",
                     partition, host.libvirt_uri(lab.state, "beta"), check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def back(lab, partition):
    lab.virsh("beta", "migrate", "--live", "--p2p", "--persistent", "--undefinesource", partition,
              host.libvirt_uri(lab.state, "alpha"))
    assert home(lab, partition) == "alpha"


def test_inactive_definition_is_replaced(lab, tiny):
    """The definition that was on the target is gone without a word."""
    path = definition(lab, tiny, ANOTHER_MAC)
    lab.virsh("beta", "define", path)
    assert "52:54:00:bb:00:02" in lab.virsh("beta", "dumpxml", tiny)
    assert codes(validate(lab, tiny)) == ["LPM-3003"]
    assert plain(lab, tiny) == (0, "")
    assert home(lab, tiny) == "beta"
    assert "52:54:00:bb:00:02" not in lab.virsh("beta", "dumpxml", tiny, "--inactive")
    back(lab, tiny)


def reaches(lab, partition, wait=5):
    address = lab.state["guests"][partition]["nics"][0]["address"]
    for _ in range(wait):
        if proc.run(lab.enter("client", "busybox", "ping", "-c1", "-W1", address),
                    check=False).returncode == 0:
            return True
    return False


def test_other_segment_cuts_the_partition_off(lab, segment):
    """The partition arrives, runs, and nobody reaches it any more."""
    lan = lab.lab.netns("lan")
    lab.add_guest("lonely", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    # Its adapter is on the second LAN, and so is the client while this lasts.
    lab.virsh("alpha", "define", definition(lab, "lonely", ("bridge='br0'", f"bridge='{segment}'")))
    net.ip("link", "set", "client", "master", segment, netns=lan)
    with contextlib.ExitStack() as stack:
        stack.callback(net.ip, "link", "set", "client", "master", "lan", netns=lan)
        stack.callback(lab.remove_guest, "lonely")
        lab.virsh("alpha", "start", "lonely")
        proc.wait_until("lonely to answer", lambda: reaches(lab, "lonely", 1), 90)
        net.ip("link", "set", f"beta-{segment}", "nomaster", netns=lan)
        stack.callback(net.ip, "link", "set", f"beta-{segment}", "master", segment, netns=lan)
        assert codes(validate(lab, "lonely")) == ["LPM-6011"]
        assert plain(lab, "lonely") == (0, "")
        assert home(lab, "lonely") == "beta"
        assert not reaches(lab, "lonely")


def test_swapped_lun_loses_what_is_written(lab, tiny):
    """The partition arrives and writes to another disk. Last: the partition is of no use after."""
    number = lab.state["guests"][tiny]["luns"][0]
    ledger = lab.start_ledger(tiny)
    impostor = san.begin_impostor(lab.lab, lab.state, "beta", number)
    try:
        assert codes(validate(lab, tiny)) == ["LPM-6001"]
        assert os.stat(impostor).st_blocks == 0
        assert plain(lab, tiny) == (0, "")
        assert home(lab, tiny) == other("alpha") == "beta"
        proc.wait_until("the partition to write to the wrong disk",
                        lambda: os.stat(impostor).st_blocks > 0, 30)
        # What clients were told is written is not on the partition's disk.
        assert ledger.stop(lab.disk(tiny))["disk_check"]["lost"] > 0
    finally:
        ledger.kill()
        lab.virsh("beta", "destroy", tiny, check=False)
        san.end_impostor(lab.lab, lab.state)

