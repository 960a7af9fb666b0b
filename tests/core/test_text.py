from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.errors import listed
from portable_nn.core.text import (
    Table,
    fields,
    fitted,
    grouped,
    looking,
    percent,
    printable,
    quantity,
    rounded,
    size,
    table,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain [red] ü 数", "plain [red] ü 数"), ("\x1b[2J", r"\x1b[2J"), ("a\nb", r"a\nb"), ("\udcff", r"\udcff")],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_951, "10 kB"),
        (638_664, "639 kB"),
        (999_600, "1.0 MB"),
        (5_000_000_000, "5.0 GB"),
        (7_000_000_000_000, "7.0 TB"),
    ],
)
def test_size(count, shown):
    assert size(count) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0 %"), (1e-9, "<0.1 %"), (0.0006, "0.1 %"), (0.998, "99.8 %"), (0.99951, ">99.9 %"), (1, "100.0 %")],
)
def test_percent(share, shown):
    assert percent(share) == shown


def test_quantity():
    assert (quantity(1, "node"), quantity(2000, "node")) == ("1 node", "2,000 nodes")
    nouns = ("axis", "class", "process", "batch", "entry", "key", "place")
    assert [quantity(1, noun) for noun in nouns] == [f"1 {noun}" for noun in nouns]
    plurals = ["2 axes", "2 classes", "2 processes", "2 batches", "2 entries", "2 keys", "2 places"]
    assert [quantity(2, noun) for noun in nouns] == plurals


def test_messages_leave_the_plural_to_quantity():
    """No message says ``{len(…)} rows``, which may be "1 rows"."""
    root = Path(__file__).parents[2]
    written = re.compile(r'f"[^"]*\{len\([\w.]+\)(?::,)?\} (?:column|label|layer|row|unit)s')
    paths = [path for name in ("portable_nn", "converters", "models") for path in (root / name).rglob("*.py")]
    assert len(paths) > 800
    lines = [(path.name, line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if written.search(line[1])] == []


def test_columns_stand_under_each_other():
    assert table(("name", ">count"), [("a", "1"), ("longer", "1,000")]) == (
        "name    count\na           1\nlonger  1,000\n"
    )


def test_wide_characters_take_two_columns():
    assert table(("", ""), [("数字", "x"), ("abcde", "y"), ("e\u0301", "z")]) == (
        "数字   x\nabcde  y\ne\u0301      z\n"
    )


def test_rows_may_come_in_parts():
    parts = Table("a", ">b")
    assert parts.lines([("x", "1")]) == "a  b\nx  1\n"
    assert parts.lines([("yyy", "10")]) == "yyy  10\n"
    assert parts.lines([("z", "2")]) == "z     2\n"


def test_fields_leave_out_what_is_nothing():
    assert fields([("a", "1"), ("b", ""), ("ccc", "2")]) == "a    1\nccc  2\n"


PATHS = [(f"scans/2024/of-the-first-week/photo-{place}.jpg", "1", "a sentence of several words") for place in (10, 11)]
HEADINGS = ("input", ">count", "what it is")


def test_long_cells_are_shortened_only_where_a_width_is_given():
    whole = table(HEADINGS, PATHS)
    assert whole.splitlines()[1] == "scans/2024/of-the-first-week/photo-10.jpg      1  a sentence of several words"
    for width in (40, 60, 79):
        with looking(width, None):
            lines = table(HEADINGS, PATHS).splitlines()
        assert max(map(len, lines)) <= width
        assert [line.split()[1] for line in lines[1:]] == ["1", "1"]
        assert all(
            line.startswith("sca") and f"{place}.jpg" in line for place, line in zip((10, 11), lines[1:], strict=True)
        )
    with looking(80, None):
        assert table(HEADINGS, PATHS) == whole


def test_numbers_are_never_shortened():
    with looking(10, None):
        assert table((">n", ">m"), [("1234567890", "1234567890")]).splitlines()[1] == "1234567890  1234567890"


def test_headings_go_below_each_other_before_anything_is_cut():
    rows = [("extragradient", "0.90553851", "5"), ("consensus", "0.9", "10")]
    headings = ("method", ">spectral radius", ">n")
    assert table(headings, rows).splitlines()[0] == "method         spectral radius   n"
    with looking(29, None):
        assert table(headings, rows) == (
            "                 spectral\n"
            "method             radius   n\n"
            "extragradient  0.90553851   5\n"
            "consensus             0.9  10\n"
        )


def test_columns_without_room_follow_below_after_the_first_again():
    headings = ["name", *(f">{place}" for place in range(9))]
    rows = [[f"row{row}", *(str(1000 * row + place) for place in range(9))] for row in (1, 2)]
    with looking(24, None):
        parts = table(headings, rows).split("\n\n")
    assert max(len(line) for part in parts for line in part.splitlines()) <= 24
    found = [[line.split() for line in part.splitlines()] for part in parts]
    for place, row in enumerate([["name", *map(str, range(9))], *rows]):
        assert [part[place][0] for part in found] == [row[0]] * len(parts)
        assert [cell for part in found for cell in part[place][1:]] == row[1:]


def test_pairs_go_on_below_and_lose_nothing():
    pairs = [("one", "alpha beta gamma delta epsilon"), ("three", "zeta")]
    with looking(20, None):
        assert fields(pairs) == "one    alpha beta\n       gamma delta\n       epsilon\nthree  zeta\n"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("some words here", 9, "some …"),
        ("some words here", 11, "some words…"),
        ("something else", 9, "somethin…"),
        ("a/long/path.png", 9, "a/…th.png"),
        ("数字数字数字", 7, "数…数字"),
        ("x" * 50, 1, "…"),
    ],
)
def test_fitted(text, width, shown):
    assert fitted(text, width) == shown


def test_significant_digits():
    assert rounded(2 / 3) == "0.666667"
    assert rounded(1 / 3, 4) == "0.3333"
    with looking(None, 12):
        assert (rounded(2 / 3), rounded(2 / 3, 4)) == ("0.666666666667", "0.666666666667")
        assert percent(2 / 3) == "66.6666666667 %"
    with looking(None, 5):
        shares = [0.0, 1e-9, 0.9999994, 0.99999999, 1.0]
        assert [percent(share) for share in shares] == ["0 %", "1e-07 %", ">99.999 %", ">99.999 %", "100 %"]
    assert rounded(2 / 3) == "0.666667"


def test_equal_lines_of_an_error_are_one() -> None:
    assert listed(["a", "a", "a"], "file") == "file: a (3 times)"
    assert listed(["a", "b", "a"], "file") == "file: 2 faults\n  a (2 times)\n  b"


@given(st.floats(1000, 999_999_999, allow_nan=False) | st.floats(1e-4, 1000), st.booleans())
def test_numbers_are_written_plainly(size: float, negative: bool) -> None:
    """The number in six digits, in threes, without a power of ten."""
    value = -size if negative else size
    text = grouped(value)
    assert "e" not in text
    assert float(text.replace(",", "")) == float(f"{value:.6g}")
    assert re.fullmatch(r"-?\d{1,3}(,\d{3})*(\.\d*[1-9])?", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(122834.5, "122,834"), (0.0123, "0.0123"), (1e9, "1e+09"), (1.2e-5, "1.2e-05"), (0, "0"), (float("nan"), "nan")],
)
def test_powers_of_ten_are_for_what_is_very_small_or_large(value: float, text: str) -> None:
    assert grouped(value) == text
