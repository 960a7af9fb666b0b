"""Chains of layers: PyTorch runs them and gets the sizes, every cell counts, and where there is none there is none."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes import Operation, chain, conv, convt, torch_text
from portable_nn.sizes.chains import BESIDE

LONGEST = 512
BITS = 6

pairs = st.lists(st.tuples(st.integers(1, LONGEST), st.integers(1, LONGEST)), min_size=1, max_size=3)


def passed(layers: tuple[Operation, ...], sizes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sizes between the layers, as PyTorch's modules give them, which compute nothing."""
    torch = pytest.importorskip("torch")
    found = []
    with torch.device("meta"):
        x = torch.empty(1, 1, *sizes)
        for layer in layers:
            x = eval(torch_text(layer), {"torch": torch})(x)
            found.append(tuple(x.shape[2:]))
    return found


@pytest.mark.long
@given(pairs, st.sampled_from(["conv", "convt"]))
@settings(deadline=None, max_examples=60)
def test_pytorch_gets_from_one_size_to_the_other(ends: list[tuple[int, int]], kind: Any) -> None:
    small, large = zip(*map(sorted, ends), strict=True)
    sizes, outputs = (small, large) if kind == "convt" else (large, small)
    try:
        layers = chain(kind, sizes, outputs)
    except ShapeError:
        return
    steps = [sizes, *passed(layers, sizes)]
    assert steps[-1] == outputs
    for layer, before, after in zip(layers, steps, steps[1:], strict=False):
        assert all(window.kernel <= 7 and window.stride <= 2 for window in layer.windows)
        ups = zip(*((before, after) if kind == "convt" else (after, before)), strict=True)
        assert all(small <= large for small, large in ups)


@given(st.integers(1, 100), st.integers(1, 100), st.sampled_from(["conv", "convt"]))
@settings(deadline=None, max_examples=60)
def test_every_cell_counts(one: int, other: int, kind: Any) -> None:
    """With weights of 1, a cell of the input that is read has a gradient, and a written cell of the output a value."""
    torch = pytest.importorskip("torch")
    small, large = sorted((one, other))
    try:
        layers = chain(kind, *((small, large) if kind == "convt" else (large, small)))
    except ShapeError:
        return
    x = torch.ones(1, 1, small if kind == "convt" else large, dtype=torch.float64, requires_grad=True)
    y = x
    for layer in layers:
        module = eval(torch_text(layer), {"torch": torch})
        module.to(torch.float64)
        torch.nn.init.ones_(module.weight)
        torch.nn.init.zeros_(module.bias)
        y = module(y)
    y.sum().backward()
    assert (y > 0).all()
    assert (x.grad > 0).all()


@pytest.mark.long
def test_there_is_none_where_no_way_leads() -> None:
    """All ways of transposed layers from each size on, by the formula of the output alone."""
    halves = [(4, 2, pad, added) for pad in (0, 1, 2) for added in (0, 1) if added <= pad]
    usual = [*halves, (3, 1, 1, 0), *((kernel, 1, 0, 0) for kernel in range(2, 8))]
    for small in (1, 3, 16, 18):
        ways = [{small}]
        while len(ways) <= BITS + BESIDE:
            steps = ((s * (i - 1) + k - 2 * p + added, i) for i, (k, s, p, added) in product(ways[-1], usual))
            ways.append({size for size, before in steps if before <= size < 2**BITS})
        for large in range(small, 2**BITS):
            most = (large // small).bit_length() - 1 + BESIDE
            there = any(large in way for way in ways[1 : most + 1])
            try:
                assert bool(chain("convt", small, large)) == there
            except ShapeError:
                assert not there


@pytest.mark.parametrize(
    ("kind", "sizes", "outputs", "layers"),
    [
        ("convt", 7, 56, [convt(4, stride=2, padding=1)] * 3),
        ("convt", 4, 64, [convt(4, stride=2, padding=1)] * 4),
        ("convt", 1, 64, [convt(4, stride=2), *[convt(4, stride=2, padding=1)] * 4]),
        ("convt", 7, 64, [convt(4, stride=2), *[convt(4, stride=2, padding=1)] * 2]),
        ("convt", (4, 8), 32, [convt((4, 3), stride=(2, 1), padding=1), *[convt(4, stride=2, padding=1, axes=2)] * 2]),
        ("conv", 64, 4, [conv(4, stride=2, padding=1)] * 4),
        ("conv", 28, 4, [*[conv(4, stride=2, padding=1)] * 2, conv(3, stride=2, padding=1)]),
        ("conv", (224, 160), (7, 5), [conv(4, stride=2, padding=1, axes=2)] * 5),
    ],
)
def test_what_people_build(kind: Any, sizes: Any, outputs: Any, layers: list[Operation]) -> None:
    assert list(chain(kind, sizes, outputs)) == layers


@given(st.data(), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
@settings(deadline=None, max_examples=60)
def test_given_options_are_kept(data: st.DataObject, kernel: int, stride: int, padding: int, dilation: int) -> None:
    """Every layer has them, PyTorch gets the size, and where there is no chain, the formula has no way."""
    small = data.draw(st.integers(1, 12))
    large = data.draw(st.integers(small, 80))
    wanted = {"kernel": [kernel], "stride": [stride], "padding": [(padding, padding)], "dilation": [dilation]}
    sizes = {small}
    for _ in range((large // small).bit_length() - 1 + BESIDE):
        grown = (
            (n - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + added
            for n in sizes
            for added in range(stride)
        )
        sizes |= {size for size in grown if size <= large}
    try:
        layers = chain("convt", small, large, wanted)
    except ShapeError:
        grows = (small - 1) * (stride - 1) + dilation * (kernel - 1) >= 2 * padding
        assert large not in sizes or large == small or not grows
        return
    assert passed(layers, (small,))[-1] == (large,)
    for window in (layer.windows[0] for layer in layers):
        assert (window.kernel, window.stride, window.pads, window.dilation) == (
            kernel,
            stride,
            (padding, padding),
            dilation,
        )


def test_what_is_no_chain() -> None:
    for kind, ends in (("convt", (40, 60)), ("conv", (60, 40)), ("conv", (4, 64)), ("convt", (64, 4))):
        with pytest.raises(ShapeError, match=f"turns {ends[0]} into {ends[1]}: resize"):
            chain(kind, *ends)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not pool"):
        chain("pool", 64, 4)
    with pytest.raises(UsageError, match="as many axes"):
        chain("conv", (64, 64), (4, 4, 4))
