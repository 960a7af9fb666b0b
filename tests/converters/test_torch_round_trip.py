"""Modules of PyTorch come in by from_torch and out by to_torch: the same outputs, and the same state dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portable_nn.converters.torch import from_torch, to_torch

torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


class Recurrent(torch.nn.Module):  # type: ignore[misc]
    """Classes for each step."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.rnn = kind(8, 6, batch_first=True, **options)
        self.out = torch.nn.LazyLinear(4)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x)[0])


def back(module: Any, x: Any, **options: Any) -> None:
    """Out again: the same class of state dict, the same outputs."""
    with torch.no_grad():
        wanted = module.eval()(x)
    made = to_torch(from_torch(module, x, verify=False, **options), verify=False)
    ours, theirs = ({n: tuple(v.shape) for n, v in each.state_dict().items()} for each in (made, module))
    assert ours == theirs
    assert {n for n, v in made.named_parameters() if v.requires_grad} == {n for n, _ in module.named_parameters()}
    with torch.no_grad():
        np.testing.assert_allclose(made(x).numpy(), wanted.numpy(), atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.LSTM])
def test_recurrent_layers_come_back(kind: Any) -> None:
    x = torch.randn(2, 5, 8)
    module = Recurrent(kind, bidirectional=True)
    module(x)
    back(module, x)


def encoder() -> Any:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


def torchvisions(name: str) -> Callable[[], Any]:
    return lambda: getattr(pytest.importorskip("torchvision").models, name)()


@pytest.mark.long
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (encoder, (2, 7, 16)),
        (torchvisions("resnet18"), (2, 3, 64, 64)),
        (torchvisions("mobilenet_v3_small"), (2, 3, 64, 64)),
    ],
)
def test_models_come_back(build: Callable[[], Any], shape: tuple[int, ...]) -> None:
    back(build(), torch.randn(shape))
