"""Models of tables whose inputs are the columns, words as strings: what a row of a file has is what they take.

Nodes before those of the network make its row of the columns, a word the number of its category; nodes after them
give NaN where the network refuses a row. ``as_row`` takes both away, and what is left is the network as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from portable_nn.core.errors import FormatError
from portable_nn.core.graph import Graph, Value, format_shape
from portable_nn.data.cells import MISSING
from portable_nn.data.columns import OTHER, codes_of
from portable_nn.format.manifest import decode
from portable_nn.format.meaning import Column, columns_of
from portable_nn.onnx.classical.model import DOMAIN
from portable_nn.onnx.classical.use import Maker
from portable_nn.onnx.storage.functions import subgraphs
from portable_nn.onnx.storage.metadata import MANIFEST, is_whole, metadata_of
from portable_nn.onnx.writing import to_bytes
from portable_nn.operators import DTYPE_CODES, FLOATS, ONNX_DTYPES, infer

VERSION: Final = 2
"""The version of ``ai.onnx.ml`` that is written: the first whose encoders have strings and floats."""


def obstacle(graph: Graph, columns: Sequence[Column]) -> str | None:
    """Why the columns of a graph's table cannot be its inputs; None where they can."""
    if not columns:
        return "it has no table whose columns have names as its only input"
    [row], types = graph.inputs, infer(graph).types
    if row.dtype not in FLOATS:
        return f"its row is {row.dtype}, which has no NaN"
    made = {name for node in graph.nodes for name in node.outputs}
    for name in graph.outputs:
        dtype, shape = types[name].dtype, types[name].shape
        if name not in made or dtype not in FLOATS or len(shape) != 2 or shape[0] != row.shape[0]:
            return f"output '{name}' {dtype}{format_shape(shape)} has no floats for each row, to be NaN for one refused"
    return None


def renaming(columns: Sequence[Column]) -> Callable[[str], str]:
    """The names of the values inside: as they are, but for those that a column has.

    Such a name, and each that begins like one of the new names, is marked with an underscore more than any column
    begins with: that can be undone, whatever the names are.
    """
    names, mark = {column.name for column in columns}, _mark(columns)
    return lambda name: mark + name if name in names or name.startswith(mark) else name


def _mark(columns: Sequence[Column]) -> str:
    return "_" * (1 + max(len(column.name) - len(column.name.lstrip("_")) for column in columns))


def _rename(graph: GraphProto, new: Callable[[str], str]) -> None:
    """Give all values of a graph other names."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new(value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name and new(name) for name in names]
        for inner in subgraphs(node):
            _rename(inner, new)


class _Added(NamedTuple):
    """The nodes before and after those of a network, the initializers that they read, and what outputs were."""

    front: Sequence[NodeProto]
    back: Sequence[NodeProto]
    arrays: Sequence[TensorProto]
    given: Mapping[str, str]


def by_column(model: ModelProto, columns: Sequence[Column]) -> None:
    """Make an input of each column of a model's row: words are strings, numbers are of the type of the row."""
    graph = model.graph
    _rename(graph, renaming(columns))
    row, added = graph.input[0], _added(graph, columns)
    nodes = [*added.front, *_renamed(graph.node, added.given), *added.back]
    inputs = [_input(row, column) for column in columns]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes), graph.input.extend(inputs), graph.initializer.extend(added.arrays)
    if any(node.domain == DOMAIN for node in added.front):
        model.opset_import.add(domain=DOMAIN, version=VERSION)


def as_row(model: ModelProto) -> ModelProto:
    """The model that ``by_column`` made another one of; the model itself where it is none.

    The manifest in it says which columns there are. Nothing is taken away that is not exactly as it is written.
    """
    metadata = metadata_of(model)
    if not metadata.get(MANIFEST) or not is_whole(metadata):
        return model
    try:
        manifest = decode(metadata[MANIFEST].encode(), "")
    except FormatError:
        return model
    columns = columns_of(manifest.inputs)
    if not is_by_column(model, columns):
        return model
    found = deepcopy(model)
    _take_away(found, columns, manifest.graph.inputs[0])
    again = deepcopy(found)
    by_column(again, columns)
    return found if to_bytes(again) == to_bytes(model) else model


def is_by_column(model: ModelProto, columns: Sequence[Column]) -> bool:
    """True if the inputs of a model may be columns, and its outputs NaN, as far as their number and types tell."""
    types = {ONNX_DTYPES.get(value.type.tensor_type.elem_type) for value in model.graph.output}
    sizes = [len(value.type.tensor_type.shape.dim) for value in model.graph.input]
    return bool(columns) and sizes == [2] * len(columns) and types <= FLOATS


def _take_away(model: ModelProto, columns: Sequence[Column], row: Value) -> None:
    """Undo what ``by_column`` did, if that was all that was done."""
    graph, mark, new = model.graph, _mark(columns), renaming(columns)
    entry = graph.input[0]
    entry.name, entry.type.tensor_type.elem_type = new(row.name), DTYPE_CODES[row.dtype]
    for dim in entry.type.tensor_type.shape.dim[1:2]:
        dim.dim_value = len(columns)
    added = _added(GraphProto(input=[entry], output=graph.output), columns)  # As many as there are here.
    del graph.input[1:]
    last = len(graph.node) - len(added.back)
    given = {node.input[2]: node.output[0] for node in graph.node[last:] if len(node.input) == 3}
    body = _renamed(graph.node[len(added.front) : last], given)
    del graph.node[:], graph.initializer[len(graph.initializer) - len(added.arrays) :]
    graph.node.extend(body)
    _rename(graph, lambda name: name.removeprefix(mark))
    others = [each for each in model.opset_import if each.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(others)


def _renamed(nodes: Iterable[NodeProto], new: Mapping[str, str]) -> list[NodeProto]:
    """Nodes with ``new`` names for some values."""
    found = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in found:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
    return found


def _input(row: ValueInfoProto, column: Column) -> ValueInfoProto:
    """A column as an input (batch, 1), with the documentation of the row."""
    found = deepcopy(row)
    found.name = column.name
    if column.categories and not codes_of(column):
        found.type.tensor_type.elem_type = TensorProto.STRING
    found.type.tensor_type.shape.dim[1].dim_value = 1
    return found


def _added(graph: GraphProto, columns: Sequence[Column]) -> _Added:
    """The nodes that make the row of a graph of its columns, and NaN of the answers to a row that is refused."""
    [row] = graph.input
    kind, make = row.type.tensor_type.elem_type, Maker(graph, 0, "")
    make.names.taken.update(column.name for column in columns)
    cells = [_coded(make, column, kind) if column.categories else column.name for column in columns]
    _node(make, "Concat", *cells, name="columns", output=row.name, axis=1)
    refused = _refused(make, row.name, columns, kind)
    front, given = len(make.nodes), dict[str, str]()
    for output in graph.output:
        given[output.name] = make.names.fresh(f"{output.name}.given")
        none = make.array(f"{output.name}.none", math.nan, ONNX_DTYPES[output.type.tensor_type.elem_type])
        parts = (refused, none, given[output.name])
        _node(make, "Where", *parts, name=f"{output.name}.answer", output=output.name)
    return _Added(make.nodes[:front], make.nodes[front:], [*make.arrays.values()], given)


def _node(make: Maker, operator: str, *inputs: str, name: str, output: str = "", **attributes: Any) -> str:
    """A node whose name no other has; its output, by default of the same name."""
    name = make.names.fresh(name)
    return make.node(operator, *inputs, name=name, output=output or name, **attributes)


def _coded(make: Maker, column: Column, kind: int) -> str:
    """The number of each category: NaN for a missing one, and ``OTHER`` for what is none of the categories."""
    name, cell, values = column.name, column.name, [float(place) for place in range(len(column.categories))]
    if codes := codes_of(column):
        cell = _node(make, "Cast", cell, name=f"{name}.code", to=TensorProto.FLOAT)
        keys: dict[str, Any] = {"keys_floats": codes}
    else:
        missing = sorted(MISSING.difference(column.categories))
        keys, values = {"keys_strings": [*column.categories, *missing]}, [*values, *(math.nan for _ in missing)]
    options = {**keys, "values_floats": values, "default_float": OTHER, "domain": DOMAIN}
    place = _node(make, "LabelEncoder", cell, name=f"{name}.place", **options)
    place = _node(make, "Cast", place, name=f"{name}.number", to=kind)
    if not codes:
        return place
    return _node(make, "Where", _node(make, "IsNaN", name, name=f"{name}.absent"), name, place, name=f"{name}.cell")


def _refused(make: Maker, row: str, columns: Sequence[Column], kind: int) -> str:
    """The rows (batch, 1) that the network refuses."""
    dtype = ONNX_DTYPES[kind]
    others = [OTHER if each.categories and each.unknown == "refuse" else math.nan for each in columns]
    needed = make.array("columns.needed", [each.missing == "refuse" for each in columns], "bool")
    unknown = _node(make, "Equal", row, make.array("columns.others", others, dtype), name="columns.unknown")
    missing = _node(make, "And", _node(make, "IsNaN", row, name="columns.absent"), needed, name="columns.missing")
    faults = _node(make, "Or", unknown, missing, name="columns.faults")
    ones = make.array("columns.ones", [[1.0]] * len(columns), dtype)
    count = _node(make, "MatMul", _node(make, "Cast", faults, name="columns.each", to=kind), ones, name="columns.count")
    return _node(make, "Cast", count, name="columns.refused", to=TensorProto.BOOL)
