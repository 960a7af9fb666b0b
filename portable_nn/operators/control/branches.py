"""If: one of two bodies runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from portable_nn.core.dims import opened
from portable_nn.core.graph import Graph
from portable_nn.operators.base import (
    REQUIRED,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    register,
    zeros_like,
)
from portable_nn.operators.control.bodies import (
    Body,
    Outside,
    bodies_of,
    compiled,
    cost,
    emit_node,
    inlined,
    is_differentiable,
    mixed,
    results,
    same_type,
    trained,
    unstreamed,
)
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.inference import has_open


def taken(use: OperatorContext) -> str | None:
    """The attribute of the branch that runs, where the condition is known."""
    found = use.type().constant
    return None if not found else "then_branch" if found[0] else "else_branch"


def _ways(use: OperatorContext) -> dict[str, Body]:
    """The bodies that may run: one, where the condition is known."""
    condition = use.type()
    use.check_dtype(condition.dtype, {"bool"})
    if condition.shape not in ((), (1,)):
        use.fail(f"its condition must be one truth value, not {condition}")
    found, name = bodies_of(use), taken(use)
    return {name: found[name]} if name else found


def running(use: OperatorContext) -> dict[str, Body]:
    """The bodies of a node that may run."""
    return _ways(use) if use.operator.name == "If" else bodies_of(use)


def _types(use: OperatorContext) -> tuple[Type, ...]:
    found = [results(use, body, ()) for body in _ways(use).values()]
    for types in found:
        if len(types) != use.output_count:
            use.fail(f"it has {use.output_count} outputs, and a branch makes {len(types)}")
    if len(found) == 1:
        return tuple(found[0])
    return tuple(_either(use, f"output {place + 1}", *pair) for place, pair in enumerate(zip(*found, strict=True)))


def _either(use: OperatorContext, what: str, one: Type, other: Type) -> Type:
    """The type of what one of two ways makes: sizes that differ are data-dependent if they are so in one of them."""
    if not has_open((one, other)) or len(one.shape) != len(other.shape) or one.dtype != other.dtype:
        return same_type(use, what, one, other)
    pairs = enumerate(zip(one.shape, other.shape, strict=True))
    return Type(one.dtype, tuple(a if a == b else opened(axis) for axis, (a, b) in pairs))


def _kernel(n: KernelContext) -> list[Step]:
    if has_open(_types(n)):
        [body] = _ways(n).values()  # All that is read is known when sizes are decided.
        plan = compiled(n, body, ())
        plan.run()
        for index, name in enumerate(body.graph.outputs):
            n.view(plan.outputs[name].copy(), index)
        return []
    condition, outs = n.x[0], [n.out(index) for index in range(n.output_count)]
    plans = {name == "then_branch": (compiled(n, body, ()), body.graph) for name, body in _ways(n).items()}
    made = {way: [plan.outputs[name] for name in graph.outputs] for way, (plan, graph) in plans.items()}

    def run() -> None:
        way = bool(condition.item())
        plans[way][0].run()
        for out, array in zip(outs, made[way], strict=True):
            np.copyto(out, array)

    return [run]


def _gradient(n: GradientContext) -> list[Symbol | None]:
    """An If whose branches are the gradients of the branches."""
    ways = _ways(n)
    places = {n.x[place]: place for body in ways.values() for place in reversed(body.places)}
    wanted = [symbol for symbol in places if is_differentiable(symbol)]
    if len(ways) == 1:  # It needs no node: copies, so that the gradient stops at the inputs of this one.
        [body] = ways.values()
        back = _back(n, body, {each: emit("Identity", each) for each in places}, lambda flow: flow, wanted)
    else:
        outside, made = Outside(), {}
        for name, body in ways.items():
            inside = {each: outside.leaf(each) for each in places}
            flowing = zip(_back(n, body, inside, outside.leaf, wanted), wanted, strict=True)
            whole = [zeros_like(inside[each]) if flow is None else flow for flow, each in flowing]
            made[name] = outside.body(name, (), whole)
        back = [*emit_node("If", n.x[:1], made, len(wanted))] if wanted else []
    found = list[Symbol | None]([None] * n.inputs)
    for symbol, gradient in zip(wanted, back, strict=True):
        found[places[symbol]] = gradient
    return found


def _back(
    n: GradientContext,
    body: Body,
    inside: Mapping[Symbol, Symbol],
    enter: Callable[[Symbol], Symbol],
    wanted: Sequence[Symbol],
) -> list[Symbol | None]:
    """The gradients of the ``wanted`` values that a body reads; ``inside`` and ``enter`` bring values into it."""
    flows = {index: flow for index, flow in enumerate(n.back) if flow is not None}
    outputs = inlined(body.graph, [inside[n.x[place]] for place in body.places])
    return gradients(
        [outputs[index] for index in flows], [*map(enter, flows.values())], [inside[each] for each in wanted]
    )


def _largest(use: OperatorContext, *, visited: bool = False) -> list[Dim]:
    return [max(cost(use, body, (), visited=visited) for body in _ways(use).values())]


register(
    Operator(
        "If",
        ("cond", "captured*"),
        _types,
        _kernel,
        _gradient,
        {name: Attr(tuple, REQUIRED, item=Graph) for name in ("then_branch", "else_branch")},
        outputs=("outputs*",),
        stored=4,
        entries=lambda use: (),
        training=partial(trained, "If"),
        streamed=unstreamed,
        mixes=mixed,
        multiply_adds=lambda use, shape: _largest(use),
        visits=lambda use, shape: _largest(use, visited=True),
    )
)
