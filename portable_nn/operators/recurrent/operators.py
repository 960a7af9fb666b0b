"""The operators RNN, LSTM and GRU; the forms of them that training uses; their gradients; and sequences in parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from portable_nn.operators import limits
from portable_nn.operators.base import (
    CALL,
    INTERNAL,
    Attr,
    Attribute,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    Interval,
    Limit,
    Operator,
    OperatorContext,
    Portability,
    Shape,
    Streamed,
    Symbol,
    cast,
    emit,
    emit_all,
    integers,
    register,
)
from portable_nn.operators.recurrent.functions import explicit
from portable_nn.operators.recurrent.kernels import run_backward, run_forward, types_of_gradients
from portable_nn.operators.recurrent.lowering import gradient_lowered, lowered
from portable_nn.operators.recurrent.uses import (
    ATTRIBUTES,
    FURTHER,
    INPUTS,
    KINDS,
    LENGTHS,
    STATE_C,
    STATE_H,
    B,
    P,
    R,
    W,
    X,
    name_of,
    recurrence,
    type_of_saved,
    types_of_outputs,
)

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


OUTPUTS = ("Y", "Y_h", "Y_c")


def _gradient(n: GradientContext, name: str) -> list[Symbol | None]:
    """Through the form that keeps what is needed; it is computed first where the node is not of that form."""
    outputs, attributes = KINDS[name].states + 2, dict[str, Any](n.attributes)
    given = [n.x[index] if n.has(index) else None for index in range(len(INPUTS))]
    made = n.y
    if n.operator.domain != INTERNAL or len(made) < outputs:
        made = emit_all(f"{name}Forward", *given, outputs=outputs, domain=INTERNAL, **attributes)
    flows = [*n.back, None, None, None][: KINDS[name].states + 1]
    found = emit_all(f"{name}Grad", *given, made[-1], *flows, outputs=7, domain=INTERNAL, **attributes)
    x, w, r, b, h, c, p = found
    return [x, w, r, b, None, h, c, p]


def _training(
    inputs: Sequence[Symbol | None],
    attributes: Mapping[str, Attribute],
    name: str,
    *,
    operator: str,
    truncation: int | None = None,
) -> Sequence[Symbol]:
    """The form that keeps what the gradient needs; what flows back through states ends after ``truncation`` steps."""
    outputs, options = KINDS[operator].states + 2, dict[str, Any](attributes, truncation=truncation)
    return emit_all(f"{operator}Forward", *inputs, outputs=outputs, name=name, domain=INTERNAL, **options)


def _multiply_adds(use: OperatorContext, shape: Shape) -> list[Dim]:
    """Each row of W and R is multiplied in each step, example and direction."""
    found = recurrence(use)
    features = found.features + found.hidden if isinstance(found.features, int) else found.hidden
    return [*found.output(), found.kind.gates, features]


def _visits(use: OperatorContext, shape: Shape) -> list[Dim]:
    """Each step is a few numpy calls."""
    found = recurrence(use)
    return [found.steps, found.directions, CALL]


def _fields(use: FieldContext) -> Fields:
    """The examples stay apart; all steps and features are combined."""
    first = int(use.get("layout", 0)) == 1
    batch = use.first[0 if first else 1]
    return (batch, None, None, None) if first else (None, None, batch, None)


def _lengths(use: OperatorContext) -> Interval | None:
    steps = recurrence(use).steps
    return Interval(1, steps) if isinstance(steps, int) and steps else None


def _as_runtimes_take_it(use: OperatorContext, opset: int) -> Callable[..., Sequence[Symbol]] | None:
    """onnxruntime 1.32 has the first layout alone, needs the hidden size, has other defaults of parameters, and no
    kernels in double precision: a known number of steps is written out there, any other computed in single precision.
    """
    found, name = recurrence(use), use.operator.name
    parameters = explicit(f for each in found.functions for f in each)
    said = all(use.attributes.get(key) == value for key, value in parameters.items())
    is_double = use.type().dtype == "float64"
    if is_double and isinstance(found.steps, int) and found.steps:
        return partial(lowered, name)
    if said and not is_double and not found.batch_first and "hidden_size" in use.attributes:
        return None

    def written(*inputs: Symbol | None, layout: int = 0, **attributes: Any) -> list[Symbol]:
        options = {**attributes, **parameters, "hidden_size": found.hidden}
        values = [
            cast(each, "float32") if each and is_double and place != LENGTHS else each
            for place, each in enumerate(inputs)
        ]
        for index in (X, STATE_H, STATE_C) if layout else ():
            value = values[index] if index < len(values) else None
            if value is not None:
                values[index] = emit("Transpose", value, perm=[1, 0, 2])
        made = emit_all(name, *values, outputs=found.kind.states + 1, **options)
        y, *states = [cast(each, use.type().dtype) for each in made]
        if not layout:
            return [y, *states]
        turned = (emit("Transpose", state, perm=[1, 0, 2]) for state in states)
        return [emit("Transpose", y, perm=[2, 0, 1, 3]), *turned]

    return written


_LIMITS = (
    Limit(
        "layout",
        lambda use, shape: use.int("layout") == 1,
        "onnxruntime 1.32 refuses batches as the first axis",
        "transpose before and after it, as export does",
    ),
    Limit(
        "X",
        lambda use, shape: use.type().dtype == "float64",
        "onnxruntime 1.32 has no kernels for float64",
        "export writes a known number of steps in other operators, and computes an open one in float32",
    ),
    Limit(
        "clip",
        lambda use, shape: "clip" in use.attributes and name_of(use) == "LSTM",
        "the standard does not say whether the state c is clipped before its activation function; onnxruntime 1.32 and "
        "portable-nn do not",
        "compare with the runtime that the file is for",
        level="note",
    ),
)
"""Known disagreements of runtimes."""

for _name, _kind in KINDS.items():
    _attributes = {**ATTRIBUTES, **FURTHER[_name]}
    _internal = {**_attributes, "truncation": Attr(int, 0)}
    _inputs = INPUTS if _kind.states > 1 else INPUTS[:6]
    _weights = (W, R, B, P) if _kind.states > 1 else (W, R, B)
    _lowering: Callable[..., list[Symbol]] = partial(lowered, _name)
    register(
        Operator(
            _name,
            _inputs,
            types_of_outputs,
            run_forward,
            partial(_gradient, name=_name),
            _attributes,
            outputs=OUTPUTS[: _kind.states + 1],
            training=partial(_training, operator=_name),
            truncated=partial(_training, operator=_name),
            streamed=streamed,
            mixes=lambda use: [recurrence(use).steps],
            lowering=_lowering,
            portability=Portability(
                substitute=_as_runtimes_take_it,
                limits=(*_LIMITS, limits.RECURRENT[_name]),
                aborts_on_empty=_name != "RNN",
            ),
            family="linear",
            receptive=_fields,
            multiply_adds=_multiply_adds,
            visits=_visits,
            weights=_weights,
            samples={LENGTHS: _lengths},
        )
    )
    register(
        Operator(
            f"{_name}Forward",
            INPUTS,
            lambda use: (*types_of_outputs(use), type_of_saved(use)),
            run_forward,
            partial(_gradient, name=_name),
            _internal,
            outputs=(*OUTPUTS[: _kind.states + 1], "saved"),
            domain=INTERNAL,
            lowering=partial(lowered, _name, saved=True),
            family="linear",
            multiply_adds=_multiply_adds,
            visits=_visits,
            weights=_weights,
            samples={LENGTHS: _lengths},
        )
    )
    register(
        Operator(
            f"{_name}Grad",
            (*INPUTS, "saved", "dY?", "dY_h?", "dY_c?"),
            types_of_gradients,
            run_backward,
            "lowering",
            _internal,
            outputs=("dX", "dW", "dR", "dB", "dinitial_h", "dinitial_c", "dP"),
            domain=INTERNAL,
            lowering=partial(gradient_lowered, _name),
            family="linear",
        )
    )
