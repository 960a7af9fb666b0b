"""docs/architecture.md is true: its ways lead through modules that exist, and each of its diffs adds what it says.

For each diff, a program in ``contributing`` runs with a copy of the package to which it was applied.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(__file__).parent / "contributing"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DIFFS = dict(re.findall(r"^### … an? (\w+).*?^```diff\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
STEPS = re.findall(r"^[ │├└─]*([\w.]+).*?  ([a-z_]+/\S*)", PAGE, re.MULTILINE)
"""The function or class, and its module or folder."""


def test_every_diff_has_a_program_that_shows_what_it_adds() -> None:
    assert sorted(DIFFS) == sorted(path.stem.removeprefix("add_") for path in PROGRAMS.glob("*.py"))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the diffs")
@pytest.mark.parametrize("what", DIFFS)
def test_a_diff_applies_and_adds_what_it_says(what: str, tmp_path: Path) -> None:
    changed = re.findall(r"^\+\+\+ b/(\S+)$", DIFFS[what], re.MULTILINE)
    assert len([path for path in changed if path.startswith("portable_nn/")]) <= 3
    copy, work = tmp_path / "copy", tmp_path / "work"
    work.mkdir()
    for name in ("portable_nn", "converters", "models", "tests/cases", "tests/converters", "tests/layers"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.pyc.*", "samples"))
    for name in ("pyproject.toml", "README.md", "docs/commands/index.md"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    subprocess.run(["git", "apply", "--unidiff-zero"], input=DIFFS[what], text=True, check=True, cwd=copy)
    path = os.pathsep.join(str(copy / name) for name in (".", "tests", "tests/converters"))
    program = [sys.executable, "-W", "error", str(PROGRAMS / f"add_{what}.py")]
    done = subprocess.run(program, cwd=work, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_ways_lead_through_modules_that_exist() -> None:
    assert len(STEPS) > 20
    for called, place in STEPS:
        path = ROOT / place if place.startswith("converters/") else ROOT / "portable_nn" / place
        files = [path] if path.suffix else sorted(path.rglob("*.py"))
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        assert re.search(rf"\b{called.split('.')[-1]}\b", text), f"{place} has no {called}"
