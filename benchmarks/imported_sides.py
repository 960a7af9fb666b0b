"""What ``imported.py`` times: one picture through a model that somebody else made, in seconds."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sides import SEED, repeat

_ONNX = find_spec("onnx")
_DATA = Path(_ONNX.origin or "").parent / "backend" / "test" / "data" if _ONNX else Path()
LIGHT = sorted((_DATA / "light").glob("*.onnx"))
"""Models in the onnx package."""

SIZE = 224


def write(name: str, path: str, training: bool = False) -> float:
    """A model of torchvision with random weights, as PyTorch exports it; the seconds that takes."""
    import torch
    import torchvision

    begun = time.perf_counter()
    torch.manual_seed(SEED)
    model = torchvision.models.get_model(name, weights=None).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            torch.zeros(1, 3, SIZE, SIZE),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
            training=torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL,
            do_constant_folding=not training,
        )
    return time.perf_counter() - begun


def picture() -> Any:
    return np.random.default_rng(SEED).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)


def our_run(path: str) -> Callable[[], object]:
    from portable_nn.converters.onnx import import_onnx

    network, x = import_onnx(path, verify=False), picture()
    return lambda: network.predict(x)


def runtime_run(path: str, threads: int = 1) -> Callable[[], object]:
    """``threads`` of 0 are as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session, x = onnxruntime.InferenceSession(path, options), picture()
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def reference_run(path: str) -> Callable[[], object]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    model, x = onnx.load(path), picture()
    stored = {tensor.name for tensor in model.graph.initializer}
    [name] = [value.name for value in model.graph.input if value.name not in stored]
    evaluator = ReferenceEvaluator(model)
    return lambda: evaluator.run(None, {name: x})


RUNS: dict[str, Callable[[str], Callable[[], object]]] = {
    "ours": our_run,
    "runtime": runtime_run,
    "reference": reference_run,
}


def ours(path: str, threads: int | None = None) -> float:
    if threads:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    return repeat(our_run(path), 1)


def runtime(path: str, threads: int = 1) -> float:
    return repeat(runtime_run(path, threads), 1)


def reference(path: str) -> float:
    return repeat(reference_run(path), 1)


def training_data(batch: int) -> tuple[Any, Any]:
    x = np.random.default_rng(SEED).standard_normal((batch, 3, SIZE, SIZE), dtype=np.float32)
    return x, np.arange(batch) % 1000


def our_training(path: str, batch: int) -> float:
    import portable_nn as pnn
    from portable_nn.converters.onnx import import_onnx

    network, (x, y) = import_onnx(path, verify=False), training_data(batch)
    # One step an epoch; a fit compiles the step anew, which five epochs share.
    return repeat(lambda: network.fit(x, y, optimizer=pnn.SGD(0.01), epochs=5, batch_size=batch, progress=False), 5)


def torch_training(name: str, batch: int) -> float:
    import torch
    import torchvision

    x, y = map(torch.from_numpy, training_data(batch))
    model = torchvision.models.get_model(name, weights=None).train()
    optimizer, loss_of = torch.optim.SGD(model.parameters(), lr=0.01), torch.nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()

    return repeat(step, 1)


def peak(kind: str, path: str) -> float:
    """How many bytes a process takes for the model and one picture, beyond those after the imports."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    import portable_nn.converters.onnx  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = RUNS[kind](path)
    for _ in range(3):
        run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
