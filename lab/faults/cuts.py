# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Long outages in post-copy: `./run faults --post-copy-cuts N`.

The uplinks are slow, so that fetching what the target lacks lasts for seconds; at a random instant of
that both ports of the link fail for a minute. The partition must go on by itself, no connection of
a client may be reset, and the longest silence must be about the length of the cut.

TCP doubles its pauses while nobody answers, so after a minute's cut a client may be silent for
another one although the partition runs. To see the partition's silence the clients' longest pause
is made a second, where the kernel can; where it cannot, twice the cut has to be good enough.
"""

import json
import os
import random

from lab.faults import workers
from lab.faults.ground import RTO_MAX
from lab.faults.plan import RUN, Plan, Step

RATE = "80mbit"
FETCHING_S = 4.0  # the instants are spread over so long, from the switch on
# A silence is longer than its cut by the time to connect anew and to fetch a page.
BEYOND_S = 15.0
RTO_MAX_MS = 1000  # the least that Linux takes
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cuts-results.json")


def plans(count, seed, seconds):
    rng = random.Random(seed)
    return [Plan(seed * RUN + i, "cuts", (Step(
        rng.choice(("cut-both", "stall-both", "cut-data")), "source.after-post-copy", seconds, 0.0,
        round(rng.uniform(0.05, FETCHING_S), 3)),), "now") for i in range(count)]


def run(args, say):
    """{cuts, went_on, resets, ...}, and whether all held."""
    job = workers.Job(args.build, args.name, None)
    job.rate = RATE
    bounded = os.path.exists(RTO_MAX)
    job.rto_max_ms = RTO_MAX_MS if bounded else None
    records = []
    for record in workers.run(job, plans(args.post_copy_cuts, args.seed, args.cut_seconds),
                              args.labs):
        records.append(record)
        say(record, len(records), args.post_copy_cuts)
    met = [r for r in records if r["injections"][0]["state"] in ("post-copy", "suspending")]
    answer = {
        "cuts": len(records), "seed": args.seed, "cut_s": args.cut_seconds,
        "in_post_copy": len(met), "client_rto_max_ms": job.rto_max_ms,
        "went_on": sum(not r["failures"] and r["ended"] == "done" for r in records),
        "silences_s": sorted(round((r["silence_us"] or 0) / 1e6, 1) for r in records),
        "failed": sum(bool(r["failures"]) for r in records)}
    limit = args.cut_seconds * (1 if bounded else 2) + BEYOND_S
    good = answer["went_on"] == len(records) and all(s <= limit for s in answer["silences_s"])
    if args.update:
        with open(RESULTS, "w", encoding="utf-8") as f:
            json.dump(answer, f, indent=1)
            f.write("\n")
    return answer, good
