"""Opaque nodes: nodes of ONNX that have no home here, which onnxruntime runs, and through which nothing learns.

The operator of such a node is named ``ai.onnx.ml.TreeEnsemble``: its domain in ONNX, and its name there. The attribute
``node`` holds the NodeProto; ``takes`` and ``gives`` are the types of its inputs and outputs, as in ``float32[d0,3]``.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import FormatError, listed
from portable_nn.core.graph import INTERNAL, Attribute, Dim, Graph, Node
from portable_nn.core.isolated import LibraryError, ask
from portable_nn.core.text import quantity, said, some
from portable_nn.operators.base import DTYPE_CODES, REQUIRED, Attr, KernelContext, OperatorContext, Step, Type, Types
from portable_nn.operators.inference import infer
from portable_nn.operators.opaque import side
from portable_nn.operators.registry import OPAQUE, InvalidNode, Operator, types_read

DOMAINS: Final = ("ai.onnx", "ai.onnx.ml", "com.microsoft")
"""The domains whose operators onnxruntime has by itself."""

_TYPE: Final = re.compile(r"([a-z]+[0-9]*)\[((?:d?[0-9]{1,18}(?:,d?[0-9]{1,18})*)?)\]")

Constants: TypeAlias = tuple[tuple[Any, ...] | None, ...]
"""The elements of the inputs of a node that are known numbers."""


def opaque_node(
    name: str, operator: str, data: bytes, version: int, inputs: Iterable[str], outputs: Iterable[str]
) -> Node:
    """A node with the bytes of its NodeProto, without types; ``version`` is that of its domain."""
    attributes: dict[str, Attribute] = {"node": b64encode(data).decode(), "version": version}
    return Node(name, operator, tuple(inputs), tuple(outputs), attributes, INTERNAL)


def is_opaque(node: Node) -> bool:
    """True if onnxruntime runs a node."""
    return node.domain == INTERNAL and node.operator.rpartition(".")[0] in DOMAINS


def opaque_labels(nodes: Iterable[Node]) -> list[str]:
    """The labels of those nodes that are opaque."""
    return [str(node) for node in nodes if is_opaque(node)]


def opaque_notes(nodes: Iterable[Node]) -> tuple[str, ...]:
    """The note on opaque nodes, if there are any."""
    found = opaque_labels(nodes)
    note = f"needs onnxruntime, which runs {quantity(len(found), 'node')} as in the file; nothing learns through"
    return (f"{note} {'it' if len(found) == 1 else 'them'}: {some(found)}",) if found else ()


def proto_of(node: Node) -> bytes:
    """The bytes of the NodeProto of an opaque node."""
    return b64decode(str(node.attributes["node"]))


def completed(node: Node, types: Types) -> Node:
    """An opaque node with the types of its inputs, and those of its outputs, as onnxruntime finds them.

    Raises ``InvalidNode`` where onnxruntime cannot run it, or they do not follow from those of the inputs.
    """
    names, read = dict[Any, str](), types_read(node, types)
    takes = [(type and _text(type.dtype, _named(type.shape, names))) or "" for type in read]
    return replace(node, attributes={**node.attributes, "takes": tuple(takes), **_described(node, takes, read)})


def check_opaque(graph: Graph, where: str) -> None:
    """Check that onnxruntime runs the opaque nodes of a graph, and that what they say of their outputs is so.

    Raises ``FormatError`` that lists the nodes of which this is not so.
    """
    faults = list[str]()
    for node in filter(is_opaque, graph.nodes):
        takes, read = _texts(node.attributes, "takes"), types_read(node, infer(graph).types)
        try:
            found = _described(node, takes, read)
        except InvalidNode as invalid:
            faults.append(f"node {node}: {invalid}")
        else:
            said = {key: node.attributes[key] for key in ("gives", "sampled", "apart") if key in node.attributes}
            if said != found:
                faults.append(f"node {node} says {said}, where onnxruntime shows {found}")
    if faults:
        raise FormatError(where, listed(faults), faults)


def _described(node: Node, takes: Sequence[str], types: Sequence[Type | None]) -> dict[str, Attribute]:
    """The attributes that say what onnxruntime makes of inputs of these types."""
    data, version = str(node.attributes["node"]), int(str(node.attributes["version"]))
    return _found(node.operator, data, version, tuple(takes), _constants(types), tuple(map(bool, node.outputs)))


@lru_cache(256)
def _found(operator: str, data: str, *what: Any) -> dict[str, Attribute]:
    try:
        (rows, facts), _ = ask(side.described, len(data), _bytes(data), **_asked(operator, *what))
    except LibraryError as error:
        raise InvalidNode(f"it needs onnxruntime, which cannot run it {said(error)}") from None
    gives = tuple(_text(*row) if row else "" for row in rows)
    return {"gives": gives} | {key: tuple(value) if key == "apart" else value for key, value in facts.items() if value}


def _asked(
    operator: str, version: int, takes: Sequence[str], constants: Constants, wanted: Sequence[bool]
) -> dict[str, Any]:
    """The arguments of tasks on a node beside its bytes."""
    inputs = [
        {"dtype": type.dtype, "shape": list(type.shape), "constant": constant} if type else None
        for type, constant in zip(map(_type, takes), constants, strict=True)
    ]
    return {"operator": operator, "version": version, "inputs": inputs, "wanted": [*wanted]}


def _bytes(text: str) -> Any:
    return np.frombuffer(b64decode(text), np.uint8)


def _constants(types: Iterable[Type | None]) -> Constants:
    found = (type.constant if type else None for type in types)
    return tuple(each if each and not any(isinstance(item, str) for item in each) else None for each in found)


# -- types as text


def _named(shape: Iterable[Any], names: dict[Any, str]) -> Iterable[Any]:
    """Sizes with short names for those that are no numbers."""
    return (dim if isinstance(dim, int) else names.setdefault(dim, f"d{len(names)}") for dim in shape)


def _text(dtype: str, dims: Iterable[Any]) -> str:
    return f"{dtype}[{','.join(map(str, dims))}]"


def _type(text: str) -> Type | None:
    """The type that a text says; ``None`` for an empty one. Raises ``InvalidNode`` for another text."""
    found = _TYPE.fullmatch(text)
    if text and not (found and found[1] in DTYPE_CODES):
        raise InvalidNode(f"'{text}' is no type of an array")
    dims = filter(None, found[2].split(",")) if found else ()
    return found and Type(found[1], tuple(dim if dim[0] == "d" else int(dim) for dim in dims))


def _texts(attributes: Mapping[str, Attribute], name: str) -> tuple[str, ...]:
    texts: Any = attributes[name]
    return tuple(texts)


# -- the rules


def _infer(use: OperatorContext) -> tuple[Type, ...]:
    takes, gives = ([*map(_type, _texts(use.attributes, name))] for name in ("takes", "gives"))
    counts = len(use.types), use.output_count
    if (len(takes), len(gives)) != counts:
        use.fail(f"it has types for {len(takes)} inputs and {len(gives)} outputs, not for {counts[0]} and {counts[1]}")
    if not _is_base64(use.string("node")):
        use.fail("its bytes are not written in base64")
    if not 0 < use.int("version") < 2**31:
        use.fail(f"version {use.int('version')} is that of no domain")
    none, sizes = Type("left out", ()), dict[Any, Any]()
    for place, pair in enumerate(zip(takes, use.types, strict=True)):
        wanted, type = (each or none for each in pair)
        for mine, dim in zip(wanted.shape, type.shape, strict=False):
            sizes.setdefault(mine, dim)
        if (expected := _sized(wanted, sizes)) != type:
            use.fail(f"input {place + 1} must be {expected}, not {type}")
    made = [_sized(each, sizes) if each else Type("bool", ()) for each in gives]
    if None in [dim for each in made for dim in each.shape]:
        use.fail("an output has a size that no input has")
    return tuple(made)


def _is_base64(text: str) -> bool:
    try:
        return b64encode(b64decode(text, validate=True)).decode() == text
    except ValueError:
        return False


def _mixes(use: OperatorContext) -> list[Dim]:
    """The sizes along which it has not been seen that the parts of arrays are computed one by one."""
    apart, pairs = (
        _texts({"apart": (), **use.attributes}, "apart"),
        zip(_texts(use.attributes, "takes"), use.types, strict=True),
    )
    sizes = [
        pair
        for text, type in pairs
        if (wanted := _type(text)) and type
        for pair in zip(wanted.shape, type.shape, strict=True)
    ]
    return [dim for mine, dim in sizes if isinstance(mine, str) and mine not in apart]


def _sized(type: Type, sizes: Mapping[Any, Any]) -> Type:
    shape: tuple[Any, ...] = tuple(sizes.get(dim) if isinstance(dim, str) else dim for dim in type.shape)
    return Type(type.dtype, shape)


def _kernel(n: KernelContext) -> list[Step]:
    takes, gives = (_texts(n.attributes, name) for name in ("takes", "gives"))
    constants, data = _constants(n.types), n.string("node")
    given = [x for place, x in enumerate(n.x) if n.has(place) and constants[place] is None]
    made = [n.out(place) for place, text in enumerate(gives) if text]
    what = _asked(n.operator.name, n.int("version"), takes, constants, [*map(bool, gives)])
    key = hashlib.sha256(repr((data, what)).encode()).hexdigest()
    stored = sum(array.nbytes for array in (*given, *made))

    def run() -> None:
        try:
            is_open, found = ask(side.computed, stored, *given, key=key)
            if not is_open:  # At first, and after its process was replaced.
                ask(side.opened, len(data), _bytes(data), key=key, **what)
                is_open, found = ask(side.computed, stored, *given, key=key)
        except LibraryError as error:
            n.fail(f"it needs onnxruntime, which cannot run it on these inputs {said(error)}")
        for out, array in zip(made, found, strict=True):
            if (array.shape, array.dtype) != (out.shape, out.dtype):
                types = [Type(each.dtype.name, each.shape) for each in (array, out)]
                n.fail(f"it makes {types[0]}, where {types[1]} was expected: the size depends on the data")
            np.copyto(out, array)

    return [run]


@cache
def _operator(name: str) -> Operator:
    texts = Attr(tuple, REQUIRED, str)
    attributes = {"node": Attr(str, REQUIRED), "version": Attr(int, REQUIRED), "takes": texts, "gives": texts}
    return Operator(
        name,
        ("inputs*",),
        _infer,
        _kernel,
        None,
        attributes | {"sampled": Attr(int, 0), "apart": Attr(tuple, (), str)},
        outputs=("outputs*",),
        domain=INTERNAL,
        stored=4,
        family="arithmetic",
        mixes=_mixes,
    )


OPAQUE.update(dict.fromkeys(DOMAINS, _operator))
