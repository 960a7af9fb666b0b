"""Formulas of array code as expressions of C."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.array.helpers import formulas
from portable_nn.core.errors import RefusalError

MATH: Final = (
    "acos|asin|atan|acosh|asinh|atanh|cos|sin|tan|cosh|sinh|tanh|exp|expm1|log|log1p|sqrt|fabs|erf|pow|floor|ceil|rint"
)
"""The functions of the C library that are called, each with a form for ``float``."""

_NAMES: Final = {"abs": "fabs", "round": "rint", "power": "pow"}
"""The names in C of functions of numpy; others have the same name, but for ``arc``."""

FORMULAS: Final = dict(inspect.getmembers(formulas, lambda each: inspect.getmodule(each) is formulas))

_SIGNS: Final[Mapping[type, tuple[str, int]]] = {
    operator: (sign, level)
    for level, signs in (
        (1, {ast.BitOr: "|", ast.BitXor: "^", ast.BitAnd: "&"}),
        (3, {ast.Eq: "==", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<="}),
        (4, {ast.Add: "+", ast.Sub: "-"}),
        (5, {ast.Mult: "*", ast.Div: "/"}),
        (6, {ast.USub: "-", ast.Invert: "~"}),
    )
    for operator, sign in signs.items()
}
"""The sign of each operator, and how strongly it binds."""

_OF_BOOL: Final = {"|": "||", "&": "&&", "^": "!=", "~": "!"}

_ATOM: Final = 7


@cache
def _formula(name: str) -> tuple[list[str], ast.expr]:
    """The parameters of a function of ``formulas``, and what it returns."""
    made = ast.parse(inspect.getsource(FORMULAS[name])).body[0]
    assert isinstance(made, ast.FunctionDef)
    [returned] = (each.value for each in made.body if isinstance(each, ast.Return))
    assert returned is not None
    return [each.arg for each in made.args.args], returned


class Formula(NamedTuple):
    """The setting in which a formula is printed.

    Attributes:
        operands: what its variables are in C.
        number: a number in C.
        function: the name of a function of C, or of a formula, by that for ``float``; ``None`` for whole numbers, of
            which there are none.
        cast: an expression as a number of another type, by its name in numpy.
        is_bool: whether it computes truth values.
    """

    operands: Mapping[str, str]
    number: Callable[[Any], str]
    function: Callable[[str], str] | None = str
    cast: Callable[[str, str], str] = "({1}){0}".format
    is_bool: bool = False

    def expression(self, formula: ast.expr) -> str:
        """A formula as an expression. Raises ``RefusalError``."""
        return self._printed(formula)[0]

    def _bracketed(self, node: ast.expr, least: int) -> str:
        text, level = self._printed(node)
        return text if level >= least else f"({text})"

    def _printed(self, node: ast.expr) -> tuple[str, int]:
        """The expression, and how strongly its last operator binds."""
        if {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} <= {"math", "np"}:
            return self.number(eval(ast.unparse(node), {"math": math, "np": np})), _ATOM
        match node:
            case ast.Name(name):
                return self.operands[name], _ATOM
            case ast.UnaryOp(op, operand):
                sign, level = self._sign(op)
                return sign + self._bracketed(operand, level), level
            case ast.BinOp(left, op, right) | ast.Compare(left, [op], [right]):
                sign, level = self._sign(op)
                return f"{self._bracketed(left, level)} {sign} {self._bracketed(right, level + 1)}", level
            case ast.Call(ast.Attribute(ast.Name("np"), name), arguments):
                return self._called(name, arguments)
            case ast.Call(ast.Name("erf"), arguments):
                return self._function("erff", *arguments), _ATOM
            case ast.Call(ast.Name(name), arguments) if name in FORMULAS:
                parameters, inner = _formula(name)
                if self.function:
                    return self._function(name, *arguments), _ATOM
                given = [self._bracketed(each, _ATOM) for each in arguments]
                return self._replace(operands=dict(zip(parameters, given, strict=True)))._printed(inner)
            case ast.Call(ast.Attribute(inner, "astype"), [ast.Attribute(ast.Name("np"), dtype)]):
                return self.cast(self._bracketed(inner, _ATOM), dtype.rstrip("_")), 6
            case ast.Call(ast.Attribute(inner, "astype")):  # That of an operand, which it has.
                return self._printed(inner)
        raise RefusalError("is not written in C")

    def _sign(self, op: ast.AST) -> tuple[str, int]:
        sign, level = _SIGNS[type(op)]
        if sign == "/" and not self.function:
            raise RefusalError("whole numbers are not divided in C")
        return (_OF_BOOL.get(sign, sign) if self.is_bool else sign), level

    def _called(self, name: str, arguments: list[ast.expr]) -> tuple[str, int]:
        first, *rest = arguments
        if name == "where":
            choice, one, other = map(self._bracketed, arguments, (1, 1, 0))
            return f"{choice} ? {one} : {other}", 0
        if name == "isnan":
            x = self._bracketed(first, 4)
            return f"{x} != {x}", 3
        if name in ("maximum", "minimum"):
            return self._extreme(name, first, rest[0])
        if name == "clip":
            for limit, each in zip(("maximum", "minimum"), rest, strict=True):
                if not (isinstance(each, ast.Constant) and each.value is None):
                    first = ast.Call(ast.Attribute(ast.Name("np"), limit), [first, each], [])
            return self._printed(first)
        function = _NAMES.get(name, re.sub("^arc", "a", name))
        if function not in MATH.split("|"):
            raise RefusalError("is not written in C")
        if function == "pow" and self._printed(rest[0])[0] == self.number(2):
            x = self._bracketed(first, 6)
            return f"{x} * {x}", 5
        return self._function(f"{function}f", *arguments), _ATOM

    def _extreme(self, name: str, first: ast.expr, other: ast.expr) -> tuple[str, int]:
        """The larger or smaller number; of floats a NaN, if one of them is."""
        if isinstance(first, ast.Name) and isinstance(other, ast.Constant):
            a, b, sign = self._printed(first)[0], self._printed(other)[0], "<" if name == "maximum" else ">"
            return f"{a} {sign} {b} ? {b} : {a}", 0
        if self.function:
            return self._function("larger" if name == "maximum" else "smaller", first, other), _ATOM
        a, b, sign = self._bracketed(first, 4), self._bracketed(other, 4), ">" if name == "maximum" else "<"
        return f"({a} {sign} {b} ? {a} : {b})", _ATOM

    def _function(self, name: str, *arguments: ast.expr) -> str:
        if not self.function:
            raise RefusalError("for whole numbers it is not written")
        return f"{self.function(name)}({', '.join(self._printed(each)[0] for each in arguments)})"


def in_c(name: str) -> str:
    """A function of ``formulas`` as one of C, for ``float``."""
    parameters, returned = _formula(name)
    text = Formula({each: each for each in parameters}, lambda value: f"{float(value)!r}f").expression(returned)
    head = f"static float {name}({', '.join(f'float {each}' for each in parameters)})"
    return f"/* {FORMULAS[name].__doc__} */\n{head}\n{{\n    return {text};\n}}\n"
