"""Loops, as a numpy module is given them: what runs in each turn is a function."""

import numpy as np


def loop(step, most, goes_on, states, empty):
    """Run a step until it says that it ends, or so many times; what each turn makes is stacked.

    Where ``goes_on`` is ``None``, the number alone counts.
    """
    made, turn, is_counted = [], 0, goes_on is None
    while (is_counted or goes_on) and (most is None or turn < most):
        goes_on, *found = step(np.asarray(turn), np.asarray(True), *states)
        states, turn = found[: len(states)], turn + 1
        made.append(found[len(states) :])
    return (*states, *(np.stack(each) for each in zip(*made))) if made else (*states, *empty)


def scan(step, states, inputs, axes, backwards, empty, out_axes, out_backwards):
    """Run a step for each place along axes of the inputs, and put what each makes along axes."""
    rows = [np.moveaxis(x, axis, 0) for x, axis in zip(inputs, axes)]
    rows = [np.flip(row, (0,)) if back else row for row, back in zip(rows, backwards)]
    made = []
    for row in zip(*rows):
        found = step(*states, *row)
        found = found if isinstance(found, tuple) else (found,)
        states = found[: len(states)]
        made.append(found[len(states) :])
    if not made:
        return (*states, *empty)
    stacked = [np.stack(each[::-1] if back else each) for each, back in zip(zip(*made), out_backwards)]
    return (*states, *(np.moveaxis(each, 0, axis) for each, axis in zip(stacked, out_axes)))
