"""Products in tiles against einsum in float64, for shapes around every limit, and what OpenBLAS is given."""

from itertools import product as combinations
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from portable_nn.engines.plan import Plan
from portable_nn.operators import Array, Leaf, Step, emit, trace
from portable_nn.operators.linear import matrices, products
from portable_nn.operators.linear.blas import accumulate
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


DENSE = [
    (16, 784, 200),
    (60, 256, 256),
    (100, 300, 40),
    (17, 300, 301),
    (1, 1024, 1000),
    (2, 30_000, 40),
    (700, 70, 80),
]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", DENSE)
def test_small_products_stay_on_one_thread(core: str | None, shape: tuple[int, int, int], transposed: bool) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)
    leaves = [Leaf("x", "float32", x.shape), Leaf("w", "float32", w.shape if transposed else w.T.shape)]
    plan = Plan(trace(leaves, [emit("Gemm", *leaves, transB=int(transposed))]).graph, {}, {})
    plan.inputs["x"][...], plan.inputs["w"][...] = x, w if transposed else w.T
    plan.run()
    [out] = plan.outputs.values()
    bound = np.abs(x).astype(np.float64) @ np.abs(w.T)
    assert (np.abs(out - x.astype(np.float64) @ w.T) <= bound * 4e-7 * max(4, k**0.5)).all()
    assert plan.is_on_one_thread == (core is not None)


@pytest.mark.parametrize("shape", [(784, 16, 200), (200, 60, 257), (3000, 2, 300), (40, 100, 300)])
def test_small_steps_of_descent_stay_on_one_thread(
    core: str | None, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b, w = (rng.standard_normal(size, np.float32) for size in ((k, m), (k, n), (m, n)))
    leaves = [Leaf(name, "float32", array.shape) for name, array in (("a", a), ("b", b))]
    weight = Leaf("w", "float32", w.shape, parameter=True)
    sizes = []

    def counted(a: Array, b: Array, *others: Any) -> Step | None:
        sizes.append(a.size * b.shape[1])
        return accumulate(a, b, *others)

    monkeypatch.setattr(matrices, "accumulate", counted)
    traced = trace(leaves, [emit("Gemm", *leaves, weight, transA=1, alpha=-0.1)])
    weights = {"w": w.copy()}
    plan = Plan(traced.graph, {}, weights, outputs=[], updates={"w": traced.graph.outputs[0]})
    plan.inputs["a"][...], plan.inputs["b"][...] = a, b
    plan.run()
    np.testing.assert_allclose(weights["w"], w - 0.1 * (a.T.astype(np.float64) @ b), rtol=1e-5, atol=1e-5)
    if core is not None:
        assert max(sizes) <= (UNPACKED if core == "SkylakeX" else ON_ONE_THREAD)
