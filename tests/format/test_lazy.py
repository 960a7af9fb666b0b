"""Files that are mapped and not read, tensors that are checked on their first use, and digests from outside."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from apart import APART
from msgspec.structs import replace
from weight_files import GRAPH, MANIFEST, TENSORS, identities

import portable_nn as pnn
from portable_nn.core.errors import FileError, FormatError, NoManifestError, UsageError
from portable_nn.core.tensors import Array
from portable_nn.format import CARRIERS, has_manifest, load, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=[".safetensors", ".h5"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"net{request.param}"


def damage(path: Path, array: Array) -> None:
    """Change the last byte of a tensor in a file."""
    content = path.read_bytes()
    at = content.rindex(array.tobytes()) + array.nbytes - 1
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


# -- lazy


def test_mapped_tensors_are_those_that_were_saved_and_read_only(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    tensors = load(path, lazy=True).tensors
    assert list(tensors) == list(TENSORS)
    assert len(tensors) == 4
    assert "x" not in tensors
    with pytest.raises(KeyError):
        tensors["x"]
    for name, expected in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], expected)
        with pytest.raises(ValueError, match="read-only"):
            tensors[name][...] = 0


def test_a_file_that_is_emptied_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, MANIFEST, TENSORS)
    right = os.dup

    def emptied(descriptor: int) -> int:
        path.write_bytes(b"")
        return right(descriptor)

    monkeypatch.setattr(os, "dup", emptied)
    with pytest.raises(FormatError, match=r"became shorter while it was read: [0-9]+ bytes are missing$"):
        load(path, lazy=True)


def test_no_tensor_is_copied(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    tensors = load(path, lazy=True).tensors
    content = path.read_bytes()
    start = content.rindex(TENSORS["hidden.weight"].tobytes())
    # Mapped memory begins at a page: the last twelve bits of an address are those of the place in the file.
    assert tensors["hidden.weight"].ctypes.data % 4096 == start % 4096
    assert tensors["hidden.weight"] is tensors["hidden.weight"]


def test_a_damaged_tensor_is_reported_at_its_first_access(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    damage(path, TENSORS["output.weight"])
    message = r"tensor 'output.weight' is damaged or another network's: its XXH3-128 is [0-9a-f]{32}, but the manifest"
    tensors = load(path, lazy=True).tensors
    np.testing.assert_array_equal(tensors["hidden.weight"], TENSORS["hidden.weight"])
    for _ in range(2):
        with pytest.raises(FormatError, match=message):
            tensors["output.weight"]
    for options in ({}, {"lazy": True, "verify": "eager"}):
        with pytest.raises(FormatError, match=message):
            load(path, **options)  # type: ignore[arg-type]
    for options in ({"verify": "off"}, {"lazy": True, "verify": "off"}):
        assert load(path, **options).tensors["output.weight"].shape == (2, 3)  # type: ignore[arg-type]


def test_every_damaged_tensor_is_in_the_one_error(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    damage(path, TENSORS["output.weight"])
    damage(path, TENSORS["hidden.bias"])
    with pytest.raises(FormatError) as caught:
        load(path)
    assert [fault.split("'")[1] for fault in caught.value.faults] == ["hidden.bias", "output.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verify": "never"}, "verify must be one of eager, lazy, off, not 'never'"),
        (
            {"verify": "lazy"},
            "verify='lazy' checks tensors of a mapped file when they are first asked for: it needs lazy=True",
        ),
        ({"digest": "abc"}, "a digest is the 64 hexadecimal digits that 'portable-nn inspect' prints, not 'abc'"),
    ],
)
def test_ways_that_there_are_not(path: Path, options: dict[str, str], message: str) -> None:
    save(path, MANIFEST, TENSORS)
    with pytest.raises(UsageError) as caught:
        load(path, **options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_file_can_be_replaced_while_it_is_mapped(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    before = load(path, lazy=True).tensors
    save(path, MANIFEST, {name: array + 1 for name, array in TENSORS.items()})
    np.testing.assert_array_equal(before["hidden.bias"], TENSORS["hidden.bias"])
    np.testing.assert_array_equal(load(path).tensors["hidden.bias"], TENSORS["hidden.bias"] + 1)


def test_mapped_tensors_can_be_saved_over_their_own_file(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    content, contents = path.read_bytes(), load(path, lazy=True)
    save(path, contents.manifest, contents.tensors)
    assert path.read_bytes() == content


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_the_file_is_closed_when_its_tensors_are_let_go(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    tensors = load(path, lazy=True).tensors
    array = tensors["hidden.weight"]

    def is_open() -> bool:
        links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return str(path) in links

    assert is_open()
    del tensors
    np.testing.assert_array_equal(array, TENSORS["hidden.weight"])
    del array
    gc.collect()
    assert not is_open()


# -- networks


def test_a_lazy_network_predicts_the_same_and_is_copied_to_train(path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(8), pnn.ReLU(), pnn.Dense(3), seed=0)
    net.save(path)
    content, lazy = path.read_bytes(), pnn.load(path, lazy=True)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_array_equal(lazy.predict(x), net.predict(x))
    with pytest.raises(ValueError, match="read-only"):
        lazy.parameters["dense_1.weight"][...] = 0
    for each in (lazy, net):
        each.rng = np.random.default_rng(1)
        each.fit(x, np.arange(20) % 3, epochs=2)
    np.testing.assert_array_equal(lazy.predict(x), net.predict(x))
    assert lazy.parameters["dense_1.weight"].flags.writeable
    assert path.read_bytes() == content


def test_weights_can_be_loaded_into_a_lazy_network(path: Path) -> None:
    one, other = (pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=seed) for seed in (0, 1))
    one.save(path)
    lazy = pnn.load(path, lazy=True)
    lazy.load_weights(other.parameters)
    np.testing.assert_array_equal(lazy.parameters["dense_1.weight"], other.parameters["dense_1.weight"])


@pytest.mark.long
def test_a_network_keeps_what_was_read_without_another_copy(path: Path) -> None:
    big = pnn.Sequential(pnn.Input(1000), pnn.Dense(2000), pnn.Dense(3), seed=0)
    big.save(path)
    script = f"""
        import resource
        import portable_nn as pnn
        pnn.load({str(ROOT / "tests/golden/v2.h5")!r}).predict([[0] * 4])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        net = pnn.load({str(path)!r})
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
    """
    assert int(run(script)) < 1.5 * path.stat().st_size


def run(script: str) -> str:
    command = [*APART, sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# -- streams


def test_pairs_may_come_in_any_order_and_give_the_same_bytes(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    content = path.read_bytes()
    save(path, MANIFEST, ((name, array) for name, array in reversed(TENSORS.items())))
    assert path.read_bytes() == content


def test_no_more_than_one_tensor_is_asked_for_at_a_time(path: Path) -> None:
    shapes = {f"w{number}": (1 << 18,) for number in range(4)}
    alive = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            alive -= self.base is None

    def pairs() -> Iterator[tuple[str, Array]]:
        nonlocal alive
        for name, shape in shapes.items():
            assert alive <= 1  # the one before this may still have a name in the loop that asks
            alive += 1
            yield name, Counted(shape, np.float32)

    save(
        path,
        identities({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}),
        pairs(),
        allow_nonfinite=True,
    )
    assert len(load(path, allow_nonfinite=True).tensors) == 4


def test_all_that_is_wrong_with_a_stream_is_in_one_error_and_nothing_is_written(path: Path) -> None:
    pairs = [
        ("hidden.weight", TENSORS["hidden.weight"].T),
        ("hidden.bias", np.full(3, np.nan, np.float32)),
        ("output.bias", TENSORS["output.bias"]),
        ("output.bias", TENSORS["output.bias"]),
        ("more", np.zeros(1)),
    ]
    with pytest.raises(UsageError) as caught:
        save(path, MANIFEST, iter(pairs))
    assert str(caught.value) == (
        f"cannot save {path}: 5 faults\n"
        "  tensor 'more' is in the given arrays, but not in the graph\n"
        "  tensor 'hidden.weight' has shape (2, 3) in the given arrays, but node 'hidden' (Gemm) needs (3, 2)\n"
        "  tensor 'output.weight' is missing in the given arrays: node 'output' (Gemm) needs float32 (2, 3)\n"
        "  tensor 'hidden.bias' holds NaN or infinite values\n"
        "  tensor 'output.bias' is given twice"
    )
    assert not list(path.parent.iterdir())


def test_what_the_source_of_a_stream_raises_comes_through(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    content = path.read_bytes()

    def pairs() -> Iterator[tuple[str, Array]]:
        yield "hidden.weight", TENSORS["hidden.weight"]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save(path, MANIFEST, pairs())
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


# -- digests


def test_the_digest_is_the_sha256_of_the_manifest_in_every_carrier(tmp_path: Path) -> None:
    found = set()
    for suffix in CARRIERS:
        path = tmp_path / f"net{suffix}"
        found |= {save(path, MANIFEST, TENSORS), load(path).digest, load(path, lazy=True).digest}
    content = (tmp_path / "net.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert found == {hashlib.sha256(header["__metadata__"]["portable_nn"].encode()).hexdigest()}


@pytest.mark.parametrize("form", ["{}", " SHA256:{}\n"])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_right_digest_opens_and_another_does_not(path: Path, form: str, lazy: bool) -> None:
    digest = save(path, MANIFEST, TENSORS)
    tensors = load(path, lazy=lazy, digest=form.format(digest)).tensors
    np.testing.assert_array_equal(tensors["hidden.weight"], TENSORS["hidden.weight"])
    other = "0" * 64
    with pytest.raises(FormatError) as caught:
        load(path, lazy=lazy, digest=other)
    assert str(caught.value) == f"{path}: is another network: its digest is {digest}, and {other} was expected"
    with pytest.raises(FormatError, match="is another network"):
        pnn.load(path, lazy=lazy, digest=other)


def test_a_forgery_with_all_hashes_right_does_not_have_the_digest(path: Path) -> None:
    digest = save(path, MANIFEST, TENSORS)
    save(path, MANIFEST, TENSORS | {"hidden.bias": TENSORS["hidden.bias"] + 1})
    load(path)
    with pytest.raises(FormatError, match="is another network"):
        load(path, digest=digest)


def test_with_a_digest_tensors_are_checked_by_their_sha256(path: Path) -> None:
    digest = save(path, MANIFEST, TENSORS)
    damage(path, TENSORS["hidden.bias"])
    for lazy in (False, True):
        with pytest.raises(FormatError, match=r"tensor 'hidden\.bias' is damaged .*: its SHA-256 is"):
            dict(load(path, digest=digest, lazy=lazy).tensors)


# -- what is remembered


def test_who_changes_what_was_loaded_changes_nothing_for_the_next(path: Path) -> None:
    save(path, MANIFEST, TENSORS)
    first = load(path)
    first.manifest.metadata["author"] = "somebody else"
    first.manifest.digests.clear()
    first.manifest.checksums.clear()
    first.manifest.graph.nodes[0].attributes["transB"] = 0
    first.tensors["hidden.bias"][...] = 7
    again = load(path)
    assert again.manifest.metadata == {"author": "tests"}
    assert again.manifest.digests.keys() == again.manifest.checksums.keys() == TENSORS.keys()
    assert again.manifest.graph == GRAPH
    np.testing.assert_array_equal(again.tensors["hidden.bias"], TENSORS["hidden.bias"])


def test_a_file_that_changes_is_understood_anew(path: Path) -> None:
    for author in ("one", "two", "one"):
        save(path, replace(MANIFEST, metadata={"author": author}), TENSORS)
        assert load(path).manifest.metadata == {"author": author}


# -- files of others


def test_files_of_arrays_alone_are_recognised(tmp_path: Path) -> None:
    import h5py
    import safetensors.numpy

    safetensors.numpy.save_file(TENSORS, tmp_path / "a.safetensors")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"] = [1.0, 2.0]
    np.savez(tmp_path / "a.npz", **TENSORS)
    for name in ("a.safetensors", "a.h5", "a.npz"):
        assert not has_manifest(tmp_path / name)
        with pytest.raises(
            NoManifestError, match=rf"{re.escape(name)}: is an? (safetensors|HDF5|\.npz) file .* it holds arrays"
        ):
            load(tmp_path / name)
    for suffix in CARRIERS:
        save(tmp_path / f"b{suffix}", MANIFEST, TENSORS)
        assert has_manifest(tmp_path / f"b{suffix}")
        content = (tmp_path / f"b{suffix}").read_bytes()
        (tmp_path / f"b{suffix}").write_bytes(content.replace(b"tests", b"Tests", 1))
        assert has_manifest(tmp_path / f"b{suffix}")  # damaged, which load reports
    assert not has_manifest(tmp_path / "a.npy")
    with pytest.raises(FileError, match="does not exist"):
        has_manifest(tmp_path / "none.h5")
    assert GRAPH.name == "network"
