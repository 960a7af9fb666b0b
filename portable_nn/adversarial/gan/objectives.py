"""The objectives of a GAN, as symbols: the loss of each player, and penalties on the discriminator's gradient.

Scores are the logits of the discriminator; each player minimises its own loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from portable_nn.adversarial.games.options import find
from portable_nn.core.errors import UsageError
from portable_nn.operators import Symbol, constant, emit, integers
from portable_nn.operators.differentiation import gradients

TINY: Final = 1e-12
"""Added under the square root of the gradient penalty, whose derivative is unbounded at 0."""

Scores: TypeAlias = "Callable[[Symbol], Symbol]"


@dataclass(frozen=True)
class GanObjective:
    """The loss functions of a GAN, for each score.

    Attributes:
        name: of the objective.
        real, fake: the discriminator's loss of the score of a real and of a generated example.
        generator: the generator's loss of the score of a generated example.
        penalised: whether the discriminator has a gradient penalty.
    """

    name: str
    real: Scores
    fake: Scores
    generator: Scores
    penalised: bool = False

    def discriminator_loss(self, real: Symbol, fake: Symbol) -> Symbol:
        """The mean loss of real examples plus that of generated ones."""
        return mean(self.real(real)) + mean(self.fake(fake))

    def generator_loss(self, fake: Symbol) -> Symbol:
        """The mean loss of generated examples."""
        return mean(self.generator(fake))


def mean(values: Symbol) -> Symbol:
    """The mean of all elements."""
    return emit("ReduceMean", values, keepdims=0)


_softplus: Final = partial(emit, "Softplus")
_hinge: Final = partial(emit, "Relu")


GAN_LOSSES: Final[Mapping[str, GanObjective]] = {
    loss.name: loss
    for loss in (
        GanObjective("saturating", lambda s: _softplus(-s), _softplus, lambda s: -_softplus(s)),
        GanObjective("non_saturating", lambda s: _softplus(-s), _softplus, lambda s: _softplus(-s)),
        GanObjective("wasserstein_gp", lambda s: -s, lambda s: s, lambda s: -s, penalised=True),
        GanObjective("hinge", lambda s: _hinge(1 - s), lambda s: _hinge(1 + s), lambda s: -s),
    )
}
"""By name. Goodfellow et al., NIPS 2014 (arXiv:1406.2661): both of the first; Gulrajani et al., arXiv:1704.00028;
Lim and Ye, arXiv:1705.02894. With p = sigmoid(score), softplus(-score) is -log p and softplus(score) -log(1 - p)."""


def find_gan_loss(name: str) -> GanObjective:
    """The objective of that name. Raises ``UsageError`` that lists them."""
    return find("loss", name, GAN_LOSSES)


def squared_gradients(scores: Symbol, examples: Sequence[Symbol]) -> Symbol:
    """‖∇ₓD(x)‖² of each example, (batch,), over all of ``examples``. Raises ``UsageError`` where D has no gradient."""
    total = emit("ReduceSum", scores, keepdims=0)
    found = [flow for flow in gradients([total], [constant(1, total.dtype)], examples) if flow is not None]
    if not found:
        raise UsageError("the discriminator's gradient is to be penalised, but its score does not depend on its input")
    first, *others = (
        emit("ReduceSumSquare", flow, integers(range(1, len(flow.shape))), keepdims=0)
        if len(flow.shape) > 1
        else flow * flow
        for flow in found
    )
    return sum(others, first)


def r1_penalty(scores: Symbol, examples: Sequence[Symbol], gamma: Symbol) -> Symbol:
    """gamma / 2 · E‖∇ₓD(x)‖² at real examples. Mescheder et al., ICML 2018, arXiv:1801.04406."""
    return mean(squared_gradients(scores, examples)) * gamma * 0.5


def gradient_penalty(scores: Symbol, examples: Sequence[Symbol], weight: Symbol) -> Symbol:
    """λ·E(‖∇ₓD(x)‖ - 1)², at points between real and generated examples. Gulrajani et al., 2017, arXiv:1704.00028."""
    excess = emit("Sqrt", squared_gradients(scores, examples) + TINY) - 1
    return mean(excess * excess) * weight
