# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""lpm as an operator and a script see it: output, errors, exit codes, terminals.

LPM_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before it is committed.
"""
import fcntl
import json
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from xml.etree import ElementTree

import pytest

import fake_lpmd
from fake_lpmd import DONE, FakeLpmd, error, migration

LPM = os.environ["LPM_EXE"]
HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"
ROOT = HERE.parent.parent.parent


@pytest.fixture
def lpmd(tmp_path):
    servers = []

    def stop():
        if servers and servers[-1].server:
            servers[-1].stop()

    def start(answers):
        stop()
        servers.append(FakeLpmd(tmp_path / "lpmd.sock", answers))
        return servers[-1]

    yield start
    stop()


@pytest.fixture
def environment(tmp_path):
    return {"PATH": os.environ["PATH"], "LPM_SOCKET": str(tmp_path / "lpmd.sock"), "TZ": "UTC",
            "LC_ALL": "C.UTF-8", "TERM": "xterm",
            **{k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}}


@pytest.fixture
def lpm(environment):
    def run(*words, stdin="", **more):
        return subprocess.run([LPM, *words], input=stdin, env={**environment, **more},
                              capture_output=True, text=True, timeout=40)

    return run


def check_golden(name, text):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LPM_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


class Terminal:
    """lpm on a pseudo terminal as its stdin, stdout and stderr."""

    def __init__(self, words, environment, columns, rows=24):
        self.fd, slave = os.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [LPM, *words], env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.output = ""
        self.code = None

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def read_until(self, wanted, seconds=20):
        """Until the output matches `wanted`, or (None) until it ends."""
        end = time.monotonic() + seconds
        while wanted is None or not re.search(wanted, self.output):
            assert time.monotonic() < end, f"waited for {wanted!r}, got {self.output!r}"
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            if not data:
                assert wanted is None, f"ended before {wanted!r}: {self.output!r}"
                break
            self.output += data.decode()
        return self.output

    def write(self, text):
        os.write(self.fd, text.encode())

    def finish(self):
        self.read_until(None)
        self.code = self.process.wait(10)
        os.close(self.fd)
        return self.output


# --- What is shown ---

QUEUE = {"queue": [migration("queued", queue={
    "position": 1, "priority": 5,
    "waits_for": "a carries 4 migrations of at most 4 (max_outgoing)"})]}

SHOWN = {
    "list": (["list"], {"GET /v1/partitions": [fake_lpmd.PARTITIONS]}),
    "show": (["show", "web"], {"GET /v1/partitions/web": [fake_lpmd.PARTITION]}),
    "host-list": (["host", "list"], {"GET /v1/host/peers": [fake_lpmd.PEERS]}),
    "host-invite": (["host", "invite"], {
        "POST /v1/host/invites": [{"code": "K7Q2-9F", "expires_ms": 1700000600000,
                                   "fingerprint": "abc=", "data_port": 17521}],
        "GET /v1/host": [fake_lpmd.HOST]}),
    "host-unpair": (["host", "unpair", "b"], {"DELETE /v1/host/peers/b": [{"removed": "b"}]}),
    "status": (["status"], {"GET /v1/migrations?active=true": [
        {"migrations": [migration("copying", 72), migration("done", 100)]}]}),
    "status-none": (["status"], {"GET /v1/migrations?active=true": [{"migrations": []}]}),
    "status-one": (["status", "web"], {"GET /v1/migrations?partition=web": [
        {"migrations": [migration("copying", 72)]}]}),
    "status-ended": (["status", "web"], {"GET /v1/migrations?partition=web": [
        {"migrations": [DONE]}]}),
    "status-id": (["status", "m1"], {
        "GET /v1/migrations?partition=m1": [{"migrations": []}],
        "GET /v1/migrations/m1": [migration("suspending", 99)]}),
    "log": (["log"], {"GET /v1/log": [fake_lpmd.LOG]}),
    "log-tail": (["log", "web", "-n", "1"], {"GET /v1/log?partition=web": [fake_lpmd.LOG]}),
    "mover-stats": (["mover", "stats"], {"GET /v1/movers": [{"movers": [fake_lpmd.MOVER]}]}),
    "report": (["report", "web"], {
        "GET /v1/migrations?partition=web": [{"migrations": [DONE]}],
        "GET /v1/migrations/m1/timeline": [fake_lpmd.timeline(DONE)]}),
    "report-failed": (["report", "web"], {
        "GET /v1/migrations?partition=web": [{"migrations": [migration("failed", 10)]}],
        "GET /v1/migrations/m1/timeline": [fake_lpmd.timeline(migration("failed", 10), 0)]}),
    "mover-set": (["mover", "set", "web", "--threads", "2", "--bandwidth", "50M"], {
        "GET /v1/migrations?partition=web": [{"migrations": [migration("copying", 10)]}],
        "POST /v1/movers/m1": [fake_lpmd.MOVER]}),
    "version": (["version"], {"GET /v1/host": [fake_lpmd.HOST]}),
    "migrate": (["migrate", "web", "--to", "b"], {
        "POST /v1/migrations": [(202, migration("validating"))],
        "GET /v1/migrations/m1": [migration("copying", 10), migration("copying", 72),
                                  migration("suspending", 99), DONE]}),
    "migrate-quiet": (["migrate", "web", "--to", "b", "--quiet"], {
        "POST /v1/migrations": [(202, migration("validating"))],
        "GET /v1/migrations/m1": [migration("copying", 10), DONE]}),
    "migrate-no-wait": (["migrate", "web", "--to", "b", "--no-wait"], {
        "POST /v1/migrations": [(202, migration("validating"))]}),
    "queue": (["queue"], {"GET /v1/queue": [QUEUE]}),
    "queue-none": (["queue"], {"GET /v1/queue": [{"queue": []}]}),
    "queue-move": (["queue", "web", "--first", "--priority", "3"], {
        "GET /v1/migrations?partition=web": [{"migrations": [migration("queued")]}],
        "POST /v1/queue/m1": [QUEUE]}),
    "queue-drop": (["queue", "web", "--drop"], {
        "GET /v1/migrations?partition=web": [{"migrations": [migration("queued")]}],
        "POST /v1/migrations/m1/stop": [migration("queued")]}),
    "validate": (["validate", "web", "--to", "b"], {
        "POST /v1/validations": [{"validations": [fake_lpmd.validation("b", 1, 1)]}]}),
    "validate-all": (["validate", "web", "--all-hosts"], {
        "POST /v1/validations": [{"validations": [fake_lpmd.validation("c", 0, 1),
                                                  fake_lpmd.validation("b", 1, 0)]}]}),
    "stop": (["stop", "web"], {
        "GET /v1/migrations?partition=web": [{"migrations": [migration("copying", 10)]}],
        "POST /v1/migrations/m1/stop": [migration("rolling-back", 10)],
        "GET /v1/migrations/m1": [migration("stopped", 10)]}),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown(name, lpm, lpmd):
    words, answers = SHOWN[name]
    lpmd(answers)
    result = lpm(*words)
    check_golden(name, f"$ lpm {' '.join(words)}\n{result.stdout}--- stderr\n{result.stderr}"
                       f"--- exit code {result.returncode}\n")
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize("name", SHOWN)
def test_json_is_one_document_as_lpmd_gave_it(name, lpm, lpmd):
    words, answers = SHOWN[name]
    lpmd(answers)
    result = lpm(*words, "--json")
    json.loads(result.stdout)
    assert result.stderr == ""
    assert result.returncode == {"validate": 2, "validate-all": 1}.get(name, 0)


def test_json_keeps_exact_values(lpm, lpmd):
    lpmd(SHOWN["migrate"][1])
    assert json.loads(lpm("migrate", "web", "--to", "b", "--json").stdout) == DONE
    lpmd(SHOWN["list"][1])
    assert json.loads(lpm("list", "--json").stdout) == fake_lpmd.PARTITIONS


# --- What is sent ---

def test_migrate_sends_its_limits_in_bytes_and_milliseconds(lpm, lpmd):
    server = lpmd(SHOWN["migrate"][1])
    assert lpm("migrate", "web", "--to=b", "--bandwidth", "100M", "--max-suspend", "50",
               "--no-wait").returncode == 0
    assert server.calls == [("POST", "/v1/migrations", {
        "partition": "web", "to": "b", "bandwidth": 104857600, "max_suspend_ms": 50})]


def test_map_is_one_of_all_options_and_the_file(lpmd, lpm, tmp_path):
    server = lpmd(SHOWN["migrate"][1])
    names = tmp_path / "names"
    names.write_text("# on b\n\n  net:52:54:00:AA:00:01=br7\ndisk:vdb=p/v=w\n")
    lpm("migrate", "web", "--to", "b", "--map", "disk:vda=/dev/x", "--map-file", str(names),
        "--map=net:52:54:00:aa:00:02=lab", "--no-wait")
    assert server.calls[0][2]["map"] == {
        "disks": {"vda": "/dev/x", "vdb": "p/v=w"},
        "networks": {"52:54:00:aa:00:01": "br7", "52:54:00:aa:00:02": "lab"}}


@pytest.mark.parametrize("name", ["../host", "..", "a b?c#d%2f", "日本", "-x"])
def test_a_name_cannot_leave_its_place_in_a_path(name, lpm, lpmd):
    server = lpmd({})
    lpm("show", "--", name)
    assert [(m, p) for m, p, _ in server.calls] == [("GET", f"/v1/partitions/{name}")]


PAIR_ANSWER = {"POST /v1/host/peers": [fake_lpmd.PEERS["peers"][0]]}


@pytest.mark.parametrize("address, sent, port", [
    ("192.0.2.12", "192.0.2.12", None), ("b.example:17000", "b.example", 17000),
    ("2001:db8::12", "2001:db8::12", None), ("[2001:db8::12]", "2001:db8::12", None),
    ("[2001:db8::12]:17000", "2001:db8::12", 17000)])
def test_pair_takes_addresses_with_ports(address, sent, port, lpm, lpmd):
    server = lpmd(PAIR_ANSWER)
    result = lpm("host", "pair", "b", address, "--code", "-", stdin="SECRET\n")
    assert result.returncode == 0, result.stderr
    body = {"name": "b", "address": sent, "code": "SECRET"}
    if port:
        body["data_port"] = port
    assert server.calls == [("POST", "/v1/host/peers", body)]
    assert "SECRET" not in result.stdout + result.stderr


@pytest.mark.parametrize("address", ["b:0", "b:70000", "b:x", "b:", ":5", "[::1", "[::1]x"])
def test_pair_refuses_bad_addresses(address, lpm, lpmd):
    server = lpmd(PAIR_ANSWER)
    result = lpm("host", "pair", "b", address, "--code", "X")
    assert (result.returncode, server.calls) == (2, [])
    assert result.stderr.startswith("lpm: error LPM-1009: ")


def test_pair_reads_the_code_from_a_private_file_only(lpm, lpmd, tmp_path):
    server = lpmd(PAIR_ANSWER)
    path = tmp_path / "code"
    path.write_text("SECRET\n")
    path.chmod(0o644)
    result = lpm("host", "pair", "b", "b", "--code-file", str(path))
    assert (result.returncode, server.calls) == (2, [])
    assert "chmod 600" in result.stderr
    path.chmod(0o600)
    assert lpm("host", "pair", "b", "b", "--code-file", str(path)).returncode == 0
    assert server.calls[0][2]["code"] == "SECRET"


def test_pair_needs_a_code_from_somewhere(lpm, lpmd, tmp_path):
    server = lpmd(PAIR_ANSWER)
    for words in ([], ["--code", "-"], ["--code", "A", "--code-file", "B"],
                  ["--code-file", str(tmp_path / "none")], ["--code-file", str(tmp_path)]):
        assert lpm("host", "pair", "b", "b", *words).returncode == 2, words
    assert server.calls == []


def test_pair_asks_on_the_terminal_without_echo(lpmd, environment):
    server = lpmd(PAIR_ANSWER)
    terminal = Terminal(["host", "pair", "b", "b"], environment, 80)
    terminal.read_until("on the other host: ")
    terminal.write("SECRET\n")
    output = terminal.finish()
    assert terminal.code == 0, output
    assert "SECRET" not in output
    assert server.calls[0][2]["code"] == "SECRET"


def test_a_code_on_the_command_line_is_soon_hidden(lpmd, environment):
    seen = []

    def look(_):
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue  # ended meanwhile
            if words[0] == LPM.encode() and environment["LPM_SOCKET"].encode() in words:
                seen.append(words)
        return fake_lpmd.PEERS["peers"][0]

    server = lpmd({"POST /v1/host/peers": [look]})
    subprocess.run([LPM, "host", "pair", "b", "b", "--code", "SECRET", "--socket",
                    environment["LPM_SOCKET"]], env=environment, check=True, capture_output=True)
    assert server.calls[0][2]["code"] == "SECRET"
    assert len(seen) == 1 and b"SECRET" not in seen[0]


def test_ctrl_c_at_the_prompt_leaves_a_terminal_that_echoes(lpmd, environment):
    server = lpmd(PAIR_ANSWER)
    terminal = Terminal(["host", "pair", "b", "b"], environment, 80)
    terminal.read_until("on the other host: ")
    assert not terminal.echoes()
    terminal.write("\x03")
    terminal.process.wait(10)
    assert terminal.process.returncode == -signal.SIGINT
    assert terminal.echoes()
    assert server.calls == []
    os.close(terminal.fd)


# --- Errors ---

def refused(number, status, cause="cause"):
    return (status, error(number, cause))


ERRORS = [
    (["show", "wbe"], {"GET /v1/partitions/wbe": [refused(1003, 404)]}, "LPM-1003", 3),
    (["migrate", "wbe", "--to", "b"], {"POST /v1/migrations": [refused(1003, 404)]}, "LPM-1003", 3),
    (["migrate", "web", "--to", "x"], {"POST /v1/migrations": [refused(2001, 404)]}, "LPM-2001", 3),
    (["migrate", "web", "--to", "b"], {"POST /v1/migrations": [refused(1005, 409)]}, "LPM-1005", 4),
    (["migrate", "web", "--to", "b"], {"POST /v1/migrations": [refused(2002, 503)]}, "LPM-2002", 5),
    (["stop", "web"], {"GET /v1/migrations?partition=web": [
        {"migrations": [migration("copying")]}],
        "POST /v1/migrations/m1/stop": [refused(5002, 409)]}, "LPM-5002", 4),
    (["stop", "web"], {"GET /v1/migrations?partition=web": [{"migrations": [DONE]}]},
     "LPM-1006", 4),
    (["stop", "wbe"], {"GET /v1/migrations?partition=wbe": [{"migrations": []}],
                       "GET /v1/migrations/wbe": [refused(1004, 404)],
                       "GET /v1/partitions/wbe": [refused(1003, 404)]}, "LPM-1003", 3),
    (["status", "wbe"], {"GET /v1/migrations?partition=wbe": [{"migrations": []}],
                         "GET /v1/migrations/wbe": [refused(1004, 404)],
                         "GET /v1/partitions/wbe": [refused(1003, 404)]}, "LPM-1003", 3),
    (["queue", "web", "--last"], {"GET /v1/migrations?partition=web": [
        {"migrations": [migration("copying")]}]}, "LPM-1013", 4),
    (["queue", "--first"], {}, "LPM-1009", 2),
    (["queue", "web", "--first", "--last"], {}, "LPM-1009", 2),
    (["queue", "web", "--drop", "--first"], {}, "LPM-1009", 2),
    (["queue", "web"], {}, "LPM-1009", 2),
    (["queue", "web", "--priority", "many"], {}, "LPM-1009", 2),
    (["migrate", "web", "--to", "b", "--priority", "1000"], {}, "LPM-1009", 2),
    (["host", "pair", "b", "b", "--code", "X"], {"POST /v1/host/peers": [refused(2004, 403)]},
     "LPM-2004", 4),
    (["host", "unpair", "b"], {"DELETE /v1/host/peers/b": [refused(2008, 409)]}, "LPM-2008", 4),
    (["mover", "stats", "m9"], {"GET /v1/movers": [{"movers": [fake_lpmd.MOVER]}]}, "LPM-4006", 3),
    (["list"], {"GET /v1/partitions": [refused(3004, 503)]}, "LPM-3004", 5),
    (["list"], {"GET /v1/partitions": [refused(1002, 403)]}, "LPM-1002", 4),
    (["list"], {"GET /v1/partitions": [(200, b"no JSON")]}, "LPM-9001", 9),
    (["list"], {"GET /v1/partitions": [(200, b"[1]")]}, "LPM-9001", 9),
    (["list"], {"GET /v1/partitions": [(500, b"{}")]}, "LPM-9001", 9),
    (["list"], {"GET /v1/partitions": [(500, {"error": "text"})]}, "LPM-9001", 9),
    (["list"], {"GET /v1/partitions": [(418, error(7777, "newer than this lpm"))]}, "LPM-7777", 9),
]


@pytest.mark.parametrize("words, answers, code, exit_code", ERRORS)
def test_errors_of_lpmd(words, answers, code, exit_code, lpm, lpmd):
    lpmd(answers)
    result = lpm(*words)
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"lpm: error {code}: ")
    assert lines[1].startswith("  remedy: ")
    assert result.stdout == ""
    assert result.returncode == exit_code
    lpmd(answers)
    result = lpm(*words, "--json")
    assert json.loads(result.stdout)["error"]["code"] == code
    assert result.stderr == ""
    assert result.returncode == exit_code


def test_an_error_has_cause_remedy_and_aliases(lpm, lpmd):
    answer = (404, error(1003, "no partition 'x\x1b[2J'", ["HSCL8012", "HSCL8011"], {"near": "y"}))
    lpmd({"GET /v1/partitions/x": [answer]})
    assert lpm("show", "x").stderr == (
        "lpm: error LPM-1003: no partition 'x\\x1b[2J'\n"
        "  remedy: the remedy of 1003\n"
        "  (aliases: HSCL8012, HSCL8011)\n")
    assert json.loads(lpm("show", "x", "--json").stdout) == answer[1]


def test_without_lpmd(lpm, tmp_path):
    result = lpm("list")
    assert result.returncode == 5
    assert result.stderr.startswith("lpm: error LPM-1010: ")
    assert str(tmp_path) in result.stderr
    assert lpm("version").returncode == 0
    assert json.loads(lpm("version", "--json").stdout)["host"] is None
    assert lpm("list", "--socket", "/" + "x" * 200).returncode == 2


def test_a_connection_that_breaks_is_an_error(lpm, tmp_path):
    import socket
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "lpmd.sock"))
    listener.listen()

    def hang_up():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=hang_up, daemon=True).start()
    result = lpm("list")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    assert result.returncode == 5
    assert "broke off" in result.stderr


USAGE = [
    ([], "a command is missing", "lpm help"),
    (["migrat", "x"], "did you mean 'lpm migrate'?", "lpm help"),
    (["hots", "list"], "did you mean 'lpm host'?", "lpm help"),
    (["host"], "a command is missing after 'lpm host'", "lpm help host"),
    (["host", "invit"], "did you mean 'lpm host invite'?", "lpm help"),
    (["host", "xyzzy"], "no command 'lpm host xyzzy'", "lpm help host"),
    (["migrate"], "needs a PARTITION", "lpm help migrate"),
    (["migrate", "web"], "needs --to HOST", "lpm help migrate"),
    (["migrate", "web", "--too", "b"], "did you mean --to?", "lpm help migrate"),
    (["migrate", "web", "--to"], "--to needs a value", "lpm help migrate"),
    (["migrate", "web", "--to", "--no-wait"], "--to needs a value", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--to", "c"], "--to is given twice", "lpm help migrate"),
    (["migrate", "web", "--to", ""], "--to is empty", "lpm help migrate"),
    (["migrate", "", "--to", "b"], "the PARTITION is empty", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--bandwidth", "fast"], "'fast'", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--bandwidth", "0"], "'0'", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--map", "vda=/dev/x"], "'vda=/dev/x'", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--map", "disk:=/dev/x"], "'disk:=/dev/x'",
     "lpm help migrate"),
    (["validate", "web", "--to", "b", "--map", "net:A=b", "--map", "net:a=c"], "mapped twice",
     "lpm help validate"),
    (["validate", "web", "--all-hosts", "--map", "net:A=b"], "--to", "lpm help validate"),
    (["migrate", "web", "--to", "b", "--map-file", "/nonexistent"], "/nonexistent",
     "lpm help migrate"),
    (["mover", "set", "web"], "nothing to set", "lpm help mover set"),
    (["mover", "set", "web", "--threads", "33"], "'33'", "lpm help mover set"),
    (["mover", "set", "web", "--threads", "0"], "'0'", "lpm help mover set"),
    (["mover", "set", "web", "--bandwidth", "fast"], "'fast'", "lpm help mover set"),
    (["migrate", "web", "--to", "b", "--max-suspend", "0"], "'0'", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--max-suspend", "1s"], "'1s'", "lpm help migrate"),
    (["migrate", "web", "--to", "b", "--no-wait=yes"], "takes no value", "lpm help migrate"),
    (["list", "x"], "one argument too many", "lpm help list"),
    (["list", "-x"], "no option '-x'", "lpm help list"),
    (["--jsno", "list"], "did you mean --json?", "lpm help"),
    (["log", "--tail", "0"], "'0'", "lpm help log"),
    (["status", "web", "--all"], "exclude each other", "lpm help status"),
    (["help", "migrat"], "did you mean 'migrate'?", "lpm help"),
    (["completion", "fish"], "'fish'", "lpm help completion"),
]


@pytest.mark.parametrize("words, cause, remedy", USAGE)
def test_mistakes_on_the_command_line(words, cause, remedy, lpm, lpmd):
    server = lpmd({})
    result = lpm(*words)
    found = re.search(r"^lpm: error LPM-1009: (.*)\n  remedy: (.*)$", result.stderr, re.M)
    assert cause in found[1]
    assert remedy in found[2]
    assert (result.returncode, result.stdout, server.calls) == (2, "", [])
    document = json.loads(lpm(*words, "--json").stdout)
    assert document["error"]["code"] == "LPM-1009"


def test_bytes_that_are_no_text_are_refused(environment):
    for words in ([b"migrate", b"\xff", b"--to", b"b"],
                  [b"host", b"pair", b"\xff", b"b", b"--code", b"x"]):
        result = subprocess.run([LPM.encode(), *words], env=environment, capture_output=True)
        assert result.returncode == 2, result
        result.stderr.decode()


# --- Ends of a migration ---

ENDS = [
    (DONE, 0),
    ({**DONE, "report": {**fake_lpmd.REPORT, "stream_hash": {
        "source": "1", "target": "2", "identical": False}}}, 1),
    (migration("failed", 10, error=error(4003, "the link was lost")["error"]), 6),
    (migration("failed", 0, phases=[], error=error(3003, "name in use")["error"]), 4),
    (migration("failed", 0, phases=[], error=error(2002, "b is down")["error"]), 5),
    (migration("stopped", 10, error=error(5001, "stopped")["error"]), 7),
    (migration("stopped", 10), 7),
    (migration("in-doubt", 99, ended_ms=1, error=error(5003, "no word from b")["error"]), 8),
]


@pytest.mark.parametrize("end, exit_code", ENDS)
def test_ends(end, exit_code, lpm, lpmd):
    answers = {"POST /v1/migrations": [(202, migration("validating"))],
               "GET /v1/migrations?partition=web": [{"migrations": [end]}],
               "GET /v1/migrations/m1": [migration("copying", 10), end]}
    lpmd(answers)
    result = lpm("migrate", "web", "--to", "b")
    assert result.returncode == exit_code
    assert ("lpm: error LPM-" in result.stderr) == (exit_code > 1)
    lpmd(answers)
    result = lpm("migrate", "web", "--to", "b", "--json")
    assert (result.returncode, json.loads(result.stdout)) == (exit_code, end)
    lpmd(answers)
    assert lpm("status", "web", "--watch").returncode == exit_code
    lpmd(answers)
    assert lpm("status", "web").returncode == 0


@pytest.mark.parametrize("end, exit_code", [
    (DONE, 4), (migration("stopped"), 0), (migration("failed", error=error(4003, "x")["error"]), 1)])
def test_ends_of_stop(end, exit_code, lpm, lpmd):
    lpmd({"GET /v1/migrations?partition=web": [{"migrations": [migration("copying")]}],
          "POST /v1/migrations/m1/stop": [migration("rolling-back")],
          "GET /v1/migrations/m1": [migration("rolling-back"), end]})
    assert lpm("stop", "web").returncode == exit_code


def test_a_restart_of_lpmd_is_bridged(lpm, lpmd):
    server = lpmd({"POST /v1/migrations": [(202, migration("validating"))]})
    asked = threading.Event()

    def copying(_):
        asked.set()
        return migration("copying", 10)

    server.answers["GET /v1/migrations/m1"] = [copying]
    results = []
    runner = threading.Thread(target=lambda: results.append(lpm("migrate", "web", "--to", "b")))
    runner.start()
    assert asked.wait(10)
    server.stop()
    time.sleep(1)  # how long lpmd is away
    server.answers["GET /v1/migrations/m1"] = [DONE]
    server.start()
    runner.join(20)
    assert results[0].returncode == 0, results[0].stderr
    assert "identical" in results[0].stdout
    assert "lpmd" not in results[0].stderr


# --- Terminals ---

def endless_copy(lpmd):
    return lpmd({"POST /v1/migrations": [(202, migration("validating"))],
                 "GET /v1/migrations/m1": [migration("copying", 42)]})


@pytest.mark.parametrize("columns", [200, 80, 40, 20, 5])
def test_progress_stays_on_one_line(columns, lpmd, environment):
    lpmd(SHOWN["migrate"][1])
    terminal = Terminal(["migrate", "web", "--to", "b"], environment, columns)
    output = terminal.finish()
    assert terminal.code == 0
    drawn = [line.split("\r")[-1] for line in output.split("\x1b[K")[:-1]]
    assert len(drawn) >= 4
    assert all(len(line) < columns for line in drawn), drawn
    assert any("web:"[:columns - 1] in line for line in drawn)
    if columns >= 80:
        assert any(re.search(r"copying  72% \[#+\.+\]  112 MiB/s", line) for line in drawn)
    assert "identical on both hosts" in output


def test_progress_follows_the_width(lpmd, environment):
    endless_copy(lpmd)
    terminal = Terminal(["migrate", "web", "--to", "b"], environment, 120)
    terminal.read_until(r"suspend ~45 ms")
    terminal.resize(30)
    terminal.read_until(r"\rweb: copying  42% \[##\.\.\.\]  11\x1b\[K")
    terminal.write("\x03")
    terminal.finish()


def test_ctrl_c_detaches_and_the_migration_goes_on(lpmd, environment):
    server = endless_copy(lpmd)
    terminal = Terminal(["migrate", "web", "--to", "b"], environment, 80)
    terminal.read_until("42%")
    terminal.write("\x03")
    output = terminal.finish()
    assert terminal.code == 130
    assert "migration m1 goes on in the background" in output
    assert "lpm stop web" in output
    assert not [call for call in server.calls if call[1].endswith("/stop")]


def test_ctrl_c_in_a_script_still_gives_the_document(lpmd, environment):
    server = endless_copy(lpmd)
    process = subprocess.Popen([LPM, "migrate", "web", "--to", "b", "--json"], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 10
    while len(server.calls) < 3:  # so that one answer at least has been read
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert json.loads(out)["state"] == "copying"


def test_colour_only_on_a_terminal_that_wants_it(lpm, lpmd, environment):
    lpmd({"GET /v1/partitions/x": [refused(1003, 404)]})
    coloured = Terminal(["show", "x"], environment, 80).finish()
    assert "\x1b[1;31merror" in coloured
    plain = Terminal(["show", "x"], {**environment, "NO_COLOR": "1"}, 80).finish()
    assert "\x1b" not in plain and "error LPM-1003" in plain
    dumb = Terminal(["show", "x"], {**environment, "TERM": "dumb"}, 80).finish()
    assert "\x1b" not in dumb
    assert "\x1b" not in lpm("show", "x").stderr


def test_json_on_a_terminal_cannot_control_it(lpmd, environment):
    lpmd({"GET /v1/partitions/x": [{"name": "a\x9b2J\u202e"}]})
    output = Terminal(["show", "x", "--json"], environment, 80).finish()
    assert json.loads(output) == {"name": "a\x9b2J\u202e"}
    assert output.isascii()


WATCHED = {"GET /v1/migrations?active=true": [
    {"migrations": [migration("copying", 10), migration("copying", 20, id="m2", partition="db")]},
    {"migrations": [migration("copying", 10), migration("copying", 30, id="m2", partition="db")]},
    {"migrations": []}]}


def test_watch_prints_changes_in_a_pipe(lpm, lpmd):
    lpmd(WATCHED)
    result = lpm("status", "--watch")
    lines = result.stdout.splitlines()
    assert [re.sub(r"^[\d: -]{19}  ", "", line)[:18] for line in lines[:-1]] == [
        "web: copying  10% ", "db: copying  20%  ", "db: copying  30%  "]
    assert lines[-1] == "No migration is under way."
    assert result.returncode == 0


def test_watch_gives_a_document_per_line(lpm, lpmd):
    lpmd(WATCHED)
    lines = lpm("status", "--watch", "--json").stdout.splitlines()
    assert [len(json.loads(line)["migrations"]) for line in lines] == [2, 2, 0]


def test_watch_refreshes_in_place_on_a_terminal(lpmd, environment):
    lpmd(WATCHED)
    terminal = Terminal(["status", "--watch"], environment, 60)
    output = terminal.finish()
    assert terminal.code == 0
    assert output.count("\x1b[3A") == 1
    drawn = [line.strip("\r") for line in output.split("\x1b[K\r\n")[:-1]]
    assert len(drawn) == 6
    assert all(len(re.sub(r"\x1b\[[0-9]*[A-Z]\r?", "", line)) < 60 for line in drawn)


def test_watch_of_movers_ends_with_them(lpm, lpmd):
    lpmd({"GET /v1/movers": [{"movers": [fake_lpmd.MOVER]}, {"movers": []}]})
    result = lpm("mover", "stats", "web", "--watch")
    assert result.returncode == 0
    assert result.stdout.count("Mover of web") == 1


def report_answers(timeline):
    return {"GET /v1/migrations?partition=web": [{"migrations": [DONE]}],
            "GET /v1/migrations/m1/timeline": [timeline]}


def test_a_report_can_be_drawn(lpm, lpmd, tmp_path):
    lpmd(report_answers(fake_lpmd.timeline(DONE)))
    path = tmp_path / "web.svg"
    assert lpm("report", "web", "--svg", str(path)).stdout == ""
    drawing = ElementTree.parse(path).getroot()
    curves = [e for e in drawing if e.tag.endswith("}path") and e.get("fill") == "none"]
    # Left; stream, link and dirtied; level, threads and streams.
    assert len(curves) == 7
    numbers = [float(n) for c in curves for n in re.findall(r"[-0-9.]+", c.get("d"))]
    assert all(0 <= n <= 900 for n in numbers)
    texts = [e.text for e in drawing if e.tag.endswith("}text")]
    assert "copying" in texts and any(t.startswith("web to b: done") for t in texts)
    assert lpm("report", "web", "--svg", "-").stdout == path.read_text()


@pytest.mark.parametrize("samples", [
    [], [{}], [{"at_us": 5}, {"at_us": 5}], [{"at_us": "x", "memory_left": -7, "level": 1e300}],
    [{"at_us": -1, "stream_bytes": 9}, {"at_us": 10**18, "stream_bytes": 1}],
])
def test_a_strange_time_line_is_drawn_too(samples, lpm, lpmd):
    strange = DONE | {"partition": "<web>&\x1b[2J", "phases": [{"name": "<b>", "begin_us": 0}]}
    lpmd(report_answers({"migration": strange, "samples": samples}))
    result = lpm("report", "web", "--svg", "-")
    assert result.returncode == 0 and "\x1b" not in result.stdout
    texts = [e.text for e in ElementTree.fromstring(result.stdout) if e.tag.endswith("}text")]
    assert any(t.startswith("<web>&") for t in texts)


def test_a_drawing_that_cannot_be_written(lpm, lpmd, tmp_path):
    lpmd(report_answers(fake_lpmd.timeline(DONE)))
    result = lpm("report", "web", "--svg", str(tmp_path / "no" / "web.svg"))
    assert result.returncode == 2 and "No such file" in result.stderr
    assert lpm("report", "web", "--svg", "/dev/full").returncode == 2


def test_a_long_time_line_is_shortened_on_a_screen(lpm, lpmd):
    lpmd(report_answers(fake_lpmd.timeline(DONE, 500)))
    rows = [line for line in lpm("report", "web").stdout.splitlines() if line.endswith(" 2        1")]
    assert 20 <= len(rows) <= 42
    assert rows[-1].split()[0] == "250"


def test_a_full_disk_is_no_success(environment, lpmd):
    lpmd(SHOWN["list"][1])
    with open("/dev/full", "w") as full:
        result = subprocess.run([LPM, "list"], env=environment, stdout=full,
                                stderr=subprocess.PIPE, text=True)
    assert result.returncode == 9
    assert "cannot be written" in result.stderr


# --- One table: help, manual, completion ---

def command_names():
    document = json.loads(subprocess.run([LPM, "help", "--json"], capture_output=True,
                                         check=True).stdout)
    return [command["name"] for command in document["commands"]]


def test_every_command_is_a_file_and_in_every_text(lpm):
    names = command_names()
    files = {p.stem[4:].replace("-", " ") for p in (ROOT / "src" / "cli").glob("cmd-*.c")}
    assert set(names) == files
    overview, manual = lpm("help").stdout, (ROOT / "docs/man/lpm.1").read_text()
    completion = lpm("completion", "bash").stdout
    for name in names:
        assert re.search(rf"^  {name} ", overview, re.M)
        assert f'.Ss "lpm {name}"\n' in manual
        assert f"\n    ['{name}']=' " in completion
        text = lpm("help", *name.split()).stdout
        assert lpm(*name.split(), "--help").stdout == text
        assert text.startswith(f"Usage: lpm {name}")
        assert f"\n  lpm {name}" in text or f"lpm {name}" in text.split("Examples:")[1]
        for option in set(re.findall(r"^  (?:-\w, )?--([\w-]+)", text, re.M)):
            assert f"Fl Fl {option}" in manual
            assert f" --{option}" in completion


def test_the_manual_is_up_to_date(lpm):
    page = ROOT / "docs/man/lpm.1"
    text = lpm("help", "--man").stdout
    if os.environ.get("LPM_UPDATE_GOLDEN"):
        page.write_text(text)
    assert text == page.read_text(), "write it anew: lpm help --man > docs/man/lpm.1"


def test_exit_codes_are_documented(lpm):
    codes = json.loads(lpm("help", "exit-codes", "--json").stdout)["exit_codes"]
    header = (ROOT / "src/cli/exit.h").read_text()
    declared = [int(n) for n in re.findall(r"^    CLI_\w+ = (\d+),", header, re.M)]
    assert [code["code"] for code in codes] == declared
    manual = (ROOT / "docs/man/lpm.1").read_text()
    assert all(f"\n.It {code}\n" in manual for code in declared)


def complete(line, environment, tmp_path):
    """What bash offers after `line`."""
    words = line.split(" ")
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    script = f"""
        source <({LPM} completion bash)
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
        _lpm
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    (tmp_path / "lpm").exists() or (tmp_path / "lpm").symlink_to(LPM)
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=20,
        env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"})
    assert result.stderr == ""
    return sorted(filter(None, result.stdout.split("\n")))


def test_completion(lpmd, environment, tmp_path):
    lpmd({"GET /v1/host/peers": [{"peers": [{"name": "b"}, {"name": "bb"}, {"name": "c"}]}],
          "GET /v1/partitions": [{"partitions": [
              {"name": "web"}, {"name": "a b"}, {"name": "$(touch pwned)"}, {"name": "x\ny"}]}]})
    assert complete("lpm m", environment, tmp_path) == ["migrate", "mover"]
    assert complete("lpm host ", environment, tmp_path) == ["invite", "list", "pair", "unpair"]
    assert complete("lpm --json host p", environment, tmp_path) == ["pair"]
    assert complete("lpm migrate w", environment, tmp_path) == ["web"]
    assert complete("lpm migrate ", environment, tmp_path) == [
        "\\$\\(touch\\ pwned\\)", "a\\ b", "web"]
    assert complete("lpm migrate web --to b", environment, tmp_path) == ["b", "bb"]
    assert complete("lpm migrate web --to b --ma", environment, tmp_path) == [
        "--map", "--map-file", "--max-suspend"]
    assert complete("lpm migrate --to b ", environment, tmp_path) == [
        "\\$\\(touch\\ pwned\\)", "a\\ b", "web"]
    assert complete("lpm migrate web ", environment, tmp_path) == []
    assert complete("lpm host unpair c", environment, tmp_path) == ["c"]
    assert complete("lpm help sta", environment, tmp_path) == ["status"]
    assert complete("lpm --so", environment, tmp_path) == ["--socket"]
    assert not (tmp_path / "pwned").exists()
