"""What ``conversion.py`` measures: one import or export in a process of its own."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from sides import SEED


def write(name: str, path: str) -> float:
    """A model with random weights as PyTorch exports it, or ``unsupported``: 2,900 layers and one unknown operator."""
    import torch

    begun = time.perf_counter()
    torch.manual_seed(SEED)
    model, shape = _model(name)
    for parameter in model.parameters():  # Layers that are copies would be stored once.
        torch.nn.init.normal_(parameter, std=max(parameter.shape) ** -0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), torch.zeros(1, *shape), path, dynamo=False, opset_version=17, input_names=["x"])
    if name == "unsupported":
        _with_unknown_operator(path)
    return time.perf_counter() - begun


def _model(name: str) -> tuple[object, tuple[int, ...]]:
    import torch

    if name == "transformer":
        layer = torch.nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
        return torch.nn.TransformerEncoder(layer, 7), (64, 512)
    if name == "unsupported":
        return torch.nn.Sequential(*(torch.nn.Linear(128, 128) for _ in range(2900))), (128,)
    import torchvision

    return torchvision.models.get_model(name, weights=None), (3, 224, 224)


def _with_unknown_operator(path: str) -> None:
    import onnx

    model = onnx.load(path)
    [output] = model.graph.output
    model.graph.node.append(onnx.helper.make_node("Unknown", [output.name], ["last"], domain="somebody"))
    model.opset_import.append(onnx.helper.make_opsetid("somebody", 1))
    output.name = "last"
    onnx.save(model, path)


def imported(path: str, verify: bool, kind: str) -> float:
    """The processor's seconds, or the bytes of memory, that an import or its refusal takes."""
    from portable_nn.converters.onnx import import_onnx
    from portable_nn.core.errors import UnsupportedError

    def run() -> None:
        try:
            import_onnx(path, verify=verify)
        except UnsupportedError:
            return

    return _measured(run, kind)


def exported(path: str, verify: bool, kind: str) -> float:
    """The same of an export of the network at ``path``, beyond the network itself."""
    from portable_nn import load
    from portable_nn.converters.onnx import export_onnx

    network = load(path)
    return _measured(lambda: export_onnx(network, Path(path).with_suffix(".exported.onnx"), verify=verify), kind)


def converted(path: str, out: str) -> float:
    """Write the weight file of an ONNX file; the seconds that takes."""
    from portable_nn.converters.onnx import import_onnx

    begun = time.perf_counter()
    import_onnx(path, verify=False).save(out)
    return time.perf_counter() - begun


def _measured(run: Callable[[], object], kind: str) -> float:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401

    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    run()
    if kind == "seconds":
        return time.process_time() - begun
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
