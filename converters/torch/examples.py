"""Inputs such as PyTorch takes, where it takes less than a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from portable_nn.converters.torch.aten.rows import Stated
from portable_nn.core.dims import evaluated
from portable_nn.network import Network
from portable_nn.operators import Array


def admitted(network: Network, stated: Mapping[str, Stated]) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """The function that makes drawn inputs such as PyTorch takes: lengths within the steps, and the like."""

    def admit(feeds: Mapping[str, Array]) -> dict[str, Array]:
        sizes = {
            dim: size
            for value in network.graph.inputs
            for dim, size in zip(value.shape, feeds[value.name].shape, strict=True)
            if isinstance(dim, str)
        }
        found = dict(feeds)
        for name, (make, dim) in stated.items():
            size = evaluated(dim, sizes)
            found[name] = feeds[name] if size is None else make(feeds[name], size)
        return found

    return admit
