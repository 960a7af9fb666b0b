"""A node as its row sees it, and what rows write: loops, literals, places in arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.source.c_kernels import KERNELS, in_type, name_of
from portable_nn.converters.source.lowered import Use
from portable_nn.core.dims import product, spelled
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Shape
from portable_nn.operators import OperatorContext

FORMS: Final = {
    "floor": "({0} / {1})",
    "ceil": "(({0} + {1} - 1) / {1})",
    "": "({0} / {1})",
    "min": "({0} < {1} ? {0} : {1})",
    "max": "({0} > {1} ? {0} : {1})",
}
"""The spelling of computed sizes in C, where none is negative."""


C_TYPES: Final[Mapping[str, str]] = {
    "float32": "float", "float64": "double", "bool": "unsigned char",
    "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t",
    "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
}  # fmt: skip
"""The type of C for each element type; there is none for half precision."""


FLOATS: Final = ("float32", "float64")


class CUse(OperatorContext):
    """A node, as its row sees it: the variables of its inputs and outputs, and the lines that it writes.

    Args:
        use: the node.
        inputs: the variable of each input, ``"0"`` for one that is left out.
        outputs: the variable of each output; ``""`` for one that is not needed.
        sizes: the variables of symbolic sizes.
        constants: which inputs are the same in every run, with their elements.
    """

    def __init__(
        self,
        use: Use,
        inputs: Sequence[str],
        outputs: Sequence[str],
        sizes: Mapping[str, str],
        constants: Mapping[int, Any],
    ) -> None:
        context = use.context
        super().__init__(context.operator, context.types, context.attributes, context.output_count)
        self.x, self.y, self.sizes, self.constants, self.results = inputs, outputs, sizes, constants, use.results
        names = [f"x{place}" if type else None for place, type in enumerate(context.types)]
        self.array = ArrayUse(context, use.results, names, sizes)
        self.lines = list[str]()
        self.kernels = set[tuple[str, str]]()
        self.scratch: tuple[str, Dim] | None = None
        self.aliases = False

    def size(self, dim: Dim) -> str:
        """A size as an expression. Raises ``RefusalError`` for one that no input has."""
        try:
            return spelled(dim, self.sizes, FORMS)
        except KeyError as error:
            raise RefusalError(f"the size {error} follows from no input") from None

    def count(self, dims: Sequence[Dim]) -> str:
        """The product of sizes."""
        found = product(dims)
        text = self.size(found)
        return text if isinstance(found, int) or text.isidentifier() else f"({text})"

    def around(self, axis: int) -> tuple[str, str, str]:
        """The sizes of the first input before an axis, along it, and behind it."""
        shape = self.type().shape
        return self.count(shape[:axis]), self.count(shape[axis : axis + 1]), self.count(shape[axis + 1 :])

    def call(self, kernel: str, *arguments: object, dtype: str = "") -> None:
        """Call a function of ``KERNELS``."""
        dtype = dtype or self.float_type()
        self.kernels.add((kernel, dtype))
        self.lines.append(f"{name_of(kernel, dtype)}({', '.join(map(str, arguments))});")

    def code(self, text: str, dtype: str = "") -> str:
        """An expression that is written for ``float``, for the type of the node; notes the functions that it calls."""
        dtype = dtype or self.type().dtype
        if dtype in FLOATS:
            self.kernels |= {(name, dtype) for name in KERNELS if re.search(rf"\b{name}\(", text)}
        return in_type(text, dtype)

    def float_type(self) -> str:
        """The float type of the node."""
        found = self.type().dtype
        if found not in FLOATS:
            raise RefusalError(f"for {found} it is not written")
        return found

    def scratch_of(self, count: Dim) -> str:
        """Work memory of so many numbers of the node's type."""
        self.scratch = ("scratch", count)
        return "scratch"

    def over(self, shape: Shape, write: Callable[[Sequence[str]], str]) -> None:
        """Nested loops over all elements of ``shape``; ``write`` makes the statement from the index variables."""
        names = [f"i{axis}" for axis in range(len(shape))]
        self.lines += loops([(name, self.size(dim)) for name, dim in zip(names, shape, strict=True)], write(names))

    def place(self, shape: Shape, indices: Sequence[str], *, broadcasts: bool = True) -> str:
        """The place of an element in an array of ``shape``, which ``broadcasts`` against the axes of ``indices``."""
        terms = list[str]()
        for axis, dim in enumerate(shape):
            index = indices[len(indices) - len(shape) + axis]
            stride = product(shape[axis + 1 :])
            if (dim != 1 or not broadcasts) and index != "0":
                terms.append(index if stride == 1 else f"{bracketed(index)} * {bracketed(self.size(stride))}")
        return " + ".join(terms) or "0"


def bracketed(text: str) -> str:
    """An operand of a product."""
    return text if text.isalnum() or text.isidentifier() else f"({text})"


def loops(ranges: Sequence[tuple[str, str]], *statements: str) -> list[str]:
    """Nested loops from 0 around statements, without those that run once."""
    kept = [each for each in ranges if each[1] != "1"]
    body = [_without({name for name, end in ranges if end == "1"}, line) for line in statements]
    if not kept:
        return body if len(body) == 1 else ["{", *(f"    {line}" for line in body), "}"]
    lines = [
        f"{'    ' * depth}for (int {name} = 0; {name} < {_plain(end)}; ++{name})"
        for depth, (name, end) in enumerate(kept)
    ]
    margin, is_block = "    " * len(kept), len(body) > 1
    closing = [f"{margin[4:]}}}"] if is_block else []
    return [*lines[:-1], lines[-1] + " {" * is_block, *(f"{margin}{line}" for line in body), *closing]


def _plain(text: str) -> str:
    """An expression without brackets around it."""
    inside = text[1:-1]
    return inside if text.startswith("(") and text.endswith(")") and not set(inside) & set("()") else text


def _without(indices: Collection[str], line: str) -> str:
    """A line in which index variables that are always 0 are left out."""
    if not indices:
        return line
    line = re.sub(rf"\b({'|'.join(indices)})\b", "0", line)
    line = re.sub(r"(?<=\[)0 \* (\([^()]*\)|\w+) \+ ", "", line)
    return re.sub(r" \+ 0 \* (\([^()]*\)|\w+)(?=[ \]])", "", line)


Write = Callable[[CUse], None]
"""An operator in C: writes the lines of a use."""


_SUFFIXES: Final = {"int64": "LL", "uint32": "u", "uint64": "ULL"}


def literal(value: float, dtype: str) -> str:
    """A number exactly, as C99 reads it."""
    if dtype not in FLOATS:
        number = int(value)
        if number == -(2**63):
            return "INT64_MIN"
        return f"{number}{_SUFFIXES.get(dtype, '') if abs(number) > 2**31 - 1 else ''}"
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    text = repr(float(value)) if dtype == "float64" else str(np.float32(value))
    text = text if any(sign in text for sign in ".e") else f"{text}.0"
    return f"{text}f" if dtype == "float32" else text


def bracketed_number(text: str) -> str:
    """A negative number in brackets."""
    return f"({text})" if text.startswith("-") else text


def known_size(dim: Dim) -> int:
    """A size that is a number."""
    if not isinstance(dim, int):
        raise RefusalError("an open number of features")
    return dim
