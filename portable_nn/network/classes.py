"""Names of classes for networks that were read from files or code bases that have none."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.text import quantity
from portable_nn.network.network import Network, kept_outputs


def declare_classes(network: Network, labels: Sequence[str]) -> None:
    """Name the classes of the first output with as many numbers as there are ``labels``; none change nothing.

    What softmax or the logistic function makes are probabilities, and other numbers logits.

    Raises ``UsageError`` where no output has so many numbers.
    """
    if not labels:
        return
    shapes = {info.name: network.types[info.name].shape for info in network.outputs}
    fitting = [(len(labels),), *[(1,)] * (len(labels) == 2)]
    name = next((name for size in fitting for name, shape in shapes.items() if shape[-1:] == size), None)
    if name is None:
        found = ", ".join(f"'{name}' is {format_shape(shape)}" for name, shape in shapes.items())
        raise UsageError(f"given are {quantity(len(labels), 'label')}, and no output has so many numbers: {found}")
    made = next(info.kind for info in kept_outputs(network.graph, ()) if info.name == name)
    kind = made if made != "values" else "binary_logits" if shapes[name][-1:] == (1,) else "logits"
    network.outputs = tuple(
        replace(info, kind=kind if info.kind == "values" else info.kind, labels=tuple(labels))
        if info.name == name
        else info
        for info in network.outputs
    )
