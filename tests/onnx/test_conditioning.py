"""Where rounding moves values further than the tolerances: how far, what is accepted there, and what is not."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cases import CASES
from onnx import helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import VerificationError
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.onnx.verification.conditioning import OFFSET, ROUNDINGS, rounding_effects, with_offsets
from portable_nn.onnx.verification.sections import Sides
from portable_nn.onnx.verify import Tolerance, compare
from portable_nn.onnx.wide import widened
from portable_nn.onnx.writing import to_model
from portable_nn.operators import REGISTRY, emit, integers, trace

EPS = float(np.finfo(np.float32).eps)


def test_the_effect_of_rounding_is_that_of_the_closed_form() -> None:
    """x - z is off by what x and z are, and optimisation changes nothing."""
    x, z = pnn.Input(50, name="x"), pnn.Input(50, name="z")
    graph = trace([x, z], [emit("Sub", x, z, name="y")]).graph
    for c in (300.0, 1e4, 1e6):
        near = np.random.default_rng(0).normal(size=(2, 2, 50)).astype(np.float32) + np.float32(c)
        feeds, model = {"x": near[0], "z": near[1]}, to_model(graph, {})
        first, *others = rounding_effects(Sides(graph, {}, model, [feeds]), model, feeds, "y")
        most = ROUNDINGS * EPS * float(np.abs(near).sum(axis=0).max())
        assert first == 0
        assert all(0.7 * most < effect < 1.3 * most for effect in others)


def test_every_operator_can_be_run_in_double() -> None:
    """The numbers are those of float32 but for a few roundings, as cases are far from ties and poles."""
    cases = {case.operator: case for case in CASES if not case.domain and case.exists_in("float64")}
    for case in cases.values():
        leaves, outputs = case.build("float32")
        if not any(each.dtype == "float32" for each in outputs):
            continue
        graph, feeds = trace(leaves, outputs).graph, case.feeds("float32")
        wide = widened(graph)
        declared = {value.name: feeds[value.name].astype(value.dtype) for value in wide.inputs}
        exact = run_numpy(wide, {}, declared, graph.outputs)
        for name, array in run_numpy(graph, {}, feeds, graph.outputs).items():
            most = np.abs(np.nan_to_num(array.astype(np.float64))).max(initial=0)
            np.testing.assert_allclose(array, exact[name], rtol=0, atol=1e-5 * most, err_msg=case.operator)


# -- differences of large numbers


def cancelling() -> Network:
    """The variance as a difference of large numbers: E[h²] - E[h]², and its logarithm."""
    x = pnn.Input(64, name="x")
    h = pnn.Dense(64)(x) + 300.0
    mean = emit("ReduceMean", h, integers([1]))
    variance = emit("ReduceMean", h * h, integers([1])) - mean * mean
    return Network(x, emit("Log", emit("Abs", variance) + 1e-3, name="y"), seed=0)


@pytest.mark.parametrize("opset", [13, 20])
def test_what_rounding_alone_moves_may_differ_and_a_note_says_so(tmp_path: Path, opset: int) -> None:
    """Both engines are as far from the exact numbers as from each other."""
    net, path = cancelling(), tmp_path / "a.onnx"
    report = export_onnx(net, path, opset=opset)
    [note] = report.notes
    assert note.startswith("ill-conditioned here, rounding alone moves values further than the tolerances: 'y' (Log) ")
    assert "y" in report.outputs.widened
    x = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    weight, bias = (net.parameters[f"dense_1.{name}"].astype(np.float64) for name in ("weight", "bias"))
    exact = np.log((x @ weight.T + bias).var(axis=1, keepdims=True) + 1e-3)
    ours, theirs = net.predict(x), net.predict(x, engine="onnxruntime")
    assert np.abs(ours - exact).max() > 1e-3 < np.abs(theirs - exact).max()
    assert import_onnx(path).graph == net.graph


def test_a_wrong_kernel_is_refused_where_rounding_moves_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = REGISTRY["", "Log"]

    def kernel(bound: Any) -> list[Any]:
        made = right.kernel(bound)
        steps = [made] if callable(made) else list(made or ())
        return [*steps, lambda: bound.plan._arrays[bound.node.outputs[0]].__imul__(np.float32(1.001))]

    monkeypatch.setitem(REGISTRY, ("", "Log"), dataclasses.replace(right, kernel=kernel))
    with pytest.raises(VerificationError, match=r"part at node 'y' \(Log\), the first that differs"):
        export_onnx(cancelling(), tmp_path / "a.onnx")


# -- normalisation of nearly equal numbers


def normalised(norm: Callable[[Any], Any], scale: float = 1e-4, shift: float = 1000.0) -> Network:
    x = pnn.Input(4, 8, name="x")
    return Network(x, pnn.Dense(3)(norm(x * scale + shift)), seed=0)


@pytest.mark.parametrize("norm", [pnn.LayerNorm(), pnn.InstanceNorm(affine=True)], ids=["layer", "instance"])
def test_nearly_equal_numbers_are_accepted_and_a_changed_epsilon_there_is_not(norm: Any) -> None:
    """Which numbers of 1000 ± 0.0001 float32 tells apart, roundings decide; epsilon is as large as their variance."""
    net = normalised(norm)
    node = next(node for node in net.graph.nodes if "epsilon" in node.attributes)
    model = to_model(net.graph, net.parameters, opset=17)
    proof = compare(net.graph, net.parameters, model, "m", tolerance=Tolerance())
    loose = proof.widened[node.outputs[0]]
    assert f"'{node.name}' ({node.operator})" == loose.node
    assert loose.node in proof.notes[0]
    assert 1e-3 < loose.apart < loose.allowed
    assert proof.not_exercised == {}
    [epsilon] = [each for made in model.graph.node for each in made.attribute if each.name == "epsilon"]
    epsilon.f *= 2
    with pytest.raises(VerificationError, match=rf"part at node '{node.name}' \({node.operator}\), the first that"):
        compare(net.graph, net.parameters, model, "m", tolerance=Tolerance())


@pytest.mark.long
@pytest.mark.parametrize("dynamo", [False, True], ids=["scripted", "exported"])
@pytest.mark.parametrize("kind", ["LayerNorm", "GroupNorm", "InstanceNorm1d"])
def test_pytorchs_norms_of_nearly_equal_numbers_are_imported(tmp_path: Path, kind: str, dynamo: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    norms = {"LayerNorm": (8,), "GroupNorm": (2, 4), "InstanceNorm1d": (4,)}

    class Nearly(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, scale: float, shift: float) -> None:
            super().__init__()
            self.scale, self.shift = scale, shift
            self.norm, self.last = getattr(torch.nn, kind)(*norms[kind]), torch.nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.last(self.norm(x * self.scale + self.shift))

    for scale, shift in ((1e-4, 1000), (1e-3, 50), (1, 3000)):
        module, path = Nearly(scale, shift).eval(), tmp_path / "a.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.randn(2, 4, 8),), str(path), dynamo=dynamo, verbose=False)
        proof = read_onnx(path).outputs
        assert proof.not_exercised == {}
        assert proof.widened, (scale, shift)
        assert any(note.startswith("ill-conditioned here") for note in proof.notes)


def test_what_is_added_to_a_value_reaches_the_bodies_that_read_it() -> None:
    """As in a voice activity detector of float16 weights, whose memory a branch reads."""
    y = helper.make_tensor_value_info("y", 1, [2])
    ways = {
        name: helper.make_graph([helper.make_node(operator, ["v"], ["y"])], name, [], [y])
        for name, operator in (("then_branch", "Exp"), ("else_branch", "Neg"))
    }
    given = [helper.make_tensor_value_info("v", 1, [2]), helper.make_tensor_value_info("c", 9, [])]
    graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], **ways)], "g", given, [y])
    part = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    v = np.array([0, 1], np.float32)
    moved = with_offsets(part, {"v": v})
    session = onnxruntime.InferenceSession(moved.SerializeToString())
    for condition, wanted in ((True, np.exp(v + 2)), (False, -v - 2)):
        [found] = session.run(None, {"v": v, "c": np.array(condition), f"v{OFFSET}": np.full(2, 2, np.float32)})
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
