"""The result of a comparison: as records, text and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from portable_nn.comparison.structure import WeightGap
from portable_nn.core.html import Share, html_of, html_page, html_table
from portable_nn.core.text import fields, printable, quantity, some, table
from portable_nn.onnx.verification.differences import Difference

Verdict: TypeAlias = Literal["identical", "same", "weights", "parted", "prepared", "undecided"]

SENTENCES: Final[Mapping[Verdict, str]] = {
    "identical": "the same bytes",
    "same": "the same function",
    "weights": "the same graph with other weights",
    "parted": "not the same function",
    "prepared": "the picture is prepared otherwise",
    "undecided": "undecided",
}
"""The verdicts in words."""


class Parting(NamedTuple):
    """Nodes that compute something else from the same values.

    Attributes:
        nodes_a: those of the first model, the one that makes ``value_a`` last.
        nodes_b: those of the second.
        value_a: the value at which the models meet again, or the output, in the first.
        value_b: that in the second.
        apart: the difference of the two in the element that exceeds its bounds most.
        guaranteed: the most that rounding can explain of it; infinite where no bound is known.
        likely: the most that rounding probably explains of it, with λ = 6.
        why: the difference of these nodes in words, as far as it is known.
    """

    nodes_a: tuple[str, ...]
    nodes_b: tuple[str, ...]
    value_a: str
    value_b: str
    apart: float
    guaranteed: float
    likely: float
    why: str = ""

    def turned(self) -> Parting:
        """The same with the models in the other order."""
        return Parting(self.nodes_b, self.nodes_a, self.value_b, self.value_a, *self[4:])

    @property
    def shown(self) -> str:
        """``beyond rounding``, or only ``suspicious``."""
        return "beyond rounding" if self.apart > self.guaranteed else "suspicious"


class Decision(NamedTuple):
    """A decision that two preparations make differently.

    Attributes:
        what: the decision: orientation, size, kernel, fill, colours, numbers, layout, answers.
        a: that of A.
        b: that of the other side.
    """

    what: str
    a: str
    b: str


class Pair(NamedTuple):
    """A node of each model, or of one alone: their values are the same, or would be.

    Attributes:
        a: the node of the first model; empty where it has none.
        b: that of the second.
        apart: the largest difference, from the same predecessors.
        share: the difference as a share of what rounding explains.
    """

    a: str
    b: str
    apart: float = 0.0
    share: float = 0.0


@dataclass(frozen=True)
class Diff:
    """The result of ``diff``.

    Attributes:
        a, b: the names of the models.
        verdict: ``identical``, ``same``, ``weights``, ``parted``, ``prepared`` or ``undecided``.
        weights: the constants that differ, if the graphs are the same.
        partings: where they part, the first node first.
        outputs: the largest differences by output of the first model.
        matched: how many values of the second model are values of the first, and how many it has.
        pairs: the nodes of both side by side, in the order of the second model.
        reason: what the verdict rests on; why nothing is decided, and what would decide it.
        notes: remarks.
        seed: that of the inputs.
        preparation: the differences in the preparation of a picture; if undecided, those of the nearest.
        options: those of ``predict`` with which A prepares as the other side does.
    """

    a: str
    b: str
    verdict: Verdict
    weights: tuple[WeightGap, ...] = ()
    partings: tuple[Parting, ...] = ()
    outputs: Mapping[str, Difference] = field(default_factory=dict)
    matched: tuple[int, int] = (0, 0)
    pairs: tuple[Pair, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()
    seed: int = 0
    preparation: tuple[Decision, ...] = ()
    options: str = ""

    @property
    def same(self) -> bool:
        """True if no difference was found, or none that rounding does not explain."""
        return self.verdict in ("identical", "same")

    def turned(self, matched: int) -> Diff:
        """The same with the nodes of both in the other order, where so many values of the other model are matched."""
        partings = tuple(each.turned() for each in self.partings)
        pairs = tuple(each._replace(a=each.b, b=each.a) for each in self.pairs)
        return replace(self, partings=partings, pairs=pairs, matched=(matched, self.matched[1]))

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(lambda: as_text(self))


def as_text(found: Diff) -> str:
    """The verdict, and tables of what differs."""
    text = fields(_fields(found))
    if found.preparation:
        text += table(("of the picture", "A", "the other side"), found.preparation) + "\n"
    if found.weights:
        rows = [(each.name_b, each.how, some(each.nodes)) for each in found.weights]
        text += table(("weight of B", "differs", "read by"), rows) + "\n"
    if found.partings:
        places = [
            (
                some(each.nodes_a),
                some(each.nodes_b),
                f"{each.apart:.2e}" if math.isfinite(each.apart) else "not comparable",
                limit_in_words(each.guaranteed),
                limit_in_words(each.likely),
                each.why or each.shown,
            )
            for each in found.partings
        ]
        headings = ("node of A", "node of B", ">apart", ">guaranteed", ">likely", "how")
        text += table(headings, places) + "\n"
    if found.outputs:
        rows = [(name, *gap.cells()) for name, gap in found.outputs.items()]
        text += table(("output", ">largest difference", ">relative"), rows) + "\n"
    return text


def _fields(found: Diff) -> Iterator[tuple[str, str]]:
    yield "A", printable(found.a)
    yield "B", printable(found.b)
    yield "verdict", SENTENCES[found.verdict] + (f": {found.reason}" if found.reason else "")
    if found.matched[1]:
        yield "values", f"{found.matched[0]:,} of {quantity(found.matched[1], 'value')} of B are values of A"
    if found.options:
        yield "options", found.options
    for note in found.notes:
        yield "note", note


def limit_in_words(number: float) -> str:
    """A bound; ``unknown`` where there is none."""
    return f"{number:.2e}" if math.isfinite(number) else "unknown"


def as_json(found: Diff) -> dict[str, Any]:
    """The same for programs; what is unknown is null."""
    return {
        "a": found.a,
        "b": found.b,
        "verdict": found.verdict,
        "same": found.same,
        "reason": found.reason,
        "weights": [{**each._asdict(), "largest": _finite(each.largest)} for each in found.weights],
        "partings": [
            {key: _finite(value) if isinstance(value, float) else value for key, value in each._asdict().items()}
            | {"shown": each.shown}
            for each in found.partings
        ],
        "preparation": [each._asdict() for each in found.preparation],
        "options": found.options,
        "outputs": [{"output": name, **gap.as_json()} for name, gap in found.outputs.items()],
        "matched": {"values": found.matched[0], "of": found.matched[1]},
        "seed": found.seed,
        "notes": list(found.notes),
    }


def as_page(found: Diff) -> bytes:
    """A page with the verdict, what differs, and the nodes of both models side by side."""
    parts = [html_of(lambda: as_text(found))]
    if found.pairs:
        rows = [
            (Share(min(1.0, each.share)), f"{each.apart:.1e}" if each.apart else "0", each.a, each.b)
            for each in found.pairs
        ]
        headings = ("of what rounding explains", ">apart", "node of A", "node of B")
        parts.append(html_table("Nodes of both, in the order of B", headings, rows, most=len(rows)))
    return html_page(f"{Path(found.a).name} and {Path(found.b).name}: {SENTENCES[found.verdict]}", *parts)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
