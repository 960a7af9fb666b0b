"""Version 0 of the weight file: the two arrays that the program of a beginner's book keeps, each in an ``.npy`` file.

T. Rashid, *Make Your Own Neural Network*, 2016: a network of one hidden layer without biases, and the logistic function
after each layer. ``wih`` is (hidden nodes, inputs), ``who`` (outputs, hidden nodes); ``numpy.save`` writes either. The
files do not say what the numbers mean, which is as in the book: 784 inputs are an image of a digit, ten outputs the
digits.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.conversion import Imported, check_proof, compare_sides, written_tolerance
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import DataError, FileError, FormatError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Prepare
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.tolerances import WRITTEN
from portable_nn.data.arrays import read_arrays
from portable_nn.layers import Dense, Input, Rescaling, Sigmoid
from portable_nn.network import Network, Sequential
from portable_nn.onnx.verification.recorded import compare_recorded
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.preprocessing.defaults import BOOK, DIGITS, PIXELS, SHEET

SUFFIX: Final = ".npy"


def read_book(input_hidden: str | Path, hidden_output: str | Path) -> Network:
    """The book's network, ready to train on, from the files of ``wih`` and ``who``; see ``import_book``.

    Raises as ``import_book`` does.
    """
    return import_book(input_hidden, hidden_output).network


@check_kinds
def import_book(
    *sources: str | Path,
    dtype: Literal["float32"] | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float = 0.0,
    seed: int = 0,
    io: str | Path | None = None,
    preprocess: Prepare = "digits",
) -> Imported:
    """The book's network, verified: the numpy engine computes the same numbers as the book's formula.

    The weights are kept to the bit: float64 where the book's program wrote them; an ONNX file of it is float32 unless
    ``export_onnx`` is told ``dtype="float64"``. The network says that its loss is the squared error of its sigmoids,
    by which ``fit`` and ``tune`` then train it further. A network for images of digits takes
    pixels, 0 to 255, of which its first nodes make 0.01 to 1 as the book's program does.

    Args:
        sources: the files of ``wih`` and ``who``, in this order; or a folder with one ``*wih*.npy`` and one
            ``*who*.npy``.
        dtype: ``float32`` makes the network of float32 numbers, so that it takes half the space, and trains faster. By
            default it is of the type that the files have, usually float64.
        verify: whether to compute both, at two batch sizes.
        atol: the absolute tolerance of that comparison; by default that of the element type in
            ``core.tolerances.WRITTEN``.
        rtol: the relative tolerance, in terms of the largest magnitude of the outputs; added to ``atol``.
        seed: the seed of the inputs to compare on.
        io: an ``.npz`` file of inputs and outputs recorded by another program, to compare with as well: the inputs that
            the book's ``query`` was given, 0.01 to 1.
        preprocess: ``digits`` finds the digits in photographs, for networks of 784 inputs; ``none`` takes the inputs of
            ``query`` as they are.

    Raises:
        UsageError: neither two files nor a folder.
        FileError: the folder has not exactly one file of each.
        DataError: a file cannot be read or holds no array of numbers.
        FormatError: the arrays are not what the book's are, or do not fit each other.
        VerificationError: the engine does not agree with the formula, or with the recorded values.
    """
    check_proof(verify, io)
    wih_file, who_file = _two_files([Path(source) for source in sources])
    wih, who = _read(wih_file, "(hidden nodes, inputs)"), _read(who_file, "(outputs, hidden nodes)")
    _check_fit(wih_file, wih, who_file, who)
    query = query_network(*((wih, who) if dtype is None else (_narrow(wih_file, wih), _narrow(who_file, who))))
    network = described(query, preprocess)
    where, tolerance = f"{wih_file}, {who_file}", written_tolerance(query, atol, rtol)
    found = _compare(network, wih, who, where, tolerance, seed) if verify else Proof()
    found.recorded = compare_recorded(io, query.graph, query.parameters, where, tolerance)
    return Imported(network, found, ())


def _two_files(sources: list[Path]) -> tuple[Path, Path]:
    if len(sources) == 2:
        return sources[0], sources[1]
    if len(sources) != 1 or not sources[0].is_dir():
        if len(sources) == 1 and sources[0].is_file():
            _check_numbers(sources[0])
        raise UsageError(
            "the book's network is in two files, one of wih and one of who: give both, in this order, or their folder. "
            "An .npy file holds one array: several weights of another network go into one file, np.savez('mine.npz', "
            "W1=W1, b1=b1), which import takes with --layers"
        )
    return _only(sources[0], "wih"), _only(sources[0], "who")


def _check_numbers(path: Path) -> None:
    """Raise ``DataError`` for a file that is no array of numbers, with what makes one of a dict that was saved."""
    try:
        read_arrays(path)
    except DataError as error:
        if "pickle" not in error.reason:
            raise
        raise DataError(
            path,
            f"{error.reason}. If it is a dict of weights, and you trust it, np.savez('mine.npz', "
            f"**np.load({path.name!r}, allow_pickle=True).item()) makes a file of them for import --layers",
        ) from None


def _only(folder: Path, name: str) -> Path:
    """The one file in ``folder`` that holds the array ``name``."""
    found = [
        path for path in sorted(folder.glob("[!.]*")) if name in path.stem.lower() and path.suffix.lower() == SUFFIX
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise FileError(folder, f"expected one file *{name}*{SUFFIX}, as the book's network has it, found {names}")
    return found[0]


def _read(path: Path, meaning: str) -> Array:
    """The array in a file, mapped into memory; ``meaning`` says what its two sizes are."""
    array, _ = read_arrays(path)
    expected = f"expected weights {meaning}"
    if array.ndim != 2:
        raise FormatError(path, f"{expected}, found an array of shape {format_shape(array.shape)}")
    if array.dtype.name not in WRITTEN:
        raise FormatError(path, f"{expected} of a type such as float64, found {array.dtype.name}")
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = ", ".join(map(str, wrong[0]))
        raise FormatError(path, f"holds NaN or infinite values: {len(wrong)}, the first at [{place}]")
    return array


def _narrow(path: Path, array: Array) -> Array:
    """``array``, from the file at ``path``, in float32."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise FormatError(
            path, f"reaches {np.abs(array).max():.6g}, and float32 ends at {np.finfo(np.float32).max:.6g}"
        )
    return narrow


def _check_fit(wih_file: Path, wih: Array, who_file: Path, who: Array) -> None:
    if wih.dtype.name != who.dtype.name:
        raise FormatError(
            who_file, f"is {who.dtype.name}, but {wih_file} is {wih.dtype.name}: one network has one type"
        )
    if wih.shape[0] == who.shape[1]:
        return
    shapes = f"has shape {format_shape(who.shape)}, and {wih_file} has {format_shape(wih.shape)}"
    if wih.shape[1] == who.shape[0]:
        raise FormatError(
            who_file,
            f"{shapes}: the two are swapped, since they fit the other way round; wih, (hidden nodes, inputs), comes "
            "first, then who, (outputs, hidden nodes). If they are in that order, both are transposed: save wih.T and "
            "who.T",
        )
    raise FormatError(
        who_file,
        f"{shapes}: who must have as many columns as wih has rows, one for each hidden node, but has {who.shape[1]} "
        f"and not {wih.shape[0]}",
    )


def query_network(wih: Array, who: Array) -> Network:
    """The graph of the book's ``query``; values have the names that they have there."""
    (hidden, inputs), outputs = wih.shape, who.shape[0]
    return Sequential(
        Input(inputs, name="inputs", dtype=wih.dtype.name),
        Dense(hidden, bias=False, weight_initial=wih, name="hidden"),
        Sigmoid(name="hidden_outputs"),
        Dense(outputs, bias=False, weight_initial=who, name="output"),
        Sigmoid(name="final_outputs"),
        labels=DIGITS if outputs == len(DIGITS) else "",
        seed=0,
    )


def described(query: Network, preprocess: Prepare = "digits") -> Network:
    """A copy of the network ``query`` that takes pixels, 0 to 255, and pictures, where its inputs are those of a digit.

    It says its loss, and that float64 is only what the book's program happened to compute in.
    """
    [value] = query.graph.inputs
    pixels = value.shape[1] == PIXELS and preprocess == "digits"
    entry = Input(*value.shape[1:], name=value.name, dtype=value.dtype)
    # A copy, as the nodes of a network that is used again are numbered.
    first = [Rescaling(*BOOK)] * pixels
    network = Sequential(entry, *first, copy(query), labels=query.labels, preprocessing=SHEET * pixels, seed=0)
    [given], [found] = network.inputs, network.outputs
    network.outputs = (replace(found, loss="mean_squared_error"),)
    if value.dtype == "float64":
        network.inputs = (replace(given, exported="float32"),)
    return network


def _compare(network: Network, wih: Array, who: Array, where: str, tolerance: Tolerance, seed: int) -> Proof:
    """The differences between the engine and the book's formula in float64."""

    def formula(feeds: NamedArrays) -> NamedArrays:
        [given] = feeds.values()
        # Pixels, which the book's program brings to 0.01 to 1.
        x = given / 255 * 0.99 + 0.01 if network.inputs[0].preprocessing else given
        return {network.graph.outputs[0]: _query(wih, who, x).astype(given.dtype)}

    return compare_sides(network, formula, "the book's formula", tolerance=tolerance, seed=seed, where=f"{where}: ")


def _query(wih: Array, who: Array, x: Array) -> Array:
    """The book's ``query``: a column an example, 1 / (1 + exp(-z)) after each product. (batch, in) → (batch, out)."""
    column = x.astype(np.float64).T
    with np.errstate(over="ignore"):  # exp gives infinity, whose inverse is the 0 that is meant.
        for weight in (wih, who):
            column = 1 / (1 + np.exp(-(weight.astype(np.float64) @ column)))
    return column.T
