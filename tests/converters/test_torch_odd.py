"""Modules and files of an unusual kind: each works, with a note on what differs, or is refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_functions import Of

from portable_nn.converters.torch import from_torch, load_state, read_torch, to_torch
from portable_nn.core.errors import FormatError, ShapeError, UsageError, VerificationError

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


class Frozen(nn.Module):  # type: ignore[misc]
    """A batch norm that is kept from training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.bn.eval()
        return self

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x))


def cells(self: Any, x: Any) -> Any:
    """An LSTMCell in a loop over a known number of steps."""
    state = (x.new_zeros(x.shape[0], 3), x.new_zeros(x.shape[0], 3))
    made = []
    for step in range(x.shape[1]):
        state = self.cell(x[:, step], state)
        made.append(state[0])
    return torch.stack(made, 1)


def in_place(self: Any, x: Any) -> Any:
    """Writing into a tensor and a part of it."""
    y = self.linear(x)
    y.mul_(2)
    y[:, 0] = 0
    y += x
    return F.relu_(y)


class Nested(nn.Module):  # type: ignore[misc]
    """Dicts in and out, with what is no tensor, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, batch: Any, flag: Any = None) -> Any:
        return {"a": self.linear(batch["x"]), "b": (batch["y"] * 2, flag), "n": 3}


SHARED = nn.Linear(4, 4)
X = torch.linspace(-1, 1, 8).reshape(2, 4)

MODULES: dict[str, tuple[Any, Any]] = {
    "a layer that is used twice": (nn.Sequential(SHARED, nn.Tanh(), SHARED), X),
    "writing in place": (Of(in_place, linear=nn.Linear(4, 4)), (X,)),
    "dicts in and out": (Nested(), {"batch": {"x": X, "y": X[:, :3]}}),
    "an LSTMCell in a loop": (Of(cells, cell=nn.LSTMCell(4, 3)), (torch.randn(2, 5, 4),)),
    "channels last": (nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), torch.randn(2, 3, 5, 5)),
    "a batch norm that is frozen": (Frozen(), torch.randn(2, 3, 5, 5)),
    "DataParallel": (nn.DataParallel(nn.Linear(4, 3)), X),
    "weight_norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), X),
}


@pytest.mark.parametrize("name", MODULES)
def test_it_computes_and_trains_as_in_pytorch_and_comes_back(name: str) -> None:
    module, example = MODULES[name]
    found = read_torch(module, example, prove_training=True)
    assert any("5 steps" in note for note in found.notes)
    back = to_torch(found.network, prove_training=True).state_dict()
    assert {key: each.shape for key, each in back.items()} == {k: t.shape for k, t in module.state_dict().items()}


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_a_spectral_norm_stays_as_it_is_and_is_noted(norm: Any) -> None:
    module = nn.Sequential(norm(nn.Linear(4, 3)), nn.Tanh())
    before = [*module.state_dict()]
    found = read_torch(module, X, prove_training=True)
    assert [*module.state_dict()] == before
    assert set(found.network.parameters) == {"0.weight", "0.bias"}
    assert any("'0.weight' is the weight as its parametrization has made it" in note for note in found.notes)
    with torch.no_grad():
        np.testing.assert_allclose(found.network.predict(X.numpy()), module.eval()(X), atol=1e-6)


def test_bfloat16_may_become_float16() -> None:
    module = nn.Linear(4, 3).bfloat16()
    found = read_torch(module, X.bfloat16(), bfloat16="float16")
    assert {array.dtype.name for array in found.network.parameters.values()} == {"float16"}
    assert any("bfloat16 is read as float16" in note for note in found.notes)
    module.weight.data[0, 0] = 1e30
    with pytest.raises(UsageError, match=r"'weight' holds numbers beyond 65504"):
        from_torch(module, X.bfloat16(), bfloat16="float16")


def test_weights_of_nan_are_noted() -> None:
    module = nn.Linear(4, 3)
    module.weight.data[0, 0] = torch.nan
    assert "'weight' holds NaN or infinity in 1 of 12 places" in read_torch(module, X).notes


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda self, x: torch.nonzero(x), "aten.nonzero.* depends on the data; a mask"),
        (lambda self, x: torch.masked_select(x, x > 0), "aten.masked_select.* depends on the data; a mask"),
        (lambda self, x: x[x > 0], "places that are given by a mask"),
        (lambda self, x: x[: int(x[0, 0].item())], "A size or a branch depends on numbers in a tensor"),
    ],
)
def test_sizes_that_depend_on_the_data_are_refused(function: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_torch(Of(function), (X,))


def scripted() -> Any:
    return torch.jit.script(nn.Linear(4, 3))


def traced() -> Any:
    return nn.Sequential(torch.jit.trace(nn.Linear(4, 3), X))


def quantized() -> Any:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear})


def half_complex() -> Any:
    return Of(lambda self, x: (self.w * x).real, w=nn.Parameter(torch.ones(4, dtype=torch.complex64)))


@pytest.mark.parametrize(
    ("module", "example", "said"),
    [
        (scripted, X, "the module is a RecursiveScriptModule, which is compiled already: expected the torch.nn.Module"),
        (traced, X, "'0' is a TopLevelTracedModule, which is compiled already.* load this one's state_dict"),
        (quantized, X, "'0' is quantized .*: expected layers of floats; convert the module as it was before"),
        (lambda: nn.Linear(4, 3, device="meta"), X, "'weight' is on the meta device, and has no numbers.*to_empty"),
        (lambda: nn.Linear(4, 3), X.to("meta"), "a tensor of the example is on the meta device.*zeros_like"),
        (half_complex, X, "'w' holds complex numbers .torch.complex64.*torch.view_as_real"),
        (lambda: nn.Identity(), X.to(torch.complex64), "a tensor of the example holds complex numbers"),
        (lambda: Of(lambda self, x: torch.fft.rfft(x).abs()), (X,), "_fft_r2c.*no complex numbers here.*cosines"),
    ],
)
def test_what_is_no_network_is_refused_with_what_to_do(module: Any, example: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_torch(module(), example)


def test_bilinear_layers_compute_and_train_alike() -> None:
    found = read_torch(nn.Bilinear(4, 4, 3), (X, X.flip(0)), prove_training=True)
    assert set(found.network.parameters) == {"weight", "bias"}
    assert any("5 steps" in note for note in found.notes)


def test_an_example_without_a_batch_keeps_its_channels() -> None:
    found = read_torch(nn.Conv2d(3, 4, 3), torch.randn(3, 5, 5))
    assert found.network.graph.inputs[0].shape == (3, 5, 5)
    assert any("is always 3: the module fixes it" in note for note in found.notes)


@pytest.mark.parametrize("layer", [nn.LSTM(4, 3, batch_first=True), nn.GRU(4, 3, 2, batch_first=True)], ids=str)
def test_an_open_length_of_a_recurrent_layer_is_open(layer: Any) -> None:
    module = Of(lambda self, x: self.layer(x)[0], layer=layer)
    network = from_torch(module, (torch.zeros(2, 7, 4),), dynamic={"given.0": {1: "length"}})
    assert network.graph.inputs[0].shape == ("batch", "length", 4)
    x = torch.randn(3, 5, 4)
    np.testing.assert_allclose(network.predict(x.numpy()), module(x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "function", [lambda self, x: x.reshape(-1, 20), lambda self, x: x * torch.arange(5.0)[:, None]]
)
def test_a_size_that_was_asked_to_be_open_is_open_or_refused(function: Any) -> None:
    example = (torch.zeros(2, 5, 4),)
    with pytest.raises(UsageError, match=r"axis 1 of 'given.0' is always 5: .* and 'length' was asked for: .*x.shape"):
        from_torch(Of(function), example, dynamic={"given.0": {1: "length"}})
    assert from_torch(Of(function), example).graph.inputs[0].shape == ("batch", 5, 4)


def test_a_branch_on_the_batch_size_is_said() -> None:
    module = Of(lambda self, x: x * 2 if x.shape[0] > 2 else x + 0)
    found = read_torch(module, (X,))
    assert found.network.graph.inputs[0].shape == (2, 4)
    assert any("is always 2: the module fixes it, or branches on it" in note for note in found.notes)
    with pytest.raises(VerificationError, match=r"the branch where .*size\(\)\[0\] > 2: .*dynamic="):
        from_torch(module, (torch.ones(3, 4),))
    fixed = read_torch(module, (torch.ones(3, 4),), dynamic={"given.0": {0: None}}).network
    assert fixed.graph.inputs[0].shape == (3, 4)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(UsageError, match="no output of floats has the batch first, and any numbers"):
        from_torch(nn.Linear(4, 0), X, prove_training=True)


# -- state dicts


def network_and_state() -> tuple[Any, dict[str, Any]]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    network = from_torch(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), X, verify=False)
    return network, module.state_dict()


def is_loaded(network: Any, state: dict[str, Any]) -> bool:
    return all(np.array_equal(array, state[name].numpy()) for name, array in network.parameters.items())


@pytest.mark.parametrize("wrapped", [
    lambda state: {f"module.{name}": each for name, each in state.items()},
    lambda state: {f"_orig_mod.module.{name}": each for name, each in state.items()},
    lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "epoch": 3},
    lambda state: {"state_dict": {f"model.{name}": each for name, each in state.items()}, "epoch": 3},
    lambda state: {"n_averaged": torch.tensor(5), **{f"module.{name}": each for name, each in state.items()}},
    lambda state: {"decay": 0.99, "shadow": state},
    lambda state: {"net": state},
])  # fmt: skip
def test_wrapped_and_nested_states_are_found_in_dicts_and_files(wrapped: Any, tmp_path: Path) -> None:
    _, state = network_and_state()
    torch.save(wrapped(state), tmp_path / "m.pt")
    for source in (wrapped(state), tmp_path / "m.pt"):
        network, _ = network_and_state()
        load_state(network, source)
        assert is_loaded(network, state)


def test_of_two_states_none_is_chosen() -> None:
    network, state = network_and_state()
    with pytest.raises(ShapeError, match="left over"):
        load_state(network, {"model": state, "ema": state})


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_read_by_their_index(ending: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    network, state = network_and_state()
    save = save_file if ending == "safetensors" else torch.save
    places = {name: f"model-0000{1 + place % 2}-of-00002.{ending}" for place, name in enumerate(state)}
    for file in set(places.values()):
        save({name: state[name] for name in state if places[name] == file}, tmp_path / file)
    index = tmp_path / f"model.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    load_state(network, index)
    assert is_loaded(network, state)
    index.write_text(json.dumps({"weight_map": {"0.weight": "../other.bin"}}))
    with pytest.raises(FormatError, match="no file beside it"):
        load_state(network, index)
    with pytest.raises(UsageError, match=rf"is one of 2 files: give their index, .*model.{ending}.index.json"):
        load_state(network, tmp_path / f"model-00001-of-00002.{ending}")
    with pytest.raises(UsageError, match=rf"is a folder: expected the file of the weights.*model.{ending}.index.json"):
        load_state(network, tmp_path)
    index.write_text(json.dumps({"weight_map": {**places, "other": places["0.weight"]}}))
    with pytest.raises(FormatError, match="says that 'other' is in"):
        load_state(network, index)
