"""A use of a recurrent operator: its sizes, directions, activation functions and options, all checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from portable_nn.core.dims import total
from portable_nn.operators.base import FLOATS, Attr, Dim, OperatorContext, Shape, Type, format_shape
from portable_nn.operators.recurrent.functions import Function, functions_of

X, W, R, B, LENGTHS, STATE_H, STATE_C, P, SAVED, FLOW_Y, FLOW_H, FLOW_C = range(12)
"""The inputs of LSTM, of which RNN and GRU have the first six; then those that a gradient operator has as well."""

INPUTS: Final = ("X", "W", "R", "B?", "sequence_lens?", "initial_h?", "initial_c?", "P?")


class Kind(NamedTuple):
    """One of the three recurrent operators, with the facts that distinguish it.

    Args:
        gates: blocks of rows in W and R.
        functions: the activation functions of one direction by default.
        states: how many states go from step to step: h, and c of an LSTM.
        values: what the gradient needs of each step: gates, states before it, and what follows from both.
        slopes: how many derivatives of activation functions it needs, where those do not follow from their values.
    """

    gates: int
    functions: tuple[str, ...]
    states: int
    values: int
    slopes: int

    @property
    def slots(self) -> int:
        """The values of each step that the next ones are computed from: gates, and states before it."""
        return self.gates + self.states

    @property
    def h(self) -> int:
        """The place of the state h among the values of a step."""
        return self.slots - 1


KINDS: Final[Mapping[str, Kind]] = {
    "RNN": Kind(1, ("Tanh",), 1, 2, 1),
    "GRU": Kind(3, ("Sigmoid", "Tanh"), 1, 5, 3),
    "LSTM": Kind(4, ("Sigmoid", "Tanh", "Tanh"), 2, 7, 5),
}

ATTRIBUTES: Final[Mapping[str, Attr]] = {
    "activation_alpha": Attr(tuple, item=float),
    "activation_beta": Attr(tuple, item=float),
    "activations": Attr(tuple, item=str),
    "clip": Attr(float),
    "direction": Attr(str, "forward"),
    "hidden_size": Attr(int),
    "layout": Attr(int, 0),
}
FURTHER: Final[Mapping[str, Mapping[str, Attr]]] = {
    "RNN": {"activations": Attr(tuple, ("Tanh", "Tanh"), item=str)},
    "GRU": {"linear_before_reset": Attr(int, 0)},
    "LSTM": {"input_forget": Attr(int, 0)},
}
"""The attributes that one of them has alone."""


def name_of(use: OperatorContext) -> str:
    """RNN, GRU or LSTM, also for an operator that belongs to it."""
    return use.operator.name.removesuffix("Forward").removesuffix("Grad")


class Recurrence(NamedTuple):
    """A use: its sizes and options."""

    kind: Kind
    steps: Dim
    batch: Dim
    features: Dim
    hidden: int
    reversed: tuple[bool, ...]
    functions: list[tuple[Function, ...]]
    clip: float | None
    batch_first: bool

    @property
    def directions(self) -> int:
        """1, or 2 of a bidirectional one."""
        return len(self.reversed)

    @property
    def is_standard(self) -> bool:
        """True if derivatives follow from values: with the functions by default, and no clip."""
        standard = all(tuple(f.name for f in each) == self.kind.functions for each in self.functions)
        return standard and self.clip is None

    def state(self) -> Shape:
        """The shape of a state, as it is given and returned."""
        lead = (self.batch, self.directions) if self.batch_first else (self.directions, self.batch)
        return (*lead, self.hidden)

    def output(self) -> Shape:
        """The shape of the states of all steps."""
        if self.batch_first:
            return (self.batch, self.steps, self.directions, self.hidden)
        return (self.steps, self.directions, self.batch, self.hidden)

    def saved(self) -> Shape:
        """The shape of what the gradient needs; states are those before and after each step."""
        values = self.kind.values + (0 if self.is_standard else self.kind.slopes)
        return (self.directions, values, total([self.steps, 1]), self.batch, self.hidden)


_REVERSED: Final = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def recurrence(use: OperatorContext) -> Recurrence:
    """A use whose inputs fit each other."""
    kind = KINDS[name_of(use)]
    use.common_dtype(FLOATS, apart=(LENGTHS, SAVED))
    shape, rows = use.type(X).shape, use.type(R).shape
    batch_first = use.choice("layout", (0, 1)) == 1
    if len(shape) != 3:
        axes = "(batch, steps, features)" if batch_first else "(steps, batch, features)"
        use.fail(f"X must be {axes}, not {format_shape(shape)}")
    hidden = rows[-1] if len(rows) == 3 else None
    if not isinstance(hidden, int) or hidden < 1:
        use.fail(f"R must be (directions, {kind.gates} * hidden size, hidden size), not {format_shape(rows)}")
    if use.attributes.get("hidden_size", hidden) != hidden:
        use.fail(f"hidden_size is {use.attributes['hidden_size']}, but R {format_shape(rows)} is for {hidden}")
    steps, batch = shape[1::-1] if batch_first else shape[:2]
    if steps == 0:
        use.fail(f"X must have 1 step or more, not {format_shape(shape)}")
    backwards = _REVERSED[use.choice("direction", tuple(_REVERSED))]
    clip = use.attributes.get("clip")
    if isinstance(clip, float) and not clip > 0:  # Nor NaN.
        use.fail(f"clip must be more than 0, not {clip:g}")
    found = Recurrence(
        kind, steps, batch, shape[2], hidden, backwards,
        functions_of(use, kind.functions, len(backwards)), clip if isinstance(clip, float) else None, batch_first,
    )  # fmt: skip
    _check_shapes(use, found)
    return found


def _check_shapes(use: OperatorContext, found: Recurrence) -> None:
    directions, rows = found.directions, found.kind.gates * found.hidden
    shapes: dict[int, Shape] = {
        W: (directions, rows, found.features),
        R: (directions, rows, found.hidden),
        B: (directions, 2 * rows),
        STATE_H: found.state(),
        STATE_C: found.state(),
        P: (directions, 3 * found.hidden),
        FLOW_Y: found.output(),
        FLOW_H: found.state(),
        FLOW_C: found.state(),
    }
    why = f" for X {format_shape(use.type(X).shape)}, {directions} {'directions' if directions > 1 else 'direction'}"
    for index, shape in shapes.items():
        if use.has(index):
            use.expect(index, use.like(shape), f"{why} and {found.hidden} hidden units")
    if use.has(LENGTHS):
        use.expect(LENGTHS, Type("int32", (found.batch,)), " (the length of each sequence)")
        check_lengths(
            use, [length for length in use.type(LENGTHS).constant or () if isinstance(length, int)], found.steps
        )


def check_lengths(use: OperatorContext, lengths: Iterable[int], longest: Dim) -> None:
    """Fail for lengths of sequences that X cannot have."""
    for length in lengths:
        if length < 1 or (isinstance(longest, int) and length > longest):
            use.fail(f"a sequence of X has 1 to {longest} steps, and sequence_lens says {length}")


def types_of_outputs(use: OperatorContext) -> tuple[Type, ...]:
    """Y, Y_h, and Y_c of an LSTM."""
    found = recurrence(use)
    return use.like(found.output()), *[use.like(found.state())] * found.kind.states


def type_of_saved(use: OperatorContext) -> Type:
    """The type of the values that the gradient needs: of halves in single precision, in which they are computed."""
    dtype = use.type(X).dtype
    return Type("float32" if dtype == "float16" else dtype, recurrence(use).saved())
