"""Networks as numpy source: every operator against the engine, in a process of its own that has numpy alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network_of
from source_networks import HOSTILE, hostile_network

import portable_nn as pnn
from portable_nn.converters.book import import_book
from portable_nn.converters.source import write_numpy
from portable_nn.converters.source.numpy_module import source_of
from portable_nn.core.errors import UnsupportedError
from portable_nn.core.graph import Value
from portable_nn.opening import open_model
from portable_nn.operators import emit, trace
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)


def in_a_process(path: Path, *inputs: Array) -> list[Array]:
    """What the module gives, run by a Python that finds numpy alone."""
    folder = path.parent
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); module = __import__(sys.argv[2]); "
        "given = np.load('given.npz'); found = module.predict(*(given[name] for name in sorted(given))); "
        "np.savez('found.npz', *(found if isinstance(found, tuple) else [found])); "
        "assert not {'portable_nn', 'onnx', 'scipy', 'torch'} & sys.modules.keys()"
    )
    np.savez(folder / "given.npz", *inputs)
    subprocess.run([sys.executable, "-I", "-c", code, str(folder), path.stem], check=True, cwd=folder, timeout=120)
    with np.load(folder / "found.npz") as found:
        return [found[f"arr_{place}"] for place in range(len(found))]


def in_a_namespace(source: str, *inputs: Array) -> list[Array]:
    space: dict[str, Any] = {"__name__": "net"}
    exec(compile(source, "net.py", "exec"), space)
    found = space["predict"](*inputs)
    return list(found) if isinstance(found, tuple) else [found]


def expected(net: pnn.Network, *inputs: Array) -> list[Array]:
    feeds = {value.name: x for value, x in zip(net.graph.inputs, inputs, strict=True)}
    return list(net.compute("numpy", feeds).values())


@pytest.mark.long
@pytest.mark.parametrize("embedded", [False, True])
def test_a_module_needs_numpy_alone(tmp_path: Path, embedded: bool) -> None:
    net = pnn.Sequential(
        pnn.Input(1, 8, 8),
        pnn.Conv2d(4, 3, padding=1),
        pnn.BatchNorm2d(),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(3),
        pnn.Softmax(),
        labels=["a", "b", "c"],
        seed=0,
    )
    report = write_numpy(net, tmp_path / "net.py", embedded=embedded)
    assert report.outputs.batches == (1, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["net.py"] if embedded else ["net.npz", "net.py"])
    assert report.beside == (() if embedded else (tmp_path / "net.npz",))
    for batch in (1, 2, 7):
        x = RNG.normal(size=(batch, 1, 8, 8)).astype(np.float32)
        [found] = in_a_process(tmp_path / "net.py", x)
        np.testing.assert_allclose(found, net.predict(x), rtol=1e-5, atol=1e-6)


def test_embedded_weights_are_the_same_bits(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=1)
    net.parameters["dense_1.weight"][...] = [[1e-45, -0.0, np.float32(1) / 3], [3.4e38, -1e-39, 2]]
    write_numpy(net, tmp_path / "net.py", embedded=True)
    space: dict[str, Any] = {"__name__": "net"}
    exec((tmp_path / "net.py").read_text(), space)
    assert space["dense_1_weight"].tobytes() == net.parameters["dense_1.weight"].tobytes()
    assert space["dense_1_weight"].dtype == np.float32


def test_the_weights_beside_are_a_weight_file(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=1)
    write_numpy(net, tmp_path / "net.py")
    again = pnn.load(tmp_path / "net.npz")
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), net.predict(x))


@pytest.mark.long
def test_lengths_stay_open(tmp_path: Path) -> None:
    net = network_of("steps, then attention")
    write_numpy(net, tmp_path / "net.py", embedded=True)
    for batch, steps in ((1, 1), (2, 9), (3, 4)):
        x = RNG.normal(size=(batch, steps, 3)).astype(np.float32)
        [found] = in_a_process(tmp_path / "net.py", x)
        np.testing.assert_allclose(found, net.predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_the_program_prints_and_saves(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(7), labels="abcdefg", seed=0)
    write_numpy(net, tmp_path / "net.py", embedded=True)
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "net.py", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    done = run("x.npy", "y.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), net.predict(x), rtol=1e-5)
    assert done.stdout.startswith("dense_1 (3, 7):\n")
    for line, scores in zip(done.stdout.splitlines()[1:], net.predict(x).tolist(), strict=True):
        pairs = sorted(zip(scores, "abcdefg", strict=True), reverse=True)[:5]
        assert line == ", ".join(f"{label} {score:.4g}" for score, label in pairs)
    assert run().returncode == 1
    assert "usage: python net.py input.npy" in run().stderr


def test_an_input_that_does_not_fit_is_refused() -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed=0)
    source = source_of(net, "net.py", None)
    with pytest.raises(ValueError, match=r"must be of shape \('batch', 4\), not \(2, 5\): 5 where 4 is expected"):
        in_a_namespace(source, np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        in_a_namespace(source, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="must be float32, not complex128"):
        in_a_namespace(source, np.zeros((2, 4), complex))


def test_all_that_is_missing_is_named(tmp_path: Path) -> None:
    x = pnn.Input(3, 8, 8)
    boxes, numbers = pnn.Input(4, name="boxes"), pnn.Input(name="numbers", dtype="int64")
    first = emit("RoiAlign", x, boxes, numbers, name="cut", output_height=2, output_width=2)
    second = emit("RoiAlign", x, boxes, numbers, name="other", output_height=3, output_width=3)
    net = pnn.Network.from_graph(trace([x, boxes, numbers], [first, second]).graph, {})
    with pytest.raises(UnsupportedError) as caught:
        write_numpy(net, tmp_path / "net.py")
    assert "'cut' (RoiAlign)" in str(caught.value)
    assert "'other' (RoiAlign)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_of_files_and_sizes_of_weights(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(2100), pnn.Dense(2000), seed=0)
    with pytest.raises(ValueError, match=r"must end in \.py"):
        write_numpy(net, tmp_path / "net.txt")
    with pytest.raises(ValueError, match="too many to be embedded"):
        write_numpy(net, tmp_path / "net.py", embedded=True)
    assert list(tmp_path.iterdir()) == []


OURS = ("checked", "unpacked", "predict", "main")


def is_harmless(source: str) -> None:
    """Whether the module has the statements that it must have, and no others."""
    tree = ast.parse(source)
    kinds = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.If)
    assert all(isinstance(node, kinds) for node in tree.body)
    assert sum(isinstance(node, ast.Expr) for node in tree.body) == 1  # The docstring.
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called <= {*OURS, "len", "zip", "print", "isinstance", "TypeError", "ValueError", "Path"}
    assert not any(isinstance(node, ast.Raise) for node in tree.body)


@pytest.mark.long
@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), min_size=13, max_size=13, unique=True).map(tuple))
@settings(max_examples=150, deadline=None)
def test_hostile_names_and_texts_stay_where_they_are(names: tuple[str, ...]) -> None:
    net, x = hostile_network(names)
    source = source_of(net, "net.py", None)
    is_harmless(source)
    [found] = in_a_namespace(source, x)
    np.testing.assert_allclose(found, expected(net, x)[0], rtol=1e-5, atol=1e-6)
    assert "\x1b" not in source
    assert "\u202e" not in source


def test_the_books_network(tmp_path: Path) -> None:
    """Rashid's formula: the sigmoid of a product, twice, for pixels from 0.01 to 1."""
    rng = np.random.default_rng(3)
    wih, who = rng.normal(0, 784**-0.5, (100, 784)), rng.normal(0, 0.1, (10, 100))
    np.save(tmp_path / "wih.npy", wih)
    np.save(tmp_path / "who.npy", who)
    write_numpy(import_book(tmp_path / "wih.npy", tmp_path / "who.npy").network, tmp_path / "net.py")
    pixels = rng.integers(0, 256, (3, 1, 28, 28))

    def sigmoid(x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)))

    given = pixels.reshape(3, 784) / 255.0 * 0.99 + 0.01
    wanted = sigmoid(sigmoid(given @ wih.T) @ who.T)
    [found] = in_a_process(tmp_path / "net.py", pixels.reshape(open_shape(tmp_path / "net.npz", 3)))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def open_shape(path: Path, batch: int) -> tuple[int, ...]:
    value: Value = pnn.load(path).graph.inputs[0]
    return (batch, *(dim for dim in value.shape[1:] if isinstance(dim, int)))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["digits", "digits-mlp", "digits-gan", "altimetry-swh", "altimetry-track", "altimetry-surface"]
)
def test_shipped_models(tmp_path: Path, name: str) -> None:
    net = open_model(name).network
    report = write_numpy(net, tmp_path / "net.py")
    assert set(report.outputs) == set(net.graph.outputs)
    sizes = {"batch": 2, "echoes": 5}
    [value] = net.graph.inputs
    shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in value.shape)
    x = RNG.uniform(0, 2, shape).astype(value.dtype)
    for wanted, found in zip(expected(net, x), in_a_process(tmp_path / "net.py", x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))
