"""Arithmetic on symbolic dimensions: ``3 * batch``, ``784 * batch / 784``, ``batch + 1``, ``floor(height/2)``.

A dimension is a polynomial with integer coefficients, in one canonical form: ``2*batch*time+batch+1``. Its variables
are names, which stand for numbers of 0 or more, and ``floor(a/b)``, ``ceil(a/b)``, ``(a/b)``, ``min(a,b)`` and
``max(a,b)`` of other dimensions; any other text, from a file of another program, is a name. Not with sympy, which takes
0.3 s to import.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, Literal, TypeAlias, TypeGuard

from portable_nn.core.graph import Dim, Shape

DEEPEST: Final = 20
"""The most brackets inside each other of a size that is read as a formula; others are names."""

LONGEST: Final = 4000
"""The most characters of a size that is a formula; those of real models have hundreds."""

TERMS: Final = 10_000
"""The most products of two terms that are added up for one size."""


class TooLongError(ArithmeticError):
    """A size would be a formula without end: a few nodes that use each other's results make any number of terms."""


Way: TypeAlias = Literal["floor", "ceil"]

_Names: TypeAlias = tuple[str, ...]
"""The sorted variables of a monomial; none for the constant."""

_CALL: Final = re.compile(r"(floor|ceil|min|max|)\((.*)\)", re.DOTALL)
"""A variable that is computed of other dimensions; without a word in front, a fraction."""


OPEN: Final = "size()"
"""The data-dependent size that a rule of an operator gives; inference puts the name of the node into it."""

_OPEN: Final = re.compile(r"\bsize\(")
_NAMELESS: Final = re.compile(r"size\([,)]")


def opened(place: int) -> str:
    """``OPEN`` for the axis ``place`` of several."""
    return f"size(,{place})" if place else OPEN


def is_open(dim: Dim) -> bool:
    """True if a size is data-dependent, or computed of one that is: ``size(nms)+1``, known once the node has run."""
    return isinstance(dim, str) and _OPEN.search(dim) is not None


def opened_by(shape: Shape, node: str) -> Shape:
    """``shape`` with the name of the ``node`` that decides them in its data-dependent sizes."""
    name = node if _is_closed(node) else re.sub("[()]", "_", node)
    return tuple(f"size({name}{dim[5:]}" if isinstance(dim, str) and re.match(_NAMELESS, dim) else dim for dim in shape)


def is_number(name: str) -> bool:
    """True if the ``name`` of a dimension is an integer literal, which arithmetic would take for a number."""
    return re.fullmatch("[+-]?[0-9]+", name) is not None


def apart(sizes: Iterable[Dim | None]) -> list[Dim | None]:
    """The sizes that a file states for one shape, without ``?`` and names that stood in the shape before.

    Tools that know no sizes write one name everywhere.
    """
    found = list[Dim | None]()
    for size in sizes:
        found.append(None if size == "?" or (isinstance(size, str) and size in found) else size)
    return found


def substituted(shape: Shape, known: Mapping[str, Dim]) -> Shape:
    """``shape`` with the sizes that ``known`` has for names, also inside formulas."""
    return tuple(put(dim, known) if known else dim for dim in shape)


def undeclared(dims: Iterable[Dim], declared: Collection[str]) -> set[str]:
    """Those of the sizes ``dims`` that have a name which is not ``declared``: shape inference has made it up."""
    return {dim for dim in dims if isinstance(dim, str) and not names_in([dim]).issubset(declared)}


def is_name(dim: Dim) -> TypeGuard[str]:
    """True if a dimension is a name: no number, and no formula of others."""
    return isinstance(dim, str) and (dim.isidentifier() or names_in([dim]) == {dim})


def names_in(dims: Iterable[Dim]) -> set[str]:
    """The names in sizes, which may be sums of products."""
    found = set[str]()
    for variable in {variable for dim in dims for variables in _terms(dim) for variable in variables}:
        call = _call(variable)
        found |= names_in(call[1]) if call else {variable}
    return found


def _call(variable: str) -> tuple[str, list[str]] | None:
    """The function that computes a variable, ``""`` for a fraction, and what of; ``None`` for a name."""
    found = _CALL.fullmatch(variable)
    if found is None or not _is_closed(found[2]):
        return None
    arguments = _split(found[2], "," if found[1] in {"min", "max"} else "/")
    return (found[1], list(map(_without_brackets, arguments))) if len(arguments) == 2 else None


def _is_closed(text: str) -> bool:
    """True if no bracket in ``text`` belongs to one outside it, and few are inside each other."""
    depths = [*itertools.accumulate((char == "(") - (char == ")") for char in text)]
    return min(depths, default=0) >= 0 and max(depths, default=0) < DEEPEST and depths[-1:] in ([], [0])


def _without_brackets(text: str) -> str:
    """A sum or product without the brackets around it."""
    inside = text[1:-1]
    is_inside = text[:1] == "(" and text[-1:] == ")" and _is_closed(inside) and len(_split(inside, "/")) == 1
    return inside if is_inside else text


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


@lru_cache(128)
def _terms(dim: Dim) -> Counter[_Names]:
    """The coefficient of each monomial of a dimension; not to be changed, as it is kept."""
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
    if len(left) * len(right) > TERMS:
        raise TooLongError
    for names, number in left.items():
        for others, times in right.items():
            result[tuple(sorted(names + others))] += number * times
    return result


def _dim(terms: Mapping[_Names, int]) -> Dim:
    parts = [(names, terms[names]) for names in sorted(terms, key=_order) if terms[names]]
    if all(not names for names, _ in parts):
        return sum(number for _, number in parts)
    match parts:
        case [((name,), 1)]:
            return name  # Files may name a size by any text.
    text = "+".join("*".join([str(number), *names] if number != 1 or not names else names) for names, number in parts)
    return within_limit(text)


def within_limit(text: str) -> str:
    """A formula. Raises ``TooLongError``."""
    if len(text) > LONGEST:
        raise TooLongError
    return text


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dimensions; 1 for none."""
    result = Counter[_Names]({(): 1})
    for dim in dims:
        result = _times(result, _terms(dim))
    return _dim(result)


def quotient(dividend: Dim, divisor: Dim) -> Dim | None:
    """``dividend / divisor`` where the remainder is known to be 0, otherwise ``None``: long division of polynomials."""
    rest, by, result = Counter(_terms(dividend)), _terms(divisor), Counter[_Names]()
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


def difference(one: Dim, other: Dim) -> Dim:
    """``one - other``."""
    return one if other == 0 else total([one, product([-1, other])])


def rounded_quotient(way: Way, dividend: Dim, divisor: Dim) -> Dim:
    """``floor(dividend/divisor)`` or ``ceil(dividend/divisor)``, without rounding where the division is exact.

    Raises ``ZeroDivisionError``.
    """
    if isinstance(dividend, int) and isinstance(divisor, int):
        return dividend // divisor if way == "floor" else -(-dividend // divisor)
    exact = quotient(dividend, divisor)
    return within_limit(f"{way}({bracketed(dividend)}/{bracketed(divisor)})") if exact is None else exact


def fraction(dividend: Dim, divisor: Dim) -> Dim:
    """``dividend/divisor``, which whoever knows the numbers finds to be whole. Raises ``ZeroDivisionError`` for 0."""
    if divisor == 0:
        raise ZeroDivisionError
    exact = quotient(dividend, divisor)
    return within_limit(f"({bracketed(dividend)}/{bracketed(divisor)})") if exact is None else exact


def bracketed(dim: Dim | float) -> str:
    """A size as an operand: a sum, product or quotient in brackets."""
    return f"({dim})" if isinstance(dim, str) and set(dim) & set("+*/") else str(dim)


def is_at_least(one: Dim, other: Dim) -> bool:
    """True if ``one >= other`` for all numbers that their names stand for."""
    return all(
        number >= 0 and all(map(_is_positive, names)) for names, number in _terms(difference(one, other)).items()
    )


def _is_positive(variable: str) -> bool:
    """True if a variable is known to be 0 or more."""
    call = _call(variable)
    return call is None or (any if call[0] == "max" else all)(is_at_least(_number_or_text(each), 0) for each in call[1])


def smallest(one: Dim, other: Dim) -> Dim:
    """``min(one,other)``, or the smaller one where that is known."""
    return _extreme("min", one, other)


def largest(one: Dim, other: Dim) -> Dim:
    """``max(one,other)``, or the larger one where that is known."""
    return _extreme("max", one, other)


def _extreme(word: str, one: Dim, other: Dim) -> Dim:
    for low, high in ((one, other), (other, one)):
        if is_at_least(high, low):
            return low if word == "min" else high
    numbers_first = sorted((one, other), key=lambda dim: (isinstance(dim, str), str(dim)))
    return within_limit(f"{word}({','.join(map(str, numbers_first))})")


def put(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """``dim`` with ``sizes`` in place of its names; a division by 0 stays as it is."""
    if isinstance(dim, int) or dim in sizes:
        return sizes.get(dim, dim) if isinstance(dim, str) else dim
    if names_in([dim]).isdisjoint(sizes):
        return dim  # As it is written, be it a name such as "0".
    found = Counter[_Names]()
    for names, number in _terms(dim).items():
        found.update(
            _terms(product([number, *(_put(name, sizes) for name in names)]))
            if any(name in sizes or "(" in name for name in names)
            else {names: number}
        )
    return _dim(found)


def _put(variable: str, sizes: Mapping[str, Dim]) -> Dim:
    call = None if variable in sizes else _call(variable)
    if call is None:
        return sizes.get(variable, variable)
    word, (one, other) = call[0], (put(_number_or_text(text), sizes) for text in call[1])
    if word in {"min", "max"}:
        return _extreme(word, one, other)
    if other == 0:
        return variable
    return rounded_quotient("floor" if word == "floor" else "ceil", one, other) if word else fraction(one, other)


def _number_or_text(text: str) -> Dim:
    return int(text) if is_number(text) else text


PYTHON: Final = {
    "floor": "({0} // {1})",
    "ceil": "(-(-{0} // {1}))",
    "": "({0} // {1})",
    "min": "min({0}, {1})",
    "max": "max({0}, {1})",
}
"""The ``forms`` of ``spelled`` for Python."""


def spelled(dim: Dim, names: Mapping[str, str], forms: Mapping[str, str]) -> str:
    """A dimension as an expression of a programming language.

    Args:
        dim: the dimension.
        names: the variable for each name.
        forms: how ``floor``, ``ceil``, ``min``, ``max`` and ``""``, an exact division, are written: with ``{0}`` and
            ``{1}`` for the two operands, which are in brackets where they need some.

    Raises ``KeyError`` for a name that ``names`` does not have.

    >>> from portable_nn.core.dims import PYTHON, spelled
    >>> spelled("2*floor((height+1)/2)", {"height": "x.shape[2]"}, PYTHON)
    '2 * ((x.shape[2] + 1) // 2)'
    """
    if isinstance(dim, int) or dim in names:
        return names[dim] if isinstance(dim, str) else str(dim)
    parts = [(variables, number) for variables, number in sorted(_terms(dim).items(), key=lambda each: _order(each[0]))]
    text = ""
    for variables, number in parts:
        factors = [_spelled(variable, names, forms) for variable in variables]
        if abs(number) != 1 or not factors:
            factors.insert(0, str(abs(number)))
        sign = " - " if number < 0 else " + "
        text += (sign if text else sign.strip().replace("+", "")) + " * ".join(factors)
    return text or "0"


_SIMPLE: Final = re.compile(r"[\w.\[\]]+")
"""Operands that need no brackets: numbers, variables, and entries such as ``x.shape[2]``."""


def _spelled(variable: str, names: Mapping[str, str], forms: Mapping[str, str]) -> str:
    call = None if variable in names else _call(variable)
    if call is None:
        return names[variable]
    operands = (spelled(_number_or_text(each), names, forms) for each in call[1])
    return forms[call[0]].format(*(each if _SIMPLE.fullmatch(each) else f"({each})" for each in operands))


def evaluated(dim: Dim, sizes: Mapping[str, int]) -> int | None:
    """The value of a dimension whose names have these ``sizes``; ``None`` where it has none, or a name is missing."""
    if isinstance(dim, int):
        return dim
    found = put(dim, sizes)
    return found if isinstance(found, int) else None


def solved(one: Dim, other: Dim, names: Sequence[str]) -> tuple[str, Dim] | None:
    """The last of ``names`` whose size follows from ``one == other``, and that size: ``past+new`` for ``total``.

    It must occur once, in no product, and its size must not be negative, whatever the others are.
    """
    with suppress(TooLongError):
        terms = _terms(difference(one, other))
        for name in reversed(names):
            rest = {variables: -number for variables, number in terms.items() if variables != (name,)}
            if (name,) in terms and name not in names_in(itertools.chain.from_iterable(rest)):
                size = quotient(_dim(rest), terms[(name,)])
                if size is not None and is_at_least(size, 0):
                    return name, size
    return None


_TRIALS: Final = (
    (3, 8, 14, 25, 39, 53),
    (11, 5, 18, 7, 30, 23),
    (20160 * 13, 20160 * 5, 20160 * 11, 20160 * 2, 20160 * 7, 20160 * 3),
    (20160 * 3, 20160 * 17, 20160 * 2, 20160 * 19, 20160 * 5, 20160 * 23),
)
"""Numbers for names in which ``agreed`` compares two sizes: small ones, and large ones with many divisors."""


def agreed(one: Dim, other: Dim) -> Dim | None:
    """The size that two axes have if they are equal, or ``None`` where they may not be.

    Names are independent of each other. Sizes that are computed may agree under a condition on their names:
    ``2*floor(height/2)`` is ``height`` where that is even, and ``min(time,64)`` is ``time`` up to 64. They do so here
    if they are equal in two of several trials, and the simpler text is the result. A data-dependent size may be any
    other. Who computes with numbers must compare these.
    """
    if one == other:
        return one
    if isinstance(one, int) and isinstance(other, int):
        return None
    if is_open(one) or is_open(other):
        return min(one, other, key=lambda dim: (isinstance(dim, str), is_open(dim), len(str(dim)), str(dim)))
    names = sorted(names_in([one, other]))
    if {one, other} <= {*names} or len(names) > len(_TRIALS[0]):
        return None
    equal = 0
    for numbers in _TRIALS:
        sizes = dict(zip(names, numbers, strict=False))
        found = evaluated(one, sizes)
        equal += found is not None and found == evaluated(other, sizes)
    return min(one, other, key=lambda dim: (isinstance(dim, str), len(str(dim)), str(dim))) if equal > 1 else None


def agreed_shape(one: Shape, other: Shape) -> Shape | None:
    """``agreed`` of the sizes of two shapes, axis by axis; ``None`` where any differ, or their number does."""
    if one == other:
        return one
    dims = [agreed(*pair) for pair in zip(one, other, strict=False)] if len(one) == len(other) else [None]
    found = tuple(dim for dim in dims if dim is not None)
    return found if len(found) == len(dims) else None


def broadcast(*shapes: Shape) -> Shape | None:
    """The shape that ``shapes`` broadcast to (numpy's rule), or ``None`` where two dimensions may differ."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for column in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        first, *more = list(dict.fromkeys(dim for dim in column if dim != 1)) or [1]
        for size in more:
            both = agreed(first, size)
            if both is None:
                return None
            first = both
        result.append(first)
    return tuple(result)


def may_be_equal(one: Shape, other: Shape) -> bool:
    """True if two shapes may be the same; a symbolic size may have any value."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in pairs)


def static(shape: Shape) -> tuple[int, ...] | None:
    """``shape`` if all its dimensions are numbers, otherwise ``None``."""
    numbers = tuple(dim for dim in shape if isinstance(dim, int))
    return numbers if len(numbers) == len(shape) else None
