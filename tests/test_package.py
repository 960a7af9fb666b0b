"""The package as it is installed and imported."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import portable_nn

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_public_name_can_be_imported() -> None:
    for name in portable_nn.__all__:
        assert getattr(portable_nn, name) is not None


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(portable_nn, "Dens")


def test_every_package_is_listed() -> None:
    """setuptools takes only what is listed, and forgets silently what is not."""
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    tracked = {
        ".".join(["portable_nn", *file.parent.relative_to(ROOT / top if top == "portable_nn" else ROOT).parts])
        for top in ("portable_nn", "converters", "models")
        for file in (ROOT / top).rglob("*.py")
    }
    assert listed == tracked


def test_importing_is_quick_because_nothing_heavy_is_imported() -> None:
    code = "import portable_nn, sys; print([m for m in ('numpy', 'onnx', 'onnxruntime', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_training_imports_neither_onnx_nor_onnxruntime() -> None:
    code = "import portable_nn as p, sys; p.Sequential(p.Input(2), p.Dense(1)); print('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_what_the_tests_may_do_without_is_imported_where_it_is_needed() -> None:
    """Whoever installs what the README says has not got these; one such import keeps all tests from being collected."""
    optional = {"torch", "torchvision", "onnxscript"}
    found = {
        file.name: [
            line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "from "))
        ]
        for file in (ROOT / "tests").rglob("*.py")
    }
    assert [
        (name, line) for name, lines in found.items() for line in lines if line.split()[1].split(".")[0] in optional
    ] == []
