"""A file means forever what it meant when its version was new."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import xxhash
from msgspec.structs import replace

from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.format import CARRIERS, InputInfo, Manifest, OutputInfo, load, save
from portable_nn.format.tensors import Array
from portable_nn.preprocessing.steps import FitDigitStep, GreyscaleStep, PolarityStep, ReshapeStep, ScaleStep

GOLDEN = Path(__file__).parents[1] / "golden"

SHA256 = {
    "v1.safetensors": "e0c06751196a8ef17dc97f662c5b1cd85345f9c2d051237c2699d76ad0b438d0",
    "v2.safetensors": "99ca28531b40aaf833436a80c7dae1af97b5077823290b81d49a67fdc0147709",
    "v2.h5": "3ec8e4626bc5de66b855f5a6e4225d00ff8f499542bf3f2f773ebfc291117b1c",
    "v2.npz": "6d10014784ebc8f55c62442318f414b74398d2d6da9ed29b97c0f8dd90f7417f",
}
"""Every released file, and what ``sha256sum`` says of it. A line is added for a new version; none is ever changed."""

DIGESTS = {
    1: "ebfbeb74620da6ec4ba7d1c30793d1343520348a0be182f15ecfef323f5ca731",
    2: "93f4721013f120030b50d67b1668e01fe82c586530146679c7fa5f052194d9b3",
}
"""The digest of the network in each version."""

TENSORS: dict[str, Array] = {
    "hidden.weight": np.array([[0.5, -0.25, 1.5, 0.0], [-1.0, 2.0, 0.125, 3.0], [0.1, 0.2, 0.3, 0.4]], np.float32),
    "hidden.bias": np.array([0.0, -0.5, 1.0], np.float32),
    "output.weight": np.array([[1.0, -1.0, 2.0], [-2.0, 0.5, 1e-10]], np.float32),
    "output.bias": np.array([0.25, -0.25], np.float32),
}

STEPS = (GreyscaleStep(), PolarityStep("light"), FitDigitStep(2, 2), ScaleStep(0.004, 0.01), ReshapeStep((4,)))

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
    version=1,
)


CHECKSUMS = {name: xxhash.xxh3_128_hexdigest(array.tobytes()) for name, array in TENSORS.items()}

MANIFESTS = {1: MANIFEST, 2: replace(MANIFEST, version=2, checksums=CHECKSUMS)}


@pytest.mark.parametrize("name", SHA256)
def test_a_golden_file_is_untouched(name: str) -> None:
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == SHA256[name]


def test_every_golden_weight_file_is_pinned() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.suffix in CARRIERS} == SHA256.keys()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", SHA256)
def test_a_golden_file_means_what_it_meant(name: str, lazy: bool) -> None:
    version = int(name[1])
    contents = load(GOLDEN / name, lazy=lazy, digest=DIGESTS[version])
    assert contents.manifest == MANIFESTS[version]
    assert contents.tensors.keys() == TENSORS.keys()
    for key, expected in TENSORS.items():
        assert contents.tensors[key].dtype == expected.dtype
        np.testing.assert_array_equal(contents.tensors[key], expected)


@pytest.mark.parametrize("name", ["v2.safetensors", "v2.h5", "v2.npz"])
def test_the_same_network_still_gives_the_golden_bytes(tmp_path: Path, name: str) -> None:
    assert save(tmp_path / name, MANIFEST, TENSORS) == DIGESTS[2]
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_an_older_file_is_saved_as_the_newest_version(tmp_path: Path) -> None:
    contents = load(GOLDEN / "v1.safetensors")
    save(tmp_path / "new.h5", contents.manifest, contents.tensors)
    assert (tmp_path / "new.h5").read_bytes() == (GOLDEN / "v2.h5").read_bytes()
