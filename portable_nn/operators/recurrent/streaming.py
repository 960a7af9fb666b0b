"""Recurrent operators that are given a sequence in parts: the states after one part begin the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.operators.base import OperatorContext, Streamed, Symbol, emit, emit_all, integers
from portable_nn.operators.recurrent.uses import LENGTHS, STATE_C, STATE_H, name_of, recurrence

ROLES = {"h": STATE_H, "c": STATE_C}
"""The states by role, and the inputs that give them before the first step."""


def streamed(use: OperatorContext) -> Streamed:
    """The form with a state (batch, hidden units) for h, and one for c of an LSTM."""
    found = recurrence(use)
    if True in found.reversed:
        use.fail(
            f"it is {use.string('direction')}, and reads the steps from the last to the first: a stream has no last "
            "step to begin with"
        )
    axis = 1 if found.batch_first else 0
    roles, attributes = list(ROLES)[: found.kind.states], dict[str, Any](use.attributes)

    def build(
        inputs: Sequence[Symbol | None], states: Sequence[Symbol], name: str
    ) -> tuple[Sequence[Symbol], Sequence[Symbol]]:
        values = [*inputs, *[None] * len(use.operator.inputs)][: len(use.operator.inputs)]
        for role, state in zip(roles, states, strict=True):
            values[ROLES[role]] = emit("Unsqueeze", state, integers([axis]))
        made = emit_all(name_of(use), *values, outputs=len(roles) + 1, name=name, **attributes)
        return made, [emit("Squeeze", state, integers([axis])) for state in made[1:]]

    shape = (found.batch, found.hidden)
    return Streamed(axis, dict.fromkeys(roles, shape), build, [ROLES[role] for role in roles], LENGTHS)
