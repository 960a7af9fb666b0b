"""Values on the way: every step of both sides on the same inputs, piece by piece.

onnxruntime computes all common values of a piece of the model, without optimisation. Numpy computes each of them from
those that it depends on, as onnxruntime has them: errors do not add up, and what differs is named where it arises. A
difference is measured against the spread of that value over the inputs, so that small values count as much as large.

If a node's values hardly vary (a layer of zeros, a saturated function), or one side writes the node in another form,
both sides run the node alone on random inputs, and if need be on random weights. If the values still do not vary, or
the form differs, the node also runs on values outside its range and on rounding ties (see ``edges``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from portable_nn.core.dims import static
from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import Graph, Node, Value, all_nodes, bodies
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.engines.once import run_plan
from portable_nn.engines.plan import Plan
from portable_nn.onnx.samples import drawn, spans
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.conditioning import allowed
from portable_nn.onnx.verification.differences import (
    Pair,
    Tolerance,
    deviation,
    gaps,
    largest_gap,
    same_type,
    spread,
)
from portable_nn.onnx.verification.edges import far_and_ties, jumps
from portable_nn.onnx.verification.forms import form_of
from portable_nn.onnx.verification.pieces import plan_of, runtime_values
from portable_nn.onnx.verification.proof import Loose, Proof
from portable_nn.onnx.verification.rounding import explained
from portable_nn.onnx.verification.sections import CHUNK, Sides
from portable_nn.operators import FLOATS, Types, infer, known_operator, use_of
from portable_nn.operators.costs import multiply_adds, volume

VISIBLE: Final = 8
"""The multiple of the allowed difference that a value must vary over the inputs for a comparison to show anything."""

FAINT: Final = 0.01
"""The scale of drawn inputs that show what a small constant is added to, where no ``epsilon`` says it."""

DRAWN: Final = 100_003
"""The numbers that are drawn for an array, and repeated in a larger one: a prime, so that its rows are different."""


class _Alone(NamedTuple):
    """A part on both sides, and the names of its values there."""

    session: Session
    plan: Plan
    theirs_of: Mapping[str, str]
    ours_of: Mapping[str, str]


class Parting(Exception):  # noqa: N818 - never leaves the package: it becomes a VerificationError with the file's name
    """The first value that differs."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair


def _terms(node: Node, types: Types) -> float:
    """The number of terms in a sum that makes an element of the first output: products, or shares of many classes."""
    first = next(filter(None, node.outputs))
    terms, operator = (multiply_adds(node, types) or 0) / max(1, volume(types[first].shape)), known_operator(node)
    if operator is None or operator.mixes is None or any(bodies(node)):
        return terms
    return max([terms, *(dim for dim in operator.mixes(use_of(node, types)) if isinstance(dim, int))])


class Comparison:
    """The comparison of all values of both sides on the inputs ``rounds``, of which the last two have the same shapes.

    What is found goes into ``proof``. ``shown`` are the values that the inputs so far have shown, ``rewritten`` those
    of nodes that one side has in another form; ``unshown`` says of nodes which attributes differ in what both state.
    """

    def __init__(
        self, sides: Sides, rounds: Sequence[NamedArrays], opset: int, tolerance: Tolerance, proof: Proof
    ) -> None:
        self.sides, self.rounds, self.tolerance, self.proof = sides, rounds, tolerance, proof
        self.types = [sides.types_of(feeds) for feeds in rounds]
        self.shown, self.rewritten = set[str](), set[str]()
        self.ways, self.unshown = dict[str, set[bool]](), dict[str, str]()
        for name in sides.common:
            node = sides.node_of[name]
            form = form_of(node, sides.model.graph.node[sides.place_of[name]], opset)
            if not form.same:
                self.rewritten.add(name)
            if form.differences:
                self.unshown[str(node)] = "; ".join(form.differences)
        self.rng = np.random.default_rng(0)

    def run(self) -> None:
        """Compare all, one after another.

        Raises ``Parting`` where a value differs, and ``FormatError`` where an engine cannot run.
        """
        for targets, values in self._pieces():
            self._check_types(targets, values)
            self._check(targets, self._ours(targets, values), values, values)
        varying = [name for name in self.sides.common if name in self.sides.dependent]
        free = frozenset(value.name for value in self.sides.graph.parameters if self._is_free(value))
        self._alone([name for name in varying if name not in self.shown], free)
        self._alone([name for name in varying if name not in self.shown or name in self.rewritten], frozenset())
        self._name_unseen([name for name in varying if name not in self.shown])

    # -- on the way

    def _pieces(self) -> Iterator[tuple[list[str], list[dict[str, Array]]]]:
        """The values of each piece that both sides have, and all values known there, for each of the inputs."""
        wanted = {*self.sides.common, *self.sides.stored}
        return runtime_values(self.sides, self.rounds, wanted, CHUNK, len(self.rounds))

    def _check_types(self, targets: Sequence[str], values: Sequence[NamedArrays]) -> None:
        for name in targets:
            for types, known in zip(self.types, values, strict=True):
                shape, theirs = static(types[name].shape), known[name]
                if shape is not None and (shape != theirs.shape or types[name].dtype != theirs.dtype.name):
                    raise Parting(Pair(name, np.empty(shape, types[name].dtype), theirs))

    def _ours(self, targets: Sequence[str], values: Sequence[NamedArrays]) -> Iterator[NamedArrays]:
        """The values that ``targets`` depend on, by numpy; the next of them may overwrite the arrays."""
        stored = {name: self.sides.parameters[name] for name in targets if name in self.sides.parameters}
        made = [name for name in targets if name not in stored]
        last, plan = None, None
        for types, known in zip(self.types, values, strict=True):
            if plan is None or types is not last:  # Inputs of the same shapes follow each other.
                plan = None  # Its memory is free before the next takes some.
                graph, parameters, outputs = self.sides.numpy_part(made, types)
                last, plan = types, plan_of(graph, parameters)
            arrays = run_plan(plan, known)
            yield stored | {name: arrays[output] for name, output in outputs.items()}

    # -- one value

    def _check(
        self,
        targets: Sequence[str],
        ours: Iterable[NamedArrays],
        theirs: Sequence[NamedArrays],
        feeds: Sequence[NamedArrays],
        free: Collection[str] = (),
    ) -> None:
        """Compare ``targets``, and remember those that the inputs have shown."""
        over_inputs = {name: spread(theirs[-1][name], theirs[-2][name]) for name in targets}
        worst, limit = dict.fromkeys(targets, 0.0), dict.fromkeys(targets, 0.0)
        apart = list[tuple[int, Pair]]()
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            for name in targets:
                one_of_two = number >= len(theirs) - 2
                most = self._allowed(name, other[name], over_inputs[name], one_of_two=one_of_two)
                largest = largest_gap(one[name], other[name])
                if not largest <= most:
                    apart.append((number, Pair(name, one[name].copy(), other[name], most)))
                worst[name], limit[name] = max(worst[name], largest), max(limit[name], most)
        places = {name: place for place, name in enumerate(targets)}
        for number, pair in sorted(apart, key=lambda each: places[each[1].name]):  # The first node that differs first.
            limit[pair.name] = max(limit[pair.name], self._explained(pair, feeds[number], number, free))
        for name in targets:
            self._note_ways(name, feeds)
            self.proof.compared.setdefault(name, 0.0)
            if over_inputs[name] > VISIBLE * limit[name]:
                self.shown.add(name)
                self.proof.compared[name] = max(self.proof.compared[name], worst[name] / over_inputs[name])

    def _note_ways(self, name: str, feeds: Sequence[NamedArrays]) -> None:
        """Note the conditions by which a branch was chosen."""
        node = self.sides.node_of.get(name)
        if node is not None and node.operator == "If" and not self.sides.types[0][node.inputs[0]].constant:
            seen = self.ways.setdefault(str(node), set())
            seen.update(bool(known[node.inputs[0]].item()) for known in feeds if node.inputs[0] in known)

    def _allowed(self, name: str, theirs: Array, over_inputs: float, *, one_of_two: bool) -> float:
        """The largest allowed difference; see ``Tolerance.allowed_within``.

        Other inputs than the two that the spread is of may give smaller values.
        """
        if theirs.dtype.kind != "f":
            return self.tolerance.atol
        node = self._computing(name)
        operator = known_operator(node) if node else None
        # What moves elements computes nothing, and sums of products are as large inside as the products are.
        is_exact = operator is None or operator.family == "linear" or operator.moves
        floor = 0.0 if is_exact else 1.0
        scales = [scale for scale in (over_inputs, over_inputs if one_of_two else deviation(theirs)) if scale]
        terms = _terms(node, self.types[0]) if node else 0.0
        return self.tolerance.allowed_within(theirs, min(scales, default=0.0), floor, terms)

    def _computing(self, name: str) -> Node | None:
        """The node that computes the elements of a value: not one that only moves what is computed in the same part."""
        node = self.sides.node_of.get(name)
        while node and (operator := known_operator(node)) and operator.moves:
            moved = node.inputs[operator.passes[0]]
            if moved in self.sides.cuts or moved not in self.sides.node_of:
                break
            node = self.sides.node_of[moved]
        return node

    def _explained(self, pair: Pair, feeds: NamedArrays, number: int, free: Collection[str]) -> float:
        """The largest difference that rounding explains. Raises ``Parting`` where that of ``pair`` is larger."""
        sides, name = self.sides, pair.name
        if name in sides.parameters:
            raise Parting(pair)
        graph, parameters, outputs = sides.numpy_part([name], self.types[number], (), free)
        if jumps(graph.nodes):
            raise Parting(pair)
        apart, node = gaps(pair.ours, pair.theirs), str(sides.node_of[name])
        bound = explained(graph, parameters, feeds, outputs[name])
        if bound is not None and (apart <= bound + pair.allowed).all():
            most = pair.allowed + float(bound.max(initial=0.0))
        else:
            model, renamed = sides.runtime_part([name], self.types[number], free)
            most = allowed(sides, model, feeds, renamed[name], pair)
        largest = float(apart.max(initial=0.0))
        if not largest <= most:
            raise Parting(pair._replace(allowed=most))
        self.proof.widened[name] = Loose(node, largest, most).or_more(self.proof.widened.get(name))
        return most

    # -- alone

    def _is_free(self, value: Value) -> bool:
        """True if a parameter can be drawn: the model has it too, stored or as what a node makes of one that is."""
        sides = self.sides
        has = value.name not in sides.narrow and (value.name in sides.initializers or value.name in sides.place_of)
        return value.dtype in FLOATS and has

    def _alone(self, targets: Sequence[str], free: frozenset[str]) -> None:
        """Compare ``targets`` on drawn inputs, and with drawn parameters ``free``, some at a time."""
        start, used = 0, 0
        for place, name in enumerate(targets):
            cost = 3 * self.sides.size(name)
            if place > start and used + cost > CHUNK:
                self._try_alone(targets[start:place], free)
                start, used = place, 0
            used += cost
        if targets:
            self._try_alone(targets[start:], free)

    def _try_alone(self, targets: Sequence[str], free: frozenset[str]) -> None:
        """Compare ``targets`` alone; those that cannot run on what is drawn stay as they are."""
        try:
            self._run_alone(targets, free)
        except (PortableNNError, IndexError):
            if len(targets) > 1:
                middle = len(targets) // 2
                self._try_alone(targets[:middle], free)
                self._try_alone(targets[middle:], free)

    def _run_alone(self, targets: Sequence[str], free: frozenset[str]) -> None:
        sides, types = self.sides, self.types[0]
        model, theirs_of = sides.runtime_part(targets, types, free)
        graph, parameters, ours_of = sides.numpy_part(targets, types, [each.name for each in model.graph.input], free)
        both = _Alone(sides.session(model), plan_of(graph, parameters), theirs_of, ours_of)
        self._compare_alone(both, targets, [self._drawn(graph, faint=faint) for faint in (True, False, False)], free)
        if doubtful := [name for name in targets if name not in self.shown or (name in self.rewritten and not free)]:
            for feeds in far_and_ties(graph, model, parameters, self.rng):
                with suppress(PortableNNError, IndexError):  # Not every node takes such numbers.
                    self._compare_alone(both, doubtful, feeds, free)

    def _compare_alone(
        self, both: _Alone, targets: Sequence[str], feeds: Sequence[NamedArrays], free: frozenset[str]
    ) -> None:
        """Compare ``targets`` on inputs of a part; nothing where there are none."""
        ours, theirs = list[NamedArrays](), list[NamedArrays]()
        for each in feeds:
            computed = self.sides.run(both.session, each)
            theirs.append({name: computed[both.theirs_of[name]] for name in targets})
            made = run_plan(both.plan, each)
            ours.append({name: made[both.ours_of[name]].copy() for name in targets})
        for name in targets:
            for one, other in zip(ours, theirs, strict=True):
                if not same_type(one[name], other[name]):
                    raise Parting(Pair(name, one[name], other[name]))
        self.types, types_before = [self.types[0]] * len(feeds), self.types
        try:
            if feeds:
                self._check(targets, ours, theirs, feeds, free)
        finally:
            self.types = types_before

    def _drawn(self, graph: Graph, *, faint: bool) -> dict[str, Array]:
        """Inputs of a part, each in a range that its readers can use."""
        limits = spans(graph, infer(graph).types)
        scales = dict.fromkeys((value.name for value in graph.inputs if value.name not in self.sides.parameters), FAINT)
        for node in graph.nodes:
            epsilon = node.attributes.get("epsilon")
            if isinstance(epsilon, float) and epsilon > 0:
                scales.update({name: math.sqrt(epsilon) for name in node.inputs if name in scales})
        found = {}
        for value in graph.inputs:
            shape = static(value.shape)
            assert shape is not None
            several = shape if math.prod(shape) <= DRAWN else (DRAWN,)
            array = np.resize(drawn(value, several, limits.get(value.name), self.rng), shape)
            found[value.name] = array
            if faint and array.dtype.kind == "f" and value.name in scales and value.name not in limits:
                array *= array.dtype.type(scales[value.name])
        return found

    def _name_unseen(self, hidden: Sequence[str]) -> None:
        """Name the nodes that were not exercised."""
        sides, found = self.sides, self.proof.not_exercised
        for label, ways in self.ways.items():
            if len(ways) == 1:
                found[label] = f"its condition was {ways.pop()} on all inputs: the other branch did not run"
        for node in sides.graph.nodes:
            inner = (each for _, body in bodies(node) for each in all_nodes(body) if each.operator == "If")
            if (one := next(inner, None)) is not None:
                found.setdefault(str(node), f"whether both branches of {one} in it ran is not known")
        for name in hidden:
            found[str(sides.node_of[name])] = f"'{name}' hardly varies over the inputs"
        reached = {id(node) for node in sides.our_nodes(sides.common, sides.cuts)}
        for node in sides.graph.nodes:
            if id(node) not in reached and node.operator != "Constant":
                found[str(node)] = "nothing that is compared depends on it"
