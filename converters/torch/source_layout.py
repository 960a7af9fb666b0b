"""Operators that move, make or select elements, where PyTorch has other functions than array code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from portable_nn.converters.array.use import tuple_of
from portable_nn.converters.torch.source_use import Use, literal, torch_dtype
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Tensor
from portable_nn.operators.layout.padding import pads_of


def reshape(use: Use) -> str | None:
    """The sizes are written where they are known; one that is computed is left to PyTorch if it is the only one."""
    shape = use.results[0].shape
    opens = [dim for dim in shape if isinstance(dim, str)]
    if len(opens) == 1 and not opens[0].isidentifier() and 0 not in shape:
        return f"{use.x()}.reshape{tuple_of([-1 if isinstance(dim, str) else dim for dim in shape])}"
    try:
        return f"{use.x()}.reshape{_shape(use, shape)}"
    except RefusalError:
        is_exact = use.has(1) and use.int("allowzero")
        return use.text("{0}.reshape({1}.tolist())") if is_exact else None


def _shape(use: Use, shape: Sequence[Dim]) -> str:
    return use.dims(shape) if shape else "(())"


def flatten(use: Use) -> str | None:
    """A matrix: PyTorch has a method for the usual one."""
    return f"{use.x()}.flatten(1)" if use.int("axis") == 1 and use.rank > 1 else reshape(use)


def transpose(use: Use) -> str:
    """Two axes are exchanged by one word."""
    order = use.ints("perm") or tuple(range(use.rank))[::-1]
    moved = [axis for axis, source in enumerate(order) if axis != source]
    if len(moved) == 2:
        return f"{use.x()}.transpose({moved[0]}, {moved[1]})"
    return f"{use.x()}.permute{order}" if order else use.x()


def unsqueeze(use: Use) -> str:
    """One axis after another."""
    axes = use.axes_of(1, len(use.results[0].shape)) or ()
    return use.x() + "".join(f".unsqueeze({axis})" for axis in sorted(axes))


def expand(use: Use) -> str | None:
    """To a shape that is known."""
    try:
        return f"{use.x()}.expand{_shape(use, use.results[0].shape)}"
    except RefusalError:
        return None


def split(use: Use) -> str:
    """The sizes of all parts."""
    if not all(map(use.is_read, range(use.output_count))):
        use.refuse("an output that is left out")
    axis = use.attribute_axis()
    sizes = ", ".join(use.size(each.shape[axis]) for each in use.results)
    return f"torch.split({use.x()}, [{sizes}], dim={axis})" if use.output_count > 1 else use.x()


def compress(use: Use) -> str:
    """Along an axis, or of all elements."""
    axis = None if use.attributes.get("axis") is None else use.attribute_axis()
    return use.text(f"compressed({{0}}, {{1}}, {axis})")


def tile(use: Use) -> str | None:
    """By numbers that are computed."""
    return None if use.knows(1) else use.text("{0}.tile({1}.tolist())")


_MODES: Final = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _around(x: str, flat: Sequence[str], more: str = "") -> str:
    """Cells around those of ``x``, and then fewer: where both are there, PyTorch would first take away."""
    less = [each if each.startswith("-") else "0" for each in flat]
    if set(less) == {"0"} or less == flat:
        return f"F.pad({x}, {tuple_of(flat)}{more})"
    added = ["0" if each.startswith("-") else each for each in flat]
    return f"F.pad(F.pad({x}, {tuple_of(added)}{more}), {tuple_of(less)})"


def pad(use: Use) -> str:
    """The pads of the last axis first, without axes that have none."""
    if use.type(1).constant is None:
        use.refuse("pads that are computed from data")
    flat = [use.size(side) for pair in pads_of(use)[::-1] for side in pair]
    while flat[-2:] == ["0", "0"]:
        flat = flat[:-2]
    x = use.x()
    mode = _MODES.get(use.string("mode"))
    if not flat:
        return x
    if mode is None:
        return _with_constant(use, flat)
    is_usual = len(flat) == 2 * (use.rank - 2) and use.type().dtype in ("float32", "float64")
    if is_usual and not any("-" in each for each in flat):
        return f'F.pad({x}, {tuple_of(flat)}, mode="{mode}")'
    return f'padded({x}, {tuple_of(flat)}, "{mode}")'


def _with_constant(use: Use, flat: Sequence[str]) -> str:
    """``F.pad`` takes a number alone, which learns nothing."""
    known = use.known(2) if use.has(2) else (0,)
    value = literal(known[0], use.type().dtype) if known else "0"
    made = _around(use.x(), flat, "" if value in ("0", "0.0") else f", value={value}")
    inside = _around(f"torch.ones_like({use.x()}, dtype=torch.bool)", flat)
    return made if known else f"torch.where({inside}, {made}, {use.x(2)})"


def gather(use: Use) -> str | None:
    """An entry whose number is known."""
    known = use.known(1)
    if known is None or use.type(1).shape != ():
        return None
    return f"{use.x()}[{', '.join([':'] * use.attribute_axis() + [str(int(known[0]))])}]"


# -- what makes tensors


def constant(use: Use) -> str:
    """A buffer."""
    value = use.attributes.get("value")
    if not isinstance(value, Tensor):
        return use.writer.tensor(use.node.outputs[0])
    return use.writer.constant(np.array(value.data, value.dtype).reshape(value.shape))


def shape(use: Use) -> str:
    """The sizes of some axes."""
    start = use.int("start")
    end = use.attributes.get("end")
    part = "" if start == 0 and end is None else f"[{start}:{'' if end is None else end}]"
    return f"torch.tensor({use.x()}.shape{part}, {use.device})"


def counting(use: Use) -> str:
    """From a number to another one in steps."""
    is_whole = use.type().dtype in ("int32", "int64")
    bounds = list[str]()
    for place in range(3):
        known = use.known(place)
        number = use.whole(place)[0] if is_whole and use.knows(place) else known and literal(known[0], use.type().dtype)
        bounds.append(number or f"{use.x(place)}.item()")
    return f"torch.arange({', '.join(bounds)}, dtype={torch_dtype(use.type().dtype)}, {use.device})"


def filled(use: Use) -> str:
    """One number everywhere."""
    value = use.attributes.get("value")
    number, dtype = (value.data[0], value.dtype) if isinstance(value, Tensor) else (0.0, "float32")
    try:
        target = use.dims(use.results[0].shape)
    except RefusalError:
        target = f"{use.x()}.tolist()"
    return f"torch.full({target}, {literal(number, dtype)}, dtype={torch_dtype(dtype)}, {use.device})"
