"""Constant propagation for small integer and float tensors: exporters compute sizes, axes and pads in many steps.

An element of a constant value is a number or a symbolic size. Arithmetic on symbolic sizes is written as ``dims``
writes it where the result is a sum of products, and otherwise as a name of its own: ``floor(height/2)``. A boolean is 0
or 1. Operators have these rules as their ``constant``; a value whose elements do not follow from constants has none.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.dims import (
    bracketed,
    difference,
    is_at_least,
    largest,
    product,
    quotient,
    rounded_quotient,
    smallest,
    static,
    within_limit,
)
from portable_nn.core.graph import Dim
from portable_nn.operators.registry import INTEGERS, Constant, Interval, OperatorContext, Type

Element: TypeAlias = "int | float | str"
Elements: TypeAlias = "tuple[Element, ...]"

LARGEST: Final = 1024
"""The most elements of a constant value that is propagated."""


class Unknown(Exception):  # noqa: N818 - never leaves this package
    """An element that is known only when the graph runs: raised by a rule, which then gives no constant value."""


def with_constant(use: OperatorContext, types: tuple[Type, ...]) -> tuple[Type, ...]:
    """The ``types`` of the outputs of ``use``, the first with its constant value where that follows from the inputs."""
    rule = use.operator.constant
    if rule is None or not types or types[0].constant is not None:
        return types
    shape = static(types[0].shape)
    if shape is None or len(shape) > 1 or math.prod(shape) > LARGEST:
        return types
    if any(type is not None and type.constant is None for type in use.types):
        return types
    try:
        found = rule(use, types[0])
    except (Unknown, ArithmeticError, ValueError):
        return types
    return (types[0]._replace(constant=found), *types[1:]) if len(found) == math.prod(shape) else types


# -- arithmetic on one element


def as_dtype(dtype: str, value: Any) -> Element:
    """A number as an array of that type holds it, as a Python number."""
    with np.errstate(all="ignore"):
        number: int | float = np.asarray(value).astype(dtype).item()
    return int(number) if isinstance(number, bool) else number


def truncated(a: Any, b: Any) -> Any:
    """``a / b`` as Div computes it: integers are rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if isinstance(a, int) else a / b


_EXACT: Final = (operator.add, operator.sub, operator.mul, truncated)
"""Functions that Python computes exactly of integers, so that overflow is noticed."""


def _on_numbers(function: Callable[..., Any], dtype: str, *items: Any) -> Element:
    """A function of numbers of one type, as numpy computes it of arrays; integers must not overflow."""
    if dtype in INTEGERS and function in _EXACT:
        found: int = function(*items)
        if not np.iinfo(dtype).min <= found <= np.iinfo(dtype).max:
            raise Unknown
        return found
    with np.errstate(all="ignore"):
        return as_dtype(np.asarray(result := function(*(np.asarray(item, dtype) for item in items))).dtype.name, result)


def whole(value: Element) -> int | str:
    """A symbolic size, or a number as an integer. Raises ``Unknown`` for a fraction."""
    if isinstance(value, str):
        return value
    if value != int(value):
        raise Unknown
    return int(value)


def times(a: Element, b: Element) -> Element:
    """``a * b`` of which one at least is a symbolic size."""
    for size, factor in ((a, b), (b, a)):
        if isinstance(factor, float) and factor != int(factor):
            return within_limit(f"({factor!r}*{bracketed(size)})")
    return product([whole(a), whole(b)])


def ratio(a: Element, b: Element) -> Element:
    """``a / b`` of floats; a fraction of a size has a name that ``rounded`` reads."""
    numerator, denominator = whole(a), whole(b)
    if (exact := quotient(numerator, denominator)) is not None:
        return exact
    return within_limit(f"({bracketed(numerator)}/{bracketed(denominator)})")


def rounded(way: str, value: Element) -> Element:
    """A fraction of a size, rounded (``way`` is ``floor`` or ``ceil``); a size as it is."""
    return within_limit(f"{way}{value}") if isinstance(value, str) and value.startswith("(") else value


def whole_ratio(a: Element, b: Element) -> Element:
    """An integer division of sizes, which are not negative, so that rounding towards zero is rounding down."""
    numerator, denominator = whole(a), whole(b)
    if not is_at_least(numerator, 0) and quotient(numerator, denominator) is None:
        raise Unknown
    return rounded_quotient("floor", numerator, denominator)


def remainder(a: Element, b: Element) -> Element:
    """0 where sizes divide exactly; otherwise what a division that is rounded down leaves."""
    numerator, denominator = whole(a), whole(b)
    if not (is_at_least(numerator, 0) and is_at_least(denominator, 0)):
        raise Unknown
    return difference(numerator, product([denominator, rounded_quotient("floor", numerator, denominator)]))


def extreme(name: str, a: Element, b: Element) -> Element:
    """``max(4,h)``: the larger or smaller of two, of which one at least is a symbolic size."""
    found = smallest if name == "min" else largest
    return found(whole(a), whole(b))


def is_equal(a: Element, b: Element) -> Element:
    """1 for one size twice, 0 where one is always larger; otherwise unknown."""
    if a == b:
        return 1
    if (isinstance(a, float) and a != int(a)) or (isinstance(b, float) and b != int(b)):
        return 0
    one, other = whole(a), whole(b)
    if is_at_least(difference(one, other), 1) or is_at_least(difference(other, one), 1):
        return 0
    raise Unknown


def is_less(a: Element, b: Element) -> Element:
    """1 if ``a`` is less than ``b`` for all sizes, 0 if it is for none; no size is less than zero."""
    one, other = whole(a), whole(b)
    if is_at_least(one, other):
        return 0
    if is_at_least(difference(other, one), 1):
        return 1
    raise Unknown


def is_less_or_equal(a: Element, b: Element) -> Element:
    """1 if ``a`` is at most ``b`` for all sizes, 0 if it is for none."""
    return 1 - int(is_less(b, a))


def _never(*_: Element) -> Element:
    raise Unknown


# -- rules for whole tensors


def length(type: Type) -> int:
    """The number of elements of a value of known shape."""
    return math.prod(static(type.shape) or ())


def elements(use: OperatorContext, index: int) -> tuple[Any, ...]:
    """The elements of an input; none of one that is absent. Raises ``Unknown``."""
    if not use.has(index):
        return ()
    found = use.type(index).constant
    if found is None:
        raise Unknown
    return found


def columns(use: OperatorContext, type: Type) -> Iterable[tuple[Element, ...]]:
    """The elements of all inputs that are combined for each element of the output: inputs of one element broadcast."""
    lists = [elements(use, index) for index in range(len(use.types))]
    return zip(*(items * length(type) if len(items) == 1 else items for items in lists), strict=True)


def each(numbers: Callable[..., Any], sizes: Callable[..., Element] = _never) -> Constant:
    """The rule of an element-wise operator: ``numbers`` computes it of numbers, ``sizes`` of a size and others."""

    def rule(use: OperatorContext, type: Type) -> Elements:
        dtype = use.type(0).dtype

        def one(*items: Element) -> Element:
            if any(isinstance(item, str) for item in items):
                return sizes(*items)
            return as_dtype(type.dtype, _on_numbers(numbers, dtype, *items))

        return tuple(one(*items) for items in columns(use, type))

    return rule


def folded(numbers: Callable[..., Any], sizes: Callable[..., Element], use: OperatorContext, type: Type) -> Elements:
    """The rule, as those of ``each``, of an operator that takes any number of inputs, two at a time."""

    def two(a: Element, b: Element) -> Element:
        symbolic = isinstance(a, str) or isinstance(b, str)
        return sizes(a, b) if symbolic else _on_numbers(numbers, type.dtype, a, b)

    return tuple(reduce(two, items) for items in columns(use, type))


def same(use: OperatorContext, type: Type) -> Elements:
    """The elements of the first input."""
    return elements(use, 0)


def expanded(use: OperatorContext, type: Type) -> Elements:
    """The elements of the first input, one alone as often as needed."""
    items = elements(use, 0)
    return items * length(type) if len(items) == 1 else items


def reduced(
    numbers: Callable[..., Any], use: OperatorContext, type: Type, sizes: Callable[..., Element] = _never
) -> Elements:
    """The rule of a reduction: both functions take all elements, as those of ``each`` do."""
    items = elements(use, 0)
    if length(type) != 1 or not len(use.type(0).shape):
        return items
    symbolic = any(isinstance(item, str) for item in items)
    return (sizes(items) if symbolic else as_dtype(type.dtype, numbers(items)),)


def below(count: Dim) -> Interval | None:
    """Sample values that are valid indices of ``count`` things."""
    return Interval(0, max(0, count - 1)) if isinstance(count, int) else None
