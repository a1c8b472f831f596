# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""One table: help, manual, completion."""
import json
import os
import pathlib
import re
import subprocess

LPM = os.environ["LPM_EXE"]
ROOT = pathlib.Path(__file__).parent.parent.parent.parent


def command_names():
    document = json.loads(subprocess.run([LPM, "help", "--json"], capture_output=True,
                                         check=True).stdout)
    return [command["name"] for command in document["commands"]]


def test_every_command_is_a_file_and_in_every_text(lpm):
    names = command_names()
    files = {p.stem[4:].replace("-", " ") for p in (ROOT / "src" / "cli").glob("cmd-*.c")}
    assert set(names) == files
    overview, manual = lpm("help").stdout, (ROOT / "docs/man/lpm.1").read_text()
    completion = lpm("completion", "bash").stdout
    for name in names:
        assert re.search(rf"^  {name} ", overview, re.M)
        assert f'.Ss "lpm {name}"\n' in manual
        assert f"\n    ['{name}']=' " in completion
        text = lpm("help", *name.split()).stdout
        assert lpm(*name.split(), "--help").stdout == text
        assert text.startswith(f"Usage: lpm {name}")
        assert f"\n  lpm {name}" in text or f"lpm {name}" in text.split("Examples:")[1]
        for option in set(re.findall(r"^  (?:-\w, )?--([\w-]+)", text, re.M)):
            assert f"Fl Fl {option}" in manual
            assert f" --{option}" in completion


def test_the_manual_is_up_to_date(lpm):
    page = ROOT / "docs/man/lpm.1"
    text = lpm("help", "--man").stdout
    if os.environ.get("LPM_UPDATE_GOLDEN"):
        page.write_text(text)
    assert text == page.read_text(), "write it anew: lpm help --man > docs/man/lpm.1"


def test_exit_codes_are_documented(lpm):
    codes = json.loads(lpm("help", "exit-codes", "--json").stdout)["exit_codes"]
    header = (ROOT / "src/cli/exit.h").read_text()
    declared = [int(n) for n in re.findall(r"^    CLI_\w+ = (\d+),", header, re.M)]
    assert [code["code"] for code in codes] == declared
    manual = (ROOT / "docs/man/lpm.1").read_text()
    assert all(f"\n.It {code}\n" in manual for code in declared)


def complete(line, environment, tmp_path):
    """What bash offers after `line`."""
    words = line.split(" ")
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    script = f"""
        source <({LPM} completion bash)
        COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
        _lpm
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    (tmp_path / "lpm").exists() or (tmp_path / "lpm").symlink_to(LPM)
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=20,
        env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"})
    assert result.stderr == ""
    return sorted(filter(None, result.stdout.split("\n")))


def test_completion(lpmd, environment, tmp_path):
    lpmd({"GET /v1/host/peers": [{"peers": [{"name": "b"}, {"name": "bb"}, {"name": "c"}]}],
          "GET /v1/partitions": [{"partitions": [
              {"name": "web"}, {"name": "a b"}, {"name": "$(touch pwned)"}, {"name": "x\ny"}]}]})
    assert complete("lpm m", environment, tmp_path) == ["migrate", "mover"]
    assert complete("lpm host ", environment, tmp_path) == ["invite", "list", "pair", "unpair"]
    assert complete("lpm --json host p", environment, tmp_path) == ["pair"]
    assert complete("lpm migrate w", environment, tmp_path) == ["web"]
    assert complete("lpm migrate ", environment, tmp_path) == [
        "\\$\\(touch\\ pwned\\)", "a\\ b", "web"]
    assert complete("lpm migrate web --to b", environment, tmp_path) == ["b", "bb"]
    assert complete("lpm migrate web --to b --ma", environment, tmp_path) == [
        "--map", "--map-file", "--max-suspend"]
    assert complete("lpm migrate --to b ", environment, tmp_path) == [
        "\\$\\(touch\\ pwned\\)", "a\\ b", "web"]
    assert complete("lpm migrate web ", environment, tmp_path) == []
    assert complete("lpm host unpair c", environment, tmp_path) == ["c"]
    assert complete("lpm help sta", environment, tmp_path) == ["status"]
    assert complete("lpm --so", environment, tmp_path) == ["--socket"]
    assert not (tmp_path / "pwned").exists()
