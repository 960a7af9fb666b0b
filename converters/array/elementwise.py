"""Operators that compute element by element: their rows are formulas of numbers, which C reads as well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, number
from portable_nn.operators import ONNX_DTYPES
from portable_nn.operators.narrow import NARROW


def _folded(function: str, use: ArrayUse) -> str:
    text, *rest = use.all
    for each in rest:
        text = f"{function}({text}, {each})"
    return text


def _division(use: ArrayUse) -> str:
    a, b = use.all
    return f"{a} / {b}" if use.type().dtype.startswith("float") else f"divided({a}, {b})"


def _pow(use: ArrayUse) -> str:
    base, exponent = use.type(0).dtype, use.type(1).dtype
    text = f"np.power({use.x(0)}, {use.x(1)})"
    return text if base == exponent else f"{text}.astype(np.{base})"


def _clip(use: ArrayUse) -> str:
    limits = [use.optional(place) for place in (1, 2)]
    return use.x() if limits == ["None", "None"] else f"np.clip({use.x()}, {', '.join(limits)})"


def _cast(use: ArrayUse) -> str:
    code = use.int("to")
    if code in NARROW:
        use.refuse(f"casts to {NARROW[code].name}")
    dtype = ONNX_DTYPES[code]
    return use.x() if use.type().dtype == dtype else f"{use.x()}.astype(np.{numpy_type(dtype)})"


def numpy_type(dtype: str) -> str:
    """The name of an element type in numpy."""
    return "bool_" if dtype == "bool" else dtype


def _swish(use: ArrayUse) -> str:
    x = use.x()
    factor = "" if use.float("alpha") == 1 else f"{number(use.float('alpha'))} * "
    return f"{x} * sigmoid({factor}{x})"


def _shift(use: ArrayUse) -> str:
    return f"np.{use.string('direction').lower()}_shift({use.x()}, {use.x(1)})"


_FUNCTIONS: Final = "Sin Cos Tan Sinh Cosh Asin Acos Atan Asinh Acosh Atanh"


ROWS: Final[Mapping[str, Row]] = {
    "Relu": Row("relu({0})", "negative numbers become 0"),
    "Sigmoid": Row("sigmoid({0})", "each number between 0 and 1"),
    "Tanh": Row("np.tanh({0})", "each number between -1 and 1"),
    "Softplus": Row("softplus({0})", "each number above 0"),
    "LeakyRelu": Row("leaky_relu({0}, {alpha})", "negative numbers shrink"),
    "PRelu": Row("leaky_relu({0}, {1})", "negative numbers are multiplied by what was learned"),
    "Elu": Row("elu({0}, {alpha})", "negative numbers level off"),
    "Selu": Row("{gamma} * elu({0}, {alpha})", "negative numbers level off"),
    "Celu": Row("elu({0} / {alpha}, 1.0) * {alpha}", "negative numbers level off"),
    "HardSigmoid": Row("hard_sigmoid({0}, {alpha}, {beta})", "each number from 0 to 1"),
    "HardSwish": Row("{0} * hard_sigmoid({0}, 1 / 6, 0.5)", "small numbers fade out"),
    "Swish": Row(_swish, "small numbers fade out"),
    "Mish": Row("{0} * np.tanh(softplus({0}))", "small numbers fade out"),
    "Softsign": Row("softsign({0})", "each number between -1 and 1"),
    "ThresholdedRelu": Row("np.where({0} > {alpha}, {0}, 0).astype({0}.dtype)", "small numbers become 0"),
    "Shrink": Row(
        "np.where({0} < -{lambd}, {0} + {bias}, np.where({0} > {lambd}, {0} - {bias}, 0)).astype({0}.dtype)",
        "numbers near 0 become 0",
    ),
    "Clip": Row(_clip, "numbers are cut at both ends"),
    "Erf": Row("erf({0})", "the error function"),
    "Gelu": Row(
        lambda use: f"gelu{'_tanh' if use.string('approximate') == 'tanh' else ''}({use.x()})", "small numbers fade out"
    ),
    "Neg": Row("-{0}", "the sign changes"),
    "Abs": Row("np.abs({0})", "without sign"),
    "Exp": Row("np.exp({0})", "e to this power"),
    "Log": Row("np.log({0})", "the natural logarithm"),
    "Sqrt": Row("np.sqrt({0})", "the square root"),
    "Reciprocal": Row("1 / {0}", "1 divided by it"),
    "Sign": Row("np.sign({0})", "-1, 0 or 1"),
    "Floor": Row("np.floor({0})", "rounded down"),
    "Ceil": Row("np.ceil({0})", "rounded up"),
    "Round": Row("np.round({0})", "rounded, halves to even numbers"),
    "Not": Row("~{0}", "true becomes false"),
    "IsNaN": Row("np.isnan({0})", "which are no numbers"),
    "Add": Row("{0} + {1}", "the sum"),
    "Sub": Row("{0} - {1}", "the difference"),
    "Mul": Row("{0} * {1}", "the product, number by number"),
    "Div": Row(_division, "the quotient"),
    "Pow": Row(_pow, "a power"),
    "Mod": Row(lambda u: f"np.{'fmod' if u.int('fmod') else 'mod'}({u.x(0)}, {u.x(1)})", "the remainder"),
    "Sum": Row(lambda u: " + ".join(u.all), "the sum"),
    "Mean": Row(lambda use: f"({' + '.join(use.all)}) / {len(use.all)}", "the mean of all of them"),
    "Max": Row(partial(_folded, "np.maximum"), "the larger number"),
    "Min": Row(partial(_folded, "np.minimum"), "the smaller number"),
    "Equal": Row("{0} == {1}", "which are equal"),
    "Greater": Row("{0} > {1}", "which are larger"),
    "GreaterOrEqual": Row("{0} >= {1}", "which are larger or equal"),
    "Less": Row("{0} < {1}", "which are smaller"),
    "LessOrEqual": Row("{0} <= {1}", "which are smaller or equal"),
    "And": Row("{0} & {1}", "both"),
    "Or": Row("{0} | {1}", "one of them, or both"),
    "Xor": Row("{0} ^ {1}", "one of them, not both"),
    "BitwiseNot": Row("~{0}", "all bits change"),
    "BitwiseAnd": Row("{0} & {1}", "the bits that both have"),
    "BitwiseOr": Row("{0} | {1}", "the bits that one of them has, or both"),
    "BitwiseXor": Row("{0} ^ {1}", "the bits that one of them has alone"),
    "Where": Row("np.where({0}, {1}, {2})", "one or the other"),
    **{
        name: Row(f"np.{function}({{0}})", function)
        for name in _FUNCTIONS.split()
        for function in [re.sub("^a", "arc", name.lower())]
    },
    "Cast": Row(_cast, "the same numbers in another type"),
    "BitShift": Row(_shift, "bits move"),
}
