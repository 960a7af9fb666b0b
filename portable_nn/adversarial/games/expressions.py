"""Formulas as text, such as ``x0*y1 - 0.1*x0**2``: parsed against a list of allowed syntax, never run as code.

A parsed formula is a function that takes numbers, arrays or symbols.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, emit

Formula: TypeAlias = Callable[[Mapping[str, Any]], Any]

LONGEST: Final = 2000
"""The largest number of characters of a formula."""

DEEPEST: Final = 100
"""The largest depth of its nesting."""

LARGEST_POWER: Final = 64
"""Integer powers up to this one become products, whose derivatives exist everywhere."""


def _function(name: str) -> Callable[[Any], Any]:
    """The function of numpy, which on symbols is the operator of the same name."""
    return lambda value: emit(name.capitalize(), value) if isinstance(value, Symbol) else getattr(np, name)(value)


FUNCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    name: _function(name) for name in ("sin", "cos", "exp", "log", "tanh", "sqrt")
}
"""The functions of formulas; each takes a number, an array or a symbol."""

CONSTANTS: Final[Mapping[str, float]] = {"pi": np.pi, "e": np.e}

_VARIABLE = re.compile(r"([xy])(\d{1,3})?")


class Expression(NamedTuple):
    """A parsed formula: its text, its variables, and the function of their values."""

    text: str
    names: frozenset[str]
    evaluate: Formula


def parse(text: str, variables: str = r"[xy]\d{0,3}") -> Expression:
    """Parse a formula; ``variables`` is a pattern of the names of variables.

    Raises ``UsageError`` that names what is not allowed.
    """
    if len(text) > LONGEST:
        raise UsageError(f"a formula may have at most {LONGEST:,} characters, not {len(text):,}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise UsageError(f"{text!r} is no formula, such as 'x*y' or 'x0*y1 - 0.1*x0**2'") from None
    reader = _Reader(text, re.compile(variables))
    formula = reader.read(tree, 0)
    return Expression(text.strip(), frozenset(reader.names), formula)


def sizes(expression: Expression) -> tuple[int, int]:
    """The numbers of variables of x and of y: 1 for ``x``, else from the highest index of ``x0``, ``x1``, …"""
    found: dict[str, set[int | None]] = {"x": set(), "y": set()}
    for name in expression.names:
        match = _VARIABLE.fullmatch(name)
        assert match is not None
        found[match[1]].add(None if match[2] is None else int(match[2]))
    counts = []
    for player, indices in found.items():
        if not indices:
            raise UsageError(f"'{expression.text}' has no {player}: a game has two players, x and y")
        numbers = {index for index in indices if index is not None}
        if numbers and None in indices:
            both = f"{player} and {player}{min(numbers)}"
            raise UsageError(
                f"'{expression.text}' has both {both}: where there are several, write {player}0 for the first"
            )
        counts.append(max(numbers, default=0) + 1)
    least = min((name for name in expression.names if name[1:]), default="")
    if least and not expression.names & {"x0", "y0"}:
        raise UsageError(f"'{expression.text}' has {least} and no {least[0]}0: write {least[0]}0 for the first")
    return counts[0], counts[1]


def power(base: Any, exponent: Any) -> Any:
    """base^exponent; an integer power as products, whose second derivatives also exist where the base is 0."""
    if not isinstance(exponent, (int, float)) or exponent % 1 or not 0 < exponent <= LARGEST_POWER:
        return _general_power(base, exponent)
    result, square, left = None, base, int(exponent)
    while left:
        if left & 1:
            result = square if result is None else result * square
        left >>= 1
        square = square * square if left else square
    return result


def _general_power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, (int, float)) and exponent == 0:
        return 1.0
    if isinstance(exponent, Symbol) and not isinstance(base, Symbol):
        if not base > 0:
            raise UsageError(f"{base:g} to the power of a variable is no number everywhere: the base must be above 0")
        return FUNCTIONS["exp"](exponent * float(np.log(base)))
    return 1.0 / power(base, -exponent) if isinstance(exponent, (int, float)) and exponent < 0 else base**exponent


_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: power,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Any], Any]]] = {ast.UAdd: lambda a: a, ast.USub: lambda a: -a}


def _outline(node: ast.expr) -> str:
    """The text of a node, of an operator without the operations that it is applied to: ``… // y``."""
    if not isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Compare)):
        return ast.unparse(node)

    def short(part: Any) -> Any:
        if isinstance(part, list):
            return [short(each) for each in part]
        is_long = isinstance(part, ast.expr) and not isinstance(part, (ast.Name, ast.Constant))
        return ast.Name("…") if is_long else part

    return ast.unparse(type(node)(**{name: short(part) for name, part in ast.iter_fields(node)}))


class _Reader:
    """Turns a syntax tree into closures, and collects its variables."""

    def __init__(self, text: str, variable: re.Pattern[str]) -> None:
        self.text, self.variable = text.strip(), variable
        self.names: set[str] = set()

    def read(self, node: ast.expr, depth: int) -> Formula:
        """The closure of ``node``. Raises ``UsageError`` for what a formula may not contain."""
        if depth > DEEPEST:
            raise UsageError(f"'{self.text}' is nested more than {DEEPEST} deep")
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._folded(_BINARY[type(node.op)], node.left, node.right, depth=depth)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            return self._folded(_UNARY[type(node.op)], node.operand, depth=depth)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and len(node.args) == 1:
            if node.func.id not in FUNCTIONS:
                raise UsageError(f"'{self.text}' calls {node.func.id}: a formula may call {', '.join(FUNCTIONS)}")
            return self._folded(FUNCTIONS[node.func.id], node.args[0], depth=depth)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return self._number(node.value)
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            raise UsageError(f"'{self.text}': ^ is no power here: write x**2")
        allowed = f"numbers, variables, + - * / **, brackets, and the functions {', '.join(FUNCTIONS)}"
        raise UsageError(f"'{self.text}' contains {_outline(node)!r}: a formula may contain {allowed}")

    def _folded(self, apply: Callable[..., Any], *nodes: ast.expr, depth: int) -> Formula:
        """An operation; one of constants is folded."""
        before = len(self.names)
        parts = [self.read(node, depth + 1) for node in nodes]
        if len(self.names) == before and not any(isinstance(n, ast.Name) for node in nodes for n in ast.walk(node)):
            try:
                with np.errstate(all="raise"):
                    return self._number(apply(*(part({}) for part in parts)))
            except (ArithmeticError, ValueError):
                raise UsageError(f"'{self.text}': {ast.unparse(nodes[0])!r} and what it is in give no number") from None
        return lambda values: apply(*(part(values) for part in parts))

    def _number(self, value: Any) -> Formula:
        try:
            number = float(value)
        except (TypeError, OverflowError):
            number = np.nan
        if not np.isfinite(number):
            raise UsageError(f"'{self.text}' contains a number that is not real and finite")
        return lambda values: number

    def _name(self, name: str) -> Formula:
        if name in CONSTANTS:
            return self._number(CONSTANTS[name])
        if not self.variable.fullmatch(name):
            raise UsageError(f"'{self.text}' contains {name!r}: variables are x and y, or x0, x1, … and y0, y1, …")
        self.names.add(name)
        return lambda values: values[name]
