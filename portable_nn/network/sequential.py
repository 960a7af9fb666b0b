"""Networks whose layers follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.numbers import Natural
from portable_nn.core.text import quantity
from portable_nn.layers import Layer
from portable_nn.network.network import Network
from portable_nn.operators import Leaf, Symbol
from portable_nn.preprocessing.steps import Preprocessing

__all__ = ["Sequential"]


@check_kinds
class Sequential(Network):
    """A network whose layers follow one another.

    A network with one input and one output can be one of the layers, and begins with the weights that it has:
    ``Sequential(trained.until("pool"), Dense(5))``.

    Args:
        layers: ``Input(…)`` or a network, and the layers that follow it.
        labels: the names of the classes, one for each entry of the output's last dimension.
        preprocessing: the steps that make the input from pictures; by default those of a network that comes first.
        metadata: your own words about the network, stored with it; by default those of a network that comes first.
        seed: the seed of the initial weights, the shuffling and dropout. Same seed, same machine: same bytes.
        name: the name of the graph; by default that of a network that comes first.

    Raises ``UsageError`` where there is no input, or where something is no layer, and ``GraphError`` where a layer does
    not fit the one before.

    >>> import portable_nn as pnn
    >>> pnn.Sequential(pnn.Input(784), pnn.Dense(200), pnn.Sigmoid(), pnn.Dense(10), labels="0123456789", seed=0)
    Network 'network': 3 nodes, 159,010 parameters (636 kB)
      input input: float32(batch, 784)
      output dense_2: float32(batch, 10), logits
    """

    def __init__(
        self,
        *layers: Leaf | Layer | Network,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        metadata: Mapping[str, str] | None = None,
        seed: Natural | None = None,
        name: str | None = None,
    ) -> None:
        first, rest = (layers[0], layers[1:]) if layers else (None, ())
        body = first if isinstance(first, Network) else None
        if body:
            value = body.graph.inputs[0]
            first, rest = Leaf(value.name, value.dtype, value.shape), layers
            metadata = body.metadata if metadata is None else metadata
            name = body.graph.name if name is None else name
        if isinstance(first, list | tuple):
            raise UsageError("Sequential takes layers one by one, not as a list: Sequential(*layers)")
        if not isinstance(first, Leaf):
            raise UsageError("Sequential begins with Input(…), or with a network")
        last: Symbol = first
        for layer in rest:
            last = _check_layer(layer)(last)
        steps, name = preprocessing or (), "network" if name is None else name
        super().__init__(first, last, labels=labels, preprocessing=steps, metadata=metadata, seed=seed, name=name)
        if body and preprocessing is None:
            self.inputs = body.inputs


def _check_layer(layer: object) -> Layer | Network:
    """``layer``, if it can follow another one. Raises ``UsageError``."""
    if isinstance(layer, Leaf):
        raise UsageError("Sequential has one Input, its first layer; use Network for several")
    if isinstance(layer, Network):
        if (len(layer.inputs), len(layer.outputs)) != (1, 1):
            found = f"{quantity(len(layer.inputs), 'input')} and {quantity(len(layer.outputs), 'output')}"
            raise UsageError(f"Sequential takes networks with one input and one output; this has {found}: call it")
    elif not isinstance(layer, Layer):
        raise UsageError(f"Sequential is made of layers such as ReLU() or Dense(10), not of {layer!r}")
    return layer
