"""The sizes of a whole network: shapes, options, receptive field and costs of every node."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from typing import Any, Final

import numpy as np

from portable_nn.analysis.report import wrapped
from portable_nn.analysis.spatial import COVERAGE, RISKS, fields_of, operation_of, spatial
from portable_nn.analysis.survey import Survey, Surveyor
from portable_nn.core.binding import Sizes
from portable_nn.core.dims import is_open, static
from portable_nn.core.graph import Node, Shape
from portable_nn.core.html import html_code, html_of, html_page, html_table
from portable_nn.core.tensors import ITEM_SIZES
from portable_nn.core.text import Table, fields, printable, quantity, size
from portable_nn.operators.costs import multiply_adds
from portable_nn.operators.registry import family, known_operator
from portable_nn.sizes.cautions import Caution, cautions
from portable_nn.sizes.operation import Operation

SHORTEST: Final = 16
"""The fewest characters that remain of a shortened name of a node."""

HEADINGS: Final = ("node", "operator", "input", "output", ">field", ">parameters", ">mult-adds", ">memory")
KEY: Final = (
    "Options: kernel/stride, p padding, d dilation, o output padding, g groups. Field: the receptive field and its "
    "stride, in cells of the input; all, where it is the whole input. Remarks: cells that are never read, uneven "
    "overlap, and where the receptive field ends."
)
INDENT: Final = "    "


@dataclass(frozen=True)
class NodeSize:
    """The sizes of one node. What is unknown is ``None``.

    Attributes:
        name, operator: of the node.
        inputs, outputs: shapes, without those of constants.
        options: those of a convolution or pool, in short: ``7x7/2 p3``.
        coverage, risks: messages of the cautions of ``sizes``.
        field: the size of the receptive field along each axis on which it is not global.
        jump: the effective stride along these axes.
        sees_all: whether the receptive field is global along all axes.
        field_ends: why the receptive field is unknown here, though those of the inputs are known; else empty.
        parameters: the number of trainable elements, counted at the first node that reads them.
        shared: the number of those it reads that an earlier node has read: they are not counted again.
        multiply_adds: their number for one forward pass.
        bytes: of the outputs; 0 for a constant.
        constant: whether the node depends on no input.
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
    field_ends: str
    parameters: int
    shared: int
    multiply_adds: int | None
    bytes: int | None
    constant: bool


@dataclass(frozen=True)
class NetSizes:
    """The sizes of all nodes, and totals. What is unknown is ``None``.

    Attributes:
        model: the name of the model.
        nodes: the sizes of each node.
        counted_for: the numbers for symbolic sizes that costs are counted for.
        parameters, parameter_bytes: of what training changes: running statistics do not count.
        multiply_adds: of the operators that have a rule for them.
        uncounted: other operators that multiply and add much, and how many nodes have them.
        bytes: of all outputs.
        peak: the largest memory of live values at one time, in bytes, where nodes run in their order, each output has
            memory of its own, and weights are not counted.
        peak_at: the node that runs then.
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

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return "".join(self.tables())

    def tables(self) -> tuple[str, str]:
        """The nodes, and the totals, as HTML."""
        rows = [row for row in self.nodes if not row.constant]
        cells = [(*_cells(row, None), "; ".join(_remarks(row))) for row in rows]
        return html_table(self.model, (*HEADINGS, "remarks"), cells), html_of(lambda: _summary(self, len(rows)))


def sizes_of_model(name: str, surveyor: Surveyor, inputs: Sizes) -> NetSizes:
    """The sizes of every node of an open model, with its inputs of the given sizes.

    Where the batch size is symbolic, costs are those of one example. Raises ``UsageError`` where ``inputs`` do not fit.
    """
    survey = surveyor(inputs)
    batch = _batch(survey)
    one = surveyor(_with_numbers(survey, batch)) if batch else survey
    rows = tuple(_rows(survey, one))
    weights = [_weight(survey, name) for name in _parameters(survey) if name in survey.readers]
    peak, where = _peak(one)
    return NetSizes(
        model=name,
        nodes=rows,
        counted_for=batch,
        parameters=sum(elements for elements, _ in weights),
        parameter_bytes=sum(taken for _, taken in weights),
        multiply_adds=_total(row.multiply_adds for row in rows),
        uncounted=dict(Counter(node.operator for node in survey.nodes if _is_uncounted(node))),
        bytes=_total(row.bytes for row in rows),
        peak=peak,
        peak_at=where,
    )


def _batch(survey: Survey) -> dict[str, int]:
    """A batch of 1, where the leading size of the inputs is symbolic."""
    leading = [shape[0] for name in survey.inputs if (shape := survey.shape(name))]
    return {dim: 1 for dim in leading if isinstance(dim, str)}


def _with_numbers(survey: Survey, known: Mapping[str, int]) -> dict[str, Sequence[int | str]]:
    shapes = {name: survey.shape(name) for name in survey.inputs}
    return {name: [known.get(str(dim), dim) for dim in shape] for name, shape in shapes.items() if shape is not None}


def _rows(survey: Survey, one: Survey) -> Iterator[NodeSize]:
    """The nodes, with the shapes of ``survey`` and the costs of ``one``."""
    (known_fields, ends), parameters, counted = fields_of(one), _parameters(survey), set[str]()
    elements = {name: _weight(survey, name)[0] for name in survey.weights}
    for place, node in enumerate(survey.nodes):
        constant = survey.constants.keys() >= set(node.outputs)
        read = [survey.constants[name] for name in node.inputs if name in survey.constants and not constant]
        used = parameters & frozenset().union(*read)
        own, again = used - counted, used & counted
        counted |= own
        known = spatial(one, place)
        found = cautions(*known) if known else ()
        fields_of_node = known_fields.get(node.outputs[0], ()) if node.outputs else ()
        local = [*filter(None, fields_of_node[1:])]
        yield NodeSize(
            name=node.name,
            operator=node.full_operator,
            inputs=tuple(survey.shape(name) for name in filter(None, node.inputs) if name not in survey.constants),
            outputs=tuple(map(survey.shape, filter(None, node.outputs))),
            options=_short(operation_of(one, place)),
            coverage=_messages(found, COVERAGE),
            risks=_messages(found, RISKS),
            field=tuple(field.size for field in local),
            jump=tuple(float(field.jump) for field in local),
            sees_all=bool(fields_of_node) and not local,
            field_ends=ends.get(place, ""),
            parameters=sum(map(elements.__getitem__, own)),
            shared=sum(map(elements.__getitem__, again)),
            multiply_adds=0 if constant else multiply_adds(node, one.types, fits=place in one.fitting),
            bytes=_total(_bytes(one, name) for name in filter(None, node.outputs)),
            constant=constant,
        )


def _messages(found: Iterable[Caution], about: Collection[str]) -> tuple[str, ...]:
    return tuple(caution.message for caution in found if caution.about in about)


# -- costs


def _parameters(survey: Survey) -> frozenset[str]:
    """The weights without settings, such as sizes and axes, and without state that has no gradient."""
    states = {
        node.inputs[place]
        for node in survey.nodes
        if (operator := known_operator(node))
        for place in operator.state.values()
        if place < len(node.inputs)
    }
    settings = {name for name, type in survey.types.items() if type.constant is not None}
    return frozenset(survey.weights) - states - settings


def _weight(survey: Survey, name: str) -> tuple[int, int]:
    """The elements of a weight, and their bytes; it is read only if its type is unknown."""
    if (type := survey.types.get(name)) and type.dtype in ITEM_SIZES:
        elements = math.prod(map(int, type.shape))
        return elements, elements * ITEM_SIZES[type.dtype]
    return survey.weights[name].size, survey.weights[name].nbytes


def _is_uncounted(node: Node) -> bool:
    """True if a node multiplies and adds much, but its operator has no rule for the number."""
    operator = known_operator(node)
    return family(node.operator, node.domain) == "linear" and (operator is None or operator.multiply_adds is None)


def _product(*shapes: Shape | None) -> int | None:
    """The product of all sizes of all shapes; ``None`` where one is unknown."""
    numbers = [static(shape) if shape is not None else None for shape in shapes]
    known = [number for number in numbers if number is not None]
    return math.prod(map(math.prod, known)) if len(known) == len(numbers) else None


def _bytes(survey: Survey, name: str) -> int | None:
    """The bytes of the elements of a value; 0 where it depends on no input, ``None`` where unknown."""
    elements = 0 if name in survey.constants else _product(survey.shape(name))
    try:
        return elements and elements * np.dtype(survey.types[name].dtype).itemsize
    except TypeError:  # A type that numpy lacks.
        return None


def _total(counts: Iterable[int | None]) -> int | None:
    """The sum; ``None`` where a count is unknown."""
    found = [*counts]
    known = [count for count in found if count is not None]
    return sum(known) if len(known) == len(found) else None


def _peak(survey: Survey) -> tuple[int | None, str]:
    """The largest memory of live values in bytes, and the node that then runs."""
    last = {name: place for place, node in enumerate(survey.nodes) for name in node.inputs}
    last.update(dict.fromkeys(survey.outputs, len(survey.nodes)))
    alive = {name: _bytes(survey, name) for name in survey.inputs}
    peak, where = _total(alive.values()), ""
    for place, node in enumerate(survey.nodes):
        alive.update({name: _bytes(survey, name) for name in node.outputs if name})
        now = _total(alive.values())
        if now is None or peak is None:
            return None, ""
        if now > peak:
            peak, where = now, node.name
        alive = {name: count for name, count in alive.items() if last.get(name, -1) > place}
    return peak, where


# -- in words


def _short(operation: Operation | None) -> str:
    """``7x7/2 p3``: kernel, stride, padding, dilation, output padding and groups, without defaults."""
    if operation is None:
        return ""
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
    """``/2``, ``/2x1``; empty where all are ``usual``."""
    return "" if all(value == usual for value in values) else sign + _alike(values)


def as_text(net: NetSizes, width: int | None = None) -> str:
    """The sizes as text: a table without constant nodes, and totals.

    Names of nodes are shortened from the left where that keeps lines within ``width``.
    """
    rows = [row for row in net.nodes if not row.constant]
    lines = _table(rows).splitlines()
    over = max(map(len, lines)) - width if width else 0
    if over > 0:
        lines = _table(rows, max(SHORTEST, max(len(row.name) for row in rows) - over)).splitlines()
    head, body = lines[: len(lines) - len(rows)], lines[len(lines) - len(rows) :]
    room = width - len(INDENT) if width else 0
    below = ([INDENT + part for text in _remarks(row) for part in wrapped(printable(text), room)] for row in rows)
    return "\n".join([*head, *(line for pair in zip(body, below, strict=True) for line in (pair[0], *pair[1]))]) + (
        f"\n\n{_summary(net, len(rows))}"
    )


def _remarks(row: NodeSize) -> Iterator[str]:
    """The remarks on a node, which stand below its line."""
    yield from (*row.coverage, *row.risks)
    if row.field_ends:
        yield f"the receptive field ends here: {row.field_ends}"


def as_page(net: NetSizes, title: str = "", code: str = "") -> bytes:
    """The sizes as an HTML file, below code."""
    named = replace(net, model=title or PurePath(net.model).name)
    parts = [html_code(code)] if code else []
    return html_page(named.model, *parts, html_of(lambda: KEY), *named.tables())


def as_json(net: NetSizes) -> dict[str, Any]:
    """The sizes as JSON."""
    return asdict(net)


def _table(rows: Iterable[NodeSize], longest: int | None = None) -> str:
    return Table(*HEADINGS).lines(_cells(row, longest) for row in rows)


def _cells(row: NodeSize, longest: int | None) -> tuple[str, ...]:
    name = row.name
    if longest is not None:  # The end of a long name says more than its beginning.
        name = name.removesuffix(f"/{row.operator}") or name
        name = name if len(name) <= longest else f"…{name[1 - longest :]}"
    return (
        name,
        f"{row.operator} {row.options}",
        _shapes(row.inputs),
        _shapes(row.outputs),
        _field(row),
        " + ".join([*[f"{row.parameters:,}"] * bool(row.parameters), *[f"({row.shared:,})"] * bool(row.shared)]),
        _big(row.multiply_adds) if row.multiply_adds != 0 else "",
        "?" if row.bytes is None else size(row.bytes),
    )


def _summary(net: NetSizes, shown: int) -> str:
    constant = len(net.nodes) - shown
    left_out = f", and {quantity(constant, 'constant node')}" if constant else ""
    others = ", ".join(f"{count} {name}" for name, count in net.uncounted.items())
    counted = ", ".join(sorted({row.operator for row in net.nodes if row.multiply_adds}))
    of = f", of {counted}" * bool(counted) + f"; not counted: {others}" * bool(others)
    at = f", at {net.peak_at}" if net.peak_at else ""
    alive = "" if net.peak is None else f"; at most {size(net.peak)} at one time, inputs included{at}"
    shared = "; those in brackets are counted at an earlier node" if any(row.shared for row in net.nodes) else ""
    pairs = [
        ("nodes", f"{shown:,}{left_out}"),
        ("parameters", f"{net.parameters:,} ({size(net.parameter_bytes)}){shared}"),
        ("multiply-adds", f"{_big(net.multiply_adds)}{of}"),
        ("memory", f"{'?' if net.bytes is None else size(net.bytes)} for all outputs{alive}"),
        ("counted for", ", ".join(f"{name}={count}" for name, count in net.counted_for.items())),
    ]
    if None in (net.multiply_adds, net.bytes):
        pairs.append(("?", "unknown, as some shapes are: --in sets symbolic sizes of the inputs"))
    if any(is_open(dim) for row in net.nodes for shape in row.outputs for dim in shape or ()):
        pairs.append(("size(node)", "decided by data: known once that node has run"))
    return fields(pairs)


def _shapes(shapes: Sequence[Shape | None]) -> str:
    """``N,3,224,224``, in the notation of ``--in``; equal ones once."""
    texts = Counter("?" if shape is None else ",".join(map(str, shape)) or "scalar" for shape in shapes)
    return " ".join(text if count == 1 else f"{count}*({text})" for text, count in texts.items())


def _field(row: NodeSize) -> str:
    """``435/32``: the size of the receptive field and its effective stride."""
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
