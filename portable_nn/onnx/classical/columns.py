"""The inputs of a model of ``ai.onnx.ml`` as the columns of one table, and the words in them as numbers.

Exporters declare one input for each column of a table. A network takes a row, in which a word is its place among the
categories of its column.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from portable_nn.core.errors import UnsupportedError
from portable_nn.core.text import some
from portable_nn.data.raw import STRANGE, Raw
from portable_nn.format.meaning import InputInfo
from portable_nn.onnx.classical.use import Maker, Use
from portable_nn.onnx.library.inference import stated_sizes

NUMBERS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
"""The types of numbers that a column of a table can have."""


class Table:
    """The inputs of a model as one table.

    Args:
        graph: the graph of the model.
        nodes: those of its nodes that are needed.
        where: the file that messages name.
    """

    def __init__(self, graph: GraphProto, nodes: Sequence[NodeProto], where: str) -> None:
        self.make = Maker(graph, 0, where)
        self.inputs = [value for value in graph.input if value.name not in self.make.stored]
        words = [value.name for value in self.inputs if value.type.tensor_type.elem_type == TensorProto.STRING]
        several = self.inputs if words or len(self.inputs) > 1 else []
        columns = {value.name: _columns(value) for value in several}
        self.is_one = bool(several) and all(columns.values())
        if words and not self.is_one:
            raise UnsupportedError(
                where, f"has inputs of strings, {some(words)}, beside such as are no columns (n, count) of a table"
            )
        self.texts, self.columns = set(words), columns if self.is_one else {}
        self.all = [*chain.from_iterable(self.columns.values())]
        for node in nodes:
            self._follow(node)

    def _follow(self, node: NodeProto) -> None:
        """Find what the columns are that a node reads, and which it passes on."""
        read = [name for name in node.input if name in self.columns]
        if not read:
            return
        found, use = self._passed(node), Use(node, self.make)
        reads_words = not self.texts.isdisjoint(read)
        if found is not None and node.output:
            self.columns[node.output[0]] = found
            if reads_words:
                self.texts.add(node.output[0])
        elif node.op_type == "Imputer" and node.domain:
            if reads_words:
                use.refuse("it fills missing words: that is not read")
            for column in self.columns[read[0]]:
                column.missing = "mean"
        elif reads_words:
            _add_categories(use, self.columns[read[0]])

    def _passed(self, node: NodeProto) -> list[Raw] | None:
        """The columns of the output of a node that only moves them."""
        mine = [self.columns.get(name) for name in node.input]
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        match node.op_type:
            case "Identity" | "Reshape" | "Cast":
                return mine[0]
            case "Concat":
                return [*chain.from_iterable(filter(None, mine))] if axis in (1, -1) and None not in mine else None
            case "Gather" | "ArrayFeatureExtractor":
                places = self.make.stored.get(node.input[1]) if len(node.input) == 2 else None
                if places is None or mine[0] is None or (node.op_type == "Gather" and axis not in (1, -1)):
                    return None
                with suppress(IndexError):
                    return [mine[0][at] for at in numpy_helper.to_array(places).reshape(-1).tolist()]
        return None

    @property
    def info(self) -> tuple[InputInfo, ...]:
        """The input as the manifest has it."""
        return (InputInfo(self.name, "table", columns=tuple(each.column for each in self.all)),) if self.is_one else ()

    name = "row"

    def entry(self, names: Iterable[str]) -> ValueInfoProto:
        """The one input, (batch, columns) in float32, under a name that is free."""
        taken = set(names)
        while self.name in taken:
            self.name += "_"
        return helper.make_tensor_value_info(self.name, TensorProto.FLOAT, ["batch", len(self.all)])

    def numbers(self, make: Maker) -> None:
        """Add nodes that make the inputs of the model from the row, words as numbers."""
        for value, part, _ in self._parts(make):
            if value.name in self.texts:
                make.node("Identity", part, name=coded(value.name), output=coded(value.name))
                make.floats.add(coded(value.name))
            else:
                make.cast(part, value.type.tensor_type.elem_type, value.name)

    def originals(self, make: Maker, version: int) -> None:
        """Add nodes that make the inputs of the model from the row, words as they are: for comparison.

        They are those of a ``version`` of ``ai.onnx.ml``.
        """
        for value, part, columns in self._parts(make):
            if value.name not in self.texts:
                make.cast(part, value.type.tensor_type.elem_type, value.name)
                continue
            pieces = [
                _worded(make, part, place, column, f"{value.name}.words", version)
                for place, column in enumerate(columns)
            ]
            make.node("Concat", *pieces, name=f"{value.name}.table", output=value.name, axis=1)

    def _parts(self, make: Maker) -> Iterable[tuple[ValueInfoProto, str, list[Raw]]]:
        start = 0
        for value in self.inputs:
            columns = self.columns[value.name]
            places = make.array(f"{value.name}.places", range(start, start + len(columns)), "int64")
            yield value, make.node("Gather", self.name, places, name=f"{value.name}.part", axis=1), columns
            start += len(columns)


def _add_categories(use: Use, columns: Iterable[Raw]) -> None:
    """Add the words that a node has numbers for to the ``columns`` that it reads."""
    names = {"OneHotEncoder": ("cats_strings",), "LabelEncoder": ("keys_strings", "classes_strings", "keys_tensor")}
    words = next((found for name in names.get(use.node.op_type, ()) if (found := use.texts(name))), ())
    if not words or not use.node.domain:
        use.refuse("it reads words: only those of a OneHotEncoder or LabelEncoder are read, which have a list of them")
    values = use.floats("values_floats", may_be_nan=True)
    gaps = {word for word, value in zip(words, values, strict=False) if np.isnan(value)}
    for column in columns:
        for word in words:
            if word not in gaps:
                column.code(word)
        if gaps:
            column.missing, column.gap = "mean", min(gaps)
        column.unknown = column.unknown if use.integer("zeros", 1) else "refuse"


def _worded(make: Maker, part: str, place: int, column: Raw, name: str, version: int) -> str:
    """The words of a column of numbers (n, columns), at a version of ``ai.onnx.ml``."""
    words = [*column.words] or [STRANGE]
    at = make.array(f"{name}.place", [place], "int64")
    piece = make.node("Gather", part, at, name=f"{name}.piece", axis=1)
    options: dict[str, Any] = {"domain": "ai.onnx.ml", "default_string": STRANGE}
    if version > 1:
        keys = [float(place) for place in range(len(words))]
        found = make.node("LabelEncoder", piece, name=name, keys_floats=keys, values_strings=words, **options)
        if not isinstance(column.gap, str):
            return found
        gap = numpy_helper.from_array(np.array([column.gap], object), f"{name}.gap")
        absent = make.node("IsNaN", piece, name=f"{name}.absent")
        return make.node("Where", absent, make.node("Constant", name=gap.name, value=gap), found, name=f"{name}.either")
    whole = make.cast(piece, TensorProto.INT64)
    rest = make.node("Abs", make.node("Sub", make.cast(whole, TensorProto.FLOAT), piece, name=name), name=name)
    is_whole = make.node("Less", rest, make.array(f"{name}.least", 1e-30), name=name)
    number = make.node("Where", is_whole, whole, make.array(f"{name}.none", -1, "int64"), name=name)
    return make.node("LabelEncoder", number, name=name, classes_strings=words, **options)


def coded(name: str) -> str:
    """The name of the numbers of the words of a value."""
    return f"{name}.index"


def _columns(value: ValueInfoProto) -> list[Raw]:
    """The columns of an input; none where it is no table of numbers or words."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type not in {*NUMBERS, TensorProto.STRING}:
        return []
    sizes = stated_sizes(value) if tensor.HasField("shape") else []
    if len(sizes) != 2 or not isinstance(sizes[1], int) or not 0 < sizes[1] < 2**20:
        return []
    return [Raw(value.name if sizes[1] == 1 else f"{value.name}_{place + 1}") for place in range(sizes[1])]
