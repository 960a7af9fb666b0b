"""Options of the commands that train: how gradients become steps."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portable_nn.cli.options import choice
from portable_nn.core.errors import UsageError
from portable_nn.core.names import OPTIMIZER, OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from portable_nn.training.fit import FitOptions
    from portable_nn.training.schedules import ReduceOnPlateau, Schedule

CONSTANT: Final = "constant"
"""A learning rate without a schedule."""

STEPS: Final = ("clip_norm", "accumulate", "average")
"""Options of ``fit`` that are given with the optimizer."""


@dataclass(frozen=True)
class StepOptions:
    """The learning rate as training goes on, and what is done with gradients and weights."""

    SUBJECT = "Training"

    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="X",
            help="Learning rate. By default that of the optimizer; for cnn one-cycle up to 0.005.",
        ),
    ] = None
    optimizer: Annotated[
        str,
        choice(
            "--optimizer",
            names=OPTIMIZERS,
            help="Optimizer, which may have options: sgd:momentum=0.9, adamw:weight_decay=0.1. For any optimizer, "
            "clip_norm=1 scales large gradients down, accumulate=4 takes 4 batches per step, and average=0.999 "
            "keeps the moving average of the weights.",
            after=":",
            hidden=True,
        ),
    ] = OPTIMIZER
    schedule: Annotated[
        str,
        choice(
            "--schedule",
            names=(CONSTANT, *SCHEDULES),
            help="Schedule of the learning rate, which may have options: one-cycle:start=0.1,rise=0.2; warm_up=2 "
            "raises it from 0 over two epochs.",
            after=":",
            hidden=True,
        ),
    ] = CONSTANT
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="PATTERN:OPTION=X,…",
            help="Optimizer options for the parameters that match PATTERN: 'head.*:learning_rate=0.1'. Repeatable.",
            hidden=True,
        ),
    ] = None

    def options(self) -> FitOptions:
        """The options of ``fit``. Raises ``UsageError``."""
        from portable_nn.training.optimizers import OPTIMIZERS

        name, given = _named("--optimizer", self.optimizer)
        steps: dict[str, Any] = {option: given.pop(option) for option in STEPS if option in given}
        _check_known(f"--optimizer {name}", given, [*(each.name for each in fields(OPTIMIZERS[name])), *STEPS])
        if self.learning_rate is not None:
            given["learning_rate"] = self.learning_rate
        found: dict[str, Any] = {
            "optimizer": OPTIMIZERS[name](**given) if given or name != OPTIMIZER else None,
            "schedule": self._schedule(),
            "groups": dict(_options("--group", text) for text in self.groups or ()),
            **steps,
        }
        return {name: value for name, value in found.items() if value not in (None, {})}  # type: ignore[return-value]

    def _schedule(self) -> Schedule | ReduceOnPlateau | None:
        from portable_nn.training import schedules

        name, options = _named("--schedule", self.schedule)
        warm_up = options.pop("warm_up", None)
        kind = getattr(schedules, SCHEDULES[name]) if name != CONSTANT else None
        _check_known(
            f"--schedule {name}", options, [*(each.name for each in (fields(kind) if kind else ())), "warm_up"]
        )
        if name == "step" and "every" not in options:
            raise UsageError("--schedule step needs its option 'every', the epochs between two steps")
        found = kind(**options) if kind else None
        return found if warm_up is None else schedules.Warmup(warm_up, found)


def _named(flag: str, text: str) -> tuple[str, dict[str, Any]]:
    """A name that may stand alone, and its options. Raises ``UsageError``."""
    return _options(flag, text) if ":" in text else (text, {})


def _options(flag: str, text: str) -> tuple[str, dict[str, Any]]:
    """``name:option=1,other=2`` as the name and its options; what is no number is a word. Raises ``UsageError``."""
    name, _, rest = text.rpartition(":")
    pairs = [part.partition("=") for part in rest.split(",")]
    if not name or not all(option and sign and value for option, sign, value in pairs):
        raise UsageError(f"{flag} {text}: expected NAME:OPTION=VALUE, with commas between several options")
    return name, {option.strip(): _value(value) for option, _, value in pairs}


def _value(text: str) -> Any:
    try:
        found = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return found if isinstance(found, int | float | str) else text


def _check_known(what: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``UsageError`` for an option that there is not."""
    for name in options:
        if name not in known:
            raise UsageError(f"{what} has no option '{name}': it has {', '.join(known)}")
