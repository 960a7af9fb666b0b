"""onnxruntime reports nothing, and leaves nothing in the user's folders, unless the user wants that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

IN_PYTHON = """
import portable_nn as pnn
net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
net.predict([[1, 2]], engine="onnxruntime")
"""

SHOWN = IN_PYTHON + "import os; print(os.environ['ORT_DISABLE_TELEMETRY'])"


def at_home(home: Path, *arguments: str, **more: str) -> str:
    """What a new process of Python prints, with ``home`` in place of the user's folder."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment = kept | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", IN_PYTHON),
        pytest.param(("-m", "portable_nn", "predict", "digits", "digits"), marks=pytest.mark.long),
        pytest.param(("-m", "portable_nn", "check", "digits", "--runtimes", "onnxruntime"), marks=pytest.mark.long),
        pytest.param(("-m", "portable_nn", "doctor"), marks=pytest.mark.long),
    ],
    ids=lambda arguments: arguments[-1] if arguments[0] == "-m" else "python",
)
def test_a_new_home_stays_empty(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    at_home(tmp_path, *arguments)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.long
def test_who_wants_it_keeps_it(tmp_path: Path) -> None:
    assert at_home(tmp_path, "-c", SHOWN) == "1\n"
    assert at_home(tmp_path, "-c", SHOWN, ORT_DISABLE_TELEMETRY="0") == "0\n"


def test_one_place_imports_it() -> None:
    files = [path for name in ("portable_nn", "converters", "models") for path in (ROOT / name).rglob("*.py")]
    code = re.compile(r"^\s*(import|from) onnxruntime\b", re.M)
    found = {path.name for path in files if code.search(path.read_text("utf-8"))}
    assert found == {"runtime.py", "cases.py"}  # In the latter it is the script of a case to send, which runs alone.
