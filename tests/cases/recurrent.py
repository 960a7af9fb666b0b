"""RNN, LSTM and GRU in all directions and layouts, with every option of the standard."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Array, Case, real
from portable_nn.core.graph import INTERNAL
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, emit_all, trace

STEPS, BATCH, FEATURES, HIDDEN = 4, 3, 2, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(
    operator: str,
    *,
    bias: bool = True,
    lengths: tuple[int, ...] = (),
    states: bool = False,
    peepholes: bool = False,
    steps: int = STEPS,
    batch: int = BATCH,
    outputs: int | None = None,
    **options: Any,
) -> Case:
    """A use; arguments are small, so that functions are not flat."""
    directions = 2 if options.get("direction") == "bidirectional" else 1
    rows, first = GATES[operator] * HIDDEN, options.get("layout", 0) == 1
    state = (batch, directions, HIDDEN) if first else (directions, batch, HIDDEN)
    inputs: list[Array | None] = [
        real(*((batch, steps) if first else (steps, batch)), FEATURES),
        real(directions, rows, FEATURES) / 2,
        real(directions, rows, HIDDEN) / 2,
        real(directions, 2 * rows) / 4 if bias else None,
        np.array(lengths, np.int32) if lengths else None,
        real(*state) if states else None,
    ]
    if operator == "LSTM":
        inputs += [real(*state) if states else None, real(directions, 3 * HIDDEN) / 2 if peepholes else None]
    while inputs[-1] is None:
        inputs.pop()
    wrt = tuple(place for place, x in enumerate(inputs) if x is not None and x.dtype == np.float64)
    carriers = tuple(place for place in (0, 4, 5, 6) if place < len(inputs) and inputs[place] is not None)
    options.setdefault("hidden_size", HIDDEN)
    made = outputs or (3 if operator == "LSTM" else 2)
    return Case(operator, tuple(inputs), options, wrt, batched=carriers if first else (), outputs=made)


_BOTH = {"direction": "bidirectional"}


def _plain(operator: str) -> list[Case]:
    return [
        recurrent(operator, **_BOTH, states=True, lengths=(4, 2, 1)),
        recurrent(operator, layout=1, direction="reverse", states=True),
        recurrent(operator, direction="reverse", lengths=(1, 3, 4), bias=False),
        recurrent(operator, outputs=1),
        recurrent(operator, layout=1, **_BOTH, states=True, lengths=(2, 4, 3)),
        recurrent(operator, clip=0.8, states=True, **_BOTH),
        recurrent(operator, batch=1, states=True, **_BOTH),
        recurrent(operator, steps=1, batch=1, lengths=(1,)),
    ]


def _functions(operator: str, *sets: tuple[str, ...], **further: Any) -> list[Case]:
    return [recurrent(operator, activations=functions, **further) for functions in sets]


def kept(case: Case) -> list[Case]:
    """The form that keeps what the gradient needs, and the gradient from that."""
    leaves, _ = case.build("float64")
    given, places = [None] * 8, iter(leaves)
    symbols: list[Leaf | None] = [next(places) if x is not None else None for x in case.inputs]
    outputs = case.outputs + 1
    *_, last = emit_all(f"{case.operator}Forward", *symbols, outputs=outputs, domain=INTERNAL, **case.attributes)
    plan = Plan(trace(leaves, [last]).graph, {}, {})
    for name, array in case.feeds("float64").items():
        plan.inputs[name][...] = array
    plan.run()
    [found] = plan.outputs.values()
    flows = [real(*symbol.shape) for symbol in case.build("float64")[1]]
    saved = np.clip(np.nan_to_num(found), -9, 9)  # Not all of its memory is written to.
    inputs = (*case.inputs, *given[len(case.inputs) :], saved, *flows)
    made = 7 if case.operator == "LSTM" else 5
    return [
        Case(f"{case.operator}Forward", case.inputs, case.attributes, case.wrt, outputs=case.outputs, domain=INTERNAL),
        Case(f"{case.operator}Grad", inputs, case.attributes, (9,), outputs=made, domain=INTERNAL),
    ]


CASES = [
    *(
        each
        for operator in GATES
        for options in (
            {"lengths": (4, 2, 1), **_BOTH},
            {"clip": 0.8, "layout": 1},
            {"batch": 1, "direction": "reverse"},
        )
        for each in kept(recurrent(operator, states=True, peepholes=True, **options))
    ),
    *(each for each in kept(recurrent("GRU", states=True, linear_before_reset=1, lengths=(1, 3, 4)))),
    *(each for each in kept(recurrent("LSTM", states=True, peepholes=True, input_forget=1))),
    *(case for operator in GATES for case in _plain(operator)),
    *_functions("RNN", *[(name,) for name in ("Sigmoid", "Softsign", "Softplus", "LeakyRelu", "Relu", "Elu")]),
    *_functions("RNN", ("Affine",), ("HardSigmoid",), activation_alpha=(0.3,), activation_beta=(0.4,)),
    recurrent("RNN", activations=("ScaledTanh",), activation_alpha=(0.8,), activation_beta=(1.3,)),
    recurrent("RNN", activations=("ThresholdedRelu",), activation_alpha=(0.2,)),
    recurrent(
        "RNN", **_BOTH, activations=("Elu", "LeakyRelu"), activation_alpha=(0.6, 0.2), clip=0.9, lengths=(2, 4, 1)
    ),
    recurrent("GRU", linear_before_reset=1, states=True, lengths=(1, 4, 2), **_BOTH),
    recurrent("GRU", linear_before_reset=1, layout=1, clip=0.7),
    recurrent("GRU", linear_before_reset=1, bias=False, batch=1),
    recurrent("GRU", linear_before_reset=1, activations=("HardSigmoid", "Softsign")),
    recurrent("GRU", activations=("Softsign", "Elu"), activation_alpha=(0.5,)),
    recurrent("LSTM", peepholes=True, states=True, lengths=(4, 1, 3), **_BOTH),
    recurrent("LSTM", peepholes=True, batch=1, direction="reverse", layout=1),
    recurrent("LSTM", input_forget=1, states=True),
    recurrent("LSTM", input_forget=1, peepholes=True, clip=0.9),
    recurrent("LSTM", activations=("HardSigmoid", "Softsign", "Elu"), activation_alpha=(0.3, 0.7), peepholes=True),
]
