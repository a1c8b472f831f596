# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""What the tests of lpm have in common: a server in the place of lpmd, and lpm itself."""
import os
import subprocess

import pytest

from fake_lpmd import FakeLpmd

LPM = os.environ["LPM_EXE"]


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
