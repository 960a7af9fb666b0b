"""Loops, as a numpy module is given them: what runs in each turn is a function."""

import numpy as np


def loop(step, most, goes_on, states, empty):
    """Run a step until it says that it ends, or so many times; what each turn makes is stacked."""
    made, turn = [], 0
    while goes_on and (most is None or turn < most):
        goes_on, *found = step(np.int64(turn), np.bool_(True), *states)
        states, turn = found[: len(states)], turn + 1
        made.append(found[len(states) :])
    return (*states, *(np.stack(each) for each in zip(*made))) if made else (*states, *empty)


def scan(step, states, inputs, axes, backwards, empty, out_axes, out_backwards):
    """Run a step for each place along axes of the inputs, and put what each makes along axes."""
    rows = [np.moveaxis(x, axis, 0)[:: -1 if back else 1] for x, axis, back in zip(inputs, axes, backwards)]
    made = []
    for row in zip(*rows):
        found = step(*states, *row)
        found = found if isinstance(found, tuple) else (found,)
        states = found[: len(states)]
        made.append(found[len(states) :])
    if not made:
        return (*states, *empty)
    stacked = [np.stack(each)[:: -1 if back else 1] for each, back in zip(zip(*made), out_backwards)]
    return (*states, *(np.moveaxis(each, 0, axis) for each, axis in zip(stacked, out_axes)))
