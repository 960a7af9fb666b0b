"""Recurrent layers of PyTorch: open lengths, packed sequences, projected states, with PyTorch as the other side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.converters.torch import from_torch, read_torch, to_torch
from portable_nn.core.errors import UsageError, VerificationError

torch: Any = pytest.importorskip("torch")
nn = torch.nn
pack, pad = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


class Tagger(nn.Module):  # type: ignore[misc]
    """Words, a recurrent layer over packed sequences, and tags; and the states behind the last step of each."""

    def __init__(
        self, kind: str, *, is_sorted: bool = False, cut: bool = False, fill: float = 0.0, **options: Any
    ) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(10, 4), getattr(nn, kind)(4, 5, **options)
        width = (options.get("proj_size") or 5) * (2 if self.layer.bidirectional else 1)
        self.tags, self.how = nn.Linear(width, 3), (is_sorted, cut, fill)

    def forward(self, ids: Any, lengths: Any) -> Any:
        is_sorted, cut, fill = self.how
        first = self.layer.batch_first
        x = self.words(ids) if first else self.words(ids).transpose(0, 1)
        packed = pack(x, lengths.cpu(), batch_first=first, enforce_sorted=is_sorted)
        made, last = self.layer(packed)
        y, again = pad(made, batch_first=True, padding_value=fill, total_length=None if cut else ids.shape[1])
        return self.tags(y), (last[0] if isinstance(last, tuple) else last).transpose(0, 1), again


PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "LSTM": ("LSTM", {"batch_first": True}),
    "two layers, both ways, sorted": ("LSTM", {"bidirectional": True, "num_layers": 2, "is_sorted": True}),
    "GRU": ("GRU", {"bidirectional": True, "batch_first": True}),
    "RNN": ("RNN", {"nonlinearity": "relu", "cut": True}),
    "projected, and filled": ("LSTM", {"proj_size": 2, "num_layers": 2, "fill": 1.5}),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_sequences_compute_and_train_alike_and_come_back(name: str) -> None:
    kind, options = PACKED[name]
    torch.manual_seed(0)
    module = Tagger(kind, **options).eval()
    example = {"ids": torch.randint(0, 10, (3, 7)), "lengths": torch.tensor([7, 3, 2])}
    found = read_torch(module, example, dynamic={"ids": {1: "length"}}, prove_training=True)
    assert any("cuts them to the longest" in note for note in found.notes) == bool(options.get("cut"))
    ids, lengths = torch.randint(0, 10, (4, 9)), torch.tensor([9, 8, 1, 1])
    with torch.no_grad():
        wanted = module(ids, lengths)
    made = found.network.compute("numpy", {"ids": ids.numpy(), "lengths": lengths.numpy()})
    for one, other in zip(made.values(), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    again = to_torch(found.network, prove_training=True)
    assert {key: each.shape for key, each in again.state_dict().items()} == {
        key: each.shape for key, each in module.state_dict().items()
    }


class Layer(nn.Module):  # type: ignore[misc]
    """A recurrent layer alone."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(4, 5, **options)

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_number_of_steps_is_open(kind: str) -> None:
    module = Layer(kind, num_layers=2, bidirectional=True, batch_first=True)
    network = from_torch(module, torch.randn(2, 7, 4), dynamic={"x": {1: "length"}})
    assert network.graph.inputs[0].shape == ("batch", "length", 4)
    for length in (1, 3, 20):
        x = torch.randn(2, length, 4)
        with torch.no_grad():
            np.testing.assert_allclose(network.compute("numpy", {"x": x.numpy()})["output"], module(x), atol=1e-6)
    again = to_torch(network)
    assert type(again.layer).__name__ == kind  # Still one layer of PyTorch.


class Projected(nn.Module):  # type: ignore[misc]
    """An LSTM whose states are projected, with states before the first step."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, proj_size=3, batch_first=True, **options)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        y, last = self.lstm(x, (h.transpose(0, 1).contiguous(), c.transpose(0, 1).contiguous()))
        return y, last[0].transpose(0, 1), last[1].transpose(0, 1)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "bias": False}, {"num_layers": 2, "dropout": 0.1}])
def test_projected_states_compute_and_train_alike_and_come_back(options: dict[str, Any]) -> None:
    module = Projected(**options)
    count = module.lstm.num_layers * (2 if module.lstm.bidirectional else 1)
    example = {"x": torch.randn(2, 7, 4), "h": torch.randn(2, count, 3), "c": torch.randn(2, count, 5)}
    found = read_torch(module, example, dynamic={"x": {1: "length"}}, prove_training=True)
    again = to_torch(found.network, prove_training=True)
    assert {key: each.shape for key, each in again.state_dict().items()} == {
        key: each.shape for key, each in module.state_dict().items()
    }


def test_a_layer_of_computed_weights_comes_back_whatever_it_is() -> None:
    """A module that was written for a network with such a layer is exported again."""
    module = Projected()
    example = {"x": torch.randn(2, 7, 4), "h": torch.randn(2, 1, 3), "c": torch.randn(2, 1, 5)}
    again = to_torch(from_torch(module, example, dynamic={"x": {1: "length"}}))
    network = from_torch(again, example, dynamic={"x": {1: "length"}})
    with torch.no_grad():
        wanted = module(**example)[0]
    found = network.compute("numpy", {name: each.numpy() for name, each in example.items()})
    np.testing.assert_allclose(next(iter(found.values())), wanted, atol=1e-6)


def test_what_is_packed_can_be_read_by_recurrent_layers_only() -> None:
    class Inside(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, lengths: Any) -> Any:
            return pack(x, lengths, batch_first=True).data.mean()

    x, lengths = torch.randn(2, 7, 4), torch.tensor([7, 3])
    with pytest.raises(UsageError, match="what is packed goes through recurrent layers and pad_packed_sequence only"):
        from_torch(Inside(), (x, lengths))
    with pytest.raises(UsageError, match=r"has a PackedSequence, .*the padded tensor and the lengths"):
        from_torch(nn.LSTM(4, 5), (pack(x, lengths, batch_first=True),))
    assert pack(x, lengths, batch_first=True).data.shape == (10, 4)  # PyTorch is as it was.


# -- functions with a backward of their own


class Straight(torch.autograd.Function):  # type: ignore[misc]
    """The sigmoid, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Any:
        return gradient[0]


class Binary(nn.Module):  # type: ignore[misc]
    """A layer and a function that is trained otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return Straight.apply(self.layer(x))


def test_a_backward_of_its_own_is_refused_and_noted_where_evaluation_counts() -> None:
    with pytest.raises(UsageError, match=r"the backward of Straight \(an autograd\.Function\) is not kept"):
        read_torch(Binary(), torch.randn(2, 4))
    found = read_torch(Binary(), torch.randn(2, 4), training="evaluation")
    assert [note for note in found.notes if "the backward of Straight (an autograd.Function) is not kept" in note]
    with pytest.raises(VerificationError, match=r"'layer\.weight' differs"):
        read_torch(Binary(), torch.randn(2, 4), prove_training=True, training="evaluation")
    plain = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    assert not read_torch(plain, torch.randn(2, 4)).notes
