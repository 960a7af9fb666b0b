"""The boxes and arrows of a model: what is drawn, and nothing of where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.text import printable, quantity
from portable_nn.operators.registry import Family, family

if TYPE_CHECKING:
    from portable_nn.inspection import Inspection

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
    """An input, a node or an output: what it is, its name, and what more there is to say, line by line."""

    title: str
    name: str
    lines: tuple[str, ...]
    family: str


@dataclass(frozen=True)
class Diagram:
    """Boxes, and arrows between them by their places, each once; ``notes`` say what there is, and what is left out."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def diagram(found: Inspection, *, constants: bool = False) -> Diagram:
    """The boxes of what was inspected; ``constants`` asks for those of Constant nodes, too.

    Raises ``UsageError`` where it is a file of arrays, in which nothing leads anywhere.
    """
    if not (found.nodes or found.outputs):
        where = found.file.path if found.file else "it"
        raise UsageError(f"{where}: holds arrays, not a network: there is nothing to draw")
    nodes = [node for node in found.nodes if constants or node.operator != "Constant" or node.reads]
    boxes = [Box("input", row.name, (_type(row.dtype, row.shape),), ENDS) for row in found.inputs]
    makers = {row.name: place for place, row in enumerate(found.inputs)}
    for place, node in enumerate(nodes, len(boxes)):
        boxes.append(
            Box(node.operator, node.name, tuple(_lines(node.outputs, node.parameters)), _family(node.operator))
        )
        makers.update(dict.fromkeys(node.makes, place))
    arrows = [
        (makers[name], place)
        for place, node in enumerate(nodes, len(found.inputs))
        for name in node.reads
        if name in makers
    ]
    for row in found.outputs:
        if row.name in makers:
            arrows.append((makers[row.name], len(boxes)))
        boxes.append(Box("output", row.name, (_type(row.dtype, row.shape),), ENDS))
    hidden = len(found.nodes) - len(nodes)
    notes = [quantity(len(found.nodes), "node"), quantity(found.parameters, "parameter")]
    if hidden:
        notes.append(f"{quantity(hidden, 'constant')} not drawn")
    return Diagram(printable(found.name), tuple(boxes), tuple(dict.fromkeys(arrows)), tuple(notes))


def _lines(shapes: tuple[Shape | None, ...], parameters: int) -> Iterator[str]:
    yield ", ".join("?" if shape is None else format_shape(shape) for shape in shapes)
    if parameters:
        yield quantity(parameters, "parameter")


def _type(dtype: str, shape: Shape | None) -> str:
    return f"{dtype} {'?' if shape is None else format_shape(shape)}"


def _family(operator: str) -> str:
    domain, _, name = operator.rpartition(".")
    found = family(name, domain)
    return FAMILIES[found] if found else OTHER
