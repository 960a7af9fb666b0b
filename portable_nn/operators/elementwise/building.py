"""The registration of operators that work element by element, with broadcasting: of one, two or any number of
inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from portable_nn.core.dims import broadcast
from portable_nn.operators.base import (
    EVERYWHERE,
    FLOATS,
    NUMBERS,
    Constant,
    Gradient,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Step,
    Type,
    format_shape,
    in_wider,
    register,
)

arithmetic = partial(Operator, family="arithmetic", elementwise=True)
"""An operator of this family, element by element."""


def broadcast_type(use: OperatorContext, allowed: frozenset[str], result: str | None = None) -> Type:
    """The type of the inputs, broadcast against each other; they must be of one element type."""
    dtype = use.common_dtype(allowed)
    return Type(result or dtype, broadcast_shape(use, range(len(use.types))))


def broadcast_shape(use: OperatorContext, indices: Iterable[int]) -> Shape:
    """The shape of several inputs, broadcast against each other."""
    shapes = [use.type(index).shape for index in indices]
    shape = broadcast(*shapes)
    if shape is None:
        use.fail(f"the shapes {' and '.join(map(format_shape, shapes))} do not broadcast")
    return shape


def same_type(use: OperatorContext, allowed: frozenset[str] = FLOATS, result: str | None = None) -> Type:
    """The rule of an operator whose output is like its first input; ``result`` is another element type for it."""
    use.check_dtype(use.type().dtype, allowed)
    return Type(result or use.type().dtype, use.type().shape)


def unary(
    name: str,
    function: np.ufunc,
    gradient: Gradient | None,
    allowed: frozenset[str] = FLOATS,
    result: str | None = None,
    names: tuple[str, str] = ("X", "Y"),
    *,
    constant: Constant | None = None,
    samples: Interval | None = None,
    portability: Portability = EVERYWHERE,
    polynomial: bool = False,
) -> None:
    """Register an element-wise operator of one input.

    Args:
        name: its name in the standard.
        function: computes it; with ``out=``.
        gradient: the rule, ``None`` where nothing flows back.
        allowed: the element types of the input.
        result: the element type of the output, where that is another.
        names: the standard's names for its input and output.
        constant: the rule for constant propagation.
        samples: the interval that sample inputs are drawn from, where the domain is limited.
        portability: what runtimes make of it.
        polynomial: it is a polynomial.
    """
    register(
        arithmetic(
            name,
            names[:1],
            lambda use: same_type(use, allowed, result),
            lambda n: partial(function, n.x[0], out=n.out()),
            gradient,
            outputs=names[1:],
            overwrites_input=result is None,
            keeps_layout=result is None,
            constant=constant,
            samples={0: samples} if samples else {},
            portability=portability,
            polynomial=polynomial,
        )
    )


def binary(
    name: str,
    function: np.ufunc,
    gradient: Gradient | None,
    allowed: frozenset[str] = NUMBERS,
    result: str | None = None,
    *,
    constant: Constant,
    affine: bool = False,
) -> None:
    """Register an element-wise operator of two inputs that broadcast; the arguments are those of ``unary``.

    ``affine`` says that the result is a·x + b as a function of either input.
    """
    register(
        arithmetic(
            name,
            ("A", "B"),
            lambda use: broadcast_type(use, allowed, result),
            lambda n: partial(function, n.x[0], n.x[1], out=n.out()),
            gradient,
            outputs=("C",),
            overwrites_input=result is None,
            keeps_layout=result is None,
            constant=constant,
            affine=dict.fromkeys((0, 1), function) if affine else {},
            polynomial=affine,
        )
    )


def variadic(
    name: str,
    function: np.ufunc,
    gradient: Gradient,
    *,
    mean: bool = False,
    constant: Constant | None = None,
    passes: Sequence[int] = (),
) -> None:
    """Register an element-wise operator that folds any number of inputs that broadcast; ``mean`` divides the sum."""

    def infer(use: OperatorContext) -> Type:
        return broadcast_type(use, FLOATS if mean or name == "Sum" else NUMBERS)

    def kernel(n: KernelContext) -> list[Step]:
        out = n.out()
        first = partial(function, n.x[0], n.x[1], out=out) if len(n.x) > 1 else partial(np.copyto, out, n.x[0])
        steps: list[Step] = [first, *(partial(function, out, x, out=out) for x in n.x[2:])]
        if mean:
            steps.append(partial(np.divide, out, out.dtype.type(len(n.x)), out=out))
        return steps

    register(
        arithmetic(
            name,
            ("data_0*",),
            infer,
            kernel,
            gradient,
            outputs=(name.lower(),),
            constant=constant,
            passes=passes,
            polynomial=not passes,
            portability=Portability(substitute=partial(in_wider, name, ("int16", "uint16")) if passes else None),
        )
    )
