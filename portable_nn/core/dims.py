"""Arithmetic on symbolic dimensions: ``3 * batch``, ``784 * batch / 784``, ``batch + 1``.

A dimension is a polynomial in its names, in one canonical form: ``2*batch*time+batch+1``. An expression in brackets
(``floor(height/2)``, from a file of another program) is treated as a name. Not with sympy, which takes 0.3 s to import.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from portable_nn.core.graph import Dim, Shape

_Names: TypeAlias = tuple[str, ...]
"""The sorted names of a monomial; none for the constant."""


def is_number(name: str) -> bool:
    """Whether the ``name`` of a dimension is an integer literal, which arithmetic would take for a number."""
    return re.fullmatch("[+-]?[0-9]+", name) is not None


def substituted(shape: Shape, known: Mapping[str, int]) -> Shape:
    """``shape`` with numbers for the names in ``known``."""
    return tuple(known.get(dim, dim) if isinstance(dim, str) else dim for dim in shape)


def undeclared(dims: Iterable[Dim], declared: Collection[str]) -> set[str]:
    """Those of the sizes ``dims`` that have a name which is not ``declared``: shape inference has made it up."""
    return {dim for dim in dims if isinstance(dim, str) and not names_in([dim]).issubset(declared)}


def names_in(dims: Iterable[Dim]) -> set[str]:
    """The names in sizes, which may be sums of products."""
    return {name for dim in dims for names in _terms(dim) for name in names}


def _split(text: str, sign: str) -> list[str]:
    """The parts of ``text`` between occurrences of ``sign`` that are not in brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == sign and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _terms(dim: Dim) -> Counter[_Names]:
    """The coefficient of each monomial of a dimension."""
    if isinstance(dim, int):
        return Counter({(): dim} if dim else {})
    terms = Counter[_Names]()
    for part in _split(dim, "+"):
        words = _split(part, "*")
        numbers = [word for word in words if is_number(word)]
        terms[tuple(sorted(word for word in words if word not in numbers))] += math.prod(map(int, numbers))
    return terms


def _order(names: _Names) -> tuple[int, _Names]:
    return -len(names), names


def _times(left: Mapping[_Names, int], right: Mapping[_Names, int]) -> Counter[_Names]:
    result = Counter[_Names]()
    for names, number in left.items():
        for others, times in right.items():
            result[tuple(sorted(names + others))] += number * times
    return result


def _dim(terms: Mapping[_Names, int]) -> Dim:
    parts = [(names, terms[names]) for names in sorted(terms, key=_order) if terms[names]]
    if all(not names for names, _ in parts):
        return sum(number for _, number in parts)
    return "+".join("*".join([str(number), *names] if number != 1 or not names else names) for names, number in parts)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dimensions; 1 for none."""
    result = Counter[_Names]({(): 1})
    for dim in dims:
        result = _times(result, _terms(dim))
    return _dim(result)


def quotient(dividend: Dim, divisor: Dim) -> Dim | None:
    """``dividend / divisor`` where the remainder is known to be 0, otherwise ``None``: long division of polynomials."""
    rest, by, result = _terms(dividend), _terms(divisor), Counter[_Names]()
    if not by:
        return None
    lead = min(by, key=_order)
    while rest:
        top = min(rest, key=_order)
        if Counter(lead) - Counter(top) or rest[top] % by[lead]:
            return None
        step = {tuple(sorted((Counter(top) - Counter(lead)).elements())): rest[top] // by[lead]}
        result.update(step)
        rest.subtract(_times(step, by))
        rest = Counter({names: number for names, number in rest.items() if number})
    return _dim(result)


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of dimensions; 0 for none."""
    result = Counter[_Names]()
    for dim in dims:
        result.update(_terms(dim))
    return _dim(result)


def evaluated(dim: Dim, sizes: Mapping[str, int]) -> int | None:
    """The value of a dimension whose names have these ``sizes``, or ``None`` where a name is missing."""
    if isinstance(dim, int):
        return dim
    terms = _terms(dim)
    if not all(name in sizes for names in terms for name in names):
        return None
    return sum(number * math.prod(sizes[name] for name in names) for names, number in terms.items())


def broadcast(*shapes: Shape) -> Shape | None:
    """The shape that ``shapes`` broadcast to (numpy's rule), or ``None`` where two dimensions may differ."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for column in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        sizes = {dim for dim in column if dim != 1} or {1}
        if len(sizes) > 1:
            return None
        result.append(sizes.pop())
    return tuple(result)


def may_be_equal(one: Shape, other: Shape) -> bool:
    """Whether two shapes may be the same; a symbolic size may have any value."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in pairs)


def static(shape: Shape) -> tuple[int, ...] | None:
    """``shape`` if all its dimensions are numbers, otherwise ``None``."""
    numbers = tuple(dim for dim in shape if isinstance(dim, int))
    return numbers if len(numbers) == len(shape) else None


def count(shape: tuple[int, ...]) -> int:
    """The number of elements."""
    return math.prod(shape)
