# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Errors of lpmd, of the connection and of the command line."""
import json
import os
import re
import subprocess
import threading

import pytest

import fake_lpmd
from fake_lpmd import DONE, error, migration, refused

LPM = os.environ["LPM_EXE"]

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
