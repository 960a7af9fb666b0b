"""The survey of an ONNX file: everything that is known of it, and all that prevents its import, in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, checker

from portable_nn.analysis.report import Finding, Level
from portable_nn.analysis.survey import Survey, Surveyor
from portable_nn.analysis.walk import GIVE_THOSE, Translate, walk
from portable_nn.core.binding import Sizes, bind
from portable_nn.core.dims import may_be_equal, substituted
from portable_nn.core.errors import FileError, FormatError, GraphError, PortableNNError, UnsupportedError
from portable_nn.core.graph import Attribute, Node, Shape
from portable_nn.core.text import quantity, said, some
from portable_nn.onnx.advice import advice
from portable_nn.onnx.bodies import bodies_once
from portable_nn.onnx.branches import inlined
from portable_nn.onnx.classical.model import DOMAIN, TRANSLATIONS, classical
from portable_nn.onnx.columns import as_row
from portable_nn.onnx.entries import equalities
from portable_nn.onnx.library.inference import declared, dtype_of, infer_standard, input_shapes
from portable_nn.onnx.narrow import without_narrow
from portable_nn.onnx.opsets.folding import Folder
from portable_nn.onnx.opsets.support import (
    STANDARD,
    Obstacle,
    as_opaque,
    captured,
    check_text,
    label,
    obstacles,
    opset_in,
    opset_of,
)
from portable_nn.onnx.opsets.translation import translated
from portable_nn.onnx.origin import ADVICE, origin_of
from portable_nn.onnx.reading import NO_OUTPUTS, answer, decides_shapes, is_stored, settings_of, tensor_of
from portable_nn.onnx.remarks.exporters import resets_too_early
from portable_nn.onnx.storage.external import locations, reading
from portable_nn.onnx.storage.files import read_alone, read_light, read_model
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.onnx.storage.tensors import Unread, from_attribute, from_tensor, is_attribute
from portable_nn.onnx.subgraphs import all_names, node_of, with_unique_names
from portable_nn.operators import Needed, needed_equalities, solution
from portable_nn.operators.costs import multiply_adds
from portable_nn.operators.narrow import HELD_DTYPES
from portable_nn.operators.opaque.nodes import is_opaque, opaque_notes
from portable_nn.operators.registry import DTYPE_CODES, Array, InvalidNode, NamedArrays, Type, Types, operator_of
from portable_nn.rewrites.program import Names

ONLY_PREDICTED: Final = (
    "portable-nn cannot import or train it; predict runs the file if onnxruntime has the kernels: "
    "check --runtimes onnxruntime tells"
)
"""The advice where import refuses what the standard has."""


class _Opened(NamedTuple):
    """A model, and all that does not depend on the sizes of its inputs.

    ``opset`` is 0 where it is not supported; ``blocked`` are the places of unsupported nodes; ``small`` are the weights
    that are in memory.
    """

    model: ModelProto
    opset: int
    nodes: tuple[Node, ...]
    weights: NamedArrays
    small: NamedArrays
    blocked: frozenset[int]
    findings: tuple[Finding, ...]


def onnx_surveyor(path: Path) -> Surveyor:
    """The surveyor of an ONNX file.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not an ONNX model.
    """
    findings = list[Finding]()
    with reading(path):
        faults = list[FormatError]()
        model = as_row(read_light(path, faults))
        check_text(model.graph, str(path))
        findings += [Finding("error", "", fault.reason) for fault in faults]
        return _surveyor(model, str(path), findings)


def multiply_adds_of(model: ModelProto, shapes: Mapping[str, Shape], where: str) -> int:
    """The multiply-adds of a model for inputs of these shapes, as far as they are known; those of a loop once."""
    with suppress(PortableNNError):
        survey = _surveyor(bodies_once(model), where, [])(shapes)
        nodes = enumerate(survey.nodes)
        counts = (multiply_adds(node, survey.types, fits=place in survey.fitting) for place, node in nodes)
        return sum(filter(None, counts))
    return 0


def _surveyor(model: ModelProto, where: str, findings: list[Finding]) -> Surveyor:
    """As ``onnx_surveyor``, with what was found while the file was read."""
    graph = model.graph
    try:
        opset = opset_of(model, where)
    except UnsupportedError as error:
        opset = 0
        hint = "onnx.version_converter.convert_version(model, 17) may bring it to one that is"
        findings.append(Finding("error", "", error.reason, hint))
    with _collected(findings):
        model, remarks = inlined(model, where, answer)
        model, held = without_narrow(with_unique_names(model, where))
        graph = model.graph
        findings += _notes([*remarks, *held])
    with _collected(findings):
        if (done := classical(model, where)) is not None:
            model, graph = done.model, done.model.graph
            findings += _notes(f"import: {note}" for note in done.notes)
    found = obstacles(model)
    findings.extend(_unsupported(obstacle, model) for obstacle in found)
    # The nodes of an opset that is not supported are known no more than those that it lacks.
    blocked = set() if opset else set(range(len(graph.node)))
    blocked.update(*(obstacle.nodes for obstacle in found))
    nodes = _nodes(model, where, blocked, findings)
    findings += _notes(opaque_notes(nodes))
    if not graph.output:
        findings.append(Finding("error", "", NO_OUTPUTS))
    weights = _weights(graph, where, findings)
    small = {name: array for name, array in weights.items() if not isinstance(array, TensorProto)}
    findings.extend(_weight_findings(graph))
    findings += _notes(resets_too_early(model), "warning")
    unread, known = Unread(weights, where), tuple(findings)
    return partial(_survey, _Opened(model, opset, tuple(nodes), unread, small, frozenset(blocked), known))


def _nodes(model: ModelProto, where: str, blocked: set[int], findings: list[Finding]) -> list[Node]:
    """The nodes of a model; adds to ``blocked`` the places of those that are weights, damaged, or without an output."""
    nodes = list[Node]()
    for place, proto in enumerate(model.graph.node):
        nodes.append(as_opaque(proto, model, label(proto)) or _node(proto, {}))
        if is_opaque(nodes[place]):
            continue
        with _collected(findings, label(proto)):
            if not is_stored(proto):
                whole = place not in blocked and any(subgraphs(proto))
                nodes[place] = node_of(proto, label(proto), where) if whole else _node(proto, _attributes(proto, where))
                continue
        blocked.add(place)  # It is a weight, or has an attribute that is damaged.
    for place, node in enumerate(nodes):
        if not any(node.outputs):
            findings.append(Finding("error", "", f"a node ({node.operator}) has no output"))
            blocked.add(place)
    return nodes


def _notes(texts: Iterable[str], level: Level = "note") -> list[Finding]:
    """Findings on the model as a whole."""
    return [Finding(level, "", text) for text in texts]


def check_by_standard(path: Path) -> Iterator[Finding]:
    """The findings of ``onnx.checker``, which takes a hard link to external data for a fault, and some valid models."""
    try:
        checker.check_model(read_model(path) if _is_linked(path) else str(path))
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        yield Finding("warning", "", f"onnx.checker refuses it {said(error)}")


def _is_linked(path: Path) -> bool:
    """True if a file of external data that can be read has another name."""
    with suppress(FileError, OSError):  # The survey says why.
        return any((path.parent / name).stat().st_nlink > 1 for name in locations(read_alone(path)))
    return False


def check_origin(path: Path) -> Iterator[Finding]:
    """The findings on a model of this package that is not as it was written."""
    try:
        found = origin_of(as_row(read_alone(path)), str(path), path)
    except PortableNNError:  # The survey says why.
        return
    if found.state == "damaged":
        yield Finding("error", "", f"damaged: {found.reason}", ADVICE)
    elif found.state == "edited":
        yield Finding("note", "", f"another program has changed what portable-nn wrote: {found.reason}")


# -- independent of the sizes of the inputs


@contextmanager
def _collected(findings: list[Finding], node: str = "") -> Iterator[None]:
    """Turn a ``FormatError`` or ``UnsupportedError`` into a finding, and go on."""
    try:
        yield
    except (FormatError, UnsupportedError) as error:
        findings.append(Finding("error", node, error.reason))


def _weights(graph: GraphProto, where: str, findings: list[Finding]) -> dict[str, Array | TensorProto]:
    """The arrays in the file that can be read, initializers and large constants; those in other places as tensors."""
    weights: dict[str, Array | TensorProto] = {}
    stored = [(tensor.name, tensor) for tensor in graph.initializer if _is_readable(tensor)]
    stored += [(node.output[0], tensor_of(node)) for node in graph.node if is_stored(node)]
    for name, tensor in stored:
        with _collected(findings):
            external = tensor.data_location == TensorProto.EXTERNAL
            weights[name] = tensor if external else from_tensor(tensor, where, f"tensor '{name}'")
    return weights


def _is_readable(tensor: TensorProto) -> bool:
    """True if the elements of a tensor were found, and are of a known type."""
    known = tensor.data_type in TensorProto.DataType.values() and tensor.data_type != TensorProto.UNDEFINED
    return known and (tensor.data_location != TensorProto.EXTERNAL or bool(tensor.external_data))


def _weight_findings(graph: GraphProto) -> Iterator[Finding]:
    stored = Counter(tensor.name for tensor in graph.initializer)
    yield from (
        Finding("error", "", f"the weight '{name}' is stored {count} times")
        for name, count in stored.items()
        if count > 1
    )
    if both := [value.name for value in graph.input if value.name in stored]:
        verb = "is" if len(both) == 1 else "are"
        yield Finding(
            "note",
            "",
            f"{quantity(len(both), 'weight')} {verb} listed among the inputs: {some(both)}",
            "runtimes must expect others in their place: list them among the initializers alone",
        )


def _unsupported(obstacle: Obstacle, model: ModelProto) -> Finding:
    """The finding for something that this package cannot import."""
    nodes = [model.graph.node[place] for place in obstacle.nodes]
    node = label(nodes[0]) if len(nodes) == 1 else ""
    if not obstacle.origin:
        return Finding("error", node, f"not supported: {obstacle}")
    if nodes[0].domain == DOMAIN and nodes[0].op_type in TRANSLATIONS:
        hint = "import writes it in operators of the standard, once the others can be"
    elif nodes[0].domain not in STANDARD:
        hint = "only a runtime with this extension can run it"
    elif obstacle.version:
        hint = ONLY_PREDICTED
    else:
        hint = f"opset {opset_in(model)} of the standard has no such operator"
    return Finding("error", node, f"not supported: {obstacle}", hint)


def _attributes(proto: NodeProto, where: str) -> dict[str, Attribute]:
    """The supported attributes. Raises ``FormatError`` where one is damaged."""
    return {
        attribute.name: from_attribute(attribute, where)
        for attribute in proto.attribute
        if is_attribute(attribute) and (not attribute.HasField("t") or attribute.t.data_type in HELD_DTYPES)
    }


def _node(proto: NodeProto, attributes: dict[str, Attribute]) -> Node:
    """A node of the file; the values that its subgraphs read from outside are further inputs."""
    domain = "" if proto.domain in STANDARD else proto.domain
    inputs = (*proto.input, *dict.fromkeys(captured(proto)))
    return Node(label(proto), proto.op_type, inputs, tuple(proto.output), attributes, domain)


# -- for given sizes of the inputs


def _survey(opened: _Opened, sizes: Sizes = None) -> Survey:
    """The survey of a model with inputs of the given sizes. Raises ``UsageError`` as ``bind`` does."""
    graph = opened.model.graph
    stored = {tensor.name for tensor in graph.initializer}
    entries = {value.name: value for value in graph.input if value.name not in stored}
    return _survey_of(opened, entries, *bind(input_shapes(graph), sizes))


def _survey_of(
    opened: _Opened,
    entries: Mapping[str, ValueInfoProto],
    shapes: Mapping[str, Shape],
    numbers: Mapping[str, int],
    notes: Sequence[Finding] = (),
) -> Survey:
    """The survey for inputs of the given ``shapes``, with sizes made equal where nodes need it, as import does."""
    graph, nodes = opened.model.graph, opened.nodes
    inferred, faults = infer_standard(opened.model, shapes, numbers)
    types = _known_types(opened, entries, shapes)
    seen = {*inferred, *types}  # What follows from an operator that inference does not know is no fault.
    faults = {place: text for place, text in faults.items() if seen.issuperset(filter(None, nodes[place].inputs))}
    foreign = {name for name, type in {**inferred, **types}.items() if type.dtype not in DTYPE_CODES}
    fit = {place for place, node in enumerate(nodes) if foreign.isdisjoint((*node.inputs, *node.outputs))}
    known = fit - opened.blocked
    unknown = {*entries, *(tensor.values.name for tensor in graph.sparse_initializer)}
    lacking = set(range(len(nodes))) - known
    given = dict(types)
    findings, fitting = walk(nodes, _translator(opened, known), types, inferred, unknown, lacking)
    if any(finding.hint == GIVE_THOSE for finding in findings):
        if needed := _needed(opened, given, list(shapes)):
            shapes = {name: substituted(shape, solution(needed)) for name, shape in shapes.items()}
            return _survey_of(opened, entries, shapes, numbers, [*notes, *_notes(equalities(needed))])
        findings = _advised(findings, opened, given, list(shapes))
    invalid = _invalid(faults, findings, nodes, types, fitting & known)
    valid = {place for place in fitting - faults.keys() if place in known or _is_valid(nodes[place])}
    strange = _strange(opened, {**inferred, **types}, foreign)
    said = _contradictions(declared(graph, numbers), types, nodes)
    all_findings = (*opened.findings, *notes, *strange, *findings, *invalid, *said)
    outputs = tuple(_outputs(opened))
    return Survey(nodes, tuple(entries), outputs, types, opened.weights, opened.opset, frozenset(valid), all_findings)


def _needed(opened: _Opened, types: Types, inputs: Sequence[str]) -> list[Needed]:
    """The equalities between sizes of the inputs that nodes need, as import solves them."""
    made = translated(_supported(opened), types, opened.opset, _names(opened), _outputs(opened))
    return needed_equalities(made.nodes, types, inputs)


def _advised(findings: Sequence[Finding], opened: _Opened, types: Types, inputs: Sequence[str]) -> list[Finding]:
    """``findings`` with the advice of import on the sizes that they are about."""
    hint = advice(_supported(opened), types, inputs, opened.opset, _outputs(opened))
    return [replace(each, hint=hint) if hint and each.hint == GIVE_THOSE else each for each in findings]


def _supported(opened: _Opened) -> list[Node]:
    """The nodes that import can translate."""
    return [node for place, node in enumerate(opened.nodes) if place not in opened.blocked]


def _outputs(opened: _Opened) -> list[str]:
    return [value.name for value in opened.model.graph.output]


def _names(opened: _Opened) -> Names:
    return Names([*all_names(opened.model.graph), *(node.name for node in opened.nodes)])


def _known_types(
    opened: _Opened, entries: Mapping[str, ValueInfoProto], shapes: Mapping[str, Shape]
) -> dict[str, Type]:
    """The types of the initializers, and of the inputs with the given ``shapes``."""
    graph = opened.model.graph
    settings = settings_of(graph, opened.small)
    types = {tensor.name: _weight_type(tensor, opened.small, settings) for tensor in graph.initializer}
    codes = {name: entries[name].type.tensor_type.elem_type for name in shapes}
    return types | {name: Type(dtype_of(codes[name]), shape) for name, shape in shapes.items()}


def _translator(opened: _Opened, known: Collection[int]) -> Translate:
    """The translation of the nodes at the places ``known`` into the vocabulary."""
    nodes, names = opened.nodes, _names(opened)
    read = frozenset([*_outputs(opened), *(name for node in nodes for name in node.inputs)])
    settings = settings_of(opened.model.graph, opened.small)
    folder = Folder(names, {name: array for name, array in opened.small.items() if name in settings})

    def translate(place: int, types: Types) -> Sequence[Node]:
        if place not in known:
            return ()
        made = translated([nodes[place]], types, opened.opset, names, read, folder)
        if made.faults:
            raise GraphError(made.faults)
        return made.nodes

    return translate


def _invalid(
    faults: Mapping[int, str],
    found: Iterable[Finding],
    nodes: Sequence[Node],
    types: Types,
    fitting: Collection[int],
) -> Iterator[Finding]:
    """The ``faults`` of the standard's inference at nodes whose inputs are known and that have no error yet.

    Import takes those at the places ``fitting``: the inference has faults of its own.
    """
    named = {finding.node for finding in found if finding.level == "error"}
    for place, node in enumerate(nodes):
        read = all(name in types for name in node.inputs if name)
        if place in faults and any(node.outputs) and node.name not in named and read:
            level: Level = "warning" if place in fitting else "error"
            yield Finding(level, node.name, f"{node.operator} does not fit its inputs {said(faults[place])}")


def _strange(opened: _Opened, types: Types, foreign: Collection[str]) -> Iterator[Finding]:
    """Nodes that make elements of a type that this package lacks."""
    for place, node in enumerate(opened.nodes):
        made = next((name for name in node.outputs if name in foreign), None)
        if made and place not in opened.blocked:
            message = f"not supported: it makes '{made}', with elements of type {types[made].dtype}"
            yield Finding("error", node.name, message, ONLY_PREDICTED)


def _is_valid(node: Node) -> bool:
    """True if a node has the inputs, outputs and attributes of its operator."""
    try:
        operator_of(node).check(node.attributes, node.inputs, len(node.outputs))
    except InvalidNode:
        return False
    return True


def _weight_type(tensor: TensorProto, weights: NamedArrays, settings: Collection[str]) -> Type:
    """The type of an initializer, with its elements where shape rules need them."""
    array = weights.get(tensor.name)
    seen = array is not None and array.ndim <= 1 and (tensor.name in settings or decides_shapes(array))
    constant_value = tuple(array.ravel().tolist()) if array is not None and seen else None
    return Type(dtype_of(tensor.data_type), tuple(tensor.dims), constant_value)


def _contradictions(said: Types, found: Types, nodes: Iterable[Node]) -> Iterator[Finding]:
    """Values whose declared type differs from the inferred one."""
    for node in nodes:
        for name in node.outputs:
            if name in said and name in found:
                other_dtype = said[name].dtype != found[name].dtype
                if other_dtype or not may_be_equal(said[name].shape, found[name].shape):
                    message = f"makes '{name}' as {found[name]}, but the file says {said[name]}"
                    yield Finding("error" if other_dtype else "warning", node.name, message)
