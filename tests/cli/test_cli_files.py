"""No option overwrites a file unless that is asked for, and never one that the command reads."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli_examples import packages
from test_cli_main import PATHS

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import conventions, module_of
from portable_nn.core import atomic

MODEL = "model.safetensors"

LINES = {
    "check": f"check {MODEL}",
    "convert": f"convert {MODEL}",
    "calibrate": f"calibrate {MODEL} mixed.csv",
    "completion": "completion bash",
    "diff": f"diff {MODEL} model.onnx",
    "doctor": "doctor",
    "evaluate": f"evaluate {MODEL} digits.csv",
    "export": f"export {MODEL} --verify none",
    "import": "import model.onnx --verify none",
    "inspect": f"inspect {MODEL}",
    "models build": "models build digits-mlp",
    "models list": "models list",
    "models show": "models show digits",
    "predict": f"predict {MODEL} digits.csv",
    "simulate compare": "simulate compare --steps 8",
    "simulate field": "simulate field --steps 3 --grid 3",
    "simulate gan": "simulate gan --steps 10:10",
    "simulate list": "simulate list",
    "simulate run": "simulate run --steps 3",
    "simulate spectrum": "simulate spectrum",
    "simulate sweep": "simulate sweep --steps 3 --rate 0.1",
    "size conv": "size conv --in 5 --kernel 3",
    "size convt": "size convt --in 5 --kernel 3",
    "size net": f"size net {MODEL}",
    "size pool": "size pool --in 6 --kernel 2",
    "train": "train 784-10 digits.csv --validation 0 --epochs 1",
    "tune": f"tune {MODEL} digits.csv --validation 0 --epochs 1",
}
"""For each command a line that succeeds once it says what to write."""

NAMES = {
    "--out": {
        "calibrate": "old.npz", "train": "old.npz", "tune": "old.h5", "models build": "old.npz",
    },
    "--plot": "old.png", "--io": "old.npz",
    "--keep": "old.safetensors", "--draw": "old.png", "--html": "old.html",
    "OUT": "old.safetensors", "[OUT]": "old.onnx",
    "B": "old.npz",
}  # fmt: skip
"""The name of a file that an option may write: for all commands, or for those that are named."""

READ = {
    "--io", "IN...", "[INPUTS]", "--inputs-b", "--answers-b", "DATA", "--runtime",
    "--verify-signature",
}  # fmt: skip
"""Options whose value is a path, and that write no file."""

FOLDERS = {"--checkpoint", "--repro"}


def options() -> Iterator[tuple[str, str, bool]]:
    """The options whose value is a path, each with its command and whether it names a file to write."""
    for path in PATHS:
        found: Any = conventions.with_conventions(module_of(*path))
        for option in inspect.signature(found).parameters.values():
            if "Path" in str(option.annotation):
                yield " ".join(path), conventions._flag(option), bool(conventions._info(option).writable)


WRITTEN = [(command, flag) for command, flag, writable in options() if writable]


def name_for(command: str, flag: str) -> str:
    names = NAMES[flag]
    return names if isinstance(names, str) else names.get(command, "old.json")


def line_with(command: str, flag: str, name: str) -> list[str]:
    """The line of a command that writes ``name``."""
    words = [*LINES[command].split(), *([name] if flag[0] != "-" else [flag, name])]
    if (command, flag) == ("export", "--html"):
        return ["export", MODEL, flag, name, "--runtime", "node_modules"]
    if flag == "--keep":
        words += ["--preprocess", "mnist"]
    if command in {"train", "tune"} and flag != "--out":
        words += ["--out", "new.npz"]
    return words


@pytest.fixture
def files(tmp_path: Path, digits_csv: Path) -> Path:
    """A folder with what the lines read."""
    model = find_model("digits-mlp")
    shutil.copy(model.weights, tmp_path / MODEL)
    shutil.copy(model.onnx, tmp_path / "model.onnx")
    shutil.copy(find_model("digits-gan").weights, tmp_path / "gan.safetensors")
    packages(tmp_path / "node_modules")
    right = digits_csv.read_text()
    (tmp_path / "mixed.csv").write_text(right * 3 + "1" + right[1:])  # A label that is wrong: not all can be certain.
    return tmp_path


def test_every_option_with_a_path_says_whether_it_writes() -> None:
    assert {command for command, _ in WRITTEN} == set(LINES) == {" ".join(path) for path in PATHS}
    assert {flag for _, flag, writable in options() if not writable} == READ | FOLDERS


@pytest.mark.parametrize(("command", "flag"), WRITTEN, ids="-".join)
def test_no_option_replaces_a_file_unless_forced(run, files, command, flag):
    name = name_for(command, flag)
    (files / name).write_bytes(b"precious")
    assert run(*line_with(command, flag, name)) == (2, "", f"error: {name} exists already: --force replaces it\n")
    assert (files / name).read_bytes() == b"precious"
    (files / "link").mkdir()
    (files / "link" / name).symlink_to(files / name)
    assert run(*line_with(command, flag, f"link/{name}")).code == 2
    assert (files / name).read_bytes() == b"precious"


MEANWHILE = [pair for pair in WRITTEN if pair[0] != "models build" and pair[1] != "--draw"]


@pytest.mark.parametrize(("command", "flag"), MEANWHILE, ids="-".join)
def test_no_option_replaces_a_file_that_appears_while_the_command_runs(run, files, command, flag, monkeypatch):
    """At the last moment before it gets its name. What was made is kept beside it, if it is complete in one file."""
    name = name_for(command, flag)
    really = atomic.is_new

    def late(path):
        if Path(path).name == name and not (files / name).exists():
            (files / name).write_bytes(b"precious")
        return really(path)

    monkeypatch.setattr(atomic, "is_new", late)
    before = {*files.iterdir()}
    code, _, err = run(*line_with(command, flag, name))
    if code == 4:
        pytest.skip(err)  # It needs a package that is not installed.
    assert (code, (files / name).read_bytes()) == (3, b"precious"), err
    told = rf"error: {name}: exists by now, as another program has written it, and is not replaced: (.*)\n"
    [what] = re.findall(told, err)
    others = {*files.iterdir()} - before - {files / name}
    assert not [each for each in others if "tmp" in each.name or "part" in each.name]
    if (flag, command) == ("B", "convert"):
        assert what == "nothing was written"
        assert not others - {files / "new.npz"}
    else:
        kept = Path(name).with_name(f"old-2{Path(name).suffix}")
        assert what == f"what was made is in {kept}"
        assert (files / kept).stat().st_size > 8


@pytest.mark.long
def test_of_two_trainings_with_one_name_the_second_says_so(run, files):
    """The first one to end has the name, and the network of the other is kept; both say how they went."""
    words = ["train", "784-10", "digits.csv", "--validation", "0", "--epochs", "3", "--format", "json"]
    program = [sys.executable, "-c", "from portable_nn.__main__ import main; raise SystemExit(main())"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": files}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    lines = [[*program, *words, "--out", "mine.safetensors", "--seed", seed] for seed in "12"]
    both = [subprocess.Popen(line, env=environment, **pipes) for line in lines]
    found = [(each.communicate(), each.returncode) for each in both]
    assert sorted(code for _, code in found) in ([0, 2], [0, 3])  # Refused at the start, or kept beside the other.
    for seed, ((out, err), code) in zip("12", found, strict=True):
        if code == 2:
            assert "mine.safetensors" in err
            continue
        assert ("mine.safetensors: exists by now" in err) == bool(code)
        data = json.loads(out)
        assert data["model"] == ("mine-2.safetensors" if code else "mine.safetensors")
        assert run(*words, "--out", f"alone-{seed}.safetensors", "--seed", seed).code == 0
        alone = pnn.load(files / f"alone-{seed}.safetensors").parameters
        for name, array in pnn.load(files / data["model"]).parameters.items():
            np.testing.assert_array_equal(array, alone[name])


PICTURES = {"--plot", "--draw"}
SLOW = {"models build"}


@pytest.mark.parametrize(
    ("command", "flag"), [pair for pair in WRITTEN if pair[0] not in SLOW and pair[1] not in PICTURES], ids="-".join
)
def test_every_option_replaces_a_file_where_that_is_forced(run, files, command, flag):
    name = name_for(command, flag)
    (files / name).write_bytes(b"precious")
    assert run(*line_with(command, flag, name), "--force").code == 0
    assert b"precious" not in (files / name).read_bytes()


READS = {
    "calibrate": [MODEL, "mixed.csv"], "evaluate": [MODEL, "digits.csv"],
    "check": [MODEL], "convert": [MODEL], "diff": [MODEL, "model.onnx"],
    "export": [MODEL], "import": ["model.onnx"], "inspect": [MODEL],
    "predict": [MODEL, "digits.csv"], "size net": [MODEL],
    "train": ["digits.csv"], "tune": [MODEL, "digits.csv"],
}  # fmt: skip
"""The files that each line reads."""

CASES = [(command, flag, read) for command, flag in WRITTEN for read in READS.get(command, [])]


@pytest.mark.parametrize(("command", "flag", "read"), CASES, ids="-".join)
@pytest.mark.parametrize("forced", [[], ["--force"]], ids=["", "forced"])
def test_no_option_replaces_a_file_that_is_read(run, files, command, flag, read, forced):
    """Neither by its own name nor by another one, of a kind that the option can write."""
    before = (files / read).read_bytes()
    os.link(files / read, files / name_for(command, flag))
    code, out, err = run(*line_with(command, flag, name_for(command, flag)), *forced)
    assert (code, out) == (2, "")
    assert f"error: {flag} {name_for(command, flag)} is a file to read, " in err
    assert f" {read}: write to another one\n" in err
    assert (files / read).read_bytes() == before


def test_a_shipped_model_and_standard_input_are_files_to_read(run, shell, files):
    weights = find_model("digits-mlp").weights
    (files / "own.dot").symlink_to(weights)
    found = run("inspect", "digits-mlp", "--plot", "own.dot", "--force")
    assert found == (2, "", "error: --plot own.dot is a file to read, MODEL digits-mlp: write to another one\n")
    rows = (files / "digits.csv").read_bytes()
    with (files / "digits.csv").open() as file:
        found = shell("predict", "digits-mlp", "-", "--out", "digits.csv", "--force", stdin=file)
    assert (found.code, found.err) == (
        2,
        "error: --out digits.csv is a file to read, [INPUT...] -: write to another one\n",
    )
    assert (files / "digits.csv").read_bytes() == rows


def test_two_options_that_write_one_file_under_two_names(run, files):
    (files / "other.dot").symlink_to(files / "new.txt")
    found = run("inspect", MODEL, "--plot", "other.dot", "--out", "new.txt")
    assert (found.code, found.err) == (2, "error: --plot and --out name the same file, new.txt\n")


def test_a_training_goes_on_with_its_own_file_of_figures(run, files):
    line = "train 784-10 digits.csv --validation 0 --epochs 1 --checkpoint run --plot old.csv --out"
    assert run(*line.split(), "a.npz").code == 0
    first = (files / "old.csv").read_text()
    assert run(*line.split(), "b.npz", "--resume", "--epochs", "2").code == 0
    assert (files / "old.csv").read_text().startswith(first)
    assert len((files / "old.csv").read_text().splitlines()) == 3
