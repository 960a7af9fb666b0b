"""A small network that the tests of the weight file save, load and damage."""

from __future__ import annotations

import numpy as np

from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.core.tensors import Array
from portable_nn.format import InputInfo, Manifest, OutputInfo
from portable_nn.preprocessing.steps import ReshapeStep, ScaleStep

TENSORS: dict[str, Array] = {
    "hidden.weight": np.array([[0.5, -1.25], [2.0, 0.0], [-0.0, 3.5]], np.float32),
    "hidden.bias": np.array([0.1, 0.2, 0.3], np.float32),
    "output.weight": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32),
    "output.bias": np.array([-1.0, 1.0], np.float32),
}

GRAPH = Graph(
    inputs=(Value("x", "float32", ("batch", 2)),),
    outputs=("scores",),
    parameters=tuple(Parameter(name, "float32", array.shape) for name, array in TENSORS.items()),
    nodes=(
        Node("hidden", "Gemm", ("x", "hidden.weight", "hidden.bias"), ("z",), {"transB": 1}),
        Node("sigmoid", "Sigmoid", ("z",), ("h",)),
        Node("output", "Gemm", ("h", "output.weight", "output.bias"), ("scores",), {"transB": 1, "alpha": 0.01}),
    ),
)

MANIFEST = Manifest(
    graph=GRAPH,
    inputs=(InputInfo("x", "table", (ScaleStep(0.5, 0.01), ReshapeStep((2,)))),),
    outputs=(OutputInfo("scores", "logits", ("nein", "größer")),),
    metadata={"author": "tests"},
)


def identities(tensors: dict[str, Array]) -> Manifest:
    """A network that only gives out its parameters, whatever their types are."""
    parameters = tuple(Parameter(name, array.dtype.name, array.shape) for name, array in tensors.items())
    nodes = tuple(Node(f"node {i}", "Identity", (p.name,), (f"out {i}",)) for i, p in enumerate(parameters))
    outputs = tuple(f"out {i}" for i in range(len(nodes)))
    graph = Graph(inputs=(), outputs=outputs, parameters=parameters, nodes=nodes)
    return Manifest(graph=graph, inputs=(), outputs=tuple(OutputInfo(name) for name in outputs))
