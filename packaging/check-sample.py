#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""check-sample.py SAMPLE CONFIG_C LPMD MOVER: the sample holds each key of the table in
src/base/config.c with its default and no other, and lpmd takes it with all comments removed."""

import os
import re
import subprocess
import sys
import tempfile

ROW = re.compile(r'\{"(\w+)", "(\w+)", \w+, AT\(\w+\), (LPM_MOVER_PATH|"[^"]*"), ')


def table(path, mover):
    with open(path, encoding="utf-8") as f:
        rows = ROW.findall(f.read())
    return {(group, key): mover if text == "LPM_MOVER_PATH" else text.strip('"')
            for group, key, text in rows}


def sample_keys(lines):
    group, keys = None, {}
    for line in lines:
        if match := re.fullmatch(r"\[(\w+)\]", line):
            group = match[1]
        elif match := re.fullmatch(r"#(\w+)=(.*)", line):
            keys[group, match[1]] = match[2]
    return keys


def main(sample, config_c, lpmd, mover):
    with open(sample, encoding="utf-8") as f:
        lines = f.read().splitlines()
    wanted, found = table(config_c, mover), sample_keys(lines)
    wrong = sorted(set(wanted.items()) ^ set(found.items()))
    for (group, key), text in wrong:
        print(f"[{group}] {key}={text}: in one of sample and table only")
    with tempfile.TemporaryDirectory(prefix="lpm-sample-") as folder:
        path = os.path.join(folder, "lpmd.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(re.sub(r"^#(?=\w+=)", "", line) for line in lines) + "\n")
        code = subprocess.run([lpmd, "-c", path, "--check-config"], check=False).returncode
    print(f"{len(found)} keys in the sample, {len(wanted)} in the table, lpmd's answer {code}")
    return 1 if wrong or code or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
