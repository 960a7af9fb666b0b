"""Networks that PyTorch exported, trained further here and there: the same weights after five steps."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_files import to_onnx

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.operators.registry import Array
from portable_nn.training.optimizers import Optimizer

torch = pytest.importorskip("torch")
models = pytest.importorskip("torchvision").models
pytestmark = pytest.mark.usefixtures("one_thread")

STEPS, CLASSES, WIDTH = 5, 10, 16
TOLERANCE = 1e-5

NO_GRADIENT = re.compile(r".*\.in_proj_bias")
"""Where softmax(q·k + c) = softmax(q·k): the gradient of a part is rounding, which Adam makes a step of full size."""

OPTIMIZERS: Mapping[str, tuple[Optimizer, Callable[[Any], Any]]] = {
    "sgd": (pnn.SGD(0.01, momentum=0.9), lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9)),
    "adam": (pnn.Adam(0.001), lambda weights: torch.optim.Adam(weights, lr=0.001)),
}


def small_resnet() -> Any:
    """The stem of a residual network, and a block of each kind, with few channels."""
    block, nn = models.resnet.BasicBlock, torch.nn
    half = nn.Sequential(nn.Conv2d(8, WIDTH, 1, stride=2, bias=False), nn.BatchNorm2d(WIDTH))
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(8),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
            layer1=block(8, 8),
            layer2=block(8, WIDTH, 2, half),
            avgpool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(WIDTH, CLASSES),
        )
    )


def vit(**options: int) -> Any:
    small = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
    module = models.VisionTransformer(**{**small, **options}, num_classes=CLASSES)
    torch.nn.init.normal_(module.heads.head.weight, std=0.02)  # torchvision begins with zeros: nothing flows back.
    return module


def prepared(make: Callable[[], Any], dtype: Any) -> Any:
    """A network as after some training: no two tensors are the same, or the exporter would make one of them."""
    torch.manual_seed(0)
    module = make().to(dtype).eval()
    with torch.no_grad():
        for value in module.parameters():
            value += 0.02 * torch.randn_like(value)
        for value in module.buffers():
            if value.is_floating_point():
                value += 0.1 * torch.rand_like(value)
    return module


def imported(module: Any, path: Path, size: int, dtype: Any, **options: Any) -> pnn.Network:
    """What the exporter writes, so that normalisations stand as they are, instead of within a convolution."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        preserve = torch.onnx.TrainingMode.PRESERVE
        options = {"training": preserve, "do_constant_folding": False, "opset_version": 17, **options}
        to_onnx(module, path, (2, 3, size, size), **options)
    finally:
        torch.set_default_dtype(default)
    return import_onnx(path, verify=dtype == torch.float32)  # onnxruntime has no convolution of float64.


def data(size: int, dtype: Any, batch: int = 8) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS * batch, 3, size, size, dtype=dtype, generator=generator)
    return x, torch.arange(STEPS * batch) % CLASSES


def train(module: Any, x: Any, y: Any, optimizer: Any) -> dict[int, int]:
    """Five steps; how many values of a channel each normalisation has seen in one."""
    seen: dict[int, int] = {}
    for each in module.modules():
        if isinstance(each, torch.nn.BatchNorm2d) and each.training:
            each.register_forward_hook(lambda norm, given, _: seen.update({id(norm): given[0][:, 0].numel()}))
    for xs, ys in zip(x.chunk(STEPS), y.chunk(STEPS), strict=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(xs), ys).backward()
        optimizer.step()
    return seen


def learned(module: Any, seen: Mapping[int, int], before: Mapping[str, Array]) -> dict[str, Array]:
    """What PyTorch has learned, with the variances over n, as ONNX has them, instead of over n - 1."""
    found = {name: value.detach().numpy() for name, value in module.state_dict().items() if value.is_floating_point()}
    for name, norm in module.named_modules():
        if id(norm) in seen:
            n, kept, key = seen[id(norm)], before[f"{name}.running_var"] * 0.9**STEPS, f"{name}.running_var"
            found[key] = kept + (found[key] - kept) * (n - 1) / n
    return found


def check_five_steps(
    make: Callable[[], Any], size: int, optimizer: str, dtype: str, path: Path, passed: Callable[[str], object]
) -> None:
    """``passed`` says of which parameters the numbers mean nothing."""
    kind, (ours, theirs) = getattr(torch, dtype), OPTIMIZERS[optimizer]
    module = prepared(make, kind)
    before = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    network = imported(module, path, size, kind)
    x, y = data(size, kind)
    np.testing.assert_allclose(network.predict(x[:2].numpy()), module(x[:2]).detach().numpy(), rtol=1e-4, atol=1e-4)
    batch = len(x) // STEPS
    network.fit(x.numpy(), y.numpy(), optimizer=ours, epochs=1, batch_size=batch, shuffle=False)
    module.train()
    expected = learned(module, train(module, x, y, theirs(module.parameters())), before)
    assert network.parameters.keys() == expected.keys()
    moved = [name for name, array in network.parameters.items() if not np.array_equal(array, before[name])]
    assert len(moved) == len(expected)
    for name, array in network.parameters.items():
        if not passed(name):
            np.testing.assert_allclose(array, expected[name], rtol=0, atol=TOLERANCE, err_msg=name)


def nothing(name: str) -> bool:
    return False


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_steps_of_a_small_resnet(tmp_path: Path, optimizer: str) -> None:
    """In float64: in float32 some ReLU is so near to 0 that rounding decides what it does, here and in PyTorch."""
    check_five_steps(small_resnet, 32, optimizer, "float64", tmp_path / "r.onnx", nothing)


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=pytest.mark.long)])
def test_five_steps_of_a_small_vit(tmp_path: Path, optimizer: str) -> None:
    passed = NO_GRADIENT.fullmatch if optimizer == "adam" else nothing
    check_five_steps(vit, 32, optimizer, "float32", tmp_path / "v.onnx", passed)


@pytest.mark.long
def test_five_steps_of_a_small_vit_in_float64(tmp_path: Path) -> None:
    check_five_steps(vit, 32, "adam", "float64", tmp_path / "v.onnx", nothing)


@pytest.mark.long
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_steps_of_resnet18(tmp_path: Path, optimizer: str) -> None:
    make = partial(models.resnet18, num_classes=CLASSES)
    check_five_steps(make, 64, optimizer, "float64", tmp_path / "r.onnx", nothing)


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        pytest.param("sgd", "float32", marks=pytest.mark.sweep),
        pytest.param("adam", "float64", marks=pytest.mark.sweep),
    ],
)
def test_five_steps_of_vit_b_16(tmp_path: Path, optimizer: str, dtype: str) -> None:
    """Adam in float64: of 86 million gradients, some are so near to 0 that rounding, in float32, decides their sign."""
    real = partial(vit, image_size=32, patch_size=16, num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072)
    check_five_steps(real, 32, optimizer, dtype, tmp_path / "v.onnx", nothing)


@pytest.mark.long
def test_a_new_head_on_a_frozen_body(tmp_path: Path) -> None:
    """In PyTorch: requires_grad off, and the body in evaluation, so that its statistics stand still."""
    module = prepared(small_resnet, torch.float32)
    body = imported(module, tmp_path / "r.onnx", 64, torch.float32).until("/avgpool/GlobalAveragePool")
    body.freeze("*")
    network = pnn.Sequential(body, pnn.Flatten(), pnn.Dense(CLASSES, name="head"), seed=0)
    before = {name: array.tobytes() for name, array in network.parameters.items()}
    module.fc = torch.nn.Linear(WIDTH, CLASSES)
    with torch.no_grad():
        for name, value in module.fc.named_parameters():
            value.copy_(torch.tensor(network.parameters[f"head.{name}"]))
    x, y = data(64, torch.float32)
    ours, theirs = OPTIMIZERS["adam"]
    network.fit(x.numpy(), y.numpy(), optimizer=ours, epochs=1, batch_size=8, shuffle=False)
    train(module, x, y, theirs(module.requires_grad_(False).fc.requires_grad_(True).parameters()))
    for name, value in module.fc.named_parameters():
        np.testing.assert_allclose(network.parameters[f"head.{name}"], value.detach().numpy(), rtol=0, atol=TOLERANCE)
    assert {name for name, data in before.items() if network.parameters[name].tobytes() != data} == {
        "head.weight",
        "head.bias",
    }
    network.save(tmp_path / "tuned.safetensors")
    loaded = pnn.load(tmp_path / "tuned.safetensors")
    assert [value.name for value in loaded.graph.parameters if value.trainable] == ["head.weight", "head.bias"]
    assert export_onnx(loaded, tmp_path / "tuned.onnx").max_abs_error < 1e-4
    assert import_onnx(tmp_path / "tuned.onnx").graph == network.graph


@pytest.mark.long
def test_pictures_of_any_size(tmp_path: Path) -> None:
    """Sizes that the file leaves open, beside the batch: trained at two of them."""
    module = prepared(small_resnet, torch.float64)
    axes = {"x": {0: "N", 2: "height", 3: "width"}, "y": {0: "N"}}
    network = imported(module, tmp_path / "r.onnx", 32, torch.float64, dynamic_axes=axes)
    assert network.graph.inputs[0].shape == ("N", 3, "height", "width")
    ours, theirs = OPTIMIZERS["sgd"]
    module.train()
    for size in (32, 48):
        x, y = data(size, torch.float64, batch=4)
        held_out = (x[:3].numpy(), y[:3].numpy())
        network.fit(x.numpy(), y.numpy(), optimizer=ours, epochs=1, batch_size=4, shuffle=False, validation=held_out)
        train(module, x, y, theirs(module.parameters()))
    for name, value in module.named_parameters():
        np.testing.assert_allclose(network.parameters[name], value.detach().numpy(), rtol=0, atol=TOLERANCE)
