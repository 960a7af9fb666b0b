"""The examples of docstrings, which stand on the site, need nothing but their module, and give what they show."""

from __future__ import annotations

import doctest
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from pages.browsers import fetched_runtime

from portable_nn.catalog import find_model

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "keras", "jax", "flax", "sklearn", "dask", "pandas"}
NEEDS = {"scale": "distributed", "torch": "torch", "keras": "keras", "jax": "jax", "sklearn": "sklearn"}
"""Folders, and the optional package that their modules need."""

MODULES = sorted(
    path
    for folder in ("portable_nn", "converters")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture
def furnished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which a reader has a photograph, scans, pictures by class, and a model of somebody else."""
    monkeypatch.chdir(tmp_path)
    samples = find_model("digits").samples
    shutil.copy(samples / "digit-3.png", "photo.jpg")
    shutil.copy(samples / "digit-7.png", "scan.png")
    Path("scans").mkdir()
    for digit in range(10):
        Path("classes", str(digit)).mkdir(parents=True)
        shutil.copy(samples / f"digit-{digit}.png", Path("classes", str(digit)))
    for digit in range(3):
        shutil.copy(samples / f"digit-{digit}.png", "scans")
    shutil.copy(find_model("digits").onnx, "model.onnx")


@pytest.mark.long
@pytest.mark.usefixtures("furnished")
@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_they_do(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in {*re.findall(r">>> (?:import|from) (\w+)", path.read_text(encoding="utf-8"))} & HEAVY:
        pytest.importorskip(package, reason="an example is of it")
    if (need := NEEDS.get(path.parent.name)) is not None:
        pytest.importorskip(need, reason="its module needs it")
    if path.parent.name == "pages":
        fetched_runtime(tmp_path / "cache", monkeypatch)
    module = import_module(module_of(path))
    public = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    own = {name: each for name, each in vars(module).items() if getattr(each, "__module__", "") == module.__name__}
    runner = doctest.DocTestRunner()
    for examples in doctest.DocTestFinder().find(module, globs=public | own | {"__name__": "__main__"}):
        runner.run(examples)
    assert runner.summarize(verbose=False).failed == 0
