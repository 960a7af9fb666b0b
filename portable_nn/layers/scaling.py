"""Layers that prepare inputs: arithmetic with numbers that no training changes.

As part of the network they are in its file, in ONNX and in every runtime: what goes in are the data as they are.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portable_nn.core.arrays import as_array
from portable_nn.core.errors import DataWarning, UsageError, warn
from portable_nn.core.graph import format_shape
from portable_nn.core.text import quantity
from portable_nn.data.statistics import moments
from portable_nn.data.stored import Stored, rows_of
from portable_nn.layers.layer import Layer
from portable_nn.operators import DTYPE_CODES, FLOATS, Symbol, emit

__all__ = ["Normalization", "Rescaling"]

Floats: TypeAlias = NDArray[np.float64]

SMALLEST: Final = 1e-30
"""A standard deviation below this is taken for 0: what is divided by it does not fit into a float32."""

LARGEST: Final = 1e30
"""The largest number that a layer multiplies by, adds, subtracts or divides by."""


class Frozen(Layer):
    """A layer with parameters that do not train."""

    def frozen(self, role: str, value: Floats, x: Symbol) -> Symbol:
        """A parameter that ``fit`` never changes."""
        return self.parameter(role, value.shape, x.dtype, value, trainable=False)


class Rescaling(Frozen):
    """x · scale + offset: ``Rescaling(1 / 255)`` makes 0..1 of pixels, 0..255, and ``Rescaling(1 / 127.5, -1)`` -1..1.

    Any shape, which is kept; whole numbers become float32 first. Frozen parameters, each (1,): ``scale`` and, unless it
    is 0, ``offset``. As in Keras.

    Args:
        scale: what the numbers are multiplied by; not 0.
        offset: what is added then.
        name: the name of the node.

    Raises ``UsageError`` for anything but numbers that a float32 can hold.

    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.Sequential(pnn.Input(1, 28, 28), pnn.Rescaling(1 / 255), pnn.Flatten(), pnn.Dense(10), seed=0)
    >>> net.predict(np.full((1, 1, 28, 28), 255)).shape
    (1, 10)
    """

    def __init__(self, scale: float, offset: float = 0.0, *, name: str | None = None) -> None:
        super().__init__(name)
        for option, value in (("scale", scale), ("offset", offset)):
            is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
            if not is_number or not abs(value) <= LARGEST:
                raise UsageError(f"Rescaling: {option} must be a number, at most {LARGEST:g} in size, not {value!r}")
        if abs(scale) < SMALLEST:
            raise UsageError("Rescaling: scale must not be 0, which makes all numbers the same")
        self.scale, self.offset = float(scale), float(offset)

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        x = as_float(x)
        scale = self.frozen("scale", np.array([self.scale]), x)
        if not self.offset:
            return self.emit("Mul", x, scale)
        return self.emit("Add", emit("Mul", x, scale), self.frozen("offset", np.array([self.offset]), x))


class Normalization(Frozen):
    """(x - mean) / std, with a mean and a standard deviation for each feature or channel: those of your data.

    ``adapt`` takes them from the training examples; or they are given, such as those of a pretrained network. Any
    shape, which is kept; whole numbers become float32 first. Frozen parameters, of the size of the ``axis`` and of 1
    for each axis after it: ``mean`` and ``std``. Other than in Keras, the axis is that of the channels of a picture
    (batch, channels, height, width), which is also that of the features of a table (batch, features).

    Args:
        axis: the axis with a mean for each of its entries, where 0 is the batch; negative numbers count from the last,
            -1. ``None`` has one mean and one standard deviation for all numbers.
        mean: the means (features,), or one number; by default ``adapt`` finds them.
        std: the standard deviations (features,), or one number, all above 0; with ``mean``, or neither.
        invert: x · std + mean instead: from a network's numbers back to those of the data, such as prices.
        name: the name of the node.

    Raises ``UsageError`` for an option that makes no sense. Calling the layer raises ``UsageError`` where it has not
    been adapted, and ``GraphError`` where the input has another number of features.

    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> x = np.array([[150.0, 40.0], [170.0, 60.0], [190.0, 80.0]])
    >>> net = pnn.Sequential(pnn.Input(2), pnn.Normalization().adapt(x), pnn.Dense(2), seed=0)
    >>> net.parameters["normalization_1.mean"].tolist()
    [170.0, 60.0]
    """

    def __init__(
        self,
        axis: int | None = 1,
        *,
        mean: ArrayLike | None = None,
        std: ArrayLike | None = None,
        invert: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if (axis is not None and type(axis) is not int) or axis == 0:
            raise UsageError(f"Normalization: axis must be a whole number but 0, the batch, or None, not {axis!r}")
        if (mean is None) != (std is None):
            raise UsageError("Normalization: mean and std go together: give both, or neither and call adapt(x)")
        self.axis, self.invert = axis, invert
        self._found: tuple[Floats, Floats] | None = None
        self._is_adapted = self._has_warned = False
        if mean is not None and std is not None:
            self._found = _given(mean, std)

    def adapt(self, x: Any) -> Normalization:
        """Take the mean and the standard deviation of ``x``, the training examples (n, …); returns the layer.

        They are computed in float64. Data that stay where they are stored, such as a memory map or a dataset of h5py,
        are read once, in pieces, and may be larger than memory. A feature that is the same in all examples gets the
        standard deviation 1: it becomes 0.

        Warns with ``DataWarning`` of features that vary by less than the steps of their numbers, such as 100,000,000 ±
        1 in float32, whose steps are 8 there: the step is then the standard deviation. What is given as float64 is
        looked at when the layer is called, for the type of its input.

        Raises ``UsageError`` where ``x`` holds no examples, no real numbers or some that no float32 can hold, where it
        has no such axis, or once the layer belongs to a network: its parameters are then in ``network.parameters``.
        """
        if self._parameters:
            raise UsageError("Normalization: adapt comes before the network is made; later, write into its parameters")
        rows = rows_of(x, "Normalization: x")
        array = rows if isinstance(rows, Stored) else as_array(rows, "Normalization: x")
        axis = None if self.axis is None else self.axis + array.ndim * (self.axis < 0)
        if not array.size or not array.ndim:
            found = f"{array.dtype} {format_shape(array.shape)}"
            raise UsageError(f"Normalization: adapt needs examples (n, …) of real numbers, not {found}")
        if axis is not None and not 0 < axis < array.ndim:
            raise UsageError(f"Normalization: axis is {self.axis}, but the examples are {format_shape(array.shape)}")
        self._found, self._is_adapted = _statistics(array, axis), True
        if array.dtype.kind == "f":
            self._divisor(array.dtype.name)
        return self

    def __call__(self, x: Symbol) -> Symbol:
        """The same shape."""
        if self._found is None:
            raise UsageError("Normalization: call adapt(x) with the training examples first, or give mean and std")
        after = 0
        if self.axis is not None:
            axis = self.axis + len(x.shape) * (self.axis < 0)
            size = x.shape[axis] if 0 < axis < len(x.shape) else None
            if not isinstance(size, int) or any(each.size not in (1, size) for each in self._found):
                counts = max(each.size for each in self._found)
                raise self.invalid(f"it needs {counts} features in axis {self.axis}, not {format_shape(x.shape)}")
            after = len(x.shape) - axis - 1
        x = as_float(x)
        found = {"mean": self._found[0], "std": self._divisor(x.dtype)}
        mean, std = (self.frozen(role, each.reshape(-1, *(1,) * after), x) for role, each in found.items())
        if self.invert:
            return self.emit("Add", emit("Mul", x, std), mean)
        return self.emit("Div", emit("Sub", x, mean), std)

    def _divisor(self, dtype: str) -> Floats:
        """The standard deviations for numbers of ``dtype``: those found no less than its steps. Warns once of such."""
        assert self._found is not None
        mean, std = self._found
        if not self._is_adapted:
            return std
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.spacing(np.abs(mean).astype(dtype)).astype(np.float64)
        lost = np.flatnonzero((std > 0) & (std < steps))
        if len(lost) and not self._has_warned:
            self._has_warned = True
            which = f"column {lost[0] + 1}" + (f" and {quantity(len(lost) - 1, 'other')}" if len(lost) > 1 else "")
            around = f"{mean[lost[0]]:.9g} ± {std[lost[0]]:.3g}"
            found = f"Normalization: {which} cannot be told apart in {dtype}, whose steps are {steps[lost[0]]:g}"
            instead = "subtract the mean in float64 first, or have an Input of dtype float64"
            warn(f"{found} at {around}: {instead}", DataWarning)
        return np.where(std > 0, np.fmax(std, steps), 1.0)


def as_float(x: Symbol) -> Symbol:
    """``x``, if need be as float32."""
    return x if x.dtype in FLOATS else emit("Cast", x, to=DTYPE_CODES["float32"])


def _given(mean: ArrayLike, std: ArrayLike) -> tuple[Floats, Floats]:
    arrays = []
    for option, value in (("mean", mean), ("std", std)):
        try:
            array = np.atleast_1d(as_array(value, option, np.float64))
        except UsageError:
            array = np.empty((0, 0))
        if array.ndim != 1 or not array.size or not np.isfinite(array).all():
            raise UsageError(f"Normalization: {option} must be finite numbers (features,), or one, not {value!r}")
        arrays.append(array)
    if arrays[1].min() < SMALLEST:
        raise UsageError(f"Normalization: std must be above 0, not {arrays[1].min():g}")
    if len({each.size for each in arrays} - {1}) > 1:
        raise UsageError(f"Normalization: {arrays[0].size} means and {arrays[1].size} standard deviations")
    return arrays[0], arrays[1]


def _statistics(x: NDArray[Any] | Stored, axis: int | None) -> tuple[Floats, Floats]:
    """The mean and the standard deviation of each entry of ``axis``, in float64; 0 for what does not vary."""
    found = moments(x, axis)
    if not (np.abs(found.mean) <= LARGEST).all() or not (found.std <= LARGEST).all():
        raise UsageError(
            "Normalization: adapt needs finite numbers, and the examples hold NaN, infinity or larger ones"
        )
    return found.mean, np.where((found.std < SMALLEST) | found.is_constant, 0.0, found.std)
