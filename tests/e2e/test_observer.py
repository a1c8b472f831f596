# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The witnesses of the fault trials are tried themselves: what is broken on purpose must be seen,
and what is whole must not be complained of."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from lab import host, proc
from lab.faults import checker
from lab.faults.audit import BLOCK, DiskAudit
from lab.faults.observe import Observer, now_us
from lab.faults.plain import end_call, start_migration
from lab.faults.relay import Relay
from support import home, move, other, pause

GUEST = {"append": "ledger.mem=16M ledger.dirty=0", "watch": True}


@pytest.fixture(scope="module")
def observer(lab):
    with Observer(lab) as watching:
        yield watching


@pytest.fixture(scope="module")
def ledger(lab, observer, tiny):
    return lab.start_ledger(tiny)


def uuid_of(lab):
    return lab.state["guests"]["tiny"]["uuid"]


def judge(lab, observer, ledger, since, settle_s=1.0, **options):
    """A short time to settle, for most of what is broken here stays so."""
    return checker.check(lab, "tiny", observer, ledger, since_us=since, settle_s=settle_s,
                         **options)


def test_a_move_is_found_right(lab, tiny, observer, ledger):
    source, since = home(lab, tiny), now_us()
    move(lab, tiny)
    verdict = judge(lab, observer, ledger, since, settle_s=5.0, memory=True)
    assert verdict.ok, verdict.problems()
    assert verdict.running_on == [other(source)] and verdict.paused_on == []
    runs = observer.intervals(since, uuid_of(lab))
    assert [r["host"] for r in runs] == [source, other(source)]
    # The one stopped before the other was started: by QEMU's own stamps.
    assert runs[0]["running_to_us"] < runs[1]["running_from_us"] and not runs[1]["running_to_us"]


def test_the_journal_is_audited_while_it_grows(lab, tiny, observer, ledger):
    first = checker.audit_of(lab, tiny).acknowledged
    assert judge(lab, observer, ledger, now_us()).ok
    pause(0.5, "the clients shall write meanwhile")
    assert judge(lab, observer, ledger, now_us()).ok
    assert checker.audit_of(lab, tiny).acknowledged > first


def frozen_copy(lab, tiny, folder, ledger):
    """The disk and the journal as they are at one moment: journal first, as the audit reads them."""
    journal, disk = os.path.join(folder, "journal"), os.path.join(folder, "disk")
    shutil.copyfile(ledger.journal, journal)
    proc.run(["cp", "--sparse=always", lab.disk(tiny), disk])
    return journal, disk


def audit_both(lab, journal, disk):
    """What this audit and `ledger verify`, another program, find."""
    audit = DiskAudit(disk)
    audit.follow(journal)
    done = proc.run([lab.program("ledger"), "verify", "--journal", journal, "--disk", disk],
                    check=False)
    return audit.look(), json.loads(done.stdout)


def test_the_audit_finds_what_verify_finds(lab, tiny, ledger, tmp_path):
    journal, disk = frozen_copy(lab, tiny, tmp_path, ledger)
    ours, theirs = audit_both(lab, journal, disk)
    assert not any(ours.values()) and theirs["ok"] and theirs["acknowledged"] > 0


def test_a_record_that_is_gone_is_lost(lab, tiny, ledger, tmp_path):
    journal, disk = frozen_copy(lab, tiny, tmp_path, ledger)
    with open(disk, "r+b") as f:
        f.seek(10 * BLOCK)
        f.write(bytes(BLOCK))
    ours, theirs = audit_both(lab, journal, disk)
    assert (ours["lost"], ours["corrupt"]) == (1, 1) == (theirs["lost"], theirs["corrupt"])


def test_an_acknowledgement_without_a_record_is_lost(lab, tiny, ledger, tmp_path):
    journal, disk = frozen_copy(lab, tiny, tmp_path, ledger)
    with open(journal, "rb") as f:
        text = f.read()
    with open(journal, "wb") as f:
        f.write(text[:text.rfind(b"\n") + 1] + b"A 0 999999 1 2\n")
    ours, theirs = audit_both(lab, journal, disk)
    assert ours["lost"] == 1 == theirs["lost"]


def test_records_of_another_writer_are_seen(lab, tiny, ledger, tmp_path):
    """A copy that was woken writes on from where it was: over what is there since."""
    journal, disk = frozen_copy(lab, tiny, tmp_path, ledger)
    audit = DiskAudit(disk)
    audit.follow(journal)
    audit.look(again=True)
    middle = len(audit.records) // 2  # the last ones may not be acknowledged in the journal yet
    with open(disk, "r+b") as f:
        f.seek(middle * BLOCK)
        older = f.read(BLOCK)
        f.write(older)
    wrong = audit.look(again=True)
    assert (wrong["rewritten"], wrong["corrupt"], wrong["lost"]) == (1, 1, 1), wrong


@contextlib.contextmanager
def planted(lab, tiny, loser, folder):
    """What a migration might leave on a host; the pid of a process that a signal has stopped."""
    xml = re.sub(r"<uuid>[^<]*</uuid>", "", lab.virsh(other(loser), "dumpxml", "--inactive", tiny))
    path = folder / "planted.xml"
    path.write_text(xml)
    root = host.root(lab.state, loser)
    with contextlib.ExitStack() as undo:
        os.mkdir(f"{root}/run/libvirt/lpm/planted")
        undo.callback(os.rmdir, f"{root}/run/libvirt/lpm/planted")
        with open(f"{root}/run/lpm/planted.key", "wb"):
            undo.callback(os.unlink, f"{root}/run/lpm/planted.key")
        lab.virsh(loser, "define", str(path))
        undo.callback(lab.virsh, loser, "undefine", tiny)
        sleeper = undo.enter_context(subprocess.Popen(["sleep", "60"], env=lab.lab.env()))
        undo.callback(sleeper.kill)
        os.kill(sleeper.pid, signal.SIGSTOP)
        yield sleeper.pid


def test_what_is_left_over_is_seen(lab, tiny, observer, ledger, tmp_path):
    loser = other(home(lab, tiny))
    with planted(lab, tiny, loser, tmp_path) as pid:
        found = judge(lab, observer, ledger, now_us()).leftovers
    assert f"{loser}:/run/libvirt/lpm/planted" in found
    assert f"{loser}:/run/lpm/planted.key" in found
    assert f"libvirt of {loser} still knows {tiny} (shut off, defined)" in found
    assert f"process {pid} (sleep) is stopped by a signal" in found
    verdict = judge(lab, observer, ledger, now_us(), settle_s=5.0)
    assert verdict.ok, verdict.problems()


def test_a_mover_that_stays_is_seen(lab, tiny, observer, ledger, monkeypatch, tmp_path):
    program = tmp_path / "lpm-mover"
    shutil.copyfile("/bin/sleep", program)
    program.chmod(0o755)
    real = lab.program
    monkeypatch.setattr(lab, "program", lambda n: str(program) if n == "lpm-mover" else real(n))
    with subprocess.Popen([str(program), "60"], env=lab.lab.env()) as mover:
        found = judge(lab, observer, ledger, now_us()).leftovers
        mover.kill()
    assert found == [f"mover process {mover.pid}"]


def test_clients_that_are_not_served_are_seen(lab, tiny, observer, ledger, monkeypatch):
    monkeypatch.setattr(checker, "SERVED_S", 1.0)
    copy, = observer.living(uuid_of(lab))
    with stopped(copy.pid):
        verdict = judge(lab, observer, ledger, now_us())
    assert not verdict.ok and "its clients are not served" in verdict.notes


def test_a_frozen_copy_does_not_run(lab, tiny, observer, ledger):
    copy, = observer.living(uuid_of(lab))
    with stopped(copy.pid):
        proc.wait_until("the observer to see it", lambda: observer.refresh() and copy.is_frozen, 2,
                        0.01)
        at = now_us()
        assert not any(begin <= at < end for begin, end in copy.certain_runs())
        assert copy.running  # as QEMU knows: it goes on when it is let
    proc.wait_until("it to be let go", lambda: observer.refresh() and not copy.is_frozen, 2, 0.01)
    assert any(begin <= now_us() < end for begin, end in copy.certain_runs())


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# The last one: it damages the partition.
def test_two_that_run_are_seen(lab, tiny, observer, ledger, monkeypatch):
    """libvirt moves it to the target, where it stays paused; the answer is lost, so that the source
    goes on; then somebody resumes the target by hand."""
    monkeypatch.setattr(checker, "SERVED_S", 1.0)
    source, since = home(lab, tiny), now_us()
    target = other(source)

    def lose(name, relay):
        if name == "finish.reply":
            relay.cut()
        return name == "finish.reply"
    with Relay(lab, source, target, lose) as relay:
        call = start_migration(lab, tiny, source, relay, "--suspend")
        call.wait(timeout=60)
        end_call(call)
    verdict = judge(lab, observer, ledger, since)
    assert verdict.running_on == [source] and verdict.paused_on == [target]
    assert not verdict.ok and verdict.double_runs == [] and verdict.unsafe_starts == []
    assert any("beside the owner's" in text for text in verdict.leftovers)

    begun = now_us()
    lab.virsh(target, "resume", tiny)
    pause(0.3, "the two shall run together for a while")
    copies = {c.host: c for c in observer.living(uuid_of(lab))}
    with stopped(copies[source].pid):
        most = now_us() - begun
        pause(0.1, "one is frozen, and so does not run, but could again")
        together, = observer.overlaps(since, uuid_of(lab))
    assert 250_000 < together["for_us"] < most + 50_000
    unsafe, = observer.unsafe_starts(since, uuid_of(lab))
    assert unsafe["started"] == copies[target].describe()
    os.kill(copies[source].pid, signal.SIGKILL)
    proc.wait_until("it to end", lambda: copies[source] not in observer.living(), 5, 0.01)
    verdict = judge(lab, observer, ledger, since)
    assert not verdict.ok and verdict.double_runs and verdict.unsafe_starts
