"""A node of ``ai.onnx.ml`` that is translated, and the nodes and arrays that take its place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from portable_nn.core.errors import FormatError, UnsupportedError
from portable_nn.core.tensors import Array
from portable_nn.core.text import either
from portable_nn.onnx.opsets.support import label, names_in
from portable_nn.onnx.storage.tensors import from_tensor
from portable_nn.rewrites.program import Names

Floats = NDArray[np.float32]


class Maker:
    """The nodes and initializers of a model that is made.

    Attributes:
        opset: the version of the standard operators in it.
        where: the file that messages name.
        stored: the initializers of the original model, by name.
        floats: the values that are known to be float32.
        shares: the values whose rows have the sum 1.
        frozen: the initializers that prepare the inputs, which no training changes.
        read: the values of the original model that something reads.
        condition: how much larger the terms of a sum are than the sum, where the model does not add them up itself.
        codes: for a value that holds words, the number of each word in each of its columns.
    """

    def __init__(self, graph: GraphProto, opset: int, where: str) -> None:
        self.opset, self.where = opset, where
        self.names = Names(names_in(graph))
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes, self.arrays = list[NodeProto](), dict[str, TensorProto]()
        self.floats = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.floats |= {x.name for x in graph.input if x.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.shares, self.frozen, self.read = set[str](), set[str](), set[str]()
        self.condition = 1.0
        self._used = set[str]()
        self.codes: dict[str, list[dict[str, int]]] = {}

    def node(self, operator: str, *inputs: str, name: str, output: str = "", **attributes: Any) -> str:
        """A node; its output, by default a new name."""
        output = output or self.names.fresh(name)
        used = self.names.fresh(name) if name in self._used else name
        self._used.add(used)
        self.nodes.append(helper.make_node(operator, inputs, [output], name=used, **attributes))
        return output

    def array(self, wish: str, values: ArrayLike, dtype: str = "float32", *, frozen: bool = False) -> str:
        """An initializer; its name."""
        name = self.names.fresh(wish)
        self.arrays[name] = numpy_helper.from_array(np.ascontiguousarray(values, dtype), name)
        if frozen:
            self.frozen.add(name)
        return name

    def constant(self, wish: str, values: ArrayLike) -> str:
        """A Constant node of float32; its output."""
        name = self.names.fresh(wish)
        value = numpy_helper.from_array(np.asarray(values, np.float32))
        return self.node("Constant", name=name, output=name, value=value)

    def as_float(self, value: str) -> str:
        """``value`` as float32; itself where it is known to be that."""
        return value if value in self.floats else self.cast(value, TensorProto.FLOAT)

    def cast(self, value: str, to: int, output: str = "") -> str:
        """``value`` in another type."""
        made = self.node("Cast", value, name=f"{value}.cast", output=output, to=to)
        if to == TensorProto.FLOAT:
            self.floats.add(made)
        return made

    def largest(self, value: str, name: str) -> str:
        """The largest number along the last axis, which stays, in the form of the model's opset."""
        if self.opset < 18:
            return self.node("ReduceMax", value, name=name, axes=[-1])
        return self.node("ReduceMax", value, self.array(f"{name}.axes", [-1], "int64"), name=name)

    def unsqueezed(self, value: str, name: str) -> str:
        """``value`` with a last axis of size 1."""
        if self.opset < 13:
            return self.node("Unsqueeze", value, name=name, axes=[-1])
        return self.node("Unsqueeze", value, self.array(f"{name}.axes", [-1], "int64"), name=name)


_VALUES: Final = {
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.STRINGS: "strings",
    AttributeProto.TENSOR: "t",
}


class Use:
    """One node of ``ai.onnx.ml``: its attributes, each checked when it is read."""

    def __init__(self, node: NodeProto, maker: Maker) -> None:
        self.node, self.make = node, maker
        self.name = node.name or maker.names.fresh(node.op_type.lower())
        self._attributes = {each.name: each for each in node.attribute}

    def fail(self, reason: str) -> NoReturn:
        """Raise ``FormatError`` that names the node."""
        raise FormatError(self.make.where, f"node '{label(self.node)}' ({self.node.op_type}): {reason}")

    def refuse(self, reason: str) -> NoReturn:
        """Raise ``UnsupportedError`` that names the node."""
        raise UnsupportedError(self.make.where, f"node '{label(self.node)}' ({self.node.op_type}): {reason}")

    def is_read(self, name: str) -> bool:
        """True if a node, or the network's user, reads a value of the original model."""
        return name in self.make.read

    def has(self, name: str) -> bool:
        """True if an attribute is there and not empty."""
        found = self._attributes.get(name)
        if found is None or found.type not in _VALUES:
            return False
        value = getattr(found, _VALUES[found.type])
        return len(value) > 0 if isinstance(value, bytes | str) or hasattr(value, "__len__") else True

    def _get(self, name: str, kind: AttributeProto.AttributeType, default: Any) -> Any:
        found = self._attributes.get(name)
        if found is None:
            return default
        if found.type != kind:
            expected, given = (AttributeProto.AttributeType.Name(each) for each in (kind, found.type))
            self.fail(f"attribute '{name}' must be {expected}, and is {given}")
        return getattr(found, _VALUES[kind])

    def floats(self, name: str, count: int | None = None, *, may_be_nan: bool = False) -> Floats:
        """A list of floats, all finite, and ``count`` of them."""
        found = np.array(self._get(name, AttributeProto.FLOATS, ()), np.float32)
        if not (may_be_nan or np.isfinite(found).all()):
            self.fail(f"attribute '{name}' holds NaN or infinity")
        if count is not None and len(found) != count:
            self.fail(f"attribute '{name}' must have {count} numbers, and has {len(found)}")
        return found

    def ints(self, name: str) -> list[int]:
        """A list of whole numbers."""
        return list(self._get(name, AttributeProto.INTS, ()))

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._text(name, each) for each in self._get(name, AttributeProto.STRINGS, ()))

    def text(self, name: str, default: str) -> str:
        """A text."""
        return self._text(name, self._get(name, AttributeProto.STRING, default.encode()))

    def number(self, name: str, default: float) -> float:
        """A float."""
        return float(self._get(name, AttributeProto.FLOAT, default))

    def integer(self, name: str, default: int) -> int:
        """A whole number."""
        return int(self._get(name, AttributeProto.INT, default))

    def tensor(self, name: str) -> Array | None:
        """A tensor, flat; ``None`` where there is none, or one of strings."""
        found = self._get(name, AttributeProto.TENSOR, None)
        if found is None or found.data_type == TensorProto.STRING:
            return None
        return from_tensor(found, self.make.where, f"attribute '{name}'").reshape(-1)

    def words(self, name: str) -> tuple[str, ...]:
        """A tensor of strings; empty where there is none."""
        found = self._get(name, AttributeProto.TENSOR, None)
        if found is None or found.data_type != TensorProto.STRING:
            return ()
        if math.prod(found.dims) != len(found.string_data):
            self.fail(f"attribute '{name}' is damaged: its shape and its {len(found.string_data)} texts do not fit")
        return tuple(self._text(name, each) for each in found.string_data)

    def _text(self, name: str, value: bytes) -> str:
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            self.fail(f"attribute '{name}' is not text in UTF-8: {value[:20]!r}")

    def one_of(self, name: str, default: str, allowed: Collection[str], why: str = "") -> str:
        """A text that is one of those that are translated."""
        found = self.text(name, default)
        if found not in allowed:
            self.refuse(f"{name} {found} is not supported{why}; {either(allowed)} is")
        return found

    def classes(self) -> tuple[str, ...]:
        """The labels of the classes, as text."""
        ints = ("classlabels_ints", "classlabels_int64s")
        found = self.strings("classlabels_strings") or tuple(str(each) for name in ints for each in self.ints(name))
        if not found:
            self.fail("it has no labels of classes")
        return self._once("it has labels", found)

    def categories(self, *names: str) -> Array | None:
        """The numbers of the words of an attribute: (categories,), or (columns, categories) where columns differ.

        ``None`` where none of the attributes ``names`` holds words.
        """
        words = next((found for name in names if (found := self.texts(name))), ())
        if not words:
            return None
        known = self.make.codes.get(self.node.input[0])
        if known is None:
            self.refuse("it reads words that are not those of an input")
        rows = [[columns.get(word, math.nan) for word in words] for columns in known]
        return np.array(rows[0] if all(row == rows[0] for row in rows) else rows, np.float32)

    def texts(self, name: str) -> tuple[str, ...]:
        """The words in an attribute, a list or a tensor; empty where it holds none."""
        found = self._attributes.get(name)
        if found is None or found.type not in (AttributeProto.STRINGS, AttributeProto.TENSOR):
            return ()
        words = self.strings(name) if found.type == AttributeProto.STRINGS else self.words(name)
        return self._once(f"attribute '{name}' has texts", words)

    def _once(self, what: str, found: tuple[str, ...]) -> tuple[str, ...]:
        if twice := [each for each, times in Counter(found).items() if times > 1]:
            self.fail(f"{what} twice: {', '.join(twice)}")
        return found

    @property
    def x(self) -> str:
        """The first input, as float32."""
        if not self.node.input or not self.node.input[0]:
            self.fail("it has no input")
        return self.make.as_float(self.node.input[0])

    def y(self, place: int = 0) -> str:
        """The name of an output; ``""`` where it is left out."""
        return self.node.output[place] if place < len(self.node.output) else ""

    def emit(self, operator: str, *inputs: str, output: str = "", role: str = "", **attributes: Any) -> str:
        """A node in its place, whose result is float32."""
        name = self.name if not role else f"{self.name}.{role}"
        made = self.make.node(operator, *inputs, name=name, output=output, **attributes)
        self.make.floats.add(made)
        return made

    def frozen(self, role: str, values: ArrayLike) -> str:
        """Numbers that no training changes."""
        return self.make.array(f"{self.name}.{role}", values, frozen=True)

    def weight(self, role: str, values: ArrayLike) -> str:
        """Numbers that training changes."""
        return self.make.array(f"{self.name}.{role}", values)
