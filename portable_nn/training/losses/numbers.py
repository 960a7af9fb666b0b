"""Losses of numbers."""

from __future__ import annotations

from dataclasses import dataclass

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Shape
from portable_nn.core.numbers import Positive
from portable_nn.operators import Symbol, constant, emit, emit_all, integers
from portable_nn.training.losses.base import Loss

__all__ = ["GaussianLikelihood", "Huber", "MeanAbsoluteError", "MeanSquaredError"]


@check_kinds
@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The mean of (output - target)² over all entries.

    Args:
        weight: its factor in the sum, where several outputs are trained.
    """

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """(output - target)²."""
        difference = output - target
        return difference * difference


@check_kinds
@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """The mean of |output - target| over all entries (L1): its optimum is the median, which outliers do not move.

    Args:
        weight: its factor in the sum, where several outputs are trained.
    """

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """|output - target|."""
        return emit("Abs", output - target)


@check_kinds
@dataclass(frozen=True)
class Huber(Loss):
    """d²/2 for an error |d| ≤ δ, beyond that δ·(|d| - δ/2). Huber, Ann. Math. Statist. 35, 1964.

    Args:
        delta: δ, in the unit of the targets: larger errors count as in the absolute error.
        weight: its factor in the sum, where several outputs are trained.

    Raises ``UsageError`` where ``delta`` is not more than 0.
    """

    delta: Positive = 1.0

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """With c = min(|d|, δ): c·(|d| - c/2)."""
        error = emit("Abs", output - target)
        near = emit("Min", error, constant(self.delta, error.dtype))
        return near * (error - near * 0.5)


@check_kinds
@dataclass(frozen=True)
class GaussianLikelihood(Loss):
    """-log p of a normal distribution whose mean μ and variance σ² are predicted: (log σ² + (y - μ)²/σ²) / 2.

    The constant log(2π)/2 is left out. The output has 2n entries: n means, then as many log σ². Its kind becomes
    ``gaussian``. Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.

    Args:
        weight: its factor in the sum, where several outputs are trained.
    """

    implied = "gaussian"

    def wanted(self, shape: Shape) -> Shape:
        """Half of the last axis."""
        last = shape[-1] if shape else None
        if not isinstance(last, int) or last % 2:
            raise UsageError(
                "loss 'gaussian' needs an output of 2n entries, n means and then as many logarithms of variances, "
                f"not {last if last is not None else 'a single number'}"
            )
        return (*shape[:-1], last // 2)

    def each(self, output: Symbol, target: Symbol) -> Symbol:
        """By entry."""
        count = int(output.shape[-1]) // 2
        mean, log_variance = emit_all("Split", output, integers([count, count]), axis=-1, outputs=2)
        difference = target - mean
        return (log_variance + difference * difference * emit("Exp", -log_variance)) * 0.5
