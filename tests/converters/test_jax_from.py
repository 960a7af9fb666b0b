"""Models of flax, equinox and plain JAX as networks: outputs, names, open sizes, training, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.registry import from_object
from portable_nn.core.errors import UsageError, VerificationError

jax: Any = pytest.importorskip("jax")
linen: Any = pytest.importorskip("flax.linen")
jnp: Any = pytest.importorskip("jax.numpy")

from portable_nn.converters.jax import from_jax, to_jax  # noqa: E402

RNG = np.random.default_rng(0)


class MLP(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.Dense(3)(linen.silu(linen.Dense(8)(linen.relu(linen.Dense(16)(x)))))


class CNN(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        x = linen.Conv(4, (3, 3))(x)
        x = linen.relu(linen.BatchNorm(use_running_average=not train)(x))
        x = linen.max_pool(x, (2, 2), (2, 2))
        x = linen.gelu(linen.Conv(6, (3, 3), strides=2, padding="VALID")(x))
        x = linen.avg_pool(x, (2, 2), padding="SAME")
        return linen.softmax(linen.Dense(3)(x.reshape(x.shape[0], -1)))


class Transformer(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, tokens: Any) -> Any:
        x = linen.Embed(11, 8)(tokens)
        y = linen.LayerNorm()(x)
        x = x + linen.MultiHeadDotProductAttention(num_heads=2)(y, y)
        y = linen.LayerNorm()(x)
        return linen.Dense(11)(x + linen.Dense(8)(linen.gelu(linen.Dense(16)(y))))


class Recurrent(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.RNN(linen.OptimizedLSTMCell(5))(x)
        x = linen.RNN(linen.GRUCell(4), reverse=True, keep_order=True)(x)
        return linen.Dense(2)(x[:, -1])


class Decoder(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.ConvTranspose(4, (3, 3), strides=(2, 2))(x)
        return linen.GroupNorm(2)(linen.elu(x))


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def filled(variables: Any) -> Any:
    """With numbers everywhere, also in what begins with zeros and ones; variances stay positive."""
    return jax.tree.map(lambda each: each + np.abs(RNG.standard_normal(each.shape)).astype(each.dtype) / 3, variables)


MODELS = {
    "mlp": (MLP(), floats(2, 5)),
    "cnn": (CNN(), floats(2, 12, 12, 3)),
    "transformer": (Transformer(), np.ones((2, 7), np.int32)),
    "recurrent": (Recurrent(), floats(2, 6, 3)),
    "decoder": (Decoder(), floats(2, 6, 5, 3)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ["mlp", *(pytest.param(name, marks=pytest.mark.long) for name in list(MODELS)[1:])])
def test_modules_of_linen(name: str) -> None:
    module, x = MODELS[name]
    variables = filled(module.init(jax.random.key(0), x))
    net, proof, notes = from_jax(module, variables, x, prove_training=True)
    assert notes == ()
    assert max(each.max_rel_error for each in proof.values()) < 1e-5
    five = np.concatenate([x, x, x[:1]])
    found = net.predict(five)
    np.testing.assert_allclose(found, module.apply(variables, five), rtol=1e-5, atol=2e-6)
    back = to_jax(net, verify=False).variables
    assert jax.tree.structure(back["params"]) == jax.tree.structure(variables["params"])
    jax.tree.map(np.testing.assert_array_equal, back["params"], variables["params"])


@pytest.mark.long
def test_parameters_are_named_as_in_the_tree() -> None:
    module, x = MODELS["cnn"]
    variables = filled(module.init(jax.random.key(0), x))
    net = from_object(module, variables=variables, example=x)
    operators = [node.operator for node in net.graph.nodes]
    assert {node.name: node.operator for node in net.graph.nodes}.items() >= {
        ("Conv_0", "Conv"), ("BatchNorm_0", "BatchNormalization"), ("Conv_1", "Conv"), ("Dense_0", "Gemm"),
    }  # fmt: skip
    assert operators[-1] == "Softmax"
    assert net.outputs[0].kind == "probabilities"
    frozen = {value.name for value in net.graph.parameters if not value.trainable}
    assert frozen == {"BatchNorm_0.mean", "BatchNorm_0.var"}
    kernel = variables["params"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(net.parameters["Conv_0.kernel"], np.transpose(kernel, (3, 2, 0, 1)))
    np.testing.assert_array_equal(net.parameters["Dense_0.kernel"], variables["params"]["Dense_0"]["kernel"])
    assert sum(node.operator == "Transpose" for node in net.graph.nodes) == 2  # After the input, before the flattening.


@pytest.mark.long
def test_recurrent_layers_keep_an_open_number_of_steps() -> None:
    module, _ = MODELS["recurrent"]
    x = floats(2, 6, 3)
    variables = filled(module.init(jax.random.key(0), x))
    example = jax.ShapeDtypeStruct(jax.export.symbolic_shape("batch, steps, 3"), np.float32)
    net = from_jax(module, variables, example, prove_training=True).network
    assert {"LSTM", "GRU"} <= {node.operator for node in net.graph.nodes}
    longer = floats(3, 11, 3)
    np.testing.assert_allclose(net.predict(longer), module.apply(variables, longer), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "SimpleCell"])
def test_every_cell(cell: str, reverse: bool) -> None:
    class Net(linen.Module):  # type: ignore[misc]
        @linen.compact
        def __call__(self, x: Any) -> Any:
            layer = linen.RNN(getattr(linen, cell)(4), reverse=reverse, return_carry=True)
            return jax.tree.leaves(layer(x)), linen.Bidirectional(layer, linen.RNN(getattr(linen, cell)(3)))(x)

    x = floats(2, 5, 3)
    variables = filled(Net().init(jax.random.key(0), x))
    net = from_jax(Net(), variables, x, prove_training=True).network
    assert sum(node.operator in {"LSTM", "GRU", "RNN"} for node in net.graph.nodes) == 3


@pytest.mark.long
def test_dropout_of_linen_drops_in_training() -> None:
    class Net(linen.Module):  # type: ignore[misc]
        @linen.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            return linen.Dense(2)(linen.Dropout(0.25, deterministic=not train)(x))

    x = floats(2, 5)
    net = from_jax(Net(), Net().init(jax.random.key(0), x), x).network
    assert [node.operator for node in net.graph.nodes if node.operator != "Constant"] == ["Dropout", "Gemm"]


@pytest.mark.long
def test_open_sizes_and_several_inputs_and_outputs() -> None:
    batch, steps = jax.export.symbolic_shape("n, steps")
    x = jax.ShapeDtypeStruct((batch, steps, 4), np.float32)
    mask = jax.ShapeDtypeStruct((batch, steps), np.bool_)

    def attend(params: Any, x: Any, mask: Any) -> Any:
        scores = jnp.where(mask[:, None, :], jnp.einsum("nid,njd->nij", x @ params["q"], x), -1e9)
        mixed = jax.nn.softmax(scores) @ x
        return {"mixed": mixed, "mean": mixed.mean(1), "flat": mixed.reshape(x.shape[0], -1)[:, ::2]}

    net = from_jax(attend, {"q": floats(4, 4)}, (x, mask), inputs=("x", "mask")).network
    assert [value.shape for value in net.graph.inputs] == [("n", "steps", 4), ("n", "steps")]
    assert set(net.graph.outputs) == {"mixed", "mean", "flat"}
    value, kept = floats(3, 9, 4), RNG.random((3, 9)) < 0.7
    found = net.predict({"x": value, "mask": kept})
    wanted = attend({"q": net.parameters["q"]}, value, kept)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_primitives_without_a_counterpart_are_listed_all_at_once() -> None:
    def odd(params: Any, x: Any) -> Any:
        y = jnp.fft.fft(jnp.abs(x) + 1).real
        return jnp.linalg.qr(y @ params)[0] + jax.scipy.special.digamma(y[:, :2])

    x = jax.ShapeDtypeStruct((3, 4), np.float32)
    with pytest.raises(UsageError, match=r"(?s)5 faults.*digamma.*fft.*cosines and sines.*(householder|qr|geqrf)"):
        from_jax(odd, floats(4, 2), x)


@pytest.mark.long
def test_scans_are_written_out_and_open_ones_refused() -> None:
    def total(params: Any, x: Any) -> Any:
        return jax.lax.scan(lambda c, v: (c * params + v, c), jnp.zeros_like(x[0]), x)

    net = from_jax(total, np.float32(0.5), jax.ShapeDtypeStruct((6, 4), np.float32)).network
    x = floats(6, 4)
    found = net.predict({"input": x})
    for name, wanted in zip(net.graph.outputs, total(np.float32(0.5), x), strict=True):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(UsageError, match="scan over batch steps"):
        from_jax(total, np.float32(0.5), x)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: from_jax(MLP(), example=floats(2, 5)), "module.init"),
        (lambda: from_jax(MLP(), {"params": {}}), "needs an example"),
        (lambda: from_jax(3, {}, floats(2, 3)), "from_jax takes a module"),
        (lambda: from_jax(lambda p, x: x, {}, np.float32(3)), "a number has none"),
        (lambda: from_jax(lambda p, x: x, {}, floats(2, 3), inputs=("a", "b")), "1 different names"),
        (lambda: from_jax(lambda p, x: x, {}, floats(2, 3), outputs=("a", "b")), "1 different names"),
        (lambda: from_jax(lambda p, x: x * p["a"], {"a": floats(3)}, floats(2, 3), outputs=("a",)), "share the names"),
        (lambda: from_jax(lambda p, x: x.astype(jnp.bfloat16), {}, floats(2, 3)), "bfloat16"),
    ],
)
def test_wrong_arguments_are_refused(call: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        call()


def test_a_wrong_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from portable_nn.converters.jax.primitives import ROWS

    monkeypatch.setitem(ROWS, "tanh", ROWS["logistic"])
    with pytest.raises(VerificationError, match="differs by"):
        from_jax(lambda p, x: jnp.tanh(x @ p), floats(3, 2), floats(2, 3))


@pytest.mark.long
def test_modules_of_nnx() -> None:
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):  # type: ignore[misc,name-defined]
        def __init__(self, rngs: Any) -> None:
            self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.dense = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.dense(self.drop(nnx.relu(self.norm(self.conv(x)))).mean((1, 2)))

    module, x = Net(nnx.Rngs(0)), floats(2, 6, 6, 3)
    net = from_object(module, example=x)
    assert list(net.parameters) == [
        "conv.kernel", "conv.bias", "norm.mean", "norm.var", "norm.scale", "norm.bias", "dense.kernel", "dense.bias",
    ] or {*net.parameters} >= {"conv.kernel", "norm.mean", "dense.bias"}  # fmt: skip
    assert not module.drop.deterministic
    assert "Dropout" in {node.operator for node in net.graph.nodes}
    module.eval()
    np.testing.assert_allclose(net.predict(x), module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("cell", ["LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell"])
def test_recurrent_layers_of_nnx_keep_an_open_number_of_steps(cell: str) -> None:
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.RNN(getattr(nnx, cell)(3, 4, rngs=nnx.Rngs(1)), reverse=True, keep_order=True, rngs=nnx.Rngs(0))
    nnx.update(layer, filled(nnx.state(layer, nnx.Param)))
    example = jax.ShapeDtypeStruct(jax.export.symbolic_shape("batch, steps, 3"), np.float32)
    net = from_jax(layer, example=example, prove_training=True).network
    assert sum(node.operator in {"LSTM", "GRU", "RNN"} for node in net.graph.nodes) == 1
    x = floats(3, 11, 3)
    np.testing.assert_allclose(net.predict(x), layer(x), rtol=1e-5, atol=1e-6)


def test_a_scan_that_carries_nothing_is_computed_as_one() -> None:
    def model(params: Any, x: Any) -> Any:
        return jax.lax.map(lambda row: jnp.tanh(row @ params), x)

    params, x = floats(3, 3), floats(700, 3)
    net = from_jax(model, params, x[:2]).network
    assert [node.operator for node in net.graph.nodes] == ["MatMul", "Tanh"]
    np.testing.assert_allclose(net.predict(x), model(params, x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_dropout_of_equinox_drops_in_training() -> None:
    eqx = pytest.importorskip("equinox")
    layers = [eqx.nn.Linear(4, 3, key=jax.random.key(0)), eqx.nn.Dropout(0.5)]
    net = from_jax(eqx.nn.Sequential(layers), example=floats(3, 4)).network
    assert "Dropout" in {node.operator for node in net.graph.nodes}
    assert list(net.parameters) == ["layers.0.weight", "layers.0.bias"]


@pytest.mark.long
def test_trees_of_equinox() -> None:
    eqx = pytest.importorskip("equinox")
    net = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
    found = from_object(net, example=floats(3, 4))
    assert "layers.0.weight" in found.parameters
    x = floats(5, 4)
    np.testing.assert_allclose(found.predict(x), jax.vmap(net)(x), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_network_goes_there_and_back() -> None:
    net = pnn.Sequential(pnn.Input(2, 6, 6), pnn.Conv2d(3, 3), pnn.ReLU(), pnn.Flatten(), pnn.Dense(2), seed=0)
    variables, apply, *_ = to_jax(net, verify=False)
    x = floats(4, 2, 6, 6)
    back, _, notes = from_jax(apply, variables, x)
    assert len(notes) == 1
    assert notes[0].startswith("sizes are fixed at those of the example, 4: ")
    np.testing.assert_allclose(back.predict(x), net.predict(x), rtol=1e-5, atol=1e-6)
    assert {*back.parameters} == {"conv_1.kernel", "conv_1.bias", "dense_1.kernel", "dense_1.bias"}


@pytest.mark.long
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_statistics_of_batch_norms_train_with_or_without_scales(scale: bool, bias: bool) -> None:
    norm = linen.BatchNorm(use_running_average=True, use_scale=scale, use_bias=bias, momentum=0.8)
    module = linen.Sequential([linen.Dense(4), norm, linen.Dense(2)])
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    network, _, notes = from_jax(module, module.init(jax.random.key(0), x), x, prove_training=True)
    assert notes == ()
    assert [node.operator for node in network.graph.nodes if node.inputs] == ["Gemm", "BatchNormalization", "Gemm"]
    before = network.predict(x)
    network.fit(x, np.zeros_like(before), optimizer=pnn.SGD(1e-12), batch_size=5, epochs=1, progress=False)
    batch = x @ network.parameters["layers_0.kernel"] + network.parameters["layers_0.bias"]
    mean = next(array for name, array in network.parameters.items() if name.endswith("mean"))
    np.testing.assert_allclose(mean, 0.2 * batch.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (np.zeros((2, 7), np.float32), r"does not take the example, float32\(2, 7\): ScopeParamShapeError"),
        (np.zeros(6, np.float32), r"takes float32\(6,\) as one example: give it with an axis more, \(1, …\)"),
        ("words", "an example is an array of numbers, not 'words'"),
        ((np.zeros((2, 6), np.float32),) * 2, "does not take the example, .* and .*: TypeError"),
    ],
)
def test_an_example_that_a_model_does_not_take_is_refused_by_its_shape(example: object, said: str) -> None:
    module = linen.Dense(4)
    variables = module.init(jax.random.key(0), np.zeros((2, 6), np.float32))
    with pytest.raises(UsageError, match=said):
        from_jax(module, variables, example)


def test_stacks_and_tiles_are_nodes() -> None:
    def model(_: object, x: jax.Array) -> jax.Array:
        return jnp.tile(jnp.stack([x, jnp.tanh(x)], axis=1), (1, 1, 2))

    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(from_jax(model, {}, x).network.predict(x), model(None, x), atol=1e-6)
