"""Networks from one kind of file into another: written, read back, and compared tensor by tensor.

The kinds are in ``opening``: weight files in every carrier, and ONNX. A file of arrays that another program wrote has
no graph: that comes from another model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import all_or_none
from portable_nn.core.errors import FormatError, PortableNNError, UsageError, VerificationError, listed
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Natural
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import either, quantity, size, suggestion
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.format import load, npz
from portable_nn.format.hashes import DIGEST, hashes
from portable_nn.format.manifest import PRODUCER, Manifest, normalised
from portable_nn.onnx.verification.differences import Difference
from portable_nn.onnx.verification.proof import Proof
from portable_nn.opening.carried import OPSET, ConvertOptions, ReadNetwork, WrittenNetwork
from portable_nn.opening.kinds import NETWORKS, WRITABLE, is_known, open_any
from portable_nn.opening.model_file import ModelFile, NetworkFile, WritableFile
from portable_nn.opening.onnx_file import OnnxFile
from portable_nn.opening.weight_file import WeightFile
from portable_nn.plain import Entry, PlainTensors, open_tensors
from portable_nn.plain.matching import match

SHOWN: Final = 5
"""The most names of tensors in a message."""


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Args:
        source: the file that was read.
        target: the file that was written.
        files: all files that were written: beside a large ONNX model there is one with its tensors.
        bytes: their total size.
        tensors: the number of tensors that were written.
        tensor_bytes: the size of these.
        verified: whether the tensors were read back, and have the digests that they have in ``source``.
        digest: the digest of the network in ``target``.
        same_digest: whether ``source`` has the same; ``None`` where it has none.
        outputs: how the two engines were compared; empty where no ONNX file takes part.
        recorded: their differences from a recording of another program.
        opset: the opset of an ONNX file that was written.
        ir_version: its IR version.
        dropped: what ``source`` holds and ``target`` does not, as text.
        notes: what else is worth knowing.
    """

    source: Path
    target: Path
    files: tuple[Path, ...]
    bytes: int
    tensors: int
    tensor_bytes: int
    verified: bool
    digest: str
    same_digest: bool | None
    outputs: Proof
    recorded: Mapping[str, Difference]
    opset: int | None
    ir_version: int | None
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


@check_kinds
def convert(
    source: str | Path,
    target: str | Path,
    *,
    against: str | Path | None = None,
    rename: Mapping[str, str] = MappingProxyType({}),
    opset: int | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: Natural = 0,
    io: str | Path | None = None,
    edited: bool = False,
) -> Conversion:
    """Write the network in ``source`` as ``target``, read it back, and compare every tensor by its SHA-256.

    A file at ``target`` is replaced as a whole, or stays as it was. Should what is read back differ from what was
    read, nothing is changed either.

    Args:
        source: a weight file, an ONNX file, or the name of a shipped model.
        target: the file to write; its suffix selects the kind: one of ``opening.WRITABLE``.
        against: where ``source`` holds arrays only, the model that has its graph, labels and preprocessing. Names,
            shapes and types of its tensors must be the same.
        rename: names in such a ``source`` → names in the model; a tensor with an empty one is dropped.
        opset: the opset of an ONNX file, by default the lowest from 17 up that can hold the network.
        verify: whether to read back and compare, and to run both engines where an ONNX file takes part.
        atol: the absolute tolerance of the comparison of outputs.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        io: an ``.npz`` file of inputs and outputs that another program has recorded: the network must compute these.
        edited: whether an ONNX file of this package may have been changed, as ``read_onnx`` has it.

    Raises:
        UsageError: arguments that contradict each other, or a network that ``target`` cannot express.
        FileError: a file cannot be read or written.
        FormatError: ``source`` is damaged, or its arrays are not those of the model.
        UnsupportedError, GraphError: an ONNX file that cannot be read.
        VerificationError: ``target`` differs from ``source``, or the engines do not agree.
        DataError: ``io`` does not hold the inputs and outputs of the network.
    """
    opened, out = _opened(source, edited=edited), Path(target)
    path, kind = opened.path, _kind_to_write(out)
    if opset is not None and not OnnxFile.recognises(out):
        raise UsageError(f"{out}: opset is an option of ONNX files, whose names end in {OnnxFile.suffixes[0]}")
    if out.exists() and path.samefile(out):
        raise UsageError(f"{out} is the file to read: write to another one")
    if io is not None and not verify:
        raise UsageError(f"nothing is compared with {io} where nothing is verified: leave one of them out")
    options = ConvertOptions(verify, opset, atol, rtol, seed)
    recording = None if io is None else Path(io)
    to_onnx = OnnxFile.recognises(out)  # Then the last step compares with the recording, and in both engines.
    found = _read(opened, against, rename, options if to_onnx else options._replace(io=recording))
    given = found if kind.holds_training else _without_training(found)
    with all_or_none():
        written = kind.write(out, given, options._replace(io=recording))
        if verify:
            _compare(given, written, kind)
    return Conversion(
        path,
        out,
        written.files,
        sum(file.stat().st_size for file in written.files),
        len(given.manifest.tensors),
        given.size,
        verify,
        written.digest,
        written.digest == found.digest if found.digest else None,
        written.outputs or found.outputs,
        written.recorded or found.recorded,
        written.opset,
        written.ir_version,
        tuple(_dropped(found, given, written)),
        tuple(_notes(found, given, written, verify)),
    )


# -- what to read and what to write


def _opened(source: str | Path, *, edited: bool = False) -> ModelFile:
    """A shipped model or a file."""
    path = Path(source)
    if path.suffix and not is_known(path):
        raise UsageError(f"{path}: {_expected('read', NETWORKS)}")
    return open_any(source, edited=edited)


def _kind_to_write(path: Path) -> type[WritableFile]:
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"{path}: {_expected('written', WRITABLE)}")
    return kind


def _expected(how: str, kinds: Iterable[str]) -> str:
    return f"the name of a file that can be {how} ends in {either(kinds)}"


def _read(
    opened: ModelFile, against: str | Path | None, rename: Mapping[str, str], options: ConvertOptions
) -> ReadNetwork:
    path = opened.path
    if isinstance(opened, NetworkFile) and (against is None or not _is_edited(opened)):
        if against is not None or rename:
            raise UsageError(
                f"{path}: holds a network of its own: --against and --rename are for files that hold arrays only"
            )
        found = opened.source(options)
        return found if found.recorded or options.io is None else _compared(found, options)
    tensors = open_tensors(path)
    if against is None:
        raise UsageError(
            f"{path}: holds arrays and not a network ({_some(tensors)}). --against MODEL says which network they are "
            "of: a shipped model or a file whose tensors have the same names and shapes (--rename OLD=NEW, where a "
            "name is another)"
        )
    model = _read(_opened(against), None, {}, ConvertOptions(verify=False))
    found = _with_tensors(tensors, model, str(against), rename)
    return found if options.io is None else _compared(found, options)


def _is_edited(opened: NetworkFile) -> bool:
    """True if another program has re-saved a weight file: with ``against``, its arrays may be others by now."""
    return isinstance(opened, WeightFile) and bool(load(opened.path, lazy=True, verify="off").notes)


def _compared(found: ReadNetwork, options: ConvertOptions) -> ReadNetwork:
    """``found``, after numpy has computed from it what is recorded."""
    from portable_nn.onnx.verification.recorded import compare_recorded
    from portable_nn.onnx.verify import Tolerance

    graph, tolerance = found.manifest.graph, Tolerance(options.atol, options.rtol)
    return found._replace(recorded=compare_recorded(options.io, graph, found.tensors, str(found.path), tolerance))


def _some(tensors: PlainTensors) -> str:
    names = list(tensors)
    more = ", …" if len(names) > SHOWN else ""
    return f"{quantity(len(names), 'tensor')}{': ' if names else ''}{', '.join(names[:SHOWN])}{more}"


def _without_training(found: ReadNetwork) -> ReadNetwork:
    manifest = found.manifest
    if manifest.training is None:
        return found
    names = [value.name for value in manifest.graph.parameters]
    both = (manifest.digests, manifest.checksums)
    digests, checksums = ({name: each[name] for name in names if name in each} for each in both)
    kept = replace(manifest, training=None, digests=digests, checksums=checksums)
    return found._replace(manifest=kept, tensors=_Chosen(found.tensors, {name: name for name in names}))


class _Chosen(Mapping[str, Array]):
    """Some of the tensors under new names, each still read when it is first used."""

    def __init__(self, tensors: NamedArrays, old: Mapping[str, str]) -> None:
        """``old`` has for each new name the one in ``tensors``."""
        self._tensors, self._old = tensors, old

    def __getitem__(self, name: str) -> Array:
        return self._tensors[self._old[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._old)

    def __len__(self) -> int:
        return len(self._old)


# -- arrays without a network


def _with_tensors(tensors: PlainTensors, model: ReadNetwork, against: str, rename: Mapping[str, str]) -> ReadNetwork:
    """The network of ``model`` with the ``tensors`` of a file."""
    path, entries = tensors.path, dict(tensors.entries)
    own = {npz.MANIFEST, npz.DIGEST} & {*entries, *tensors.metadata}  # A weight file that another program has changed.
    old = _renamed(set(entries) - own, rename, path)
    faults = list(_mismatches({new: entries[name] for new, name in old.items()}, model.manifest))
    if faults:
        raise FormatError(path, listed(faults, f"does not fit {against}"), faults)
    manifest = replace(
        model.manifest, metadata={}, training=None, digests={}, checksums={}, producer=PRODUCER, version=0
    )
    left_out = [name for name in entries if name not in {*old.values(), *own}]
    dropped = [f"tensor '{name}', {entries[name].dtype} {format_shape(entries[name].shape)}" for name in left_out]
    dropped += [f"the file's metadata '{key}'" for key in tensors.metadata if key not in own]
    notes = ["the manifest in it is not read: another program has changed the file"] if own else []
    notes += [*tensors.notes, f"graph, labels and preprocessing are those of {against}"]
    if model.manifest.metadata:
        notes.append(f"the metadata of {against} describe other weights, and are dropped")
    ordered = {value.name: old[value.name] for value in manifest.graph.parameters}
    return ReadNetwork(path, manifest, _Chosen(tensors, ordered), dropped=tuple(dropped), notes=tuple(notes))


def _renamed(names: set[str], rename: Mapping[str, str], path: Path) -> dict[str, str]:
    """The tensors' names in the file, by their new ones."""
    for old in rename:
        if old not in names:
            meant = suggestion(old, names)
            raise UsageError(f"{path}: there is no tensor '{old}' to rename{meant and f': {meant}'}")
    found = dict[str, str]()
    for name in sorted(names):
        new = rename.get(name, name)
        if new in found:
            raise UsageError(f"{path}: '{found[new]}' and '{name}' would both be called '{new}'")
        if new:
            found[new] = name
    return found


def _mismatches(found: Mapping[str, Entry], manifest: Manifest) -> Iterator[str]:
    """The differences of tensors from those of a network, with the names that may be meant."""
    needed = manifest.graph.parameters
    result = match(found, needed)
    for row, value in zip(result.rows, needed, strict=True):
        turned = ", transposed, which has to be done before" if row.axes else ""
        if row.status == "missing":
            meant = f": perhaps --rename {row.suggestion}={row.name}{turned}" if row.suggestion else ""
            yield f"tensor '{row.name}' {format_shape(row.needed)} is missing{meant}"
        elif row.status == "shape differs" and row.found is not None:
            yield (
                f"tensor '{row.name}' has shape {format_shape(row.found)}, but the network needs "
                f"{format_shape(row.needed)}{turned}"
            )
        elif found[row.name].dtype != value.dtype:
            yield f"tensor '{row.name}' is {found[row.name].dtype}, but the network needs {value.dtype}"
    yield from (f"tensor '{name}' is not of the network: --rename {name}= leaves it out" for name in result.left_over)


# -- comparing


def _compare(given: ReadNetwork, written: WrittenNetwork, kind: type[WritableFile]) -> None:
    """Raise ``VerificationError`` unless the file that was written has the manifest and the tensors of ``given``."""
    try:
        back = kind.read_back(written)
    except PortableNNError as error:
        raise VerificationError(f"{error} ({_UNDONE})") from error
    expected = given.manifest
    digests = expected.digests if given.digest else hashes(given.tensors, expected.tensors)[DIGEST]
    faults = [
        f"tensor '{name}' has the SHA-256 {back.digests.get(name)} there, and {digest} in {given.path}"
        for name, digest in digests.items()
        if back.digests.get(name) != digest
    ]
    if _comparable(back) != _comparable(normalised(expected)):
        faults.append(f"its manifest differs from that in {given.path}")
    if faults:
        raise VerificationError(f"{listed(faults, f'{written.files[0]} does not hold what was written')} ({_UNDONE})")


_UNDONE: Final = "it is removed, and the earlier file is back"


def _comparable(manifest: Manifest) -> Manifest:
    """A manifest without its hashes and its producer."""
    return replace(manifest, digests={}, checksums={}, producer=PRODUCER, version=0)


# -- dropped parts and notes


def _dropped(found: ReadNetwork, given: ReadNetwork, written: WrittenNetwork) -> Iterator[str]:
    yield from found.dropped
    if found.opset is not None and found.opset != (written.opset or OPSET):
        after = f": it is {written.opset} there" if written.opset else f": export writes {OPSET} by default"
        yield f"that its operators are those of opset {found.opset}{after}"
    training = found.manifest.training
    if training and given.manifest.training is None:
        extra = found.size - given.size
        stands = f"after {quantity(training.epoch, 'epoch')} and {quantity(training.step, 'step')}"
        yield f"the state of its training {stands}: {quantity(len(training.tensors), 'tensor')} ({size(extra)})"


def _notes(found: ReadNetwork, given: ReadNetwork, written: WrittenNetwork, verify: bool) -> Iterator[str]:
    yield from found.notes
    yield from found.outputs.notes
    yield from written.notes
    if found.digest and found.digest != written.digest:
        yield f"the digest differs: {_why(found, given)}"
    if not verify:
        yield "not verified: the written file was not compared with the source"


def _why(found: ReadNetwork, given: ReadNetwork) -> str:
    if given.manifest is not found.manifest:
        return "it is that of the network without its training"
    older, newer = found.manifest.version, found.manifest.needed_version
    if older < newer:
        return f"{found.path} is of version {older} of the format, and this is version {newer}"
    return "the manifest names another version of portable-nn as its writer"
