"""Arithmetic, comparisons and activation functions in PyTorch."""

from __future__ import annotations

from functools import reduce
from typing import Final

from portable_nn.converters.torch.source_use import Use, formula, literal, row, torch_dtype
from portable_nn.operators import FLOATS, ONNX_DTYPES

_ALIKE: Final = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor IsNaN Log
    Reciprocal Round Sigmoid Sign Sin Sinh Sqrt Tan Tanh
"""
"""Operators whose names in small letters are those of functions of PyTorch."""

for _name in _ALIKE.split():
    formula(_name, f"torch.{_name.lower()}({{0}})")

formula("Det", "torch.linalg.det({0})")
formula("Identity", "{0}")
formula("StopGradient", "{0}.detach()")
formula("Neg", "-{0}")
formula("Not", "~{0}")

formula("Add", "{0} + {1}")
formula("Sub", "{0} - {1}")
formula("Mul", "{0} * {1}")
formula("And", "{0} & {1}")
formula("Or", "{0} | {1}")
formula("Xor", "{0} ^ {1}")
formula("BitwiseAnd", "{0} & {1}")
formula("BitwiseOr", "{0} | {1}")
formula("BitwiseXor", "{0} ^ {1}")
formula("Less", "{0} < {1}")
formula("LessOrEqual", "{0} <= {1}")
formula("Greater", "{0} > {1}")
formula("GreaterOrEqual", "{0} >= {1}")
formula("Equal", "{0} == {1}")

formula("Relu", "F.relu({0})")
formula("LeakyRelu", "F.leaky_relu({0}, {alpha!r})")
formula("Elu", "F.elu({0}, {alpha!r})")
formula("Celu", "F.celu({0}, {alpha!r})")
formula("Gelu", "F.gelu({0}, approximate={approximate!r})")
formula("HardSwish", "F.hardswish({0})")
formula("Mish", "F.mish({0})")
formula("Softplus", "F.softplus({0}, threshold=40)")
formula("Softsign", "F.softsign({0})")
formula("ThresholdedRelu", "F.threshold({0}, {alpha!r}, 0.0)")
formula("PRelu", "torch.where({0} < 0, {0} * {1}, {0})")


@row("Div")
def _div(use: Use) -> str:
    if use.output().dtype in FLOATS:
        return f"{use.a(0)} / {use.a(1)}"
    return f'torch.div({use.x(0)}, {use.a(1)}, rounding_mode="trunc")'


@row("Mod")
def _mod(use: Use) -> str:
    return f"torch.{'fmod' if use.int('fmod') else 'remainder'}({use.x(0)}, {use.x(1)})"


_NARROW = ("bool", "uint8", "int8", "int16", "int32", "int64")


@row("BitwiseNot")
def _bitwise_not(use: Use) -> str:
    if use.type().dtype not in _NARROW:
        use.refuse(f"bits of {use.type().dtype}")
    return f"~{use.x()}"


@row("BitShift")
def _bit_shift(use: Use) -> str:
    if use.type().dtype not in _NARROW:
        use.refuse(f"bits of {use.type().dtype}")
    return f"{use.x(0)} {'<<' if use.string('direction') == 'LEFT' else '>>'} {use.x(1)}"


@row("Pow")
def _pow(use: Use) -> str:
    if use.known(1) == (2.0,) and use.type(1).shape == ():
        return f"{use.x(0)} ** 2"
    made = f"{use.x(0)} ** {use.a(1)}"
    same = use.type(0).dtype == use.type(1).dtype
    return made if same else f"({made}).to({torch_dtype(use.output().dtype)})"


@row("Sum", "Mean")
def _sum(use: Use) -> str:
    total = " + ".join(use.xs())
    return total if use.operator.name == "Sum" else f"({total}) / {len(use.types)}"


@row("Max", "Min")
def _extreme(use: Use) -> str:
    function = "maximum" if use.operator.name == "Max" else "minimum"
    return reduce(lambda one, other: f"torch.{function}({one}, {other})", use.xs())


@row("Where")
def _where(use: Use) -> str:
    return f"torch.where({', '.join(use.xs())})"


@row("Clip")
def _clip(use: Use) -> str:
    bounds = {name: index for name, index in (("min", 1), ("max", 2)) if use.has(index)}
    if not bounds:
        return use.x()
    read = use.a if all(use.known(index) is not None for index in bounds.values()) else use.x
    return f"torch.clamp({', '.join([use.x(), *(f'{name}={read(index)}' for name, index in bounds.items())])})"


@row("Cast")
def _cast(use: Use) -> str:
    return _of_type(use, ONNX_DTYPES[use.int("to")])


@row("CastLike")
def _cast_like(use: Use) -> str:
    return _of_type(use, use.type(1).dtype)


def _of_type(use: Use, dtype: str) -> str:
    return use.x() if use.type().dtype == dtype else f"{use.x()}.to({torch_dtype(dtype)})"


@row("HardSigmoid")
def _hard_sigmoid(use: Use) -> str:
    alpha, beta = use.float("alpha"), use.float("beta")
    if abs(alpha - 1 / 6) < 1e-15 and beta == 0.5:
        return f"F.hardsigmoid({use.x()})"
    return f"torch.clamp({use.x()} * {alpha!r} + {beta!r}, 0.0, 1.0)"


@row("Selu")
def _selu(use: Use) -> str:
    alpha, gamma = use.float("alpha"), use.float("gamma")
    if (
        abs(alpha - 1.6732632423543772) < 1e-7
        and abs(gamma - 1.0507009873554805) < 1e-7
        and use.output().dtype == "float32"
    ):
        return f"F.selu({use.x()})"
    return f"{gamma!r} * F.elu({use.x()}, {alpha!r})"


@row("Shrink")
def _shrink(use: Use) -> str:
    bias, limit = use.float("bias"), use.float("lambd")
    if use.output().dtype in FLOATS and bias in (0.0, limit):
        return f"F.{'softshrink' if bias else 'hardshrink'}({use.x()}, {limit!r})"
    return use.call("shrink", use.x(), repr(bias), repr(limit))


@row("Swish")
def _swish(use: Use) -> str:
    alpha = use.float("alpha")
    return f"F.silu({use.x()})" if alpha == 1 else f"{use.x()} * torch.sigmoid({use.x()} * {alpha!r})"


@row("IsInf")
def _is_inf(use: Use) -> str:
    both = use.int("detect_positive"), use.int("detect_negative")
    if both == (0, 0):
        return f"torch.zeros_like({use.x()}, dtype=torch.bool)"
    return f"torch.is{'' if both == (1, 1) else 'pos' if both[0] else 'neg'}inf({use.x()})"


@row("Hardmax")
def _hardmax(use: Use) -> str:
    axis = use.attribute_axis()
    return f"F.one_hot({use.x()}.argmax({axis}), {use.x()}.shape[{axis}]).movedim(-1, {axis}).to({use.x()}.dtype)"


@row("Softmax", "LogSoftmax")
def _softmax(use: Use) -> str:
    name = "softmax" if use.operator.name == "Softmax" else "log_softmax"
    return f"F.{name}({use.x()}, dim={use.int('axis')})"


@row("MatMul")
def _matmul(use: Use) -> str:
    return f"{use.x(0)} @ {use.x(1)}"


@row("Gemm")
def _gemm(use: Use) -> str:
    sides = [f"{use.x(i)}.T" if use.int(f"trans{name}") else use.x(i) for i, name in enumerate("AB")]
    alpha, beta = use.float("alpha"), use.float("beta")
    if use.int("transB") and not use.int("transA") and alpha == 1 and (not use.has(2) or beta == 1):
        bias = f", {use.x(2)}" if use.has(2) and len(use.type(2).shape) == 1 else ""
        if bias or not use.has(2):
            return f"F.linear({use.x(0)}, {use.x(1)}{bias})"
    product = f"{sides[0]} @ {sides[1]}"
    product = product if alpha == 1 else f"{literal(alpha, 'float64')} * ({product})"
    if not use.has(2) or beta == 0:
        return product
    return f"{product} + {use.a(2) if beta == 1 else f'{beta!r} * {use.a(2)}'}"


@row("Einsum")
def _einsum(use: Use) -> str:
    whole = "" if use.output().dtype in FLOATS else f".to({torch_dtype(use.output().dtype)})"
    equation = use.string("equation")
    return f'torch.einsum("{equation}", {", ".join(use.xs())}){whole}'
