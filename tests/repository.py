#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Rules that hold for every file of the tree.

    repository.py headers TREE   the two lines that say licence and owner, in every text file
    repository.py words TREE     no paths of somebody's machine, no unfinished business
    repository.py format TREE    .clang-format; exit 77 (skipped) without that version of it
    repository.py links TREE     a file that a page links to, or says is there, is there
    repository.py self-test      each of these refuses what it should

Exit 1 if there is an offence; each is one line.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED_FOLDERS = {".git", "__pycache__", ".pytest_cache", "corpus"}
SPDX = "SPDX-License-Identifier: LGPL-2.1-or-later"
OWNER = "Copyright 2026 The OpenLPM authors"
# The licence itself, and forms that have no comments.
WITHOUT_HEADER = re.compile(r"(^|/)(COPYING|[^/]+\.(json|txt|zst|bad|png))$")
# Written in two parts, so that this file does not offend.
WORDS = [
    (re.compile(r"(?<![\w.*-])/(" + "wo" + r"rk|home|Users)/\w"), "a path of somebody's machine"),
    (re.compile(r"/tmp/b-\w"), "a path of somebody's machine"),
    (re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b"), "unfinished business"),
    (re.compile(r"^(<{7}|>{7}) "), "a conflict of a merge"),
    (re.compile(r"[ \t]+$"), "blanks at the end of a line"),
]
CLANG_FORMAT = 14
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def files(tree):
    """Every file that belongs to the tree, relative to it."""
    for where, folders, names in os.walk(tree):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not (
            where == tree and (f == "build" or f.startswith("build-"))))
        for name in sorted(n for n in names if n != ".git"):  # a file in a second work tree
            yield os.path.relpath(os.path.join(where, name), tree)


def text_of(tree, name):
    """A file's text; None for a binary one."""
    with open(os.path.join(tree, name), "rb") as f:
        data = f.read()
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def headers(tree):
    for name in files(tree):
        text = text_of(tree, name)
        if WITHOUT_HEADER.search(name) or not text:
            continue
        head = text.split("\n")[:4]
        if not any(SPDX in line for line in head):
            yield f"{name}: its first lines lack '{SPDX}'"
        # Pages in Markdown may leave the owner to the licence line alone.
        elif not name.endswith(".md") and not any(OWNER in line for line in head):
            yield f"{name}: its first lines lack '{OWNER}'"


def words(tree):
    for name in files(tree):
        text = text_of(tree, name)
        if text is None or name == "COPYING":
            continue
        for number, line in enumerate(text.split("\n"), 1):
            for pattern, why in WORDS:
                if pattern.search(line):
                    yield f"{name}:{number}: {why}: {line.strip()[:80]!r}"


def clang_format_version():
    if not shutil.which("clang-format"):
        return None
    out = subprocess.run(["clang-format", "--version"], capture_output=True, text=True,
                         check=True).stdout
    match = re.search(r"version (\d+)", out)
    return int(match[1]) if match else None


def badly_formatted(tree):
    names = [n for n in files(tree) if n.endswith((".c", ".h"))]
    if not names:
        return
    done = subprocess.run(["clang-format", "--style=file", "--dry-run", "-Werror"] + names,
                          cwd=tree, capture_output=True, text=True, check=False)
    offenders = {}
    for match in re.finditer(r"^([^:\n]+):(\d+):\d+: error", done.stderr, re.M):
        offenders.setdefault(match[1], match[2])
    for name, line in sorted(offenders.items()):
        yield f"{name}:{line}: not as .clang-format wants it: clang-format -i {name}"
    if done.returncode and not offenders:
        yield f"clang-format failed: {done.stderr.strip()[:200]}"


def links(tree):
    for name in files(tree):
        if not name.endswith(".md"):
            continue
        for target in LINK.findall(text_of(tree, name) or ""):
            path = os.path.join(tree, os.path.dirname(name), target)
            if not os.path.exists(path):
                yield f"{name}: links to {target}, which is not there"


GOOD = f"/* {SPDX}\n * {OWNER} */\nint answer;\n"
CASES = [
    (headers, "src/a.c", GOOD, 0),
    (headers, "src/a.c", "int answer;\n", 1),
    (headers, "src/a.c", f"/* {SPDX} */\nint answer;\n", 1),
    (headers, "run", "#!/bin/sh\nexit 0\n", 1),
    (headers, "fuzz/corpus/a", "x", 0),
    (headers, "blob", "\0\1", 0),
    (words, "src/a.c", GOOD, 0),
    (words, "src/a.c", "/* see /" + "work/main/x */\n", 1),
    (words, "src/a.c", "/* see /" + "home/me/x */\n", 1),
    (words, "src/a.c", "/* TO" + "DO */\n", 1),
    (words, "src/a.c", 'char path[] = "/tmp/lpm-XXXXXX";\n', 0),
    (words, "docs/a.md", "two blanks  \n", 1),
    (links, "docs/a.md", "[there](a.md#part) [far](https://example.org/x)\n", 0),
    (links, "docs/a.md", "[not there](b.md)\n", 1),
    (badly_formatted, "src/a.c", GOOD, 0),
    (badly_formatted, "src/a.c", "int  answer ;\n", 1),
]


def self_test(tree):
    failed = []
    for check, name, text, expected in CASES:
        if check is badly_formatted and clang_format_version() != CLANG_FORMAT:
            continue
        with tempfile.TemporaryDirectory(prefix="lpm-repository-") as folder:
            shutil.copy(os.path.join(tree, ".clang-format"), folder)
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            found = list(check(folder))
        if len(found) != expected:
            failed.append(f"{check.__name__}, {text!r}: {expected} offences expected, {found}")
    return failed


def main(argv):
    checks = {"headers": headers, "words": words, "format": badly_formatted, "links": links,
              "self-test": self_test}
    if len(argv) != 2 or argv[0] not in checks:
        print(__doc__, file=sys.stderr)
        return 2
    if argv[0] == "format" and clang_format_version() != CLANG_FORMAT:
        print(f"skipped: the tree's format is that of clang-format {CLANG_FORMAT}, "
              f"and here is {clang_format_version() or 'none'}")
        return 77
    problems = list(checks[argv[0]](argv[1]))
    print("\n".join(problems) or f"{argv[0]}: in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
