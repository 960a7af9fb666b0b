"""Operators that compute element by element, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from portable_nn.converters.source.numpy_operators.use import NumpyUse, Row, number
from portable_nn.operators import ONNX_DTYPES


def _folded(function: str) -> Callable[[NumpyUse], str]:
    def write(use: NumpyUse) -> str:
        text, *rest = use.all
        for each in rest:
            text = f"{function}({text}, {each})"
        return text

    return write


def _mean(use: NumpyUse) -> str:
    return f"({' + '.join(use.all)}) / {len(use.all)}"


def _division(use: NumpyUse) -> str:
    a, b = use.all
    return f"{a} / {b}" if use.type().dtype.startswith("float") else f"divided({a}, {b})"


def _pow(use: NumpyUse) -> str:
    base, exponent = use.type(0).dtype, use.type(1).dtype
    text = f"np.power({use.x(0)}, {use.x(1)})"
    return text if base == exponent else f"{text}.astype(np.{base})"


def _mod(use: NumpyUse) -> str:
    return f"np.{'fmod' if use.int('fmod') else 'mod'}({use.x(0)}, {use.x(1)})"


def _clip(use: NumpyUse) -> str:
    if not use.has(1) and not use.has(2):
        return use.x()
    text = use.x()
    if use.has(1):
        text = f"np.maximum({text}, {use.x(1)})"
    if use.has(2):
        text = f"np.minimum({text}, {use.x(2)})"
    return text


def _cast(use: NumpyUse) -> str:
    return f"{use.x()}.astype(np.{_numpy_type(ONNX_DTYPES[use.int('to')])})"


def _numpy_type(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _swish(use: NumpyUse) -> str:
    x = use.x()
    factor = "" if use.float("alpha") == 1 else f"{number(use.float('alpha'))} * "
    return f"{x} * sigmoid({factor}{x})"


def _shrink(use: NumpyUse) -> str:
    x, bias, edge = use.x(), use.float("bias"), use.float("lambd")
    return f"np.where({x} < -{edge}, {x} + {bias}, np.where({x} > {edge}, {x} - {bias}, 0)).astype({x}.dtype)"


def _gelu(use: NumpyUse) -> str:
    return f"gelu{'_tanh' if use.string('approximate') == 'tanh' else ''}({use.x()})"


def _prelu(use: NumpyUse) -> str:
    return f"leaky_relu({use.x()}, {use.x(1)})"


def _shift(use: NumpyUse) -> str:
    return f"np.{use.string('direction').lower()}_shift({use.x()}, {use.x(1)})"


ROWS: Final[Mapping[str, Row]] = {
    "Relu": Row("relu({0})", "negative numbers become 0"),
    "Sigmoid": Row("sigmoid({0})", "each number between 0 and 1"),
    "Tanh": Row("np.tanh({0})", "each number between -1 and 1"),
    "Softplus": Row("softplus({0})", "each number above 0"),
    "LeakyRelu": Row("leaky_relu({0}, {alpha!r})", "negative numbers shrink"),
    "PRelu": Row(_prelu, "negative numbers are multiplied by what was learned"),
    "Elu": Row("elu({0}, {alpha!r})", "negative numbers level off"),
    "Selu": Row("{gamma!r} * elu({0}, {alpha!r})", "negative numbers level off"),
    "Celu": Row("elu({0} / {alpha!r}, 1.0) * {alpha!r}", "negative numbers level off"),
    "HardSigmoid": Row("hard_sigmoid({0}, {alpha!r}, {beta!r})", "each number from 0 to 1"),
    "HardSwish": Row("{0} * hard_sigmoid({0}, 1 / 6, 0.5)", "small numbers fade out"),
    "Swish": Row(_swish, "small numbers fade out"),
    "Mish": Row("{0} * np.tanh(softplus({0}))", "small numbers fade out"),
    "Softsign": Row("softsign({0})", "each number between -1 and 1"),
    "ThresholdedRelu": Row("np.where({0} > {alpha!r}, {0}, 0).astype({0}.dtype)", "small numbers become 0"),
    "Shrink": Row(_shrink, "numbers near 0 become 0"),
    "Clip": Row(_clip, "numbers are cut at both ends"),
    "Erf": Row("erf({0})", "the error function"),
    "Gelu": Row(_gelu, "small numbers fade out"),
    "Softmax": Row(lambda u: f"softmax({u.x()}, {u.attribute_axis()})", "probabilities: positive, and 1 in total"),
    "LogSoftmax": Row(lambda u: f"log_softmax({u.x()}, {u.attribute_axis()})", "logarithms of probabilities"),
    "Hardmax": Row(lambda u: f"hardmax({u.x()}, {u.attribute_axis()})", "1 for the largest number, 0 for the others"),
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
    "Mod": Row(_mod, "the remainder"),
    "Sum": Row(lambda u: " + ".join(u.all), "the sum"),
    "Mean": Row(_mean, "the mean of all of them"),
    "Max": Row(_folded("np.maximum"), "the larger number"),
    "Min": Row(_folded("np.minimum"), "the smaller number"),
    "Equal": Row("{0} == {1}", "which are equal"),
    "Greater": Row("{0} > {1}", "which are larger"),
    "GreaterOrEqual": Row("{0} >= {1}", "which are larger or equal"),
    "Less": Row("{0} < {1}", "which are smaller"),
    "LessOrEqual": Row("{0} <= {1}", "which are smaller or equal"),
    "And": Row("{0} & {1}", "both"),
    "Or": Row("{0} | {1}", "one of them, or both"),
    "Xor": Row("{0} ^ {1}", "one of them, not both"),
    "Where": Row("np.where({0}, {1}, {2})", "one or the other"),
    **{
        name: Row(f"np.{function}({{0}})", function)
        for name, function in (
            ("Sin", "sin"),
            ("Cos", "cos"),
            ("Tan", "tan"),
            ("Sinh", "sinh"),
            ("Cosh", "cosh"),
            ("Asin", "arcsin"),
            ("Acos", "arccos"),
            ("Atan", "arctan"),
            ("Asinh", "arcsinh"),
            ("Acosh", "arccosh"),
            ("Atanh", "arctanh"),
        )
    },
    "Cast": Row(_cast, "the same numbers in another type"),
    "BitShift": Row(_shift, "bits move"),
}
