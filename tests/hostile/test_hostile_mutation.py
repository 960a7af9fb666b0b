"""Files that are changed at random where it matters; and what is accepted means the same to other programs."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import forge_hdf5
import forge_npz
import h5py
import numpy as np
import pytest
import safetensors.numpy
from file_changes import places
from forge import Forge, sha256
from forge_hdf5 import DATATYPES, SIZES, mend
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rows import CARRIERS

from portable_nn.core.errors import FormatError
from portable_nn.format import load, save

SLOW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=CARRIERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a weight file may be, for each carrier."""
    return tmp_path / f"net{request.param}"


def agree(path: Path) -> None:
    """The package of the carrier's own format reads the same tensors, and nothing but them."""
    tensors = load(path, allow_nonfinite=True).tensors
    lazy = load(path, lazy=True, allow_nonfinite=True).tensors
    if path.suffix == ".safetensors":
        others = safetensors.numpy.load_file(path)
    elif path.suffix == ".npz":
        with np.load(path) as file:
            others = {name: file[forge_npz.array_name(name)] for name in tensors}
            assert len(file.files) == len(tensors) + 2
    else:
        with h5py.File(path) as file:
            order = sorted(tensors, key=lambda name: -SIZES[tensors[name].dtype.name])
            others = {name: at(file, parts)[()] for name, parts in forge_hdf5.paths(order).items()}
            assert datasets(file) == len(tensors) + 1
    assert tensors.keys() == lazy.keys() == others.keys()
    for name, array in tensors.items():
        for other in (lazy[name], others[name]):
            assert (array.dtype, array.shape) == (other.dtype, other.shape)
            assert array.tobytes() == other.tobytes()


def refused_or_right(path: Path, content: bytes) -> None:
    """What is accepted means the same to others, and is what the package itself writes unless a note says no."""
    path.write_bytes(content)
    try:
        contents = load(path)
    except FormatError:
        return
    agree(path)
    if any(sha256(array.tobytes()) != contents.manifest.digests[name] for name, array in contents.tensors.items()):
        with pytest.raises(FormatError, match="its SHA-256 is"):  # which nobody looks at who was not given the digest
            load(path, digest=contents.digest)
        return
    save(path, contents.manifest, contents.tensors)
    assert (path.read_bytes() == content) == (not contents.notes)


def at(file: h5py.File, parts: list[str]) -> Any:
    """What lies there, link by link."""
    found: Any = file
    for part in parts:
        assert found.get(part, getlink=True, getclass=True) is h5py.HardLink
        found = found[part]
    return found


def datasets(file: h5py.File) -> int:
    found: list[Any] = []
    file.visititems(lambda _, each: found.append(each) if isinstance(each, h5py.Dataset) else None)
    return len(found)


# Any network


def valid(name: str) -> bool:
    return (
        {".", ".."}.isdisjoint(name.split("/"))
        and unicodedata.normalize("NFC", name) == name
        and not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in name)
        and name != "__metadata__"
        and "\\" not in name
    )


ODD = [
    "a", "a.b", "a/b", "a.b.c", "a/b/c", "a.b/c", "/", "//", "a/", "/a", "a.", ".a", "..a", "...", "a..b", "%", "%/a",
    "%.a", "%2F", "a%2Fb", "%25", "portable_nn", "portable_nn.a", "portable_nn/a", "portable_nn.sha256",
    "%portable_nn%", "a.npy", "a.npy.npy", ".NPY", "b", " ", "a b", "__metadata__.a",
    "a/" * 31 + "a", "a/" * 32 + "a", "a/" * 500 + "a", "x" * 300, "ä", "日本.語", "\U0001f600", "data_offsets",
]  # fmt: skip
names = st.sampled_from(ODD) | st.text("ab./% é", min_size=1, max_size=6) | st.text(min_size=1, max_size=12)
shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3) | st.sampled_from([(1,) * 32, (0, 7) * 16])
tensor = st.sampled_from(list(DATATYPES)).flatmap(lambda dtype: arrays.arrays(dtype, shapes))


@pytest.mark.long
@SLOW
@given(tensors=st.dictionaries(names.filter(valid), tensor, max_size=5))
@example(tensors={name: np.array(number, np.int16) for number, name in enumerate(ODD)})
@example(tensors={name: np.array(number, np.int16) for number, name in enumerate(reversed(ODD))})
def test_any_network_is_the_same_to_three_programs(path: Path, tensors: dict[str, Any]) -> None:
    forged = Forge().empty()
    for name, array in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        forged.give(name, array.dtype.name, list(array.shape), array.tobytes())
    path.write_bytes(CARRIERS[path.suffix](forged))
    contents = load(path, allow_nonfinite=True)
    assert {name: array.tobytes() for name, array in contents.tensors.items()} == {
        name: array.tobytes() for name, array in tensors.items()
    }
    agree(path)
    save(path, contents.manifest, contents.tensors, allow_nonfinite=True)
    assert path.read_bytes() == CARRIERS[path.suffix](forged)


# Changes of the manifest


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40) | st.sampled_from([2**31, 2**63, 2**64, -(2**63)]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "y", "h", "a", "a.weight", "b.bias", "Gemm", "Conv", "int64", "batch", "../x", "\0"]),
    st.sampled_from([*DATATYPES, *ODD]),
    st.text(max_size=3),
)
JSON = st.recursive(SCALARS, lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=2))


def follow(forged: Forge) -> None:
    """Let the carrier say what the manifest says of its parameters, with right hashes of other data, if it can."""
    try:
        described = {each["name"]: (each["dtype"], each["shape"]) for each in forged.graph["parameters"]}
        sizes = {name: SIZES[dtype] for name, (dtype, _) in described.items()}
        assert all(type(size) is int and 0 <= size < 10 for _, shape in described.values() for size in shape)
        assert all(isinstance(name, str) for name in described)
        forged.stored, forged.data = {}, b""
        for kind in ("digests", "checksums"):
            forged.manifest[kind].clear()
        for name in sorted(described, key=lambda name: -sizes[name]):
            dtype, shape = described[name]
            forged.store(name, dtype, shape, np.ones(shape, dtype).tobytes())
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        return


@pytest.mark.long
@SLOW
@given(data=st.data())
def test_a_forged_manifest_is_refused_or_means_what_it_says(path: Path, data: st.DataObject) -> None:
    """Changes that whoever can write the file can make: all hashes are right."""
    forged = Forge()
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from([place for place in places(forged.manifest) if place]))
        parent: Any = forged.manifest
        for key in way:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[last] = data.draw(JSON)
        else:
            del parent[last]
    if data.draw(st.booleans()):
        follow(forged)
    try:
        content = CARRIERS[path.suffix](forged)
    except (KeyError, TypeError, ValueError, forge_hdf5.struct.error):  # what the format cannot hold in any way
        assume(False)
    path.write_bytes(content)
    refused_or_right(path, content)


# Changes of bytes


def mended(suffix: str, content: bytes) -> bytes:
    """``content`` with the right checksums of its format and digest of the manifest, where one can be found."""
    if suffix == ".h5":
        return mend(content)
    if suffix == ".npz":
        return forge_npz.mend(content)
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        text, digest = header["__metadata__"]["portable_nn"], header["__metadata__"]["portable_nn.sha256"]
        right = sha256(text.encode())
    except (KeyError, TypeError, ValueError):
        return content
    return content.replace(str(digest).encode(), right.encode(), 1)


@pytest.mark.long
@SLOW
@given(data=st.data())
def test_a_file_with_other_bytes_is_refused_or_means_what_it_says(path: Path, data: st.DataObject) -> None:
    """Bytes that are changed, left out, put in or moved, after which the hashes of the head are mended."""
    content = CARRIERS[path.suffix](Forge())
    for _ in range(data.draw(st.integers(1, 2))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 16)))
        other = data.draw(st.integers(0, len(content)))
        piece = data.draw(st.binary(max_size=stop - start + 1) | st.just(content[other : other + stop - start]))
        content = content[:start] + piece + content[stop:]
    refused_or_right(path, mended(path.suffix, content))


def test_mending_a_valid_file_changes_nothing() -> None:
    for suffix, pack in CARRIERS.items():
        assert mended(suffix, pack(Forge())) == pack(Forge())


def test_a_name_that_changes_everywhere_is_another_network(path: Path) -> None:
    """So the changes above can be accepted, if they agree with each other."""
    forged = Forge()
    forged.graph["parameters"][0]["name"] = forged.graph["nodes"][0]["inputs"][1] = "c/weight"
    follow(forged)
    path.write_bytes(CARRIERS[path.suffix](forged))
    assert load(path).tensors["c/weight"].tolist() == [[1, 1], [1, 1]]
    agree(path)
