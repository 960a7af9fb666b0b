"""Operators that compute element by element, in C."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from portable_nn.converters.source.c_operators.use import (
    C_TYPES,
    FLOATS,
    CUse,
    Row,
    Write,
    bracketed_number,
    literal,
    loops,
)
from portable_nn.core.dims import product


def _elements(template: str) -> Write:
    """A row of one expression: ``{0}`` is the first operand, ``{alpha}`` an attribute."""

    def write(use: CUse) -> None:
        dtype = use.type().dtype
        if re.search(r"\w\(", template):
            use.float_type()
        options = {
            name: bracketed_number(literal(value, "float32" if dtype not in FLOATS else dtype))
            for name, known in use.operator.attributes.items()
            if isinstance(value := use.attributes.get(name, known.default), float)
        }
        _elementwise(use, lambda operands: use.code(template, dtype).format(*operands, **options))

    return write


def _elementwise(use: CUse, expression: Callable[[Sequence[str]], str]) -> None:
    """Loops over all elements of the output."""
    out, shapes = use.results[0].shape, [t.shape for t in use.types if t is not None]

    def operands(indices: Sequence[str], *, flat: bool) -> list[str]:
        found = list[str]()
        for place, type in enumerate(use.types):
            assert type is not None
            index = use.place(type.shape, indices) if not flat else indices[0] if type.shape == out else "0"
            if place in use.constants and product(type.shape) == 1:
                found.append(bracketed_number(literal(float(np.ravel(use.constants[place])[0]), type.dtype)))
            else:
                found.append(f"{use.x[place]}[{index}]")
        return found

    if all(shape == out or product(shape) == 1 for shape in shapes):
        use.lines += loops([("i", use.count(out))], f"{use.y[0]}[i] = {expression(operands(['i'], flat=True))};")
    else:
        use.over(out, lambda i: f"{use.y[0]}[{use.place(out, i)}] = {expression(operands(i, flat=False))};")


def _folded(function: str) -> Write:
    """An operator of any number of inputs; ``{0}`` and ``{1}`` are what there is so far and the next."""

    def write(use: CUse) -> None:
        def expression(operands: Sequence[str]) -> str:
            text, *rest = operands
            for each in rest:
                text = use.code(function).format(text, each)
            return text

        _elementwise(use, expression)

    return write


def _mean(use: CUse) -> None:
    use.float_type()
    _elementwise(use, lambda each: f"({' + '.join(each)}) / {literal(len(each), use.type().dtype)}")


def _extreme(name: str, sign: str) -> Write:
    def write(use: CUse) -> None:
        floats = use.type().dtype in FLOATS
        _folded(f"{name}({{0}}, {{1}})" if floats else f"({{0}} {sign} {{1}} ? {{0}} : {{1}})")(use)

    return write


def _clip(use: CUse) -> None:
    def expression(each: Sequence[str]) -> str:
        operands, text = iter(each[1:]), each[0]
        if use.has(1):
            text = use.code("larger({0}, {1})").format(text, next(operands))
        return use.code("smaller({0}, {1})").format(text, next(operands)) if use.has(2) else text

    use.float_type()
    use.types = [each for each in use.types if each is not None]
    names = [name for name in use.x if name != "0"]
    kept = {
        new: use.constants[old]
        for new, old in enumerate(i for i, n in enumerate(use.x) if n != "0")
        if old in use.constants
    }
    lacking = [use.has(1) and use.x[1] != "0", len(use.x) > 2 and use.x[2] != "0"]
    use.x, use.constants = names, kept
    use.has = lambda index: lacking[index - 1]  # type: ignore[method-assign]
    _elementwise(use, expression)


def _pow(use: CUse) -> None:
    use.float_type()
    exponent = use.constants.get(1)
    if exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2:
        _elementwise(use, lambda each: f"{each[0]} * {each[0]}")
    elif use.type(1).dtype != use.type().dtype:
        use.refuse("a power of another type")
    else:
        _elementwise(use, lambda each: use.code("powf({0}, {1})").format(*each))


def _division(use: CUse) -> None:
    use.float_type()
    _elementwise(use, lambda each: f"{each[0]} / {each[1]}")


def _cast(use: CUse) -> None:
    source, target = use.type().dtype, use.results[0].dtype
    if source in FLOATS and target not in (*FLOATS, "bool"):
        _elementwise(use, lambda each: f"({C_TYPES[target]}){use.code('whole({0})').format(each[0])}")
        return
    suffix = "{0} != 0" if target == "bool" else f"({C_TYPES[target]}){{0}}"
    _elementwise(use, lambda each: suffix.format(each[0]))


def _gelu(use: CUse) -> None:
    _elements("gelu_tanh({0})" if use.string("approximate") == "tanh" else "gelu({0})")(use)


def _swish(use: CUse) -> None:
    _elements("{0} * sigmoid({0})" if use.float("alpha") == 1 else "{0} * sigmoid({alpha} * {0})")(use)


ROWS: Final[Mapping[str, Row]] = {
    "Relu": Row(_elements("{0} < 0 ? 0 : {0}"), "negative numbers become 0"),
    "Sigmoid": Row(_elements("sigmoid({0})"), "each number between 0 and 1"),
    "Tanh": Row(_elements("tanhf({0})"), "each number between -1 and 1"),
    "Softplus": Row(_elements("softplus({0})"), "each number above 0"),
    "LeakyRelu": Row(_elements("{0} < 0 ? {alpha} * {0} : {0}"), "negative numbers shrink"),
    "PRelu": Row(_elements("{0} < 0 ? {1} * {0} : {0}"), "negative numbers are multiplied by what was learned"),
    "Elu": Row(_elements("elu({0}, {alpha})"), "negative numbers level off"),
    "Selu": Row(_elements("{gamma} * elu({0}, {alpha})"), "negative numbers level off"),
    "Celu": Row(_elements("{alpha} * elu({0} / {alpha}, 1)"), "negative numbers level off"),
    "HardSigmoid": Row(_elements("hard_sigmoid({0}, {alpha}, {beta})"), "each number from 0 to 1"),
    "HardSwish": Row(_elements("{0} * hard_sigmoid({0}, 1.0f / 6.0f, 0.5f)"), "small numbers fade out"),
    "Swish": Row(_swish, "small numbers fade out"),
    "Mish": Row(_elements("{0} * tanhf(softplus({0}))"), "small numbers fade out"),
    "Softsign": Row(_elements("{0} / (1 + fabsf({0}))"), "each number between -1 and 1"),
    "ThresholdedRelu": Row(_elements("{0} > {alpha} ? {0} : 0"), "small numbers become 0"),
    "Shrink": Row(
        _elements("{0} < -{lambd} ? {0} + {bias} : {0} > {lambd} ? {0} - {bias} : 0"), "numbers near 0 become 0"
    ),
    "Clip": Row(_clip, "numbers are cut at both ends"),
    "Erf": Row(_elements("erff({0})"), "the error function"),
    "Gelu": Row(_gelu, "small numbers fade out"),
    "Neg": Row(_elements("-{0}"), "the sign changes"),
    "Abs": Row(_elements("fabsf({0})"), "without sign"),
    "Exp": Row(_elements("expf({0})"), "e to this power"),
    "Log": Row(_elements("logf({0})"), "the natural logarithm"),
    "Sqrt": Row(_elements("sqrtf({0})"), "the square root"),
    "Reciprocal": Row(_elements("1 / {0}"), "1 divided by it"),
    "Floor": Row(_elements("floorf({0})"), "rounded down"),
    "Ceil": Row(_elements("ceilf({0})"), "rounded up"),
    "Round": Row(_elements("rintf({0})"), "rounded, halves to even numbers"),
    "Sin": Row(_elements("sinf({0})"), "the sine"),
    "Cos": Row(_elements("cosf({0})"), "the cosine"),
    "Tan": Row(_elements("tanf({0})"), "the tangent"),
    "Atan": Row(_elements("atanf({0})"), "the arc tangent"),
    "Not": Row(_elements("!{0}"), "true becomes false"),
    "IsNaN": Row(_elements("{0} != {0}"), "which are no numbers"),
    "Add": Row(_elements("{0} + {1}"), "the sum"),
    "Sub": Row(_elements("{0} - {1}"), "the difference"),
    "Mul": Row(_elements("{0} * {1}"), "the product, number by number"),
    "Div": Row(_division, "the quotient"),
    "Pow": Row(_pow, "a power"),
    "Sum": Row(_folded("{0} + {1}"), "the sum"),
    "Mean": Row(_mean, "the mean of all of them"),
    "Max": Row(_extreme("larger", ">"), "the larger number"),
    "Min": Row(_extreme("smaller", "<"), "the smaller number"),
    "Equal": Row(_elements("{0} == {1}"), "which are equal"),
    "Greater": Row(_elements("{0} > {1}"), "which are larger"),
    "GreaterOrEqual": Row(_elements("{0} >= {1}"), "which are larger or equal"),
    "Less": Row(_elements("{0} < {1}"), "which are smaller"),
    "LessOrEqual": Row(_elements("{0} <= {1}"), "which are smaller or equal"),
    "And": Row(_elements("{0} && {1}"), "both"),
    "Or": Row(_elements("{0} || {1}"), "one of them, or both"),
    "Where": Row(_elements("{0} ? {1} : {2}"), "one or the other"),
    "Cast": Row(_cast, "the same numbers in another type"),
}
