"""bucketize, searchsorted, scatter_reduce and logcumsumexp of PyTorch, on drawn numbers with ties and NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_functions import Of, torch

from portable_nn.converters.torch import from_torch
from portable_nn.core.errors import PortableNNError


def _same(function: Callable[..., Any], *draws: tuple[Any, ...], rtol: float = 1e-5) -> None:
    """The network that is made on the first arguments gives what PyTorch gives, for all of them."""
    module = Of(lambda _, *given: function(*given)).eval()
    network = from_torch(module, draws[0], verify=False)
    for given in draws:
        names = [value.name for value in network.graph.inputs]
        [mine] = network.compute("numpy", {n: each.numpy() for n, each in zip(names, given, strict=True)}).values()
        theirs = function(*given).numpy()
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_places_in_sorted_sequences(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    right, narrow, rows = bool(seed % 2), bool(seed // 2 % 2), seed // 4 % 2
    options = {"right": right, "out_int32": narrow}

    def draw() -> tuple[Any, Any]:
        bounds = torch.sort(torch.randint(0, 5, (2, 6) if rows else (6,), generator=rng).float(), -1)[0]
        values = torch.randint(-1, 6, (2, 4), generator=rng).float()
        values[0, seed % 4] = float("nan")
        return bounds, values

    draws = [draw() for _ in range(4)]
    bounds = draws[0][0]
    if rows:
        _same(lambda bounds, values: torch.searchsorted(bounds, values, **options), *draws)
    else:
        _same(lambda values: torch.searchsorted(bounds, values, **options), *[(values,) for _, values in draws])
        _same(lambda values: torch.bucketize(values, bounds, **options), *[(values,) for _, values in draws])
        order = torch.randperm(6, generator=rng)
        mixed = torch.empty(6).scatter(0, order, bounds)
        side = "right" if right else "left"
        _same(lambda values: torch.searchsorted(mixed, values, side=side, sorter=order), *[(v,) for _, v in draws])


def test_no_bounds_and_no_values() -> None:
    values = torch.tensor([[1.0, float("nan")]])
    _same(lambda x: torch.bucketize(x, torch.zeros(0)), (values,))
    _same(lambda x: torch.bucketize(x[:, :0], torch.arange(3.0)), (values,))


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scattered_and_reduced(reduce: str, include_self: bool) -> None:
    rng = torch.Generator().manual_seed(3)
    options = {"reduce": reduce, "include_self": include_self}

    def draw(*shape: int) -> tuple[Any, Any, Any]:
        index = torch.randint(0, 3, (shape[0], 2, *shape[2:]), generator=rng)  # Fewer than the source, with ties.
        return torch.randn(shape, generator=rng), index, torch.randn(shape, generator=rng)

    for dim in (1, -1):
        _same(lambda x, i, y, dim=dim: x.scatter_reduce(dim, i, y, **options), *[draw(2, 4, 3) for _ in range(3)])
    whole = torch.randint(-9, 9, (2, 4), generator=rng)
    index = torch.tensor([[0, 0, 3], [1, 1, 1]])
    module = Of(lambda _, x, i: x.scatter_reduce(1, i, x, **options)).eval()
    if reduce == "mean":
        with pytest.raises(PortableNNError, match="scatter_reduce with reduce='mean' of int64"):
            from_torch(module, (whole, index), verify=False)
    else:
        _same(lambda x, i: x.scatter_reduce(1, i, x, **options), (whole, index))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_logarithms_of_sums_do_not_overflow(dim: int) -> None:
    rng = torch.Generator().manual_seed(dim)
    draws = [(torch.randn((3, 5), generator=rng) * scale,) for scale in (1, 300, 1e30)]
    draws[1][0][0, 1], draws[1][0][2, 3], draws[0][0][1, 1] = float("-inf"), float("inf"), float("nan")
    _same(lambda x: torch.logcumsumexp(x, dim), *draws)
    _same(lambda x: torch.logcumsumexp(x[:, 0], 0), *draws)


def test_the_gradient_of_logarithms_of_sums() -> None:
    x = torch.tensor([[-200.0, 3, 300, 2]], dtype=torch.float64)
    module = Of(
        lambda self, x: torch.logcumsumexp(self.weight * x, 1), weight=torch.nn.Parameter(torch.ones(4).double())
    )
    network = from_torch(module.eval(), (x,), prove_training=True)
    np.testing.assert_allclose(network.predict(x.numpy()), module(x).detach().numpy())
