"""Every builder goes out to ONNX and comes back with the same numbers, and what is written is portable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import layers
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.format.meaning import Column
from portable_nn.layers import Layer

onnx = pytest.importorskip("onnx")

SIZES = {1: (9,), 2: (8, 6), 3: (4, 5, 6)}
NAMES_OF_LAYERS = set(layers.__all__) - {"Input", "Layer", "Symbol", "concatenate", "emit"}


def _spatial() -> dict[str, list[tuple[Layer, tuple[int, ...]]]]:
    rows: dict[str, list[tuple[Layer, tuple[int, ...]]]] = {}
    for axes, sizes in SIZES.items():
        shape = (4, *sizes)
        for name, made in {
            f"Conv{axes}d": [
                getattr(pnn, f"Conv{axes}d")(6, 3, stride=2, padding=1, groups=2),
                getattr(pnn, f"Conv{axes}d")(3, 2, dilation=2, padding="same"),
            ],
            f"ConvTranspose{axes}d": [
                getattr(pnn, f"ConvTranspose{axes}d")(6, 3, stride=2, padding=1, output_padding=1, groups=2)
            ],
            f"MaxPool{axes}d": [
                getattr(pnn, f"MaxPool{axes}d")(3, stride=2, padding=1),
                getattr(pnn, f"MaxPool{axes}d")(2, stride=3, ceil_mode=True),
            ],
            f"AvgPool{axes}d": [
                getattr(pnn, f"AvgPool{axes}d")(3, stride=2, padding=1),
                getattr(pnn, f"AvgPool{axes}d")(2, stride=3, ceil_mode=True, count_include_pad=False),
            ],
            f"LPPool{axes}d": [getattr(pnn, f"LPPool{axes}d")(2, 2)],
            f"BatchNorm{axes}d": [getattr(pnn, f"BatchNorm{axes}d")()],
        }.items():
            rows[name] = [(layer, shape) for layer in made]
    return rows


IMAGE, ROW = (4, 8, 6), (5,)
TABLE = [Column("a"), Column("b", categories=("x", "y")), Column("c", missing="mean"), Column("d"), Column("e")]
TABLE_ROWS = np.arange(20).reshape(4, 5) % 7
ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSoftmax", "Mish",
    "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Softshrink", "Softsign", "Tanh",
    "ThresholdedReLU",
)  # fmt: skip


class Looked(Layer):
    """An Embedding of whole numbers made of floats."""

    def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
        ids = pnn.emit("Cast", pnn.emit("Abs", x), to=7)
        return pnn.Embedding(9, 3, name="vectors")(ids)


SEQUENCE = (6, 8)

ROWS: dict[str, list[tuple[Layer, tuple[int, ...]]]] = {
    **_spatial(),
    **{name: [(getattr(pnn, name)(), ROW)] for name in ACTIVATIONS},
    "Clip": [(pnn.Clip(-0.5, 0.5), ROW)],
    "Columns": [(pnn.Columns(TABLE, TABLE_ROWS), ROW), (pnn.Columns(TABLE, TABLE_ROWS, embedding=2), ROW)],
    "Dense": [(pnn.Dense(3), ROW), (pnn.Dense(3, bias=False), (4, 5))],
    "Dropout": [(pnn.Dropout(0.5), ROW)],
    "Embedding": [(Looked(), ROW)],
    "Flatten": [(pnn.Flatten(), IMAGE)],
    "GlobalAvgPool": [(pnn.GlobalAvgPool(), IMAGE)],
    "GlobalLPPool": [(pnn.GlobalLPPool(), IMAGE)],
    "GlobalMaxPool": [(pnn.GlobalMaxPool(), IMAGE)],
    "GroupNorm": [(pnn.GroupNorm(2), IMAGE)],
    "InstanceNorm": [(pnn.InstanceNorm(affine=True), IMAGE)],
    "LayerNorm": [(pnn.LayerNorm(), ROW), (pnn.LayerNorm(axis=1), IMAGE)],
    "LocalResponseNorm": [(pnn.LocalResponseNorm(3), IMAGE)],
    "Pad": [(pnn.Pad(1, mode=mode), IMAGE) for mode in ("constant", "reflect", "replicate", "circular")],
    "PixelShuffle": [(pnn.PixelShuffle(2), IMAGE)],
    "PixelUnshuffle": [(pnn.PixelUnshuffle(2), IMAGE)],
    "Normalization": [
        (pnn.Normalization(mean=[1, 2, 3, 4], std=[1, 2, 3, 4]), IMAGE),
        (pnn.Normalization(None, mean=1, std=2), ROW),
    ],
    **{
        name: [
            (getattr(pnn, name)(4, layers=2, dropout=0.2, bidirectional=True), SEQUENCE),
            (getattr(pnn, name)(4, last=True), ("steps", 8)),
        ]
        for name in ("GRU", "LSTM", "RNN")
    },
    "LearnedPositions": [(pnn.LearnedPositions(9), SEQUENCE)],
    "MultiHeadAttention": [(pnn.MultiHeadAttention(2), SEQUENCE), (pnn.MultiHeadAttention(4, causal=True), SEQUENCE)],
    "SinusoidalPositions": [(pnn.SinusoidalPositions(9), SEQUENCE)],
    "TransformerEncoderLayer": [(pnn.TransformerEncoderLayer(2, units=16), SEQUENCE)],
    "RMSNorm": [(pnn.RMSNorm(), ROW)],
    "Rescaling": [(pnn.Rescaling(0.5), IMAGE), (pnn.Rescaling(0.5, -1), ROW)],
    "Reshape": [(pnn.Reshape(-1, 6), IMAGE)],
    "Upsample": [
        (pnn.Upsample(scale_factor=2, mode="nearest"), IMAGE),
        (pnn.Upsample(size=(5, 9), mode="bilinear"), IMAGE),
        (pnn.Upsample(scale_factor=2, mode="bicubic", align_corners=True), IMAGE),
    ],
}
CASES = [
    pytest.param(layer, shape, id=f"{name} {place}")
    for name, rows in ROWS.items()
    for place, (layer, shape) in enumerate(rows)
]


def test_no_builder_is_left_out() -> None:
    assert set(ROWS) == NAMES_OF_LAYERS


@pytest.mark.quick(
    "Conv2d", "LSTM", "MultiHeadAttention", "LayerNorm", "BatchNorm2d", "Embedding", "MaxPool2d", "Dense"
)
@pytest.mark.parametrize(("layer", "shape"), CASES)
def test_a_builder_goes_out_and_comes_back(layer: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(*shape), layer, seed=0)
    path = tmp_path / "layer.onnx"
    report = export_onnx(network, path)
    assert report.max_abs_error < 1e-5
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    for node in written.graph.node:
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        assert not {"auto_pad", "output_shape"} & set(options)
        assert not options.get("ceil_mode")
    sizes = [size if isinstance(size, int) else 5 for size in shape]
    x = np.random.default_rng(1).normal(size=(3, *sizes)).astype("float32")
    back = import_onnx(path)
    np.testing.assert_allclose(back.predict(x), network.predict(x), atol=1e-6)
    assert {name: array.shape for name, array in back.parameters.items()} == {
        name: array.shape for name, array in network.parameters.items()
    }
