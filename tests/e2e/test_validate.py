# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""lpm validate: a prerequisite that is missing is found by its code, and nothing else is; a lab in
which all is well has no finding at all. Each test breaks one thing and mends it again. Of disks:
test_validate_disks.py; of networks and hosts: test_validate_hosts.py."""

import contextlib
import json
import os
import re
import subprocess

import pytest

from lab import guest, host, lpmd, net, proc
from support import SLOW, assert_clean, await_copying, await_end, begin, clients, home, nothing_changes
from validating import (ANOTHER_MAC, ANOTHER_UUID, LIMIT_MS, TWO_DISKS, attached_file, cause,
                        codes, configured, defined, definition, device, on_battery, private, validate,
                        verdict)

GUEST = TWO_DISKS


# ---- the clean case ----

def test_clean(lab, tiny):
    with nothing_changes(lab):
        report = validate(lab, tiny)
        assert codes(report) == [] and report["took_ms"] < LIMIT_MS
    assert {c["verdict"] for c in report["checks"]} == {"pass", "not-applicable"}
    assert {c["id"] for c in report["checks"] if c["verdict"] == "pass"} >= {
        "trust", "versions", "mover", "disks", "reservations", "files", "networks", "devices",
        "consoles", "memory", "processors", "processor", "machine", "names", "macs", "state",
        "jobs", "power", "clocks", "limits"}
    assert [a["kind"] for a in report["adapters"]] == ["disk", "disk", "network"]


def test_for_people(lab, tiny):
    done = proc.run(lab.enter("alpha", lab.program("lpm"), "validate", tiny, "--to", "beta"),
                    check=False)
    assert done.returncode == 0
    assert done.stdout.endswith(f"Moving {tiny} to beta may be possible.\n")
    assert re.search(r"^pass +R2\.3 +The target sees the same disks$", done.stdout, re.M)
    assert re.search(r"^vda +disk +iqn\S+ +iqn\S+ +name$", done.stdout, re.M)


def test_all_hosts(lab, tiny):
    code, document = lab.lpm("alpha", "validate", tiny, "--all-hosts")
    assert code == 0 and [v["target"] for v in document["validations"]] == ["beta"]


def test_what_is_not_there(lab, tiny):
    assert lab.lpm("alpha", "validate", "nosuch", "--to", "beta")[1]["error"]["code"] == "LPM-1003"
    assert lab.lpm("alpha", "validate", tiny, "--to", "nosuch")[1]["error"]["code"] == "LPM-2001"
    assert lab.lpm("alpha", "validate", tiny)[1]["error"]["code"] == "LPM-1009"


def test_other_host_does_not_answer(lab, tiny):
    lpmd.stop(lab.lab, lab.state, "beta")
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-2002"]
        assert verdict(report, "disks") == "not-checked" and verdict(report, "state") == "pass"
    finally:
        lpmd.start(lab.lab, lab.state, "beta")


# ---- names and addresses ----

def test_inactive_namesake(lab, tiny):
    with defined(lab, "beta", tiny, definition(lab, tiny, ANOTHER_UUID)):
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-3003"] and "inactive" in cause(report, "LPM-3003")


def test_inactive_definition_of_the_same_partition(lab, tiny):
    """What libvirt replaces without a word."""
    with defined(lab, "beta", tiny, definition(lab, tiny)):
        assert codes(validate(lab, tiny)) == ["LPM-3003"]


def test_uuid_in_use(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>elsewhere</name>"))
    with defined(lab, "beta", "elsewhere", path):
        assert codes(validate(lab, tiny)) == ["LPM-3003"]


def test_mac_in_use(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>elsewhere</name>"), ANOTHER_UUID)
    with defined(lab, "beta", "elsewhere", path):
        assert codes(validate(lab, tiny)) == ["LPM-6015"]


# ---- what cannot be started in the lab: the findings on a partition that is powered off ----

HUGE = "<memoryBacking><hugepages/></memoryBacking><vcpu"
DISPLAY = "<graphics type='vnc' port='-1' listen='10.99.99.99'/></devices>"
OFF = [
    ("memory", [(r"<memory unit='KiB'>\d+<", "<memory unit='TiB'>2<"),
                (r"<currentMemory unit='KiB'>\d+<", "<currentMemory unit='TiB'>2<")], "LPM-6030"),
    ("hugepages", [("<vcpu", HUGE)], "LPM-6031"),
    ("display", [("</devices>", DISPLAY)], "LPM-6041"),
    ("console", [("<serial type='pty'>",
                  "<serial type='file'><source path='/var/lib/libvirt/only-alpha/log'/>")],
     "LPM-6042"),
    ("hostdev", [("</devices>", "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                  "<address domain='0x0' bus='0x6' slot='0x2' function='0x0'/></source></hostdev>"
                  "</devices>")], "LPM-6040"),
    ("fast-path", [(r"(<interface type='bridge'>.*?)</interface>", r"\1<teaming type='persistent'/>"
                    "<alias name='ua-standby'/></interface>"),
                   ("</devices>", "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                    "<address domain='0x0' bus='0xfe' slot='0x2' function='0x0'/></source>"
                    "<teaming type='transient' persistent='ua-standby'/></hostdev></devices>")],
     "LPM-6117"),
    ("no-standby", [("</devices>", "<hostdev mode='subsystem' type='pci' managed='yes'><source>"
                     "<address domain='0x0' bus='0xfe' slot='0x2' function='0x0'/></source>"
                     "<teaming type='transient' persistent='ua-standby'/></hostdev></devices>")],
     ["LPM-6040", "LPM-6117"]),
    ("folder", [("</devices>", "<filesystem type='mount' accessmode='passthrough'>"
                 "<source dir='/srv'/><target dir='srv'/></filesystem></devices>")], "LPM-6040"),
    ("pinned", [("<vcpu placement='static'>", "<vcpu placement='static' cpuset='900-901'>")],
     "LPM-6034"),
    ("node", [("<os>", "<numatune><memory mode='preferred' nodeset='60'/></numatune><os>")],
     "LPM-6034"),
    ("node-memory", [(r"<memory unit='KiB'>\d+<", "<memory unit='TiB'>2<"),
                     (r"<currentMemory unit='KiB'>\d+<", "<currentMemory unit='TiB'>2<"),
                     ("<os>", "<numatune><memory mode='strict' nodeset='0'/></numatune><os>")],
     ["LPM-6030", "LPM-6035"]),
    ("user-network", [(r"<interface type='bridge'>(.*?)<source bridge='br0'/>",
                       r"<interface type='user'>\1")], "LPM-6013"),
]


@pytest.mark.parametrize("name, changes, code", OFF, ids=[o[0] for o in OFF])
def test_definition(lab, tiny, name, changes, code):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", f"<name>{name}</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, *changes)
    if name == "console":
        os.makedirs(host.root(lab.state, "alpha") + "/var/lib/libvirt/only-alpha", exist_ok=True)
    with defined(lab, "alpha", name, path):
        assert codes(validate(lab, name)) == ([code] if isinstance(code, str) else code)


def test_sound_and_watchdog_go_along(lab, tiny):
    path = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>loud</name>"), ANOTHER_UUID,
                      ANOTHER_MAC, ("</devices>", "<sound model='ich6'/><watchdog model='i6300esb' "
                                    "action='reset'/></devices>"))
    with defined(lab, "alpha", "loud", path):
        assert codes(validate(lab, "loud")) == []


# ---- devices and state of a running one ----

def test_shared_memory(lab, tiny):
    with device(lab, tiny, "<shmem name='lpmtest'><model type='ivshmem-plain'/>"
                           "<size unit='M'>4</size></shmem>", "lpmtest"):
        assert codes(validate(lab, tiny)) == ["LPM-6040"]


CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"


def test_firmware_variables(lab):
    """The target's libvirt makes their file from a template before anything of them arrives."""
    with open(VARIABLES, "rb") as f:
        template = private(lab, "alpha", "vars.fd", f.read())
    lab.add_guest("fw", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    try:
        lab.virsh("alpha", "define", definition(
            lab, "fw", ("<kernel>", f"<loader readonly='yes' type='pflash'>{CODE}</loader><nvram "
                        f"template='{template}'>/var/lib/libvirt/qemu/nvram/fw.fd</nvram><kernel>")))
        lab.virsh("alpha", "start", "fw")
        report = validate(lab, "fw")
        assert codes(report) == ["LPM-6114"] and template in cause(report, "LPM-6114")
        private(lab, "beta", "vars.fd", b"")
        assert codes(validate(lab, "fw")) == []
    finally:
        lab.virsh("alpha", "destroy", "fw", check=False)
        lab.virsh("alpha", "undefine", "fw", "--nvram", check=False)
        lab.remove_guest("fw")


def test_silent_agent(lab):
    """A warning: it is not needed, but somebody meant it to be there."""
    lab.add_guest("agent", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    lab.virsh("alpha", "define", definition(
        lab, "agent", ("</devices>", "<channel type='unix'><target type='virtio' "
                       "name='org.qemu.guest_agent.0'/></channel></devices>")))
    lab.virsh("alpha", "start", "agent")
    try:
        assert codes(validate(lab, "agent")) == ["LPM-6100"]
        # It does not stop a migration, which tells it, there and in the log.
        code, document = lab.lpm("alpha", "migrate", "agent", "--to", "beta")
        assert (code, document["state"]) == (0, "done"), document
        assert [f["code"] for f in document["findings"]] == ["LPM-6100"]
        entries = lab.lpm("alpha", "log", "--migration", document["id"])[1]["entries"]
        assert [e for e in entries if e["event"] == "validate" and "LPM-6100" in e["text"]]
    finally:
        lab.remove_guest("agent")


NAMESPACE = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"


def team(lab, name):
    """A definition of it with a team: the standby is its adapter, the fast path an emulated card that
    QEMU treats as it does a virtual function (this machine has none)."""
    mac = lab.state["guests"][name]["nics"][0]["mac"]
    words = ["-device", "pcie-root-port,id=fast-port,bus=pcie.0,chassis=99,addr=0x1d",
             "-netdev", "user,id=fast-net", "-device", f"e1000e,id=fast,netdev=fast-net,"
             f"bus=fast-port,mac={mac},failover_pair_id=ua-standby"]
    line = "".join(f"<qemu:arg value='{w}'/>" for w in words)
    return definition(lab, name, ("<domain type='qemu'>", f"<domain type='qemu' {NAMESPACE}>"),
                      (r"(<interface type='bridge'>.*?)</interface>",
                       r"\1<teaming type='persistent'/><alias name='ua-standby'/></interface>"),
                      ("</domain>", f"<qemu:commandline>{line}</qemu:commandline></domain>"))


def has_card(lab, where, name):
    devices = lab.virsh(where, "qemu-monitor-command", name, "--hmp", "info pci")
    return "8086:10d3" in devices


def test_team_is_moved(lab):
    """The fast path is unplugged for the move and plugged on the target; the standby carries the
    clients' traffic."""
    lab.add_guest("team", mem=128, machine="q35", append="ledger.mem=16M ledger.dirty=0",
                  no_start=True)
    watch = None
    try:
        lab.virsh("alpha", "define", team(lab, "team"))
        lab.virsh("alpha", "start", "team")
        guest.wait_booted(lab.state["guests"]["team"])
        # Plugged when the guest's driver has said that it knows of teams.
        proc.wait_until("the fast path", lambda: has_card(lab, "alpha", "team"), 20)
        watch = subprocess.Popen(
            ["virsh", "-c", host.libvirt_uri(lab.state, "alpha"), "qemu-monitor-event", "team",
             "--event", "UNPLUG_PRIMARY", "--timeout", "60"], stdout=subprocess.PIPE, text=True)
        with clients(lab, "team"):
            code, document = lab.lpm("alpha", "migrate", "team", "--to", "beta")
            assert (code, document["state"]) == (0, "done"), document
        assert "UNPLUG_PRIMARY" in watch.communicate(timeout=90)[0]
        assert home(lab, "team") == "beta"
        proc.wait_until("the fast path", lambda: has_card(lab, "beta", "team"), 20)
    finally:
        if watch and watch.poll() is None:
            watch.kill()
            watch.wait()
        lab.remove_guest("team")


def test_paused(lab, tiny):
    lab.virsh("alpha", "suspend", tiny)
    try:
        assert codes(validate(lab, tiny)) == ["LPM-3002"]
    finally:
        lab.virsh("alpha", "resume", tiny)


# What a guest's driver does, done for it: one write to a port of a device.
PANICS = "o /b 0x505 1"  # pvpanic
SLEEPS = "o /w 0x604 0x2400"  # of the power management that its firmware has set up: sleep, S3


def test_crashed_and_suspended_by_its_guest(lab):
    lab.add_guest("asleep", mem=128, append="ledger.mem=16M ledger.dirty=0", no_start=True)
    lab.virsh("alpha", "define", definition(
        lab, "asleep", ("</devices>", "<panic model='isa'/></devices>")))
    try:
        for does, becomes in ((PANICS, "is crashed"), (SLEEPS, "is suspended by its guest")):
            lab.virsh("alpha", "start", "asleep")
            assert codes(validate(lab, "asleep")) == []

            def has_stopped():  # nothing happens before its firmware has set the device up
                lab.virsh("alpha", "qemu-monitor-command", "asleep", "--hmp", does)
                return lab.virsh("alpha", "domstate", "asleep").strip() != "running"
            proc.wait_until("the partition to stop", has_stopped, 20, interval=0.2)
            report = validate(lab, "asleep")
            assert codes(report) == ["LPM-3002"] and becomes in cause(report, "LPM-3002")
            code, document = lab.lpm("alpha", "migrate", "asleep", "--to", "beta")
            assert code != 0 and document["error"]["code"] == "LPM-3002", document
            lab.virsh("alpha", "destroy", "asleep")
    finally:
        lab.remove_guest("asleep")


BACKUP = """<domainbackup mode='pull'><server transport='unix' socket='{folder}/backup.sock'/><disks>
<disk name='vda' backup='yes' type='file'><scratch file='{folder}/scratch.qcow2'/></disk>
<disk name='vdb' backup='no'/></disks></domainbackup>"""


def test_backup(lab, tiny):
    path = os.path.join(lab.lab.var_dir, "backup.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(BACKUP.format(folder=lab.lab.var_dir))
    lab.virsh("alpha", "backup-begin", tiny, path)
    try:
        report = validate(lab, tiny)
        assert set(codes(report)) == {"LPM-3005"} and "backup" in cause(report, "LPM-3005")
    finally:
        lab.virsh("alpha", "domjobabort", tiny)
    proc.wait_until("the backup to be over", lambda: codes(validate(lab, tiny)) == [], 20)


def test_snapshot(lab, tiny):
    """One that libvirt is only told of: its metadata is what cannot be moved."""
    xml = lab.virsh("alpha", "dumpxml", tiny)
    path = os.path.join(lab.lab.var_dir, "snapshot.xml")
    with open(path, "w", encoding="utf-8") as f:
        f.write("<domainsnapshot><name>one</name><state>disk-snapshot</state><creationTime>1"
                "</creationTime><memory snapshot='no'/><disks><disk name='vda' snapshot='external' "
                "type='file'><source file='/tmp/overlay'/></disk><disk name='vdb' snapshot='no'/>"
                f"</disks>{xml}</domainsnapshot>")
    lab.virsh("alpha", "snapshot-create", tiny, path, "--redefine")
    try:
        assert codes(validate(lab, tiny)) == ["LPM-6080"]
    finally:
        lab.virsh("alpha", "snapshot-delete", tiny, "one", "--metadata")


def test_block_job(lab, tiny):
    copy = os.path.join(lab.lab.var_dir, "copy.raw")
    lab.virsh("alpha", "blockcopy", tiny, "vda", "--dest", copy, "--format", "raw",
              "--transient-job", "--bandwidth", "1")
    try:
        report = validate(lab, tiny)
        assert codes(report) == ["LPM-3005"] and "vda" in cause(report, "LPM-3005")
    finally:
        lab.virsh("alpha", "blockjob", tiny, "vda", "--abort")


def test_already_migrating(lab):
    lab.add_guest("mover", mem=128, append="ledger.mem=16M ledger.dirty=0")
    source, _, identity = begin(lab, "mover", *SLOW)
    try:
        await_copying(lab, source, identity)
        code, report = lab.lpm(source, "validate", "mover", "--to", "beta")
        # Its own copy on the target, which is there already, is no namesake.
        assert (code, codes(report)) == (2, ["LPM-1005"])
        assert report["took_ms"] < LIMIT_MS  # not until the migration has ended
        # Another partition may be moved meanwhile, unless that is one too many.
        lab.add_guest("second", mem=128, append="ledger.mem=16M ledger.dirty=0")
        try:
            assert codes(validate(lab, "second")) == []
        finally:
            lab.remove_guest("second")
    finally:
        lab.lpm(source, "stop", "mover")
        await_end(lab, source, identity)
    assert_clean(lab)
    lab.remove_guest("mover")


def test_as_many_as_the_host_may_carry(lab, tiny):
    with configured(lab, "beta", "[migration]\nmax_migrations=1\n"):
        lab.add_guest("first", mem=128, append="ledger.mem=16M ledger.dirty=0")
        source, _, identity = begin(lab, "first", *SLOW)
        try:
            await_copying(lab, source, identity)
            report = validate(lab, tiny)
            assert codes(report) == ["LPM-1008"] and "beta" in cause(report, "LPM-1008")
        finally:
            lab.lpm(source, "stop", "first")
            await_end(lab, source, identity)
        assert_clean(lab)
        lab.remove_guest("first")


# ---- the start of a migration ----

def test_migrate_begins_with_it(lab, tiny, image):
    """Every error is named, nothing is changed, and no force helps against what is no loss of
    redundancy."""
    with attached_file(lab, tiny, image, "--cache", "writeback"), nothing_changes(lab):
        for force in ([], ["--force"]):
            code, document = lab.lpm("alpha", "migrate", tiny, "--to", "beta", *force)
            assert (code, document["state"]) == (4, "failed"), document
            assert document["error"]["code"] == "LPM-6003"
            assert all(c in document["error"]["cause"] for c in ("LPM-6003", "LPM-6006"))
            assert [f["code"] for f in document["findings"]] == ["LPM-6003", "LPM-6006"]
        # As the journal has it, and as people see it.
        assert lab.lpm("alpha", "status", document["id"])[1]["findings"] == document["findings"]
        done = proc.run(lab.enter("alpha", lab.program("lpm"), "migrate", tiny, "--to", "beta"),
                        check=False)
        assert re.findall(r"^lpm: error (LPM-\d+)", done.stderr, re.M) == ["LPM-6003", "LPM-6006"]


# ---- many at once ----

def test_many_at_once(lab, tiny, segment, image):
    """Thirteen broken prerequisites are all in one report."""
    lan, beta = lab.lab.netns("lan"), lab.lab.netns("beta")
    seed = private(lab, "alpha", "many.iso", b"1" * 4096)
    changes = [(f"<name>{tiny}</name>", "<name>many</name>"), ANOTHER_UUID,
               (r"<memory unit='KiB'>\d+<", "<memory unit='TiB'>2<"),
               (r"<currentMemory unit='KiB'>\d+<", "<currentMemory unit='TiB'>2<"),
               ("</devices>",
                "<filesystem type='mount' accessmode='passthrough'><source dir='/srv'/>"
                "<target dir='srv'/></filesystem>"
                f"<disk type='file' device='disk'><driver name='qemu' cache='writeback'/>"
                f"<source file='{image}'/><target dev='vdy' bus='virtio'/></disk>"
                f"<disk type='file' device='disk'><driver name='qemu'/><source file='{seed}'/>"
                "<readonly/><target dev='vdz' bus='virtio'/></disk>"
                "<interface type='bridge'><mac address='52:54:00:cc:00:01'/>"
                "<source bridge='br8'/></interface>"
                "<interface type='bridge'><mac address='52:54:00:cc:00:02'/>"
                f"<source bridge='{segment}'/></interface>"
                "<interface type='user'><mac address='52:54:00:cc:00:03'/></interface>"
                "<graphics type='vnc' port='-1' listen='10.99.99.99'/>"
                "<serial type='file'><source path='/var/lib/libvirt/only-alpha/log'/></serial>"
                "</devices>")]
    os.makedirs(host.root(lab.state, "alpha") + "/var/lib/libvirt/only-alpha", exist_ok=True)
    broken = definition(lab, tiny, *changes)
    net.ip("link", "add", "br8", "type", "bridge", netns=lab.lab.netns("alpha"))
    net.ip("link", "set", f"beta-{segment}", "nomaster", netns=lan)
    with contextlib.ExitStack() as stack:
        stack.callback(net.ip, "link", "set", f"beta-{segment}", "master", segment, netns=lan)
        stack.callback(net.ip, "link", "del", "br8", netns=lab.lab.netns("alpha"))
        net.ip("link", "set", "san0", "down", netns=beta)
        stack.callback(net.ip, "link", "set", "san0", "up", netns=beta)
        stack.enter_context(defined(lab, "alpha", "many", broken))
        namesake = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>many</name>"),
                              (r"<uuid>.*?</uuid>", ""))
        stack.enter_context(defined(lab, "beta", "many", namesake))
        elsewhere = definition(lab, tiny, (f"<name>{tiny}</name>", "<name>elsewhere</name>"),
                               (r"<uuid>.*?</uuid>", ""))
        stack.enter_context(defined(lab, "beta", "elsewhere", elsewhere))
        stack.enter_context(on_battery(lab, "beta"))
        report = validate(lab, "many")
    assert set(codes(report)) == {
        "LPM-3003", "LPM-6002", "LPM-6003", "LPM-6007", "LPM-6010", "LPM-6011", "LPM-6013",
        "LPM-6015", "LPM-6030", "LPM-6040", "LPM-6041", "LPM-6042", "LPM-6070"}
    assert report["took_ms"] < LIMIT_MS


def test_clean_again(lab, tiny):
    """Nothing of all this is left over."""
    assert home(lab, tiny) == "alpha"
    report = validate(lab, tiny)
    assert codes(report) == [], json.dumps(report["checks"], indent=1)
    assert_clean(lab)
