# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Real QEMUs go over to post-copy through real movers, and what may happen to those on the way."""
import os
import signal
import time

import pytest

from movers import Movers, wait_for
from qemus import HUGE, HUGE_PAGES, Migration, huge_pages_free


@pytest.fixture(name="folder")
def make_folder(tmp_path):
    os.chmod(tmp_path, 0o755)
    return str(tmp_path)


@pytest.fixture(name="migration")
def make_migration(folder):
    migration = Migration(folder)
    yield migration
    migration.end()


@pytest.fixture(name="start")
def make_start(folder):
    started = []

    def start(migration, data=None, **options):
        started.append(Movers(folder, data or migration.data, **options))
        return started[-1]
    yield start
    for movers in started:
        movers.end()


def data_of(stats):
    return next(s for s in stats["streams"] if s["channel"] == "data")


def test_goes_over(migration, start):
    movers = start(migration)
    migration.begin(movers)
    assert not movers.source.seen("postcopy")
    wait_for(lambda: movers.source.ask()["operations"]["types"] == ["pre-copy"], 5, "pre-copy")
    migration.switch()
    migration.complete()
    for mover in (movers.source, movers.target):
        wait_for(lambda: mover.seen("postcopy"), 5, "the mover's word about post-copy")
    source, target = movers.source.ask(), movers.target.ask()
    assert not source["stream"]["degraded"]
    assert source["operations"]["types"] == target["operations"]["types"] == ["pre-copy", "post-copy"]
    assert source["stream"]["phase"] == target["stream"]["phase"] == "ended"
    assert source["stream_hash"] == target["stream_hash"]


def test_link_cut(migration, start):
    """The link is away for a while in post-copy: the partition waits, and goes on."""
    movers = start(migration, rate=8 << 20)
    migration.begin(movers)
    migration.switch()
    movers.keep_linked = False
    movers.cut()
    time.sleep(4)
    assert migration.source.status() == "postcopy-active"
    assert migration.target.status() == "postcopy-active"
    movers.keep_linked = True
    migration.complete()
    stats = movers.source.ask()
    assert stats["links"][0]["reconnects"] >= 1
    assert stats["transmit"]["errors"] + stats["receive"]["errors"] >= 1


@pytest.mark.parametrize("side", ["source", "target"])
def test_mover_dies(migration, start, side):
    """Both QEMUs notice and wait; a fresh pair of movers carries the rest."""
    movers = start(migration, rate=8 << 20)
    migration.begin(movers)
    migration.switch()
    getattr(movers, side).process.kill()
    killed = time.monotonic()
    wait_for(lambda: len(movers.gone) == 1, 5, "the mover's end is known")
    assert next(iter(movers.gone)).gone_at - killed < 0.5
    movers.end_other(side)
    wait_for(migration.paused, 20, "both QEMUs wait")
    path = migration.data + "2"
    fresh = start(migration, data=path)
    migration.recover(fresh, path)
    migration.complete()
    stream = fresh.source.ask()["stream"]
    assert (stream["phase"], stream["degraded_reason"]) == ("ended", None)
    assert fresh.source.ask()["operations"]["types"] == ["post-copy"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_mover_stands_still(migration, start, side):
    """A mover that is stopped for longer than the other side waits for a sign of life is a pause."""
    movers = start(migration, rate=8 << 20)
    migration.begin(movers)
    migration.switch()
    process = getattr(movers, side).process
    process.send_signal(signal.SIGSTOP)
    time.sleep(7)
    assert migration.source.status() == migration.target.status() == "postcopy-active"
    process.send_signal(signal.SIGCONT)
    migration.complete()
    assert not movers.gone
    source, target = movers.source.ask(), movers.target.ask()
    assert source["stream_hash"] == target["stream_hash"]


def test_requests_overtake(migration, start):
    """Over a slow link, where the window holds half a second's worth: nobody waits for that."""
    movers = start(migration, rate=8 << 20)
    migration.begin(movers, bandwidth=1 << 20)
    migration.switch()
    migration.complete()
    source, target = movers.source.ask()["demand"], movers.target.ask()["demand"]
    assert source["overtook"] > 20
    assert target["served"] > 20
    assert target["mean_us"] < 250000, target
    assert target["mean_us"] <= target["max_us"] and target["p99_us"] <= target["max_us"]


def test_huge_pages(folder, start):
    """What overtakes is a host page of 512 of the stream's, whole and in order."""
    if huge_pages_free() < HUGE_PAGES:
        pytest.skip(f"{HUGE_PAGES} huge pages of 2 MiB are needed: write to vm.nr_hugepages")
    migration = Migration(folder, *HUGE)
    try:
        movers = start(migration, rate=16 << 20)
        migration.begin(movers, bandwidth=1 << 20)
        migration.switch()
        movers.cut()
        migration.complete()
        source, target = movers.source.ask(), movers.target.ask()
        assert source["demand"]["overtook"] > 3
        assert target["demand"]["served"] > 3
        assert source["stream_hash"] == target["stream_hash"]
    finally:
        migration.end()
