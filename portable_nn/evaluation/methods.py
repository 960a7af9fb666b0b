"""Methods of networks that say how good their answers are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.names import Engine
from portable_nn.core.numbers import Count, Natural
from portable_nn.core.text import percent, quantity
from portable_nn.data.rows import as_rows
from portable_nn.data.stored import Stored, piece_of, pieces, rows_of
from portable_nn.evaluation.classes import ClassScores
from portable_nn.evaluation.probabilities import log_probabilities, probabilities
from portable_nn.evaluation.reliability import fit_temperature, logits_of, parts
from portable_nn.evaluation.results import ClassEvaluation
from portable_nn.evaluation.scoring import Scoring, Task, class_names, kind_for
from portable_nn.evaluation.targets import labels_in
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.operators.registry import Array, NamedArrays

PART = 2**22
"""The number of elements of the inputs that the network gets at once, at least one example."""


class Predictor(Protocol):
    """The part of a network that is needed here."""

    graph: Graph
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]

    def predict(self, x: Any, *, engine: Engine = ..., batch_size: int | None = ...) -> Any:
        """The outputs by name for arrays by input name."""


@dataclass(frozen=True)
class Calibration:
    """The result of ``calibrate``.

    Attributes:
        temperature: logits are now divided by it: above 1 the model was too sure, below 1 not sure enough.
        before: how good the model was on the examples.
        after: how good it is now, on the same examples. The classes are the same, the probabilities are not.
    """

    temperature: float
    before: ClassEvaluation
    after: ClassEvaluation

    def __repr__(self) -> str:
        first, then = self.before, self.after
        return (
            f"temperature {self.temperature:.4g}, from {quantity(first.examples, 'example')}: loss {first.loss:.4g} -> "
            f"{then.loss:.4g}, calibration error {percent(first.reliability.ece)} -> {percent(then.reliability.ece)}"
        )


@check_kinds
def predict_proba(self: Predictor, x: Any, *, engine: Engine = "numpy", batch_size: Count | None = None) -> Any:
    """The probabilities of the classes for examples in arrays.

    Args:
        x: the examples, as ``predict`` takes them.
        engine: ``numpy`` or ``onnxruntime``.
        batch_size: the number of examples that are computed at once.

    Returns float64 ``(batch, classes)``: of ``logits`` by softmax, of ``binary_logits`` by the logistic function,
    after a division by the output's temperature (see ``calibrate``), and ``probabilities`` as they are. An output of
    one number has two columns, the second the class that it is about. Where the network has several outputs, a dict by
    name of those that have classes.

    Raises ``UsageError`` where no output has classes, and as ``predict`` does.
    """
    outputs = self.predict(_by_name(self, x), engine=engine, batch_size=batch_size)
    found = {
        info.name: probabilities(_rows(outputs[info.name], info.name), info.kind, info.temperature)
        for info in self.outputs
        if info.kind not in ("values", "gaussian")
    }
    if not found:
        raise UsageError(
            "the network predicts numbers, and no output has classes: an output of classes has labels=…, or "
            "kind='logits' in network.outputs, which training with cross-entropy sets"
        )
    return next(iter(found.values())) if len(self.outputs) == 1 else found


@check_kinds
def evaluate(
    self: Predictor,
    x: Any,
    y: Any,
    *,
    mask: Any = None,
    task: Task | None = None,
    worst: Natural = 0,
    engine: Engine = "numpy",
    batch_size: Count | None = None,
) -> Any:
    """The evaluation of a network on examples in arrays. ``pnn.evaluate`` takes files, pictures and tables.

    Args:
        x: the examples, as ``predict`` takes them; they are computed in parts.
        y: what is right, as ``fit`` takes it: numbers of classes ``(n,)``, a row with a number for each class, or
            names; or the numbers that are predicted, ``(n,)`` or ``(n, numbers)``. Of several outputs a dict by name.
        mask: of sequences, (n, steps): true for the steps that count, and false for padding. Each such step is then an
            example, which is listed as ``x[3, 7]``. The output is (n, steps, numbers), of classes (n, classes, steps),
            and ``y`` (n, steps) or as the output.
        task: ``classes`` or ``numbers``; by default the kind of the output says it.
        worst: how many of the worst examples are listed, as ``x[3]``.
        engine: ``numpy`` or ``onnxruntime``.
        batch_size: the number of examples that are computed at once.

    Returns a ``ClassEvaluation`` or ``NumberEvaluation``, which ``print`` shows; where ``y`` is a dict, a dict of them.

    Raises ``UsageError`` where ``y`` does not fit, and ``DataError`` where an output is not finite.

    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> network = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["no", "yes"], seed=0)
    >>> found = network.evaluate(np.ones((50, 2)), network.predict(np.ones((50, 2))).argmax(axis=1), worst=10)
    >>> found.accuracy  # print(found) has all of it
    1.0
    """
    feeds = _by_name(self, x)
    wanted = y if isinstance(y, Mapping) else {_only_output(self).name: y}
    infos = {info.name: info for info in self.outputs}
    for name in wanted:
        if name not in infos:
            raise UsageError(f"y has '{name}', which is no output of the network; it has {', '.join(infos)}")
    count = len(next(iter(feeds.values())))
    mask = None if mask is None else as_mask(mask, count)
    labels = {name: _checked(each, count, name, mask) for name, each in wanted.items()}
    scores: dict[str, Scoring] = {}
    for part, outputs in _parts(self, feeds, engine, batch_size):
        for name, label in labels.items():
            if mask is None:
                numbers, right = _rows(outputs[name], name), label[part]
            else:
                numbers, right = _steps(outputs[name], label[part], mask[part], infos[name])
            if name not in scores:
                scores[name] = scoring(infos[name], numbers.shape[1], task, by_number=True, worst=worst)
            inputs = _names(part, mask)
            is_kept = worst and len(feeds) == 1 and mask is None
            kept = feeds[self.graph.inputs[0].name][part] if is_kept else None
            faults = scores[name].update(numbers, right.tolist(), inputs, kept)
            for place, reason in faults.items():
                raise DataError(inputs[place], reason)
    found = {name: each.result() for name, each in scores.items()}
    return found if isinstance(y, Mapping) else next(iter(found.values()))


@check_kinds
def calibrate(
    self: Predictor, x: Any, y: Any, *, engine: Engine = "numpy", batch_size: Count | None = None
) -> Calibration:
    """Set the temperature of the network's output, so that its probabilities are what they say.

    The temperature is that with the least cross entropy on the examples: one number, which changes no answer but how
    sure it is. It is stored with the network, and ``pnn.predict``, ``predict_proba`` and ``export --probabilities``
    divide logits by it. Source: Guo, Pleiss, Sun and Weinberger, ICML 2017, arXiv:1706.04599.

    Args:
        x: examples that the network was not trained on, as ``predict`` takes them. Their outputs are kept in memory.
        y: what is right, as ``evaluate`` takes classes.
        engine: ``numpy`` or ``onnxruntime``.
        batch_size: the number of examples that are computed at once.

    Raises ``UsageError`` where the output has no classes, or where no temperature is best: nearly all examples are
    right, or as many as by chance; and as ``evaluate`` does.
    """
    info = _only_output(self)
    feeds = _by_name(self, x)
    labels = _checked(y, len(next(iter(feeds.values()))), info.name)[:]
    parts = [_rows(outputs[info.name], info.name) for _, outputs in _parts(self, feeds, engine, batch_size)]
    numbers = np.concatenate(parts)
    scores = scoring(info, numbers.shape[1], None, by_number=True)
    if not scores.classes:
        raise UsageError("the network predicts numbers: a temperature is for the probabilities of classes")
    found = scores.find.of(labels.tolist())
    for place, reason in scores.update(
        numbers, labels.tolist(), [f"x[{place}]" for place in range(len(labels))], None
    ).items():
        raise DataError(f"x[{place}]", reason)
    calibration = calibrated(numbers, found, info, scores.classes)
    self.outputs = tuple(
        replace(each, temperature=calibration.temperature) if each is info else each for each in self.outputs
    )
    return calibration


def calibrated(numbers: Array, classes: Array, info: OutputInfo, names: tuple[str, ...]) -> Calibration:
    """The best temperature for outputs ``(n, width)`` and the numbers of the right classes ``(n,)``.

    Raises ``UsageError`` for probabilities that do not add up to 1, and as ``fit_temperature`` does.
    """
    if not add_up(numbers, info):
        raise UsageError(
            f"the probabilities in output '{info.name}' do not add up to 1, as with separate logistic functions: a "
            "temperature is for the probabilities of one softmax"
        )
    temperature = fit_temperature(logits_of(numbers, info.kind), classes)
    both = []
    for each in (info.temperature, temperature):
        scores = ClassScores(names, info.threshold)
        for part in parts(numbers):
            scores.update(log_probabilities(numbers[part], info.kind, each), classes[part])
        both.append(scores.result())
    return Calibration(temperature, *both)


def add_up(numbers: Array, info: OutputInfo) -> bool:
    """False for probabilities ``(n, width)`` that do not add up to 1."""
    several = info.kind == "probabilities" and numbers.shape[1] > 1
    return not (several and (np.abs(numbers.sum(axis=1) - 1) > 1e-3).any())


def scoring(info: OutputInfo, width: int, task: Task | None, *, by_number: bool = False, worst: int = 0) -> Scoring:
    """The scoring of an output of ``width`` numbers an example. Raises ``UsageError`` where it cannot be a class's."""
    kind = kind_for(task, info.kind, width)
    info = replace(info, kind=kind)
    if kind == "gaussian" and width % 2:
        raise UsageError(
            f"output '{info.name}' has {quantity(width, 'number')}; means and as many variances are an even number"
        )
    classes = () if kind in ("values", "gaussian") else class_names(info.labels, width)
    return Scoring(info, classes, by_number=by_number, worst=worst)


def _by_name(network: Predictor, x: Any) -> Mapping[str, Any]:
    """The inputs by name, each with the same number of examples."""
    names = [value.name for value in network.graph.inputs]
    x = as_rows(network.graph, network.inputs, x)
    if isinstance(x, Mapping):
        feeds = {name: _rows_in(each, f"input '{name}'") for name, each in x.items()}
    elif len(names) == 1:
        feeds = {names[0]: _rows_in(x, "x")}
    else:
        raise UsageError(f"the network has the inputs {', '.join(names)}: x must be a dict of arrays by their names")
    if not feeds or any(not each.ndim or not len(each) for each in feeds.values()):
        raise UsageError("x holds no examples")
    if len({len(each) for each in feeds.values()}) > 1:
        counts = ", ".join(f"'{name}' {len(each)}" for name, each in feeds.items())
        raise UsageError(f"each input must have as many examples: {counts}")
    return feeds


def _rows_in(x: Any, name: str) -> Array | Stored:
    found = rows_of(x, name)
    return found if isinstance(found, Stored) else as_array(found, name)


def _parts(
    network: Predictor, feeds: Mapping[str, Any], engine: Engine, batch_size: int | None
) -> Iterator[tuple[slice, NamedArrays]]:
    """The outputs for some examples at a time."""
    count = len(next(iter(feeds.values())))
    size = max(1, PART // max(1, sum(each.size for each in feeds.values()) // count))
    if stored := [each for each in feeds.values() if isinstance(each, Stored)]:
        size = piece_of(stored, size * sum(each.row_bytes for each in stored))
    for start, stop in pieces(count, size):
        part = slice(start, stop)
        given = {name: each[part] for name, each in feeds.items()}
        yield part, network.predict(given, engine=engine, batch_size=batch_size)


def _only_output(network: Predictor) -> OutputInfo:
    if len(network.outputs) != 1:
        names = ", ".join(info.name for info in network.outputs)
        raise UsageError(f"the network has the outputs {names}: this needs a dict by their names, or one output alone")
    return network.outputs[0]


def _rows(output: Array, name: str) -> Array:
    """An output as ``(n, width)``, float64."""
    if output.ndim > 2 and output[0].size != output.shape[1]:
        hint = "; of sequences, mask says which steps are examples: np.ones((n, steps), bool) makes all" * (
            output.ndim == 3
        )
        raise UsageError(f"output '{name}' has shape {output.shape}, and not one row of numbers for each example{hint}")
    return output.reshape(len(output), -1).astype(np.float64)


def as_mask(mask: Any, count: int) -> Array:
    """The mask of the steps of so many sequences. Raises ``UsageError``."""
    found = as_array(mask, "mask")
    if found.dtype.kind != "b" or found.ndim != 2 or len(found) != count or not found.any():
        raise UsageError(
            f"mask must be bool ({count}, steps), of which one is true, not {found.dtype} {found.shape}: "
            "np.arange(steps) < lengths[:, np.newaxis] makes it of the lengths of sequences"
        )
    return found


def _names(part: slice, mask: Array | None) -> list[str]:
    if mask is None:
        return [f"x[{place}]" for place in range(part.start, part.stop)]
    return [f"x[{part.start + row}, {step}]" for row, step in np.argwhere(mask[part]).tolist()]


def _steps(output: Array, labels: Array, mask: Array, info: OutputInfo) -> tuple[Array, Array]:
    """The steps that count as examples: outputs (steps, width) and labels. Raises ``UsageError``."""
    if info.kind not in ("values", "gaussian") and output.ndim > 2 and output.shape[2:] == mask.shape[1:]:
        labels = np.moveaxis(labels, 1, -1) if labels.ndim == output.ndim else labels
        output = np.moveaxis(output, 1, -1)
    if output.shape[:2] != mask.shape or labels.shape[:2] != mask.shape:
        shapes = f"output {output.shape}, y {labels.shape} and mask {mask.shape}"
        raise UsageError(f"'{info.name}' needs as many steps in each: {shapes}")
    rows = output[mask].reshape(int(mask.sum()), -1).astype(np.float64)
    return rows, labels[mask]


def _checked(y: Any, count: int, name: str, mask: Array | None = None) -> Array | Stored:
    """Labels with an entry for each example."""
    given = rows_of(y, "y")
    array = given if isinstance(given, Stored) else labels_in(given)
    if mask is not None and array.shape[:1] == (count,):
        return array
    if array.shape[:1] != (count,) or array.ndim > 2:
        raise UsageError(
            f"y for '{name}' must have an entry or a row for each of {count} examples, not shape {array.shape}"
        )
    return array
