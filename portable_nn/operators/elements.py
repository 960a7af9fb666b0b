"""What is known of the elements of a list before anything runs: exporters compute sizes, axes and pads in many steps.

An element is a number, or a size that is not known yet, by its name. What comes out of arithmetic on names is written
as ``dims`` writes it where that is a sum of products, and otherwise as a name of its own: ``floor(height/2)``. A truth
value is 0 or 1. Where nothing can be said before the graph runs, there is no content at all.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.core.dims import count, product, quotient, static, total
from portable_nn.core.graph import Tensor
from portable_nn.operators.registry import FLOATS, INTEGERS, Type, Use

Element: TypeAlias = "int | float | str"
Content: TypeAlias = "tuple[Element, ...]"

LISTED: Final = 1024
"""The longest list whose elements are kept in mind."""


class _Open(Exception):  # noqa: N818 - says that something is not known, and never leaves this module
    """An element that is known only when the graph runs."""


def with_content(use: Use, types: tuple[Type, ...]) -> tuple[Type, ...]:
    """``types`` of the outputs of ``use``, the first with its elements where they follow from those of the inputs."""
    rule = _RULES.get(use.operator.name) if not use.operator.domain else None
    if rule is None or not types or types[0].content is not None:
        return types
    shape = static(types[0].shape)
    if shape is None or len(shape) > 1 or count(shape) > LISTED:
        return types
    if any(type is not None and type.content is None for type in use.types):
        return types
    try:
        found = rule(use, types[0])
    except (_Open, ArithmeticError, ValueError):
        return types
    return (types[0]._replace(content=found), *types[1:]) if len(found) == count(shape) else types


# -- one element


def _as(dtype: str, value: Any) -> Element:
    """A number as an array of that type has it, as a Python number."""
    with np.errstate(all="ignore"):
        number: int | float = np.asarray(value).astype(dtype).item()
    return int(number) if isinstance(number, bool) else number


def _on_numbers(function: Callable[..., Any], dtype: str, *items: Any) -> Element:
    """A function of elements of one type, as numpy computes it of arrays; whole numbers must not leave their type."""
    if dtype in INTEGERS and function in _EXACT:
        found: int = function(*items)
        if not np.iinfo(dtype).min <= found <= np.iinfo(dtype).max:
            raise _Open
        return found
    with np.errstate(all="ignore"):
        return _as(np.asarray(result := function(*(np.asarray(item, dtype) for item in items))).dtype.name, result)


def _divide(a: Any, b: Any) -> Any:
    """As the operator: whole numbers are rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if isinstance(a, int) else a / b


_EXACT: Final = (operator.add, operator.sub, operator.mul, _divide)


def _whole(value: Element) -> int | str:
    """A size, or a whole number even if it is a float; anything else stays open."""
    if isinstance(value, str):
        return value
    if value != int(value):
        raise _Open
    return int(value)


def _bracketed(value: Element) -> str:
    return f"({value})" if isinstance(value, str) and set(value) & set("+*/") else str(value)


def _ratio(a: Element, b: Element) -> Element:
    """``a / b`` of floats; a fraction of a size has a name that ``_rounded`` reads."""
    whole, parts = _whole(a), _whole(b)
    if (exact := quotient(whole, parts)) is not None:
        return exact
    return f"({_bracketed(whole)}/{_bracketed(parts)})"


def _times(a: Element, b: Element) -> Element:
    """``a * b`` of which one at least is a size."""
    for size, factor in ((a, b), (b, a)):
        if isinstance(factor, float) and factor != int(factor):
            return f"({factor!r}*{_bracketed(size)})"
    return product([_whole(a), _whole(b)])


def _rounded(way: str) -> Callable[[Element], Element]:
    """A size as it is, and a fraction of one rounded down or up."""

    def rounded(value: Element) -> Element:
        return f"{way}{value}" if isinstance(value, str) and value.startswith("(") else value

    return rounded


def _divided(a: Element, b: Element) -> Element:
    """A division of sizes, which are not negative, so that rounding towards zero is rounding down."""
    return _rounded("floor")(_ratio(a, b))


def _remainder(a: Element, b: Element) -> Element:
    if quotient(_whole(a), _whole(b)) is None:
        raise _Open
    return 0


def _extreme(name: str) -> Callable[[Element, Element], Element]:
    def extreme(a: Element, b: Element) -> Element:
        return a if a == b else f"{name}({a},{b})"

    return extreme


def _is_equal(a: Element, b: Element) -> Element:
    """A size is itself, and no negative number; of two others nothing is known."""
    if a == b:
        return 1
    if any(isinstance(one, (int, float)) and one < 0 for one in (a, b)):
        return 0
    raise _Open


def _is_less(a: Element, b: Element) -> Element:
    """No size is less than zero."""
    if a == b or (isinstance(a, str) and isinstance(b, (int, float)) and b <= 0):
        return 0
    if isinstance(b, str) and isinstance(a, (int, float)) and a < 0:
        return 1
    raise _Open


def _is_less_or_equal(a: Element, b: Element) -> Element:
    if a == b or (isinstance(b, str) and isinstance(a, (int, float)) and a <= 0):
        return 1
    if isinstance(a, str) and isinstance(b, (int, float)) and b < 0:
        return 0
    raise _Open


def _never(*_: Element) -> Element:
    raise _Open


# -- lists


def _columns(use: Use, length: int) -> Iterable[tuple[Element, ...]]:
    """The elements of the inputs that meet, the lists of one element with all."""
    lists = [_content(use, index) for index in range(len(use.types))]
    return zip(*(items * length if len(items) == 1 else items for items in lists), strict=True)


def _content(use: Use, index: int) -> tuple[Any, ...]:
    if not use.has(index):
        return ()
    found = use.type(index).content
    if found is None:
        raise _Open
    return found


def _each(numbers: Callable[..., Any], sizes: Callable[..., Element] = _never) -> Callable[[Use, Type], Content]:
    """The rule of an operator that goes element by element: ``numbers`` as numpy has it, ``sizes`` for what is open."""

    def rule(use: Use, type: Type) -> Content:
        dtype = use.type(0).dtype

        def one(*items: Element) -> Element:
            if any(isinstance(item, str) for item in items):
                return sizes(*items)
            return _as(type.dtype, _on_numbers(numbers, dtype, *items))

        return tuple(one(*items) for items in _columns(use, count(static(type.shape) or ())))

    return rule


def _all(numbers: Callable[..., Any], sizes: Callable[..., Element]) -> Callable[[Use, Type], Content]:
    """As ``_each`` for an operator that takes any number of inputs, two at a time."""

    def rule(use: Use, type: Type) -> Content:
        def two(a: Element, b: Element) -> Element:
            open_ = isinstance(a, str) or isinstance(b, str)
            return sizes(a, b) if open_ else _on_numbers(numbers, type.dtype, a, b)

        return tuple(reduce(two, items) for items in _columns(use, count(static(type.shape) or ())))

    return rule


def _quotients(use: Use, type: Type) -> Content:
    sizes = _divided if type.dtype in INTEGERS else _ratio
    return _each(_divide, sizes)(use, type)


def _products(use: Use, type: Type) -> Content:
    return _each(operator.mul, _times)(use, type)


def _remainders(use: Use, type: Type) -> Content:
    return _each(np.fmod if use.int("fmod") else np.mod, _remainder)(use, type)


def _cast(use: Use, type: Type) -> Content:
    """A size stays what it is; of a fraction of one, what is whole."""
    to_whole = type.dtype in INTEGERS and use.type().dtype in FLOATS
    result: list[Element] = []
    for item in _content(use, 0):
        if not isinstance(item, str):
            result.append(_as(type.dtype, item))
        elif type.dtype not in INTEGERS | FLOATS:
            raise _Open
        else:
            result.append(_rounded("floor")(item) if to_whole else item)
    return tuple(result)


def _where(use: Use, type: Type) -> Content:
    columns = _columns(use, count(static(type.shape) or ()))
    return tuple(first if condition else second for condition, first, second in columns)


def _same(use: Use, type: Type) -> Content:
    return _content(use, 0)


def _expanded(use: Use, type: Type) -> Content:
    items, length = _content(use, 0), count(static(type.shape) or ())
    return items * length if len(items) == 1 else items


def _repeated(use: Use, type: Type) -> Content:
    value = use.attributes.get("value")
    item = value.data[0] if isinstance(value, Tensor) else 0.0
    return (item,) * count(static(type.shape) or ())


def _range(use: Use, type: Type) -> Content:
    start, _, step = (_content(use, index)[0] for index in range(3))
    if isinstance(start, str) or isinstance(step, str):
        raise _Open
    return tuple(_as(type.dtype, start + place * step) for place in range(count(static(type.shape) or ())))


def _truths(use: Use, type: Type) -> Content:
    """The elements of a constant of truth values; those of numbers its own rule knows."""
    value = use.attributes.get("value")
    return value.data if isinstance(value, Tensor) else ()


def _reduced(function: Callable[[Sequence[Element]], Element]) -> Callable[[Use, Type], Content]:
    def rule(use: Use, type: Type) -> Content:
        items = _content(use, 0)
        if count(static(type.shape) or ()) != 1 or not len(use.type(0).shape):
            return items
        found = function(items)
        return (found if isinstance(found, str) else _as(type.dtype, found),)

    return rule


def _sum(items: Sequence[Element]) -> Element:
    if not any(isinstance(item, str) for item in items):
        return math.fsum(items) if any(isinstance(item, float) for item in items) else sum(items)  # type: ignore[arg-type]
    return total(_whole(item) for item in items)


def _product(items: Sequence[Element]) -> Element:
    if not any(isinstance(item, str) for item in items):
        return math.prod(items)
    return product(_whole(item) for item in items)


def _greatest(items: Sequence[Element]) -> Element:
    if any(isinstance(item, str) for item in items):
        raise _Open
    return max(items)


def _least(items: Sequence[Element]) -> Element:
    if any(isinstance(item, str) for item in items):
        raise _Open
    return min(items)


_RULES: Final[Mapping[str, Callable[[Use, Type], Content]]] = {
    "Abs": _each(np.abs, lambda a: a),
    "Add": _each(operator.add, lambda a, b: total([_whole(a), _whole(b)])),
    "And": _each(np.logical_and),
    "Cast": _cast,
    "CastLike": _cast,
    "Ceil": _each(np.ceil, _rounded("ceil")),
    "Constant": _truths,
    "ConstantOfShape": _repeated,
    "Div": _quotients,
    "Equal": _each(np.equal, _is_equal),
    "Expand": _expanded,
    "Floor": _each(np.floor, _rounded("floor")),
    "Greater": _each(np.greater, lambda a, b: _is_less(b, a)),
    "GreaterOrEqual": _each(np.greater_equal, lambda a, b: _is_less_or_equal(b, a)),
    "Identity": _same,
    "Less": _each(np.less, _is_less),
    "LessOrEqual": _each(np.less_equal, _is_less_or_equal),
    "Max": _all(np.maximum, _extreme("max")),
    "Min": _all(np.minimum, _extreme("min")),
    "Mod": _remainders,
    "Mul": _products,
    "Neg": _each(np.negative, lambda a: product([-1, _whole(a)])),
    "Not": _each(np.logical_not),
    "Or": _each(np.logical_or),
    "Pow": _each(np.power),
    "Range": _range,
    "Reciprocal": _each(np.reciprocal, lambda a: _ratio(1, a)),
    "ReduceMax": _reduced(_greatest),
    "ReduceMin": _reduced(_least),
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(_sum),
    "Reshape": _same,
    "Round": _each(np.rint),
    "Sqrt": _each(np.sqrt),
    "Squeeze": _same,
    "Sub": _each(operator.sub, lambda a, b: total([_whole(a), product([-1, _whole(b)])])),
    "Unsqueeze": _same,
    "Where": _where,
    "Xor": _each(np.logical_xor),
}
"""What comes out of each operator; no more than a list, and only where all inputs are known."""
