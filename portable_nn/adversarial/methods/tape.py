"""Arithmetic on a few floats, recorded once and compiled: a call of numpy would be nearly all overhead.

A function is called with ``Number``s, each of which records its operations on a ``Tape``; the tape becomes a Python
function of local variables. An operation of it takes some 20 ns, a fiftieth of a call of numpy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

Scalar: TypeAlias = "Number | float"

INFIX: Final[dict[Any, str]] = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"}
"""The functions that have a sign in Python; the others are called."""

NEUTRAL: Final[dict[Any, float]] = {operator.add: 0.0, operator.sub: 0.0, operator.mul: 1.0, operator.truediv: 1.0}
"""The second operand that changes nothing."""


class Number:
    """A float of which only the place on the tape is known while it is recorded."""

    def __init__(self, tape: Tape, place: int) -> None:
        self.tape, self.place = tape, place

    def __add__(self, other: Any) -> Any:
        return self.tape.record(operator.add, self, other)

    def __sub__(self, other: Any) -> Any:
        return self.tape.record(operator.sub, self, other)

    def __mul__(self, other: Any) -> Any:
        return self.tape.record(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Any:
        return self.tape.record(operator.truediv, self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Any:
        return self.tape.record(operator.sub, other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return self.tape.record(operator.truediv, other, self)


class Operation(NamedTuple):
    """A call of a function, and the places of what it returns; a tuple of several."""

    function: Callable[..., Any]
    inputs: tuple[Scalar, ...]
    outputs: tuple[int, ...]


class Tape:
    """The operations on so many ``variables``, in order; the same operation is recorded once."""

    def __init__(self, variables: int) -> None:
        self.variables = [Number(self, place) for place in range(variables)]
        self.operations: list[Operation] = []
        self._places = variables
        self._known: dict[Any, list[Number]] = {}
        self._negated: dict[int, Scalar] = {}

    def record(self, function: Callable[..., float], *inputs: Scalar) -> Scalar:
        """Append an operation with one result, unless it is one of constants or changes nothing."""
        if not any(isinstance(value, Number) for value in inputs):
            return function(*inputs)
        first, last = inputs[0], inputs[-1]
        if function is operator.neg:
            return self.record(operator.mul, first, -1.0)
        if function in {operator.add, operator.mul} and not isinstance(first, Number):
            first, last = last, first
            inputs = first, last
        if function is operator.mul and last == 0.0:
            return 0.0
        if last == NEUTRAL.get(function):
            return first
        place = first.place if isinstance(first, Number) else None
        if function is operator.mul and isinstance(last, float) and place in self._negated:
            return self.record(operator.mul, self._negated[place], -last)
        [result] = self.record_call(function, inputs, 1)
        if function is operator.mul and last == -1.0:
            self._negated[result.place] = first
        return result

    def record_call(self, function: Callable[..., Any], inputs: Sequence[Scalar], results: int) -> list[Number]:
        """Append a call of a function; of more than one result it returns a tuple."""
        key = function, *(value.place if isinstance(value, Number) else (value, str(value)) for value in inputs)
        if key not in self._known:
            outputs = tuple(range(self._places, self._places + results))
            self._places += results
            self._known[key] = [Number(self, place) for place in outputs]
            self.operations.append(Operation(function, tuple(inputs), outputs))
        return self._known[key]

    def compiled(self, outputs: Sequence[Scalar]) -> Compiled:
        """A function of the variables that returns the outputs as a tuple."""
        needed = self._needed(outputs)
        functions = dict.fromkeys(operation.function for operation in needed if operation.function not in INFIX)
        called = {function: f"f{place}" for place, function in enumerate(functions)}
        lines = [f"def compiled({', '.join(f'v{number.place}' for number in self.variables)}):"]
        for function, inputs, results in needed:
            given = [_written(value) for value in inputs]
            right = INFIX[function].join(given) if function in INFIX else f"{called[function]}({', '.join(given)})"
            lines.append(f" {', '.join(f'v{place}' for place in results)} = {right}")
        lines.append(f" return {', '.join(map(_written, outputs))},")
        scope: dict[str, Any] = {name: function for function, name in called.items()} | {"inf": math.inf}
        exec("\n".join(lines), scope)
        return Compiled(scope["compiled"], len(needed))

    def _needed(self, outputs: Sequence[Scalar]) -> list[Operation]:
        """The operations on which an output depends."""
        wanted = {value.place for value in outputs if isinstance(value, Number)}
        kept = []
        for operation in reversed(self.operations):
            if not wanted.isdisjoint(operation.outputs):
                wanted.update(value.place for value in operation.inputs if isinstance(value, Number))
                kept.append(operation)
        return kept[::-1]


class Compiled(NamedTuple):
    """A function of floats that returns a tuple of them, and the number of its operations.

    It raises ``ArithmeticError`` or ``ValueError`` where an operation has no finite result.
    """

    function: Callable[..., tuple[float, ...]]
    size: int


def _written(value: Scalar) -> str:
    """A number in Python; nan is inf - inf."""
    if isinstance(value, Number):
        return f"v{value.place}"
    return "(inf-inf)" if math.isnan(value) else f"({float(value)!r})"
