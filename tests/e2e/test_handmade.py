# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A partition that the lab did not make: `virsh define` by hand, another machine type, two disks, two
adapters, an unusual name. It moves there and back ten times."""

import re

from support import assert_clean, clients, home, move

NAME = "db.test_1-x"


def define_by_hand(lab):
    """What an operator would have: the XML of a file, defined with virsh, nothing of the lab's in
    its name, UUID or devices but the kernel that boots it and the LUNs of the SAN."""
    lab.add_guest("model", mem=160, machine="q35", disks=2, nics=2, no_start=True,
                  append="ledger.mem=32M ledger.content=random")
    xml = lab.virsh("alpha", "dumpxml", "model", "--inactive")
    xml = xml.replace("<name>model</name>", f"<name>{NAME}</name>")
    xml = re.sub(r"<uuid>.*</uuid>", "<uuid>7d1f2c7e-52f4-4a8e-9d3a-0c5b8c1e77aa</uuid>", xml)
    lab.virsh("alpha", "undefine", "model")
    path = "/tmp/lpm-e2e-handmade.xml"
    with open(path, "w") as f:
        f.write(xml)
    lab.virsh("alpha", "define", path)
    lab.virsh("alpha", "start", NAME)
    # The workload is reached at the addresses that go with the model's adapters.
    lab.state["guests"][NAME] = lab.state["guests"]["model"]


def test_there_and_back_ten_times(lab):
    define_by_hand(lab)
    with clients(lab, NAME, connections=2, rate=50):
        for _ in range(20):
            move(lab, NAME)
    assert_clean(lab)
    assert home(lab, NAME) == "alpha"
    _, document = lab.lpm("alpha", "show", NAME)
    assert len(document["disks"]) == 2 and len(document["adapters"]) == 2
    assert "q35" in document["machine"]
    lab.virsh("alpha", "destroy", NAME)
    lab.virsh("alpha", "undefine", NAME)
