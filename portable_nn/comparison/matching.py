"""Values of one model that are values of another: by their elements, also where these are in another order of axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Final, NamedTuple

import numpy as np

from portable_nn.comparison.side import AXES, Side, Values
from portable_nn.core.tensors import Array
from portable_nn.onnx.verification.differences import gaps

CLOSE: Final = 0.01
"""The share of the largest distance up to which a value is another one that was computed in the same way."""

LOOSE: Final = 2e-3
"""The distance, relative to its deviation, up to which a value may be another one that was computed in another way."""

STEPPED: Final = 2e-2
"""The same for a value that was quantised on one side alone."""

MASK: Final = 1e3
"""The magnitude from which on negative numbers far below all others are a mask. The deviation leaves a mask out."""


class Match(NamedTuple):
    """A value of the first model; ``axes`` bring it into the order that the second model has, and then its shape."""

    value: str
    axes: tuple[int, ...] = ()

    def arranged(self, array: Array, like: Array) -> Array:
        """Its array as the second model has it, of the type of ``like`` and, where that can be, of its shape."""
        turned = array.transpose(self.axes) if self.axes else array
        turned = turned.reshape(like.shape) if turned.size == like.size else turned
        return turned.astype(like.dtype, order="C", copy=False)


class _Summary(NamedTuple):
    """The mean, the deviation and the root of the mean square of all elements: the same in any order."""

    mean: float
    deviation: float
    size: float


class Index:
    """The values of one model, to be found by their elements."""

    def __init__(self, side: Side, values: Values, loose: float = LOOSE) -> None:
        self.side, self.values, self.loose = side, values, loose
        self._alike = defaultdict[tuple[object, ...], list[tuple[str, _Summary]]](list)
        for name in (*side.inputs, *side.dependent):
            arrays = [known[name] for known in values if name in known]
            if len(arrays) == len(values):
                self._alike[_kind(arrays)].append((name, _summary(arrays)))

    def nearest(self, name: str, arrays: Sequence[Array], side: Side) -> list[tuple[Match, float]]:
        """The values that are the same as a value ``name`` of ``side``, the likeliest first.

        With each the distance of both, as a share of the largest that counts.
        """
        mine = _summary(arrays)
        found = []
        for other, theirs in self._alike.get(_kind(arrays), ()):
            most = self.loose * (max(theirs.deviation, mine.deviation) or theirs.size)
            if not (abs(theirs.mean - mine.mean) <= most and abs(theirs.size - mine.size) <= most):
                continue
            if (match := self._same(other, arrays, most)) is not None:
                found.append(match)
        return sorted(found, key=lambda pair: self._likeness(pair, name, side))

    def _same(self, name: str, arrays: Sequence[Array], most: float) -> tuple[Match, float] | None:
        theirs = [known[name] for known in self.values]
        for match in _orders(name, theirs, arrays):
            # Of one wrong order the first array says enough.
            apart = 0.0
            for one, other in zip(theirs, arrays, strict=True):
                apart = max(apart, float(gaps(match.arranged(one, other), other).max(initial=0.0)))
                if not apart <= 8 * most:
                    break
            else:
                return match, apart / (8 * most) if apart else 0.0
        return None

    def _likeness(self, pair: tuple[Match, float], name: str, side: Side) -> tuple[object, ...]:
        match, apart = pair
        node, other = side.maker.get(name), self.side.maker.get(match.value)
        same = bool(node and other and node.op_type == other.op_type)
        places = self.side.place.get(match.value, -1) / (len(self.side.nodes) or 1), side.place.get(name, -1)
        far = abs(places[0] - places[1] / (len(side.nodes) or 1))
        return bool(match.axes), apart > CLOSE, match.value != name or not same, not same, apart > 0, far


def _kind(arrays: Sequence[Array]) -> tuple[object, ...]:
    kinds = {"f": "f", "b": "b"}
    return (kinds.get(arrays[0].dtype.kind, "i"), *(array.size for array in arrays))


def _summary(arrays: Sequence[Array]) -> _Summary:
    flat = np.concatenate([array.ravel().astype(np.float64) for array in arrays])
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return _Summary(0.0, 0.0, 0.0)
    largest = np.abs(flat).max()
    seen = flat > -np.sqrt(largest)  # Between these and the numbers of a mask there are none.
    is_masked = largest > MASK and seen.any() and (seen | (flat < -largest / 2)).all()
    deviation = flat[seen].std() if is_masked else flat.std()
    return _Summary(float(flat.mean()), float(deviation), float(np.sqrt(np.mean(np.square(flat)))))


def _orders(name: str, theirs: Sequence[Array], arrays: Sequence[Array]) -> Iterator[Match]:
    """The orders of axes in which the first shapes may become the second ones, as they stand first."""
    yield Match(name)
    rank = theirs[0].ndim
    if 1 < rank <= AXES and all(array.ndim == rank for array in arrays):
        for axes in permutations(range(rank)):
            turned = (tuple(one.shape[axis] for axis in axes) for one in theirs)
            fits = all(shape == other.shape for shape, other in zip(turned, arrays, strict=True))
            if fits and axes != tuple(range(rank)):
                yield Match(name, axes)
