"""Inlining of functions, and of the taken branch of ``If`` nodes with a constant condition; slices for split sequences.

A function may be the model's own, or the standard's definition of an operator that this package lacks. Exporters write
``If`` for conditions on shapes in a program, many of which follow from the constants and sizes of the model.

Exporters write ``x.split(size)`` as ``SplitToSequence`` and ``SequenceAt``. There are no sequences of tensors here;
where the sizes and the places are constant, each part is a ``Slice``.

These are ``ModelProto`` to ``ModelProto`` and no rewrites of graphs, because a graph has neither functions nor
subgraphs: they are inlined before one is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import filterfalse
from typing import Any, Final, TypeAlias

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    checker,
    defs,
    helper,
    inliner,
    shape_inference,
)

from portable_nn.core.errors import FormatError
from portable_nn.core.text import said
from portable_nn.onnx.blocked import unblocked
from portable_nn.onnx.library.isolated import LibraryError, inline_standard_function
from portable_nn.onnx.opsets.support import (
    STANDARD,
    all_nodes,
    copy_initializers,
    is_supported,
    label,
    names_in,
    needed_nodes,
    opset_in,
    reads,
    set_nodes,
)
from portable_nn.onnx.storage.functions import check_functions, subgraphs
from portable_nn.onnx.storage.tensors import from_tensor
from portable_nn.rewrites.program import Names


def without_sequences(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """``model`` with slices for the parts of such splits, and the names of the splits; never changed in place."""
    splits = {node.output[0]: node for node in model.graph.node if _is(node, "SplitToSequence", 2)}
    if not splits:
        return model, []
    constants = _constants(model)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    nodes = [each for node in model.graph.node for each in _sliced(node, splits, constants, taken)]
    read = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    gone = [*filterfalse(read.__contains__, splits)]
    if not gone:
        return model, []
    made = deepcopy(model)
    set_nodes(made.graph, (node for node in nodes if set(node.output).isdisjoint(gone)))
    return made, gone


def without_optionals(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """``model`` with the elements in place of optionals, and the names of these; never changed in place.

    An input that is an optional has one: it is given. Other optionals that may have none stay as they are.
    """
    found = [node.output[0] for _, node in all_nodes(model.graph) if _is_optional(node)]
    if found:
        model = deepcopy(model)
        _settle(model.graph, frozenset())
    return model, found


def _settle(graph: GraphProto, empty: frozenset[str]) -> None:
    """Write identities and constants for nodes of optionals; ``empty`` are those that have no element."""
    for value in (*graph.input, *graph.output):
        if value.type.HasField("optional_type"):
            value.type.CopyFrom(deepcopy(value.type.optional_type.elem_type))
    for node in graph.node:
        is_empty = not any(node.input) or node.input[0] in empty
        empty -= {*node.output}
        if _is(node, "OptionalHasElement"):
            truth = helper.make_tensor("", TensorProto.BOOL, (), [not is_empty])
            node.CopyFrom(helper.make_node("Constant", [], node.output, node.name, value=truth))
        elif _is_optional(node) and not is_empty:
            node.op_type = "Identity"
            del node.attribute[:]
        elif _is(node, "Optional"):
            empty |= {*node.output}
        for body in subgraphs(node):
            _settle(body, empty.difference(value.name for value in body.input))


def _is_optional(node: NodeProto) -> bool:
    """True for a node that makes, reads or asks for an optional."""
    return node.op_type.startswith("Optional") and _is(node, node.op_type)


def _is(node: NodeProto, operator: str, inputs: int = 0) -> bool:
    """True for a node of the standard's operator with one output and at least so many inputs."""
    is_standard = node.op_type == operator and node.domain in ("", "ai.onnx")
    return is_standard and len(node.output) == 1 and len(node.input) >= inputs


def _constants(model: ModelProto) -> dict[str, Any]:
    """The values of small constants by name."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if _is(node, "Constant"):
            tensors.update(zip(node.output, (each.t for each in node.attribute if each.name == "value"), strict=False))
    given = {value.name for value in model.graph.input}
    return {
        name: from_tensor(tensor, "model")
        for name, tensor in tensors.items()
        if name not in given
        and tensor.data_type in (TensorProto.INT32, TensorProto.INT64)
        and tensor.data_location != TensorProto.EXTERNAL
    }


def _part(
    node: NodeProto, splits: Mapping[str, NodeProto], constants: Mapping[str, Any]
) -> tuple[str, int, int, int] | None:
    """The tensor, axis, begin and end of a part; ``None`` where they are not constant."""
    split = splits.get(node.input[0])
    if split is None or split.input[1] not in constants or node.input[1] not in constants:
        return None
    sizes, place = constants[split.input[1]], int(constants[node.input[1]])
    axis = next((each.i for each in split.attribute if each.name == "axis"), 0)
    if sizes.ndim == 0:
        return (split.input[0], axis, place * int(sizes), (place + 1) * int(sizes)) if place >= 0 else None
    if not 0 <= place < sizes.size:
        return None
    ends = np.cumsum(sizes)
    return split.input[0], axis, int(ends[place] - sizes[place]), int(ends[place])


def _sliced(
    node: NodeProto, splits: Mapping[str, NodeProto], constants: Mapping[str, Any], taken: set[str]
) -> Sequence[NodeProto]:
    """The slice in place of a node that is a part of a split."""
    part = _part(node, splits, constants) if _is(node, "SequenceAt", 2) else None
    if part is None:
        return [node]
    x, *numbers = part
    names, nodes = [x], list[NodeProto]()
    for role, number in zip(("axes", "starts", "ends"), numbers, strict=True):
        name = f"{node.output[0]}_{role}"
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(helper.make_node("Constant", [], [name], value_ints=[number]))
        names.append(name)
    x, axes, starts, ends = names
    return [*nodes, helper.make_node("Slice", [x, starts, ends, axes], node.output, name=node.name)]


Answer: TypeAlias = Callable[[ModelProto, str], "bool | None"]
"""The function that tells if a value of a model is true; ``None`` where the value is data-dependent."""

_FAILURES: Final = (RuntimeError, ValueError, checker.ValidationError, shape_inference.InferenceError)
"""The exceptions of the inliner."""


def inlined(model: ModelProto, where: str, answer: Answer) -> tuple[ModelProto, list[str]]:
    """``model`` with functions and decided ``If`` nodes inlined, and notes on what was done; never changed in place.

    Args:
        model: the model.
        where: the file that messages name.
        answer: decides conditions.

    Raises:
        FormatError: its functions do not fit each other, or make far more nodes of it than it stores.
    """
    model, block = unblocked(model, where)
    notes = [f"channels in blocks of {block}, for one kind of processor, read as plain ones"] * (block > 0)
    if model.functions:
        called = sorted({function.name for function in model.functions})
        model = without_functions(model, where)
        notes.append(f"functions of the model that were inlined: {', '.join(called)}")
    model, defined = _expanded(model)
    if defined:
        notes.append(f"operators replaced by the standard's own definition: {', '.join(defined)}")
    model, optional = without_optionals(model)
    if optional:
        notes.append(f"optional values, which are there unless the model says otherwise: {', '.join(optional)}")
    model, split = without_sequences(model)
    if split:
        notes.append(f"sequences of tensors replaced by slices: {', '.join(split)}")
    if any(_is_if(node) for node in model.graph.node):
        model, made = _without_decided(model, answer)
        if made:
            notes.append(f"If nodes replaced by one branch, as their condition is constant: {', '.join(made)}")
    if optional:
        read = {value.name for value in model.graph.output}.union(*map(reads, model.graph.node))
        kept = [node for node in model.graph.node if not _is(node, "Optional") or node.output[0] in read]
        set_nodes(model.graph, kept)
    return model, notes


def without_functions(model: ModelProto, where: str) -> ModelProto:
    """``model`` with the nodes of its own functions where these are called.

    Raises ``FormatError`` where they do not fit each other, or make far more nodes of it than it stores.
    """
    check_functions(model, where)
    try:
        return inliner.inline_local_functions(model)
    except _FAILURES as error:
        raise FormatError(where, f"its functions cannot be inlined {said(error)}") from error


def _expanded(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """``model`` with unsupported operators expanded by the definitions of the standard, and their names."""
    lacking = {(node.domain, node.op_type) for node in model.graph.node if not is_supported(node)}
    defined = []
    for domain, operator in sorted(lacking):
        if not _has_definition(domain, operator, model):
            continue
        try:
            found = inline_standard_function(model, domain, operator)
        except LibraryError:  # Some definitions need types that inference does not find.
            continue
        if lacking.issuperset((node.domain, node.op_type) for node in found.graph.node if not is_supported(node)):
            model = found
            defined.append(operator)
    return model, defined


def _has_definition(domain: str, operator: str, model: ModelProto) -> bool:
    """True if the standard defines an operator as a function."""
    version = opset_in(model, STANDARD if domain in STANDARD else {domain})
    domain = "" if domain in STANDARD else domain
    if not defs.has(operator, version, domain):
        return False
    schema: Any = defs.get_schema(operator, version, domain)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _is_if(node: NodeProto) -> bool:
    return node.op_type == "If" and node.domain in STANDARD


def _without_decided(model: ModelProto, answer: Answer) -> tuple[ModelProto, list[str]]:
    """``model`` with the taken branches in place of decided ``If`` nodes, and the labels of these."""
    model = deepcopy(model)
    made: list[str] = []
    undecided: set[str] = set()
    while True:
        places = [
            place
            for place, node in enumerate(model.graph.node)
            if _is_if(node) and undecided.isdisjoint(node.output[:1]) and node.output
        ]
        if not places:
            return model, made
        node = model.graph.node[places[0]]
        # A condition that depends on the node itself is none.
        found = (
            answer(model, node.input[0])
            if len(node.input) == 1
            and node.output[0] not in {name for each in needed_nodes(model.graph, node.input) for name in each.output}
            else None
        )
        branch = _branch(node, found) if found is not None else None
        if branch is None or len(branch.output) != len(node.output):
            undecided.add(node.output[0])
            continue
        made.append(f"'{label(node)}'")
        _replace(model.graph, places[0], branch)


def _branch(node: NodeProto, condition: bool) -> GraphProto | None:
    wanted = "then_branch" if condition else "else_branch"
    return next((a.g for a in node.attribute if a.name == wanted and a.type == AttributeProto.GRAPH), None)


def _replace(graph: GraphProto, place: int, branch: GraphProto) -> None:
    """Replace the ``If`` node at ``place`` by the nodes of ``branch``, whose outputs take its names."""
    decided = graph.node[place]
    names, inside = Names(names_in(graph)), [value.name for value in branch.output]
    made = {name for node in branch.node for name in node.output}
    renamed = {
        inner: outer
        for position, (inner, outer) in enumerate(zip(inside, decided.output, strict=True))
        if inner in made and inner not in inside[:position]
    }
    own = [*(tensor.name for tensor in branch.initializer), *(name for node in branch.node for name in node.output)]
    renamed.update({name: names.fresh(name) for name in own if name and name not in renamed})
    copy_initializers(branch, graph, renamed)
    nodes = deepcopy(list(branch.node))
    for node in nodes:
        rename(node, renamed)
    nodes += [
        helper.make_node("Identity", [renamed.get(inner, inner)], [outer])
        for inner, outer in zip(inside, decided.output, strict=True)
        if renamed.get(inner) != outer
    ]
    set_nodes(graph, [*graph.node[:place], *nodes, *graph.node[place + 1 :]])


def rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Give values other names, also in the subgraphs of ``node``."""
    for field in (node.input, node.output):
        field[:] = [names.get(name, name) for name in field]
    for graph in subgraphs(node):
        for inner in graph.node:
            rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)
