"""The start of both sides of a proof of training: examples, and networks that drop nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from portable_nn.converters.torch.aten.rows import Stated
from portable_nn.core.dims import evaluated
from portable_nn.network import Network
from portable_nn.onnx.meant import meant
from portable_nn.onnx.samples import redrawn, varied
from portable_nn.operators import Array
from portable_nn.rewrites.unused import bypassed

BATCH: Final = 8
"""The number of examples, where it is open."""


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


def examples(network: Network, rng: np.random.Generator) -> dict[str, Array]:
    """Noise for training: more examples than a proof of outputs takes, as roundings grow where batches are small."""
    graph, made_for = network.graph, meant(network.graph, network.parameters, network.inputs)
    found = varied(graph, rng, made_for)[1]
    batch = graph.inputs[0].shape[:1]
    wide = {
        value.name: np.empty(
            [BATCH if (dim,) == batch and isinstance(dim, str) else size
             for dim, size in zip(value.shape, found[value.name].shape, strict=True)],
            value.dtype,
        )
        for value in graph.inputs
    }  # fmt: skip
    return redrawn(graph, wide, rng, made_for)[0]


def without_dropout(network: Network) -> Network:
    """A copy in which nothing drops: the random numbers of two code bases are others."""
    return Network.from_graph(
        bypassed(network.graph, {"Dropout"}),
        network.parameters.arrays,
        inputs=network.inputs,
        metadata=network.metadata,
        seed=0,
    )
