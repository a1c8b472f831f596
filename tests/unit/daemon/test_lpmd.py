# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""lpmd as a program: starting, stopping, and what keeps it from starting. No hypervisor is needed."""
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

LPMD = os.environ["LPMD_EXE"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Lpmd:
    def __init__(self, folder, **keys):
        self.folder = folder
        self.conf = folder / "lpmd.conf"
        self.run = folder / "run"
        self.state = folder / "state"
        host = {"name": "a", "state_dir": self.state, "run_dir": self.run,
                "libvirt_uri": "test:///default", "socket_dir": folder / "sockets"}
        network = {"listen_address": "127.0.0.1", "control_port": free_port(),
                   "data_port": free_port()}
        for key, value in keys.items():
            (network if key in network else host)[key] = value
        self.conf.write_text("[host]\n" + "".join(f"{k}={v}\n" for k, v in host.items()) +
                             "[network]\n" + "".join(f"{k}={v}\n" for k, v in network.items()))
        self.process = None

    def start(self):
        """Starts it and waits until it tells systemd that it is ready."""
        notify = self.folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(notify))
            s.settimeout(10)
            environment = dict(os.environ, NOTIFY_SOCKET=str(notify))
            self.process = subprocess.Popen([LPMD, "-c", self.conf], env=environment,
                                            stderr=subprocess.PIPE, text=True)
            try:
                assert s.recv(4096) == b"READY=1"
            except TimeoutError:
                self.process.kill()
                pytest.fail("not ready: " + self.process.stderr.read())
            finally:
                notify.unlink()
        return self

    def get(self, path):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.run / "lpmd.sock"))
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: lpmd\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := s.recv(65536):
                answer += piece
        head, body = answer.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), json.loads(body)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log

    def fail(self):
        """Starts one that cannot; returns its log."""
        result = subprocess.run([LPMD, "-c", self.conf], stderr=subprocess.PIPE, text=True,
                                timeout=20)
        assert result.returncode == 1
        return result.stderr


@pytest.fixture
def lpmd(tmp_path):
    made = []

    def make(name="a", **keys):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(Lpmd(folder, **keys))
        return made[-1]

    yield make
    for one in made:
        if one.process and one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_answers_and_stops(lpmd, number):
    one = lpmd().start()
    status, host = one.get("/v1/host")
    assert status == 200 and host["name"] == "a" and host["migrations_active"] == 0
    code, log = one.stop(number)
    assert code == 0
    assert not (one.run / "lpmd.sock").exists()
    assert [e["event"] for e in entries(one)] == ["started", "stopping"]


def entries(one):
    with sqlite3.connect(one.state / "lpmd.db") as db:
        db.row_factory = sqlite3.Row
        return db.execute("SELECT * FROM log ORDER BY number").fetchall()


def test_idle_connection_does_not_hold_up_the_stop(lpmd):
    one = lpmd().start()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(one.run / "lpmd.sock"))
        s.sendall(b"GET /v1/host HTTP/1.1\r\nHost: lpmd\r\n\r\n")
        s.recv(10)
        begin = time.monotonic()
        assert one.stop()[0] == 0
        assert time.monotonic() - begin < 5


def test_survives_a_kill(lpmd):
    one = lpmd().start()
    fingerprint = one.get("/v1/host")[1]["fingerprint"]
    one.stop(signal.SIGKILL)
    one.start()  # the socket and the lock files are still there
    assert one.get("/v1/host")[1]["fingerprint"] == fingerprint
    assert one.get("/v1/log")[1]["entries"][0]["event"] == "started"


@pytest.mark.parametrize("shared", ["run_dir", "state_dir"])
def test_second_one_is_kept_out(lpmd, shared):
    one = lpmd().start()
    other = lpmd("b", **{shared: one.run if shared == "run_dir" else one.state})
    log = other.fail()
    assert "LPM-9003" in log and str(one.process.pid) in log and "lpmd.lock" in log
    assert one.get("/v1/host")[0] == 200


def test_port_in_use(lpmd):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        log = lpmd(control_port=s.getsockname()[1]).fail()
    assert "LPM-9003" in log and "Address already in use" in log


def test_damaged_journal(lpmd):
    one = lpmd()
    one.state.mkdir()
    (one.state / "lpmd.db").write_bytes(b"not a database, and long enough to be one" * 200)
    log = one.fail()
    assert "LPM-9002" in log and "damaged" in log and "Remedy" in log
    assert len(list(one.state.glob("lpmd.db.damaged-*"))) == 1


def test_damage_after_a_kill_is_kept_with_its_log(lpmd):
    """The newest decisions are in the log beside the file: both are copied, neither is touched."""
    one = lpmd().start()
    one.stop(signal.SIGKILL)
    file, log = one.state / "lpmd.db", one.state / "lpmd.db-wal"
    sound = file.read_bytes(), log.read_bytes()
    assert sound[1]
    # The page of the file that holds its tables, and so the one of the log that replaces it.
    damaged = b"\xa5" * 4096
    file.write_bytes(damaged + sound[0][4096:])
    log.write_bytes(sound[1][:32 + 24] + damaged + sound[1][32 + 24 + 4096:])
    before = file.read_bytes(), log.read_bytes()
    for start in range(2):  # it is refused for as long as nobody does something about it
        text = one.fail()
        assert "LPM-9002" in text and f"{file} is damaged (" in text and "Remedy" in text
        assert (file.read_bytes(), log.read_bytes()) == before, f"changed by start {start}"
    copies = sorted(one.state.glob("lpmd.db.damaged-*"))
    assert [c for c in copies if f"a copy is kept as {c}" in text]
    assert {c.read_bytes() for c in copies} == set(before)
    for copy in copies:
        copy.unlink()
    file.write_bytes(sound[0])
    log.write_bytes(sound[1])
    assert one.start().get("/v1/log")[1]["entries"][0]["event"] == "started"


def test_check_config(lpmd):
    one = lpmd()
    good = subprocess.run([LPMD, "-c", one.conf, "--check-config"], capture_output=True, text=True)
    assert good.returncode == 0 and "no errors" in good.stdout
    assert not one.state.exists()
    one.conf.write_text("[host]\nnmae=x\n")
    bad = subprocess.run([LPMD, "-c", one.conf, "--check-config"], capture_output=True, text=True)
    assert bad.returncode == 1 and "nmae" in bad.stderr and "LPM-9003" in bad.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["surplus"], ["-c"]])
def test_command_line(arguments):
    result = subprocess.run([LPMD, *arguments], capture_output=True, text=True)
    assert result.returncode == 2 and "--help" in result.stderr


def test_version():
    result = subprocess.run([LPMD, "--version"], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout.startswith("lpmd ")
