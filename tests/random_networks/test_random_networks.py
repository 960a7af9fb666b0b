"""Random networks of all layers and their options against PyTorch: forward, gradients, training, files.

What a failing one is, its message says; ``drawn(seed, "float64")`` makes it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from drawing import LEFT_OUT, ROWS, Program, drawn, in_pytorch, moving, state

import portable_nn as pnn
from portable_nn import layers
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.engines.plan import Plan
from portable_nn.layers import attention
from portable_nn.layers.pytorch import COUNTERPARTS
from portable_nn.operators import Leaf, replay, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

torch: Any = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]

BATCH, STEPS = 4, 5
RATE, MOMENTUM = 0.01, 0.9
"""The learning rate is divided by the largest gradient, so that no network diverges."""
EXACT, SINGLE = 1e-9, 2e-4
"""The allowed differences in double and in single precision, relative to the largest number of an array."""


def close(found: Array, wanted: Array, tolerance: float, what: str) -> None:
    assert found.shape == wanted.shape, what
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=tolerance * float(np.abs(wanted).max(initial=1e-3)), err_msg=what
    )


class Both:
    """A network here and in PyTorch, with the same weights, and examples."""

    def __init__(self, seed: int, dtype: str = "float64") -> None:
        self.program: Program
        self.rate = RATE
        self.program, self.net = drawn(seed, dtype)
        rng = np.random.default_rng(seed)
        for name in moving(self.net):
            value = self.net.parameters[name]
            drawn_values = rng.uniform(0.5, 1.5, value.shape)
            if not name.endswith("running_var"):
                drawn_values = (drawn_values - 1) / np.sqrt(max(1, value[0].size if value.ndim else 1)) + (
                    value.ndim == 1 and name.endswith("weight")
                )
            value[...] = drawn_values
        self.module = in_pytorch(self.program, self.net)
        self.inputs = [value.name for value in self.net.graph.inputs]
        self.x = {name: rng.normal(size=(BATCH, *shape)).astype(dtype) for name, shape in self.shapes(self.inputs)}

    def shapes(self, names: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
        return list(zip(names, self.program.inputs, strict=True))

    @property
    def trains(self) -> bool:
        """Whether nothing drops: the random numbers of PyTorch are others."""
        return not any(step.made.name == "Dropout" and step.made.options.get("p", 0.5) for step in self.program.steps)

    def tensors(self, *, grad: bool = False) -> list[Any]:
        return [torch.tensor(self.x[name], dtype=torch.float64, requires_grad=grad) for name in self.inputs]

    def predicted(self, net: pnn.Network, **options: Any) -> dict[str, Array]:
        found = net.predict(self.x, **options)
        return found if isinstance(found, dict) else {net.graph.outputs[0]: found}

    def targets(self) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        return {
            name: rng.normal(size=value.shape).astype(value.dtype) for name, value in self.predicted(self.net).items()
        }


def forward(both: Both) -> None:
    both.module.eval()
    with torch.no_grad():
        wanted = both.module(*both.tensors())
    for (name, found), theirs in zip(both.predicted(both.net).items(), wanted, strict=True):
        close(found, theirs.numpy(), EXACT, f"output {name}")


def slopes(both: Both) -> None:
    """The gradients of all weights and inputs, in training mode."""
    symbols = replay(both.net.graph, training=True)
    outputs = [symbols[name] for name in both.net.graph.outputs]
    seeds = {f"seed/{name}": value for name, value in both.targets().items()}
    flowing = [Leaf(name, "float64", ("batch", *value.shape[1:])) for name, value in seeds.items()]
    names = [*both.inputs, *(value.name for value in both.net.graph.parameters if value.trainable)]
    back = gradients(outputs, flowing, [symbols[name] for name in names])
    kept = {name: symbol for name, symbol in zip(names, back, strict=True) if symbol is not None}
    leaves = [leaf for name in both.inputs if isinstance(leaf := symbols[name], Leaf)]
    traced = trace([*leaves, *flowing], list(kept.values()))
    feeds = {**both.x, **seeds}
    plan = Plan(traced.graph, {name: value.shape for name, value in feeds.items()}, both.net.parameters)
    for name, value in feeds.items():
        plan.inputs[name][...] = value
    plan.run()
    both.module.train()
    before = {name: value.clone() for name, value in both.module.state_dict().items()}
    tensors = both.tensors(grad=True)
    loss = sum((y * torch.tensor(seeds[f"seed/{name}"])).sum()
               for name, y in zip(both.net.graph.outputs, both.module(*tensors), strict=True))  # fmt: skip
    loss.backward()
    both.module.load_state_dict(before)
    theirs = dict(both.module.layers.named_parameters()) | dict(zip(both.inputs, tensors, strict=True))
    largest = max(float(value.grad.abs().max()) for value in theirs.values() if value.grad is not None)
    for name in names:
        wanted = theirs[name].grad
        if name not in kept:
            assert wanted is None or not wanted.any(), f"no gradient of {name}"
        elif wanted is not None:
            found = plan.outputs[traced.names[kept[name]]]
            limit = EXACT * max(float(wanted.abs().max()), 1e-3 * largest)  # Some gradients are 0 but for rounding.
            np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=limit, err_msg=f"gradient of {name}")


def trained(net: pnn.Network, both: Both, epochs: int = STEPS) -> None:
    targets = both.targets()
    y: Any = targets if len(targets) > 1 else next(iter(targets.values()))
    x: Any = both.x if len(both.x) > 1 else next(iter(both.x.values()))
    optimizer = pnn.SGD(both.rate, momentum=MOMENTUM)
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False}
    net.fit(x, y, loss="mean_squared_error", optimizer=optimizer, epochs=epochs, **options)


def steps(both: Both) -> None:
    targets = both.targets()
    net = both.net
    both.module.train()
    before = {name: value.clone() for name, value in both.module.state_dict().items()}

    def backward() -> float:
        both.module.zero_grad()
        found = zip(both.module(*both.tensors()), targets.values(), strict=True)
        sum(((y - torch.tensor(target)) ** 2).mean() for y, target in found).backward()
        slopes = [value.grad.abs().max() for value in both.module.parameters() if value.grad is not None]
        return max(float(slope) for slope in slopes)

    both.rate = RATE / max(1.0, backward())
    both.module.load_state_dict(before)
    trained(net, both)
    optimizer = torch.optim.SGD(both.module.parameters(), lr=both.rate, momentum=MOMENTUM)
    for _ in range(STEPS):
        backward()
        optimizer.step()
    for name, wanted in state(both.module).items():
        close(net.parameters[name], wanted, EXACT, f"{name} after {STEPS} steps")
    forward(both)


def files(both: Both, single: Both, folder: Path) -> None:
    """Saved, loaded, exported, imported with and without its manifest, and trained further."""
    net, single.rate = single.net, both.rate
    for name, value in net.parameters.items():
        value[...] = both.net.parameters[name]
    here = single.predicted(net)
    for (name, found), wanted in zip(here.items(), both.predicted(both.net).values(), strict=True):
        close(found, wanted, SINGLE, f"{name} in single precision")
    net.save(folder / "a.safetensors")
    loaded = pnn.load(folder / "a.safetensors")
    assert all(np.array_equal(found, here[name]) for name, found in single.predicted(loaded).items())
    export_onnx(net, folder / "a.onnx")
    for (name, found), wanted in zip(single.predicted(net, engine="onnxruntime").items(), here.values(), strict=True):
        close(found, wanted, SINGLE, f"{name} in onnxruntime")
    ours = import_onnx(folder / "a.onnx")
    assert all(np.array_equal(found, here[name]) for name, found in single.predicted(ours).items())
    model = onnx.load(folder / "a.onnx")
    del model.metadata_props[:]
    model.producer_name = "another tool"
    theirs = import_onnx(model)
    for name, found in single.predicted(theirs).items():
        close(found, here[name], SINGLE, f"{name} of another tool's model")
    if frozen := set(net.parameters) - set(moving(net)):
        theirs.freeze(*frozen)
    if single.trains:
        trained(net, single, 2)
        for kind, other in (("loaded", loaded), ("imported", ours), ("another tool's", theirs)):
            trained(other, single, 2)
            for name, value in net.parameters.items():
                assert name in other.parameters, f"{name} of {kind}"
                close(other.parameters[name], value, SINGLE, f"{name} of {kind}, trained further")


def compared(seed: int, folder: Path) -> None:
    """All comparisons of one network."""
    both = Both(seed)
    try:
        forward(both)
        if both.trains:
            slopes(both)
            steps(both)
        files(both, Both(seed, "float32"), folder)
    except Exception as error:
        raise AssertionError(f"network {seed}:\n{both.program}\n{error}") from error


def test_every_layer_is_in_the_table() -> None:
    ours = {COUNTERPARTS[row.name].builder if row.name in COUNTERPARTS else row.name for row in ROWS}
    elsewhere = {*attention.__all__} - {"MultiHeadAttention"}  # tests/layers/test_sequences_torch.py has those.
    others = {"Input", "Layer", "Symbol", "emit", "concatenate", "Columns", *elsewhere}
    assert ours == set(layers.__all__) - others
    assert {row.name for row in ROWS if row.name in COUNTERPARTS} == set(COUNTERPARTS) - elsewhere
    assert all(LEFT_OUT.values())


def test_networks_differ_and_are_the_same_again() -> None:
    texts = {seed: str(drawn(seed, "float64")[0]) for seed in range(20)}
    assert len(set(texts.values())) == len(texts)
    assert texts == {seed: str(drawn(seed, "float32")[0]) for seed in texts}


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 140, 10))
def test_forty_random_networks_are_pytorchs(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 10):
        compared(seed, tmp_path)


@pytest.mark.sweep
@pytest.mark.parametrize("first", range(1000, 2000, 50))
def test_a_thousand_random_networks_are_pytorchs(first: int, tmp_path: Path) -> None:
    failures: dict[int, str] = {}
    for seed in range(first, first + 50):
        try:
            compared(seed, tmp_path)
        except AssertionError as error:
            failures[seed] = str(error)
    assert not failures, "\n\n".join(failures.values())
