"""TensorScatter: keys and values of further positions are put into a cache of fixed size, which Attention reads."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    Attr,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    constant,
    count_up,
    emit,
    format_shape,
    integers,
    register,
    size_of,
    sizes,
)


def _type(use: OperatorContext) -> Type:
    cache, update, axis = use.type().shape, use.type(1).shape, use.attribute_axis()
    use.choice("mode", ("linear", "circular"))
    if axis == 0:
        use.fail("axis must not be 0, which is the batch")
    length = update[axis] if axis < len(update) else cache[axis]
    use.expect(1, use.like((*cache[:axis], length, *cache[axis + 1 :])), ", as past_cache is")
    if isinstance(length, int) and isinstance(cache[axis], int) and length > cache[axis]:  # type: ignore[operator]
        use.fail(f"update {format_shape(update)} has more positions than past_cache {format_shape(cache)}")
    if use.has(2):
        use.expect(2, Type("int64", cache[:1]), ", one for each example")
    return use.like(cache)


def _room(use: OperatorContext) -> Interval | None:
    """The places from which on the update fits."""
    size, length = (use.type(place).shape[use.attribute_axis()] for place in (0, 1))
    return Interval(0, size - length) if isinstance(size, int) and isinstance(length, int) else None


def _put(n: KernelContext) -> list[Step]:
    out, axis = n.out(over=0), n.attribute_axis()
    (batch, size), length = (out.shape[0], out.shape[axis]), n.x[1].shape[axis]
    cells, update = np.moveaxis(out, axis, 1), np.moveaxis(n.x[1], axis, 1)
    steps: list[Step] = [] if np.may_share_memory(out, n.x[0]) else [partial(np.copyto, out, n.x[0])]
    if not n.has(2) or not update.size:
        return [*steps, partial(np.copyto, cells[:, :length], update)]
    starts, places = n.x[2], n.scratch((batch, length), np.int64)

    def check() -> None:
        for start in (int(starts.min()), int(starts.max())):
            if not 0 <= start <= size - length:
                n.fail(f"write_indices must be from 0 to {size - length}, not {start}")

    if n.string("mode") == "linear":
        steps.insert(0, check)
    return [
        *steps,
        partial(np.add, starts[:, np.newaxis], np.arange(length), out=places),
        partial(np.remainder, places, size, out=places),
        partial(cells.__setitem__, (np.arange(batch)[:, np.newaxis], places), update),
    ]


def _lowering(
    cache: Symbol, update: Symbol, starts: Symbol | None = None, *, mode: str = "linear", axis: int = -2
) -> Symbol:
    rank = len(cache.shape)
    axis %= rank
    places, size = count_up(size_of(update, axis)), size_of(cache, axis)
    if behind := range(1, rank - axis):
        places = emit("Unsqueeze", places, integers(behind))
    if starts is not None:
        places = places + emit("Unsqueeze", starts, integers(range(1, rank)))
        if mode == "circular":
            places = emit("Mod", places, size)
        else:  # ScatterElements would count a negative place from the end.
            places = emit("Where", emit("Less", places, constant(0, "int64")), size, places)
    return emit("ScatterElements", cache, emit("Expand", places, sizes(update)), update, axis=axis)


register(
    Operator(
        "TensorScatter",
        ("past_cache", "update", "write_indices?"),
        _type,
        _put,
        "lowering",
        {"axis": Attr(int, -2), "mode": Attr(str, "linear")},
        outputs=("present_cache",),
        lowering=_lowering,
        batch_inputs="all",
        passes=(0, 1),
        samples={2: _room},
    )
)
