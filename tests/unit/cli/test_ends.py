# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""How lpm ends with a migration."""
import json
import os
import threading
import time

import pytest

import fake_lpmd
from fake_lpmd import DONE, error, migration

LPM = os.environ["LPM_EXE"]

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
