"""Scan and Loop: a body that runs once for each step, or for as long as a condition holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from portable_nn.core.dims import agreed, is_at_least, largest, smallest, static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.graph import Graph
from portable_nn.core.limits import BOUNDLESS, most_time, time_limit
from portable_nn.operators.base import (
    REQUIRED,
    Array,
    Attr,
    Dim,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    constant,
    count_up,
    emit,
    integers,
    register,
    zeros_like,
)
from portable_nn.operators.control.bodies import (
    Body,
    Outside,
    bodies_of,
    compiled,
    copied,
    cost,
    emit_node,
    inlined,
    is_differentiable,
    leaf,
    mixed,
    results,
    same_type,
    trained,
    unstreamed,
)
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import FLOATS, Compiled

_INT, _TRUE = Type("int64", ()), Type("bool", (), (1,))


def _stepped(plan: Compiled, graph: Graph, skipped: int, x: Sequence[Array], outs: Sequence[Array]) -> list[Step]:
    """The calls before all turns, before each and after each that carry the states; the first inputs are others."""
    entries = [plan.inputs[value.name] for value in graph.inputs[skipped:]]
    made = [plan.outputs[name] for name in graph.outputs[max(0, skipped - 1) :]]

    def begin() -> None:
        for array, out in zip(x, outs, strict=False):
            copied(out, array)

    def enter() -> None:
        for out, entry in zip(outs[: len(x)], entries, strict=False):
            np.copyto(entry, out)

    def leave() -> None:
        for array, out in zip(made[: len(x)], outs, strict=False):
            np.copyto(out, array)

    return [begin, enter, leave]


# -- Scan


class ScanUse(NamedTuple):
    """A use of Scan: axes and directions of what is read and written step by step."""

    body: Body
    states: int
    axes: tuple[int, ...]
    backwards: tuple[int, ...]
    out_axes: tuple[int, ...]
    out_backwards: tuple[int, ...]
    steps: Dim
    entries: list[Type]


def _listed(use: OperatorContext, name: str, count: int) -> tuple[int, ...]:
    found = use.ints(name) or (0,) * count
    if len(found) != count or ("directions" in name and not {0, 1}.issuperset(found)):
        use.fail(f"{name} must be {count} numbers{' from 0 to 1' * ('directions' in name)}, not {found}")
    return found


def scan_of(use: OperatorContext) -> ScanUse:
    """A use of Scan. Raises ``InvalidNode`` where its inputs do not fit each other."""
    body, read = bodies_of(use)["body"], use.at_least("num_scan_inputs")
    states, outs = body.places.start - read, use.output_count
    if not 0 <= states <= outs:
        use.fail(f"it has {body.places.start} inputs of which it reads {read} in steps, and {outs} outputs")
    types = [use.type(place) for place in range(states, body.places.start)]
    axes = tuple(
        use.axis(axis, len(type.shape)) for axis, type in zip(_listed(use, "scan_input_axes", read), types, strict=True)
    )
    steps = types[0].shape[axes[0]]
    for axis, type in zip(axes, types, strict=True):
        both = agreed(steps, type.shape[axis])
        if both is None:
            use.fail(f"what it reads in steps has {steps} and {type.shape[axis]} of them")
        steps = both
    entries = [_varying(use.type(place)) for place in range(states)]
    entries += [
        Type(type.dtype, (*type.shape[:axis], *type.shape[axis + 1 :])) for axis, type in zip(axes, types, strict=True)
    ]
    return ScanUse(
        body,
        states,
        axes,
        _listed(use, "scan_input_directions", read),
        _listed(use, "scan_output_axes", outs - states),
        _listed(use, "scan_output_directions", outs - states),
        steps,
        entries,
    )


def _varying(type: Type) -> Type:
    """The type of a state, which is another array in each turn."""
    return Type(type.dtype, type.shape)


def _states(use: OperatorContext, entries: Sequence[Type], made: Sequence[Type]) -> list[Type]:
    """The types of the states after all turns, where they are the same after each."""
    return [
        same_type(use, f"state {place + 1}, from turn to turn,", *pair)
        for place, pair in enumerate(zip(entries, made, strict=False))
    ]


def _count(use: OperatorContext, made: Sequence[object], wanted: int) -> None:
    if len(made) != wanted:
        use.fail(f"its body makes {len(made)} values, and needs {wanted} for its outputs")


def _scan_types(use: OperatorContext) -> tuple[Type, ...]:
    scan = scan_of(use)
    made = results(use, scan.body, scan.entries)
    _count(use, made, use.output_count)
    written = list[Type]()
    for type, axis in zip(made[scan.states :], scan.out_axes, strict=True):
        shape = list(type.shape)
        shape.insert(use.axis(axis, len(shape) + 1), scan.steps)
        written.append(Type(type.dtype, tuple(shape)))
    return (*_states(use, scan.entries[: scan.states], made), *written)


def _in_steps(array: Array, axis: int, backwards: int) -> Array:
    moved = np.moveaxis(array, axis, 0)
    return moved[::-1] if backwards else moved


def _scan_kernel(n: KernelContext) -> list[Step]:
    scan = scan_of(n)
    plan, graph, states = compiled(n, scan.body, scan.entries), scan.body.graph, scan.states
    outs = [n.out(index) for index in range(n.output_count)]
    begin, enter, leave = _stepped(plan, graph, 0, n.x[:states], outs)
    given = n.x[states : scan.body.places.start]
    read = [_in_steps(*each) for each in zip(given, scan.axes, scan.backwards, strict=True)]
    written = [_in_steps(*each) for each in zip(outs[states:], scan.out_axes, scan.out_backwards, strict=True)]
    entries = [plan.inputs[value.name] for value in graph.inputs[states:]]
    made = [plan.outputs[name] for name in graph.outputs[states:]]

    def run() -> None:
        begin()
        for turn in range(len(read[0])):
            enter()
            for array, entry in zip(read, entries, strict=True):
                entry[...] = array[turn]
            plan.run()
            for array, out in zip(made, written, strict=True):
                out[turn] = array
            leave()

    return [run]


def _scan_gradient(n: GradientContext) -> list[Symbol | None]:
    """A Scan backwards over the states before each step, which another Scan forward keeps."""
    scan = scan_of(n)
    graph, places, states, own = scan.body.graph, scan.body.places, scan.states, scan.body.places.start
    before = _states_before(n, scan)
    outside = Outside()
    moving = [place for place in range(states) if n.x[place].dtype in FLOATS]
    captured = {n.x[place]: place for place in reversed(places) if is_differentiable(n.x[place])}
    sums = [leaf(f"sum_{place}", _varying(symbol.type)) for place, symbol in enumerate(captured)]
    flows = {place: leaf(f"flow_{place}", _varying(n.x[place].type)) for place in moving}
    entries = [leaf(f"entry_{place}", type) for place, type in enumerate(scan.entries)]
    late = {place: flow for place, flow in enumerate(n.back) if flow is not None and place >= states}
    types = results(n, scan.body, scan.entries)
    seeds = {place: leaf(f"seed_{place}", _varying(types[place])) for place in late}
    inside = {n.x[place]: outside.leaf(n.x[place]) for place in places}
    made = inlined(graph, [*entries, *(inside[n.x[place]] for place in places)])
    ends = {**{place: flows[place] for place in moving}, **seeds}
    slices = [place for place in range(states, own) if n.x[place].dtype in FLOATS]
    wrt = [*(entries[place] for place in (*moving, *slices)), *(inside[symbol] for symbol in captured)]
    found = gradients([made[place] for place in ends], [*ends.values()], wrt)
    whole = [zeros_like(symbol) if back is None else back for back, symbol in zip(found, wrt, strict=True)]
    first, middle, last = whole[: len(moving)], whole[len(moving) : len(wrt) - len(sums)], whole[len(wrt) - len(sums) :]
    outputs = [*first, *(a + b for a, b in zip(sums, last, strict=True)), *middle]
    if not outputs:
        return []
    body = outside.body("backward", [*flows.values(), *sums, *entries, *seeds.values()], outputs)
    starts = [flow if (flow := n.back[place]) is not None else zeros_like(n.x[place]) for place in moving]
    reads = [*before, *n.x[states:own], *late.values()]
    at = [place - states for place in late]
    axes = [0] * states + [*scan.axes] + [scan.out_axes[place] for place in at]
    ways = [1] * states + [1 - each for each in (*scan.backwards, *(scan.out_backwards[place] for place in at))]
    found_back = emit_node(
        "Scan",
        [*starts, *map(zeros_like, captured), *reads],
        {"body": body},
        len(outputs),
        num_scan_inputs=len(reads),
        scan_input_axes=axes,
        scan_input_directions=ways,
        scan_output_axes=[scan.axes[place - states] for place in slices],
        scan_output_directions=[1 - scan.backwards[place - states] for place in slices],
    )
    back: list[Symbol | None] = [None] * n.inputs
    for place, gradient in zip([*moving, *captured.values(), *slices], found_back, strict=True):
        back[place] = gradient
    return back


def _states_before(n: GradientContext, scan: ScanUse) -> list[Symbol]:
    """The states before each step."""
    if not scan.states:
        return []
    outside = Outside()
    entries = [leaf(f"entry_{place}", type) for place, type in enumerate(scan.entries)]
    made = inlined(scan.body.graph, [*entries, *(outside.leaf(n.x[place]) for place in scan.body.places)])
    body = outside.body("forward", entries, [*made[: scan.states], *entries[: scan.states]])
    found = emit_node(
        "Scan",
        n.x[: scan.body.places.start],
        {"body": body},
        2 * scan.states,
        num_scan_inputs=len(scan.axes),
        scan_input_axes=scan.axes,
        scan_input_directions=scan.backwards,
    )
    return list(found[scan.states :])


register(
    Operator(
        "Scan",
        ("initial_state_and_scan_inputs*",),
        _scan_types,
        _scan_kernel,
        _scan_gradient,
        {
            "body": Attr(tuple, REQUIRED, item=Graph),
            "num_scan_inputs": Attr(int, REQUIRED),
            "scan_input_axes": Attr(tuple),
            "scan_input_directions": Attr(tuple),
            "scan_output_axes": Attr(tuple),
            "scan_output_directions": Attr(tuple),
        },
        outputs=("final_state_and_scan_outputs*",),
        stored=4,
        entries=lambda use: scan_of(use).entries,
        training=partial(trained, "Scan"),
        streamed=unstreamed,
        mixes=lambda use: [scan_of(use).steps, *mixed(use)],
        multiply_adds=lambda use, shape: _scan_cost(use),
        visits=lambda use, shape: _scan_cost(use, visited=True),
    )
)


def _scan_cost(use: OperatorContext, *, visited: bool = False) -> list[Dim]:
    scan = scan_of(use)
    return [scan.steps, cost(use, scan.body, scan.entries, visited=visited)]


# -- Loop


class LoopUse(NamedTuple):
    """A use of Loop: its states, and how many turns it takes, if that is known."""

    body: Body
    states: int
    turns: Dim | None
    entries: list[Type]
    made: list[Type]


def _loop_entries(use: OperatorContext) -> list[Type]:
    for place, dtype in enumerate(("int64", "bool")):
        if use.has(place) and (use.type(place).dtype != dtype or use.type(place).shape not in ((), (1,))):
            use.fail(f"{use.operator.input_name(place)} must be one {dtype}, not {use.type(place)}")
    return [_INT, _TRUE, *(_varying(use.type(place)) for place in range(2, bodies_of(use)["body"].places.start))]


def loop_of(use: OperatorContext) -> LoopUse:
    """A use of Loop. Raises ``InvalidNode`` where its inputs and its body do not fit each other."""
    body, entries = bodies_of(use)["body"], _loop_entries(use)
    states = len(entries) - 2
    made = results(use, body, entries)
    _count(use, made, use.output_count + 1)
    if not states <= use.output_count:
        use.fail(f"it has {states} states and {use.output_count} outputs")
    if made[0].dtype != "bool" or made[0].shape not in ((), (1,)):
        use.fail(f"the condition that its body makes must be one bool, not {made[0]}")
    return LoopUse(body, states, turns_of(use, made[0].constant), entries, made)


def turns_of(use: OperatorContext, goes_on: tuple[object, ...] | None) -> Dim | None:
    """The number of turns; ``None`` where it depends on the data."""
    begins = use.type(1).constant if use.has(1) else (1,)
    if begins == (0,):
        return 0
    known = use.type(0).constant if use.has(0) else None
    most = known[0] if known and isinstance(known[0], (int, str)) else None
    if most is not None and not is_at_least(most, 0):
        most = largest(0, most)
    if goes_on == (1,) and not use.has(0):
        use.fail("it never ends: its condition is always true, and it has no number of turns")
    if begins is None or goes_on is None or most is None:
        return None
    return most if goes_on == (1,) else smallest(1, most)


def _loop_types(use: OperatorContext) -> tuple[Type, ...]:
    loop = loop_of(use)
    states = _states(use, loop.entries[2:], loop.made[1:])
    written = loop.made[1 + loop.states :]
    if written and loop.turns is None:
        use.fail("the number of its turns depends on the data, and so does the shape of what it makes in each")
    return (*states, *(Type(type.dtype, (loop.turns or 0, *type.shape)) for type in written))


def _loop_kernel(n: KernelContext) -> list[Step]:
    loop = loop_of(n)
    plan, graph, states = compiled(n, loop.body, loop.entries), loop.body.graph, loop.states
    outs = [n.out(index) for index in range(n.output_count)]
    begin, enter, leave = _stepped(plan, graph, 2, n.x[2 : 2 + states], outs)
    number, condition = (plan.inputs[value.name] for value in graph.inputs[:2])
    goes_on, *made = (plan.outputs[name] for name in graph.outputs)
    written = list(zip(made[states:], outs[states:], strict=True))
    most, start = (n.x[place] if n.has(place) else None for place in (0, 1))
    endless = loop.turns is None

    def run() -> None:
        begin()
        turns = math.inf if most is None else int(most.item())
        going, turn = start is None or bool(start.item()), 0
        seconds = time_limit(0)
        stop = time.process_time() + seconds if endless else math.inf
        while going and turn < turns:
            number[...], condition[...] = turn, True
            enter()
            plan.run()
            for array, out in written:
                out[turn] = array
            leave()
            going, turn = bool(goes_on.item()), turn + 1
            if endless and time.process_time() > stop:
                n.fail(f"goes on after {turn:,} turns; {most_time(seconds, 0)}")

    return [run]


def _as_scan(count: Symbol | None, start: Symbol | None, *rest: Symbol, body: tuple[Graph]) -> Sequence[Symbol]:
    """The same as a Scan over the numbers of the turns; where it may end early, the turns after that change nothing."""
    [graph] = body
    states = len(graph.inputs) - 2
    initial, outer = rest[:states], rest[states:]
    outside, branch, idle = Outside(), Outside(), Outside()
    alive, turn = leaf("goes_on", Type("bool", ())), leaf("turn", _INT)
    entries = [leaf(f"state_{place}", _varying(each.type)) for place, each in enumerate(initial)]

    def made(inside: Callable[[Symbol], Symbol]) -> list[Symbol]:
        captured = (inside(outside.leaf(each)) for each in outer)
        return inlined(graph, [inside(turn), constant(1, "bool"), *map(inside, entries), *captured])

    first, *others = made(lambda each: each)
    begins = (1,) if start is None else start.type.constant
    ends = begins != (1,) or first.type.constant != (1,)
    most = count.type.constant if count is not None else None
    bound = most[0] if most and isinstance(most[0], int) else 0
    if count is None or (ends and (len(others) > states or bound >= BOUNDLESS)):
        raise GraphError([Fault("Loop", "the number of its turns depends on the data, and has no bound")])
    shapes = [static(each.shape) for each in others[states:]]
    if (
        most and bound <= 0 and not isinstance(most[0], str) and None not in shapes
    ):  # onnxruntime refuses an empty Scan.
        none = [emit("Expand", constant(0, y.dtype), integers([0, *map(int, y.shape)])) for y in others[states:]]
        return [*(emit("Identity", each) for each in initial), *none]
    numbers = count_up(emit("Reshape", count, integers([])))
    if not ends:
        scan = outside.body("body", [*entries, turn], others)
        return emit_node("Scan", [*initial, numbers], {"body": scan}, len(others), num_scan_inputs=1)
    goes_on, *states_made = made(branch.leaf)
    ways = {
        "then_branch": branch.body("then_branch", (), [emit("Reshape", goes_on, integers([])), *states_made]),
        "else_branch": idle.body("else_branch", (), [idle.leaf(each) for each in (alive, *entries)]),
    }
    chosen = emit_node("If", [alive], ways, 1 + states)
    scan = outside.body("body", [alive, *entries, turn], chosen)
    alive_first = constant(1, "bool") if start is None else emit("Reshape", start, integers([]))
    found = emit_node("Scan", [alive_first, *initial, numbers], {"body": scan}, 1 + states, num_scan_inputs=1)
    return found[1:]


register(
    Operator(
        "Loop",
        ("M?", "cond?", "v_initial*"),
        _loop_types,
        _loop_kernel,
        "lowering",
        {"body": Attr(tuple, REQUIRED, item=Graph)},
        outputs=("v_final_and_scan_outputs*",),
        stored=4,
        entries=_loop_entries,
        training=partial(trained, "Loop", skipped=1),
        streamed=unstreamed,
        mixes=mixed,
        lowering=_as_scan,
        multiply_adds=lambda use, shape: _loop_cost(use),
        visits=lambda use, shape: _loop_cost(use, visited=True),
    )
)


def _loop_cost(use: OperatorContext, *, visited: bool = False) -> list[Dim]:
    loop = loop_of(use)
    return [1 if loop.turns is None else loop.turns, cost(use, loop.body, loop.entries, visited=visited)]
