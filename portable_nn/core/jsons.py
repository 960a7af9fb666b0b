"""Reading JSON that anybody may have written: what is no JSON, or says two things at once, is a ``ValueError``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def parsed_json(data: bytes | str, *, nan: bool = False) -> Any:
    """The value that a text in JSON, in UTF-8, is.

    Args:
        data: the text.
        nan: whether the words ``NaN`` and ``Infinity`` are numbers, which they are not in JSON.

    Raises ``ValueError`` also for what ``json.loads`` takes or stumbles over: names that stand twice in an object,
    lists in lists without end, and numbers of thousands of digits.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=float if nan else no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of names that stand once each: of two, JSON would take the last without a word."""
    if (twice := repeated(pairs)) is not None:
        raise ValueError(f"{twice!r} stands in it twice")
    return dict(pairs)


def repeated(pairs: list[tuple[str, Any]]) -> str | None:
    """The first name that stands more than once among the pairs of an object."""
    if len(dict(pairs)) == len(pairs):
        return None
    return next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)


def no_constant(token: str) -> None:
    """For ``parse_constant``: raises ``ValueError`` for ``NaN`` and ``Infinity``, which are not JSON."""
    raise ValueError(f"{token} is not JSON")
