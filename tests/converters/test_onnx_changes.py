"""A verification notices small changes: of one weight, attribute or order of inputs, on either side, in 20 networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import pytest
from changes import NETWORKS, Changed, from_torch, several_of

from portable_nn.core.errors import GraphError, PortableNNError
from portable_nn.core.graph import Graph
from portable_nn.engines.once import run_numpy
from portable_nn.onnx.reading import from_model
from portable_nn.onnx.samples import drawn, spans
from portable_nn.onnx.verify import Tolerance, compare
from portable_nn.onnx.wide import widened
from portable_nn.onnx.writing import to_model
from portable_nn.operators import infer

FEW = 20
"""The changes of the quick test, which leaves PyTorch's networks out."""

EXAMPLES = 1000
"""The inputs that show whether a change changes anything."""


class Result(NamedTuple):
    """What became of a change, in a verification."""

    outcome: Literal["caught", "named", "without effect", "missed"]
    text: str


def noticed(change: Changed) -> Result:
    """Whether a verification notices a change."""
    try:
        proof = compare(change.graph, change.parameters, change.model, "m", tolerance=Tolerance())
    except PortableNNError as error:
        return Result("caught", str(error))
    told = [*proof.notes, *proof.not_exercised]
    if any(f"'{change.node}'" in text for text in told):
        return Result("named", " ".join(told))
    return Result("missed" if has_effect(change) else "without effect", change.what)


def has_effect(change: Changed) -> bool:
    """Whether the changed side computes something else in float64, by more than rounding, on many inputs."""
    assert change.before
    net, model = change.before
    if change.what.startswith("network"):
        sides = [(net.graph, dict(net.parameters)), (change.graph, change.parameters)]
    else:
        sides = [from_model(each, "m")[:2] for each in (model, change.model)]
    values = []
    for graph, parameters in sides:
        wide = widened(graph)
        try:
            declared = {value.name: parameters[value.name].astype(value.dtype) for value in wide.parameters}
            values.append(list(outputs(wide, declared)))
        except GraphError:  # An operator that is not defined for float64.
            return True
    return not all(
        np.allclose(one, other, 0, 1e-12 * np.abs(np.nan_to_num(one)).max(initial=0), equal_nan=True)
        for one, other in zip(*values, strict=True)
    )


def outputs(graph: Graph, parameters: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    """All outputs, for inputs of several scales."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        shapes = {
            value.name: tuple(
                dim if isinstance(dim, int) else EXAMPLES // 4 if axis == 0 else 9
                for axis, dim in enumerate(value.shape)
            )
            for value in graph.inputs
        }
        limits = spans(graph, infer(graph, shapes).types)
        feeds = {
            value.name: drawn(
                value, shapes[value.name], limits.get(value.name), rng, ("noise", "faint", "loud", "waves")
            )
            for value in graph.inputs
        }
        yield from run_numpy(graph, parameters, feeds, graph.outputs).values()


@pytest.mark.long
@pytest.mark.parametrize("opsets", [(17,), pytest.param((13, 21), marks=pytest.mark.long)])
def test_unchanged_networks_agree_and_are_exercised(opsets: tuple[int, ...]) -> None:
    nodes, hidden = 0, list[str]()
    for build, opset in product(NETWORKS.values(), opsets):
        net = build()
        model = to_model(net.graph, net.parameters, opset=opset)
        proof = compare(net.graph, net.parameters, model, "m", tolerance=Tolerance())
        nodes, hidden = nodes + len(net.graph.nodes), [*hidden, *proof.not_exercised]
        assert not proof.notes
        assert {fate.kind for fate in proof.weights} <= {"kept", "constant", "added", "folded"}
    assert len(hidden) <= 0.02 * nodes


@pytest.mark.long
def test_unchanged_networks_of_torch_agree_and_are_exercised() -> None:
    pytest.importorskip("torch")
    for net, model in from_torch().values():
        proof = compare(net.graph, net.parameters, model, "m", tolerance=Tolerance())
        assert (proof.not_exercised, proof.notes) == ({}, ())


def counted(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """The outcomes of ``count`` changes, and the changes that were missed."""
    outcomes, missed = Counter[str](), []
    for name, change in several_of(count, seed, torch=count > FEW):
        result = noticed(change)
        outcomes[result.outcome] += 1
        if result.outcome == "missed":
            missed.append(f"{name}: {change.what}")
    return outcomes, missed


@pytest.mark.parametrize(("count", "seed"), [
    pytest.param(FEW, 1, id="few"),
    pytest.param(300, 2, id="many", marks=pytest.mark.long),
    pytest.param(2000, 0, id="all", marks=pytest.mark.sweep),
])  # fmt: skip
def test_changes_are_caught_or_their_node_is_named(count: int, seed: int) -> None:
    outcomes, missed = counted(count, seed)
    print(dict(outcomes), *missed, sep="\n")
    assert len(missed) <= 0.01 * (count - outcomes["without effect"])
