"""The table of operators in JAX: a row for each, written in the module of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from portable_nn.core.graph import Attribute
from portable_nn.operators import Operator, OperatorContext, Type

Compute: TypeAlias = Callable[..., Any]
"""From a ``Use`` and the arrays of the inputs (``None`` for one that is left out) to the array, or arrays, of the
outputs."""


class Row(NamedTuple):
    """What an operator is in JAX.

    Attributes:
        compute: its arithmetic; ``None`` where that of its lowering is computed.
        names: what flax calls the parameters that it reads, by the place of the input.
        layout: the order of a kernel's axes in flax, by their number, where it is another one.
        flips: whether flax has the taps of the kernel in reverse.
    """

    compute: Compute | None
    names: Mapping[int, str] = {}
    layout: Callable[[Mapping[str, Attribute], int], tuple[int, ...]] | None = None
    flips: bool = False


class Use(OperatorContext):
    """A use of an operator, with the types of its outputs.

    Attributes:
        outs: the types of the outputs; their sizes are numbers.
        key: makes a key of random numbers of this node alone.
    """

    def __init__(
        self,
        operator: Operator,
        types: Sequence[Type | None],
        attributes: Mapping[str, Attribute],
        outs: Sequence[Type],
        key: Callable[[], Any],
    ) -> None:
        super().__init__(operator, types, attributes, len(outs))
        self.outs, self.key = outs, key

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(int(dim) for dim in self.outs[0].shape)

    def sizes(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input."""
        return tuple(int(dim) for dim in self.type(index).shape)


ROWS: Final[dict[str, Row]] = {}


def row(*operators: str, **facts: Any) -> Callable[[Compute], Compute]:
    """A decorator: the function is the row of these operators; ``facts`` are the other fields of ``Row``."""

    def register(compute: Compute) -> Compute:
        ROWS.update(dict.fromkeys(operators, Row(compute, **facts)))
        return compute

    return register


def plain(operator: str, function: Callable[..., Any]) -> None:
    """A row of an operator without attributes: ``function`` of its inputs."""
    ROWS[operator] = Row(lambda use, *x: function(*x))


def named(operator: str, names: Mapping[int, str]) -> None:
    """A row of an operator whose lowering is computed."""
    ROWS[operator] = Row(None, names)
