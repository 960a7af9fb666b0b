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


def write(name: str, path: str) -> float:
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
        )
    return time.perf_counter() - begun


def picture() -> Any:
    return np.random.default_rng(SEED).standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)


def our_run(path: str) -> Callable[[], object]:
    from portable_nn.converters.onnx import import_onnx

    network, x = import_onnx(path, verify=False), picture()
    return lambda: network.predict(x)


def runtime_run(path: str) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
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


RUNS = {"ours": our_run, "runtime": runtime_run, "reference": reference_run}


def ours(path: str, threads: int | None = None) -> float:
    if threads:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    return repeat(our_run(path), 1)


def runtime(path: str) -> float:
    return repeat(runtime_run(path), 1)


def reference(path: str) -> float:
    return repeat(reference_run(path), 1)


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
