"""Depthwise and pointwise convolutions of few examples against PyTorch in float64, one after another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit, memory_order, trace
from portable_nn.operators.registry import Array

torch = pytest.importorskip("torch")


class Depthwise(NamedTuple):
    """Input (batch, channels, …), and the options along each axis."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    multiplier: int = 1

    @property
    def filters(self) -> int:
        return self.shape[1] * self.multiplier


CASES = [
    Depthwise((1, 96, 14, 14), (5, 5), (1, 1), (1, 1), (2, 2, 2, 2)),
    Depthwise((1, 600, 7, 7), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    Depthwise((1, 16, 30, 31), (3, 3), (2, 2), (1, 1), (0, 0, 1, 1)),
    Depthwise((2, 8, 13, 17), (5, 4), (3, 2), (1, 3), (2, 5, 0, 4), 3),
    Depthwise((1, 4, 9, 40), (2, 7), (1, 4), (2, 6), (0, 3, 1, 0), 2),
    Depthwise((3, 5, 6, 11), (1, 3), (2, 5), (1, 1), (0, 0, 0, 9)),
    Depthwise((1, 3, 8, 8), (8, 8), (1, 1), (1, 1), (0, 0, 0, 0), 5),
    Depthwise((7, 2, 5, 8), (3, 2), (1, 6), (1, 4), (1, 2, 1, 2)),
    Depthwise((1, 700, 12), (3,), (2,), (1,), (1, 1)),
    Depthwise((2, 6, 25), (4,), (3,), (2,), (0, 5), 2),
    Depthwise((1, 6, 5, 6, 7), (3, 2, 3), (1, 2, 2), (1, 1, 2), (1, 0, 2, 1, 1, 1), 2),
]


def run(case: Depthwise, dtype: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """A depthwise convolution, a pointwise one, and the first once more: the arrays and the outputs."""
    rng, rank = np.random.default_rng(1), len(case.kernel)
    arrays = {
        "x": rng.standard_normal(case.shape),
        "w": rng.standard_normal((case.filters, 1, *case.kernel)),
        "b": rng.standard_normal(case.filters),
        "mix": rng.standard_normal((case.shape[1], case.filters, *[1] * rank)),
        "c": rng.standard_normal(case.shape[1]),
    }
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    x, w, b, mix, c = (Leaf(name, dtype, array.shape) for name, array in arrays.items())
    options = {"strides": case.strides, "dilations": case.dilations, "pads": case.pads, "group": case.shape[1]}
    first = emit("Conv", x, w, b, **options)
    mixed = emit("Conv", emit("Relu", first), mix, c)
    found = {"first": first, "mixed": mixed}
    if all(size + before + after > (k - 1) * d for size, k, d, before, after in _sizes(case, mixed.shape)):
        found["again"] = emit("Conv", mixed, w, b, **options)
    plan = Plan(trace([x, w, b, mix, c], list(found.values())).graph, {}, {})
    for name, array in arrays.items():
        plan.inputs[name][...] = array
    plan.run()
    plan.run()  # What the first run leaves behind in memory of its own must not show.
    return arrays, dict(zip(found, plan.outputs.values(), strict=True))


def _sizes(case: Depthwise, shape: Any) -> Any:
    rank = len(case.kernel)
    return zip(shape[2:], case.kernel, case.dilations, case.pads[:rank], case.pads[rank:], strict=True)


def theirs(case: Depthwise, arrays: dict[str, Array]) -> dict[str, Array]:
    x, w, b, mix, c = (torch.from_numpy(array).double() for array in arrays.values())
    rank = len(case.kernel)
    around = [pad for axis in reversed(range(rank)) for pad in (case.pads[axis], case.pads[axis + rank])]
    conv = getattr(torch.nn.functional, f"conv{rank}d")

    def depthwise(x: Any) -> Any:
        padded = torch.nn.functional.pad(x, around)
        return conv(padded, w, b, stride=case.strides, dilation=case.dilations, groups=case.shape[1])

    first = depthwise(x)
    mixed = conv(torch.relu(first), mix, c)
    found = {"first": first, "mixed": mixed}
    if all(size + before + after > (k - 1) * d for size, k, d, before, after in _sizes(case, mixed.shape)):
        found["again"] = depthwise(mixed)
    return {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_with_the_channels_innermost(case: Depthwise, dtype: str) -> None:
    arrays, ours = run(case, dtype)
    for name, wanted in theirs(case, arrays).items():
        assert ours[name].shape == wanted.shape
        assert np.abs(ours[name] - wanted).max() <= 200 * np.finfo(dtype).eps * max(1, np.abs(wanted).max())
    innermost = {name for name, array in ours.items() if memory_order(array)[-1] == 1}
    assert "first" in innermost  # Not the other kernel, which has the batch or the columns there.


def test_windows_over_channels_that_lie_innermost_see_their_neighbours() -> None:
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(shape) for shape in ((1, 96, 9, 8), (96, 1, 3, 3), (5, 96, 3, 2))]
    x, w, wide = (Leaf(name, "float64", array.shape) for name, array in zip("xwv", arrays, strict=True))
    first = emit("Conv", x, w, pads=[1, 1, 1, 1], group=96)
    plan = Plan(trace([x, w, wide], [first, emit("Conv", first, wide)]).graph, {}, {})
    for name, array in zip("xwv", arrays, strict=True):
        plan.inputs[name][...] = array
    plan.run()
    before, found = plan.outputs.values()
    conv, (x, w, wide) = torch.nn.functional.conv2d, map(torch.from_numpy, arrays)
    np.testing.assert_allclose(found, conv(conv(x, w, padding=1, groups=96), wide).numpy(), atol=1e-10)
    assert memory_order(before)[-1] == 1


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_cell_shows_only_where_a_window_sees_it(value: float) -> None:
    x = np.zeros((1, 6, 9, 9), np.float32)
    x[0, 2, 4, 4] = value
    leaves = [Leaf("x", "float32", x.shape), Leaf("w", "float32", (6, 1, 3, 3))]
    plan = Plan(trace(leaves, [emit("Conv", *leaves, group=6, strides=[2, 2], dilations=[2, 2])]).graph, {}, {})
    plan.inputs["x"][...], plan.inputs["w"][...] = x, 1
    plan.run()
    [found] = plan.outputs.values()
    seen = np.zeros((1, 6, 3, 3), bool)
    seen[0, 2] = True  # Taps 0, 2, 4 of windows at 0, 2, 4: cell 4 is a tap of each.
    np.testing.assert_array_equal(np.isfinite(found), ~seen)
    x[0, 2, 4, 4], x[0, 2, 3, 3] = 0, value  # An odd cell is a tap of none.
    plan.inputs["x"][...] = x
    plan.run()
    assert np.isfinite(found).all()
