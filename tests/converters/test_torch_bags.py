"""``nn.EmbeddingBag`` of bags of one length and of any: outputs and gradients are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.converters.torch import read_torch, to_torch

torch: Any = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


class Bags(nn.Module):  # type: ignore[misc]
    """Bags of words, and a layer behind them."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(10, 3, **options), nn.Linear(3, 2)

    def forward(self, ids: Any, offsets: Any = None, weights: Any = None) -> Any:
        return self.head(self.bag(ids, offsets, per_sample_weights=weights))


OPTIONS = {
    "sum": {"mode": "sum"},
    "mean": {"mode": "mean"},
    "max": {"mode": "max"},
    "sum without padding": {"mode": "sum", "padding_idx": 2},
    "mean without padding": {"mode": "mean", "padding_idx": 2},
    "max without padding": {"mode": "max", "padding_idx": 2},
}

IDS = torch.tensor([1, 2, 2, 4, 5, 9, 1])
OFFSETS = torch.tensor([0, 3, 3, 4, 7])
"""The second bag is empty, and so is the last."""


@pytest.mark.parametrize("name", OPTIONS)
def test_bags_of_one_length_compute_and_train_alike_and_come_back(name: str) -> None:
    module = Bags(**OPTIONS[name])
    found = read_torch(module, torch.tensor([[1, 2, 2], [4, 5, 5]]), prove_training=True)
    assert any("5 steps" in note for note in found.notes)
    assert [*to_torch(found.network, prove_training=True).state_dict()] == [*module.state_dict()]


@pytest.mark.parametrize("name", OPTIONS)
def test_bags_of_any_length_compute_alike(name: str) -> None:
    module = Bags(**OPTIONS[name])
    network = read_torch(module, (IDS[:5], OFFSETS[1:3] - 3), dynamic={"ids": {0: "words"}}).network
    for ids, offsets in ((IDS, OFFSETS), (IDS[:0], OFFSETS[:1]), (IDS[1:3], OFFSETS[:1])):
        with torch.no_grad():
            wanted = module(ids, offsets)
        found = network.compute("numpy", {"ids": ids.numpy(), "offsets": offsets.numpy()})["output"]
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    again = to_torch(network)
    with torch.no_grad():
        np.testing.assert_allclose(again(IDS, OFFSETS), module(IDS, OFFSETS), atol=1e-6)
    module.zero_grad(), again.zero_grad()
    (module(IDS, OFFSETS) ** 2).sum().backward(), (again(IDS, OFFSETS) ** 2).sum().backward()
    np.testing.assert_allclose(again.bag.weight.grad, module.bag.weight.grad, atol=1e-5)


def test_the_last_offset_may_be_the_end_and_words_may_have_weights() -> None:
    module = Bags(mode="sum", include_last_offset=True)
    example = {"ids": IDS, "offsets": OFFSETS, "weights": torch.rand(7)}
    network = read_torch(module, example, dynamic={"ids": {0: "words"}, "weights": {0: "words"}}).network
    with torch.no_grad():
        wanted = module(**example)
    found = network.compute("numpy", {name: each.numpy() for name, each in example.items()})["output"]
    assert found.shape == (4, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
