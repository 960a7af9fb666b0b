"""Models as users of JAX write them, here and back: outputs, gradients and five steps in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError

jax: Any = pytest.importorskip("jax")
jnp, lax = jax.numpy, jax.lax

from jax_by_hand import CASES, made  # noqa: E402
from jax_slopes import compare, here, there  # noqa: E402

from portable_nn.converters.jax import from_jax, to_jax  # noqa: E402
from portable_nn.operators import Leaf, emit  # noqa: E402

EXACT: Any = {"atol": 1e-9, "rtol": 1e-9}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield
    jax.clear_caches()


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_it_computes_and_trains_the_same_here_and_back(name: str) -> None:
    model, variables, run = made(CASES[name])
    inputs = CASES[name].inputs
    net, _, notes = from_jax(model, variables, inputs, prove_training=True, training="evaluation", **EXACT)
    assert all("its derivative" in note for note in notes)
    wanted = jax.tree.leaves(run(variables, *inputs))
    found = net.compute("numpy", dict(zip((value.name for value in net.graph.inputs), inputs, strict=True)))
    for (output, array), other in zip(found.items(), wanted, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_allclose(array, other, rtol=1e-9, atol=1e-9, err_msg=output)
    params = variables if variables is None or "params" not in variables else variables["params"]
    if params is not None and name != "Lifted":  # Its stacked kernels are laid out otherwise in the tree of to_jax.

        def applied(params: Any) -> Any:
            given = {**variables, "params": params} if "params" in variables else params
            return dict(zip(found, jax.tree.leaves(run(given, *inputs)), strict=True))

        compare(net, list(inputs), params, applied, 1e-8)
    to_jax(net, prove_training=True, **EXACT)


KINKS = {
    "Abs": {}, "Relu": {}, "LeakyRelu": {"alpha": 0.1}, "Elu": {"alpha": 2.0}, "Selu": {}, "HardSwish": {},
    "HardSigmoid": {"alpha": 1 / 6}, "ThresholdedRelu": {}, "Shrink": {"lambd": 0.25, "bias": 0.25}, "Sign": {},
    "Softsign": {}, "LpNormalization": {"p": 1}, "ReduceL1": {},
}  # fmt: skip


@pytest.mark.parametrize("operator", KINKS)
def test_slopes_where_a_function_bends_are_those_of_the_kernels(operator: str) -> None:
    points = np.array([[-3, -1, -0.25, 0, 0.25, 0.5, 1, 3]])
    weight = Leaf("weight", "float64", points.shape, parameter=True, trainable=True, initial=points)
    x = Leaf("x", "float64", ("batch", points.shape[1]))
    y = emit(operator, emit("Add", x, weight), **KINKS[operator])
    y.name = "y"
    net = pnn.Network(inputs=[x], outputs=[y])
    variables, apply, *_ = to_jax(net, verify=False)
    zeros = np.zeros_like(points)
    seeds = {"y": np.ones_like(net.compute("numpy", {"x": zeros})["y"])}
    theirs = there(net, variables["params"], lambda params: apply({**variables, "params": params}, zeros), seeds)
    np.testing.assert_allclose(here(net, [zeros], seeds)["weight"], theirs["weight"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            lambda p, x: jnp.abs(jnp.fft.rfft(x)),
            "fft .*no graph has complex numbers: multiply by matrices of the cosines",
        ),
        (lambda p, x: x + jax.random.normal(jax.random.key(0), (3,)), "random_bits .*deterministic=True"),
        (lambda p, x: lax.cummax(x, 0), "cummax along an axis of an open size"),
        (lambda p, x: jnp.lexsort((x, x), axis=1), "sort by several keys"),
        (
            lambda p, x: lax.while_loop(lambda s: s.sum() > 1, lambda s: s / 2, jnp.fft.fft(x).real),
            "(?s)fft.*while: how",
        ),
    ],
)
def test_what_is_refused_says_what_to_do(model: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_jax(model, {}, np.ones((2, 3)))


@pytest.mark.long
def test_constants_may_be_nan_where_a_condition_chooses_them() -> None:
    def model(params: Any, x: Any) -> Any:
        y = x @ params
        return jnp.where(jnp.isnan(y), jnp.nan, jnp.where(y > 100, jnp.inf, y))

    x, params = np.random.default_rng(0).standard_normal((4, 3)), np.eye(3)
    net = from_jax(model, params, x, prove_training=True, **EXACT).network
    to_jax(net, prove_training=True, **EXACT)
    np.testing.assert_array_equal(net.predict(x * 1000), model(params, x * 1000))
