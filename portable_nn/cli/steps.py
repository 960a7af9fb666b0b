"""Options of the commands that train: how gradients become steps."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.core.errors import UsageError
from portable_nn.core.names import SCHEDULES

if TYPE_CHECKING:
    from portable_nn.training.fit import FitOptions
    from portable_nn.training.schedules import ReduceOnPlateau, Schedule


@dataclass(frozen=True)
class StepOptions:
    """The learning rate as training goes on, and what is done with gradients and weights."""

    SUBJECT = "Training"

    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:OPTION=X,…]",
            help=f"How the learning rate changes: {', '.join(SCHEDULES)}; with options, one-cycle:start=0.1,rise=0.2.",
            hidden=True,
        ),
    ] = None
    warm_up: Annotated[
        float | None,
        typer.Option(
            metavar="EPOCHS", help="Let the learning rate rise from 0 for so long, before the schedule.", hidden=True
        ),
    ] = None
    groups: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="PATTERN:OPTION=X,…",
            help="Other options of the optimizer for parameters that match: 'head.*:learning_rate=0.1'. Repeatable.",
            hidden=True,
        ),
    ] = None
    clip_norm: Annotated[
        float | None,
        typer.Option(metavar="X", help="Scale gradients down to this norm, of all parameters together.", hidden=True),
    ] = None
    accumulate: Annotated[int | None, typer.Option(metavar="N", help="Batches per step.", hidden=True)] = None
    average: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Keep the moving average of the weights, with this factor, such as 0.999.", hidden=True
        ),
    ] = None

    def options(self) -> FitOptions:
        """The options of ``fit`` that are given. Raises ``UsageError``."""
        found = {
            "schedule": self._schedule(),
            "groups": dict(_options("--group", text) for text in self.groups or ()),
            "clip_norm": self.clip_norm,
            "accumulate": self.accumulate,
            "average": self.average,
        }
        return {name: value for name, value in found.items() if value not in (None, {})}  # type: ignore[return-value]

    def _schedule(self) -> Schedule | ReduceOnPlateau | None:
        from portable_nn.training import schedules

        found = None
        if self.schedule is not None:
            name, options = _options("--schedule", self.schedule) if ":" in self.schedule else (self.schedule, {})
            if name not in SCHEDULES:
                raise UsageError(f"--schedule must be one of {', '.join(SCHEDULES)}, not '{name}'")
            kind = getattr(schedules, SCHEDULES[name])
            _check_known(f"--schedule {name}", options, [each.name for each in fields(kind)])
            if name == "step" and "every" not in options:
                raise UsageError("--schedule step needs its option 'every', the epochs between two steps")
            found = kind(**options)
        return found if self.warm_up is None else schedules.Warmup(self.warm_up, found)


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
