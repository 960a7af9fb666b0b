"""An inspection as text, as HTML and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.html import html_table
from portable_nn.core.text import fields, percent, printable, quantity, size, some, table
from portable_nn.inspection.rows import FileRow, InputRow, Inspection, NodeRow, OutputRow, TrainingRow, ValueRow

SHOWN: Final = 20
"""The most labels and notes that are printed."""

SHOWN_TEXT: Final = 1000
"""The most characters of each metadata entry that are printed."""

NO_TENSORS: Final = ("sequence", "map", "optional")
"""The types of values that are no arrays, such as the sequence of a map for each row that a ZipMap makes."""

OPEN: Final = "?      a size that the file leaves open, such as the number of rows, or a value that is no array\n"

NODE_HEADINGS: Final = ("node", "operator", "input", "output", ">parameters", ">bytes")


def as_text(inspection: Inspection) -> str:
    """The inspection as tables, without a newline at the end."""
    found = inspection
    parts = [
        fields(
            [
                ("name", found.name),
                ("file", _file_text(found.file) if found.file else ""),
                ("SHA-256", found.file.sha256 if found.file else ""),
                ("signature", f"{found.file.signature} (not verified)" if found.file and found.file.signature else ""),
                ("digest", found.digest),
                ("written by", found.producer),
                ("opset", str(found.opset or "")),
                ("frozen", f"{found.frozen:,} of {quantity(found.parameters, 'parameter')}" if found.frozen else ""),
                ("training", _training_text(found.training) if found.training else ""),
            ]
        ),
        _tensor_table(found) if found.holds_arrays else table(NODE_HEADINGS, _node_rows(found)),
        "".join([*map(_input_text, found.inputs), *map(_output_text, found.outputs), OPEN * _has_open(found)]),
        _lines(["metadata", *(f"  {key}: {_shortened(text)}" for key, text in found.metadata.items())])
        if found.metadata
        else "",
        _lines(["notes", *(f"  {note}" for note in _first(found.notes, "notes"))]) if found.notes else "",
    ]
    return "\n".join(part for part in parts if part).rstrip("\n")


def _file_text(file: FileRow) -> str:
    beside = some(f"{printable(path)} ({size(count)})" for path, count in file.weights.items())
    more = f", with weights in {beside}, which the SHA-256 does not cover" if beside else ""
    return f"{file.path} ({size(file.bytes)}){more}"


def _has_open(found: Inspection) -> bool:
    shapes = [row.shape for row in (*found.inputs, *found.outputs)]
    shapes += [shape for row in found.nodes for shape in (*row.inputs, *row.outputs)]
    return any("?" in shape for shape in shapes if shape)


def _node_rows(found: Inspection) -> list[tuple[str, ...]]:
    """A row for each node, and the total."""
    total = (quantity(len(found.nodes), "node"), "", "", "", f"{found.parameters:,}", f"{found.bytes:,}")
    return [*map(_cells, found.nodes), total]


def as_brief(found: Inspection) -> str:
    """The size of a network, its inputs and its outputs: one line each."""
    count = f"{quantity(len(found.nodes), 'node')}, {quantity(found.parameters, 'parameter')}"
    lines = [*map(_input_text, found.inputs), *map(_output_text, found.outputs)]
    heads = [line.split("\n")[0] for line in lines]
    return "\n  ".join([printable(f"Network '{found.name}': {count} ({size(found.bytes)})"), *heads])


def as_html(found: Inspection) -> str:
    """A network as HTML for notebooks: ``as_brief`` above a table of its nodes."""
    *rows, total = _node_rows(found)
    return html_table(as_brief(found), NODE_HEADINGS, rows, total)


def _tensor_table(found: Inspection) -> str:
    rows = [(row.name, row.dtype, format_shape(row.shape), f"{row.bytes:,}") for row in found.tensors]
    total = (quantity(len(rows), "tensor"), "", "", f"{found.bytes:,}")
    return table(("tensor", "dtype", "shape", ">bytes"), [*rows, total])


def _training_text(row: TrainingRow) -> str:
    part = f" and batch {row.batch:,} of the next" if row.batch else ""
    return f"stopped after {quantity(row.epoch, 'epoch')}{part}, {quantity(row.step, 'step')} in all"


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}… ({len(text):,} characters)"


def as_json(inspection: Inspection) -> dict[str, Any]:
    """The inspection as data that JSON can hold."""
    return asdict(inspection)


def _cells(row: NodeRow) -> tuple[str, ...]:
    counts = (f"{row.parameters:,}", f"{row.bytes:,}") if row.parameters else ("", "")
    return (row.name, row.operator, _shapes(row.inputs), _shapes(row.outputs), *counts)


def _shapes(shapes: Iterable[Shape | None]) -> str:
    return ", ".join(map(shape_text, shapes))


def shape_text(shape: Shape | None) -> str:
    """``shape`` as messages print it, and ``?`` for an unknown one."""
    return "?" if shape is None else format_shape(shape)


def _input_text(row: InputRow) -> str:
    head = f"input {row.name}: {_type(row)}{'' if row.kind == 'tensor' else f', {row.kind}'}"
    steps = (f"  {place}. {step}" for place, step in enumerate(row.preprocessing, start=1))
    columns = _first(list(map(_column_text, row.columns)), "columns")
    if row.range:
        head += f", made for {row.range[0]:g} to {row.range[1]:g}"
    if row.state:
        head += f", the state that '{row.state}' gives next"
    return _lines([head, *steps, *(f"  {column}" for column in columns)])


def _column_text(column: Mapping[str, Any]) -> str:
    """``area [m²]: 12.5 to 240, mean 81.2``, or ``district: north, south``."""
    text = str(column["name"]) + (f" [{column['unit']}]" if "unit" in column else "")
    if "categories" in column:
        text += ": " + some(column["categories"])
    elif found := column.get("statistics"):
        text += f": {found['minimum']:g} to {found['maximum']:g}, mean {found['mean']:g}"
    if "missing" in column:
        text += f"; missing: {column['missing']}"
    return text + ("; others are allowed" if "unknown" in column else "")


def _output_text(row: OutputRow) -> str:
    head = ", ".join(filter(None, [f"output {row.name}: {_type(row)}", row.kind]))
    more = [
        ("labels", ", ".join(_first(row.labels, "labels"))),
        ("unit" if len(row.units) == 1 else "units", ", ".join(_first(row.units, "units"))),
        ("predicts", row.target if row.target != ", ".join(row.labels) else ""),
        ("trained with", row.loss),
        ("temperature", f"{row.temperature:g}" if row.temperature != 1 else ""),
        ("unsure below", percent(row.threshold) if row.threshold and row.kind != "gaussian" else ""),
        (
            "unsure from a standard deviation of",
            f"{row.threshold:g}" if row.threshold and row.kind == "gaussian" else "",
        ),
    ]
    return _lines([head, *(f"  {name}: {text}" for name, text in more if text)])


def _type(row: ValueRow) -> str:
    if row.dtype in NO_TENSORS:
        return f"{row.dtype}, which has no shape"
    return f"{row.dtype} of unknown shape" if row.shape is None else f"{row.dtype}{format_shape(row.shape)}"


def _first(texts: Sequence[str], what: str) -> list[str]:
    """The first few, and the number of all."""
    return [*texts[:SHOWN], *([f"… ({len(texts):,} {what})"] if len(texts) > SHOWN else [])]


def _lines(lines: Iterable[str]) -> str:
    return "".join(printable(line) + "\n" for line in lines)
