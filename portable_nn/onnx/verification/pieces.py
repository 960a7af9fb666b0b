"""Both engines on a whole graph, piece by piece: no more than one piece has its weights and values in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from portable_nn.core.graph import Graph
from portable_nn.core.memory import give_back
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.once import run_plan
from portable_nn.engines.plan import Plan
from portable_nn.onnx.opsets.support import reads
from portable_nn.onnx.verification.sections import Sides
from portable_nn.operators import DTYPE_CODES
from portable_nn.rewrites import DEFAULT

SECTION: Final = 32 * 2**20
"""Bytes of a piece where an engine may rewrite nodes: it fuses none of two pieces, and should miss few."""


def outputs_of_numpy(sides: Sides, rounds: Sequence[NamedArrays]) -> list[dict[str, Array]]:
    """The graph's outputs for each of the inputs, each of which the model makes as well.

    A piece computes the cuts that later ones need from those that earlier ones have computed.
    """
    values = [dict(feeds) for feeds in rounds]
    outputs, types = set(sides.graph.outputs), [sides.types_of(feeds) for feeds in rounds]
    for piece in sides.chunks(SECTION, len(rounds)):
        made = [*filter(sides.node_of.__contains__, sides.made(piece))]
        needed = (name for name in made if name in sides.cuts and sides.last.get(name, -1) >= piece.stop)
        targets = [*dict.fromkeys([*needed, *outputs.intersection(made)])]
        plan = None
        for number, known in enumerate(values if targets else ()):
            if plan is None or types[number] is not types[number - 1]:
                plan = None  # Its memory is free before the next takes some.
                graph, parameters, names = sides.numpy_part(targets, types[number], given=known)
                plan = plan_of(graph, parameters, DEFAULT)
            found = run_plan(plan, known)
            _forget([known], piece, sides, outputs)
            known |= {name: found[output].copy() for name, output in names.items()}
    return [{name: known[name] for name in sides.graph.outputs} for known in values]


def plan_of(graph: Graph, parameters: NamedArrays, rewrites: Collection[str] = ()) -> Plan:
    """A plan of a part; without rewrites, so that every node has its own kernel."""
    shapes = {value.name: value.shape for value in graph.inputs}
    return Plan(graph, shapes, parameters, rewrites=rewrites)


def outputs_of_runtime(sides: Sides, rounds: Sequence[NamedArrays]) -> list[dict[str, Array]]:
    """The graph's outputs for each of the inputs, each of which the model makes, with optimisation."""
    outputs = set(sides.graph.outputs)
    for _, values in runtime_values(sides, rounds, outputs, SECTION, 0, optimise=True):
        found = values
    return [{name: known[name] for name in sides.graph.outputs} for known in found]


def runtime_values(
    sides: Sides,
    rounds: Sequence[NamedArrays],
    wanted: Collection[str],
    most: int,
    counted: int,
    *,
    optimise: bool = False,
) -> Iterator[tuple[list[str], list[dict[str, Array]]]]:
    """The values that onnxruntime computes: of each piece the names that are ``wanted``, and all values known then.

    Args:
        sides: the model.
        rounds: its inputs.
        wanted: names of values.
        most: the bytes of a piece.
        counted: for how many inputs values count among them, beside the weights.
        optimise: whether onnxruntime may rewrite the graph; ``wanted`` values are then kept to the end.
    """
    nodes, values = sides.model.graph.node, [dict(feeds) for feeds in rounds]
    for piece in sides.chunks(most, counted):
        needed = [name for name in sides.made(piece) if name in wanted or sides.last.get(name, -1) >= piece.stop]
        read = dict.fromkeys(name for place in piece for name in reads(nodes[place]))
        inputs = {name: DTYPE_CODES[values[0][name].dtype.name] for name in read if name in values[0]}
        if needed:
            part = sides.model_part((nodes[place] for place in piece), inputs, needed)
            session = sides.session(part, optimise=optimise)
            for known in values:
                known.update(sides.run(session, known))
            del session
        yield [*filter(wanted.__contains__, needed)], values
        _forget(values, piece, sides, wanted if optimise else ())


def _forget(values: Sequence[dict[str, Array]], piece: range, sides: Sides, kept: Collection[str]) -> None:
    """Drop the values that nothing after ``piece`` needs, but for those that are ``kept``."""
    freed = 0
    for known in values:
        for name in [name for name in known if sides.last.get(name, -1) < piece.stop and name not in kept]:
            freed += known.pop(name).nbytes
    if freed > SECTION // 2:  # Getting memory from the system takes time, so small pieces keep theirs.
        give_back()
