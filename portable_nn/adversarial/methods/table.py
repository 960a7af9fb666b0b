"""The table of methods: the update of each, its cost per step, its options and its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias, get_args

from portable_nn.adversarial.games.options import Option, filled, no_such
from portable_nn.adversarial.methods import adaptive, steps
from portable_nn.adversarial.methods.steps import KEPT, MethodState, StepContext, StepFunction
from portable_nn.core.errors import UsageError
from portable_nn.core.names import Scheme

MethodOptions: TypeAlias = Mapping[str, Any]
"""Numbers by the names of a method's options, or ``None`` where that is the default."""

Clock: TypeAlias = Callable[[int, MethodOptions], tuple[float, ...]]
"""The numbers of a method that depend on the step alone (counted from 0), such as Adam's bias corrections."""


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name, title, source: for tables and messages.
        step: the update; see ``steps``.
        kept: the vectors of its state besides z.
        evaluations: gradient evaluations per step; one is the gradient of both players.
        jacobians: Jacobian-vector products per step.
        implicit: a step solves a system of equations.
        options: by name.
        family, scheme: variants of one method have one ``family`` and differ in the ``scheme`` of the updates.
        linear: on a linear game a step is a linear map of the state.
        clock: the numbers that depend on the step alone.
        period: after how many steps the linear map recurs, from the options; ``None`` where it never does.
        lasting: of a method that is anchored, each step being pulled towards the start, ever less: the vectors of the
            state on which its limit acts, after many steps near an equilibrium.
        strength: the option that says how much of a correction is added to the gradient, if it has one; that of
            extragradient is by default the learning rate, as that of the methods without such an option always is.
        requires: what a game must have for a step to be defined, where not every smooth game has it.
    """

    name: str
    title: str
    source: str
    step: StepFunction
    kept: tuple[str, ...] = ()
    evaluations: int = 1
    jacobians: int = 0
    implicit: bool = False
    options: dict[str, Option] = field(default_factory=dict)
    family: str = ""
    scheme: str = "simultaneous"
    linear: bool = True
    clock: Clock | None = None
    period: Callable[[MethodOptions], int] | None = lambda options: 1
    lasting: tuple[int, ...] = ()
    strength: str | None = None
    requires: str = ""

    def __repr__(self) -> str:
        return f"<method {self.name}: {self.title}>"

    @property
    def cost(self) -> int:
        """Gradient evaluations per step; a Jacobian-vector product counts as one."""
        return self.evaluations + self.jacobians

    @property
    def anchored(self) -> bool:
        """True if each step is pulled towards the start, ever less: on linear games the distance falls as 1/k."""
        return bool(self.lasting)

    @property
    def has_operator(self) -> bool:
        """True if a step, or a period of steps, on a linear game is one matrix."""
        return self.linear and self.period is not None

    def fill(self, options: Mapping[str, object]) -> MethodOptions:
        """All options: those given, checked, and defaults. Raises ``UsageError`` that lists the valid ones."""
        of_game = "; those of a game go to it: game(NAME, {0}=…), or --set game.{0}=…"
        return filled(f"the method '{self.name}'", dict(options), self.options, of_game)

    def begin(self, context: StepContext, z: Any) -> MethodState:
        """The state before the first step from z."""
        return (z, *(KEPT[name](context, z) for name in self.kept))

    def ticks(self, place: int, options: MethodOptions) -> tuple[float, ...]:
        """The numbers of the clock at a step, from 0."""
        return self.clock(place, options) if self.clock else ()

    def advanced(self, context: StepContext, state: MethodState, steps: int, first: int = 0) -> MethodState:
        """The state after some steps, the first of which has the number ``first``."""
        for place in range(first, first + steps):
            context.clock = self.ticks(place, context.options)
            state = self.step(context, state)
        return state


def _corrections(place: int, options: MethodOptions) -> tuple[float, ...]:
    """The bias corrections 1 - β₁ᵗ and 1 - β₂ᵗ at t = place + 1."""
    return tuple(1 - options[beta] ** (place + 1) for beta in ("beta1", "beta2"))


_GAMMA: Final = Option(1.0, "weight of the gradient of ½‖F‖²")
_OPTIMISM: Final = {"gamma": Option(None, "weight of the change of the gradient; by default the learning rate", 0)}
_BETA: Final = Option(-0.5, "momentum", -1, 1)
_EPSILON: Final = Option(1e-8, "added to the denominator", 0)
_ADAM: Final = {
    "beta1": Option(0.9, "decay of the first moment", 0, 0.999999),
    "beta2": Option(0.999, "decay of the second moment", 0, 0.999999),
    "epsilon": _EPSILON,
}
_RMSPROP: Final = {"alpha": Option(0.99, "decay of the second moment", 0, 0.999999), "epsilon": _EPSILON}

_GIDEL: Final = "Gidel et al. 2019, arXiv 1807.04740"
_SCHAEFER: Final = "Schäfer & Anandkumar 2019, arXiv 1905.12103"
_GENERAL: Final = (
    Method(
        "simultaneous",
        "gradient descent-ascent, both players at once",
        "Zhang & Yu 2019, arXiv 1908.05699",
        steps.simultaneous,
        family="gradient",
    ),
    Method(
        "alternating",
        "gradient descent-ascent, x first, then y",
        _GIDEL,
        steps.alternating,
        family="gradient",
        scheme="alternating",
    ),
    Method(
        "extragradient",
        "the gradient at an extrapolated point",
        "Korpelevich 1976; Gidel et al. 2019, arXiv 1802.10551",
        steps.extragradient,
        evaluations=2,
        family="gradient",
        scheme="extragradient",
        strength="gamma",
        options={"gamma": Option(None, "extrapolation step size; by default the learning rate", 0)},
    ),
    Method(
        "optimistic",
        "optimistic gradient: twice this gradient minus the last",
        "Popov 1980; Daskalakis et al. 2018, arXiv 1711.00141; with gamma: Mokhtari et al. 2020, arXiv 1901.08511",
        steps.optimistic,
        ("field",),
        family="gradient",
        scheme="optimistic",
        strength="gamma",
        options=_OPTIMISM,
    ),
    Method(
        "alternating-optimistic",
        "optimistic gradient, x first, then y",
        "Zhang & Yu 2019, arXiv 1908.05699",
        steps.alternating_optimistic,
        ("field",),
        family="optimistic",
        scheme="alternating",
        strength="gamma",
        options=_OPTIMISM,
    ),
    Method(
        "prediction",
        "prediction (PDHG): x first, then y with the x that is to be expected after it",
        "Chambolle & Pock 2011; Yadav et al. 2018, arXiv 1705.07364",
        steps.prediction,
        family="prediction",
        scheme="alternating",
    ),
    Method(
        "slingshot",
        "gradient descent-ascent with positive and negative rates in turn (slingshot)",
        "Shugart & Altschuler 2025, arXiv 2505.01423",
        steps.slingshot,
        clock=lambda place, options: (-1.0 if place % 2 else 1.0,),
        period=lambda options: 2,
    ),
    Method(
        "smoothed",
        "smoothed gradient descent-ascent: y first, pulled towards its average, then x",
        "Zhang et al. 2020, arXiv 2010.15768",
        steps.smoothed,
        ("start",),
        family="smoothed",
        scheme="alternating",
        options={
            "pull": Option(1.0, "weight p of the pull p/2·‖y - s‖² towards the smoothed y", 0),
            "beta": Option(0.05, "step of the smoothed y towards y", 0, 1),
        },
    ),
    Method(
        "proximal",
        "proximal point: the gradient at the end of the step (implicit)",
        "Martinet 1970; Mokhtari et al. 2020, arXiv 1901.08511",
        steps.proximal,
        jacobians=1,
        implicit=True,
    ),
    Method("competitive", "competitive gradient descent", _SCHAEFER, steps.competitive, jacobians=1, implicit=True),
    Method(
        "competitive-linear",
        "competitive gradient descent, linearised (LookAhead)",
        f"{_SCHAEFER}; Zhang & Lesser 2010",
        partial(steps.looking_ahead, 1.0),
        jacobians=1,
    ),
    Method(
        "lola",
        "learning with opponent-learning awareness (LOLA)",
        "Foerster et al. 2018, arXiv 1709.04326",
        partial(steps.looking_ahead, 2.0),
        jacobians=1,
    ),
    Method(
        "consensus",
        "consensus optimisation",
        "Mescheder et al. 2017, arXiv 1705.10461",
        steps.consensus,
        jacobians=1,
        options={"gamma": _GAMMA},
        strength="gamma",
    ),
    Method(
        "symplectic",
        "symplectic gradient adjustment",
        "Balduzzi et al. 2018, arXiv 1802.05642",
        steps.symplectic,
        jacobians=2,
        options={"lam": Option(1.0, "weight of the adjustment")},
        strength="lam",
    ),
    Method(
        "hamiltonian",
        "gradient descent on the Hamiltonian ½‖F‖²",
        "Balduzzi et al. 2018, arXiv 1802.05642",
        steps.hamiltonian,
        jacobians=1,
    ),
    Method(
        "follow-the-ridge",
        "follow-the-ridge: the follower keeps to its best response",
        "Wang et al. 2019, arXiv 1910.07512",
        steps.ridge,
        jacobians=2,
        implicit=True,
        options={"follower": Option(1, "the follower: 0 is x, 1 is y", 0, 1, whole=True)},
        requires="that f is curved in the follower's numbers: their block of second derivatives must be invertible",
    ),
    Method(
        "momentum",
        "momentum, both players at once",
        _GIDEL,
        steps.momentum,
        ("zeros",),
        options={"beta": _BETA},
        family="momentum",
    ),
    Method(
        "alternating-momentum",
        "momentum, x first, then y",
        _GIDEL,
        steps.alternating_momentum,
        ("zeros",),
        options={"beta": _BETA},
        family="momentum",
        scheme="alternating",
    ),
    Method(
        "lookahead",
        "Lookahead: slow weights, updated every k simultaneous steps",
        "Chavdarova et al. 2021, arXiv 2006.14567",
        steps.lookahead,
        ("start",),
        clock=lambda place, options: (0.0 if (place + 1) % options["k"] else 1.0,),
        period=lambda options: int(options["k"]),
        options={
            "k": Option(5, "fast steps for each slow one", 1, 10_000, whole=True),
            "alpha": Option(0.5, "step size of the slow weights", 0, 1),
        },
    ),
    Method(
        "anchored",
        "anchored extragradient (EAG-C)",
        "Yoon & Ryu 2021, arXiv 2102.07922",
        steps.anchored,
        ("start",),
        evaluations=2,
        clock=lambda place, options: (1 / (place + 2),),
        period=None,
        lasting=(0,),
    ),
    Method(
        "varying-anchored",
        "anchored extragradient with rates that fall (EAG-V)",
        "Yoon & Ryu 2021, arXiv 2102.07922",
        steps.varying_anchored,
        ("start", "ones"),
        evaluations=2,
        options={"lipschitz": Option(1.0, "Lipschitz constant L of F; the rate must be below 3/(4L)", 0)},
        linear=False,
        clock=lambda place, options: (1 / (place + 2), 1 / ((place + 1) * (place + 3))),
        period=None,
        lasting=(0,),
    ),
    Method(
        "fast-extragradient",
        "fast extragradient (FEG), anchored too",
        "Lee & Kim 2021, arXiv 2106.02326",
        steps.fast,
        ("start",),
        evaluations=2,
        clock=lambda place, options: (1 / (place + 1),),
        period=None,
        lasting=(0,),
    ),
    Method(
        "anchored-popov",
        "anchored, with the gradient of the last extrapolated point (anchored Popov)",
        "Tran-Dinh & Luo 2021, arXiv 2110.08150",
        steps.anchored_popov,
        ("start", "field"),
        clock=lambda place, options: (1 / (place + 2),),
        period=None,
        lasting=(0, 2),
    ),
    Method(
        "adaptive-extragradient",
        "extragradient whose step is a projection (AdaptiveEG+)",
        "Pethick et al. 2022, arXiv 2302.09831",
        steps.adaptive_extragradient,
        evaluations=2,
        options={"relax": Option(1.0, "relaxation of the projection", 0, 2)},
        linear=False,
        period=None,
    ),
    Method(
        "midpoint",
        "implicit midpoint rule on dz/dt = -F",
        "Hairer, Lubich & Wanner 2006",
        steps.midpoint,
        jacobians=1,
        implicit=True,
    ),
    Method("runge-kutta", "Runge-Kutta of fourth order on dz/dt = -F", "Kutta 1901", steps.runge_kutta, evaluations=4),
)


def _adaptive(
    family: str,
    title: str,
    source: str,
    scaled: adaptive.Scaled,
    options: dict[str, Option],
    clock: Clock | None,
    twice: Clock | None,
) -> tuple[Method, ...]:
    """The four update schemes of one adaptive method."""
    row = partial(Method, options=options, family=family, linear=False, period=None)
    return (
        row(
            family,
            f"{title}, both players at once",
            source,
            partial(adaptive.simultaneous, scaled),
            ("zeros", "zeros"),
            clock=clock,
        ),
        row(
            f"alternating-{family}",
            f"{title}, x first, then y",
            source,
            partial(adaptive.alternating, scaled),
            ("zeros", "zeros"),
            scheme="alternating",
            clock=clock,
        ),
        row(
            f"optimistic-{family}",
            f"{title}, optimistic: twice this direction minus the last",
            f"{source}; Daskalakis et al. 2018, arXiv 1711.00141",
            partial(adaptive.optimistic, scaled),
            ("zeros", "zeros", "zeros"),
            scheme="optimistic",
            clock=clock,
        ),
        row(
            f"extra-{family}",
            f"{title}, the direction at an extrapolated point",
            f"{source}; Gidel et al. 2019, arXiv 1802.10551",
            partial(adaptive.extrapolating, scaled),
            ("zeros", "zeros"),
            evaluations=2,
            scheme="extragradient",
            clock=twice,
        ),
    )


_ROWS: Final = (
    *_GENERAL,
    *_adaptive(
        "adam",
        "Adam",
        "Kingma & Ba 2015, arXiv 1412.6980",
        adaptive.adam,
        _ADAM,
        _corrections,
        lambda place, options: _corrections(2 * place, options) + _corrections(2 * place + 1, options),
    ),
    *_adaptive("rmsprop", "RMSProp", "Tieleman & Hinton 2012", adaptive.rmsprop, _RMSPROP, None, None),
)

METHODS: Final[Mapping[str, Method]] = {row.name: row for row in _ROWS}
"""The methods by name."""

SCHEMES: Final = get_args(Scheme)
"""The update schemes: variants of one method differ in who moves when, and in which gradient is used."""


def find_method(name: str | Method, scheme: str | None = None) -> Method:
    """A method by its name, or its variant with another update ``scheme``. Raises ``UsageError`` that lists them."""
    if isinstance(name, Method):
        row = name
    elif isinstance(name, str) and name in METHODS:
        row = METHODS[name]
    else:
        raise no_such("method", name, METHODS)
    if scheme is None or scheme == row.scheme:
        return row
    families = (row.name, row.family) if row.family else (row.name,)
    # Variants of the method itself take precedence over its siblings: optimistic has an alternating form of its own.
    rows = METHODS.values()
    variants = {other.scheme: other for name in reversed(families) for other in rows if other.family == name}
    if scheme not in SCHEMES:
        raise no_such("scheme", scheme, SCHEMES)
    if scheme not in variants:
        there = ", ".join(dict.fromkeys([row.scheme, *variants]))
        raise UsageError(f"the method '{row.name}' has no {scheme} variant; there are {there}")
    return variants[scheme]


COMPARED: Final = (
    "simultaneous",
    "alternating",
    "extragradient",
    "optimistic",
    "competitive",
    "consensus",
    "lookahead",
    "alternating-momentum",
)
"""The methods that are compared by default: eight, the number of colours of the colour-blind safe palette."""

EVERY: Final = "all"
"""All methods, where names of methods are given."""

Methods: TypeAlias = "str | Method | Iterable[str | Method] | None"
PerMethod: TypeAlias = "Mapping[str, Mapping[str, object]] | None"
"""MethodOptions by the name of the method."""


def read_methods(methods: Methods, options: PerMethod) -> list[tuple[Method, dict[str, Any]]]:
    """The methods that are named, each once, with all of their options. Raises ``UsageError``."""
    if methods is None:
        methods = COMPARED
    elif methods == EVERY:
        methods = METHODS
    given = [methods] if isinstance(methods, (str, Method)) else list(methods)
    rows = list({row.name: row for row in map(find_method, given)}.values())
    names = [row.name for row in rows]
    if not names:
        raise UsageError(f"methods must be one or more of {', '.join(METHODS)}, or '{EVERY}'")
    for name in options or {}:
        if name not in names:
            raise UsageError(f"options are given for the method '{name}', which is not among {', '.join(names)}")
    return [(row, dict(row.fill((options or {}).get(row.name, {})))) for row in rows]
