"""Arithmetic on symbolic sizes agrees with arithmetic on the numbers that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.core.dims import broadcast, count, product, quotient, static, total
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
        (count((2, 3)), 6),
        # Sizes from somebody else's file: what stands in brackets is a name, and no bracket is lost.
        (product(["floor(h / 2 + 1)", 2]), "2*floor(h / 2 + 1)"),
        (total(["past + 1", "past"]), "2*past+1"),
        (product(["odd(", 2]), "2*odd("),
        (product(["odd)", 2]), "2*odd)"),
    ],
)
def test_how_sizes_are_written(found: object, wanted: object) -> None:
    assert found == wanted
