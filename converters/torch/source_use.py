"""The table of operators in PyTorch: one row for each, which writes the expression of a use.

A row is a function of a ``Use``. It is registered by ``row`` or ``formula`` in the module of its family, as the
operators themselves are; what has no row, but a ``lowering`` to operators that have one, needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np

from portable_nn.core.graph import Dim, Node
from portable_nn.operators import Array, OperatorContext, Type, lookup


class Unpacked(str):
    """An expression that gives a tuple of all outputs."""

    __slots__ = ()


Made: TypeAlias = str | Unpacked | Sequence[str]
"""The expression of the first output, of all of them, or one for each."""


class Writer(Protocol):
    """The module that is being written, as rows use it."""

    def tensor(self, name: str) -> str:
        """The expression of a value, a tensor."""

    def dim(self, dim: Dim) -> str:
        """The expression of a size. Raises ``RefusalError`` where it is not known."""

    def helper(self, name: str) -> str:
        """The name of a function of ``source_helpers``, which is written into the source."""

    def constant(self, value: Array) -> str:
        """The expression of a constant tensor."""

    def statement(self, wish: str, expression: str) -> str:
        """The name of a new variable for an expression."""

    def note_sequence(self, name: str, expression: str) -> None:
        """Note the (steps, batch, features) that an output Y of a recurrent layer is in PyTorch."""

    def assign(self, name: str, expression: str) -> None:
        """Give a value of an earlier node, which the rest of a layer makes."""

    def is_parameter(self, name: str) -> bool:
        """True if a value is a parameter."""

    def is_trained(self, name: str) -> bool:
        """True if a value is a parameter that training changes."""

    @property
    def device(self) -> str:
        """The expression of the device to make tensors on."""


class Use(OperatorContext):
    """A use of an operator, as its row sees it."""

    def __init__(self, node: Node, types: Mapping[str, Type], writer: Writer) -> None:
        operator = lookup(node.operator, node.domain)
        inputs = [types[name] if name else None for name in node.inputs]
        super().__init__(operator, inputs, node.attributes, len(node.outputs))
        self.node, self.writer = node, writer
        self.made = [types[name] if name else None for name in node.outputs]

    def x(self, index: int = 0) -> str:
        """An input as a tensor."""
        return self.writer.tensor(self.node.inputs[index])

    def xs(self) -> list[str]:
        """All inputs as tensors."""
        return [self.x(index) for index in range(len(self.types))]

    def a(self, index: int = 0) -> str:
        """An input in arithmetic with a tensor: a number where it is a constant scalar."""
        found = self.known(index)
        if found is not None and len(found) == 1 and self.type(index).shape == ():
            return literal(found[0], self.type(index).dtype)
        return self.x(index)

    def known(self, index: int) -> tuple[int | float, ...] | None:
        """The numbers of a constant input, or ``None``."""
        if not self.has(index):
            return None
        found = self.type(index).constant
        return None if found is None or any(isinstance(each, str) for each in found) else found  # type: ignore[return-value]

    def output(self, index: int = 0) -> Type:
        """The type of an output that must be there."""
        found = self.made[index]
        assert found is not None
        return found

    def is_read(self, index: int) -> bool:
        """True if an output is given at all."""
        return index < len(self.made) and self.made[index] is not None

    def dims(self, dims: Iterable[Dim]) -> str:
        """Sizes as a tuple. Raises ``RefusalError`` where one is not known."""
        return listing([self.writer.dim(dim) for dim in dims])

    def rank(self, index: int = 0) -> int:
        """The number of axes of an input."""
        return len(self.type(index).shape)

    def call(self, helper: str, *arguments: object) -> str:
        """The call of a function of ``source_helpers``."""
        return f"{self.writer.helper(helper)}({', '.join(map(str, arguments))})"

    def options(self) -> dict[str, object]:
        """The attributes by name, with their defaults."""
        return {name: self._attribute(name) for name in self.operator.attributes}

    @property
    def device(self) -> str:
        """The option that makes a tensor on the right device."""
        return f"device={self.writer.device}"


Row: TypeAlias = Callable[[Use], Made]

ROWS: Final[dict[str, Row]] = {}
"""The rows by the operators' names."""


def row(*names: str) -> Callable[[Row], Row]:
    """Register a function as the row of operators."""

    def register(function: Row) -> Row:
        ROWS.update(dict.fromkeys(names, function))
        return function

    return register


def formula(name: str, text: str) -> None:
    """Register a row whose expression has ``{0}``, ``{1}`` … in the place of the inputs, ``{name}`` of attributes."""
    ROWS[name] = lambda use: text.format(*_operands(use), **use.options())


def _operands(use: Use) -> list[str]:
    """The inputs, of which constants are numbers where another one is none."""
    tensors = [index for index in range(len(use.types)) if use.known(index) is None]
    return [use.a(index) if tensors else use.x(index) for index in range(len(use.types))]


def literal(value: int | float, dtype: str) -> str:
    """A number in Python: the shortest text that is the same in its element type."""
    if dtype == "bool":
        return str(bool(value))
    if dtype not in ("float16", "float32", "float64"):
        return str(int(value)) if value >= 0 else f"({int(value)})"
    if not np.isfinite(value):
        return f'float("{value}")'
    text = str(np.dtype(dtype).type(value))
    text = repr(float(text))
    return f"({text})" if text.startswith("-") else text


def listing(items: Sequence[str]) -> str:
    """A tuple in Python."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def option(name: str, value: object, usual: object) -> str:
    """``, name=value``, or nothing where the value is the usual one."""
    return "" if value == usual else f", {name}={value!r}"


def torch_dtype(dtype: str) -> str:
    """``torch.float32``."""
    return f"torch.{dtype}"
