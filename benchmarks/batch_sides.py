"""What ``batches.py`` times: a batch through networks that are built in PyTorch; processor time in seconds."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from sides import SEED

BATCH: Final = 64
NETWORKS: Final = {"residual 16-32-64": (3, 32, 32), "Conv1d": (8, 256), "depthwise separable": (3, 64, 64)}
"""The shape of one example."""


def torch_network(name: str) -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                *normalised(nn.Conv2d(channels, filters, 3, stride, 1, bias=False)),
                nn.ReLU(),
                *normalised(nn.Conv2d(filters, filters, 3, 1, 1, bias=False)),
            )
            short = normalised(nn.Conv2d(channels, filters, 1, stride, bias=False)) if stride > 1 else []
            self.short = nn.Sequential(*short)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.body(x) + self.short(x))

    def normalised(conv: Any) -> list[Any]:
        return [conv, nn.BatchNorm2d(conv.out_channels)]

    def separable(channels: int, filters: int, stride: int) -> list[Any]:
        depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        pointwise = nn.Conv2d(channels, filters, 1, bias=False)
        return [*normalised(depthwise), nn.ReLU(), *normalised(pointwise), nn.ReLU()]

    if name == "Conv1d":
        convs = [nn.Conv1d(8, 32, 5, padding=2), nn.Conv1d(32, 64, 5, padding=2), nn.Conv1d(64, 64, 5, padding=2)]
        layers = [convs[0], nn.ReLU(), convs[1], nn.ReLU(), nn.MaxPool1d(2), convs[2], nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 10))
    if name == "depthwise separable":
        layers = [*normalised(nn.Conv2d(3, 32, 3, 2, 1)), nn.ReLU()]
        layers += [*separable(32, 64, 1), *separable(64, 128, 2), *separable(128, 128, 1)]
        width = 128
    else:
        layers = [*normalised(nn.Conv2d(3, 16, 3, 1, 1, bias=False)), nn.ReLU()]
        layers += [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
        width = 64
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def write(name: str, path: str) -> float:
    """The network as ONNX, with its batch normalization; the seconds that takes."""
    import torch

    begun = time.perf_counter()
    torch.manual_seed(SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch_network(name).eval(),
            torch.zeros(2, *NETWORKS[name]),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    return time.perf_counter() - begun


def batch(name: str) -> Any:
    return np.random.default_rng(SEED).standard_normal((BATCH, *NETWORKS[name]), np.float32)


def processor_time(work: Callable[[], object], seconds: float = 1.0) -> float:
    """The median processor time of a call over as many as fit into ``seconds``, after one to warm up."""
    work()
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 3:
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


def ours(name: str, path: str) -> float:
    from portable_nn.converters.onnx import import_onnx

    network, x = import_onnx(path, verify=False), batch(name)
    return processor_time(lambda: network.predict(x))


def theirs(name: str) -> float:
    import torch

    network, x = torch_network(name).eval(), torch.from_numpy(batch(name))
    with torch.no_grad():
        return processor_time(lambda: network(x).numpy())
