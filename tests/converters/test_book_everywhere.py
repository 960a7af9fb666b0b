"""The arrays of the book give the same ten outputs in every code base: those of the book's formula."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portable_nn.converters.book.arrays import query_network
from portable_nn.converters.onnx import export_onnx
from portable_nn.converters.source import write_c, write_numpy
from portable_nn.converters.source.c_compiling import compiler
from portable_nn.network import Network
from portable_nn.operators import Array

RNG = np.random.default_rng(2016)
WIH, WHO = RNG.normal(0, 784**-0.5, (200, 784)), RNG.normal(0, 200**-0.5, (10, 200))
X = RNG.uniform(0.01, 1, (5, 784))


def formula() -> Array:
    """The book's ``query``: 1 / (1 + exp(-z)) after each product."""
    hidden = 1 / (1 + np.exp(-(WIH @ X.T)))
    return np.asarray(1 / (1 + np.exp(-(WHO @ hidden)))).T


def here(network: Network, folder: Path) -> Any:
    return network.predict(X)


def in_onnxruntime(network: Network, folder: Path) -> Any:
    import onnxruntime

    export_onnx(network, folder / "book.onnx", dtype="float32")
    session = onnxruntime.InferenceSession(folder / "book.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"inputs": X.astype(np.float32)})[0]


def in_pytorch(network: Network, folder: Path) -> Any:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from portable_nn.converters.torch import to_torch

    return to_torch(network)(torch.tensor(X)).detach().numpy()


def in_keras(network: Network, folder: Path) -> Any:
    pytest.importorskip("keras_models", reason="needs Keras").keras()
    from portable_nn.converters.keras import to_keras
    from portable_nn.converters.keras.installed import keras

    return keras().ops.convert_to_numpy(to_keras(network)(X))


def in_jax(network: Network, folder: Path) -> Any:
    jax = pytest.importorskip("jax", reason="needs JAX")
    from portable_nn.converters.jax import to_jax

    with jax.enable_x64(True):
        applied = to_jax(network)
        return np.asarray(jax.jit(applied.apply)(applied.variables, X))


def in_plain_numpy(network: Network, folder: Path) -> Any:
    write_numpy(network, folder / "book.py")
    np.save(folder / "x.npy", X)
    subprocess.run([sys.executable, "book.py", "x.npy", "y.npy"], cwd=folder, env={}, check=True)
    return np.load(folder / "y.npy")


def in_c(network: Network, folder: Path) -> Any:
    found = compiler()
    if found is None:
        pytest.skip("needs a C compiler")
    write_c(network, folder / "book.c")
    program = folder / "book"
    subprocess.run([found, "-std=c99", "-O2", "-DNET_MAIN", "book.c", "-o", program, "-lm"], cwd=folder, check=True)
    return [_answer(program, row) for row in X]


def _answer(program: Path, row: Array) -> list[float]:
    numbers = " ".join(map(repr, row.tolist()))
    done = subprocess.run([program], input=numbers, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


PLACES: list[Callable[[Network, Path], Any]] = [
    here,
    in_onnxruntime,
    in_pytorch,
    in_keras,
    in_jax,
    in_plain_numpy,
    in_c,
]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Of Keras, when PyTorch computes for it.
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_the_ten_outputs_of_the_book(place: Callable[[Network, Path], Any], tmp_path: Path) -> None:
    found = np.asarray(place(query_network(WIH, WHO), tmp_path))
    assert found.shape == (5, 10)
    np.testing.assert_allclose(found, formula(), rtol=0, atol=1e-6)
