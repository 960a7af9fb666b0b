"""Networks of dense layers from the arrays that somebody trained by hand: ``[W1, b1, W2, b2]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn import layers
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.core.graph import format_shape
from portable_nn.core.kinds import check_kinds
from portable_nn.core.text import quantity, some
from portable_nn.network import Network, Sequential
from portable_nn.onnx.verify import BATCHES, Tolerance, difference
from portable_nn.operators import Array

__all__ = ["from_arrays"]

Rows: TypeAlias = Literal["inputs", "outputs"]
"""What a row of a weight belongs to: an input, as in ``x @ W``, or an output, as in ``W @ x``."""


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))))


def _softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


class _Activation(NamedTuple):
    """The layer that computes an activation, or ``None``, and its formula on rows of numbers."""

    layer: str | None
    formula: Callable[[Array], Array]


FUNCTIONS: Final[Mapping[str, _Activation]] = {
    "sigmoid": _Activation("Sigmoid", _sigmoid),
    "tanh": _Activation("Tanh", np.tanh),
    "relu": _Activation("ReLU", lambda x: np.maximum(x, 0)),
    "softmax": _Activation("Softmax", _softmax),
    "identity": _Activation(None, lambda x: x),
}
"""The activations by name."""

TOLERANCES: Final = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
"""The element types that arrays may have, and how far from the formula outputs may be, by their largest magnitude."""


class _Part(NamedTuple):
    """A weight, (outputs, inputs), and the bias after it, if there is one."""

    weight: Array
    bias: Array | None


@check_kinds
def from_arrays(
    arrays: Sequence[Any] | Mapping[str, Any],
    *,
    activation: Literal["sigmoid", "tanh", "relu", "softmax", "identity"],
    output_activation: Literal["sigmoid", "tanh", "relu", "softmax", "identity"] = "identity",
    rows: Rows | None = None,
    labels: Sequence[str] | str = "",
    name: str = "network",
) -> Network:
    """A network of dense layers from their weights and biases, ready to train on, save and export.

    The numbers are kept to the bit. Before it is returned, the network and the formula, activation(W·x + b) for each
    layer, are computed on the same inputs and compared.

    Args:
        arrays: weights, each with its bias after it where it has one, from the first layer to the last: ``[W1, b1, W2,
            b2]``, or a dict of such arrays in this order, such as a loaded ``.npz``, whose names errors then have. A
            bias is (n,), or a row or column of n. All are float64, float32 or float16.
        activation: the function after each layer but the last.
        output_activation: the function after the last layer; ``"identity"`` is none.
        rows: what a row of a weight belongs to: ``"inputs"`` where it is used as ``x @ W``, (inputs, outputs);
            ``"outputs"`` where it is used as ``W @ x``, (outputs, inputs). It is seen from the shapes unless these fit
            both ways, as those of square weights do.
        labels: the names of the outputs, where they are classes.
        name: the name of the network.

    Raises:
        UsageError: the arrays do not fit each other in any way, or in several; or the name of an activation is unknown.
        VerificationError: the network does not compute what the formula does.

    >>> import numpy as np, portable_nn as pnn
    >>> rng = np.random.default_rng(0)
    >>> W1, b1, W2, b2 = (rng.normal(size=shape) for shape in [(4, 16), 16, (16, 3), 3])
    >>> network = pnn.from_arrays([W1, b1, W2, b2], activation="tanh")
    >>> x = rng.normal(size=(5, 4))
    >>> np.allclose(network.predict(x), np.tanh(x @ W1 + b1) @ W2 + b2)
    True
    """
    for option, given in (("activation", activation), ("output_activation", output_activation)):
        if given not in FUNCTIONS:
            raise UsageError(f"{option} must be one of {', '.join(FUNCTIONS)}, not {given!r}")
    found = _named(arrays)
    parts = _only_reading(found, rows)
    dtype = parts[0].weight.dtype
    made = list[layers.Layer]()
    functions = [activation] * (len(parts) - 1) + [output_activation]
    for place, (part, function) in enumerate(zip(parts, functions, strict=True), 1):
        initial: dict[str, Any] = {"bias": False} if part.bias is None else {"bias_initial": part.bias}
        made.append(layers.Dense(len(part.weight), weight_initial=part.weight, name=f"dense_{place}", **initial))
        if layer := FUNCTIONS[function].layer:
            made.append(getattr(layers, layer)())
    entry = layers.Input(parts[0].weight.shape[1], dtype=dtype.name)
    network = Sequential(entry, *made, labels=labels, seed=0, name=name)
    if (
        dtype == np.float64
    ):  # Only what numpy happens to compute in: ONNX files of it are float32 unless told otherwise.
        network.inputs = (replace(network.inputs[0], exported="float32"),)
    _verify(network, parts, functions)
    return network


def _named(arrays: Sequence[Any] | Mapping[str, Any]) -> dict[str, Array]:
    """The arrays by name, or by place."""
    pairs = arrays.items() if isinstance(arrays, Mapping) else ((f"array {n}", a) for n, a in enumerate(arrays, 1))
    found = {str(name): as_array(array, str(name)) for name, array in pairs}
    if not found:
        raise UsageError("a network needs at least one weight, and there are no arrays")
    types = {name: array.dtype.name for name, array in found.items()}
    for name, each in types.items():
        if each not in TOLERANCES:
            raise UsageError(
                f"{name} is {each}; weights are {', '.join(TOLERANCES)}: {name}.astype(np.float32) makes them"
            )
    if len(set(types.values())) > 1:
        raise UsageError(f"all arrays must have one type, and these have several: {_listed(types)}")
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise UsageError(f"{name} holds NaN or infinity")
    return found


def _listed(values: Mapping[str, object]) -> str:
    return some(f"{name} {value}" for name, value in values.items())


def _only_reading(arrays: Mapping[str, Array], rows: Rows | None) -> list[_Part]:
    """The one way to read the arrays as layers."""
    ways: tuple[Rows, ...] = ("inputs", "outputs") if rows is None else (rows,)
    found = {way: list(_readings(list(arrays.values()), way)) for way in ways}
    if sum(map(len, found.values())) == 1:
        return next(reading for readings in found.values() for reading in readings)
    shapes = _listed({name: format_shape(array.shape) for name, array in arrays.items()})
    if not any(found.values()):
        how = {
            "inputs": "as x @ W + b, where W is (inputs, outputs)",
            "outputs": "as W @ x + b, where W is (outputs, inputs)",
        }
        tried = ", or ".join(how[way] for way in ways)
        raise UsageError(
            f"these arrays are no dense layers one after another, {tried}: {shapes}. A bias comes after its weight, "
            "and each layer takes as many numbers as the one before it has outputs"
        )
    if all(found.values()) and rows is None:
        raise UsageError(
            f"these weights fit both ways, as x @ W and as W @ x: {shapes}. rows='inputs' means x @ W, and "
            "rows='outputs' W @ x"
        )
    raise UsageError(f"an array may be a weight or a bias here: {shapes}. A bias of shape (n,) is no weight")


def _readings(arrays: Sequence[Array], rows: Rows) -> Iterator[list[_Part]]:
    """The ways to read arrays as layers: all with biases, or all without; else rows of numbers are the biases."""
    every_second = tuple(bool(place % 2) for place in range(len(arrays)))
    never = (False,) * len(arrays)
    alike = [_parts(arrays, are_biases, rows) for are_biases in {every_second, never}]
    found = [each for each in alike if each is not None]
    if not found and (mixed := _parts(arrays, [array.ndim < 2 for array in arrays], rows)) is not None:
        found.append(mixed)
    yield from found


def _parts(arrays: Sequence[Array], are_biases: Sequence[bool], rows: Rows) -> list[_Part] | None:
    """The layers, if the arrays fit each other where those are the biases."""
    parts = list[_Part]()
    for array, is_bias in zip(arrays, are_biases, strict=True):
        if is_bias:
            bias = _as_bias(array, len(parts[-1].weight)) if parts and parts[-1].bias is None else None
            if bias is None:
                return None
            parts[-1] = parts[-1]._replace(bias=bias)
        else:
            weight = array.T if rows == "inputs" else array
            if array.ndim != 2 or not array.size or (parts and weight.shape[1] != len(parts[-1].weight)):
                return None
            parts.append(_Part(weight, None))
    return parts


def _as_bias(array: Array, count: int) -> Array | None:
    """The array as (count,), if it is a bias of so many outputs."""
    fits = array.size == count and array.ndim <= 2 and sum(size > 1 for size in array.shape) <= 1
    return array.reshape(count) if fits else None


def _verify(network: Network, parts: Sequence[_Part], functions: Sequence[str]) -> None:
    """Compare the network with the formula on random inputs. Raises ``VerificationError``."""
    rng = np.random.default_rng(0)
    dtype = parts[0].weight.dtype
    tolerance = Tolerance(TOLERANCES[dtype.name], TOLERANCES[dtype.name])
    for batch in BATCHES:
        given = rng.normal(size=(batch, parts[0].weight.shape[1])).astype(dtype)
        expected = given.astype(np.float64)
        for part, function in zip(parts, functions, strict=True):
            product = expected @ part.weight.T.astype(np.float64)
            expected = FUNCTIONS[function].formula(product if part.bias is None else product + part.bias)
        found = difference(network.predict(given), expected)
        if not found.max_abs_error <= tolerance.allowed(expected):
            raise VerificationError(
                f"the network and the formula of {quantity(len(parts), 'layer')}, {some(functions)}, part by "
                f"{found.max_abs_error:.3g}; {tolerance.allowed(expected):.3g} would be allowed"
            )
