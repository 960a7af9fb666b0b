"""The methods, by name: what each costs a step, where it is from, and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, get_args

from portable_nn.adversarial import adaptive, steps
from portable_nn.adversarial.choices import Option, filled, no_such
from portable_nn.adversarial.closed_forms import FORMS, ClosedForm
from portable_nn.adversarial.steps import Begin, Step
from portable_nn.core.errors import UsageError
from portable_nn.core.names import Scheme

Options: TypeAlias = Mapping[str, float | None]
Clock: TypeAlias = Callable[[int, Options], tuple[float, ...]]
"""The numbers that change from step to step by themselves, at the step of that number, from 0."""


@dataclass(frozen=True)
class Method:
    """One method.

    ``evaluations`` are gradients a step (one of both players' slopes), ``jacobians`` are Jacobians a step, of which
    products with vectors are all that is needed, and ``implicit`` says that a step solves equations. ``family`` and
    ``scheme`` tell variants of one method apart, by which player moves when. ``linear``: on a linear game a step is a
    linear map of the state; every ``period`` steps the same one again, or never where that is ``None``.
    """

    name: str
    title: str
    source: str
    step: Step
    begin: Begin = steps.alone
    evaluations: int = 1
    jacobians: int = 0
    implicit: bool = False
    options: dict[str, Option] = field(default_factory=dict)
    family: str = ""
    scheme: str = "simultaneous"
    linear: bool = True
    clock: Clock | None = None
    period: Callable[[Options], int] | None = lambda options: 1

    @property
    def closed_form(self) -> ClosedForm | None:
        """The factor a step on f = x·y, where it is known; ``theory.closed_form`` fills in the options."""
        return FORMS.get(self.name)

    def fill(self, options: Mapping[str, object]) -> Options:
        """``options`` checked, with the defaults of the others. Raises ``UsageError`` with those that there are."""
        return filled(f"the method '{self.name}'", dict(options), self.options)

    def ticks(self, place: int, options: Options) -> tuple[float, ...]:
        """The numbers of the clock at a step."""
        return self.clock(place, options) if self.clock else ()


def _number(options: Options, name: str) -> float:
    value = options[name]
    assert value is not None
    return value


def _corrections(place: int, options: Options) -> tuple[float, ...]:
    """1 - β₁ᵗ and 1 - β₂ᵗ at step t = place + 1: what the running means lack."""
    return tuple(1 - _number(options, beta) ** (place + 1) for beta in ("beta1", "beta2"))


def _twice(place: int, options: Options) -> tuple[float, ...]:
    return _corrections(2 * place, options) + _corrections(2 * place + 1, options)


def _whether_to_look_back(place: int, options: Options) -> tuple[float, ...]:
    return (0.0 if (place + 1) % _number(options, "k") else 1.0,)


_GAMMA: Final = Option(1.0, "strength of the pull towards smaller F")
_BETA: Final = Option(-0.5, "how much of the last move is repeated", -1, 1)
_EPSILON: Final = Option(1e-8, "what is added to the root, against division by 0", 0)
_ADAM: Final = {
    "beta1": Option(0.9, "what is kept of the mean of slopes", 0, 0.999999),
    "beta2": Option(0.999, "what is kept of the mean of their squares", 0, 0.999999),
    "epsilon": _EPSILON,
}
_RMSPROP: Final = {"alpha": Option(0.99, "what is kept of the mean of squares", 0, 0.999999), "epsilon": _EPSILON}

_GIDEL: Final = "Gidel et al. 2019, arXiv 1807.04740"
_SCHAEFER: Final = "Schäfer & Anandkumar 2019, arXiv 1905.12103"
_GENERAL: Final = (
    Method("simultaneous", "gradient descent, both players at once", "Zhang & Yu 2019, arXiv 1908.05699",
           steps.simultaneous, family="gradient"),
    Method("alternating", "gradient descent, one player after the other", _GIDEL, steps.alternating,
           family="gradient", scheme="alternating"),
    Method("extragradient", "the gradient of a step ahead", "Korpelevich 1976; Gidel et al. 2019, arXiv 1802.10551",
           steps.extragradient, evaluations=2, family="gradient", scheme="extragradient",
           options={"gamma": Option(None, "how far to look ahead; as far as the learning rate if it is left out", 0)}),
    Method("optimistic", "twice this gradient less the last", "Popov 1980; Daskalakis et al. 2018, arXiv 1711.00141",
           steps.optimistic, steps.with_field, family="gradient", scheme="optimistic"),
    Method("alternating-optimistic", "optimistic, one player after the other", "Zhang & Yu 2019, arXiv 1908.05699",
           steps.alternating_optimistic, steps.with_field, family="optimistic", scheme="alternating"),
    Method("proximal", "the gradient of where the step ends",
           "Martinet 1970; Mokhtari et al. 2020, arXiv 1901.08511", steps.proximal, jacobians=1, implicit=True),
    Method("competitive", "competitive gradient descent: best answers to best answers", _SCHAEFER, steps.competitive,
           jacobians=1, implicit=True),
    Method("competitive-linear", "best answers to the other's plain step", f"{_SCHAEFER}; Zhang & Lesser 2010",
           steps.looking_ahead(1.0), jacobians=1),
    Method("lola", "learning with opponent-learning awareness", "Foerster et al. 2018, arXiv 1709.04326",
           steps.looking_ahead(2.0), jacobians=1),
    Method("consensus", "consensus optimisation", "Mescheder et al. 2017, arXiv 1705.10461", steps.consensus,
           jacobians=1, options={"gamma": _GAMMA}),
    Method("symplectic", "symplectic gradient adjustment", "Balduzzi et al. 2018, arXiv 1802.05642", steps.symplectic,
           jacobians=2, options={"lam": Option(1.0, "strength of the adjustment")}),
    Method("hamiltonian", "descent on ½‖F‖²", "Balduzzi et al. 2018, arXiv 1802.05642", steps.hamiltonian, jacobians=1),
    Method("follow-the-ridge", "the follower keeps to its best answer", "Wang et al. 2019, arXiv 1910.07512",
           steps.ridge, jacobians=2, implicit=True,
           options={"follower": Option(1, "who answers: 0 for x, 1 for y", 0, 1, whole=True)}),
    Method("momentum", "momentum, both players at once", _GIDEL, steps.momentum, steps.with_rest,
           options={"beta": _BETA}, family="momentum"),
    Method("alternating-momentum", "momentum, one player after the other", _GIDEL, steps.alternating_momentum,
           steps.with_rest, options={"beta": _BETA}, family="momentum", scheme="alternating"),
    Method("lookahead", "simultaneous steps, averaged every k", "Chavdarova et al. 2021, arXiv 2006.14567",
           steps.lookahead, steps.with_start, clock=_whether_to_look_back,
           period=lambda options: int(_number(options, "k")),
           options={"k": Option(5, "after how many steps to average", 1, 10_000, whole=True),
                    "alpha": Option(0.5, "how much of the way is kept", 0, 1)}),
    Method("anchored", "extragradient drawn to the start (EAG-C)", "Yoon & Ryu 2021, arXiv 2102.07922", steps.anchored,
           steps.with_start, evaluations=2, clock=lambda place, options: (1 / (place + 2),), period=None),
    Method("midpoint", "implicit midpoint rule on dz/dt = -F", "Hairer, Lubich & Wanner 2006", steps.midpoint,
           jacobians=1, implicit=True),
    Method("runge-kutta", "Runge-Kutta of fourth order on dz/dt = -F", "Kutta 1901", steps.runge_kutta, evaluations=4),
)  # fmt: skip


def _adaptive(
    family: str,
    title: str,
    source: str,
    scaled: adaptive.Scaled,
    options: dict[str, Option],
    clock: Clock | None,
    twice: Clock | None,
) -> tuple[Method, ...]:
    """The four orders of play of one adaptive method."""

    def row(
        prefix: str,
        words: str,
        step: Step,
        begin: Begin,
        scheme: str,
        clock: Clock | None,
        evaluations: int = 1,
        also: str = "",
    ) -> Method:
        return Method(
            prefix + family,
            f"{title}, {words}",
            source + also,
            step,
            begin,
            evaluations,
            options=options,
            family=family,
            scheme=scheme,
            linear=False,
            clock=clock,
            period=None,
        )

    return (
        row("", "both players at once", adaptive.simultaneous(scaled), adaptive.no_moments, "simultaneous", clock),
        row(
            "alternating-",
            "one player after the other",
            adaptive.alternating(scaled),
            adaptive.no_moments,
            "alternating",
            clock,
        ),
        row(
            "optimistic-",
            "twice this direction less the last",
            adaptive.optimistic(scaled),
            adaptive.no_move,
            "optimistic",
            clock,
            also="; Daskalakis et al. 2018, arXiv 1711.00141",
        ),
        row(
            "extra-",
            "the direction of a step ahead",
            adaptive.extrapolating(scaled),
            adaptive.no_moments,
            "extragradient",
            twice,
            2,
            also="; Gidel et al. 2019, arXiv 1802.10551",
        ),
    )


_ROWS: Final = (
    *_GENERAL,
    *_adaptive("adam", "Adam", "Kingma & Ba 2015, arXiv 1412.6980", adaptive.adam, _ADAM, _corrections, _twice),
    *_adaptive("rmsprop", "RMSProp", "Tieleman & Hinton 2012", adaptive.rmsprop, _RMSPROP, None, None),
)

METHODS: Final[Mapping[str, Method]] = {row.name: row for row in _ROWS}
"""The methods by name."""

SCHEMES: Final = get_args(Scheme)
"""Who moves when: what tells the variants of one method apart."""


def find_method(name: str | Method, scheme: str | None = None) -> Method:
    """A method by its name, or its variant of another ``scheme``. Raises ``UsageError`` with those that there are."""
    if isinstance(name, Method):
        row = name
    elif isinstance(name, str) and name in METHODS:
        row = METHODS[name]
    else:
        raise no_such("method", name, METHODS)
    if scheme is None or scheme == row.scheme:
        return row
    families = (row.name, row.family) if row.family else (row.name,)
    # What is named after the method itself comes before its siblings: optimistic has an alternating form of its own.
    rows = METHODS.values()
    variants = {other.scheme: other for name in reversed(families) for other in rows if other.family == name}
    if scheme not in SCHEMES:
        raise no_such("scheme", scheme, SCHEMES)
    if scheme not in variants:
        there = ", ".join(dict.fromkeys([row.scheme, *variants]))
        raise UsageError(f"the method '{row.name}' has no variant that is {scheme}; there are {there}")
    return variants[scheme]
