# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The control of the other tests: libvirt alone moves the same partition in the same lab, so that
what they see is not the lab's doing."""

from lab import host
from support import clients, home, other


def test_plain_libvirt_moves_it_too(lab, tiny):
    with clients(lab, tiny):
        for _ in range(2):
            source = home(lab, tiny)
            uri = host.libvirt_uri(lab.state, other(source))
            before = lab.wire_bytes(source)
            lab.virsh(source, "migrate", "--live", "--p2p", "--persistent", "--undefinesource",
                      tiny, uri)
            assert home(lab, tiny) == other(source)
            # Uncompressed, and past the movers: what crosses the uplink is the memory itself.
            assert lab.wire_bytes(source) - before > 32 << 20
    assert lab.lpm("alpha", "status", "--all")[1]["migrations"] == []


def test_lpmd_sees_what_virsh_has_done(lab, tiny):
    where = home(lab, tiny)
    assert tiny in [p["name"] for p in lab.lpm(where, "list")[1]["partitions"]]
    assert tiny not in [p["name"] for p in lab.lpm(other(where), "list")[1]["partitions"]]
