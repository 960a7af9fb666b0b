"""Predictions of a model for images, tables and arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from portable_nn.core.errors import DataError, DataWarning, FormatError, UsageError, warn
from portable_nn.core.kinds import check_kinds
from portable_nn.core.names import Engine
from portable_nn.core.text import quantity, shortened, some
from portable_nn.data.columns import far_fault
from portable_nn.data.files import opened
from portable_nn.data.frames import Dialect
from portable_nn.data.sources import Bad, Batch, Taken, iterate
from portable_nn.engines.recording import Recorder
from portable_nn.model_files.opening import open_model
from portable_nn.model_files.runners import UNKNOWN, Runner, network_runner
from portable_nn.network import Network
from portable_nn.network.execution import check_engine
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.steps import Found

__all__ = ["Prediction", "Predictions", "predict", "prepare"]

SUM_TOLERANCE = 1e-3
"""The largest deviation of their sum from 1 for numbers of an unknown kind to be taken for probabilities."""

NOT_FINITE = "the model gives NaN or infinity"

GUESSES = {
    "probabilities": "they are taken for probabilities",
    "logits": "softmax makes probabilities of them",
    "binary_logits": "the logistic function makes a probability of it",
    "values": "it is taken for a quantity",
}
"""The note on numbers of an unknown kind, by the kind that they are taken for."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example.

    Args:
        input: the source of the example: ``photo.png``, ``table.csv:12`` (line of the file, from 1) or ``array.npy:0``
            (index, from 0).
        label: the most likely class.
        index: its number.
        probability: its probability.
        top: as many classes as were asked for with their probabilities, the most likely first.
        expected: the class in the data, if there is one.
        values: the outputs of a model that predicts quantities; the other fields but ``input`` are then unset.
        error: why there is no prediction for this input; the other fields but ``input`` are then unset. The name is
            that of the file alone where none of its (other) examples can be read.
    """

    input: str
    label: str | None = None
    index: int | None = None
    probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    expected: str | None = None
    values: tuple[float, ...] = ()
    error: str | None = None

    def __repr__(self) -> str:
        found = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value not in (None, ()))
        return f"Prediction({found})"


class _GoneError(UsageError, TypeError):
    """Predictions that were not kept. Being a ``TypeError``, it lets ``list`` do without the length."""


class Predictions(Iterator[Prediction], Sequence[Prediction]):
    """An iterator of predictions, which are computed batch by batch: any number of examples needs little memory.

    ``for`` and ``next`` give each once, and keep none. ``len(predictions)``, ``predictions[0]`` and ``predictions[:5]``
    compute all and keep them: from then on the predictions are a sequence, and every ``for`` begins with the first.
    Where some were given already and not kept, these raise ``UsageError``, and so does ``np.asarray``: the outputs as
    an array are what ``Network.predict`` gives.

    Meanwhile ``notes`` collects what was done and what was assumed (``warnings`` has from the beginning what must be
    known, such as how pictures are prepared where the model does not say it), ``judged`` counts the examples whose
    class is in the data, and ``right`` those of them that were predicted correctly. ``made`` counts all, ``bad`` those
    with an error, of which ``first_bad`` is the first.
    """

    def __init__(
        self,
        runner: Runner,
        batches: Iterator[Batch | Bad],
        labels: Sequence[str] | str | Path | None,
        top: int,
        notes: list[str],
        assumed: Sequence[str] = (),
        strict: bool = True,
    ) -> None:
        self.notes, self.warnings = notes, (*runner.warnings, *assumed)
        self.judged = self.right = self.made = self.bad = 0
        self.first_bad: Prediction | None = None
        self._warned, self._strict = False, strict
        self._runner, self._batches, self._given, self._top = runner, batches, labels, top
        self._names = read_labels(labels) if isinstance(labels, str | Path) else tuple(labels or runner.labels)
        self._kind, self._called = runner.kind, tuple[str, ...]()
        self.quantities = _quantities(runner)
        self._each = self._counted()
        self._kept: list[Prediction] | None = None

    def __repr__(self) -> str:
        right = f"; {self.right:,} of {self.judged:,} with a known class right" if self.judged else ""
        return f"<Predictions by {self._runner.where}: {self.made:,} so far{right}>"

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

    def _all(self) -> list[Prediction]:
        if self._kept is None:
            if self.made:
                taken = f"{quantity(self.made, 'prediction')} {'was' if self.made == 1 else 'were'} given already"
                raise _GoneError(f"{taken}, and not kept: begin with predictions = list(pnn.predict(…))")
            self._kept = list(self._each)
            self._each = iter(self._kept)
        return self._kept

    def _counted(self) -> Iterator[Prediction]:
        for prediction in self._predict():
            self.made += 1
            if prediction.error is not None:
                self.bad += 1
                self.first_bad = self.first_bad or prediction
            if prediction.expected is not None:
                self.judged += 1
                self.right += prediction.label == prediction.expected
            yield prediction

    def _predict(self) -> Iterator[Prediction]:
        for batch in self._batches:
            if isinstance(batch, Bad):
                yield Prediction(batch.name, error=batch.reason)
                continue
            self._warn_of_range(batch.x)
            numbers = self._runner(batch.x).astype(np.float64)
            finite = np.logical_and.reduce(np.isfinite(numbers), axis=1)
            if self._strict and not finite.all():
                name = batch.names[int(finite.argmin())]
                raise FormatError(self._runner.where, f"{NOT_FINITE} for {name}")
            numbers[~finite] = 0
            for prediction, is_finite in zip(self._of(batch, numbers, finite), finite, strict=True):
                yield prediction if is_finite else Prediction(prediction.input, error=NOT_FINITE)

    def _of(self, batch: Batch, numbers: Array, finite: Array) -> Iterator[Prediction]:
        """The predictions for a batch; those that are not ``finite`` have no meaning."""
        if not finite.any():
            return map(Prediction, batch.names)
        if self._kind == UNKNOWN:
            self._kind = self._guess(numbers[finite])
        if self._kind == "values":
            rows = zip(batch.names, numbers, strict=True)
            return (Prediction(name, values=_floats(row)) for name, row in rows)
        probabilities = _probabilities(numbers, self._kind)
        if not self._called:
            self._called = self._classes(probabilities.shape[1], alone=numbers.shape[1] == 1)
        expected = [_expected(label, self._called) for label in batch.labels or [None] * len(batch.names)]
        if batch.labels and not self.judged and not set(expected) & set(self._called):
            return self._misplaced(batch)
        return _ranked(batch.names, probabilities, expected, self._called, self._top)

    def _misplaced(self, batch: Batch) -> Iterator[Prediction]:
        """The predictions for the first batch with labels, where none of them is a class. Raises if ``strict``."""
        assert batch.labels
        wanted = f"is none of the classes {some(self._called)}; in a table, labels are the first column"
        reasons = [f"the label {label} {wanted}" for label in batch.labels]
        if self._strict:
            raise DataError(batch.names[0], reasons[0])
        return (Prediction(name, error=reason) for name, reason in zip(batch.names, reasons, strict=True))

    def _warn_of_range(self, x: Array) -> None:
        """Warn once of examples that miss by far what the model is made for."""
        if not self._warned and (fault := far_fault(x, self._runner.columns)):
            self._warned = True
            warn(f"{self._runner.where}: {fault}", DataWarning)
        made_for = None if self._warned else self._runner.range
        if made_for and (fault := made_for.fault(x)):
            self._warned = True
            where = f"{self._runner.where} is made for numbers {made_for}, which '{made_for.node}' scales"
            warn(f"the examples {fault}, but {where}", DataWarning)

    def _guess(self, numbers: Array) -> str:
        """The kind of outputs that the model does not describe, guessed from the first batch."""
        within = bool(((numbers >= 0) & (numbers <= 1)).all())
        if numbers.shape[1] == 1:
            kind = ("probabilities" if within else "binary_logits") if self._names else "values"
        else:
            are_shares = within and np.allclose(numbers.sum(axis=1), 1, rtol=0, atol=SUM_TOLERANCE)
            kind = "probabilities" if are_shares else "logits"
        self.notes.append(f"the model does not say what its numbers are; {GUESSES[kind]}")
        return kind

    def _classes(self, count: int, *, alone: bool) -> tuple[str, ...]:
        """The names of the classes; ``alone`` where one number is for two classes."""
        names = self._names
        if alone and len(names) == 1:
            return f"not {names[0]}", names[0]
        if names and len(names) != count:
            found = f"{len(names)} labels, but {self._runner.where} has {count} classes"
            if isinstance(self._given, str | Path):
                raise DataError(self._given, f"has {found}")
            if self._given is not None:
                raise UsageError(f"there are {found}")
            self.notes.append(f"the labels in the model are not used: there are {found}")
        return names if len(names) == count else tuple(map(str, range(count)))


@check_kinds
def predict(
    model: str | Path | Network,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    top: int = 1,
    batch_size: int = 256,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = True,
    digest: str | None = None,
    edited: bool = False,
    recorder: Recorder | None = None,
    dialect: Dialect | None = None,
) -> Predictions:
    """Predictions of ``model`` for ``inputs``, one after the other.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: what to predict. In files: images, folders of them, CSV, npy, npz, IDX or HDF5 files, ``"-"`` for CSV on
            standard input. In memory: an array of examples (n, …) or one alone, an image of Pillow, a data frame or a
            dict of columns in the order in which the model takes them. Or a list of paths, of images or of examples.
        engine: ``onnxruntime`` or ``numpy``.
        labels: names of the classes, or the path of a file with one per line or a JSON list; by default those of the
            model. Classes without a name are called by their number.
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

    Raises:
        UsageError: invalid arguments, or a model that does not take one batch of examples of a known shape.
        FileError, FormatError: the model cannot be read.
        DataError: with ``strict``, an input cannot be read; raised when its turn comes.

    Warns with ``DataWarning`` of examples that miss by far what the model is made for.

    >>> import portable_nn as pnn
    >>> for prediction in pnn.predict("digits", ["photo.jpg", "scan.png"]):
    ...     print(prediction.label, prediction.probability)
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}")
    runner = _opened(model, engine, digest, edited)
    if recorder:
        runner = replace(runner, run=recorder.watching(runner.run))
    notes, assumed = [f"{runner.where} runs in {engine}", *runner.notes], list[str]()
    batches = iterate(
        inputs,
        _taken(runner),
        batch_size=batch_size,
        polarity=polarity,
        raw=raw,
        strict=strict,
        notes=notes,
        assumed=assumed,
        dialect=dialect,
    )
    return Predictions(runner, batches, labels, top, notes, assumed, strict)


def prepare(model: str | Path | Network, inputs: Any, *, polarity: Found | None = None) -> Array:
    """The examples (n, …) that a model takes, made of pictures, tables and arrays: what ``predict`` feeds it.

    They are for ``Network.predict`` and ``Network.fit``, and for an ONNX file in any runtime.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: as ``predict`` takes them.
        polarity: the ink of the images, ``light`` or ``dark``; by default it is found for each.

    Raises as ``predict`` does.

    >>> import portable_nn as pnn
    >>> pnn.prepare("digits", "photo.jpg").shape
    (1, 1, 28, 28)
    """
    runner = _opened(model, "numpy")
    batches = iterate(inputs, _taken(runner), polarity=polarity)
    return np.concatenate([batch.x for batch in batches if isinstance(batch, Batch)])


def _opened(model: str | Path | Network, engine: Engine, digest: str | None = None, edited: bool = False) -> Runner:
    check_engine(engine)
    if not isinstance(model, (Network, str, Path)):
        raise UsageError(f"model must be a network, a path or the name of a shipped model, not {type(model).__name__}")
    if not isinstance(model, Network):
        return open_model(model, digest=digest, edited=edited).runner(str(model), engine)
    if digest is not None or edited:
        raise UsageError("digest and edited are for a model in a file: this one is a network in memory")
    name = model.graph.name
    return network_runner(model, "the network" if name == "network" else f"the network '{name}'", engine)


def _quantities(runner: Runner) -> tuple[str, ...]:
    """The names and units of the numbers that a model predicts: ``price [€]``; empty where it names none."""
    if runner.kind != "values":
        return ()
    units = runner.units or ("",) * len(runner.labels)
    return tuple(f"{name} [{unit}]" if unit else name for name, unit in zip(runner.labels, units, strict=True))


def _taken(runner: Runner) -> Taken:
    largest = float(runner.range.high.max()) if runner.range else None
    labelled = runner.kind != "values"
    return Taken(
        runner.example_shape, runner.preprocessing, runner.takes, largest, runner.columns, runner.target, labelled
    )


def read_labels(path: str | Path) -> tuple[str, ...]:
    """The labels in a text file: one in a line, or a JSON list.

    Raises:
        DataError: the file cannot be read, or there is no label in it.
    """
    with opened(path, "labels, one in a line") as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected labels, one in a line or a JSON list, in UTF-8: {error}") from error
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else text.strip().splitlines()
    except (ValueError, RecursionError):  # A label may begin with a bracket.
        found = text.strip().splitlines()
    if not found or not all(isinstance(label, str | int) for label in found):
        raise DataError(path, "expected labels, one in a line or a JSON list, found none")
    return tuple(str(label).strip() for label in found)


def _probabilities(numbers: Array, kind: str) -> Array:
    """Outputs of a model → probabilities ``(n, classes)``; a single column is that of the second of two classes."""
    if kind == "logits":
        powers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
        numbers = powers / powers.sum(axis=1, keepdims=True)
    elif kind == "binary_logits":
        numbers = (1 + np.tanh(numbers / 2)) / 2  # The logistic function, without overflow.
    return np.concatenate([1 - numbers, numbers], axis=1) if numbers.shape[1] == 1 else numbers


def _ranked(
    names: Sequence[str],
    probabilities: Array,
    expected: Sequence[str | None],
    classes: tuple[str, ...],
    top: int,
) -> Iterator[Prediction]:
    """The most likely classes of each example; among equals the first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    for name, row, best, label in zip(names, probabilities, order, expected, strict=True):
        ranking = tuple(zip((classes[place] for place in best), _floats(row[best]), strict=True))
        yield Prediction(name, ranking[0][0], int(best[0]), ranking[0][1], ranking, label)


def _expected(label: Any, classes: tuple[str, ...]) -> str | None:
    """The class in the data, which have its name, its number, or a number for each class."""
    if isinstance(label, list):
        label = int(np.argmax(label)) if len(label) == len(classes) else None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and str(label) not in classes and 0 <= label < len(classes):
        return classes[label]
    return None if label is None else str(label)


def _floats(row: Array) -> tuple[float, ...]:
    """Numbers with the digits that a float32 has."""
    return tuple(float(f"{number:.7g}") for number in row)
