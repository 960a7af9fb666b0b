"""What does not learn in a model of JAX does not learn here, nor in the function that is made of the network again.

Functions and modules of flax are drawn with ``stop_gradient`` of values, weights and statistics, straight-through
estimators, constants, layers in inference and layers that are used twice; each is trained for five steps in float64 by
JAX, and here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.core.tensors import Array

jax: Any = pytest.importorskip("jax")
linen: Any = pytest.importorskip("flax.linen")
nnx: Any = pytest.importorskip("flax.nnx")
optax: Any = pytest.importorskip("optax")
jnp, stop = jax.numpy, jax.lax.stop_gradient

from portable_nn.converters.jax import from_jax, to_jax  # noqa: E402

Layer = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _straight_through(f: Layer, x: Any) -> Any:
    y = f(x)
    return y + stop(jnp.round(y * 4) / 4 - y)


def _signs(f: Layer, x: Any) -> Any:
    y = f(x)
    return stop(jnp.sign(y)) + jnp.tanh(y) - stop(jnp.tanh(y))


def _statistics(f: Layer, x: Any) -> Any:
    y = f(x)
    return (y - stop(y.mean(0, keepdims=True))) / (stop(y.std(0, keepdims=True)) + 0.1)


def _moved(f: Layer, x: Any) -> Any:
    y = f(x)
    return jnp.swapaxes(stop(y.reshape(-1, 2, 2)), 1, 2).reshape(y.shape) * y


def _looped(f: Layer, x: Any) -> Any:
    return jax.lax.fori_loop(0, 2, lambda _, h: h + stop(jnp.tanh(h)) * h, f(x))


KINDS: Mapping[str, Callable[[Layer, Any], Any]] = {
    "plain": lambda f, x: f(x),
    "input": lambda f, x: f(stop(x)),
    "output": lambda f, x: stop(f(x)) + x,
    "straight through": _straight_through,
    "signs": _signs,
    "maximum": lambda f, x: jnp.exp(f(x) - stop(f(x).max(1, keepdims=True))),
    "statistics": _statistics,
    "moved": _moved,
    "looped": _looped,
    "softmax": lambda f, x: jax.nn.softmax(f(x)) * stop(x),
    "log softmax": lambda f, x: jax.nn.log_softmax(f(x)) + x,
    "jitted": lambda f, x: jax.jit(lambda y: stop(y) * y)(f(x)),
    "where": lambda f, x: jnp.where(f(x) > 0, f(x), stop(f(x)) * 0.1),
}
ACTS = [jnp.tanh, jax.nn.relu, jax.nn.sigmoid, jnp.sin, lambda x: x]


class Drawn:
    """A model, its variables if it is a function, and what gives the same after a step of training."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.kinds = [draw.choice([*KINDS]) for _ in range(draw.randint(2, 4))]
        self.acts = [draw.choice(ACTS) for _ in self.kinds]
        self.held = [draw.choice(["", "", "weight", "bias"]) for _ in self.kinds]
        self.still = [draw.random() < 0.4 for _ in self.kinds]
        self.twice = draw.random() < 0.4

    def body(self, dense: Callable[[int, Any], Any], head: Layer, x: Any) -> Any:
        h = x
        for place, (kind, act) in enumerate(zip(self.kinds, self.acts, strict=True)):
            h = KINDS[kind](lambda y, place=place, act=act: act(dense(place, y)), h)  # type: ignore[misc]
        return head(dense(0, h) + stop(h) if self.twice else h)


def _function(drawn: Drawn, rng: np.random.Generator) -> tuple[Any, Any]:
    """A function of variables: weights of which a gradient is stopped, and constants."""
    params: dict[str, Any] = {"head": {"w": rng.normal(size=(4, 2)), "b": rng.normal(size=2)}}
    constants = {}
    for place, still in enumerate(drawn.still):
        (constants if still else params)[f"l{place}"] = {"w": rng.normal(size=(4, 4)) / 2, "b": rng.normal(size=4)}

    def model(variables: Any, x: Any) -> Any:
        every = {**variables["params"], **variables.get("constants", {})}

        def dense(place: int, y: Any) -> Any:
            w, b = every[f"l{place}"]["w"], every[f"l{place}"]["b"]
            held = drawn.held[place]
            return y @ (stop(w) if held == "weight" else w) + (stop(b) if held == "bias" else b)

        return drawn.body(dense, lambda y: y @ every["head"]["w"] + every["head"]["b"], x)

    return model, {"params": params, **({"constants": constants} if constants else {})}


class Linen(linen.Module):  # type: ignore[misc]
    drawn: Any

    @linen.compact
    def __call__(self, x: Any) -> Any:
        layers = [linen.Dense(4, param_dtype=jnp.float64, name=f"l{place}") for place in range(len(self.drawn.kinds))]
        head = linen.Dense(2, param_dtype=jnp.float64, name="head")
        return self.drawn.body(lambda place, y: layers[place](y), head, x)


class Nnx(nnx.Module):  # type: ignore[misc]
    """Each layer with a batch norm, some of which are in inference while the others train."""

    def __init__(self, drawn: Drawn, rngs: Any) -> None:
        self.drawn = nnx.static(drawn) if hasattr(nnx, "static") else drawn
        self.layers = nnx.List([nnx.Linear(4, 4, param_dtype=jnp.float64, rngs=rngs) for _ in drawn.kinds])
        self.norms = nnx.List(
            [nnx.BatchNorm(4, momentum=0.9, param_dtype=jnp.float64, rngs=rngs, use_running_average=still)
             for still in [*drawn.still, False]]
        )  # fmt: skip
        self.head = nnx.Linear(4, 2, param_dtype=jnp.float64, rngs=rngs)
        self.places = len(drawn.kinds)

    def __call__(self, x: Any) -> Any:
        h = self.norms[self.places](x)
        for place in range(self.places):
            h = (
                stop(self.norms[place](self.layers[place](h))) * h
                if place % 2
                else self.norms[place](self.layers[place](h))
            )
        return self.head(h)


def theirs(step: Callable[[Any], Any], params: Any, optimizer: str) -> Any:
    """The parameters after five steps; ``step`` gives the gradient."""
    rule = optax.sgd(0.01) if optimizer == "sgd" else optax.adam(0.01)
    state = rule.init(params)
    for _ in range(5):
        updates, state = rule.update(step(params), state)
        params = optax.apply_updates(params, updates)
    return params


def ours(network: pnn.Network, x: Array, y: Array, optimizer: str) -> None:
    steps = pnn.SGD(0.01) if optimizer == "sgd" else pnn.Adam(0.01)
    network.fit(
        x, y, loss="mean_squared_error", optimizer=steps, epochs=5, batch_size=len(x), shuffle=False, progress=False
    )


def named(tree: Any) -> dict[str, Array]:
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {".".join(str(getattr(entry, "key", entry)) for entry in path): np.asarray(leaf) for path, leaf in found}


SEEDS = [pytest.param(seed, marks=pytest.mark.long if seed < 6 else pytest.mark.sweep) for seed in range(100)]


def agree(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert found
    for name, array in found.items():
        assert np.abs(array - wanted[name]).max(initial=0) < 1e-6 * (1 + np.abs(array).max(initial=0)), name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["function", "linen"])
def test_what_is_drawn_learns_alike_both_ways(kind: str, seed: int) -> None:
    rng, optimizer, drawn = np.random.default_rng(seed), ("sgd", "adam")[seed % 2], Drawn(seed)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    if kind == "linen":
        model = Linen(drawn)
        variables = model.init(jax.random.key(seed), x)
        apply = model.apply
    else:
        model, variables = _function(drawn, rng)
        apply = model
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    network = from_jax(model, variables, example=x).network
    slope = jax.jit(jax.grad(lambda p: ((apply({**rest, "params": p}, x) - y) ** 2).mean()))
    wanted = named(theirs(slope, variables["params"], optimizer))
    tree, again, *_ = to_jax(network)
    fixed = {name: part for name, part in tree.items() if name != "params"}
    slope = jax.jit(jax.grad(lambda p: ((again({**fixed, "params": p}, x) - y) ** 2).mean()))
    written = jax.tree.leaves(theirs(slope, tree["params"], optimizer))
    ours(network, x, y, optimizer)
    agree({name: array for name, array in network.parameters.items() if name in wanted}, wanted)
    after = jax.tree.leaves(to_jax(network, verify=False).variables["params"])
    agree(dict(enumerate(map(np.asarray, after))), dict(enumerate(written)))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_in_inference_stay_so(seed: int) -> None:
    rng, drawn = np.random.default_rng(seed), Drawn(seed)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    module = Nnx(drawn, nnx.Rngs(seed))
    for norm in module.norms:
        norm.mean.set_value(jnp.asarray(rng.normal(size=4)))
        norm.var.set_value(jnp.asarray(rng.uniform(0.5, 2, 4)))
    network = from_jax(module, example=x).network

    def loss(model: Any) -> Any:
        return ((model(x) - y) ** 2).mean()

    optimizer = nnx.Optimizer(module, optax.sgd(0.01), wrt=nnx.Param)
    for _ in range(5):
        optimizer.update(module, nnx.grad(loss)(module))
    ours(network, x, y, "sgd")
    flat = {".".join(map(str, path)): np.asarray(value[...]) for path, value in nnx.to_flat_state(nnx.state(module))}
    agree(dict(network.parameters), flat)


def test_the_softmax_of_jax_is_one_node() -> None:
    network = from_jax(lambda p, x: jax.nn.softmax(x @ p["w"]), {"w": np.eye(4)}, example=np.zeros((2, 4))).network
    assert [node.operator for node in network.graph.nodes][-1] == "Softmax"


def test_the_gradient_of_an_input_is_stopped_as_well() -> None:
    network = from_jax(lambda p, x: stop(x) * x @ p["w"], {"w": np.eye(4)}, example=np.zeros((2, 4))).network
    variables, apply, *_ = to_jax(network)
    slope = jax.grad(lambda x: apply(variables, x).sum())(np.full((1, 4), 3.0))
    np.testing.assert_array_equal(slope, np.full((1, 4), 3.0))


@jax.custom_vjp
def doubled(x: Any) -> Any:
    return jnp.sin(x)


doubled.defvjp(lambda x: (jnp.sin(x), x), lambda x, slope: (slope * 2,))


def test_derivatives_of_its_own_are_refused_and_named() -> None:
    def model(p: Any, x: Any) -> Any:
        return jax.nn.relu(doubled(x @ p["w"]))  # The one of JAX has the usual derivative.

    with pytest.raises(UsageError, match=r"doubled at .*: its derivative \(custom_vjp\) is not kept"):
        from_jax(model, {"w": np.eye(4)}, example=np.zeros((2, 4)))
    [note] = from_jax(model, {"w": np.eye(4)}, example=np.zeros((2, 4)), training="evaluation").notes
    assert "doubled at" in note
