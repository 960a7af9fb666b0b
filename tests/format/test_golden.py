"""A file means forever what it meant when its version was new."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import xxhash
from msgspec.structs import replace
from onnx import NodeProto, helper

import portable_nn as pnn
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value
from portable_nn.core.tensors import Array
from portable_nn.format import CARRIERS, InputInfo, Manifest, OutputInfo, load, save
from portable_nn.format.meaning import Column, Statistics
from portable_nn.preprocessing.steps import FitDigitStep, GreyscaleStep, PolarityStep, ReshapeStep, ScaleStep

GOLDEN = Path(__file__).parents[1] / "golden"

SHA256 = {
    "v1.safetensors": "e0c06751196a8ef17dc97f662c5b1cd85345f9c2d051237c2699d76ad0b438d0",
    "v2.safetensors": "99ca28531b40aaf833436a80c7dae1af97b5077823290b81d49a67fdc0147709",
    "v2.h5": "3ec8e4626bc5de66b855f5a6e4225d00ff8f499542bf3f2f773ebfc291117b1c",
    "v2.npz": "6d10014784ebc8f55c62442318f414b74398d2d6da9ed29b97c0f8dd90f7417f",
    "v3.safetensors": "d49bd3fdddac597683ad68ae3bb859189d9bc69e7dc10b3d3d10bb9fce3587b2",
    "v3.h5": "225133aa9e33b1517f89e49a16da6a126b86c49beaa12c8eaf5a46cd2477a924",
    "v3.npz": "4112c9ffa7c82911c1891a7f13432b53b33feb72412783c6ab1fe7b8030ac017",
    "v3_table.safetensors": "50097f3645564683fda3d77154de2b9dd58f57fe1ee881d5292770d9d09df3b2",
    "v4_float8.safetensors": "0a9fd17f9f89a9a3e3c4c2b70075c0b4b83a0f86f232de174821990ba424924c",
    "v4_opaque.safetensors": "71586ea90e5c1ed3de670f11959d554906b122a1013856764b24081aaa33dfbb",
    "v4_packed.npz": "59cac818a90383d78d80a96719371805cafae52550e46c876ca06c2c1935d184",
    "v4.safetensors": "3a76e1fcb6bfd68530333d664b7819e23b0329920a4e0913275ecc9f11890d78",
    "v4.h5": "cdb85741a6d8f146e9ccff63295c570ad055e24ba7e2e5be156af79cdc451289",
    "v4.npz": "7c69c1f531f2ce77c79592f9fdbf87382f0a93ea1d1d51633b3c9e923512b446",
}
"""Every released file, and what ``sha256sum`` says of it. A line is added for a new version; none is ever changed."""

DIGESTS = {
    1: "ebfbeb74620da6ec4ba7d1c30793d1343520348a0be182f15ecfef323f5ca731",
    2: "93f4721013f120030b50d67b1668e01fe82c586530146679c7fa5f052194d9b3",
    3: "ce93b71207d72fad13720c4f55cda2fce6a8df02a24a1c057c6eccbad7930dad",
    4: "9ed738ebd7d8adb8b7293108531e0b2c0286b73ec73b5319ca95549c607f4ec7",
}
"""The digest of the network in each version."""

FLOAT8_DIGEST = "9d48a42ffc3d5ef10e43f2636264b3dd1ef50e0b66a3885bdf02390101ba23e8"
PACKED_DIGEST = "61338af136596476e1a40ee8829f01d4d063c28b0dcf0f0eb24cc94d0a311aef"
OPAQUE_DIGEST = "ea68f81f4fe799c29ad539b214e444db6885f5886cab59972be6136924b1b803"
TABLE_DIGEST = "e1427eda668c35176c63c1e6d8f324c032ded92c7c2c412b85ab7ca45f6176a2"

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

NEWEST = replace(
    MANIFEST,
    version=3,
    checksums=CHECKSUMS,
    inputs=(InputInfo("image", "image", STEPS, range=(0.0, 255.0)),),
    outputs=(
        OutputInfo(
            "scores",
            "logits",
            ("nein", "größer"),
            "bit",
            target="Vergleich",
            loss="cross_entropy",
            temperature=1.25,
            threshold=0.6,
        ),
    ),
)

STILL = replace(
    NEWEST,
    version=4,
    graph=replace(
        MANIFEST.graph,
        nodes=(
            *MANIFEST.graph.nodes[:2],
            Node("still", "StopGradient", ("h",), ("s",), domain="portable_nn"),
            replace(MANIFEST.graph.nodes[2], inputs=("s", "output.weight", "output.bias")),
        ),
    ),
)

MANIFESTS = {1: MANIFEST, 2: replace(MANIFEST, version=2, checksums=CHECKSUMS), 3: NEWEST, 4: STILL}

TABLE = Manifest(
    graph=Graph(
        name="table",
        inputs=(Value("row", "float32", ("batch", 3)), Value("before", "float32", ("batch", 2))),
        outputs=("price", "after"),
        parameters=(Parameter("weight", "float32", (4, 3)),),
        nodes=(
            Node("layer", "Gemm", ("row", "weight"), ("price",), {"transB": 1}),
            Node("memory", "Tanh", ("before",), ("after",)),
        ),
    ),
    inputs=(
        InputInfo(
            "row",
            "table",
            columns=(
                Column("Fläche", "m²", statistics=Statistics(12.5, 240.0, 81.25, 30.0)),
                Column("Alter", "a", missing="indicator"),
                Column("Lage", categories=("Stadt", "Land"), unknown="other", missing="median"),
            ),
        ),
        InputInfo("before", state="after"),
    ),
    outputs=(
        OutputInfo("price", "gaussian", ("Kauf", "Miete"), units=("€", "€/m²"), target="Preis", loss="gaussian"),
        OutputInfo("after"),
    ),
    producer="portable-nn 0.1.0",
)


OPAQUE = Manifest(
    graph=Graph(
        name="opaque",
        inputs=(Value("x", "float32", ("batch", 2, 2)),),
        outputs=("y",),
        parameters=(Parameter("weight", "float32", (2, 4)),),
        nodes=(
            Node(
                "inverse",
                "com.microsoft.Inverse",
                ("x",),
                ("i",),
                {
                    "node": "CgF4EgFpGgdpbnZlcnNlIgdJbnZlcnNlOg1jb20ubWljcm9zb2Z0",
                    "version": 1,
                    "takes": ("float32[d0,2,2]",),
                    "gives": ("float32[d0,2,2]",),
                    "apart": ("d0",),
                },
                "portable_nn",
            ),
            Node("rows", "Flatten", ("i",), ("rows",)),
            Node("layer", "Gemm", ("rows", "weight"), ("y",), {"transB": 1}),
        ),
    ),
    inputs=(InputInfo("x"),),
    outputs=(OutputInfo("y"),),
    producer="portable-nn 0.1.0",
    version=4,
)

PACKED = Manifest(
    graph=Graph(
        name="packed",
        inputs=(Value("x", "float32", ("batch", 3)),),
        outputs=("y",),
        parameters=(Parameter("weight", "int8", (3, 5), trainable=False, packed="int4"),),
        nodes=(
            Node("scale", "Constant", (), ("s",), {"value": Tensor("float32", (), (0.5,))}),
            Node("floats", "DequantizeLinear", ("weight", "s"), ("w",)),
            Node("layer", "MatMul", ("x", "w"), ("y",)),
        ),
    ),
    inputs=(InputInfo("x"),),
    outputs=(OutputInfo("y"),),
    producer="portable-nn 0.1.0",
    version=4,
)

OTHERS: dict[str, tuple[Manifest, str, Array]] = {
    "v3_table.safetensors": (TABLE, TABLE_DIGEST, np.arange(12, dtype=np.float32).reshape(4, 3)),
    "v4_opaque.safetensors": (OPAQUE, OPAQUE_DIGEST, np.array([[1, 0, 0, -1], [0.5, 2, 0, 0]], np.float32)),
    "v4_packed.npz": (PACKED, PACKED_DIGEST, np.arange(-8, 7, dtype=np.int8).reshape(3, 5)),
}
"""Files of another network each: its manifest, its digest, and its weight."""


@pytest.mark.parametrize("name", SHA256)
def test_a_golden_file_is_untouched(name: str) -> None:
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == SHA256[name]


def test_every_golden_weight_file_is_pinned() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.suffix in CARRIERS} == SHA256.keys()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", [name for name in SHA256 if "_" not in name])
def test_a_golden_file_means_what_it_meant(name: str, lazy: bool) -> None:
    version = int(name[1])
    contents = load(GOLDEN / name, lazy=lazy, digest=DIGESTS[version])
    assert contents.manifest == MANIFESTS[version]
    assert contents.tensors.keys() == TENSORS.keys()
    for key, expected in TENSORS.items():
        assert contents.tensors[key].dtype == expected.dtype
        np.testing.assert_array_equal(contents.tensors[key], expected)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_golden_files_mean_what_they_meant(name: str) -> None:
    manifest, digest, weight = OTHERS[name]
    contents = load(GOLDEN / name, digest=digest)
    assert replace(contents.manifest, digests={}, checksums={}) == manifest
    np.testing.assert_array_equal(contents.tensors["weight"], weight)


def test_the_golden_opaque_node_is_what_onnx_writes_and_computes_what_numpy_does() -> None:
    node = NodeProto.FromString(b64decode(OPAQUE.graph.nodes[0].attributes["node"]))
    assert node == helper.make_node("Inverse", ["x"], ["i"], "inverse", domain="com.microsoft")
    network = pnn.load(GOLDEN / "v4_opaque.safetensors")
    x = np.array([[[2, 1], [1, 1]], [[0, 4], [-2, 0]]], np.float32)
    wanted = np.linalg.inv(x).reshape(2, 4) @ OTHERS["v4_opaque.safetensors"][2].T
    np.testing.assert_allclose(network.predict(x), wanted, rtol=1e-6)


def test_the_golden_weights_of_4_bits_are_two_in_a_byte_the_first_in_the_lower_half() -> None:
    with np.load(GOLDEN / "v4_packed.npz") as archive:
        assert archive["weight"].tobytes() == bytes.fromhex("98badcfe10325406")
    x = np.array([[1, 0, 0], [0.5, 2, -1]], np.float32)
    wanted = x @ (np.arange(-8, 7, dtype=np.float32).reshape(3, 5) / 2)
    np.testing.assert_array_equal(pnn.load(GOLDEN / "v4_packed.npz").predict(x), wanted)


FLOAT8 = {
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
}
"""The floats of 8 bits, and what ml_dtypes calls them."""


def test_every_byte_of_the_golden_floats_of_8_bits_is_the_number_of_ml_dtypes(tmp_path: Path) -> None:
    """The file has all bytes as each type; ``tests/hostile/forge.py`` wrote it."""
    path, new = GOLDEN / "v4_float8.safetensors", tmp_path / "new.safetensors"
    contents = load(path, digest=FLOAT8_DIGEST)
    stored = safetensors.numpy.load_file(path)
    assert contents.tensors.keys() == stored.keys() == FLOAT8.keys()
    for name, found in contents.tensors.items():
        assert stored[name].tobytes() == bytes(range(256))
        wanted = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, FLOAT8[name])).astype(np.float32)
        np.testing.assert_array_equal(found, wanted.reshape(2, 128))
        np.testing.assert_array_equal(np.signbit(found).reshape(-1), np.signbit(wanted))
    assert save(new, contents.manifest, contents.tensors) == FLOAT8_DIGEST
    assert new.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", [name for name in SHA256 if name[1] in "34" and "_" not in name])
def test_the_same_network_still_gives_the_golden_bytes(tmp_path: Path, name: str) -> None:
    """A file has the lowest version from 3 on that can hold it."""
    version = int(name[1])
    assert save(tmp_path / name, replace(MANIFESTS[version], version=1), TENSORS) == DIGESTS[version]
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", OTHERS)
def test_the_same_other_network_still_gives_the_golden_bytes(tmp_path: Path, name: str) -> None:
    manifest, digest, weight = OTHERS[name]
    contents = load(GOLDEN / name)
    for described, tensors in ((manifest, {"weight": weight}), (contents.manifest, contents.tensors)):
        assert save(tmp_path / name, described, tensors) == digest
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", ["v1.safetensors", "v2.h5"])
def test_an_older_file_is_saved_as_the_newest_version(tmp_path: Path, name: str) -> None:
    contents = load(GOLDEN / name)
    meaning = replace(contents.manifest, inputs=NEWEST.inputs, outputs=NEWEST.outputs)
    save(tmp_path / "new.h5", meaning, contents.tensors)
    assert (tmp_path / "new.h5").read_bytes() == (GOLDEN / "v3.h5").read_bytes()
