"""Options of the commands that train: the loss, and what else is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from portable_nn.cli.options import choice, listed
from portable_nn.core.errors import UsageError
from portable_nn.core.names import LOSSES, METRICS

CLASS: Final = re.compile(r"\s*([^=]*(?:=[^=,]*)*?[^=\s])\s*=\s*([^=,]+)(?:,(?=.)|$)")
"""A class and its weight, ``NAME=W``: names may hold commas."""

TRAINED: Final = "train"
"""The word among metrics that measures the training examples as well as those held out."""


def loss_name(text: str) -> str:
    """The text of a loss, ``huber`` or ``huber(delta=2)``. Raises ``BadParameter`` for an unknown name."""
    if text.partition("(")[0] not in LOSSES:
        raise typer.BadParameter(f"'{text}' is not one of {', '.join(map(repr, LOSSES))}")
    return text


@dataclass(frozen=True)
class LossOptions:
    """Loss functions and metrics of a training."""

    SUBJECT = "Loss and metrics"

    loss: Annotated[
        str | None,
        typer.Option(
            "--loss",
            parser=loss_name,
            metavar=f"<{'|'.join(LOSSES)}>",
            help="Loss, which may have options: huber(delta=2), cross_entropy(label_smoothing=0.1).  [default: that "
            "of MODEL, what fits the target, or cross_entropy]",
            hidden=True,
        ),
    ] = None
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=W,…",
            help="Weights of classes in the loss, 1 by default; balanced gives all classes the same total. Repeatable.",
            hidden=True,
        ),
    ] = None
    metrics: Annotated[
        list[str] | None,
        choice(
            "--metric",
            names=(*METRICS, TRAINED),
            help="Metrics after each epoch, a,b; train measures them on the training examples as well.  [default: "
            "accuracy, for classes]",
            after=",",
            hidden=True,
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """The options of ``train_classifier``, ``train_table`` and ``tune_classifier``. Raises ``UsageError``."""
        weights, metrics = self._class_weight(), listed(self.metrics)
        given = {
            "loss": self.loss,
            "loss_options": {"class_weight": weights} if weights else {},
            "metrics": [name for name in metrics if name != TRAINED],
            "train_metrics": TRAINED in metrics,
        }
        return {name: value for name, value in given.items() if value}

    def _class_weight(self) -> str | dict[str, float] | None:
        """``balanced``, or the weights by the names of the classes."""
        if not self.class_weight:
            return None
        if self.class_weight == ["balanced"]:
            return "balanced"
        found: dict[str, float] = {}
        for text in self.class_weight:
            pairs = list(CLASS.finditer(text))
            if "".join(pair[0] for pair in pairs) != text:
                raise UsageError(f"--class-weight {text}: expected NAME=W, with commas between several, or balanced")
            for name, weight in (pair.groups() for pair in pairs):
                if name in found:
                    raise UsageError(f"--class-weight names '{name}' twice")
                found[name] = _number(name, weight)
        return found


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--class-weight: the weight of '{name}' must be a number, not '{text.strip()}'") from None
