"""Pairs of values of two models: those of the first that are given in the second, and how far computed ones are off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from portable_nn.comparison.constants import own_errors
from portable_nn.comparison.matching import LOOSE, STEPPED, Index, Match
from portable_nn.comparison.report import Pair, Parting
from portable_nn.comparison.side import Side, Values
from portable_nn.comparison.steps import Weight, base_of, ends_of, mismatches, read_by, steps_at, weights
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import gaps, largest_gap, magnitude, precision
from portable_nn.onnx.verification.rounding import STEP, SUSPICIOUS
from portable_nn.runtimes.subject import Feeds

_LISTED: Final = "Conv ConvTranspose Gemm MatMul Add Relu"
_SUMS: Final = frozenset(_LISTED.split())
"""Operators whose weights are no factors of each other's."""

UNKNOWN: Final = 1e300
"""The bound in whose place there is none, so that the largest difference is found."""

SLACK: Final = 32.0
"""The units in the last place of the largest number that many roundings may move any."""

IDLE: Final = 0.05
"""The share of its places at which examples differ, below which a value hardly varies."""


class Gap(NamedTuple):
    """The distance of a computed value from the given one, where it is worst compared with its bounds."""

    apart: float = 0.0
    guaranteed: float = 0.0
    likely: float = 0.0

    @property
    def limit(self) -> float:
        """The most that rounding explains and is not suspicious."""
        return min(self.guaranteed, SUSPICIOUS * self.likely)

    @property
    def exceeds(self) -> bool:
        """True if rounding does not explain it, or hardly."""
        return self.apart > self.limit

    @property
    def share(self) -> float:
        """The difference as a share of the limit."""
        return self.apart and (self.apart / self.limit if self.limit else math.inf)

    @property
    def is_open(self) -> bool:
        """True if the values differ and no bound is known."""
        return self.apart > 0 and not math.isfinite(self.guaranteed)


class Given:
    """The values of two models side by side.

    Args:
        one, other: the models.
        rounds: the inputs, by the names of each.
        drawn: values of the second model that are drawn, with the values of the first that they are (see ``idle``).

    Attributes:
        theirs: the values of the first model, for each of the inputs.
        plain: the values of the second model as it stands.
        ours: its values where others are given.
        given: by value of the second model, the value of the first that is given in its place.
        apart: the same where the models part.
        refused: values of the second model that only resemble one of the first.
        saturated: values of the second model whose steps end too soon.
        gaps: how far each computed value is from the one that is given.
        partings: where the models part.
    """

    def __init__(
        self,
        one: Side,
        other: Side,
        rounds: tuple[Sequence[Feeds], Sequence[Feeds]],
        drawn: Mapping[str, tuple[Match, Sequence[Array]]] = MappingProxyType({}),
    ) -> None:
        self.one, self.other, self.feeds = one, other, rounds[1]
        moved = {match.value: arrays for match, arrays in drawn.values()}
        self.theirs: Values = [
            {**feeds, **known, **{name: arrays[place] for name, arrays in moved.items()}}
            for place, (feeds, known) in enumerate(zip(rounds[0], one.run(rounds[0], moved), strict=True))
        ]
        one.steps, other.steps = (a.is_quantised and not b.is_quantised for a, b in ((one, other), (other, one)))
        self.steps = one.steps or other.steps
        self.index = Index(one, self.theirs, STEPPED if self.steps else LOOSE)
        self.their_end = dict(zip(other.outputs, one.outputs, strict=True))
        self.drawn, self.gaps = frozenset(drawn), dict[str, Gap]()
        self.given = {name: match for name, (match, _) in drawn.items()}
        self.partings = list[Parting]()
        self.apart = dict[str, Match]()
        self.refused, self.saturated, self.switched = set[str](), set[str](), set[tuple[str, Match]]()
        self.mismatched = mismatches(other) if self.steps else {}
        self.folded = own_errors(one, other), own_errors(other, one)
        self.plain = self.ours = other.run(self.feeds, {})
        self.is_narrow = self.steps or len({_least(self.plain[0]), _least(self.theirs[0])}) > 1
        self.ours = self._run(self.given)

    def idle(self, rng: np.random.Generator) -> dict[str, tuple[Match, list[Array]]]:
        """Arrays that are drawn for values which hardly vary on the inputs, so that what reads them is seen at work."""
        found, idle = dict[str, tuple[Match, list[Array]]](), set[str]()
        fixed = _fixed(self.one), _fixed(self.other)
        for name in self.other.dependent:
            arrays, match = [known[name] for known in self.ours], self.given.get(name)
            if name in fixed[1] or (match and match.value in fixed[0]):
                continue
            if arrays[0].dtype.kind == "f" and arrays[-1].ndim > 1 and _varying(arrays) < IDLE:
                idle.add(name)
                if match and not match.axes and idle.isdisjoint(self.other.reads(name)):
                    theirs = [known[match.value] for known in self.theirs]
                    found[name] = match, [np.abs(rng.standard_normal(a.shape)).astype(a.dtype) for a in theirs]
        return found

    def is_stepped_twice(self, at: Parting) -> bool:
        """True if both models are quantised, and the nodes where they part have other steps."""
        if not (self.one.is_quantised and self.other.is_quantised):
            return False
        return steps_at(self.one, at.nodes_a) != steps_at(self.other, at.nodes_b)

    def worst_round(self, at: Parting) -> int:
        """The place of the inputs on which the models part furthest."""
        return int(np.argmax(self._distances(at.value_b, self.apart[at.value_b], self.ours)))

    def pairs(self) -> list[Pair]:
        """The nodes of both side by side, in the order of the second model."""
        found, met = list[Pair](), self.met
        waiting = [name for name in self.one.dependent if name not in met]
        for name in self.other.dependent:
            match, gap = self._all().get(name), self.gaps.get(name, Gap())
            theirs = match.value if match and match.value in self.one.maker else ""
            while theirs and waiting and self.one.place[waiting[0]] < self.one.place[theirs]:
                found.append(Pair(self.one.label(waiting.pop(0)), ""))
            label = self.one.label(theirs) if theirs else ""
            found.append(Pair(label, self.other.label(name), gap.apart, gap.share))
        return [*found, *(Pair(self.one.label(name), "") for name in waiting)]

    def narrower(self) -> list[str]:
        """The types in which the second model computes or keeps what the first has in a wider one."""
        found = {self.ours[0][name].dtype for name in self._casts()}
        if self.other.steps:
            made, known = (
                {each.name for node in self.other.nodes for each in read_by(node)},
                {**self.other.constants, **self.ours[0]},
            )
            made -= {name for name in known if known[name].dtype.itemsize > 2}
            found |= {known[name].dtype for name in made if name in known and known[name].dtype.kind in "iu"}
        return sorted(kind.name for kind in found)

    def other_weights(self) -> Iterator[str]:
        """The nodes of a model in a narrower type that agree, but with constants which the type does not explain."""
        for name, match in self._all().items():
            yield from self.weights_off(name, match)

    def weights_off(self, name: str, match: Match) -> Iterator[str]:
        """The constants behind a value that are off by more than a narrower type explains, and what reads them."""
        theirs = self.one.before([match.value], self.met - {match.value}) if self.is_narrow else []
        if len(theirs) > 1 and not _SUMS.issuperset(self.one.maker[each].op_type for each in theirs):
            return  # What has a factor may be folded.
        kept = list(weights(self.one, theirs))
        for mine in weights(self.other, self.other.before([name], self._all().keys() - {name})) if kept else ():
            beyond = [self._beyond(one, mine) for one in kept if one.numbers.size == mine.numbers.size > 1]
            nearest = min(filter(None, beyond), key=lambda pair: pair[1], default=(0, 0.0))
            if nearest[0]:
                off = f"{nearest[0]:,} of {mine.numbers.size:,} elements are off by {nearest[1]:.3g} more than its type"
                yield f"'{mine.name}', which {self.other.label(mine.node.output[0])} reads: {off} explains"

    def _beyond(self, one: Weight, other: Weight) -> tuple[int, float] | None:
        """The number of elements that are further off than a type explains, and how far; ``None`` of other kinds."""
        kinds, shape = {base_of(one.node), base_of(other.node)}, other.numbers.shape
        if len(kinds) > 1 and not kinds <= _SUMS:
            return None
        off = self.folded[0].get(one.name, 0.0) + other.half * (1 + STEP)
        off += 0.0 if other.half.any() else self.folded[1].get(other.name, 0.0)
        turns = [one.numbers, one.numbers.T] if one.numbers.ndim == len(shape) else [one.numbers.reshape(shape)]
        gap = min((gaps(each, other.numbers) - off for each in turns if each.shape == shape), key=np.max, default=None)
        return None if gap is None else (int((gap > 0).sum()), float(gap.max()))

    def open_ends(self) -> Iterator[str]:
        """The nodes that read what is quantised in another way than it was made, or whose steps end too soon."""
        for name in self.other.dependent if self.steps else ():
            if self.other.node_name(name) in self.mismatched:
                yield f"{self.other.label(name)} {self.mismatched[self.other.node_name(name)]}"
            elif name not in self._all() and (ends := ends_of(self.other, name, [known[name] for known in self.plain])):
                yield f"{self.other.label(name)} {ends}"

    @property
    def unmet(self) -> list[str]:
        """The outputs of the second model that no value of the first is."""
        return [name for name in self._ends() if name not in self.given and name not in self.apart]

    def _run(self, given: dict[str, Match]) -> list[dict[str, Array]]:
        """All values of the second model, with those of the first in the place of the ``given`` ones."""
        pairs = {name: self._beside(name, match, self.plain) for name, match in given.items()}
        return self.other.run(self.feeds, {name: [theirs for theirs, _ in arrays] for name, arrays in pairs.items()})

    def _beside(self, name: str, match: Match, values: Values) -> list[tuple[Array, Array]]:
        """The value of the first model as the second has it beside that of the second, for each of the inputs."""
        pairs = zip(self.theirs, values, strict=True)
        return [(match.arranged(known[match.value], mine[name]), mine[name]) for known, mine in pairs]

    def _compute(self) -> None:
        """Compute all values anew; of those that are others than before, the gap is not known any more."""
        before, self.ours = self.ours, self._run(self._all())
        for name in self.gaps.keys() & self.given.keys():
            if not all(np.array_equal(one[name], other[name]) for one, other in zip(before, self.ours, strict=True)):
                del self.gaps[name]

    def _more(self, names: Iterable[str], values: Values) -> dict[str, Match]:
        """The values among ``names`` that are not given yet and nearly are values of the first model."""
        found = {}
        for name in names:
            if not (name in self.given or name in self.apart or name in self.refused):
                near = self._near(name, values)
                if near:
                    found[name] = near[0][0]
        return found

    def _near(self, name: str, values: Values) -> list[tuple[Match, float]]:
        """The values of the first model that a value may be, the likeliest first: of an output the output alone."""
        near = self.index.nearest(name, [known[name] for known in values], self.other)
        return [pair for pair in near if pair[0].value == self.their_end[name]] if name in self.their_end else near

    def _gap(self, name: str, match: Match, limits: tuple[float, float] | None = None) -> Gap:
        """The distance of a value that is computed from given ones to one of the first model, kept within limits."""
        pairs = self._beside(name, match, self.ours)
        if any(theirs.shape != mine.shape for theirs, mine in pairs):
            return Gap(math.inf)
        apart = [gaps(theirs.clip(*limits) if limits else theirs, mine) for theirs, mine in pairs]
        if not any(each.any() for each in apart):
            return Gap()
        return self._worst(name, match, apart)

    def _worst(self, name: str, match: Match, apart: Sequence[Array]) -> Gap:
        """The element that exceeds its bounds most."""
        ours = self.other.error(name, self.seen, set(self._all()), self._casts() | self.folded[1])
        theirs = self.one.error(match.value, self.theirs, self.met, self.folded[0])
        worst, found = -1.0, Gap()
        for distance, mine, other, known in zip(apart, ours, theirs, self.ours, strict=True):
            both = mine + np.stack([match.arranged(each, known[name].astype(np.float64)) for each in other])
            if not self.is_narrow:  # No rounding makes one of two numbers infinite.
                both[:, np.isinf(distance)] = 0.0
            least = np.minimum(both[0], SUSPICIOUS * both[1])
            with np.errstate(all="ignore"):
                share = np.where(distance > 0, distance / np.minimum(least, UNKNOWN), 0)
            place = int(np.argmax(share))
            if share.size and share.flat[place] > worst:
                worst = float(share.flat[place])
                found = Gap(float(distance.flat[place]), float(both[0].flat[place]), float(both[1].flat[place]))
        return found

    def _all(self) -> dict[str, Match]:
        return {**self.given, **self.apart}

    @property
    def met(self) -> set[str]:
        """The values of the first model that are given in the second."""
        return {match.value for match in self._all().values()}

    @property
    def seen(self) -> list[dict[str, Array]]:
        """The values that nodes of the second model read: given ones where there are."""
        pairs = self._all().items()
        return [
            {**feeds, **mine, **{name: match.arranged(known[match.value], mine[name]) for name, match in pairs}}
            for feeds, mine, known in zip(self.feeds, self.ours, self.theirs, strict=True)
        ]

    def _casts(self) -> dict[str, float]:
        """The errors of given values that the second model has in a narrower type."""
        found = {}
        for name, match in self._all().items():
            mine, theirs = self.ours[0][name].dtype, self.theirs[0][match.value].dtype
            if mine.kind == "f" and theirs.kind == "f" and mine.itemsize < theirs.itemsize:
                unit = precision(self.ours[0][name]) / 2
                found[name] = unit * max(magnitude(known[match.value]) for known in self.theirs)
        return found

    def _distances(self, name: str, match: Match, values: Values) -> list[float]:
        """The largest distance of a value from its match, for each of the inputs."""
        return [*starmap(largest_gap, self._beside(name, match, values))]

    def _slack(self, name: str) -> float:
        """The distance by which a chain of several roundings may move a value."""
        return SLACK * max((precision(mine[name]) * magnitude(mine[name]) for mine in self.ours), default=0.0)

    def _ends(self) -> tuple[str, ...]:
        """The outputs of the second model that its nodes compute."""
        return tuple(name for name in self.other.outputs if name in self.other.dependent)

    def _fitting(self, name: str, other: str) -> Match | None:
        """The match of two values of one shape, or of one that is another order of axes."""
        theirs, ours = [known[other] for known in self.theirs], [known[name].shape for known in self.ours]
        rank, same_rank = theirs[0].ndim, theirs[0].ndim == len(ours[0])
        last = [(0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))] if rank > 2 else []
        for axes in [tuple(range(rank)), *last]:
            if [tuple(array.shape[axis] for axis in axes) for array in theirs] == ours:
                return Match(other, axes if axes in last else ())
        is_reshaped = not same_rank and [array.size for array in theirs] == [math.prod(shape) for shape in ours]
        # One of another shape is what another stride makes, say.
        is_resized = same_rank and self.one.maker[other].op_type == self.other.maker[name].op_type
        return Match(other) if is_reshaped or is_resized else None


def _least(known: Mapping[str, Array]) -> int:
    """The bytes of a number of the narrowest floats."""
    return min((array.dtype.itemsize for array in known.values() if array.dtype.kind == "f"), default=0)


def _fixed(side: Side) -> set[str]:
    """The values that are the same for all inputs, as a product by 0 is: they are meant to be so."""
    found, zeros = {"", *side.constants}, {name for name, array in side.constants.items() if not array.any()}
    for name in side.dependent:
        node = side.maker[name]
        if found.issuperset(node.input) or (node.op_type == "Mul" and not zeros.isdisjoint(node.input)):
            found.add(name)
    return found


def _varying(arrays: Sequence[Array]) -> float:
    """The share of places at which examples differ; 1 where there is one example."""
    last = arrays[-1]
    if len(last) < 2:
        return 1.0
    with np.errstate(invalid="ignore"):
        return float((last != last[:1]).any(axis=0).mean()) if last.size else 1.0
