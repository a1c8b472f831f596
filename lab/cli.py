# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The command line of the lab."""

import argparse
import json
import os
import sys

from lab import guest, host, info, lpmd, net, updown
from lab.proc import LabError
from lab.state import HOSTS, Lab, lab_names


def _say(text):
    print(f"lab: {text}", file=sys.stderr)


def cmd_up(lab, args):
    with_lpmd = args.lpmd if args.lpmd is not None else lpmd.built(lab)
    with lab.lock():
        updown.up(lab, args.hosts, args.rate, with_lpmd, args.locks)
    _say(f"'{lab.name}' is up: {', '.join(HOSTS[:args.hosts])}; uplinks {args.rate}; "
         f"lpmd {'runs' if with_lpmd else 'not started'}")


def cmd_down(lab, args):
    with lab.lock():
        was = updown.down(lab)
    _say(f"'{lab.name}' is down" if was else f"'{lab.name}' was not up")


def cmd_status(lab, args):
    state = lab.load(missing_ok=True)
    if state is None:
        left = updown.leftovers(lab)
        others = [n for n in lab_names() if n != lab.name]
        print(json.dumps({"lab": lab.name, "ok": False, "leftovers": left}) if args.json else
              f"lab {lab.name}: " + (f"half-built, 'down' removes it: {', '.join(left)}" if left
                                     else "down") +
              (f" (others: {', '.join(others)})" if others else ""))
        return 3
    s = info.status(lab, state)
    print(json.dumps(s, indent=1) if args.json else info.status_text(s))
    return 0 if s["ok"] else 1


def cmd_info(lab, args):
    document = info.describe(lab, lab.load(), counters=args.counters)
    print(json.dumps(document, indent=1) if args.json else info.text(document))


def cmd_exec(lab, args):
    line = host.enter(lab.load(), args.where, [args.command] + args.rest, os.getcwd())
    os.execvp(line[0], line)


def cmd_virsh(lab, args):
    uri = host.libvirt_uri(_with_host(lab, args.host), args.host)
    os.execvp("virsh", ["virsh", "-c", uri] + args.rest)


def cmd_lpm(lab, args):
    state = _with_host(lab, args.host)
    line = host.enter(state, args.host, [lpmd.program(lab, "lpm")] + args.rest, os.getcwd())
    os.execvp(line[0], line)


def _with_host(lab, name):
    state = lab.load()
    if name not in state["hosts"]:
        raise LabError(f"there is no host '{name}': this lab has {', '.join(state['hosts'])}")
    return state


def cmd_console(lab, args):
    state = lab.load()
    running = [where for where, what in guest.places(state).get(args.partition, [])
               if what in ("running", "paused")]
    if not running:
        raise LabError(f"no partition '{args.partition}' runs in this lab: "
                       "'lab status' shows what there is")
    uri = host.libvirt_uri(state, running[0])
    os.execvp("virsh", ["virsh", "-c", uri, "console", args.partition])


def cmd_guest_add(lab, args):
    with lab.lock():
        g = guest.add(lab, lab.load(), args)
    where = ", ".join(n["address"] for n in g["nics"]) or "no network"
    _say(f"guest {g['name']} on {g['first_host']}: {where}; "
         f"{'defined only' if args.no_start else 'starting'}")
    if args.wait and not args.no_start:
        guest.wait_booted(g)


def cmd_guest_rm(lab, args):
    with lab.lock():
        guest.remove(lab, lab.load(), args.name)
    _say(f"guest {args.name} is gone")


def cmd_start_lpmd(lab, args):
    with lab.lock():
        lpmd.start(lab, _with_host(lab, args.host), args.host)


def cmd_stop_lpmd(lab, args):
    with lab.lock():
        lpmd.stop(lab, _with_host(lab, args.host), args.host, kill=args.kill)


def cmd_start_libvirtd(lab, args):
    with lab.lock():
        state = _with_host(lab, args.host)
        host.begin_libvirtd(lab, state, args.host)
        host.await_libvirt(lab, state, args.host)


def cmd_stop_libvirtd(lab, args):
    with lab.lock():
        host.stop_libvirt(lab, _with_host(lab, args.host), args.host, kill=args.kill)


def cmd_pair(lab, args):
    with lab.lock():
        lpmd.pair_all(lab, lab.load())


def cmd_rate(lab, args):
    with lab.lock():
        state = lab.load() if args.host == "all" else _with_host(lab, args.host)
        for name in (state["hosts"] if args.host == "all" else [args.host]):
            net.set_rate(lab, state, name, args.rate)
        if args.host == "all":
            state["rate"] = args.rate
        lab.save(state)


def _guest_parsers(sub):
    g = sub.add_parser("guest", help="add or remove a guest").add_subparsers(required=True)
    p = g.add_parser("add", help="make a tiny guest with its disks on the SAN and start it")
    p.add_argument("name")
    p.add_argument("--host", default="alpha")
    p.add_argument("--mem", type=int, default=256, help="MiB (256)")
    p.add_argument("--backing", choices=guest.BACKINGS, default="private",
                   help="of its memory: QEMU's own, or shared: a memfd or a file (private)")
    p.add_argument("--machine", default="pc", help="pc, q35 or any QEMU machine (pc)")
    p.add_argument("--append", default="", help="kernel arguments, e.g. of the workload")
    p.add_argument("--disks", type=int, default=1)
    p.add_argument("--nics", type=int, default=1)
    p.add_argument("--cpus", type=int, default=1)
    p.add_argument("--lun-size", default="256M")
    p.add_argument("--no-start", action="store_true", help="define it only")
    p.add_argument("--wait", action="store_true", help="until it says that it is up")
    p.set_defaults(run=cmd_guest_add)
    p = g.add_parser("rm", help="end a guest and remove its LUNs")
    p.add_argument("name")
    p.set_defaults(run=cmd_guest_rm)


def _daemon_parsers(sub):
    for name, start, stop in (("lpmd", cmd_start_lpmd, cmd_stop_lpmd),
                              ("libvirtd", cmd_start_libvirtd, cmd_stop_libvirtd)):
        p = sub.add_parser(f"start-{name}", help=f"start {name} on a host")
        p.add_argument("host")
        p.set_defaults(run=start)
        p = sub.add_parser(f"stop-{name}", help=f"end {name} on a host; --kill as a crash would")
        p.add_argument("host")
        p.add_argument("--kill", action="store_true")
        p.set_defaults(run=stop)
    p = sub.add_parser("pair", help="pair all hosts with each other")
    p.set_defaults(run=cmd_pair)


def parser():
    top = argparse.ArgumentParser(prog="lab", description="Managed systems, a SAN, a LAN and "
                                  "guests on one machine, in namespaces of their own.")
    top.add_argument("--name", dest="lab", metavar="NAME", default="lab", help="another lab beside the first (lab)")
    top.add_argument("--build", help="build folder with lpmd, lpm, lpm-mover, ledgerd "
                     "(the one the lab was brought up with, else the checkout's build/)")
    sub = top.add_subparsers(required=True, metavar="COMMAND")
    p = sub.add_parser("up", help="bring the lab up")
    p.add_argument("--hosts", type=int, choices=(2, 3), default=2)
    p.add_argument("--rate", default="1gbit", help="of each uplink and direction, or 'none' (1gbit)")
    p.add_argument("--no-lpmd", dest="lpmd", action="store_false", default=None,
                   help="do not start lpmd (it is not started either when it is not built)")
    p.add_argument("--locks", choices=sorted(host.LOCK_MANAGERS),
                   help="with virtlockd or sanlock on each host: a disk or lease is one partition's")
    p.set_defaults(run=cmd_up)
    p = sub.add_parser("down", help="take away everything there is of the lab")
    p.set_defaults(run=cmd_down)
    p = sub.add_parser("status", help="what runs where; exit 0 up, 1 broken, 3 down")
    p.add_argument("--json", action="store_true")
    p.set_defaults(run=cmd_status)
    p = sub.add_parser("info", help="addresses, pids, sockets, LUNs, guests")
    p.add_argument("--json", action="store_true")
    p.add_argument("--counters", action="store_true", help="with the uplinks' byte counters")
    p.set_defaults(run=cmd_info)
    p = sub.add_parser("exec", help="run a command in a host, or in client, san or lan")
    p.add_argument("where", metavar="HOST")
    p.add_argument("command")
    p.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGS")
    p.set_defaults(run=cmd_exec)
    for name, function, text in (("virsh", cmd_virsh, "virsh on a host"),
                                 ("lpm", cmd_lpm, "lpm on a host")):
        p = sub.add_parser(name, help=text)
        p.add_argument("host")
        p.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGS")
        p.set_defaults(run=function)
    p = sub.add_parser("console", help="console of a running partition (Ctrl-] leaves)")
    p.add_argument("partition")
    p.set_defaults(run=cmd_console)
    _guest_parsers(sub)
    _daemon_parsers(sub)
    p = sub.add_parser("rate", help="change the shaping of uplinks")
    p.add_argument("host", metavar="HOST|all")
    p.add_argument("rate", metavar="RATE|none")
    p.set_defaults(run=cmd_rate)
    return top


def main(argv=None):
    args = parser().parse_args(argv)
    try:
        if os.geteuid() != 0:
            raise LabError("the lab needs root, for namespaces: use sudo")
        lab = Lab(args.lab, args.build)
        if not args.build and args.run is not cmd_up:
            state = lab.load(missing_ok=True)
            lab.build = state["build"] if state else lab.build
        return args.run(lab, args) or 0
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
