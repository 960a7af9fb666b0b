"""How conversions prove themselves: what both sides are run on, what is reported where they part, and recordings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import DataError, FormatError, UsageError, VerificationError
from portable_nn.core.graph import Graph, Node, Value
from portable_nn.engines.recording import Recorder, read_recorded, save_recorded
from portable_nn.layers import Input
from portable_nn.network import Network
from portable_nn.onnx.samples import SIZES, spans, varied
from portable_nn.onnx.session import Session
from portable_nn.onnx.verify import Proof, Tolerance, compare
from portable_nn.onnx.writing import to_model
from portable_nn.operators import REGISTRY, Leaf, Symbol, constant, emit, infer, integers, trace

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graph_of(inputs: Sequence[Leaf], outputs: Symbol | Sequence[Symbol]) -> Graph:
    return trace(inputs, [outputs] if isinstance(outputs, Symbol) else outputs).graph


def drawn(graph: Graph, seed: int = 0) -> list[dict[str, np.ndarray]]:
    return varied(graph, np.random.default_rng(seed))


def limits(*inputs: Leaf, output: Symbol | Sequence[Symbol]) -> dict[str, tuple[float, float]]:
    """What the inputs should lie between."""
    graph = graph_of(inputs, output)
    found = spans(graph, infer(graph).types)
    return {leaf.name: tuple(found[leaf.name]) for leaf in inputs if leaf.name in found}


TABLE = np.arange(21, dtype=np.float32).reshape(7, 3)


def table() -> Symbol:
    return constant(TABLE, "float32")


def index(*shape: int, name: str = "i", dtype: str = "int64") -> Leaf:
    return Input(*shape, name=name, dtype=dtype, batch=2)


# -- what both sides are run on


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda i: emit("Gather", table(), i), (0, 6)),
        (lambda i: emit("Gather", table(), i, axis=1), (0, 2)),
        (lambda i: emit("Gather", table(), emit("Unsqueeze", i, integers([0]))), (0, 6)),
        (lambda i: emit("Gather", table(), emit("Cast", i, to=TensorProto.INT32)), (0, 6)),
        (lambda i: emit("Gather", table(), emit("Concat", i, i, axis=0)), (0, 6)),
        (lambda i: emit("Gather", table(), emit("Where", emit("Equal", i, i), i, i)), (0, 6)),
        (lambda i: emit("Gather", table(), emit("Add", i, integers([1]))), (0, 1)),
        (lambda i: emit("Gather", table(), emit("Gather", integers(range(7)), i)), (0, 6)),
        (lambda i: emit("Add", emit("Gather", table(), i), emit("Gather", table(), i, axis=0)), (0, 6)),
        (lambda i: emit("GatherElements", table(), i, axis=0), (0, 6)),
        (lambda i: emit("OneHot", i, constant(5, "int64"), constant([0, 1], "float32")), (0, 4)),
        (lambda i: emit("Add", i, i), (-9, 9)),
        (lambda i: emit("Div", integers([100]), i), (1, 9)),
        (lambda i: emit("Pow", constant([2], "float32"), i), (0, 3)),
        (lambda i: emit("Cast", i, to=FLOAT), None),
    ],
    ids=[
        "rows",
        "columns",
        "reshaped",
        "cast",
        "joined",
        "chosen",
        "counted",
        "of places",
        "twice",
        "elements",
        "classes",
        "numbers",
        "divisors",
        "exponents",
        "cast to float",
    ],
)
def test_whole_numbers_are_what_the_graph_can_take(
    build: Callable[[Leaf], Symbol], expected: tuple[float, float] | None
) -> None:
    i = index(3)
    assert limits(i, output=build(i)).get("i") == expected
    graph = graph_of([i], build(i))
    for seed in range(5):
        for feeds in drawn(graph, seed):
            low, high = expected or (0, 1)
            assert feeds["i"].dtype == np.int64
            assert low <= feeds["i"].min() <= feeds["i"].max() <= high
            Session(to_model(graph, {}).SerializeToString()).run(feeds)


def test_coordinates_fit_the_smallest_axis() -> None:
    if ("", "GatherND") not in REGISTRY:
        pytest.skip("there is no GatherND")
    i = index(2)
    assert limits(i, output=emit("GatherND", table(), i)) == {"i": (0, 2)}


def test_labels_are_those_of_the_classes() -> None:
    x, y = Input(5, name="x"), Input(name="y", dtype="int64")
    assert limits(x, y, output=emit("SoftmaxCrossEntropyLoss", x, y)) == {"y": (0, 4)}


@pytest.mark.parametrize(
    ("build", "low", "high"),
    [
        (lambda x: emit("Log", x), 0.1, 3),
        (lambda x: emit("Sqrt", emit("Reshape", x, integers([-1]))), 0.1, 3),
        (lambda x: x**0.5, 0.1, 3),
        (lambda x: emit("Log", x) + emit("Sin", x), 0.1, 3),
    ],
)
def test_logarithms_and_roots_get_positive_numbers(build: Callable[[Leaf], Symbol], low: float, high: float) -> None:
    x = Input(40, name="x")
    for feeds in drawn(graph_of([x], build(x))):
        assert low <= feeds["x"].min() < feeds["x"].max() <= high


def test_other_floats_are_normal_and_bytes_are_levels_of_light() -> None:
    x, b, m = Input(500, name="x"), Input(500, name="b", dtype="uint8"), Input(500, name="m", dtype="bool")
    outputs = [emit("Sin", x), emit("Cast", b, to=FLOAT), emit("Not", m)]
    one, three, _ = drawn(graph_of([x, b, m], outputs))
    assert (one["x"].shape, three["x"].shape) == ((1, 500), (3, 500))
    assert abs(three["x"][0].mean()) < 0.1
    assert abs(three["x"][0].std() - 1) < 0.1
    assert (three["b"].min(), three["b"].max()) == (0, 255)
    assert (three["m"].dtype, abs(three["m"].mean() - 0.5) < 0.1) == (bool, True)


def test_the_same_seed_gives_the_same_inputs() -> None:
    graph = graph_of([x := Input(4, name="x")], emit("Sin", x))
    first, again, other = drawn(graph), drawn(graph), drawn(graph, seed=1)
    np.testing.assert_array_equal(first[1]["x"], again[1]["x"])
    assert (first[1]["x"] != other[1]["x"]).all()


def test_small_types_hold_small_numbers() -> None:
    i = index(3, dtype="int8")
    large = constant(np.zeros(1000), "float32")
    graph = graph_of([i], emit("Gather", large, emit("Cast", i, to=INT64)))
    assert drawn(graph)[0]["i"].min() >= 0


def test_a_size_that_fits_is_looked_for() -> None:
    x = Input("width", name="x", batch="n")
    kernel = constant(np.ones((1, 1, 50)), "float32")
    graph = graph_of([x], emit("Conv", emit("Unsqueeze", x, integers([1])), kernel))
    assert [feeds["x"].shape for feeds in drawn(graph)] == [(1, 64), (3, 128), (3, 128), (3, 224)]


WIDE = 5000


def too_wide() -> Network:
    """What takes no width below ``WIDE``."""
    x = Input("width", name="x", batch="n")
    kernel = constant(np.ones((1, 1, WIDE)), "float32")
    return Network(x, emit("Conv", emit("Unsqueeze", x, integers([1])), kernel, name="y"))


def test_where_no_size_fits_it_is_said_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    message = (
        f"{path}: none of the sizes 1, 2, 4, 8, 16, 32, 33, 64, 128, 224, 256, 1024, 4096 that are tried for 'width' "
        "fits the nodes; --io FILE.npz gives inputs that it can run on, --verify none leaves the comparison out"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        export_onnx(too_wide(), path)
    assert max(SIZES) < WIDE
    x = np.random.default_rng(0).normal(size=(2, WIDE + 2)).astype(np.float32)
    y = np.lib.stride_tricks.sliding_window_view(x, WIDE, axis=1).sum(-1)[:, np.newaxis]
    save_recorded(tmp_path / "io.npz", {"x": x, "y": y})
    report = export_onnx(too_wide(), path, io=tmp_path / "io.npz", atol=1e-3)
    reason = message.removeprefix(f"{path}: ").partition(";")[0]
    assert report.notes == (f"compared on the recorded inputs alone: {reason}",)
    assert report.outputs.recorded["y"].max_abs_error < 1e-3
    assert report.outputs.batches == (2,)


def _by_product() -> Network:
    """What looks a row up by the product of two numbers: of those that are drawn, it is outside the table."""
    x = Input(2, name="x")
    place = emit("ReduceProd", x, integers([1])) * 1000.0
    rows = emit("Gather", table(), emit("Cast", place, to=INT64), name="rows")
    return Network(x, emit("Tanh", rows, name="y"))


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_a_recording_is_compared_where_nothing_drawn_can_run(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _by_product()
    x = np.array([[0.15, 0.01], [0.01, 0.25], [0.35, 0.01]], np.float32)
    y = np.tanh(TABLE[[[1], [2], [3]]])
    save_recorded(tmp_path / "io.npz", {"x": x, "y": y})
    if engine == "onnxruntime":  # Numpy runs on what is drawn, and onnxruntime refuses it.
        monkeypatch.setattr("portable_nn.onnx.verify._numpy", lambda *given: [{"y": y} for _ in given[2]])
    with pytest.raises(FormatError, match=rf"{engine} cannot run it on .*; --io FILE\.npz gives inputs"):
        export_onnx(network, tmp_path / "a.onnx")
    report = export_onnx(network, tmp_path / "a.onnx", io=tmp_path / "io.npz")
    [note] = [note for note in report.notes if "recorded inputs alone" in note]
    assert note.startswith(f"compared on the recorded inputs alone: {engine} cannot run it on ")
    assert "--io" not in note
    assert report.outputs.recorded["y"].max_abs_error < 1e-6
    assert report.outputs.compared.keys() >= {"rows", "y"}
    save_recorded(tmp_path / "io.npz", {"x": x, "y": y + 1e-2})
    with pytest.raises(VerificationError, match="'y'"):
        export_onnx(network, tmp_path / "b.onnx", io=tmp_path / "io.npz")


def test_what_cannot_run_on_what_is_drawn_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    i = index(3)
    graph = graph_of([i], emit("Gather", table(), i, name="rows"))
    wrong = {"i": np.full((2, 3), 99)}
    monkeypatch.setattr("portable_nn.onnx.verification.drawing.varied", lambda *_: [wrong] * 3)
    hint = r"; --io FILE\.npz gives inputs that it can run on, --verify none leaves the comparison out$"
    with pytest.raises(FormatError, match=r"^m: (onnxruntime|numpy) cannot run it on .*" + hint):
        compare(graph, {}, to_model(graph, {}), "m", tolerance=Tolerance())


# -- where the sides part


def deep() -> Network:
    x = pnn.Input(4, name="x")
    layers = [pnn.Dense(6), pnn.Tanh(), pnn.Dense(5), pnn.LayerNorm(), pnn.GELU(), pnn.Dense(3, name="y")]
    return pnn.Sequential(x, *layers, seed=1)


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("operator", ["LayerNormalization", "Gelu", "Tanh"])
def test_a_lowering_or_kernel_that_is_wrong_is_found_at_its_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str, opset: int
) -> None:
    """At opset 13 what is written for LayerNormalization and Gelu is made wrong, at 20 what numpy computes."""
    right = REGISTRY["", operator]

    def kernel(bound: Any) -> list[Any]:
        made = right.kernel(bound)
        steps = [] if made is None else list(made) if not callable(made) else [made]
        return [*steps, lambda: bound.plan._arrays[bound.node.outputs[0]].__imul__(np.float32(1.25))]

    def lowering(*inputs: Any, **attributes: Any) -> Any:
        made = right.lowering(*inputs, **attributes)
        several = isinstance(made, Sequence)
        first = (made[0] if several else made) * 1.25
        return (first, *made[1:]) if several else first

    lowered = opset == 13 and right.lowering is not None
    change = {"lowering": lowering} if lowered else {"kernel": kernel}
    monkeypatch.setitem(REGISTRY, ("", operator), dataclasses.replace(right, **change))
    net = deep()
    name = next(node.name for node in net.graph.nodes if node.operator == operator)
    with pytest.raises(VerificationError) as caught:
        export_onnx(net, tmp_path / "a.onnx", opset=opset)
    reported = re.fullmatch(
        rf".*a\.onnx: numpy and onnxruntime part at node '{name}' \({operator}\), the first that differs: "
        rf"'{name}'\[0, \d\] is (\S+) in numpy and (\S+) in onnxruntime, which may be \S+ apart",
        str(caught.value),
    )
    assert reported
    ours, theirs = float(reported[1]), float(reported[2])
    assert ours * 1.25 == pytest.approx(theirs, rel=1e-4) if lowered else ours == pytest.approx(theirs * 1.25, rel=1e-4)
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_differs_is_found_at_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime as it would be with another Tanh."""
    net = deep()

    def open_other(self: Session, model: bytes, **options: Any) -> None:
        changed = onnx.load_from_string(model)
        for node in changed.graph.node:
            node.op_type = "Sigmoid" if node.op_type == "Tanh" else node.op_type
        right(self, changed.SerializeToString(), **options)

    right = Session.__init__
    monkeypatch.setattr(Session, "__init__", open_other)
    with pytest.raises(VerificationError, match=r"part at node 'tanh_1' \(Tanh\), the first that differs: 'tanh_1'\["):
        export_onnx(net, tmp_path / "a.onnx")


def test_every_output_has_its_errors_and_the_batches_are_reported(tmp_path: Path) -> None:
    x = pnn.Input(6, name="x")
    h = pnn.Dense(8)(x)
    net = Network(x, [pnn.Dense(3, name="a")(h), pnn.Dense(2, name="b")(h)], seed=0)
    report = export_onnx(net, tmp_path / "a.onnx")
    assert list(report.outputs) == ["a", "b"]
    assert report.outputs.batches == (1, 3)
    for found in report.outputs.values():
        assert 0 <= found.max_abs_error < 1e-5
        assert 0 <= found.max_rel_error < 1e-5
    assert report.max_abs_error == max(found.max_abs_error for found in report.outputs.values())
    assert report.outputs.recorded == {}


# -- what says nothing


def undefined(*, everywhere: bool) -> Network:
    x = Input(4, name="x")
    nothing = emit("Log", emit("Neg", emit("Abs", x)), name="y")
    return Network(x, nothing if everywhere else emit("Log", emit("Sin", x * 50), name="y"))


def test_what_is_nan_on_both_sides_is_said(tmp_path: Path) -> None:
    found = export_onnx(undefined(everywhere=True), tmp_path / "a.onnx")
    note = "output 'y' is NaN on both sides everywhere: there is nothing to compare there"
    assert found.notes == (note,)
    found = export_onnx(undefined(everywhere=False), tmp_path / "a.onnx")
    [note] = found.notes
    assert re.fullmatch(r"output 'y' is NaN on both sides in \d+ of 16 places: there is nothing to compare there", note)
    read = read_onnx(tmp_path / "a.onnx")
    assert (read.notes, read.outputs.notes) == ((), (note,))


def test_nothing_is_proved_where_nothing_is_verified(tmp_path: Path) -> None:
    report = export_onnx(deep(), tmp_path / "a.onnx", verify=False)
    assert (report.outputs, report.outputs.batches) == ({}, ())
    assert isinstance(report.outputs, Proof)


# -- options


def test_a_seed_is_what_inputs_are_drawn_from(tmp_path: Path) -> None:
    errors = {export_onnx(deep(), tmp_path / "a.onnx", seed=seed).max_abs_error for seed in range(4)}
    assert len(errors) > 1
    assert len({read_onnx(tmp_path / "a.onnx", seed=seed).outputs["y"] for seed in range(4)}) > 1


def test_the_tolerance_of_an_import_is_the_callers(tmp_path: Path) -> None:
    export_onnx(deep(), tmp_path / "a.onnx")
    with pytest.raises(VerificationError, match=r"a\.onnx: numpy and onnxruntime part at node 'dense_1' \(Gemm\)"):
        read_onnx(tmp_path / "a.onnx", atol=-1, rtol=0)
    assert read_onnx(tmp_path / "a.onnx", atol=1, rtol=1).outputs["y"].max_abs_error < 1e-5


# -- recordings


def record(path: Path, **changes: np.ndarray | None) -> Path:
    """What plain numpy makes of ``deep`` up to its second layer, and PyTorch, were it here, of all of it."""
    net = deep()
    x = np.random.default_rng(7).normal(size=(5, 4)).astype(np.float32)
    weights = {name: array.astype(np.float64) for name, array in net.parameters.items()}
    tanh = np.tanh(x @ weights["dense_1.weight"].T + weights["dense_1.bias"])
    arrays: dict[str, np.ndarray | None] = {"x": x, "tanh_1": tanh, "y": net.predict(x)} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_recording_of_another_code_base_is_compared_with(tmp_path: Path) -> None:
    io = record(tmp_path / "io.npz")
    report = export_onnx(deep(), tmp_path / "a.onnx", io=io)
    assert list(report.outputs.recorded) == ["tanh_1", "y"]
    assert 0 < report.outputs.recorded["tanh_1"].max_abs_error < 1e-6
    assert read_onnx(tmp_path / "a.onnx", io=io).outputs.recorded == report.outputs.recorded


def test_what_torch_computed_is_what_both_sides_must_compute(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    ours = pnn.Sequential(pnn.Input(4, name="x"), pnn.Dense(8), pnn.ReLU(), pnn.Dense(3, name="y"), seed=0)
    state = [tensor.detach().numpy() for tensor in net.state_dict().values()]
    ours.load_weights(dict(zip(ours.parameters, state, strict=True)))
    x = torch.randn(6, 4)
    np.savez(tmp_path / "io.npz", x=x.numpy(), y=net(x).detach().numpy())
    assert export_onnx(ours, tmp_path / "a.onnx", io=tmp_path / "io.npz").outputs.recorded["y"].max_abs_error < 1e-5
    ours.parameters["dense_1.bias"][2] += np.float32(0.1)
    with pytest.raises(
        VerificationError, match=r"numpy and .*io\.npz part at node 'y' \(Gemm\), the first that is rec"
    ):
        export_onnx(ours, tmp_path / "b.onnx", io=tmp_path / "io.npz")


def test_the_first_recorded_value_that_differs_is_named(tmp_path: Path) -> None:
    net = deep()
    wrong = net.predict(np.zeros((5, 4), np.float32))
    io = record(tmp_path / "io.npz", y=wrong)
    with pytest.raises(VerificationError) as caught:
        export_onnx(net, tmp_path / "a.onnx", io=io)
    begin = (
        f"{tmp_path / 'a.onnx'}: numpy and {io} part at node 'y' (Gemm), the first that is recorded and differs: 'y'["
    )
    assert str(caught.value).startswith(begin)
    assert re.search(r"is -?\d\.\d+ in numpy and -?\d\.\d+ in .*io\.npz, which may be \S+ apart$", str(caught.value))
    io = record(tmp_path / "io.npz", y=wrong, tanh_1=np.zeros((5, 6)))
    with pytest.raises(
        VerificationError, match=r"part at node 'tanh_1' \(Tanh\), the first that is recorded and differs"
    ):
        export_onnx(net, tmp_path / "a.onnx", io=io)
    assert not (tmp_path / "a.onnx").exists()


HEAD = "does not hold the inputs and outputs of the network: "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, HEAD + "input 'x' is missing"),
        ({"y": None}, HEAD + "output 'y' is missing"),
        ({"z": np.zeros(3)}, HEAD + "'z' is no value of the network: its inputs are 'x', its outputs 'y'"),
        ({"x": np.zeros((5, 3), np.float32)}, HEAD + "input 'x' needs (batch, 4), not (5, 3)"),
        ({"x": np.zeros((5, 4), complex)}, None),
        ({"y": np.zeros((4, 3))}, HEAD + "output 'y' has shape (4, 3), but the inputs give (5, 3)"),
        ({"tanh_1": np.zeros((5, 7))}, HEAD + "value 'tanh_1' has shape (5, 7), but the inputs give (5, 6)"),
    ],
    ids=["no input", "no output", "extra", "input shape", "type", "output shape", "value shape"],
)
def test_recordings_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str | None) -> None:
    io = record(tmp_path / "io.npz", **changes)
    with pytest.raises((DataError, FormatError, pnn.PortableNNError)) as caught:
        export_onnx(deep(), tmp_path / "a.onnx", io=io)
    if message:
        assert str(caught.value) == f"{io}: {message}"
    assert not (tmp_path / "a.onnx").exists()


def test_all_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    x, i = Input(3, name="x"), Input(2, name="i", dtype="int64")
    net = Network([x, i], [emit("Relu", x, name="y"), emit("Neg", i, name="j")])
    np.savez(tmp_path / "io.npz", x=np.zeros((2, 4)), i=np.zeros((2, 2)), j=np.zeros((2, 2)), more=np.zeros(1))
    with pytest.raises(DataError) as caught:
        read_recorded(tmp_path / "io.npz", net.graph)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'io.npz'}: does not hold the inputs and outputs of the network: 4 faults",
        "  output 'y' is missing",
        "  'more' is no value of the network: its inputs are 'x', 'i', its outputs 'y', 'j'",
        "  input 'x' needs (batch, 3), not (2, 4)",
        "  input 'i' needs int64, not float64",
    ]
    np.savez(tmp_path / "io.npz", x=np.zeros((2, 3)), i=np.zeros((2, 2), int), y=np.zeros((2, 3)), j=np.zeros((2, 2)))
    with pytest.raises(DataError, match=r": output 'j' is float64, but the network makes int64$"):
        read_recorded(tmp_path / "io.npz", net.graph)


def test_a_recording_has_the_name_of_one_and_can_be_read(tmp_path: Path) -> None:
    graph = deep().graph
    with pytest.raises(UsageError, match=r"io\.txt: the name of a file of inputs and outputs ends in \.npz$"):
        read_recorded(tmp_path / "io.txt", graph)
    with pytest.raises(pnn.PortableNNError, match=r"io\.npz: does not exist"):
        read_recorded(tmp_path / "io.npz", graph)
    (tmp_path / "io.npz").write_bytes(b"no archive")
    with pytest.raises(FormatError, match=r"^.*io\.npz: "):
        read_recorded(tmp_path / "io.npz", graph)


@pytest.mark.parametrize("call", [export_onnx, lambda net, path, **options: read_onnx(path, **options)])
def test_a_recording_is_nothing_where_nothing_is_verified(tmp_path: Path, call: Callable[..., Any]) -> None:
    message = r"^nothing is compared with io\.npz where nothing is verified: leave one of them out$"
    with pytest.raises(UsageError, match=message):
        call(deep(), tmp_path / "a.onnx", verify=False, io="io.npz")


def test_what_is_recorded_is_written_in_the_same_bytes_and_numpy_reads_it(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6, dtype=np.int16).reshape(2, 3), "a/b.c": np.array(True), "file": np.zeros((0, 2))}
    for name in ("a.npz", "b.npz"):
        save_recorded(tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as found:
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_several_runs_are_one_recording(tmp_path: Path) -> None:
    net, recorder = deep(), Recorder()
    run = partial(recorder.watched, lambda feeds: net.predict(dict(feeds)))
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    for start in (0, 3, 6):
        run({"x": x[start : start + 3]})
    recorder.save(tmp_path / "io.npz")
    assert (recorder.notes, recorder.summary) == ([], "x (7, 4), y (7, 3)")
    with np.load(tmp_path / "io.npz") as found:
        np.testing.assert_array_equal(found["x"], x)
        np.testing.assert_allclose(found["y"], net.predict(x), atol=1e-6)


def test_runs_that_do_not_count_examples_are_recorded_once(tmp_path: Path) -> None:
    recorder = Recorder()
    run = partial(recorder.watched, lambda feeds: {"y": feeds["x"].sum()})
    for value in (1.0, 2.0):
        run({"x": np.full((2, 2), value)})
    recorder.save(tmp_path / "io.npz")
    assert recorder.notes == ["of 2 runs the first is recorded: not every array counts examples"]
    with np.load(tmp_path / "io.npz") as found:
        assert found["y"] == 4


def test_nothing_that_was_computed_cannot_be_recorded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"io\.npz: nothing was computed, so there is nothing to record$"):
        Recorder().save(tmp_path / "io.npz")


# -- models of others


def test_a_model_of_tokens_is_proved_on_tokens() -> None:
    """An embedding of 11 tokens, a mask, and a mean over what it leaves."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["shares"], to=FLOAT),
        helper.make_node("Unsqueeze", ["shares", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["left"]),
        helper.make_node("ReduceMean", ["left"], ["y"], axes=[1], keepdims=0),
    ]
    weights = {"table": np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32), "last": np.array([-1])}
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info(name, INT64, ["n", "length"]) for name in ("tokens", "mask")],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = read_onnx(model)
    assert found.outputs["y"].max_abs_error < 1e-6
    feeds = drawn(found.network.graph)[1]
    assert feeds["tokens"].shape == (3, 33)
    assert feeds["tokens"].max() > 6
    assert set(np.unique(feeds["mask"])) == {0, 1}
    assert import_onnx(model, seed=3, atol=1e-4).graph.name == "tokens"


def test_a_node_that_is_no_function_of_its_inputs_parts() -> None:
    graph = Graph((Value("x", "float32", (2,)),), ("y",), (), (Node("n", "Identity", ("x",), ("y",)),))
    other = to_model(Graph(graph.inputs, ("y",), (), (Node("n", "Neg", ("x",), ("y",)),)), {})
    with pytest.raises(VerificationError, match=r"^m: numpy and onnxruntime part at node 'n' \(Identity\), the first"):
        compare(graph, {}, other, "m", tolerance=Tolerance())
