"""First weights: their published variances, and what else they may be given as."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import PortableNNError, ShapeError, UsageError
from portable_nn.layers.initializers import INITIALIZERS, fans, initial_values

OUT, IN = 300, 700
SHAPES = [((OUT, IN), IN, OUT), ((OUT, 70, 5, 2), IN, OUT * 10)]
VARIANCES = {
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "lecun": lambda fan_in, fan_out: 1 / fan_in,
    "book": lambda fan_in, fan_out: fan_in**-0.5 * fan_in**-0.5,
}


def test_every_initializer_is_tested_here() -> None:
    tested = {f"{name}_{shape}" for name in ("glorot", "he", "lecun") for shape in ("normal", "uniform")}
    assert set(INITIALIZERS) == tested | {"book", "zeros", "ones"}


@pytest.mark.parametrize(("shape", "fan_in", "fan_out"), SHAPES)
@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros", "ones"}))
def test_published_variance(name: str, shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    """Of 210,000 numbers the mean is within 4 standard errors, the variance within 2 %, the tails as they should be."""
    values = initial_values(name, np.random.default_rng(1), shape, "float64", "w")
    variance = VARIANCES[name.split("_")[0]](fan_in, fan_out)
    assert abs(values.mean()) < 4 * math.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=0.02)
    beyond = np.mean(np.abs(values) > math.sqrt(3 * variance))
    if name.endswith("uniform"):
        assert beyond == 0
        assert np.abs(values).max() == pytest.approx(math.sqrt(3 * variance), rel=1e-3)
    else:
        assert beyond == pytest.approx(math.erfc(math.sqrt(1.5)), abs=0.003)


def test_fans_as_torch_counts_them() -> None:
    torch = pytest.importorskip("torch")
    for shape in [(4, 3), (4, 3, 5), (8, 2, 3, 3), (16, 1, 5, 5), (4, 3, 2, 3, 4)]:
        assert fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    assert fans((7,)) == (7, 7)
    assert fans(()) == (1, 1)


@pytest.mark.parametrize("shape", [(64, 300), (128, 16, 5), (64, 32, 3, 3), (512, 1, 7, 7), (16, 24, 3, 3, 3)])
@pytest.mark.parametrize("name", ["glorot", "he", "lecun"])
def test_weights_of_layers_and_kernels_spread_as_torchs_do(name: str, shape: tuple[int, ...]) -> None:
    """PyTorch documents ±gain·√(6 / (fan_in + fan_out)), ±gain·√(3 / fan_in) and, for normals, that divided by √3."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    draw = {
        "glorot_uniform": torch.nn.init.xavier_uniform_,
        "glorot_normal": torch.nn.init.xavier_normal_,
        "he_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu"),
        "he_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu"),
        "lecun_uniform": lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="linear"),
        "lecun_normal": lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="linear"),
    }
    for kind, measure in (("uniform", lambda w: np.abs(w).max()), ("normal", np.std)):
        theirs = draw[f"{name}_{kind}"](torch.empty(shape)).numpy()
        ours = initial_values(f"{name}_{kind}", np.random.default_rng(0), shape, "float32", "w")
        assert measure(ours) == pytest.approx(measure(theirs), rel=0.03)


def test_constants() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(initial_values("zeros", rng, (2, 3), "float32", "w"), np.zeros((2, 3)))
    np.testing.assert_array_equal(initial_values("ones", rng, (2, 3), "float32", "w"), np.ones((2, 3)))
    np.testing.assert_array_equal(initial_values(0.25, rng, (2, 3), "float32", "w"), np.full((2, 3), 0.25))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_are_copied(dtype: str) -> None:
    given = np.arange(6.0).reshape(3, 2).T
    network = pnn.Sequential(pnn.Input(3, dtype=dtype), pnn.Dense(2, weight_initial=given, bias_initial=[1.0, 2.0]))  # type: ignore[arg-type]
    weight = network.parameters["dense_1.weight"]
    np.testing.assert_array_equal(weight, given)
    np.testing.assert_array_equal(network.parameters["dense_1.bias"], [1, 2])
    assert weight.dtype == dtype
    assert weight.flags.c_contiguous
    weight[...] = -1
    assert given.max() == 5
    given[...] = 7
    assert weight.max() == -1


def test_functions_get_the_generator_of_the_network() -> None:
    def initial(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        return rng.integers(0, 100, shape)

    def weights(seed: int) -> Any:
        return pnn.Sequential(pnn.Input(3), pnn.Dense(2, weight_initial=initial), seed=seed).parameters[
            "dense_1.weight"
        ]

    np.testing.assert_array_equal(weights(5), np.random.default_rng(5).integers(0, 100, (2, 3)))
    assert (weights(5) != weights(6)).any()


def test_weights_are_drawn_in_the_order_of_the_layers() -> None:
    network = pnn.Sequential(
        pnn.Input(4, dtype="float64"),
        pnn.Dense(3, weight_initial="he_normal"),
        pnn.Dense(2, weight_initial="book"),
        seed=9,
    )
    rng = np.random.default_rng(9)
    np.testing.assert_allclose(network.parameters["dense_1.weight"], rng.normal(0, math.sqrt(2 / 4), (3, 4)))
    np.testing.assert_allclose(network.parameters["dense_2.weight"], rng.normal(0, 3**-0.5, (2, 3)))


@pytest.mark.parametrize(
    ("initial", "error", "message"),
    [
        (
            "xavier",
            UsageError,
            "dense_1.weight: initializer must be one of glorot_normal, glorot_uniform, he_normal, he_uniform, "
            "lecun_normal, lecun_uniform, book, zeros, ones, not 'xavier'",
        ),
        (np.zeros((3, 2)), ShapeError, "dense_1.weight: initial values have shape (3, 2), not (2, 3)"),
        (np.zeros(3), ShapeError, "dense_1.weight: initial values have shape (3,), not (2, 3)"),
        (lambda rng, shape: np.zeros(1), ShapeError, "dense_1.weight: initial values have shape (1,), not (2, 3)"),
    ],
)
def test_errors(initial: Any, error: type[PortableNNError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        pnn.Sequential(pnn.Input(3), pnn.Dense(2, weight_initial=initial))
