"""What is saved is loaded again, by this package, by the safetensors package, and by a reader written from SPEC.md."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import math
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import msgspec
import numpy as np
import pytest
import safetensors.numpy
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec.structs import replace
from onnx import numpy_helper
from weight_files import GRAPH, MANIFEST, TENSORS, identities

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph, Node, Parameter, Tensor, Value
from portable_nn.core.tensors import ITEM_SIZES, Array
from portable_nn.format import CARRIERS, InputInfo, Manifest, OutputInfo, load, save
from portable_nn.format.hdf5 import paths
from portable_nn.format.layout import layout
from portable_nn.format.manifest import encode
from portable_nn.format.npz import array_name
from portable_nn.format.packed import pack


def spec_reader(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """A reader written from SPEC.md alone: only json, struct, hashlib and a table of types."""
    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "?"}
    types |= {f"I{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)} | {f"U{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)}
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert (8 + length) % 64 == 0
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert hashlib.sha256(metadata["portable_nn"].encode()).hexdigest() == metadata["portable_nn.sha256"]
    manifest = json.loads(metadata["portable_nn"])
    data, tensors, end = content[8 + length :], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        assert start == end
        end = stop
        assert hashlib.sha256(data[start:stop]).hexdigest() == manifest["digests"][name]
        tensors[name] = np.frombuffer(data[start:stop], types[entry["dtype"]]).reshape(entry["shape"])
    assert end == len(data)
    for each in manifest["graph"]["parameters"]:
        if "packed" in each:
            tensors[each["name"]] = spec_unpacked(tensors[each["name"]].tobytes(), **each)
    return manifest, tensors


def spec_unpacked(data: bytes, packed: str, dtype: str, shape: list[int], **other: Any) -> Array:
    """The elements of a packed tensor, from SPEC.md alone."""
    bits, count = {"float8": 8, "float4": 4}.get(packed[:6]) or int(packed[-1]), math.prod(shape)
    assert len(data) == -(-count * bits // 8)
    assert not count * bits % 8 or data[-1] >> count * bits % 8 == 0
    codes = [data[at * bits // 8] >> at * bits % 8 & (2**bits - 1) for at in range(count)]
    return np.array([spec_number(code, packed) for code in codes], dtype).reshape(shape)


@cache
def spec_number(code: int, packed: str) -> float:
    """The number of a code, by the table in SPEC.md."""
    if packed[:3] == "int":
        half = 2 ** int(packed[3]) // 2
        return code - 2 * half * (code >= half)
    if packed[:4] == "uint":
        return code
    if packed == "float4e2m1":
        return [0, 0.5, 1, 1.5, 2, 3, 4, 6][code % 8] * (-1.0) ** (code // 8)
    if packed == "float8e8m0":
        return math.nan if code == 0xFF else 2.0 ** (code - 127)
    e_bits, bias, infinite, nans = {
        "float8e4m3fn": (4, 7, [], [0x7F, 0xFF]),
        "float8e4m3fnuz": (4, 8, [], [0x80]),
        "float8e5m2": (5, 15, [0x7C, 0xFC], [0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]),
        "float8e5m2fnuz": (5, 16, [], [0x80]),
    }[packed]
    e, f = divmod(code % 128, 2 ** (7 - e_bits))
    number = math.inf if code in infinite else 2.0 ** (max(e, 1) - bias) * (f / 2 ** (7 - e_bits) + (e > 0))
    return math.nan if code in nans else math.copysign(number, 127.5 - code)


def same(found: Array, expected: Array) -> bool:
    """The same bits in the same shape: -0.0 is not 0.0, and a NaN is itself."""
    return found.dtype == expected.dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


@pytest.fixture(params=CARRIERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a weight file may be, for each carrier."""
    return tmp_path / f"net{request.param}"


def read_by_others(path: Path) -> dict[str, Array]:
    """The tensors as the package of the file's own format finds them."""
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {name: archive[array_name(name)] for name in load(path, allow_nonfinite=True).tensors}
    with h5py.File(path) as file:
        places = paths([span.name for span in layout(load(path, allow_nonfinite=True).manifest.tensors)])
        return {name: file["/".join(parts)][()] for name, parts in places.items()}


def test_round_trip(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    contents = load(path)
    assert list(contents.tensors) == list(TENSORS)
    assert all(same(contents.tensors[name], array) for name, array in TENSORS.items())
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in TENSORS.items()}
    checksums = {name: xxhash.xxh3_128_hexdigest(array.tobytes()) for name, array in TENSORS.items()}
    assert contents.manifest == replace(MANIFEST, digests=digests, checksums=checksums)


def test_loaded_tensors_are_aligned_and_writable(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    tensors = load(path).tensors
    assert tensors["hidden.weight"].ctypes.data % 64 == 0
    tensors["hidden.weight"] += 1
    assert load(path).tensors["hidden.weight"][0, 0] == 0.5


def test_a_reader_written_from_the_specification_agrees(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(path, MANIFEST, TENSORS)
    manifest, tensors = spec_reader(path)
    assert manifest["graph"]["nodes"][2]["attributes"] == {"alpha": 0.01, "transB": 1}
    assert manifest["inputs"][0]["preprocessing"][0] == {"step": "scale", "factor": 0.5, "offset": 0.01}
    assert manifest["outputs"][0]["labels"] == ["nein", "größer"]
    assert all(same(tensors[name], array) for name, array in TENSORS.items())


def test_the_package_of_the_carrier_agrees(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    tensors = read_by_others(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(same(tensors[name], array) for name, array in TENSORS.items())


def test_the_same_network_gives_the_same_bytes(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    first = path.read_bytes()
    save(path, load(path).manifest, dict(reversed(TENSORS.items())))
    assert path.read_bytes() == first


@pytest.mark.quick(r"\.safetensors-float16", r"\.safetensors-bool", r"\.h5-bool", r"\.h5-int64", r"\.npz-bool")
@pytest.mark.parametrize("dtype", ITEM_SIZES)
def test_every_dtype(path: Path, dtype: str) -> None:
    tensors = {"byte": np.array([3], np.uint8), "w": np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)}
    save(path, identities(tensors), tensors)
    readers = [load(path).tensors, load(path, lazy=True).tensors, read_by_others(path)]
    readers += [spec_reader(path)[1]] if path.suffix == ".safetensors" else []
    for found in readers:
        assert all(same(found[name], array) for name, array in tensors.items())


PACKED = {
    "uint4": "uint4", "int4": "int4", "float4e2m1": "float4_e2m1fn", "uint2": "uint2", "int2": "int2",
    "float8e4m3fn": "float8_e4m3fn", "float8e4m3fnuz": "float8_e4m3fnuz", "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz", "float8e8m0": "float8_e8m0fnu",
}  # fmt: skip
"""The types that a file packs, and what ml_dtypes calls them."""


def packed(**shapes: tuple[int, ...]) -> tuple[Manifest, dict[str, Array], dict[str, bytes]]:
    """A network of random weights of each type, by names with its name in front: what ml_dtypes and onnx make of it."""
    tensors, stored, parameters = dict[str, Array](), dict[str, bytes](), list[Parameter]()
    for dtype, (name, shape) in itertools.product(PACKED, shapes.items()):
        own = getattr(ml_dtypes, PACKED[dtype])
        count = 256 if dtype.startswith("float8") else 4 if dtype.endswith("t2") else 16
        held = "float32" if dtype.startswith("f") else "int8" if dtype.startswith("i") else "uint8"
        codes = np.random.default_rng(1).integers(0, count, shape, np.uint8)
        tensors[f"{dtype}.{name}"] = codes.view(own).astype(held)
        weight = tensors[f"{dtype}.{name}"].astype(own)  # Of several NaNs, ml_dtypes makes one.
        stored[f"{dtype}.{name}"] = numpy_helper.from_array(weight).raw_data
        parameters.append(Parameter(f"{dtype}.{name}", held, shape, False, dtype))
    plain = identities(tensors)
    return replace(plain, version=0, graph=replace(plain.graph, parameters=tuple(parameters))), tensors, stored


@pytest.mark.quick(".npz")
def test_elements_of_8_bits_and_fewer_are_packed_as_onnx_does_and_read_again(path: Path) -> None:
    manifest, tensors, stored = packed(w=(5, 7), none=(3, 0), one=(), row=(8,), large=(2**20 + 3,))
    digest = save(path, manifest, tensors)
    for name, found in read_by_others(path).items():
        assert (found.dtype, found.ndim, found.tobytes()) == (np.uint8, 1, stored[name])
    for lazy in (False, True):
        contents = load(path, lazy=lazy, digest=digest)
        assert [same(contents.tensors[name], array) for name, array in tensors.items()] == [True] * len(tensors)
        assert all(array.flags.writeable is not lazy for array in contents.tensors.values())
        before = path.read_bytes()
        pairs = ((name, contents.tensors[name]) for name in reversed(tensors))
        assert save(path, contents.manifest, pairs if lazy else contents.tensors) == digest
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("dtype", "number", "message"),
    [
        ("int4", 8, r"has 8 at \[1, 2\], which is no int4: the nearest is 7; round it, or dequantize\(\)$"),
        ("uint2", 4, r"has 4 at \[1, 2\], which is no uint2: the nearest is 3; "),
        ("float4e2m1", 5, r"has 5 at \[1, 2\], which is no float4e2m1: the nearest is 4; "),
        ("float4e2m1", np.nan, r"has nan at \[1, 2\], which is no float4e2m1"),
        ("float8e4m3fn", 0.1, r"has 0.1 at \[1, 2\], which is no float8e4m3fn: the nearest is 0.101562; "),
        ("float8e4m3fn", -np.inf, r"has -inf at \[1, 2\], which is no float8e4m3fn"),
        ("float8e4m3fnuz", -0.0, r"has -0 at \[1, 2\], which is no float8e4m3fnuz: the nearest is 0; "),
        ("float8e5m2", 57344 * 1.125, r"has 64512 at \[1, 2\], which is no float8e5m2: the nearest is 57344; "),
        ("float8e8m0", 0, r"has 0 at \[1, 2\], which is no float8e8m0: the nearest is 5.87747e-39; "),
    ],
)
@pytest.mark.parametrize("size", [3, 2**18 + 3], ids=["small", "large"])
def test_a_number_that_a_packed_type_lacks_is_not_saved(
    path: Path, dtype: str, number: float, message: str, size: int
) -> None:
    manifest, tensors, _ = packed(w=(3, size))
    tensors[f"{dtype}.w"][1, 2] = number
    for source in (tensors, iter(tensors.items())):
        with pytest.raises(UsageError, match=f"^tensor '{dtype}.w' {message}"):
            save(path, manifest, source)
    assert not path.exists()


@pytest.mark.quick("float4e2m1")
@pytest.mark.parametrize("dtype", [name for name in PACKED if name.startswith("float")])
def test_a_float_is_saved_if_ml_dtypes_finds_it_in_the_type(tmp_path: Path, dtype: str) -> None:
    """Random bits, and the numbers of the type with one of the highest bits of a float32 changed."""
    rng, own = np.random.default_rng(0), getattr(ml_dtypes, PACKED[dtype])
    known = np.arange(16 if "4e2" in dtype else 256, dtype=np.uint8).view(own).astype(np.float32).view(np.uint32)
    near = (known[:, None] ^ (1 << np.arange(32)).astype(np.uint32)).reshape(-1)
    x = np.concatenate([near, rng.integers(0, 2**32, 200, np.uint32)]).view(np.float32)
    x = x[~np.isnan(x)]
    with np.errstate(all="ignore"):
        kept = x.astype(own).astype(np.float32).view(np.uint32) == x.view(np.uint32)
    assert 0 < kept.sum() < len(x)
    value = Parameter("w", "float32", x[kept].shape, False, dtype)
    assert pack(value, x[kept]).tobytes() == numpy_helper.from_array(x[kept].astype(own)).raw_data
    for each in x[~kept]:
        with pytest.raises(UsageError, match=f"which is no {dtype}: "):
            pack(Parameter("w", "float32", (1,), False, dtype), np.array([each]))


def test_a_reader_of_packed_tensors_written_from_the_specification_agrees(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    manifest, tensors, _ = packed(w=(5, 129), one=(), none=(2, 0))
    save(path, manifest, tensors)
    _, found = spec_reader(path)
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(np.signbit(found[name])[~np.isnan(array)], np.signbit(array)[~np.isnan(array)])


@pytest.mark.parametrize("order", ["<f4", ">f4"])
def test_packed_floats_keep_the_sign_of_zero_in_either_order_of_bytes(path: Path, order: str) -> None:
    manifest, tensors, _ = packed(w=(2,))
    save(path, manifest, tensors | {"float4e2m1.w": np.array([-0.0, 6], order)})
    assert same(load(path).tensors["float4e2m1.w"], np.array([-0.0, 6], np.float32))


LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "Fortran order": np.asfortranarray,
    "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "broadcast": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_memory_layout_stores_the_values(path: Path, layout: Any) -> None:
    values = layout(np.array([[0.5, -1.25], [2.0, 0.0], [-0.0, 3.5]], np.float32))
    save(path, MANIFEST, TENSORS | {"hidden.weight": values})
    expected = np.array(values.tolist(), np.float32)
    assert same(load(path).tensors["hidden.weight"], expected)
    assert same(read_by_others(path)["hidden.weight"], expected)


shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
tensor = st.sampled_from(list(ITEM_SIZES)).flatmap(lambda dtype: arrays.arrays(dtype, shapes))
names = st.text("ab.é/:_ 0%", min_size=1, max_size=6).filter(lambda name: {".", ".."}.isdisjoint(name.split("/")))


@pytest.mark.long
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tensors=st.dictionaries(names, tensor, max_size=4))
def test_any_tensors_round_trip(path: Path, tensors: dict[str, Array]) -> None:
    save(path, identities(tensors), tensors, allow_nonfinite=True)
    for found in (load(path, allow_nonfinite=True).tensors, read_by_others(path)):
        assert found.keys() == tensors.keys()
        assert all(same(found[name], array) for name, array in tensors.items())


def test_two_labels_of_one_probability_at_each_step_are_kept(path: Path) -> None:
    layers = pnn.Input("steps", 3), pnn.GRU(4), pnn.Dense(1)
    pnn.Sequential(*layers, pnn.Sigmoid(), labels=["no", "yes"], seed=0).save(path)
    assert pnn.load(path).outputs[0].labels == ("no", "yes")
    with pytest.raises(UsageError, match=r"has 3 labels, but its shape is \(batch, steps, 1\)"):
        pnn.Sequential(*layers, labels=["no", "yes", "?"], seed=0)


def test_large_tensors_are_hashed_in_threads(path: Path) -> None:
    tensors = {name: np.arange(2**18, dtype=np.float32) * factor for name, factor in [("a", 1), ("b", 2)]}
    save(path, identities(tensors), tensors)
    assert all(same(found, tensors[name]) for name, found in load(path).tensors.items())


def test_nonfinite_values_need_permission_to_be_saved_and_loaded(path: Path) -> None:
    tensors = TENSORS | {"hidden.bias": np.array([np.nan, -np.inf, 1], np.float32)}
    with pytest.raises(UsageError, match=r"cannot save .*: tensor 'hidden.bias' holds NaN or infinite values"):
        save(path, MANIFEST, tensors)
    assert not path.exists()
    save(path, MANIFEST, tensors, allow_nonfinite=True)
    assert same(load(path, allow_nonfinite=True).tensors["hidden.bias"], tensors["hidden.bias"])


def test_all_that_is_wrong_is_in_one_error(path: Path) -> None:
    tensors = {"hidden.weight": np.zeros((2, 3), np.float64), "other": np.zeros(2), "output.weight": np.zeros((2, 3))}
    manifest = replace(MANIFEST, inputs=())
    with pytest.raises(UsageError) as caught:
        save(path, manifest, tensors)
    assert str(caught.value) == (
        f"cannot save {path}: 7 faults\n"
        "  the manifest describes the inputs none, but the graph's are x\n"
        "  tensor 'other' is in the given arrays, but not in the graph\n"
        "  tensor 'hidden.weight' has dtype float64 in the given arrays, but node 'hidden' (Gemm) needs float32\n"
        "  tensor 'hidden.weight' has shape (2, 3) in the given arrays, but node 'hidden' (Gemm) needs (3, 2)\n"
        "  tensor 'hidden.bias' is missing in the given arrays: node 'hidden' (Gemm) needs float32 (3,)\n"
        "  tensor 'output.weight' has dtype float64 in the given arrays, but node 'output' (Gemm) needs float32\n"
        "  tensor 'output.bias' is missing in the given arrays: node 'output' (Gemm) needs float32 (2,)"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"producer": 7}, "the manifest cannot be saved: producer cannot be 7"),
        (
            {"metadata": {"size": np.float32(2)}},
            "the manifest cannot be saved: it holds an object that JSON has no form for",
        ),
        ({"metadata": {"note": "\ud800"}}, "the manifest cannot be written as JSON in UTF-8"),
        ({"metadata": {"note": "x" * 2**24}}, r"the manifest is \d+ bytes long; at most 16777216 are allowed"),
        ({"opset": 26}, "the graph uses opset 26, and this portable-nn knows 25: pip install --upgrade portable-nn"),
    ],
)
def test_a_manifest_that_could_not_be_loaded_is_not_saved(path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        save(path, replace(MANIFEST, **change), TENSORS)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"'output' \(Gemm\): attribute 'alpha' has the value nan, which float32 cannot hold"),
        ((1.0, float("inf")), r"'output' \(Gemm\): attribute 'alpha' has the value inf, which float32 cannot hold"),
        (-1e39, r"attribute 'alpha' has the value -1e\+39, which float32 cannot hold"),
        (2**63, r"attribute 'alpha' has the value 9223372036854775808, which int64 cannot hold"),
        ((1, 2.0, "x"), "attribute 'alpha' mixes float and int and str"),
        (Tensor("uint8", (2,), (255, 256)), "attribute 'alpha' has the value 256, which uint8 cannot hold"),
        (Tensor("int8", (1,), (1.0,)), r"attribute 'alpha' has the value 1\.0, which int8 cannot hold"),
        (Tensor("bool", (1,), (2,)), "attribute 'alpha' has the value 2, which bool cannot hold"),
        (Tensor("float16", (1,), (1e5,)), r"attribute 'alpha' has the value 100000\.0, which float16 cannot hold"),
        (Tensor("float31", (1,), (1,)), r"'output' \(Gemm\): attribute 'alpha' has dtype 'float31'"),
        (Tensor("float32", (2,), (1.0,)), r"'output' \(Gemm\): attribute 'alpha' has 1 elements, but its shape is"),
    ],
)
def test_attributes_that_no_file_can_hold(path: Path, value: Any, message: str) -> None:
    *nodes, last = GRAPH.nodes
    node = Node(last.name, last.operator, last.inputs, last.outputs, {"transB": 1, "alpha": value})
    with pytest.raises(UsageError, match=message):
        save(path, replace(MANIFEST, graph=replace(GRAPH, nodes=(*nodes, node))), TENSORS)


def test_the_largest_floats_are_stored(path: Path) -> None:
    tensors = {"w": np.zeros(2, np.float32)}
    manifest = identities(tensors)
    numbers = tuple(float(str(number)) for number in (np.finfo(np.float32).min, np.finfo(np.float32).max))
    constant = Node("constant", "Constant", (), ("c",), {"value": Tensor("float32", (2,), numbers)})
    graph = replace(manifest.graph, nodes=(*manifest.graph.nodes, constant))
    save(path, replace(manifest, graph=graph), tensors)
    assert load(path).manifest.graph == graph


def test_a_whole_number_in_a_float_field_is_stored_as_a_float(path: Path) -> None:
    from portable_nn.preprocessing.steps import ScaleStep

    (described,) = MANIFEST.inputs
    save(path, replace(MANIFEST, inputs=(replace(described, preprocessing=(ScaleStep(2, 1),)),)), TENSORS)
    assert load(path).manifest.inputs[0].preprocessing == (ScaleStep(2.0, 1.0),)


@pytest.mark.parametrize("name", ["net.pkl", "net", "net.safetensors.zip"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    message = r"net.*: the name of a weight file ends in \.safetensors, \.h5 or \.npz, not in '"
    with pytest.raises(UsageError, match=message):
        save(tmp_path / name, MANIFEST, TENSORS)
    with pytest.raises(UsageError, match=message):
        load(tmp_path / name)


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    save(tmp_path / "NET.SAFETENSORS", MANIFEST, TENSORS)
    assert load(tmp_path / "NET.SAFETENSORS").manifest.graph == GRAPH


def test_a_manifest_that_was_saved_before_is_checked_again_where_it_has_changed(path: Path) -> None:
    attributes = {"axis": 1}
    node = Node("n", "Softmax", ("x",), ("y",), attributes)  # type: ignore[arg-type]
    graph = replace(GRAPH, nodes=(node,), parameters=(), outputs=("y",), inputs=(Value("x", "float32", ("batch", 2)),))
    manifest = Manifest(graph=graph, inputs=(InputInfo("x"),), outputs=(OutputInfo("y"),))
    digest = save(path, manifest, {})
    assert save(path, manifest, {}) == digest
    attributes["axis"] = 2
    with pytest.raises(UsageError, match="'n' \\(Softmax\\): axis 2 is outside an input of 2 dimensions"):
        save(path, manifest, {})
    assert load(path, digest=digest).manifest.graph.nodes[0].attributes == {"axis": 1}


@pytest.mark.long
@settings(max_examples=200)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    ),
    st.lists(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text("a\x7f\u2028é"))),
)
def test_both_ways_to_the_text_of_a_manifest_give_what_python_s_json_gives(
    words: dict[str, str], values: list[Any]
) -> None:
    nodes = tuple(Node(f"n{place}", "X", (), (), {"a": value}) for place, value in enumerate(values))
    manifest = replace(MANIFEST, metadata=words, graph=replace(GRAPH, nodes=nodes))
    plain = msgspec.to_builtins(manifest)
    expected = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert encode(manifest) == expected.encode()


def test_lists_are_arrays(path: Path) -> None:
    lists: Any = {name: array.tolist() for name, array in TENSORS.items()}
    with pytest.raises(UsageError, match=r"tensor 'hidden\.weight' has dtype float64 in the given arrays, but node"):
        save(path, MANIFEST, lists)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
def test_a_file_system_that_takes_no_advice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin writing early is a hint; a whole page is written here."""

    def refuse(*arguments: object) -> None:
        asked.append(arguments)
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    asked: list[object] = []
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    weight = np.arange(100_000, dtype=np.float32).reshape(100, 1000)
    graph = Graph((), ("w",), (Parameter("w", "float32", (100, 1000)),), ())
    manifest = Manifest(graph=graph, inputs=(), outputs=(OutputInfo("w"),))
    save(path, manifest, {"w": weight})
    assert asked
    assert same(load(path).tensors["w"], weight)


def test_several_threads_may_save(tmp_path: Path) -> None:
    def one(number: int) -> str:
        return save(tmp_path / f"{number}.h5", replace(MANIFEST, metadata={"number": str(number % 6)}), TENSORS)

    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(one, range(48)))
    assert len(set(digests)) == 6
    for number, digest in enumerate(digests):
        assert load(tmp_path / f"{number}.h5", digest=digest).manifest.metadata == {"number": str(number % 6)}


def test_the_offsets_of_the_hdf5_head_are_those_of_the_document() -> None:
    """SPEC.md, section 7."""
    data = (Path(__file__).parents[1] / "golden/v3.h5").read_bytes()
    (length,) = struct.unpack_from("<I", data, 74)
    text = data[206 : 206 + length]
    assert json.loads(text)["version"] == 3
    assert data[138:202].decode() == hashlib.sha256(text).hexdigest()
    assert struct.unpack_from("<QQ", data, 28) == (len(data), 206 + length)
    assert struct.unpack_from("<QQ", data, 90) == (206, length)
