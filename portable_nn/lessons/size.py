"""The page of a convolution or a pool: a kernel that moves over the cells, with every option as a control."""

from __future__ import annotations

from typing import Any, Final

from portable_nn.core.errors import UsageError
from portable_nn.pages.template import fill
from portable_nn.sizes.explain import NAMES
from portable_nn.sizes.operation import Operation, PerAxis, Window, check_channels, input_sizes

MOST_AXES: Final = 2
"""The most axes that the page shows."""

MOST_CELLS: Final = 100
"""The most cells on a side of a board, which scrolls."""


def size_page(operation: Operation, sizes: PerAxis, channels: tuple[int, int] | None = None) -> bytes:
    """An HTML file that shows a convolution, transposed convolution or pool on an input, in which all can be changed.

    Args:
        operation: made by ``sizes.conv``, ``sizes.convt`` or ``sizes.pool``.
        sizes: the size of the input along each axis, at most two.
        channels: those of the input and of the output; by default one for each group.

    Returns:
        The bytes of the file, which needs no network and no other file.

    Raises:
        UsageError: more than two axes, or an input of more than ``MOST_CELLS`` cells along an axis.
        ShapeError: the options do not fit the input.
    """
    found = input_sizes(sizes)
    if len(found) > MOST_AXES:
        raise UsageError(f"a page shows one or two axes, not {len(found)}: give two of the sizes")
    if max(found) > MOST_CELLS:
        raise UsageError(f"a page shows at most {MOST_CELLS} cells along an axis, not {max(found)}: give fewer")
    explicit = operation.resolved(found)
    explicit.output_size(found)
    layer = channels or (operation.groups, operation.groups)
    check_channels(operation, *layer)
    data: dict[str, Any] = {
        "kind": explicit.kind,
        "sizes": found,
        "windows": [window_data(window, explicit.ceil) for window in explicit.windows],
        "groups": explicit.groups,
        "channels": layer,
        "mode": explicit.mode,
        "countIncludePad": explicit.count_include_pad,
        "names": NAMES,
        "mostCells": MOST_CELLS,
    }
    return fill("size", f"{NAMES[explicit.kind]}: which cells a kernel reads", data)


def window_data(window: Window, ceil: bool) -> dict[str, int | bool]:
    """The options along one axis, as the page names them."""
    return {
        "kernel": window.kernel,
        "stride": window.stride,
        "dilation": window.dilation,
        "padBegin": window.pad_begin,
        "padEnd": window.pad_end,
        "outputPadding": window.output_padding,
        "ceil": ceil,
    }
