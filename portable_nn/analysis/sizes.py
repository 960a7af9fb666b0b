"""The sizes of a whole network: for every node its shapes, options, receptive field and costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from portable_nn.analysis.receptive_fields import fields_of
from portable_nn.analysis.report import wrapped
from portable_nn.analysis.spatial import operation_of, spatial
from portable_nn.analysis.survey import Survey, Surveyor
from portable_nn.core.binding import Sizes
from portable_nn.core.dims import static
from portable_nn.core.graph import Node, Shape
from portable_nn.core.text import fields, printable, quantity, size, table
from portable_nn.operators.registry import REGISTRY, OperatorContext, family, find
from portable_nn.sizes.cautions import cautions
from portable_nn.sizes.operation import Operation

COVERAGE: Final = frozenset({"uncovered", "bias-only"})
RISKS: Final = frozenset({"uneven", "padding", "ceil", "auto_pad"})
"""Which cautions of ``sizes`` tell of cells that are left out, and which of what may go wrong."""

SHORTEST: Final = 16
"""The fewest characters that are left of a node's name."""

INDENT: Final = "    "


@dataclass(frozen=True)
class NodeSize:
    """One node. What is not known is ``None``.

    ``field`` and ``jump`` are those of the receptive field along each axis that moves over the input; where nothing
    moves any more, ``sees_all`` is whether that is because the whole input is seen. ``bytes`` are those of its outputs;
    a ``constant`` node, which no input has a part in, has none. Parameters are counted where they are used first.
    """

    name: str
    operator: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    options: str
    coverage: tuple[str, ...]
    risks: tuple[str, ...]
    field: tuple[int, ...]
    jump: tuple[float, ...]
    sees_all: bool
    parameters: int
    multiply_adds: int | None
    bytes: int | None
    constant: bool


@dataclass(frozen=True)
class NetSizes:
    """All nodes, and what they come to.

    Parameters are what training changes: running statistics are none. Multiply-adds are those of the operators that
    have a rule for them; ``uncounted`` names others that have many. ``counted_for`` are the sizes that costs are
    counted for where a shape has names. ``peak`` is the most that the values that are still needed take at one time,
    which is at ``peak_at``, when nodes run in their order, each output has memory of its own, and weights are not
    counted.
    """

    model: str
    nodes: tuple[NodeSize, ...]
    counted_for: Mapping[str, int]
    parameters: int
    parameter_bytes: int
    multiply_adds: int | None
    uncounted: Mapping[str, int]
    bytes: int | None
    peak: int | None
    peak_at: str


def sizes_of_model(name: str, surveyor: Surveyor, inputs: Sizes = None) -> NetSizes:
    """The sizes of every node of an open model, with its inputs of the given sizes.

    Where the batch has no number, costs are those of one example. Raises ``UsageError`` where ``inputs`` do not fit.
    """
    survey = surveyor(inputs)
    batch = _batch(survey)
    one = surveyor(_with_numbers(survey, batch)) if batch else survey
    rows = tuple(_rows(survey, one))
    weights = [survey.weights[name] for name in _parameters(survey) if name in survey.readers]
    peak, where = _peak(one)
    return NetSizes(
        model=name,
        nodes=rows,
        counted_for=batch,
        parameters=sum(array.size for array in weights),
        parameter_bytes=sum(array.nbytes for array in weights),
        multiply_adds=_total(row.multiply_adds for row in rows),
        uncounted=Counter(node.operator for node in survey.nodes if _is_uncounted(node)),
        bytes=_total(row.bytes for row in rows),
        peak=peak,
        peak_at=where,
    )


def _batch(survey: Survey) -> dict[str, int]:
    """One example: the leading size of inputs, where that has only a name."""
    leading = [shape[0] for name in survey.inputs if (shape := survey.shape(name))]
    return {dim: 1 for dim in leading if isinstance(dim, str)}


def _with_numbers(survey: Survey, known: Mapping[str, int]) -> dict[str, Sequence[int | str]]:
    shapes = {name: survey.shape(name) for name in survey.inputs}
    return {name: [known.get(str(dim), dim) for dim in shape] for name, shape in shapes.items() if shape is not None}


def _rows(survey: Survey, one: Survey) -> Iterator[NodeSize]:
    """The nodes, with the shapes of ``survey`` and the costs of ``one``."""
    seen, parameters, told = fields_of(one), _parameters(survey), set[str]()
    for place, node in enumerate(survey.nodes):
        constant = all(name in survey.constants for name in node.outputs)
        read = [survey.constants[name] for name in node.inputs if name in survey.constants and not constant]
        own = (parameters & frozenset().union(*read)) - told
        told |= own
        known = spatial(one, place)
        found = cautions(*known) if known else ()
        sees = seen.get(node.outputs[0]) if node.outputs else None
        moving = [field for field in (sees or ())[1:] if field]
        yield NodeSize(
            name=node.name,
            operator=f"{node.domain}.{node.operator}" if node.domain else node.operator,
            inputs=tuple(survey.shape(name) for name in node.inputs if name and name not in survey.constants),
            outputs=tuple(survey.shape(name) for name in node.outputs if name),
            options=_options(one, place),
            coverage=tuple(caution.message for caution in found if caution.about in COVERAGE),
            risks=tuple(caution.message for caution in found if caution.about in RISKS),
            field=tuple(field.size for field in moving),
            jump=tuple(float(field.jump) for field in moving),
            sees_all=bool(sees) and not moving,
            parameters=sum(survey.weights[name].size for name in own),
            multiply_adds=0 if constant else _multiply_adds(one, place),
            bytes=0 if constant else _total(_bytes(one, name) for name in node.outputs if name),
            constant=constant,
        )


# -- costs


def _parameters(survey: Survey) -> frozenset[str]:
    """The weights but for settings, such as sizes and axes, and for what training does not change by its gradient."""
    states = {
        node.inputs[place]
        for node in survey.nodes
        if (operator := find(node.operator, node.domain))
        for place in operator.state.values()
        if place < len(node.inputs)
    }
    settings = {name for name, type in survey.types.items() if type.constant is not None}
    return frozenset(survey.weights) - states - settings


def _multiply_adds(survey: Survey, place: int) -> int | None:
    """One for each weight at each position, pads included, biases not; 0 of an operator that is not counted."""
    node = survey.nodes[place]
    operator = find(node.operator, node.domain)
    if operator is None or operator.multiply_adds is None:
        return 0
    output = survey.shape(node.outputs[0])
    if place not in survey.fitting or output is None:
        return None
    types = [survey.types.get(name) for name in node.inputs]
    return _product(tuple(operator.multiply_adds(OperatorContext(operator, types, node.attributes), output)))


def _is_uncounted(node: Node) -> bool:
    """Whether a node multiplies and adds much, and has no rule for how much."""
    operator = find(node.operator, node.domain)
    return family(node.operator, node.domain) == "linear" and (operator is None or operator.multiply_adds is None)


def _product(*shapes: Shape | None) -> int | None:
    """The product of all sizes of all shapes, where they are known."""
    numbers = [static(shape) if shape is not None else None for shape in shapes]
    known = [number for number in numbers if number is not None]
    return math.prod(map(math.prod, known)) if len(known) == len(numbers) else None


def _bytes(survey: Survey, name: str) -> int | None:
    """What the elements of a value take."""
    elements = _product(survey.shape(name))
    try:
        return None if elements is None else elements * np.dtype(survey.types[name].dtype).itemsize
    except TypeError:  # A type that numpy lacks.
        return None


def _total(counts: Iterable[int | None]) -> int | None:
    """The sum, where all are known."""
    found = [*counts]
    known = [count for count in found if count is not None]
    return sum(known) if len(known) == len(found) else None


def _peak(survey: Survey) -> tuple[int | None, str]:
    """The most bytes that values take at one time, and the node that then runs."""
    last = {name: place for place, node in enumerate(survey.nodes) for name in node.inputs}
    last.update(dict.fromkeys(survey.outputs, len(survey.nodes)))
    alive = {name: _bytes(survey, name) for name in survey.inputs}
    peak, where = _total(alive.values()), ""
    for place, node in enumerate(survey.nodes):
        alive.update({name: _bytes(survey, name) for name in node.outputs if name and name not in survey.constants})
        now = _total(alive.values())
        if now is None or peak is None:
            return None, ""
        if now > peak:
            peak, where = now, node.name
        alive = {name: count for name, count in alive.items() if last.get(name, -1) > place}
    return peak, where


# -- in words


def _options(survey: Survey, place: int) -> str:
    """``7x7/2 p3``: kernel, stride, padding, dilation, output padding and groups, as far as they are not as usual."""
    operation = operation_of(survey, place)
    return _short(operation) if operation else ""


def _short(operation: Operation) -> str:
    windows = operation.windows
    pads = [str(w.pad_begin) if w.pad_begin == w.pad_end else f"{w.pad_begin}:{w.pad_end}" for w in windows]
    return " ".join(
        filter(
            None,
            [
                "x".join(str(w.kernel) for w in windows) + _per_axis("/", [w.stride for w in windows], 1),
                _per_axis("p", pads, "0"),
                _per_axis("d", [w.dilation for w in windows], 1),
                _per_axis("o", [w.output_padding for w in windows], 0),
                f"g{operation.groups}" if operation.groups > 1 else "",
                "ceil" if operation.ceil else "",
            ],
        )
    )


def _per_axis(sign: str, values: Sequence[object], usual: object) -> str:
    """``/2``, ``/2x1``; nothing where all are as usual."""
    if all(value == usual for value in values):
        return ""
    return sign + _alike(values)


def as_text(net: NetSizes, width: int | None = None) -> str:
    """The sizes for people: a table without what is constant, and what it comes to.

    Names of nodes lose their beginnings where that keeps lines within ``width``.
    """
    rows = [row for row in net.nodes if not row.constant]
    lines = _table(rows).splitlines()
    over = max(map(len, lines)) - width if width else 0
    if over > 0:
        lines = _table(rows, max(SHORTEST, max(len(row.name) for row in rows) - over)).splitlines()
    head, *body = lines
    room = width - len(INDENT) if width else 0
    below = (
        [INDENT + part for text in (*row.coverage, *row.risks) for part in wrapped(printable(text), room)]
        for row in rows
    )
    return "\n".join([head, *(line for pair in zip(body, below, strict=True) for line in (pair[0], *pair[1]))]) + (
        f"\n\n{_summary(net, len(rows))}"
    )


def as_json(net: NetSizes) -> dict[str, Any]:
    """The sizes for programs."""
    return asdict(net)


def _table(rows: Iterable[NodeSize], longest: int | None = None) -> str:
    headings = ("node", "operator", "input", "output", ">field", ">parameters", ">mult-adds", ">memory")
    return table(headings, [_cells(row, longest) for row in rows])


def _cells(row: NodeSize, longest: int | None) -> tuple[str, ...]:
    return (
        row.name if longest is None else _ending(row.name.removesuffix(f"/{row.operator}") or row.name, longest),
        f"{row.operator} {row.options}",
        _shapes(row.inputs),
        _shapes(row.outputs),
        _field(row),
        f"{row.parameters:,}" if row.parameters else "",
        _big(row.multiply_adds) if row.multiply_adds != 0 else "",
        "?" if row.bytes is None else size(row.bytes),
    )


def _ending(name: str, length: int) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= length else f"…{name[1 - length :]}"


def _summary(net: NetSizes, shown: int) -> str:
    constant = len(net.nodes) - shown
    left_out = f", and {quantity(constant, 'node')} that no input has a part in" if constant else ""
    others = ", ".join(f"{count} {name}" for name, count in net.uncounted.items())
    counted = sorted(operator.name for operator in REGISTRY.values() if operator.multiply_adds)
    of = f"of {', '.join(counted)}" + (f"; not counted: {others}" if others else "")
    at = f", at {net.peak_at}" if net.peak_at else ""
    alive = "" if net.peak is None else f"; at most {size(net.peak)} at one time, inputs included{at}"
    pairs = [
        ("nodes", f"{shown:,}{left_out}"),
        ("parameters", f"{net.parameters:,} ({size(net.parameter_bytes)})"),
        ("multiply-adds", f"{_big(net.multiply_adds)}, {of}"),
        ("memory", f"{'?' if net.bytes is None else size(net.bytes)} for all outputs{alive}"),
        ("counted for", ", ".join(f"{name}={count}" for name, count in net.counted_for.items())),
    ]
    if None in (net.multiply_adds, net.bytes):
        pairs.append(("?", "not known, for some shapes are not: --in sets sizes that the inputs leave open"))
    return fields(pairs)


def _shapes(shapes: Sequence[Shape | None]) -> str:
    """``N,3,224,224``, as ``--in`` has it; several that are alike once."""
    texts = Counter("?" if shape is None else ",".join(map(str, shape)) or "scalar" for shape in shapes)
    return " ".join(text if count == 1 else f"{count}*({text})" for text, count in texts.items())


def _field(row: NodeSize) -> str:
    """``435/32``: how many cells are seen, and how far neighbours are apart in the input."""
    if not row.field:
        return "all" if row.sees_all else ""
    return _alike(row.field) + _per_axis("/", [f"{jump:g}" for jump in row.jump], "")


def _alike(values: Sequence[object]) -> str:
    return "x".join(map(str, values[:1] if len(set(values)) == 1 else values))


def _big(count: int | None) -> str:
    """``1.81 G``, ``118 M``."""
    if count is None:
        return "?"
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            found = count / unit
            return f"{found:,.{2 if found < 9.995 else 1 if found < 99.95 else 0}f} {name}"
    return str(count)
