# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Hosts on which things have other names: on beta the second bridge is br7, and the LUN answers at
another port under another target's name; neither host sees the other's. By --map and by roles,
there and back."""

import contextlib
import os
import re

import pytest

from lab import net, proc, san
from support import clients, error_of, home, nothing_changes, other
from validating import SEGMENT, cause, codes, configured, validate

GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0"}
MAC = "52:54:00:aa:00:07"
BRIDGES = {"alpha": SEGMENT, "beta": "br7"}
ADAPTER = (f"<interface type='bridge'><mac address='{MAC}'/><source bridge='{SEGMENT}'/>"
           "<model type='virtio'/><alias name='ua-second'/></interface>")


@pytest.fixture(scope="module")
def lun(lab, tiny):
    """Each host's name of the partition's disk."""
    number = lab.state["guests"][tiny]["luns"][0]
    first, second = san.rename_for(lab.lab, lab.state, "beta", number)
    portal = f"//{lab.state['san']['address']}:{lab.state['san']['port']}/"
    return {"alpha": portal + first, "beta": second}


def name_of(source):
    """Without the portal."""
    return source.split("/", 3)[3]


@pytest.fixture(scope="module")
def partition(lab, tiny, segment, lun):
    """With an adapter on the second network, in what runs and in what is defined."""
    assert lun and segment == SEGMENT
    net.ip("link", "set", SEGMENT, "down", netns=lab.lab.netns("beta"))
    net.ip("link", "set", SEGMENT, "name", "br7", "up", netns=lab.lab.netns("beta"))
    path = os.path.join(lab.lab.var_dir, "second.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(ADAPTER)
    lab.virsh("alpha", "attach-device", tiny, path, "--live", "--config")
    return tiny


def names(lab, where, partition, *options):
    """The disk and the bridge of the second network, as a description has them; targets and aliases
    are as ever."""
    xml = lab.virsh(where, "dumpxml", partition, *options)
    disk = re.search(r"<disk .*?</disk>", xml, re.S)[0]
    adapter = next(a for a in re.findall(r"<interface .*?</interface>", xml, re.S) if MAC in a)
    assert "<target dev='vda'" in disk and "<alias name='ua-second'/>" in adapter
    name, address, port = re.search(r"name='(iqn\S+?)'.*?<host name='(\S+?)' port='(\d+)'", disk,
                                    re.S).groups()
    return [f"//{address}:{port}/{name}", re.search(r"bridge='(\S+?)'", adapter)[1]]


def assert_at(lab, where, partition, lun):
    """What runs and what is defined have that host's names."""
    assert home(lab, partition) == where
    for options in ([], ["--inactive"]):
        assert names(lab, where, partition, *options) == [lun[where], BRIDGES[where]]


def maps(where, lun):
    return [f"disk:vda={lun[where]}", f"net:{MAC.upper()}={BRIDGES[where]}"]


def by(document):
    return {a["adapter"]: (a["source"], a["target"], a["by"]) for a in document["adapters"]}


def test_without_a_map(lab, partition, lun):
    report = validate(lab, partition)
    assert codes(report) == ["LPM-6002", "LPM-6010"]
    assert name_of(lun["alpha"]) in cause(report, "LPM-6002") and SEGMENT in cause(report, "LPM-6010")


def test_map_there_and_back(lab, partition, lun):
    with clients(lab, partition):
        options = [word for m in maps("beta", lun) for word in ("--map", m)]
        assert codes(validate(lab, partition, *options)) == []
        code, document = lab.lpm("alpha", "migrate", partition, "--to", "beta", *options)
        assert code == 0, document
        assert by(document)["vda"] == (name_of(lun["alpha"]), lun["beta"], "map")
        assert by(document)[MAC] == (SEGMENT, "br7", "map")
        assert_at(lab, "beta", partition, lun)
        path = os.path.join(lab.lab.var_dir, "names")
        with open(path, "w", encoding="utf-8") as f:
            f.write("# names on alpha\n\n" + "\n".join(maps("alpha", lun)) + "\n")
        done = proc.run(lab.enter("beta", lab.program("lpm"), "migrate", partition, "--to", "alpha",
                                  "--map-file", path), check=False)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^{MAC} +network +br7 +{SEGMENT} +map$", done.stdout, re.M), done.stdout
    assert_at(lab, "alpha", partition, lun)


def test_roles_there_and_back(lab, partition, lun):
    with contextlib.ExitStack() as stack:
        for where in BRIDGES:
            stack.enter_context(configured(lab, where, f"[networks]\nsecond={BRIDGES[where]}\n"
                                           f"[storage]\nsan={lun[where].rpartition('/')[0]}\n"))
        for where in ("alpha", "beta"):
            code, document = lab.lpm(where, "migrate", partition, "--to", other(where))
            assert code == 0, document
            assert by(document)["vda"] == (name_of(lun[where]), lun[other(where)],
                                               "role san")
            assert by(document)[MAC] == (BRIDGES[where], BRIDGES[other(where)], "role second")
            assert_at(lab, other(where), partition, lun)


@pytest.mark.parametrize("words, code, error, word", [
    (["disk:vdz=/dev/x"], 4, "LPM-6111", "vdz"),
    (["net:52:54:00:00:00:99=br7"], 4, "LPM-6111", "00:99"),
    (["disk:vda=//nowhere"], 4, "LPM-6111", "//nowhere"),
    (["disk:vda=a", "disk:vda=b"], 2, "LPM-1009", "twice"),
    (["vda=/dev/x"], 2, "LPM-1009", "vda=/dev/x"),
])
def test_wrong_map(lab, partition, words, code, error, word):
    options = [o for w in words for o in ("--map", w)]
    with nothing_changes(lab):
        for command in ("validate", "migrate"):
            got, document = lab.lpm("alpha", command, partition, "--to", "beta", *options)
            assert got == code, document
            assert word in error_of(document, error)["cause"]


def test_mapped_to_what_is_not_there(lab, partition, lun):
    """One error, of the disk under its name there."""
    nothing = lun["beta"].rpartition(":")[0] + ":nothing/1"
    report = validate(lab, partition, "--map", f"disk:vda={nothing}", "--map", f"net:{MAC}=br7")
    assert codes(report) == ["LPM-6002"] and name_of(nothing) in cause(report, "LPM-6002")
    report = validate(lab, partition, "--map", f"disk:vda={lun['beta']}", "--map", f"net:{MAC}=br6")
    assert codes(report) == ["LPM-6010"] and "br6" in cause(report, "LPM-6010")


def test_powered_off(lab, partition, lun):
    """Its definition is all that moves, and has the target's names."""
    lab.virsh("alpha", "destroy", partition)
    for where in ("alpha", "beta"):
        options = [word for m in maps(other(where), lun) for word in ("--map", m)]
        code, document = lab.lpm(where, "migrate", partition, "--to", other(where), *options)
        assert code == 0, document
        assert [w for w, _ in lab.places(partition)] == [other(where)]
        assert names(lab, other(where), partition, "--inactive") == [lun[other(where)],
                                                                    BRIDGES[other(where)]]
