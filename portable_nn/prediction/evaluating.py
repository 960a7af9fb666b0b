"""The evaluation of a model on files, pictures and tables, and the calibration of its probabilities on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import DataError, FormatError, UsageError
from portable_nn.core.names import BATCH_SIZE, Engine
from portable_nn.core.numbers import Count, Natural
from portable_nn.core.text import NAMED, quantity, several, shortened, some
from portable_nn.data.apart import apart, by_name, to_evaluate
from portable_nn.data.batches import Bad
from portable_nn.data.cells import is_words, missing
from portable_nn.data.columns import numbers_fault
from portable_nn.data.dataset import Dataset, read_dataset
from portable_nn.data.folders import divided, labelled_pictures
from portable_nn.data.frames import Dialect, Frame, read_frame, tables
from portable_nn.data.given import Examples, Labelled
from portable_nn.data.stored import Stored
from portable_nn.data.trained import test_share
from portable_nn.evaluation.methods import Calibration, add_up, calibrated
from portable_nn.evaluation.results import ClassEvaluation, ClassFigures, NumberEvaluation, NumberFigures
from portable_nn.evaluation.scoring import NOT_FINITE, Evaluation, Scoring, Task, kind_for
from portable_nn.evaluation.targets import labels_in
from portable_nn.network import Network
from portable_nn.opening.kinds import open_model
from portable_nn.operators.registry import Array
from portable_nn.prediction.answers import Answer, Answers, answers_of
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.preprocessing.steps import Found
from portable_nn.recipes.digits import ENOUGH, reads_digits, set_threshold

__all__ = [
    "Calibration",
    "ClassEvaluation",
    "ClassFigures",
    "NumberEvaluation",
    "NumberFigures",
    "calibrate",
    "evaluate",
]


@check_kinds
def evaluate(
    model: str | Path | Network,
    data: Any,
    y: Any = None,
    *,
    task: Task | None = None,
    target: str | None = None,
    worst: Natural = 0,
    test: bool = False,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    batch_size: Count = BATCH_SIZE,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = True,
    digest: str | None = None,
    edited: bool = False,
    dialect: Dialect | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
    inputs: str | Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
) -> Evaluation:
    """The evaluation of ``model`` on data with the right answers.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        data: what ``predict`` takes, with labels: a CSV whose first column has them, or with named columns among which
            is what the model predicts; npz, HDF5 and JSON with ``x`` and ``y``; the images of MNIST beside their
            labels; a folder with a folder of pictures for each class, which is named like it. They are read in batches.
        y: labels or numbers for data in memory that have none, one or a row for each example.
        task: ``classes`` or ``numbers``; by default the model says it, or else the data.
        target: the column of a table that says what is right, by its name, ``first`` or ``last``, for a model that
            does not know columns by name: it gets the numbers of the other columns, in their order.
        worst: how many of the worst examples are listed.
        test: evaluate only on the examples of a file or folder that ``train --test`` held out.
        strict: whether to raise at the first example that cannot be used, because it cannot be read, has no label or
            one that the model does not know, or because the model gives NaN. Otherwise these are counted in
            ``left_out``, and the first are in the notes.
        inputs: the name of the array with the examples in HDF5, npz, zarr and Parquet files; several stand side by
            side.
        targets: the name of that with what is right, or several.

    All else is as ``predict`` takes it. A whole number is the number of a class, from 0, unless the names of the
    classes are numbers.

    Returns a ``ClassEvaluation`` or ``NumberEvaluation``, which ``print`` shows.

    Raises as ``predict`` does, and:
        DataError: the data have no labels, or no example can be used.

    >>> import portable_nn as pnn
    >>> found = pnn.evaluate("digits", "classes", worst=20)  # a folder with a folder for each class
    >>> found.accuracy  # print(found) has all of it
    1.0
    """
    options = ModelOptions.of(locals(), dataset=inputs)
    return evaluated(model, data, y, options, target=target, worst=worst, test=test)


def evaluated(
    model: str | Path | Network,
    data: Any,
    y: Any,
    options: ModelOptions,
    *,
    target: str | None = None,
    worst: int = 0,
    test: bool = False,
) -> Evaluation:
    """As ``evaluate`` says it, which takes the options one by one."""
    if test:
        if y is not None or target is not None or not isinstance(data, str | Path):
            raise UsageError("test is for a file or folder, which says itself what is right: leave y and target out")
        data, options = _tested_again(model, Path(data), options)
    options = with_labels(options)
    data, y = with_target(model, data, y, target, options)
    given = _given(y, options.strict or target is not None)
    return evaluation_of(answers_of(model, data, options), given, options.strict, worst)


def with_labels(options: ModelOptions) -> ModelOptions:
    """The options for data that say what is right. Raises ``UsageError`` before anything is read."""
    kind_for(options.task, "values", 1)
    if (options.dataset is None) != (options.targets is None):
        raise UsageError("inputs and targets go together: the names of the arrays in the files")
    return replace(options, labelled=True)


def evaluation_of(answers: Answers, given: list[Any] | None, strict: bool, worst: int) -> Evaluation:
    """The evaluation of answers, by the labels in the data or those ``given``. Raises as ``evaluate`` does."""
    scores = _scored(answers, given, strict, worst)
    return scores.scoring.result([*answers.warnings, *answers.notes, *scores.notes()], scores.left_out)


def _tested_again(
    model: str | Path | Network, path: Path, options: ModelOptions
) -> tuple[Frame | Examples | list[Labelled], ModelOptions]:
    """The examples of a file or folder that were held out to test the model, and the options to evaluate them with.

    Raises ``DataError`` where there are none.
    """
    runner, named = options.runner(model), options.named
    share, seed = test_share(runner.model.description.trained_on, path, bool(named))
    if path.is_dir():
        return divided(labelled_pictures(path), share, seed, "test")[1], options
    names, dialect = (named.inputs, named.targets) if named else (), options.dialect or Dialect()
    data: Frame | Dataset | dict[str, Stored]
    if runner.input.info.columns:
        data = read_frame(path, **vars(dialect))
    elif named:
        data = by_name(path, *names)
    else:
        data = read_dataset(path, width=math.prod(runner.taken(labelled=True).shape or ()), dialect=dialect)
    tested = to_evaluate(apart(data, share, seed)[1], path, *names)
    return tested, replace(options, dataset=None, targets=None)


def with_target(
    model: str | Path | Network, data: Any, y: Any, target: str | None, options: ModelOptions
) -> tuple[Any, Any]:
    """Data with the labels of a column ``target`` taken out of it, if one is given."""
    if target is None:
        return data, y
    meaning = options.opened(model).description
    if any(info.columns for info in meaning.inputs):
        own = [info.target for info in meaning.outputs if info.target]
        if target in own:
            return data, y
        raise UsageError(
            f"target: this model predicts {some(map(repr, own)) or 'no column'}, not {target!r}: leave it out"
        )
    return _parted(data, y, target, options.dialect or Dialect())


def _parted(data: Any, y: Any, target: str, dialect: Dialect) -> tuple[Array, Array]:
    """The numbers of a table without its column ``target``, and that column."""
    given = tables(data)
    if y is not None or given is None or len(given) != 1:
        raise UsageError("target names a column of one table: a CSV, Parquet, Arrow or JSON file, or columns in memory")
    frame = read_frame(given[0], **vars(dialect))
    name = frame.called(target)
    labels = _checked(frame, name, ": a word such as ? or NA stands for a missing value")
    others = [_checked(frame, each) for each in frame.columns if each != name]
    if words := [each for each, cells in frame.columns.items() if each != name and is_words(cells)]:
        raise DataError(frame.where, f"column '{words[0]}' has words, and the model takes numbers")
    if not others:
        raise DataError(frame.where, f"has no column but '{name}'")
    return np.column_stack(others), labels


def _checked(frame: Frame, name: str, hint: str = "") -> Array:
    """A column of a table. Raises ``DataError`` where a value is missing, or a number is of no use."""
    cells = frame.column(name)
    if missing(cells).any():
        raise DataError(frame.row(int(missing(cells).argmax())), f"there is no value in column '{name}'{hint}")
    if fault := numbers_fault(frame, cells, "float64"):
        raise DataError(frame.where, f"column '{name}' {fault}")
    return cells


def _no_labels(answers: Answers) -> str:
    runner = answers.runner
    if runner.input.info.columns:
        return f"has no column '{runner.info.target}', which {runner.model.where} predicts, to compare with"
    return (
        "has no labels to compare with: those of a CSV are in its first column, those of npz, HDF5 and JSON in y, and "
        "those of pictures are the names of their folders, one for each class"
    )


class Calibrated(NamedTuple):
    """A network with the temperature that was found, and what it changes; None where outputs have no temperature."""

    network: Network
    calibration: Calibration | None


@check_kinds
def calibrate(
    model: str | Path | Network,
    data: Any,
    y: Any = None,
    *,
    task: Task | None = None,
    target: str | None = None,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    batch_size: Count = BATCH_SIZE,
    polarity: Found | None = None,
    raw: bool = False,
    digest: str | None = None,
    edited: bool = False,
    dialect: Dialect | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
) -> Calibrated:
    """Find the temperature with which a model's probabilities are what they say: see ``Network.calibrate``.

    A network that reads the digits in photographs then gets the threshold of ``"?"`` as well (``train_classifier``
    says which), and that alone where its outputs are separate logistic functions.

    Args:
        model: a network, whose output is changed; or the name of a shipped model, a weight file, or any ONNX file that
            can be imported.
        data: examples with labels that the model was not trained on, as ``evaluate`` takes them.
        y: labels for data in memory that have none.
        task: ``classes`` for a model that says it predicts numbers, if these are logits.
        target: as ``evaluate`` takes it.

    All else is as ``evaluate`` takes it.

    Returns the network with its temperature, to be saved, and the calibration.

    Raises as ``evaluate`` and ``Network.calibrate`` do, and ``UnsupportedError`` for an ONNX file that cannot be
    imported.
    """
    if task == "numbers":
        raise UsageError("a temperature is for the probabilities of classes, and not for numbers: leave task out")
    options = ModelOptions.of(locals(), task="classes", labelled=True)
    data, y = with_target(model, data, y, target, options)
    answers = answers_of(model, data, options)
    if task is None and answers.runner.kind in ("values", "gaussian"):
        raise UsageError(
            f"{answers.runner.model.where} predicts numbers: a temperature is for the probabilities of classes. If it "
            "tells classes apart, task classes says so"
        )
    scores = _scored(answers, _given(y, True), True, 0, keep=True)
    numbers, classes = map(np.concatenate, zip(*scores.kept, strict=True))
    info = scores.scoring.info
    network = model if isinstance(model, Network) else open_model(model, digest=digest, edited=edited).proved_network()
    is_of_digits = reads_digits(network) and len(numbers) >= ENOUGH
    if is_of_digits and not add_up(numbers, info):
        set_threshold(network, numbers)
        return Calibrated(network, None)
    found = calibrated(numbers, classes, info, scores.scoring.classes)
    names = scores.scoring.classes if labels is not None else ()
    network.outputs = tuple(
        msgspec.structs.replace(each, kind=info.kind, labels=names or each.labels, temperature=found.temperature)
        if each.name == info.name
        else each
        for each in network.outputs
    )
    if is_of_digits:
        set_threshold(network, numbers)
    return Calibrated(network, found)


class _Scored:
    """The scores of answers, what was left out, and, if wanted, the answers themselves."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.scoring: Scoring
        self.left_out = 0
        self.reasons: list[str] = []
        self.first = ("the data", "there are none")
        self.kept: list[tuple[Array, Array]] = []

    def leave_out(self, name: str, reason: str, strict: bool) -> None:
        """Count an example. Raises with ``strict``."""
        if strict and reason == NOT_FINITE:
            raise FormatError(self.where, f"{reason} for {name}")
        if strict:
            raise DataError(name, reason)
        self.left_out += 1
        if self.left_out == 1:
            self.first = (name, reason)
        if len(self.reasons) < NAMED:
            self.reasons.append(f"{name}: {reason}")

    def notes(self) -> list[str]:
        """The examples that were left out, in words."""
        if not self.left_out:
            return []
        reasons = several(self.reasons, self.left_out)
        return [f"{self.left_out:,} {'is' if self.left_out == 1 else 'are'} left out: {reasons}"]


def _given(y: Any, strict: bool) -> list[Any] | None:
    """Labels that are given beside the data, as a list."""
    if y is None:
        return None
    if not strict:
        raise UsageError("y is for data in which every example can be used: strict")
    found = labels_in(y)
    if not found.ndim:
        raise UsageError(f"y must have a label for each example, not one alone, {shortened(y)}")
    return list(found.tolist())


def _scored(answers: Answers, given: list[Any] | None, strict: bool, worst: int, *, keep: bool = False) -> _Scored:
    found, begun = _Scored(answers.runner.model.where), False
    answers.targets = given
    for each, labels in _labelled(answers, given):
        if isinstance(each, Bad):
            found.leave_out(each.name, each.reason, strict)
            continue
        names, (batch, numbers, finite) = each.batch.names, each
        is_labelled = any(label is not None for label in labels)
        if not is_labelled and not begun and (strict or batch.labels is None):
            raise DataError(names[0], _no_labels(answers))
        if not finite.any():
            for name in names:
                found.leave_out(name, NOT_FINITE, strict)
            continue
        if not begun:
            begun, found.scoring = True, Scoring(answers.info, answers.classes, worst=worst)
        numbers = np.where(finite[:, np.newaxis], numbers, np.nan)
        faults = found.scoring.update(
            numbers, labels, names, batch.x if answers.are_pictures and batch.x.size else None
        )
        for place, reason in faults.items():
            found.leave_out(names[place], reason, strict)
        if keep:
            found.kept.append((numbers, found.scoring.find.of(labels)))
    if not begun or not found.scoring.count:
        if len(found.reasons) == 1:
            raise DataError(*found.first)
        raise DataError(
            found.where,
            f"there is no example to evaluate it on: {': '.join(found.first)}; the labels of a table are its first "
            "column, or the one that --target (target=) names",
        )
    return found


def _labelled(answers: Answers, given: list[Any] | None) -> Iterator[tuple[Answer | Bad, list[Any]]]:
    """Answers with the labels of their examples. Raises ``UsageError`` where fewer or more are given."""
    seen = 0
    for each in answers:
        if isinstance(each, Bad):
            if given is not None:  # Which labels are those of the others is not known.
                raise DataError(each.name, each.reason)
            yield each, []
            continue
        count = len(each.batch.names)
        labels = each.batch.labels if given is None else given[seen : seen + count]
        seen += count
        if given is not None and seen > len(given):
            break
        yield each, [None] * count if labels is None else labels
    if given is not None and seen != len(given):
        raise UsageError(
            f"y has {quantity(len(given), 'label')} for {'at least ' if seen > len(given) else ''}"
            f"{quantity(seen, 'example')}"
        )
