# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""`./run demo`: a running partition moves from one managed system to another, under load, and a
report proves that nothing was lost. Exit 0 only if the proof holds."""

import argparse
import json
import subprocess
import sys
import time

from lab.proc import LabError
from lab.scenario import Scenario

APPEND = "ledger.mem=96M ledger.dirty=2M ledger.content=text"


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def watch_migration(lab, before):
    """Runs lpm as an operator would, on a terminal with its progress, and reads the report after."""
    begin = time.monotonic_ns() // 1000
    line = lab.enter("alpha", lab.program("lpm"), "migrate", "tiny", "--to", "beta")
    code = subprocess.run(line, stdout=subprocess.DEVNULL, check=False,
                          stderr=None if sys.stderr.isatty() else subprocess.DEVNULL).returncode
    _, document = lab.lpm("alpha", "status", "tiny")
    if code != 0:
        error = document.get("error") or {}
        raise LabError(f"the migration failed (exit {code}): {error.get('cause', document)}")
    lab.complete(document, "alpha", before, begin, lab.ledgers[0])
    return document["report"]


def run(args):
    with Scenario(args.name, rate=args.rate, build=args.build, keep=args.keep) as lab:
        say("two managed systems (alpha, beta), an iSCSI SAN and a LAN are up; "
            f"each uplink carries {args.rate}")
        lab.add_guest("tiny", mem=args.mem, append=APPEND)
        say(f"partition 'tiny' runs on alpha: {args.mem} MiB, its disk a LUN of the SAN")
        ledger = lab.start_ledger("tiny")
        say("four clients write to it, 200 numbered transactions a second; "
            "each is on the disk before it is acknowledged")
        time.sleep(args.before)  # the workload's own pace, not a wait for something
        say("lpm migrate tiny --to beta")
        report = watch_migration(lab, lab.wire_bytes("alpha"))
        time.sleep(args.after)
        clients = ledger.stop(lab.disk("tiny"))
        places = lab.places("tiny")
    return finish(report, clients, places)


def finish(report, clients, places):
    """The whole report, and whether it proves the move."""
    disk = clients["disk_check"]
    for name in ("acknowledged", "lost", "doubled", "resets", "memory_ok"):
        report[name] = clients[name]
    report["disk_lost"], report["disk_doubled"] = disk["lost"], disk["doubled"]
    report["runs_on"] = [where for where, state in places if state == "running"]
    good = (report["lost"] == report["doubled"] == report["resets"] == 0 and
            report["memory_ok"] and disk["lost"] == disk["doubled"] == 0 and
            report["acknowledged"] > 0 and report["runs_on"] == ["beta"] and len(places) == 1 and
            report["stream_hash"]["identical"])
    report["proved"] = bool(good)
    return report


def show(report):
    ms = lambda us: f"{us / 1000:.1f} ms" if us is not None else "unknown"
    mib = lambda count: f"{count / 1048576:.1f} MiB"
    pages = report["pages"]
    print(f"""
partition tiny moved from {report['source']} to {report['target']}
  total              {report['total_ms']} ms
  suspended          {ms(report['suspended_us'])} (QEMU's STOP on alpha to its RESUME on beta)
  longest silence    {ms(report['client_gap_us'])} (seen by the clients)
  memory             {pages['sent']} pages sent, {pages['zero']} zero, {pages['resent']} of them again
  stream             {mib(report['stream_bytes'])}, encoded {mib(report['encoded_bytes'])}, \
on the wire {mib(report['wire_bytes'])}
  stream arrived     {'identical' if report['stream_hash']['identical'] else 'DIFFERENT'}
  acknowledged: {report['acknowledged']}, lost: {report['lost']}, doubled: {report['doubled']}, \
resets: {report['resets']}
  memory of the service checked: {'whole' if report['memory_ok'] else 'DAMAGED'}; \
on its disk lost: {report['disk_lost']}, doubled: {report['disk_doubled']}
  runs on            {', '.join(report['runs_on']) or 'NO HOST'}
{'Nothing was lost.' if report['proved'] else 'THE PROOF FAILED.'}""")


def main():
    parser = argparse.ArgumentParser(prog="run demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the report as JSON, only that")
    parser.add_argument("--name", default="demo", help="name of the lab it makes (demo)")
    parser.add_argument("--rate", default="1gbit", help="of each uplink, or 'none' (1gbit)")
    parser.add_argument("--mem", type=int, default=512, help="of the partition in MiB (512)")
    parser.add_argument("--before", type=float, default=3, help="seconds of load before the move")
    parser.add_argument("--after", type=float, default=3, help="and after it")
    parser.add_argument("--keep", action="store_true", help="leave the lab up afterwards")
    parser.add_argument("--build", help="build folder (the checkout's build/)")
    args = parser.parse_args()
    try:
        report = run(args)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        show(report)
    return 0 if report["proved"] else 1


if __name__ == "__main__":
    sys.exit(main())
