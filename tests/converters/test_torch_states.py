"""State dicts and optimizers' states of PyTorch, into networks and out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.torch import (
    checkpoint_to_torch,
    import_state,
    load_state,
    optimizer_from_torch,
    to_torch,
    torch_to_checkpoint,
    write_state,
)
from portable_nn.core.errors import FormatError, ShapeError, UsageError

torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def net_of(seed: int = 0, dtype: str = "float32") -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(2, 6, 6, dtype=dtype),
        pnn.Conv2d(3, 3, name="conv"),
        pnn.BatchNorm2d(name="bn"),
        pnn.ReLU(),
        pnn.Flatten(),
        pnn.Dense(4, name="fc"),
        seed=seed,
    )


def theirs(**options: Any) -> Any:
    """The same in PyTorch, as somebody writes it."""
    torch.manual_seed(1)

    class Theirs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 3, 3)
            self.bn = torch.nn.BatchNorm2d(3)
            self.fc = torch.nn.Linear(48, 4)

        def forward(self, x: Any) -> Any:
            return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))

    return Theirs(**options).eval()


def same(net: pnn.Network, module: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype("float32")
    with torch.no_grad():
        np.testing.assert_allclose(net.predict(x), module(torch.from_numpy(x)).numpy(), atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".safetensors"])
def test_files_come_in(tmp_path: Path, prefix: str, ending: str) -> None:
    module, path = theirs(), tmp_path / f"theirs{ending}"
    state = {prefix + name: each for name, each in module.state_dict().items()}
    if ending == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if prefix else state, path)
    net = net_of()
    notes = load_state(net, path)
    assert any("counters" in note for note in notes)
    same(net, module)


def test_a_network_is_made_and_proved(tmp_path: Path) -> None:
    module, path = theirs(), tmp_path / "theirs.pt"
    torch.save(module.state_dict(), path)
    net_of().save(tmp_path / "into.safetensors")
    found = import_state(path, into=tmp_path / "into.safetensors")
    same(found.network, module)
    assert found.outputs["fc"].max_abs_error < 1e-5


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_states_go_out_and_come_back(tmp_path: Path, ending: str) -> None:
    net = pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(4, bidirectional=True, layers=2, name="rnn"), seed=1)
    write_state(net, tmp_path / f"mine{ending}")
    layer = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    if ending == ".pt":
        state = torch.load(tmp_path / "mine.pt", weights_only=True)
    else:
        from safetensors.torch import load_file

        state = load_file(tmp_path / "mine.safetensors")
    layer.load_state_dict({name.removeprefix("rnn."): each for name, each in state.items()})
    other = pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(4, bidirectional=True, layers=2, name="rnn"), seed=2)
    load_state(other, tmp_path / f"mine{ending}")
    for name, array in net.parameters.items():
        np.testing.assert_array_equal(other.parameters[name], array)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    with torch.no_grad():
        np.testing.assert_allclose(other.predict(x), layer(torch.from_numpy(x))[0].numpy(), atol=1e-6)


def changed(**change: Any) -> dict[str, Any]:
    state = dict(theirs().state_dict())
    for name, value in change.items():
        key = name.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: changed(fc__bias=None), r"'fc.bias' \(4,\) is missing"),
        (
            lambda: changed(extra__weight=torch.zeros(7)),
            r"'extra.weight' \(7,\) is left over: --rename 'extra.weight='",
        ),
        (lambda: changed(fc__weight=torch.zeros(5, 48)), r"'fc.weight' is \(5, 48\), and \(4, 48\) is needed"),
        (lambda: changed(fc__weight=torch.zeros(48, 4)), r"fits transposed, --rename 'fc.weight=fc.weight.T'"),
        (lambda: changed(fc__bias=torch.zeros(4).double()), "'fc.bias' is float64, and float32 is needed"),
        (lambda: changed(fc__bias=torch.full((4,), torch.nan)), "'fc.bias' holds NaN or infinity"),
        (lambda: {f"{k}x": v for k, v in changed().items()}, "is missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_try(state: Any, message: str) -> None:
    net = net_of()
    before = {name: array.copy() for name, array in net.parameters.items()}
    with pytest.raises(ShapeError, match=message):
        load_state(net, state())
    assert all(np.array_equal(before[name], array) for name, array in net.parameters.items())


def test_what_is_no_state_dict_is_said() -> None:
    with pytest.raises(UsageError, match=r"not a .*Theirs: its state_dict\(\) is one"):
        load_state(net_of(), theirs())


def test_of_a_checkpoint_only_the_state_dict_is_asked_for(tmp_path: Path) -> None:
    """Where no name is as it is here, an optimizer beside the state dict is still none of its tensors."""
    module = torch.nn.Linear(4, 3)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    saved = {"model_state_dict": module.state_dict(), "optimizer_state_dict": optimizer.state_dict(), "epoch": 1}
    torch.save(saved, tmp_path / "c.pt")
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    with pytest.raises(ShapeError, match="2 faults") as refused:
        load_state(net, tmp_path / "c.pt")
    names = {f"model_state_dict.{name}": f"dense_1.{name}" for name in ("weight", "bias")}
    assert all(f"--rename '{there}={here}'" in str(refused.value) for there, here in names.items())
    load_state(net, tmp_path / "c.pt", rename=names)
    np.testing.assert_array_equal(net.parameters["dense_1.weight"], module.weight.detach().numpy())


def test_statistics_of_a_folded_normalization_are_left_over() -> None:
    folded = pnn.Sequential(
        pnn.Input(2, 6, 6), pnn.Conv2d(3, 3, name="conv"), pnn.ReLU(), pnn.Flatten(), pnn.Dense(4, name="fc"), seed=0
    )
    with pytest.raises(ShapeError, match=r"(?s)'bn.running_mean' .* may be folded into a convolution"):
        load_state(folded, theirs().state_dict())


def test_gates_in_another_order_are_not_taken() -> None:
    """The weights of PyTorch's LSTM under our names have another shape; under theirs they are put in order."""
    net = pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(4, name="rnn"), seed=1)
    layer = torch.nn.LSTM(3, 4)
    wrong = {"rnn.weight_l0": layer.weight_ih_l0, "rnn.recurrent_l0": layer.weight_hh_l0}
    with pytest.raises(ShapeError):
        load_state(net, wrong)


def test_a_mapping_is_proposed_looked_through_and_used(tmp_path: Path) -> None:
    module = theirs()
    state = {f"backbone.{name}": each for name, each in module.state_dict().items()}
    state["backbone.fc.weight"] = state["backbone.fc.weight"].T
    net, path = net_of(), tmp_path / "map.json"
    with pytest.raises(UsageError, match="proposed for 8 of 8 tensors"):
        load_state(net, state, map=path)
    assert json.loads(path.read_text())["backbone.fc.weight"] == "fc.weight.T"
    load_state(net, state, map=path)
    same(net, module)


def test_what_order_alone_tells_is_proposed_and_said(tmp_path: Path) -> None:
    def built(*names: str) -> Any:
        return torch.nn.ModuleDict({name: torch.nn.Linear(4, 4) for name in names})

    module, path = built("alpha", "beta", "gamma"), tmp_path / "map.json"
    net = pnn.Sequential(pnn.Input(4), *(pnn.Dense(4, name=name) for name in ("x", "y", "z")), seed=0)
    with pytest.raises(UsageError, match=r"6 of 6 tensors .*; nothing but their order says what alpha\.weight, "):
        load_state(net, module.state_dict(), map=path)
    load_state(net, module.state_dict(), map=path)
    np.testing.assert_array_equal(net.parameters["y.weight"], module["beta"].weight.detach().numpy())


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": "b", "a": ""}', "[" * 100000])
def test_damaged_mappings_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(FormatError, match="is no mapping"):
        load_state(net_of(), theirs().state_dict(), map=path)


OPTIMIZERS = [
    pnn.Adam(0.01),
    pnn.AdamW(0.01, weight_decay=0.1),
    pnn.AMSGrad(0.01),
    pnn.SGD(0.01, momentum=0.9),
    pnn.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.01),
    pnn.RMSProp(0.001),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_training_goes_on_in_pytorch_and_back(tmp_path: Path, optimizer: Any, dtype: str) -> None:
    """Three steps here, three there, three here are nine steps here."""

    def built() -> pnn.Network:
        return pnn.Sequential(
            pnn.Input(5, dtype=dtype), pnn.Dense(6, name="a"), pnn.Tanh(), pnn.Dense(2, name="b"), seed=0
        )

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)).astype(dtype), rng.normal(size=(8, 2)).astype(dtype)
    options: dict[str, Any] = {
        "loss": "mean_squared_error", "optimizer": optimizer, "batch_size": 8, "shuffle": False
    }  # fmt: skip
    whole, part = built(), built()
    whole.fit(x, y, epochs=9, **options)
    part.fit(x, y, epochs=3, checkpoint=tmp_path / "c", **options)
    module, theirs = checkpoint_to_torch(tmp_path / "c", optimizer, part)
    for _ in range(3):
        theirs.zero_grad()
        torch.nn.functional.mse_loss(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        theirs.step()
    torch_to_checkpoint(theirs, optimizer, part, module, tmp_path / "c")
    part.fit(x, y, epochs=6, checkpoint=tmp_path / "c", resume=True, **options)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(part.parameters[name], array, atol=1e-5 if dtype == "float32" else 1e-8, rtol=0)


def test_other_options_and_optimizers_are_refused() -> None:
    net = net_of()
    module = to_torch(net)
    other = torch.optim.Adam(module.parameters(), betas=(0.8, 0.999), amsgrad=True)
    with pytest.raises(UsageError, match=r"(?s)amsgrad is True there and False here.*betas is \(0.8, 0.999\)"):
        optimizer_from_torch(other, pnn.Adam(), net, module)
    with pytest.raises(UsageError, match="expected an optimizer AdamW, not Adam"):
        optimizer_from_torch(other, pnn.AdamW(), net, module)
    with pytest.raises(UsageError, match="Lion"):
        optimizer_from_torch(other, pnn.Lion(), net, module)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_what_is_imported_has_memory_of_its_own(ending: str, tmp_path: Path) -> None:
    """Weights are those that were read, and not copies; but no other network, nor the file, has them."""
    into = net_of(seed=3)
    into.metadata["origin"] = "a test"
    write_state(net_of(seed=5), tmp_path / f"state.{ending}")
    before = (tmp_path / f"state.{ending}").read_bytes()
    one, other = (import_state(tmp_path / f"state.{ending}", into=into, verify=False).network for _ in range(2))
    for name, array in one.parameters.items():
        assert array.flags.writeable
        assert array.ctypes.data % 64 == 0
        for each in (other, into):
            assert not np.shares_memory(array, each.parameters[name])
        array += 1
    for name, array in net_of(seed=5).parameters.items():
        np.testing.assert_array_equal(other.parameters[name], array)
        np.testing.assert_array_equal(one.parameters[name], array + 1)
    for name, array in net_of(seed=3).parameters.items():
        np.testing.assert_array_equal(into.parameters[name], array)
    assert (tmp_path / f"state.{ending}").read_bytes() == before
    assert one.metadata == {"origin": "a test"}
