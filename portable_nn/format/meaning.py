"""The meaning of a network's inputs and outputs: columns and categories, labels, units, calibration, states."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from portable_nn.core.graph import Graph, Shape, Value, format_shape
from portable_nn.core.text import quantity
from portable_nn.preprocessing.steps import Preprocessing

Missing: TypeAlias = Literal["refuse", "mean", "median", "indicator"]
"""The treatment of a missing number: it is refused, or the column's mean or median stands for it.

``indicator`` is the mean, and a further number that says whether one was missing."""

Unknown: TypeAlias = Literal["refuse", "other"]
"""The treatment of a category that the column does not have: it is refused, or becomes -1, which is none of them."""


class Statistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers of a column in the examples that a network was trained on, missing ones left out."""

    minimum: float
    maximum: float
    mean: float
    std: float


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A column of a table: the meaning of one number of an example.

    Attributes:
        name: the heading of the column.
        unit: its unit, or ``""``.
        categories: words that stand in the table; the network gets their index. Empty for numbers.
        unknown: how other words are met, where there are categories.
        missing: how a missing number is met. The network gets NaN for it, unless it is refused.
        statistics: of its numbers, if they are known.
    """

    name: str
    unit: str = ""
    categories: tuple[str, ...] = ()
    unknown: Unknown = "refuse"
    missing: Missing = "refuse"
    statistics: Statistics | None = None


class InputInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The meaning of a graph input.

    Attributes:
        name: the graph input.
        kind: arrays without preprocessing, pictures, or rows of a table.
        preprocessing: the steps from a picture or a row to an example.
        columns: those of a table, one for each number of a row; or empty.
        range: the least and the largest number that the network is made for, if that is known.
        state: the output that is the next value of this input, where the network is run step by step; or ``""``.
        exported: ``float32`` where an ONNX file takes float32 in place of this float64, and computes in it, unless that
            is asked to be otherwise: what a program merely happened to compute in float64.
        context: above 0 where the axis after the batch is that of consecutive rows, such as the echoes of a track, as
            many as there are: how many of them before and after a row its answer takes into account. What has more rows
            than are computed at once is computed in parts, each with so many of the rows around it.
    """

    name: str
    kind: Literal["tensor", "image", "table"] = "tensor"
    preprocessing: Preprocessing = ()
    columns: tuple[Column, ...] = ()
    range: tuple[float, float] | None = None
    state: str = ""
    exported: Literal["same", "float32"] = "same"
    context: int = 0


def columns_of(infos: Sequence[InputInfo]) -> tuple[Column, ...]:
    """The columns of the only input; empty where it is no table with columns, or there are several inputs."""
    return infos[0].columns if len(infos) == 1 else ()


OutputKind: TypeAlias = Literal["values", "logits", "binary_logits", "probabilities", "gaussian"]


class OutputInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The meaning of a graph output.

    Attributes:
        name: the graph output.
        kind: ``values``; ``logits`` (softmax makes them probabilities); ``binary_logits`` (the logistic function does);
            ``probabilities``; or ``gaussian``: the means of normal distributions, then as many logarithms of their
            variances.
        labels: the meaning of each entry of the last dimension, classes or names of numbers (for ``gaussian``, of the
            means), or, where ``binary_logits`` and ``probabilities`` have one entry, the class that it is about, or
            the other one and it; or empty.
        unit: the unit of all entries, or ``""``.
        units: the units of the entries, where they differ; or empty.
        target: what is predicted, such as the heading of a column, or ``""``.
        loss: the loss that the output was trained with, as it is written in a call, or ``""``; ``fit`` uses it again.
        temperature: logits are divided by it before they are made probabilities: a calibration. Probabilities are taken
            for those of logits: softmax makes new ones of their logarithms, divided by it; the logistic function does
            of the log-odds where there is one entry.
        threshold: where no class has this probability, the answer is "unsure", ``"?"``; and for ``gaussian`` where the
            standard deviation of the first number is above it. 0 is for never.
    """

    name: str
    kind: OutputKind = "values"
    labels: tuple[str, ...] = ()
    unit: str = ""
    units: tuple[str, ...] = ()
    target: str = ""
    loss: str = ""
    temperature: float = 1.0
    threshold: float = 0.0

    @property
    def each_unit(self) -> tuple[str, ...]:
        """The unit of each entry that has a label, or empty."""
        return self.units or ((self.unit,) * len(self.labels) if self.unit else ())


def has_floats(inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo]) -> bool:
    """True if an input or an output may hold a float."""
    return any(info.preprocessing or info.columns or info.range for info in inputs) or any(
        info.temperature != 1 or info.threshold != 0 for info in outputs
    )


def meaning_faults(graph: Graph, inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo]) -> Iterator[str]:
    """The contradictions, and the names that ``graph`` does not have. Shapes are compared by ``size_faults``."""
    types = {value.name: value.dtype for value in graph.inputs}
    for info in inputs:
        yield from _input_faults(info, f"input {info.name!r}", types.get(info.name), graph.outputs)
    for state, count in Counter(info.state for info in inputs if info.state).items():
        if count > 1:
            yield f"the output {state!r} is the next value of {count} inputs"
    for output in outputs:
        where = f"output {output.name!r}"
        if not (math.isfinite(output.temperature) and output.temperature > 0):
            yield f"{where}: the temperature must be above 0, not {output.temperature}"
        if not 0 <= output.threshold <= 1:
            yield f"{where}: the threshold must be from 0 to 1, not {output.threshold}"
        if output.unit and output.units:
            yield f"{where} has a unit for all of its entries, and one for each"


def _input_faults(info: InputInfo, where: str, dtype: str | None, outputs: Sequence[str]) -> Iterator[str]:
    if info.columns and info.kind != "table":
        yield f"{where} has columns, but is of the kind {info.kind!r} and no table"
    for name, count in Counter(column.name for column in info.columns).items():
        if count > 1 or not name:
            yield f"{where} has {count} columns named {name!r}"
    for column in info.columns:
        yield from _column_faults(column, f"{where}: column {column.name!r}")
    if info.exported != "same" and dtype not in (None, "float64"):
        yield f"{where} is exported as {info.exported} in place of float64, but is {dtype}"
    if info.range and not (all(map(math.isfinite, info.range)) and info.range[0] <= info.range[1]):
        yield f"{where}: the range {info.range[0]} to {info.range[1]} is none"
    if info.context < 0:
        yield f"{where}: the context must be 0 or more rows, not {info.context}"
    if info.state not in (*outputs, ""):
        yield f"{where} is the state {info.state!r}, which is no output of the graph"


def _column_faults(column: Column, what: str) -> Iterator[str]:
    for word, count in Counter(column.categories).items():
        if count > 1 or not word:
            yield f"{what} has the category {word!r} {count} times" if word else f"{what} has an empty category"
    if column.categories and (column.unit or column.statistics):
        yield f"{what} has categories, and thus neither a unit nor statistics"
    if column.unknown != "refuse" and not column.categories:
        yield f"{what} has no categories that others could be unknown beside"
    if column.statistics and not _consistent(column.statistics):
        yield f"{what}: its statistics are those of no numbers"


def _consistent(found: Statistics) -> bool:
    """True if there are numbers with these statistics, but for what rounding does."""
    low, high = found.minimum, found.maximum
    slack = 1e-6 * max(abs(low), abs(high))
    return low <= high and low - slack <= found.mean <= high + slack and 0 <= found.std <= (high - low) + slack


def texts(inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo]) -> Iterator[tuple[str, str]]:
    """Each text that people read in them, after what it is: no text may hide anything."""
    for info in inputs:
        for column in info.columns:
            names = (column.name, column.unit, *column.categories)
            yield from ((f"input {info.name!r}: the column, unit or category", text) for text in names)
    for output in outputs:
        names = (*output.labels, output.unit, *output.units, output.target, output.loss)
        yield from ((f"output {output.name!r}: the label or unit", text) for text in names)


def size_faults(
    graph: Graph, inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo], shapes: Mapping[str, Shape]
) -> Iterator[str]:
    """The columns, labels and units that are not as many as the entries, and the states that do not fit their
    inputs."""
    values = {value.name: value for value in graph.inputs}
    for info in inputs:
        value = values.get(info.name)
        if value is None:
            continue
        if info.columns and value.shape[1:] != (len(info.columns),):
            columns = quantity(len(info.columns), "column")
            yield f"input {info.name!r} has {columns}, but its shape is {format_shape(value.shape)}"
        if info.context and (len(value.shape) < 3 or isinstance(value.shape[1], int)):
            yield f"input {info.name!r} has rows with a context, but its shape is {format_shape(value.shape)}"
        if info.state and not _follows(shapes.get(info.state), value):
            yield f"input {info.name!r} {format_shape(value.shape)} does not fit its state {info.state!r}"
    for output in outputs:
        shape = shapes.get(output.name, ())
        for what, count in (("labels", len(output.labels)), ("units", len(output.units))):
            if count and not _counts(output, count, shape):
                yield f"output {output.name!r} has {count} {what}, but its shape is {format_shape(shape)}"


def _counts(output: OutputInfo, count: int, shape: Shape) -> bool:
    """True if ``count`` labels or units are what an output of ``shape`` has."""
    if shape[-1:] == (1,) and output.kind in ("binary_logits", "probabilities"):
        return count <= 2
    return shape[-1:] == ((2 * count,) if output.kind == "gaussian" else (count,))


def _follows(shape: Shape | None, value: Value) -> bool:
    """True if ``shape`` can be the shape of ``value``: the same sizes, where both are numbers."""
    if shape is None or len(shape) != len(value.shape):
        return shape is None
    return all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(shape, value.shape, strict=True))
