"""A node as its row sees it, and what rows write: expressions, numbers, tuples."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from portable_nn.core.dims import PYTHON, spelled
from portable_nn.core.errors import RefusalError, refuse
from portable_nn.core.graph import Dim
from portable_nn.operators import DataDependentShape, OperatorContext, Type


class ArrayUse(OperatorContext):
    """A node, as its row sees it: its types and attributes, and the expressions of its inputs.

    Args:
        use: the node with its types.
        results: the types of its outputs.
        inputs: the expressions of the inputs; ``None`` for one that is left out.
        sizes: the variables of symbolic sizes.
        functions: the functions that its bodies are, by the names of their attributes.
    """

    def __init__(
        self,
        use: OperatorContext,
        results: Sequence[Type],
        inputs: Sequence[str | None],
        sizes: Mapping[str, str],
        functions: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(use.operator, use.types, use.attributes, use.output_count)
        self._inputs, self._sizes, self.results, self._functions = inputs, sizes, results, functions

    def function(self, name: str) -> str:
        """The function that a body is. Raises ``RefusalError`` where the code base has none."""
        return self._functions.get(name) or refuse("its bodies are not written in this code base")

    def zeros(self, shape: str, dtype: str) -> str:
        """An array of zeros, of a shape that is an expression."""
        return f"np.zeros({shape}, np.{'bool_' if dtype == 'bool' else dtype})"

    def x(self, index: int = 0) -> str:
        """The expression of an input that is there."""
        found = self._inputs[index]
        assert found is not None
        return found

    def optional(self, index: int, absent: str = "None") -> str:
        """The expression of an input, or ``absent``."""
        return self.x(index) if self.has(index) else absent

    @property
    def all(self) -> list[str]:
        """The expressions of all inputs."""
        return [self.x(index) for index in range(len(self._inputs))]

    def text(self, template: str) -> str:
        """An expression in which ``{0}`` is the first input, ``{alpha}`` an attribute, and ``{all}`` are all inputs.

        ``{axis}`` is counted from the front, text is in quotes, and what is left out is ``None``.
        """
        values = {name: self.attributes.get(name, known.default) for name, known in self.operator.attributes.items()}
        if "{axis}" in template:
            values["axis"] = self.attribute_axis()
        texts = {name: number(v) if isinstance(v, int | float) else v and in_quotes(v) for name, v in values.items()}
        inputs = [*self._inputs, *[None] * len(self.operator.inputs)]
        return template.format(*inputs, all=", ".join(filter(None, self._inputs)), **texts)

    def several(self, text: str) -> str:
        """An expression of several results, of which the node may have the first alone, or the first ones."""
        if self.output_count == 1:
            return f"{text}[0]"
        return text if self.output_count == len(self.operator.outputs) else f"{text}[:{self.output_count}]"

    def _known(self, index: int, allowed: Collection[str], why: str) -> tuple[Any, ...]:
        try:
            return super()._known(index, allowed, why)
        except DataDependentShape:
            return refuse(f"'{self.operator.input_name(index)}' is computed from data")

    @property
    def rank(self) -> int:
        """The number of axes of the first input."""
        return len(self.type().shape)

    def size(self, dim: Dim) -> str:
        """A size as an expression. Raises ``RefusalError`` for one that no input has."""
        try:
            return spelled(dim, self._sizes, PYTHON)
        except KeyError as error:
            raise RefusalError(f"the size {error} follows from no input") from None

    def knows(self, index: int) -> bool:
        """True if the elements of an integer input are numbers or sizes of the inputs."""
        constant = self.type(index).constant
        if constant is None or not all(isinstance(each, int | str) for each in constant):
            return False
        try:
            return all(bool(self.size(each)) for each in constant if isinstance(each, str)) or True
        except RefusalError:
            return False

    def whole(self, index: int) -> list[str]:
        """The elements of an integer input that are known."""
        return [self.size(each) for each in self.type(index).constant or () if isinstance(each, int | str)]

    def counted(self, index: int) -> str:
        """The elements of a list of whole numbers as an expression of numbers."""
        return f"tuple({self.x(index)}.tolist())"

    def listed(self, index: int) -> str:
        """An integer input as an expression: its numbers where they are known."""
        return tuple_of(self.whole(index)) if self.knows(index) else self.x(index)

    def axes_of(self, index: int, rank: int | None = None) -> tuple[int, ...] | None:
        """The axes that an input gives; ``None`` where it is not there."""
        if not self.has(index):
            return None
        return tuple(self.axis(axis, rank or self.rank) for axis in self.numbers(index))


def in_quotes(value: str) -> str:
    """Python's text in quotes: double ones where that is as simple."""
    found = repr(value)
    return f'"{value}"' if found == f"'{value}'" and '"' not in value else found


def tuple_of(items: Sequence[object]) -> str:
    """Python's tuple of some expressions."""
    return f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"


Write = str | Callable[[ArrayUse], str]


class Row(NamedTuple):
    """An operator as array code.

    Attributes:
        write: the expression, or what makes it; ``{0}`` is the first input, and ``{alpha}`` an attribute.
        says: what it does, for a beginner.
    """

    write: Write
    says: str | Callable[[ArrayUse], str] = ""

    def expression(self, use: ArrayUse) -> str:
        """The expression of a use. Raises ``RefusalError`` or ``InvalidNode``."""
        return self.write(use) if callable(self.write) else use.text(self.write)

    def words(self, use: ArrayUse) -> str:
        """The words for a beginner on what the operator does."""
        return self.says(use) if callable(self.says) else self.says


def number(value: float) -> str:
    """A number as an operand."""
    text = "np.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}np.inf" if math.isinf(value) else repr(value)
    return f"({text})" if text.startswith("-") else text


def array(values: Any, dtype: str) -> str:
    """An array, as numpy is told it."""

    def text(each: Any) -> str:
        return f"[{', '.join(map(text, each))}]" if isinstance(each, list) else number(each).strip("()")

    found = np.asarray(values, dtype)
    if found.size == 0:
        return f"np.zeros({tuple_of(found.shape)}, np.{dtype})"
    listed = found.astype(np.float64 if dtype == "float16" else dtype).tolist()
    if dtype == "float32":
        listed = _shortest(found)
    return f"np.array({text(listed)}, np.{'bool_' if dtype == 'bool' else dtype})"


def _shortest(found: Any) -> Any:
    """Nested lists of float32 as the shortest decimals that mean them."""
    return float(str(found)) if found.ndim == 0 else [_shortest(each) for each in found]
