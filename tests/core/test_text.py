from __future__ import annotations

import pytest

from portable_nn.core.text import Table, fields, percent, printable, quantity, size, table


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
