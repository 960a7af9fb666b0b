"""The losses of the two players and the penalties on the discriminator's gradient, as symbols.

Scores are the discriminator's outputs, without a sigmoid behind them; each player makes its own loss small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, constant, emit, integers
from portable_nn.training.gradient import gradients

TINY: Final = 1e-12
"""Under the root of the gradient penalty, whose slope has no bound at 0."""

Scores: TypeAlias = "Callable[[Symbol], Symbol]"


@dataclass(frozen=True)
class GanLoss:
    """``real`` and ``fake``: the discriminator's loss for each score of its kind; ``generator``: the other player's.

    ``penalised`` where the discriminator is to have gradients of length 1.
    """

    name: str
    real: Scores
    fake: Scores
    generator: Scores
    penalised: bool = False

    def discriminator_loss(self, real: Symbol, fake: Symbol) -> Symbol:
        """The sum of the two means."""
        return mean(self.real(real)) + mean(self.fake(fake))

    def generator_loss(self, fake: Symbol) -> Symbol:
        """The mean."""
        return mean(self.generator(fake))


def mean(values: Symbol) -> Symbol:
    """The mean of all elements."""
    return emit("ReduceMean", values, keepdims=0)


def _softplus(score: Symbol) -> Symbol:
    return emit("Softplus", score)


def _hinge(margin: Symbol) -> Symbol:
    return emit("Relu", margin)


GAN_LOSSES: Final[Mapping[str, GanLoss]] = {
    loss.name: loss
    for loss in (
        GanLoss("saturating", lambda s: _softplus(-s), _softplus, lambda s: -_softplus(s)),
        GanLoss("non_saturating", lambda s: _softplus(-s), _softplus, lambda s: _softplus(-s)),
        GanLoss("wasserstein_gp", lambda s: -s, lambda s: s, lambda s: -s, penalised=True),
        GanLoss("hinge", lambda s: _hinge(1 - s), lambda s: _hinge(1 + s), lambda s: -s),
    )
}
"""By name. Goodfellow et al., NIPS 2014 (arXiv:1406.2661): both of the first; Gulrajani et al., arXiv:1704.00028;
Lim and Ye, arXiv:1705.02894. With p = sigmoid(score), softplus(-score) is -log p and softplus(score) -log(1 - p)."""


def find_gan_loss(name: str) -> GanLoss:
    """The loss of that name. Raises ``UsageError`` that lists them."""
    if name not in GAN_LOSSES:
        raise UsageError(f"loss must be one of {', '.join(GAN_LOSSES)}, not {name!r}")
    return GAN_LOSSES[name]


def slopes(scores: Symbol, examples: Sequence[Symbol]) -> Symbol:
    """‖∇ₓD(x)‖² of each example, (batch,), over all of ``examples``. Raises ``UsageError`` where D has no gradient."""
    total = emit("ReduceSum", scores, keepdims=0)
    found = [flow for flow in gradients([total], [constant(1, total.dtype)], examples) if flow is not None]
    if not found:
        raise UsageError("the discriminator's gradient is to be penalised, but its score does not depend on its input")
    squares = [_square_sums(flow) for flow in found]
    result = squares[0]
    for square in squares[1:]:
        result = result + square
    return result


def _square_sums(flow: Symbol) -> Symbol:
    rest = range(1, len(flow.shape))
    return emit("ReduceSumSquare", flow, integers(rest), keepdims=0) if len(rest) else flow * flow


def r1_penalty(scores: Symbol, examples: Sequence[Symbol], gamma: Symbol) -> Symbol:
    """gamma / 2 · E‖∇ₓD(x)‖² at real examples. Mescheder et al., ICML 2018, arXiv:1801.04406."""
    return mean(slopes(scores, examples)) * gamma * 0.5


def gradient_penalty(scores: Symbol, examples: Sequence[Symbol], weight: Symbol) -> Symbol:
    """λ·E(‖∇ₓD(x)‖ - 1)², at points between real and made examples. Gulrajani et al., 2017, arXiv:1704.00028."""
    excess = emit("Sqrt", slopes(scores, examples) + TINY) - 1
    return mean(excess * excess) * weight
