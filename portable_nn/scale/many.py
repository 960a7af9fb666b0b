"""``predict`` and ``evaluate``, computed by several processes or machines."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from portable_nn.catalog import CALLED
from portable_nn.core.arguments import check_kinds
from portable_nn.core.dims import static
from portable_nn.core.errors import UsageError
from portable_nn.core.names import BATCH_SIZE, Engine
from portable_nn.core.numbers import Count, Natural
from portable_nn.data.batches import Bad, Place, Taken
from portable_nn.data.frames import Dialect
from portable_nn.evaluation.scoring import Evaluation
from portable_nn.evaluation.scoring import Task as EvaluationTask
from portable_nn.format.manifest import PRODUCER
from portable_nn.opening.kinds import resolve
from portable_nn.opening.origin import identity
from portable_nn.opening.runners import Runnable
from portable_nn.prediction.answers import Answers, answers_of, example_count
from portable_nn.prediction.arrays import OutputRows, are_pictures, row_count, row_wise
from portable_nn.prediction.evaluating import evaluation_of, with_labels
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.prediction.predictions import Predictions
from portable_nn.preprocessing.steps import Found
from portable_nn.scale.cluster import check_processes
from portable_nn.scale.computing import local
from portable_nn.scale.run import Run
from portable_nn.scale.storage import is_remote
from portable_nn.scale.work import SHARD, Job, Task, tasks_of

__all__ = ["evaluate_many", "predict_many"]

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """Who computes, and where the shards are.

    Args:
        shards: the folder or URL; ``None`` for a folder that is removed at the end.
        workers, scheduler: what computes, as ``processes`` takes it.
        shard_size: how many examples a shard has.
        force: whether shards of something else are removed.
    """

    shards: str | Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    shard_size: int = SHARD
    force: bool = False

    def check(self) -> None:
        """Raise ``UsageError`` for what cannot be."""
        check_processes(self.workers, self.scheduler)
        if self.shard_size < 1:
            raise UsageError(f"shard_size must be at least 1, not {self.shard_size}")
        if self.shards is None and self.scheduler is not None:
            raise UsageError("shards is needed with scheduler: a folder or URL that all of its workers can write to")


@dataclass(frozen=True)
class Many:
    """A model and its inputs, cut into tasks.

    Args:
        run: what computes the tasks.
        answers: the answers in the order of the inputs, as one process would give them.
    """

    run: Run
    answers: Answers


def many(model: str | Path, inputs: Any, scale: Scale, options: ModelOptions, notes: list[str] | None = None) -> Many:
    """Open a model, find its inputs, and cut them into tasks.

    Raises as ``predict_many`` does. Nothing is computed, and nothing is written, before the answers are asked for.
    """
    opened = _opened(model, scale, options)
    runner = options.runner(opened.model)
    run, kept = _cut(opened, inputs, scale, runner.taken(), options, is_whole=runner.input.info.context > 0)
    sample = _sample(run.tasks)
    if sample is None:
        answers = Answers(runner, (), options, options.names, [] if notes is None else notes)
    else:  # What is said of how the first input is prepared is said of all.
        answers = answers_of(opened.model, [sample], replace(options, strict=False), notes)
    answers.options, answers.place = options, Place(total=_total(run.tasks))
    answers.found = answers.place.passed(_removing(run.answers(), kept), example_count)
    return Many(run, answers)


def many_outputs(
    model: str | Path, inputs: Any, scale: Scale, options: ModelOptions, notes: list[str]
) -> tuple[OutputRows, Run]:
    """The outputs of a model as ``output_rows`` gives them, and what computes their shards.

    Raises as ``predict_many`` does, and ``UsageError`` where ``output_rows`` gives none.
    """
    opened = _opened(model, scale, options)
    pictures = options.dataset is None and any(map(are_pictures, inputs))
    found = row_wise(opened.model, options, notes, pictures=pictures)
    if found is None:
        size = ", and pictures of one size" if pictures else ""
        raise UsageError(
            f"{model}: several processes write outputs that have a row for each example of one input{size}"
        )
    shape = found.taken.shape if found.taken else static(opened.model.inputs[0].shape[1:])
    taken = found.taken or Taken(shape or ())
    content = "outputs of pictures" if pictures else "outputs"
    # Where the shape of an example is open, its file may hold one alone.
    run, kept = _cut(opened, inputs, scale, taken, options, is_whole=not shape, content=content)
    sample = _sample(run.tasks)
    if pictures and sample is not None:  # What is said of how the first one is prepared is said of all.
        found.of([sample], options, notes)
    place = Place(total=_total(run.tasks))
    computed = place.passed(_removing(run.outputs(found.names), kept), row_count)
    return OutputRows(found.model, found.names, computed, place), run


class _Opened(NamedTuple):
    """A model, what other processes call it, and what tells its file from others."""

    model: Runnable
    name: str
    identity: str


def _opened(model: Any, scale: Scale, options: ModelOptions) -> _Opened:
    scale.check()
    if not isinstance(model, str | Path):
        raise UsageError(f"model must be the name of a shipped model or a file, not {type(model).__name__}: save it")
    remote = is_remote(model)
    with ExitStack() as stack:
        path = Path(local(str(model), stack)) if remote else resolve(model)
        known_as = identity(path)
        opened = options.opened(path if remote else model)
    return _Opened(opened, str(model) if remote or model in CALLED else str(path.absolute()), known_as)


def _cut(
    opened: _Opened,
    inputs: Any,
    scale: Scale,
    taken: Taken,
    options: ModelOptions,
    *,
    is_whole: bool,
    content: str = "answers",
) -> tuple[Run, Path | None]:
    """The inputs cut into tasks, and the folder of their shards where it is removed at the end."""
    options = replace(options, labels=None, task=None)  # What they mean is said of the answers, and not in shards.
    key = {name: str(value) for name, value in vars(options).items() if name != "strict"}
    key = {"the model": opened.identity, **key, **({} if content == "answers" else {"what is kept": content})}
    size = scale.shard_size
    tasks = list(tasks_of(inputs, taken, options.named, size, options.strict, key, is_whole))
    given = inputs if isinstance(inputs, list | tuple) else [inputs]
    data = [str(each if is_remote(each) else Path(each).absolute()) for each in given]
    origin = {"the program": PRODUCER, **key, "shard_size": str(size)}
    kept = Path(tempfile.gettempdir(), f"portable-nn-shards-{secrets.token_hex(8)}") if scale.shards is None else None
    where = str(kept or scale.shards)
    where = where if is_remote(where) else str(Path(where).absolute())
    job = Job(opened.name, opened.identity, where, str(Path.cwd()), options, content)
    return Run(job, tasks, origin, data, workers=scale.workers, scheduler=scale.scheduler, force=scale.force), kept


def _sample(tasks: Sequence[Task | Bad]) -> str | None:
    """The first file, where this process can open it."""
    first = next((each.inputs[0][0] for each in tasks if isinstance(each, Task)), None)
    return None if first is None or is_remote(first) else first


def _total(tasks: Sequence[Task | Bad]) -> int | None:
    """The number of examples, where it is known before they are read."""
    counts = [1 if isinstance(each, Bad) else each.count for each in tasks]
    return None if None in counts else sum(each or 0 for each in counts)


def _removing(found: Iterator[T], kept: Path | None) -> Iterator[T]:
    """The items of a run; its shards are removed at the end where they are in a temporary folder."""
    try:
        yield from found
    finally:
        if kept:
            shutil.rmtree(kept, ignore_errors=True)


class ManyPredictions(Predictions):
    """``Predictions``, and how they were computed.

    Attributes:
        tally: what was done so far: ``print("\\n".join(predictions.tally.lines()))`` has the throughput, the slowest
            shards, and those that failed.
    """

    def __init__(self, found: Many, top: int) -> None:
        super().__init__(found.answers, top)
        self.tally = found.run.tally


@check_kinds
def predict_many(
    model: str | Path,
    inputs: Any,
    shards: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    shard_size: int = SHARD,
    force: bool = False,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    task: EvaluationTask | None = None,
    top: Count = 1,
    batch_size: Count = BATCH_SIZE,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = False,
    digest: str | None = None,
    edited: bool = False,
    dialect: Dialect | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
    dataset: str | Sequence[str] | None = None,
) -> ManyPredictions:
    """Predictions of ``model`` for ``inputs``, in their order, computed by several processes or machines.

    The inputs are cut into shards. The answers for each are a file among ``shards``, whose name follows from the
    inputs, their sizes and times of change, the model's SHA-256 and the options; it is written as a whole or not at
    all, and its row in the manifest last. A process, or all of them, may be killed at any moment: the same call goes on
    with what is there, and each input has one prediction.

    Args:
        model: the name of a shipped model, a weight file, or any ONNX file; the URL of one.
        inputs: a path or URL, or several: pictures, folders of them, and files of tables or arrays. Pictures, ``.npy``
            files, and with ``dataset`` HDF5, zarr and Parquet files are cut into shards; any other file is one.
        shards: the folder, or the URL of fsspec such as ``s3://bucket/digits``, where shards are kept. ``None`` keeps
            them in a temporary folder, which is removed at the end.
        workers: how many processes are started on this machine; 0 computes in this one. Each computes with one thread.
        scheduler: the address of a Dask scheduler whose workers compute instead, such as ``tcp://10.0.0.1:8786``, or
            the file that ``dask scheduler --scheduler-file`` writes. Its workers read the same paths, and have the same
            version of this package.
        shard_size: how many examples a shard has: a multiple of ``batch_size``, best of some seconds of work.
        force: whether shards of another model, of other inputs or options are removed from the folder first.
        strict: whether to raise at the first input that cannot be used. Otherwise it has a prediction with an
            ``error``, as have the inputs of a shard that ended its process several times.

    All else is as ``predict`` takes it. The ``tally`` of the predictions has, at the end, the throughput, the slowest
    shards, and those that failed.

    Raises as ``predict`` does, and:
        UsageError: ``shards`` has those of something else, or is being written by another process.
        FileError: the shards cannot be written, or the scheduler was lost. The same call goes on from there.
        MissingPackageError: dask.distributed or fsspec is missing: ``pip install 'portable-nn[scale]'``.

    On Windows and macOS, as with all processes that are started, a script calls it under
    ``if __name__ == "__main__":``.

    >>> from portable_nn.scale import predict_many
    >>> for prediction in predict_many("digits", "scans/", "scans.shards", workers=2):
    ...     print(prediction.input, prediction.label)
    scans/digit-0.png 0
    scans/digit-1.png 1
    scans/digit-2.png 2
    """
    options = ModelOptions.of(locals())
    return ManyPredictions(many(model, inputs, Scale(shards, workers, scheduler, shard_size, force), options, []), top)


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
    task: EvaluationTask | None = None,
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
