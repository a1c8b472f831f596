# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Tables, goals and plots of docs/benchmarks.md, made of the raw figures in bench/results."""

import glob
import json
import os

from bench import goals, peers, pipeline, plot
from bench.scenario import middle

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(TREE, "bench", "results")
PAGE = os.path.join(TREE, "docs", "benchmarks.md")
PLOTS = os.path.join(TREE, "docs", "benchmarks")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def _per_gib(move, mem):
    return sum(move["cpu_ms"].values()) / 1000 * 1024 / mem


def _pace(move):
    before = move["pace"]["before"]
    return 100 * move["pace"]["during"] / before if before else None


def _after(move):
    before = move["pace"]["before"]
    return 100 * move["pace"]["after"] / before if before else None


# Heading, value of a move (and the partition's MiB), decimals. What is suspended or silent of a move
# that was given up says nothing, and its total is the time given to it.
COLUMNS = (
    ("total, s", lambda m, mem: m["total_ms"] / 1000, 2),
    ("STOP to RESUME, ms",
     lambda m, mem: m["suspended_us"] / 1000 if m["suspended_us"] is not None else None, 0),
    ("clients' silence, ms", lambda m, mem: m["client_gap_us"] / 1000 if m["done"] else None, 0),
    ("wire, MiB", lambda m, mem: m["wire_bytes"] / (1 << 20), 1),
    ("CPU, s/GiB", _per_gib, 2),
    ("pace during, %", lambda m, mem: _pace(m), 0),
    ("pace after, %", lambda m, mem: _after(m), 0),
)


def load():
    """{name: result} of everything that was kept: scenarios by name, and "pipeline"."""
    results = {}
    for path in sorted(glob.glob(os.path.join(RESULTS, "*.json"))):
        with open(path, encoding="utf-8") as f:
            result = json.load(f)
        # Other programs keep their figures there too.
        if isinstance(result, dict) and ("plan" in result or result.get("what") == "pipeline"):
            results[os.path.basename(path).removesuffix(".json")] = result
    return results


def keep(result, name):
    os.makedirs(RESULTS, exist_ok=True)
    with open(os.path.join(RESULTS, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")


def of_peer(result, name):
    return [m for m in result["moves"] if m["peer"] == name]


def present(result):
    return [p for p in peers.PEERS if of_peer(result, p.name)]


def _cell(figures, digits):
    if not figures:
        return "-"
    texts = [f"{value:.{digits}f}" for value in figures]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]}-{texts[2]})"


def table(result):
    mem = result["plan"]["mem"]
    lines = ["| | done | " + " | ".join(heading for heading, _, _ in COLUMNS) + " |",
             "|---|---|" + "---|" * len(COLUMNS)]
    for peer in present(result):
        moves = of_peer(result, peer.name)
        cells = [_cell(middle(value(m, mem) for m in moves), digits)
                 for _, value, digits in COLUMNS]
        lines.append(f"| {peer.title} | {sum(m['done'] for m in moves)}/{len(moves)} | "
                     + " | ".join(cells) + " |")
    return "\n".join(lines)


def _clients(result):
    clients = result["clients"]
    return ", ".join(f"{name.replace('_', ' ')}: {json.dumps(value)}"
                     for name, value in clients.items())


def where_it_goes(result):
    reports = [m["report"] for m in result["moves"] if m.get("report")
               and m["peer"] == "openlpm"]
    if not reports:
        return ""
    parts = []
    for name in [phase["name"] for phase in reports[0]["phases"]]:
        spans = [(p["end_us"] - p["begin_us"]) / 1000 for r in reports for p in r["phases"]
                 if p["name"] == name and p["end_us"]]
        if spans:
            parts.append(f"{name} {middle(spans)[0]:.0f} ms")
    memory = middle(m["mover_memory_bytes"] / (1 << 20) for m in of_peer(result, "openlpm"))
    return ("Where OpenLPM's time goes: " + ", ".join(parts)
            + f". Memory of both movers together at most {memory[2]:.0f} MiB.")


def _section(result):
    plan = result["plan"]
    machine = result["machine"]
    load = middle(m["load"] for m in result["moves"])
    # A peer that compresses needs processors that others were using.
    noise = (" **Other work had most of the machine: these figures say how each peer bears that, and "
             "little about an idle one.**" if load[0] > 2 * machine["processors"] else "")
    drawn = []
    for i, name in ((0, "total"), (1, "suspended"), (3, "wire")):
        heading, value, digits = COLUMNS[i]
        bars = [(p.title, middle(value(m, plan["mem"]) for m in of_peer(result, p.name)))
                for p in present(result)]
        path = os.path.join(PLOTS, f"{plan['name']}-{name}.svg")
        with open(path, "w", encoding="utf-8") as f:
            f.write(plot.bars(heading, [(t, b) for t, b in bars if b], digits))
        drawn.append(f"![{heading}](benchmarks/{plan['name']}-{name}.svg)")
    return "\n".join([
        f"### {plan['title']}", "",
        f"{result['pairs']} round{'s' if result['pairs'] > 1 else ''}, {result['date']}, revision {machine['revision']}; load of the "
        f"machine meanwhile {_cell(load, 1)}.{noise} "
        f"Clients over all moves: {_clients(result)}.", "",
        table(result), "", where_it_goes(result), "", " ".join(drawn), ""])


def write():
    """docs/benchmarks.md and its plots from everything in bench/results."""
    results = load()
    os.makedirs(PLOTS, exist_ok=True)
    for path in glob.glob(os.path.join(PLOTS, "*.svg")):
        os.unlink(path)
    if results:
        m = max(results.values(), key=lambda r: r["date"])["machine"]
        machine = (f"Machine: {m['processors']} processors ({m['model']}), {m['memory_gib']} GiB, "
                   f"Linux {m['kernel']}, QEMU {m['qemu']}, libvirt {m['libvirt']}.")
    else:
        machine = "Nothing was measured yet."
    text = "\n\n".join([machine, "## Goals", goals.table(results), "## Scenarios"]
                       + [_section(r) for r in results.values() if "plan" in r]
                       + [pipeline.section(r) for r in results.values() if "plan" not in r])
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n{text.rstrip()}\n{END}{tail}")
