"""Modules of PyTorch come in by from_torch and out by to_torch: the same outputs, and the same state dict."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx
from portable_nn.converters.torch import from_torch, load_state, to_torch, write_state, write_torch
from portable_nn.core.errors import ShapeError

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


class Tied(torch.nn.Module):  # type: ignore[misc]
    """A table of words that is read at both ends, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(11, 6)
        self.scores = torch.nn.Linear(6, 11)
        self.scores.weight = self.words.weight
        self.register_buffer("places", torch.arange(20).reshape(1, 20), persistent=False)
        self.where = torch.nn.Embedding(20, 6)

    def forward(self, ids: Any) -> Any:
        return self.scores(torch.tanh(self.words(ids) + self.where(self.places[:, : ids.shape[1]])))


def test_tied_weights_and_buffers_that_are_not_saved_come_back(tmp_path: Path) -> None:
    module, ids = Tied(), torch.randint(0, 11, (2, 7))
    network = from_torch(module, ids)
    made = to_torch(network, prove_training=True)
    assert {n: v.shape for n, v in made.state_dict().items()} == {n: v.shape for n, v in module.state_dict().items()}
    assert made.scores.weight is made.words.weight
    assert dict(made.named_buffers())["places"].equal(module.places)
    made.load_state_dict(module.state_dict())
    network.save(tmp_path / "net.safetensors")
    write_torch(pnn.load(tmp_path / "net.safetensors"), tmp_path / "tied.py")
    space: dict[str, Any] = {"__name__": "tied", "__file__": str(tmp_path / "tied.py")}
    exec((tmp_path / "tied.py").read_text(), space)
    loaded = space["load"]()
    assert loaded.scores.weight is loaded.words.weight
    with torch.no_grad():
        np.testing.assert_allclose(loaded(ids).numpy(), module.eval()(ids).numpy(), atol=1e-5)
    write_state(network, tmp_path / "state.safetensors")
    write_state(network, tmp_path / "state.pt")
    for name in ("state.safetensors", "state.pt"):
        load_state(network, tmp_path / name)
    other = {**module.state_dict(), "scores.weight": torch.zeros(11, 6)}
    with pytest.raises(ShapeError, match="are one parameter in the network"):
        load_state(network, other)


@pytest.mark.long
def test_files_of_exporters_take_states_by_either_name_of_a_tied_weight(tmp_path: Path) -> None:
    """ONNX has one name of it; files of weights have both, or the other one alone."""
    module, path = Tied(), tmp_path / "tied.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, 4, dtype=torch.long),), str(path), dynamo=False,
                          do_constant_folding=False, input_names=["ids"])  # fmt: skip
    network, other = import_onnx(path), Tied()
    state = other.state_dict()
    names = [name for name in state if name in ("words.weight", "scores.weight")]
    here = [name for name in names if name in network.parameters]
    assert len(names) == 2
    assert len(here) == 1
    other.eval()
    ids = torch.randint(0, 11, (1, 4))
    for left_out in (None, *names):
        network.load_weights({name: np.zeros_like(array) for name, array in network.parameters.items()})
        notes = load_state(network, {name: each for name, each in state.items() if name != left_out})
        assert any("are tied, and one parameter here" in note for note in notes) is (left_out not in {*names} - {*here})
        with torch.no_grad():
            np.testing.assert_allclose(network.predict(ids.numpy()), other(ids).numpy(), atol=1e-5)
    both = {**state, names[0]: state[names[0]] + 1}
    with pytest.raises(ShapeError, match="is left over"):
        load_state(network, both)
