# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What becomes of the definition of a running partition: the profile of its next start."""

import os

from lab import host
from support import assert_clean, home, move, other

GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0"}


def facts(lab, where, partition):
    """What dominfo says of it there: {Persistent, Autostart, State}; {} without it."""
    done = lab.virsh(where, "dominfo", partition, check=False)
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return {k: v.strip() for k, _, v in lines if k in ("Persistent", "Autostart", "State")}


def inactive(lab, where, partition):
    return lab.virsh(where, "dumpxml", "--inactive", partition)


def test_only_the_active_profile_is_what_runs(lab, tiny):
    """The next start's profile says something else than what runs; both arrive as they were."""
    where = home(lab, tiny)
    lab.virsh(where, "desc", tiny, "--config", "--title", "for the next start")
    active = lab.virsh(where, "desc", tiny, "--live", "--title")
    move(lab, tiny)
    there = home(lab, tiny)
    assert there != where and facts(lab, where, tiny) == {}
    assert "<title>for the next start</title>" in inactive(lab, there, tiny)
    assert lab.virsh(there, "desc", tiny, "--live", "--title") == active
    assert_clean(lab)


def test_without_a_definition_and_with_one_again(lab, tiny):
    source = home(lab, tiny)
    lab.virsh(source, "autostart", tiny)
    text = inactive(lab, source, tiny)
    code, document = lab.lpm(source, "migrate", tiny, "--to", other(source), "--transient")
    assert (code, document["state"]) == (0, "done"), document
    assert facts(lab, other(source), tiny) == {"State": "running", "Persistent": "no",
                                               "Autostart": "disable"}
    assert facts(lab, source, tiny) == {"State": "shut off", "Persistent": "yes",
                                        "Autostart": "disable"}
    assert inactive(lab, source, tiny) == text
    # It is in the way of the partition that comes back, and nothing replaces it silently.
    code, document = lab.lpm(other(source), "migrate", tiny, "--to", source)
    assert (code, document["error"]["code"]) == (4, "LPM-3003"), document
    assert inactive(lab, source, tiny) == text
    lab.virsh(source, "undefine", tiny)
    move(lab, tiny)  # a transient one stays so
    assert facts(lab, source, tiny)["Persistent"] == "no" and facts(lab, other(source), tiny) == {}
    move(lab, tiny, "--persistent")
    assert facts(lab, other(source), tiny)["Persistent"] == "yes"
    assert facts(lab, source, tiny) == {}
    assert not os.path.exists(host.root(lab.state, source) + f"/etc/libvirt/qemu/{tiny}.xml")
    assert_clean(lab)
