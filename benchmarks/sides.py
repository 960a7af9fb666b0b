"""What the benchmarks time: the same work by this package and by its peers. Each function returns seconds a unit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SEED = 0


def data(examples: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    return rng.random((examples, 784), np.float32), rng.integers(0, 10, examples)


def repeat(work: Callable[[], object], units: int, seconds: float = 0.7) -> float:
    """The median time a unit over as many calls as fit into ``seconds``, after one to warm up."""
    work()
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = time.perf_counter()
        work()
        found.append((time.perf_counter() - start) / units)
    return statistics.median(found)


def our_network(hidden: list[int], activation: str) -> Any:
    import portable_nn as pnn

    layers: list[Any] = [pnn.Input(784)]
    for units in hidden:
        layers += [pnn.Dense(units), getattr(pnn, activation)()]
    return pnn.Sequential(*layers, pnn.Dense(10), seed=SEED)


def torch_network(hidden: list[int], activation: str) -> Any:
    import torch

    layers: list[Any] = []
    width = 784
    for units in hidden:
        layers += [torch.nn.Linear(width, units), getattr(torch.nn, activation)()]
        width = units
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))


# -- training: a unit is one step through the public loop


def our_training(hidden: list[int], activation: str, optimizer: str, batch: int, steps: int) -> float:
    import portable_nn as pnn

    x, y = data(steps * batch)
    network = our_network(hidden, activation)
    chosen: Any = {"sgd": pnn.SGD(0.01), "adam": pnn.Adam(0.001)}[optimizer]
    return repeat(lambda: network.fit(x, y, optimizer=chosen, epochs=1, batch_size=batch, progress=False), steps)


def torch_training(hidden: list[int], activation: str, optimizer: str, batch: int, steps: int, fused: bool) -> float:
    import torch

    x, y = (torch.from_numpy(array) for array in data(steps * batch))
    network = torch_network(hidden, activation)
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    chosen = make(network.parameters(), lr=0.01 if optimizer == "sgd" else 0.001, fused=fused)
    loss_of = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for places in torch.randperm(len(x)).split(batch):
            chosen.zero_grad()
            loss_of(network(x[places]), y[places]).backward()
            chosen.step()

    return repeat(epoch, steps)


# -- inference: a unit is one call


def our_inference(batch: int, engine: str) -> float:
    x, _ = data(batch)
    network = our_network([200], "Sigmoid")
    if engine == "numpy":
        return repeat(lambda: [network.predict(x) for _ in range(100)], 100)
    from portable_nn.engines.runtime import session_of

    session = session_of(network.graph, network.parameters)
    feeds = {network.graph.inputs[0].name: x}
    return repeat(lambda: [session.run(feeds) for _ in range(100)], 100)


def torch_inference(batch: int, bare: bool) -> float:
    """A call of the module as it comes, or ``bare``: no gradients, a numpy array in and out, as ``predict`` has it."""
    import torch

    x = data(batch)[0]
    network, tensor = torch_network([200], "Sigmoid").eval(), torch.from_numpy(x)

    def calls() -> None:
        for _ in range(100):
            network(tensor)

    def bare_calls() -> None:
        with torch.no_grad():
            for _ in range(100):
                network(torch.from_numpy(x)).numpy()

    return repeat(bare_calls if bare else calls, 100)


# -- export: a unit is one file


def our_export(verify: bool) -> float:
    import tempfile

    from portable_nn.converters.onnx import export_onnx

    network = our_network([200], "Sigmoid")
    with tempfile.TemporaryDirectory() as folder:
        return repeat(lambda: export_onnx(network, f"{folder}/digits.onnx", verify=verify), 1)


def torch_export() -> float:
    import contextlib
    import io
    import tempfile

    import torch

    network, x = torch_network([200], "Sigmoid").eval(), torch.zeros(2, 784)
    batch = torch.export.Dim("batch")

    def export() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                network, (x,), f"{folder}/digits.onnx", dynamo=True, dynamic_shapes=({0: batch},), verbose=False
            )

    with tempfile.TemporaryDirectory() as folder:
        return repeat(export, 1)


# -- start-up: a unit is one process


def command(*words: str) -> float:
    import subprocess

    return repeat(lambda: subprocess.run(words, capture_output=True, check=True), 1)
