"""The layer is a public name, and computes what it says."""

import numpy as np

import portable_nn as pnn

assert "LogSigmoid" in dir(pnn)
net = pnn.Sequential(pnn.Input(3), pnn.LogSigmoid(name="last"))
x = np.array([[-30, 0, 2]], np.float32)
np.testing.assert_allclose(net.predict(x), -np.log1p(np.exp(-x)), rtol=1e-6)
assert net.graph.nodes[-1].name == "last"
