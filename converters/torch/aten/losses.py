"""Losses of classifiers. The others are made of operators that have rows, or become such by decomposition."""

from __future__ import annotations

from typing import Final

from portable_nn.converters.torch.aten.rows import Use, row
from portable_nn.operators import Symbol, emit, squeezed, unsqueezed

_REDUCTIONS: Final = ("none", "mean", "sum")
"""Their names by PyTorch's numbers."""


@row("nll_loss", "nll_loss_nd", "nll_loss2d")
def _likelihood(
    use: Use, x: Symbol, target: Symbol, weight: Symbol | None = None, reduction: int = 1, ignore_index: int = -100
) -> Symbol:
    """Minus the log-probability of the target, of one example (classes,) or of many (batch, classes, …)."""
    is_one = len(x.shape) == 1
    if is_one:
        x, target = unsqueezed(x, 0), unsqueezed(target, 0)
    kind = _REDUCTIONS[reduction]
    found = emit("NegativeLogLikelihoodLoss", x, target, weight, reduction=kind, ignore_index=ignore_index)
    return squeezed(found, 0) if is_one and kind == "none" else found


@row("nll_loss_forward", "nll_loss2d_forward")
def _likelihood_and_weight(
    use: Use, x: Symbol, target: Symbol, weight: Symbol | None, reduction: int, ignore_index: int
) -> tuple[Symbol, None]:
    """Without the sum of the weights."""
    return _likelihood(use, x, target, weight, reduction, ignore_index), None
