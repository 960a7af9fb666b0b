"""ONNX files as other tools write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Values: TypeAlias = Mapping[str, tuple[int, list[int | str]]]

FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8

RUNTIME = "com.microsoft"
"""The domain of operators that onnxruntime has of its own."""

WEIGHT = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)


def write(
    path: Path,
    nodes: list[NodeProto],
    inputs: Values,
    outputs: Values,
    weights: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    between: Values | None = None,
) -> Path:
    """A valid model."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
        value_info=[helper.make_tensor_value_info(name, *kind) for name, kind in (between or {}).items()],
    )
    domains = dict.fromkeys([("", 17), *((RUNTIME, 1) for node in nodes if node.domain)])
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def linear(path: Path, *, batch: int | str = "n", weight: Any = WEIGHT, **options: Any) -> Path:
    """y = x·``weight``."""
    rows, columns = weight.shape
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    return write(path, nodes, {"x": (FLOAT, [batch, rows])}, {"y": (FLOAT, [batch, columns])}, {"w": weight}, **options)


def convolutional(path: Path, *, batch: int | str = "n", side: int | str = 8, **options: Any) -> Path:
    """A classifier of colour pictures, with an operator that this package does not know."""
    kernel = np.random.default_rng(4).normal(size=(5, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Trilu", ["c"], ["l"], "gelu", domain=RUNTIME),
        helper.make_node("GlobalAveragePool", ["l"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "flat"),
    ]
    inner = side - 2 if isinstance(side, int) else "inner"
    between = {"l": (FLOAT, [batch, 5, inner, inner])}
    return write(
        path,
        nodes,
        {"x": (FLOAT, [batch, 3, side, side])},
        {"y": (FLOAT, [batch, 5])},
        {"w": kernel},
        between=between,
        **options,
    )
