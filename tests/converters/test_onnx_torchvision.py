"""What PyTorch's own exporters write, of the usual networks: imported, computed, exported, computed again."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.converters.torch import to_torch
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes, to_model

pytestmark = pytest.mark.long

SIZES = {
    "resnet18": 64, "mobilenet_v3_small": 64, "shufflenet_v2_x0_5": 64, "squeezenet1_1": 64, "efficientnet_b0": 64,
    "densenet121": 64, "googlenet": 64, "convnext_tiny": 64, "vit_b_16": 224, "swin_t": 64, "encoder": 0,
}  # fmt: skip
"""The networks, and the height and width of their pictures."""

HEAVY = {"efficientnet_b0", "shufflenet_v2_x0_5", "densenet121", "googlenet", "convnext_tiny", "vit_b_16", "swin_t"}
"""Those that take half a minute and more: they are sweeps."""

EXPORTERS = ["torchscript", "dynamo"]

Array = np.ndarray[Any, Any]


def built(name: str) -> Any:
    """The network with random weights, such that something comes out."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    if name == "encoder":
        layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        parts = [
            torch.nn.Embedding(50, 16),
            torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            torch.nn.Flatten(),
            torch.nn.Linear(7 * 16, 5),
        ]
        return torch.nn.Sequential(*parts).eval()
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network = getattr(torchvision.models, name)(weights=None, **options)
    if name == "vit_b_16":
        torch.nn.init.normal_(network.heads.head.weight, std=0.02)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 1.0
    if norms:  # With statistics of a batch, what goes through keeps its scale.
        with torch.no_grad():
            network(torch.from_numpy(inputs(name, 8)))
    return network.eval()


def inputs(name: str, batch: int) -> Array:
    rng = np.random.default_rng(batch)
    if name == "encoder":
        return rng.integers(0, 50, (batch, 7))
    return rng.standard_normal((batch, 3, SIZES[name], SIZES[name]), np.float32)


def exported(name: str, exporter: str, path: Path) -> Any:
    """The file at ``path``; the network that it is of."""
    torch = pytest.importorskip("torch")
    network, x = built(name), torch.from_numpy(inputs(name, 2))
    names = {"input_names": ["input"], "output_names": ["output"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            axes = {"input": {0: "batch"}, "output": {0: "batch"}}
            torch.onnx.export(network, (x,), path, dynamo=False, dynamic_axes=axes, **names)
        else:
            if importlib.util.find_spec("onnxscript") is None:
                pytest.skip("this exporter needs onnxscript")
            shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
            torch.onnx.export(
                network, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **names
            )
    return network


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.sweep] * (name in HEAVY)) for name in SIZES])
def test_an_export_of_pytorch(name: str, exporter: str, tmp_path: Path) -> None:
    network = exported(name, exporter, tmp_path / "theirs.onnx")
    model = onnx.load(tmp_path / "theirs.onnx")
    found = read_onnx(tmp_path / "theirs.onnx", verify=False)
    assert found.network.graph.inputs[0].shape[0] == "batch"
    written = to_model(found.network.graph, found.network.parameters, opset=opset(model))
    theirs, ours = Session(to_bytes(model)), Session(to_bytes(written))
    module = to_torch(found.network, verify=False)
    torch = pytest.importorskip("torch")
    for batch in (1, 3):
        x = inputs(name, batch)
        [expected] = theirs.run({"input": x}).values()
        tolerance = 1e-4 * np.abs(expected).max()
        assert tolerance > 1e-6, "nothing comes out"
        np.testing.assert_allclose(found.network.predict(x), expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(ours.run({"input": x})["output"], expected, rtol=0, atol=tolerance)
        with torch.no_grad():
            np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=tolerance)
    assert_names_are_kept(model, written, found.notes)
    # Folded into their neighbours or written under names of their own, parameters are there all the same.
    trained = sum(value.trainable for value in found.network.graph.parameters)
    assert trained >= len([each for each in network.parameters() if each.ndim > 1])


def opset(model: onnx.ModelProto) -> int:
    return max(17, next(entry.version for entry in model.opset_import if not entry.domain))


def assert_names_are_kept(model: onnx.ModelProto, written: onnx.ModelProto, notes: tuple[str, ...]) -> None:
    """Of all nodes, values and initializers, but for those that a note names."""
    reported = " ".join(note for note in notes)
    for before, after in (
        (nodes(model), nodes(written)),
        (values(model), values(written)),
    ):
        lost = sorted(name for name in before - after if f"'{name}'" not in reported)
        assert lost == []


def nodes(model: onnx.ModelProto) -> set[str]:
    return {node.name for node in model.graph.node if node.name}


def values(model: onnx.ModelProto) -> set[str]:
    made = {name for node in model.graph.node for name in node.output if name}
    return made | {tensor.name for tensor in model.graph.initializer}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_height_and_width_may_be_open_as_well(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    axes = {0: "batch", 2: "height", 3: "width"}
    path = tmp_path / "theirs.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            built(name),
            (torch.zeros(2, 3, 64, 64),),
            path,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": axes, "output": {0: "batch"}},
        )
    network = import_onnx(path, verify=False)
    assert network.graph.inputs[0].shape == ("batch", 3, "height", "width")
    x = np.random.default_rng(0).standard_normal((2, 3, 96, 75), np.float32)
    [expected] = Session(path).run({"input": x}).values()
    np.testing.assert_allclose(network.predict(x), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
