"""Models with operators of ``ai.onnx.ml`` as models of the standard's operators alone, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from portable_nn.core.errors import FileError, FormatError, UnsupportedError, listed
from portable_nn.core.text import some
from portable_nn.format.meaning import InputInfo
from portable_nn.onnx.classical import features, linear
from portable_nn.onnx.classical.columns import Table, coded
from portable_nn.onnx.classical.use import Maker, Use
from portable_nn.onnx.opsets.support import check_made_once, check_text, needed_nodes, opset_in
from portable_nn.operators import find

DOMAIN: Final = "ai.onnx.ml"

TRANSLATIONS: Final[Mapping[str, Callable[[Use], None]]] = {
    "ArrayFeatureExtractor": features.feature_extractor,
    "Binarizer": features.binarizer,
    "FeatureVectorizer": features.feature_vectorizer,
    "Imputer": features.imputer,
    "LabelEncoder": features.label_encoder,
    "LinearClassifier": linear.linear_classifier,
    "LinearRegressor": linear.linear_regressor,
    "Normalizer": features.normalizer,
    "OneHotEncoder": features.one_hot,
    "SVMClassifier": linear.svm_classifier,
    "SVMRegressor": linear.svm_regressor,
    "Scaler": features.scaler,
    "ZipMap": features.zip_map,
}
"""The operators that are translated, and how."""


class Classical(NamedTuple):
    """A model with operators of ``ai.onnx.ml``.

    Attributes:
        model: what it computes in operators of the standard, as far as they are translated.
        original: the same with the operators as they are, for comparison: it takes and gives the same arrays.
        inputs: the meaning of the inputs, where they became one table.
        labels: the labels of the classes, in the order of the output; or empty.
        frozen: parameters that no training changes.
        notes: what was changed.
        condition: how many times more than in ``model`` the roundings of float32 move the numbers of ``original``.
    """

    model: ModelProto
    original: ModelProto
    inputs: tuple[InputInfo, ...]
    labels: tuple[str, ...]
    frozen: frozenset[str]
    notes: tuple[str, ...]
    condition: float


def classical(model: ModelProto, where: str) -> Classical | None:
    """A model in operators of the standard; ``None`` where it has none of ``ai.onnx.ml``.

    Labels that the model answers with are left out beside its numbers, as a network has them in its manifest. Several
    inputs, and such of words, become one table.

    Raises:
        FormatError: attributes do not fit each other.
        UnsupportedError: uses of operators that are not translated.
    """
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return None
    check_text(model.graph, where)
    check_made_once(model.graph, where)
    graph, notes = model.graph, list[str]()
    kept, dropped = _outputs(graph)
    nodes = needed_nodes(graph, kept)
    table = Table(graph, nodes, where)
    entry = table.entry(_names(graph)) if table.is_one else None
    labels, is_turned = _labels(graph, where)
    plain = _translated(graph, nodes, kept, table, Maker(graph, opset_in(model) or _OPSET, where))
    make = Maker(graph, opset_in(model) or _OPSET, where)
    if entry is not None:
        table.originals(make, opset_in(model, {DOMAIN}))
    make.nodes += [_without_map(node) for node in nodes]
    original = _model(model, kept, make, entry)
    if dropped:
        notes.append(f"left out, as the labels are part of the network: {some(dropped)}")
    if entry is not None:
        notes.append(f"the inputs are one table, '{table.name}': {some(each.name for each in table.all)}")
    names = sorted((_operators(nodes) & TRANSLATIONS.keys()) - _operators(plain.nodes))
    notes += [f"operators of {DOMAIN} that are now such of the standard: {', '.join(names)}"] if names else []
    if is_turned:
        notes.append("of the two scores the first is that of the second class: the labels are in that order")
        labels = labels[::-1]
    made = _model(model, kept, plain, entry)
    return Classical(made, original, table.info, labels, frozenset(plain.frozen), tuple(notes), plain.condition)


def _operators(nodes: Iterable[NodeProto]) -> set[str]:
    """The operators of the domain."""
    return {node.op_type for node in nodes if node.domain == DOMAIN}


class Answering(NamedTuple):
    """A model with operators of ``ai.onnx.ml`` whose outputs are arrays of numbers, and the labels of its classes."""

    model: ModelProto
    labels: tuple[str, ...]


def answering(model: ModelProto, where: str) -> Answering | None:
    """A classifier with arrays in the place of its maps (ZipMap), and without outputs of words; its nodes stay.

    ``None`` where nothing says what its classes are. Raises ``FormatError`` where attributes do not fit each other.
    """
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return None
    check_text(model.graph, where)
    check_made_once(model.graph, where)
    labels, is_turned = _labels(model.graph, where)
    kept = [value.name for value in model.graph.output if _type(value) != TensorProto.STRING]
    if not labels or not kept:
        return None
    make = Maker(model.graph, opset_in(model) or _OPSET, where)
    needed = needed_nodes(model.graph, kept)
    make.nodes += [node if set(kept).isdisjoint(node.output) else _without_map(node) for node in needed]
    made, declared = _model(model, kept, make, None), {value.name: value for value in model.graph.output}
    for value in made.graph.output:
        if declared[value.name].type.HasField("tensor_type"):
            value.CopyFrom(declared[value.name])
        else:
            sizes = value.type.tensor_type.shape.dim
            sizes.add(dim_param="examples"), sizes.add(dim_value=len(labels))
    return Answering(made, labels[::-1] if is_turned else labels)


_OPSET: Final = 17
"""The version of the standard's operators where a model names none."""


def _outputs(graph: GraphProto) -> tuple[list[str], list[str]]:
    """The outputs that are kept, and the labels that are left out: strings, and whole numbers beside floats."""
    maps = {name for node in graph.node if node.op_type == "ZipMap" for name in node.output}
    floats = [value.name for value in graph.output if value.name in maps or _type(value) in _FLOATS]
    kept = floats or [value.name for value in graph.output if _type(value) != TensorProto.STRING]
    kept = kept or [value.name for value in graph.output]
    return kept, [value.name for value in graph.output if value.name not in kept]


_FLOATS: Final = {TensorProto.FLOAT, TensorProto.DOUBLE}


def _type(value: object) -> int:
    return int(value.type.tensor_type.elem_type)  # type: ignore[attr-defined]


def _names(graph: GraphProto) -> Iterable[str]:
    return (*(value.name for value in graph.input), *(name for node in graph.node for name in node.output))


def _translated(graph: GraphProto, nodes: Sequence[NodeProto], kept: Sequence[str], table: Table, make: Maker) -> Maker:
    """The nodes in operators of the standard, for the outputs ``kept``. All faults are raised as one."""
    make.read = {*kept, *(name for node in nodes for name in node.input)}
    if table.is_one:
        make.floats.add(table.name)
        table.numbers(make)
    make.codes = {coded(name): [column.words for column in table.columns[name]] for name in table.texts}
    codes = {name: coded(name) for name in table.texts}
    faults = list[FileError]()
    for node in nodes:
        each = deepcopy(node)
        each.input[:] = [codes.get(name, name) for name in node.input]
        each.output[:] = [codes.get(name, name) for name in node.output]
        try:
            _add(make, each)
        except FileError as error:
            faults.append(error)
    if faults:
        kind = FormatError if any(isinstance(each, FormatError) for each in faults) else UnsupportedError
        raise kind(make.where, listed([each.reason for each in faults]))
    _remove_copies(make, graph)
    return make


def _add(make: Maker, node: NodeProto) -> None:
    """Add a node, or those that it is translated into."""
    if node.domain == DOMAIN and node.op_type in TRANSLATIONS:
        count = len(make.nodes)
        try:
            TRANSLATIONS[node.op_type](Use(node, make))
        except UnsupportedError:
            if node.op_type not in _KERNELS:
                raise
            make.nodes[count:] = [node]  # As it is: onnxruntime runs it.
    else:
        make.nodes.append(node)
        make.floats.update(node.output if _is_float(node, make.floats) else ())


_KERNELS: Final = {"SVMClassifier", "SVMRegressor"}
"""The operators that have uses which compute what no layer does."""


def _remove_copies(make: Maker, graph: GraphProto) -> None:
    """Let nodes whose results are only copied make the copies: what computes an output is then seen."""
    outputs = {value.name for value in graph.output}
    makers = {name: (node, place) for node in make.nodes for place, name in enumerate(node.output)}
    while copy := next((each for each in make.nodes if _is_copy(each, outputs, makers)), None):
        old, new = copy.input[0], copy.output[0]
        make.nodes.remove(copy)
        maker, place = makers.pop(old)
        maker.output[place] = new
        makers[new] = maker, place
        for node in make.nodes:
            node.input[:] = [new if name == old else name for name in node.input]


def _is_copy(node: NodeProto, outputs: set[str], makers: Mapping[str, object]) -> bool:
    """True if a node copies what another node makes, and that is no output itself, as an output."""
    read, made = node.input[:1], node.output[:1]
    return node.op_type == "Identity" and made[0] in outputs and read[0] in makers and read[0] not in outputs


def _is_float(node: NodeProto, floats: set[str]) -> bool:
    """True if a node of the standard only moves elements that are known to be float32."""
    operator = find(node.op_type) if not node.domain else None
    if operator is None or operator.family != "layout":
        return False
    moved = [name for place, name in enumerate(node.input) if place in operator.passes]
    return bool(moved) and floats.issuperset(moved)


def _without_map(node: NodeProto) -> NodeProto:
    """A ZipMap as the array that it makes maps of."""
    if node.op_type != "ZipMap" or node.domain != DOMAIN:
        return node
    return helper.make_node("Identity", list(node.input), list(node.output), node.name)


def _model(model: ModelProto, outputs: Sequence[str], make: Maker, entry: object | None) -> ModelProto:
    """A model of the nodes that were made, and of those initializers that they read."""
    made, graph = deepcopy(model), model.graph
    read = {name for node in make.nodes for name in node.input}
    del made.graph.node[:], made.graph.initializer[:], made.graph.output[:], made.graph.value_info[:]
    made.graph.node.extend(make.nodes)
    tensors = (*graph.initializer, *make.arrays.values())
    made.graph.initializer.extend(tensor for tensor in tensors if tensor.name in read)
    if entry is not None:
        del made.graph.input[:]
        made.graph.input.append(entry)
    for value in graph.output:
        if value.name in outputs:
            kept = deepcopy(value)
            if value.type.WhichOneof("value") != "tensor_type":
                kept.type.Clear()
                kept.type.tensor_type.elem_type = TensorProto.FLOAT
            kept.type.tensor_type.ClearField("shape")
            made.graph.output.append(kept)
    if not opset_in(made):
        made.opset_import.add(domain="", version=_OPSET)
    others = [each for each in made.opset_import if each.domain != DOMAIN]
    if not any(node.domain == DOMAIN for node in make.nodes):
        del made.opset_import[:]
        made.opset_import.extend(deepcopy(others))
    elif len(others) == len(made.opset_import):
        made.opset_import.add(domain=DOMAIN, version=1)
    return made


_LABELS: Final = {TensorProto.STRING, TensorProto.INT64, TensorProto.INT32}
"""The types of labels."""


def _labels(graph: GraphProto, where: str) -> tuple[tuple[str, ...], bool]:
    """The labels of the classes, and whether the two scores of a support vector machine are the other way round."""
    found, is_turned, make = tuple[str, ...](), False, Maker(graph, 0, where)
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ("LinearClassifier", "SVMClassifier", "ZipMap", "TreeEnsembleClassifier"):
            use = Use(node, make)
            found = use.classes()
            is_turned |= node.op_type == "SVMClassifier" and len(found) == 2 and not use.has("prob_a")
        elif node.op_type == "ArrayFeatureExtractor" and len(node.input) == 2:
            labels, place = make.stored.get(node.input[0]), made.get(node.input[1])
            if labels is not None and place is not None and labels.data_type in _LABELS:
                array = numpy_helper.to_array(labels).reshape(-1).tolist()
                texts = (each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in array)
                found = tuple(texts)
    return found, is_turned
