"""The file is opened by every command that takes a model, and the network computes what ``network2.py`` does."""

import json
from pathlib import Path

import numpy as np

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.opening import open_network

rng = np.random.default_rng(0)
weights = [rng.normal(size=(3, 4)), rng.normal(size=(2, 3))]
biases = [rng.normal(size=(3, 1)), rng.normal(size=(2, 1))]
saved = {"weights": [w.tolist() for w in weights], "biases": [b.tolist() for b in biases]}
Path("net.json").write_text(json.dumps({"sizes": [4, 3, 2], **saved, "cost": "CrossEntropyCost"}))

x = rng.random((5, 4))
a = x.T
for w, b in zip(weights, biases, strict=True):
    a = 1 / (1 + np.exp(-(w @ a + b)))
np.testing.assert_allclose(open_network("net.json").predict(x), a.T, rtol=1e-12)

np.save("x.npy", x)
for command in (
    "inspect net.json",
    "predict net.json x.npy",
    "predict net.json x.npy --engine numpy",
    "check net.json",
    "size net net.json",
    "convert net.json net.safetensors",
    "export net.json net.onnx",
    "import net.json imported.safetensors --force",
):
    assert not main(command.split()), command
assert np.array_equal(pnn.load("net.safetensors").parameters["dense_2.weight"], weights[1])
assert np.array_equal(pnn.load("imported.safetensors").parameters["dense_2.weight"], weights[1])
assert main(["convert", "digits", "other.json"]) == 2, "it is not written"
assert main(["import", "net.json", "more.safetensors", "--layers", "4-3-2"]) == 2, "it has no such option"
Path("bad.json").write_text("[]")
assert main(["inspect", "bad.json"]) == 3
digest = pnn.inspect("net.json").file.sha256
assert not main(f"predict net.json x.npy --digest {digest}".split())
assert main(f"predict net.json x.npy --digest {'0' * 64}".split()) == 3
