"""The shapes of what operators of ``ai.onnx.ml`` make for which the ``onnx`` package has no inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper

from portable_nn.core.graph import Dim, Shape
from portable_nn.onnx.classical.model import DOMAIN

_LIKE_INPUT: Final = ("Scaler", "Normalizer", "Imputer", "Binarizer")

_WIDTHS: Final[Mapping[str, Callable[[Mapping[str, Any], Shape], Dim]]] = {
    **dict.fromkeys(_LIKE_INPUT, lambda options, x: x[1]),
    "LinearRegressor": lambda options, x: options.get("targets", 1),
    "TreeEnsembleRegressor": lambda options, x: options.get("n_targets", 1),
    "SVMRegressor": lambda options, x: 1,
    "FeatureVectorizer": lambda options, x: sum(options.get("inputdimensions", ())),
    "TreeEnsembleClassifier": lambda options, x: len(_classes(options)),
}
"""The sizes of the last axis of numbers, from the attributes and the shape of the first input."""


def _classes(options: Mapping[str, Any]) -> list[Any]:
    return options.get("classlabels_strings") or options.get("classlabels_int64s") or []


def classical_values(graph: GraphProto, shapes: Mapping[str, Shape]) -> list[ValueInfoProto]:
    """The types of values that operators of ``ai.onnx.ml`` make of rows with a shape in ``shapes``, and no other."""
    known, found = dict(shapes), list[ValueInfoProto]()
    for node in graph.node:
        x = known.get(node.input[0]) if node.input else None
        if node.domain != DOMAIN or node.op_type not in _WIDTHS or x is None or len(x) != 2:
            continue
        made: list[tuple[str, int, Shape]] = []
        with suppress(TypeError, ValueError):  # Attributes of other types than the standard's.
            made = _made(node, x)
        for name, code, shape in made:
            if name and name not in known and all(map(_is_size, shape)):
                known[name] = shape
                found.append(helper.make_tensor_value_info(name, code, [None if dim == "?" else dim for dim in shape]))
    return found


def _is_size(dim: object) -> bool:
    return isinstance(dim, str) or (isinstance(dim, int) and 0 <= dim < 2**31)


def _made(node: NodeProto, x: Shape) -> list[tuple[str, int, Shape]]:
    """The name, element type and shape of each output."""
    options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    code = TensorProto.INT64 if "imputed_value_int64s" in options else TensorProto.FLOAT
    numbers = (code, (x[0], _WIDTHS[node.op_type](options, x)))
    labels = (TensorProto.STRING if "classlabels_strings" in options else TensorProto.INT64, x[:1])
    made = [labels, numbers] if node.op_type == "TreeEnsembleClassifier" else [numbers]
    return [(name, *each) for name, each in zip(node.output, made, strict=False)]
