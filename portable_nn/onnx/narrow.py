"""Element types that numpy lacks in a model, which is read with wider ones that hold their numbers.

Once a value has the wider type, its own is lost. So nodes that go by the type of an input are written here with a
number of that type: a CastLike as a Cast, and a QuantizeLinear with an ``output_dtype``. These round; all other
operators compute in the wider type. Of a GatherBlockQuantized, only a table of bytes has two numbers in each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, defs, helper

from portable_nn.onnx.opsets.support import STANDARD, all_nodes, noted, opset_in
from portable_nn.operators.narrow import NARROW
from portable_nn.operators.registry import DTYPE_CODES

_MADE: Final = frozenset({"to", "dtype", "output_dtype", "output_datatype", "value"})
"""The attributes that are, or have, the element type of an output."""

_TYPES: Final = (_MADE - {"value"}) | {"stash_type", "softmax_precision"}
"""The attributes that are element types."""

_ROUNDING: Final = {("BitCast", "to"), ("Cast", "to"), ("QuantizeLinear", "output_dtype")}
"""The attributes whose types are kept: numbers are rounded to them, or their bits taken for one."""


def narrow_values(model: ModelProto) -> dict[str, int]:
    """The values of a model that are of a narrow type, also in bodies, and the numbers of these types."""
    graph, opset = model.graph, opset_in(model)
    found = _declared(graph) | {each.name: each.data_type for each in graph.initializer if each.data_type in NARROW}
    for _, node in all_nodes(graph):
        for attribute in node.attribute:
            found |= _declared(attribute.g) if attribute.HasField("g") else {}
        if found or any(_codes(node)):
            made = zip(node.output, _made(node, found, opset), strict=False)
            found.update((name, code) for name, code in made if name and code)
    return found


def _declared(graph: GraphProto) -> dict[str, int]:
    """The inputs of a graph that are of a narrow type."""
    codes = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    return {name: code for name, code in codes.items() if code in NARROW}


def _codes(node: NodeProto) -> Iterator[int]:
    """The narrow type that the attributes of a node give its output."""
    for each in node.attribute:
        code = each.t.data_type if each.HasField("t") else each.i
        if each.name in _MADE and code in NARROW:
            yield code


def _made(node: NodeProto, known: Mapping[str, int], opset: int) -> Iterable[int]:
    """The number of the narrow type of each output, 0 for other types: that of an input of the same type parameter."""
    own = next(_codes(node), 0)
    if own or node.domain not in STANDARD or not defs.has(node.op_type, opset):
        return [own] * len(node.output)
    schema = defs.get_schema(node.op_type, opset)
    read = zip(schema.inputs, node.input, strict=False)
    kinds = {formal.type_str: known[name] for formal, name in read if name in known}
    formals = (schema.outputs[min(place, len(schema.outputs) - 1)] for place in range(len(node.output)))
    return [kinds.get(formal.type_str, 0) for formal in formals]


def without_narrow(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """``model`` with nodes that can be read with wider types in place of narrow ones, and notes on these.

    It is never changed in place, and the same if nothing in it is narrow. Names are unique.
    """
    values = narrow_values(model)
    if not values:
        return model, []
    made = ModelProto()
    made.CopyFrom(model)
    for _, node in all_nodes(made.graph):
        _respell(node, values)
    entries = [each.name for each in (*made.graph.input, *made.graph.initializer, *made.graph.output)]
    return made, list(_notes({name: values[name] for name in entries if name in values}))


def _respell(node: NodeProto, values: Mapping[str, int]) -> None:
    """Write a node with numbers of wider types, and of narrow ones where it rounds to these."""
    code = values.get(node.output[0], 0) if node.output else 0
    if node.op_type == "CastLike" and code:
        node.op_type = "Cast"
        del node.input[1:]
        node.attribute.append(helper.make_attribute("to", code))
    elif node.op_type == "QuantizeLinear" and code and not any(_codes(node)):
        node.attribute.append(helper.make_attribute("output_dtype", code))
    elif node.op_type == "GatherBlockQuantized" and values.keys() & node.input[:1]:
        node.attribute.append(helper.make_attribute("packed", 0))
    for each in node.attribute:
        if each.name in _TYPES and each.i in NARROW and (node.op_type, each.name) not in _ROUNDING:
            each.i = DTYPE_CODES[NARROW[each.i].held]


def _notes(values: Mapping[str, int]) -> Iterator[str]:
    """A note on the values of each narrow type."""
    names = defaultdict[int, list[str]](list)
    for name, code in values.items():
        names[code].append(name)
    for code, found in names.items():
        narrow = NARROW[code]
        yield from noted(f"{narrow.name} is read as {narrow.held}, which loses nothing; casts to it round", found)
