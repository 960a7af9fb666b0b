"""One small object that other engines, such as Ray Data, Spark and Daft, send to their processes to predict there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.foreign_values import is_path, is_table
from portable_nn.core.names import BATCH_SIZE, Engine
from portable_nn.data.given import Picture
from portable_nn.data.images import read_image
from portable_nn.opening.runners import Runnable
from portable_nn.operators.registry import Array
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.prediction.prediction import Prediction
from portable_nn.prediction.predictions import predictions_of, quantity_names

__all__ = ["Predictor"]

SEVERAL: Final = "there are several drawings in this picture: portable-nn predict has a row for each"


@check_kinds
@dataclass(frozen=True)
class Predictor:
    """Predicts batches of other engines; can be pickled, and opens the model where it is called first.

    Called with a batch it gives the batch with more columns: for classes ``label`` (text) and ``probability``, for
    quantities the names that the model has for them, or ``value``, ``value_1`` and so on; and ``error``, the reason why
    an example has none, or None. A batch is a dict of arrays (Ray Data), a data frame of pandas, an iterator of data
    frames (``mapInPandas`` of Spark), or the examples alone, such as a series of Daft: then only the columns are given.

    Args:
        model: the name of a shipped model or the path of a file, which is there wherever it is called.
        digest: the digest that a weight file must have, or the SHA-256 of an ONNX file; any other is refused.
        column: the column with the examples: paths of pictures, encoded pictures as bytes, or arrays; by default the
            table itself is what the model takes.
        engine, labels, preprocess, output, raw: as ``predict`` takes them.
        batch_size: the number of examples that are computed at once.

    A process keeps one session for each predictor. Those of one model and options are equal.

    Raises ``UsageError`` for a batch of another kind, and, where it is called first, as ``predict`` does.

    >>> from portable_nn.scale import Predictor
    >>> predict = Predictor("digits", column="image")
    >>> ray.data.read_parquet("s3://scans").map_batches(predict)  # doctest: +SKIP
    >>> frame.mapInPandas(predict, "image binary, label string, probability double, error string")  # doctest: +SKIP
    >>> predict({"image": ["photo.jpg"]})["label"]
    array(['3'], dtype=object)
    """

    model: str
    digest: str | None = None
    column: str | None = None
    engine: Engine = "onnxruntime"
    labels: tuple[str, ...] | None = None
    preprocess: Preprocess | None = None
    output: str | None = None
    raw: bool = False
    batch_size: int = BATCH_SIZE

    def __call__(self, batch: Any) -> Any:
        """The batch with the columns of the predictions."""
        if isinstance(batch, Iterator):
            return map(self, batch)
        if is_table(batch):
            table = {name: batch[name] for name in batch.columns} if self.column is None else self._column(batch)
            return batch.assign(**self.columns(table))
        if isinstance(batch, Mapping):
            return {**batch, **self.columns(dict(batch) if self.column is None else self._column(batch))}
        return self.columns(batch)

    def columns(self, examples: Any) -> dict[str, Array]:
        """The predictions for examples: an array for each column."""
        given, rows = _readable(examples)
        good = [place for place, row in enumerate(rows) if row.error is None]
        model = _opened(self.model, self.digest, self.engine, os.getpid())
        options = ModelOptions.of(vars(self), strict=False)
        quantities = quantity_names(options.runner(model))
        if not good:
            return _arrays(rows, quantities)
        for each in predictions_of(model, given, options):
            place = good[_place(each.input)]
            several = each.input.endswith("#2") or rows[place].error == SEVERAL
            rows[place] = Prediction(each.input, error=SEVERAL) if several else each
        return _arrays(rows, quantities)

    def _column(self, batch: Any) -> Any:
        if self.column not in batch:
            raise UsageError(f"the batch has no column '{self.column}': its columns are {', '.join(map(str, batch))}")
        return batch[self.column]


@cache
def _opened(model: str, digest: str | None, engine: Engine, process: int) -> Runnable:
    """The model, opened once by each process: sessions are of no use in one that was forked."""
    return ModelOptions(engine, digest=digest).opened(model)


def _readable(examples: Any) -> tuple[Any, list[Prediction]]:
    """Examples as ``predict`` takes them, and a row for each; those that cannot be read have an error there."""
    if isinstance(examples, Mapping):
        return examples, [Prediction("")] * len(next(iter(examples.values()), ()))
    if hasattr(examples, "to_pylist"):  # A series of Daft, or an array of Arrow.
        examples = examples.to_pylist()
    if isinstance(examples, np.ndarray) and examples.dtype.kind not in "OUS":
        return examples, [Prediction("")] * len(examples)
    values = list(examples)
    if values and not any(map(_is_encoded, values)):
        return np.stack([np.asarray(each) for each in values]), [Prediction("")] * len(values)
    pictures, rows = list[Picture](), list[Prediction]()
    for each in values:
        try:
            pictures.append(Picture(str(len(pictures)), _pixels(each)))
            rows.append(Prediction(""))
        except DataError as error:
            rows.append(Prediction("", error=error.reason))
    return pictures, rows


def _is_encoded(value: Any) -> bool:
    return is_path(value) or isinstance(value, bytes | bytearray | memoryview)


def _pixels(value: Any) -> Array:
    if is_path(value):
        return read_image(Path(value))
    if not _is_encoded(value):
        raise DataError("picture", f"expected a path or bytes, found {type(value).__name__}")
    with tempfile.NamedTemporaryFile() as file:
        file.write(value)
        file.flush()
        return read_image(file.name)


def _place(name: str) -> int:
    """The place of the example that a prediction is for: of picture 12, or of its first drawing, and of row x[12]."""
    return int(name.partition("#")[0].removeprefix("x[").removesuffix("]"))


def _arrays(rows: Sequence[Prediction], quantities: Sequence[str]) -> dict[str, Array]:
    """The columns of predictions: of classes, or of quantities."""
    width = max((len(row.values) for row in rows), default=len(quantities)) or len(quantities)
    error = np.array([row.error for row in rows], object)
    if width:
        names = quantities if len(quantities) == width else ["value", *(f"value_{place}" for place in range(1, width))]
        numbers = np.array([row.values or (np.nan,) * width for row in rows], float).reshape(len(rows), width)
        return {**dict(zip(names, numbers.T, strict=True)), "error": error}
    shares = np.array([np.nan if row.probability is None else row.probability for row in rows], float)
    return {"label": np.array([row.label for row in rows], object), "probability": shares, "error": error}
