"""RNN, LSTM and GRU and their gradients through time against PyTorch in double precision, over all its options."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from cases.recurrent import recurrent
from standard_side import run_plan

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit_all, infer, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.recurrent import sweep
from portable_nn.operators.registry import Array

torch: Any = pytest.importorskip("torch")

FEATURES, HIDDEN = 2, 4
ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""The gates in the order of the standard, by their places in PyTorch's."""


def in_order(operator: str, rows: Array) -> Array:
    parts = np.split(rows, len(ORDER[operator]))
    return np.concatenate([parts[place] for place in ORDER[operator]])


def stacked(operator: str, module: Any, directions: int, *, grad: bool = False) -> list[Array]:
    """W, R and B of a module, or their gradients."""

    def rows(name: str, suffix: str) -> Array:
        found = getattr(module, f"{name}_l0{suffix}")
        return in_order(operator, (found.grad if grad else found.detach()).numpy())

    suffixes = ["", "_reverse"][:directions]
    result = [np.stack([rows(f"weight_{side}", suffix) for suffix in suffixes]) for side in ("ih", "hh")]
    if module.bias:
        both = [[rows(f"bias_{side}", suffix) for side in ("ih", "hh")] for suffix in suffixes]
        result.append(np.stack([np.concatenate(pair) for pair in both]))
    return result


def run_both(
    operator: str, steps: int, batch: int, *, lengths: list[int] | None = None, states: bool = False, **options: Any
) -> tuple[list[Array], list[Array]]:
    """The outputs and the gradients of all inputs, ours and PyTorch's."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    module = getattr(torch.nn, operator)(FEATURES, HIDDEN, **options, dtype=torch.float64)
    directions, first = 1 + module.bidirectional, module.batch_first
    x = rng.normal(size=(batch, steps, FEATURES) if first else (steps, batch, FEATURES))
    count = 2 if operator == "LSTM" else 1
    given = [rng.normal(size=(directions, batch, HIDDEN)) for _ in range(count)] if states else []
    weights = stacked(operator, module, directions)
    names = ["x", "w", "r", "b"][: 1 + len(weights)] + ["h", "c"][: len(given)]

    def turned(state: Array) -> Array:
        return np.ascontiguousarray(state.swapaxes(0, 1)) if first else state

    feeds = dict(zip(names, [x, *weights, *map(turned, given)], strict=True))
    leaves = {name: Leaf(name, "float64", array.shape) for name, array in feeds.items()}
    attributes: dict[str, Any] = {"direction": "bidirectional" if directions > 1 else "forward", "layout": int(first)}
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    if options.get("nonlinearity") == "relu":
        attributes["activations"] = ["Relu"] * directions
    many: dict[str, Leaf] = {}
    if lengths:
        many["n"], feeds["n"] = Leaf("n", "int32", (batch,)), np.array(lengths, np.int32)
    inputs = [*map(leaves.get, ("x", "w", "r", "b")), many.get("n"), leaves.get("h"), leaves.get("c")]
    outputs = emit_all(operator, *inputs, outputs=count + 1, **attributes)
    seeds = [rng.normal(size=found.shape) for found in outputs]
    flows = [Leaf(f"seed{place}", "float64", seed.shape) for place, seed in enumerate(seeds)]
    graph = trace(
        [*leaves.values(), *many.values(), *flows], [*outputs, *gradients(outputs, flows, [*leaves.values()])]
    ).graph
    ours = run_plan(graph, feeds | {f"seed{place}": seed for place, seed in enumerate(seeds)})

    tensors = [torch.tensor(array, requires_grad=True) for array in (x, *given)]
    state = (tuple(tensors[1:]) if count > 1 else tensors[1]) if states else None
    packed = tensors[0]
    if lengths:
        packed = torch.nn.utils.rnn.pack_padded_sequence(packed, lengths, batch_first=first, enforce_sorted=False)
    y, last = module(packed, state)
    if lengths:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)
    y = y.unflatten(-1, (directions, HIDDEN))
    found = [y if first else y.permute(0, 2, 1, 3), *(last if count > 1 else (last,))]
    if first:
        found[1:] = [each.permute(1, 0, 2) for each in found[1:]]
    sum((a * torch.tensor(seed)).sum() for a, seed in zip(found, seeds, strict=True)).backward()
    flowing = [tensors[0].grad.numpy(), *stacked(operator, module, directions, grad=True)]
    theirs = [each.detach().numpy() for each in found] + flowing + [turned(t.grad.numpy()) for t in tensors[1:]]
    return ours, theirs


CROSSED = [
    pytest.param(
        operator,
        *shape,
        dict(zip(("bidirectional", "batch_first", "bias", "states"), flags, strict=True)),
        marks=[] if shape == (4, 3) and sum(flags) in (1, 4) else [pytest.mark.long],
    )
    for operator in ORDER
    for shape in ((1, 1), (5, 1), (4, 3))
    for flags in itertools.product((False, True), repeat=4)
]


@pytest.mark.parametrize(("operator", "steps", "batch", "options"), CROSSED)
def test_values_and_gradients_equal_pytorch(operator: str, steps: int, batch: int, options: dict[str, Any]) -> None:
    for ours, theirs in zip(*run_both(operator, steps, batch, **options), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", ORDER)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_sequences_equal_pytorch(operator: str, batch_first: bool) -> None:
    """The states of a shorter sequence stay as they are from its end on, in both directions."""
    options: dict[str, Any] = {"bidirectional": True, "batch_first": batch_first, "states": True}
    for ours, theirs in zip(*run_both(operator, 5, 4, lengths=[3, 5, 1, 2], **options), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_rnn_with_relu_equals_pytorch() -> None:
    both = run_both("RNN", 6, 3, nonlinearity="relu", bidirectional=True, states=True)
    for ours, theirs in zip(*both, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", ORDER)
def test_long_sequences_are_computed_alike(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of steps, numpy calls are made as they are run."""
    monkeypatch.setattr(sweep, "UNROLLED", 3)
    for ours, theirs in zip(*run_both(operator, 9, 2, lengths=[9, 4], bidirectional=True), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", ORDER)
def test_open_sizes_stay_open(operator: str) -> None:
    case = recurrent(operator, direction="bidirectional")
    shapes = [x.shape for x in case.inputs if x is not None]
    x = Leaf("x", "float64", ("steps", "batch", 2))
    weights = [Leaf(f"x{place}", "float64", shape) for place, shape in enumerate(shapes[1:], 1)]
    graph = trace([x, *weights], emit_all(operator, x, *weights, outputs=2, direction="bidirectional")).graph
    types = infer(graph).types
    assert [types[name].shape for name in graph.outputs] == [("steps", 2, "batch", 3), (2, "batch", 3)]
    for steps, batch in ((7, 1), (2, 5)):
        plan = Plan(graph, {"x": (steps, batch, 2)}, {})
        plan.run()
        assert plan.outputs[graph.outputs[0]].shape == (steps, 2, batch, 3)


def test_a_length_that_is_none_is_refused() -> None:
    case = recurrent("LSTM", lengths=(4, 0, 2))
    leaves, outputs = case.build("float64")
    graph = trace(leaves, outputs).graph
    with pytest.raises(GraphError, match=r"'node' .LSTM.: a sequence of X has 1 to 4 steps, and sequence_lens says 0"):
        run_plan(graph, case.feeds("float64"))
    for lengths in ((4, 5, 2), (-1, 4, 2)):
        with pytest.raises(GraphError, match="sequence_lens says"):
            run_plan(graph, case.feeds("float64") | {"x4": np.array(lengths, np.int32)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ("Tanh",)}, "activations must be 3 functions for each direction, not Tanh"),
        ({"activations": ("Tanh", "Sine", "Tanh")}, "and 'Sine' is none of them"),
        (
            {"activations": ("Affine", "Tanh", "Tanh")},
            "activation_alpha must have 1 number: Affine and ScaledTanh have no default",
        ),
        ({"activations": ("Elu", "Tanh", "Tanh"), "activation_alpha": (0.1, 0.2)}, "activation_alpha has 2 numbers"),
        ({"hidden_size": 5}, "hidden_size is 5, but R"),
        ({"direction": "back"}, "direction must be one of forward, reverse, bidirectional"),
        ({"layout": 2}, "layout must be 0 or 1"),
        ({"clip": -1.0}, "clip must be more than 0"),
        ({"clip": float("nan")}, "clip must be more than 0"),
        (
            {"activations": ("Elu", "Tanh", "Tanh"), "activation_alpha": (float("nan"),)},
            "activation_alpha must be",
        ),
        ({"direction": "bidirectional", "clip": 1.0}, None),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], message: str | None) -> None:
    arrays = recurrent("LSTM", direction=options.get("direction", "")).inputs if message is None else ()
    arrays = arrays or recurrent("LSTM").inputs
    leaves = [Leaf(f"x{place}", "float64", x.shape) for place, x in enumerate(arrays) if x is not None]
    if message is None:
        emit_all("LSTM", *leaves, outputs=3, **options)
        return
    with pytest.raises(GraphError, match=message):
        emit_all("LSTM", *leaves, outputs=3, **options)


def test_second_derivatives_equal_pytorch() -> None:
    """The gradient of the gradient goes through the operators that an LSTM can be written in."""
    rng, module = np.random.default_rng(2), torch.nn.LSTM(FEATURES, HIDDEN, dtype=torch.float64)
    arrays = [rng.normal(size=(3, 2, FEATURES)), *stacked("LSTM", module, 1)]
    leaves = [Leaf(f"x{place}", "float64", array.shape) for place, array in enumerate(arrays)]
    [y] = emit_all("LSTM", *leaves, outputs=1)
    [first] = gradients([y], [y], leaves[:1])
    assert first is not None
    second = gradients([first], [first], leaves[:1])[0]
    assert second is not None
    graph = trace(leaves, [second]).graph
    x = torch.tensor(arrays[0], requires_grad=True)
    out, _ = module(x)
    [slope] = torch.autograd.grad((out * out).sum() / 2, x, create_graph=True)
    [again] = torch.autograd.grad((slope * slope).sum() / 2, x)
    [found] = run_plan(graph, {f"x{place}": array for place, array in enumerate(arrays)})
    np.testing.assert_allclose(found, again.numpy(), rtol=1e-9, atol=1e-9)
