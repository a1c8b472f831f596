# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""What lpm sends to lpmd."""
import os
import pathlib
import signal
import subprocess

import pytest

import fake_lpmd
from fake_lpmd import error
from terminal import Terminal
from test_shown import SHOWN

LPM = os.environ["LPM_EXE"]


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
