"""Networks of dense layers from the arrays that somebody trained by hand: ``[W1, b1, W2, b2]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from msgspec.structs import replace

from portable_nn import layers as dense
from portable_nn.converters.conversion import Imported, check_proof, compare_sides, written_tolerance
from portable_nn.converters.mapping import read_map
from portable_nn.converters.registry import Converter
from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Function, Prepare
from portable_nn.core.text import quantity, some
from portable_nn.core.tolerances import WRITTEN
from portable_nn.evaluation.probabilities import softmax
from portable_nn.format import open_arrays
from portable_nn.network import Network, Sequential
from portable_nn.onnx.verification.recorded import compare_recorded
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import Array, NamedArrays
from portable_nn.plain.names import is_counter
from portable_nn.preprocessing.defaults import DIGITS, PIXELS, SHEET

__all__ = ["from_arrays"]

Rows: TypeAlias = Literal["inputs", "outputs"]
"""The end that a row of a weight belongs to: an input, as in ``x @ W``, or an output, as in ``W @ x``."""


class _Activation(NamedTuple):
    """The layer that computes an activation, or ``None``, and its formula on rows of numbers."""

    layer: str | None
    formula: Callable[[Array], Array]


FORMULAS: Final[Mapping[str, _Activation]] = {
    "sigmoid": _Activation("Sigmoid", lambda x: (1 + np.tanh(x / 2)) / 2),
    "tanh": _Activation("Tanh", np.tanh),
    "relu": _Activation("ReLU", lambda x: np.maximum(x, 0)),
    "softmax": _Activation("Softmax", softmax),
    "identity": _Activation(None, lambda x: x),
}
"""The activations by name; ``core.names.FUNCTIONS`` has the same."""


class Part(NamedTuple):
    """A weight, (outputs, inputs), and the bias after it, if there is one."""

    weight: Array
    bias: Array | None


@check_kinds
def from_arrays(
    arrays: Sequence[Any] | Mapping[str, Any],
    *,
    activation: Function | Sequence[Function],
    rows: Rows | None = None,
    labels: Sequence[str] | str = "",
    name: str = "network",
    preprocess: Prepare = "none",
) -> Network:
    """A network of dense layers from their weights and biases, ready to train on, save and export.

    The numbers are kept to the bit. Before it is returned, the network and the formula, activation(W·x + b) for each
    layer, are computed on the same inputs and compared.

    Args:
        arrays: weights, each with its bias after it where it has one, from the first layer to the last: ``[W1, b1, W2,
            b2]``, in pairs, ``[(W1, b1), (W2, b2)]``, or a dict of such arrays in this order, such as a loaded
            ``.npz``, whose names errors then have. All weights may come before all biases, or after them, if no two
            biases have one size, or the names have the same numbers, as ``w0, w1, b0, b1``. A bias is (n,), or a row
            or column of n. All are float64, float32 or float16.
        activation: the function after each layer but the last; or two, ``["tanh", "softmax"]``, of which the second is
            for the last layer, which else has none; or one for each layer. ``"identity"`` is none.
        rows: what a row of a weight belongs to: ``"inputs"`` where it is used as ``x @ W``, (inputs, outputs);
            ``"outputs"`` where it is used as ``W @ x``, (outputs, inputs). It is seen from the shapes unless these fit
            both ways, as those of square weights do.
        labels: the names of the outputs, where they are classes.
        name: the name of the network.
        preprocess: ``digits`` finds digits in photographs, for networks of 784 inputs from 0 to 1: the network then
            takes pixels, 0 to 255, and divides them by 255 first. Ten outputs are the digits unless ``labels`` says
            else.

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
    if rows not in (None, *get_args(Rows)):
        raise UsageError(f"rows must be 'inputs', 'outputs' or None, not {rows!r}")
    parts = _only_reading(_named(arrays), rows)
    functions = _functions(activation, len(parts))
    network = _network(parts, functions, preprocess, labels, name)
    _compare(network, parts, functions, written_tolerance(network, None, None))
    return network


def _functions(activation: str | Sequence[str], count: int) -> list[str]:
    """The function after each of so many layers."""
    given = [activation] if isinstance(activation, str) else list(activation)
    if unknown := [name for name in given if name not in FORMULAS]:
        raise UsageError(f"activation must be one of {', '.join(FORMULAS)}, not {unknown[0]!r}")
    found = given if len(given) > 2 else [*given[:1] * (count - 1), *(given[1:] or ["identity"])]
    if len(found) != count:
        raise UsageError(
            f"--activation (activation): expected a function for each of {quantity(count, 'layer')}, or two, the "
            f"second for the last layer, as in relu,softmax (['relu', 'softmax']); found {len(given) or 'none'}. A "
            "network of a beginner's book has sigmoid,sigmoid"
        )
    return found


def _network(
    parts: Sequence[Part],
    functions: Sequence[str],
    preprocess: str = "none",
    labels: Sequence[str] | str = "",
    name: str = "network",
) -> Network:
    dtype, inputs = parts[0].weight.dtype, parts[0].weight.shape[1]
    steps = {"digits": SHEET, "none": ()}[preprocess]
    if steps and inputs != PIXELS:
        raise UsageError(
            f"--preprocess digits (preprocess) is for {PIXELS} inputs, the pixels of a digit, not {inputs}"
        )
    made: list[dense.Layer] = [dense.Rescaling(1 / 255)] if steps else []
    for place, (part, function) in enumerate(zip(parts, functions, strict=True), 1):
        initial = {"bias": False} if part.bias is None else {"bias_initial": part.bias}
        made.append(dense.Dense(len(part.weight), weight_initial=part.weight, name=f"dense_{place}", **initial))
        if layer := FORMULAS[function].layer:
            made.append(getattr(dense, layer)())
    labels = labels or (DIGITS if steps and len(parts[-1].weight) == len(DIGITS) else "")
    entry = dense.Input(inputs, dtype=dtype.name)
    network = Sequential(entry, *made, labels=labels, preprocessing=steps, seed=0, name=name)
    # Float64 is only what numpy happens to compute in: ONNX files are float32 unless told otherwise.
    if dtype == np.float64:
        network.inputs = (replace(network.inputs[0], exported="float32"),)
    return network


def _named(arrays: Sequence[Any] | Mapping[str, Any]) -> dict[str, Array]:
    """The arrays by name, or by place."""
    if not isinstance(arrays, Mapping):
        every = (each for part in arrays for each in (part if isinstance(part, tuple) else [part]))
        arrays = {f"array {n}": array for n, array in enumerate(every, 1)}
    found = {str(name): as_array(array, str(name)) for name, array in arrays.items()}
    if not found:
        raise UsageError("a network needs at least one weight, and there are no arrays")
    types = {name: array.dtype.name for name, array in found.items()}
    for name, each in types.items():
        if each not in WRITTEN:
            raise UsageError(
                f"{name} is {each}; weights are {', '.join(WRITTEN)}: {name}.astype(np.float32) makes them"
            )
        if not np.isfinite(found[name]).all():
            raise UsageError(f"{name} holds NaN or infinity")
    if len(set(types.values())) > 1:
        raise UsageError(f"all arrays must have one type, and these have several: {_listed(types)}")
    return found


def _listed(values: Mapping[str, object]) -> str:
    return some(f"{name} {value}" for name, value in values.items())


def _only_reading(arrays: NamedArrays, rows: Rows | None) -> list[Part]:
    """The one way to read the arrays as layers."""
    ways: tuple[Rows, ...] = ("inputs", "outputs") if rows is None else (rows,)
    found = {way: _readings(arrays, way) for way in ways}
    every = [*chain(*found.values())]
    if len(every) == 1:
        return every[0]
    shapes = _listed({name: format_shape(array.shape) for name, array in arrays.items()})
    if not every:
        how = {
            "inputs": "as x @ W + b, where W is (inputs, outputs)",
            "outputs": "as W @ x + b, where W is (outputs, inputs)",
        }
        raise UsageError(
            f"these arrays are no dense layers one after another, {', or '.join(how[way] for way in ways)}: {shapes}. "
            "A bias comes after its weight, or all after all weights if their sizes or the numbers in their names tell "
            "them apart, and each layer takes as many numbers as the one before it has outputs"
        )
    if all(found.values()) and rows is None:
        raise UsageError(
            f"these weights fit both ways, as x @ W and as W @ x: {shapes}. rows='inputs' "
            "(--rename W1=dense_1.weight.T) means x @ W, and rows='outputs' (--rename W1=dense_1.weight) W @ x"
        )
    raise UsageError(f"an array may be a weight or a bias here: {shapes}. A bias of shape (n,) is no weight")


def _readings(arrays: NamedArrays, rows: Rows) -> list[list[Part]]:
    """The ways to read arrays as layers: all with biases, or all without; else rows of numbers are the biases."""
    given = list(arrays.values())
    every_second = tuple(bool(place % 2) for place in range(len(given)))
    alike = [(given, each) for each in {every_second, (False,) * len(given)}]
    return _fitting([*alike, *((each, every_second) for each in _paired(arrays))], rows) or _fitting(
        [(given, [array.ndim < 2 for array in given])], rows
    )


def _fitting(ways: Iterable[tuple[Sequence[Array], Sequence[bool]]], rows: Rows) -> list[list[Part]]:
    return [parts for arrays, are_biases in ways if (parts := _parts(arrays, are_biases, rows)) is not None]


def _paired(arrays: NamedArrays) -> Iterator[list[Array]]:
    """Each weight with its bias after it, where all of one kind come before all of the other.

    Order alone is not trusted: the biases must have different sizes, or the same numbers in their names as the weights.
    """
    names, half = list(arrays), len(arrays) // 2
    numbers = [tuple(_NUMBER.findall(name)) for name in names]
    is_said = numbers[:half] == numbers[half:] and len({*numbers}) == half
    for weights, biases in permutations((names[:half], names[half:])):
        if 1 < half == len(names) / 2 and (is_said or len({arrays[name].size for name in biases}) == half):
            yield [arrays[name] for pair in zip(weights, biases, strict=True) for name in pair]


def _parts(arrays: Sequence[Array], are_biases: Sequence[bool], rows: Rows) -> list[Part] | None:
    """The layers, if the arrays fit each other where those are the biases."""
    parts = list[Part]()
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
            parts.append(Part(weight, None))
    return parts


def _as_bias(array: Array, count: int) -> Array | None:
    """The array as (count,), if it is a bias of so many outputs."""
    fits = array.ndim <= 2 and max(array.shape, default=1) == array.size == count
    return array.reshape(count) if fits else None


def _compare(
    network: Network, parts: Sequence[Part], functions: Sequence[str], tolerance: Tolerance, seed: int = 0
) -> Proof:
    """The differences between the network and the formula. Raises ``VerificationError`` beyond the tolerance."""

    def formula(feeds: NamedArrays) -> NamedArrays:
        [given] = feeds.values()
        found = given.astype(np.float64) / (255 if network.inputs[0].preprocessing else 1)
        for part, function in zip(parts, functions, strict=True):
            product = found @ part.weight.T.astype(np.float64)
            found = FORMULAS[function].formula(product if part.bias is None else product + part.bias)
        return {network.graph.outputs[0]: found.astype(given.dtype)}

    what = f"the formula of {quantity(len(parts), 'layer')}, {some(functions)}"
    return compare_sides(network, formula, what, tolerance=tolerance, seed=seed)


def import_arrays(
    path: str | Path,
    *,
    activation: str | Sequence[str] = (),
    layers: Sequence[int] = (),
    rename: Mapping[str, str] = MappingProxyType({}),
    map: str | Path | None = None,
    preprocess: Prepare = "none",
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
        activation: as for ``from_arrays``; needed where there are several layers.
        layers: the sizes that are expected, from the inputs to the outputs, such as ``(4, 16, 3)``.
        rename: what arrays are, by name: ``dense_1.weight``, (outputs, inputs), ``dense_1.weight.T``, (inputs,
            outputs), or ``dense_1.bias``, and so on from the first layer to the last; ``""`` leaves an array out. If
            any are named so, all are. Counters of batches are left out.
        map: a JSON file of such names.
        preprocess: as for ``from_arrays``.
        verify, seed: whether the network is compared with the formula, and the seed of the inputs to compare on.
        atol, rtol: the tolerances of that; by default those of the element type in ``core.tolerances.WRITTEN``.
        io: an ``.npz`` file of inputs and outputs recorded by another program, to compare with as well: inputs of the
            first weights, also with ``preprocess``.

    Raises:
        UsageError: as ``from_arrays``; or the sizes are others, or a name is unknown.
        FileError, FormatError: the file cannot be read.
        VerificationError: the network does not compute what the formula does, or not what was recorded.
    """
    check_proof(verify, io)
    rename = dict(read_map(map) if map else {}, **rename)
    with open_arrays(path) as tensors:
        arrays, skipped = {name: tensors[name] for name in tensors.entries}, dict(tensors.skipped)
    parts = _parts_in(arrays, rename, Path(path), skipped)
    sizes = [parts[0].weight.shape[1], *(len(part.weight) for part in parts)]
    if layers and list(layers) != sizes:
        raise UsageError(
            f"{path}: expected layers of {'-'.join(str(size) for size in layers)}, found arrays of "
            f"{'-'.join(str(size) for size in sizes)}"
        )
    functions = _functions(activation, len(parts))
    found = imported(parts, functions, path, preprocess, verify, atol, rtol, seed, io)
    notes = [
        "no function is computed after the last layer: a second one in --activation (activation), as tanh,softmax, is"
    ] * (isinstance(activation, str) or len(activation) < 2)
    return found._replace(notes=(*notes, *found.notes))


def imported(
    parts: Sequence[Part],
    functions: Sequence[str],
    path: str | Path,
    preprocess: Prepare,
    verify: bool,
    atol: float | None,
    rtol: float | None,
    seed: int,
    io: str | Path | None,
) -> Imported:
    """The network of layers with their functions, verified; the other arguments are those of ``import_arrays``."""
    plain = _network(parts, functions)
    network = plain if preprocess == "none" else _network(parts, functions, preprocess)
    tolerance = written_tolerance(network, atol, rtol)
    proof = _compare(network, parts, functions, tolerance, seed) if verify else Proof()
    proof.recorded = compare_recorded(io, plain.graph, plain.parameters, str(path), tolerance)
    note = "the network takes pixels, 0 to 255, and divides them by 255 before the first weights"
    return Imported(network, proof, (note,) * (network is not plain))


def _parts_in(arrays: NamedArrays, rename: Mapping[str, str], path: Path, skipped: Mapping[str, str]) -> list[Part]:
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
        unread += next((_OBJECTS.format(path.name, name) for name, why in skipped.items() if "pickle" in why), "")
        is_torch = path.suffix.lower() in (".pt", ".pth", ".bin") and not places
        dense = f"{'. As dense layers alone: ' * is_torch}{error}" * (
            not is_torch or all(array.ndim < 3 for array in kept.values())  # With kernels, there is more than these.
        )
        raise UsageError(f"{path}: {_TORCH * is_torch}{dense}{unread}{'' if places else _ELSE}") from None


_TORCH: Final = (
    "this is a PyTorch state dict (or a pickled module), which does not say how its weights are used: with your class "
    'in Python, pnn.read_torch(module, example).network.save("mine.safetensors"), see docs/pytorch.md'
)

_COMPILED: Final = (
    "is a compiled PyTorch module, code that is not run: in Python, torch.onnx.export(module, …) writes an ONNX "
    "file, and torch.save(module.state_dict(), …) the weights, both of which are read"
)

_OBJECTS: Final = (
    ". Lists of arrays are saved as one array of numbers for each layer, np.savez('mine.npz', *weights, *biases); of "
    "this file, where you trust it, they are np.load({0!r}, allow_pickle=True)[{1!r}]"
)

_ELSE: Final = (
    ". --rename gives an array another name, or leaves it out, NAME=. --against MODEL takes the weights of a network "
    "with the same architecture"
)


def _check_order(names: list[str], path: Path) -> None:
    """Raise ``UsageError`` where the order of the arrays is only that of the alphabet.

    It is said by an .npz file, which keeps the order in which it was written, or by numbers in all names.
    """
    by_number = sorted(names, key=lambda name: _NUMBER.sub(lambda found: found[0].zfill(99), name))  # b2 before b10.
    is_said = len(names) <= 2 or path.suffix.lower() == ".npz" or all(map(_NUMBER.search, names))
    if names == sorted(names) and not (is_said and by_number == names):
        raise UsageError(
            f"{path}: has its arrays by the alphabet, {some(names)}, which need not be the order of the layers: "
            "--rename (rename) says which is which, and --against MODEL of which network they are"
        )


_NUMBER: Final = re.compile(r"[0-9]+")

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
