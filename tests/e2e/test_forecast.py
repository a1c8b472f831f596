# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The forecast: what is sampled for it, that it is stored and held against the outcome, and that a
limit of the suspension which it cannot hold is refused."""

import json

from lab import proc
from support import assert_clean, home, nothing_changes, other

GUEST = {"mem": 128, "append": "ledger.mem=16M ledger.dirty=0"}


def figures(forecast, name):
    return [forecast[name][end] for end in ("low", "expected", "high")]


def history(lab, where, partition):
    code, answer = lab.lpm(where, "forecast", partition, "--history")
    assert code == 0
    return answer


def test_validation_samples_and_forecasts(lab, tiny):
    with nothing_changes(lab):
        code, report = lab.lpm("alpha", "validate", tiny, "--to", "beta")
    assert code == 0 and report["took_ms"] < 3000
    mover = next(c for c in report["checks"] if c["id"] == "mover")
    # The uplinks are shaped to 1 Gb/s: more cannot pass, much less tells of a wrong measure.
    assert 20e6 < mover["facts"]["target"]["throughput"] < 130e6
    assert mover["facts"]["source"]["path_mtu"] == 1500
    forecast = report["forecast"]
    for name in ("total_ms", "suspended_us", "rounds", "stream_bytes", "link_bytes"):
        assert figures(forecast, name) == sorted(figures(forecast, name)), name
    assert forecast["converges"] == "yes"
    inputs = forecast["inputs"]
    assert inputs["link_rate"] == mover["facts"]["target"]["throughput"]
    assert inputs["memory_bytes"] == 128 << 20
    # The kernel, its initramfs and the table of 16 MiB, and not all of the memory.
    assert 16 << 20 < inputs["resident_bytes"] <= 128 << 20
    assert inputs["dirty_rate"] is not None


def test_without_a_forecast(lab, tiny):
    code, report = lab.lpm("alpha", "validate", tiny, "--to", "beta", "--no-forecast")
    mover = next(c for c in report["checks"] if c["id"] == "mover")
    assert code == 0 and report["forecast"] is None
    assert mover["verdict"] == "pass" and "throughput" not in mover["facts"]["target"]
    assert mover["facts"]["source"]["sampled_bytes"] == 0


def test_limits_change_it(lab, tiny):
    code, free = lab.lpm("alpha", "forecast", tiny, "--to", "beta")
    assert code == 0
    code, capped = lab.lpm("alpha", "forecast", tiny, "--to", "beta", "--bandwidth", "2M")
    assert code == 0
    assert capped["total_ms"]["expected"] > 2 * free["total_ms"]["expected"]
    done = proc.run(lab.enter("alpha", lab.program("lpm"), "forecast", tiny, "--to", "beta"))
    assert "comes to an end by itself" in done


def test_stored_and_scored(lab, tiny):
    source = home(lab, tiny)
    code, document = lab.migrate(tiny, source, other(source))
    assert code == 0
    forecast = document["report"]["forecast"]
    entry = history(lab, source, tiny)["forecasts"][0]
    assert entry["migration"] == document["id"] and entry["forecast"] == forecast
    assert (entry["outcome"]["total_ms"] ==
            document["report"]["total_ms"] - document["report"]["costs"]["queued_us"] // 1000)
    assert entry["outcome"]["suspended_us"] == document["report"]["suspended_us"]
    total = entry["outcome"]["total_ms"]
    assert abs(entry["errors"]["total"] -
               abs(forecast["total_ms"]["expected"] - total) / total) < 0.01
    # It was made of what was known before: nothing of its own outcome is in it.
    assert forecast["inputs"]["learnt_from"]["partition"] == 0
    # From the second on it has something to learn from.
    lab.migrate(tiny, other(source), source)
    code, document = lab.migrate(tiny, source, other(source))
    assert code == 0
    learnt = document["report"]["forecast"]["inputs"]
    assert learnt["learnt_from"] == {"partition": 1, "pair": 1, "all": 1}
    assert history(lab, source, tiny)["score"]["scored"] == 2
    text = proc.run(lab.enter(source, lab.program("lpm"), "forecast", "--history"))
    assert "2 forecasts; medians: total wrong by" in text


def test_limit_that_cannot_be_held(lab, tiny):
    source = home(lab, tiny)
    with nothing_changes(lab):
        code, document = lab.lpm(source, "migrate", tiny, "--to", other(source), "--max-suspend",
                                 "1")
    assert code == 4 and document["error"]["code"] == "LPM-6120", json.dumps(document)
    assert "1 ms are allowed" in document["error"]["cause"]
    assert "--post-copy" in document["error"]["remedy"]
    # Nothing was made on the target, and what was expected is kept.
    assert "preparing" not in [p["name"] for p in document["phases"]]
    entry = history(lab, source, tiny)["forecasts"][0]
    assert entry["state"] == "failed" and entry["outcome"] is None
    assert entry["forecast"]["suspended_us"]["low"] > 1000


def test_limit_that_can_be_held(lab, tiny):
    source = home(lab, tiny)
    code, document = lab.migrate(tiny, source, other(source), "--max-suspend", "2000")
    assert code == 0, json.dumps(document["error"])
    costs = document["report"]["costs"]
    # What the hand-over is known to take is not QEMU's to use.
    assert 500 <= costs["limit_ms"] <= 2000
    assert costs["sampling_us"] > 0


def test_post_copy_holds_any_limit(lab, tiny):
    source = home(lab, tiny)
    code, document = lab.migrate(tiny, source, other(source), "--max-suspend", "1", "--post-copy",
                                 "now")
    assert code == 0, json.dumps(document["error"])
    assert home(lab, tiny) == other(source)
    assert_clean(lab)
