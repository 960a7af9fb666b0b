"""Chains of layers that each halve or double a size, in place of one layer with a large kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import inf
from types import MappingProxyType
from typing import Any, Final, TypeAlias

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

WIDER: Final[Mapping[str, Sequence[Any]]] = {
    "kernel": range(2, 8),
    "stride": (1, 2),
    "dilation": (1,),
    "padding": [(pad, pad) for pad in range(4)],
}
"""The values that are tried of each option where others are given."""

BESIDE: Final = 2
"""The most layers beside those that halve or double."""

Chain: TypeAlias = tuple[int, tuple[Window, ...]]


FAULT: Final = 1000
"""The cost of a layer with given options that leaves cells unread or overlaps unevenly."""


def chain(
    kind: Kind, sizes: PerAxis, outputs: PerAxis, given: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> tuple[Operation, ...]:
    """The layers that turn an input of ``sizes`` into ``outputs`` one after another, each by about half or double.

    They are few, and most have kernel 4, stride 2 and padding 1; none leaves cells unread or overlaps unevenly, unless
    options are ``given`` with which no other gives that size.

    Args:
        kind: ``"conv"`` to shrink, ``"convt"`` to enlarge.
        sizes: the size of the input along each axis.
        outputs: the wanted size of the output along each axis.
        given: options that every layer keeps, by name: values along each axis, of ``padding`` pairs (begin, end).

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
    options = [{name: values[axis] for name, values in given.items()} for axis in range(len(found))]
    axes = [_chains(kind, *pair, most, each) for pair, each in zip(ends, options, strict=True)]
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


def _tried(given: Mapping[str, Any]) -> Mapping[Window, int]:
    """The windows that are tried along one axis, with their costs: small ones beside the usual, if some are given."""
    if not given:
        return USUAL
    values = {**WIDER, **{name: (value,) for name, value in given.items()}}
    windows = [
        Window(kernel, stride, dilation, *pads)
        for kernel, stride, dilation, pads in product(*(values[name] for name in WIDER))
    ]
    return {window: USUAL.get(window, 8 + window.kernel + sum(window.pads)) for window in windows}


def _chains(kind: Kind, small: int, large: int, most: int, given: Mapping[str, Any]) -> dict[int, Chain]:
    """Along one axis: for each number of layers the best chain between the two sizes."""
    # A transposed convolution reverses sizes, with output padding for what a division leaves over. So both kinds are
    # followed from the large size down, where few sizes are left after some layers.
    tried = _tried(given)
    found, reached = dict[int, Chain](), {large: (0, tuple[Window, ...]())}
    for length in range(1, most + 1):
        level = dict[int, Chain]()
        for (size, (cost, later)), (usual, own) in product(reached.items(), tried.items()):
            left, over = divmod(size + sum(usual.pads) - usual.extent, usual.stride)
            if not small <= left + 1 <= size or over != given.get("output_padding", over):
                continue
            window = replace(usual, output_padding=over) if kind == "convt" else usual
            ends = (left + 1, size) if kind == "convt" else (size, left + 1)
            faulty = is_faulty(kind, window, *ends)
            total = cost + own + window.output_padding + FAULT * faulty
            if total < level.get(left + 1, (inf,))[0] and (given or not faulty):
                level[left + 1] = total, (window, *later) if kind == "convt" else (*later, window)
        reached = level
        if small in reached:
            found[length] = reached[small]
    return found
