# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""What lpm shows, and its JSON.

LPM_UPDATE_GOLDEN=1 writes the golden files anew; read the difference before it is committed.
"""
import json
import os
import pathlib

import pytest

import fake_lpmd
from fake_lpmd import DONE, migration

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"


def check_golden(name, text):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LPM_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


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
