"""Networks written as ONNX files, after onnxruntime has computed the same numbers from them.

A file that this package writes is an ordinary ONNX model with three entries in its metadata (see ``metadata``): the
labels, for every tool, and for this package the manifest of the network with its SHA-256. With them a network is
restored exactly.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypedDict

from onnx import ModelProto

from portable_nn.converters.conversion import Written, check_proof
from portable_nn.converters.onnx.adapting import adapted, outside, with_steps
from portable_nn.converters.onnx.importing import proved
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import all_or_none, atomic_write, is_new, must_be_new, remove
from portable_nn.core.errors import FileError, UnsupportedError, UsageError
from portable_nn.core.html import html_of
from portable_nn.core.names import FloatType
from portable_nn.core.tensors import NamedArrays
from portable_nn.core.text import size
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.engines.recording import read_recorded
from portable_nn.format.manifest import encode, normalised
from portable_nn.format.meaning import Column, columns_of
from portable_nn.format.packed import stored
from portable_nn.network import Network
from portable_nn.network.answering import probabilities_inside
from portable_nn.onnx.columns import as_row, by_column, obstacle, renaming
from portable_nn.onnx.opsets.support import opset_of
from portable_nn.onnx.remarks.documentation import attach
from portable_nn.onnx.remarks.dropped import dropped_by_export
from portable_nn.onnx.storage.external import IN_PLACE, locations
from portable_nn.onnx.storage.files import MAX_BYTES, opening_model, write_data, write_model
from portable_nn.onnx.storage.metadata import COLUMNS, DIGEST, DOC, LABELS, MANIFEST, added_entries, documented
from portable_nn.onnx.verification.words import compare_words
from portable_nn.onnx.verify import Difference, Proof, Tolerance, compare
from portable_nn.onnx.writing import parameters_at, size_of, to_model
from portable_nn.operators.narrow import FLOAT4

MARGIN: Final = 64 * 2**20
"""Bytes that a model may take beside its parameters."""


@dataclass(frozen=True, repr=False, kw_only=True)
class ExportReport(Written):
    """The file that ``export_onnx`` wrote, and the differences of the two engines on it.

    Attributes:
        opset: the version of the standard operators in the file.
        ir_version: its IR version.
        rounding: with ``float16``, and where float32 takes the place of float64, how far that moves each output.
    """

    opset: int
    ir_version: int
    rounding: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def data(self) -> Path | None:
        """The file beside it with the large parameters, if there is one."""
        return next(iter(self.beside), None)

    @property
    def max_abs_error(self) -> float:
        """The largest absolute error in any output; NaN where nothing was verified."""
        return max((found.max_abs_error for found in self.outputs.values()), default=math.nan)

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the same as of any file that was written, the opset, and what rounding
        moves."""
        more = [f"opset {self.opset}, IR version {self.ir_version}", *self._rounded()]
        return super()._repr_html_() + html_of(lambda: "\n".join(more))

    def _rounded(self) -> list[str]:
        return [f"rounding moves '{name}' by {gap.max_abs_error:.2g}" for name, gap in self.rounding.items()]

    def __repr__(self) -> str:
        verified = f"largest error {self.max_abs_error:.2g}" if self.outputs else "not verified"
        lines = [f"{self.path} ({size(self.bytes)}, opset {self.opset}, IR version {self.ir_version}): {verified}"]
        lines += [f"{heading}: {text}" for heading, text in self.outputs.in_words()]
        lines += [f"weights in {self.data}"] if self.data else []
        return "\n  ".join(["ExportReport", *lines, *self._rounded(), *self.notes])


@check_kinds
def export_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    external_data: bool | int | None = None,
    io: str | Path | None = None,
    batch: int | None = None,
    sizes: Mapping[str, int | str] = MappingProxyType({}),
    dynamic: bool = False,
    dtype: FloatType | None = None,
    float16: bool = False,
    probabilities: bool = False,
    stateful: bool = False,
    portable: bool = True,
    columns: bool | None = None,
) -> ExportReport:
    """Write ``network`` as an ONNX file, after onnxruntime has computed the same numbers from its bytes.

    >>> import portable_nn as pnn
    >>> from portable_nn.converters.onnx import export_onnx
    >>> report = export_onnx(pnn.load_model("digits"), "digits.onnx", opset=17)
    >>> report.max_abs_error < 1e-5
    True

    The same network gives the same bytes. A file at ``path`` is replaced as a whole, or stays as it was. What the
    network does with numbers is in the file; what is done with pictures before that, such as finding a digit, is not: a
    note of the report says it. Arithmetic that an older weight file lists beside the graph becomes nodes.

    Args:
        network: the network.
        path: the file to write.
        opset: the version of the standard operators, 13 to 25; by default the lowest from 17 up that can hold the
            network and has the types of its packed weights, but for float4e2m1, which onnxruntime cannot run.
        verify: whether to compare numpy and onnxruntime on the same inputs, at two batch sizes, before writing.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        external_data: whether large parameters go into a file of their own beside the model, or the number of bytes of
            parameters above which they do. By default only where the model would exceed 2 GiB. Without ``verify`` at
            most one of them is then in memory at a time.
        io: an ``.npz`` file of inputs and outputs recorded by another program, by their names in the model: both
            engines must compute these outputs as well.
        batch: fixes the first size of the inputs, usually named ``batch``, at a number.
        sizes: numbers for symbolic sizes of the inputs, by name; or the name of another size that is the same.
        dynamic: whether a fixed batch becomes one of any size.
        dtype: ``float32``: what is float64 in the network is float32 in the file; ``float64``: it stays. By default it
            stays unless the network says otherwise (``network.inputs[0].exported``), as that of ``converters.book``
            does. ``rounding`` of the report says what that changes.
        float16: whether matrices and kernels are stored as float16; ``rounding`` of the report says what that changes.
        probabilities: whether logits become probabilities in the graph: after a division by their temperature (see
            ``Network.calibrate``), by softmax, or of one number by the logistic function.
        stateful: whether the states of recurrent layers and causal convolutions become inputs and outputs, as
            ``Network.stateful`` makes them.
        portable: whether what one of the other runtimes lacks or computes wrongly is written in other operators, which
            all of them have; ``docs/conformance.md`` says what remains. Without, operators are written as they are
            where onnxruntime runs them.
        columns: whether each column of a table is an input, (batch, 1), with the column's name, in which words are
            strings; or the table is one input, in which each word is a number. By default columns are inputs where some
            are of words. What the network refuses, such as a word that is no category, then gives NaN.

    Raises:
        UsageError: an opset that is not supported or cannot express the network, metadata under a reserved key, or
            an option that does not fit the network.
        VerificationError: the engines do not agree; the message names the first node that differs.
        DataError: ``io`` does not hold the inputs and outputs of the network.
        FileError: the file cannot be written.
    """
    check_proof(verify, io)
    proof: _ProofOptions = {"verify": verify, "tolerance": Tolerance(atol, rtol), "seed": seed}
    originals = network.parameters
    network, steps = with_steps(network, **proof)
    if stateful:
        network = network.stateful()
    if probabilities:
        network, added = probabilities_inside(network)
        steps = (*steps, *added)
    network, done, rounding = adapted(
        network, batch=batch, sizes=sizes, dynamic=dynamic, dtype=dtype, float16=float16, **proof
    )
    columns, told = _by_column(network, columns)
    try:
        report = write_onnx(
            network, path, opset=opset, external_data=external_data, io=io, originals=originals, portable=portable,
            columns=columns, **proof,
        )  # fmt: skip
    except UnsupportedError as error:
        if not any(type.dtype == "float64" for type in network.types.values()):
            raise
        raise UnsupportedError(
            error.path,
            f"{error.reason}. The network computes in float64, for which onnxruntime has fewer operators: "
            'dtype="float32" (--dtype float32) writes it in float32',
        ) from error
    return dataclasses.replace(report, notes=(*steps, *done, *told, *report.notes), rounding=rounding)


def _by_column(network: Network, wanted: bool | None) -> tuple[bool, tuple[str, ...]]:
    """True if the columns of a table become inputs, and a note where they cannot. Raises ``UsageError``."""
    columns = columns_of(network.inputs)
    if wanted is False or (wanted is None and not any(column.categories for column in columns)):
        return False, ()
    if (reason := obstacle(network.graph, columns)) is None:
        return True, ()
    if wanted:
        raise UsageError(f"--columns (columns=True): the columns of a table cannot be the inputs here: {reason}")
    return False, (f"the table is one input, words as numbers: {reason}",)


class _ProofOptions(TypedDict):
    verify: bool
    tolerance: Tolerance
    seed: int


def write_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int | None,
    external_data: bool | int | None = None,
    io: str | Path | None,
    verify: bool,
    tolerance: Tolerance,
    seed: int,
    originals: NamedArrays | None = None,
    portable: bool = True,
    columns: bool = False,
) -> ExportReport:
    """As ``export_onnx``, of the network as it is: also with steps of an older file beside its graph.

    ``originals`` are its parameters before an option of the export converted their type.
    """
    table = columns_of(network.inputs)
    recorded = None if io is None else read_recorded(io, network.graph)
    properties = _properties(network)
    doc = documented(network.metadata.get(DOC, ""), network.inputs, network.outputs, by_column=columns)
    if not isinstance(external_data, bool):
        most = MAX_BYTES - MARGIN if external_data is None else min(external_data, MAX_BYTES - MARGIN)
        external_data = size_of(map(stored, parameters_at(network.graph, opset))) > most
    folder, target = Path(path).parent, Path(path)
    location = f"{target.stem}-{properties[DIGEST][:16]}.data" if external_data else None
    options: dict[str, Any] = {"opset": opset, "metadata": properties, "doc": doc, "portable": portable}
    model = to_model(network.graph, network.parameters, location=location or IN_PLACE, **options)
    attach(model, network.documentation, network.graph)
    parameters = _by_their_names(model, network, table) if columns else network.parameters
    old, found = _data_files(target), Proof()
    options = {"tolerance": tolerance, "seed": seed, "recorded": recorded, "originals": originals}
    options["infos"] = network.inputs
    with all_or_none() if location else nullcontext():
        if location:  # Its name holds the digest of the network: an earlier model keeps its own until it is replaced.
            if is_new(path):
                must_be_new(folder / location)
            write_data(folder / location, model, parameters)
        with atomic_write(path) as file:
            count = write_model(model, parameters, file)
            file.flush()
            if verify:  # What is compared is what was written.
                with nullcontext(model) if location else opening_model(file.name) as written:
                    found = _compared(network, written, str(path), Path(file.name), bool(location), **options)
    for name in old - {location}:
        remove(folder / name)
    notes = [*outside(network), *dropped_by_export(model, network.graph, network.documentation), *found.notes]
    notes += [] if verify else ["not verified: verify=False"]
    return ExportReport(
        target,
        count,
        found,
        tuple(notes),
        (folder / location,) if location else (),
        opset=opset_of(model, str(path)),
        ir_version=model.ir_version,
    )


def _compared(network: Network, written: ModelProto, where: str, place: Path, is_apart: bool, **options: Any) -> Proof:
    """The comparison of a network with the model in the file ``place``; its weights may be in a file apart."""
    bare = as_row(written)
    source = None if is_apart or bare is not written else place
    options |= {"source": source, "folder": place.parent, "unread": False}
    compared: partial[Proof] = partial(compare, network.graph, network.parameters.arrays, **options)
    lacks_kernels = FLOAT4 in {each.data_type for each in bare.graph.initializer}
    found = proved(network, bare, where, compared) if lacks_kernels else compared(bare, where)
    if bare is not written:
        options = {name: options[name] for name in ("tolerance", "seed")}
        compare_words(place, bare, columns_of(network.inputs), where, **options)
    return found


def _by_their_names(model: ModelProto, network: Network, columns: Sequence[Column]) -> NamedArrays:
    """The parameters of a network by their names in ``model``, after the columns of its row became inputs there."""
    by_column(model, columns)
    new = renaming(columns)
    return {new(name): array for name, array in network.parameters.items()}


def _data_files(path: Path) -> set[str]:
    """The data files of an earlier export to ``path``, by the pattern of their names."""
    try:
        with opening_model(path) as model:
            named = locations(model)
    except FileError:
        return set()
    return {name for name in named if re.fullmatch(rf"{re.escape(path.stem)}-[0-9a-f]{{16}}\.data", name)}


def _properties(network: Network) -> dict[str, str]:
    """The metadata of a network's model: the user's own, and those that this package adds."""
    manifest = network.manifest()
    reserved = {
        MANIFEST,
        DIGEST,
        *([LABELS] if any(info.labels for info in network.outputs) else []),
        *([COLUMNS] if any(info.columns for info in network.inputs) else []),
    }
    if taken := sorted(reserved & network.metadata.keys()):
        raise UsageError(f"metadata key '{taken[0]}' has a meaning of its own in ONNX files: use another")
    text = encode(normalised(manifest))  # A whole number in the place of a float is not canonical.
    return {**added_entries(manifest), MANIFEST: text.decode(), DIGEST: hashlib.sha256(text).hexdigest()}
