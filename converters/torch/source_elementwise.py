"""Arithmetic and activation functions for which PyTorch has others than array code: ``None`` where it has not."""

from __future__ import annotations

from portable_nn.converters.torch.source_use import Use, literal, option, torch_dtype
from portable_nn.operators import FLOATS

_NARROW = ("bool", "uint8", "int8", "int16", "int32", "int64")


def bits(use: Use) -> str:
    """Bits that change or move."""
    if use.type().dtype not in _NARROW:
        use.refuse(f"bits of {use.type().dtype}")
    if use.operator.name == "BitwiseNot":
        return f"~{use.x()}"
    return f"{use.x()} {'<<' if use.string('direction') == 'LEFT' else '>>'} {use.x(1)}"


def division(use: Use) -> str | None:
    """The quotient of whole numbers is cut."""
    return None if use.type().dtype in FLOATS else use.text('torch.div({0}, {1}, rounding_mode="trunc")')


def power(use: Use) -> str:
    """A power, with a known exponent as a number."""
    found = use.known(1) if use.type(1).shape == () else None
    if found == (2.0,):
        return f"{use.x()} ** 2"
    text = f"{use.x()} ** {literal(found[0], use.type(1).dtype) if found else use.x(1)}"
    return text if use.type(0).dtype == use.type(1).dtype else f"({text}).to({torch_dtype(use.type().dtype)})"


def clip(use: Use) -> str:
    """Numbers between limits: both numbers or both tensors in one call."""
    limits = {name: place for name, place in (("min", 1), ("max", 2)) if use.has(place)}
    options = [f"{name}={use.x(place)}" for name, place in limits.items()]
    if len({use.known(place) is None for place in limits.values()}) > 1:
        return use.x() + "".join(f".clamp({each})" for each in options)
    return f"torch.clamp({', '.join([use.x(), *options])})" if limits else use.x()


def gelu(use: Use) -> str:
    """GELU, exact or by tanh."""
    return f"F.gelu({use.x()}{option('approximate', use.string('approximate'), 'none')})"


def hard_sigmoid(use: Use) -> str:
    """PyTorch's function where it has the same slope."""
    if abs(use.float("alpha") - 1 / 6) < 1e-15 and use.float("beta") == 0.5:
        return f"F.hardsigmoid({use.x()})"
    return use.text("torch.clamp({0} * {alpha} + {beta}, 0.0, 1.0)")


def selu(use: Use) -> str | None:
    """PyTorch's function where it has the same numbers."""
    alpha = use.float("alpha") - 1.6732632423543772
    gamma = use.float("gamma") - 1.0507009873554805
    is_usual = abs(alpha) < 1e-7 and abs(gamma) < 1e-7 and use.type().dtype == "float32"
    return f"F.selu({use.x()})" if is_usual else None


def shrink(use: Use) -> str | None:
    """PyTorch's functions where the rest moves by all of the limit, or not."""
    bias = use.float("bias")
    limit = use.float("lambd")
    is_usual = use.type().dtype in FLOATS and bias in (0.0, limit)
    return f"F.{'softshrink' if bias else 'hardshrink'}({use.x()}, {limit!r})" if is_usual else None


def swish(use: Use) -> str | None:
    """PyTorch's function where the slope is 1."""
    return f"F.silu({use.x()})" if use.float("alpha") == 1 else None


def infinite(use: Use) -> str:
    """Infinity of both signs, of one, or of none."""
    signs = {(1, 1): "", (1, 0): "pos", (0, 1): "neg"}.get((use.int("detect_positive"), use.int("detect_negative")))
    return f"torch.zeros_like({use.x()}, dtype=torch.bool)" if signs is None else f"torch.is{signs}inf({use.x()})"


def gemm(use: Use) -> str | None:
    """PyTorch's linear layer as a function."""
    is_linear = use.int("transB") and not use.int("transA") and use.float("alpha") == 1
    is_biased = use.has(2) and use.float("beta") == 1 and len(use.type(2).shape) == 1
    return use.text("F.linear({all})") if is_linear and (is_biased or not use.has(2)) else None
