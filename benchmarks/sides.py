"""What the benchmarks time: the same work by this package and by its peers. Each function returns seconds a unit."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SEED = 0


Layer = tuple[str, *tuple[int, ...]]

NETWORKS: dict[str, list[Layer]] = {
    "784-200-10 sigmoid": [("dense", 784, 200), ("sigmoid",), ("dense", 200, 10)],
    "784-512-512-10 ReLU": [("dense", 784, 512), ("relu",), ("dense", 512, 512), ("relu",), ("dense", 512, 10)],
    "LeNet-like": [
        ("conv", 1, 16), ("relu",), ("pool",), ("conv", 16, 32), ("relu",), ("pool",), ("flatten",),
        ("dense", 1568, 10),
    ],
}  # fmt: skip
"""What is trained and run; a convolution is 5x5 with padding 2, a pool takes the largest of 2x2."""


def data(network: str, examples: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(SEED)
    shape = (784,) if NETWORKS[network][0][0] == "dense" else (1, 28, 28)
    return rng.random((examples, *shape), np.float32), rng.integers(0, 10, examples)


def repeat(work: Callable[[], object], units: int, seconds: float = 0.7) -> float:
    """The median time a unit over as many calls as fit into ``seconds``, after one to warm up.

    Processor time where the process may use one core only: so a busy machine can be measured.
    """
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter
    work()
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = clock()
        work()
        found.append((clock() - start) / units)
    return statistics.median(found)


def our_network(network: str) -> Any:
    import portable_nn as pnn

    make: dict[str, Callable[..., Any]] = {
        "dense": lambda _, width: pnn.Dense(width),
        "conv": lambda _, filters: pnn.Conv2d(filters, 5, padding=2),
        "pool": lambda: pnn.MaxPool2d(2),
        "flatten": pnn.Flatten,
        "relu": pnn.ReLU,
        "sigmoid": pnn.Sigmoid,
    }
    layers = [make[kind](*sizes) for kind, *sizes in NETWORKS[network]]
    return pnn.Sequential(pnn.Input(*data(network, 1)[0].shape[1:]), *layers, seed=SEED)


def torch_network(network: str) -> Any:
    from torch import nn

    make: dict[str, Callable[..., Any]] = {
        "dense": nn.Linear,
        "conv": lambda channels, filters: nn.Conv2d(channels, filters, 5, padding=2),
        "pool": lambda: nn.MaxPool2d(2),
        "flatten": nn.Flatten,
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
    }
    return nn.Sequential(*(make[kind](*sizes) for kind, *sizes in NETWORKS[network]))


# -- training: a unit is one step through the public loop


def our_training(network: str, optimizer: str, batch: int, steps: int) -> float:
    import portable_nn as pnn

    x, y = data(network, steps * batch)
    made = our_network(network)
    chosen: Any = {"sgd": pnn.SGD(0.01), "adam": pnn.Adam(0.001)}[optimizer]
    return repeat(lambda: made.fit(x, y, optimizer=chosen, epochs=1, batch_size=batch, progress=False), steps)


def torch_training(
    network: str, optimizer: str, batch: int, steps: int, fused: bool, channels_last: bool = False
) -> float:
    import torch

    x, y = (torch.from_numpy(array) for array in data(network, steps * batch))
    made = torch_network(network)
    if channels_last:
        made, x = made.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    make = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    chosen = make(made.parameters(), lr=0.01 if optimizer == "sgd" else 0.001, fused=fused)
    loss_of = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for places in torch.randperm(len(x)).split(batch):
            chosen.zero_grad()
            loss_of(made(x[places]), y[places]).backward()
            chosen.step()

    return repeat(epoch, steps)


# -- inference: a unit is one call


def our_inference(network: str, batch: int, engine: str) -> float:
    """A call of ``Network.predict``, of a ``snapshot`` of it, or of the ``bare`` session that onnxruntime has."""
    x, _ = data(network, batch)
    made = our_network(network)
    calls: dict[str, Callable[[], object]] = {
        "numpy": lambda: made.predict(x),
        "onnxruntime": lambda: made.predict(x, engine="onnxruntime"),
    }
    if engine == "snapshot":
        session = made.session()
        calls[engine] = lambda: session.predict(x)
    elif engine == "bare":
        bare, feeds = bare_session(made), {made.graph.inputs[0].name: x}
        calls[engine] = lambda: bare.run(None, feeds)
    call = calls[engine]
    return repeat(lambda: [call() for _ in range(100)], 100)


def bare_session(network: Any) -> Any:
    import tempfile

    import onnxruntime

    from portable_nn.converters.onnx import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(network, f"{folder}/network.onnx").path
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def torch_inference(network: str, batch: int, bare: bool, channels_last: bool = False) -> float:
    """A call of the module as it comes, or ``bare``: no gradients, a numpy array in and out, as ``predict`` has it."""
    import torch

    x = data(network, batch)[0]
    made, tensor = torch_network(network).eval(), torch.from_numpy(x)
    if channels_last:
        made, tensor = made.to(memory_format=torch.channels_last), tensor.to(memory_format=torch.channels_last)

    def calls() -> None:
        for _ in range(100):
            made(tensor)

    def bare_calls() -> None:
        with torch.no_grad():
            for _ in range(100):
                made(torch.from_numpy(x)).numpy()

    return repeat(bare_calls if bare else calls, 100)


# -- export: a unit is one file


def our_export(verify: bool) -> float:
    import tempfile

    from portable_nn.converters.onnx import export_onnx

    network = our_network("784-200-10 sigmoid")
    with tempfile.TemporaryDirectory() as folder:
        return repeat(lambda: export_onnx(network, f"{folder}/digits.onnx", verify=verify), 1)


def torch_export() -> float:
    import contextlib
    import io
    import tempfile

    import torch

    network, x = torch_network("784-200-10 sigmoid").eval(), torch.zeros(2, 784)
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
