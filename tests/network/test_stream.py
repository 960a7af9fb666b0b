"""Sequences in parts: states as inputs and outputs, kept by ``Stream`` and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.operators import integers

torch: Any = pytest.importorskip("torch")

LAYERS: dict[str, Any] = {
    "rnn": lambda: pnn.RNN(5, nonlinearity="relu"),
    "gru": lambda: pnn.GRU(5, layers=2),
    "lstm": lambda: pnn.LSTM(5, layers=2, dropout=0.2),
    "lstm without bias": lambda: pnn.LSTM(5, bias=False),
}


def _tagger(layer: Any, dtype: str = "float32") -> pnn.Network:
    return pnn.Sequential(pnn.Input("steps", 3, dtype=dtype), layer, pnn.LayerNorm(), pnn.Dense(2), seed=0)


def _noise(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_parts_give_what_the_whole_gives(make: Any, engine: Any) -> None:
    net, x = _tagger(make()), _noise(2, 17, 3)
    stream = net.stream(engine=engine)
    parts = [stream(part) for part in np.split(x, [1, 2, 9], axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), net.predict(x), atol=1e-6)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_parts_give_what_the_whole_gives_in_double_precision(make: Any) -> None:
    net, x = _tagger(make(), "float64"), _noise(2, 17, 3, dtype="float64")
    parts = list(map(net.stream(), np.split(x, [1, 2, 9], axis=1)))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), net.predict(x), rtol=0, atol=1e-12)


def test_the_states_are_those_of_pytorch() -> None:
    net = pnn.Sequential(pnn.Input("steps", 3, dtype="float64"), pnn.LSTM(4, name="lstm"), seed=0)
    theirs = torch.nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    order = [0, 2, 3, 1]  # The standard has i, o, f, c and PyTorch i, f, c, o.
    blocks = {name: net.parameters[f"lstm.{name}_l0"][0] for name in ("weight", "recurrent", "bias")}
    with torch.no_grad():
        for name, block in (("weight_ih_l0", blocks["weight"]), ("weight_hh_l0", blocks["recurrent"])):
            getattr(theirs, name).copy_(torch.tensor(block.reshape(4, 4, -1)[order].reshape(16, -1)))
        for name, block in zip(("bias_ih_l0", "bias_hh_l0"), blocks["bias"].reshape(2, 4, 4), strict=True):
            getattr(theirs, name).copy_(torch.tensor(block[order].reshape(-1)))
    stream, state = net.stream(), None
    for part in np.split(_noise(2, 11, 3, dtype="float64"), [3, 4], axis=1):
        wanted, state = theirs(torch.tensor(part), state)
        np.testing.assert_allclose(stream(part), wanted.detach(), atol=1e-12)
        for role, tensor in zip("hc", state, strict=True):
            np.testing.assert_allclose(stream.states[f"lstm_layer_1.{role}"], tensor[0].detach(), atol=1e-12)


def test_causal_convolutions_keep_the_steps_that_they_still_look_at() -> None:
    layers = (pnn.Conv1d(4, 3, causal=True), pnn.ReLU(), pnn.Conv1d(4, 2, causal=True, dilation=5, groups=2))
    net, x = pnn.Sequential(pnn.Input(2, "steps"), *layers, seed=0), _noise(3, 2, 20)
    stateful = net.stateful()
    assert [(value.name, value.shape) for value in stateful.graph.inputs[1:]] == [
        ("conv_1.past", ("batch", 2, 2)),
        ("conv_2.past", ("batch", 4, 5)),
    ]
    parts = list(map(stateful.stream(), np.split(x, [1, 2, 9], axis=2)))
    np.testing.assert_allclose(np.concatenate(parts, axis=2), net.predict(x), atol=1e-6)


def test_a_judge_of_the_whole_answers_after_each_part() -> None:
    net, x = pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(5, last=True), pnn.Dense(2), seed=0), _noise(2, 12, 3)
    stream = net.stream()
    for end in (4, 5, 12):
        start = {4: 0, 5: 4, 12: 5}[end]
        np.testing.assert_allclose(stream(x[:, start:end]), net.predict(x[:, :end]), atol=1e-6)


def test_lengths_are_those_of_the_part() -> None:
    x, lengths = pnn.Input("steps", 3, name="x"), pnn.Input(name="lengths", dtype="int32")
    net = pnn.Network([x, lengths], pnn.GRU(5)(x, lengths), seed=0)
    data, count = _noise(2, 9, 3), np.array([9, 6], "int32")
    stream = net.stream()
    parts = [stream({"x": data[:, :4], "lengths": np.array([4, 4], "int32")})]
    parts.append(stream({"x": data[:, 4:], "lengths": count - 4}))
    found = np.concatenate([next(iter(part.values())) for part in parts], axis=1)
    np.testing.assert_allclose(found, next(iter(net.predict({"x": data, "lengths": count}).values())), atol=1e-6)


@pytest.mark.long
@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(1, 29), unique=True, max_size=8))
def test_cuts_do_not_matter(cuts: list[int]) -> None:
    x = _noise(1, 30, 3)
    parts = list(map(STATEFUL.stream(), np.split(x, sorted(cuts), axis=1)))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), STATEFUL_OF.predict(x), atol=1e-6)


STATEFUL_OF = _tagger(pnn.LSTM(5, layers=2))
STATEFUL = STATEFUL_OF.stateful()


def test_a_fixed_number_of_steps_is_opened() -> None:
    net, x = pnn.Sequential(pnn.Input(17, 3), pnn.LSTM(5), pnn.Dense(2), seed=0), _noise(2, 17, 3)
    assert net.stateful().graph.inputs[0].shape == ("batch", "steps", 3)
    parts = list(map(net.stream(), np.split(x, [4], axis=1)))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), net.predict(x), atol=1e-6)
    fixed = pnn.Sequential(pnn.Input(17, 3), pnn.LSTM(5), pnn.Flatten(), pnn.Dense(2), seed=0)
    with pytest.raises(UsageError, match=r"the number of steps is fixed, 17, and nodes depend on it"):
        fixed.stateful()


def test_files_keep_it_and_onnxruntime_does_it_by_hand(tmp_path: Path) -> None:
    net, x = _tagger(pnn.LSTM(5, layers=2)), _noise(2, 9, 3)
    stateful = net.stateful()
    stateful.save(tmp_path / "t.safetensors")
    assert pnn.load(tmp_path / "t.safetensors").inputs == stateful.inputs
    export_onnx(net, tmp_path / "t.onnx", stateful=True)
    again = import_onnx(tmp_path / "t.onnx")
    assert again.inputs == stateful.inputs
    assert again.stateful() is again

    session = onnxruntime.InferenceSession(tmp_path / "t.onnx")
    follows = {info.name: info.state for info in again.inputs if info.state}
    states = {name: np.zeros((2, 5), "float32") for name in follows}
    names, parts = [output.name for output in session.get_outputs()], []
    for part in np.split(x, [3, 4], axis=1):
        found = dict(zip(names, session.run(None, {"input": part, **states}), strict=True))
        states = {name: found[after] for name, after in follows.items()}
        parts.append(found[names[0]])
    np.testing.assert_allclose(np.concatenate(parts, axis=1), net.predict(x), atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # Of the exporter, on itself.
def test_states_of_other_programs_are_marked(tmp_path: Path) -> None:
    """A network by PyTorch whose states are inputs and outputs already."""

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(3, 5)

        def forward(self, x: Any, h: Any) -> tuple[Any, Any]:
            y, after = self.gru(x, h)
            return y, after

    x, h = torch.randn(6, 1, 3), torch.zeros(1, 1, 5)
    theirs = Net().eval()
    options: Any = {"input_names": ["x", "h"], "output_names": ["y", "hn"], "dynamic_axes": {"x": {0: "steps"}}}
    torch.onnx.export(theirs, (x, h), str(tmp_path / "g.onnx"), dynamo=False, **options)
    net = import_onnx(tmp_path / "g.onnx").stateful()
    assert {info.name: info.state for info in net.inputs}["h"] == "hn"
    stream = net.stream()
    found, wanted = np.concatenate([stream(x[:2].numpy()), stream(x[2:].numpy())]), theirs(x, h)[0].detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    rows = list(pnn.predict(tmp_path / "g.onnx", x[:, 0].numpy(), stream=True))
    np.testing.assert_allclose([row.values for row in rows], wanted[:, 0], atol=1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "both directions": (
        lambda: [pnn.GRU(4, bidirectional=True)],
        r"'gru_layer_1' \(GRU\) has no state .* bidirectional",
    ),
    "attention": (lambda: [pnn.GRU(4), pnn.MultiHeadAttention(2)], r"'attention_1.* gives other numbers|\(Attention\)"),
    "positions": (lambda: [pnn.SinusoidalPositions(50), pnn.GRU(4)], r"looks at steps of other parts"),
    "nothing kept": (lambda: [pnn.Dense(4)], r"no layer keeps a state"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_needs_other_parts_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pnn.Sequential(pnn.Input("steps", 3), *make(), seed=0).stateful()


def test_strides_and_states_that_are_no_zeros_are_refused() -> None:
    strided = pnn.Sequential(pnn.Input(3, "steps"), pnn.Conv1d(4, 3, causal=True, stride=2), seed=0)
    with pytest.raises(UsageError, match="no layer keeps a state"):
        strided.stateful()
    x = pnn.Input("steps", 3)
    first = pnn.emit("Unsqueeze", pnn.emit("ReduceMax", x, integers([1]), keepdims=0), integers([0]))
    started = pnn.Network(x, pnn.GRU(3)(x, states=[first]), seed=0)
    with pytest.raises(UsageError, match="which are not zeros"):
        started.stateful()


def test_a_part_that_does_not_fit_leaves_the_states() -> None:
    stream = _tagger(pnn.GRU(5)).stream()
    stream(_noise(2, 4, 3))
    before = dict(stream.states)
    with pytest.raises(ShapeError, match=r"this part needs \(3, 5\): as many sequences as the part before"):
        stream(_noise(3, 4, 3))
    with pytest.raises(ShapeError, match="input 'input' needs"):
        stream(_noise(2, 4, 2))
    with pytest.raises(UsageError, match="is a state, which the stream keeps"):
        stream({"input": _noise(2, 4, 3), "gru_layer_1.h": _noise(2, 5)})
    assert all(stream.states[name] is array for name, array in before.items())
    stream.reset()
    assert stream(_noise(3, 4, 3)).shape == (3, 4, 2)


def test_states_can_be_put_back() -> None:
    stream, x = _tagger(pnn.LSTM(5)).stream(), _noise(1, 6, 3)
    stream(x)
    kept, first = stream.states, stream(x)
    stream.states = kept
    np.testing.assert_array_equal(stream(x), first)
