"""The file is opened by every command that takes a model, and the network computes what ``predict.m`` does."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.opening import open_network

rng = np.random.default_rng(0)
weights = [rng.normal(size=(3, 4)), rng.normal(size=(2, 3))]
biases = [rng.normal(size=(3, 1)), rng.normal(size=(2, 1))]
savemat("net.mat", {f"Theta{n}": np.hstack(part) for n, part in enumerate(zip(biases, weights, strict=True), 1)})

x = rng.random((5, 4))
a = x.T
for w, b in zip(weights, biases, strict=True):
    a = 1 / (1 + np.exp(-(w @ a + b)))
np.testing.assert_allclose(open_network("net.mat").predict(x), a.T, rtol=1e-12)

np.save("x.npy", x)
for command in (
    "inspect net.mat",
    "predict net.mat x.npy",
    "predict net.mat x.npy --engine numpy",
    "check net.mat",
    "size net net.mat",
    "convert net.mat net.safetensors",
    "export net.mat net.onnx",
    "import net.mat imported.safetensors --force",
):
    assert not main(command.split()), command
assert np.array_equal(pnn.load("net.safetensors").parameters["dense_2.weight"], weights[1])
assert np.array_equal(pnn.load("imported.safetensors").parameters["dense_2.weight"], weights[1])
assert main(["convert", "digits", "other.mat"]) == 2, "it is not written"
assert main(["import", "net.mat", "more.safetensors", "--layers", "4-3-2"]) == 2, "it has no such option"
Path("bad.mat").write_text("[]")
assert main(["inspect", "bad.mat"]) == 3
digest = pnn.inspect("net.mat").file.sha256
assert not main(f"predict net.mat x.npy --digest {digest}".split())
assert main(f"predict net.mat x.npy --digest {'0' * 64}".split()) == 3
