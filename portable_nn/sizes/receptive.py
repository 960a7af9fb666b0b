"""The receptive field: the cells of a network's input that one cell of its output depends on.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill (2019). Their
closed form is for convolutions and pools. Here a field is the exact first and last cell for each phase of a period, so
that transposed convolutions, whose output cells have different fields, are exact as well. The edges of the input are
ignored, and so are the gaps of dilation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import gcd, lcm
from typing import Final, TypeAlias

from portable_nn.core.errors import ShapeError
from portable_nn.sizes.coverage import axis_name
from portable_nn.sizes.operation import Operation, PerAxis, Window, input_sizes

LONGEST_PERIOD: Final = 2**15
"""The most cells after which the fields of a chain must repeat: the product of the strides of transposed convolutions,
where no convolution goes back."""

Span: TypeAlias = tuple[int, int] | None
"""The first and the last cell of a receptive field; ``None`` for an empty one."""


@dataclass(frozen=True, slots=True)
class Field:
    """The receptive fields of the cells along one axis.

    The field of cell ``q * len(spans) + r`` is ``spans[r]``, shifted by ``q * advance``: a period of one cell after
    convolutions and pools, of several after a transposed convolution.
    """

    spans: tuple[Span, ...] = ((0, 0),)
    advance: int = 1

    @property
    def jump(self) -> Fraction:
        """The distance in the input between the fields of neighbours: the effective stride."""
        return Fraction(self.advance, len(self.spans))

    @property
    def size(self) -> int:
        """The size in cells: that of the widest field of a period."""
        return max((span[1] - span[0] + 1 for span in self.spans if span), default=0)

    @property
    def start(self) -> Fraction:
        """The centre of the field of cell 0, or of the first cell whose field is not empty."""
        first, last = next(filter(None, self.spans), (0, 0))
        return Fraction(first + last, 2)

    def interval(self, position: int) -> Span:
        """The field of the cell at ``position``."""
        turns, phase = divmod(position, len(self.spans))
        span = self.spans[phase]
        return span and (span[0] + turns * self.advance, span[1] + turns * self.advance)


Fields: TypeAlias = tuple[Field | None, ...]
"""A field for each axis; ``None`` for a global receptive field, as behind a global pool."""

INPUT = Field()
"""The receptive field of an input: each cell itself."""


def receptive_field(operations: Iterable[Operation], sizes: PerAxis) -> Fields:
    """The receptive field, for each axis, of the output of a chain of operations on an input of ``sizes``.

    >>> from portable_nn.sizes import conv, receptive_field
    >>> [field] = receptive_field([conv(3), conv(3, stride=2)], 28)
    >>> field.size, field.jump
    (5, Fraction(2, 1))

    Raises ``UsageError`` or ``ShapeError`` where an operation does not fit its input, and ``ShapeError`` where the
    fields repeat after more than ``LONGEST_PERIOD`` cells only.
    """
    reached = input_sizes(sizes)
    fields: Fields = (INPUT,) * len(reached)
    for operation in operations:
        fields = through(fields, operation, reached)
        reached = operation.output_size(reached)
    return fields


def through(fields: Fields, operation: Operation, sizes: PerAxis) -> Fields:
    """The fields of the output of ``operation``, from those of its input, whose spatial sizes are ``sizes``.

    Raises ``ShapeError`` where they repeat after more than ``LONGEST_PERIOD`` cells only.
    """
    whole = operation.resolved(sizes)
    step = _transposed if whole.kind == "convt" else _convolved
    return tuple(field and step(field, window) for field, window in zip(fields, whole.windows, strict=True))


def combine(branches: Sequence[Fields]) -> Fields:
    """The fields where branches join cell by cell, as in Add and Concat: the union of theirs.

    Raises ``ShapeError`` where the branches have different effective strides: their cells do not correspond.
    """
    for axis, fields in enumerate(zip(*branches, strict=True)):
        jumps = sorted({field.jump for field in fields if field})
        if len(jumps) > 1:
            raise ShapeError(
                f"the branches that join differ in their jump: from one of their {axis_name(axis, len(branches[0]))} "
                f"to the next, one moves by {jumps[0]} of the input, another by {jumps[-1]}"
            )
    return tuple(reduce(_joined, fields) for fields in zip(*branches, strict=True))


def _convolved(field: Field, window: Window) -> Field:
    """The field of a convolution or pool: cell ``y`` reads the cells ``stride * y + dilation * tap - pad_begin``."""
    turns = window.stride // gcd(window.stride, len(field.spans))
    period = _followed(len(field.spans) * turns // window.stride)
    read = _united(field, window.dilation, window.kernel)
    spans = (read.interval(window.stride * cell - window.pad_begin) for cell in range(period))
    return Field(tuple(spans), turns * field.advance)


def _transposed(field: Field, window: Window) -> Field:
    """The field of a transposed convolution: cell ``y`` is reached from those whose taps land on it."""
    period = _followed(window.stride * len(field.spans))
    # The taps that land on a cell are ``lap`` apart, and the positions that they come from ``step`` apart.
    common = gcd(window.stride, window.dilation)
    lap, step = window.stride // common, window.dilation // common
    inverse, (fewest, rest) = pow(step, -1, lap), divmod(window.kernel, lap)
    reached = [_united(field, step, fewest), _united(field, step, fewest + 1)]
    spans: list[Span] = []
    for cell in range(window.pad_begin, window.pad_begin + period):
        tap = cell // common * inverse % lap
        last = (cell - window.dilation * tap) // window.stride
        more = tap < rest
        spans.append(None if cell % common else reached[more].interval(last - (fewest + more - 1) * step))
    return Field(tuple(spans), field.advance)


def _united(field: Field, step: int, count: int) -> Field:
    """The field of cells that see what ``count`` cells of ``field`` see: their own, and the next ones ``step`` apart.

    Each pass doubles what is seen, so that a kernel of a billion taps takes thirty.
    """
    if not count:
        return Field((None,), 1)
    seen = 1
    while seen < count:
        added = min(seen, count - seen)
        pairs = ((span, field.interval(cell + added * step)) for cell, span in enumerate(field.spans))
        field, seen = Field(tuple(map(_union, pairs)), field.advance), seen + added
    return field


def _followed(period: int) -> int:
    """``period``, if it is one that is followed."""
    if period > LONGEST_PERIOD:
        raise ShapeError(
            f"the receptive fields repeat after {period:,} cells only, and at most {LONGEST_PERIOD:,} are followed"
        )
    return period


def _joined(one: Field | None, other: Field | None) -> Field | None:
    if one is None or other is None:
        return None
    period = _followed(lcm(len(one.spans), len(other.spans)))
    spans = tuple(_union((one.interval(cell), other.interval(cell))) for cell in range(period))
    return Field(spans, one.advance * period // len(one.spans))


def _union(spans: Iterable[Span]) -> Span:
    seen = [span for span in spans if span]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None
