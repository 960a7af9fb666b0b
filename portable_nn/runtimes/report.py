"""The report of runtimes that ran a model, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from portable_nn.core.html import html_of
from portable_nn.core.text import fields, table
from portable_nn.onnx.verification.differences import Difference, Tolerance

State: TypeAlias = Literal["agrees", "differs", "refused", "crashed", "timed out", "not installed"]

FAILED: Final[frozenset[State]] = frozenset({"differs", "refused", "crashed", "timed out"})


@dataclass(frozen=True)
class RuntimeRow:
    """The result of one runtime.

    Attributes:
        runtime: its name in the table of runtimes.
        title: its name, as its users write it.
        version: the version that is installed, or ``None``.
        state: ``agrees`` within the tolerances; ``differs``; ``refused`` the model, or these inputs; ``crashed``;
            ``timed out``; ``not installed``.
        outputs: the largest absolute difference in each output, and the same relative to its largest magnitude.
        sizes: ``open`` where one model ran at all sizes; ``fixed`` where it only does with numbers in the place of
            symbolic sizes, and is loaded again for others.
        reason: why it did not run, mostly in its own words; what installs it; or what of an output differs.
        node: the first node at which it differs or fails, and the operator of it; empty where that was not found.
        explanations: the known disagreements that apply there.
        seconds: how long the first run took, with the start of the runtime and the compilation of the model.
    """

    runtime: str
    title: str
    version: str | None
    state: State
    outputs: Mapping[str, Difference] = field(default_factory=dict)
    sizes: Literal["open", "fixed"] = "open"
    reason: str = ""
    node: str = ""
    explanations: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def error(self) -> Difference:
        """The largest of all outputs."""
        return Difference(*map(max, zip(Difference(), *self.outputs.values(), strict=True)))


@dataclass(frozen=True)
class RuntimeReport:
    """The rows of ``check_runtimes``.

    Attributes:
        model: the file, or the name of the network.
        reference: what runtimes are compared with: ``numpy``, or ``onnxruntime`` for what numpy cannot run.
        batches: the batch sizes.
        sizes: the numbers that each other symbolic size had.
        tolerance: the allowed differences.
        rows: one for each runtime, in the order of the table.
        note: what of the model was not compared as it is.
    """

    model: str
    reference: str
    batches: tuple[int, ...]
    sizes: Mapping[str, tuple[int, ...]]
    tolerance: Tolerance
    rows: tuple[RuntimeRow, ...]
    note: str = ""

    def passes(self) -> bool:
        """True if a runtime is installed, and all that are agree."""
        states = [row.state for row in self.rows]
        return "agrees" in states and FAILED.isdisjoint(states)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return html_of(lambda: as_text(self))


def as_text(report: RuntimeReport) -> str:
    """A table, and below it what is to be said of those that do not agree."""
    rows = [line for row in report.rows for line in _lines(row)]
    heads = ("runtime", "version", "result", "output", ">abs. error", ">rel. error", "sizes")
    tried = ", ".join(map(str, report.batches))
    sizes = "; ".join(f"{name} {', '.join(map(str, found))}" for name, found in report.sizes.items())
    facts = [("compared with", report.reference), ("batch", tried), ("sizes", sizes), ("note", report.note)]
    facts.append(("allowed", f"{report.tolerance.rtol:g} of the largest magnitude of an output"))
    said = [
        (row.title, text)
        for row in report.rows
        for text in (row.reason, row.node and f"first at {row.node}", *(f"known: {each}" for each in row.explanations))
        if text
    ]
    return f"{table(heads, rows)}\n{fields(facts)}" + (f"\n{fields(said)}" if said else "")


def _lines(row: RuntimeRow) -> Iterator[tuple[str, ...]]:
    """The lines of a row, one for each output."""
    head = [row.title, row.version or "", str(row.state)]
    if not row.outputs:
        yield (*head, "", "", "", "")
    for name, found in row.outputs.items():
        yield (*head, " ".join(name.split()), *found.cells(), row.sizes)
        head = ["", "", ""]


def as_json(report: RuntimeReport) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "model": report.model,
        "reference": report.reference,
        "batches": list(report.batches),
        "sizes": {name: list(found) for name, found in report.sizes.items()},
        "atol": report.tolerance.atol,
        "rtol": report.tolerance.rtol,
        "passes": report.passes(),
        "note": report.note,
        "runtimes": [
            {
                **vars(row),
                "outputs": {name: found.as_json() for name, found in row.outputs.items()},
                "explanations": list(row.explanations),
                "seconds": round(row.seconds, 3),
            }
            for row in report.rows
        ],
    }
