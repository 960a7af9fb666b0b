"""CSV that neither a spreadsheet computes nor a terminal obeys, and from which every word comes back."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.csv_writing import csv_text


def read(text: str) -> list[list[str]]:
    return [*csv.reader(io.StringIO(text, newline=""))]


@pytest.mark.parametrize(
    "word",
    [
        "=cmd|'/c calc'!A1",
        "@SUM(1+1)",
        "+1+1",
        "-2+3",
        "\t=1",
        "=HYPERLINK(1)",
        "-1e5x",
        "\uff1d1+1",
        "'=1",
        "''@a",
        "-a.png",
    ],
)
def test_a_formula_is_a_word(word: str) -> None:
    [[found]] = read(csv_text([[word]]))
    assert found == f"'{word}"


PAGES = json.loads((Path(__file__).parents[1] / "pages/formulas.json").read_text(encoding="utf-8"))
"""Words and what they are in CSV, which pages write likewise (``tests/pages/model.test.ts``)."""


@pytest.mark.parametrize(("word", "written"), PAGES)
def test_pages_write_the_same(word: str, written: str) -> None:
    assert csv_text([[word, -1.5]]) == f"{written},-1.5\n"


@pytest.mark.parametrize(
    "word", ["-1.5", "+3", "-1e-5", "-inf", "nan", "-", "+", "=", "@", "a=b", "1-2", "'", "it's", "日本"]
)
def test_numbers_signs_and_other_words_stay(word: str) -> None:
    assert read(csv_text([[word, -2.5, 3, None]])) == [[word, "-2.5", "3", ""]]


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("\x1b]0;title\x07a", "\\x1b]0;title\\x07a"),
        ("a\x9b2J", "a\\x9b2J"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("a\rb", "a\\rb"),
        ("two\nlines", "two\nlines"),
        ("zero\u200dwidth", "zero\u200dwidth"),
    ],
)
def test_a_terminal_is_not_told_what_to_do(word: str, shown: str) -> None:
    assert read(csv_text([[word]])) == [[shown]]


WORDS = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs"], exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
)


@given(st.lists(WORDS | st.builds("".join, st.lists(st.sampled_from("'=+-@a1\t\n\uff0b"), max_size=5))))
def test_every_word_comes_back(words: list[str]) -> None:
    [found] = read(csv_text([["first", *words]]))
    marked = re.compile("'+[-=+@\t\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
    assert [word[1:] if marked.match(word) else word for word in found[1:]] == words
