"""Builders of convolutions and pools against PyTorch's modules of the same name, with the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.operators.registry import Array

SIZES = {1: (9,), 2: (8, 7), 3: (5, 6, 7)}


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def same_in_torch(layer: Any, module: Any, x: Array) -> pnn.Network:
    """Give the module the layer's weights, and compare what both compute."""
    torch = pytest.importorskip("torch")
    network = pnn.Sequential(pnn.Input(*x.shape[1:], dtype="float64"), layer, seed=1)
    module = module.double()
    with torch.no_grad():
        for theirs, ours in zip(module.parameters(), network.parameters.values(), strict=True):
            assert tuple(theirs.shape) == ours.shape
            theirs.copy_(torch.tensor(ours))
        wanted = module(torch.tensor(x)).numpy()
    assert network.predict(x).shape == wanted.shape
    np.testing.assert_allclose(network.predict(x), wanted, atol=1e-12)
    return network


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2, "bias": False},
        {"groups": 2, "padding": "same"},
        {"padding": "valid"},
    ],
    ids=str,
)
def test_conv(axes: int, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, f"Conv{axes}d")(4, 6, 3, **options)
    network = same_in_torch(getattr(pnn, f"Conv{axes}d")(6, 3, **options), module, drawn(2, 4, *SIZES[axes]))
    assert list(network.parameters) == ["conv_1.weight", "conv_1.bias"][: 1 + options.get("bias", True)]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 3, "padding": 1, "output_padding": 2}, {"dilation": 2, "bias": False}, {"groups": 2, "stride": 2}],
    ids=str,
)
def test_conv_transpose(axes: int, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, f"ConvTranspose{axes}d")(4, 6, 3, **options)
    layer = getattr(pnn, f"ConvTranspose{axes}d")(6, 3, **options)
    same_in_torch(layer, module, drawn(2, 4, *SIZES[axes]))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "LPPool"])
@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 3, "ceil_mode": True}], ids=str)
def test_pools(axes: int, kind: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if kind == "LPPool":
        options = {**options, "ceil_mode": False}  # PyTorch scales up what windows over the edge see.
    name = f"{kind}{axes}d"
    norm = (2,) if kind == "LPPool" else ()
    same_in_torch(
        getattr(pnn, name)(*norm, 2, **options), getattr(torch.nn, name)(*norm, 2, **options), drawn(2, 3, *SIZES[axes])
    )


def test_pools_with_padding() -> None:
    torch = pytest.importorskip("torch")
    x = drawn(2, 3, 8, 7)
    same_in_torch(pnn.MaxPool2d((3, 2), padding=(1, 0)), torch.nn.MaxPool2d((3, 2), padding=(1, 0)), x)
    same_in_torch(pnn.MaxPool2d(3, dilation=2, stride=1), torch.nn.MaxPool2d(3, dilation=2, stride=1), x)
    for counted in (True, False):
        ours = pnn.AvgPool2d(3, stride=2, padding=1, count_include_pad=counted)
        same_in_torch(ours, torch.nn.AvgPool2d(3, 2, 1, count_include_pad=counted), x)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_global_pools(axes: int) -> None:
    x = drawn(2, 3, *SIZES[axes])
    spatial = tuple(range(2, 2 + axes))
    for layer, wanted in (
        (pnn.GlobalAvgPool(), x.mean(spatial, keepdims=True)),
        (pnn.GlobalMaxPool(), x.max(spatial, keepdims=True)),
        (pnn.GlobalLPPool(), np.sqrt((x**2).sum(spatial, keepdims=True))),
        (pnn.GlobalLPPool(1), abs(x).sum(spatial, keepdims=True)),
    ):
        found = pnn.Sequential(pnn.Input(*x.shape[1:], dtype="float64"), layer).predict(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_uneven_padding_is_written_as_pads() -> None:
    network = pnn.Sequential(pnn.Input(1, 8, 8), pnn.Conv2d(2, 3, padding=((0, 2), (1, 0))))
    assert network.graph.nodes[0].attributes["pads"] == (0, 1, 2, 0)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_is_written_as_pads_where_the_size_is_known(stride: int) -> None:
    """ceil(size / stride), as Keras has it; what is odd goes to the end."""
    network = pnn.Sequential(pnn.Input(1, 8, 7), pnn.Conv2d(2, 4, padding="same", stride=stride))
    [node] = network.graph.nodes
    assert network.predict(np.zeros((1, 1, 8, 7), np.float32)).shape == (1, 2, -(-8 // stride), -(-7 // stride))
    assert "auto_pad" not in node.attributes
    pads = np.array(node.attributes["pads"]).reshape(2, 2)
    assert ((pads[1] - pads[0] == 0) | (pads[1] - pads[0] == 1)).all()
    free = pnn.Sequential(pnn.Input(1, "height", "width"), pnn.Conv2d(2, 4, padding="same", stride=stride))
    assert free.graph.nodes[0].attributes["auto_pad"] == "SAME_UPPER"
    assert free.predict(np.zeros((1, 1, 8, 7), np.float32)).shape == (1, 2, -(-8 // stride), -(-7 // stride))


def test_a_network_of_any_size() -> None:
    torch = pytest.importorskip("torch")
    network = pnn.Sequential(
        pnn.Input(3, "height", "width"),
        pnn.Conv2d(4, 3, stride=2, padding=1),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.GlobalAvgPool(),
        pnn.Flatten(),
        seed=2,
    )
    weight, bias = (torch.tensor(array) for array in network.parameters.values())
    for height, width in ((9, 12), (20, 5)):
        x = drawn(2, 3, height, width).astype("float32")
        h = torch.nn.functional.conv2d(torch.tensor(x), weight, bias, 2, 1).relu()
        wanted = torch.nn.functional.max_pool2d(h, 2).mean((2, 3))
        np.testing.assert_allclose(network.predict(x), wanted.numpy(), atol=1e-6)


def lenet(dtype: str = "float64", **options: Any) -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(1, 12, 12, dtype=dtype),
        pnn.Conv2d(4, 5, padding=2),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Conv2d(8, 5, padding=2),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(10),
        seed=3,
        **options,
    )


@pytest.mark.parametrize("batch", [3, 32])
def test_training_follows_pytorch(batch: int) -> None:
    torch = pytest.importorskip("torch")
    network = lenet()
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 10),
    ).double()
    with torch.no_grad():
        for theirs, ours in zip(module.parameters(), network.parameters.values(), strict=True):
            theirs.copy_(torch.tensor(ours))
    x, y = drawn(4 * batch, 1, 12, 12), np.random.default_rng(1).integers(0, 10, 4 * batch)
    network.fit(
        x, y, loss="cross_entropy", optimizer=pnn.SGD(0.1), epochs=2, batch_size=batch, shuffle=False, progress=False
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for start in 2 * list(range(0, 4 * batch, batch)):
        optimizer.zero_grad()
        part = slice(start, start + batch)
        nn.functional.cross_entropy(module(torch.tensor(x[part])), torch.tensor(y[part])).backward()
        optimizer.step()
    for theirs, ours in zip(module.parameters(), network.parameters.values(), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-10)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    network, x = lenet("float32"), drawn(5, 1, 12, 12).astype("float32")
    network.save(tmp_path / "c.safetensors")
    again = pnn.load(tmp_path / "c.safetensors")
    assert again.graph == network.graph
    np.testing.assert_array_equal(again.predict(x), network.predict(x))
    np.testing.assert_allclose(network.predict(x, engine="onnxruntime"), network.predict(x), atol=1e-6)


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: pnn.Conv2d(0, 3), "Conv2d: filters must be a whole number from 1, not 0"),
    (lambda: pnn.Conv2d(4, 0), "Conv2d: kernel must be at least 1, not 0"),
    (lambda: pnn.Conv2d(4, (3, 3, 3)), "Conv2d: kernel must be one number or 2, one for each axis, not 3: (3, 3, 3)"),
    (lambda: pnn.Conv1d(4, 3, stride=-1), "Conv1d: stride must be at least 1, not -1"),
    (lambda: pnn.Conv1d(4, 3, padding="full"), "Conv1d: padding must be a number, numbers, pairs, 'same' or 'valid'"),
    (lambda: pnn.Conv3d(4, 3, groups=0), "Conv3d: groups must be a whole number from 1, not 0"),
    (lambda: pnn.ConvTranspose2d(4, 3, output_padding=1),
     "ConvTranspose2d: output_padding must be smaller than stride 1 or dilation 1, not 1"),
    (lambda: pnn.MaxPool2d(2, padding=2), "MaxPool2d: padding of a pool must be at most half its kernel 2, not 2"),
    (lambda: pnn.LPPool1d(0, 2), "LPPool1d: p must be a whole number from 1, not 0"),
    (lambda: pnn.GlobalLPPool(-1), "GlobalLPPool: p must be a whole number from 1, not -1"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_options_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (pnn.Conv2d(4, 3), (8, 8), "'conv' (Conv2d): it needs (batch, channels, height, width) with known channels"),
        (
            pnn.MaxPool1d(2, name="top"),
            (8,),
            "'top' (MaxPool1d): it needs (batch, channels, width) with known channels",
        ),
        (pnn.Conv2d(4, 3, groups=2, name="c"), (3, 8, 8), "'c' (Conv2d): groups must divide in_channels: 3 channels"),
        (pnn.Conv2d(4, 9), (3, 8, 8), "along axis 2: kernel 9 spans 9 cells, but the input has only 8"),
        (pnn.ConvTranspose2d(3, 3, groups=2), (4, 8, 8), "groups must divide out_channels: 3 channels make no 2 equal"),
    ],
)
def test_inputs_that_do_not_fit(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)):
        pnn.Sequential(pnn.Input(*shape), layer)
