"""Layers of several tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from portable_nn.converters.keras.spec import LAYERS, Held, Spec, aligned, back
from portable_nn.core.errors import RefusalError
from portable_nn.operators import Symbol, cast, constant, emit, integers, unsqueezed


def _tensors(spec: Spec, given: Sequence[Any]) -> list[Held]:
    """The tensors of a call: one by one, or in a list."""
    found = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    if not found or not all(isinstance(each, Held) for each in found):
        spec.refuse("it takes tensors")
    return list(found)


def _same_rank(values: Sequence[Held]) -> list[Held]:
    ranks = {each.rank for each in values}
    if len(ranks) > 1:
        raise RefusalError(f"its inputs have {' and '.join(map(str, sorted(ranks)))} axes")
    return list(values)


def either(masks: Sequence[Symbol | None]) -> Symbol | None:
    """The steps that count in any of several tensors; ``None`` where all steps of one of them do."""
    found = [each for each in masks if each is not None]
    if len(found) < len(masks) or not found:
        return None
    return reduce(lambda one, other: one if one is other else emit("Or", one, other), found)


@LAYERS.row(Add="Add", Subtract="Sub", Multiply="Mul", Average="Mean", Maximum="Max", Minimum="Min")
def merge(operator: str, spec: Spec, *given: Any) -> Held:
    """Add, Multiply, …: tensors of one rank, element by element."""
    values = _same_rank(_tensors(spec, given))
    if operator == "Mul" and any(each.mask is not None for each in values):
        return _masked_product(spec, values)
    symbols, moved = aligned(values)
    if operator in ("Add", "Mul") and len(symbols) > 2:
        symbols = [reduce(lambda one, other: emit(operator, one, other), symbols[:-1]), symbols[-1]]
    if operator == "Sub" and len(symbols) != 2:
        spec.refuse("it takes two tensors")
    name = spec.next_name()
    made = emit(operator, *symbols, name=name)
    mask = either([each.mask for each in values])
    return back(made, not moved, mask)


def _masked_product(spec: Spec, values: Sequence[Held]) -> Held:
    """The product of the steps that count: others are factors of 1, or 0 where none of the tensors has them."""
    if values[0].rank != 3:
        spec.refuse(f"masks of tensors with {values[0].rank} axes have no counterpart here; 3 are taken over")
    factors = [
        each.plain
        if each.mask is None
        else emit("Where", unsqueezed(each.mask, 2), each.plain, constant(1, each.dtype))
        for each in values
    ]
    product, mask = reduce(lambda one, other: one * other, factors), either([each.mask for each in values])
    if mask is not None:
        product = emit("Where", unsqueezed(mask, 2), product, constant(0, product.dtype))
    return Held(emit("Identity", product, name=spec.next_name()), mask=mask)


def _joined_mask(values: Sequence[Held], axis: int) -> Symbol | None:
    """The steps of tensors one behind the other that count in any of their features."""
    if all(each.mask is None for each in values):
        return None
    masks = [
        emit("Expand", constant(1, "bool"), emit("Shape", each.plain))
        if each.mask is None
        else emit("Expand", unsqueezed(each.mask, 2), emit("Shape", each.plain))
        for each in values
    ]
    counted = cast(emit("Concat", *masks, axis=axis), "int32")
    return cast(emit("ReduceMax", counted, integers([2]), keepdims=0), "bool")


@LAYERS.row("Concatenate")
def concatenate(spec: Spec, *given: Any) -> Held:
    """Tensors one behind the other along an axis."""
    values = _same_rank(_tensors(spec, given))
    rank = values[0].rank
    axis = spec.get("axis", -1)
    if type(axis) is not int or not -rank <= axis < rank:
        spec.refuse(f"its option axis must be one of {rank} axes, not {axis!r:.60}")
    symbols, moved = aligned(values)
    axis %= rank
    if any(each.mask is not None for each in values) and rank != 3:
        spec.refuse(f"masks of tensors with {rank} axes have no counterpart here; 3 are taken over")
    mask = _joined_mask(values, axis)
    if moved:
        axis = 1 if axis == rank - 1 else axis + 1 if axis else 0
    made = emit("Concat", *symbols, axis=axis, name=spec.next_name())
    return back(made, not moved, mask)


def _unit(x: Symbol, axis: int) -> Symbol:
    """x / max(√Σx², 1e-7) along an axis."""
    square = emit("ReduceSum", x * x, integers([axis]), keepdims=1)
    return x / emit("Sqrt", emit("Max", square, constant(1e-14, x.dtype)))


@LAYERS.row("Dot")
def dot(spec: Spec, *given: Any) -> Held:
    """Sums of products along one axis of each of two tensors."""
    normalize, values, axes = spec.flag("normalize"), _tensors(spec, given), spec["axes"]
    pair = [axes, axes] if type(axes) is int else axes
    if len(values) != 2 or not isinstance(pair, list) or [*map(type, pair)] != [int, int]:
        spec.refuse("it takes two tensors and one axis of each")
    places = [axis % each.rank for axis, each in zip(pair, values, strict=True)]
    if 0 in places:
        spec.refuse("its axis is that of the batch")
    left, right = ([chr(ord(first) + at) for at in range(each.rank)] for first, each in zip("an", values, strict=True))
    right[0], right[places[1]] = "a", left[places[0]]
    kept = [letter for letter in (*left, *right[1:]) if letter != left[places[0]]]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(kept)}"
    factors = [_unit(each.plain, at) if normalize else each.plain for each, at in zip(values, places, strict=True)]
    name = spec.next_name()
    if len(kept) > 1:
        return Held(emit("Einsum", *factors, equation=equation, name=name))
    return Held(emit("Unsqueeze", emit("Einsum", *factors, equation=equation), integers([1]), name=name))
