"""Nodes without a layer in Keras, decomposed into other operators, as functions of symbols.

Other operators are what their lowering is, or what portable files have in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any, Final

import numpy as np

from portable_nn.operators import OperatorContext, Symbol, constant, emit, emit_all, integers, sizes
from portable_nn.operators.normalization.lrn import lrn_plain
from portable_nn.operators.spatial.window import reaching, windows
from portable_nn.rewrites import lowering
from portable_nn.rewrites.lowering import Form
from portable_nn.sizes.operation import Window


def form_of(use: OperatorContext) -> Form | None:
    """The node's decomposition into other operators, or ``None``."""
    operator = use.operator
    if operator.name in FORMS and not operator.domain:
        return FORMS[operator.name](use)
    return lowering.form_of(use)


# -- windows


def _reach(use: OperatorContext) -> list[Window]:
    """The windows of a pool with pads that give the sizes of ``ceil_mode`` without it."""
    sides = use.type().shape[2:]
    found = windows(use, use.ints("kernel_shape") or (), sides)
    if not use.int("ceil_mode"):
        return found
    made = list[Window]()
    for w, size in zip(found, sides, strict=True):
        if isinstance(size, int):
            made.append(reaching(w, size))
        elif w.extent + w.pad_end >= w.stride:  # No window begins behind the pads.
            made.append(Window(w.kernel, w.stride, w.dilation, w.pad_begin, w.pad_end + w.stride - 1))
        else:
            use.fail("where its last window ends is open")
    return made


def _padded(x: Symbol, found: Sequence[Window], value: float = 0.0) -> Symbol:
    if not any(sum(w.pads) for w in found):
        return x
    ends = [0, 0, *(w.pad_begin for w in found), 0, 0, *(w.pad_end for w in found)]
    return emit("Pad", x, integers(ends), constant(value, x.dtype))


def _plain_pool(operator: str, x: Symbol, found: Sequence[Window]) -> Symbol:
    return emit(operator, x, kernel_shape=[w.kernel for w in found], strides=[w.stride for w in found])


def _max_pool(use: OperatorContext) -> Form | None:
    """The pool of what is padded by numbers that are never the largest; the largest of slices, if it is dilated."""
    if use.output_count > 1:
        return None

    def form(x: Symbol, **_: Any) -> Symbol:
        found = _reach(use)
        padded = _padded(x, found, float(np.finfo(x.dtype).min))
        if all(w.dilation == 1 for w in found):
            return _plain_pool("MaxPool", padded, found)
        return reduce(lambda one, other: emit("Max", one, other), _cells(padded, found))

    return form


def _cells(x: Symbol, found: Sequence[Window]) -> list[Symbol]:
    """For each cell of a window, what it sees as it slides."""
    made, axes = list[Symbol](), integers(range(2, len(x.shape)))
    steps = integers([w.stride for w in found])
    for places in product(*(range(w.kernel) for w in found)):
        begin = [place * w.dilation for place, w in zip(places, found, strict=True)]
        reach = [place * w.dilation - w.extent + 1 for place, w in zip(places, found, strict=True)]
        ends = [each if each < 0 else 2**31 for each in reach]
        made.append(emit("Slice", x, integers(begin), integers(ends), axes, steps))
    return made


def _average_pool(use: OperatorContext) -> Form:
    """The pool of what is padded by zeros, times the cells of a window, divided by those that count."""

    def form(x: Symbol, **_: Any) -> Symbol:
        found, counts = _reach(use), bool(use.int("count_include_pad"))
        if any(w.dilation > 1 for w in found):
            use.fail("its dilations are none of Keras's")
        given = windows(use, use.ints("kernel_shape") or (), x.shape[2:])
        mean = _plain_pool("AveragePool", _padded(x, found), found)
        if counts and found == given:
            return mean
        inside = [Window(1, 1, 1, *w.pads) for w in given] if counts else []
        behind = [Window(w.kernel, w.stride, 1, 0, w.pad_end - g.pad_end) for w, g in zip(found, given, strict=True)]
        ones = _padded(_ones(x), inside, 1.0)
        return mean / _plain_pool("AveragePool", _padded(ones, behind if counts else found), found)

    return form


def _ones(x: Symbol) -> Symbol:
    """A one for each entry of a channel; a constant where the sizes are known."""
    if all(isinstance(size, int) for size in x.shape[2:]):
        return constant(np.ones((1, 1, *(int(size) for size in x.shape[2:]))), x.dtype)
    return emit("Where", emit("IsNaN", x), constant(1, x.dtype), constant(1, x.dtype))


def _lp_pool(use: OperatorContext) -> Form:
    """The root of the mean of powers, times the cells of a window."""

    def form(x: Symbol, **_: Any) -> Symbol:
        found, p = _reach(use), use.int("p")
        if any(w.dilation > 1 for w in found):
            use.fail("its dilations are none of Keras's")
        mean = _plain_pool("AveragePool", _padded(_power(x, p), found), found)
        return _root(mean * math.prod(w.kernel for w in found), p)

    return form


def _power(x: Symbol, p: int) -> Symbol:
    return x * x if p == 2 else emit("Abs", x) if p == 1 else emit("Abs", x) ** p


def _root(x: Symbol, p: int) -> Symbol:
    """The root of a sum of powers, whose slope at 0 is 0."""
    if p == 1:
        return x
    least = emit("Max", x, constant(float(np.finfo(x.dtype).tiny), x.dtype))
    return emit("Sqrt", least) if p == 2 else least ** (1 / p)


def _global_lp_pool(use: OperatorContext) -> Form:
    def form(x: Symbol, **_: Any) -> Symbol:
        axes, p = integers(range(2, len(x.shape))), use.int("p")
        return _root(emit("ReduceSum", _power(x, p), axes, keepdims=1), p)

    return form


def _norm(p: int) -> Callable[[OperatorContext], Form]:
    """The norm along axes."""

    def row(use: OperatorContext) -> Form:
        def form(x: Symbol, axes: Symbol | None = None, **options: Any) -> Symbol:
            return _root(emit("ReduceSum", _power(x, p), axes, **options), p)

        return form

    return row


def _unit(use: OperatorContext) -> Form:
    """Divided by the norm along an axis, and 0 where that is 0."""

    def form(x: Symbol, **_: Any) -> Symbol:
        p = use.int("p")
        norm = _root(emit("ReduceSum", _power(x, p), integers([use.int("axis")]), keepdims=1), p)
        return x / emit("Max", norm, constant(float(np.finfo(x.dtype).tiny), x.dtype))

    return form


# -- convolutions


def _conv_transpose(use: OperatorContext) -> Form | None:
    """Groups one by one."""
    groups = use.int("group")
    if groups == 1:
        return None

    def form(x: Symbol, weight: Symbol, bias: Symbol | None = None, **options: Any) -> Symbol:
        def parts(value: Symbol, axis: int) -> Sequence[Symbol]:
            return emit_all("Split", value, outputs=groups, axis=axis, num_outputs=groups)

        shifts = [None] * groups if bias is None else parts(bias, 0)
        made = [
            emit("ConvTranspose", *each, **{**options, "group": 1})
            for each in zip(parts(x, 1), parts(weight, 0), shifts, strict=True)
        ]
        return emit("Concat", *made, axis=1)

    return form


# -- cells


def _channels(use: OperatorContext) -> int:
    found = use.type().shape[1]
    if not isinstance(found, int):
        use.fail("its channels are open")
    return found


def _depth_to_space(use: OperatorContext) -> Form:
    def form(x: Symbol, *, blocksize: int, mode: str = "DCR") -> Symbol:
        inner, block = _channels(use) // blocksize**2, [blocksize, blocksize]
        parts, order = ([*block, inner], [0, 3, 4, 1, 5, 2]) if mode == "DCR" else ([inner, *block], [0, 1, 4, 2, 5, 3])
        split = emit("Concat", sizes(x, [0]), integers(parts), sizes(x, [2, 3]), axis=0)
        moved = emit("Transpose", emit("Reshape", x, split), perm=order)
        # One size after the other: a Reshape of Keras leaves one of them open.
        joined = emit("Reshape", moved, _shape(moved, [0, 1], [(2, 3), 4, 5]))
        return emit("Reshape", joined, _shape(joined, [0, 1, 2], [(3, 4)]))

    return form


def _space_to_depth(use: OperatorContext) -> Form:
    def form(x: Symbol, *, blocksize: int) -> Symbol:
        block = integers([blocksize])
        high = emit(
            "Reshape", x, emit("Concat", sizes(x, [0, 1]), _part(x, 2, blocksize), block, sizes(x, [3]), axis=0)
        )
        parted = emit("Reshape", high, emit("Concat", sizes(high, [0, 1, 2, 3]), _part(x, 3, blocksize), block, axis=0))
        moved = emit("Transpose", parted, perm=[0, 3, 5, 1, 2, 4])
        depth = integers([_channels(use) * blocksize**2])
        return emit("Reshape", moved, emit("Concat", sizes(x, [0]), depth, sizes(moved, [4, 5]), axis=0))

    return form


def _part(x: Symbol, axis: int, block: int) -> Symbol:
    return emit("Div", sizes(x, [axis]), integers([block]))


def _shape(x: Symbol, kept: Sequence[int], rest: Sequence[int | tuple[int, int]]) -> Symbol:
    """Sizes of a value, of which pairs become their product."""
    parts = [sizes(x, kept)]
    for each in rest:
        pair = [each] if isinstance(each, int) else list(each)
        parts.append(reduce(lambda one, other: emit("Mul", one, other), (sizes(x, [axis]) for axis in pair)))
    return emit("Concat", *parts, axis=0)


def _pad(use: OperatorContext) -> Form | None:
    """Borders that repeat, mirror or continue what is there, along one axis after the other."""
    mode = use.string("mode")
    if mode == "constant" or len(use.types) > 3 or use.types[1] is None:
        return None
    pads = use.types[1].constant

    def form(x: Symbol, *_: Symbol | None, **__: Any) -> Symbol:
        rank = len(x.shape)
        if pads is None or len(pads) != 2 * rank or not all(isinstance(each, int) for each in pads):
            use.fail("its pads are computed")
        for axis in range(rank):
            begin, end = int(pads[axis]), int(pads[rank + axis])
            if begin or end:
                x = _bordered(use, x, axis, begin, end, mode)
        return emit("Identity", x)

    return form


def _bordered(use: OperatorContext, x: Symbol, axis: int, begin: int, end: int, mode: str) -> Symbol:
    size = x.shape[axis]
    if isinstance(size, int):
        left = np.arange(max(-begin, 0), size - max(-end, 0))
        places = np.pad(left, (max(begin, 0), max(end, 0)), mode)  # type: ignore[call-overload]
        return emit("Gather", x, constant(places, "int64"), axis=axis)
    if begin < 0 or end < 0:
        use.fail(f"it cuts cells off axis {axis}, whose size is open")
    before = {"edge": [0] * begin, "reflect": range(begin, 0, -1), "wrap": range(-begin, 0)}[mode]
    after = {"edge": [-1] * end, "reflect": range(-2, -end - 2, -1), "wrap": range(end)}[mode]

    def cell(place: int) -> Symbol:
        return emit("Slice", x, integers([place]), integers([place + 1 or 2**31]), integers([axis]))

    return emit("Concat", *map(cell, before), x, *map(cell, after), axis=axis)


FORMS: Final[Mapping[str, Callable[[OperatorContext], Form | None]]] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "GlobalLpPool": _global_lp_pool,
    "ReduceL1": _norm(1),
    "ReduceL2": _norm(2),
    "LpNormalization": _unit,
    "LRN": lambda use: lrn_plain,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Pad": _pad,
}
"""The function that decomposes an operator for which Keras has no layer, or none with such options."""
