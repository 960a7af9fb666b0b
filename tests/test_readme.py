"""What the README shows works as it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from portable_nn.catalog import SHIPPED
from portable_nn.cli import COMMANDS, main
from portable_nn.core.text import percent, size
from portable_nn.opening import load_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs/commands/models.md").read_text(encoding="utf-8")
TABLE = (ROOT / "docs/commands/index.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


@pytest.mark.long
def test_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [first] = blocks("python")
    exec(compile(first, "README.md", "exec"), names)
    assert capsys.readouterr().out == "True\nTrue (4, 2)\n"
    for block in blocks("python", TRAINING):
        exec(compile(block, "training.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "True",
        "(4, 2)",
        "(32, 2)",
        "True",
        "no",
        "yes",
        "True",
        "500.0",
        "True True",
        "(4, 2)",
        "(2000, 2)",
        "True",
        "[(1, 2), (3, 2), (1996, 2)]",
        "True",
        "(2, 2)",
        "(3,)",
        "(5, 10) (5, 1)",
        "True",
        "swish_1.beta",
        "(2, 3, 64, 64)",
        "(2,) (4,)",
        "kernel 2 → 3: output 2 as now",
        "(Window(kernel=3, stride=2, dilation=1, pad_begin=1, pad_end=1, output_padding=0),)",
    ]


def test_the_first_command_labels_every_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [command] = [line for line in blocks("console")[0].splitlines() if "predict" in line]
    words = command.split("portable-nn ", 1)[1].split()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["portable-nn", *words])
    assert not main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(Path(row[0]).stem, row[1]) for row in rows] == [(f"digit-{digit}", str(digit)) for digit in range(10)]


def test_the_figures_of_the_models() -> None:
    shown = re.findall(r"^\| `([\w-]+)`.* \| (\d+\.\d %) \| .* \| (\d+ kB) \|$", MODELS, re.MULTILINE)
    rows = [(model.name, load_model(model.name), model.weights) for model in SHIPPED.values()]
    rows = [row for row in rows if "test_accuracy" in row[1].metadata]  # A generator has no accuracy.
    found = [(name, float(net.metadata["test_accuracy"].split()[0]), path.stat().st_size) for name, net, path in rows]
    assert shown == [(name, percent(accuracy), size(length)) for name, accuracy, length in found]


def test_every_command_and_option_of_the_table_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.findall(r"^\| `portable-nn ((\w+)( (?:conv|net|run|list)\b)?.*)$", TABLE, re.MULTILINE)
    assert {name for _, name, _ in shown} == set(COMMANDS)
    for row, name, verb in shown:
        assert not main([name, *verb.split(), "--help-all"])
        known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        assert set(re.findall(r"--[\w-]+", row)) <= known, name


@pytest.mark.long
def test_a_command_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    monkeypatch.chdir(tmp_path)
    [(command, shown)] = re.findall(r"^```\n\$ portable-nn (.*)\n((?:.*\n)*?)…\n```$", README, re.MULTILINE)
    assert not main(command.split())
    assert capsys.readouterr().out.startswith(shown)
    assert [path.name for path in tmp_path.iterdir()] == [command.split()[-1]]
