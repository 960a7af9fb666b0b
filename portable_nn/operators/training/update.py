"""The steps of optimizers, as operators that update a parameter and its state in place.

Each is the same as the standard operators of its lowering. The kernels go over a parameter in blocks that stay in the
cache: several passes over a block cost little more than one.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    INTERNAL,
    Array,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    register,
)

BLOCK = 32_768
"""Elements in a block: four arrays of them fit the second-level cache."""


def _types(states: int, use: OperatorContext) -> tuple[Type, ...]:
    """Parameter, gradient and state must be of one type, the rest scalars; outputs: the new parameter and state."""
    first = use.type(0)
    use.check_dtype(first.dtype, FLOATS)
    for index in range(1, len(use.types)):
        use.expect(index, first if index < 2 + states else use.like(()))
    return (first,) * (1 + states)


def _blocks(n: KernelContext, inputs: int) -> tuple[list[Step], list[list[Array]]]:
    """Copies to make first, and matching flat blocks of parameter, gradient and state, to be changed in place.

    That is in the memory of the inputs themselves, except where a later node reads those. The last array of each block
    is work memory.
    """
    work = n.scratch((min(BLOCK, n.x[0].size),), n.x[0].dtype)
    copies: list[Step] = []
    flat: list[Array] = []
    for index, x in enumerate(n.x[:inputs]):
        if index == 1:
            array = x if x.flags.c_contiguous else n.scratch(x.shape, x.dtype)
        else:
            array = n.out(max(index - 1, 0), over=index)
        if array is not x:
            copies.append(partial(np.copyto, array, x))
        flat.append(array.reshape(-1))
    starts = range(0, flat[0].size, BLOCK)
    parts = [[array[start : start + BLOCK] for array in flat] for start in starts]
    return copies, [[*arrays, work[: arrays[0].size]] for arrays in parts]


def _momentum(n: KernelContext) -> list[Step]:
    rate, momentum = n.x[3], n.filled((), n.x[0].dtype, n.float("momentum"))
    steps, blocks = _blocks(n, 3)
    for weight, gradient, velocity, temporary in blocks:
        steps += [
            partial(np.multiply, velocity, momentum, out=velocity),
            partial(np.add, velocity, gradient, out=velocity),
        ]
        if n.int("nesterov"):
            steps += [
                partial(np.multiply, velocity, momentum, out=temporary),
                partial(np.add, temporary, gradient, out=temporary),
                partial(np.multiply, temporary, rate, out=temporary),
            ]
        else:
            steps.append(partial(np.multiply, velocity, rate, out=temporary))
        steps.append(partial(np.subtract, weight, temporary, out=weight))
    return steps


def _momentum_lowering(
    weight: Symbol, gradient: Symbol, velocity: Symbol, rate: Symbol, *, momentum: float = 0.9, nesterov: int = 0
) -> tuple[Symbol, ...]:
    velocity = velocity * momentum + gradient
    step = velocity * momentum + gradient if nesterov else velocity
    return weight - step * rate, velocity


def _rmsprop(n: KernelContext) -> list[Step]:
    rate, dtype = n.x[3], n.x[0].dtype
    decay, rest = n.filled((), dtype, n.float("alpha")), n.filled((), dtype, 1 - n.float("alpha"))
    epsilon = n.filled((), dtype, n.float("epsilon"))
    steps, blocks = _blocks(n, 3)
    for weight, gradient, square, temporary in blocks:
        steps += [
            partial(np.multiply, gradient, gradient, out=temporary),
            partial(np.multiply, temporary, rest, out=temporary),
            partial(np.multiply, square, decay, out=square),
            partial(np.add, square, temporary, out=square),
            partial(np.sqrt, square, out=temporary),
            partial(np.add, temporary, epsilon, out=temporary),
            partial(np.divide, gradient, temporary, out=temporary),
            partial(np.multiply, temporary, rate, out=temporary),
            partial(np.subtract, weight, temporary, out=weight),
        ]
    return steps


def _rmsprop_lowering(
    weight: Symbol, gradient: Symbol, square: Symbol, rate: Symbol, *, alpha: float = 0.99, epsilon: float = 1e-8
) -> tuple[Symbol, ...]:
    square = square * alpha + gradient * gradient * (1 - alpha)
    return weight - gradient / (emit("Sqrt", square) + epsilon) * rate, square


def _adam(n: KernelContext) -> list[Step]:
    """Ten passes: the running means are kept as running sums; the rate and ε make up for the scale."""
    rate, epsilon, dtype = n.x[4], n.x[5], n.x[0].dtype
    keep = n.x[6] if n.has(6) else None
    beta1, beta2 = n.filled((), dtype, n.float("beta1")), n.filled((), dtype, n.float("beta2"))
    steps, blocks = _blocks(n, 4)
    for weight, gradient, first, second, temporary in blocks:
        if keep is not None:
            steps.append(partial(np.multiply, weight, keep, out=weight))
        steps += [
            partial(np.multiply, first, beta1, out=first),
            partial(np.add, first, gradient, out=first),
            partial(np.multiply, gradient, gradient, out=temporary),
            partial(np.multiply, second, beta2, out=second),
            partial(np.add, second, temporary, out=second),
            partial(np.sqrt, second, out=temporary),
            partial(np.add, temporary, epsilon, out=temporary),
            partial(np.divide, first, temporary, out=temporary),
            partial(np.multiply, temporary, rate, out=temporary),
            partial(np.subtract, weight, temporary, out=weight),
        ]
    return steps


def _adam_lowering(
    weight: Symbol,
    gradient: Symbol,
    first: Symbol,
    second: Symbol,
    rate: Symbol,
    epsilon: Symbol,
    keep: Symbol | None = None,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
) -> tuple[Symbol, ...]:
    weight = weight if keep is None else weight * keep
    first = first * beta1 + gradient
    second = second * beta2 + gradient * gradient
    return weight - first / (emit("Sqrt", second) + epsilon) * rate, first, second


register(
    Operator(
        "Momentum",
        ("weight", "gradient", "velocity", "rate"),
        partial(_types, 1),
        _momentum,
        None,
        {"momentum": Attr(float, 0.9), "nesterov": Attr(int, 0)},
        outputs=("weight", "velocity"),
        domain=INTERNAL,
        lowering=_momentum_lowering,
        family="arithmetic",
    )
)
register(
    Operator(
        "RMSProp",
        ("weight", "gradient", "square", "rate"),
        partial(_types, 1),
        _rmsprop,
        None,
        {"alpha": Attr(float, 0.99), "epsilon": Attr(float, 1e-8)},
        outputs=("weight", "square"),
        domain=INTERNAL,
        lowering=_rmsprop_lowering,
        family="arithmetic",
    )
)
register(
    Operator(
        "Adam",
        ("weight", "gradient", "first", "second", "rate", "epsilon", "keep?"),
        partial(_types, 2),
        _adam,
        None,
        {"beta1": Attr(float, 0.9), "beta2": Attr(float, 0.999)},
        outputs=("weight", "first", "second"),
        domain=INTERNAL,
        lowering=_adam_lowering,
        family="arithmetic",
    )
)
