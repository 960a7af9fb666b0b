"""Arithmetic on symbolic sizes agrees with arithmetic on the numbers that they stand for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.dims import (
    agreed,
    apart,
    broadcast,
    difference,
    evaluated,
    fraction,
    is_at_least,
    largest,
    names_in,
    product,
    put,
    quotient,
    rounded_quotient,
    smallest,
    solved,
    static,
    total,
)
from portable_nn.core.graph import Dim, Shape

NAMES = ("batch", "time", "a")
numbers = st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 7)))
plain = st.integers(0, 9) | st.sampled_from(NAMES)
sizes = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3).map(product) | st.lists(inner, max_size=3).map(total), max_leaves=6
)


def bound(dim: Dim, to: dict[str, int]) -> int:
    """What a size is when its names are known."""
    return dim if isinstance(dim, int) else int(eval(dim, dict(to)))


class Computed(NamedTuple):
    """A size, and the same in Python: an expression in names."""

    dim: Dim
    python: str


@st.composite
def _joined(draw: st.DrawFn, inner: st.SearchStrategy[Computed]) -> Computed:
    one, other, by = draw(inner), draw(inner), draw(st.integers(1, 4))
    a, b = one.python, other.python
    return draw(
        st.sampled_from(
            [
                Computed(total([one.dim, other.dim]), f"({a} + {b})"),
                Computed(product([one.dim, other.dim]), f"({a} * {b})"),
                Computed(difference(one.dim, other.dim), f"({a} - {b})"),
                Computed(rounded_quotient("floor", one.dim, by), f"({a} // {by})"),
                Computed(rounded_quotient("ceil", one.dim, by), f"(-(-{a} // {by}))"),
                Computed(smallest(one.dim, other.dim), f"min({a}, {b})"),
                Computed(largest(one.dim, other.dim), f"max({a}, {b})"),
            ]
        )
    )


computed = st.recursive(plain.map(lambda dim: Computed(dim, str(dim))), _joined, max_leaves=6)


@pytest.mark.long
@given(computed, numbers)
def test_computed_sizes_are_what_python_computes(size: Computed, to: dict[str, int]) -> None:
    wanted = eval(size.python, {}, dict(to))
    assert evaluated(size.dim, to) == wanted
    assert names_in([size.dim]) <= {*NAMES}
    in_two = put(put(size.dim, {"batch": to["batch"]}), {name: to[name] for name in NAMES if name != "batch"})
    assert in_two == wanted
    renamed = put(size.dim, {"time": "a"})
    assert evaluated(renamed, to) == eval(size.python, {}, {**to, "time": to["a"]})


@pytest.mark.long
@given(computed, computed, numbers)
def test_comparisons_hold_for_all_numbers(one: Computed, other: Computed, to: dict[str, int]) -> None:
    a, b = (eval(size.python, {}, dict(to)) for size in (one, other))
    assert not is_at_least(one.dim, other.dim) or a >= b
    both = agreed(one.dim, other.dim)
    assert both == agreed(other.dim, one.dim)
    assert both is None or a != b or evaluated(both, to) == a


@given(sizes, sizes, numbers)
def test_fractions(dividend: Dim, divisor: Dim, to: dict[str, int]) -> None:
    if divisor == 0:
        with pytest.raises(ZeroDivisionError):
            fraction(dividend, divisor)
        return
    a, b = bound(dividend, to), bound(divisor, to)
    assert evaluated(fraction(dividend, divisor), to) == (a // b if b and a % b == 0 else None) or a == 0 or b == 0


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("h", "2*floor(h/2)", "h"),
        ("h", "2*floor((h+-1)/2)+2", "h"),
        ("b*h", "2*b*floor(h/2)", "b*h"),
        ("min(64,s)", "s", "s"),
        ("min(64,s)", 64, 64),
        ("max(4,h)", "h", "h"),
        ("past + 1", "past+1", "past+1"),
        ("h", "w", None),
        ("h", "floor(w/2)", None),
        ("h", "h+-2", None),
        ("h", "2*h", None),
        ("h", 7, None),
        (3, 4, None),
    ],
)
def test_sizes_that_agree_under_a_condition(one: Dim, other: Dim, wanted: Dim | None) -> None:
    assert agreed(one, other) == agreed(other, one) == wanted


@given(sizes, sizes, st.permutations(NAMES), numbers)
def test_equal_sizes_are_solved_for_a_name(one: Dim, other: Dim, names: list[str], to: dict[str, int]) -> None:
    """With the answer in place of the name, both sides are the same number whatever the other names are."""
    found = solved(one, other, names)
    if found is not None:
        name, size = found
        assert name not in names_in([size])
        to |= {name: bound(size, to)}
        assert to[name] >= 0
        assert bound(one, to) == bound(other, to)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("new+past", "total", ("total", "new+past")),
        ("new+past", "new+before", ("past", "before")),
        ("4*past", "2*new", ("new", "2*past")),
        ("2*past", "3*new", None),
        ("new+past", "total+before", None),
        ("new*past", "total", ("total", "new*past")),
        ("new*past", "past", None),
        ("2*total+3", 11, ("total", 4)),
        ("2*total+3", 10, None),
        ("total", "floor(total/2)", None),
        ("total", "floor(past/2)", ("total", "floor(past/2)")),
    ],
)
def test_what_follows_from_an_equality(one: Dim, other: Dim, wanted: tuple[str, Dim] | None) -> None:
    assert solved(one, other, ["before", "past", "new", "total"]) == wanted


def test_names_that_name_nothing() -> None:
    assert apart(["?", 3, "?", "n", "n", None, 3]) == [None, 3, None, "n", None, None, 3]


@pytest.mark.long
@given(st.lists(sizes, max_size=4), numbers)
def test_product_and_total(dims: list[Dim], to: dict[str, int]) -> None:
    assert bound(product(dims), to) == math.prod(bound(dim, to) for dim in dims)
    assert bound(total(dims), to) == sum(bound(dim, to) for dim in dims)


@given(sizes, sizes, numbers)
def test_quotient(dividend: Dim, divisor: Dim, to: dict[str, int]) -> None:
    found = quotient(dividend, divisor)
    if found is not None:
        assert bound(found, to) * bound(divisor, to) == bound(dividend, to)
    assert divisor == 0 or quotient(product([dividend, divisor]), divisor) == dividend


@pytest.mark.long
@given(st.lists(sizes, max_size=4), st.randoms())
def test_one_size_is_written_in_one_way(dims: list[Dim], random: object) -> None:
    """So that sizes found along two ways through a network are recognized as equal."""
    shuffled = list(dims)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert product(dims) == product(shuffled)
    assert total(dims) == total(shuffled)
    assert total(dims) == total([total(dims[:2]), total(dims[2:])])
    assert total([*dims, *dims]) == product([2, total(dims)])
    assert product([total(dims), "batch"]) == total(product([dim, "batch"]) for dim in dims)


@given(st.lists(st.lists(plain, max_size=4).map(tuple), max_size=3), numbers)
def test_broadcast(shapes: list[Shape], to: dict[str, int]) -> None:
    """Where the shapes are known to broadcast they do, whatever the names stand for (but 1, which could stretch)."""
    to = {name: number if number != 1 else 8 for name, number in to.items()}
    found = broadcast(*shapes)
    concrete = [tuple(bound(dim, to) for dim in shape) for shape in shapes]
    if found is not None:
        assert tuple(bound(dim, to) for dim in found) == np.broadcast_shapes(*concrete)
    elif all(static(shape) is not None for shape in shapes):
        with pytest.raises(ValueError, match="broadcast"):
            np.broadcast_shapes(*concrete)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (product([]), 1),
        (product(["batch", 784]), "784*batch"),
        (product(["batch", 0]), 0),
        (product(["time", "batch", 2, "batch"]), "2*batch*batch*time"),
        (product(["batch+1", 3]), "3*batch+3"),
        (total([]), 0),
        (total(["batch", 1, "batch"]), "2*batch+1"),
        (total(["batch", -1]), "batch+-1"),
        (quotient("784*batch", 784), "batch"),
        (quotient("784*batch", "batch"), 784),
        (quotient("batch*time+batch", "time+1"), "batch"),
        (quotient(7, 2), None),
        (quotient("batch", 2), None),
        (quotient("batch", "time"), None),
        (quotient("batch", 0), None),
        (quotient(0, 3), 0),
        (broadcast(("batch", 1), (1, 3)), ("batch", 3)),
        (broadcast(("batch",), ("time",)), None),
        (broadcast((0, 1), (1, 5)), (0, 5)),
        (broadcast((0,), (2,)), None),
        (broadcast(), ()),
        (static((2, 3)), (2, 3)),
        (static(("batch", 3)), None),
        # Sizes from somebody else's file: what stands in brackets is a name, and no bracket is lost.
        (product(["floor(h / 2 + 1)", 2]), "2*floor(h / 2 + 1)"),
        (total(["past + 1", "past"]), "2*past+1"),
        (product(["odd(", 2]), "2*odd("),
        (product(["odd)", 2]), "2*odd)"),
        (put("0", {"batch": 5}), "0"),
        (put("0", {"0": 5}), 5),
        (put("b+a", {"c": 5}), "b+a"),
    ],
)
def test_how_sizes_are_written(found: object, wanted: object) -> None:
    assert found == wanted
