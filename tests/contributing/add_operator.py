"""The operator runs, differentiates, trains, exports, and is known to ``size net``, ``check`` and diagrams."""

import numpy as np
import onnx
import onnxruntime
from cases import CASES

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.graph import INTERNAL
from portable_nn.diagram.boxes import diagram
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, constant, emit, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.outputs.reports import size_net

STEP = 1e-6


def squareplus(x):
    return (x + np.sqrt(x * x + 2)) / 2


assert "Squareplus" in {case.operator for case in CASES}

x = Leaf("x", "float64", (5,))
y = emit("Squareplus", x, domain=INTERNAL, b=2.0)
[slope] = gradients([y], [constant(np.ones(5), "float64")], [x])
plan = Plan(trace([x], [y, slope]).graph, {}, {})
at = plan.inputs["x"][...] = np.linspace(-3, 3, 5)
plan.run()
value, derivative = plan.outputs.values()
np.testing.assert_allclose(value, squareplus(at), rtol=1e-12)
np.testing.assert_allclose(derivative, (squareplus(at + STEP) - squareplus(at - STEP)) / (2 * STEP), rtol=1e-6)

x = Leaf("x", "float32", ("batch", 2, 9, 9))
weight = Leaf("weight", "float32", (3, 2, 3, 3), parameter=True)
y = emit("Squareplus", emit("Conv", x, weight, strides=[2, 2]), domain=INTERNAL)
net = pnn.Network.from_graph(trace([x], [y]).graph, {"weight": np.ones((3, 2, 3, 3), np.float32)})
images = np.random.default_rng(0).normal(size=(4, 2, 9, 9)).astype(np.float32)
export_onnx(net, "net.onnx")
assert {node.op_type for node in onnx.load("net.onnx").graph.node} == {"Conv", "Mul", "Add", "Sqrt", "Constant"}
[theirs] = onnxruntime.InferenceSession("net.onnx").run(None, {"x": images})
np.testing.assert_allclose(net.predict(images), theirs, rtol=1e-5, atol=1e-5)

assert size_net(net).nodes[-1].field == (3, 3)
assert {finding.level for finding in pnn.check(net).findings} <= {"note"}
assert "activation" in [box.family for box in diagram(pnn.inspect(net)).boxes]

history = net.fit(images, np.zeros((4, 3, 4, 4)), loss="mean_squared_error", epochs=2)
assert history["loss"][1] < history["loss"][0]
