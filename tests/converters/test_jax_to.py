"""Networks as pure functions of JAX: trees of parameters, transformations, training, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks import given, network_of

import portable_nn as pnn
from portable_nn.core.errors import ShapeError, UsageError, VerificationError
from portable_nn.operators import Leaf, trace

jax: Any = pytest.importorskip("jax")
jnp: Any = pytest.importorskip("jax.numpy")

from portable_nn.converters.jax import to_jax, update  # noqa: E402

RNG = np.random.default_rng(0)


def cnn(seed: int = 0) -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(2, 8, 8),
        pnn.Conv2d(4, 3, name="first"),
        pnn.BatchNorm2d(name="norm"),
        pnn.ReLU(),
        pnn.MaxPool2d(2),
        pnn.Flatten(),
        pnn.Dense(3, name="last"),
        seed=seed,
    )


def shapes(tree: Any) -> Any:
    return jax.tree.map(lambda each: tuple(each.shape), tree)


@pytest.mark.long
def test_parameters_have_the_names_and_layouts_of_flax() -> None:
    net = cnn()
    variables, _, proof, notes = to_jax(net)
    assert shapes(variables) == {
        "params": {
            "first": {"kernel": (3, 3, 2, 4), "bias": (4,)},
            "norm": {"scale": (4,), "bias": (4,)},
            "last": {"kernel": (36, 3), "bias": (3,)},
        },
        "batch_stats": {"norm": {"mean": (4,), "var": (4,)}},
    }
    kernel = net.parameters["first.weight"]
    np.testing.assert_array_equal(variables["params"]["first"]["kernel"], kernel.transpose(2, 3, 1, 0))
    assert proof["last"].max_rel_error < 1e-6
    assert notes == ()


@pytest.mark.long
def test_flax_layers_compute_the_same_with_these_parameters() -> None:
    linen = pytest.importorskip("flax.linen")
    net = pnn.Sequential(
        pnn.Input(3, 9, 9),
        pnn.ConvTranspose2d(4, 3, stride=2, name="up"),
        pnn.Conv2d(6, 3, groups=2, name="down"),
        pnn.GlobalAvgPool(),
        pnn.Flatten(),
        pnn.Dense(2, name="dense"),
        seed=0,
    )
    variables, apply, *_ = to_jax(net)
    params = variables["params"]
    x = RNG.standard_normal((2, 3, 9, 9)).astype(np.float32)
    y = x.transpose(0, 2, 3, 1)
    y = linen.ConvTranspose(4, (3, 3), (2, 2), padding="VALID").apply({"params": params["up"]}, y)
    y = linen.Conv(6, (3, 3), padding="VALID", feature_group_count=2).apply({"params": params["down"]}, y)
    y = linen.Dense(2).apply({"params": params["dense"]}, y.mean((1, 2)))
    np.testing.assert_allclose(apply(variables, x), y, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_norms_of_flax_compute_the_same_with_these_parameters() -> None:
    linen = pytest.importorskip("flax.linen")
    net = pnn.Sequential(
        pnn.Input(6), pnn.BatchNorm1d(name="batch"), pnn.GroupNorm(2, name="group"), pnn.LayerNorm(name="layer"), seed=0
    )
    for name, values in net.parameters.items():
        values[...] = RNG.uniform(0.5, 1.5, values.shape) + ("var" in name)
    variables, apply, *_ = to_jax(net)
    params, x = variables["params"], RNG.standard_normal((3, 6)).astype(np.float32)
    batch = {"params": params["batch"], "batch_stats": variables["batch_stats"]["batch"]}
    y = linen.BatchNorm(use_running_average=True, epsilon=1e-5).apply(batch, x)
    y = linen.GroupNorm(2, epsilon=1e-5).apply({"params": params["group"]}, y)
    y = linen.LayerNorm(epsilon=1e-5).apply({"params": params["layer"]}, y)
    np.testing.assert_allclose(apply(variables, x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_it_jits_maps_and_differentiates() -> None:
    net = cnn()
    variables, apply, *_ = to_jax(net, verify=False)
    x = RNG.standard_normal((5, 2, 8, 8)).astype(np.float32)
    wanted = net.predict(x)
    np.testing.assert_allclose(jax.jit(apply)(variables, x), wanted, rtol=1e-5, atol=1e-6)
    each = jax.vmap(lambda one: apply(variables, one[jnp.newaxis])[0])(x)
    np.testing.assert_allclose(each, wanted, rtol=1e-5, atol=1e-6)
    slopes = jax.grad(lambda tree: (apply({**variables, "params": tree}, x) ** 2).sum())(variables["params"])
    assert shapes(slopes) == shapes(variables["params"])
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), variables)
    ensemble = jax.vmap(apply, in_axes=(0, None))(stacked, x)
    np.testing.assert_allclose(ensemble[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_training_in_jax_comes_back() -> None:
    optax = pytest.importorskip("optax")
    net, there = cnn(), cnn()
    x = RNG.standard_normal((6, 2, 8, 8)).astype(np.float32)
    y = RNG.standard_normal((6, 3)).astype(np.float32)
    variables, apply, *_ = to_jax(net, verify=False)
    optimizer = optax.sgd(0.05)
    state = optimizer.init(variables["params"])

    @jax.jit
    def step(variables: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            found, moved = apply({**variables, "params": params}, x, train=True)
            return ((found - y) ** 2).mean(), moved

        slopes, moved = jax.grad(loss, has_aux=True)(variables["params"])
        changes, state = optimizer.update(slopes, state)
        return {**variables, "params": optax.apply_updates(variables["params"], changes), **moved}, state

    for _ in range(5):
        variables, state = step(variables, state)
    update(net, variables)
    there.fit(
        x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.05), epochs=5, batch_size=6, shuffle=False, progress=False
    )
    for name, array in there.parameters.items():
        np.testing.assert_allclose(net.parameters[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(net.predict(x), apply(variables, x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_five_steps_are_compared_on_request() -> None:
    assert to_jax(cnn(), prove_training=True).outputs.notes == ()
    drops = pnn.Sequential(pnn.Input(4), pnn.Dense(8), pnn.Dropout(0.5), pnn.Dense(2), seed=0)
    [note] = to_jax(drops, prove_training=True).outputs.notes
    assert "Dropout draws other random numbers" in note


@pytest.mark.long
def test_dropout_drops_with_a_key_alone() -> None:
    net = pnn.Sequential(pnn.Input(1000), pnn.Dropout(0.25, name="drop"), seed=0)
    _, apply, *_ = to_jax(net)
    x = np.ones((3, 1000), np.float32)
    np.testing.assert_array_equal(apply({"params": {}}, x), x)
    with pytest.raises(UsageError, match=r"'drop' draws random numbers .* rng=jax.random.key"):
        apply({"params": {}}, x, train=True)
    found, state = apply({"params": {}}, x, train=True, rng=jax.random.key(1))
    assert state == {}
    assert set(np.unique(found).round(5)) == {0.0, np.float32(1 / 0.75).round(5)}
    assert 0.2 < float((found == 0).mean()) < 0.3


@pytest.mark.long
def test_several_inputs_and_outputs_by_name() -> None:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    net = pnn.Network(inputs=[a, b], outputs=[a + b, pnn.Dense(2, name="d")(a * b)], seed=0)
    variables, apply, *_ = to_jax(net)
    x, y = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    found = apply(variables, x, y)
    assert list(found) == list(net.graph.outputs)
    wanted = net.predict({"a": x, "b": y})
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match="1 input given"):
        apply(variables, x)
    with pytest.raises(UsageError, match=r"input b: float32\(batch, 4\) is given an array of shape \(3, 5\)"):
        apply(variables, x, np.zeros((3, 5), np.float32))


@pytest.mark.long
def test_what_does_not_fit_is_refused_as_a_whole() -> None:
    net = cnn()
    variables, *_ = to_jax(net, verify=False)
    before = {name: array.copy() for name, array in net.parameters.items()}
    params = dict(variables["params"])
    params["first"] = {"kernel": net.parameters["first.weight"], "bias": params["first"]["bias"]}
    params["last"] = {"kernel": params["last"]["kernel"].T, "extra": np.zeros(3)}
    with pytest.raises(ShapeError) as error:
        update(net, {**variables, "params": params})
    text = str(error.value)
    assert "4 faults" in text
    assert "params/first/kernel must have shape (3, 3, 2, 4), not (4, 2, 3, 3): its axes are in the order of" in text
    assert "params/last/kernel must have shape (36, 3), not (3, 36): it" in text
    assert "params/last/bias (3,) is missing" in text
    assert "params/last/extra is no parameter of the network" in text
    with pytest.raises(ShapeError, match=r"the whole tree, \{(.*)'params': …\}, not what is in one of its"):
        update(net, variables["params"])
    bad = jax.tree.map(lambda each: each * np.nan, variables)
    with pytest.raises(ShapeError, match="not finite"):
        update(net, bad)
    with pytest.raises(ShapeError, match="must be float32, not int32"):
        update(net, jax.tree.map(lambda each: each.astype("int32"), variables))
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.long
def test_double_precision_needs_the_switch_of_jax() -> None:
    net = pnn.Sequential(pnn.Input(3, dtype="float64"), pnn.Dense(2), seed=0)
    with pytest.raises(UsageError, match="jax_enable_x64"):
        to_jax(net)
    with jax.enable_x64(True):
        found = to_jax(net, atol=1e-12, rtol=1e-12, prove_training=True)
    assert found.variables["params"]["dense_1"]["kernel"].dtype == np.float64


def test_whole_numbers_of_64_bits_are_noted() -> None:
    net = pnn.Sequential(pnn.Input("steps", dtype="int64"), pnn.Embedding(11, 4, name="table"), seed=0)
    variables, _, _, notes = to_jax(net)
    assert shapes(variables["params"]) == {"table": {"embedding": (11, 4)}}
    assert notes == ("input: integers of 64 bits are of 32 bits in JAX, as jax_enable_x64 is not set",)


def test_names_that_would_collide_stay_whole() -> None:
    x = pnn.Input(3, name="x")
    names = ("a", "a.b", "c.weight", "c.kernel")
    first, second, third, fourth = (Leaf(name, "float32", (3, 3), parameter=True) for name in names)
    graph = trace([x], [x @ first @ second @ third @ fourth]).graph
    net = pnn.Network.from_graph(graph, {name: RNG.standard_normal((3, 3)).astype(np.float32) for name in names})
    variables, *_ = to_jax(net)
    assert set(variables["params"]) == set(names)
    update(net, variables)


def test_a_wrong_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from portable_nn.converters.jax.operators.functions import DIALECT

    monkeypatch.setitem(DIALECT.names, "relu", lambda x: jnp.maximum(x, 0.01))
    with pytest.raises(VerificationError, match=r"differs by .* between the network and JAX"):
        to_jax(cnn())


@pytest.mark.parametrize(
    "layer", [pnn.LayerNorm(), pnn.RMSNorm(), pnn.BatchNorm2d(), pnn.GroupNorm(2), pnn.InstanceNorm()]
)
def test_statistics_are_not_computed_in_half_precision(layer: pnn.Layer) -> None:
    net = pnn.Sequential(pnn.Input(6, 2, 5, dtype="float16"), layer, seed=0)
    x = RNG.normal(1000, 300, (4, 6, 2, 5)).astype(np.float16)  # Their squares are infinite in half precision.
    variables, apply, *_ = to_jax(net, verify=False)
    found = np.asarray(apply(variables, x), np.float64)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, net.predict(x), rtol=5e-3, atol=5e-3)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "transformer"])
def test_optimizers_of_optax_take_the_same_steps(kind: str) -> None:
    optax = pytest.importorskip("optax")
    net = network_of(kind)
    [x] = given(net, 6).values()
    y = RNG.standard_normal(net.predict(x).shape).astype(np.float32)
    variables, apply, *_ = to_jax(net, verify=False)
    params = variables["params"]
    # The gradient of the biases of keys is 0 but for rounding, which Adam makes whole steps of.
    uses_adam = kind != "transformer"
    optimizer, own = (optax.adam(0.01), pnn.Adam(0.01)) if uses_adam else (optax.sgd(0.1, 0.9), pnn.SGD(0.1, 0.9))
    state = optimizer.init(params)
    slope = jax.jit(jax.grad(lambda tree: ((apply({**variables, "params": tree}, x) - y) ** 2).mean()))
    for _ in range(5):
        changes, state = optimizer.update(slope(params), state)
        params = optax.apply_updates(params, changes)
    there = network_of(kind)
    update(there, {**variables, "params": params})
    net.fit(x, y, loss="mean_squared_error", optimizer=own, epochs=5, batch_size=6, shuffle=False, progress=False)
    for name, array in there.parameters.items():
        np.testing.assert_allclose(net.parameters[name], array, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.long
def test_stacked_parameters_of_a_scan_go_back_by_their_names() -> None:
    flax: Any = pytest.importorskip("flax.linen")
    from portable_nn.converters.jax import from_jax

    class Block(flax.Module):  # type: ignore[misc]
        @flax.compact
        def __call__(self, x: Any, _: Any) -> Any:
            return flax.tanh(flax.Dense(4)(x)), None

    class Stack(flax.Module):  # type: ignore[misc]
        @flax.compact
        def __call__(self, x: Any) -> Any:
            scan = flax.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return flax.Dense(2)(scan()(x, None)[0])

    module, x = Stack(), np.ones((2, 4), np.float32)
    variables = module.init(jax.random.key(0), x)
    back = to_jax(from_jax(module, variables, example=x).network).variables
    assert shapes(back) == shapes(variables)
    np.testing.assert_allclose(module.apply(back, x), module.apply(variables, x), atol=1e-6)
