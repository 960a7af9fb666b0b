"""Every reader under a fuzzer that is guided by coverage, for a bounded time: no error but the package's own."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import forge_pickles
import h5py
import numpy as np
import pytest
import safetensors.numpy
from apart import APART
from forge import Forge
from rows import CARRIERS

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.format import load
from portable_nn.network import Network
from portable_nn.onnx.writing import to_model

pytestmark = pytest.mark.long
HERE = Path(__file__).parent


def forged() -> Iterator[Forge]:
    yield Forge()
    yield Forge().empty()
    yield Forge().only("c.d.e", "float64", [], bytes(8)).give("a/b", "bool", [2, 2], b"\0\1\1\0")


def graphs() -> Iterator[Graph]:
    """One for each operator and form of it."""
    from onnx_cases import CASES, graph_of

    yield from map(graph_of, CASES)


def parameters(graph: Graph) -> dict[str, Any]:
    return {value.name: np.ones(value.shape, value.dtype) for value in graph.parameters}


def weight_files(suffix: str, tmp_path: Path) -> Iterator[bytes]:
    yield from (CARRIERS[suffix](each) for each in forged())
    for graph in graphs():
        Network.from_graph(graph, parameters(graph)).save(tmp_path / f"net{suffix}")
        yield (tmp_path / f"net{suffix}").read_bytes()


def networks() -> Iterator[Network]:
    image = pnn.Input(1, 8, 8)
    yield pnn.Sequential(image, pnn.Conv2d(2, kernel=3), pnn.ReLU(), pnn.MaxPool2d(2), pnn.Flatten(), pnn.Dense(3))
    yield pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.Sigmoid(), pnn.Dense(2), pnn.Softmax(), labels="ab")


def models() -> Iterator[bytes]:
    for graph, opset in zip(graphs(), cycle(range(17, 26)), strict=False):
        with suppress(UsageError):  # an operator that came later
            yield to_model(graph, parameters(graph), opset=opset).SerializeToString()
    for network in networks():
        yield to_model(network.graph, network.parameters).SerializeToString()


ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True]), "c": np.zeros((0, 2), ">i8")}


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    content = io.BytesIO()
    write(content)
    return content.getvalue()


def h5_files() -> Iterator[bytes]:
    def write(content: io.BytesIO, library: str) -> None:
        with h5py.File(content, "w", libver=library) as file:
            for name, array in ARRAYS.items():
                file[f"group/{name}"] = array
            file.create_dataset("packed", data=ARRAYS["a"], compression="gzip", shuffle=True)
            file.attrs["note"] = "text"

    for library in ("earliest", "latest"):
        yield written(lambda content, library=library: write(content, library))


def keras_files(reader: str, tmp_path: Path) -> Iterator[bytes]:
    """Archives of Keras, or the file of weights in one."""
    from portable_nn.converters.keras import write_keras

    pytest.importorskip("keras_models")  # It chooses what Keras computes with.
    for network in networks():
        write_keras(network, tmp_path / "m.keras", verify=False)
        with zipfile.ZipFile(tmp_path / "m.keras") as archive:
            weights = archive.read("model.weights.h5")
        yield (tmp_path / "m.keras").read_bytes() if reader == "keras" else weights


def seeds(reader: str, tmp_path: Path) -> Iterator[bytes]:
    """Valid files, small ones."""
    if reader in ("safetensors", "h5", "npz"):
        yield from weight_files(f".{reader}", tmp_path)
    elif reader == "onnx":
        yield from models()
    elif reader == "plain-safetensors":
        yield safetensors.numpy.save({name: array.astype("<f4") for name, array in ARRAYS.items()}, {"format": "pt"})
    elif reader == "plain-h5":
        yield from h5_files()
    elif reader in ("parquet", "arrow", "feather", "zarr"):
        table_files = pytest.importorskip("table_files")
        found = {"parquet": table_files.of_parquet, "zarr": table_files.of_zarr}.get(reader, table_files.of_arrow)()
        yield from map(table_files.packed, found.values()) if reader == "zarr" else found
    elif reader in ("csv", "idx", "idx-gz", "picture"):
        import shell_files

        one = {"csv": shell_files.TABLE, "idx": shell_files.IDX, "idx-gz": gzip.compress(shell_files.IDX)}
        yield from shell_files.pictures().values() if reader == "picture" else [one[reader]]
    elif reader in ("keras", "keras-weights"):
        yield from keras_files(reader, tmp_path)
    elif reader == "plain-npz":
        yield written(lambda content: np.savez(content, **ARRAYS))
        yield written(lambda content: np.savez_compressed(content, **ARRAYS))
    elif reader == "pickle":
        yield from forge_pickles.files(tmp_path).values()
    else:
        yield from (written(lambda content, array=array: np.save(content, array)) for array in ARRAYS.values())


READERS = [
    "safetensors", "h5", "onnx", "npz", "plain-safetensors", "plain-h5", "plain-npz", "plain-npy", "pickle", "parquet",
    "arrow", "feather", "zarr", "csv", "idx", "idx-gz", "picture", "keras", "keras-weights",
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Callable[..., int]]:
    """Runs the fuzzer with a file for what it prints and arguments; its modules are instrumented once."""
    pytest.importorskip("atheris")
    command = [*APART, sys.executable, str(HERE / "fuzzing.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=HERE.parents[1], text=True, bufsize=1, **pipes) as server:
        assert server.stdin
        assert server.stdout
        given, codes = server.stdin, server.stdout

        def call(*words: str) -> int:
            given.write(json.dumps(words) + "\n")
            return int(codes.readline())

        yield call


@pytest.mark.parametrize("seconds", [2, pytest.param(120, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("reader", READERS)
def test_a_fuzzer_finds_no_error_but_the_packages_own(
    tmp_path: Path, fuzz: Callable[..., int], reader: str, seconds: int
) -> None:
    corpus, log = tmp_path / "corpus", tmp_path / "log"
    corpus.mkdir()
    for number, content in enumerate(seeds(reader, tmp_path)):
        (corpus / str(number)).write_bytes(content)
    options = [
        f"-max_total_time={seconds}",
        "-seed=1",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=65536",
        "-len_control=0",
        f"-artifact_prefix={tmp_path}/",
    ]
    code = fuzz(str(log), reader, str(corpus), *options)
    said = log.read_text(errors="replace")
    assert code == 0, said[-6000:]
    assert "Done " in said  # ... so many runs in so many seconds


def test_the_seeds_are_valid(tmp_path: Path) -> None:
    for suffix in CARRIERS:
        for content in weight_files(suffix, tmp_path):
            (tmp_path / f"net{suffix}").write_bytes(content)
            load(tmp_path / f"net{suffix}")
