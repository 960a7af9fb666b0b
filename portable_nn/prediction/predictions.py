"""Predictions of a model for images, tables and arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from portable_nn.core.arguments import check_argument, check_kinds
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.html import Share, html_table
from portable_nn.core.names import BATCH_SIZE, Engine
from portable_nn.core.numbers import Count
from portable_nn.core.text import percent, quantity, shortened, some, table
from portable_nn.data.batches import Bad, Batch
from portable_nn.data.frames import Dialect
from portable_nn.data.sources import iterate
from portable_nn.engines.recording import Recorder
from portable_nn.evaluation.probabilities import probabilities, quantities
from portable_nn.evaluation.scoring import NOT_FINITE, Task
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable, Runner
from portable_nn.operators.registry import Array
from portable_nn.prediction.answers import Answer, Answers, answers_of
from portable_nn.prediction.labels import class_named
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.prediction.prediction import Prediction, prediction_rows
from portable_nn.preprocessing.steps import Found

__all__ = ["Predictions", "predict", "prepare"]

UNSURE: Final = "?"
"""The label where no class is as likely as the model's threshold asks."""


SHOWN: Final = 20
"""The most predictions that are shown when they are printed."""

COUNTED: Final = ("made", "judged", "right", "unsure", "bad")
"""The names of the counts that are kept on the way."""


class _GoneError(UsageError, TypeError):
    """Predictions that were not kept. Being a ``TypeError``, it lets ``list`` do without the length."""


class Predictions(Iterator[Prediction], Sequence[Prediction]):
    """An iterator of predictions, which are computed batch by batch: any number of examples needs little memory.

    ``for`` and ``next`` give each once, and keep none. ``len(predictions)``, ``predictions[0]`` and ``predictions[:5]``
    compute all and keep them: from then on the predictions are a sequence, and every ``for`` begins with the first.
    Where some were given already and not kept, these raise ``UsageError``, and so does ``np.asarray``: the outputs as
    an array are what ``Network.predict`` gives.

    Meanwhile ``notes`` collects what was done and what was assumed, and ``warnings`` what must be known, such as how
    pictures are prepared, or what the numbers are, where the model does not say it. ``judged`` counts the examples
    whose class is in the data, and ``right`` those of them that were predicted correctly. ``made`` counts all,
    ``unsure`` those labelled ``"?"``, which none are where ``threshold``, the model's, is 0, and ``bad`` those with an
    error, of which ``first_bad`` is the first.
    """

    def __init__(self, answers: Answers, top: int) -> None:
        self._answers, self._runner, self._top = answers, answers.runner, top
        self.notes = answers.notes
        self.judged = self.right = self.made = self.unsure = self.bad = 0
        self.first_bad: Prediction | None = None
        self._is_told = False
        self.threshold = self._runner.info.threshold
        self.quantities = quantity_names(self._runner)
        self._each: Iterator[Prediction] = chain.from_iterable(map(self._counting, self._batches()))
        self._first: list[Prediction] = []
        self._kept: list[Prediction] | None = None

    def __repr__(self) -> str:
        """The first of the predictions that are computed so far, as a table of text; nothing runs for it."""
        headings, rows = prediction_rows(self._first, self.quantities)
        cells = [[percent(each.value) if isinstance(each, Share) else each for each in row] for row in rows]
        return "\n".join([self._title(), *([table(headings, cells)] if cells else [])])

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the same, and the warnings."""
        return html_table("\n".join([self._title(), *self.warnings]), *prediction_rows(self._first, self.quantities))

    def _title(self) -> str:
        made = f"{self.made:,} so far" if self.made else "none is computed yet; list(predictions) computes them"
        right = f"; {self.right:,} of {self.judged:,} with a known class right" if self.judged else ""
        shown = f"; the first {SHOWN} are shown" if self.made > SHOWN else ""
        return f"Predictions by {self._runner.model.where}: {made}{right}{shown}"

    def __next__(self) -> Prediction:
        return next(self._each)

    def __iter__(self) -> Iterator[Prediction]:
        return self if self._kept is None else iter(self._kept)

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return True  # Without computing them: there is one for each input at least.

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> list[Prediction]: ...
    def __getitem__(self, place: int | slice) -> Prediction | list[Prediction]:
        if not isinstance(place, (int, np.integer, slice)):
            raise UsageError(f"predictions have a number from 0, or a slice, not {shortened(place)}")
        kept = self._all()
        if not isinstance(place, slice) and not -len(kept) <= place < len(kept):
            raise IndexError(f"there are {quantity(len(kept), 'prediction')}, from 0, and none has the number {place}")
        return kept[place]

    def __array__(self, *_: Any, **__: Any) -> Array:
        """Raises ``UsageError``: a prediction is more than a number."""
        raise UsageError(
            "predictions are no array: network.predict(x) gives the outputs as one, and "
            "[each.label for each in predictions] is a list of labels"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings that people must get, asked or not: of the inputs from the beginning, of the outputs after the
        first one."""
        return tuple(self._answers.warnings)

    @property
    def kind(self) -> str:
        """The kind of the output, as in a manifest; of a model that does not say it, known after the first one."""
        return self._answers.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, after the first one; empty where the model predicts quantities."""
        return self._answers.classes

    def _all(self) -> list[Prediction]:
        if self._kept is None:
            if self.made:
                taken = f"{quantity(self.made, 'prediction')} {'was' if self.made == 1 else 'were'} given already"
                raise _GoneError(f"{taken}, and not kept: begin with predictions = list(pnn.predict(…))")
            self._kept = list(self._each)
            self._each = iter(self._kept)
        return self._kept

    @property
    def total(self) -> int | None:
        """The number of predictions in the end, where it is known."""
        return self._answers.place.total

    def state(self) -> dict[str, Any]:
        """The counts and assumptions so far, as JSON has them."""
        bad = self.first_bad
        return {
            **{name: getattr(self, name) for name in COUNTED},
            "first_bad": bad and [bad.input, bad.error],
            "kind": self._answers.kind,
        }

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Pass over those before ``state``, which that of ``in_batches`` was after a batch. Nothing is computed yet."""
        for name in COUNTED:
            setattr(self, name, state[name])
        bad = state["first_bad"]
        self.first_bad = bad and Prediction(bad[0], error=bad[1])
        self._answers.kind, self._answers.place.skip = state["kind"], self.made

    def in_batches(self) -> Iterator[list[Prediction]]:
        """The predictions, those together that are computed at once."""
        return map(list, map(self._counting, self._batches()))

    def _counting(self, batch: Iterable[Prediction]) -> Iterator[Prediction]:
        for prediction in batch:
            self.made += 1
            self._first += [prediction] * (self.made <= SHOWN)
            if prediction.error is not None:
                self.bad += 1
                self.first_bad = self.first_bad or prediction
            self.unsure += prediction.guess is not None or bool(prediction.values and prediction.label)
            if prediction.expected is not None:
                self.judged += 1
                self.right += prediction.label == prediction.expected
            yield prediction

    def _batches(self) -> Iterator[Iterable[Prediction]]:
        for answer in self._answers:
            yield [Prediction(answer.name, error=answer.reason)] if isinstance(answer, Bad) else self._predict(answer)

    def _predict(self, answer: Answer) -> Iterator[Prediction]:
        boxes = answer.batch.boxes or [None] * len(answer.batch.names)
        for prediction, is_finite, box in zip(self._of(answer), answer.finite, boxes, strict=True):
            found = prediction if is_finite else Prediction(prediction.input, error=NOT_FINITE)
            yield replace(found, box=box) if box else found

    def _of(self, answer: Answer) -> Iterator[Prediction]:
        """The predictions for a batch; those that are not finite have no meaning."""
        batch, numbers, finite = answer
        if not finite.any():
            return map(Prediction, batch.names)
        kind, classes = self._answers.kind, self._answers.classes
        if not classes:
            found = _with_spread(numbers, kind)
            lost = np.zeros(len(found), bool)
            if kind == "gaussian" and self.threshold:  # The means mean nothing: the deviations alone are given.
                count = found.shape[1] // 2
                lost = found[:, count] > self.threshold
                found[lost, :count] = np.nan
            return (
                Prediction(name, UNSURE if unsure else None, values=_floats(row, self._runner.digits))
                for name, row, unsure in zip(batch.names, found, lost, strict=True)
            )
        shares = probabilities(numbers, kind, self._runner.info.temperature)
        find = ClassFinder(classes)
        known = {*classes, *([UNSURE] if self.threshold else [])}
        expected = self._expected(batch.labels, find, known) if batch.labels else [None] * len(batch.names)
        said = set(expected) - {None}
        if said and not self.judged and not said & known:
            return self._misplaced(batch)
        return _ranked(batch.names, shares, expected, classes, self._top, self.threshold, self._runner.digits)

    def _expected(self, labels: Sequence[Any], find: ClassFinder, known: set[str]) -> Sequence[str | None]:
        """The classes in the data, None for words that are no class, of which a warning is given once."""
        found = [class_named(each, find) for each in labels]
        strange = {each for each in labels if isinstance(each, str)}.intersection(filter(None, found)) - known
        if strange and not self._is_told:
            self._is_told = True
            self._answers.warnings.append(f"labels that the model lacks are not compared: {some(sorted(strange))}")
        return [None if each in strange else each for each in found]

    def _misplaced(self, batch: Batch) -> Iterator[Prediction]:
        """The predictions for the first batch with labels, where none of them is a class. Raises if ``strict``."""
        assert batch.labels
        wanted = f"is none of the classes {some(self._answers.classes)}; in a table, labels are the first column"
        reasons = [f"the label {label} {wanted}" for label in batch.labels]
        if self._answers.options.strict:
            raise DataError(batch.names[0], reasons[0])
        return (Prediction(name, error=reason) for name, reason in zip(batch.names, reasons, strict=True))


@check_kinds
def predict(
    model: str | Path | Network,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    task: Task | None = None,
    top: Count = 1,
    batch_size: Count = BATCH_SIZE,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = True,
    digest: str | None = None,
    edited: bool = False,
    recorder: Recorder | None = None,
    dialect: Dialect | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
    dataset: str | Sequence[str] | None = None,
    stream: bool = False,
) -> Predictions:
    """Predictions of ``model`` for ``inputs``, one after the other.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: what to predict. In files: images, folders of them, CSV, JSON, npy, npz, IDX or HDF5 files, ``"-"`` for
            CSV or JSON on standard input. In memory: an array of examples (n, …) or one alone, an image of Pillow, a
            data frame or a dict of columns in the order in which the model takes them. Or a list of paths, of images or
            of examples.
        engine: ``onnxruntime`` or ``numpy``.
        labels: names of the classes, or the path of a file with one per line or a JSON list; by default those of the
            model. Classes without a name are called by their number.
        task: ``classes`` or ``numbers``, what the outputs are about. By default the model says it. Of one that does
            not, several numbers are classes where their sum is 1, ``labels`` name them or the data have a class for
            each example, and 10, 100 or 1000 of a picture are scores of classes: softmax makes probabilities of them.
            Others are given as they are, and ``warnings`` say so.
        top: the number of classes in each prediction.
        batch_size: the number of examples that are computed at once.
        polarity: the ink of the images, ``light`` or ``dark``; by default it is found for each.
        raw: whether to skip the model's preprocessing, because arrays hold the network's inputs.
        strict: whether to raise at the first input that cannot be used. Otherwise it gets a prediction with an
            ``error``, and the others follow: one for each picture, row or example, or for the rest of a file.
        digest: the digest that a weight file must have, or the SHA-256 of an ONNX file; any other is refused.
        edited: whether an ONNX file that this package wrote may have other weights, attributes or labels than those it
            was written with, and is not refused as damaged.
        recorder: keeps the inputs and outputs of the network, in memory.
        dialect: how CSV files are written, for a model whose columns have names: delimiter, decimal mark, header.
        preprocess: how pictures are prepared, instead of as the model says: a name such as ``"imagenet"``, or a dict or
            ``pnn.Preparation`` that changes it or says it all, such as ``{"mean": 0.5, "std": 0.5, "bgr": True}``; or a
            list of steps. Arrays get the arithmetic of it.
        output: the name of the output that is read, where a model has several.
        dataset: the name of the array that is read in HDF5, npz, zarr and Parquet files (a column there), in pieces;
            several stand side by side.
        stream: whether the examples, of all inputs, are the steps of one sequence: the states of recurrent layers and
            causal convolutions are kept from one to the next (see ``Network.stream``), and each gets a prediction.
            ``batch_size`` steps are computed at once, and the first input that cannot be used ends them.

    Raises:
        UsageError: invalid arguments, or a model that does not take one batch of examples of a known shape.
        FileError, FormatError: the model cannot be read.
        DataError: with ``strict``, an input cannot be read; raised when its turn comes.

    Warns with ``DataWarning`` of examples that miss by far what the model is made for, and with ``EditedWarning`` of an
    ONNX file of this package that another program has changed, unless ``edited``.

    >>> import portable_nn as pnn
    >>> for prediction in pnn.predict("digits", ["photo.jpg", "scan.png"]):
    ...     print(prediction.label, f"{prediction.probability:.3f}")
    3 1.000
    7 1.000
    """
    return predictions_of(model, inputs, ModelOptions.of(locals()), top, recorder)


def predictions_of(
    model: str | Path | Network | Runnable,
    inputs: Any,
    options: ModelOptions,
    top: int = 1,
    recorder: Recorder | None = None,
) -> Predictions:
    """As ``predict`` gives them, which takes the options one by one."""
    check_argument("top", top, Count)
    return Predictions(answers_of(model, inputs, options, [], recorder), top)


def prepare(
    model: str | Path | Network, inputs: Any, *, polarity: Found | None = None, preprocess: Preprocess | None = None
) -> Array:
    """The examples (n, …) that a model takes, made of pictures, tables and arrays: what ``predict`` feeds it.

    They are for ``Network.predict`` and ``Network.fit``, and for an ONNX file in any runtime.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: as ``predict`` takes them.
        polarity: the ink of the images, ``light`` or ``dark``; by default it is found for each.
        preprocess: how pictures are prepared, as ``predict`` takes it.

    Raises as ``predict`` does, and ``UsageError`` for pictures that make examples of different shapes.

    >>> import portable_nn as pnn
    >>> pnn.prepare("digits", "photo.jpg").shape
    (1, 1, 28, 28)
    """
    options = ModelOptions("numpy", preprocess=preprocess)
    batches = iterate(inputs, options.runner(model).taken(), polarity=polarity)
    found = [batch.x for batch in batches if isinstance(batch, Batch)]
    if len(shapes := dict.fromkeys(x.shape[1:] for x in found)) > 1:
        raise UsageError(f"the pictures make examples of different shapes: {some(map(str, shapes))}")
    return np.concatenate(found)


def quantity_names(runner: Runner) -> tuple[str, ...]:
    """The names and units of the numbers that a model predicts: ``price [€]``; empty where it names none."""
    if runner.kind not in ("values", "gaussian"):
        return ()
    units = runner.info.each_unit or ("",) * len(runner.info.labels)
    names = tuple(f"{name} [{unit}]" if unit else name for name, unit in zip(runner.info.labels, units, strict=True))
    return names if runner.kind == "values" else (*names, *(f"std of {name}" for name in names))


def _with_spread(numbers: Array, kind: str) -> Array:
    """The quantities, and after the means that ``gaussian`` has, as many standard deviations."""
    found = quantities(numbers, kind)
    if kind != "gaussian":
        return found
    with np.errstate(over="ignore"):
        return np.concatenate([found, np.exp(numbers[:, found.shape[1] :] / 2)], axis=1)


def _ranked(
    names: Sequence[str],
    shares: Array,
    expected: Sequence[str | None],
    classes: tuple[str, ...],
    top: int,
    least: float,
    digits: int,
) -> Iterator[Prediction]:
    """The most likely classes of each example, among equals the first; unsure where none has ``least``."""
    order = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    for name, row, best, label in zip(names, shares, order, expected, strict=True):
        ranking = tuple(zip((classes[place] for place in best), _floats(row[best], digits), strict=True))
        first, share = ranking[0]
        if row[best[0]] < least:
            yield Prediction(name, UNSURE, None, share, ranking, first, label)
        else:
            yield Prediction(name, first, int(best[0]), share, ranking, None, label)


def _floats(row: Array, digits: int) -> tuple[float, ...]:
    """Numbers with the significant digits that the model's have."""
    return tuple(float(f"{number:.{digits}g}") for number in row)
