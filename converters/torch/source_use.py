"""A node as its row in PyTorch sees it, and what rows write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import numpy as np

from portable_nn.converters.array.use import ArrayUse, tuple_of
from portable_nn.core.graph import Dim, Node, Parameter
from portable_nn.operators import Array, OperatorContext, Type, Types, lookup

Made: TypeAlias = str | Sequence[str]
"""The expression of all outputs, a tuple where there are several; or one for each of the first ones."""

OPERAND: Final = re.compile("«([0-9]+)»")
"""An input in an expression that is being written: its words are replaced before the name of a value stands there."""


class Writer(Protocol):
    """The module that is being written, as rows use it."""

    def tensor(self, name: str) -> str:
        """The expression of a value, a tensor."""

    def dim(self, dim: Dim) -> str:
        """The expression of a size. Raises ``RefusalError`` where it is not known."""

    def constant(self, value: Array) -> str:
        """The expression of a constant tensor."""

    def statement(self, wish: str, expression: str) -> str:
        """The name of a new variable for an expression."""

    def note_sequence(self, name: str, expression: str) -> None:
        """Note the (steps, batch, features) that an output Y of a recurrent layer is in PyTorch."""

    def assign(self, name: str, expression: str) -> None:
        """Give the output of the node that the layer's last operator produces."""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of a name, if it is one."""

    @property
    def device(self) -> str:
        """The expression of the device to make tensors on."""


class Use(ArrayUse):
    """A use of an operator, as its row sees it; inputs are written as ``OPERAND``."""

    def __init__(
        self, node: Node, types: Types, writer: Writer, functions: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        inputs = [types[name] if name else None for name in node.inputs]
        context = OperatorContext(lookup(node.operator, node.domain), inputs, node.attributes, len(node.outputs))
        places = [f"«{place}»" if name else None for place, name in enumerate(node.inputs)]
        results = [types[name] if name else Type("", ()) for name in node.outputs]
        super().__init__(context, results, places, {}, functions)
        self.node, self.writer = node, writer

    def size(self, dim: Dim) -> str:
        """A size as an expression. Raises ``RefusalError`` where it is not known."""
        return self.writer.dim(dim)

    def zeros(self, shape: str, dtype: str) -> str:
        """A tensor of zeros on the right device."""
        return f"torch.zeros({shape}, dtype={torch_dtype(dtype)}, {self.device})"

    def known(self, index: int) -> tuple[int | float, ...] | None:
        """The numbers of a constant input, or ``None``."""
        found = self.type(index).constant if self.has(index) else None
        return None if found is None or any(isinstance(each, str) for each in found) else found  # type: ignore[return-value]

    def number(self, index: int) -> str | None:
        """A constant scalar beside another operand of its type, as a number."""
        found, kind = self.known(index), self.type(index)
        others = [each for place, each in enumerate(self.types) if each and self.known(place) is None]
        is_operand = self.operator.elementwise and kind.shape == () and any(each.dtype == kind.dtype for each in others)
        return literal(found[0], kind.dtype) if found and is_operand else None

    def is_read(self, index: int) -> bool:
        """True if an output is given at all."""
        return index < self.output_count and bool(self.node.outputs[index])

    def dims(self, dims: Iterable[Dim]) -> str:
        """Sizes as a tuple. Raises ``RefusalError`` where one is not known."""
        return tuple_of([self.size(dim) for dim in dims])

    def call(self, helper: str, *arguments: object) -> str:
        """The call of a function of ``source_helpers``."""
        return f"{helper}({', '.join(map(str, arguments))})"

    @property
    def device(self) -> str:
        """The option that makes a tensor on the right device."""
        return f"device={self.writer.device}"


Row: TypeAlias = str | Callable[[Use], Made | None]
"""The expression, or what makes it; ``None`` for one that array code has."""


def literal(value: int | float, dtype: str) -> str:
    """A number in Python: the shortest text that is the same in its element type."""
    if dtype == "bool":
        return str(bool(value))
    if dtype not in ("float16", "float32", "float64"):
        return str(int(value)) if value >= 0 else f"({int(value)})"
    if not np.isfinite(value):
        return f'float("{value}")'
    shortest, limits = float(str(np.dtype(dtype).type(value))), np.finfo(dtype)
    text = repr(min(max(shortest, float(limits.min)), float(limits.max)))  # The largest float32 is shorter, but larger.
    return f"({text})" if text.startswith("-") else text


def option(name: str, value: object, usual: object) -> str:
    """``, name=value``, or nothing where the value is the usual one."""
    return "" if value == usual else f", {name}={value!r}"


def torch_dtype(dtype: str) -> str:
    """``torch.float32``."""
    return f"torch.{dtype}"
