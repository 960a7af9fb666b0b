"""The node at which two models part within the body of an If, a Loop or a Scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
from onnx import GraphProto, NodeProto

from portable_nn.comparison.alignment import Alignment
from portable_nn.comparison.given import Given
from portable_nn.comparison.report import Parting
from portable_nn.comparison.side import Side
from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array
from portable_nn.onnx.opsets.support import captured
from portable_nn.onnx.storage.tensors import to_tensor
from portable_nn.runtimes.cutting import typed
from portable_nn.runtimes.subject import Feeds, subject_of
from portable_nn.runtimes.task import port_of

ROUNDS: Final = 4
"""The first iterations of a body that are compared."""


class _Use(NamedTuple):
    """A node with bodies in its model, and the values that it had."""

    side: Side
    node: NodeProto
    known: Mapping[str, Array]

    def body(self, name: str) -> GraphProto:
        """A body."""
        found: GraphProto = next(each.g for each in self.node.attribute if each.name == name)
        return found

    def feeds(self, name: str, own: Sequence[Array]) -> Feeds:
        """The inputs of a body: its own, and what it reads from outside and is no constant."""
        outer = {each: self.known[each] for each in captured(self.node) if each in self.known}
        return {**outer, **{each.name: array for each, array in zip(self.body(name).input, own, strict=True)}}

    def alone(self, name: str, feeds: Feeds) -> Side:
        """A body as a model of its own."""
        model, constants = self.side.model, self.side.constants
        made = type(model)(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
        made.graph.CopyFrom(self.body(name))
        del made.graph.input[:]
        made.graph.input.extend(typed(port_of(*each)) for each in feeds.items())
        read = {*captured(self.node)} - feeds.keys()
        made.graph.initializer.extend(to_tensor(key, constants[key]) for key in sorted(read & constants.keys()))
        return Side(subject_of(made, edited=True), self.side.letter)

    def values(self, names: Sequence[str]) -> list[Array]:
        """Inputs of the node."""
        return [self.known[each] if each in self.known else self.side.constants[each] for each in names]


def in_bodies(found: Alignment, at: Parting) -> Parting:
    """The parting, with the node in a body where it is, if the body parts on the values that it has there."""
    node, place = found.one.maker.get(at.value_a), found.worst_round(at)
    other = found.other.maker[at.value_b]
    if node is None or node.op_type != other.op_type:
        return at
    uses = _Use(found.one, node, found.theirs[place]), _Use(found.other, other, found.seen[place])
    try:
        name = _taken(uses[0])
        inner = name and _parted(name, *uses)
    except (PortableNNError, LookupError, ValueError):  # The body does not run by itself, or not on these.
        return at
    if not inner:
        return at
    letters = found.one.letter, found.other.letter
    why = f"in its {name}, {inner.nodes_a[-1]} of {letters[0]} and {inner.nodes_b[-1]} of {letters[1]}"
    return inner._replace(
        nodes_a=at.nodes_a,
        nodes_b=at.nodes_b,
        value_a=at.value_a,
        value_b=at.value_b,
        why=f"{why}: {inner.why}" if inner.why else why,
    )


def untaken(found: Given) -> Iterator[tuple[str, str]]:
    """Values of an If with a branch that no input takes and that differs between the models, and the difference."""
    for name, match in found.given.items():
        node, theirs = found.other.maker[name], found.one.maker.get(match.value)
        if theirs is None or node.op_type != "If" or theirs.op_type != "If":
            continue
        one, other = _Use(found.one, theirs, found.theirs[0]), _Use(found.other, node, found.seen[0])
        taken = set[str]()
        with suppress(LookupError):  # The condition may follow from shapes: then both branches are compared.
            taken = {_taken(one._replace(known=known)) for known in found.theirs}
        for branch in sorted({"then_branch", "else_branch"} - taken):
            with suppress(PortableNNError, LookupError, ValueError):  # The branch does not run alone.
                if inner := _parted(branch, one, other):
                    yield name, f"its {branch}, which none takes, differs: {inner.nodes_a[-1]} and {inner.nodes_b[-1]}"


def _taken(use: _Use) -> str:
    """The body that runs."""
    if use.node.op_type == "If":
        return "then_branch" if use.values(use.node.input[:1])[0].all() else "else_branch"
    return "body" if use.node.op_type in ("Loop", "Scan") else ""


def _parted(name: str, one: _Use, other: _Use) -> Parting | None:
    """The first place at which two bodies part, on what the first one gets in its iterations."""
    own = list(_iterations(name, one))
    rounds = [one.feeds(name, each) for each in own], [other.feeds(name, each) for each in own]
    inner = Alignment(one.alone(name, rounds[0][0]), other.alone(name, rounds[1][0]), rounds)
    inner.align()
    return in_bodies(inner, inner.partings[0]) if inner.partings else None


def _iterations(name: str, use: _Use) -> Iterator[list[Array]]:
    """The inputs of a body of its own in each iteration: none of a branch."""
    if use.node.op_type == "If":
        yield []
        return
    scanned = next((each.i for each in use.node.attribute if each.name == "num_scan_inputs"), 0)
    inputs = use.values([each for each in use.node.input[0 if scanned else 2 :] if each])
    states, slices = inputs[: len(inputs) - scanned], inputs[len(inputs) - scanned :]
    head = 0 if scanned else 1  # The first output of a Loop says whether it goes on.
    side: Side | None = None
    for step in range(min(ROUNDS, len(slices[0])) if scanned else ROUNDS):
        own = [*([] if scanned else [np.array(step), np.array(True)]), *states, *(each[step] for each in slices)]
        yield own
        feeds = use.feeds(name, own)
        side = side or use.alone(name, feeds)
        [values] = side.run([feeds], {})
        states = [side.output(each, {**feeds, **values}) for each in side.outputs[head : head + len(states)]]
