# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The lab itself: it comes up, carries a guest from host to host with plain libvirt, and leaves
nothing behind, whatever happened to it. Each test has a lab of its own, beside any other.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TREE)

from lab import net, proc, updown  # noqa: E402
from lab.proc import LabError  # noqa: E402
from lab.state import Lab  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root for namespaces")


def command(name, *args):
    return [sys.executable, "-m", "lab", "--name", name, *args]


ENV = dict(os.environ, PYTHONPATH=TREE, PYTHONDONTWRITEBYTECODE="1")


def lab_cli(name, *args, check=True, timeout=180):
    done = subprocess.run(command(name, *args), env=ENV, text=True, capture_output=True,
                          timeout=timeout)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def name():
    """A lab name of this run; whatever a test leaves of it is taken down."""
    chosen = f"t{os.getpid() % 1000000}"
    yield chosen
    lab_cli(chosen, "down")
    assert updown.leftovers(Lab(chosen)) == []


@pytest.fixture
def up(name):
    lab_cli(name, "up", "--no-lpmd", "--rate", "none")
    return name


def info(name, *args):
    return json.loads(lab_cli(name, "info", "--json", *args).stdout)


def test_up_down_and_down_again(up):
    assert json.loads(lab_cli(up, "status", "--json").stdout)["ok"] is True
    hosts = info(up)["hosts"]
    assert sorted(hosts) == ["alpha", "beta"]
    for name, host in hosts.items():
        assert lab_cli(up, "exec", name, "hostname").stdout.strip() == name
        assert os.path.exists(host["libvirt_socket"])
    lab_cli(up, "down")
    assert updown.leftovers(Lab(up)) == []
    assert "was not up" in lab_cli(up, "down").stderr
    assert lab_cli(up, "status", check=False).returncode == 3


def test_up_twice_is_refused_and_harmless(up):
    before = info(up)
    again = lab_cli(up, "up", "--no-lpmd", check=False)
    assert again.returncode == 1 and "is up already" in again.stderr
    assert info(up) == before


def test_hosts_are_different_managed_systems(up):
    uuids = {lab_cli(up, "virsh", h, "capabilities").stdout.partition("<uuid>")[2][:36]
             for h in ("alpha", "beta")}
    assert len(uuids) == 2 and all(len(u) == 36 for u in uuids)
    lab_cli(up, "exec", "alpha", "busybox", "ping", "-c", "1", "-W", "2", "beta")
    # The machine itself has no way into the lab.
    address = info(up)["hosts"]["alpha"]["address"]
    routes = proc.run(["ip", "route", "get", address], check=False).stdout
    assert "br0" not in routes and "uplink" not in routes


@pytest.mark.parametrize("delay_ms", [30, 90, 140, 190, 240, 320, 450, 700])
def test_down_after_up_was_killed(name, delay_ms):
    child = subprocess.Popen(command(name, "up", "--no-lpmd"), env=ENV, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay_ms / 1000)  # the moment is the point of the test
    child.send_signal(signal.SIGKILL)
    child.wait()
    lab_cli(name, "down")
    assert updown.leftovers(Lab(name)) == []


def test_down_without_state_file_and_with_dead_daemons(up):
    document = info(up)
    os.kill(document["hosts"]["alpha"]["holder_pid"], signal.SIGKILL)
    os.kill(document["hosts"]["beta"]["pids"]["libvirtd"], signal.SIGKILL)
    os.unlink(Lab(up).state_file)
    assert "half-built" in lab_cli(up, "status", check=False).stdout
    lab_cli(up, "down")
    assert updown.leftovers(Lab(up)) == []


def test_down_with_a_truncated_state_file(up):
    with open(Lab(up).state_file, "w") as f:
        f.write('{"name": "')
    refused = lab_cli(up, "up", "--no-lpmd", check=False)
    assert refused.returncode == 1 and "half-built" in refused.stderr
    lab_cli(up, "down")


def test_a_reused_pid_is_not_ours():
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        stale = {"pid": bystander.pid, "start": proc.start_time(bystander.pid) - 1}
        assert not proc.alive(stale)
        proc.end(stale)
        proc.send(stale["pid"], stale["start"], signal.SIGKILL)
        assert bystander.poll() is None
        assert proc.alive(proc.record(bystander.pid))
    finally:
        bystander.kill()
        bystander.wait()


def test_second_lab_beside_the_first(up):
    other = up + "x"
    try:
        lab_cli(other, "up", "--no-lpmd")
        one, two = info(up), info(other)
        assert one["hosts"]["alpha"]["address"] != two["hosts"]["alpha"]["address"]
        lab_cli(other, "down")
        assert json.loads(lab_cli(up, "status", "--json").stdout)["ok"] is True
        assert info(up) == one
    finally:
        lab_cli(other, "down")


def test_guest_migrates_with_plain_libvirt_and_stays_reachable(up):
    lab_cli(up, "guest", "add", "g1", "--wait")
    document = info(up)
    guest, hosts = document["guests"]["g1"], document["hosts"]
    ping = ["exec", "client", "busybox", "ping", "-c", "1", "-W", "3", guest["address"]]
    lab_cli(up, *ping)
    for source, target in (("alpha", "beta"), ("beta", "alpha")):
        before = info(up, "--counters")["hosts"][source]["uplink"]["counters"]["tx_bytes"]
        lab_cli(up, "virsh", source, "migrate", "--live", "--p2p", "--persistent",
                "--undefinesource", "g1", hosts[target]["libvirt_uri"])
        sent = info(up, "--counters")["hosts"][source]["uplink"]["counters"]["tx_bytes"] - before
        assert sent > 20 * 2**20, "the memory did not cross the uplink"
        places = json.loads(lab_cli(up, "status", "--json").stdout)["guests"]["g1"]
        assert places == [[target, "running"]]
        lab_cli(up, *ping)
    lab_cli(up, "guest", "rm", "g1")
    assert info(up)["guests"] == {} and info(up)["san"]["luns"] == []


def test_luns_have_identities_that_both_hosts_see(up):
    lab_cli(up, "guest", "add", "g1", "--disks", "2", "--nics", "2", "--machine", "q35", "--no-start")
    document = info(up)
    assert len(document["guests"]["g1"]["luns"]) == 2
    san = document["san"]
    for lun in san["luns"]:
        url = f"iscsi://{san['address']}:{san['port']}/{san['iqn']}/{lun['lun']}"
        for host in ("alpha", "beta"):
            page = lab_cli(up, "exec", host, "iscsi-inq", "-e", "1", "-c", "128", url).stdout
            assert lun["serial"] in page
            page = lab_cli(up, "exec", host, "iscsi-inq", "-e", "1", "-c", "131", url).stdout
            assert lun["id"] in page
    assert len({lun["serial"] for lun in san["luns"]}) == 2


def test_uplinks_are_shaped_in_both_directions(up):
    def shaped(where, device):
        out = lab_cli(up, "exec", where, "tc", "qdisc", "show", "dev", device).stdout
        return "tbf" in out and "rate 50Mbit" in out
    assert not shaped("alpha", "uplink")
    lab_cli(up, "rate", "alpha", "50mbit")
    assert shaped("alpha", "uplink") and shaped("lan", "alpha")
    assert not shaped("beta", "uplink")
    lab_cli(up, "rate", "all", "none")
    assert not shaped("alpha", "uplink") and not shaped("lan", "alpha")


def test_libvirtd_crash_leaves_the_guest_and_comes_back(up):
    lab_cli(up, "guest", "add", "g1", "--wait")
    lab_cli(up, "stop-libvirtd", "alpha", "--kill")
    assert lab_cli(up, "status", check=False).returncode == 1
    address = info(up)["guests"]["g1"]["address"]
    lab_cli(up, "exec", "client", "busybox", "ping", "-c", "1", "-W", "3", address)
    lab_cli(up, "start-libvirtd", "alpha")
    places = json.loads(lab_cli(up, "status", "--json").stdout)["guests"]["g1"]
    assert places == [["alpha", "running"]]


@pytest.mark.parametrize("args, words", [
    (("guest", "add", "bad name"), "cannot be a guest's name"),
    (("guest", "add", "x", "--host", "gamma"), "there is no host 'gamma'"),
    (("guest", "add", "x", "--mem", "1"), "--mem 1"),
    (("guest", "add", "x", "--lun-size", "huge"), "'huge' is not a size"),
    (("guest", "rm", "nobody"), "there is no guest 'nobody'"),
    (("exec", "delta", "true"), "there is no 'delta'"),
    (("console", "nobody"), "no partition 'nobody' runs"),
    (("rate", "alpha", "fast"), "'fast' is not a rate"),
])
def test_mistakes_get_one_clear_error_and_change_nothing(shared, args, words):
    before = info(shared)
    done = lab_cli(shared, *args, check=False)
    assert done.returncode == 1
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert info(shared) == before


@pytest.fixture(scope="module")
def shared():
    chosen = f"t{os.getpid() % 100000}shared"
    lab_cli(chosen, "up", "--no-lpmd", "--rate", "none")
    yield chosen
    lab_cli(chosen, "down")


def test_names_and_rates():
    assert net.parse_rate("1gbit") == 10**9 and net.parse_rate("2.5mbit") == 2500000
    assert net.parse_rate("none") is None
    for bad in ("", "1", "0mbit", "-1gbit", "1gb", "1kbit"):
        with pytest.raises(LabError):
            net.parse_rate(bad)
    for bad in ("", "A", "1x", "a-b", "averyverylongname", "../x"):
        with pytest.raises(LabError):
            Lab(bad)
