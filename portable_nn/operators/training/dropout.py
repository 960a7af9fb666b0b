"""Dropout: noise while training, nothing otherwise (Srivastava et al., JMLR 15, 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from portable_nn.core.dims import product
from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    Attribute,
    GradientContext,
    Interval,
    KernelContext,
    Limit,
    Operator,
    OperatorContext,
    Portability,
    Step,
    Symbol,
    Type,
    cast,
    cellwise_fields,
    constant,
    emit,
    emit_all,
    register,
)


def _type(use: OperatorContext) -> tuple[Type, Type]:
    use.check_dtype(use.type().dtype, FLOATS)
    for index, allowed, wanted in ((1, FLOATS, "one float"), (2, {"bool"}, "one bool")):
        if use.has(index) and (use.type(index).dtype not in allowed or product(use.type(index).shape) != 1):
            use.fail(f"{use.operator.input_name(index)} must be {wanted}, not {use.type(index)}")
    if use.has(2) and use.type(2).constant is None:
        use.fail("training_mode must be a constant: whether elements are dropped is known before it runs")
    return Type(use.type().dtype, use.type().shape), Type("bool", use.type().shape)


def _noise(n: KernelContext, shape: tuple[int, ...]) -> tuple[Array, Step]:
    """Uniform random numbers, drawn in each run; a node with a seed has the sequence of the standard's own tests."""
    if "seed" not in n.attributes:
        noise = n.scratch(shape, np.float32)
        return noise, partial(n.rng.random, dtype=np.float32, out=noise)
    noise, generator = n.scratch(shape, np.float64), np.random.RandomState(n.int("seed") % 2**32)
    return noise, lambda: np.copyto(noise, generator.random_sample(shape))


def _kernel(n: KernelContext) -> list[Step]:
    x = n.x[0]
    if not n.has(2) or not n.x[2]:
        n.view(x)
        n.view(n.filled(x.shape, np.bool_, 1), 1)
        return []
    ratio = n.x[1].reshape(()) if n.has(1) else n.filled((), np.float32, 0.5)
    if n.is_constant(1) and not 0 <= ratio < 1:
        n.fail(f"ratio must be at least 0 and less than 1, not {ratio:g}")
    mask, out = n.out(1), n.out()
    (noise, draw), scale = _noise(n, x.shape), n.scratch((), x.dtype)
    return [
        draw,
        partial(np.greater_equal, noise, ratio, out=mask),
        partial(np.subtract, 1, ratio, out=scale, casting="same_kind"),
        partial(np.reciprocal, scale, out=scale),
        partial(np.multiply, x, mask, out=out),
        partial(np.multiply, out, scale, out=out),
    ]


def _gradient(n: GradientContext) -> list[Symbol | None]:
    absent = [None] * (n.inputs - 1)
    if not n.has(2):
        return [n.dy, *absent]
    if len(n.y) < 2:
        n.fail("its gradient needs its second output, mask")
    ratio = cast(n.x[1], n.dy.dtype) if n.has(1) else constant(0.5, n.dy.dtype)
    scale = emit("Where", n.x[2], 1 / (1 - ratio), ratio * 0 + 1)
    return [n.dy * cast(n.y[1], n.dy.dtype) * scale, *absent]


def _training(inputs: Sequence[Symbol | None], attributes: Mapping[str, Attribute], name: str) -> Sequence[Symbol]:
    """With the random generator of the network, whose state is saved, whatever the seed."""
    data, ratio = inputs[0], inputs[1] if len(inputs) > 1 else None
    return emit_all("Dropout", data, ratio, constant(True, "bool"), outputs=2, name=name)


TRAINING: Final = Limit(
    "training_mode",
    lambda u, _: u.has(2) and u.type(2).constant == (1,) and not (u.has(1) and u.type(1).constant == (0,)),
    "this training mode drops elements at random in each run, and no two runs agree",
    "export the model in evaluation mode, which in PyTorch is model.eval()",
    "error",
)

register(
    Operator(
        "Dropout",
        ("data", "ratio?", "training_mode?"),
        _type,
        _kernel,
        _gradient,
        {"seed": Attr(int)},
        outputs=("output", "mask"),
        training=_training,
        family="normalization",
        receptive=cellwise_fields,
        settings=(1, 2),
        samples={1: Interval(0, 0.9)},
        portability=Portability(limits=(TRAINING,)),
    )
)
