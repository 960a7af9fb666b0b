"""Inputs on which both engines run: as they are drawn, with sizes that the graph takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from portable_nn.core.dims import is_name
from portable_nn.core.errors import FormatError, GraphError
from portable_nn.core.graph import Graph, Value
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.onnx.samples import BATCHES, SEVERAL, SIZES, Meant, NoInputsError, has_batch, open_sizes, varied

Made = TypeVar("Made")


def drawn_for(
    graph: Graph,
    rng: np.random.Generator,
    made_for: Mapping[str, Meant],
    run: Callable[[Sequence[NamedArrays]], Made],
) -> tuple[list[dict[str, Array]], Made]:
    """Inputs as ``varied`` draws them, and what ``run`` makes of them.

    Where it cannot run on them, sizes that are not the batch may be too large, such as the length of a sequence for a
    table of positions: smaller ones are tried; and then several examples, as one alone has no variance.
    """
    refused: Exception | None = None
    for batches in (BATCHES, SEVERAL) if has_batch(graph) else (BATCHES,):
        sizes = SIZES
        while sizes:
            try:
                drawn = varied(graph, rng, made_for, sizes, batches)
                return drawn, run(whole_models(drawn))
            except (FormatError, GraphError, NoInputsError) as error:
                refused = refused or error
                if not isinstance(error, FormatError) or not open_sizes(graph):
                    break
            tried = {size for each in sizes_of(graph.inputs, drawn).values() for size in each}
            sizes = tuple(size for size in sizes if size < max(tried, default=0))
    assert refused is not None
    raise refused


def whole_models(drawn: Sequence[dict[str, Array]]) -> list[dict[str, Array]]:
    """The inputs on which whole models run: of two that have the same shapes, one is enough."""
    return [*drawn[:2], *drawn[3:]]


def batches_of(whole: Iterable[NamedArrays]) -> tuple[int, ...]:
    """The batch sizes of inputs."""
    return tuple(dict.fromkeys(next((len(array) for array in feeds.values() if array.ndim), 1) for feeds in whole))


def sizes_of(inputs: Iterable[Value], whole: Iterable[NamedArrays]) -> dict[str, tuple[int, ...]]:
    """The numbers that each symbolic size of the inputs had, but for the batch."""
    found: dict[str, dict[int, None]] = {}
    for feeds in whole:
        for value in inputs:
            for dim, number in zip(value.shape[1:], feeds[value.name].shape[1:], strict=True):
                if is_name(dim):
                    found.setdefault(dim, {})[number] = None
    return {name: tuple(numbers) for name, numbers in found.items()}
