"""The losses of classifiers against PyTorch, and labels that are outside the classes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, constant, emit, emit_all, trace
from portable_nn.operators.differentiation import gradients

LOSSES = {"NegativeLogLikelihoodLoss": "nll_loss", "SoftmaxCrossEntropyLoss": "cross_entropy"}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ignored", [None, 1, -100])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 3)])
def test_is_torchs_loss(loss: str, reduction: str, ignored: int | None, weighted: bool, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    if ignored is not None:
        labels.flat[::3] = ignored
    weights = rng.uniform(0.5, 2, 4) if weighted else None
    options: dict[str, Any] = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
    found = ours(loss, [scores, labels, weights], [0], **options)

    def function(torch: Any, x: Any, y: Any, w: Any) -> Any:
        return getattr(torch.nn.functional, LOSSES[loss])(x, y, w, **options)

    assert_same(found, theirs(function, [scores, labels, weights], [0]))


def test_the_log_probabilities_are_an_output_through_which_something_flows_back() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 4)), rng.integers(0, 4, 3)
    scores, labels = Leaf("x", "float64", (3, 4)), Leaf("y", "int64", (3,))
    loss, log_prob = emit_all("SoftmaxCrossEntropyLoss", scores, labels, outputs=2)
    flows = [constant(2.0, "float64"), constant(np.arange(12.0).reshape(3, 4), "float64")]
    both, second = gradients([loss, log_prob], flows, [scores]), gradients([log_prob], flows[1:], [scores])
    graph = trace([scores, labels], [log_prob, *(value for value in (*both, *second) if value)]).graph
    plan = Plan(graph, {}, {})
    plan.inputs["x"][...], plan.inputs["y"][...] = x, y
    plan.run()

    def function(torch: Any, x: Any) -> Any:
        log_prob = torch.log_softmax(x, 1)
        weighed = (log_prob * torch.arange(12.0, dtype=x.dtype).reshape(3, 4)).sum()
        total = 2 * torch.nn.functional.nll_loss(log_prob, torch.from_numpy(y)) + weighed
        return log_prob, torch.autograd.grad(total, x, retain_graph=True)[0], torch.autograd.grad(weighed, x)[0]

    torch = pytest.importorskip("torch")
    wanted = [value.detach().numpy() for value in function(torch, torch.from_numpy(x).requires_grad_())]
    assert_same(list(plan.outputs.values()), wanted)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("options", [{}, {"reduction": "none"}, {"ignore_index": 7}])
def test_a_label_that_is_no_class_raises_an_error_while_it_runs(loss: str, label: int, options: dict[str, Any]) -> None:
    scores, labels = Leaf("x", "float32", (2, 3)), Leaf("y", "int64", (2,))
    plan = Plan(trace([scores, labels], [emit(loss, scores, labels, name="here", **options)]).graph, {}, {})
    plan.run()
    plan.inputs["y"][...] = [options.get("ignore_index", 0), label]
    name = "target" if loss.startswith("Negative") else "labels"
    with pytest.raises(GraphError, match="^" + re.escape(f"'here' ({loss}): {name} {label} is outside the 3 classes")):
        plan.run()


MISFITS: list[Row] = [
    ("NegativeLogLikelihoodLoss", [f(2, 3), f(2)], {}, "target must be int32 or int64, not float32"),
    ("NegativeLogLikelihoodLoss", [f(2), i(2)], {}, "input must have at least 2 dimensions, not (2,)"),
    ("NegativeLogLikelihoodLoss", [f(2, 3), i(3)], {}, "input (2, 3) need target (2,), not (3,)"),
    ("NegativeLogLikelihoodLoss", [f(2, 3), i(2), f(2)], {}, "weight must be float32 (3,), not float32 (2,)"),
    ("NegativeLogLikelihoodLoss", [f(2, 3), i(2)], {"reduction": "max"},
     "reduction must be one of none, mean, sum, not 'max'"),
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)
