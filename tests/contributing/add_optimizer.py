"""The optimizer computes what the paper says, and is an option of ``fit`` and ``train``."""

import numpy as np

import portable_nn as pnn
from portable_nn.cli import main

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 2))
y = (x[:, 0] > 0).astype(int)
net = pnn.Sequential(pnn.Input(2, dtype="float64"), pnn.Dense(2, bias=False), seed=0)
w = net.parameters["dense_1.weight"].copy()
net.fit(x, y, optimizer=pnn.Adagrad(0.5), epochs=3, batch_size=64)
squares = np.zeros_like(w)
for _ in range(3):
    p = np.exp(x @ w.T)
    g = (p / p.sum(axis=1, keepdims=True) - np.eye(2)[y]).T @ x / 64  # of softmax and cross-entropy
    squares += g * g
    w -= 0.5 * g / (np.sqrt(squares) + 1e-10)
np.testing.assert_allclose(net.parameters["dense_1.weight"], w, rtol=1e-9)

history = net.fit(x, y, optimizer="adagrad", epochs=5)
assert history["loss"][-1] < history["loss"][0]
np.savetxt("data.csv", np.column_stack([y, x]), delimiter=",", fmt="%g")
assert not main(["train", "2-3-2", "data.csv", "--optimizer", "adagrad", "--epochs", "2", "--out", "net.safetensors"])
