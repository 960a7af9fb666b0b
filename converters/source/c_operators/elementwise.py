"""Operators that compute element by element, in C: by their formulas."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np

from portable_nn.converters.array import ROWS as ARRAY
from portable_nn.converters.source.c_formulas import Formula
from portable_nn.converters.source.c_operators.use import C_TYPES, FLOATS, CUse, bracketed_number, literal, loops
from portable_nn.core.dims import product


def elements(use: CUse) -> None:
    """Loops over all elements of the output."""
    out, dtype, y = use.results[0].shape, use.type().dtype, use.y[0]
    given = [(place, type) for place, type in enumerate(use.types) if type is not None]
    formula = ast.parse(ARRAY[use.operator.name].expression(use.array), mode="eval").body
    function = (lambda name: use.code(f"{name}(")[:-1]) if dtype in FLOATS else None

    def number(value: float) -> str:
        return bracketed_number(literal(value, dtype))

    def cast(x: str, target: str) -> str:
        if target == "bool":
            return f"{x} != 0"
        if function and target not in FLOATS:
            x = f"{function('whole')}({x})"
        return f"({C_TYPES[target]}){x}"

    def expression(indices: Sequence[str], *, flat: bool) -> str:
        operands = dict[str, str]()
        for place, type in given:
            index = use.place(type.shape, indices) if not flat else indices[0] if type.shape == out else "0"
            operands[f"x{place}"] = f"{use.x[place]}[{index}]"
            if place in use.constants and product(type.shape) == 1:
                operands[f"x{place}"] = bracketed_number(literal(float(np.ravel(use.constants[place])[0]), type.dtype))
        return Formula(operands, number, function, cast, dtype == "bool").expression(formula)

    if all(type.shape == out or product(type.shape) == 1 for _, type in given):
        use.lines += loops([("i", use.count(out))], f"{y}[i] = {expression(['i'], flat=True)};")
    else:
        use.over(out, lambda i: f"{y}[{use.place(out, i)}] = {expression(i, flat=False)};")
