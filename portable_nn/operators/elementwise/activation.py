"""Smooth activation functions, except that of the error function (``gelu``) and those of pieces (``piecewise``).

Where a kernel overflows it divides by the infinity, which is right; clipping that changes no other result keeps 0 · ∞
and ∞ / ∞ from occurring, so that at ±∞ the kernel gives the limit of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from portable_nn.operators import limits
from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    emit,
    like,
    register,
)
from portable_nn.operators.elementwise.blocks import in_blocks, lowest, number
from portable_nn.operators.elementwise.building import same_type

activation = partial(Operator, family="activation", elementwise=True, overwrites_input=True, keeps_layout=True)
"""An activation, with the facts that all of them share."""


def indicator(operator: str, a: Symbol, b: Symbol | float) -> Symbol:
    """1 where a comparison holds and 0 elsewhere, in the element type of ``a``."""
    return cast(emit(operator, a, like(b, a)), a.dtype)


def clip(x: Symbol, low: float | None, high: float | None) -> Symbol:
    """``x`` between two numbers."""
    return emit("Clip", x, *(None if bound is None else like(bound, x) for bound in (low, high)))


@in_blocks()
def _sigmoid(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """1 / (1 + exp(-x)), which keeps the relative precision of small results, as (1 + tanh(x / 2)) / 2 does not."""
    one = number(1, x)
    return [
        partial(np.negative, x, out=out),
        partial(np.exp, out, out=out),
        partial(np.add, out, one, out=out),
        partial(np.divide, one, out, out=out),
    ]


@in_blocks(works=1)
def _softplus(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """max(x, 0) + log1p(exp(-|x|)), which overflows nowhere."""
    [positive] = work
    return [
        partial(np.maximum, x, n.filled_like(x, 0), out=positive),
        partial(np.absolute, x, out=out),
        partial(np.negative, out, out=out),
        partial(np.exp, out, out=out),
        partial(np.log1p, out, out=out),
        partial(np.add, out, positive, out=out),
    ]


def exponential(
    name: str,
    parts: Callable[[OperatorContext], tuple[float, float, float]],
    attributes: dict[str, Attr],
    allowed: frozenset[str],
    portable: Callable[..., Symbol] | None = None,
) -> None:
    """Register an operator that is a·x where x is positive and b·(exp(x / c) - 1) elsewhere; ``parts`` gives a, b, c.

    Clevert et al., ICLR 2016 (Elu); Klambauer et al., NeurIPS 2017 (Selu); Barron, arXiv:1704.07483 (Celu).
    """

    def infer(use: OperatorContext) -> Type:
        use.check_dtype(use.type().dtype, allowed)
        if parts(use)[2] == 0:
            use.fail("attribute 'alpha' must not be 0: x is divided by it")
        return Type(use.type().dtype, use.type().shape)

    @in_blocks(works=1)
    def kernel(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
        (a, b, c), zeros, [below] = parts(n), n.filled_like(x, 0), work
        steps: list[Step] = [partial(np.minimum, x, zeros, out=below)]
        if c != 1:
            steps.append(partial(np.divide, below, number(c, x), out=below))
        steps.append(partial(np.expm1, below, out=below))
        if b != 1:
            steps.append(partial(np.multiply, below, number(b, x), out=below))
        steps.append(partial(np.maximum, x, zeros, out=out))
        if a != 1:
            steps.append(partial(np.multiply, out, number(a, x), out=out))
        return [*steps, partial(np.add, out, below, out=out)]

    def gradient(n: GradientContext) -> Symbol:
        a, b, c = parts(n)
        below = clip(n.x[0], None, 0)
        slope = emit("Exp", below if c == 1 else below / c)
        if a == b / c:  # Then exp(0) is right where x is positive.
            return n.dy * (slope if a == 1 else slope * a)
        return n.dy * (slope * (b / c) + indicator("Greater", n.x[0], 0) * (a - b / c))

    def written(use: OperatorContext) -> Callable[..., Symbol] | None:
        return portable

    register(
        activation(
            name, ("X",), infer, kernel, gradient, attributes, outputs=("Y",), portability=Portability(portable=written)
        )
    )


def _by_elu(x: Symbol, *, alpha: float = 1.0) -> Symbol:
    """Celu, of which tract 0.23 computes other numbers with an alpha other than 1."""
    return emit("Elu", x) if alpha == 1 else emit("Elu", x * (1 / alpha)) * alpha


@in_blocks(works=1)
def _swish(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """x / (1 + exp(-alpha·x)) (Ramachandran et al., arXiv:1710.05941)."""
    [divisor], alpha = work, n.float("alpha")
    # What is divided by infinity must be finite.
    bound, limit = (np.maximum, lowest(x)) if alpha > 0 else (np.minimum, -lowest(x))
    return [
        partial(np.multiply, x, number(-alpha, x), out=divisor),
        partial(np.exp, divisor, out=divisor),
        partial(np.add, divisor, number(1, x), out=divisor),
        partial(bound, x, limit, out=out),
        partial(np.divide, out, divisor, out=out),
    ]


def _swish_gradient(n: GradientContext) -> Symbol:
    """With s = sigmoid(alpha·x): s + alpha·y·(1 - s), where huge numbers only meet a 1 - s that is 0."""
    alpha = n.float("alpha")
    x, y = (n.x[0], n.y[0]) if alpha == 1 else (n.x[0] * alpha, n.y[0] * alpha)
    gate = emit("Sigmoid", x)
    return n.dy * (gate + y * (1 - gate))


def _gated(x: Symbol, *, alpha: float = 1.0) -> Symbol:
    return x * emit("Sigmoid", x if alpha == 1 else x * alpha)


@in_blocks(works=2)
def _mish(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """x · t / (t + 2) with t = exp(x)·(exp(x) + 2), which is x · tanh(log(1 + exp(x))) (Misra, BMVC 2020).

    From ``far`` on, t / (t + 2) is 1; there exp(x) is bounded, so that t stays finite.
    """
    far = math.log(8 / np.finfo(x.dtype).eps) / 2
    t, other = work
    return [
        partial(np.maximum, x, lowest(x), out=out),
        partial(np.minimum, out, number(far, x), out=other),
        partial(np.exp, other, out=other),
        partial(np.add, other, number(2, x), out=t),
        partial(np.multiply, t, other, out=t),
        partial(np.add, t, number(2, x), out=other),
        partial(np.divide, t, other, out=t),
        partial(np.multiply, out, t, out=out),
    ]


@in_blocks(works=1)
def _softsign(n: KernelContext, x: Array, out: Array, work: Sequence[Array]) -> list[Step]:
    """x / (1 + |x|)."""
    [divisor] = work
    return [
        partial(np.clip, x, lowest(x), -lowest(x), out=out),
        partial(np.absolute, out, out=divisor),
        partial(np.add, divisor, number(1, x), out=divisor),
        partial(np.divide, out, divisor, out=out),
    ]


def _softsign_gradient(n: GradientContext) -> Symbol:
    divisor = emit("Abs", n.x[0]) + 1
    return n.dy / (divisor * divisor)


register(
    activation(
        "Sigmoid",
        ("X",),
        same_type,
        _sigmoid,
        lambda n: n.dy * (n.y[0] - n.y[0] * n.y[0]),
        outputs=("Y",),
        probabilities=True,
    )
)
register(
    activation(
        "Tanh",
        ("input",),
        same_type,
        lambda n: partial(np.tanh, n.x[0], out=n.out()),
        lambda n: n.dy * (1 - n.y[0] * n.y[0]),
        portability=Portability(limits=(limits.TANH,)),
    )
)
register(
    activation(
        "Softplus",
        ("X",),
        same_type,
        _softplus,
        lambda n: n.dy * emit("Sigmoid", n.x[0]),
        outputs=("Y",),
        portability=Portability(limits=(limits.SOFTPLUS,)),
    )
)
exponential("Elu", lambda use: (1.0, use.float("alpha"), 1.0), {"alpha": Attr(float, 1.0)}, FLOATS)
exponential(
    "Selu",
    lambda use: (use.float("gamma"), use.float("gamma") * use.float("alpha"), 1.0),
    {"alpha": Attr(float, 1.6732632), "gamma": Attr(float, 1.050701)},
    FLOATS,
)
exponential(
    "Celu",
    lambda use: (1.0, use.float("alpha"), use.float("alpha")),
    {"alpha": Attr(float, 1.0)},
    frozenset({"float32"}),
    _by_elu,
)
register(
    activation(
        "Swish",
        ("X",),
        same_type,
        _swish,
        _swish_gradient,
        {"alpha": Attr(float, 1.0)},
        outputs=("Y",),
        lowering=_gated,
        portability=Portability(substitute=lambda use, opset: _gated),  # onnxruntime 1.32 has no kernel for it.
    )
)
register(
    activation(
        "Mish",
        ("X",),
        same_type,
        _mish,
        "lowering",
        outputs=("Y",),
        lowering=lambda x: x * emit("Tanh", emit("Softplus", x)),
    )
)
register(
    activation(
        "Softsign",
        ("input",),
        same_type,
        _softsign,
        _softsign_gradient,
    )
)
