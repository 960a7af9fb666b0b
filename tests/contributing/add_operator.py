"""The operator is right in the engine and in every code base, and is read and written."""

import importlib.util
import shutil
import warnings

import numpy as np
import onnx
import onnxruntime
from code_bases import TARGETS, outcome
from onnx import helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.operators import constant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Those of PyTorch, JAX and Keras.
    for name, target in TARGETS.items():
        if importlib.util.find_spec(target.package or "numpy") and (name != "c" or shutil.which("cc")):
            different, refused = outcome("MelWeightMatrix", name)
            assert not different, name
            assert not refused or name in ("keras", "torch back"), name  # Which have no model without an input.

INPUTS = {"bands": np.int64(6), "length": np.int64(32), "rate": np.int64(8000), "low": 20.0, "high": 4000.0}
stored = [
    numpy_helper.from_array(np.float32(x) if isinstance(x, float) else np.asarray(x), n) for n, x in INPUTS.items()
]
graph = helper.make_graph(
    [helper.make_node("MelWeightMatrix", list(INPUTS), ["mel"]), helper.make_node("MatMul", ["x", "mel"], ["y"])],
    "sound",
    [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("batch", 17))],
    [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("batch", 6))],
    stored,
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), "theirs.onnx")
x = np.random.default_rng(0).uniform(size=(5, 17)).astype(np.float32)
[wanted] = onnxruntime.InferenceSession("theirs.onnx").run(None, {"x": x})
net = import_onnx("theirs.onnx")
np.testing.assert_allclose(net.predict(x), wanted, rtol=1e-5)

given = [constant(each, np.asarray(each).dtype.name.replace("float64", "float32")) for each in INPUTS.values()]
spectrum = pnn.Input(17, name="x")
own = pnn.Network(spectrum, spectrum @ pnn.emit("MelWeightMatrix", *given))
np.testing.assert_allclose(own.predict(x), wanted, rtol=1e-5)
for opset in (13, 20):  # The first has no such operator.
    export_onnx(own, "own.onnx", opset=opset)
    [theirs] = onnxruntime.InferenceSession("own.onnx").run(None, {"x": x})
    np.testing.assert_allclose(theirs, wanted, rtol=1e-5)
