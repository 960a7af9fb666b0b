"""Chains of layers that each halve or double a size, in place of one layer with a large kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import inf
from typing import Final, TypeAlias

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes.coverage import is_faulty
from portable_nn.sizes.operation import Kind, Operation, PerAxis, Window, size_text
from portable_nn.sizes.solve import both_sizes

USUAL: Final[Mapping[Window, int]] = {
    Window(4, 2, 1, 1, 1): 4,
    Window(3, 2, 1, 1, 1): 5,
    Window(4, 2): 6,
    Window(4, 2, 1, 2, 2): 7,
    Window(3, 1, 1, 1, 1): 4,
    **{Window(kernel): 4 + kernel for kernel in range(2, 8)},
}
"""The windows in chains, with their costs: about half the size, the same size, and a few cells less."""

BESIDE: Final = 2
"""The most layers beside those that halve or double."""

Chain: TypeAlias = tuple[int, tuple[Window, ...]]


def chain(kind: Kind, sizes: PerAxis, outputs: PerAxis) -> tuple[Operation, ...]:
    """The layers that turn an input of ``sizes`` into ``outputs`` one after another, each by about half or double.

    They are few, and most have kernel 4, stride 2 and padding 1; none leaves cells unread or overlaps unevenly.

    Args:
        kind: ``"conv"`` to shrink, ``"convt"`` to enlarge.
        sizes: the size of the input along each axis.
        outputs: the wanted size of the output along each axis.

    Raises:
        UsageError: a pool, or different numbers of axes.
        ShapeError: there is no such chain.

    >>> [layer.windows[0].kernel for layer in chain("convt", 7, 56)]
    [4, 4, 4]
    """
    if kind == "pool":
        raise UsageError("a chain is of kind conv or convt, not pool")
    found, wanted = both_sizes(sizes, outputs)
    ends = list(zip(found, wanted, strict=True) if kind == "convt" else zip(wanted, found, strict=True))
    most = max(max(1, large // small).bit_length() for small, large in ends) - 1 + BESIDE
    axes = [_chains(kind, *pair, most) for pair in ends]
    lengths = set(axes[0]).intersection(*axes)
    if not lengths:
        does = "double" if kind == "convt" else "halve"
        raise ShapeError(
            f"no chain of {kind} layers that {does} a size, with at most {BESIDE} others, turns {size_text(found)} "
            f"into {size_text(wanted)}: resize to {size_text(wanted)}, then convolve with kernel 3 and padding 1"
        )
    best = min(lengths, key=lambda length: (sum(axis[length][0] for axis in axes), length))
    layers = zip(*(axis[best][1] for axis in axes), strict=True)
    return tuple(Operation(kind, windows) for windows in layers)


def _chains(kind: Kind, small: int, large: int, most: int) -> dict[int, Chain]:
    """Along one axis: for each number of layers the best chain between the two sizes."""
    # A transposed convolution reverses sizes, with output padding for what a division leaves over. So both kinds are
    # followed from the large size down, where few sizes are left after some layers.
    found, reached = dict[int, Chain](), {large: (0, tuple[Window, ...]())}
    for length in range(1, most + 1):
        level = dict[int, Chain]()
        for (size, (cost, later)), (usual, own) in product(reached.items(), USUAL.items()):
            left, over = divmod(size + sum(usual.pads) - usual.kernel, usual.stride)
            if not small <= left + 1 <= size:
                continue
            window = replace(usual, output_padding=over) if kind == "convt" else usual
            ends = (left + 1, size) if kind == "convt" else (size, left + 1)
            total = cost + own + window.output_padding
            if total < level.get(left + 1, (inf,))[0] and not is_faulty(kind, window, *ends):
                level[left + 1] = total, (window, *later) if kind == "convt" else (*later, window)
        reached = level
        if small in reached:
            found[length] = reached[small]
    return found
