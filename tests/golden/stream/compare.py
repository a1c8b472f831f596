#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""The parser and reference.py must find the same in every capture: compare.py STREAM-FACTS"""
import glob
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import reference  # noqa: E402


def found(program, data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        text = subprocess.run([program, file.name], stdout=subprocess.PIPE, check=True).stdout
    facts, pages = {}, []
    for line in text.decode().splitlines():
        key, equals, value = line.partition("=")
        if equals:
            facts[key] = value
        else:
            position, length, kind = line.split()
            pages.append((int(position), int(length), kind))
    return facts, pages


def main():
    failed = 0
    captures = sorted(glob.glob(os.path.join(os.path.dirname(__file__), "*.stream.zst")))
    assert captures, "there are no captures"
    for path in captures:
        data = reference.load(path)
        stream = reference.Stream(data)
        expected = {key: str(value) for key, value in stream.read().items()}
        facts, pages = found(sys.argv[1], data)
        if pages != stream.pages:
            print(f"{path}: {len(pages)} records of pages found, {len(stream.pages)} expected")
            failed = 1
        for key in sorted(expected.keys() | facts.keys()):
            if expected.get(key) != facts.get(key):
                print(f"{path}: {key} is {facts.get(key)}, expected {expected.get(key)}")
                failed = 1
        print(f"{os.path.basename(path)}: {len(pages)} records of pages, {expected}")
    return failed


sys.exit(main())
