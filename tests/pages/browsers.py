"""Pages in real browsers: scripts for playwright, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import Any, Final

import pytest

from portable_nn.pages.runtime import KNOWN, VERSION, cache

HERE: Final = Path(__file__).parent
PAGES: Final = HERE.parents[1] / "portable_nn" / "pages"


def need_packages(*names: str) -> None:
    """Skip the test where Node does not find the packages, which ``npm ci`` in ``portable_nn/pages`` installs."""
    if which("node") is None:
        pytest.skip("needs Node.js")
    for name in names:
        found = subprocess.run(["node", "-e", f"require.resolve('{name}/package.json')"], capture_output=True)
        if found.returncode:
            pytest.skip(f"needs the package {name} of npm, where NODE_PATH says")


def runtime_folder() -> Path:
    """The folder ``dist`` of the package onnxruntime-web; the test is skipped where Node does not find it."""
    need_packages("esbuild")
    found = subprocess.run(
        ["node", "-p", "require.resolve('onnxruntime-web')"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("needs the package onnxruntime-web of npm, where NODE_PATH says")
    return Path(found.stdout.strip()).parent


def fetched_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``folder`` be the cache, with the runtime of pages as if it had been fetched before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    cache().mkdir(parents=True)
    for name in KNOWN[VERSION]:
        shutil.copy(runtime_folder() / name, cache() / name)


def browse(script: str, *arguments: str | Path) -> Any:
    """What ``script`` beside this file gives; ``arguments`` are its ``process.argv``, from 3 on, after the browser."""
    need_packages("playwright-core", "axe-core")
    need_browser("chromium")
    return _given(script, "chromium", *arguments)


def in_firefox(script: str, *arguments: str | Path) -> Any:
    """What ``script`` gives, which talks to Firefox itself: playwright drives a Firefox of its own alone."""
    need_packages("esbuild")
    need_browser("firefox-esr", "firefox")
    return _given(script, *arguments, flags=["--experimental-websocket"])


def need_browser(*programs: str) -> None:
    """Skip the test where none of the programs is there."""
    if not any(map(which, programs)):
        pytest.skip(f"needs {programs[0]}")


def _given(script: str, *arguments: str | Path, flags: Sequence[str] = ()) -> Any:
    command = ["node", *flags, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
