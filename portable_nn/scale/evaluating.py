"""``evaluate``, computed by several processes or machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from portable_nn.core.arguments import check_kinds
from portable_nn.core.defaults import BATCH_SIZE
from portable_nn.core.names import Engine
from portable_nn.core.numbers import Count, Natural
from portable_nn.data.frames import Dialect
from portable_nn.evaluation.scoring import Evaluation, Task
from portable_nn.prediction.evaluating import evaluation_of, with_labels
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.preprocessing.steps import Found
from portable_nn.scale.many import Scale, many
from portable_nn.scale.work import SHARD

__all__ = ["evaluate_many"]


@check_kinds
def evaluate_many(
    model: str | Path,
    data: Any,
    shards: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    shard_size: int = SHARD,
    force: bool = False,
    task: Task | None = None,
    worst: Natural = 0,
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
    """The evaluation of ``model`` on data with the right answers, computed by several processes or machines.

    Args:
        data: paths and URLs of files with labels, as ``evaluate`` takes them.
        shards, workers, scheduler, shard_size, force: as ``predict_many`` takes them.
        worst: how many of the worst examples are listed; they are named, and not drawn.

    All else is as ``evaluate`` takes it, and the result is the same. Raises as ``evaluate`` and ``predict_many`` do.

    >>> from portable_nn.scale import evaluate_many
    >>> evaluate_many("digits", "classes/", "classes.shards", workers=2).accuracy
    1.0
    """
    options = ModelOptions.of(locals(), dataset=inputs)
    found = many(model, data, Scale(shards, workers, scheduler, shard_size, force), with_labels(options))
    return evaluation_of(found.answers, None, strict, worst)
