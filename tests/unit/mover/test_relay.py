# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""`lpm-mover relay` between two plain QEMUs: what is promised to who has no lpmd."""
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from movers import MOVER, Slow, wait_for
from qemus import Migration

KEY = b"7d" * 32


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Relays:
    """Both sides, with what the source's QEMU connects to where Movers has it."""

    def __init__(self, folder, data, source_key=KEY, target_key=KEY, rate=None, options=()):
        self.folder, self.port = folder, free_port()
        self.temporary = tempfile.mkdtemp(prefix="relay-test-")  # pytest's is long for a socket
        self.slow = Slow(self.port, rate) if rate else None
        self.target = self.launch("target", target_key, "--listen", f"127.0.0.1:{self.port}",
                                  "--connect-unix", data)
        port = self.slow.address[1] if rate else self.port
        self.source = self.launch("source", source_key, "--listen-unix", self.path("data"),
                                  "--connect", f"127.0.0.1:{port}", *options)
        wait_for(lambda: os.path.exists(self.path("data")), 10, "the relay listens")

    def launch(self, side, key, *words):
        path = os.path.join(self.folder, side + ".key")
        with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as out:
            out.write(key + b"\n")
        return subprocess.Popen([MOVER, "relay", "--" + side, "--psk-file", path, "--json", *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=os.environ | {"TMPDIR": self.temporary})

    def path(self, channel):
        return os.path.join(self.folder, f"relay-{channel}.sock")

    def finish(self, seconds=30):
        """What each side printed, after it ended well."""
        answers = []
        for side in (self.source, self.target):
            out, err = side.communicate(timeout=seconds)
            assert side.returncode == 0, err
            answers.append(json.loads(out))
        return answers

    def end(self):
        for side in (self.source, self.target):
            if side.poll() is None:
                side.kill()
            side.communicate()
        if self.slow:
            self.slow.close()
        shutil.rmtree(self.temporary)


@pytest.fixture(name="migration")
def make_migration(tmp_path):
    migration = Migration(str(tmp_path))
    yield migration
    migration.end()


@pytest.fixture(name="relay")
def make_relay(tmp_path):
    started = []

    def relay(migration, **options):
        started.append(Relays(str(tmp_path), migration.data, **options))
        return started[-1]
    yield relay
    for relays in started:
        relays.end()


def data_of(stats):
    return next(s for s in stats["streams"] if s["channel"] == "data")


def test_moves_a_partition(migration, relay):
    relays = relay(migration, options=["--compression", "zstd"])
    migration.begin(relays, bandwidth=1 << 30)
    migration.complete()
    source, target = relays.finish()
    assert source["stream_hash"] == target["stream_hash"] is not None
    assert data_of(source)["bytes_done"] == data_of(target)["bytes_done"] > 64 << 20
    assert not os.path.exists(relays.path("data"))
    assert not os.listdir(relays.temporary)


def test_post_copy_bears_a_cut(migration, relay):
    relays = relay(migration, rate=8 << 20)
    migration.begin(relays, bandwidth=4 << 20)
    migration.switch()
    # All connections of the way between them go, twice.
    for _ in range(2):
        subprocess.run(["ss", "--kill", "--tcp", "state", "established",
                        f"( dport = :{relays.port} )"], check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)  # a moment in which there is none
    migration.complete()
    source, target = relays.finish()
    assert source["stream_hash"] == target["stream_hash"] is not None
    assert source["links"][0]["reconnects"] >= 1


def test_another_key_moves_nothing(migration, relay):
    relays = relay(migration, source_key=b"7e" * 32, options=["--link-timeout", "2"])
    migration.source("migrate", uri="unix:" + relays.path("data"))
    out, err = relays.source.communicate(timeout=30)
    assert relays.source.returncode == 1 and "no link" in err and out == ""
    wait_for(lambda: migration.source.status() == "failed", 10, "QEMU's word that it failed")
    migration.source.goes_on()
    assert relays.target.poll() is None


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def forged(proof):
    drawn = os.urandom(8)
    key = hashlib.sha256(KEY).digest()
    return drawn + (hmac.new(key, b"lpm relay id\0" + drawn, "sha256").digest()[:8] if proof
                    else bytes(8))


def test_strangers_do_not_stand_in_the_way(migration, relay):
    relays = relay(migration)
    wait_for(lambda: listens(relays.port), 10, "the target's relay listens")
    # Who says nothing, who says nonsense, and who has overheard an id.
    callers = []
    for words in (b"", b"x", forged(False), forged(True), b"", b"", b"", b"", b"", b"", b""):
        caller = socket.create_connection(("127.0.0.1", relays.port), 10)
        caller.sendall(words)
        callers.append(caller)
    migration.begin(relays, bandwidth=24 << 20)
    callers += [socket.create_connection(("127.0.0.1", relays.port), 10) for _ in range(20)]
    callers[-1].sendall(forged(True))
    migration.complete()
    relays.finish()
    for caller in callers:
        caller.close()


def test_who_ends_the_relay_ends_the_copy_only(migration, relay):
    relays = relay(migration)
    migration.begin(relays, bandwidth=4 << 20)
    relays.source.send_signal(signal.SIGTERM)
    wait_for(lambda: migration.source.status() == "failed", 10, "QEMU's word that it failed")
    migration.source.goes_on()
    # The mover goes with the relay: nobody holds its other descriptors any more.
    assert relays.source.communicate(timeout=10)[0] == ""


@pytest.mark.parametrize("words, cause", [
    ([], "one of --source and --target"),
    (["--source", "--target"], "one of --source and --target"),
    (["--source", "--listen-unix", "/x", "--psk-file", "/y"], "--listen-unix and --connect"),
    (["--target", "--listen", ":1", "--connect-unix", "/x"], "--psk-file is needed"),
    (["--target", "--listen", "h:0", "--connect-unix", "/x", "--psk-file", "{}"], "no HOST:PORT"),
    (["--target", "--listen", "::1:5", "--connect-unix", "/x", "--psk-file", "{}"], "brackets"),
    (["--target", "--listen", ":5", "--connect-unix", "/x", "--psk-file", "{}", "--threads", "99"],
     "--threads 99"),
    (["--target", "--listen", ":5", "--connect-unix", "/x", "--psk-file", "{}", "--compression",
      "lzma"], "lzma"),
    (["--bogus"], "bogus"), (["--source", "more"], "'more'"),
])
def test_refuses_bad_words(words, cause, tmp_path):
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(KEY)
    done = subprocess.run([MOVER, "relay", *(w.format(path) for w in words)], capture_output=True,
                          text=True, check=False, timeout=10)
    assert done.returncode == 2 and cause in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("mode, content, cause", [
    (0o640, KEY, "mode 0640"), (0o604, KEY, "mode 0604"), (0o600, b"short\n", "5 bytes"),
    (0o600, b"k" * 5000, "more than 4096"), (0o600, b"k" * 31 + b"\n" * 100, "31 bytes"),
])
def test_refuses_bad_key_files(mode, content, cause, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    done = subprocess.run([MOVER, "relay", "--target", "--listen", "127.0.0.1:9", "--connect-unix",
                           "/x", "--psk-file", str(path)], capture_output=True, text=True,
                          check=False, timeout=10)
    assert done.returncode == 2 and cause in done.stderr
    assert content.decode().strip() not in done.stderr
