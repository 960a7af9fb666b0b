"""The results of a verification: differences of outputs and values, fates of weights, and what was not exercised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from portable_nn.core.html import html_of, html_table
from portable_nn.core.text import fields, quantity, some
from portable_nn.onnx.verification.differences import Difference

Kind: TypeAlias = Literal["kept", "constant", "transformed", "folded", "computed", "added", "unused"]

MEANINGS: Final[Mapping[Kind, str]] = {
    "kept": "kept bit for bit",
    "constant": "kept bit for bit as constants of the graph",
    "transformed": "transformed, and recomputed",
    "folded": "folded into nodes",
    "computed": "computed by nodes of the file",
    "added": "added by an option or by decomposing an operator",
    "unused": "used by no node",
}
"""The fates of tensors in words, for counts of them."""


class Fate(NamedTuple):
    """The conversion of one tensor.

    Attributes:
        name: the tensor, by its name in the model, or in the network where the model does not have it.
        kind: ``kept`` and ``constant``: the same bytes on both sides. ``transformed``: the stated transformation of
            the original, recomputed, gives the same bytes. ``folded``: nodes of one side have it inside, and their
            values are compared. ``computed``: the other side computes it, and its value is compared. ``added``: the
            network did not have it. ``unused``: no node reads it.
        details: the transformation, or the values that it is read for.
    """

    name: str
    kind: Kind
    details: str = ""


class Worst(NamedTuple):
    """The value with the largest difference relative to its spread over the inputs, and the node that makes it."""

    value: str
    node: str
    error: float


class Loose(NamedTuple):
    """A value that rounding alone moves further than the tolerances: the place is ill-conditioned.

    Attributes:
        node: the node that makes it.
        apart: how far the two sides are apart there at most.
        allowed: how far they may be, which is several times as far as rounding moves the value.
    """

    node: str
    apart: float
    allowed: float

    def or_more(self, other: Loose | None) -> Loose:
        """The larger figures of both, for the same node."""
        return self if other is None else Loose(self.node, *map(max, self[1:], other[1:]))


class Proof(dict[str, Difference]):
    """The largest differences by output, over all runs; empty where nothing was verified.

    Attributes:
        batches: the batch sizes.
        sizes: the numbers that any other symbolic size of the inputs had, by name.
        notes: sentences on what could not be compared, or not closely.
        recorded: the largest differences of both engines to the values recorded by another program.
        weights: the fate of every tensor.
        compared: the largest difference of each value on the way, relative to its spread over the inputs.
        worst: the value with the largest of these.
        widened: the values that may differ by more than the tolerances, as rounding alone moves them.
        not_exercised: the nodes that no input showed, and why: nothing is proved of them but their weights.
        opaque: the nodes that onnxruntime itself runs for both sides: nothing is proved of them.
        seconds: how long the comparison took, where that was measured.
    """

    def __init__(self, outputs: Iterable[str] = ()) -> None:
        super().__init__(dict.fromkeys(outputs, Difference()))
        self.batches: tuple[int, ...] = ()
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.notes: tuple[str, ...] = ()
        self.recorded: dict[str, Difference] = {}
        self.weights: tuple[Fate, ...] = ()
        self.compared: dict[str, float] = {}
        self.worst: Worst | None = None
        self.widened: dict[str, Loose] = {}
        self.not_exercised: dict[str, str] = {}
        self.opaque: tuple[str, ...] = ()
        self.seconds = 0.0

    def in_words(self) -> Iterator[tuple[str, str]]:
        """Headings, and what was found, in one line each; nothing where nothing was verified."""
        if self.worst:
            error = f"largest error {self.worst.error:.1e} (relative to the standard deviation of the value)"
            yield "values", f"{len(self.compared):,} compared; {error}, at {self.worst.node or self.worst.value}"
        if self.sizes:
            yield "sizes", "; ".join(f"{name} {', '.join(map(str, tried))}" for name, tried in self.sizes.items())
        if self.weights:
            counts = Counter(fate.kind for fate in self.weights)
            found = [f"{counts[kind]:,} {meaning}" for kind, meaning in MEANINGS.items() if counts[kind]]
            yield "weights", ", ".join(found)
        if self.not_exercised:
            yield "not exercised", f"{quantity(len(self.not_exercised), 'node')}: {some(self.not_exercised)}"

        if self.opaque:
            yield "not proved", f"run by onnxruntime itself on both sides: {some(self.opaque)}"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        rows = [(name, *found.cells()) for name, found in self.items()]
        outputs = html_table("Largest differences of the outputs", ("output", ">abs. error", ">rel. error"), rows)
        return outputs + html_of(lambda: "\n".join([fields(self.in_words()), *self.notes]))

    def as_json(self) -> dict[str, Any]:
        """The same for programs, with every tensor, and every node that was not exercised."""
        return {
            "values": {
                "compared": len(self.compared),
                "worst": self.worst._asdict() if self.worst else None,
                "widened": [{"value": name, **loose._asdict()} for name, loose in self.widened.items()],
                "opaque": list(self.opaque),
                "not_exercised": [{"node": node, "why": why} for node, why in self.not_exercised.items()],
            },
            "sizes": {name: list(tried) for name, tried in self.sizes.items()},
            "weights": [fate._asdict() for fate in self.weights],
        }
