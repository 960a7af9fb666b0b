"""Networks of dense layers from the arrays that somebody trained by hand: ``[W1, b1, W2, b2]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from msgspec.structs import replace

from portable_nn import layers as dense
from portable_nn.converters.conversion import Imported, check_proof, compare_sides, written_tolerance
from portable_nn.converters.registry import Converter
from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Function
from portable_nn.core.text import quantity, some
from portable_nn.core.tolerances import WRITTEN
from portable_nn.evaluation.probabilities import softmax
from portable_nn.format import open_arrays
from portable_nn.network import Network, Sequential
from portable_nn.onnx.verification.recorded import compare_recorded
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import Array, NamedArrays
from portable_nn.plain.names import is_counter

__all__ = ["from_arrays"]

Rows: TypeAlias = Literal["inputs", "outputs"]
"""The end that a row of a weight belongs to: an input, as in ``x @ W``, or an output, as in ``W @ x``."""


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))))


class _Activation(NamedTuple):
    """The layer that computes an activation, or ``None``, and its formula on rows of numbers."""

    layer: str | None
    formula: Callable[[Array], Array]


FORMULAS: Final[Mapping[str, _Activation]] = {
    "sigmoid": _Activation("Sigmoid", _sigmoid),
    "tanh": _Activation("Tanh", np.tanh),
    "relu": _Activation("ReLU", lambda x: np.maximum(x, 0)),
    "softmax": _Activation("Softmax", softmax),
    "identity": _Activation(None, lambda x: x),
}
"""The activations by name; ``core.names.FUNCTIONS`` has the same."""


class _Part(NamedTuple):
    """A weight, (outputs, inputs), and the bias after it, if there is one."""

    weight: Array
    bias: Array | None


@check_kinds
def from_arrays(
    arrays: Sequence[Any] | Mapping[str, Any],
    *,
    activation: Function,
    output_activation: Function = "identity",
    rows: Rows | None = None,
    labels: Sequence[str] | str = "",
    name: str = "network",
) -> Network:
    """A network of dense layers from their weights and biases, ready to train on, save and export.

    The numbers are kept to the bit. Before it is returned, the network and the formula, activation(W·x + b) for each
    layer, are computed on the same inputs and compared.

    Args:
        arrays: weights, each with its bias after it where it has one, from the first layer to the last: ``[W1, b1, W2,
            b2]``, in pairs, ``[(W1, b1), (W2, b2)]``, or a dict of such arrays in this order, such as a loaded
            ``.npz``, whose names errors then have. A bias is (n,), or a row or column of n. All are float64, float32
            or float16.
        activation: the function after each layer but the last.
        output_activation: the function after the last layer; ``"identity"`` is none.
        rows: what a row of a weight belongs to: ``"inputs"`` where it is used as ``x @ W``, (inputs, outputs);
            ``"outputs"`` where it is used as ``W @ x``, (outputs, inputs). It is seen from the shapes unless these fit
            both ways, as those of square weights do.
        labels: the names of the outputs, where they are classes.
        name: the name of the network.

    Raises:
        UsageError: the arrays do not fit each other in any way, or in several; or an option has an unknown value.
        VerificationError: the network does not compute what the formula does.

    >>> import numpy as np, portable_nn as pnn
    >>> rng = np.random.default_rng(0)
    >>> W1, b1, W2, b2 = (rng.normal(size=shape) for shape in [(4, 16), 16, (16, 3), 3])
    >>> network = pnn.from_arrays([W1, b1, W2, b2], activation="tanh")
    >>> x = rng.normal(size=(5, 4))
    >>> np.allclose(network.predict(x), np.tanh(x @ W1 + b1) @ W2 + b2)
    True
    """
    _check_functions(activation=activation, output_activation=output_activation)
    if rows not in (None, *get_args(Rows)):
        raise UsageError(f"rows must be 'inputs', 'outputs' or None, not {rows!r}")
    parts = _only_reading(_named(arrays), rows)
    functions = [activation] * (len(parts) - 1) + [output_activation]
    network = _network(parts, functions, labels, name)
    _compare(network, parts, functions, written_tolerance(network, None, None))
    return network


def _check_functions(**given: str) -> None:
    for option, name in given.items():
        if name not in FORMULAS:
            raise UsageError(f"{option} must be one of {', '.join(FORMULAS)}, not {name!r}")


def _network(parts: Sequence[_Part], functions: Sequence[str], labels: Sequence[str] | str, name: str) -> Network:
    dtype = parts[0].weight.dtype
    made = list[dense.Layer]()
    for place, (part, function) in enumerate(zip(parts, functions, strict=True), 1):
        initial = {"bias": False} if part.bias is None else {"bias_initial": part.bias}
        made.append(dense.Dense(len(part.weight), weight_initial=part.weight, name=f"dense_{place}", **initial))
        if layer := FORMULAS[function].layer:
            made.append(getattr(dense, layer)())
    entry = dense.Input(parts[0].weight.shape[1], dtype=dtype.name)
    network = Sequential(entry, *made, labels=labels, seed=0, name=name)
    # Float64 is only what numpy happens to compute in: ONNX files are float32 unless told otherwise.
    if dtype == np.float64:
        network.inputs = (replace(network.inputs[0], exported="float32"),)
    return network


def _named(arrays: Sequence[Any] | Mapping[str, Any]) -> dict[str, Array]:
    """The arrays by name, or by place."""
    if not isinstance(arrays, Mapping):
        arrays = [each for part in arrays for each in (part if isinstance(part, tuple) else [part])]
    pairs = arrays.items() if isinstance(arrays, Mapping) else ((f"array {n}", a) for n, a in enumerate(arrays, 1))
    found = {str(name): as_array(array, str(name)) for name, array in pairs}
    if not found:
        raise UsageError("a network needs at least one weight, and there are no arrays")
    types = {name: array.dtype.name for name, array in found.items()}
    for name, each in types.items():
        if each not in WRITTEN:
            raise UsageError(
                f"{name} is {each}; weights are {', '.join(WRITTEN)}: {name}.astype(np.float32) makes them"
            )
    if len(set(types.values())) > 1:
        raise UsageError(f"all arrays must have one type, and these have several: {_listed(types)}")
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise UsageError(f"{name} holds NaN or infinity")
    return found


def _listed(values: Mapping[str, object]) -> str:
    return some(f"{name} {value}" for name, value in values.items())


def _only_reading(arrays: NamedArrays, rows: Rows | None) -> list[_Part]:
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
            f"these weights fit both ways, as x @ W and as W @ x: {shapes}. rows='inputs' "
            "(--rename W1=dense_1.weight.T) means x @ W, and rows='outputs' (--rename W1=dense_1.weight) W @ x"
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


def _compare(
    network: Network, parts: Sequence[_Part], functions: Sequence[str], tolerance: Tolerance, seed: int = 0
) -> Proof:
    """The differences between the network and the formula. Raises ``VerificationError`` beyond the tolerance."""

    def formula(feeds: NamedArrays) -> NamedArrays:
        [given] = feeds.values()
        found = given.astype(np.float64)
        for part, function in zip(parts, functions, strict=True):
            product = found @ part.weight.T.astype(np.float64)
            found = FORMULAS[function].formula(product if part.bias is None else product + part.bias)
        return {network.graph.outputs[0]: found.astype(given.dtype)}

    what = f"the formula of {quantity(len(parts), 'layer')}, {some(functions)}"
    return compare_sides(network, formula, what, tolerance=tolerance, seed=seed)


def import_arrays(
    path: str | Path,
    *,
    activation: str | None = None,
    output_activation: str = "identity",
    layers: Sequence[int] = (),
    rename: Mapping[str, str] = MappingProxyType({}),
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    io: str | Path | None = None,
) -> Imported:
    """A network of dense layers from a file of arrays, as ``from_arrays`` makes it.

    Args:
        path: an ``.npz``, ``.pt``, ``.safetensors`` or HDF5 file. Its arrays come in the order of the file, but see
            ``rename``. The last two have them by the alphabet, which is refused unless the numbers in all names say the
            same: ``b10`` stands before ``b2`` there.
        activation, output_activation: as for ``from_arrays``; the first is needed where there are several layers.
        layers: the sizes that are expected, from the inputs to the outputs, such as ``(4, 16, 3)``.
        rename: what arrays are, by name: ``dense_1.weight``, (outputs, inputs), ``dense_1.weight.T``, (inputs,
            outputs), or ``dense_1.bias``, and so on from the first layer to the last; ``""`` leaves an array out. If
            any are named so, all are. Counters of batches are left out.
        verify, seed: whether the network is compared with the formula, and the seed of the inputs to compare on.
        atol, rtol: the tolerances of that; by default those of the element type in ``core.tolerances.WRITTEN``.
        io: an ``.npz`` file of inputs and outputs recorded by another program, to compare with as well.

    Raises:
        UsageError: as ``from_arrays``; or the sizes are others, or a name is unknown.
        FileError, FormatError: the file cannot be read.
        VerificationError: the network does not compute what the formula does, or not what was recorded.
    """
    check_proof(verify, io)
    _check_functions(activation=activation or "identity", output_activation=output_activation)
    with open_arrays(path) as tensors:
        arrays, skipped = {name: tensors[name] for name in tensors.entries}, dict(tensors.skipped)
    parts = _parts_in(arrays, rename, Path(path), skipped)
    sizes = [parts[0].weight.shape[1], *(len(part.weight) for part in parts)]
    if layers and list(layers) != sizes:
        expected, found = ("-".join(map(str, each)) for each in (layers, sizes))
        raise UsageError(f"{path}: expected layers of {expected}, found arrays of {found}")
    if activation is None and len(parts) > 1:
        raise UsageError(
            f"{path}: --activation (activation) must name the function after each layer but the last, such as relu"
        )
    functions = [activation or "identity"] * (len(parts) - 1) + [output_activation]
    network = _network(parts, functions, "", "network")
    tolerance = written_tolerance(network, atol, rtol)
    proof = _compare(network, parts, functions, tolerance, seed) if verify else Proof()
    proof.recorded = compare_recorded(io, network.graph, network.parameters, str(path), tolerance)
    return Imported(network, proof, ())


def _parts_in(arrays: NamedArrays, rename: Mapping[str, str], path: Path, skipped: Mapping[str, str]) -> list[_Part]:
    """The layers of the arrays in a file. Errors name it, what cannot be read, and what it may be besides."""
    if unknown := [name for name in rename if name not in arrays]:
        raise UsageError(f"{path}: there is no array '{unknown[0]}' to rename; it has {some(arrays)}")
    if any(name.startswith("model_weights/") for name in arrays):
        raise UsageError(
            f"{path}: is a model in Keras's old format: what load_model(…).save('mine.keras') writes is read"
        )
    if any("__torch__" in why for why in skipped.values()):
        raise UsageError(f"{path}: {_COMPILED}")
    kept = {name: array for name, array in arrays.items() if rename.get(name) != "" and not is_counter(name)}
    places = {name: place for name, place in rename.items() if place}
    if places:
        kept = _placed(kept, places, path)
    else:
        _check_order(list(kept), path)
    try:
        return _only_reading(_named(kept), "outputs" if places else None)
    except UsageError as error:
        unread = f". Not read: {some(f'{name!r} {why}' for name, why in skipped.items())}" if skipped else ""
        torch = _TORCH if path.suffix.lower() in (".pt", ".pth", ".bin") and not places else ""
        raise UsageError(f"{path}: {torch}{error}{unread}{'' if places else _ELSE}") from None


_TORCH: Final = (
    "this is a PyTorch state dict (or a pickled module), which does not say how its weights are used: with your class "
    'in Python, pnn.read_torch(module, example).network.save("mine.safetensors"), see docs/pytorch.md. As dense layers '
    "alone: "
)

_COMPILED: Final = (
    "is a compiled PyTorch module, code that is not run: in Python, torch.onnx.export(module, …) writes an ONNX "
    "file, and torch.save(module.state_dict(), …) the weights, both of which are read"
)

_ELSE: Final = (
    ". --rename gives an array another name, or leaves it out, NAME=. --against MODEL takes the weights of a network "
    "with the same architecture"
)


def _check_order(names: Sequence[str], path: Path) -> None:
    """Raise ``UsageError`` where the order of the arrays is only that of the alphabet.

    It is said by an .npz file, which keeps the order in which it was written, or by numbers in all names.
    """
    by_number = sorted(names, key=_numbers_first)
    is_said = len(names) <= 2 or path.suffix.lower() == ".npz" or all(map(_NUMBER.search, names))
    if list(names) == sorted(names) and not (is_said and by_number == list(names)):
        raise UsageError(
            f"{path}: has its arrays by the alphabet, {some(names)}, which need not be the order of the layers: "
            "--rename (rename) says which is which, and --against MODEL of which network they are"
        )


_NUMBER: Final = re.compile(r"([0-9]+)")


def _numbers_first(name: str) -> list[tuple[bool, str]]:
    """A key by which ``b2`` comes before ``b10``."""
    return [
        (place % 2 == 0, part if place % 2 == 0 else part.zfill(99)) for place, part in enumerate(_NUMBER.split(name))
    ]


_ROLE: Final = re.compile(r"dense_([1-9]\d{0,3})\.(weight|weight\.T|bias)")


def _placed(arrays: NamedArrays, rename: Mapping[str, str], where: str | Path) -> dict[str, Array]:
    """The arrays in the order of their layers, each weight as (outputs, inputs)."""
    found = dict[tuple[int, bool], tuple[str, Array]]()
    for old, new in rename.items():
        if not (role := _ROLE.fullmatch(new)):
            raise UsageError(f"'{old}={new}': expected dense_N.weight, dense_N.weight.T or dense_N.bias, N from 1")
        place = int(role[1]), role[2] == "bias"
        if place in found:
            raise UsageError(f"'{old}' and '{found[place][0]}' would both be {new.removesuffix('.T')}")
        found[place] = (old, arrays[old].T if new.endswith(".T") else arrays[old])
    if left := [name for name in arrays if name not in rename]:
        raise UsageError(f"{where}: {some(left)} is no part of a layer yet: say which, or leave it out: {left[0]}=")
    return {name: array for _, (name, array) in sorted(found.items())}


ENDINGS: Final = (".safetensors", ".h5", ".hdf5", ".npz", ".pt", ".pth", ".bin")

CONVERTER: Final = Converter(title="files of arrays", reads=dict.fromkeys(ENDINGS, import_arrays))
