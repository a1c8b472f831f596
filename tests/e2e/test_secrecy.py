# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Nothing of a partition's memory crosses the wire in clear, and no secret shows on a host."""

import contextlib
import os
import subprocess
import time

import pytest

from lab import host, lpmd, proc, updown
from support import SLOW, assert_clean, await_copying, await_end, begin, home, move, other

MARKER = "Mnemosyne-remembers-4711"


@pytest.fixture(scope="module")
def marked(lab):
    """A guest with the marker in many of its pages; its first host's mover does not compress, so
    that what hides the marker is the encryption alone."""
    folder = os.path.join(lab.lab.host_dir("alpha"), "etc-lpm", "conf.d")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "plain.conf"), "w", encoding="ascii") as f:
        f.write("[mover]\ncompression=none\n")
    with lab.lab.lock():
        lpmd.stop(lab.lab, lab.state, "alpha")
        lpmd.start(lab.lab, lab.state, "alpha")
    lab.add_guest("tiny", mem=128, append=f"ledger.mem=24M ledger.marker={MARKER}")
    ledger = lab.start_ledger("tiny", connections=1, rate=20)
    assert ledger.stop()["memory_ok"]
    return lab


@contextlib.contextmanager
def capture(lab, where, path):
    """Everything that crosses a host's uplink meanwhile, whole packets."""
    child = subprocess.Popen(
        lab.enter(where, "tcpdump", "-i", "uplink", "-s", "0", "-U", "-B", "65536", "-w", "-"),
        stdout=open(path, "wb"), stderr=subprocess.PIPE)
    line = child.stderr.readline()
    while b"listening" not in line:
        assert line, "tcpdump ended"
        line = child.stderr.readline()
    yield
    time.sleep(0.5)  # what the kernel has buffered for tcpdump
    child.terminate()
    report = child.communicate()[1].decode()
    assert "\n0 packets dropped by kernel" in "\n" + report, report


def occurrences(path, text):
    with open(path, "rb") as f:
        return f.read().count(text.encode())


def test_marker_is_not_on_the_wire(marked, tmp_path):
    path = tmp_path / "ours.pcap"
    assert home(marked, "tiny") == "alpha"
    with capture(marked, "alpha", path):
        report = move(marked, "tiny")
    # It was all there to be seen: the capture holds the whole stream.
    assert report["encoded_bytes"] > 24 << 20
    assert os.path.getsize(path) > report["encoded_bytes"]
    assert occurrences(path, MARKER) == 0


def test_marker_is_found_when_plain_libvirt_sends_it(marked, tmp_path):
    """Without this the test above could pass for want of a marker."""
    path = tmp_path / "plain.pcap"
    source = home(marked, "tiny")
    target = other(source)
    with capture(marked, source, path):
        marked.virsh(source, "migrate", "--live", "--p2p", "--persistent", "--undefinesource",
                     "tiny", host.libvirt_uri(marked.state, target), "--migrateuri",
                     f"tcp://{marked.state['hosts'][target]['address']}")
    assert occurrences(path, MARKER) > 1000


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_no_secret_in_arguments_environment_or_logs(marked):
    """The session's key is 64 hexadecimal digits, as is nothing else that a process here carries;
    and only root can read the key and the journal of a host."""
    source, target, identity = begin(marked, "tiny", *SLOW)
    await_copying(marked, source, identity)
    texts = {}
    for pid in updown.members(marked.lab):
        for what in ("cmdline", "environ"):
            texts[f"{pid}/{what}"] = read(f"/proc/{pid}/{what}")
    assert await_end(marked, source, identity)["state"] == "done"
    assert_clean(marked)
    for where in (source, target):
        texts[f"log of {where}"] = read(lpmd.log_path(marked.lab, where))
        folder = os.path.join(marked.lab.host_dir(where), "lib-lpm")
        for name in os.listdir(folder):
            if name not in ("host.crt", "lpmd.lock"):
                assert os.stat(os.path.join(folder, name)).st_mode & 0o077 == 0, name
    assert len(texts) > 10
    digits = set(b"0123456789abcdef")
    for where, text in texts.items():
        words = text.replace(b"\0", b" ").replace(b"=", b" ").replace(b'"', b" ").split()
        long = [w for w in words if len(w) == 64 and set(w) <= digits]
        assert long == [], where
    assert proc.alive(marked.state["hosts"][source]["lpmd"])
