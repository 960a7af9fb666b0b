"""The pages of the documentation show what their commands print."""

from __future__ import annotations

import math
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
from refresh import BLOCK, commands  # noqa: E402

from portable_nn.cli import main  # noqa: E402

PAGES = sorted(DOCS.glob("*.md"))
SHOWN = [
    pytest.param(
        words.replace("\\\n", " "), printed, id=f"{page.stem}-{place}",
        marks=[pytest.mark.long] if place else [],
    )
    for page in PAGES
    for place, (words, printed) in enumerate(
        pair for block in BLOCK.findall(page.read_text(encoding="utf-8")) for pair in commands(block)
    )
]  # fmt: skip
VARIES = re.compile(r"^time .*$|^drawn .*$", re.MULTILINE)
"""What is not the same on each machine: how long it took, and the bytes of a picture."""

NUMBER = re.compile(r"[-(]*\d[\d,.]*(e-?\d+)?[),;]*")


def alike(found: str, printed: str, *, trained: bool) -> bool:
    """Whether two words are the same, or numbers that rounding has made different; after a training, any numbers."""
    if found == printed:
        return True
    if not (NUMBER.fullmatch(found) and NUMBER.fullmatch(printed)):
        return False
    one, other = (float(text.strip("(),;").replace(",", "")) for text in (found, printed))
    return trained or math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-7)


@pytest.mark.parametrize(("words", "printed"), SHOWN)
def test_a_page_shows_what_its_command_prints(
    words: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    command, sign, rest = re.fullmatch(r"(.*?)(?: ([>|]) (.*))?", words).groups()  # type: ignore[union-attr]
    monkeypatch.setattr("sys.argv", ["portable-nn", *shlex.split(command)])
    assert not main()
    lines = capsys.readouterr().out.splitlines(keepends=True)
    shown = "" if sign == ">" else "".join(lines[: int(rest.removeprefix("head -n ")) if sign else None])
    found, expected = (VARIES.sub("", text).split() for text in (shown, printed))
    assert len(found) == len(expected)
    trained = " gan " in words
    assert [pair for pair in zip(found, expected, strict=True) if not alike(*pair, trained=trained)] == []
    drawn = re.findall(r"--plot (\S+)", command)
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "pictures").iterdir()] == drawn


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_of_a_page_is_drawn_by_a_command_on_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]+\]\((\S+)\)", text)
    assert sorted(shown) == sorted(re.findall(r"--plot (\S+)", text))
    assert all((DOCS / name).is_file() for name in shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_figure_in_the_words_of_a_page_stands_in_what_a_command_prints_or_takes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = " ".join(BLOCK.findall(text))
    words = re.sub(r"```.*?```|\[\d{4}\.\d{5}\]\(\S*\)|\]\(\S*\)", "", text, flags=re.DOTALL)
    figures = re.findall(r"\d+\.\d+|\d{1,3}(?:,\d{3})+|\d{3,}", words)
    years = {figure for figure in figures if re.fullmatch(r"19\d\d|20\d\d", figure)}
    assert [figure for figure in figures if figure not in blocks and figure not in years] == []
