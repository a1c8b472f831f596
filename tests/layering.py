#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Refuses includes against the direction of docs/architecture.md.

    layering.py TREE          checks the tree; every offence is one line, exit 1 if there is any
    layering.py --self-test   checks the check: made-up trees, right and deliberately wrong

An include counts as "ours" when its first folder is one of src/, or when a file of that name lies
beside the including file.
"""

import os
import re
import sys
import tempfile

# folder of src/ -> folders whose headers it may include besides its own.
ALLOWED = {
    "base": set(),
    "stream": {"base"},
    "codec": {"base"},
    "transport": {"base"},
    "mover": {"base", "stream", "codec", "transport"},
    "host": {"base"},
    "daemon": {"base", "host", "transport"},
    "cli": {"base"},
}
# Of a folder that may be included, only these headers.
ONLY = {("daemon", "transport"): {"mover-control.h", "psk-tls.h"}}
# Headers of the hypervisor's library, and the one folder that may include them.
LIBVIRT, LIBVIRT_HOME = re.compile(r"libvirt(-[a-z]+)?/"), "host"
# Made by the build; everybody may.
GENERATED = {"lpm-version.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>|(\S.*))')


def sources(folder):
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.join(where, name)


def includes(path):
    """(line number, header, quoted?) of each include; a header that a macro names is None."""
    with open(path, encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match[1] or match[2], match[1] is not None


def offence_in_src(tree, path, folder, header):
    """Why a file of src/FOLDER may not include a header; None if it may."""
    if LIBVIRT.match(header):
        return None if folder == LIBVIRT_HOME else f"only src/{LIBVIRT_HOME} includes libvirt"
    if header.startswith("/") or ".." in header.split("/"):
        return "a header is named from src/, not by a way around it"
    first, _, rest = header.partition("/")
    if first in ("lab", "tests", "bench", "fuzz", "src"):
        return f"nothing in src/ includes {first}/"
    if first not in ALLOWED or not rest:
        if rest == "" and header not in GENERATED and os.path.exists(
                os.path.join(os.path.dirname(path), header)):
            return f'say "{folder}/{header}"'
        return None  # the system's, or made by the build
    if first == folder:
        return None
    if first not in ALLOWED[folder]:
        return f"{folder} may not include {first}"
    only = ONLY.get((folder, first))
    if only and rest not in only:
        return f"{folder} may include of {first} only {', '.join(sorted(only))}"
    return None


def offence_in_ledger(tree, header):
    """The workload runs in guests that have nothing but libc: nothing of src/, nothing of GLib."""
    first = header.partition("/")[0]
    if first in ALLOWED or first in GENERATED or header.startswith(("..", "glib", "gio", "src/")):
        return "lab/ledger includes nothing of src/ and no library but libc"
    return None


def check(tree):
    """Offences of a tree, as lines of text, and how many includes were looked at."""
    problems, count = [], 0
    src = os.path.join(tree, "src")
    for folder in sorted(os.listdir(src)):
        if os.path.isdir(os.path.join(src, folder)) and folder not in ALLOWED:
            problems.append(f"src/{folder}: this folder has no place in the layering yet")
    for path in list(sources(src)) + list(sources(os.path.join(tree, "lab", "ledger"))):
        name = os.path.relpath(path, tree)
        parts = name.split(os.sep)
        if parts[0] == "src" and parts[1] not in ALLOWED:
            continue  # reported above
        for number, header, _ in includes(path):
            count += 1
            if header is None:
                why = "an include names its header itself, not by a macro"
            elif parts[0] == "src":
                why = offence_in_src(tree, path, parts[1], header)
            else:
                why = offence_in_ledger(tree, header)
            if why:
                problems.append(f"{name}:{number}: {header}: {why}")
    return problems, count


RIGHT = [
    ("src/mover/a.c", '#include "transport/session.h"'),
    ("src/daemon/a.c", '#include "transport/mover-control.h"'),
    ("src/daemon/a.c", '#include "host/host.h"'),
    ("src/host/a.c", "#include <libvirt/libvirt.h>"),
    ("src/cli/a.c", '#include "base/error.h"'),
    ("src/cli/a.c", '#include "lpm-version.h"'),
    ("src/base/a.c", "#include <host.h>"),
    ("lab/ledger/a.c", '#include "book.h"'),
]
WRONG = [
    ("src/base/a.c", '#include "stream/stream-parser.h"'),
    ("src/stream/a.c", '#include "transport/frame.h"'),
    ("src/codec/a.c", '#include "stream/stream-parser.h"'),
    ("src/transport/a.c", '#include "codec/batch.h"'),
    ("src/transport/deep/a.c", '#include "mover/mover.h"'),
    ("src/mover/a.h", '#include "daemon/migration.h"'),
    ("src/mover/a.c", '#include "host/host.h"'),
    ("src/host/a.c", '#include "daemon/daemon.h"'),
    ("src/daemon/a.c", '#include "mover/mover.h"'),
    ("src/daemon/a.c", '#include "transport/session.h"'),
    ("src/daemon/a.c", '  #  include <stream/stream-parser.h>'),
    ("src/daemon/a.c", "#include <libvirt/libvirt.h>"),
    ("src/cli/a.c", '#include "daemon/daemon.h"'),
    ("src/cli/a.c", "#include <libvirt/virterror.h>"),
    ("src/cli/a.c", '#include "../daemon/daemon.h"'),
    ("src/base/a.c", '#include "lab/ledger/book.h"'),
    ("src/base/a.c", '#include "tests/unit/hosts.h"'),
    ("src/base/a.c", "#include HEADER"),
    ("src/newcomer/a.c", "#include <stdio.h>"),
    ("lab/ledger/a.c", '#include "base/error.h"'),
    ("lab/ledger/a.c", "#include <glib.h>"),
    ("lab/ledger/a.c", '#include "../../src/base/error.h"'),
]


def check_one(path, line):
    with tempfile.TemporaryDirectory(prefix="lpm-layering-") as tree:
        os.makedirs(os.path.join(tree, "src"))
        target = os.path.join(tree, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as f:
            f.write(f"/* a comment */\n{line}\n")
        return check(tree)[0]


def self_test():
    failed = [f"accepted, but wrong: {p}: {line}" for p, line in WRONG if not check_one(p, line)]
    failed += [f"refused, but right: {p}: {line}: {why}" for p, line in RIGHT
               for why in check_one(p, line)]
    print("\n".join(failed) or f"{len(WRONG)} wrong includes refused, {len(RIGHT)} right accepted")
    return 1 if failed else 0


def main(argv):
    if argv == ["--self-test"]:
        return self_test()
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    problems, count = check(argv[0])
    if count == 0:
        problems.append(f"{argv[0]}: no includes found: is this the tree?")
    print("\n".join(problems) or f"{count} includes follow the layering")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
