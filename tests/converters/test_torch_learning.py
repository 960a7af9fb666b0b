"""What does not learn in a module of PyTorch does not learn here, nor in the module that is written again.

Modules are drawn with ``detach``, ``no_grad``, straight-through estimators, parts in evaluation, frozen parameters and
a layer that is used twice; each is trained for five steps in float64 by PyTorch, and here.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError
from portable_nn.core.tensors import Array

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

from portable_nn.converters.torch import read_torch, to_torch  # noqa: E402
from portable_nn.converters.torch.proof import _count_as_onnx  # noqa: E402
from portable_nn.converters.training import plain  # noqa: E402


class Block(nn.Module):  # type: ignore[misc]
    """A layer with what ``draw`` says around it, which ``kind`` puts together."""

    def __init__(self, kind: str, draw: random.Random) -> None:
        super().__init__()
        self.kind, self.lin = KINDS[kind], nn.Linear(4, 4)
        self.bn = nn.BatchNorm1d(4) if draw.random() < 0.4 else nn.Identity()
        self.drop = nn.Dropout(0.5) if draw.random() < 0.3 else nn.Identity()
        self.act = draw.choice([nn.Tanh(), nn.ReLU(), nn.GELU(), nn.Sigmoid(), nn.Identity()])

    def body(self, x: Any) -> Any:
        return self.act(self.drop(self.bn(self.lin(x))))

    def forward(self, x: Any) -> Any:
        return self.kind(self, x)


def _under_no_grad(block: Block, x: Any) -> Any:
    with torch.no_grad():
        y = block.body(x)
    return x * y


def _switched_off(block: Block, x: Any) -> Any:
    torch.set_grad_enabled(False)
    y = block.body(x)
    torch.set_grad_enabled(True)
    return x + y


def _nested(block: Block, x: Any) -> Any:
    with torch.no_grad():
        y = block.body(x)
        with torch.enable_grad():
            z = block.lin(x) * 0.5
        w = torch.sigmoid(z)
    return y + z + w + x


@torch.no_grad()  # type: ignore[untyped-decorator]
def _without(block: Block, x: Any) -> Any:
    return torch.tanh(block.lin(x))


def _straight_through(block: Block, x: Any) -> Any:
    y = block.body(x)
    return y + (torch.round(y * 4) / 4 - y).detach()


def _signs(block: Block, x: Any) -> Any:
    y = block.body(x)
    return torch.sign(y).detach() + torch.tanh(y) - torch.tanh(y).detach()


def _statistics(block: Block, x: Any) -> Any:
    y = block.body(x)
    with torch.no_grad():
        mean, deviation = y.mean(0, keepdim=True), y.std(0, keepdim=True, unbiased=False)
    return (y - mean) / (deviation + 0.1)


def _in_place(block: Block, x: Any) -> Any:
    y = torch.tanh(block.body(x))
    z = (y * 2).detach_()
    return y * z


def _decomposed(block: Block, x: Any) -> Any:
    """PyTorch has to write this in other operators, and loses the detach there."""
    y = block.body(x).clone()
    y[:, :2] = y[:, :2].detach()
    return y


KINDS: Mapping[str, Callable[[Any, Any], Any]] = {
    "plain": lambda b, x: b.body(x),
    "detached input": lambda b, x: b.body(x.detach()),
    "detached output": lambda b, x: b.body(x).detach() + x,
    "no_grad": _under_no_grad,
    "set_grad_enabled": _switched_off,
    "nested": _nested,
    "decorated": lambda b, x: _without(b, x) + b.body(x),
    "straight through": _straight_through,
    "signs": _signs,
    "weight": lambda b, x: F.linear(b.body(x), b.lin.weight.detach(), b.lin.bias),
    "maximum": lambda b, x: torch.exp(b.body(x) - b.body(x).amax(1, keepdim=True).detach()),
    "statistics": _statistics,
    "in place": _in_place,
    "view": lambda b, x: b.body(x).view(-1, 2, 2).detach().transpose(1, 2).reshape(-1, 4) * b.body(x),
    "decomposed": _decomposed,
}


class Drawn(nn.Module):  # type: ignore[misc]
    """Some blocks; parts of them frozen, parts of them in evaluation while the rest trains, and one used twice."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.blocks = nn.ModuleList(Block(draw.choice([*KINDS]), draw) for _ in range(draw.randint(2, 4)))
        self.head, self.twice = nn.Linear(4, 2), draw.random() < 0.4
        self.still = [block for block in self.blocks if draw.random() < 0.3]
        for block in self.blocks:
            block.lin.requires_grad_(draw.random() < 0.75)
            block.lin.bias.requires_grad_(draw.random() < 0.75)
            block.bn.requires_grad_(draw.random() < 0.75)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        for block in self.still:
            block.eval()
        return self

    def forward(self, x: Any) -> Any:
        h = x
        for block in self.blocks:
            h = block(h)
        return self.head(self.blocks[0].lin(h) + h.detach() if self.twice else h)


def drawn(seed: int) -> Any:
    torch.manual_seed(seed)
    module = Drawn(seed).double()
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, nn.BatchNorm1d):
                each.running_mean.normal_()
                each.running_var.uniform_(0.5, 2)
                each.weight.uniform_(0.5, 1.5)
    return module.train()


def theirs(module: Any, x: Array, y: Array, optimizer: str) -> dict[str, Array]:
    """The state after five steps of a copy, without dropout and with the running variances of ONNX."""
    module = copy.deepcopy(module).train()
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
        elif isinstance(each, nn.BatchNorm1d):
            _count_as_onnx(each)
    weights = [each for each in module.parameters() if each.requires_grad]
    steps = torch.optim.SGD(weights, 0.01) if optimizer == "sgd" else torch.optim.Adam(weights, 0.01)
    for _ in range(5):
        steps.zero_grad()
        F.mse_loss(module(torch.tensor(x)), torch.tensor(y)).backward()
        steps.step()
    return {name: each.detach().numpy() for name, each in module.state_dict().items()}


def ours(network: pnn.Network, x: Array, y: Array, optimizer: str) -> dict[str, Array]:
    steps = pnn.SGD(0.01) if optimizer == "sgd" else pnn.Adam(0.01)
    network.fit(
        x, y, loss="mean_squared_error", optimizer=steps, epochs=5, batch_size=len(x), shuffle=False, progress=False
    )
    return dict(network.parameters)


@pytest.mark.parametrize(
    "seed",
    [
        *range(3),
        *(pytest.param(seed, marks=pytest.mark.long if seed < 40 else pytest.mark.sweep) for seed in range(3, 150)),
    ],
)
def test_what_is_drawn_learns_alike_both_ways(seed: int) -> None:
    rng, optimizer = np.random.default_rng(seed), ("sgd", "adam")[seed % 2]
    x, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    module = drawn(seed)
    found = read_torch(module, torch.zeros(2, 4, dtype=torch.float64))
    assert not [note for note in found.notes if "evaluation" in note or "detach" in note]
    network = plain(found.network)
    written = theirs(to_torch(network), x, y, optimizer)
    wanted, made = theirs(module, x, y, optimizer), ours(network, x, y, optimizer)
    for name, array in made.items():
        scale = 1 + np.abs(array).max(initial=0)
        assert np.abs(array - wanted.get(name, array)).max(initial=0) < 1e-6 * scale, name
        if "running_var" not in name:  # Those of functions follow PyTorch's own rule there.
            assert np.abs(array - written.get(name, array)).max(initial=0) < 1e-6 * scale, name


class Odd(nn.Module):  # type: ignore[misc]
    def __init__(self, forward: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.lin, self.call = nn.Linear(4, 4), forward

    def forward(self, x: Any) -> Any:
        return self.call(self, x)


def _clamped(module: Any, x: Any) -> Any:
    y = module.lin(x)
    with torch.no_grad():
        y.clamp_(0, 1)
    return y


def _shared(module: Any, x: Any) -> Any:
    y = module.lin(x)
    z = y.detach()
    y[:, :2] = 0
    return y + z


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (_clamped, r"aten\.clamp_\.default writes into a tensor under torch\.no_grad\(\)"),
        (_shared, r"a tensor is detached and then written into"),
    ],
)
def test_what_is_written_where_nothing_learns_is_refused(forward: Callable[[Any, Any], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_torch(Odd(forward), torch.zeros(2, 4))


def test_the_written_source_says_it() -> None:
    network = read_torch(Odd(lambda module, x: x * module.lin(x).detach()), torch.zeros(2, 4)).network
    assert [node.operator for node in network.graph.nodes] == ["Gemm", "StopGradient", "Mul"]
    assert ".detach()" in to_torch(network).source


def test_constants_and_whole_numbers_need_no_mark() -> None:
    def forward(module: Any, x: Any) -> Any:
        with torch.no_grad():
            places = torch.arange(4) + x.argmax(1, keepdim=True) * 0
        return module.lin(x) + places + torch.tensor([1.0, 2.0, 3.0, 4.0]).detach()

    network = read_torch(Odd(forward), torch.zeros(2, 4)).network
    assert "StopGradient" not in {node.operator for node in network.graph.nodes}


def _dropping(module: Any, x: Any) -> Any:
    return F.dropout(module.lin(x))


def _noisy(module: Any, x: Any) -> Any:
    return module.lin(x + torch.randn_like(x)) if module.training else module.lin(x)


def _turned(module: Any, x: Any) -> Any:
    y = module.lin(x)
    if y.requires_grad:
        y.register_hook(lambda slope: -slope)
    return y


@pytest.mark.parametrize(
    ("forward", "message"),
    [(_dropping, r"the default of F\.dropout"), (_noisy, r"aten\.randn_like"), (_turned, r"register_hook")],
)
def test_what_would_train_otherwise_is_refused_and_named(forward: Callable[[Any, Any], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_torch(Odd(forward), torch.zeros(2, 4))


@pytest.mark.parametrize("forward", [_noisy, _turned])
def test_it_is_taken_as_it_is_in_evaluation(forward: Callable[[Any, Any], Any]) -> None:
    found = read_torch(Odd(forward), torch.zeros(2, 4), training="evaluation")
    assert [node.operator for node in found.network.graph.nodes] == ["Gemm"]
    assert found.notes


def test_hooks_of_parameters_and_parts_are_refused() -> None:
    for which in ("parameter", "part"):
        module = Odd(lambda module, x: module.lin(x))
        if which == "parameter":
            module.lin.weight.register_hook(lambda slope: slope * 2)
        else:
            module.lin.register_full_backward_hook(lambda *_: None)
        with pytest.raises(UsageError, match="the backward hooks of 'lin"):
            read_torch(module, torch.zeros(2, 4))
