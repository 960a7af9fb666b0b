"""A network whose examples are the steps of one sequence: its layers keep their states from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Value
from portable_nn.core.names import Engine
from portable_nn.network import Network, Stream
from portable_nn.opening.runners import Description, Runnable, output_values
from portable_nn.operators.registry import Array, NamedArrays


def sequence_runnable(network: Network, where: str, engine: Engine) -> Runnable:
    """A network that is given the steps of a sequence, (steps, …), and gives an answer for each; ``where`` names it.

    Raises ``UsageError`` as ``Network.stateful`` does, and for a network with several inputs beside its states, or
    without a number of steps.
    """
    network = network.stateful()
    stream = Stream(network, engine)
    states = {info.name for info in network.inputs if info.state}
    after = {info.state for info in network.inputs}
    held = [value for value in network.graph.inputs if value.name in states]
    entry, steps, batch = _entry([value for value in network.graph.inputs if value not in held], held, where)
    outputs = [value for value in output_values(network) if value.name not in after]
    places = {value.name: _places(value, steps, batch, where) for value in (entry, *outputs)}
    each = all(steps in value.shape for value in outputs)

    def part(x: Array) -> dict[str, Array]:
        """The outputs for some steps."""
        found = stream({entry.name: np.moveaxis(x[:, np.newaxis], (0, 1), places[entry.name])})
        rows = {name: np.moveaxis(array, places[name], range(len(places[name]))) for name, array in found.items()}
        return {name: array[:, 0] if len(places[name]) > 1 else array for name, array in rows.items()}

    def run(feeds: NamedArrays) -> NamedArrays:
        x = feeds[entry.name]
        if each:
            return part(x)
        found = [part(x[place : place + 1]) for place in range(len(x))]  # An answer after each step.
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    infos = [info for info in network.inputs if not info.state]
    described = [info for info in network.outputs if info.name not in after]
    return Runnable(
        where,
        [_of_steps(entry, places)],
        [_of_steps(value, places) for value in outputs],
        Description(infos, described),
        run,
        notes=(f"the examples are the steps of one sequence; states kept: {', '.join(sorted(states))}",),
    )


def _entry(data: Sequence[Value], states: Sequence[Value], where: str) -> tuple[Value, Dim, Dim]:
    """The input beside the states, its size that is the number of steps, and that of the batch.

    Raises ``UsageError`` where there are several, or none.
    """
    if len(data) != 1:
        names = ", ".join(value.name for value in data)
        raise UsageError(f"{where}: a stream has one input beside its states; this model has {names or 'none'}")
    sizes = {size for value in states for size in value.shape}
    steps = [size for size in data[0].shape if isinstance(size, str) and size not in sizes]
    if len(steps) != 1:
        raise UsageError(f"{where}: a stream has one size that is the number of steps, not {data[0]}")
    return data[0], steps[0], next((size for size in data[0].shape if size in sizes and isinstance(size, str)), 1)


def _places(value: Value, steps: Dim, batch: Dim, where: str) -> tuple[int, ...]:
    """The axes of the steps, if there are any, and of the batch. Raises ``UsageError`` where there is none."""
    if batch not in value.shape:
        raise UsageError(f"{where}: a stream has a batch of 1 or any, and {value} has none")
    found = value.shape.index(batch)
    return (value.shape.index(steps), found) if steps in value.shape else (found,)


def _of_steps(value: Value, places: Mapping[str, tuple[int, ...]]) -> Value:
    """The value where the steps are the examples."""
    return replace(value, shape=("steps", *(d for at, d in enumerate(value.shape) if at not in places[value.name])))
