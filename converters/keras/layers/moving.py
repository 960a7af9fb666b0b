"""Operations of ``keras.ops`` that reshape, pick, repeat and move entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from portable_nn.converters.keras.spec import OPERATIONS, Held, Spec, back, by_channels, known
from portable_nn.core.errors import RefusalError
from portable_nn.operators import DTYPE_CODES, Symbol, cast, constant, emit, emit_all, integers, squeezed, unsqueezed


def places(spec: Spec, option: str, rank: int) -> list[int]:
    """Axes of ``rank``, counted from the first one. Raises ``RefusalError`` where they are none."""
    return spec.axes(option, spec[option], rank)


def all_places(spec: Spec, rank: int) -> list[int]:
    """Axes of ``rank``, by default all of them."""
    return list(range(rank)) if spec.get("axis") is None else places(spec, "axis", rank)


def one_axis(spec: Spec, rank: int) -> int:
    """One axis of ``rank``."""
    found = places(spec, "axis", rank)
    if len(found) != 1:
        spec.refuse(f"its option axis must be one axis, not {found!r:.60}")
    return found[0]


def _axis(spec: Spec, rank: int) -> int | None:
    return None if spec.get("axis") is None else places(spec, "axis", rank)[0]


@OPERATIONS.row("Reshape")
def reshape(spec: Spec, x: Held) -> Held:
    """The same entries in another shape, of which one size may be -1."""
    wanted = [-1 if each is None else each for each in spec.listed("newshape", spec["newshape"], may_be_open=True)]
    if len(wanted) > 1 and wanted[0] == -1 and wanted.count(-1) == 2:  # Keras's batch, beside a size that is open.
        wanted[0] = 0
    return Held(emit("Reshape", x.plain, integers(wanted), name=spec.next_name()))


@OPERATIONS.row("Take")
def take(spec: Spec, x: Held, indices: Any) -> Held:
    """Entries along an axis, by their places."""
    axis = _axis(spec, x.rank)
    if axis is None and x.rank > 1:
        spec.refuse("it takes entries of all axes together")
    return Held(emit("Gather", x.plain, _indices(indices), axis=axis or 0, name=spec.next_name()))


def _indices(given: Any) -> Symbol:
    if isinstance(given, Held):
        return given.plain if given.dtype in ("int32", "int64") else cast(given.plain, "int64")
    found = np.asarray(given)
    if found.dtype.kind not in "iu":
        raise RefusalError("its places are no whole numbers")
    return constant(found.astype(np.int64), "int64")


@OPERATIONS.row("TakeAlongAxis")
def take_along_axis(spec: Spec, x: Held, indices: Any) -> Held:
    """Entries along an axis, whose places differ in each row."""
    axis = _axis(spec, x.rank)
    if axis is None:
        spec.refuse("it takes entries of all axes together")
    return Held(emit("GatherElements", x.plain, _indices(indices), axis=axis, name=spec.next_name()))


@OPERATIONS.row("ScatterUpdate")
def scatter_update(spec: Spec, x: Held, indices: Any, updates: Any) -> Held:
    """Entries, or slices, put into the places that a list of coordinates gives."""
    spec.only("reduction", None)
    if not isinstance(updates, Held):
        spec.refuse("it puts numbers into places, and takes tensors")
    return Held(emit("ScatterND", x.plain, _indices(indices), updates.plain, name=spec.next_name()))


@OPERATIONS.row(Argmax="ArgMax", Argmin="ArgMin")
def place_of(operator: str, spec: Spec, x: Held) -> Held:
    """Argmax and Argmin."""
    axis, keep = _axis(spec, x.rank), int(spec.flag("keepdims"))
    if axis is None and (x.rank > 1 or keep):
        spec.refuse("it looks along all axes together")
    made = emit(operator, x.plain, axis=axis or 0, keepdims=keep)
    return Held(emit("Cast", made, to=DTYPE_CODES["int32"], name=spec.next_name()))


@OPERATIONS.row("Tile")
def tile(spec: Spec, x: Held) -> Held:
    """The whole several times along each axis."""
    times = spec.listed("repeats", spec["repeats"])
    if len(times) > x.rank or any(each < 1 for each in times):
        spec.refuse(f"its option repeats must be numbers from 1 for {x.rank} axes, not {times!r:.60}")
    spec.bounded(*times)
    return Held(emit("Tile", x.plain, integers([1] * (x.rank - len(times)) + times), name=spec.next_name()))


@OPERATIONS.row("BroadcastTo")
def broadcast(spec: Spec, x: Held) -> Held:
    """Repeated to a shape that is known."""
    shape = spec.bounded(*spec.listed("shape", spec["shape"]))
    return Held(emit("Expand", x.plain, integers(shape), name=spec.next_name()))


def _transposed(spec: Spec, rank: int) -> list[int]:
    """Axes in another order."""
    axes = places(spec, "axes", rank)
    if sorted(axes) != list(range(rank)):
        spec.refuse(f"its option axes must be {rank} axes, not {axes!r:.60}")
    return axes


def _swapped(spec: Spec, rank: int) -> list[int]:
    """Two axes in each other's place."""
    one, other = (places(spec, option, rank)[0] for option in ("axis1", "axis2"))
    return [{one: other, other: one}.get(axis, axis) for axis in range(rank)]


def _moved(spec: Spec, rank: int) -> list[int]:
    """Axes in other places."""
    source, target = places(spec, "source", rank), places(spec, "destination", rank)
    if len(source) != len(target):
        spec.refuse("it moves axes to another number of places")
    rest = iter([axis for axis in range(rank) if axis not in source])
    given = dict(zip(target, source, strict=True))
    return [given[axis] if axis in given else next(rest) for axis in range(rank)]


@OPERATIONS.row(Transpose=_transposed, Swapaxes=_swapped, Moveaxis=_moved)
def permuted(order: Callable[[Spec, int], list[int]], spec: Spec, x: Held) -> Held:
    """Transpose, Swapaxes and Moveaxis."""
    return Held(emit("Transpose", x.plain, perm=order(spec, x.rank), name=spec.next_name()))


@OPERATIONS.row("Roll")
def roll(spec: Spec, x: Held) -> Held:
    """Entries moved along axes, from the end to the beginning."""
    shifts, axes = spec.listed("shift", spec["shift"]), places(spec, "axis", x.rank)
    if len(shifts) != len(axes):
        spec.refuse("its shifts are not as many as its axes")
    made = x.plain
    for shift, axis in zip(shifts, axes, strict=True):
        cut = -shift % known(x.shape[axis], "the sizes")
        ends = [integers([each]) for each in (cut, 2**31, 0, axis)]
        parts = [emit("Slice", made, ends[0], ends[1], ends[3]), emit("Slice", made, ends[2], ends[0], ends[3])]
        made = emit("Concat", *parts, axis=axis)
    return Held(emit("Identity", made, name=spec.next_name()))


@OPERATIONS.row(Tril=0, Triu=1)
def triangle(upper: int, spec: Spec, x: Held) -> Held:
    """Tril and Triu."""
    k = constant(spec.listed("k", spec["k"])[0] if spec.get("k") is not None else 0, "int64")
    return Held(emit("Trilu", x.plain, k, upper=upper, name=spec.next_name()))


@OPERATIONS.row("OneHot")
def one_hot(spec: Spec, x: Held) -> Held:
    """Ones in the places of numbers, and zeros elsewhere, also for numbers that have no place."""
    depth, dtype = spec.whole("num_classes"), spec.get("dtype") or "float32"
    spec.only("sparse", None, False)
    if spec.get("axis", -1) not in (-1, x.rank):
        spec.refuse("its ones are not along the last axis")
    spec.bounded(depth)
    same = emit("Equal", unsqueezed(cast(x.plain, "int64"), -1), integers(range(depth)))
    if dtype not in DTYPE_CODES:
        spec.refuse(f"its type {dtype!r:.60} is none that is known here")
    return Held(emit("Cast", same, to=DTYPE_CODES[dtype], name=spec.next_name()))


@OPERATIONS.row("Unstack")
def unstack(spec: Spec, x: Held) -> list[Held]:
    """The parts along an axis, without it."""
    axis = places(spec, "axis", x.rank)[0]
    size = known(x.shape[axis], "the sizes")
    if spec.get("num") not in (None, size):
        spec.refuse(f"its number of parts is not {size}")
    spec.bounded(size)
    parts: Sequence[Symbol] = [x.plain]
    if size > 1:
        parts = emit_all("Split", x.plain, outputs=size, axis=axis, num_outputs=size)
    return [Held(squeezed(each, axis)) for each in parts]


@OPERATIONS.row("TopK")
def top_k(spec: Spec, x: Held) -> list[Held]:
    """The largest entries along the last axis, and their places."""
    values, at = emit_all(
        "TopK", x.plain, integers([spec.whole("k")]), outputs=2, axis=-1, sorted=int(spec.flag("sorted", True))
    )
    return [Held(values), Held(cast(at, "int32"))]


@OPERATIONS.row("DepthToSpace", "SpaceToDepth")
def blocks(spec: Spec, x: Held) -> Held:
    """DepthToSpace and SpaceToDepth, as TensorFlow has them."""
    symbol, first = by_channels(spec, x, 4)
    if first:
        spec.refuse("with the channels first, Keras's backends put them in another order each")
    return back(emit(spec.kind, symbol, blocksize=spec.whole("block_size"), name=spec.next_name()), False)
