"""Optimizers. Each adds the nodes that update a parameter to the training graph."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from portable_nn.core import names
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import INTERNAL
from portable_nn.core.names import OPTIMIZER
from portable_nn.core.numbers import BelowOne, NonNegative
from portable_nn.core.words import attributes_of
from portable_nn.operators import Leaf, OperatorContext, Symbol, emit, emit_all, lookup

__all__ = ["SGD", "AMSGrad", "Adam", "AdamW", "Lion", "RMSProp"]


@dataclass(frozen=True)
class Optimizer(ABC):
    """The base class of optimizers.

    Args:
        learning_rate: the step size η.
        weight_decay: the factor λ of an L2 penalty: λ·w is added to the gradient.

    Raises ``UsageError`` for an option out of its range.
    """

    learning_rate: NonNegative
    weight_decay: NonNegative = field(default=0.0, kw_only=True)

    operator: ClassVar[str]
    """The internal operator of a step. Its attributes are fields of the optimizer."""
    states: ClassVar[tuple[str, ...]] = ()
    """The arrays kept for each parameter, such as its velocity, in the order of the operator's inputs."""

    if not TYPE_CHECKING:
        __getattr__ = attributes_of("optimizer")

    @property
    def scales_seed(self) -> bool:
        """True if the update is linear in the gradient: the seed of the backward pass is then the learning rate."""
        return False

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """The numbers that change from step to step, by name, in the order of the operator's inputs.

        Args:
            step: the number of the step, from 1.
            rate: the learning rate of this step.
        """
        return {"rate": rate}

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step: for a parameter and each of its ``states``, the symbol that replaces it.

        Args:
            weight: the parameter.
            gradient: the gradient of the loss with respect to it.
            scalars: symbols of ``scalars``, by the same names.
            states: the parameter's state by the names in ``states``: zeros at first.
        """
        attributes = {name: getattr(self, name) for name in lookup(self.operator, INTERNAL).attributes}
        gradient, kept = self._decayed(weight, gradient), list(states.values())
        inputs, count = [weight, gradient, *kept, *scalars.values()], 1 + len(kept)
        new = emit_all(self.operator, *inputs, outputs=count, domain=INTERNAL, **attributes)
        return dict(zip([weight, *kept], new, strict=True))

    def _decayed(self, weight: Symbol, gradient: Symbol) -> Symbol:
        return gradient + weight * self.weight_decay if self.weight_decay else gradient


def _minus(weight: Symbol, step: Symbol) -> Symbol:
    """weight - step; where the step is a matrix product, the Gemm that computes it subtracts, too."""
    made = step.origin
    if made.operator is not None and made.operator.name == "Gemm" and len(made.inputs) == 2:
        attributes = {**made.attributes, "alpha": -OperatorContext(made.operator, (), made.attributes).float("alpha")}
        return emit("Gemm", *made.inputs, weight, **attributes)
    return weight - step


@check_kinds
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent; with momentum v ← μ·v + g, w ← w - η·v (Nesterov: w ← w - η·(g + μ·v)).

    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, in PyTorch's form.

    Args:
        learning_rate: η.
        momentum: μ, from 0 to less than 1; 0 is plain descent.
        nesterov: whether the step looks ahead; needs momentum.
        weight_decay: λ of an L2 penalty: λ·w is added to the gradient.

    Raises ``UsageError`` for an option out of its range.
    """

    learning_rate: NonNegative = 0.01
    momentum: BelowOne = 0.0
    nesterov: bool = False

    operator = "Momentum"

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise UsageError("nesterov needs a momentum of more than 0, such as 0.9")

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def scales_seed(self) -> bool:
        """True if there is neither momentum nor weight decay."""
        return not self.momentum and not self.weight_decay

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step; without momentum no operator of its own is needed."""
        if self.momentum:
            return super().update(weight, gradient, scalars, states)
        gradient = self._decayed(weight, gradient)
        return {weight: _minus(weight, gradient if self.scales_seed else gradient * scalars["rate"])}


@check_kinds
@dataclass(frozen=True)
class RMSProp(Optimizer):
    """s ← alpha·s + (1 - alpha)·g², w ← w - η·g / (√s + ε). Tieleman and Hinton, Coursera lecture 6.5, 2012.

    Args:
        learning_rate: η.
        alpha: the decay rate of the mean of squared gradients, from 0 to less than 1.
        epsilon: ε.
        weight_decay: λ of an L2 penalty: λ·w is added to the gradient.

    Raises ``UsageError`` for an option out of its range.
    """

    learning_rate: NonNegative = 0.001
    alpha: BelowOne = 0.99
    epsilon: NonNegative = 1e-8

    operator, states = "RMSProp", ("square",)


@check_kinds
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction. Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Args:
        learning_rate: η.
        beta1: β₁, the decay rate of the first moment, from 0 to less than 1.
        beta2: β₂, the decay rate of the second moment, from 0 to less than 1.
        epsilon: ε.
        weight_decay: λ of an L2 penalty: λ·w is added to the gradient.

    Raises ``UsageError`` for an option out of its range.
    """

    learning_rate: NonNegative = 0.001
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    epsilon: NonNegative = 1e-8

    operator = "Adam"
    states: ClassVar[tuple[str, ...]] = ("first", "second")
    """The states are the running sums m / (1 - β₁) and v / (1 - β₂) of the paper's two moments."""

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """The factors of w ← w - η·m̂ / (√v̂ + ε), written as w - rate·Σ₁ / (√Σ₂ + epsilon)."""
        first = (1 - self.beta1) / (1 - self.beta1**step)
        second = ((1 - self.beta2) / (1 - self.beta2**step)) ** 0.5
        return {"rate": rate * first / second, "epsilon": self.epsilon / second}

    def _sums(self, weight: Symbol, gradient: Symbol, states: Mapping[str, Leaf]) -> tuple[Symbol, Symbol]:
        """The next running sums, where symbols compute the step."""
        gradient = self._decayed(weight, gradient)
        return states["first"] * self.beta1 + gradient, states["second"] * self.beta2 + gradient * gradient


@check_kinds
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: w ← (1 - η·λ)·w before the step. Loshchilov and Hutter, ICLR 2019.

    Args:
        learning_rate: η.
        beta1: β₁, the decay rate of the first moment, from 0 to less than 1.
        beta2: β₂, the decay rate of the second moment, from 0 to less than 1.
        epsilon: ε.
        weight_decay: λ.

    Raises ``UsageError`` for an option out of its range.
    """

    weight_decay: NonNegative = field(default=0.01, kw_only=True)

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """Those of Adam, and the factor of the weights: 1 - η·λ."""
        return {**super().scalars(step, rate), "keep": 1 - rate * self.weight_decay}

    def _decayed(self, weight: Symbol, gradient: Symbol) -> Symbol:
        return gradient


@check_kinds
@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam whose second moment never falls: √ of the largest v̂ so far. Reddi, Kale and Kumar, ICLR 2018.

    Args:
        learning_rate: η.
        beta1: β₁, the decay rate of the first moment, from 0 to less than 1.
        beta2: β₂, the decay rate of the second moment, from 0 to less than 1.
        epsilon: ε.
        weight_decay: λ of an L2 penalty: λ·w is added to the gradient.

    As in PyTorch, the bias of the largest v is corrected by the number of the present step.

    Raises ``UsageError`` for an option out of its range.
    """

    states = ("first", "second", "largest")

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step, on the running sums that ``Adam`` keeps."""
        first, second = self._sums(weight, gradient, states)
        largest = emit("Max", states["largest"], second)
        step = first / (emit("Sqrt", largest) + scalars["epsilon"]) * scalars["rate"]
        return {weight: weight - step, **dict(zip(states.values(), (first, second, largest), strict=True))}


@check_kinds
@dataclass(frozen=True)
class Lion(Optimizer):
    """w ← (1 - η·λ)·w - η·sign(β₁·m + (1 - β₁)·g), m ← β₂·m + (1 - β₂)·g. Chen et al., NeurIPS 2023.

    Every step has the length η, so that η is 3 to 10 times smaller than that of Adam, and λ as much larger.

    Args:
        learning_rate: η.
        beta1: β₁, the share of the momentum in a step, from 0 to less than 1.
        beta2: β₂, the decay rate of the momentum, from 0 to less than 1.
        weight_decay: λ, decoupled from the gradient.

    Raises ``UsageError`` for an option out of its range.
    """

    learning_rate: NonNegative = 0.0001
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.99

    states = ("momentum",)

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """The rate, and the factor of the weights: 1 - η·λ."""
        return {"rate": rate, "keep": 1 - rate * self.weight_decay}

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        momentum = states["momentum"]
        direction = emit("Sign", momentum * self.beta1 + gradient * (1 - self.beta1))
        kept = weight * scalars["keep"] if self.weight_decay else weight
        new = momentum * self.beta2 + gradient * (1 - self.beta2)
        return {weight: kept - direction * scalars["rate"], momentum: new}


OPTIMIZERS: Mapping[str, type[Optimizer]] = {name: globals()[kind] for name, kind in names.OPTIMIZERS.items()}
"""The optimizers by name. A new one is a class here and a row in ``names``."""


def find_optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    """An optimizer: itself, that of a name, or by default ``OPTIMIZER``. Raises ``UsageError`` for anything else."""
    found = OPTIMIZER if optimizer is None else optimizer
    if isinstance(found, str) and found in OPTIMIZERS:
        return OPTIMIZERS[found]()  # type: ignore[call-arg]
    if not isinstance(found, Optimizer):
        raise UsageError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}, or an optimizer such as Adam(0.001), not {optimizer!r}"
        )
    return found
