"""The loss and its gradient are what mathematics says, and it is an option of ``fit`` by name."""

import numpy as np

import portable_nn as pnn

rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 3)), rng.normal(size=(64, 1))
net = pnn.Sequential(pnn.Input(3, dtype="float64"), pnn.Dense(1, bias=False), seed=0)
w = net.parameters["dense_1.weight"].copy()
history = net.fit(x, y, loss="log_cosh", optimizer=pnn.SGD(0.5), epochs=1, batch_size=64)
errors = x @ w.T - y
np.testing.assert_allclose(history["loss"], np.log(np.cosh(errors)).mean(), rtol=1e-12)
w -= 0.5 * np.tanh(errors).T @ x / 64
np.testing.assert_allclose(net.parameters["dense_1.weight"], w, rtol=1e-12)
assert net.outputs[0].loss == str(pnn.LogCosh()) == "log_cosh"
