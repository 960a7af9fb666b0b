"""Arithmetic on a few floats, recorded once and compiled: a call of numpy would be nearly all overhead.

A function is called with ``Number``s, each of which records its operations on a ``Tape``; the tape becomes a Python
function of local variables. An operation of it takes some 20 ns, a fiftieth of a call of numpy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

Scalar: TypeAlias = "Number | float"

INFIX: Final[dict[Any, str]] = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/"}
"""The functions that have a sign in Python; the others are called."""

NEUTRAL: Final[dict[Any, float]] = {operator.add: 0.0, operator.sub: 0.0, operator.mul: 1.0, operator.truediv: 1.0}
"""The second operand that changes nothing."""


def _recorded(function: Callable[..., float], *, swapped: bool = False) -> Callable[[Number, Any], Any]:
    """A method of ``Number`` that records a function of it and another number."""

    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, (Number, float, int)):
            return NotImplemented  # As of a vector, which multiplies each of its numbers by this one.
        return self.tape.record(function, *((other, self) if swapped else (self, other)))

    return method


class Number:
    """A float of which only the place on the tape is known while it is recorded."""

    def __init__(self, tape: Tape, place: int) -> None:
        self.tape, self.place = tape, place

    __add__ = __radd__ = _recorded(operator.add)
    __mul__ = __rmul__ = _recorded(operator.mul)
    __sub__ = _recorded(operator.sub)
    __rsub__ = _recorded(operator.sub, swapped=True)
    __truediv__ = _recorded(operator.truediv)
    __rtruediv__ = _recorded(operator.truediv, swapped=True)


class Operation(NamedTuple):
    """A call of a function, and the places of what it returns; a tuple of several."""

    function: Callable[..., Any]
    inputs: tuple[Scalar, ...]
    outputs: tuple[int, ...]


class Tape:
    """The operations on so many ``variables``, in order; the same operation is recorded once."""

    def __init__(self, variables: int = 0) -> None:
        self.variables: list[Number] = []
        self.operations: list[Operation] = []
        self._places = 0
        self._known: dict[Any, list[Number]] = {}
        self._negated: dict[int, Scalar] = {}
        self.take(variables)

    def take(self, count: int) -> list[Number]:
        """So many further variables."""
        found = [Number(self, self._places + place) for place in range(count)]
        self.variables += found
        self._places += count
        return found

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

    def program(self, outputs: Sequence[Scalar], names: Mapping[Callable[..., Any], str]) -> Program:
        """The same as data, the functions by their ``names``. Raises ``LookupError`` for one without a name."""
        needed, first = self._needed(outputs), len(self.variables)
        values = [*chain.from_iterable(operation.inputs for operation in needed), *outputs]
        constants = list(dict.fromkeys(float(value) for value in values if not isinstance(value, Number)))
        places = {number.place: place for place, number in enumerate(self.variables)}
        for output in chain.from_iterable(operation.outputs for operation in needed):
            places[output] = len(places) + len(constants)

        def place_of(value: Scalar) -> int:
            return places[value.place] if isinstance(value, Number) else first + constants.index(float(value))

        rows = [(names[operation.function], *map(place_of, operation.inputs)) for operation in needed]
        return Program(first, constants, rows, [place_of(value) for value in outputs])

    def _needed(self, outputs: Sequence[Scalar]) -> list[Operation]:
        """The operations on which an output depends."""
        wanted = {value.place for value in outputs if isinstance(value, Number)}
        kept = []
        for operation in reversed(self.operations):
            if not wanted.isdisjoint(operation.outputs):
                wanted.update(value.place for value in operation.inputs if isinstance(value, Number))
                kept.append(operation)
        return kept[::-1]


class Program(NamedTuple):
    """A tape as data, for other languages: a list of numbers that grows.

    It begins with the ``inputs`` and the ``constants``; each of the ``operations``, the name of a function and the
    places of its inputs, appends what it returns; ``outputs`` are places.
    """

    inputs: int
    constants: list[float]
    operations: list[tuple[Any, ...]]
    outputs: list[int]


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
