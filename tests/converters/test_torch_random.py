"""Random modules of PyTorch come in, predict and train as there, and come back with the same state dict."""

from __future__ import annotations

import random
from typing import Any

import pytest

from portable_nn.converters.torch import read_torch, to_torch

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore")


class Branches(nn.Module):  # type: ignore[misc]
    """Parts of the same result, which are added or joined along an axis."""

    def __init__(self, parts: list[Any], axis: int | None) -> None:
        super().__init__()
        self.parts, self.axis = nn.ModuleList(parts), axis

    def forward(self, x: Any) -> Any:
        made = [part(x) for part in self.parts]
        return sum(made[1:], made[0]) if self.axis is None else torch.cat(made, self.axis)


class Call(nn.Module):  # type: ignore[misc]
    """A function as a layer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Any) -> Any:
        return FUNCTIONS[self.name](x)


class First(nn.Module):  # type: ignore[misc]
    """A layer that returns a tuple, of which the first counts."""

    def __init__(self, layer: Any, times: int = 1) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x: Any) -> Any:
        return self.layer(*[x] * self.times)[0]


FUNCTIONS = {
    "softmax": lambda x: F.softmax(x, -1),
    "mean": lambda x: x - x.mean(-1, keepdim=True),
    "clamp": lambda x: x.clamp(-0.7, 0.9),
    "scaled": lambda x: x * 0.5 + torch.sigmoid(x) ** 2,
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "masked_fill": lambda x: x.masked_fill(x < -0.5, -0.5),
    "flip": lambda x: x.flip(-1),
    "roll": lambda x: x.roll(1, -1),
    "normalize": lambda x: F.normalize(x, dim=-1, eps=1e-3),
    "chunks": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
}

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.Softsign, nn.LeakyReLU, nn.ELU,
    nn.CELU, nn.GELU, nn.Softplus, nn.Softshrink, nn.PReLU,
)  # fmt: skip


def spatial(rng: random.Random, axes: int, shape: list[int]) -> Any:
    """A layer of (channels, *sizes); changes the shape."""
    kind, channels = rng.randrange(9), shape[0]
    if kind < 3:
        groups = 2 if channels % 2 == 0 and rng.random() < 0.4 else 1
        filters = 2 * rng.randint(1, 3)
        options = {
            "padding": rng.randint(0, 1),
            "stride": rng.randint(1, 2),
            "groups": groups,
            "bias": rng.random() < 0.7,
        }
        layer = getattr(nn, f"Conv{axes}d")(channels, filters, 3 if min(shape[1:]) > 2 else 1, **options)
    elif kind == 3:
        options = {"stride": rng.randint(1, 2), "padding": rng.randint(0, 1)}
        layer = getattr(nn, f"ConvTranspose{axes}d")(channels, rng.randint(2, 4), 3, **options)
    elif kind == 4:
        layer = getattr(nn, f"BatchNorm{axes}d")(channels, affine=rng.random() < 0.7)
    elif kind == 5:
        layer = nn.GroupNorm(rng.choice([1, channels]), channels)
    elif kind == 6:
        pool = rng.choice([nn.MaxPool1d, nn.AvgPool1d][:2]).__name__[:-2]
        layer = getattr(nn, f"{pool}{axes}d")(2, stride=rng.randint(1, 2))
    elif kind == 7:
        layer = getattr(nn, f"InstanceNorm{axes}d")(channels, affine=rng.random() < 0.5)
    else:
        layer = nn.Upsample(scale_factor=2) if max(shape[1:]) < 7 else getattr(nn, f"ConstantPad{axes}d")(1, 0.3)
    return layer


def sequential(rng: random.Random, shape: list[int]) -> Any:
    """A layer of (steps, features)."""
    kind, features = rng.randrange(5), shape[1]
    if kind == 0:
        options = {"bidirectional": rng.random() < 0.5, "num_layers": rng.randint(1, 2), "bias": rng.random() < 0.8}
        return First(rng.choice([nn.LSTM, nn.GRU, nn.RNN])(features, rng.randint(2, 4), batch_first=True, **options))
    if kind == 1 and features % 2 == 0:
        return First(nn.MultiheadAttention(features, 2, batch_first=True), 3)
    if kind == 2:
        return nn.LayerNorm(features)
    if kind == 3 and features % 2 == 0:
        return nn.TransformerEncoderLayer(features, 2, 8, dropout=0.0, batch_first=True)
    return nn.Linear(features, 2 * rng.randint(1, 4), bias=rng.random() < 0.8)


def drawn(seed: int) -> tuple[Any, Any]:
    """A module and an example."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind = seed % 5
    if kind < 3:
        x = torch.randn(4, 2 * rng.randint(1, 3), *[rng.randint(4, 6) for _ in range(kind + 1)])
    else:
        x = torch.randn(4, rng.randint(3, 5), 2 * rng.randint(1, 3)) if kind == 3 else torch.randint(0, 9, (4, 5))
    layers: list[Any] = [nn.Embedding(9, 6)] if kind == 4 else []

    def size() -> list[int]:
        with torch.no_grad():
            return list(nn.Sequential(*layers).eval()(x).shape[1:])

    for _ in range(rng.randint(2, 5)):
        shape = size()
        if rng.random() < 0.35:
            layers.append(rng.choice(ACTIVATIONS)())
            continue
        if rng.random() < 0.3:
            layers.append(Call(rng.choice([*FUNCTIONS])))
            continue
        layer = spatial(rng, kind + 1, shape) if kind < 3 else sequential(rng, shape)
        with torch.no_grad():
            try:
                made = nn.Sequential(layer)(torch.zeros(4, *shape))
            except (RuntimeError, ValueError):  # A window larger than what is left; one cell that is to be normalised.
                continue
            if 0 in made.shape or made[0].numel() > 4000:
                continue
            same = made.shape[1:] == torch.Size(shape)
        layers.append(Branches([layer, nn.Identity()], rng.choice([None, 1])) if same and rng.random() < 0.4 else layer)
    if rng.random() < 0.6:
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(int(torch.tensor(size()).prod()), 3)]
    else:
        layers.append(nn.Linear(size()[-1], 3))
    return nn.Sequential(*layers).train(), x


def comes_and_goes(seed: int) -> None:
    module, x = drawn(seed)
    found = read_torch(module, x, prove_training=True, seed=seed)
    made = to_torch(found.network, prove_training=True, seed=seed)
    shapes = [{name: tuple(each.shape) for name, each in one.state_dict().items()} for one in (made, module)]
    assert shapes[0] == shapes[1]
    with torch.no_grad():
        apart = (made(x) - module.eval()(x)).abs().max()
    assert float(apart) <= 1e-5 * max(1.0, float(module(x).abs().max()))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
def test_a_random_module_comes_and_goes(seed: int) -> None:
    comes_and_goes(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(12, 512))
def test_many_random_modules_come_and_go(seed: int) -> None:
    comes_and_goes(seed)
