"""What is written about layers and networks: every option is described."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import layers

DESCRIBED = [
    *(getattr(layers, name) for name in layers.__all__ if name not in {"Symbol", "emit"}),
    pnn.Network, pnn.Network.fit, pnn.Sequential, pnn.load, pnn.predict, pnn.EarlyStopping,
]  # fmt: skip


@pytest.mark.parametrize("what", DESCRIBED, ids=lambda what: what.__qualname__)
def test_every_option_is_described(what: type) -> None:
    options = set(inspect.signature(what).parameters) - {"self"}
    if options <= {"name"}:  # That of all layers stands in ``Layer``.
        return
    texts = [inspect.getdoc(what) or "", inspect.getdoc(what.__init__) or "" if inspect.isclass(what) else ""]
    assert options <= set(re.findall(r"^ {4}(\w+): \S", "\n".join(texts), re.MULTILINE))


@pytest.mark.long
def test_fit_is_shown_with_its_options_and_imported_when_it_is_asked_for() -> None:
    code = """
import sys, pydoc, portable_nn.network as n
print("fit" in dir(n.Network), "portable_nn.training.fit" in sys.modules)
print(pydoc.plain(pydoc.render_doc(n.Network)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True False\n")
    shown = done.stdout[done.stdout.index(" fit(") :]
    assert all(f"{name}: " in shown for name in inspect.signature(pnn.Network.fit).parameters)


def test_sequential_has_the_options_of_network() -> None:
    options = [*inspect.signature(pnn.Network).parameters]
    assert [*inspect.signature(pnn.Sequential).parameters] == ["layers", *options[2:]]


class Swish(pnn.Layer):
    def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
        beta = self.parameter("beta", (1,), x.dtype, initial=2.0)
        return self.emit("Mul", x, pnn.emit("Sigmoid", beta * x))


def test_a_layer_of_ones_own_is_as_good_as_any() -> None:
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    layer = Swish(name="gate")
    net = pnn.Sequential(pnn.Input(3), layer, pnn.Dense(3), layer, Swish(), seed=0)
    assert list(net.parameters) == ["gate.beta", "dense_1.weight", "dense_1.bias", "swish_1.beta"]
    assert [node.name for node in net.graph.nodes if node.operator == "Mul"][1::2] == ["gate", "gate_2", "swish_1"]
    wanted = x / (1 + np.exp(-2 * x))
    np.testing.assert_allclose(pnn.Sequential(pnn.Input(3), Swish()).predict(x), wanted, rtol=1e-5, atol=1e-6)
    history = net.fit(x, np.tanh(x), loss="mean_squared_error", optimizer=pnn.Adam(0.05), epochs=20)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert not np.array_equal(net.parameters["gate.beta"], [2.0])


def test_a_layer_of_ones_own_names_itself_where_an_input_does_not_fit() -> None:
    class Picky(pnn.Layer):
        def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
            raise self.invalid(f"it needs (batch,), not {x.shape}")

    for layer, name in ((Picky(), "picky"), (Picky("mine"), "mine")):
        with pytest.raises(pnn.PortableNNError, match=rf"^'{name}' \(Picky\): it needs \(batch,\), not "):
            layer(pnn.Input(3))
