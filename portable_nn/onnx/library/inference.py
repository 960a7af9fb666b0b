"""The shape inference of the ``onnx`` package: types where this package has no rule, and faults.

Its model is reduced to what it needs: large arrays become inputs of the same type, and so do the outputs of unknown
operators, as far as the file declares their types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto, defs, helper

from portable_nn.core.dims import apart, is_number, substituted
from portable_nn.core.graph import Dim, Shape
from portable_nn.onnx.library.isolated import LibraryEndedError, LibraryError, infer_shapes
from portable_nn.onnx.opsets.support import STANDARD, type_name
from portable_nn.operators.narrow import HELD_DTYPES
from portable_nn.operators.registry import DTYPE_CODES, Type, Types

SMALL: Final = 1024
"""The most elements of an array that inference may need, as sizes or axes."""

_FAULT: Final = re.compile(r"#(\d+)\)?:? (?:\[\w+\] )?(.*)")
"""A node, by the place that is its name there, and what the library says of it."""


def infer_standard(
    model: ModelProto, shapes: Mapping[str, Shape], known: Mapping[str, int]
) -> tuple[dict[str, Type], dict[int, str]]:
    """The types of values, by name, and the faults of nodes, by place.

    Args:
        model: the model.
        shapes: those of its inputs.
        known: numbers for symbolic sizes.
    """
    shown = _shown(model, shapes, known)
    faults: dict[int, str] = {}
    try:
        found = infer_shapes(shown, strict=True)
    except LibraryEndedError:
        found = ModelProto()
    except LibraryError as error:
        faults = {int(place): text for place, text in _FAULT.findall(str(error))}
        found = ModelProto()
        with suppress(LibraryError):  # As much as can be inferred despite faults.
            found = infer_shapes(shown)
    graph = found.graph
    values = [*graph.value_info, *graph.output, *graph.input]
    types = {value.name: type for value in values if (type := type_of(value))}
    return declared(model.graph, known) | types, faults


def declared(graph: GraphProto, known: Mapping[str, int]) -> dict[str, Type]:
    """The types that a file declares for intermediate values and outputs."""
    values = [*graph.value_info, *graph.output]
    return {
        value.name: Type(type.dtype, substituted(type.shape, known)) for value in values if (type := type_of(value))
    }


def input_shapes(graph: GraphProto) -> dict[str, Shape | None]:
    """The shapes of the inputs that are no initializers; ``None`` for one that is no tensor of known rank."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = (value for value in graph.input if value.name not in stored)
    return {value.name: (type := type_of(value)) and type.shape for value in inputs}


def type_of(value: ValueInfoProto) -> Type | None:
    """The type of a value, with new symbols for unknown sizes; ``None`` where it is no tensor of known rank."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type or not tensor.HasField("shape"):
        return None
    sizes = stated_sizes(value)
    shape = (f"{value.name}.{axis}" if size is None else size for axis, size in enumerate(sizes))
    return Type(dtype_of(tensor.elem_type), tuple(shape))


def stated_sizes(value: ValueInfoProto) -> list[Dim | None]:
    """The sizes of a tensor, or their names, each one once (see ``apart``).

    ``None`` for an unknown one, for which some tools write -1 as a number or a name.
    """
    return apart(_stated_size(dim) for dim in value.type.tensor_type.shape.dim)


def _stated_size(dim: TensorShapeProto.Dimension) -> Dim | None:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param) if dim.dim_param and not is_number(dim.dim_param) else None


def dtype_of(code: int) -> str:
    """The name of the element type that values have here, or of one that is not supported, such as ``string``."""
    return HELD_DTYPES.get(code) or type_name(code).lower()


def light(model: ModelProto) -> ModelProto:
    """``model`` with inputs of the same type in place of large arrays."""
    graph = model.graph
    shown = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    shown.graph.CopyFrom(
        GraphProto(
            name=graph.name,
            node=graph.node,
            initializer=_small(graph),
            input=graph.input,
            output=graph.output,
            value_info=graph.value_info,
        )
    )
    shown.graph.input.extend(_large(graph))
    return shown


def _small(graph: GraphProto) -> list[TensorProto]:
    """The initializers that may hold sizes or axes."""
    return [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= SMALL and not tensor.external_data]


def _large(graph: GraphProto) -> Iterator[ValueInfoProto]:
    """Inputs in place of all other initializers."""
    listed = {value.name for value in (*graph.input, *_small(graph))}
    for tensor in graph.initializer:
        if tensor.name not in listed:
            yield helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)


def _shown(model: ModelProto, shapes: Mapping[str, Shape], known: Mapping[str, int]) -> ModelProto:
    """The model for inference; nodes are named by their places, which its messages then contain."""
    graph = model.graph
    types = declared(graph, known)
    functions = {(function.domain, function.name) for function in model.functions}
    versions = {entry.domain: entry.version for entry in model.opset_import}
    small = _small(graph)
    inside = {tensor.name for tensor in small}
    shown = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import, functions=model.functions)
    shown.graph.name = graph.name
    shown.graph.initializer.extend(small)
    shown.graph.input.extend(_with_shape(value, shapes) for value in graph.input if value.name not in inside)
    shown.graph.input.extend(_large(graph))
    for place, node in enumerate(graph.node):
        if (node.domain, node.op_type) in functions or _has_schema(node, versions):
            shown.graph.node.append(node)
            shown.graph.node[-1].name = f"#{place}"
        else:
            shown.graph.input.extend(_as_inputs(node, types))
    shown.graph.output.extend(ValueInfoProto(name=value.name) for value in graph.output)
    return shown


def _as_inputs(node: NodeProto, types: Types) -> Iterator[ValueInfoProto]:
    """The outputs of a node whose ``types`` are declared."""
    codes = {**{dtype_of(code): code for code in TensorProto.DataType.values()}, **DTYPE_CODES}
    for name in node.output:
        if name in types and types[name].dtype in codes:
            yield helper.make_tensor_value_info(name, codes[types[name].dtype], types[name].shape)


def _has_schema(node: NodeProto, versions: Mapping[str, int]) -> bool:
    """True if the ``onnx`` package has the operator of ``node`` in the version that the model uses."""
    domain = "" if node.domain in STANDARD else node.domain
    version = max((versions[name] for name in (domain, node.domain) if name in versions), default=0)
    return defs.has(node.op_type, version, domain)


def _with_shape(value: ValueInfoProto, shapes: Mapping[str, Shape]) -> ValueInfoProto:
    """``value`` with the shape that is given for it, if one is."""
    code, shape = value.type.tensor_type.elem_type, shapes.get(value.name)
    return value if shape is None else helper.make_tensor_value_info(value.name, code, shape)
