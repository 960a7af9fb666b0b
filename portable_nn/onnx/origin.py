"""The state of an ONNX file that this package wrote: it is whole, damaged, or edited by another program.

The manifest in its metadata says which graph was written; that graph is written again and compared with the one in the
file. Differences in content alone (weights, values of attributes, labels) are damage. So is a difference in a single
part, such as one node or the name of one weight: a bit that flipped makes it. A program that optimises, quantises or
renames changes several parts at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from portable_nn.core.errors import EditedWarning, FormatError, UsageError, listed, warn
from portable_nn.core.tensors import Array
from portable_nn.core.text import quantity, some
from portable_nn.format.manifest import PRODUCER, Manifest, decode
from portable_nn.format.meaning import OutputInfo, columns_of
from portable_nn.format.validate import hash_faults, manifest_faults
from portable_nn.onnx.columns import by_column, is_by_column
from portable_nn.onnx.opsets.support import label, opset_of
from portable_nn.onnx.opsets.translation import OLDEST_WRITTEN
from portable_nn.onnx.remarks.documentation import attach
from portable_nn.onnx.storage.external import with_data
from portable_nn.onnx.storage.metadata import DIGEST, DOC, MANIFEST, added_entries, is_whole, metadata_of, own_doc
from portable_nn.onnx.storage.tensors import Unread, from_tensor
from portable_nn.onnx.writing import PRODUCER as PROGRAM
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import ONNX_DTYPES

State: TypeAlias = Literal["foreign", "own", "edited", "damaged"]

EDITED: Final = "read as another tool's model"
"""The beginning of the note on a model that another program has changed."""

ADVICE: Final = (
    "get the file again; if it was changed on purpose, 'portable-nn import --edited' (in Python edited=True) reads it "
    "as another tool's model"
)
"""The advice on a damaged file."""


class Origin(NamedTuple):
    """Who wrote a model, and whether it is as it was written.

    Attributes:
        state: ``foreign``: another program wrote it. ``own``: this package did, and everything that counts is as it was
            written. ``edited``: another program has changed its graph since. ``damaged``: its bytes have changed.
        reason: what was changed, in words.
        manifest: the manifest in it, where this version can read it.
        tensors: with ``own``, the parameters, each read when it is asked for.
    """

    state: State
    reason: str = ""
    manifest: Manifest | None = None
    tensors: Mapping[str, Array] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The note on a model that was changed; none on others."""
        if self.state in ("foreign", "own"):
            return ()
        return (f"{EDITED}: the manifest in it does not describe it any more ({self.reason})",)

    def refuse_damage(self, where: str | Path) -> None:
        """Raise ``FormatError`` where the model is damaged."""
        if self.state == "damaged":
            raise FormatError(where, f"is damaged: {self.reason}; {ADVICE}")


def warn_of_edit(notes: Iterable[str], where: str | Path) -> None:
    """Warn with ``EditedWarning`` where one of the ``notes`` on a model says that another program has changed it."""
    for note in notes:
        if note.startswith(EDITED):
            warn(f"{where}: {note}", EditedWarning)


def is_ours(metadata: Mapping[str, str], producer: str) -> bool:
    """True if this package wrote a model with this metadata and name of a producer."""
    return producer == PROGRAM or not metadata.keys().isdisjoint({MANIFEST, DIGEST})


def origin_of(model: ModelProto, where: str, path: Path | None = None) -> Origin:
    """Who wrote a model, and whether it is as it was written.

    Args:
        model: the model.
        where: the name of the model in messages.
        path: its file, where its external data are not in ``model`` yet: at most one tensor of them is then in memory.

    Raises:
        FormatError: the model has no opset.
        UnsupportedError: it has one that is not supported.
    """
    properties = metadata_of(model)
    if not is_ours(properties, model.producer_name):
        return Origin("foreign")
    if properties.keys().isdisjoint({MANIFEST, DIGEST}):
        return Origin("edited", f"{PROGRAM} wrote it, and its manifest was removed")
    if not is_whole(properties):
        return Origin("damaged", f"the manifest in it does not have the SHA-256 in '{DIGEST}'")
    try:
        manifest = decode(properties[MANIFEST].encode(), where)
    except FormatError as error:  # Above all of a newer version: what it says is what was written.
        return Origin("edited", error.reason)
    if faults := manifest_faults(manifest):
        return Origin("edited", listed(faults))
    parameters = {value.name for value in manifest.graph.parameters}
    state, reason = _graph_state(manifest, with_data(model, parameters), where)
    stored = {each.name: each for each in model.graph.initializer if each.name in parameters}
    tensors = Unread(stored, where, path)
    try:
        changed = hash_faults(manifest, tensors)
    except (FormatError, UsageError) as error:
        changed = {"": getattr(error, "reason", str(error))}
    if state != "own":
        which = f"; weights have changed as well: {some(map(repr, changed))}" if any(changed) else ""
        return Origin(state, reason + which, manifest)
    if faults := [*changed.values(), *_metadata_faults(manifest, model)]:
        return Origin("damaged", listed(faults), manifest)
    return Origin("own", "", manifest, tensors)


# -- the graph


def _graph_state(manifest: Manifest, model: ModelProto, where: str) -> tuple[State, str]:
    """The state of the graph that a manifest describes, and the reason in words."""
    opset = opset_of(model, where)
    forms = (form for portable in (True, False) for form in _forms(manifest, model, opset, portable))
    found = [_compared(expected, model, manifest) for expected in forms]
    state, reason = min(found or [_other(f"opset {opset} is never written")], key=lambda each: _NEAREST.index(each[0]))
    if state == "edited" and (written := _flipped_opset(manifest, model, opset)):
        return "damaged", f"it says opset {opset}, and its nodes are those of opset {written}"
    if state == "damaged" and manifest.producer != PRODUCER:
        return _other(f"{manifest.producer} wrote it, and this version writes another graph: {reason}")
    return state, reason


_NEAREST: Final[tuple[State, ...]] = ("own", "damaged", "edited")
"""A model is what it is by the nearest of the two forms that are written, the portable and the other one."""


def _other(reason: str) -> tuple[State, str]:
    return "edited", reason


def _forms(manifest: Manifest, found: ModelProto, opset: int, portable: bool) -> Iterator[ModelProto]:
    """The models that are written of a manifest, with ones for weights; none where the opset cannot express it."""
    ones = {
        each.name: np.broadcast_to(np.array(1, each.dtype), tuple(map(int, each.shape)))
        for each in manifest.graph.parameters
    }
    try:
        model = to_model(manifest.graph, ones, opset=opset, location="-", portable=portable)
    except UsageError:
        return
    attach(model, manifest.remarks, manifest.graph)
    yield model
    if is_by_column(found, columns := columns_of(manifest.inputs)):  # Where ``as_row`` leaves it so, it has changed.
        by_column(model, columns)
        yield model


def _flipped_opset(manifest: Manifest, model: ModelProto, opset: int) -> int | None:
    """The opset that the graph was written at, where it says one that differs from that in a single bit."""
    for bit in range(8):
        other = opset ^ (1 << bit)
        for portable in (True, False) if other >= OLDEST_WRITTEN else ():
            forms = (x for x in _forms(manifest, model, other, portable) if x.ir_version == model.ir_version)
            if any(_compared(each, model, manifest)[0] == "own" for each in forms):
                return other
    return None


class _Part(NamedTuple):
    """A part of a graph: what makes it the part that it is, what is in it, and what is said of it.

    ``is_odd`` where it has fields that the standard lacks: lengths and tags that are damaged make them.
    """

    kind: str
    name: str
    structure: bytes
    content: bytes
    remarks: frozenset[tuple[str, str]]
    is_odd: bool = False

    @property
    def key(self) -> tuple[str, bytes]:
        return self.kind, self.structure

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'" if self.name else f"the {self.kind}"


def _compared(expected: ModelProto, found: ModelProto, manifest: Manifest) -> tuple[State, str]:
    """The state of the model ``expected`` in ``found``, but for the elements of its parameters."""
    parameters = {value.name for value in manifest.graph.parameters}
    if _is_equal(expected, found, parameters):  # As nearly all are: this is fast.
        return "own", ""
    ours, theirs = list(_parts(expected, parameters)), list(_parts(found, parameters))
    gone, new = _without(ours, theirs), _without(theirs, ours)
    if gone or new:
        read = {name for node in found.graph.node for name in node.input}
        is_damage = any(part.is_odd for part in theirs) or _is_in_one_place(gone, new, read)
        return "damaged" if is_damage else "edited", _difference(gone, new)
    return _contents(ours, theirs)


def _is_equal(expected: ModelProto, found: ModelProto, parameters: Collection[str]) -> bool:
    """True if two models have equal graphs, field by field, but for the elements of ``parameters``."""
    one, other = expected.graph, found.graph
    fields = [field.name for field in one.DESCRIPTOR.fields if field.name != "initializer"]
    ours, theirs = ([_header(tensor, parameters) for tensor in graph.initializer] for graph in (one, other))
    graphs = ours == theirs and all(getattr(one, name) == getattr(other, name) for name in fields)
    return graphs and not found.functions and not found.training_info


def _header(tensor: TensorProto, parameters: Collection[str]) -> tuple[object, ...]:
    """The fields of a tensor, without its elements where it is one of the ``parameters``."""
    elements = b"" if tensor.name in parameters else tensor.raw_data
    return tensor.name, tuple(tensor.dims), tensor.data_type, elements, _remarks(tensor)


def _contents(ours: list[_Part], theirs: list[_Part]) -> tuple[State, str]:
    """As ``_compared``, of two graphs of the same structure."""
    by_key: dict[tuple[str, bytes], list[_Part]] = {}
    for part in theirs:
        by_key.setdefault(part.key, []).append(part)
    added = ""
    for part in ours:
        other = by_key[part.key].pop(0)
        if part.content != other.content:
            return "damaged", f"the contents of {part} have changed"
        if lost_or_added := other.remarks - part.remarks:
            if part.remarks - other.remarks:
                return "damaged", f"the documentation of {part} has changed: {dict(lost_or_added)}"
            added = added or f"{part} has documentation that was not written with it"
    return ("edited", added) if added else ("own", "")


def _without(parts: list[_Part], others: list[_Part]) -> list[_Part]:
    """The ``parts`` that have no equal in structure among ``others``."""
    left, found = Counter(other.key for other in others), list[_Part]()
    for part in parts:
        if left[part.key]:
            left[part.key] -= 1
        else:
            found.append(part)
    return found


def _difference(gone: list[_Part], new: list[_Part]) -> str:
    """The differences in words."""
    parts, others = gone or new, len(gone or new) - 1
    changed = ("was", "were") if not gone else ("is not as it was", "are not as they were")
    more = f" and {quantity(others, 'other part')}" if others else ""
    return f"{parts[0]}{more} {changed[bool(others)]} {'written' if gone else 'added'}"


def _is_in_one_place(gone: list[_Part], new: list[_Part], read: Collection[str]) -> bool:
    """True if the difference is one that damaged bytes make: one part is lost, or another in its place, no longer.

    ``read`` are the values that nodes read: any program may drop a weight that is not among them.
    """
    if len(gone) != 1 or len(new) > 1:
        return False
    [one], other = gone, new[0] if new else None
    if other is None:
        return one.kind != "tensor" or one.name in read
    if other.kind != one.kind:
        return other.kind != "node"  # A weight may become a Constant node.
    if other.kind in ("input", "output") and _is_fixed(one, other):
        return False
    return len(other.structure) <= len(one.structure)


def _is_fixed(one: _Part, other: _Part) -> bool:
    """True if numbers took the place of symbolic sizes in an input or output."""
    before, after = (ValueInfoProto.FromString(part.structure) for part in (one, other))
    for old, new in zip(before.type.tensor_type.shape.dim, after.type.tensor_type.shape.dim, strict=False):
        if old.HasField("dim_param") and new.HasField("dim_value"):
            old.dim_value = new.dim_value
    return bool(before == after)


# -- parts of a graph

_ELEMENTS: Final = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
    "external_data",
    "data_location",
)
"""The fields that hold the elements of a tensor, or say where they are."""


def _parts(model: ModelProto, parameters: Collection[str]) -> Iterator[_Part]:
    """The parts of a model; of initializers that are ``parameters`` without their elements.

    Types of values in between follow from the nodes: any program adds or drops them.
    """
    graph = model.graph
    yield from map(_node, graph.node)
    yield from (_initializer(each, each.name in parameters) for each in graph.initializer)
    yield from (_value("input", each) for each in graph.input)
    yield from (_value("output", each) for each in graph.output)
    others = [*graph.sparse_initializer, *graph.quantization_annotation, *model.functions, *model.training_info]
    yield from (_Part(type(each).__name__, "", to_bytes(each), b"", frozenset()) for each in others)
    yield _Part("graph", "", graph.name.encode(), b"", _remarks(graph), _is_odd(graph))


def _node(node: NodeProto) -> _Part:
    bare = deepcopy(node)
    _strip(bare)
    attributes = sorted(bare.attribute, key=lambda each: each.name)  # Programs write them in any order.
    del bare.attribute[:]
    content = b"\0".join(map(to_bytes, attributes))
    bare.attribute.extend(type(each)(name=each.name, type=each.type) for each in attributes)
    return _Part("node", label(node), to_bytes(bare), content, _remarks(node), _is_odd(node))


def _initializer(tensor: TensorProto, is_parameter: bool) -> _Part:
    bare = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    content = b"" if is_parameter else _elements(tensor)
    return _Part("tensor", tensor.name, to_bytes(bare), content, _remarks(tensor), _is_odd(tensor))


def _elements(tensor: TensorProto) -> bytes:
    """The elements of a small constant, in whichever of its fields."""
    if tensor.data_type in ONNX_DTYPES and tensor.data_location != TensorProto.EXTERNAL:
        try:
            return from_tensor(tensor, "").tobytes()
        except FormatError:
            pass
    return to_bytes(tensor)


def _value(kind: str, value: ValueInfoProto) -> _Part:
    bare = deepcopy(value)
    _strip(bare)
    return _Part(kind, value.name, to_bytes(bare), b"", _remarks(value), _is_odd(value))


def _strip(message: NodeProto | ValueInfoProto) -> None:
    message.ClearField("doc_string")
    del message.metadata_props[:]


def _is_odd(message: GraphProto | NodeProto | TensorProto | ValueInfoProto) -> bool:
    return len(UnknownFieldSet(message)) > 0


def _remarks(message: NodeProto | TensorProto | ValueInfoProto | GraphProto) -> frozenset[tuple[str, str]]:
    """The documentation of a part."""
    doc = [("", message.doc_string)] if message.doc_string else []
    return frozenset([*doc, *((each.key, each.value) for each in message.metadata_props)])


# -- metadata


def _metadata_faults(manifest: Manifest, model: ModelProto) -> Iterator[str]:
    """The entries of the metadata that have changed; others may have been added, or dropped."""
    found, expected = metadata_of(model), added_entries(manifest)
    lost, added = expected.keys() - found.keys(), found.keys() - expected.keys() - {MANIFEST, DIGEST}
    for key, text in expected.items():
        if found.get(key, text) != text or (key in lost and added):
            yield f"'{key}' in the metadata is not what the manifest says"
    said = [info.columns for info in manifest.inputs] + [info != OutputInfo(info.name) for info in manifest.outputs]
    known = DOC in manifest.metadata or any(said)
    if model.doc_string and known and own_doc(model.doc_string, manifest) != manifest.metadata.get(DOC, ""):
        yield "its doc_string is not what the manifest says"
