"""Einstein summation: any product of arrays, index by index, as matrix products where possible."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, combinations, filterfalse
from string import ascii_letters
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.text import quantity
from portable_nn.operators.base import (
    NUMBERS,
    REQUIRED,
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    constant,
    emit,
    format_shape,
    integers,
    register,
    sizes,
)

Labels: TypeAlias = tuple[str, ...]
"""The names of an array's axes: a letter, or ``.0``, ``.1``, … for those of an ellipsis."""


TERM: Final = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")
"""The term of an equation for each operand and for the result, without blanks."""


class Equation(NamedTuple):
    """The labels of the operands' axes and of the result's, and the size that belongs to each."""

    terms: tuple[Labels, ...]
    result: Labels
    sizes: dict[str, Dim]


# -- reading an equation


def _read(use: OperatorContext) -> Equation:
    """The equation of a node, with a letter for each axis of an ellipsis; fails where it does not fit the operands."""
    text = use.string("equation").replace(" ", "")
    left, arrow, right = text.partition("->")
    words = left.split(",")
    types = [use.type(index) for index in range(len(use.types))]
    for word in [*words, right]:
        if not TERM.fullmatch(word):
            use.fail(f"equation '{text}' has the term '{word}', which is not letters and at most one ellipsis")
    if len(words) != len(types):
        use.fail(f"equation '{text}' is of {len(words)} operands, not of {len(types)}")
    terms = tuple(_term(use, word, type) for word, type in zip(words, types, strict=True))
    counts = {
        sum(label.startswith(".") for label in term) for term, word in zip(terms, words, strict=True) if "." in word
    }
    if len(counts) > 1:
        use.fail(f"the ellipses of equation '{text}' have different numbers of axes: {format_shapes(types)}")
    found = _sizes(use, terms, types)
    spread = tuple(label for label in found if label.startswith("."))
    if arrow:
        return Equation(terms, _result(use, text, spread, found), found)
    times = Counter(chain.from_iterable(terms))
    return Equation(terms, (*spread, *sorted(label for label in times.keys() - spread if times[label] == 1)), found)


def _result(use: OperatorContext, text: str, spread: Labels, known: Collection[str]) -> Labels:
    """The labels of the result as an equation has them, of the ``known`` ones; ``spread`` are those of the ellipsis."""
    before, dots, behind = text.partition("->")[2].partition("...")
    if spread and not dots:
        use.fail(f"equation '{text}' has an ellipsis in its operands and none in its result")
    result = (*before, *spread, *behind)
    if unknown := [label for label in result if label not in known]:
        use.fail(f"equation '{text}' has '{unknown[0]}' in its result and in none of its operands")
    if twice := [label for label, times in Counter(result).items() if times > 1]:
        use.fail(f"equation '{text}' has '{twice[0]}' twice in its result")
    return result


def _term(use: OperatorContext, word: str, type: Type) -> Labels:
    rank = len(type.shape)
    before, dots, behind = word.partition("...")
    spread = rank - len(before) - len(behind)
    if spread < 0 or (spread and not dots):
        axes = quantity(rank, "axis")
        use.fail(f"the term '{word}' does not fit an operand of {axes}, {type}")
    return (*before, *(f".{place}" for place in range(spread)), *behind)


def _sizes(use: OperatorContext, terms: Sequence[Labels], types: Sequence[Type]) -> dict[str, Dim]:
    """The size of each label; along an ellipsis, that of the operands which are not broadcast."""
    found: dict[str, Dim] = {}
    for labels, type in zip(terms, types, strict=True):
        for label, size in zip(labels, type.shape, strict=True):
            other = found.setdefault(label, size)
            stretched = label.startswith(".") and 1 in (other, size)
            if other != size and not stretched:
                axis = "an axis of the ellipsis" if label.startswith(".") else f"'{label}'"
                use.fail(f"{axis} is of size {other} and of size {size}: {format_shapes(types)}")
            if other == 1:
                found[label] = size
    return found


def format_shapes(types: Iterable[Type]) -> str:
    """The shapes of several operands, as messages show them."""
    return ", ".join(format_shape(type.shape) for type in types)


def _stretched(equation: Equation, labels: Labels, shape: Sequence[Dim]) -> list[int]:
    """The axes of an operand that are broadcast: they are of size 1, and those of others are not."""
    return [axis for axis, label in enumerate(labels) if shape[axis] == 1 != equation.sizes[label]]


def _type(use: OperatorContext) -> Type:
    use.common_dtype(NUMBERS)
    equation = _read(use)
    return use.like(equation.sizes[label] for label in equation.result)


# -- kernel


class Operand(NamedTuple):
    """An array whose axes have labels, each once."""

    array: Array
    labels: Labels

    def along(self, labels: Iterable[str]) -> Array:
        """The array with its axes in this order."""
        return self.array.transpose([self.labels.index(label) for label in labels])


def _diagonal(array: Array, labels: Labels) -> Operand:
    """Each label once: of a repeated one, the diagonal."""
    kept = tuple(dict.fromkeys(labels))
    strides = [sum(array.strides[axis] for axis, each in enumerate(labels) if each == label) for label in kept]
    shape = [array.shape[labels.index(label)] for label in kept]
    return Operand(np.lib.stride_tricks.as_strided(array, shape, strides, writeable=False), kept)


def _summed(
    n: KernelContext, operand: Operand, kept: Collection[str], out: Operand | None = None
) -> tuple[Operand, list[Step]]:
    """``operand`` summed over the labels that are not among ``kept``; into ``out`` where that is given."""
    labels = tuple(label for label in operand.labels if label in kept)
    axes = tuple(axis for axis, label in enumerate(operand.labels) if label not in kept)
    if not axes and out is None:
        return operand, []
    array = operand.array
    if out is None:
        out = Operand(n.scratch(tuple(array.shape[operand.labels.index(x)] for x in labels), array.dtype), labels)
    goal = out.along(labels)
    if not axes:
        return out, [partial(np.copyto, goal, array)]
    return out, [partial(np.add.reduce, array, axis=axes, dtype=array.dtype, out=goal)]


def _grouped(n: KernelContext, operand: Operand, batch: Labels, *groups: Labels) -> tuple[Array, list[Step]]:
    """The operand with its labels in this order, each group behind the batch as one axis; copied if need be."""
    turned, sizes = operand.along(chain(batch, *groups)), _shape(operand)
    shape = (*(sizes[label] for label in batch), *(math.prod(sizes[label] for label in group) for group in groups))
    with suppress(ValueError):
        return turned.reshape(shape, copy=False), []
    copy = n.scratch(turned.shape, turned.dtype)
    return copy.reshape(shape), [partial(np.copyto, copy, turned)]


def _goal(
    n: KernelContext,
    labels: Labels,
    flat: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    out: Operand | None,
) -> tuple[Array, Operand, list[Step]]:
    """The array that a product is written to, with its axes in groups (``flat``): into ``out``, or beside it to be
    copied there."""
    if out is not None:
        with suppress(ValueError):
            return out.along(labels).reshape(flat, copy=False), out, []
    array = n.scratch(shape, dtype)
    made = Operand(array, labels)
    if out is None:
        return array.reshape(flat), made, []
    return array.reshape(flat), out, [partial(np.copyto, out.along(labels), array)]


def _paired(
    n: KernelContext, a: Operand, b: Operand, kept: Collection[str], out: Operand | None
) -> tuple[Operand, list[Step]]:
    """The product of two operands, summed over the labels of both that are no longer needed; into ``out`` if given."""
    both = [label for label in a.labels if label in b.labels]
    batch, inner = (tuple(label for label in both if (label in kept) == wanted) for wanted in (True, False))
    rows, columns = (tuple(label for label in each.labels if label not in both) for each in (a, b))
    left, copies = _grouped(n, a, batch, rows, inner)
    right, more = _grouped(n, b, batch, inner, columns)
    sizes, labels = _shape(a) | _shape(b), (*batch, *rows, *columns)
    flat = (*left.shape[:-1], right.shape[-1])
    place, made, rest = _goal(n, labels, flat, tuple(sizes[label] for label in labels), a.array.dtype, out)
    return made, [*copies, *more, partial(np.matmul if inner else np.multiply, left, right, out=place), *rest]


def _shape(operand: Operand) -> dict[str, int]:
    return dict(zip(operand.labels, operand.array.shape, strict=True))


def _next_pair(operands: Sequence[Operand], result: Labels) -> tuple[int, int]:
    """The two operands whose product is the smallest, compared with what they are themselves."""

    def growth(pair: tuple[int, int]) -> int:
        kept = _kept([each for place, each in enumerate(operands) if place not in pair], result)
        shapes = [_shape(operands[place]) for place in pair]
        made = math.prod(size for label, size in (shapes[0] | shapes[1]).items() if label in kept)
        return made - sum(math.prod(shape.values()) for shape in shapes)

    return min(combinations(range(len(operands)), 2), key=growth)


def _kept(others: Iterable[Operand], result: Labels) -> set[str]:
    """The labels that are needed after a step: by the result, or by a remaining operand."""
    return {*result, *chain.from_iterable(operand.labels for operand in others)}


def _operand(n: KernelContext, equation: Equation, index: int, dtype: np.dtype[Any]) -> tuple[Operand, list[Step]]:
    """An operand in ``dtype`` whose labels are each there once, and with their full size."""
    x, labels, steps = n.x[index], equation.terms[index], list[Step]()
    stretched = _stretched(equation, labels, x.shape)
    x = x.squeeze(tuple(stretched))
    labels = tuple(label for axis, label in enumerate(labels) if axis not in stretched)
    operand = _diagonal(x, labels)
    if x.dtype != dtype:
        wide = n.scratch(operand.array.shape, dtype)
        steps = [partial(np.copyto, wide, operand.array)]
        operand = Operand(wide, operand.labels)
    return operand, steps


def _einsum(n: KernelContext) -> list[Step]:
    """Products of pairs; each operand is first summed over the labels that no other has."""
    equation = _read(n)
    # BLAS has no half precision.
    dtype = np.dtype(np.float32) if n.x[0].dtype == np.float16 else n.x[0].dtype
    found = [_operand(n, equation, index, dtype) for index in range(len(n.x))]
    operands, steps = [operand for operand, _ in found], [*chain.from_iterable(made for _, made in found)]
    if len(operands) == 1 and dtype == n.x[0].dtype and set(operands[0].labels) == set(equation.result):
        n.view(operands[0].along(equation.result))
        return []
    out = n.out()
    goal = Operand(out if out.dtype == dtype else n.scratch(out.shape, dtype), equation.result)
    while len(operands) > 1:
        first, second = _next_pair(operands, equation.result)
        chosen = [operands.pop(second), operands.pop(first)][::-1]
        kept = _kept(operands, equation.result)
        for place in (0, 1):
            chosen[place], sums = _summed(n, chosen[place], kept.union(chosen[1 - place].labels))
            steps += sums
        made, products = _paired(n, chosen[0], chosen[1], kept, None if operands else goal)
        operands.append(made)
        steps += products
    if operands[0] is not goal:
        steps += _summed(n, operands[0], equation.result, goal)[1]
    return steps if goal.array is out else [*steps, partial(np.copyto, out, goal.array, casting="same_kind")]


# -- gradient


def _letters(equation: Equation) -> dict[str, str]:
    """A letter for each label: the axes of an ellipsis get those that are free."""
    free = filterfalse(equation.sizes.__contains__, ascii_letters)
    return {label: label if len(label) == 1 else next(free) for label in equation.sizes}


def _without_stretched(equation: Equation, labels: Labels, value: Symbol) -> tuple[Symbol, Labels]:
    """An operand without the axes that are broadcast."""
    stretched = _stretched(equation, labels, value.shape)
    if not stretched:
        return value, labels
    rest = tuple(label for axis, label in enumerate(labels) if axis not in stretched)
    return emit("Squeeze", value, integers(stretched)), rest


def _identity(n: GradientContext, size: Dim, dtype: str) -> Symbol:
    if not isinstance(size, int):
        n.fail(f"its gradient along a diagonal needs a known size, not {size}")
    return constant(np.eye(size), dtype)


def _gradient(n: GradientContext) -> list[Symbol | None]:
    """Another Einsum for each operand: of the gradient of the output and all other operands, to its own labels."""
    equation = _read(n)
    letters = _letters(equation)
    given = [_without_stretched(equation, *pair) for pair in zip(equation.terms, n.x, strict=True)]
    return [_to_operand(n, equation, letters, given, index) for index in range(len(given))]


def _to_operand(
    n: GradientContext, equation: Equation, letters: dict[str, str], given: Sequence[tuple[Symbol, Labels]], index: int
) -> Symbol:
    x, (_, labels) = n.x[index], given[index]
    terms = [(n.dy, equation.result), *given[:index], *given[index + 1 :]]
    known = set(chain.from_iterable(term for _, term in terms))
    spare = filterfalse([*letters.values()].__contains__, ascii_letters)
    names = [letters[label] for label in labels]
    words = ["".join(map(letters.__getitem__, term)) for _, term in terms]
    values = [value for value, _ in terms]
    for axis, label in enumerate(labels):
        if label in labels[:axis]:  # Elements beside the diagonal have no gradient.
            names[axis] = next(spare)
            values.append(_identity(n, equation.sizes[label], x.dtype))
            words.append(letters[label] + names[axis])
            known.add(label)
    target = "".join(name for name, label in zip(names, labels, strict=True) if label in known)
    flow = emit("Einsum", *values, equation=f"{','.join(words)}->{target}")
    # Axes that this operand alone has, and that are summed over: the same flows to all along them.
    lone = [axis for axis, label in enumerate(equation.terms[index]) if label not in known]
    missing = sorted([*_stretched(equation, equation.terms[index], x.shape), *lone])
    if missing:
        flow = emit("Unsqueeze", flow, integers(missing))
    return flow if flow.shape == x.shape else emit("Expand", flow, sizes(x))


register(
    Operator(
        "Einsum",
        ("Inputs*",),
        _type,
        _einsum,
        _gradient,
        {"equation": Attr(str, REQUIRED)},
        outputs=("Output",),
        family="linear",
        polynomial=True,
    )
)
