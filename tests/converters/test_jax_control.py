"""Control flow of JAX as nodes: conditions choose among what all branches compute, loops are written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.core.errors import UsageError

jax: Any = pytest.importorskip("jax")
jnp, lax = jax.numpy, jax.lax

from portable_nn.converters.jax import from_jax, to_jax  # noqa: E402

PARAMS = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32) / 2
X = np.ones((2, 3), np.float32)


def either(params: Any, x: Any) -> Any:
    """One branch for all examples."""
    return lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: jnp.tanh(y @ params), x)


def each(params: Any, x: Any) -> Any:
    """A branch for each example."""
    return jax.vmap(lambda row: lax.cond(row[0] > 0, lambda y: y * 2, lambda y: jnp.tanh(y @ params), row))(x)


def several(params: Any, x: Any) -> Any:
    """Of four; numbers beyond them mean the first and the last."""
    number = jnp.floor(x.sum() * 2).astype(int)
    return lax.switch(number, [lambda y: y, lambda y: y @ params, lambda y: y * 3, lambda y: -y], x)


def two_results(params: Any, x: Any) -> Any:
    """Values in other layouts, of which some are constants."""
    a, b = lax.cond(x.sum() > 0, lambda y: (y.T, jnp.zeros(3)), lambda y: (jnp.ones_like(y.T), (y @ params).mean(0)), x)
    return a.T + b


def known(params: Any, x: Any) -> Any:
    """What is chosen before anything runs, of which the other branch could not be converted."""
    return lax.cond(jnp.float32(3) > 2, lambda y: y @ params, lambda y: lax.cumsum(y, 1), x)


def counted(params: Any, x: Any) -> Any:
    """A loop over a number of steps."""
    return lax.fori_loop(0, 4, lambda i, y: jnp.tanh(y @ params) + i, x)


@pytest.mark.long
@pytest.mark.parametrize("function", [known, either, each, several, two_results, counted])
def test_it_computes_and_trains_as_in_jax(function: Any) -> None:
    found = from_jax(function, PARAMS, X, prove_training=True)
    assert found.notes == ()
    rng = np.random.default_rng(1)
    for size in (1, 2, 5):
        for scale in (0.1, 1, 3):
            x = (scale * rng.standard_normal((size, 3))).astype(np.float32)
            np.testing.assert_allclose(found.network.predict(x), function(PARAMS, x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_loop_whose_number_of_steps_is_known_is_written_out() -> None:
    def loop(params: Any, x: Any) -> Any:
        return lax.while_loop(lambda s: s[0] < 9, lambda s: (s[0] + 2, jnp.tanh(s[1] @ params)), (0, x))[1]

    found = from_jax(loop, PARAMS, X)
    assert sum(node.operator == "Tanh" for node in found.network.graph.nodes) == 5
    np.testing.assert_allclose(found.network.predict(X), loop(PARAMS, X), rtol=1e-5, atol=1e-6)
    variables, apply, *_ = to_jax(found.network, prove_training=True)
    np.testing.assert_allclose(apply(variables, X), loop(PARAMS, X), rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match=r"training cannot be compared, as JAX cannot differentiate the model \("):
        from_jax(loop, PARAMS, X, prove_training=True)


def test_loops_that_depend_on_the_data_or_are_long_are_refused() -> None:
    with pytest.raises(UsageError, match=r"while: how many steps it takes depends on the data.*fori_loop"):
        from_jax(lambda p, x: lax.while_loop(lambda s: jnp.abs(s).sum() > 1, lambda s: s / 2, x @ p), PARAMS, X)
    with pytest.raises(UsageError, match="while: it takes more than 512 steps"):
        from_jax(
            lambda p, x: lax.while_loop(lambda s: s[0] < 999, lambda s: (s[0] + 1, s[1] @ p), (0, x))[1], PARAMS, X
        )


def test_primitives_in_branches_that_have_no_counterpart_are_listed() -> None:
    def lost(params: Any, x: Any) -> Any:
        return lax.cond(x.sum() > 0, lambda y: y @ params, lambda y: y @ jnp.linalg.inv(params), x)

    with pytest.raises(UsageError, match="no counterpart in a graph"):
        from_jax(lost, PARAMS, X)


def test_a_pool_may_step_along_an_axis_on_which_its_window_has_one_cell() -> None:
    def pool(params: Any, x: Any) -> Any:
        return lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 1), (1, 1, 1, 2), ((0, 0), (0, 0), (1, 1), (0, 0))) * params

    x = np.random.default_rng(3).standard_normal((2, 3, 6, 5)).astype(np.float32)
    found = from_jax(pool, np.float32(2), x)
    np.testing.assert_allclose(found.network.predict(x), pool(np.float32(2), x), rtol=1e-5, atol=1e-6)
