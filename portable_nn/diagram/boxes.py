"""The boxes and arrows of a model, without their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Shape
from portable_nn.core.text import printable, quantity
from portable_nn.inspection.rows import Inspection, ValueRow
from portable_nn.inspection.text import shape_text
from portable_nn.operators.registry import Family, family

FAMILIES: Final[Mapping[Family, str]] = {
    "linear": "weights",
    "normalization": "normalisation",
    "activation": "activation",
    "reduction": "pool or sum",
    "arithmetic": "arithmetic",
    "layout": "shape and place",
}
"""The families of operators, as the legend of a diagram names the colours of their boxes."""

OTHER: Final = "another domain"
ENDS: Final = "input or output"


@dataclass(frozen=True)
class Box:
    """An input, a node or an output: its kind or operator, its name, further lines of text, and its family."""

    title: str
    name: str
    lines: tuple[str, ...]
    family: str


@dataclass(frozen=True)
class Diagram:
    """Boxes, and arrows between them by their indices, each once; ``notes`` count what is drawn and what is not."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def diagram(found: Inspection, *, constants: bool = False) -> Diagram:
    """The boxes of what was inspected; ``constants`` asks for those of Constant nodes, too.

    Raises ``UsageError`` where it is that of a file of arrays, which has no nodes.
    """
    if found.holds_arrays:
        where = found.file.path if found.file else "it"
        raise UsageError(f"{where}: holds arrays, not a network: there is nothing to draw")
    nodes = [node for node in found.nodes if constants or node.operator != "Constant" or node.reads]
    boxes = [_value_box("input", row) for row in found.inputs]
    makers = {row.name: place for place, row in enumerate(found.inputs)}
    for place, node in enumerate(nodes, len(boxes)):
        boxes.append(Box(node.operator, node.name, _lines(node.outputs, node.parameters), _family(node.operator)))
        makers.update(dict.fromkeys(node.makes, place))
    reads = [node.reads for node in nodes] + [(row.name,) for row in found.outputs]
    read = [(name, place) for place, names in enumerate(reads, len(found.inputs)) for name in names]
    arrows = dict.fromkeys((makers[name], place) for name, place in read if name in makers)
    boxes += [_value_box("output", row) for row in found.outputs]
    notes = [quantity(len(found.nodes), "node"), quantity(found.parameters, "parameter")]
    if hidden := len(found.nodes) - len(nodes):
        notes.append(f"{quantity(hidden, 'constant')} not drawn")
    return Diagram(printable(found.name), tuple(boxes), tuple(arrows), tuple(notes))


def _lines(shapes: tuple[Shape | None, ...], parameters: int) -> tuple[str, ...]:
    text = ", ".join(map(shape_text, shapes))
    return (text, quantity(parameters, "parameter")) if parameters else (text,)


def _value_box(title: str, row: ValueRow) -> Box:
    return Box(title, row.name, (f"{row.dtype} {shape_text(row.shape)}",), ENDS)


def _family(operator: str) -> str:
    domain, _, name = operator.rpartition(".")
    found = family(name, domain)
    return FAMILIES[found] if found else OTHER
