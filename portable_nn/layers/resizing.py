"""Layers that make images larger or smaller, with PyTorch's results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.core.arguments import check_layer
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, format_shape
from portable_nn.core.numbers import Count
from portable_nn.layers.convolution import channels_of
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Array, Symbol, cast, constant, emit, integers, sizes
from portable_nn.operators.spatial.depth_space import pixel_unshuffle
from portable_nn.operators.spatial.resize_taps import nearest_cells

__all__ = ["PixelShuffle", "PixelUnshuffle", "Upsample"]

_MODES: Final[Mapping[str, tuple[int, Mapping[str, Any]]]] = {
    "nearest": (0, {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    "nearest-exact": (0, {"nearest_mode": "round_prefer_ceil"}),
    "linear": (1, {"mode": "linear"}),
    "bilinear": (2, {"mode": "linear"}),
    "trilinear": (3, {"mode": "linear"}),
    "bicubic": (2, {"mode": "cubic"}),
}
"""The number of axes that PyTorch has each mode for (0: any number), and the attributes of Resize that say the same."""


class Upsample(Layer):
    """Resize the axes after the channels of (batch, channels, …) to ``size`` cells, or by ``scale_factor``.

    The numbers are those of PyTorch's ``Upsample`` and ``interpolate``.

    Args:
        size: the new size: one number for every axis, or one for each.
        scale_factor: the new size divided by the old one: one number for every axis, or one for each; new sizes are
            rounded down. Give either ``size`` or ``scale_factor``.
        mode: ``nearest``, which rounds down to the cell to copy, ``nearest-exact``, which rounds to the nearest, or an
            interpolation: ``linear`` (one axis), ``bilinear`` or ``bicubic`` (two), ``trilinear`` (three).
        align_corners: keep the values of the corner cells; only for interpolation.
        name: the name of the node.

    Raises ``UsageError`` for options that do not go together, and ``GraphError`` where the input has another number of
    axes than the mode or the options.

    >>> import portable_nn as pnn
    >>> pnn.Upsample(scale_factor=2, mode="bilinear")(pnn.Input(3, 14, 14)).shape
    ('batch', 3, 28, 28)
    """

    def __init__(
        self,
        *,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if (size is None) == (scale_factor is None):
            raise UsageError("Upsample: it needs either size or scale_factor, and only one of them")
        if mode not in _MODES:
            raise UsageError(f"Upsample: mode must be one of {', '.join(_MODES)}, not {mode!r}")
        if align_corners and mode.startswith("nearest"):
            raise UsageError(f"Upsample: align_corners goes with the modes that interpolate, not with {mode}")
        self.size = _each("size", size, "positive whole numbers", lambda n: type(n) is int and n > 0)
        self.scale_factor = _each(
            "scale_factor", scale_factor, "positive numbers", lambda s: type(s) in (int, float) and 0 < s < math.inf
        )
        self.mode, self.align_corners = mode, align_corners

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, …) → (batch, channels, …)."""
        (axes, attributes), spatial = _MODES[self.mode], len(x.shape) - 2
        if spatial < 1 or axes not in (0, spatial):
            wanted = ", ".join(["batch", "channels", *(["a size"] * axes or ["…"])])
            raise self.invalid(f"mode {self.mode} needs ({wanted}), not {format_shape(x.shape)}")
        if self.align_corners:
            attributes = {**attributes, "coordinate_transformation_mode": "align_corners"}
        given = self.size or self.scale_factor
        if len(given) not in (1, spatial):
            raise self.invalid(f"{len(given)} numbers do not go with the {spatial} axes behind channels")
        each = given if len(given) == spatial else given * spatial
        if self.mode.startswith("nearest") and (sources := self._sources(x, each, attributes)):
            return self._copies(x, sources)
        scales = None if self.size else constant([1, 1, *map(self._scale, x.shape[2:], each)], "float32")
        new_sizes = _sizes(x, each) if self.size else None
        return self.emit("Resize", x, None, scales, new_sizes, **attributes)

    def _sources(self, x: Symbol, each: Sequence[float], attributes: Mapping[str, Any]) -> list[Symbol]:
        """The cells that PyTorch copies along each axis; none where Resize copies the same.

        PyTorch multiplies by the rounded inverse of the scale, where Resize divides by the rounded scale.
        """
        found: list[Symbol] = []
        same = True
        for axis, (size, wanted) in enumerate(zip(x.shape[2:], each, strict=True), start=2):
            if isinstance(size, int):
                result = int(wanted) if self.size else int(size * wanted)
                scale = result / size if self.size else self._scale(size, wanted)
                index = copied_cells(size, result, None if self.size else wanted, self.mode, len(each))
                same &= np.array_equal(index, nearest_cells(size, result, scale, attributes))
                found.append(integers(index))
            elif self.size:
                same = False
                found.append(_nearest_of_any(x, axis, int(wanted), exact=self.mode != "nearest"))
            else:  # The rounding of an unknown number of cells is left to Resize.
                return []
        return [] if same else found

    def _scale(self, size: Dim, factor: float) -> float:
        """``factor`` in single precision, as PyTorch has it.

        Where the new size, rounded down in double precision, would be another, it is the next such number. Where the
        size stays as it is, the linear modes and ``nearest`` with two axes leave the cells as they are.
        """
        scale = np.float32(factor)
        if isinstance(size, int):
            result, rounded = int(size * factor), int(np.float32(size) * scale)
            if rounded != result:
                scale = np.nextafter(scale, np.float32(0 if rounded > result else np.inf))
            elif result == size and (self.mode.endswith("linear") or self.mode == "nearest"):
                return 1.0
        return float(scale)

    def _copies(self, x: Symbol, sources: Sequence[Symbol]) -> Symbol:
        """The cells ``sources`` of each axis behind the channels."""
        for axis, index in enumerate(sources[:-1], start=2):
            x = emit("Gather", x, index, axis=axis)
        return self.emit("Gather", x, sources[-1], axis=len(x.shape) - 1)


def copied_cells(size: int, result: int, factor: float | None, mode: str, axes: int) -> Array:
    """The cell that PyTorch copies to each of ``result`` cells along one of ``axes`` axes; no factor: by the sizes."""
    if mode == "nearest" and axes == 2 and result in (size, 2 * size):
        return np.arange(result) // (result // size)  # So it is with two axes alone.
    return _nearest(size, result, factor, exact=mode != "nearest")


def _nearest(size: int, result: int, factor: float | None, *, exact: bool) -> Array:
    """The cell that PyTorch copies to each of ``result`` cells; in single precision, which decides."""
    places = np.arange(result)
    scale = np.float32(size) / np.float32(result) if factor is None else np.float32(1 / factor)
    found = ((places + 0.5) * np.float64(scale)).astype(np.float32) if exact else places.astype(np.float32) * scale
    return np.minimum(np.floor(found), size - 1).astype(np.int64)


def _nearest_of_any(x: Symbol, axis: int, result: int, *, exact: bool) -> Symbol:
    """``_nearest`` in symbols, of an axis of unknown size."""
    size = cast(sizes(x, [axis]), "float32")
    scale = size / result
    if exact:
        places = constant(np.arange(result) + 0.5, "float64")
        found = cast(places * cast(scale, "float64"), "float32")
    else:
        found = constant(np.arange(result), "float32") * scale
    return cast(emit("Min", emit("Floor", found), size - 1), "int64")


def _each(option: str, value: Any, wanted: str, right: Callable[[Any], bool]) -> tuple[Any, ...]:
    """The numbers of an option that is one number or several; none where it is not given."""
    numbers = () if value is None else tuple(value) if isinstance(value, Sequence) else (value,)
    if (value is not None and not numbers) or not all(right(number) for number in numbers):
        raise UsageError(f"Upsample: {option} must be {wanted}, not {value!r}")
    return numbers


def _sizes(x: Symbol, new: Sequence[int]) -> Symbol:
    """Batch and channels as they are, and the sizes ``new`` behind them."""
    kept = [dim for dim in x.shape[:2] if isinstance(dim, int)]
    if len(kept) == 2:
        return integers([*kept, *new])
    return emit("Concat", emit("Shape", x, start=0, end=2), integers(new), axis=0)


@check_layer
def PixelShuffle(factor: Count, *, name: str | None = None) -> Layer:
    """Channels into cells: (batch, channels·factor², height, width) → (batch, channels, height·factor, width·factor).

    The channels are in PyTorch's order. Source: Shi et al., "Real-time single image and video super-resolution using an
    efficient sub-pixel convolutional neural network" (2016), arXiv:1609.05158.

    Args:
        factor: how many times as high and wide the image becomes, PyTorch's ``upscale_factor``.
        name: the name of the node.

    Raises ``UsageError`` where ``factor`` is not a positive whole number.
    """
    return OperatorLayer("DepthToSpace", "pixel_shuffle", name, blocksize=int(factor), mode="CRD")


class PixelUnshuffle(Layer):
    """Cells into channels: (batch, channels, height, width) → (batch, channels·factor², height/factor, width/factor).

    The inverse of ``PixelShuffle``: the order of channels is PyTorch's, not that of ONNX's SpaceToDepth.

    Args:
        factor: what height and width are divided by, PyTorch's ``downscale_factor``.
        name: the name of the node.

    Raises ``UsageError`` where ``factor`` is not a positive whole number, and ``GraphError`` where the input is no
    image, its channels are symbolic or ``factor`` does not divide its sizes.
    """

    def __init__(self, factor: Count, *, name: str | None = None) -> None:
        super().__init__(name, "pixel_unshuffle")
        self.factor = int(factor)

    def __call__(self, x: Symbol) -> Symbol:
        """(batch, channels, height, width) → (batch, channels·factor², height/factor, width/factor)."""
        depth = channels_of(self, x, 2) * self.factor**2
        return pixel_unshuffle(x, depth, self.factor, self.emit)
