"""Layers for sequences against PyTorch's modules of the same names, with the same weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.operators.registry import Array

torch: Any = pytest.importorskip("torch")

ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""The gates in the order of the standard, by their places in PyTorch's."""
X = np.random.default_rng(3).normal(size=(3, 6, 8)).astype(np.float32)


def in_order(kind: str, rows: Array) -> Array:
    parts = np.split(rows, len(ORDER[kind]))
    return np.concatenate([parts[place] for place in ORDER[kind]])


def copy_weights(kind: str, module: Any, network: pnn.Network) -> None:
    """PyTorch's weights in the network's parameters."""
    suffixes = ["", "_reverse"][: 1 + module.bidirectional]
    for layer in range(module.num_layers):

        def rows(name: str, suffix: str, layer: int = layer) -> Array:
            return in_order(kind, getattr(module, f"{name}_l{layer}{suffix}").detach().numpy())

        [prefix] = {name.rsplit(".", 1)[0] for name in network.parameters}
        for role, side in (("weight", "ih"), ("recurrent", "hh")):
            network.parameters[f"{prefix}.{role}_l{layer}"][...] = [rows(f"weight_{side}", each) for each in suffixes]
        if module.bias:
            pairs = [np.concatenate([rows("bias_ih", each), rows("bias_hh", each)]) for each in suffixes]
            network.parameters[f"{prefix}.bias_l{layer}"][...] = pairs


@pytest.mark.parametrize("kind", ORDER)
@pytest.mark.parametrize(("layers", "bidirectional", "bias"), [(1, False, True), (2, True, True), (3, False, False)])
def test_recurrent_layers_equal_pytorch(kind: str, layers: int, bidirectional: bool, bias: bool) -> None:
    module = getattr(torch.nn, kind)(8, 5, layers, bias=bias, bidirectional=bidirectional, batch_first=True)
    options = {"layers": layers, "bidirectional": bidirectional, "bias": bias}
    network = pnn.Sequential(pnn.Input("steps", 8), getattr(pnn, kind)(5, **options), seed=0)
    copy_weights(kind, module, network)
    with torch.no_grad():
        y, states = module(torch.tensor(X))
    np.testing.assert_allclose(network.predict(X), y.numpy(), atol=1e-6)
    np.testing.assert_allclose(network.predict(X[:, :2]), module(torch.tensor(X[:, :2]))[0].detach().numpy(), atol=1e-6)

    last = pnn.Sequential(pnn.Input("steps", 8), getattr(pnn, kind)(5, **options, last=True), seed=0)
    copy_weights(kind, module, last)
    h = (states[0] if kind == "LSTM" else states)[-(1 + bidirectional) :]
    np.testing.assert_allclose(last.predict(X), h.permute(1, 0, 2).flatten(1).numpy(), atol=1e-6)


def test_states_and_lengths_equal_pytorch() -> None:
    module = torch.nn.LSTM(8, 5, 2, batch_first=True)
    x, layer = pnn.Input("steps", 8), pnn.LSTM(5, layers=2)
    h, c = (pnn.operators.Leaf(name, "float32", (2, "batch", 5)) for name in "hc")
    lengths = pnn.operators.Leaf("lengths", "int32", ("batch",))
    y, states = layer.with_states(x, lengths, [h, c])
    network = pnn.Network([x, lengths, h, c], [y, *states], seed=0)
    copy_weights("LSTM", module, network)
    rng, count = np.random.default_rng(4), np.array([6, 2, 4], np.int32)
    given = [rng.normal(size=(2, 3, 5)).astype(np.float32) for _ in "hc"]
    found = network.predict({"input": X, "lengths": count, "h": given[0], "c": given[1]})
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(X), count.tolist(), True, enforce_sorted=False)
    with torch.no_grad():
        made, final = module(packed, tuple(map(torch.tensor, given)))
        wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(made, batch_first=True)
    for ours, theirs in zip(found.values(), (wanted, *final), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def test_steps_first() -> None:
    turned = np.ascontiguousarray(X.swapaxes(0, 1))
    first = pnn.Sequential(pnn.Input(6, 8), pnn.GRU(5), seed=0)
    other = pnn.Sequential(pnn.Input(3, 8, batch=6), pnn.GRU(5, batch_first=False), seed=0)
    np.testing.assert_allclose(other.predict(turned).swapaxes(0, 1), first.predict(X), atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_pytorch(causal: bool) -> None:
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    torch.nn.init.normal_(module.in_proj_bias)
    network = pnn.Sequential(pnn.Input("positions", 8), pnn.MultiHeadAttention(2, causal=causal), seed=0)
    theirs = (module.in_proj_weight, module.in_proj_bias, module.out_proj.weight, module.out_proj.bias)
    for name, tensor in zip(("weight", "bias", "out_weight", "out_bias"), theirs, strict=True):
        network.parameters[f"attention_1.{name}"][...] = tensor.detach().numpy()
    x, hidden = torch.tensor(X), torch.triu(torch.ones(6, 6, dtype=torch.bool), 1)
    with torch.no_grad():
        wanted, _ = module(x, x, x, attn_mask=hidden if causal else None, need_weights=False)
    np.testing.assert_allclose(network.predict(X), wanted.numpy(), atol=1e-6)


@pytest.mark.parametrize(("norm_first", "activation"), [(False, "relu"), (True, "gelu")])
def test_transformer_equals_pytorch(norm_first: bool, activation: str) -> None:
    module = torch.nn.TransformerEncoderLayer(
        8, 2, 16, norm_first=norm_first, activation=activation, batch_first=True
    ).eval()
    layer = pnn.TransformerEncoderLayer(2, units=16, norm_first=norm_first, activation=activation, name="e")
    network = pnn.Sequential(pnn.Input("positions", 8), layer, seed=0)
    names = {
        "e.attention.weight": "self_attn.in_proj_weight", "e.attention.bias": "self_attn.in_proj_bias",
        "e.attention.out_weight": "self_attn.out_proj.weight", "e.attention.out_bias": "self_attn.out_proj.bias",
    }  # fmt: skip
    for place in (1, 2):
        for role, theirs in (("weight", "weight"), ("bias", "bias")):
            names[f"e.linear_{place}.{role}"] = f"linear{place}.{theirs}"
    state = module.state_dict()
    for name in network.parameters:
        if name.startswith("e.norm_"):
            role = "bias" if name.endswith("bias") else "weight"
            names[name] = f"norm{name[7]}.{role}"
        state[names[name]].normal_(generator=torch.Generator().manual_seed(len(name)))
        network.parameters[name][...] = state[names[name]].numpy()
    with torch.no_grad():
        wanted = module(torch.tensor(X))
    np.testing.assert_allclose(network.predict(X), wanted.numpy(), rtol=1e-4, atol=2e-5)


def test_embedding_equals_pytorch() -> None:
    module = torch.nn.Embedding(7, 3)
    network = pnn.Sequential(pnn.Input("words", dtype="int64"), pnn.Embedding(7, 3), seed=0)
    network.parameters["embedding_1.weight"][...] = module.weight.detach().numpy()
    ids = np.array([[0, 6, 2], [3, 3, 1]])
    np.testing.assert_array_equal(network.predict(ids), module(torch.tensor(ids)).detach().numpy())
    with pytest.raises(GraphError, match="whole numbers"):
        pnn.Embedding(7, 3)(pnn.Input(4))


def test_positions_are_the_papers() -> None:
    network = pnn.Sequential(pnn.Input("positions", 8), pnn.SinusoidalPositions(50), seed=0)
    added = network.predict(X) - X
    for position, pair in itertools.product(range(6), range(4)):
        angle = position / 10000 ** (2 * pair / 8)
        np.testing.assert_allclose(
            added[:, position, 2 * pair : 2 * pair + 2],
            np.broadcast_to([np.sin(angle), np.cos(angle)], (3, 2)),
            atol=1e-5,
        )
    learned = pnn.Sequential(pnn.Input("positions", 8), pnn.LearnedPositions(9), seed=0)
    [table] = learned.parameters.values()
    np.testing.assert_allclose(learned.predict(X) - X, np.broadcast_to(table[:6], X.shape), atol=1e-6)
    with pytest.raises(GraphError, match="it has vectors for 5 positions, and there are 6"):
        pnn.LearnedPositions(5)(pnn.Input(6, 8))


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_causal_convolution_sees_nothing_later(dilation: int) -> None:
    """It is a convolution of the input with zeros before it."""
    network = pnn.Sequential(pnn.Input(2, 12), pnn.Conv1d(4, kernel=3, dilation=dilation, causal=True), seed=0)
    x = np.random.default_rng(5).normal(size=(2, 2, 12)).astype(np.float32)
    weight, bias = (torch.tensor(array) for array in network.parameters.values())
    padded = torch.nn.functional.pad(torch.tensor(x), (2 * dilation, 0))
    wanted = torch.nn.functional.conv1d(padded, weight, bias, dilation=dilation).numpy()
    np.testing.assert_allclose(network.predict(x), wanted, atol=1e-6)
    with pytest.raises(UsageError, match="causal decides the padding"):
        pnn.Conv1d(4, kernel=3, causal=True, padding=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pnn.LSTM(0), "units must be a whole number from 1"),
        (lambda: pnn.GRU(3, layers=0), "layers must be a whole number from 1"),
        (lambda: pnn.GRU(3, dropout=1.0), "dropout must be a number from 0 to less than 1"),
        (lambda: pnn.RNN(3, nonlinearity="sine"), "nonlinearity must be tanh or relu"),
        (lambda: pnn.LSTM(3)(pnn.Input(4)), "with known features"),
        (lambda: pnn.LSTM(3)(pnn.Input(4, 2), states=[pnn.Input(3)]), "it needs 2 initial states, not 1"),
        (lambda: pnn.MultiHeadAttention(3)(pnn.Input(5, 8)), "features that 3 heads divide"),
        (lambda: pnn.TransformerEncoderLayer(2, activation="tanh"), "activation must be relu or gelu"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises((GraphError, UsageError), match=message):
        make()
