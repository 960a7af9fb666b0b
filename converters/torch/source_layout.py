"""Operators that move, make or select elements, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from portable_nn.converters.torch.source_use import Unpacked, Use, listing, literal, row, torch_dtype
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Tensor

LARGEST = 2**31 - 1
"""An end of a slice from here on is the end of the axis."""


@row("Reshape")
def _reshape(use: Use) -> str:
    try:
        return f"{use.x()}.reshape{_target(use, use.output().shape)}"
    except RefusalError:
        return use.call("reshaped", use.x(), use.x(1), bool(use.int("allowzero")))


def _target(use: Use, shape: tuple[Dim, ...]) -> str:
    """The sizes to reshape to: one that is computed is left to PyTorch where it is the only open one."""
    open_ones = [dim for dim in shape if isinstance(dim, str)]
    if len(open_ones) == 1 and not open_ones[0].isidentifier() and 0 not in shape:
        return listing([str(dim) if isinstance(dim, int) else "-1" for dim in shape])
    return use.dims(shape) if shape else "(())"


@row("Flatten")
def _flatten(use: Use) -> str:
    axis = use.int("axis")
    if axis == 1 and use.rank() > 1:
        return f"{use.x()}.flatten(1)"
    return use.call("flattened", use.x(), axis)


@row("Transpose")
def _transpose(use: Use) -> str:
    order = use.ints("perm") or tuple(range(use.rank()))[::-1]
    moved = [axis for axis, source in enumerate(order) if axis != source]
    if len(moved) == 2:
        return f"{use.x()}.transpose({moved[0]}, {moved[1]})"
    return f"{use.x()}.permute{order}" if order else use.x()


@row("Squeeze")
def _squeeze(use: Use) -> str:
    ones = tuple(axis for axis, size in enumerate(use.type().shape) if size == 1)
    axes = use.numbers(1) if use.has(1) else ones
    return f"{use.x()}.squeeze({tuple(axes) if len(axes) != 1 else axes[0]})" if axes else use.x()


@row("Unsqueeze")
def _unsqueeze(use: Use) -> str:
    rank = use.rank() + len(use.numbers(1))
    return use.x() + "".join(f".unsqueeze({axis})" for axis in sorted(axis % rank for axis in use.numbers(1)))


@row("Expand")
def _expand(use: Use) -> str:
    try:
        return f"{use.x()}.expand{use.dims(use.output().shape) if use.output().shape else '(())'}"
    except RefusalError:
        return use.call("expanded", use.x(), use.x(1))


@row("Concat")
def _concat(use: Use) -> str:
    return f"torch.cat({listing(use.xs())}, dim={use.int('axis')})"


@row("Split")
def _split(use: Use) -> Unpacked:
    axis, made = use.attribute_axis(), [each for each in use.made if each is not None]
    if len(made) < len(use.made):
        use.refuse("an output that is left out")
    return Unpacked(
        f"torch.split({use.x()}, [{', '.join(use.writer.dim(each.shape[axis]) for each in made)}], dim={axis})"
    )


@row("Slice")
def _slice(use: Use) -> str:
    try:
        return _slice_of_numbers(use)
    except RefusalError:
        given = [use.x(index) if use.has(index) else "None" for index in range(1, 5)]
        return use.call("sliced_by_tensors", use.x(), *given)


def _slice_of_numbers(use: Use) -> str:
    bounds = [use.type(index).constant for index in (1, 2)]
    if any(each is None for each in bounds):
        raise RefusalError
    count = len(bounds[0] or ())
    dtypes = ("int32", "int64")
    axes = use.numbers(3, dtypes) if use.has(3) else tuple(range(count))
    steps = use.numbers(4, dtypes) if use.has(4) else (1,) * count
    made = use.x()
    parts = ["" for _ in range(use.rank())]
    for place, axis in enumerate(axes):
        axis %= use.rank()
        start, end = ((each or ())[place] for each in bounds)
        texts = [_bound(use, bound) for bound in (start, end)]
        if steps[place] < 0 or parts[axis]:
            made = use.call("sliced", made, axis, *texts, steps[place])
            continue
        low = "" if start == 0 else texts[0]
        high = "" if isinstance(end, int) and end >= LARGEST else texts[1]
        parts[axis] = f"{low}:{high}" + ("" if steps[place] == 1 else f":{steps[place]}")
    while parts and parts[-1] in ("", ":"):
        parts.pop()
    return f"{made}[{', '.join(part or ':' for part in parts)}]" if parts else made


def _bound(use: Use, bound: Dim | float) -> str:
    return use.writer.dim(bound if isinstance(bound, str) else int(bound))


@row("Gather")
def _gather(use: Use) -> str:
    axis, known = use.attribute_axis(), use.known(1)
    if known is not None and use.type(1).shape == ():
        return f"{use.x()}[{', '.join([':'] * axis + [str(int(known[0]))])}]"
    return use.call("gathered", use.x(), use.x(1), axis)


@row("GatherElements")
def _gather_elements(use: Use) -> str:
    axis = use.attribute_axis()
    return f"torch.gather({use.x()}, {axis}, {use.call('from_front', use.x(1), f'{use.x()}.shape[{axis}]')})"


@row("GatherND")
def _gather_nd(use: Use) -> str:
    return use.call("gathered_nd", use.x(), use.x(1), use.int("batch_dims"))


@row("ScatterElements")
def _scatter_elements(use: Use) -> str:
    axis = use.attribute_axis()
    index = use.call("from_front", use.x(1), f"{use.x()}.shape[{axis}]")
    return use.call("scattered", use.x(), index, use.x(2), axis, repr(use.string("reduction")))


@row("ScatterND")
def _scatter_nd(use: Use) -> str:
    return use.call("scattered_nd", *use.xs(), repr(use.string("reduction")))


@row("Compress")
def _compress(use: Use) -> str:
    axis = None if use._attribute("axis") is None else use.attribute_axis()
    return use.call("compressed", *use.xs(), axis)


@row("NonZero")
def _nonzero(use: Use) -> str:
    return f"{use.x()}.nonzero().T"


@row("Tile")
def _tile(use: Use) -> str:
    found = use.type(1).constant
    if found is None:
        return f"{use.x()}.tile({use.x(1)}.tolist())"
    return f"{use.x()}.tile({listing([_bound(use, each) for each in found])})"


@row("Trilu")
def _trilu(use: Use) -> str:
    known = use.known(1) if use.has(1) else (0,)
    k = str(int(known[0])) if known else f"int({use.x(1)})"
    return f"{use.x()}.{'triu' if use.int('upper') else 'tril'}({k})"


@row("ReverseSequence")
def _reverse(use: Use) -> str:
    return use.call("reversed_sequences", *use.xs(), use.int("batch_axis"), use.int("time_axis"))


@row("DepthToSpace")
def _depth_to_space(use: Use) -> str:
    block = use.int("blocksize")
    if use.string("mode") == "CRD":
        return f"F.pixel_shuffle({use.x()}, {block})"
    return use.call("depth_to_space", use.x(), block)


@row("SpaceToDepth")
def _space_to_depth(use: Use) -> str:
    return use.call("space_to_depth", use.x(), use.int("blocksize"))


_MODES = (("constant", "constant"), ("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular"))


def _around(x: str, flat: Sequence[str], more: str = "") -> str:
    """Cells around those of ``x``, and then fewer: where both are there, PyTorch would first take away."""
    less = [each if each.startswith("-") else "0" for each in flat]
    if set(less) == {"0"} or less == flat:
        return f"F.pad({x}, {listing(flat)}{more})"
    added = ["0" if each.startswith("-") else each for each in flat]
    return f"F.pad(F.pad({x}, {listing(added)}{more}), {listing(less)})"


@row("Pad")
def _pad(use: Use) -> str:
    mode, rank = dict(_MODES)[use.string("mode")], use.rank()
    axes = use.numbers(3, ("int32", "int64")) if use.has(3) else tuple(range(rank))
    found = use.type(1).constant
    if found is None:
        use.refuse("pads that are computed from data")
    ends = {axis % rank: (found[place], found[place + len(axes)]) for place, axis in enumerate(axes)}
    flat = [_bound(use, bound) for axis in range(rank)[::-1] for bound in ends.get(axis, (0, 0))]
    while flat[-2:] == ["0", "0"]:
        flat = flat[:-2]
    if not flat:
        return use.x()
    if mode == "constant":
        known = use.known(2) if use.has(2) else (0,)
        value = literal(known[0], use.type().dtype) if known else "0"
        made = _around(use.x(), flat, "" if value in ("0", "0.0") else f", value={value}")
        if known:
            return made
        inside = _around(f"torch.ones_like({use.x()}, dtype=torch.bool)", flat)
        return f"torch.where({inside}, {made}, {use.x(2)})"  # ``F.pad`` takes a number alone, which learns nothing.
    if (
        len(flat) == 2 * (rank - 2)
        and use.type().dtype in ("float32", "float64")
        and not any("-" in each for each in flat)
    ):
        return f'F.pad({use.x()}, {listing(flat)}, mode="{mode}")'
    return use.call("padded", use.x(), listing(flat), repr(mode))


# -- what makes tensors


@row("Constant")
def _constant(use: Use) -> str:
    value = use._attribute("value")
    if not isinstance(value, Tensor):
        return use.writer.tensor(use.node.outputs[0])
    return use.writer.constant(np.array(value.data, value.dtype).reshape(value.shape))


@row("Shape")
def _shape(use: Use) -> str:
    start, end = use.int("start"), use._attribute("end")
    part = "" if start == 0 and end is None else f"[{start}:{'' if end is None else end}]"
    return f"torch.tensor({use.x()}.shape{part}, {use.device})"


@row("Size")
def _size(use: Use) -> str:
    return f"torch.tensor({use.x()}.numel(), {use.device})"


@row("Range")
def _range(use: Use) -> str:
    bounds = []
    for index in range(3):
        found = use.type(index).constant
        whole = found is not None and use.type().dtype in ("int32", "int64")
        bounds.append(
            _bound(use, found[0]) if whole and found else use.a(index) if use.known(index) else f"{use.x(index)}.item()"
        )
    return f"torch.arange({', '.join(bounds)}, dtype={torch_dtype(use.type().dtype)}, {use.device})"


@row("ConstantOfShape")
def _filled(use: Use) -> str:
    value = use._attribute("value")
    number, dtype = (value.data[0], value.dtype) if isinstance(value, Tensor) else (0.0, "float32")
    try:
        target = use.dims(use.output().shape)
    except RefusalError:
        target = f"{use.x()}.tolist()"
    return f"torch.full({target}, {literal(number, dtype)}, dtype={torch_dtype(dtype)}, {use.device})"


@row("EyeLike")
def _eye(use: Use) -> str:
    return use.call("eye_like", use.x(), use.int("k"), torch_dtype(use.output().dtype))


@row("OneHot")
def _one_hot(use: Use) -> str:
    known = use.known(1)
    depth = str(int(known[0])) if known else f"int({use.x(1)})"
    return use.call("one_hot", use.x(), depth, use.x(2), use.int("axis"))
