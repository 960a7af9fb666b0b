"""Loss functions. Each adds the nodes that compute it to the graph."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeAlias

from portable_nn.core import names
from portable_nn.core.errors import UsageError
from portable_nn.core.text import either
from portable_nn.core.words import meant
from portable_nn.format.meaning import OutputInfo
from portable_nn.training.losses import classes, numbers
from portable_nn.training.losses.base import Built as Built
from portable_nn.training.losses.base import Loss as Loss
from portable_nn.training.losses.own import Function
from portable_nn.training.losses.own import OwnLoss as OwnLoss

LossLike: TypeAlias = str | Loss | Function
"""A loss by its name, with options, or a function of symbols."""

LONGEST: Final = 100_000
"""The longest text of a loss: one with weights of some thousand classes."""

LOSSES: Final[Mapping[str, type[Loss]]] = {
    name: {**vars(numbers), **vars(classes)}[kind] for name, kind in names.LOSSES.items()
}
"""The losses by name. A new one is a class in one of the two modules and a row in ``names``."""


def find_loss(loss: LossLike) -> Loss:
    """A loss: itself, that of a name or of a text such as ``huber(delta=2.0)``, or one of a function.

    Raises ``UsageError`` that lists the names.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise UsageError(f"loss must be a loss such as {loss.__name__}(), not the class {loss.__name__}")
    if callable(loss):
        return OwnLoss(loss)
    name, options = _read(loss)
    if name not in LOSSES:
        raise UsageError(f"loss must be one of {', '.join(LOSSES)}, not {loss!r}{meant('loss=', loss)}")
    known = [each.name for each in fields(LOSSES[name])]
    if unknown := [option for option in options if option not in known]:
        raise UsageError(f"loss '{name}' has no option '{unknown[0]}': it has {', '.join(known)}")
    return LOSSES[name](**options)


def with_options(loss: LossLike, options: Mapping[str, Any]) -> Loss:
    """A loss with some ``options`` replaced. Raises ``UsageError`` for one that it does not have."""
    found = find_loss(loss)
    for option in options:
        if option not in [each.name for each in fields(found)]:
            able = [name for name, kind in LOSSES.items() if option in kind.__dataclass_fields__]
            raise UsageError(f"{option} is for the loss {either(able)}, not for {found.name}")
    return replace(found, **options)


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options in a text: ``huber(delta=2.0)``; a text that is no such call is taken for a name."""
    found = re.fullmatch(r"(\w+)\((.*)\)", text) if len(text) <= LONGEST else None
    if not found:
        return text, {}
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(each.arg is None for each in call.keywords):
            raise ValueError
        return found[1], {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"loss must be a name, or a call such as huber(delta=2.0), not {text!r}") from None


def find_losses(outputs: Sequence[str], loss: LossLike | Mapping[str, LossLike]) -> dict[str, Loss]:
    """The loss of each output that is trained: one for all of ``outputs``, or a dict. Raises ``UsageError``."""
    if isinstance(loss, str | Loss) or callable(loss):
        found = find_loss(loss)
        return dict.fromkeys(outputs, found)
    if not isinstance(loss, Mapping) or not loss or not set(loss) <= set(outputs):
        known = ", ".join(outputs)
        raise UsageError(
            "loss must be a name, a loss such as Huber(), a function of symbols, or a dict of them for some of the "
            f"outputs {known}, not {loss!r}"
        )
    return {name: find_loss(each) for name, each in loss.items()}


def usual_losses(outputs: Collection[OutputInfo]) -> dict[str, Loss]:
    """The losses that ``outputs`` note that they were trained with, or ``cross_entropy`` for all where none does.

    Raises ``UsageError`` for a loss that a text cannot say, such as a function.
    """
    noted = [output for output in outputs if output.loss]
    if not noted:
        return {output.name: find_loss("cross_entropy") for output in outputs}
    found = {}
    for output in noted:
        try:
            found[output.name] = find_loss(output.loss)
        except (UsageError, TypeError) as error:
            raise UsageError(
                f"output '{output.name}' was trained with the loss {output.loss}, which must be given again, as loss=: "
                "a text cannot say it"
            ) from error
    return found
