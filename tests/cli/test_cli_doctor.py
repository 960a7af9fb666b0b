"""``portable-nn doctor``."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from portable_nn.doctor import machine, report, requirements
from portable_nn.doctor.requirements import Package


@pytest.mark.long
def test_what_is_installed(run):
    done = run("doctor", "--format", "json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert found["engines"] == {"numpy": "works", "onnxruntime": "works"}
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {each.partition(">=")[0] for each in project["dependencies"]}
    by_name = {each["name"]: each for each in found["packages"]}
    for name in ("numpy", "onnx", "typer"):
        assert (by_name[name]["version"], by_name[name]["state"]) == (metadata.version(name), "ok")
    for each in found["packages"]:
        installed = {dist.metadata["Name"].lower().replace("_", "-") for dist in metadata.distributions()}
        if not each["name"].startswith("onnxruntime"):
            assert (each["version"] is not None) == (each["name"].lower().replace("_", "-") in installed), each
    assert "cpu" in found["providers"]
    assert {each["name"] for each in found["packages"]} == needed
    assert found["python"].startswith(sys.version.split()[0])


def test_the_table(run):
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert out.endswith("all is well\n")
    assert f"numpy        {np.__version__}" in out
    assert "engine onnxruntime  works" in out


def test_the_threads_of_blas():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    known = [each for each in threadpoolctl.threadpool_info() if "numpy.libs" in each["filepath"]]
    if not known:
        pytest.skip("numpy has a BLAS of its own kind")
    with threadpoolctl.threadpool_limits(1):
        assert machine.blas()[1] == 1
    assert machine.blas()[1] == known[0]["num_threads"]


def test_what_is_missing_has_one_command(run, monkeypatch):
    packages = (
        Package("numpy", "2.1", "2.0.2"),
        Package("h5py", "3.11", None),
        Package("rich", "13", "15"),
    )
    monkeypatch.setattr(report, "packages", lambda: packages)
    code, out, _ = run("doctor")
    assert code == 1
    assert "fault: numpy is too old\nfault: h5py is missing\n" in out
    assert "pip install 'numpy>=2.1' 'h5py>=3.11'\n" in out
    monkeypatch.setattr(report, "packages", lambda: packages[2:])
    assert run("doctor").code == 0


def test_an_engine_that_is_broken(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = run("doctor", "--format", "json")
    assert done.code == 1
    found = done.json
    assert found["engines"]["numpy"] == "works"
    assert found["engines"]["onnxruntime"].startswith("ModuleNotFoundError: ")
    assert found["providers"] == []
    assert [fault[:12] for fault in found["faults"]] == ["onnxruntime:"]


def test_a_setting_that_is_wrong(run, monkeypatch):
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "much")
    code, out, _ = run("doctor")
    assert code == 1
    assert "fault: PORTABLE_NN_MEMORY must be a number of bytes" in out


@pytest.mark.parametrize(
    ("version", "needed", "state"),
    [("2.1", "2.1.0", "ok"), ("2.10", "2.9", "ok"), ("2.1.0rc1", "2.1", "ok"), ("1.26.4", "2.1", "too old")],
)
def test_versions_are_compared_by_their_numbers(version, needed, state):
    assert Package("x", needed, version).state == state
    packaging = pytest.importorskip("packaging.version")
    if "rc" not in version:
        assert (packaging.Version(version) >= packaging.Version(needed)) == (state == "ok")


def test_requirements_are_read_as_pip_reads_them():
    packaging = pytest.importorskip("packaging.requirements")
    for text in requirements._requirements():
        wanted = packaging.Requirement(text)
        name, needed = requirements._read(text)
        assert (name, f">={needed}" if needed else "") == (wanted.name, str(wanted.specifier))
        assert wanted.marker is None
