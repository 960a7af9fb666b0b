"""The table of what a public parameter that is a number may be: annotations that ``core.kinds`` checks in each call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias


class Range(NamedTuple):
    """A part of the numbers of a kind.

    Attributes:
        words: the end of the sentence "… must be".
        holds: whether a number, of the kind that is annotated, is in it.
    """

    words: str
    holds: Callable[[Any], bool]


Integer: TypeAlias = Annotated[int, Range("a whole number", lambda n: True)]
Natural: TypeAlias = Annotated[int, Range("a whole number from 0", lambda n: n >= 0)]
Count: TypeAlias = Annotated[int, Range("a whole number from 1", lambda n: n >= 1)]
InnerAxis: TypeAlias = Annotated[int, Range("a whole number other than 0, the batch", lambda n: n != 0)]

NotNaN: TypeAlias = Annotated[float, Range("a number other than NaN", lambda x: x == x)]
Finite: TypeAlias = Annotated[float, Range("a finite number", lambda x: -math.inf < x < math.inf)]
NonNegative: TypeAlias = Annotated[float, Range("a finite number from 0", lambda x: 0 <= x < math.inf)]
Positive: TypeAlias = Annotated[float, Range("a finite number above 0", lambda x: 0 < x < math.inf)]

Share: TypeAlias = Annotated[float, Range("a number from 0 to 1", lambda x: 0 <= x <= 1)]
BelowOne: TypeAlias = Annotated[float, Range("a number from 0 to less than 1", lambda x: 0 <= x < 1)]
Between: TypeAlias = Annotated[float, Range("a number above 0 and below 1", lambda x: 0 < x < 1)]
