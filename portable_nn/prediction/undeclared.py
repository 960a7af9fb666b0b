"""The meaning of an output's numbers that the model does not describe: decided here, for all that read answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.evaluation.scoring import Task
from portable_nn.format.meaning import OutputInfo
from portable_nn.opening.runners import UNKNOWN, Runner
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import is_picture

SUM_TOLERANCE: Final = 1e-3
"""The largest deviation of their sum from 1 for numbers to be taken for probabilities."""

ROUNDING: Final = 1e-5
"""The distance from 0 and 1 to which sums of probabilities, such as of the trees of a forest, may round."""

COUNTS: Final = (10, 100, 1000, 1001, 21_841, 21_843)
"""The classes of MNIST, CIFAR and ImageNet: so many numbers of a picture are scores of them."""

UNSAID: Final = "the model does not say what its numbers are"


class Meaning(NamedTuple):
    """The meaning that numbers are taken to have.

    Args:
        kind: the kind, as in a manifest.
        note: what was assumed.
        hint: what to do where that is wrong, if it may be: then the note must be known unasked.
    """

    kind: str
    note: str
    hint: str = ""


def is_undeclared(runner: Runner, labels: Sequence[str], width: int) -> bool:
    """True if the model does not describe an output of so many numbers.

    A network without a description has "values" by default: they are classes where somebody names exactly as many.
    """
    says_nothing = runner.kind == "values" and runner.info == OutputInfo(runner.info.name)
    return runner.kind == UNKNOWN or (says_nothing and len(labels) == width > 1)


def meaning_of(
    numbers: Array,
    runner: Runner,
    *,
    names: Sequence[str],
    task: Task | None = None,
    targets: Sequence[Any] | None = None,
) -> Meaning:
    """The meaning of the numbers ``(n, width)`` of an output that the model does not describe.

    They are classes where the numbers show it (each row has the sum 1, or its exponentials have), or somebody says so:
    by names of classes, by ``task``, or by data with one class for each example; and where a picture has as many as
    data sets that everybody knows have classes. Else they are numbers: of two outputs of a regression, softmax would
    make a wrong answer.

    Args:
        numbers: some outputs, all finite.
        runner: the model.
        names: the names of the classes, if there are any.
        task: what is wanted, if somebody said it.
        targets: what the data say of each example, if they do.
    """
    width = numbers.shape[1]
    within = bool(((numbers >= -ROUNDING) & (numbers <= 1 + ROUNDING)).all())
    said = _said(task, targets, width)
    if said == "numbers":
        return Meaning("values", "")
    if width == 1:
        return _of_one(within if names or task == "classes" else None)
    if within and _are_one(numbers.sum(axis=1)):
        return Meaning("probabilities", f"{UNSAID}; they are taken for probabilities, whose sum is 1")
    if (numbers <= 0).all() and _are_one(np.exp(numbers).sum(axis=1)):
        return Meaning("logits", f"{UNSAID}; they are taken for logarithms of probabilities, whose sum is 1")
    if names or said == "classes":
        hint = "numbers from 0 to 1 may be probabilities already, each for itself: --task numbers (task='numbers')"
        return Meaning("logits", f"{UNSAID}; softmax makes probabilities of them", hint * (within and not said))
    if width in COUNTS and (runner.input.info.kind == "image" or is_picture(runner.input.taken.shape)):
        note = f"{UNSAID}; {width:,} of a picture are taken for scores of classes, of which softmax makes probabilities"
        return Meaning("logits", note, "--task numbers (task='numbers') leaves them as they are")
    hint = "if they are scores of classes, --task classes (task='classes') or --labels (labels=) says so"
    return Meaning("values", f"{UNSAID}; they are given as they are", hint)


def _of_one(is_probability: bool | None) -> Meaning:
    """The meaning of one number alone: a probability, or its logit; a quantity (``None``)."""
    if is_probability is None:
        return Meaning("values", f"{UNSAID}; it is taken for a quantity")
    if is_probability:
        return Meaning("probabilities", f"{UNSAID}; it is taken for a probability")
    return Meaning("binary_logits", f"{UNSAID}; the logistic function makes a probability of it")


def _are_one(sums: Array) -> bool:
    return bool(np.allclose(sums, 1, rtol=0, atol=SUM_TOLERANCE))


def _said(task: Task | None, targets: Sequence[Any] | None, width: int) -> Task | None:
    """The task that somebody said, or that of the data: numbers if these have fractions, or a row has several; else one
    class for each."""
    if task:
        return task
    known = [target for target in targets or () if target is not None]
    if any(_are_numbers(target, width) for target in known):
        return "numbers"
    return "classes" if known else None


def _are_numbers(target: Any, width: int) -> bool:
    if isinstance(target, list):
        return not {*target} <= {0, 1, None}  # 0 and 1 alone are a class, or several.
    # One number is no target of several outputs.
    return width == 1 and isinstance(target, float) and not target.is_integer()
