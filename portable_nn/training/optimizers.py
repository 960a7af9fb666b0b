"""Optimizers: each adds the nodes that update a parameter to the training graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from portable_nn.core import names
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import INTERNAL
from portable_nn.operators import Leaf, Symbol, emit, emit_all
from portable_nn.operators.registry import OperatorContext

__all__ = ["SGD", "Adam", "AdamW", "RMSProp"]


def _check(name: str, value: float, low: float, high: float = float("inf")) -> None:
    if not low <= value < high:
        limits = f"at least {low:g}" if high == float("inf") else f"from {low:g} to less than {high:g}"
        raise UsageError(f"{name} must be {limits}, not {value:g}")


@dataclass(frozen=True)
class Optimizer(ABC):
    """What all optimizers have: a learning rate, and L2 weight decay that is added to the gradient."""

    learning_rate: float
    weight_decay: float = field(default=0.0, kw_only=True)

    states: ClassVar[tuple[str, ...]] = ()
    """What is kept for each parameter, in the order of the operator's inputs."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _check(name, value, 0, 1 if name in {"momentum", "alpha", "beta1", "beta2"} else float("inf"))

    @property
    def scales_seed(self) -> bool:
        """Whether the learning rate can be the seed of the backward pass, which makes it cost nothing."""
        return False

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """The numbers that change from step to step (the first is 1), by the names ``update`` knows them under."""
        return {"rate": rate}

    @abstractmethod
    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """For the parameter and each of its states, the symbol that replaces it."""

    def _decayed(self, weight: Symbol, gradient: Symbol) -> Symbol:
        return gradient + weight * self.weight_decay if self.weight_decay else gradient


def _minus(weight: Symbol, step: Symbol) -> Symbol:
    """weight - step; where the step is a matrix product, in the one Gemm that computes it."""
    made = step.origin
    if made.operator is not None and made.operator.name == "Gemm" and len(made.inputs) == 2:
        attributes = {**made.attributes, "alpha": -OperatorContext(made.operator, (), made.attributes).float("alpha")}
        return emit("Gemm", *made.inputs, weight, **attributes)
    return weight - step


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent; with momentum v ← μ·v + g, w ← w - η·v (Nesterov: w ← w - η·(g + μ·v)).

    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, in PyTorch's form.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise UsageError("nesterov needs a momentum of more than 0, such as 0.9")

    @property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """The velocity, where there is momentum."""
        return ("velocity",) if self.momentum else ()

    @property
    def scales_seed(self) -> bool:
        """Plain descent is linear in the gradient."""
        return not self.momentum and not self.weight_decay

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        gradient = self._decayed(weight, gradient)
        if not self.momentum:
            return {weight: _minus(weight, gradient if self.scales_seed else gradient * scalars["rate"])}
        velocity = states["velocity"]
        new = emit_all(
            "Momentum",
            weight,
            gradient,
            velocity,
            scalars["rate"],
            outputs=2,
            domain=INTERNAL,
            momentum=self.momentum,
            nesterov=int(self.nesterov),
        )
        return dict(zip([weight, velocity], new, strict=True))


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """s ← alpha·s + (1 - alpha)·g², w ← w - η·g / (√s + ε). Tieleman and Hinton, Coursera lecture 6.5, 2012."""

    learning_rate: float = 0.001
    alpha: float = 0.99
    epsilon: float = 1e-8

    states = ("square",)

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        square = states["square"]
        new = emit_all(
            "RMSProp",
            weight,
            self._decayed(weight, gradient),
            square,
            scalars["rate"],
            outputs=2,
            domain=INTERNAL,
            alpha=self.alpha,
            epsilon=self.epsilon,
        )
        return dict(zip([weight, square], new, strict=True))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction. Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015."""

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    states = ("first", "second")
    """The running sums m / (1 - β₁) and v / (1 - β₂) of the paper's two moments."""

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """All that is one number in w ← w - η·m̂ / (√v̂ + ε), written as w - rate·Σ₁ / (√Σ₂ + epsilon)."""
        first = (1 - self.beta1) / (1 - self.beta1**step)
        second = ((1 - self.beta2) / (1 - self.beta2**step)) ** 0.5
        return {"rate": rate * first / second, "epsilon": self.epsilon / second}

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        return self._adam(weight, self._decayed(weight, gradient), scalars, states, None)

    def _adam(
        self,
        weight: Symbol,
        gradient: Symbol,
        scalars: Mapping[str, Symbol],
        states: Mapping[str, Leaf],
        keep: Symbol | None,
    ) -> Mapping[Symbol, Symbol]:
        kept = [states["first"], states["second"]]
        new = emit_all(
            "Adam",
            weight,
            gradient,
            *kept,
            scalars["rate"],
            scalars["epsilon"],
            keep,
            outputs=3,
            domain=INTERNAL,
            beta1=self.beta1,
            beta2=self.beta2,
        )
        return dict(zip([weight, *kept], new, strict=True))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay apart from the gradient. Loshchilov and Hutter, ICLR 2019."""

    weight_decay: float = field(default=0.01, kw_only=True)

    def scalars(self, step: int, rate: float) -> Mapping[str, float]:
        """As Adam, and what is kept of each weight: 1 - η·λ."""
        return {**super().scalars(step, rate), "keep": 1 - rate * self.weight_decay}

    def update(
        self, weight: Symbol, gradient: Symbol, scalars: Mapping[str, Symbol], states: Mapping[str, Leaf]
    ) -> Mapping[Symbol, Symbol]:
        """One step."""
        return self._adam(weight, gradient, scalars, states, scalars["keep"])


OPTIMIZERS: Mapping[str, type[Optimizer]] = {name: globals()[kind] for name, kind in names.OPTIMIZERS.items()}
"""The optimizers by name. A new one is a class here and a row in ``names``."""


def find_optimizer(optimizer: Optimizer | str | None) -> Optimizer:
    """An optimizer as it is, by its name, or the default, SGD. Raises ``UsageError`` for anything else."""
    if optimizer is None:
        return SGD()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise UsageError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}")
        return OPTIMIZERS[optimizer]()  # type: ignore[call-arg]
    if not isinstance(optimizer, Optimizer):
        raise UsageError(f"optimizer must be an optimizer such as Adam(0.001), or its name, not {optimizer!r}")
    return optimizer
