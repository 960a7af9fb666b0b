"""A file of version 1 means forever what it means today."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from portable_nn.data.preprocessing import FitDigit, Greyscale, Polarity, Reshape, Scale
from portable_nn.format import InputInfo, Manifest, OutputInfo, load, save
from portable_nn.format.tensors import Array
from portable_nn.graph import Graph, Node, Parameter, Value

GOLDEN = Path(__file__).parents[1] / "golden" / "v1.safetensors"
SHA256 = "e0c06751196a8ef17dc97f662c5b1cd85345f9c2d051237c2699d76ad0b438d0"

TENSORS: dict[str, Array] = {
    "hidden.weight": np.array([[0.5, -0.25, 1.5, 0.0], [-1.0, 2.0, 0.125, 3.0], [0.1, 0.2, 0.3, 0.4]], np.float32),
    "hidden.bias": np.array([0.0, -0.5, 1.0], np.float32),
    "output.weight": np.array([[1.0, -1.0, 2.0], [-2.0, 0.5, 1e-10]], np.float32),
    "output.bias": np.array([0.25, -0.25], np.float32),
}

STEPS = (Greyscale(), Polarity("light"), FitDigit(2, 2), Scale(0.004, 0.01), Reshape((4,)))

MANIFEST = Manifest(
    graph=Graph(
        name="golden",
        inputs=(Value("image", "float32", ("batch", 4)),),
        outputs=("scores",),
        parameters=(
            Parameter("hidden.weight", "float32", (3, 4)),
            Parameter("hidden.bias", "float32", (3,)),
            Parameter("output.weight", "float32", (2, 3)),
            Parameter("output.bias", "float32", (2,), trainable=False),
        ),
        nodes=(
            Node("hidden", "Gemm", ("image", "hidden.weight", "hidden.bias"), ("z",), {"transB": 1}),
            Node("sigmoid", "Sigmoid", ("z",), ("h",)),
            Node("output", "Gemm", ("h", "output.weight", "output.bias"), ("scores",), {"transB": 1, "alpha": 0.01}),
        ),
    ),
    inputs=(InputInfo("image", "image", STEPS),),
    outputs=(OutputInfo("scores", "logits", ("nein", "größer"), "bit"),),
    metadata={"author": "the tests of portable-nn", "日本語": "a\nb"},
    digests={
        "hidden.weight": "eef573c8bfc9607fee615c8e2d3f7f5ee26181b59286295aabe25722fda66a02",
        "hidden.bias": "12b0a4c9ace86c43a126ac4f6cd1a5ec6d2890fa6333d8ee0fa9513b53ce3506",
        "output.weight": "1796efe83ce70f3135afa2a12e8151b3c9c7a0a3a230f611d5d637bec7bbd491",
        "output.bias": "d5c86aaabcf6420ce8c35f480ad3fc9dda411fb3455a0bc71119a817600618ae",
    },
    producer="portable-nn 0.1.0",
)


def test_the_golden_file_is_untouched() -> None:
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == SHA256


def test_the_golden_file_means_what_it_meant() -> None:
    contents = load(GOLDEN)
    assert contents.manifest == MANIFEST
    assert contents.tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert contents.tensors[name].dtype == expected.dtype
        np.testing.assert_array_equal(contents.tensors[name], expected)


def test_the_same_network_still_gives_the_golden_bytes(tmp_path: Path) -> None:
    save(tmp_path / "v1.safetensors", MANIFEST, TENSORS)
    assert (tmp_path / "v1.safetensors").read_bytes() == GOLDEN.read_bytes()
