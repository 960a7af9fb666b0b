"""PyTorch's side: the same operation, its output size, and which cells it touches, found by running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from portable_nn.sizes import Operation, Window

torch = pytest.importorskip("torch")
F = torch.nn.functional


def run(kind: str, x: Any, options: dict[str, Any]) -> Any:
    """The operation on ``x`` (batch, channels, sizes), with weights of ones; what PyTorch refuses raises."""
    axes, given = x.ndim - 2, dict(options)
    kernel = given.pop("kernel")
    if kind == "pool":
        name = f"{'avg' if given.pop('mode', 'max') == 'average' else 'max'}_pool{axes}d"
        given |= {"ceil_mode": given.pop("ceil", False)}
        return getattr(F, name)(x, kernel, **given)
    weight = torch.ones(x.shape[1], 1, *kernel, dtype=x.dtype)
    name = f"conv{axes}d" if kind == "conv" else f"conv_transpose{axes}d"
    return getattr(F, name)(x, weight, **given)


def explicit(operation: Operation, window: Window, x: Any) -> Any:
    """One axis of an operation with any pads, by padding or cutting apart from it."""
    if operation.kind == "convt":
        options = {"kernel": [window.kernel], "stride": window.stride, "dilation": window.dilation}
        whole = F.pad(run("convt", x, options), (0, window.output_padding))
        return whole[..., window.pad_begin : whole.shape[-1] - window.pad_end]
    padded = F.pad(x, window.pads)
    return run("conv", padded, {"kernel": [window.kernel], "stride": window.stride, "dilation": window.dilation})


def touched(operation: Operation, window: Window, size: int, outputs: int) -> tuple[list[int], list[int]]:
    """How often each cell is touched (of the input; of the output for ``convt``), and which positions touch none.

    Each cell of the input is one row of the batch, one-hot.
    """
    x = torch.eye(size, dtype=torch.float64)[:, None, :]
    if operation.ceil:  # the windows over the edge see no more cells than there are
        x = F.pad(x, (0, window.extent * window.stride))
    hits = explicit(operation, window, x)[:, 0, :outputs].round().int()
    cells, positions = (0, 1) if operation.kind == "convt" else (1, 0)
    return hits.sum(cells).tolist(), (hits.sum(positions) == 0).nonzero().flatten().tolist()


def sizes_of(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[2:])


def zeros(sizes: Sequence[int]) -> Any:
    return torch.zeros(1, 1, *sizes)
