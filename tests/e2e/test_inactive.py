# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A partition that is powered off is moved: its definition, firmware variables, TPM state and
autostart. Whatever dies in between, one host has it afterwards, and never two at any moment."""

import contextlib
import glob
import os

import pytest

import conftest
from lab import host, lpmd, proc
from lab.scenario import Scenario
from support import FINAL, api, error_of, other

CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
NVRAM = "/var/lib/libvirt/qemu/nvram/vault_VARS.fd"
FIRMWARE = f"<loader readonly='yes' type='pflash'>{CODE}</loader><nvram>{NVRAM}</nvram>"
TPM = "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>"


@pytest.fixture(scope="module")
def lab(fault_build):
    with Scenario(f"off{conftest.RUN}", build=fault_build) as scenario:
        yield scenario


def path(lab, where, name):
    return host.root(lab.state, where) + name


def tpm_state(lab, where):
    uuid = lab.state["guests"]["vault"]["uuid"]
    return path(lab, where, f"/var/lib/libvirt/swtpm/{uuid}/tpm2/tpm2-00.permall")


def define(lab, where, change):
    """Defines `vault` with another text."""
    text = lab.virsh(where, "dumpxml", "--inactive", "vault")
    file = os.path.join(lab.lab.var_dir, "vault-changed.xml")
    with open(file, "w", encoding="utf-8") as f:
        f.write(change(text))
    lab.virsh(where, "define", file)


@pytest.fixture(scope="module")
def vault(lab):
    """The name of a powered-off partition on alpha, which libvirt has started once: it makes the
    firmware's variables and the TPM's state then."""
    lab.add_guest("vault", mem=128, append="ledger.mem=16M", no_start=True)
    define(lab, "alpha", lambda text: text.replace("<kernel>", FIRMWARE + "<kernel>", 1)
           .replace("<memballoon", TPM + "<memballoon", 1))
    lab.virsh("alpha", "start", "vault")
    lab.virsh("alpha", "destroy", "vault")
    assert os.path.getsize(path(lab, "alpha", NVRAM)) == os.path.getsize(VARS)
    with open(path(lab, "alpha", NVRAM), "r+b") as f:
        f.seek(-16, os.SEEK_END)  # in the spare block: something that no template has
        f.write(b"of this guest 01")
    lab.virsh("alpha", "autostart", "vault")
    return "vault"


@pytest.fixture(autouse=True)
def no_faults_left(lab):
    """A test that failed lets the others go on."""
    yield
    for where in lab.state["hosts"]:
        for file in glob.glob(path(lab, where, "/run/lpm/fault-points/*")):
            os.unlink(file)


def snapshot(lab, where):
    """Everything that belongs to it on one host."""
    def read(file):
        try:
            with open(file, "rb") as f:
                return f.read(), oct(os.fstat(f.fileno()).st_mode & 0o7777)
        except FileNotFoundError:
            return None
    info = lab.virsh(where, "dominfo", "vault", check=False)
    auto = [line.split()[-1] for line in info.stdout.splitlines() if line.startswith("Autostart")]
    text = lab.virsh(where, "dumpxml", "--inactive", "--security-info", "vault", check=False)
    return {"definition": text.stdout.strip(), "autostart": auto,
            "nvram": read(path(lab, where, NVRAM)), "tpm": read(tpm_state(lab, where))}


NOTHING = {"definition": "", "autostart": [], "nvram": None, "tpm": None}


def owner(lab):
    """The one host that has a definition."""
    places = lab.places("vault")
    assert [state for _, state in places] == ["shut off"], places
    return places[0][0]


def assert_only(lab, where, before):
    assert owner(lab) == where
    assert snapshot(lab, where) == before
    assert snapshot(lab, other(where)) == NOTHING
    for each in lab.state["hosts"]:
        with contextlib.suppress(FileNotFoundError):
            assert os.listdir(path(lab, each, "/var/lib/lpm/bundles")) == []


@contextlib.contextmanager
def nothing_happens(lab):
    where = owner(lab)
    before = snapshot(lab, where)
    yield where
    settle(lab)
    assert_only(lab, where, before)


def settle(lab, timeout=60):
    """Until no host knows of a migration that has not ended."""
    for where in lab.state["hosts"]:
        proc.wait_until(f"{where} to have nothing under way",
                        lambda: api(lab, where, "/v1/migrations?active=1")[1]["migrations"] == [],
                        timeout, 0.1)


def fault(lab, where, point, what):
    """`kill` or `hold` at a point; the path of the file that says so."""
    folder = path(lab, where, "/run/lpm/fault-points")
    os.makedirs(folder, exist_ok=True)
    file = f"{folder}/{point}"
    with open(file, "w", encoding="ascii") as f:
        f.write(what)
    return file


def reached(file):
    proc.wait_until(f"{file} to be reached", lambda: os.path.exists(file + ".reached"), 30, 0.02)
    os.unlink(file + ".reached")


def begin(lab):
    source = owner(lab)
    code, document = lab.lpm(source, "migrate", "vault", "--to", other(source), "--no-wait")
    assert code == 0, document
    return source, other(source), document["id"]


def outcome(lab, where, identity):
    def look():
        document = api(lab, where, f"/v1/migrations/{identity}")[1]
        return document if document["state"] in FINAL else None
    return proc.wait_until(f"migration {identity} to end", look, 60, 0.05)


# ---- the good way ----

def test_there_and_back(lab, vault):
    for _ in range(2):
        source = owner(lab)
        before = snapshot(lab, source)
        assert before["autostart"] == ["enable"] and before["nvram"] and before["tpm"]
        code, report = lab.lpm(source, "validate", vault, "--to", other(source))
        assert (code, report["errors"]) == (0, 0), report
        verdicts = {c["id"]: c["verdict"] for c in report["checks"]}
        assert verdicts["state"] == verdicts["definition"] == verdicts["disks"] == "pass"
        assert verdicts["mover"] == verdicts["caches"] == "not-applicable"
        code, document = lab.lpm(source, "migrate", vault, "--to", other(source))
        assert (code, document["state"]) == (0, "done"), document
        assert {f["role"] for f in document["report"]["files"]} == {"nvram", "tpm"}
        settle(lab)
        assert_only(lab, other(source), before)
        names = [p["name"] for p in document["report"]["phases"]]
        assert names == ["validating", "preparing", "copying", "committing", "cleaning"]
    here = owner(lab)  # what came back is what QEMU and the TPM's program can use
    lab.virsh(here, "start", vault)
    lab.virsh(here, "destroy", vault)


# ---- what ends it ----

def test_target_that_is_down(lab, vault):
    with nothing_happens(lab) as source:
        lpmd.stop(lab.lab, lab.state, other(source))
        try:
            code, document = lab.lpm(source, "migrate", vault, "--to", other(source))
            assert code == 5
            error_of(document, "LPM-2002")
        finally:
            lpmd.start(lab.lab, lab.state, other(source))


def test_stop(lab, vault):
    with nothing_happens(lab) as source:
        file = fault(lab, source, "source.after-copying", "hold")
        identity = begin(lab)[2]
        reached(file)
        assert api(lab, source, "/v1/partitions/vault")[1]["state"] == "Migrating - Not Activated"
        assert lab.lpm(source, "stop", vault, "--no-wait")[0] == 0
        os.unlink(file)
        assert outcome(lab, source, identity)["state"] == "stopped"


@pytest.mark.parametrize("point", ["source.after-copying", "source.after-ending"])
def test_somebody_starts_it(lab, vault, point):
    """Before the decision, and in the gap between the decision and the undefining."""
    source = owner(lab)
    before = snapshot(lab, source)
    file = fault(lab, source, point, "hold")
    identity = begin(lab)[2]
    reached(file)
    lab.virsh(source, "start", vault)
    os.unlink(file)
    end = outcome(lab, source, identity)
    assert end["state"] == "failed"
    error_of(end, "LPM-3007")
    settle(lab)
    assert lab.places(vault) == [(source, "running")]
    lab.virsh(source, "destroy", vault)
    now = snapshot(lab, source)
    assert now["autostart"] == before["autostart"] and now["definition"] == before["definition"]
    assert snapshot(lab, other(source))["definition"] == ""


def test_target_whose_libvirt_refuses(lab, vault):
    """Past the decision: somebody takes the name. The source puts everything back."""
    with nothing_happens(lab) as source:
        file = fault(lab, source, "source.telling-commit", "hold")
        _, target, identity = begin(lab)
        reached(file)
        namesake = os.path.join(lab.lab.var_dir, "namesake.xml")
        with open(namesake, "w", encoding="utf-8") as f:
            f.write("<domain type='qemu'><name>vault</name><memory>65536</memory>"
                    "<os><type arch='x86_64'>hvm</type></os></domain>")
        lab.virsh(target, "define", namesake)
        os.unlink(file)
        end = outcome(lab, source, identity)
        lab.virsh(target, "undefine", vault)
        assert end["state"] == "failed"
        error_of(end, "LPM-3003")


def test_firmware_outside_its_folder(lab, vault):
    source = owner(lab)
    text = lab.virsh(source, "dumpxml", "--inactive", vault)
    define(lab, source, lambda t: t.replace(NVRAM, "/var/tmp/lpm-test-vars.fd"))
    file = path(lab, source, "/var/tmp/lpm-test-vars.fd")
    with open(file, "w", encoding="ascii") as f:
        f.write("x")
    try:
        code, document = lab.lpm(source, "migrate", vault, "--to", other(source))
        assert code == 4
        error_of(document, "LPM-3009")
    finally:
        os.unlink(file)
        define(lab, source, lambda _: text)
    settle(lab)


# ---- crashes ----

KILLS = ["source.after-copying", "source.before-ending", "source.after-ending", "source.undefined",
         "source.after-committed", "source.told-commit", "source.after-running",
         "target.after-prepared", "target.after-committed", "target.placed", "target.defined",
         "target.after-running"]


@pytest.mark.parametrize("point", KILLS)
def test_lpmd_dies(lab, vault, point):
    source = owner(lab)
    before = snapshot(lab, source)
    victim = source if point.startswith("source") else other(source)
    file = fault(lab, victim, point, "kill")
    identity = begin(lab)[2]
    reached(file)
    assert len(lab.places(vault)) <= 1
    lpmd.stop(lab.lab, lab.state, victim)  # what is left of it in the lab's books
    lpmd.start(lab.lab, lab.state, victim)
    settle(lab)
    end = api(lab, source, f"/v1/migrations/{identity}")[1]
    assert_only(lab, other(source) if end["state"] == "done" else source, before)
    undone = point in ("source.after-copying", "source.before-ending")
    assert end["state"] == ("stopped" if undone else "done")
    for where in lab.state["hosts"]:
        code, document = lab.lpm(where, "recover", vault)
        assert code == 0 and document["recoveries"][0]["owner"] == owner(lab), document


def test_the_oath(lab, vault):
    """The source dies between its decision and its word, and is sworn to be off."""
    source = owner(lab)
    before = snapshot(lab, source)
    file = fault(lab, source, "source.telling-commit", "kill")
    _, target, _ = begin(lab)
    reached(file)
    assert lab.places(vault) == []
    assert lab.lpm(target, "recover", vault)[0] == 8
    assert lab.places(vault) == []
    code, document = lab.lpm(target, "recover", vault, "--fenced", source)
    assert (code, document["recoveries"][0]["owner"]) == (0, target), document
    assert owner(lab) == target
    lpmd.stop(lab.lab, lab.state, source)
    lpmd.start(lab.lab, lab.state, source)
    settle(lab)
    assert_only(lab, target, before)
