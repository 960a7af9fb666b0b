"""Products in tiles against einsum in float64, for shapes around every limit, and what OpenBLAS is given."""

from itertools import product as combinations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from portable_nn.operators.linear import products
from portable_nn.operators.linear.products import (
    ON_ONE_THREAD,
    SMALL,
    UNPACKED,
    Tile,
    product,
    product_of_transposed,
    tiled,
)


@pytest.fixture(params=["SkylakeX", "Haswell", None])
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Products as they are cut for a processor, or for another BLAS."""
    for cached in (products.tiled, products.has_unpacked_kernels):
        cached.cache_clear()
    monkeypatch.setattr(products, "core_name", lambda: request.param)
    name: str | None = request.param
    return name


SHAPES = [
    *combinations((1, 16, 72, 96), (27, 144, 577), (63, 200, 1100)),
    (16, 144, 2048),
    (64, 576, 448),
    (576, 96, 49),
    (7, 3000, 500),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_are_the_product(core: str | None, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, rows = rng.standard_normal((m, k), np.float32), rng.standard_normal((k + 4, n), np.float32)
    # A stack of three matrices that overlap, as the windows of a convolution do.
    b = as_strided(rows, (3, k, n), (2 * rows.strides[0], *rows.strides))
    out = np.full((3, m, n + 5), np.nan, np.float32)[..., :n]
    for step in product(a[None], b, out):
        step()
    exact = np.einsum("mk,skn->smn", a.astype(np.float64), b.astype(np.float64))
    bound = np.einsum("mk,skn->smn", np.abs(a).astype(np.float64), np.abs(b).astype(np.float64))
    assert (np.abs(out - exact) <= bound * 4e-7 * max(4, k**0.5)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_are_within_the_limits(core: str | None, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        tile = tiled(m, k, n, dtype)
        most = UNPACKED if core == "SkylakeX" and dtype == np.float32 else ON_ONE_THREAD
        if tile is None:
            continue
        assert core is not None
        assert tile.rows * k * tile.columns <= most < m * k * n
        assert m % tile.rows == 0
        assert tile.columns <= n
        assert most == UNPACKED or m * k * n <= SMALL


def test_a_convolution_with_few_filters_is_cut_where_that_saves_packing(
    core: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"SkylakeX": Tile(16, 384), "Haswell": None, None: None}
    assert tiled(16, 144, 2048, np.dtype(np.float32)) == wanted[core]


def test_a_matrix_by_columns_is_left_whole(core: str | None) -> None:
    a = np.ones((64, 300), np.float32)
    b, out = np.ones((600, 300), np.float32).T, np.empty((64, 600), np.float32)
    [step] = product(a, b, out)
    step()
    assert (out == 300).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (3136, 16, 72), (49, 96, 576), (196, 240, 41), (1, 5, 3), (5000, 7, 250)])
def test_products_of_a_transposed_factor(core: str | None, shape: tuple[int, int, int], dtype: str) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((rows, k)).astype(dtype) for rows in (m, n))
    out = np.full((m, n), np.nan, dtype)
    steps = product_of_transposed(a, b, out)
    for step in steps:
        step()
    bound = np.abs(a).astype(np.float64) @ np.abs(b.T)
    assert (np.abs(out - a.astype(np.float64) @ b.T) <= bound * np.finfo(dtype).eps * 4 * max(4, k**0.5)).all()
