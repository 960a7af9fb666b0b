"""Shared by the texts of evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from portable_nn.core.text import grouped, percent, rounded, table
from portable_nn.evaluation.intervals import Interval
from portable_nn.evaluation.worst import Worst

UNKNOWN: Final = "-"
"""The text for a figure that is not known."""


def ends(interval: Interval | None, reason: str | None = None) -> str:
    """An interval in brackets, after the figure that it is of; or why there is none."""
    if interval is None:
        return f" ({reason})" if reason else ""
    return f" ({grouped(interval[0], 4)} to {grouped(interval[1], 4)})"


def plain(figures: object) -> dict[str, Any]:
    """Figures as data that JSON can hold, without what is empty."""
    return {name: value for name, value in vars(figures).items() if value != {}}


def with_ends(name: str) -> tuple[str, str, str]:
    """The headings of a figure and its interval."""
    return name, f"{name}_low", f"{name}_high"


def cells(figures: object, names: Iterable[str]) -> Iterator[float | str]:
    """Figures, each with its interval."""
    for name in names:
        low, high = getattr(figures, f"{name}_interval") or ("", "")
        value = getattr(figures, name)
        yield from ("" if value is None else value, low, high)


def worst_table(worst: Sequence[Worst]) -> str:
    """The worst examples; empty where there are none."""
    if not worst:
        return ""
    if worst[0].probability is not None:
        rows = ((each.input, each.expected, each.predicted, percent(each.probability or 0)) for each in worst)
        return table(("worst", "class", "taken for", ">probability"), rows)
    numbers = ((each.input, _listed(each.expected), _listed(each.predicted)) for each in worst)
    return table(("worst", ">target", ">predicted"), numbers)


def worst_json(worst: Sequence[Worst]) -> list[dict[str, Any]]:
    """The worst examples as data."""
    return [
        {name: value for name, value in each._asdict().items() if name != "x" and value is not None} for each in worst
    ]


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(map(rounded, numbers))
