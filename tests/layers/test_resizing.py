"""Builders that pad, enlarge and shrink against PyTorch's, and what they refuse."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
SPATIAL = {1: (5,), 2: (4, 6), 3: (4, 3, 5)}


def drawn(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def both_ways(layer: Any, x: Array, seed: Array) -> tuple[Array, Array]:
    """What the layer makes of ``x``, and what flows back of ``seed``."""
    leaf = pnn.Input(*x.shape[1:], name="x", dtype=x.dtype.name)
    y = layer(leaf)
    flowing = Leaf("seed", y.dtype, y.shape)
    [back] = gradients([y], [flowing], [leaf])
    assert back is not None
    plan = Plan(trace([leaf, flowing], [y, back]).graph, {"x": x.shape, "seed": seed.shape}, {})
    plan.inputs["x"][...], plan.inputs["seed"][...] = x, seed
    plan.run()
    value, slope = plan.outputs.values()
    return value, slope


def assert_same(layer: Any, module: Callable[[Any], Any], x: Array) -> None:
    """The layer computes, and sends back, what the function of PyTorch does."""
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(x, requires_grad=True)
    wanted = module(tensor)
    seed = drawn(*wanted.shape, dtype=x.dtype.name, seed=1)
    wanted.backward(torch.tensor(seed))
    for ours, theirs in zip(both_ways(layer, x, seed), (wanted.detach().numpy(), tensor.grad.numpy()), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE[x.dtype.name] * np.abs(theirs).max())


HOW: list[tuple[str, int, dict[str, Any]]] = [
    *((mode, axes, {}) for mode in ("nearest", "nearest-exact") for axes in SPATIAL),
    *(
        (mode, axes, {"align_corners": align_corners})
        for mode, axes in (("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2))
        for align_corners in (False, True)
    ),
]
WHERE = [{"scale_factor": 2}, {"scale_factor": 1.5}, {"scale_factor": 0.5}, {"size": 7}, {"size": 3}, {"size": 1}]


@pytest.mark.parametrize(("how", "where", "dtype"), list(itertools.product(HOW, WHERE, TOLERANCE)))
def test_upsample(how: tuple[str, int, dict[str, Any]], where: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    mode, axes, options = how
    module = torch.nn.Upsample(mode=mode, **options, **where)
    assert_same(pnn.Upsample(mode=mode, **options, **where), module, drawn(2, 3, *SPATIAL[axes], dtype=dtype))


MOST = 40


def _enlarged(size: int, layers: list[pnn.Layer]) -> pnn.Network:
    start = pnn.Input(1, size)
    return pnn.Network(inputs=start, outputs=[layer(start) for layer in layers])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("engine", [pytest.param(name, marks=pytest.mark.long) for name in ("numpy", "onnxruntime")])
def test_the_nearest_cell_for_every_pair_of_sizes(mode: str, engine: str) -> None:
    torch = pytest.importorskip("torch")
    for size in range(1, MOST + 1):
        x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
        net = _enlarged(size, [pnn.Upsample(size=result, mode=mode) for result in range(1, MOST + 1)])
        for result, found in enumerate(net.predict(x, engine=engine).values(), start=1):
            wanted = torch.nn.Upsample(size=result, mode=mode)(torch.from_numpy(x)).numpy()
            np.testing.assert_array_equal(found, wanted, f"{size} → {result}")


FACTORS = (1.1, 1.3, 1.5, 1.7, 1.9, 2, 2.5, 2.7, 3, 5, 7, 11, 13, 41, 47, 0.3, 1 / 3, 0.5, 0.7, 0.9, 0.29)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("engine", ["numpy", pytest.param("onnxruntime", marks=pytest.mark.long)])
def test_every_size_by_many_factors(mode: str, engine: str) -> None:
    torch = pytest.importorskip("torch")
    for size in [*range(4, MOST + 1), 100, 1000]:  # 100 · 0.29 is 28 in double precision, and 29 in single.
        x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
        net = _enlarged(size, [pnn.Upsample(scale_factor=factor, mode=mode) for factor in FACTORS])
        for factor, found in zip(FACTORS, net.predict(x, engine=engine).values(), strict=True):
            wanted = torch.nn.Upsample(scale_factor=factor, mode=mode)(torch.from_numpy(x)).numpy()
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=size * 1e-6 * (mode == "linear"))


@pytest.mark.parametrize("factors", [(1.1,) * 3, (1.1, 1, 1.3), (1, 1.2, 1.5), (0.9, 1.1, 1), (1.04,) * 3])
@pytest.mark.parametrize("sizes", [(4, 4, 4), (4, 20, 5), (20, 4, 4), (7, 9, 11)])
@pytest.mark.parametrize(
    ("mode", "axes"), [(mode, axes) for mode, axes, options in HOW if not options.get("align_corners")]
)
def test_factors_that_leave_sizes_as_they_are(
    mode: str, axes: int, sizes: tuple[int, ...], factors: tuple[float, ...]
) -> None:
    """PyTorch, and onnxruntime, copy the cells of such axes in some modes and not in others."""
    torch = pytest.importorskip("torch")
    x = drawn(1, 2, *sizes[:axes])
    layer = pnn.Upsample(scale_factor=factors[:axes], mode=mode)
    wanted = torch.nn.Upsample(scale_factor=factors[:axes], mode=mode)(torch.from_numpy(x)).numpy()
    net = pnn.Sequential(pnn.Input(2, *sizes[:axes]), layer)
    for engine in ("numpy", "onnxruntime"):
        np.testing.assert_allclose(net.predict(x, engine=engine), wanted, atol=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_cell_where_sizes_are_open(mode: str, engine: str) -> None:
    torch = pytest.importorskip("torch")
    start = pnn.Input(2, "height", "width")
    net = pnn.Network(inputs=start, outputs=pnn.Upsample(size=(12, 30), mode=mode)(start))
    for height, width in ((14, 25), (20, 9), (6, 26), (26, 35)):
        x = np.arange(2 * height * width, dtype=np.float32).reshape(1, 2, height, width)
        wanted = torch.nn.Upsample(size=(12, 30), mode=mode)(torch.from_numpy(x)).numpy()
        np.testing.assert_array_equal(net.predict(x, engine=engine), wanted)


@pytest.mark.parametrize("where", [{"scale_factor": (2.0, 0.75)}, {"size": (3, 11)}])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_upsample_of_each_axis_by_its_own(mode: str, where: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    assert_same(pnn.Upsample(mode=mode, **where), torch.nn.Upsample(mode=mode, **where), drawn(2, 3, 4, 8))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("padding", "theirs"),
    [
        (2, (2, 2, 2, 2)),
        ((1, 2), (1, 2, 0, 0)),
        ((1, 2, 3, 0), (1, 2, 3, 0)),
        ([(3, 0), (1, 2)], (1, 2, 3, 0)),
        ([(1, 2)], (1, 2, 0, 0)),
        (0, (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str, padding: Any, theirs: tuple[int, ...], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    x = drawn(2, 3, 4, 6, dtype=dtype)
    assert_same(pnn.Pad(padding, mode), lambda x: torch.nn.functional.pad(x, theirs, mode), x)


@pytest.mark.parametrize("axes", SPATIAL)
def test_pad_with_a_value_and_cut(axes: int) -> None:
    torch = pytest.importorskip("torch")
    sides = (2, -1, -2, 1, 0, 3)[: 2 * axes]
    x = drawn(2, 3, *SPATIAL[axes])
    assert_same(pnn.Pad(sides, value=-1.5), lambda x: torch.nn.functional.pad(x, sides, value=-1.5), x)
    assert_same(pnn.Pad(-1), lambda x: torch.nn.functional.pad(x, (-1,) * 2 * axes), x)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffle_and_its_inverse(factor: int) -> None:
    torch = pytest.importorskip("torch")
    x = drawn(2, 2 * factor**2, 3, 4)
    assert_same(pnn.PixelShuffle(factor), torch.nn.PixelShuffle(factor), x)
    image = drawn(2, 3, 3 * factor, 2 * factor)
    assert_same(pnn.PixelUnshuffle(factor), torch.nn.PixelUnshuffle(factor), image)
    there_and_back = pnn.Sequential(pnn.Input(*image.shape[1:]), pnn.PixelUnshuffle(factor), pnn.PixelShuffle(factor))
    np.testing.assert_array_equal(there_and_back.predict(image), image)


def network() -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(2, 6, 4, name="x"),
        pnn.Pad(1, "reflect", name="border"),
        pnn.Conv2d(4, 3),
        pnn.Upsample(scale_factor=2, name="larger"),
        pnn.PixelUnshuffle(2),
        pnn.Upsample(size=(4, 6), mode="bilinear"),
        pnn.PixelShuffle(2, name="image"),
        pnn.Pad((0, -1), name="cut"),
        seed=0,
    )


@pytest.mark.long
def test_a_network_of_them_is_saved_exported_and_read_again(tmp_path: Path) -> None:
    made, x = network(), drawn(3, 2, 6, 4)
    wanted = made.predict(x)
    assert wanted.shape == (3, 4, 8, 11)
    assert {"border", "larger", "image", "cut"} <= {node.name for node in made.graph.nodes}
    made.save(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(pnn.load(tmp_path / "a.safetensors").predict(x), wanted)
    for opset in (13, 17, 25):
        report = export_onnx(made, tmp_path / "a.onnx", opset=opset)
        assert report.max_abs_error < 1e-5
        np.testing.assert_array_equal(import_onnx(tmp_path / "a.onnx").predict(x), wanted)


def test_training_through_them_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    made, x, y = network(), drawn(4, 2, 6, 4), drawn(4, 4, 8, 11, seed=1)
    convolution = torch.nn.Conv2d(2, 4, 3)
    with torch.no_grad():
        for theirs, ours in zip(convolution.parameters(), made.parameters.values(), strict=True):
            theirs.copy_(torch.tensor(ours))
    module = torch.nn.Sequential(
        torch.nn.ReflectionPad2d(1),
        convolution,
        torch.nn.Upsample(scale_factor=2),
        torch.nn.PixelUnshuffle(2),
        torch.nn.Upsample(size=(4, 6), mode="bilinear"),
        torch.nn.PixelShuffle(2),
        torch.nn.ZeroPad2d((0, -1, 0, 0)),
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    made.fit(x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.5), epochs=2, batch_size=4, progress=False)
    for ours, theirs in zip(made.parameters.values(), convolution.parameters(), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_sizes_that_are_known_only_when_it_runs() -> None:
    torch = pytest.importorskip("torch")
    made = pnn.Sequential(
        pnn.Input(4, "height", "width"),
        pnn.Pad(1, "replicate"),
        pnn.Upsample(scale_factor=0.5, mode="bilinear"),
        pnn.PixelShuffle(2),
        pnn.Upsample(size=(3, 5)),
    )
    module = torch.nn.Sequential(
        torch.nn.ReplicationPad2d(1),
        torch.nn.Upsample(scale_factor=0.5, mode="bilinear"),
        torch.nn.PixelShuffle(2),
        torch.nn.Upsample(size=(3, 5)),
    )
    for height, width in ((4, 6), (7, 9)):
        x = drawn(2, 4, height, width)
        np.testing.assert_allclose(made.predict(x), module(torch.tensor(x)).numpy(), rtol=1e-5, atol=1e-6)


WRONG: list[tuple[Callable[[], Any], type[PortableNNError], str]] = [
    (lambda: pnn.Upsample(), UsageError, "Upsample: it needs either size or scale_factor, and only one of them"),
    (
        lambda: pnn.Upsample(size=4, scale_factor=2), UsageError,
        "Upsample: it needs either size or scale_factor, and only one of them",
    ),
    (
        lambda: pnn.Upsample(size=4, mode="area"), UsageError,
        "Upsample: mode must be one of nearest, nearest-exact, linear, bilinear, trilinear, bicubic, not 'area'",
    ),
    (
        lambda: pnn.Upsample(size=4, align_corners=True), UsageError,
        "Upsample: align_corners goes with the modes that interpolate, not with nearest",
    ),
    (lambda: pnn.Upsample(size=0), UsageError, "Upsample: size must be positive whole numbers, not 0"),
    (lambda: pnn.Upsample(size=()), UsageError, "Upsample: size must be positive whole numbers, not ()"),
    (lambda: pnn.Upsample(size=(4, 2.5)), UsageError, "Upsample: size must be positive whole numbers, not (4, 2.5)"),  # type: ignore[arg-type]
    (lambda: pnn.Upsample(scale_factor=-1), UsageError, "Upsample: scale_factor must be positive numbers, not -1"),
    (lambda: pnn.Upsample(scale_factor="2"), UsageError, "Upsample: scale_factor must be positive numbers, not '2'"),  # type: ignore[arg-type]
    (
        lambda: pnn.Upsample(scale_factor=[2, float("inf")]), UsageError,
        "Upsample: scale_factor must be positive numbers, not [2, inf]",
    ),
    (
        lambda: pnn.Upsample(size=4, mode="bilinear", name="up")(pnn.Input(3, 5)), GraphError,
        "'up' (Upsample): mode bilinear needs (batch, channels, a size, a size), not (batch, 3, 5)",
    ),
    (
        lambda: pnn.Upsample(size=4)(pnn.Input(3)), GraphError,
        "'upsample' (Upsample): mode nearest needs (batch, channels, …), not (batch, 3)",
    ),
    (
        lambda: pnn.Upsample(size=(4, 4))(pnn.Input(3, 5)), GraphError,
        "'upsample' (Upsample): 2 numbers do not go with the 1 axes behind channels",
    ),
    (lambda: pnn.PixelShuffle(0), UsageError, "PixelShuffle: factor must be a whole number from 1, not 0"),
    (lambda: pnn.PixelUnshuffle(1.5), UsageError, "PixelUnshuffle: factor must be a whole number from 1, not 1.5"),  # type: ignore[arg-type]
    (
        lambda: pnn.PixelUnshuffle(2)(pnn.Input(3, 4)), GraphError,
        "'pixel_unshuffle' (PixelUnshuffle): it needs (batch, channels, height, width) with known channels, "
        "not (batch, 3, 4)",
    ),
    (
        lambda: pnn.Pad(1, "symmetric"), UsageError,
        "Pad: mode must be one of constant, reflect, replicate, circular, not 'symmetric'",
    ),
    (lambda: pnn.Pad(1, "reflect", 2.0), UsageError, "Pad: value goes with mode constant, not with reflect"),
    (lambda: pnn.Pad(1, value="0"), UsageError, "Pad: value must be a number other than NaN, not '0'"),  # type: ignore[arg-type]
    *(
        (
            lambda padding=padding: pnn.Pad(padding), UsageError,
            "Pad: padding must be a whole number, an even number of them (left, right, top, bottom, …), or a pair "
            f"(begin, end) for each axis, not {padding!r}",
        )
        for padding in (1.5, True, (), (1, 2, 3), [(1, 2), 3], [(1, 2, 3)], [(1, 2.0)], "12")
    ),
    (
        lambda: pnn.Pad(1)(pnn.Input(3)), GraphError,
        "'pad' (Pad): it needs (batch, channels, …), not (batch, 3)",
    ),
    (
        lambda: pnn.Pad((1, 1, 1, 1), name="p")(pnn.Input(3, 5)), GraphError,
        "'p' (Pad): it needs (batch, channels, 2 axes), not (batch, 3, 5)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments(make: Callable[[], Any], error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda name: pnn.Pad(0, name=name),
        lambda name: pnn.Upsample(size=4, name=name),
        lambda name: pnn.PixelUnshuffle(1, name=name),
    ],
)
def test_a_named_layer_can_be_called_twice(make: Callable[[str], Any]) -> None:
    x, layer = pnn.Input(2, 4, 4), make("l")
    graph = pnn.Network(x, layer(layer(x))).graph
    assert [node.name for node in graph.nodes if node.name.startswith("l")] == ["l", "l_2"]
