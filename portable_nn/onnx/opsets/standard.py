"""The schemas of operators at all versions of the standard, from the ``onnx`` package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from onnx import AttributeProto, defs

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Attribute, Graph, Node, Tensor
from portable_nn.onnx.storage.tensors import from_attribute, is_attribute
from portable_nn.operators.opaque.nodes import is_opaque
from portable_nn.operators.registry import REQUIRED, Attr, InvalidNode, Operator

_KINDS: Final[Mapping[int, Attr]] = {
    AttributeProto.INT: Attr(int), AttributeProto.FLOAT: Attr(float), AttributeProto.STRING: Attr(str),
    AttributeProto.TENSOR: Attr(Tensor), AttributeProto.INTS: Attr(tuple),
    AttributeProto.FLOATS: Attr(tuple, item=float), AttributeProto.STRINGS: Attr(tuple, item=str),
    AttributeProto.GRAPH: Attr(tuple, item=Graph),
}  # fmt: skip
_OPTION: Final = defs.OpSchema.FormalParameterOption
_SUFFIXES: Final = {_OPTION.Single: "", _OPTION.Optional: "?", _OPTION.Variadic: "*"}


class Signature(NamedTuple):
    """An operator at one version: types and defaults of attributes, types of inputs, and the most inputs it takes."""

    attributes: Mapping[str, int]
    defaults: Mapping[str, Attribute]
    inputs: Sequence[frozenset[str]]
    most: int


@cache
def signature(operator: str, opset: int) -> Signature | None:
    """The signature of a standard operator; ``None`` where that version does not have it."""
    schema = _schema(operator, opset)
    if schema is None:
        return None
    attributes = {name: int(attribute.type) for name, attribute in schema.attributes.items()}  # type: ignore[call-overload]
    defaults = {name: attribute.default_value for name, attribute in schema.attributes.items()}
    return Signature(
        attributes,
        {name: from_attribute(proto, operator) for name, proto in defaults.items() if is_attribute(proto)},
        [frozenset(formal.types) for formal in schema.inputs],
        schema.max_input,
    )


def check_form(node: Node, opset: int) -> None:
    """Raise ``InvalidNode`` where attributes, inputs or outputs are not those of the operator at version ``opset``."""
    former = _former(node.operator, opset)
    former.check(node.attributes, node.inputs, len(node.outputs))
    for formal, name in zip(former.inputs, node.inputs, strict=False):
        if not name and not formal.endswith("?"):
            raise InvalidNode(f"input '{formal}' is missing")


@cache
def _former(operator: str, opset: int) -> Operator:
    """A standard operator at one version, described like those of this package, without rules."""
    schema = _schema(operator, opset)
    if schema is None:
        raise InvalidNode(f"there is no operator {operator}")
    attributes = {
        name: kind._replace(default=REQUIRED if attribute.required else None)
        for name, attribute in schema.attributes.items()
        if (kind := _KINDS.get(int(attribute.type)))  # type: ignore[call-overload]
    }
    return Operator(
        operator,
        tuple(formal.name + _SUFFIXES[formal.option] for formal in schema.inputs),
        infer=_nothing,
        kernel=_nothing,
        gradient=None,
        attributes=attributes,
        outputs=tuple(formal.name + _SUFFIXES[formal.option].rstrip("?") for formal in schema.outputs),
    )


def _nothing(use: object) -> tuple[()]:
    return ()


def _schema(operator: str, opset: int) -> defs.OpSchema | None:
    return defs.get_schema(operator, opset) if defs.has(operator, opset) else None


def is_same_at(node: Node, version: int, of: str = "ai.onnx") -> bool:
    """True if an opaque node, if it is of the domain ``of``, means at that ``version`` what it means at its own."""
    domain, _, name = node.operator.rpartition(".")
    own = int(str(node.attributes["version"]))
    if domain != of or own == version:
        return True
    schemas = [(name, each, "" if domain == "ai.onnx" else domain) for each in (own, version)]
    since = {defs.get_schema(*each).since_version if defs.has(*each) else each for each in schemas}
    return len(since) == 1


def domain_versions(graph: Graph) -> dict[str, int]:
    """The version of each further domain that opaque nodes of a graph are written at: the highest of them.

    Raises ``UsageError`` where a node means something else there.
    """
    found, nodes = dict[str, int](), [node for node in graph.nodes if is_opaque(node)]
    for node in nodes:
        domain = node.operator.rpartition(".")[0]
        found[domain] = max(found.get(domain, 0), int(str(node.attributes["version"])))
    found.pop("ai.onnx", None)
    for domain, version in found.items():
        if other := next((node for node in nodes if not is_same_at(node, version, domain)), None):
            raise UsageError(f"node {other} means something else at version {version} of {domain}, which others need")
    return found
