"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.layers.cells import FUNCTIONS, KINDS
from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.values import Laid
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array


class Masked(NamedTuple):
    """The mask of a layer, as Keras has it: the nodes around a recurrent one that leave steps out.

    Attributes:
        x: what the layer reads, (batch, steps, features).
        mask: which steps count.
        zeros: whether the states of other steps are zeros, and not those before.
        steps: the states of all steps, if anything reads them.
        states: the last ones, as far as anything reads them.
    """

    x: str
    mask: str
    zeros: bool
    steps: str | None
    states: Sequence[str | None]


def recurrent(b: Rebuilder, node: Node, masked: Masked | None = None) -> None:
    """LSTM, GRU, RNN, and the nodes around that leave steps out, or bring their states into another form."""
    kind_name = next(name for name, kind in KINDS.items() if kind.operator == node.operator)
    kind = KINDS[kind_name]
    w, r, shift = (b.fixed(node, place) for place in (1, 2, 3))
    if w is None or r is None or whole(node, "layout", 0) or "clip" in node.attributes:
        b.refuse("clip and layout of a recurrent node are not taken over")
    directions, rows, _ = w.shape
    units = rows // len(kind.gates)
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
    steps, *ends = (b.is_read(name) for name in (*node.outputs, "", "")[:3])
    if masked is not None:
        _run_masked(
            b,
            node,
            masked,
            lambda name, **more: getattr(keras().layers, kind_name)(units, name=name, **options, **more),
            weights,
        )
        return
    backwards = directions == 1 and node.attributes.get("direction") == "reverse"
    behind = None if backwards or steps + sum(ends) > 1 or ends[1] else _behind(b, node, directions, all_steps=steps)
    states = behind is None and any(ends)

    def make(name: str) -> Any:
        layer = getattr(keras().layers, kind_name)
        chosen = {"return_sequences": steps, "return_state": states, "zero_output_for_mask": True, **options}
        if directions == 1:
            return layer(units, go_backwards=backwards, name=name, **chosen)
        return keras().layers.Bidirectional(layer(units, **chosen), name=name)

    given = {"mask": _mask(b, node), "initial_state": _initial(b, node, directions)}
    made = b.call(
        node, make, b.laid(node.inputs[0], (1, 0, 2)), weights, **{k: v for k, v in given.items() if v is not None}
    )
    if behind is not None:
        b.done |= {each.name for each in behind}
        b.values[behind[-1].outputs[0]] = Laid(made, (1, 0, 2) if steps else (0, 1))
        return
    _take_all(b, node, made if states else [made], directions, units, backwards=backwards)


def _run_masked(
    b: Rebuilder,
    node: Node,
    masked: Masked,
    layer: Callable[..., Any],
    weights: Sequence[tuple[int, Array | None]],
) -> None:
    """A layer that is called with a mask."""
    all_states = masked.states[1:] != [None] * len(masked.states[1:]) or bool(masked.steps and masked.states[0])
    options = {
        "return_sequences": masked.steps is not None,
        "return_state": all_states,
        "zero_output_for_mask": masked.zeros,
    }
    given = {"mask": b.laid(masked.mask), "initial_state": _initial(b, node, 1)}
    made = b.call(
        node,
        lambda name: layer(name, **options),
        b.laid(masked.x),
        weights,
        **{name: value for name, value in given.items() if value is not None},
    )
    first, *last = made if all_states else [made, made]
    if masked.steps is not None:
        b.values[masked.steps] = Laid(first, (0, 1, 2))
    for name, value in zip(masked.states, last, strict=False):
        if name is not None:
            b.values[name] = Laid(value, (0, 1))


def _behind(b: Rebuilder, node: Node, directions: int, *, all_steps: bool) -> list[Node] | None:
    """The nodes behind that bring the states into the form that Keras's layer gives, where nothing else is read."""
    following = b.only_consumer(node.outputs[0 if all_steps else 1])
    if following is None:
        return None
    if directions == 1 and following.operator == "Squeeze":
        return [following]
    reshaped = b.only_consumer(following.outputs[0])
    if following.operator != "Transpose" or reshaped is None or reshaped.operator != "Reshape" or directions == 1:
        return None
    wanted = [0, 2, 1, 3] if all_steps else [1, 0, 2]
    return [following, reshaped] if wholes(following, "perm", []) == wanted else None


def _take_all(b: Rebuilder, node: Node, made: Sequence[Any], directions: int, units: int, *, backwards: bool) -> None:
    """The outputs of a node: all states (steps, directions, batch, units), and the last ones of each direction."""
    ops = keras().ops
    if b.is_read(node.outputs[0]):
        sequence = ops.flip(made[0], 1) if backwards else made[0]
        parted = keras().layers.Reshape((-1, directions, units), name=b.key(f"{node.name}.directions"))(sequence)
        b.values[node.outputs[0]] = Laid(parted, (1, 2, 0, 3))
    count = (len(made) - 1) // directions
    for place, name in enumerate(node.outputs[1:]):
        if b.is_read(name):
            each = [made[1 + at * count + place] for at in range(directions)]
            b.values[name] = Laid(ops.stack(each, axis=1), (1, 0, 2))


def _mask(b: Rebuilder, node: Node) -> Any:
    """The steps that count, (batch, steps), where a node is given the lengths of its sequences."""
    if len(node.inputs) < 5 or not node.inputs[4]:
        return None
    ops, x = keras().ops, b.laid(node.inputs[0], (1, 0, 2))
    numbers = ops.cumsum(ops.ones_like(x[:, :, 0], dtype="int32"), axis=1)
    return ops.less_equal(numbers, ops.expand_dims(ops.cast(b.laid(node.inputs[4]), "int32"), 1))


def _initial(b: Rebuilder, node: Node, directions: int) -> list[Any] | None:
    """The first states: those of the first direction, then those of the second."""
    names = [name for name in node.inputs[5:7] if name]
    if len(node.inputs) > 7 and node.inputs[7]:
        b.refuse("its peepholes are none of Keras's")
    if not names:
        return None
    states = [b.laid(name, (1, 0, 2)) for name in names]
    return [state[:, at] for at in range(directions) for state in states]


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
        raise RefusalError("its activations are none that Keras's layer has together")
    return one


ROWS: Final[Mapping[str, Row]] = {
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": recurrent,
}
