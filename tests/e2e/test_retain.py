# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Coming home: a host keeps a partition's memory when it leaves, so that little need cross the wire
when it comes back; and whatever has become of what was kept, the partition comes back whole."""

import glob
import os
import stat

import pytest
from lab import host, lpmd, proc
from support import assert_clean, clients, home, move, other, pause
from validating import configured

ON = "[retain]\nretain=on\n"
MARKER = b"Mnemosyne-remembers-4711"
GUEST = {"append": f"ledger.mem=48M ledger.marker={MARKER.decode()}"}


@pytest.fixture(scope="module", autouse=True)
def retaining(lab):
    with configured(lab, "alpha", ON), configured(lab, "beta", ON):
        yield


def folder(lab, where):
    return os.path.join(host.root(lab.state, where) + "/var/lib/lpm", "retain")


def images(lab, where):
    return sorted(glob.glob(folder(lab, where) + "/*.image"))


def listed(lab, where):
    code, document = lab.lpm(where, "retain", "list")
    assert code == 0
    return document["images"]


def go_and_return(lab, tiny, spoil=lambda path: None):
    """There and back, with `spoil` done to what was kept meanwhile; the report of the way back."""
    source = home(lab, tiny)
    with clients(lab, tiny) as ledger:
        move(lab, tiny, ledger=ledger)
        (path,) = images(lab, source)
        spoil(path)
        report = move(lab, tiny, ledger=ledger)
    assert images(lab, source) == []  # it is here again
    assert_clean(lab)
    return report


def test_only_what_changed(lab, tiny):
    source = home(lab, tiny)
    first = move(lab, tiny)
    assert first["retained"]["source"]["written"] > 0 and not first["retained"]["source"]["failed"]
    (path,) = images(lab, source)
    (entry,) = listed(lab, source)
    assert entry["partition"] == tiny and entry["bytes"] == os.stat(path).st_blocks * 512
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder(lab, source) + "/retain.key").st_mode) == 0o600
    back = move(lab, tiny)
    used = back["retained"]["target"]["used"]
    assert used >= back["pages"]["kept"] > back["pages"]["sent"] / 2
    assert back["link_bytes"]["sent"] < first["link_bytes"]["sent"] / 3
    assert images(lab, source) == [] and len(images(lab, other(source))) == 1


def test_nothing_of_the_partition_in_clear(lab, tiny):
    """The marker is in most pages (test_secrecy.py sees it there), and not in the image of them."""
    source = home(lab, tiny)
    move(lab, tiny)
    (path,) = images(lab, source)
    with open(path, "rb") as f:
        data = f.read()
    assert len(data) > 10 << 20
    assert MARKER not in data


def flip(path):
    size = os.stat(path).st_size
    with open(path, "r+b") as f:
        for at in range((1 << 20) + 500, size, 3 * 4120):
            f.seek(at)
            f.write(b"\xff\xfe")


def cut(path):
    os.truncate(path, os.stat(path).st_size // 3)


@pytest.mark.parametrize("spoil", [flip, cut], ids=["damaged", "truncated"])
def test_spoilt(lab, tiny, spoil):
    report = go_and_return(lab, tiny, spoil)
    target = report["retained"]["target"]
    assert target["used"] >= report["pages"]["kept"]
    assert report["pages"]["kept"] < report["pages"]["sent"]
    if spoil is flip:
        assert target["damaged"] > 0


def test_disk_is_full(lab, tiny):
    """No room is no reason not to move."""
    source = home(lab, tiny)
    place = folder(lab, source)
    lab.lpm(source, "retain", "drop", "--all")
    proc.run(lab.enter(source, "mount", "-t", "tmpfs", "-o", "size=24M", "none",
                       "/var/lib/lpm/retain"))
    try:
        report = move(lab, tiny)
        assert report["retained"]["source"] is None  # it does not fit and is not begun
        assert images(lab, source) == []
        move(lab, tiny)
    finally:
        proc.run(lab.enter(source, "umount", "/var/lib/lpm/retain"))
    assert os.path.isdir(place)


def test_drop(lab, tiny):
    source = home(lab, tiny)
    move(lab, tiny)
    assert len(images(lab, source)) == 1
    code, document = lab.lpm(source, "retain", "drop", tiny)
    assert code == 0 and document == {"dropped": 1}
    assert images(lab, source) == [] and listed(lab, source) == []
    code, document = lab.lpm(source, "retain", "drop", tiny)
    assert code == 3 and document["error"]["code"] == "LPM-4011"
    assert move(lab, tiny)["pages"]["kept"] == 0


def look_again(lab, where):
    """lpmd looks after its images when it starts, and then every ten minutes."""
    lpmd.stop(lab.lab, lab.state, where)
    lpmd.start(lab.lab, lab.state, where)


def test_destroyed_where_it_went(lab, tiny):
    source = home(lab, tiny)
    move(lab, tiny)
    target = other(source)
    assert len(images(lab, source)) == 1
    description = lab.virsh(target, "dumpxml", "--inactive", tiny)
    lab.virsh(target, "destroy", tiny)
    look_again(lab, source)
    pause(2, "the other host is asked at once, if at all")
    assert len(images(lab, source)) == 1  # powered off is not destroyed
    lab.virsh(target, "undefine", tiny)
    look_again(lab, source)
    proc.wait_until("the image of a destroyed partition to go", lambda: not images(lab, source), 20)
    path = os.path.join(lab.lab.var_dir, "again.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(description)
    lab.virsh(target, "define", path)
    lab.virsh(target, "start", tiny)
