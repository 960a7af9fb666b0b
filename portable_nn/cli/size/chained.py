"""The chain of layers that ``size conv`` and ``convt`` offer with ``--to``: in words, as PyTorch code and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from portable_nn import sizes
from portable_nn.core.errors import ShapeError
from portable_nn.sizes import Operation, size_text
from portable_nn.sizes.operation import Kind

PLACEHOLDERS: Final = "# The channels 1, 1 are placeholders: replace them, or give --channels IN:OUT."
"""The comment on PyTorch code whose channels nobody gave."""


class Link(NamedTuple):
    """A layer of a chain, the size of its input, and its channels."""

    operation: Operation
    inputs: tuple[int, ...]
    channels: tuple[int, int]


def links(
    kind: Kind,
    inputs: Sequence[int],
    outputs: Sequence[int],
    channels: tuple[int, int],
    groups: int,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[list[Link], str]:
    """The best chain, and why there is none; both are empty where one layer is usual, or the kind is of no use."""
    ends = (inputs, outputs) if kind == "convt" else (outputs, inputs)
    if kind == "pool" or any(large < small for small, large in zip(*ends, strict=True)):
        return [], ""
    try:
        chain = sizes.chain(kind, inputs, outputs, given)
    except ShapeError as error:
        return [], str(error)
    found, size = list[Link](), tuple(inputs)
    for layer, passed in zip(chain, pairwise(_channels(kind, channels, len(chain), groups)), strict=True):
        found.append(Link(replace(layer, groups=groups), size, passed))
        size = layer.output_size(size)
    return found if len(found) > 1 else [], ""


def _channels(kind: Kind, ends: tuple[int, int], layers: int, groups: int) -> list[int]:
    """The channels before, between and after the layers: half as many, where the sizes double."""
    small, large = ends if kind == "convt" else ends[::-1]
    between = [max((small >> place) // groups * groups, min(ends)) for place in range(1, layers)]
    return [small, *between, large][:: 1 if kind == "convt" else -1]


def heading(chain: Sequence[Link]) -> str:
    """``7x7 -> 14x14 -> 28x28``."""
    last = chain[-1]
    passed = [link.inputs for link in chain] + [last.operation.output_size(last.inputs)]
    return " -> ".join(map(size_text, passed))


def torch_code(chain: Sequence[Link]) -> str:
    """The chain as a PyTorch module, a layer a line."""
    lines = (f"    {sizes.torch_text(operation, *channels)},\n" for operation, _, channels in chain)
    return f"torch.nn.Sequential(\n{''.join(lines)})"


def chain_page(chain: Sequence[Link]) -> bytes:
    """The chain as a page: each layer with its sizes and receptive field, and the code."""
    from portable_nn import layers
    from portable_nn.analysis.sizes import as_page
    from portable_nn.network.sequential import Sequential
    from portable_nn.outputs.reports import size_net

    first = chain[0]
    name = f"{'ConvTranspose' if first.operation.kind == 'convt' else 'Conv'}{len(first.inputs)}d"
    made = [
        getattr(layers, name)(
            channels[1],
            [window.kernel for window in operation.windows],
            stride=[window.stride for window in operation.windows],
            padding=[window.pads for window in operation.windows],
            dilation=[window.dilation for window in operation.windows],
            groups=operation.groups,
            **({"output_padding": [w.output_padding for w in operation.windows]} if operation.kind == "convt" else {}),
        )
        for operation, _, channels in chain
    ]
    net = Sequential(layers.Input(first.channels[0], *first.inputs), *made, seed=0)
    return as_page(size_net(net), heading(chain), torch_code(chain))
