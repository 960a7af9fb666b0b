"""Recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from portable_nn.converters.keras.installed import keras
from portable_nn.converters.keras.layers.cells import FUNCTIONS
from portable_nn.converters.keras.rebuilding.nodes import whole, wholes
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.values import Laid
from portable_nn.converters.layers.gates import OPERATORS, reordered
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Node
from portable_nn.core.tensors import Array
from portable_nn.operators.recurrent.uses import KINDS as USES


def options_of(node: Node, directions: int) -> dict[str, Any]:
    """The options of the cell of a node. Raises ``RefusalError`` where Keras's cells have none such."""
    default = tuple(name.lower() for name in USES[node.operator].functions)
    given = node.attributes.get("activations")
    back = {operator.lower(): word for word, (operator, *numbers) in FUNCTIONS.items() if not any(numbers)}
    words = [back.get(str(name).lower(), "") for name in given] if isinstance(given, tuple) else [*default] * directions
    one = words[: len(default)]
    if "" in words or words != one * directions or one[1:2] != one[1:][-1:]:
        raise RefusalError("its activations are none that Keras's layer has together")
    options: dict[str, Any] = {"activation": one[-1], "use_bias": len(node.inputs) > 3 and bool(node.inputs[3])}
    options |= {"recurrent_activation": one[0]} if len(one) > 1 else {}
    return options | ({"reset_after": bool(whole(node, "linear_before_reset", 0))} if node.operator == "GRU" else {})


def _weights(b: Rebuilder, node: Node, after: bool) -> Iterator[tuple[int, Array | None]]:
    """The weights of each direction, with the inputs of the node that they come from."""
    row = OPERATORS[node.operator]
    for way in zip(*(array for place in (1, 2, 3) if (array := b.fixed(node, place)) is not None), strict=True):
        yield from ((place, reordered(each, row.gates, row.keras).T) for place, each in enumerate(way[:2], 1))
        for shift in way[2:]:
            one, other = (reordered(each, row.gates, row.keras) for each in np.split(shift, 2))
            if np.any(other) and not after:
                b.notes.append(f"'{node.name}': both of its biases become one, which trains half as fast")
            yield 3, np.stack([one, other]) if after else one + other


@ROWS.row(*OPERATORS)
def _recurrent(b: Rebuilder, node: Node) -> None:
    """LSTM, GRU, RNN, and the nodes behind that bring their states into another form."""
    w = b.fixed(node, 1)
    if w is None or b.fixed(node, 2) is None or whole(node, "layout", 0) or "clip" in node.attributes:
        b.refuse("clip and layout of a recurrent node are not taken over")
    kind, directions = OPERATORS[node.operator].keras_class, len(w)
    units, options = w.shape[1] // len(OPERATORS[node.operator].gates), options_of(node, directions)
    weights = [*_weights(b, node, options.get("reset_after", False))]
    steps, *ends = (b.is_read(name) for name in (*node.outputs, "", "")[:3])
    backwards = directions == 1 and node.attributes.get("direction") == "reverse"
    behind = None if backwards or steps + sum(ends) > 1 or ends[1] else _behind(b, node, directions, all_steps=steps)
    states = behind is None and any(ends)

    def make(name: str) -> Any:
        layer = getattr(keras().layers, kind)
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
