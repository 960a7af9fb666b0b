"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.layers.cells import FUNCTIONS, KINDS
from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Laid, NoLayerError, Rebuilder, Row
from portable_nn.core.graph import Node
from portable_nn.format.tensors import Array


def _recurrent(b: Rebuilder, node: Node) -> None:
    """LSTM, GRU, RNN, and the nodes behind that bring their states into another form."""
    kind_name = next(name for name, kind in KINDS.items() if kind.operator == node.operator)
    kind = KINDS[kind_name]
    w, r, shift = (b.fixed(node, place) for place in (1, 2, 3))
    if any(node.inputs[4:]) or w is None or r is None or whole(node, "layout", 0) or "clip" in node.attributes:
        raise NoLayerError("lengths, initial states, clip and layout of a recurrent node are not taken over")
    directions, rows, _ = w.shape
    units = rows // len(kind.gates)
    backwards = node.attributes.get("direction") == "reverse"
    after = bool(whole(node, "linear_before_reset", 0))
    words = _functions(node, kind_name, directions)
    options: dict[str, Any] = {"activation": words[-1], "use_bias": shift is not None}
    if node.operator != "RNN":
        options["recurrent_activation"] = words[0]
    if node.operator == "GRU":
        options["reset_after"] = after
    weights: list[tuple[int, Array | None]] = []
    for at in range(directions):
        weights += [(1, _back(w[at], kind.gates, units).T), (2, _back(r[at], kind.gates, units).T)]
        if shift is not None:
            one, other = (_back(each, kind.gates, units) for each in np.split(shift[at], 2))
            if after or not np.any(other):
                weights.append((3, np.stack([one, other]) if after else one))
            else:
                b.notes.append(f"'{node.name}': both of its biases become one, which trains half as fast")
                weights.append((3, one + other))
    sequence, ends = (
        node.outputs[0],
        [name for name in node.outputs[1:] if name in b.consumers or name in b.graph.outputs],
    )
    all_steps = bool(sequence) and (sequence in b.consumers or sequence in b.graph.outputs)
    if (
        len(ends) > 1
        or (ends and all_steps)
        or (ends and ends[0] != node.outputs[1])
        or (backwards and directions == 1)
    ):
        raise NoLayerError("both all states and the last ones are read, or those of c: not taken over")
    x = b.laid(node.inputs[0], (1, 0, 2))

    def make(name: str) -> Any:
        layer = getattr(keras().layers, kind_name)
        if directions == 1:
            return layer(units, return_sequences=all_steps, name=name, **options)
        inner = layer(units, return_sequences=all_steps, **options)
        return keras().layers.Bidirectional(inner, name=name)

    # The nodes behind: they bring the states into (batch, steps, features) or (batch, features).
    value = sequence if all_steps else ends[0]
    following = b.only_consumer(value)
    made = b.call(node, make, x, weights)
    if directions == 1 and following is not None and following.operator == "Squeeze":
        b.done.add(following.name)
        b.values[following.outputs[0]] = Laid(made, (1, 0, 2) if all_steps else (0, 1))
        return
    if following is not None and following.operator == "Transpose":
        reshaped = b.only_consumer(following.outputs[0])
        if reshaped is not None and reshaped.operator == "Reshape":
            if not all_steps and wholes(following, "perm", []) == [1, 0, 2]:
                b.done |= {following.name, reshaped.name}
                b.values[reshaped.outputs[0]] = Laid(made, (0, 1))
                return
            if all_steps and directions == 2 and wholes(following, "perm", []) == [0, 2, 1, 3]:
                b.done |= {following.name, reshaped.name}
                b.values[reshaped.outputs[0]] = Laid(made, (1, 0, 2))
                return
    raise NoLayerError("its states are brought into a form that is none of Keras's")


def _back(rows: Array, gates: Sequence[int], units: int) -> Array:
    """Rows of the standard's gates in Keras's order."""
    found = np.empty_like(rows)
    for place, gate in enumerate(gates):
        found[gate * units : (gate + 1) * units] = rows[place * units : (place + 1) * units]
    return found


def _functions(node: Node, kind: str, directions: int) -> tuple[str, ...]:
    default = {"SimpleRNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}[kind]
    given = node.attributes.get("activations")
    if not isinstance(given, tuple):
        return default
    back = {ours[0].lower(): name for name, ours in FUNCTIONS.items()}
    words = [back.get(str(name).lower(), "") for name in given]
    one = tuple(words[: len(default)])
    simple = {"tanh", "sigmoid", "relu", "softsign", "softplus"}
    if not set(words) <= simple or tuple(words) != one * directions or (kind == "LSTM" and one[1] != one[2]):
        raise NoLayerError("its activations are none that Keras's layer has together")
    return one


ROWS: Final[Mapping[str, Row]] = {
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
