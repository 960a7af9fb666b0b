"""The operator is right in the engine and in every code base, is read and written, and has its costs and its colour."""

import importlib.util
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
from code_bases import TARGETS, outcome
from onnx import helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.diagram.boxes import diagram
from portable_nn.outputs.reports import size_net

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Those of PyTorch, JAX and Keras.
    for name, target in TARGETS.items():
        if importlib.util.find_spec(target.package or "numpy") and (name != "c" or shutil.which("cc")):
            assert outcome("MatMulInteger", name) == ([], {}), name

rng = np.random.default_rng(0)
x, weight = rng.integers(0, 256, (5, 300), np.uint8), rng.integers(-128, 128, (300, 4), np.int8)
points = [
    helper.make_tensor("p", onnx.TensorProto.UINT8, (), [200]),
    helper.make_tensor("q", onnx.TensorProto.INT8, (1,), [-9]),
]
graph = helper.make_graph(
    [helper.make_node("MatMulInteger", ["x", "w", "p", "q"], ["y"])],
    "quantised",
    [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ("batch", 300))],
    [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ("batch", 4))],
    [onnx.numpy_helper.from_array(weight, "w"), *points],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "theirs.onnx")
net = import_onnx("theirs.onnx")
wanted = (x.astype(int) - 200) @ (weight.astype(int) + 9)
np.testing.assert_array_equal(net.predict(x), wanted)

export_onnx(net, "net.onnx")
assert "MatMulInteger" in {node.op_type for node in onnx.load("net.onnx").graph.node}
[theirs] = onnxruntime.InferenceSession("net.onnx").run(None, {"x": x})
np.testing.assert_array_equal(theirs, wanted)

assert size_net(net).nodes[-1].multiply_adds == 1200
assert {finding.level for finding in pnn.check(net).findings} <= {"note"}
assert "weights" in [box.family for box in diagram(pnn.inspect(net)).boxes]
