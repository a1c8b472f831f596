# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Labs for the end-to-end tests. A lab lives as long as the module that asks for it, so that the
time to boot a guest is paid once. Beside a failure stand the last lines of both lpmd's logs."""

import fcntl
import os
import subprocess
import sys
import zlib

import pytest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TREE)

from lab import lpmd, net, proc  # noqa: E402
from lab.faults import observe  # noqa: E402
from lab.scenario import Scenario  # noqa: E402
from lab.state import Lab  # noqa: E402
from validating import SEGMENT  # noqa: E402

LOG_LINES = 25
# In the names of the labs: of this run of tests/run-tests, or of this pytest.
RUN = int(os.environ.get("LPM_TEST_RUN", os.getpid())) % 100000


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: half a minute or more; '-m \"not slow\"' leaves it out")


@pytest.fixture(scope="module")
def lab(request):
    """Two managed systems with lpmd, named after the module (test_stop.py: lab 'stop') and this
    run, so that two runs do not meet. A module may set RATE."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "")
    number = zlib.crc32(name.encode()) % 100  # two names may begin alike
    with Scenario(f"{name[:4]}{number:02d}x{RUN}",
                  rate=getattr(request.module, "RATE", "1gbit")) as scenario:
        yield scenario


@pytest.fixture(scope="module")
def tiny(lab, request):
    """The name of a partition on alpha with the workload in it; a module may set GUEST to other
    options of it. Nothing is written in it but for the clients: see lab/README.md on slow copies."""
    options = {"mem": 128, "append": "ledger.mem=16M"}
    lab.add_guest("tiny", **options | getattr(request.module, "GUEST", {}))
    return "tiny"


@pytest.fixture
def image(lab):
    """A file that both hosts see under one name, on a file system that libvirt takes for local."""
    path = os.path.join(lab.lab.var_dir, "image.raw")
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    yield path
    os.unlink(path)


@pytest.fixture(scope="module")
def segment(lab):
    """A bridge of that name on each host, joined to a segment of the LAN."""
    net.add_segment(lab.lab, lab.state, SEGMENT)
    return SEGMENT


@pytest.fixture(scope="session")
def fault_build():
    """A build with fault points beside the one that is tested, with what the engine needs of it."""
    folder = Lab().build + "-faults"
    with open(folder + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's workers share the build
        if not os.path.exists(os.path.join(folder, "build.ninja")):
            subprocess.run(["meson", "setup", folder, TREE, "-Dfault_points=true"], check=True,
                           stdin=subprocess.DEVNULL)
        programs = list((lpmd.PROGRAMS | lpmd.WORKLOAD).values()) + [observe.PROGRAM]
        subprocess.run(["ninja", "-C", folder] + programs, check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    scenario = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(scenario, Scenario) and scenario.state:
        for where in scenario.state["hosts"]:
            report.sections.append((f"lpmd of {where}",
                                    proc.tail(lpmd.log_path(scenario.lab, where), LOG_LINES)))
