"""Command lines, run in this process or in one of their own, and files for them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from portable_nn.cli import main


class Result(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in this process, in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Result:
        words = [str(argument) for argument in arguments]
        result = Result(main(words), *capsys.readouterr())
        if result.out and ("--format", "json") in pairwise(words):
            check_against_schema(words, result.json)
        return result

    return call


def check_against_schema(words: list[str], printed: Any) -> None:
    """What a command prints with --format json is as ``help --format json`` says."""
    from jsonschema import Draft202012Validator

    from portable_nn.cli.schemas import schema_of

    schema = next(filter(None, (schema_of(" ".join(words[:count])) for count in (2, 1))))
    Draft202012Validator(schema).validate(printed)


@pytest.fixture
def shell(tmp_path: Path) -> Run:
    """Run a command line in a process of its own, in ``tmp_path``."""

    def call(*arguments: str | Path, **options: Any) -> Result:
        command = [sys.executable, "-W", "error", "-m", "portable_nn", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, **options)
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def digits_csv(tmp_path: Path) -> Path:
    """Five rows as the book has them, of the shipped samples: the label, and 784 pixels of white ink on black."""
    from PIL import Image

    from portable_nn.catalog import find_model

    rows = []
    for digit in range(0, 10, 2):
        pixels = np.asarray(Image.open(find_model("digits-mlp").samples / f"digit-{digit}.png"))
        rows.append([digit, *pixels.ravel()])
    np.savetxt(tmp_path / "digits.csv", rows, fmt="%d", delimiter=",")
    return tmp_path / "digits.csv"


@pytest.fixture
def flowers_csv(tmp_path: Path) -> Path:
    """Rows of a label, 1 to 3, and four numbers of very different size, sorted by label: easy to tell apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 3], 40)
    values = (labels[:, np.newaxis] + rng.normal(scale=0.1, size=(120, 4))) * [1, 100, 0.01, 1] + [5, 0, 0, -300]
    np.savetxt(tmp_path / "flowers.csv", np.c_[labels, values], fmt=["%d", *["%.6f"] * 4], delimiter=",")
    return tmp_path / "flowers.csv"
