"""DFT and STFT: Fourier transforms of real numbers, or of complex ones, whose parts are the last axis.

onnxruntime 1.32 is off by up to 3e-4 of the largest number where the length is no power of 2, and computes inverses of
float64 in single precision: files have such transforms as products with cosines and sines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from portable_nn.core.dims import OPEN, difference, opened, product, rounded_quotient, total
from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    Dim,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    constant,
    count_up,
    emit,
    integers,
    register,
    size_of,
    sizes,
)

_COUNTS: Final = ("int32", "int64")

LARGEST: Final = 2**18
"""The most numbers of a table of cosines that is a constant; a larger one is computed."""


class Transform(NamedTuple):
    """A use of DFT.

    Attributes:
        axis: the axis along which it goes.
        length: the length of the signal.
        taken: the number of cells along the axis that are read, with zeros behind those of the input.
        made: the number of cells that come out.
        parts: 1 where the result is real, 2 where it is complex.
    """

    axis: int
    length: Dim
    taken: Dim
    made: Dim
    parts: int


def transform(use: OperatorContext) -> Transform:
    """The transform of a use. Raises ``InvalidNode``."""
    shape, axis, back = use.type().shape, _checked_axis(use), use.int("onesided") and use.int("inverse")
    whole = product([2, difference(shape[axis], 1)]) if back else shape[axis]
    [length] = use.constant(1, _COUNTS, single=True) if use.has(1) else (whole,)
    if isinstance(length, int) and length < 1:
        use.fail(f"the length of the signal must be 1 or more, not {length}")
    half = _half(length)
    if back:
        return Transform(axis, length, half, length, 1)
    return Transform(axis, length, length, half if use.int("onesided") else length, 2)


def _checked_axis(use: OperatorContext) -> int:
    shape, (inverse, onesided) = use.type().shape, (use.choice(name, (0, 1)) for name in ("inverse", "onesided"))
    [axis] = use.numbers(2, single=True) if use.has(2) else (-2,)
    axis = use.axis(axis, len(shape))
    if axis == len(shape) - 1 or shape[-1] not in (1, 2):
        use.fail(f"input must be (…, 1) of real or (…, 2) of complex numbers before axis {axis}, not {use.type()}")
    if onesided and shape[-1] != 1 + inverse:
        use.fail(f"half a spectrum {'becomes' if inverse else 'is that of'} real numbers, not of {use.type()}")
    return axis


def _half(length: Dim) -> Dim:
    """The frequencies that a real signal has: the others are their conjugates."""
    return total([rounded_quotient("floor", length, 2), 1])


def _type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    found, shape = transform(use), list(use.type().shape)
    shape[found.axis], shape[-1] = found.made, found.parts
    return use.like(shape)


def _unsized(use: OperatorContext) -> Type:
    places = [_checked_axis(use)] if _has_axis(use) else None
    made = use.opened(len(use.type().shape), places).shape[:-1]
    return use.like((*made, 1 if use.int("onesided") and use.int("inverse") else 2))


def _has_axis(use: OperatorContext) -> bool:
    """True if the axis is known before the data are."""
    return not use.has(2) or use.type(2).constant is not None


def _mixed(use: OperatorContext) -> Sequence[Dim]:
    shape = use.type().shape
    return [shape[_checked_axis(use)]] if _has_axis(use) else shape


def _complex(x: Array) -> Array:
    """Numbers whose parts are the last axis, in single precision at least."""
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    return wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0]


def _put(out: Array, found: Array) -> None:
    out[..., 0] = found.real
    if out.shape[-1] == 2:
        out[..., 1] = found.imag


def _kernel(n: KernelContext) -> list[Step]:
    x, out, found = n.x[0], n.out(), transform(n)
    function: Any = getattr(np.fft, f"{'i' * n.int('inverse')}{'r' * n.int('onesided')}fft")
    return [lambda: _put(out, function(_complex(x), found.length, found.axis))] if out.size else []


def _count(n: GradientContext, found: Transform) -> Symbol:
    """The length of the signal, which may be symbolic."""
    if isinstance(found.length, int):
        return constant(found.length, "int64")
    return size_of(n.y[0] if found.made == found.length else n.x[0], found.axis)


def _gradient(n: GradientContext) -> list[Symbol | None]:
    """The transform is linear: what flows back is transformed the other way."""
    found, x, (inverse, onesided) = transform(n), n.x[0], (n.int("inverse"), n.int("onesided"))
    length = _count(n, found)
    scale, rank = cast(length, x.dtype), len(x.shape)
    back = partial(emit, "DFT", n.dy, length, constant(found.axis, "int64"))
    dx = back(onesided=onesided) / scale if inverse else back(inverse=1) * scale
    if inverse and onesided:
        weight = _conjugates(count_up(length / 2 + 1), length, x.dtype)
        dx = dx * emit("Reshape", weight, integers([-1, *[1] * (rank - 1 - found.axis)]))
    if x.shape[-1] == 1:
        dx = emit("Slice", dx, integers([0]), integers([1]), integers([rank - 1]))
    return [_fitted(dx, found.axis, sizes(x, [found.axis])), None, None][: n.inputs]


def _fitted(value: Symbol, axis: int, size: Symbol) -> Symbol:
    """``value`` with zeros behind it along an axis, or without its last cells, so that it has ``size`` there."""
    rank, has = len(value.shape), sizes(value, [axis])
    known = [each for end in (has, size) for each in end.type.constant or () if isinstance(each, int)]
    if len(known) == 2 and known[1] <= known[0]:
        return emit("Slice", value, integers([0]), size, integers([axis])) if known[1] < known[0] else value
    before, after = integers([0] * (rank + axis)), integers([0] * (rank - 1 - axis))
    return emit("Pad", value, emit("Concat", before, size - has, after, axis=0))


def _lowering(
    x: Symbol, length: Symbol | None = None, axis: Symbol | None = None, *, inverse: int = 0, onesided: int = 0
) -> Symbol:
    """The product with cosines and sines: (…, n, …, 2) with n last and the parts first, and back."""
    types = [x.type, length.type if length else None, axis.type if axis else None]
    found = transform(OperatorContext(DFT, types, {"inverse": inverse, "onesided": onesided}))
    rank, along, back = len(x.shape), found.axis, inverse and onesided
    size = size_of(x, along)
    count = (size - 1) * 2 if back else size
    if length is not None:
        count = emit("Reshape", cast(length, "int64"), integers([]))
    taken = emit("Unsqueeze", count / 2 + 1 if back else count, integers([0]))
    order = [rank - 1, *(each for each in range(rank - 1) if each != along), along]
    both = emit("Transpose", _fitted(x, along, taken), perm=order)
    parts = [emit("Gather", both, constant(place, "int64"), axis=0) for place in range(int(x.shape[-1]))]
    waves = _table(found, inverse, onesided, x.dtype) or _computed(found, count, inverse, onesided, x.dtype)
    made = [emit("Unsqueeze", each, integers([0])) for each in _products(parts, *waves)[: found.parts]]
    return emit("Transpose", emit("Concat", *made, axis=0), perm=[order.index(each) for each in range(rank)])


def _products(parts: list[Symbol], cosine: Symbol, sine: Symbol) -> list[Symbol]:
    """The real and the imaginary part of a product of complex numbers, of which the first may be real."""
    if len(parts) == 1:
        return [parts[0] @ cosine, parts[0] @ sine]
    return [parts[0] @ cosine - parts[1] @ sine, parts[0] @ sine + parts[1] @ cosine]


def _table(found: Transform, inverse: int, onesided: int, dtype: str) -> list[Symbol] | None:
    """The cosines and sines that a signal is multiplied with, (cells that are taken, cells that are made), if few."""
    length, rows, columns = found.length, found.taken, found.made
    if isinstance(length, str) or isinstance(rows, str) or isinstance(columns, str) or rows * columns > LARGEST:
        return None
    turns = np.outer(np.arange(rows), np.arange(columns)) % length
    angles = turns * (2 * np.pi / length * (1 if inverse else -1))
    weights = np.full((rows, 1), (1 + onesided) / length if inverse else 1.0)
    if inverse and onesided:
        weights[[0, -1] if length % 2 == 0 else [0]] = 1 / length
    return [constant(part(angles) * weights, dtype) for part in (np.cos, np.sin)]


def _computed(found: Transform, count: Symbol, inverse: int, onesided: int, dtype: str) -> list[Symbol]:
    """As ``_table``, computed when the graph runs."""
    wide, half = "float32" if dtype == "float16" else dtype, count / 2 + 1
    row, column = (count_up(half if each != found.length else count) for each in (found.taken, found.made))
    row = emit("Unsqueeze", row, integers([1]))
    whole = cast(count, wide)
    angle = cast(emit("Mod", row * column, count), wide) * ((2 if inverse else -2) * np.pi) / whole
    parts = [emit("Cos", angle), emit("Sin", angle)]
    if inverse:
        parts = [part * ((_conjugates(row, count, wide) if onesided else 1.0) / whole) for part in parts]
    return [cast(part, dtype) for part in parts]


def _conjugates(place: Symbol, length: Symbol, dtype: str) -> Symbol:
    """The number of times that a frequency counts: twice, for its conjugate, but for the first and the middle."""
    ends = [cast(emit("Equal", each, end), dtype) for each, end in ((place, place * 0), (place * 2, length))]
    return 2.0 - ends[0] - ends[1]


def _is_exact(length: Dim) -> bool:
    """True for a power of 2, of which onnxruntime computes the transform in steps."""
    return isinstance(length, int) and length & (length - 1) == 0


def _portable(form: Callable[..., Any], use: OperatorContext) -> Callable[..., Any] | None:
    """``form``, but nothing where data decide how a use transforms."""
    known = (use.type(place).constant for place in use.operator.settings if use.has(place))
    return None if None in known else form


def _small(use: OperatorContext) -> Callable[..., Any] | None:
    """Products with larger tables take too long."""
    form = _portable(_lowering, use)
    volume = product([transform(use).taken, transform(use).made]) if form else 0
    return None if isinstance(volume, int) and volume > LARGEST else form


def _substitute(use: OperatorContext, opset: int) -> Callable[..., Any] | None:
    form = _portable(_lowering, use)
    is_plain = form and _is_exact(transform(use).length) and not use.int("inverse") and not use.has(1)
    return None if is_plain else form


# -- STFT


class Frames(NamedTuple):
    """The frames of a signal: the length of each, from one to the next, how many, and how many frequencies each has."""

    length: Dim
    step: int
    pieces: Dim
    made: Dim


def frames(use: OperatorContext) -> Frames:
    """The frames of a use of STFT. Raises ``InvalidNode``."""
    dtype, shape, _ = use.type()
    onesided = use.choice("onesided", (0, 1))
    if len(shape) != 3 or shape[2] not in (1, 2) or (onesided and shape[2] == 2):
        kinds = "(batch, length, 1)" if onesided else "(batch, length, 1 or 2)"
        use.fail(f"signal must be {kinds}{' for half a spectrum' * onesided}, not {use.type()}")
    [step] = use.numbers(1, _COUNTS, single=True)
    length = use.length_of(2) if use.has(2) else shape[1]
    [length] = use.constant(3, _COUNTS, single=True) if use.has(3) else (length,)
    if use.has(2):
        use.expect(2, Type(dtype, (length,)), ", as long as a frame")
    if step < 1 or (isinstance(length, int) and length < 1):
        use.fail(f"frames of {length} in steps of {step} are none")
    count = total([rounded_quotient("floor", difference(shape[1], length), step), 1])
    if isinstance(count, int) and count < 1:
        use.fail(f"a signal of {shape[1]} has no frame of {length}")
    return Frames(length, step, count, _half(length) if onesided else length)


def _frames_type(use: OperatorContext) -> Type:
    use.check_dtype(use.type().dtype, FLOATS)
    found = frames(use)
    return use.like((use.type().shape[0], found.pieces, found.made, 2))


def _frames_kernel(n: KernelContext) -> list[Step]:
    x, out, found = n.x[0], n.out(), frames(n)
    function = np.fft.rfft if n.int("onesided") else np.fft.fft

    def run() -> None:
        windows = sliding_window_view(_complex(x), int(found.length), axis=1)[:, :: found.step]
        _put(out, function(windows * n.x[2] if n.has(2) else windows))

    return [run] if out.size else []


def _frames_lowering(
    signal: Symbol, step: Symbol, window: Symbol | None = None, length: Symbol | None = None, *, onesided: int = 1
) -> Symbol:
    """Frames that are gathered and weighted, and a DFT of each."""
    count = (
        emit("Reshape", cast(length, "int64"), integers([]))
        if length
        else size_of(window or signal, 0 if window else 1)
    )
    hop = emit("Reshape", cast(step, "int64"), integers([]))
    starts = count_up((size_of(signal, 1) - count) / hop + 1) * hop
    parts = emit("Gather", signal, emit("Unsqueeze", starts, integers([1])) + count_up(count), axis=1)
    weighted = parts * emit("Unsqueeze", window, integers([1])) if window else parts
    return emit("DFT", weighted, onesided=onesided)


def _frames_substitute(use: OperatorContext, opset: int) -> Callable[..., Any] | None:
    """onnx 1.23 takes ``onesided`` for 0 where it is not written."""
    form = _portable(_frames_lowering, use)
    if form and not (_is_exact(frames(use).length) and (use.has(2) or use.has(3))):
        return form
    return None if "onesided" in use.attributes else partial(emit, "STFT", onesided=1)


DFT: Final = register(
    Operator(
        "DFT",
        ("input", "dft_length?", "axis?"),
        _type,
        _kernel,
        _gradient,
        {"inverse": Attr(int, 0), "onesided": Attr(int, 0)},
        lowering=_lowering,
        portability=Portability(_substitute, _small, coarse=True),
        family="linear",
        batch_inputs="first",
        mixes=_mixed,
        multiply_adds=lambda use, y: (*y, transform(use).taken, use.type().shape[-1]),
        settings=(1, 2),
        samples={1: Interval(1, 9), 2: Interval(-2, -2)},
        unsized=_unsized,
    )
)
register(
    Operator(
        "STFT",
        ("signal", "frame_step", "window?", "frame_length?"),
        _frames_type,
        _frames_kernel,
        "lowering",
        {"onesided": Attr(int, 1)},
        lowering=_frames_lowering,
        portability=Portability(_frames_substitute, partial(_portable, _frames_lowering), coarse=True),
        family="linear",
        batch_inputs="first",
        mixes=lambda use: [use.type().shape[1]],
        multiply_adds=lambda use, y: (*y, frames(use).length, use.type().shape[-1]),
        settings=(1, 3),
        samples={1: Interval(1, 3), 3: Interval(1, 9)},
        unsized=lambda use: use.like((use.type().shape[0], OPEN, opened(1), 2)),
    )
)
