"""How output looks: on terminals of some width, in pipes and files, with and without colour."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import portable_nn
from portable_nn.catalog import find_model
from portable_nn.cli.spelling import in_options

SOURCES = Path(portable_nn.__file__).parent

LONG = "a-name-that-is-long-and-goes-on-for-a-while-"


def on_terminal(columns, folder, *arguments, **environment):
    """What a command line prints on a terminal of so many columns, with both streams on it."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, columns))
    settings = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR", "TERM"}}
    settings = settings | {"TERM": "xterm"} | environment
    line = [sys.executable, "-m", "portable_nn", *map(str, arguments)]
    process = subprocess.Popen(line, cwd=folder, env=settings, stdin=other, stdout=other, stderr=other)
    os.close(other)
    found = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's sign that nobody else has the terminal any more.
            part = b""
        if not part:
            break
        found += part
    os.close(main)
    process.wait()
    return found.decode().replace("\r\n", "\n")


@pytest.fixture
def pictures(tmp_path):
    for digit in (3, 7):
        (tmp_path / f"{LONG}{digit}.png").write_bytes(
            (find_model("digits-mlp").samples / f"digit-{digit}.png").read_bytes()
        )
    return tmp_path


@pytest.mark.long
def test_a_table_fits_the_terminal_and_is_whole_elsewhere(run, pictures):
    line = ("predict", "digits-mlp", ".", "--top", "2")
    shown = on_terminal(60, pictures, *line).splitlines()
    assert max(map(len, shown)) == 60
    assert [row.split()[0][-6:] for row in shown[1:]] == ["-3.png", "-7.png"]
    assert [row.split()[1] for row in shown[1:]] == ["3", "7"]
    piped = run(*line).out
    assert [row.split()[0] for row in piped.splitlines()[1:]] == [f"{LONG}{digit}.png" for digit in (3, 7)]
    assert on_terminal(60, pictures, *line, "-o", "x.txt") == ""
    assert (pictures / "x.txt").read_text() == piped


@pytest.mark.long
def test_colour_is_for_terminals_that_want_it(shell, tmp_path):
    told = "error: no model is called 'x'"
    assert on_terminal(200, tmp_path, "inspect", "x").startswith("\x1b[31merror:\x1b[0m no model is called 'x'")
    assert on_terminal(200, tmp_path, "inspect", "x", NO_COLOR="1").startswith(told)
    assert on_terminal(200, tmp_path, "inspect", "x", TERM="dumb").startswith(told)
    assert on_terminal(200, tmp_path, "inspect", "x", NO_COLOR="").startswith("\x1b[31m")
    assert shell("inspect", "x").err.startswith(told)


def test_json_lines_have_one_result_each(run, pictures):
    (pictures / "z.png").write_bytes(b"no picture")
    found = run("predict", "digits-mlp", ".", "--out", "x.jsonl")
    assert found.code == 3
    results = [json.loads(line) for line in (pictures / "x.jsonl").read_text().splitlines()]
    whole = run("predict", "digits-mlp", ".", "--format", "json").json
    assert results == whole["results"]
    assert [each.get("label") for each in results] == ["3", "7", None]
    assert "error" in results[2]
    assert run("predict", "digits-mlp", ".", "--format", "jsonl", "-q").out == (pictures / "x.jsonl").read_text()
    run("predict", "digits-mlp", ".", "--out", "x.csv")
    rows = list(csv.DictReader((pictures / "x.csv").read_text().splitlines()))
    assert [float(row["probability"]) for row in rows[:2]] == [each["probability"] for each in results[:2]]


def test_digits(run):
    usual = run("simulate", "spectrum").out
    more = run("simulate", "spectrum", "--digits", "12").out
    assert "1.00498756211" in more  # √1.01, of the game x·y at a rate of 0.1.
    assert "1.00498756211" not in usual
    for digits in ("0", "18", "-3"):
        assert run("simulate", "spectrum", "--digits", digits) == (
            2,
            "",
            f"error: --digits must be from 1 to 17, not {digits}\n",
        )


FLAGS = {"loss": "--loss", "batch_size": "--batch-size", "until": "--until", "checkpoint": "--checkpoint", "x": "X"}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("batch_size must be at least 1, not 0", "--batch-size must be at least 1, not 0"),
        ("this needs loss='huber', or until=", "this needs --loss huber, or --until"),
        ("loss=True and checkpoint=run are given", "--loss and --checkpoint run are given"),
        ("until can cut before it", "until can cut before it"),
        ("the loss of 'batch_size' is x.batch_size", "the loss of 'batch_size' is x.batch_size"),
        ("x must be a number", "X must be a number"),
        ("nloss=3, steps=4 and batch_size(3)", "nloss=3, steps=4 and batch_size(3)"),
        ("a column x=3 and --dim x=3", "a column x=3 and --dim x=3"),
        ("--inputs and --target name others (inputs=, targets=)", "--inputs and --target name others"),
        ("say --decimal , (decimal=',') or leave it out (--drop, drop=)", "say --decimal , or leave it out (--drop)"),
        ("dtype=\"float32\" (--dtype float32), or sizes={'n': 4} (--dim)", "--dtype float32, or --dim"),
        ("train --missing other; in Python unknown='other'", "train --missing other"),
        ("Softmax (axis=1) needs --opset 13", "Softmax (axis=1) needs --opset 13"),
    ],
)
def test_messages_are_in_the_names_of_options(message, told):
    assert in_options(message, FLAGS) == told


def texts(path: Path) -> Iterator[str]:
    """The texts in the code of a module, with an x for each value in them."""
    code = ast.parse(path.read_text(encoding="utf-8"))
    joined = [node for node in ast.walk(code) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in ast.walk(node)}
    for node in joined:
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@pytest.mark.long
def test_what_names_an_option_names_no_argument_of_python_beside_it():
    found = [
        text
        for path in [*SOURCES.rglob("*.py"), *(SOURCES.parent / "converters").rglob("*.py")]
        if SOURCES / "cli" not in path.parents
        for text in texts(path)
        if "--" in text and "\n" not in text and re.search(r"[( ][a-z_]+='?[\w.]*'?\)(?!\.)", in_options(text, {}))
    ]
    assert found == []


def test_a_message_of_the_library(run, digits_csv):
    found = run("train", "784-10", "digits.csv", "--out", "x.npz", "--batch-size", "0", "--validation", "0")
    assert found == (2, "", "error: --batch-size must be a whole number from 1, not 0\n")


@pytest.mark.parametrize("words", ["", "size", "size conv", "predict"])
def test_help_of_a_verb(run, words):
    assert run("help", *words.split()) == run(*words.split(), "--help")
    assert run("help", *words.split()).code == 0


def test_help_of_what_is_no_verb(run):
    assert run("help", "predct") == (2, "", "error: no command is called 'predct': did you mean 'predict'?\n")


def test_version_in_short(run):
    assert run("-V") == run("--version")


@pytest.mark.parametrize(
    "line",
    [
        "predict digits-mlp digits.csv",
        "evaluate digits-mlp digits.csv",
        "predict digits-gan --samples 9 --out x.npy --force",
    ],
)
def test_provider(run, digits_csv, line):
    usual = run(*line.split())
    assert usual.code == 0
    assert (
        run(*line.split(), "--engine", "onnxruntime:cpu") == run(*line.split(), "--engine", "onnxruntime:auto") == usual
    )
    told = "error: --engine numpy:cpu: only onnxruntime takes a device: --engine numpy\n"
    assert run(*line.split(), "--engine", "numpy:cpu") == (2, "", told)
    assert run(*line.split(), "--engine", "onnxruntime:qnn").code == 4
