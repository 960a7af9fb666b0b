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
            assert outcome("DFT", name) == ([], {}), name

x = np.random.default_rng(0).normal(size=(5, 6, 2)).astype(np.float32)
graph = helper.make_graph(
    [helper.make_node("DFT", ["x", "", "axis"], ["y"])],
    "waves",
    [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("batch", 6, 2))],
    [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("batch", 6, 2))],
    [helper.make_tensor("axis", onnx.TensorProto.INT64, (), [1])],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), "theirs.onnx")
net = import_onnx("theirs.onnx", verify=False)  # onnxruntime has no kernel for it.
found = np.fft.fft(x[..., 0] + 1j * x[..., 1])
wanted = np.stack([found.real, found.imag], -1)
np.testing.assert_allclose(net.predict(x), wanted, rtol=1e-5, atol=1e-5)

export_onnx(net, "net.onnx")
[theirs] = onnxruntime.InferenceSession("net.onnx").run(None, {"x": x})
np.testing.assert_allclose(theirs, wanted, rtol=1e-5, atol=1e-5)

assert size_net(net).nodes[-1].multiply_adds == 6 * 2 * 6 * 2
assert {finding.level for finding in pnn.check(net).findings} <= {"note"}
assert "weights" in [box.family for box in diagram(pnn.inspect(net)).boxes]
