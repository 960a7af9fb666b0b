"""Sizes that JAX writes as polynomials of names, such as ``2*batch + 1``, as symbols of a graph."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, emit, integers

Size: TypeAlias = Any
"""A number, or one of JAX's symbolic dimensions, which is known by its text."""

_OPERATIONS: Final[Mapping[type[ast.operator], Callable[[Symbol, Symbol], Symbol]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


_CALLS: Final[Mapping[str, Callable[..., Symbol]]] = {
    "floordiv": lambda one, other: emit("Div", one - emit("Mod", one, other), other),  # One that may be negative.
    "mod": lambda one, other: emit("Mod", one, other),
    "max": lambda one, other: emit("Max", one, other),
    "min": lambda one, other: emit("Min", one, other),
    "non_negative": lambda one: emit("Max", one, integers([0])),
}
"""The functions in which JAX writes sizes."""


def is_known(size: Size) -> bool:
    """True if the size is a number."""
    return isinstance(size, int)


def size_symbol(size: Size, names: Mapping[str, Symbol]) -> Symbol:
    """The size as an int64 symbol of one element; ``names`` has those of the names in it.

    Raises ``UsageError`` for an operation on sizes that graphs do not have.
    """
    if is_known(size):
        return integers([size])
    return _value(ast.parse(str(size).replace("^", "**"), mode="eval").body, str(size), names)


def _value(tree: ast.expr, text: str, names: Mapping[str, Symbol]) -> Symbol:
    match tree:
        case ast.Constant(value=int(number)):
            return integers([number])
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner, text, names)
        case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=int(power))):
            found = factor = _value(base, text, names)
            for _ in range(power - 1):
                found = found * factor
            return found
        case ast.BinOp(left=one, op=how, right=other) if type(how) in _OPERATIONS:
            return _OPERATIONS[type(how)](_value(one, text, names), _value(other, text, names))
        case ast.Call(func=ast.Name(id=name), args=args) if name in _CALLS:
            return _CALLS[name](*(_value(each, text, names) for each in args))
    raise UsageError(f"the size {text} has no counterpart in a graph")
