"""Operators on the bits of integers."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.operators.base import (
    INTEGERS,
    REQUIRED,
    Attr,
    Interval,
    OperatorContext,
    Symbol,
    Type,
    cast,
    constant,
    emit,
    integers,
    register,
)
from portable_nn.operators.elementwise.building import arithmetic, broadcast_type, same_type

UNSIGNED = frozenset(dtype for dtype in INTEGERS if dtype.startswith("u"))
_LEAST = -(2**63)


def _shift_type(use: OperatorContext) -> Type:
    use.choice("direction", list(_SHIFTS))
    return broadcast_type(use, UNSIGNED)


_SHIFTS = {"LEFT": np.left_shift, "RIGHT": np.right_shift}


def _bits(x: Symbol) -> Symbol:
    """The 64 bits of an integer in two's complement along a new last axis, the lowest first; each 0 or 1 as int64."""
    whole = cast(x, "int64")
    negative = cast(emit("Less", whole, constant(0, "int64")), "int64")
    rest = emit("Unsqueeze", whole - negative * _LEAST, integers([-1]))
    low = emit("Mod", rest / integers(2**place for place in range(63)), constant(2, "int64"))
    return emit("Concat", low, emit("Unsqueeze", negative, integers([-1])), axis=-1)


def _bit_by_bit(operator: str) -> None:
    """Register an operator of two inputs that combines their bits."""
    ufunc = {"And": np.bitwise_and, "Or": np.bitwise_or, "Xor": np.bitwise_xor}[operator]

    def lowering(a: Symbol, b: Symbol) -> Symbol:
        # And is the product of two bits, Xor the square of their difference, Or the sum of both.
        first, second = _bits(a), _bits(b)
        different = (first - second) * (first - second)
        both = first * second
        bits = {"And": both, "Xor": different}.get(operator, both + different)
        # Each times what it is worth; onnxruntime adds up integers exactly in products of matrices only.
        return cast(bits @ integers([*(2**place for place in range(63)), _LEAST]), a.dtype)

    register(
        arithmetic(
            f"Bitwise{operator}",
            ("A", "B"),
            lambda use: broadcast_type(use, INTEGERS),
            lambda n: partial(ufunc, n.x[0], n.x[1], out=n.out()),
            None,
            outputs=("C",),
            overwrites_input=True,
            keeps_layout=True,
            lowering=lowering,
        )
    )


register(
    arithmetic(
        "BitShift",
        ("X", "Y"),
        _shift_type,
        # numpy shifts all bits out where the standard does.
        lambda n: partial(_SHIFTS[n.string("direction")], n.x[0], n.x[1], out=n.out()),
        None,
        {"direction": Attr(str, REQUIRED)},
        outputs=("Z",),
        overwrites_input=True,
        keeps_layout=True,
        samples={1: Interval(0, 7)},
    )
)
for _operator in ("And", "Or", "Xor"):
    _bit_by_bit(_operator)
register(
    arithmetic(
        "BitwiseNot",
        ("X",),
        same_type(INTEGERS),
        lambda n: partial(np.invert, n.x[0], out=n.out()),
        None,
        outputs=("Y",),
        overwrites_input=True,
        keeps_layout=True,
        # -1 - x, whatever bits lie beyond those of the element type.
        lowering=lambda x: cast(-1 - cast(x, "int64"), x.dtype),
    )
)
