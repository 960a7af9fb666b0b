"""Comparison of a model whose inputs are columns with the same model for rows of numbers, on rows of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto

from portable_nn.core.errors import UnsupportedError
from portable_nn.core.runtime import runtime
from portable_nn.core.tensors import Array
from portable_nn.core.text import said
from portable_nn.data.columns import codes_of
from portable_nn.format.meaning import Column
from portable_nn.onnx.providers import CPU
from portable_nn.onnx.samples import rows_of
from portable_nn.onnx.session import Session
from portable_nn.onnx.verification.differences import Tolerance
from portable_nn.onnx.verification.messages import check_outputs
from portable_nn.onnx.writing import to_bytes

ROWS = 64
"""The number of rows that are drawn, beside such with each category, and with each column missing and unknown."""

TRIED = 100
"""The most columns that are missing or unknown in a row of their own."""


def compare_words(
    path: Path, bare: ModelProto, columns: Sequence[Column], where: str, *, tolerance: Tolerance, seed: int
) -> None:
    """Check that a file takes words for what ``bare``, the same model for rows, takes numbers for.

    Args:
        path: the file, whose inputs are the ``columns``.
        bare: the model for rows.
        columns: those of a row.
        where: the file that messages name.
        tolerance: the allowed differences.
        seed: that of the rows.

    Raises ``VerificationError`` where the outputs differ, or are not NaN for a row that is refused.
    """
    try:
        theirs = runtime().InferenceSession(str(path), providers=[CPU])
    except Exception as error:  # onnxruntime's exceptions have no other class in common.
        raise UnsupportedError(where, f"onnxruntime cannot run it with columns as inputs {said(error)}") from error
    ours = Session(to_bytes(bare), where=where, threads=1, folder=path.parent)
    [row] = ours.inputs
    rng = np.random.default_rng(seed)
    rows = _rows(columns, rng)
    size = row.shape[0] if isinstance(row.shape[0], int) else len(rows)
    rows = np.resize(rows, (-(-len(rows) // size) * size, len(columns))).astype(row.dtype)
    for part in np.split(rows, len(rows) // size):
        refused = np.any([_refused(each, part[:, place]) for place, each in enumerate(columns)], axis=0)
        cells = {each.name: _cells(each, part[:, [place]]) for place, each in enumerate(columns)}
        expected = {name: array.copy() for name, array in ours.run({row.name: part}).items()}
        for array in expected.values():
            array[refused] = np.nan
        found = dict(zip(expected, theirs.run(None, cells), strict=True))
        check_outputs(found, expected, "the model for words", "that for numbers", tolerance, f"{where}: ")


def _rows(columns: Sequence[Column], rng: np.random.Generator) -> Array:
    """Rows that are drawn, and such that have each category, and one value that is missing or unknown."""
    drawn = rows_of(columns, rng.standard_normal((ROWS, len(columns))), rng)
    counts = np.array([len(column.categories) for column in columns])
    every = np.repeat(drawn[:1], max(counts, default=0), axis=0)
    places = np.arange(len(every))[:, np.newaxis] % np.maximum(counts, 1)
    rows = [drawn, np.where(counts > 0, places, every)]
    for place in rng.permutation(len(columns))[:TRIED]:
        for value in (np.nan, -1.0) if counts[place] else (np.nan,):
            one = drawn[:1].copy()
            one[0, place] = value
            rows.append(one)
    return np.concatenate(rows)


def _refused(column: Column, numbers: Array) -> Array:
    missing = np.isnan(numbers) & (column.missing == "refuse")
    unknown = bool(column.categories) and column.unknown == "refuse"
    return np.asarray(missing | ((numbers < 0) & unknown))


def _cells(column: Column, numbers: Array) -> Array:
    """Words as a person has them: nothing for a missing one, and one that no category is; of codes the numbers."""
    if not column.categories:
        return numbers
    codes = codes_of(column)
    words = np.array([*column.categories, max(column.categories, key=len) + "?", ""], object)
    if codes:
        words = np.array([*codes, max(codes) + 1, np.nan], numbers.dtype)
    found: Array = words[np.where(np.isnan(numbers), len(words) - 1, np.nan_to_num(numbers)).astype(int) % len(words)]
    unknown = numbers < 0
    found[unknown] = words[-2]
    return found
