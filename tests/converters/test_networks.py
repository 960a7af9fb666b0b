"""Networks of all kinds in every code base: what they compute, how they train, and their files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from code_bases import TARGETS, Use
from networks import NETWORKS, SHIPPED, given, network_of

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.source.c_compiling import compiler
from portable_nn.core.errors import UnsupportedError, UsageError
from portable_nn.operators.registry import Array

REFUSED = {
    ("c", "encoder"): r"\(Attention\): is not written in C.*\(Range\)",
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning", "ignore::DeprecationWarning")


def agree(base: str, network: pnn.Network, feeds: dict[str, Array], tolerance: float = 1e-5, note: str = "") -> None:
    """A code base computes what the engine computes, to a part of the largest number."""
    if package := TARGETS[base].package:
        pytest.importorskip(package)
    if base == "c" and not compiler():
        pytest.skip("needs a C compiler")
    found, _ = TARGETS[base].run(Use(None, network, feeds, {}, None, {}))
    for name, wanted in network.compute("numpy", feeds).items():
        assert (found[name].dtype, found[name].shape) == (wanted.dtype, wanted.shape), note
        scale = float(np.abs(wanted).max(initial=1))
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=tolerance * scale, err_msg=note)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("base", TARGETS)
@pytest.mark.quick("torch-dense", "numpy-cnn", "c-windows", "onnx-LSTM", "keras-twice", "jax-two inputs")
def test_a_code_base_computes_what_a_network_computes(base: str, name: str) -> None:
    network = network_of(name)
    if refused := REFUSED.get((base, name)):
        with pytest.raises((UnsupportedError, UsageError), match=refused):
            agree(base, network, given(network))
    else:
        agree(base, network, given(network), 2e-6 if base in ("c", "numpy") else 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("base", TARGETS)
def test_shipped_models(base: str, name: str) -> None:
    network = network_of(name)
    agree(base, network, given(network, 2, 5))


def steps_in_torch(network: pnn.Network, path: Path) -> None:
    from portable_nn.converters.torch import to_torch

    to_torch(network, prove_training=True)


def steps_in_keras(network: pnn.Network, path: Path) -> None:
    from portable_nn.converters.keras import write_keras

    recurrent = [node for node in network.graph.nodes if node.operator in ("LSTM", "RNN")]
    one = any(len(node.inputs) > 3 and node.inputs[3] for node in recurrent)  # Keras trains one bias.
    written = write_keras(network, path, prove_training=not one)
    assert ("both of its biases become one" if one else "training proved: after 5 steps") in written.notes[-1]


def steps_in_jax(network: pnn.Network, path: Path) -> None:
    from portable_nn.converters.jax import to_jax

    assert all("draws other random numbers" in note for note in to_jax(network, prove_training=True).outputs.notes)


TRAINED: dict[str, Callable[[pnn.Network, Path], None]] = {
    "torch": steps_in_torch,
    "keras": steps_in_keras,
    "jax": steps_in_jax,
}


@pytest.mark.long
@pytest.mark.parametrize(("base", "name"), [pair for pair in product(TRAINED, NETWORKS) if pair not in REFUSED])
def test_five_steps_of_training_are_the_same(base: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip(base)
    TRAINED[base](network_of(name), tmp_path / "net.keras")


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in NETWORKS if ("keras", name) not in REFUSED])
def test_keras_and_this_package_read_a_file_of_keras(name: str, tmp_path: Path) -> None:
    pytest.importorskip("keras")
    from keras_models import computed, keras

    from portable_nn.converters.keras import read_keras, write_keras

    network, path = network_of(name), tmp_path / "net.keras"
    feeds = given(network)
    assert write_keras(network, path, verify=False).bytes == path.stat().st_size
    wanted = network.compute("numpy", feeds)
    theirs = dict(zip(sorted(wanted), computed(keras().models.load_model(path), *feeds.values()), strict=True))
    again = read_keras(path).network.compute("numpy", feeds)
    for outputs in (theirs, dict(zip(wanted, again.values(), strict=True))):
        for output, array in wanted.items():
            np.testing.assert_allclose(outputs[output], array, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_and_this_package_read_a_file_of_onnx_and_weights_are_kept(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    feeds = given(network)
    wanted = network.compute("numpy", feeds)
    for opset in (13, 17, 25):
        export_onnx(network, tmp_path / f"{opset}.onnx", opset=opset)
        theirs = onnxruntime.InferenceSession(tmp_path / f"{opset}.onnx").run([*wanted], feeds)
        for mine, other in zip(wanted.values(), theirs, strict=True):
            np.testing.assert_allclose(other, mine, atol=1e-5)
    network.save(tmp_path / "net.safetensors")
    for again in (import_onnx(tmp_path / "25.onnx"), pnn.load(tmp_path / "net.safetensors")):
        assert again.graph == network.graph
        for output, array in again.compute("numpy", feeds).items():
            np.testing.assert_array_equal(array, wanted[output])


@pytest.mark.long
@pytest.mark.minutes
@pytest.mark.parametrize(
    ("base", "count"),
    [("numpy", 100), ("c", 45), *(pytest.param(*row, marks=pytest.mark.sweep) for row in (("numpy", 300), ("c", 120)))],
)
def test_random_networks(base: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "random_networks")
    from drawing import drawn

    done = 0
    for seed in range(count):
        _, network = drawn(seed, "float64")
        try:
            agree(base, network, given(network, seed=seed), 1e-9, f"seed {seed}")
        except UnsupportedError:
            continue
        done += 1
    assert done > (count / 3 if base == "c" else count - 1)
