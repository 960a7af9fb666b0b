"""Truncated backpropagation through time: the gradients of PyTorch, whose states are detached every so many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError

torch: Any = pytest.importorskip("torch")

BATCH, STEPS, FEATURES, UNITS = 3, 8, 2, 4
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(BATCH, STEPS, FEATURES)), RNG.normal(size=(BATCH, STEPS, 2))
ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""The gates in PyTorch's order, by their places in that of the standard."""


def _in_their_order(kind: str, rows: Any) -> Any:
    blocks = np.split(rows, len(ORDER[kind]))
    return torch.tensor(np.concatenate([blocks[place] for place in ORDER[kind]]))


def _module(kind: str, net: pnn.Network, layers: int, direction: int = 0) -> Any:
    """PyTorch's layers of one direction, with the weights of the network."""
    module = getattr(torch.nn, kind)(FEATURES, UNITS, layers, batch_first=True).double()
    with torch.no_grad():
        for layer in range(layers):
            for side, role in (("ih", "weight"), ("hh", "recurrent")):
                rows = net.parameters[f"it.{role}_l{layer}"][direction]
                getattr(module, f"weight_{side}_l{layer}").copy_(_in_their_order(kind, rows))
            both = np.split(net.parameters[f"it.bias_l{layer}"][direction], 2)
            for side, rows in zip(("ih", "hh"), both, strict=True):
                getattr(module, f"bias_{side}_l{layer}").copy_(_in_their_order(kind, rows))
    return module


def _detached(module: Any, x: Any, steps: int) -> Any:
    """What a module makes of a sequence in parts, between which its states are detached."""
    found, state = [], None
    for part in x.split(steps, 1):
        y, state = module(part, state)
        state = tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()
        found.append(y)
    return torch.cat(found, 1)


def _head(net: pnn.Network) -> Any:
    module = torch.nn.Linear(*reversed(net.parameters["head.weight"].shape)).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(net.parameters["head.weight"]))
        module.bias.copy_(torch.tensor(net.parameters["head.bias"]))
    return module


def _network(kind: str, **options: Any) -> pnn.Network:
    layer = getattr(pnn, kind)(UNITS, name="it", **options)
    return pnn.Sequential(pnn.Input("steps", FEATURES, dtype="float64"), layer, pnn.Dense(2, name="head"), seed=0)


def _trained(net: pnn.Network, truncate: int | None, x: Any = X, y: Any = Y, **options: Any) -> list[float]:
    history = net.fit(
        x, y, loss="mean_squared_error", optimizer=pnn.SGD(0.2), epochs=3, batch_size=BATCH, shuffle=False,
        truncate=truncate, **options,
    )  # fmt: skip
    return [float(loss) for loss in history["loss"]]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("truncate", [1, 3, 4, 8, 100])
@pytest.mark.parametrize("kind", ORDER)
def test_training_is_that_of_detached_states(kind: str, truncate: int, layers: int) -> None:
    net = _network(kind, layers=layers)
    module, head = _module(kind, net, layers), _head(net)
    optimizer = torch.optim.SGD([*module.parameters(), *head.parameters()], 0.2)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = ((head(_detached(module, torch.tensor(X), truncate)) - torch.tensor(Y)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(_trained(net, truncate), losses, rtol=0, atol=1e-9)
    for layer in range(layers):
        wanted = getattr(module, f"weight_hh_l{layer}").detach()
        found = _in_their_order(kind, net.parameters[f"it.recurrent_l{layer}"][0])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_each_direction_is_cut_where_it_has_read_so_many_steps() -> None:
    net = _network("GRU", bidirectional=True)
    ahead, back, head = _module("GRU", net, 1), _module("GRU", net, 1, 1), _head(net)
    optimizer = torch.optim.SGD([*ahead.parameters(), *back.parameters(), *head.parameters()], 0.2)
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.tensor(X)
        y = torch.cat([_detached(ahead, x, 3), _detached(back, x.flip(1), 3).flip(1)], 2)
        ((head(y) - torch.tensor(Y)) ** 2).mean().backward()
        optimizer.step()
    _trained(net, 3)
    for direction, module in enumerate((ahead, back)):
        found = _in_their_order("GRU", net.parameters["it.recurrent_l0"][direction])
        np.testing.assert_allclose(found, module.weight_hh_l0.detach(), rtol=0, atol=1e-9)


def test_sequences_that_end_sooner_learn_from_their_last_state() -> None:
    """Padding does not cut: what comes after the last step of a sequence is no step of it."""
    lengths = np.array([8, 4, 2], np.int32)
    x, known = pnn.Input("steps", FEATURES, name="x", dtype="float64"), pnn.Input(name="lengths", dtype="int32")
    net = pnn.Network([x, known], pnn.Dense(2, name="head")(pnn.LSTM(UNITS, name="it", last=True)(x, known)), seed=0)
    module, head = _module("LSTM", net, 1), _head(net)
    optimizer = torch.optim.SGD([*module.parameters(), *head.parameters()], 0.2)
    for _ in range(3):
        optimizer.zero_grad()
        rows = [_detached(module, torch.tensor(X[place : place + 1, :n]), 3)[:, -1] for place, n in enumerate(lengths)]
        ((head(torch.cat(rows)) - torch.tensor(Y[:, 0])) ** 2).mean().backward()
        optimizer.step()
    _trained(net, 3, {"x": X, "lengths": lengths}, Y[:, 0])
    found = _in_their_order("LSTM", net.parameters["it.recurrent_l0"][0])
    np.testing.assert_allclose(found, module.weight_hh_l0.detach(), rtol=0, atol=1e-9)


def test_it_is_for_recurrent_layers() -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed=0)
    with pytest.raises(UsageError, match="truncate is for recurrent layers, RNN, GRU and LSTM"):
        net.fit(np.zeros((4, 4)), np.zeros((4, 2)), loss="mean_squared_error", truncate=3)
    for wrong in (0, -1):
        with pytest.raises(UsageError, match="truncate must be"):
            _trained(_network("GRU"), wrong)
