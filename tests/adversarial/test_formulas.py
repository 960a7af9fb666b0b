"""Formulas as text: what they compute, and that nothing else is in them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.adversarial.games.expressions import parse, sizes
from portable_nn.core.errors import UsageError

NUMBERS = {"x": 0.7, "y": -1.3, "x0": 2.0, "x1": 0.5, "y0": 3.0, "y1": -0.25}


@pytest.mark.parametrize(
    "text",
    [
        "x*y",
        "-x + +y",
        "x0*y1 - 0.1*x0**2",
        "x/(1 + y**2)",
        "x**-3 + x**0 + x**2.5",
        "2**x*3**-y",
        "sin(x)*cos(y) + exp(-x) - log(x0) + tanh(y) * sqrt(y0)",
        "pi*x - e*y",
        "1e-3*x + .5*y - 2e2",
        "x**y**2",
    ],
)
def test_formula_computes_what_python_does(text: str) -> None:
    space = {name: getattr(np, name) for name in ("sin", "cos", "exp", "log", "tanh", "sqrt", "pi", "e")}
    assert parse(text).evaluate(NUMBERS) == pytest.approx(eval(text, space | NUMBERS), rel=1e-14)


FORMULAS = st.recursive(
    st.sampled_from(["x", "y", "0.5", "3"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*"), part).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        part.map(lambda p: f"sin({p})"),
        st.tuples(part, st.integers(1, 4)).map(lambda p: f"({p[0]})**{p[1]}"),
    ),
    max_leaves=12,
)


def sin_of_moderate(angle: float) -> float:
    """The sine, unless one rounding of so large an angle moves it by more than the test allows."""
    if abs(angle) > 1e4:
        raise OverflowError
    return float(np.sin(angle))


@given(FORMULAS)
def test_any_formula_computes_what_python_does(text: str) -> None:
    with np.errstate(all="ignore"):
        try:
            wanted = eval(text, {"sin": sin_of_moderate, "x": 0.7, "y": -1.3})
        except OverflowError:
            return
        if np.isfinite(wanted):
            assert parse(text).evaluate(NUMBERS) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "players"), [("x*y", (1, 1)), ("x0*y0", (1, 1)), ("x0*y2", (1, 3)), ("x1*y + x0", (2, 1))]
)
def test_how_many_numbers_each_player_has(text: str, players: tuple[int, int]) -> None:
    assert sizes(parse(text)) == players


ALLOWED = (
    "a formula may contain numbers, variables, + - * / **, brackets, and the functions sin, cos, exp, log, tanh, sqrt"
)
REFUSED = [
    ("x*", "'x*' is no formula, such as 'x*y' or 'x0*y1 - 0.1*x0**2'"),
    ("x = y", "'x = y' is no formula"),
    ("", "'' is no formula"),
    ("x*\0y", "is no formula"),
    ("x*z", "'x*z' contains 'z': variables are x and y, or x0, x1, … and y0, y1, …"),
    ("x*__class__", "'x*__class__' contains '__class__'"),
    ("x.real*y", f"'x.real*y' contains 'x.real': {ALLOWED}"),
    ("x*y if x else y", "contains 'x * y if x else y'"),
    ("x[0]*y", "contains 'x[0]'"),
    ("x*'y'", "contains \"'y'\""),
    ("x*True", "contains 'True'"),
    ("x*1j*y", "contains '1j'"),
    ("(lambda: x)()", "contains '(lambda: x)()'"),
    ("[x for x in y]", "contains '[x for x in y]'"),
    ("x < y", "contains 'x < y'"),
    ("x // y", "contains 'x // y'"),
    ("3*x*y - 0.1*x^2 + sin(y)", "'3*x*y - 0.1*x^2 + sin(y)': ^ is no power here: write x**2"),
    ("sin(x*y) + 2*(x*y % (3*y))", "contains '… % …'"),
    ("x @ y", "contains 'x @ y'"),
    ("~x*y", "contains '~x'"),
    ("(x := 3)*y", "contains '(x := 3)'"),
    ("f'{x}'*y", ": a formula may contain"),
    ("open(x)*y", "'open(x)*y' calls open: a formula may call sin, cos, exp, log, tanh, sqrt"),
    ("sin(x, y)", "contains 'sin(x, y)'"),
    ("sin(*x)*y", "contains '*x'"),
    ("sin(x=y)", "contains 'sin(x=y)'"),
    ("x*y + 1/0", "'1' and what it is in give no number"),
    ("x*y + log(0)", "'0' and what it is in give no number"),
    ("x*y + 9**9**9**9", "give no number"),
    ("x*y + (-8)**0.5", "'-8' and what it is in give no number"),
    ("x*y + 1e999", "contains a number that is not real and finite"),
    ("x*y*" + "9" * 400, "contains a number that is not real and finite"),
    ("x*y + " + "x" * 2000, "a formula may have at most 2,000 characters, not 2,006"),
    ("-" * 150 + "x*y", "is nested more than 100 deep"),
    ("(" * 900 + "x" + ")" * 900, "is no formula"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:20] for text, _ in REFUSED])
def test_what_is_no_formula_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x*2", "'x*2' has no y: a game has two players, x and y"),
        ("x*x1*y", "'x*x1*y' has both x and x1: where there are several, write x0 for the first"),
        ("x1*y1 + x2*y2", "'x1*y1 + x2*y2' has x1 and no x0: write x0 for the first"),
        ("x*y1", "'x*y1' has y1 and no y0: write y0 for the first"),
    ],
)
def test_formulas_of_no_two_players_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        sizes(parse(text))
