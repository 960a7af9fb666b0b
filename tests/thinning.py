"""Large grids of parameters, of which a part is in the quick tests, and the rest in the long ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def thinned(params: Iterable[Any], every: int, kind: Callable[[Any], Any] = lambda param: None) -> list[Any]:
    """``params``, of which all but the first of each ``kind`` and each ``every``-th after it are long.

    A tuple is several arguments. Of a large product each value of each argument stays among the quick ones where
    ``every`` has no factor in common with the number of the values of any.
    """
    seen: Counter[Any] = Counter()
    found = []
    for param in params:
        own = kind(param)
        marks = [pytest.mark.long] if seen[own] % every else []
        found.append(pytest.param(*(param if isinstance(param, tuple) else (param,)), marks=marks))
        seen[own] += 1
    return found
