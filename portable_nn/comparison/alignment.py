"""The alignment of two models: which values of the second are values of the first, and where the two part.

Both run on the same inputs. A value of the second model that is nearly one of the first is *given* the array of that
one from then on, so that what reads it computes from the same predecessors on both sides. A given value is computed
all the same, and what was computed must be as near to what was given as rounding allows (``verification/rounding``).
Values that only one side has are passed over, as long as a later one meets the other side again. Where none does, or a
value is further off than rounding allows, the two part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from portable_nn.comparison.given import Gap, Given
from portable_nn.comparison.matching import CLOSE, Match
from portable_nn.comparison.report import Parting
from portable_nn.comparison.side import Values
from portable_nn.comparison.steps import quantised, range_of
from portable_nn.comparison.structure import attributes, by_letter, node_difference
from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import format_shape
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import largest_gap
from portable_nn.onnx.verification.rounding import STEP

MOST: Final = 12
"""The most places that are named at which two models part."""

PAIRS: Final = 3
"""The most values of the first model that are tried in the place of one of the second."""

TRIED: Final = 48
"""The most pairs of nodes that are tried as the place where two models part, for each place."""


class Alignment(Given):
    """The values of two models side by side, and where the two part."""

    def align(self) -> None:
        """Find all pairs of values, and where the models part."""
        if self.other.steps:
            self._give()
            self._saturate()
            self._compute()
        self._settle()
        while len(self.partings) < MOST and (unmet := self.unmet):
            if not self._part_at(unmet, [self.their_end[name] for name in unmet]):
                break
            self._settle()

    def _saturate(self) -> None:
        """Find what is quantised with steps that end too soon."""
        inputs = dict(zip(self.other.inputs, self.one.inputs, strict=False))
        for maker, node, scale in quantised(self.other):
            x, y, half = maker.input[0], node.output[0], float(scale.max()) / 2
            match = self.given.get(x) or (Match(inputs[x]) if x in inputs else None)
            if match is None or y in self.given:  # Where negative numbers saturate, it is a Relu.
                continue
            pairs = [(known[x], mine[y]) for known, mine in zip(self.seen, self.ours, strict=True)]
            apart = max(largest_gap(one, other) for one, other in pairs)
            if apart > half * (1 + STEP) + self._slack(y):
                after = self._after(y)
                self.given = {key: each for key, each in self.given.items() if key not in after}
                self.apart[y], self.gaps[y] = match, Gap(apart, half, half)
                why = self._saturates(y, match, range_of(self.other, y) or _range([mine for _, mine in pairs]))
                if np.array_equal(scale, self.other.constants.get(maker.input[1], ())):
                    self.saturated.add(y)
                else:
                    why = "quantised with one scale, and back with another"
                self.partings.append(self._parting(y, match, self.gaps[y])._replace(why=why))

    def _saturates(self, name: str, match: Match, limits: tuple[float, float]) -> str:
        """The steps of a value that end too soon, in words."""
        numbers = _range([known[match.value] for known in self.theirs])
        low, high = (f"from {low:.3g} to {high:.3g}" for low, high in (numbers, limits))
        return f"saturates: numbers are {low}, and the steps {high}"

    def _settle(self) -> None:
        """Give all that nearly is a value of the first model, and look what is too far off, until nothing changes.

        What is too far off is where the models part, or a value that only resembles one of the first model: it is not
        given any more, and what depends on it is looked at again.
        """
        while True:
            self._give()
            if not (wrong := self._far()):
                if not self._looked_into():
                    break
                continue
            if [name for name in wrong if self._is_another(name)]:
                self._compute()
                continue
            early = self._early(wrong)
            blamed = set() if early else self._blamed(wrong)
            for name in early or wrong:
                match = self.given.pop(name)
                if name in blamed and len(self.partings) < MOST:
                    self._part_at([name], [match.value], match)
                else:
                    self.refused.add(name)
            self._compute()

    def _give(self) -> None:
        """Give all that nearly is a value of the first model."""
        while more := self._more(self.other.dependent, self.ours):
            self.given |= more
            for name in more:
                self.gaps.pop(name, None)
            self._compute()

    def _is_another(self, name: str) -> bool:
        """Give another value of the first model that nearly is the same, if there is one that rounding explains."""
        for match, _ in self._near(name, self.ours)[:PAIRS]:
            is_new = match != self.given[name] and (name, match) not in self.switched
            if is_new and not (gap := self._gap(name, match)).exceeds:
                self.switched.add((name, self.given[name]))
                self.given[name], self.gaps[name] = match, gap
                return True
        return self.is_narrow and any(
            self._is_after_another(name, each) for each in self.other.read_from(name, self.given) & self.given.keys()
        )

    def _is_after_another(self, name: str, read: str) -> bool:
        """Give another value of the first model in the place of one that is ``read``, if that explains a value."""
        for match, _ in self._near(read, self.ours)[:PAIRS]:
            if match == self.given[read] or (read, match) in self.switched:
                continue
            values = self._run({**self._all(), read: match})
            if max(self._distances(name, self.given[name], values)) <= self.gaps[name].limit:
                self.switched.add((read, self.given[read]))
                self.given[read] = match
                self.gaps.pop(read, None)
                return True
        return False

    def _looked_into(self) -> bool:
        """Look into the first value that is as far off as a long way of roundings explains; false where none is left.

        Bounds say little at the end of many nodes that the other side does not have. If the values on the way are met
        again with one of them replaced, the models part there; otherwise nothing is known.
        """
        for name in self.other.dependent:
            gap = self.gaps.get(name)
            if name not in self.given or gap is None or not math.isfinite(gap.guaranteed):
                continue
            match, rest = self.given[name], self._all().keys() - {name}
            way = [each for each in self.other.before([name], rest) if self.ours[0][each].dtype.kind == "f"]
            is_near = gap.apart <= self._slack(name) and not self.is_narrow  # Of a narrow type, roundings hide more.
            if is_near or len(way) == 1 or len(self.one.before([match.value], self.met - {match.value})) == 1:
                continue
            del self.given[name]
            if self._part_at([name], [match.value], match, certain=False):
                return True
            self.given[name], self.gaps[name] = match, gap._replace(guaranteed=math.inf, likely=math.inf)
        return False

    def _far(self) -> list[str]:
        """The given values whose computed ones are further off than rounding allows, in order."""
        given = [name for name in self.other.dependent if name in self.given and name not in self.drawn]
        self.gaps |= {name: self._gap(name, self.given[name]) for name in given if name not in self.gaps}
        return [name for name in given if self.gaps[name].exceeds]

    def _early(self, wrong: Sequence[str]) -> list[str]:
        """The values on the way to a ``wrong`` one that are taken for the same value of the first model.

        So a product may be, before its bias. In a narrower type it is near enough to be no wrong one itself.
        """
        return [
            name
            for name in (self.given if self.is_narrow else wrong)
            if any(
                name != each and self.given[name] == self.given[each] and name in self.other.before([each], ())
                for each in wrong
            )
        ]

    def _blamed(self, wrong: Sequence[str]) -> set[str]:
        """Those of the values that are ``wrong`` on which something depends: the next ones are off without them.

        A value that only resembles one of the first model, on a way of its own to the same end, harms nothing.
        """
        taken = {match.value for name, match in self.given.items() if name not in wrong}
        left = {name for name in wrong if self.given[name].value not in taken}
        rest = {name: match for name, match in self._all().items() if name not in wrong}
        blamed, values = left.intersection(self._ends()), self._run(rest) if left else ()
        for reader in [*(rest.keys() - self.drawn), *self.unmet] if left else ():
            way = left.intersection(self.other.before([reader], rest.keys() - {reader}))
            if way and (reader not in rest or self._moved(reader, rest[reader], values)):
                blamed |= way
        return blamed

    def _moved(self, name: str, match: Match, values: Values) -> bool:
        """True if a value is further from its match than it was with all values given, and than rounding allows."""
        return max(self._distances(name, match, values)) > max(2 * self.gaps.get(name, Gap()).apart, self._slack(name))

    def _part_at(
        self, ends: Sequence[str], their_ends: Sequence[str], end: Match | None = None, *, certain: bool = True
    ) -> bool:
        """Find the first pair of values before ``ends`` after which, one in the place of the other, all is as it was.

        Where none is found, the models part somewhere before the first end, and all nodes before it are named.

        Args:
            ends: values of the second model that are off, or none of the first.
            their_ends: the values of the first model in their place.
            end: what the only end should be, if that is known.
            certain: whether they part at the end if not before it.
        """
        lost = self.other.before(ends, self._all().keys() - self._twice())
        wanted = {each: self.one.read_from(each, self.met) for each in self.one.before(their_ends, self.met)}
        met, name, found = self._pair(lost, wanted, end)
        if found is None and their_ends:
            name, found = ends[0], self._fitting(ends[0], their_ends[0])
        if found is None or not (certain or 4 * met > len(lost) - 1 - lost.index(name)):  # By chance, some are met.
            return False
        for each in lost[lost.index(name) :]:
            self.given.pop(each, None)
        name, found = self._origin(name, found)
        self._refuse_early(name, found)
        gap = self.gaps[name] = self._gap(name, found)
        self.apart[name] = found
        if not (gap.exceeds or self.is_narrow) and gap.apart > self._slack(
            name
        ):  # Bounds of a long way explain anything.
            gap = self.gaps[name] = gap._replace(guaranteed=math.inf, likely=math.inf)
        if gap.exceeds or gap.is_open:
            at, limits = self._parting(name, found, gap), self._cut(name, found)
            if limits:
                self.saturated.add(name)
                at = at._replace(why=self._saturates(name, found, limits))
            self.partings.append(at)
        self._compute()
        return True

    def _cut(self, name: str, match: Match) -> tuple[float, float] | None:
        """The least and the largest number of a value's steps, where they explain what rounding does not."""
        limits = range_of(self.other, name)
        is_far = limits and self._gap(name, match).exceeds and not self._gap(name, match, limits).exceeds
        return limits if is_far else None

    def _refuse_early(self, name: str, match: Match) -> None:
        """Take back what was taken for the same value of the first model before ``name``: a product before its bias."""
        if early := {each for each, other in self.apart.items() if other == match and name in self._after(each)}:
            self.apart = {each: other for each, other in self.apart.items() if each not in early}
            self.partings = [each for each in self.partings if each.value_b not in early]
            self.refused |= early
            self._compute()

    def _origin(self, name: str, match: Match) -> tuple[str, Match]:
        """The first value in the order of another one, on the way to a value that is off, or that one itself.

        Each is a value of the first model but for its order of axes, so that what reads it, rightly, seems to part.
        """
        read, tries = self._disordered(name, match)
        for each in (*tries, dict(pair for one in reversed(tries) for pair in one.items())):
            after = {later for mine in each for later in self._after(mine)}
            rest = {key: given for key, given in self.given.items() if key not in after}
            if each and self._near(name, self._run({**self.apart, **rest, **each})):
                self.given = rest
                first = min(each, key=read.index)
                return self._origin(first, each[first])
        return name, match

    def _disordered(self, name: str, match: Match) -> tuple[list[str], list[dict[str, Match]]]:
        """The given values from which a value is computed, and those among them that have another order, put right."""
        start = self.other.read_from(name, self.given)
        read = [each for each in self.other.dependent if each in start]
        return read, [
            {mine: wanted}
            for mine in read
            for theirs in (self.given[mine].value, *self.one.reads(match.value))
            if self._is_disordered(mine, theirs) and (wanted := self._fitting(mine, theirs))
        ]

    def _after(self, name: str) -> set[str]:
        """A value of the second model with all that depends on it."""
        after = {name}
        after.update(each for each in self.other.dependent if not after.isdisjoint(self.other.reads(each)))
        return after

    def _is_disordered(self, name: str, other: str) -> bool:
        """True if a value has the elements of another one of the first model in the order of the one that is given.

        One operator makes both. Not if it makes the given one of the same values, as then what reads it is wrong.
        """
        match, wanted = self.given[name], self.one.maker.get(other)
        if (
            wanted is None
            or other not in self.theirs[0]
            or match == Match(other)
            or self.other.maker[name].op_type != wanted.op_type
        ):
            return False
        arrays = [(known[other], known[match.value]) for known in self.theirs]
        return not self._is_copied(name, match) and all(
            x.size == y.size and np.allclose(np.sort(x, axis=None), np.sort(y, axis=None)) for x, y in arrays
        )

    def _is_copied(self, name: str, match: Match) -> bool:
        """True if a node of the first model computes its value in the same way, from the same values."""
        node, theirs = self.other.maker[name], self.one.maker.get(match.value)
        if theirs is None or match.axes or node.op_type != theirs.op_type:
            return False
        return attributes(self.other, node) == attributes(self.one, theirs) and all(
            mine in self.other.inputs
            or self.given.get(mine) == Match(other)
            or np.array_equal(self.one.constants.get(other, ()), self.other.constants.get(mine, ()))
            for mine, other in zip(node.input, theirs.input, strict=False)
        )

    def _pair(
        self, lost: Sequence[str], wanted: Mapping[str, set[str]], end: Match | None
    ) -> tuple[int, str, Match | None]:
        """The pair of values, one in the place of the other, after which most values are met again, and how many.

        Args:
            lost: the values of the second model from where all is as it was up to the end, in order.
            wanted: those of the first that may be in their place, and what they are computed from.
            end: what the last one should be, if that is known: otherwise it may be part of the pair as well.
        """
        if end and self._cut(lost[-1], end):
            return 0, lost[-1], end
        rest = {name: match for name, match in self._all().items() if name not in lost}
        best: tuple[int, str, Match | None] = (0, lost[-1], end)
        tried = 0
        for place, name in enumerate(lost[: -1 if end else None]):
            after = lost[place + 1 :]
            for match in self._likely_pairs(name, wanted)[:PAIRS]:
                tried, met = tried + 1, 0
                with suppress(PortableNNError):  # Of another shape, it may not fit what reads it.
                    met = self._met(after, self._run({**rest, name: match}))
                if met > best[0] or (best[2] is None and not after):
                    best = met, name, match
            if 0 < len(after) <= best[0] or tried >= TRIED:
                break
        return best

    def _met(self, names: Sequence[str], values: Values) -> int:
        """The number of values among ``names`` that are values of the first model."""
        near = (self._near(name, values) for name in names)
        return sum(
            bool(found) and min(share for _, share in found) <= (1 if self.is_narrow else CLOSE) for found in near
        )

    def _twice(self) -> set[str]:
        """The given values that may only look right: of which the first model has one, and the second several.

        So it is where a node hands on what it should change, or reads what another one should read. Not among them is
        the value that is most like that of the first model: of its name, by the same operator from the same values.
        """
        places: dict[str, list[str]] = {}
        for name, match in self.given.items():
            places.setdefault(match.value, []).append(name)
        first = {max(names, key=self._resemblance) for value, names in places.items() if value in self.one.maker}
        met = self.met
        left = {self.one.maker[name].op_type for name in self.one.dependent if name not in met}
        return {
            name
            for name, match in self.given.items()
            if name not in first or (match.axes and self.other.maker[name].op_type in left)
        }

    def _resemblance(self, name: str) -> int:
        """The number of ways in which a value is like that which is given for it."""
        other = self.given[name].value
        node, theirs = self.other.maker[name], self.one.maker[other]
        read = {self.given[each].value if each in self.given else each for each in self.other.reads(name)}
        return (name == other) + (node.op_type == theirs.op_type) + 2 * (not read.isdisjoint(self.one.reads(other)))

    def _likely_pairs(self, name: str, wanted: Mapping[str, set[str]]) -> list[Match]:
        """The values of the first model in whose place a value may be, the likeliest first.

        They are computed from the same values, or by the same operator.
        """
        node, given = self.other.maker[name], self._all()
        place, read = list(node.output).index(name), self.other.read_from(name, given)
        start = {given[each].value if each in given else each for each in read}
        found = []
        end = {self.their_end[name]} if name in self.their_end else wanted.keys()  # Of an output the output alone.
        for far, (other, from_these) in enumerate((key, each) for key, each in wanted.items() if key in end):
            match, theirs = self._fitting(name, other), self.one.maker[other]
            same, alike = theirs.op_type == node.op_type, start == from_these
            if match is None or not (same or alike):
                continue
            shaped = self.theirs[0][other].size == self.ours[0][name].size
            score = 2 * same + 2 * alike + 2 * shaped + (other == name or theirs.name == node.name != "")
            found.append((-score, list(theirs.output).index(other) != place, far, match))
        return [match for *_, match in sorted(found, key=lambda each: each[:3])]

    def _parting(self, name: str, match: Match, gap: Gap) -> Parting:
        """The description of a place where the models part."""
        before = self.other.before([name], self._all().keys() - {name})
        ends = {each.value for key, each in self._all().items() if key != name}
        theirs = self.one.before([match.value], ends - {match.value})
        return Parting(
            tuple(dict.fromkeys(self.one.node_name(each) for each in theirs if each in self.one.maker)),
            tuple(dict.fromkeys(self.other.node_name(each) for each in before)),
            match.value,
            name,
            gap.apart,
            gap.guaranteed,
            gap.likely,
            self.mismatched.get(self.other.node_name(name), "")
            or next(self.weights_off(name, match), "")
            or node_difference(self.one, self.other, match.value, name)
            or self._shapes(match.value, name),
        )

    def _shapes(self, a: str, b: str) -> str:
        """The shapes of two values, where one is no reordering of the other."""
        theirs, ours = self.theirs[0][a].shape, self.ours[0][b].shape
        return (
            ""
            if sorted(theirs) == sorted(ours)
            else by_letter(self.one, self.other, format_shape(theirs), format_shape(ours))
        )


def _range(arrays: Sequence[Array]) -> tuple[float, float]:
    """The least and the largest element."""
    return min(float(each.min(initial=math.inf)) for each in arrays), max(
        float(each.max(initial=-math.inf)) for each in arrays
    )
