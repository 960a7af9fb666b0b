"""Networks as C source: compiled without a warning and run, against the engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import network_of
from source_networks import HOSTILE, hostile_network

import portable_nn as pnn
from portable_nn.converters.book import import_book
from portable_nn.converters.source import c_file, write_c
from portable_nn.converters.source.c_compiling import compiled, compiler, side_of
from portable_nn.converters.source.c_file import source_of
from portable_nn.core.errors import UnsupportedError
from portable_nn.operators import Leaf, constant, emit, emit_all, integers
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)
COMPILER = compiler() or ""

needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C compiler: cc, gcc or clang")


def computed(
    net: pnn.Network, folder: Path, *inputs: Array, open_sizes: tuple[str, ...] = (), **options: Any
) -> list[Array]:
    """What the C file gives, compiled with all warnings as errors."""
    write_c(net, folder / "net.c", verify=False, **options)
    source = (folder / "net.c").read_text()
    with side_of(source, net, open_sizes, COMPILER, "-Werror") as side:
        found = side({value.name: x for value, x in zip(net.graph.inputs, inputs, strict=True)})
    return [np.asarray(found[name]) for name in net.graph.outputs]


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_networks_of_any_length(tmp_path: Path, kind: str) -> None:
    net = network_of(kind)
    for steps in (1, 4, 7):
        x = RNG.normal(size=(2, steps, 3)).astype(np.float32)
        [found] = computed(net, tmp_path, x, open_sizes=("steps",), up_to={"steps": 7})
        np.testing.assert_allclose(found, net.predict(x), rtol=2e-6, atol=1e-6)
    program = compiled((tmp_path / "net.c").read_text(), tmp_path, COMPILER)
    done = subprocess.run([program, "8"], input="", check=False, text=True)
    assert done.returncode == 1
    assert "int net(const float *input, int steps, float *" in (tmp_path / "net.c").read_text()


@needs_compiler
def test_an_index_beyond_the_table_is_refused(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(2, dtype="int64"), pnn.Embedding(5, 3), pnn.Flatten(), pnn.Dense(2), seed=0)
    x = np.array([[4, 0], [-1, -5]])
    [found] = computed(net, tmp_path, x)
    np.testing.assert_allclose(found, net.predict(x), rtol=2e-6, atol=1e-6)
    program = compiled((tmp_path / "net.c").read_text(), tmp_path, COMPILER)
    for wrong in ("5 0", "0 -6", "99999999999 0"):
        assert subprocess.run([program], input=wrong, text=True, check=False).returncode == 2


@needs_compiler
def test_the_proof_is_of_the_file(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.Tanh(), seed=0)
    report = write_c(net, tmp_path / "net.c")
    assert report.outputs.batches == (1, 3)
    assert report.bytes == (tmp_path / "net.c").stat().st_size
    assert report.notes == ()
    assert max(each.max_abs_error for each in report.outputs.values()) < 1e-6


def test_without_a_compiler_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_file, "compiler", lambda: None)
    report = write_c(pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0), tmp_path / "net.c")
    assert "nothing was compared" in report.notes[0]
    assert not report.outputs


def test_what_is_refused(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(4), seed=0)
    with pytest.raises(ValueError, match=r"how large 'steps' may be: --dim steps=\.\.100"):
        write_c(net, tmp_path / "net.c")
    with pytest.raises(ValueError, match=r"must end in \.c"):
        write_c(net, tmp_path / "net.h")
    with pytest.raises(ValueError, match="no size is called 'length'"):
        write_c(net, tmp_path / "net.c", up_to={"length": 3, "steps": 3})
    with pytest.raises(ValueError, match="weights are too many"):
        write_c(pnn.Sequential(pnn.Input(2100), pnn.Dense(2000), seed=0), tmp_path / "net.c")
    x = pnn.Input(1, 4, 4)
    largest, places = emit_all("MaxPool", x, outputs=2, kernel_shape=[2, 2], strides=[2, 2], storage_order=1)
    back = emit("MaxUnpool", largest, places, integers([1, 1, 6, 6]), kernel_shape=[2, 2], strides=[2, 2])
    with pytest.raises(UnsupportedError, match=r"2 faults(.|\n)*MaxPool(.|\n)*MaxUnpool"):
        write_c(pnn.Network([x], [back]), tmp_path / "net.c", sizes={"batch": 1})
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_numbers_go_back_to_where_they_stood_before_a_pool(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the other side")
    x = pnn.Input(3, 6, 9)
    largest, places = emit_all("MaxPool", x, outputs=2, kernel_shape=[2, 3], strides=[2, 3])
    net = pnn.Network([x], [emit("MaxUnpool", emit("Tanh", largest), places, kernel_shape=[2, 3], strides=[2, 3])])
    array = RNG.normal(size=(4, 3, 6, 9)).astype(np.float32)
    theirs, where = torch.nn.functional.max_pool2d(torch.tensor(array), (2, 3), return_indices=True)
    wanted = torch.nn.functional.max_unpool2d(theirs.tanh(), where, (2, 3))
    [found] = computed(net, tmp_path, array)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
def test_regions_of_images(tmp_path: Path, mode: str, ratio: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the other side")
    ops = pytest.importorskip("torchvision.ops", reason="its roi_align is the other side")
    x = Leaf("x", "float32", (2, 3, 7, 9))
    rois = np.array([[0, 1, 3, 4], [1, 1, 8, 2.5], [-3, -3, 20, 20], [2, 2, 2, 2]], np.float32)
    options = {"output_height": 2, "output_width": 3, "spatial_scale": 0.5, "sampling_ratio": ratio}
    y = emit("RoiAlign", x, constant(rois, "float32"), integers([0, 1, 1, -2]),
             coordinate_transformation_mode=mode, **options)  # fmt: skip
    array = RNG.normal(size=(2, 3, 7, 9)).astype(np.float32)
    boxes = torch.tensor(np.concatenate([[[0], [1], [1], [0]], rois], axis=1, dtype=np.float32))
    wanted = ops.roi_align(torch.tensor(array), boxes, (2, 3), 0.5, ratio, mode == "half_pixel")
    [found] = computed(pnn.Network([x], [y]), tmp_path, array)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-6)


@needs_compiler
def test_windows_in_three_dimensions_padding_spaces_sums_and_ranks(tmp_path: Path) -> None:
    """Against PyTorch: what a window over two axes cannot show."""
    torch = pytest.importorskip("torch")
    from portable_nn.converters.torch import to_torch

    x = pnn.Input(2, 4, 5, 6)
    y = pnn.Pad(1, mode="reflect")(x)
    y = pnn.Conv3d(4, 3, stride=(1, 2, 1), padding=1, groups=2)(y)
    y = pnn.ConvTranspose3d(4, 2, stride=2, groups=2)(pnn.MaxPool3d(2)(y))
    y = pnn.AvgPool3d(2, padding=1)(y)
    y = pnn.emit("CumSum", pnn.Flatten()(y), pnn.emit("Constant", value_int=1), exclusive=1, reverse=1)
    network = pnn.Network(x, y, seed=0)
    write_c(network, tmp_path / "net.c")
    given = np.random.default_rng(0).normal(size=(2, 2, 4, 5, 6)).astype(np.float32)
    wanted = to_torch(network, verify=False)(torch.from_numpy(given)).detach().numpy()
    with side_of(source_of(network, Path("net.c"), {}), network, (), COMPILER, "-Werror") as side:
        found = side({network.graph.inputs[0].name: given})
    np.testing.assert_allclose(found[network.graph.outputs[0]], wanted, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_half_precision_is_computed_in_single(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4, dtype="float16"), pnn.Dense(3), pnn.Softmax(), seed=0)
    report = write_c(net, tmp_path / "net.c")
    assert "float32 in place of float16" in report.notes[0]
    source = (tmp_path / "net.c").read_text()
    assert "int net(const float *input, float *" in source
    x = RNG.normal(size=(2, 4)).astype(np.float16)
    weight, bias = (net.parameters[f"dense_1.{name}"].astype(np.float64) for name in ("weight", "bias"))
    powers = np.exp(x.astype(np.float64) @ weight.T + bias)
    program = compiled(source, tmp_path, COMPILER)
    done = subprocess.run(
        [program], input=" ".join(map(str, x.ravel().tolist())), text=True, check=True, capture_output=True
    )
    found = np.array(done.stdout.split(), np.float64).reshape(2, 3)
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.long
@needs_compiler
def test_the_books_network_in_double_and_single_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wih, who = rng.normal(0, 784**-0.5, (100, 784)), rng.normal(0, 0.1, (10, 100))
    np.save(tmp_path / "wih.npy", wih)
    np.save(tmp_path / "who.npy", who)
    net = import_book(tmp_path / "wih.npy", tmp_path / "who.npy").network
    shape = [dim for dim in net.graph.inputs[0].shape[1:] if isinstance(dim, int)]
    pixels = rng.integers(0, 256, (3, *shape)).astype(np.float64)

    def sigmoid(x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)))

    wanted = sigmoid(sigmoid((pixels.reshape(3, 784) / 255.0 * 0.99 + 0.01) @ wih.T) @ who.T)
    [found] = computed(net, tmp_path, pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    report = write_c(net, tmp_path / "single.c", dtype="float32")
    assert "const float *" in (tmp_path / "single.c").read_text()
    assert max(each.max_abs_error for each in report.outputs.values()) < 1e-6


@pytest.mark.long
@needs_compiler
@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), min_size=13, max_size=13, unique=True).map(tuple))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hostile_names_and_texts_stay_where_they_are(tmp_path: Path, names: tuple[str, ...]) -> None:
    net, x = hostile_network(names)
    [found] = computed(net, tmp_path, x)
    np.testing.assert_allclose(
        found, net.compute("numpy", {net.graph.inputs[0].name: x})[net.graph.outputs[0]], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["lstm", "dense"])
def test_the_function_is_called_as_the_file_also_where_a_helper_was(name: str, tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(4, 3), pnn.LSTM(5), pnn.Flatten(), pnn.Dense(2), seed=0)
    write_c(network, tmp_path / f"{name}.c")
    text = (tmp_path / f"{name}.c").read_text()
    assert re.search(rf"^int {name}\(", text, re.MULTILINE)
    assert re.search(rf"^static void {name}_layer\(", text, re.MULTILINE)
