# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The fault engine in a short form: chosen trials hold, and it catches each deliberate bug.

The long form is './run faults'; docs/faults.md has its outcome."""

import json
import os
import subprocess
import sys

import pytest

from lab.faults import knobs, mutants, plan

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT_S = 400


def engine(build, *arguments):
    """(exit code, the last line's object)"""
    done = subprocess.run(
        [sys.executable, "-m", "lab.faults", "--build", build, "--name", "ft", "--json",
         *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
        timeout=LIMIT_S, text=True, env=dict(os.environ, PYTHONPATH=TREE))
    assert done.stdout.strip(), f"the engine ended with {done.returncode} and said nothing"
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_chosen_trials(fault_build):
    code, summary = engine(fault_build, "--chosen")
    facts = {name: summary[name] for name in ("double_runs", "lost", "doubled", "leftovers",
                                              "failed", "not_applied")}
    assert facts == dict.fromkeys(facts, 0)
    assert (code, summary["trials"]) == (0, len(plan.chosen()))


@pytest.mark.parametrize("name", sorted(mutants.TABLE))
def test_a_deliberate_bug_is_caught(fault_build, name):
    code, answer = engine(fault_build, "--mutant", name)
    assert answer["mutant"] == name and answer["by"], answer
    assert code == 0


def test_a_trial_follows_from_its_seed(fault_build):
    lines = [subprocess.run([sys.executable, "-m", "lab.faults", "--build", fault_build, "--list",
                             "--count", "200", "--seed", seed], check=True, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            env=dict(os.environ, PYTHONPATH=TREE)).stdout
             for seed in ("1", "1", "2")]
    assert lines[0] == lines[1] != lines[2]
    assert len(lines[0].splitlines()) == 200
    values = [f"+{k.name}={v}" for k in knobs.TABLE for v in k.values if v]
    assert [v for v in values if v not in lines[0]] == []
