"""Recurrences in C."""

from __future__ import annotations

from portable_nn.converters.source.c_operators.use import CUse, known_size
from portable_nn.operators.recurrent.uses import recurrence


def recurrence_of(name: str, use: CUse) -> None:
    """A call for each direction."""
    found = recurrence(use)
    use.float_type()
    usual = found.kind.functions
    if found.clip is not None or any(tuple(f.name for f in each) != usual for each in found.functions):
        use.refuse("other activation functions, or a clip of their arguments")
    if name == "lstm" and (use.has(7) or use.int("input_forget")):
        use.refuse("peepholes and coupled gates")
    gates, units, directions = found.kind.gates, found.hidden, found.directions
    scratch = use.scratch_of(2 * gates * units)
    batch, steps, inputs = use.count([found.batch]), use.count([found.steps]), use.count([found.features])
    first = found.batch_first
    x_strides = [inputs, f"{steps} * {inputs}"] if first else [f"{batch} * {inputs}", inputs]
    wide = directions * units
    y_strides = [str(wide), f"{steps} * {wide}"] if first else [f"{batch} * {wide}", str(units)]
    h_batch = wide if first else units
    for way in range(directions):
        y_offset = f" + {way} * {units}" if first else f" + {way} * {batch} * {units}"
        h_offset = f" + {way * units}" if first else f" + {way} * {batch} * {units}"
        at_y, at_h = ("", "") if way == 0 else (y_offset, h_offset)
        states = [f"{use.x[i]}{at_h}" if use.has(i) else "0" for i in range(5, 5 + found.kind.states)]
        weights = [
            use.x[i] if way == 0 else f"{use.x[i]} + {way * rows}"
            for i, rows in ((1, gates * units * known_size(found.features)), (2, gates * units * units))
        ]
        bias = "0" if not use.has(3) else use.x[3] if way == 0 else f"{use.x[3]} + {way * 2 * gates * units}"
        results = [f"{use.y[1 + state]}{at_h}" for state in range(found.kind.states)]
        lengths = use.x[4] if use.has(4) else "0"
        use.call(
            name, use.x[0], *weights, bias, *states, f"{use.y[0]}{at_y}", *results, scratch, lengths, steps, batch,
            inputs, units, *x_strides, *y_strides, h_batch, int(found.reversed[way]),
            *([use.int("linear_before_reset")] if name == "gru" else []),
        )  # fmt: skip
