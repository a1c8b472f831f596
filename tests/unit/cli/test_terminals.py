# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Terminals and pipes: progress, watching, colour, drawings."""
import json
import os
import re
import signal
import subprocess
import time
from xml.etree import ElementTree

import pytest

import fake_lpmd
from fake_lpmd import DONE, error, migration, refused
from terminal import Terminal
from test_shown import SHOWN

LPM = os.environ["LPM_EXE"]


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
