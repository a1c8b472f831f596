# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The goals, each with the figure that was measured, met or not."""

from bench import peers, pipeline
from bench.scenario import middle


def _median(result, peer, value):
    found = middle(value(m) for m in result["moves"] if m["peer"] == peer and m["done"])
    return found[0] if found else None


def total(m):
    return m["total_ms"]


def wire(m):
    return m["wire_bytes"]


def silence(m):
    return m["client_gap_us"]


def gap(m):
    return m["suspended_us"]


def cpu(m):
    return sum(m["cpu_ms"].values())


def memory(m):
    return m["mover_memory_bytes"] / (1 << 20)


def ratio(what, value, against, most, ours="openlpm"):
    """A goal of the form 'at most so many times a peer's median'."""
    def judge(result):
        mine, theirs = (_median(result, peer, value) for peer in (ours, against))
        if mine is None or not theirs:
            return None
        return f"{mine / theirs:.2f}x", mine / theirs <= most
    who = "" if ours == "openlpm" else f"{peers.BY_NAME[ours].title}: "
    return f"{who}{what} <= {most:.2f}x {against}", judge


def bound(what, value, most, unit, divisor=1):
    def judge(result):
        ours = _median(result, "openlpm", value)
        return None if ours is None else (f"{ours / divisor:.2f} {unit}", ours / divisor <= most)
    return f"{what} <= {most} {unit}", judge


def _median_of_many(least, what, value, against, most):
    """As ratio; says so if there were fewer moves than the goal asks for."""
    text, judge = ratio(what, value, against, most)

    def judge_many(result):
        found = judge(result)
        moves = [m for m in result["moves"] if m["done"] and m["peer"] in ("openlpm", against)]
        count = min(sum(m["peer"] == peer for m in moves) for peer in ("openlpm", against))
        return found and (f"{found[0]} (of {count} moves)", found[1] and count >= least)
    return f"{text}, medians of {least}", judge_many


def most_memory(mib):
    """Of all moves, not of their median: it is a bound."""
    def judge(result):
        seen = [memory(m) for m in result["moves"] if m["peer"] == "openlpm"]
        return (f"{max(seen):.0f} MiB", max(seen) <= mib) if seen else None
    return f"memory of both movers together <= {mib} MiB", judge


def _ended(result):
    """Of a writer that plain does not follow: ours ends, by itself or by post-copy."""
    ways = {name: [m["done"] for m in result["moves"] if m["peer"] == name]
            for name in ("openlpm", "openlpm-post", "plain")}
    if not ways["plain"] or not (ways["openlpm"] or ways["openlpm-post"]):
        return None
    text = ", ".join(f"{name} {sum(v)}/{len(v)}" for name, v in ways.items() if v)
    return text, any(all(v) for name, v in ways.items() if v and name != "plain")


def _short_post_copy(result):
    """What the device state takes is what QEMU's own post-copy stands still for, over the same link."""
    device = _median(result, "post-copy", gap)
    trips = middle(m.get("round_trip_us") for m in result["moves"] if m["peer"] == "openlpm-post")
    ours = _median(result, "openlpm-post", silence)
    if ours is None or device is None or not trips:
        return None
    most = 2 * trips[0] + device
    return f"{ours / 1000:.0f} of {most / 1000:.0f} ms", ours <= most


def _threads(level):
    def judge(result):
        gain = pipeline.threads_gain(result, level)
        return gain and (f"{gain:.2f}x", gain >= 1.6)
    return f"zstd {level}: two threads on two cores take >= 1.6x what one takes", judge


# Scenario, or the one to show when that was not measured, and the goals on it.
GOALS = [
    ("first visit, database", ["db-pgbench-1gbit-first"], [
        ratio("wire bytes", wire, "plain", 0.33), ratio("total", total, "plain", 0.40),
        ratio("clients' silence", silence, "plain", 0.50),
        ratio("wire bytes", wire, "multifd-zstd", 0.95),
        ratio("total", total, "multifd-zstd", 0.95), ratio("CPU", cpu, "multifd-zstd", 0.70),
        ratio("total", total, "tls", 0.40), ratio("suspended", gap, "plain", 0.60),
        most_memory(256)]),
    ("first visit, tiny guest", ["tiny-text-1gbit-first"], [
        ratio("wire bytes", wire, "plain", 0.33), ratio("total", total, "plain", 0.40),
        ratio("clients' silence", silence, "plain", 0.50),
        ratio("wire bytes", wire, "multifd-zstd", 0.95),
        ratio("total", total, "multifd-zstd", 0.95), ratio("CPU", cpu, "multifd-zstd", 0.70),
        ratio("total", total, "tls", 0.40), ratio("suspended", gap, "plain", 0.60)]),
    ("suspension", ["tiny-text-1gbit-first-15"], [
        _median_of_many(15, "suspended", gap, "plain", 0.60)]),
    ("coming home", ["db-pgbench-1gbit-home", "tiny-text-1gbit-home"], [
        ratio("wire bytes", wire, "plain", 0.03), ratio("wire bytes", wire, "multifd-zstd", 0.10),
        ratio("total", total, "plain", 0.25)]),
    ("a writer that outruns the link", ["tiny-writer-200mbit-first"], [
        ("ends where plain is stopped after 120 s", _ended),
        ("by post-copy: clients' silence <= 2 round trips + device state", _short_post_copy)]),
    ("200 Mb/s", ["db-pgbench-200mbit-first", "tiny-text-200mbit-first"], [
        ratio("total", total, "plain", 0.35)]),
    ("unshaped", ["db-pgbench-none-first", "tiny-text-none-first"], [
        ratio("total", total, "plain", 1.15),
        ratio("total", total, "plain", 1.00, "openlpm-clear")]),
    ("4 GB with a database", ["db4-pgbench-1gbit-first"], [
        bound("total", total, 20, "s", 1000), bound("suspended", gap, 0.2, "s", 1000000),
        most_memory(256)]),
    ("the source's mover alone", ["pipeline"], [_threads(3), _threads(9)]),
]


def table(results):
    lines = ["| scenario | goal | measured | |", "|---|---|---|---|"]
    for what, names, goals in GOALS:
        name = next((n for n in names if n in results), None)
        if name is None:
            lines.append(f"| {what} | {len(goals)} goals | not measured | |")
            continue
        for text, judge in goals:
            found = judge(results[name])
            measured, met = found if found else ("not measured", None)
            lines.append(f"| {what} ({name}) | {text} | {measured} | "
                         f"{'' if met is None else 'met' if met else '**missed**'} |")
    return "\n".join(lines)
