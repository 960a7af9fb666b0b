"""DeformConv against torchvision, and against plain convolutions where nothing is moved; what does not fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from misfits import f
from standard_side import run_plan

from portable_nn.core.errors import GraphError
from portable_nn.operators import Leaf, Symbol, emit, trace
from portable_nn.operators.differentiation import gradients

RNG = np.random.default_rng(2)


@pytest.mark.parametrize(
    "options", [{}, {"strides": (2, 1), "pads": (1, 2, 1, 2)}, {"dilations": (1, 2), "pads": (0, 3, 0, 3)}], ids=str
)
def test_windows_that_are_moved_see_what_they_see_in_torchvision(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    deform_conv2d = pytest.importorskip("torchvision").ops.deform_conv2d
    named = {
        "stride": options.get("strides", 1),
        "padding": options.get("pads", (0, 0))[:2],
        "dilation": options.get("dilations", 1),
    }
    x, w, b = RNG.normal(size=(2, 4, 5, 6)), RNG.normal(size=(6, 2, 3, 2)), RNG.normal(size=6)
    places = torch.nn.functional.conv2d(torch.tensor(x), torch.zeros(1, 4, 3, 2, dtype=torch.double), **named).shape[2:]
    offset, mask = RNG.normal(size=(2, 24, *places)) * 2, RNG.uniform(size=(2, 12, *places))
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, w, offset, b, mask)]
    data, weight, moved, bias, weights = tensors
    wanted = deform_conv2d(data, moved, weight, bias, mask=weights, **named)
    wanted.sum().backward()
    leaves = [Leaf(f"x{place}", "float64", tuple(tensor.shape)) for place, tensor in enumerate(tensors)]
    found = emit("DeformConv", *leaves, group=2, offset_group=2, **options)
    seed = Leaf("seed", "float64", found.shape)
    back = [symbol for symbol in gradients([found], [seed], leaves) if symbol is not None]
    feeds = {str(leaf.name): tensor.detach().numpy() for leaf, tensor in zip(leaves, tensors, strict=True)}
    feeds["seed"] = np.ones(wanted.shape)
    ours = run_plan(trace([*leaves, seed], [found, *back]).graph, feeds)
    for mine, theirs in zip(ours, [wanted, *(tensor.grad for tensor in tensors)], strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=1e-12)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [(7,), (4, 5), (3, 4, 3)], ids=len)
def test_windows_that_are_not_moved_see_what_a_convolution_sees(size: tuple[int, ...]) -> None:
    rank = len(size)
    x, w = Leaf("x", "float32", (2, 2, *size)), Leaf("w", "float32", (3, 2, *(2,) * rank))
    places = tuple(length - 1 for length in size)
    offset = Leaf("o", "float32", (2, 2**rank * rank, *places))
    graph = trace([x, w, offset], [emit("DeformConv", x, w, offset), emit("Conv", x, w)]).graph
    feeds = {leaf.name: RNG.normal(size=leaf.shape).astype(np.float32) for leaf in (x, w)}  # type: ignore[arg-type]
    deformed, plain = run_plan(graph, {**feeds, "o": np.zeros(offset.shape, np.float32)})  # type: ignore[dict-item, arg-type]
    np.testing.assert_allclose(deformed, plain, rtol=1e-5, atol=1e-5)


X, W, OFFSET = f(1, 4, 5, 5), f(2, 2, 3, 3), f(1, 18, 3, 3)
Row = tuple[Sequence[Symbol | None], Mapping[str, Any], str]
ROWS: list[Row] = [
    ([f(1, 4), W, OFFSET], {}, "X must be (batch, channels, size, …), not (1, 4)"),
    ([X, f(2, 4, 3), OFFSET], {}, "W must be (filters, channels, size, size), not (2, 4, 3)"),
    ([X, f(2, 4, 3, 3), OFFSET], {"kernel_shape": (2, 3)}, "W must be (filters, channels, 2, 3), not (2, 4, 3, 3)"),
    (
        [X, W, OFFSET],
        {},
        "4 channels do not fit 2 filters of 2 channels in groups: 1, with groups of offsets: 1",
    ),
    ([X, W, f(1, 9, 3, 3)], {"group": 2}, "offset must be float32 (1, 18, 3, 3), not float32 (1, 9, 3, 3)"),
    ([X, W, f(1, 18, 9)], {"group": 2}, "offset must have 2 spatial axes, not (1, 18, 9)"),
    ([X, W, OFFSET, f(3)], {"group": 2}, "B must be float32 (2,), not float32 (3,)"),
    ([X, W, OFFSET, None, f(1, 8, 3, 3)], {"group": 2}, "mask must be float32 (1, 9, 3, 3), not float32 (1, 8, 3, 3)"),
    ([X, f(2, "n", 3, 3), OFFSET], {}, "the sizes (2, n, 3, 3) of input 'W' must be known"),
    ([f(1, 4, 2, 5), W, OFFSET], {"group": 2}, "along axis 2: "),
]


@pytest.mark.parametrize(("inputs", "attributes", "message"), ROWS)
def test_invalid_nodes_raise_an_error(
    inputs: Sequence[Symbol | None], attributes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(GraphError, match="^" + re.escape(f"'here' (DeformConv): {message}")):
        emit("DeformConv", *inputs, name="here", **attributes)


def test_sizes_that_are_not_known_have_no_gradient_yet() -> None:
    x, offset = f("batch", 1, "height", 4), f("batch", 8, "places", 3)
    y = emit("DeformConv", x, f(1, 1, 2, 2), offset, name="here")
    assert y.shape == ("batch", 1, "places", 3)
    with pytest.raises(GraphError, match=r"the sizes \(height, 4\) of input 'X' must be known$"):
        gradients([y], [y], [x])
