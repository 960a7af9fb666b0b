"""Ctrl-C at any moment in the life of a command: it ends quietly, or says what there is to resume."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from portable_nn.catalog import find_model
from portable_nn.prediction.prediction import Prediction
from portable_nn.prediction.predictions import Predictions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent there")

PROGRAM = """
import atexit, os, runpy, signal, sys

place = sys.argv.pop(1)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finalized:
    def __del__(self):
        interrupt()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == place:
            sys.meta_path.remove(self)
            interrupt()
        elif place == "a finalizer" and name == "portable_nn.opening.carried":
            Finalized()

sys.meta_path.insert(0, Finder())
if place == "the end":
    atexit.register(interrupt)
runpy.run_module("portable_nn", run_name="__main__", alter_sys=True)
"""
"""``python -m portable_nn`` that gets a SIGINT at a place: where it imports a module, or another."""

ENDED_BY_THE_SYSTEM = -signal.SIGINT
INTERRUPTED = 130


def run(place: str, *before: str) -> tuple[int, str, str]:
    command = [*before, sys.executable, "-c", PROGRAM, place, "inspect", "digits-mlp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("portable_nn.cli", ENDED_BY_THE_SYSTEM),
        ("typer", ENDED_BY_THE_SYSTEM),
        ("portable_nn.cli.conventions", INTERRUPTED),
        ("numpy", INTERRUPTED),
        ("a finalizer", INTERRUPTED),
    ],
)
def test_nothing_but_the_end(place: str, code: int) -> None:
    found, out, err = run(place)
    assert (found, out, err.strip()) == (code, "", "")


@pytest.mark.long
def test_after_the_result() -> None:
    code, out, err = run("the end")
    assert (code, err) == (ENDED_BY_THE_SYSTEM, "")
    assert out.startswith("name        digits-mlp\n")


@pytest.mark.long
def test_where_the_shell_has_it_ignored() -> None:
    """As for a command in the background of a script."""
    code, out, err = run("typer", "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    assert (code, err) == (0, "")
    assert out.startswith("name        digits-mlp\n")


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C before the next batch, when so many examples were predicted."""
    real = Predictions._batches

    def batches(self: Predictions) -> Iterator[Iterable[Prediction]]:
        for batch in real(self):
            if self.made >= after:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(Predictions, "_batches", batches)


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_what_was_predicted_is_kept_and_said(run, monkeypatch, tmp_path: Path, name: str) -> None:
    """Within the first seconds, before the journal counts any row."""
    command = ["predict", "digits-mlp", find_model("digits-mlp").samples, "--batch-size", "4", "--out", name]
    with monkeypatch.context() as patched:
        interrupt(patched, 8)
        code, _, err = run(*command)
    told = f"interrupted: 8 of 10 examples are in {name}.part; the same command with --resume goes on"
    assert (code, err.splitlines()[-1]) == (130, told)
    assert (tmp_path / f"{name}.part").read_text().count("\n") == 8 + name.endswith("csv")
    code, _, err = run(*command, "--resume")
    assert code == 0
    assert f"{name}.part, after 8 examples" in err
    resumed = (tmp_path / name).read_bytes()
    assert run(*command, "--force").code == 0
    assert (tmp_path / name).read_bytes() == resumed


def test_what_cannot_be_resumed_is_said(run, monkeypatch, tmp_path: Path) -> None:
    command = ["predict", "digits-mlp", find_model("digits-mlp").samples, "--out", "r.csv"]
    with monkeypatch.context() as patched:
        interrupt(patched, 0)
        code, _, err = run(*command)
    told = "interrupted: nothing of r.csv is kept; a smaller --batch-size keeps some sooner"
    assert (code, err.splitlines()[-1], list(tmp_path.iterdir())) == (130, told, [])
    code, _, err = run(*command, "--resume")
    assert (code, "there is no r.csv.part to resume: beginning with the first example\n" in err) == (0, True)
    message = "error: r.csv exists, and there is no r.csv.part to resume: --force begins anew\n"
    assert run(*command, "--resume") == (2, "", message)
