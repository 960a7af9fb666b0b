"""Operators that select elements by their values, which decide the shape: NonZero, Compress and Unique."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from portable_nn.core.dims import OPEN, is_open, product
from portable_nn.operators.base import (
    ANY,
    Array,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    integers,
    register,
)


def _non_zero(use: OperatorContext) -> Type:
    """Of an array without axes, the standard gives as many empty rows as it has elements that are not zero."""
    x = use.type()
    use.check_dtype(x.dtype, ANY)
    known = x.constant if x.constant is not None and not any(isinstance(each, str) for each in x.constant) else None
    return Type("int64", (len(x.shape), OPEN if known is None else sum(map(bool, known))))


def _elements(n: KernelContext, index: int) -> Array:
    """The elements that decide sizes: those that inference knows, as a plan has none yet, or what has been computed."""
    known = n.type(index).constant
    return n.x[index] if known is None else np.array(known, n.x[index].dtype).reshape(n.x[index].shape)


def _places(n: KernelContext) -> None:
    x = _elements(n, 0)
    n.view(np.array(np.nonzero(x), np.int64) if x.ndim else np.empty((0, int(bool(x))), np.int64))


def _of_truth(use: OperatorContext, _: int) -> Callable[..., Symbol] | None:
    """Element types that onnxruntime 1.32 has no kernel for become true or false."""
    has_kernel = use.type().dtype in {"bool", "float32", "int32", "int64", "uint8"}
    return None if has_kernel else lambda x: emit("NonZero", cast(x, "bool"))


def _kept_axis(use: OperatorContext) -> int | None:
    """The axis along which elements are kept or compared; ``None`` for all elements in one row."""
    return use.attribute_axis() if "axis" in use.attributes else None


def _compress_type(use: OperatorContext) -> Type:
    axis, shape, condition = _kept_axis(use), use.type().shape, use.type(1)
    if condition.dtype != "bool" or len(condition.shape) != 1:
        use.fail(f"input 'condition' must be a list of bool, not {condition}")
    size = product(shape) if axis is None else shape[axis]
    places = [place for place, value in enumerate(condition.constant or ()) if value]
    if isinstance(size, int) and places and places[-1] >= size:
        use.fail(f"condition keeps element {places[-1]}, but there are {size}")
    count = OPEN if condition.constant is None else len(places)
    return use.like([count] if axis is None else [*shape[:axis], count, *shape[axis + 1 :]])


def _compress(n: KernelContext) -> Step | None:
    axis, x, [places] = _kept_axis(n), n.x[0], np.nonzero(_elements(n, 1))
    size = x.size if axis is None else x.shape[axis]
    if len(places) and places[-1] >= size:
        n.fail(f"condition keeps element {places[-1]}, but there are {size}")
    if any(map(is_open, n.operator.infer(n).shape)):  # type: ignore[union-attr]
        return n.view(np.take(x, places, axis))
    out = n.out()
    return partial(np.take, x, places, axis=axis, out=out, mode="wrap") if out.size else out.tolist


def _compress_lowering(x: Symbol, condition: Symbol, *, axis: int | None = None) -> Symbol:
    kept = emit("Squeeze", emit("NonZero", condition), integers([0]))
    return emit("Gather", emit("Reshape", x, integers([-1])) if axis is None else x, kept, axis=axis or 0)


def _unique_type(use: OperatorContext) -> tuple[Type, ...]:
    x, axis = use.type(), _kept_axis(use)
    use.check_dtype(x.dtype, ANY)
    use.choice("sorted", (0, 1))
    shape = [OPEN] if axis is None else [*x.shape[:axis], OPEN, *x.shape[axis + 1 :]]
    every = product(x.shape) if axis is None else x.shape[axis]
    return use.like(shape), Type("int64", (OPEN,)), Type("int64", (every,)), Type("int64", (OPEN,))


def _unique(n: KernelContext) -> None:
    """Slices along an axis are compared as a whole. NaN is refused: it is new each time, once or merged elsewhere."""
    axis, x = _kept_axis(n), n.x[0]
    if x.dtype.kind == "f" and np.isnan(x).any():
        n.fail("its input holds NaN, of which runtimes make different things")
    rows = x.reshape(-1, 1)
    if axis is not None:
        rows = np.moveaxis(x, axis, 0).reshape(x.shape[axis], x.size // max(1, x.shape[axis]))
    order = np.lexsort(rows.T[::-1]) if rows.size else np.arange(len(rows))
    ordered = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group, starts = np.cumsum(new) - 1, np.flatnonzero(new)
    first = np.minimum.reduceat(order, starts) if len(starts) else order
    rank = np.argsort(np.argsort(first)) if not n.int("sorted") else np.arange(len(first))
    shown = np.empty_like(first)
    shown[rank] = first
    inverse, counts = np.empty(len(rows), np.int64), np.empty(len(first), np.int64)
    inverse[order], counts[rank] = rank[group], np.diff(np.append(starts, len(rows)))
    made = (np.take(x.reshape(-1) if axis is None else x, shown, axis or 0), shown, inverse, counts)
    for index, array in enumerate(made[: n.output_count]):
        n.view(array if index == 0 else array.astype(np.int64), index)


register(
    Operator(
        "NonZero",
        ("X",),
        _non_zero,
        _places,
        None,
        outputs=("Y",),
        settings=(0,),
        portability=Portability(substitute=_of_truth),
    )
)
register(
    Operator(
        "Compress",
        ("input", "condition"),
        _compress_type,
        _compress,
        "lowering",
        {"axis": Attr(int)},
        lowering=_compress_lowering,
        settings=(1,),
        passes=(0,),
    )
)
register(
    Operator(
        "Unique",
        ("X",),
        _unique_type,
        _unique,
        None,
        {"axis": Attr(int), "sorted": Attr(int, 1)},
        outputs=("Y", "indices", "inverse_indices", "counts"),
        portability=Portability(aborts_on_empty=True),
        passes=(0,),
    )
)
