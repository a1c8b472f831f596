# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Different machines have different streams; each arrives byte for byte as it was sent."""

import pytest

from support import assert_clean, clients, home, move

MACHINES = {
    "pc": {"machine": "pc"},
    "q35": {"machine": "q35"},
    "q35 with two processors, disks and adapters":
        {"machine": "q35", "cpus": 2, "disks": 2, "nics": 2},
    "incompressible memory": {"append": "ledger.mem=64M ledger.content=random ledger.dirty=2M"},
    "small changes": {"append": "ledger.mem=64M ledger.content=mostly ledger.dirty=4M"},
    "no adapters and no disks": {"nics": 0, "disks": 0},
}


@pytest.mark.parametrize("options", MACHINES.values(), ids=MACHINES.keys())
def test_stream_arrives_identical(lab, options):
    lab.add_guest("g", **{"mem": 160, "append": "ledger.mem=16M ledger.dirty=1M"} | options)
    try:
        if options.get("nics") == 0:
            reports = [move(lab, "g"), move(lab, "g")]
        else:
            with clients(lab, "g", connections=2, rate=50):
                reports = [move(lab, "g"), move(lab, "g")]
        for report in reports:
            digest = report["stream_hash"]
            assert digest["source"] == digest["target"] and len(digest["source"]) == 32
        assert reports[0]["stream_hash"]["source"] != reports[1]["stream_hash"]["source"]
        assert home(lab, "g") == "alpha"
        assert_clean(lab)
    finally:
        lab.remove_guest("g")
